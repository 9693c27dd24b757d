//! What is asked of a slow source ahead of its use: how many rounds of answers a block takes, whatever they last.

#![cfg(feature = "cli")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_hardforks::EthereumHardfork;
use common::{
    Case, Watchdog, address, agree,
    later::{Later, answer},
};
use counterpoint::{
    Mode, Runtime,
    cli::sequential::SequentialEngine,
    ethereum::{self, Rules, WholeBlock},
    state::{DeferredSource, MemorySource, Request, StateSource},
};
use revm::{
    bytecode::Bytecode,
    primitives::{B256, Bytes, U256, hardfork::SpecId, hex},
    state::AccountInfo,
};

/// Answers everything that has been asked once nothing was asked for a while: a round.
struct Rounds {
    requests: Mutex<mpsc::Sender<Vec<Request>>>,
    rounds: Arc<AtomicU32>,
    /// How many keys it was asked for.
    asked: Arc<AtomicU32>,
}

impl Rounds {
    fn new(memory: MemorySource) -> Self {
        let (requests, queue) = mpsc::channel::<Vec<Request>>();
        let rounds = Arc::new(AtomicU32::new(0));
        let asked = Arc::<AtomicU32>::default();
        let (count, keys) = (Arc::clone(&rounds), Arc::clone(&asked));
        thread::spawn(move || {
            while let Ok(mut round) = queue.recv() {
                while let Ok(more) = queue.recv_timeout(Duration::from_millis(5)) {
                    round.extend(more);
                }
                count.fetch_add(1, Ordering::Relaxed);
                keys.fetch_add(round.len() as u32, Ordering::Relaxed);
                for request in round {
                    let answer = answer(&memory, request.key());
                    request.answer(answer);
                }
            }
        });
        Self { requests: Mutex::new(requests), rounds, asked }
    }
}

impl DeferredSource for Rounds {
    fn request(&self, requests: Vec<Request>) {
        self.requests
            .lock()
            .expect("not poisoned")
            .send(requests)
            .expect("it listens while the source lives");
    }
}

/// Executes the block; returns how many rounds of answers it took.
fn rounds(case: &Case) -> u32 {
    execute(case, &runtime()).0
}

fn runtime() -> Runtime {
    Runtime::builder().workers(2).keep_states(true).build().expect("a thread can be started")
}

/// Executes the block; returns how many rounds of answers it took, and how many keys were asked for.
fn execute(case: &Case, runtime: &Runtime) -> (u32, u32) {
    let _watchdog = Watchdog::new(Duration::from_secs(120));
    let source = Rounds::new(case.memory.clone());
    let (rounds, asked) = (Arc::clone(&source.rounds), Arc::clone(&source.asked));
    let mut block = case.block(Mode::Verify);
    block.source = Arc::new(Later(Arc::new(source)));
    agree(&case.sequential(Mode::Verify), &runtime.execute(&block), "in rounds");
    (rounds.load(Ordering::Relaxed), asked.load(Ordering::Relaxed))
}

#[test]
fn what_a_whole_block_reads_in_any_case_is_asked_for_at_once() {
    let _watchdog = Watchdog::new(Duration::from_secs(120));
    let contract = |code: &Bytes| AccountInfo {
        nonce: 1,
        code: Some(Bytecode::new_raw(code.clone())),
        ..Default::default()
    };
    let mut memory = MemorySource::new();
    for (address, code) in [
        (BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ] {
        memory.insert_account(address, contract(code), []);
    }
    let mut case = Case::new(SpecId::PRAGUE);
    for number in 0..8 {
        let sender = case.rich(10 + number);
        case.send(sender, address(50 + number), 5);
    }
    for (address, info, _) in case.memory.accounts() {
        memory.insert_account(*address, info.clone(), []);
    }
    let withdrawals: Vec<Withdrawal> = (0..16)
        .map(|index| Withdrawal { index, validator_index: index, address: address(100 + index), amount: 1 })
        .collect();
    let rules = Rules::new(EthereumHardfork::Prague, 1);
    let block = |source: Arc<dyn StateSource>| WholeBlock {
        env: case.env.clone(),
        parent_hash: B256::repeat_byte(1),
        parent_beacon_block_root: Some(B256::repeat_byte(2)),
        ommers: &[],
        withdrawals: Some(&withdrawals),
        reward: None,
        transactions: case.transactions.clone().into(),
        source,
        mode: Mode::Verify,
    };
    let expected = ethereum::execute(&SequentialEngine, &rules, &block(Arc::new(memory.clone())), None);
    let expected = expected.expect("a block");
    for workers in [1, 2, 4] {
        let runtime = Runtime::builder().workers(workers).build().expect("threads");
        let source = Rounds::new(memory.clone());
        let (rounds, asked) = (Arc::clone(&source.rounds), Arc::clone(&source.asked));
        let block = block(Arc::new(Later(Arc::new(source))));
        let got = ethereum::execute(&runtime, &rules, &block, None).expect("a block");
        assert_eq!(got.bundle.state, expected.bundle.state);
        assert_eq!((&got.receipts, &got.requests), (&expected.receipts, &expected.requests));
        let (rounds, asked) = (rounds.load(Ordering::Relaxed), asked.load(Ordering::Relaxed));
        // Accounts and slots; their code, if it is asked for; the transactions' accounts.
        assert!(rounds <= 4, "{rounds} rounds");
        assert!(asked <= 70, "{asked} requests for some sixty keys");
    }
}

#[test]
fn a_loop_over_accounts_takes_few_rounds() {
    let mut case = Case::new(SpecId::BERLIN);
    let sender = case.rich(1);
    // for (i = 200; i != 0; i--) { balance(0x1000 + i) }
    let code = Bytes::from_static(&hex!("60c8 5b 80 611000 01 31 50 6001 90 03 80 6002 57 00"));
    let contract = case.contract(address(2), code, &[]);
    case.call(sender, contract, &[]);
    let rounds = rounds(&case);
    assert!(rounds < 60, "{rounds} rounds for 200 accounts");
}

#[test]
fn payments_to_a_contract_are_looked_into_though_they_carry_no_data() {
    let mut case = Case::new(SpecId::BERLIN);
    // sstore(caller, sload(caller) + 1); sstore(0, sload(0) + 1): each has a slot of its own, and waits for the one before.
    let code = Bytes::from_static(&hex!("33 54 6001 01 33 55 6000 54 6001 01 6000 55 00"));
    let contract = case.contract(address(2), code, &[(0, U256::from(7))]);
    for number in 0..60 {
        let sender = case.rich(10 + number);
        case.send(sender, contract, 1).gas_limit = 100_000;
    }
    let rounds = rounds(&case);
    assert!(rounds < 30, "{rounds} rounds for 60 payments");
}

#[test]
fn a_guess_does_not_send_a_scout_round_a_loop_without_end() {
    let mut case = Case::new(SpecId::BERLIN);
    let sender = case.rich(1);
    // for (i = sload(sload(0)); i != 0; i--) { sload(100 + i) }, and then i = 10; do {} while (sload(++i) == 0). Both loops
    // are over at once, and a guess of the bound, or of what is found, goes on until the gas is used up.
    let code = Bytes::from_static(&hex!(
        "600054 54 5b 80 15 6017 57 80 606401 54 50 6001 90 03 6004 56 5b 50 600a 5b 6001 01 80 54 15 601b 57 00"
    ));
    let slots = [(0, U256::from(7)), (7, U256::from(1)), (11, U256::from(1))];
    let contract = case.contract(address(2), code, &slots);
    case.call(sender, contract, &[]).gas_limit = 16_000_000;
    let (_, asked) = execute(&case, &runtime());
    assert!(asked < 2_500, "{asked} requests for some ten keys");
}

#[test]
fn what_a_call_has_read_is_asked_for_at_once_the_next_time() {
    // i = calldata[0]; do { i = sload(i) } while (i != 0): each slot tells which one is next.
    let code = Bytes::from_static(&hex!("600035 5b 54 80 6003 57 00"));
    // Powers of 2 modulo 61, so that the next one is not a neighbour.
    let next = |at| if at == 31 { 0 } else { 2 * at % 61 };
    let mut slots: Vec<_> = (1..61).map(|at| (at, U256::from(next(at)))).collect();
    let mut case = Case::new(SpecId::BERLIN);
    let sender = case.rich(1);
    let contract = case.contract(address(2), code.clone(), &slots);
    case.call(sender, contract, &[U256::from(1)]);
    let runtime = runtime();
    let (first, _) = execute(&case, &runtime);
    assert!(first >= 50, "{first} rounds though each slot was unknown");
    for _ in 0..3 {
        let (again, asked) = execute(&case, &runtime);
        assert!(again <= 3, "{again} rounds though everything was known");
        assert!(asked < 70, "{asked} requests for some sixty keys");
    }
    // Another sender's call of the same function, and one that leaves the list in the middle.
    let mut case = Case::new(SpecId::BERLIN);
    let (sender, other) = (case.rich(1), case.rich(3));
    slots[29].1 = U256::from(100);
    let contract = case.contract(address(2), code, &slots);
    case.call(other, contract, &[U256::from(1)]);
    case.call(sender, contract, &[U256::from(15)]);
    let (rounds, _) = execute(&case, &runtime);
    assert!(rounds <= 6, "{rounds} rounds though all but one slot was known");
    runtime.forget();
    let (rounds, _) = execute(&case, &runtime);
    assert!(rounds >= 20, "{rounds} rounds though nothing was known any more");
}

#[test]
fn a_call_that_reads_something_else_each_time_is_looked_into_as_before() {
    // for (i = 120; i != 0; i--) { balance(calldata[0] + i) }
    let code = Bytes::from_static(&hex!("6078 5b 80 600035 01 31 50 6001 90 03 80 6002 57 00"));
    let runtime = runtime();
    let (mut rounds, mut asked) = (0, 0);
    for round in 1..8 {
        let mut case = Case::new(SpecId::BERLIN);
        let sender = case.rich(1);
        let contract = case.contract(address(2), code.clone(), &[]);
        case.call(sender, contract, &[U256::from(0x1000 * round)]);
        let (more_rounds, more_asked) = execute(&case, &runtime);
        (rounds, asked) = (rounds + more_rounds, asked + more_asked);
    }
    assert!(rounds < 7 * 40, "{rounds} rounds for seven times 120 accounts");
    assert!(asked < 7 * 120 * 4, "{asked} requests for seven times 120 accounts");
}
