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

use common::{
    Case, Watchdog, address, agree,
    later::{Later, answer},
};
use counterpoint::{
    Mode, Runtime,
    state::{DeferredSource, MemorySource, Request},
};
use revm::primitives::{Bytes, U256, hardfork::SpecId, hex};

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
    let source = Rounds::new(case.memory.clone());
    let rounds = Arc::clone(&source.rounds);
    execute(case, source);
    rounds.load(Ordering::Relaxed)
}

/// Executes the block on this source.
fn execute(case: &Case, source: Rounds) {
    let _watchdog = Watchdog::new(Duration::from_secs(120));
    let mut block = case.block(Mode::Verify);
    block.source = Arc::new(Later(Arc::new(source)));
    let runtime = Runtime::builder().workers(2).keep_states(true).build().expect("a thread can be started");
    agree(&case.sequential(Mode::Verify), &runtime.execute(&block), "in rounds");
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
    let source = Rounds::new(case.memory.clone());
    let asked = Arc::clone(&source.asked);
    execute(&case, source);
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 2_500, "{asked} requests for some ten keys");
}
