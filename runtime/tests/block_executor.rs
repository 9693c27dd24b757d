//! A program that knows alloy-evm's block executor only gives the same with Counterpoint's: receipts, requests, gas, state
//! and what the state hook hears.

#![cfg(feature = "cli")]

mod common;

use std::{
    borrow::Cow,
    fs,
    io::Read,
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use alloy_consensus::{
    ReceiptEnvelope, TxEnvelope,
    proofs::calculate_receipt_root,
    transaction::{Recovered, SignerRecoverable},
};
use alloy_evm::{
    EthEvmFactory, Evm, EvmEnv, EvmFactory,
    block::{BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockExecutorFactory, CommitChanges},
    eth::{
        EthBlockExecutionCtx, EthBlockExecutorFactory, receipt_builder::AlloyReceiptBuilder, spec::EthSpec,
    },
};
use common::{Key, TestSource};
use counterpoint::{
    Runtime,
    cli::blockfile::BlockFile,
    ethereum::{ParallelBlockExecutor, ParallelBlockExecutorFactory},
    state::{MemorySource, StateSource},
};
use flate2::read::MultiGzDecoder;
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    database::{BundleState, State, WrapDatabaseRef, states::bundle_state::BundleRetention},
    database_interface::DBErrorMarker,
    inspector::NoOpInspector,
    primitives::{Address, B256, U256, hardfork::SpecId},
    state::{AccountInfo, EvmState},
};

const FIXTURES: &str = "../../shared/fixtures/mainnet";

/// A block as a node has it.
struct Fixture {
    name: String,
    env: EvmEnv,
    ctx: EthBlockExecutionCtx<'static>,
    transactions: Vec<Recovered<TxEnvelope>>,
    receipts_root: Option<B256>,
    source: Arc<MemorySource>,
}

impl Fixture {
    fn load(path: &Path) -> Self {
        let mut json = String::new();
        let file = fs::File::open(path).expect("the file is there");
        MultiGzDecoder::new(file).read_to_string(&mut json).expect("it is gzip");
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let block: alloy_rpc_types_eth::Block =
            serde_json::from_value(json["block"].clone()).expect("a block");
        let file = BlockFile::load(path).expect("a block file");
        let spec = file.spec();
        let (block_env, cfg_env) = file.environment(spec, path).expect("a header");
        let transactions = block.transactions.into_transactions().map(|transaction| {
            let transaction: TxEnvelope = transaction.inner.into_inner();
            transaction.try_into_recovered_unchecked().expect("a signature")
        });
        Self {
            name: path.file_name().expect("a name").to_string_lossy().into_owned(),
            env: EvmEnv { cfg_env, block_env },
            ctx: EthBlockExecutionCtx {
                parent_hash: block.header.parent_hash,
                parent_beacon_block_root: block.header.parent_beacon_block_root,
                ommers: &[],
                withdrawals: block.withdrawals.map(|withdrawals| Cow::Owned(withdrawals.into_inner())),
                extra_data: block.header.extra_data.clone(),
                tx_count_hint: None,
                slot_number: None,
            },
            transactions: transactions.collect(),
            receipts_root: spec.is_enabled_in(SpecId::BYZANTIUM).then_some(block.header.receipts_root),
            source: file.source,
        }
    }
}

/// All there are, or nothing with a reason.
fn fixtures() -> Vec<Fixture> {
    let Ok(folder) = fs::read_dir(FIXTURES) else {
        println!("SKIPPED: no block files in {FIXTURES}");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("a folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| Fixture::load(path)).collect()
}

/// What comes out of a block.
struct Got {
    result: BlockExecutionResult<ReceiptEnvelope>,
    bundle: BundleState,
    heard: Vec<EvmState>,
}

/// How the program goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    OneByOne,
}

/// The program: it knows no executor but by its factory.
fn program<F, S>(factory: &F, fixture: &Fixture, source: S, way: Way) -> Result<Got, BlockExecutionError>
where
    F: for<'a> BlockExecutorFactory<
            EvmFactory = EthEvmFactory,
            ExecutionCtx<'a> = EthBlockExecutionCtx<'a>,
            Transaction = TxEnvelope,
            Receipt = ReceiptEnvelope,
        >,
    S: DatabaseRef + std::fmt::Debug,
{
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    let mut state = State::builder().with_database(WrapDatabaseRef(source)).with_bundle_update().build();
    state.set_state_hook(Some(Box::new(move |changes: EvmState| {
        notes.lock().expect("not poisoned").push(changes);
    })));
    let evm = factory.evm_factory().create_evm(&mut state, fixture.env.clone());
    let mut executor = factory.create_executor(evm, fixture.ctx.clone());
    let result = match way {
        Way::Whole => executor.execute_block(&fixture.transactions)?,
        Way::OneByOne => {
            executor.apply_pre_execution_changes()?;
            for transaction in &fixture.transactions {
                executor.execute_transaction(transaction)?;
            }
            executor.apply_post_execution_changes()?
        }
    };
    state.merge_transitions(BundleRetention::Reverts);
    let heard = std::mem::take(&mut *heard.lock().expect("not poisoned"));
    Ok(Got { result, bundle: state.take_bundle(), heard })
}

fn touched(changes: &EvmState) -> std::collections::BTreeMap<Address, (AccountInfo, Vec<(U256, U256)>)> {
    let accounts = changes.iter().filter(|(_, account)| account.is_touched());
    accounts
        .map(|(address, account)| {
            let mut slots: Vec<_> =
                account.changed_storage_slots().map(|(slot, value)| (*slot, value.present_value)).collect();
            slots.sort();
            let info = AccountInfo { code: None, account_id: None, ..account.info.clone() };
            (*address, (info, slots))
        })
        .collect()
}

#[track_caller]
fn same(expected: &Got, got: &Got, way: &str) {
    assert_eq!(expected.result.receipts, got.result.receipts, "{way}");
    assert_eq!(expected.result.requests, got.result.requests, "{way}");
    assert_eq!(
        (expected.result.gas_used, expected.result.blob_gas_used),
        (got.result.gas_used, got.result.blob_gas_used),
        "{way}"
    );
    assert_eq!(expected.bundle.state, got.bundle.state, "{way}");
    assert_eq!(expected.heard.len(), got.heard.len(), "{way}");
    for (place, (expected, got)) in expected.heard.iter().zip(&got.heard).enumerate() {
        assert_eq!(touched(expected), touched(got), "{way}: change {place}");
    }
}

fn sequential() -> EthBlockExecutorFactory {
    EthBlockExecutorFactory::new(AlloyReceiptBuilder::default(), EthSpec::mainnet(), EthEvmFactory::default())
}

fn parallel(workers: usize) -> ParallelBlockExecutorFactory {
    let runtime = Runtime::builder().workers(workers).build().expect("threads");
    ParallelBlockExecutorFactory::new(AlloyReceiptBuilder::default(), EthSpec::mainnet(), Arc::new(runtime))
}

#[test]
fn mainnet_blocks_come_out_the_same() {
    let (sequential, factories) = (sequential(), [1, 2, 4].map(parallel));
    let mut roots = 0;
    for fixture in fixtures() {
        let expected = program(&sequential, &fixture, &*fixture.source, Way::Whole)
            .unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        if let Some(root) = fixture.receipts_root {
            assert_eq!(calculate_receipt_root(&expected.result.receipts), root, "{}", fixture.name);
            roots += 1;
        }
        for factory in &factories {
            for way in [Way::Whole, Way::OneByOne] {
                let name = format!("{}, {:?}, {way:?}", fixture.name, factory.runtime());
                let got = program(factory, &fixture, &*fixture.source, way);
                same(&expected, &got.unwrap_or_else(|error| panic!("{name}: {error}")), &name);
            }
        }
        // With a source of its own, and with what will come announced.
        for factory in &factories {
            for announce in [false, true] {
                let name = format!("{}, {:?}, announced {announce}", fixture.name, factory.runtime());
                let got = with_source(factory, &fixture, announce);
                same(&expected, &got.unwrap_or_else(|error| panic!("{name}: {error}")), &name);
            }
        }
    }
    println!("{roots} receipt roots agree with their headers");
}

fn with_source(
    factory: &ParallelBlockExecutorFactory,
    fixture: &Fixture,
    announce: bool,
) -> Result<Got, BlockExecutionError> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    let mut state =
        State::builder().with_database(WrapDatabaseRef(&*fixture.source)).with_bundle_update().build();
    state.set_state_hook(Some(Box::new(move |changes: EvmState| {
        notes.lock().expect("not poisoned").push(changes);
    })));
    let evm = factory.evm_factory().create_evm(&mut state, fixture.env.clone());
    let executor = factory.create_executor(evm, fixture.ctx.clone());
    let source = Arc::clone(&fixture.source) as Arc<dyn StateSource>;
    let result = if announce {
        let mut executor = executor;
        executor.apply_pre_execution_changes()?;
        executor.announce(&fixture.transactions);
        for transaction in &fixture.transactions {
            executor.execute_transaction(transaction)?;
        }
        executor.apply_post_execution_changes()?
    } else {
        executor.with_source(source).execute_block(&fixture.transactions)?
    };
    state.merge_transitions(BundleRetention::Reverts);
    let heard = std::mem::take(&mut *heard.lock().expect("not poisoned"));
    Ok(Got { result, bundle: state.take_bundle(), heard })
}

#[test]
fn with_a_source_the_state_hook_hears_of_transactions_while_others_are_executed() {
    let Some(fixture) = small() else { return };
    let signers: Vec<_> = fixture.transactions.iter().map(Recovered::signer).collect();
    let last = (1..signers.len()).rev().find(|last| !signers[..*last].contains(&signers[*last]));
    let account = signers[last.expect("a sender who comes late")];
    for factory in [1, 2].map(parallel) {
        let (hear, hears) = mpsc::channel();
        let mut state =
            State::builder().with_database(WrapDatabaseRef(&*fixture.source)).with_bundle_update().build();
        state.set_state_hook(Some(Box::new(move |_: EvmState| {
            // Who waits may have stopped to.
            let _ = hear.send(());
        })));
        let evm = factory.evm_factory().create_evm(&mut state, fixture.env.clone());
        let executor: ParallelBlockExecutor<'_, _, NoOpInspector, _, _> =
            factory.create_executor(evm, fixture.ctx.clone());
        // One account is not given before as much was heard as is waited for, or a long time has passed.
        let gate = Arc::new((Mutex::new((hears, 0)), AtomicBool::new(false)));
        let keeps = Arc::clone(&gate);
        let source = TestSource {
            memory: Arc::clone(&fixture.source),
            hook: Arc::new(move |key| {
                if key == Key::Account(account) {
                    let (hears, waits) = &mut *keeps.0.lock().expect("not poisoned");
                    for _ in 0..mem::take(waits) {
                        let more = hears.recv_timeout(Duration::from_secs(60));
                        keeps.1.fetch_or(more == Err(RecvTimeoutError::Timeout), Ordering::Relaxed);
                    }
                }
                Ok(())
            }),
            code_by_hash: false,
        };
        let mut executor = executor.with_source(Arc::new(source));
        executor.apply_pre_execution_changes().expect("system calls");
        {
            // Those will be made once more; after that a transaction has to be heard of.
            let (hears, waits) = &mut *gate.0.lock().expect("not poisoned");
            *waits = 1 + hears.try_iter().count();
        }
        let result = executor.execute_block(&fixture.transactions);
        let in_vain = gate.1.load(Ordering::Relaxed);
        assert!(!in_vain, "nothing was heard of while the block was executed");
        result.expect("the block is valid");
    }
}

/// A block that is small enough to spoil in every way.
fn small() -> Option<Fixture> {
    let fixtures = fixtures();
    fixtures.into_iter().filter(|fixture| (20..80).contains(&fixture.transactions.len())).last()
}

#[test]
fn errors_come_out_the_same() {
    let Some(mut fixture) = small() else { return };
    let (sequential, factories) = (sequential(), [1, 2].map(parallel));
    let agree = |fixture: &Fixture, what: &str| {
        let expected =
            program(&sequential, fixture, &*fixture.source, Way::Whole).err().expect(what).to_string();
        for factory in &factories {
            for way in [Way::Whole, Way::OneByOne] {
                let got = program(factory, fixture, &*fixture.source, way).err().expect(what);
                assert_eq!(got.to_string(), expected, "{what}");
            }
            let got = with_source(factory, fixture, false).err().expect(what);
            assert_eq!(got.to_string(), expected, "{what}, with a source");
        }
        expected
    };
    // With room to spare: the block is full as it is.
    fixture.env.block_env.gas_limit *= 4;
    // One that comes twice has a nonce that is too low.
    let place = fixture.transactions.len() / 2;
    let twice = fixture.transactions[place].clone();
    fixture.transactions.insert(place + 3, twice);
    let error = agree(&fixture, "a nonce too low");
    assert!(error.contains("nonce"), "{error}");
    // A block that has no gas for all of them: that comes first.
    let limit = fixture.env.block_env.gas_limit;
    fixture.env.block_env.gas_limit = fixture.transactions[..place]
        .iter()
        .map(|transaction| alloy_consensus::Transaction::gas_limit(transaction.inner()))
        .max()
        .expect("there are some");
    let error = agree(&fixture, "no gas left");
    assert!(error.contains("gas"), "{error}");
    fixture.env.block_env.gas_limit = limit;
    fixture.transactions.remove(place + 3);

    // A database that fails, for an account that a transaction in the middle needs.
    #[derive(Debug)]
    struct Failing<'a>(&'a MemorySource, Address);
    #[derive(Debug, thiserror::Error)]
    #[error("no answer for {0}")]
    struct Fault(Address);
    impl DBErrorMarker for Fault {}
    impl DatabaseRef for Failing<'_> {
        type Error = Fault;
        fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Fault> {
            if address == self.1 {
                Err(Fault(address))
            } else {
                Ok(self.0.basic_ref(address).expect("it has all"))
            }
        }
        fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Fault> {
            Ok(self.0.code_by_hash_ref(hash).expect("it has all"))
        }
        fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Fault> {
            Ok(self.0.storage_ref(address, slot).expect("it has all"))
        }
        fn block_hash_ref(&self, number: u64) -> Result<B256, Fault> {
            self.0.block_hash_ref(number).map_err(|_| Fault(Address::ZERO))
        }
    }
    for transaction in fixture.transactions.iter().step_by(7) {
        let failing = || Failing(&fixture.source, transaction.signer());
        let expected = program(&sequential, &fixture, failing(), Way::Whole).err().expect("it fails");
        for factory in &factories {
            let got = program(factory, &fixture, failing(), Way::Whole).err().expect("it fails");
            assert_eq!(got.to_string(), expected.to_string());
            let own = format!("Fault({}", transaction.signer());
            assert!(format!("{got:?}").contains(&own.to_lowercase().replace("fault", "Fault")), "{got:?}");
        }
    }
}

/// A builder's loop: invalid transactions are passed over, some are executed without being kept.
fn builder<E>(executor: &mut E, transactions: &[Recovered<TxEnvelope>]) -> Vec<String>
where
    E: BlockExecutor<Transaction = TxEnvelope, Receipt = ReceiptEnvelope>,
{
    executor.apply_pre_execution_changes().expect("system calls");
    let mut log = Vec::new();
    for (place, transaction) in transactions.iter().enumerate() {
        let kept = if place % 11 == 5 { CommitChanges::No } else { CommitChanges::Yes };
        match executor.execute_transaction_with_commit_condition(transaction, |_| kept) {
            Ok(gas) => log.push(format!("{place}: {gas:?}")),
            Err(error) => log.push(format!("{place}: {error}")),
        }
    }
    log
}

#[test]
fn what_is_announced_and_does_not_come_is_executed_again() {
    let Some(mut fixture) = small() else { return };
    let again = fixture.transactions[3].clone();
    fixture.transactions.insert(9, again);
    let sequential = sequential();
    let mut state =
        State::builder().with_database(WrapDatabaseRef(&*fixture.source)).with_bundle_update().build();
    let evm = sequential.evm_factory().create_evm(&mut state, fixture.env.clone());
    let mut executor = sequential.create_executor(evm, fixture.ctx.clone());
    let expected = builder(&mut executor, &fixture.transactions);
    let expected_receipts = executor.apply_post_execution_changes().expect("the end").receipts;
    state.merge_transitions(BundleRetention::Reverts);
    let expected_bundle = state.take_bundle();

    for factory in [1, 2].map(parallel) {
        for skip in [0, 1, 5] {
            for source in [false, true] {
                let mut state = State::builder()
                    .with_database(WrapDatabaseRef(&*fixture.source))
                    .with_bundle_update()
                    .build();
                let evm = factory.evm_factory().create_evm(&mut state, fixture.env.clone());
                let mut executor: ParallelBlockExecutor<'_, _, NoOpInspector, _, _> =
                    factory.create_executor(evm, fixture.ctx.clone());
                if source {
                    executor = executor.with_source(Arc::clone(&fixture.source) as Arc<dyn StateSource>);
                }
                // Announced from some place on: what comes before was not.
                executor.announce(&fixture.transactions[skip..]);
                let got = builder(&mut executor, &fixture.transactions);
                assert_eq!(got, expected, "{:?}, {skip}, {source}", factory.runtime());
                let receipts = executor.apply_post_execution_changes().expect("the end").receipts;
                assert_eq!(receipts, expected_receipts);
                state.merge_transitions(BundleRetention::Reverts);
                assert_eq!(state.take_bundle().state, expected_bundle.state);
            }
        }
    }
}

#[test]
fn an_inspector_sees_every_step() {
    #[derive(Default)]
    struct Steps(u64);
    impl<C, I: revm::interpreter::InterpreterTypes> revm::Inspector<C, I> for Steps {
        fn step(&mut self, _: &mut revm::interpreter::Interpreter<I>, _: &mut C) {
            self.0 += 1;
        }
    }
    let Some(fixture) = small() else { return };
    let mut counts = Vec::new();
    let mut count = |steps: u64| counts.push(steps);
    {
        let factory = sequential();
        let (mut steps, mut state) = (
            Steps::default(),
            State::builder().with_database(WrapDatabaseRef(&*fixture.source)).with_bundle_update().build(),
        );
        let evm =
            factory.evm_factory().create_evm_with_inspector(&mut state, fixture.env.clone(), &mut steps);
        factory
            .create_executor(evm, fixture.ctx.clone())
            .execute_block(&fixture.transactions)
            .expect("a block");
        count(steps.0);
    }
    {
        let factory = parallel(2);
        let (mut steps, mut state) = (
            Steps::default(),
            State::builder().with_database(WrapDatabaseRef(&*fixture.source)).with_bundle_update().build(),
        );
        let evm =
            factory.evm_factory().create_evm_with_inspector(&mut state, fixture.env.clone(), &mut steps);
        assert!(evm.chain_id() == 1);
        factory
            .create_executor(evm, fixture.ctx.clone())
            .execute_block(&fixture.transactions)
            .expect("a block");
        count(steps.0);
    }
    assert!(counts[0] > 1_000 && counts[0] == counts[1], "{counts:?}");
}
