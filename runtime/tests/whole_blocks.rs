//! What happens around a block's transactions, at several worker counts and under chaos, each compared with the same
//! rules around sequential revm.

#![cfg(feature = "cli")]

use std::sync::Arc;

use alloy_consensus::{Eip658Value, TxReceipt};
use alloy_eips::{
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_hardforks::EthereumHardfork as Fork;
use counterpoint::{
    ExecuteError, Mode, Runtime,
    cli::sequential::SequentialEngine,
    ethereum::{
        BlockError, Engine, ExecutedBlock, Ommer, RequestError, Rules, StateTrie, TransactionError,
        WholeBlock, execute,
    },
    state::{MemorySource, SourceError, StateSource},
};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, TxEnv},
    primitives::{Address, B256, Bytes, TxKind, U256, b256, bytes, hex},
    state::AccountInfo,
};

const SENDER: Address = Address::repeat_byte(0x51);
const OTHER: Address = Address::repeat_byte(0x52);
const MINER: Address = Address::repeat_byte(0xbe);
const CONTRACT: Address = Address::repeat_byte(0xc0);
const ETHER: u128 = 1_000_000_000_000_000_000;

/// A block under test.
struct Case {
    rules: Rules,
    source: MemorySource,
    transactions: Vec<TxEnv>,
    gas_limit: u64,
    number: u64,
    withdrawals: Option<Vec<Withdrawal>>,
    ommers: Vec<Ommer>,
    reward: Option<u128>,
    beacon_root: Option<B256>,
}

impl Case {
    fn new(fork: Fork) -> Self {
        let mut source = MemorySource::new();
        for sender in [SENDER, OTHER] {
            source.insert_account(sender, AccountInfo::from_balance(U256::from(ETHER)), []);
        }
        let mut case = Self {
            rules: Rules::new(fork, 1),
            source,
            transactions: Vec::new(),
            gas_limit: 30_000_000,
            number: 7,
            withdrawals: None,
            ommers: Vec::new(),
            reward: None,
            beacon_root: Some(B256::ZERO),
        };
        if fork >= Fork::Prague {
            case.contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE, &[]);
            case.contract(
                CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
                &CONSOLIDATION_REQUEST_PREDEPLOY_CODE,
                &[],
            );
        }
        case
    }

    fn contract(&mut self, address: Address, code: &Bytes, storage: &[(u64, u64)]) {
        let info =
            AccountInfo { nonce: 1, code: Some(Bytecode::new_raw(code.clone())), ..Default::default() };
        let slots = storage.iter().map(|(slot, value)| (U256::from(*slot), U256::from(*value)));
        self.source.insert_account(address, info, slots);
    }

    fn send(&mut self, caller: Address, to: Address, value: u128, gas_limit: u64, data: Bytes) -> &mut TxEnv {
        let nonce = self.transactions.iter().filter(|tx| tx.caller == caller).count() as u64;
        self.transactions.push(TxEnv {
            caller,
            kind: TxKind::Call(to),
            value: U256::from(value),
            gas_limit,
            nonce,
            data,
            chain_id: None,
            ..TxEnv::default()
        });
        self.transactions.last_mut().expect("just pushed")
    }

    fn block(&self, mode: Mode) -> WholeBlock<'_> {
        WholeBlock {
            env: BlockEnv {
                number: U256::from(self.number),
                beneficiary: MINER,
                timestamp: U256::from(1_000),
                gas_limit: self.gas_limit,
                prevrandao: Some(B256::ZERO),
                blob_excess_gas_and_price: self.rules.blob_fee(0),
                ..BlockEnv::default()
            },
            parent_hash: B256::repeat_byte(0x99),
            parent_beacon_block_root: self.beacon_root,
            ommers: &self.ommers,
            withdrawals: self.withdrawals.as_deref(),
            reward: self.reward,
            transactions: self.transactions.clone().into(),
            source: Arc::new(self.source.clone()) as Arc<dyn StateSource>,
            mode,
        }
    }

    fn execute_on(&self, engine: &impl Engine, mode: Mode) -> Result<ExecutedBlock, BlockError> {
        let block = self.block(mode);
        let trie = StateTrie::new(&self.source);
        let mut root = |bundle: &_| trie.root_after(bundle);
        let roots = !self.rules.has(Fork::Byzantium);
        execute(engine, &self.rules, &block, if roots { Some(&mut root) } else { None })
    }

    /// Executes the block in every way; all of them have to give the same.
    fn execute(&self, mode: Mode) -> Result<ExecutedBlock, BlockError> {
        let expected = self.execute_on(&SequentialEngine, mode);
        for runtime in runtimes() {
            let got = self.execute_on(&runtime, mode);
            match (&expected, &got) {
                (Ok(expected), Ok(got)) => {
                    assert_eq!(expected.transactions, got.transactions, "{runtime:?}");
                    assert_eq!(expected.receipts, got.receipts, "{runtime:?}");
                    assert_eq!(expected.requests, got.requests, "{runtime:?}");
                    assert_eq!(expected.bundle.state, got.bundle.state, "{runtime:?}");
                    assert_eq!(
                        (expected.gas_used, expected.blob_gas_used),
                        (got.gas_used, got.blob_gas_used),
                        "{runtime:?}"
                    );
                }
                _ => assert_eq!(
                    expected.as_ref().map(|_| ()).map_err(ToString::to_string),
                    got.as_ref().map(|_| ()).map_err(ToString::to_string),
                    "{runtime:?}"
                ),
            }
        }
        expected
    }

    fn after(&self, executed: &ExecutedBlock) -> MemorySource {
        let mut state = self.source.clone();
        state.apply(&executed.bundle);
        state
    }
}

fn runtimes() -> Vec<Runtime> {
    let builders = [
        Runtime::builder().workers(1),
        Runtime::builder().workers(2).serial_prefix(0),
        Runtime::builder().workers(8).serial_prefix(1),
    ];
    #[cfg(feature = "chaos")]
    let builders = builders.into_iter().chain((0..4).map(|seed| Runtime::builder().workers(4).chaos(seed)));
    builders.into_iter().map(|builder| builder.build().expect("threads can be started")).collect()
}

fn slot(state: &MemorySource, address: Address, slot: u64) -> U256 {
    let storage = state.get(&address).map(|(_, storage)| storage);
    storage.and_then(|storage| storage.get(&U256::from(slot))).copied().unwrap_or_default()
}

fn balance(state: &MemorySource, address: Address) -> Option<u128> {
    state.get(&address).map(|(info, _)| info.balance.to())
}

#[test]
fn system_calls_come_before_the_transactions() {
    let mut case = Case::new(Fork::Cancun);
    let root = b256!("0x00000000000000000000000000000000000000000000000000000000000000aa");
    case.beacon_root = Some(root);
    case.contract(BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE, &[]);
    // What the first transaction reads was written by the system call.
    let timestamp = U256::from(1_000).to_be_bytes::<32>();
    case.send(SENDER, BEACON_ROOTS_ADDRESS, 0, 100_000, Bytes::from(timestamp));
    case.send(OTHER, BEACON_ROOTS_ADDRESS, 0, 100_000, Bytes::from(timestamp));
    let executed = case.execute(Mode::Verify).unwrap();
    for result in &executed.transactions {
        assert_eq!(result.as_ref().unwrap().output().unwrap().as_ref(), root.as_slice());
    }
    let state = case.after(&executed);
    assert_eq!(slot(&state, BEACON_ROOTS_ADDRESS, 1_000), U256::from(1_000));

    case.beacon_root = None;
    assert!(matches!(case.execute(Mode::Verify), Err(BlockError::Request(_))));
}

#[test]
fn withdrawals_are_paid_and_nothing_is_paid_to_nobody() {
    let mut case = Case::new(Fork::Shanghai);
    let empty = Address::repeat_byte(0xe0);
    case.source.insert_account(empty, AccountInfo::default(), []);
    case.send(SENDER, MINER, 5, 21_000, Bytes::new());
    let paid = |address, amount| Withdrawal { index: 0, validator_index: 0, address, amount };
    case.withdrawals =
        Some(vec![paid(MINER, 2), paid(CONTRACT, 1), paid(CONTRACT, 3), paid(OTHER, 0), paid(empty, 0)]);
    let state = case.after(&case.execute(Mode::Verify).unwrap());
    assert_eq!(balance(&state, MINER), Some(2_000_000_005));
    assert_eq!(balance(&state, CONTRACT), Some(4_000_000_000));
    assert_eq!(balance(&state, OTHER), Some(ETHER));
    assert_eq!(balance(&state, empty), None, "EIP-161: a touched empty account goes");
}

#[test]
fn miners_and_ommers_are_rewarded_before_the_merge() {
    for (fork, reward) in [(Fork::Frontier, 5), (Fork::Byzantium, 3), (Fork::Petersburg, 2)] {
        let mut case = Case::new(fork);
        case.reward = case.rules.block_reward();
        let ommer = |number| Ommer { beneficiary: CONTRACT, number };
        case.ommers = vec![ommer(6), ommer(1)];
        case.send(SENDER, OTHER, 1, 21_000, Bytes::new());
        let state = case.after(&case.execute(Mode::Verify).unwrap());
        assert_eq!(balance(&state, MINER), Some(reward * ETHER + 2 * (reward * ETHER / 32)));
        assert_eq!(balance(&state, CONTRACT), Some(reward * ETHER * 7 / 8 + reward * ETHER * 2 / 8));
    }
    assert_eq!(Rules::new(Fork::Paris, 1).block_reward(), None);
}

#[test]
fn a_reward_of_nothing_is_not_no_reward() {
    for (fork, exists) in [(Fork::Homestead, true), (Fork::SpuriousDragon, false)] {
        let mut case = Case::new(fork);
        case.reward = Some(0);
        let state = case.after(&case.execute(Mode::Verify).unwrap());
        assert_eq!(balance(&state, MINER), exists.then_some(0));
        case.reward = None;
        assert_eq!(balance(&case.after(&case.execute(Mode::Verify).unwrap()), MINER), None);
    }
}

#[test]
fn the_blocks_gas_is_shared() {
    let mut case = Case::new(Fork::Cancun);
    case.gas_limit = 50_000;
    case.send(SENDER, CONTRACT, 1, 30_000, Bytes::new());
    case.send(OTHER, CONTRACT, 1, 30_000, Bytes::new());
    case.send(SENDER, CONTRACT, 1, 29_000, Bytes::new());
    case.send(OTHER, CONTRACT, 1, 21_000, Bytes::new());
    let error = case.execute(Mode::Verify).unwrap_err();
    let cause = TransactionError::GasAllowance { limit: 30_000, left: 29_000 };
    assert!(matches!(&error, BlockError::Transaction { index: 1, cause: got } if *got == cause), "{error}");

    // Without the second, the third fits and the last does not.
    let executed = case.execute(Mode::Build).unwrap();
    assert_eq!(executed.gas_used, 42_000);
    let rejected: Vec<_> = executed.transactions.iter().map(|result| result.as_ref().err()).collect();
    assert_eq!(rejected[0], None);
    assert_eq!(rejected[1], Some(&cause));
    assert_eq!(rejected[2], None);
    assert!(rejected[3].is_some(), "no gas, and a nonce too high");
    assert_eq!(balance(&case.after(&executed), CONTRACT), Some(2));
}

/// A state that an account cannot be read of.
struct Failing(MemorySource, Address);

impl StateSource for Failing {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        if address == self.1 { Err(SourceError::new("it is gone")) } else { self.0.account(address) }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.0.storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.0.block_hash(number)
    }
}

#[test]
fn a_failure_after_a_transaction_that_did_not_fit_is_named_by_its_place() {
    let mut case = Case::new(Fork::Cancun);
    case.gas_limit = 72_000;
    let lost = Address::repeat_byte(0x77);
    case.source.insert_account(lost, AccountInfo::from_balance(U256::from(ETHER)), []);
    case.send(SENDER, CONTRACT, 1, 30_000, Bytes::new());
    case.send(OTHER, CONTRACT, 1, 60_000, Bytes::new());
    // Its nonce is used up, unless the one before turns out not to fit: then it is executed, and fails.
    case.send(OTHER, lost, 1, 21_000, Bytes::new()).nonce = 0;
    let block = WholeBlock {
        source: Arc::new(Failing(case.source.clone(), lost)) as Arc<dyn StateSource>,
        ..case.block(Mode::Build)
    };
    for runtime in runtimes() {
        let error = execute(&runtime, &case.rules, &block, None).unwrap_err();
        let place = ExecuteError::Source { index: 2, cause: SourceError::new("it is gone") };
        assert!(
            matches!(&error, BlockError::Execute(got) if got.to_string() == place.to_string()),
            "{error}"
        );
    }
}

#[test]
fn of_two_faults_the_first_counts() {
    let mut case = Case::new(Fork::Cancun);
    case.gas_limit = 50_000;
    case.send(SENDER, CONTRACT, 1, 30_000, Bytes::new());
    case.send(OTHER, CONTRACT, 1, 30_000, Bytes::new());
    case.send(SENDER, CONTRACT, 1, 21_000, Bytes::new()).nonce = 9;
    let error = case.execute(Mode::Verify).unwrap_err();
    let expected =
        matches!(error, BlockError::Transaction { index: 1, cause: TransactionError::GasAllowance { .. } });
    assert!(expected, "{error}");
    case.gas_limit = 30_000_000;
    let error = case.execute(Mode::Verify).unwrap_err();
    assert!(
        matches!(error, BlockError::Transaction { index: 2, cause: TransactionError::Invalid(_) }),
        "{error}"
    );
}

#[test]
fn the_dao_loses_its_ether_before_the_transactions() {
    let mut case = Case::new(Fork::Dao);
    case.rules.dao_block = Some(7);
    let [first, second] = [DAO_HARDFORK_ACCOUNTS[0], DAO_HARDFORK_ACCOUNTS[1]];
    case.source.insert_account(first, AccountInfo::from_balance(U256::from(100)), []);
    case.source.insert_account(second, AccountInfo { nonce: 1, ..Default::default() }, []);
    // slot 0 = balance of the first account + 1
    let code = [hex!("73").as_slice(), first.as_slice(), &hex!("31600101600055")].concat();
    case.contract(CONTRACT, &code.into(), &[]);
    case.send(SENDER, CONTRACT, 0, 100_000, Bytes::new());
    let state = case.after(&case.execute(Mode::Verify).unwrap());
    assert_eq!(slot(&state, CONTRACT, 0), U256::ONE);
    assert_eq!(balance(&state, first), Some(0), "before EIP-161 it stays");
    assert_eq!(balance(&state, second), Some(0));
    assert_eq!(balance(&state, DAO_HARDFORK_BENEFICIARY), Some(100));

    case.number = 8;
    let state = case.after(&case.execute(Mode::Verify).unwrap());
    assert_eq!(slot(&state, CONTRACT, 0), U256::from(101));
    assert_eq!(balance(&state, first), Some(100));
}

#[test]
fn receipts_hold_the_state_root_before_byzantium() {
    let mut case = Case::new(Fork::Frontier);
    for _ in 0..3 {
        case.send(SENDER, CONTRACT, 1, 21_000, Bytes::new());
        case.send(OTHER, SENDER, 1, 21_000, Bytes::new());
    }
    let executed = case.execute(Mode::Verify).unwrap();
    let roots: Vec<_> = executed.receipts.iter().map(|receipt| receipt.status_or_post_state()).collect();
    let last = StateTrie::new(&case.after(&executed)).root();
    assert_eq!(roots.last(), Some(&Eip658Value::PostState(last)));
    for (place, root) in roots.iter().enumerate() {
        assert_eq!(roots.iter().position(|other| other == root), Some(place), "all differ");
    }
}

#[test]
fn requests_are_collected() {
    let mut case = Case::new(Fork::Prague);
    // A validator's key and an amount: 48 and 8 bytes. The fee is one wei.
    let data = Bytes::from([[0x11; 48].as_slice(), &[0, 0, 0, 0, 0, 0, 0, 5]].concat());
    case.send(SENDER, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 1, 300_000, data);
    let executed = case.execute(Mode::Verify).unwrap();
    let expected = [&[1], SENDER.as_slice(), &[0x11; 48], &[5, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(executed.requests.iter().map(|request| request.to_vec()).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_block_without_the_request_contracts_is_not_valid() {
    let mut case = Case::new(Fork::Prague);
    case.contract(CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &bytes!("fe"), &[]);
    assert!(matches!(case.execute(Mode::Verify), Err(BlockError::Request(RequestError::CallFailed(_)))));
    case.source.insert_account(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, AccountInfo::default(), []);
    let error = case.execute(Mode::Verify).unwrap_err();
    assert!(
        matches!(error, BlockError::Request(RequestError::NoContract(at)) if at == WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
        "{error}"
    );
}

#[test]
fn deposits_are_read_from_logs_of_the_right_layout_only() {
    let topic = hex!("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");
    // calldatacopy(0, 0, calldatasize); log1(0, calldatasize, topic)
    let code = [hex!("3660006000377f").as_slice(), &topic, &hex!("366000a1")].concat();
    let mut data = Vec::new();
    let word = |number: u64| U256::from(number).to_be_bytes::<32>();
    for offset in [160, 256, 320, 384, 512] {
        data.extend(word(offset));
    }
    for (length, padded) in [(48, 64), (32, 32), (8, 32), (96, 96), (8, 32)] {
        data.extend(word(length));
        data.extend((0..padded).map(|place| if place < length { length as u8 } else { 0 }));
    }
    let mut case = Case::new(Fork::Prague);
    case.rules.deposit_contract = CONTRACT;
    case.contract(CONTRACT, &code.into(), &[]);
    case.send(SENDER, CONTRACT, 0, 300_000, data.clone().into());
    let requests = case.execute(Mode::Verify).unwrap().requests;
    let parts = [48, 32, 8, 96, 8].map(|length| vec![length; usize::from(length)]).concat();
    assert_eq!(
        requests.iter().map(|request| request.to_vec()).collect::<Vec<_>>(),
        [[vec![0], parts].concat()]
    );

    // One wrong length, one wrong offset, a byte too much.
    let spoil = |at: usize| {
        let mut data = data.clone();
        data[at] += 1;
        data
    };
    for wrong in [spoil(160 + 31), spoil(31), spoil(0), [data.as_slice(), &[0]].concat(), Vec::new()] {
        case.transactions.clear();
        case.send(SENDER, CONTRACT, 0, 300_000, wrong.into());
        let result = case.execute(Mode::Verify);
        assert!(matches!(result, Err(BlockError::Request(RequestError::DepositLayout))), "{result:?}");
    }
}

/// EIP-7610. Sequential revm does not know it, so there is nothing to compare with.
#[test]
fn nothing_is_created_over_storage() {
    let mut case = Case::new(Fork::Cancun);
    case.source.set_eip7610(true);
    let (direct, inner) = (SENDER.create(0), CONTRACT.create(1));
    for address in [direct, inner] {
        case.source.insert_account(
            address,
            AccountInfo::from_balance(U256::from(7)),
            [(U256::ONE, U256::ONE)],
        );
    }
    // slot 0 = create(0, 0, 0) + 1
    case.contract(CONTRACT, &bytes!("600060006000f0600101600055"), &[]);
    // Deploys nothing.
    case.send(SENDER, CONTRACT, 0, 100_000, Bytes::new()).kind = TxKind::Create;
    // A collision takes all the gas that the creation was given.
    case.send(OTHER, CONTRACT, 0, 10_000_000, Bytes::new());
    for runtime in runtimes() {
        let executed = case.execute_on(&runtime, Mode::Verify).unwrap();
        let first = executed.transactions[0].as_ref().unwrap();
        assert!(first.is_halt() && first.tx_gas_used() == 100_000, "{runtime:?}: {first:?}");
        let state = case.after(&executed);
        assert_eq!(slot(&state, CONTRACT, 0), U256::ONE, "{runtime:?}: no contract was created");
        for address in [direct, inner] {
            let (info, _) = state.get(&address).unwrap();
            assert_eq!((info.nonce, info.balance, slot(&state, address, 1)), (0, U256::from(7), U256::ONE));
        }
        let (contract, _) = state.get(&CONTRACT).unwrap();
        assert_eq!(contract.nonce, 2, "{runtime:?}: the nonce counts nevertheless");
    }
    // Without storage there is nothing in the way.
    for address in [direct, inner] {
        case.source.insert_account(address, AccountInfo::from_balance(U256::from(7)), []);
    }
    let state = case.after(&case.execute(Mode::Verify).unwrap());
    assert_ne!(slot(&state, CONTRACT, 0), U256::ONE);
    assert_eq!(state.get(&direct).unwrap().0.nonce, 1);
}
