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
}

impl Rounds {
    fn new(memory: MemorySource) -> Self {
        let (requests, asked) = mpsc::channel::<Vec<Request>>();
        let rounds = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&rounds);
        thread::spawn(move || {
            while let Ok(mut round) = asked.recv() {
                while let Ok(more) = asked.recv_timeout(Duration::from_millis(5)) {
                    round.extend(more);
                }
                count.fetch_add(1, Ordering::Relaxed);
                for request in round {
                    let answer = answer(&memory, request.key());
                    request.answer(answer);
                }
            }
        });
        Self { requests: Mutex::new(requests), rounds }
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
    let _watchdog = Watchdog::new(Duration::from_secs(120));
    let source = Rounds::new(case.memory.clone());
    let rounds = Arc::clone(&source.rounds);
    let mut block = case.block(Mode::Verify);
    block.source = Arc::new(Later(Arc::new(source)));
    let runtime = Runtime::builder().workers(2).keep_states(true).build().expect("a thread can be started");
    agree(&case.sequential(Mode::Verify), &runtime.execute(&block), "in rounds");
    rounds.load(Ordering::Relaxed)
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
