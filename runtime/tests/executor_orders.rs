//! Results of the block executor are committed, changed and dropped in any order: whatever was announced, each transaction is
//! executed on what was committed, as by alloy-evm's own.

#![cfg(feature = "ethereum")]

use std::sync::Arc;

use alloy_consensus::{ReceiptEnvelope, Signed, TxEip1559, TxEnvelope, TxType, transaction::Recovered};
use alloy_evm::{
    EthEvmFactory, EvmEnv, EvmFactory,
    block::{BlockExecutor, BlockExecutorFactory, CommitChanges},
    eth::{
        EthBlockExecutionCtx, EthBlockExecutorFactory, EthTxResult, receipt_builder::AlloyReceiptBuilder,
        spec::EthSpec,
    },
};
use counterpoint::{
    Runtime,
    ethereum::{ParallelBlockExecutor, ParallelBlockExecutorFactory},
    state::MemorySource,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use revm::{
    bytecode::Bytecode,
    context::{
        BlockEnv, CfgEnv,
        result::{HaltReason, ResultAndState},
    },
    database::{BundleState, State, WrapDatabaseRef, states::bundle_state::BundleRetention},
    inspector::NoOpInspector,
    primitives::{Address, B256, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

const CONTRACT: Address = Address::repeat_byte(0xc0);
const SENDERS: u64 = 6;

type TxResult = EthTxResult<HaltReason, TxType>;

fn sender(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(0xad00 + number)))
}

/// Calls add one to the slot that they name.
fn state() -> MemorySource {
    let mut state = MemorySource::new();
    for number in 0..SENDERS {
        state.insert_account(sender(number), AccountInfo::from_balance(U256::from(10_u128.pow(18))), []);
    }
    let code = Bytes::from(vec![0x60, 0, 0x35, 0x54, 0x60, 1, 0x01, 0x60, 0, 0x35, 0x55]);
    let info = AccountInfo { nonce: 1, ..AccountInfo::default() }.with_code(Bytecode::new_raw(code));
    state.insert_account(CONTRACT, info, []);
    state
}

fn call(from: u64, nonce: u64, slot: u64) -> Recovered<TxEnvelope> {
    let call = TxEip1559 {
        chain_id: 1,
        nonce,
        gas_limit: 100_000,
        to: TxKind::Call(CONTRACT),
        // The sender as well: signed by nobody, the same calls of two senders would have the same hash.
        input: [U256::from(slot), U256::from(from)].map(|word| word.to_be_bytes::<32>()).concat().into(),
        ..TxEip1559::default()
    };
    let signature = alloy_primitives::Signature::test_signature();
    Recovered::new_unchecked(TxEnvelope::from(Signed::new_unhashed(call, signature)), sender(from))
}

/// What a host does with the transactions that it announced.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Executes the next one and commits it.
    Next,
    /// Executes the next one without keeping it.
    Try,
    /// Passes the next one over.
    Pass,
    /// Executes the next one and holds the result.
    Hold,
    /// Executes the one before once more, and holds the result.
    Again,
    /// Commits the held result at this place.
    Commit(usize),
    /// Commits a copy of it, and goes on holding it.
    Copy(usize),
    /// Commits it with something changed.
    Changed(usize),
    Drop(usize),
    /// Commits a result that nobody gave it.
    Own,
}

fn program<E>(executor: &mut E, transactions: &[Recovered<TxEnvelope>], steps: &[Step]) -> Vec<String>
where
    E: BlockExecutor<Transaction = TxEnvelope, Receipt = ReceiptEnvelope, Result = TxResult>,
{
    let (mut held, mut log, mut place) = (Vec::new(), Vec::new(), 0);
    executor.apply_pre_execution_changes().expect("there are none");
    for step in steps {
        let at = |index: usize, held: &[TxResult]| (!held.is_empty()).then(|| index % held.len().max(1));
        let copy = |output: &TxResult| TxResult {
            result: output.result.clone(),
            blob_gas_used: output.blob_gas_used,
            tx_type: output.tx_type,
        };
        let next = transactions.get(place);
        match (*step, next) {
            (Step::Next, Some(next)) => {
                let gas = executor.execute_transaction(next);
                log.push(format!("{:?}", gas.map_err(|error| error.to_string())));
                place += 1;
            }
            (Step::Try, Some(next)) => {
                let gas = executor.execute_transaction_with_commit_condition(next, |_| CommitChanges::No);
                log.push(format!("{:?}", gas.map_err(|error| error.to_string())));
                place += 1;
            }
            (Step::Pass, Some(_)) => place += 1,
            (Step::Hold, Some(_)) | (Step::Again, _) => {
                place += usize::from(matches!(step, Step::Hold));
                let Some(last) = place.checked_sub(1) else { continue };
                match executor.execute_transaction_without_commit(&transactions[last]) {
                    Ok(output) => {
                        log.push(format!("{:?}", output.result.result));
                        held.push(output);
                    }
                    Err(error) => log.push(error.to_string()),
                }
            }
            (Step::Commit(index), _) => {
                let Some(index) = at(index, &held) else { continue };
                log.push(format!("{:?}", executor.commit_transaction(held.remove(index))));
            }
            (Step::Copy(index), _) => {
                let Some(index) = at(index, &held) else { continue };
                log.push(format!("{:?}", executor.commit_transaction(copy(&held[index]))));
            }
            (Step::Changed(index), _) => {
                let Some(index) = at(index, &held) else { continue };
                let mut output = held.remove(index);
                for account in output.result.state.values_mut() {
                    for slot in account.storage.values_mut().filter(|slot| slot.is_changed()) {
                        slot.present_value = U256::ZERO;
                    }
                }
                log.push(format!("{:?}", executor.commit_transaction(output)));
            }
            (Step::Drop(index), _) => {
                let Some(index) = at(index, &held) else { continue };
                held.remove(index);
            }
            (Step::Own, _) => {
                let Some(output) = held.last() else { continue };
                let ResultAndState { result, mut state } = copy(output).result;
                state.retain(|address, _| *address == CONTRACT);
                let output = TxResult { result: ResultAndState { result, state }, ..copy(output) };
                log.push(format!("{:?}", executor.commit_transaction(output)));
            }
            (Step::Next | Step::Try | Step::Pass | Step::Hold, None) => {}
        }
    }
    log
}

type Got = (Vec<String>, Vec<ReceiptEnvelope>, BundleState);

fn run<F>(
    factory: &F,
    run: impl for<'a> FnOnce(
        &'a F,
        alloy_evm::EthEvm<
            &'a mut State<WrapDatabaseRef<MemorySource>>,
            NoOpInspector,
            alloy_evm::precompiles::PrecompilesMap,
        >,
        EthBlockExecutionCtx<'a>,
    ) -> (Vec<String>, Vec<ReceiptEnvelope>),
) -> Got {
    let mut database = State::builder().with_database(WrapDatabaseRef(state())).with_bundle_update().build();
    let env = EvmEnv {
        cfg_env: CfgEnv::new_with_spec(SpecId::SHANGHAI),
        block_env: BlockEnv {
            number: U256::from(17_100_000),
            timestamp: U256::from(1_682_000_000),
            // The last ones do not fit.
            gas_limit: 400_000,
            ..BlockEnv::default()
        },
    };
    let ctx = EthBlockExecutionCtx {
        parent_hash: B256::ZERO,
        parent_beacon_block_root: None,
        ommers: &[],
        withdrawals: None,
        extra_data: Bytes::default(),
        tx_count_hint: None,
        slot_number: None,
    };
    let (log, receipts) = run(factory, EthEvmFactory::default().create_evm(&mut database, env), ctx);
    database.merge_transitions(BundleRetention::Reverts);
    (log, receipts, database.take_bundle())
}

fn sequential(transactions: &[Recovered<TxEnvelope>], steps: &[Step]) -> Got {
    let factory = EthBlockExecutorFactory::new(
        AlloyReceiptBuilder::default(),
        EthSpec::mainnet(),
        EthEvmFactory::default(),
    );
    run(&factory, |factory, evm, ctx| {
        let mut executor = factory.create_executor(evm, ctx);
        let log = program(&mut executor, transactions, steps);
        (log, executor.apply_post_execution_changes().expect("the end").receipts)
    })
}

fn parallel(
    factory: &ParallelBlockExecutorFactory,
    transactions: &[Recovered<TxEnvelope>],
    steps: &[Step],
    source: bool,
) -> Got {
    run(factory, |factory, evm, ctx| {
        let mut executor: ParallelBlockExecutor<'_, _, NoOpInspector, _, _> =
            factory.create_executor(evm, ctx);
        if source {
            executor = executor.with_source(Arc::new(state()));
        }
        executor.announce(transactions);
        let log = program(&mut executor, transactions, steps);
        (log, executor.apply_post_execution_changes().expect("the end").receipts)
    })
}

#[track_caller]
fn agree(transactions: &[Recovered<TxEnvelope>], steps: &[Step]) -> Got {
    let expected = sequential(transactions, steps);
    let runtime = Runtime::builder().workers(2).build().expect("threads");
    let factory = ParallelBlockExecutorFactory::new(
        AlloyReceiptBuilder::default(),
        EthSpec::mainnet(),
        Arc::new(runtime),
    );
    for source in [false, true] {
        let got = parallel(&factory, transactions, steps, source);
        assert_eq!(got.0, expected.0, "source {source}, {steps:?}");
        assert_eq!(got.1, expected.1, "source {source}, {steps:?}");
        assert_eq!(got.2.state, expected.2.state, "source {source}, {steps:?}");
    }
    expected
}

#[test]
fn the_one_before_the_last_result_is_committed() {
    let transactions = [call(1, 0, 1), call(2, 0, 2), call(3, 0, 2)];
    let steps = [Step::Hold, Step::Hold, Step::Commit(0), Step::Drop(0), Step::Next];
    let (_, receipts, bundle) = agree(&transactions, &steps);
    assert_eq!(receipts.len(), 2);
    let slots = &bundle.state[&CONTRACT].storage;
    for slot in [1, 2] {
        assert_eq!(slots[&U256::from(slot)].present_value, U256::from(1), "{slot}");
    }
}

#[test]
fn a_result_of_the_hosts_own_is_committed() {
    let transactions = [call(1, 0, 1), call(2, 0, 1), call(3, 0, 1), call(4, 0, 1)];
    agree(&transactions, &[Step::Hold, Step::Changed(0), Step::Next, Step::Next]);
    agree(&transactions, &[Step::Hold, Step::Own, Step::Next, Step::Next]);
    // Twice, and one that was committed before.
    agree(
        &transactions,
        &[Step::Hold, Step::Copy(0), Step::Copy(0), Step::Next, Step::Commit(0), Step::Next],
    );
}

#[test]
fn results_are_committed_in_any_order() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut nonces = [0; SENDERS as usize];
        let transactions: Vec<_> = (0..12)
            .map(|_| {
                let from = random.random_range(0..SENDERS);
                let nonce = &mut nonces[from as usize];
                // Now and then one is invalid.
                *nonce += u64::from(random.random_ratio(1, 20));
                *nonce += 1;
                call(from, *nonce - 1, random.random_range(0..3))
            })
            .collect();
        let steps: Vec<_> = (0..24)
            .map(|_| {
                let index = random.random_range(0..4);
                match random.random_range(0..16) {
                    0..5 => Step::Next,
                    5 => Step::Try,
                    6 => Step::Pass,
                    7..10 => Step::Hold,
                    10 => Step::Again,
                    11 | 12 => Step::Commit(index),
                    13 => Step::Copy(index),
                    14 if index < 2 => Step::Changed(index),
                    14 => Step::Own,
                    _ => Step::Drop(index),
                }
            })
            .collect();
        agree(&transactions, &steps);
    }
}
