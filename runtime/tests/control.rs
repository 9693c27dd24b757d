//! Hooks, cancellation, deadlines and the building of blocks: in order, contained, and never a half of a block.

#![cfg(feature = "cli")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{Case, EXPECTED, TestSource, Watchdog, address, agree, later::Later, quiet, runtime};
use counterpoint::{
    Built, CancelToken, Control, Draft, Ended, ExecuteError, Finalized, FromIter, HookFailure, LeftOut, Mode,
    Runtime, TransactionOutcome,
    cli::{latency::LatencySource, sequential::execute_sequential},
    state::{DeferredSource, Request, StateSource},
};
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix},
};
use revm::{
    context::TxEnv,
    primitives::{Bytes, hardfork::SpecId, hex},
    state::EvmState,
};

const PATIENCE: Duration = Duration::from_secs(300);

fn runtimes() -> Vec<(String, Runtime)> {
    let shapes = [(1, 256, 256), (2, 256, 256), (2, 1, 256), (4, 256, 2), (8, 256, 256)];
    let mut runtimes: Vec<_> =
        shapes.iter().map(|shape| (format!("{shape:?}"), runtime(shape.0, shape.1, shape.2, None))).collect();
    if cfg!(feature = "chaos") {
        runtimes.push(("chaos".to_owned(), runtime(4, 4, 256, Some(4))));
    }
    runtimes
}

/// A source that never answers.
#[derive(Default)]
struct Stuck(Mutex<Vec<Request>>);

impl DeferredSource for Stuck {
    fn request(&self, requests: Vec<Request>) {
        self.0.lock().expect("not poisoned").extend(requests);
    }
}

#[test]
fn a_hook_hears_of_every_transaction_in_order() {
    let watchdog = Watchdog::new(PATIENCE);
    for seed in 0..12 {
        let case = Case::of(random_block(seed));
        let expected = case.sequential(Mode::Build);
        for (name, runtime) in &runtimes() {
            watchdog.now(&format!("seed {seed}, {name}"));
            let (sender, stream) = mpsc::channel();
            let control = Control::new().hook(move |last: Finalized<'_>| {
                Ok(sender.send((last.index, last.outcome.clone(), last.state.clone(), last.gas_used))?)
            });
            let got = runtime.execute_with(&case.block(Mode::Build), control);
            agree(&expected, &got, name);
            let got = got.expect("it agrees");
            // The hook is gone when the block is: the stream ends.
            let heard: Vec<(usize, TransactionOutcome, EvmState, u64)> = stream.iter().collect();
            assert_eq!(heard.len(), case.transactions.len(), "{name}");
            let mut gas = 0;
            for (place, (index, outcome, state, gas_used)) in heard.into_iter().enumerate() {
                gas += outcome.result().map_or(0, |result| result.tx_gas_used());
                assert_eq!((index, gas_used), (place, gas), "{name}");
                assert_eq!((&outcome, &state), (&got.transactions[place], &got.states[place]), "{name}");
            }
        }
    }
}

#[test]
fn a_hook_that_fails_ends_the_block_at_its_transaction() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 12, ..Knobs::default() }));
    let expected = case.sequential(Mode::Verify);
    for (name, runtime) in &runtimes() {
        for at in 0..case.transactions.len() {
            for panics in [false, true] {
                watchdog.now(&format!("{name}, {at}, {panics}"));
                let control = Control::new().hook(move |last: Finalized<'_>| {
                    assert!(last.index <= at, "called after it failed");
                    if last.index == at {
                        assert!(!panics, "{EXPECTED}");
                        return Err("no".into());
                    }
                    Ok(())
                });
                let error = runtime.execute_with(&case.block(Mode::Verify), control).expect_err("it fails");
                match (&error, panics) {
                    (ExecuteError::Hook { index, cause: HookFailure::Refused(cause) }, false) => {
                        assert_eq!((*index, cause.to_string().as_str()), (at, "no"), "{name}");
                    }
                    (ExecuteError::Hook { index, cause: HookFailure::Panicked(message) }, true) => {
                        assert_eq!((*index, message.as_str()), (at, EXPECTED), "{name}");
                    }
                    _ => panic!("{name}, {at}: {error:?}"),
                }
                agree(&expected, &runtime.execute(&case.block(Mode::Verify)), name);
            }
        }
    }
}

#[test]
fn cancelled_at_any_point_the_block_ends_and_the_next_one_works() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 60, ..Knobs::default() }));
    let expected = case.sequential(Mode::Verify);
    let memory = Arc::new(case.memory.clone());
    let slow = |latency| -> Arc<dyn StateSource> {
        Arc::new(LatencySource::new(Arc::clone(&memory), latency).expect("a thread can be started"))
    };
    let sources: [(&str, Arc<dyn StateSource>); 3] = [
        ("memory", Arc::new(case.memory.clone())),
        ("100 us", slow(Duration::from_micros(100))),
        // Nothing of the block is executed before it is cancelled.
        ("stuck", Arc::new(Later(Arc::<Stuck>::default()))),
    ];
    for (name, runtime) in &runtimes() {
        for (pace, source) in &sources {
            let (mut cancelled, mut finished) = (0, 0);
            for round in 0..25 {
                watchdog.now(&format!("{name}, {pace}, round {round}"));
                let token = CancelToken::new();
                let mut block = case.block(Mode::Verify);
                block.source = Arc::clone(source);
                let got = thread::scope(|scope| {
                    let canceller = token.clone();
                    scope.spawn(move || {
                        thread::sleep(Duration::from_micros(round * 40));
                        canceller.cancel();
                    });
                    runtime.execute_with(&block, Control::new().cancel(&token))
                });
                match got {
                    Err(ExecuteError::Cancelled) => cancelled += 1,
                    Ok(_) => {
                        finished += 1;
                        agree(&expected, &got, format!("{name}, {pace}"));
                    }
                    Err(error) => panic!("{name}, {pace}: {error:?}"),
                }
                let again = runtime.execute_with(&block, Control::new().cancel(&token));
                assert!(matches!(again, Err(ExecuteError::Cancelled)), "for good: {again:?}");
            }
            assert!(
                *pace != "stuck" || (cancelled == 25 && finished == 0),
                "{name}: {cancelled}, {finished}"
            );
            agree(&expected, &runtime.execute(&case.block(Mode::Verify)), format!("{name} after {pace}"));
        }
    }
}

#[test]
fn a_hook_may_cancel_its_own_block() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 20, ..Knobs::default() }));
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let token = CancelToken::new();
        let (own, heard) = (token.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&heard);
        let control = Control::new().cancel(&token).hook(move |last: Finalized<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
            if last.index == 7 {
                own.cancel();
            }
            Ok(())
        });
        let got = runtime.execute_with(&case.block(Mode::Verify), control);
        assert!(matches!(got, Err(ExecuteError::Cancelled)), "{name}: {got:?}");
        assert_eq!(heard.load(Ordering::Relaxed), 8, "{name}: nothing is final after the end");
    }
}

/// Whoever ends the block may not be the one who commits at that moment.
#[test]
fn a_block_is_not_taken_apart_while_somebody_commits() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 40, ..Knobs::default() }));
    let block = case.block(Mode::Verify);
    for workers in [2, 3] {
        let runtime = runtime(workers, 256, 256, None);
        for run in 0..400_u64 {
            watchdog.now(&format!("{workers} workers, {run}"));
            let (token, last) = (CancelToken::new(), run as usize % 39);
            let (own, other) = (token.clone(), token.clone());
            let control = Control::new().cancel(&token).hook(move |finalized: Finalized<'_>| {
                if run % 4 != 0 && finalized.index == last {
                    own.cancel();
                }
                Ok(())
            });
            let got = thread::scope(|scope| {
                if run % 4 == 0 {
                    scope.spawn(move || {
                        thread::sleep(Duration::from_nanos(run * 7_919 % 300_000));
                        other.cancel();
                    });
                }
                runtime.execute_with(&block, control)
            });
            match got {
                Err(ExecuteError::Cancelled) => {}
                Ok(_) if run % 4 == 0 => {}
                other => panic!("{workers} workers, {run}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_deadline_ends_the_block() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 40, ..Knobs::default() }));
    let expected = case.sequential(Mode::Verify);
    let mut block = case.block(Mode::Verify);
    block.source = Arc::new(Later(Arc::<Stuck>::default()));
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let in_time = |time| Control::new().deadline(Instant::now() + time);
        for time in [Duration::ZERO, Duration::from_millis(20)] {
            let begin = Instant::now();
            let got = runtime.execute_with(&block, in_time(time));
            assert!(matches!(got, Err(ExecuteError::DeadlineExceeded)), "{name}: {got:?}");
            assert!(begin.elapsed() >= time, "{name}");
        }
        let got = runtime.execute_with(&case.block(Mode::Verify), in_time(Duration::from_secs(600)));
        agree(&expected, &got, name);
    }
}

#[test]
fn a_deadline_ends_a_transaction_at_its_next_read() {
    const READS: u32 = 400;
    let watchdog = Watchdog::new(PATIENCE);
    let mut case = Case::new(SpecId::BERLIN);
    let sender = case.rich(1);
    // for (i = 400; i != 0; i--) { sload(i) }
    let code = Bytes::from_static(&hex!("610190 5b 80 54 50 6001 90 03 80 6003 57 00"));
    let contract = case.contract(address(2), code, &[]);
    case.call(sender, contract, &[]).gas_limit = 16_000_000;
    case.check_success();
    let mut runtimes = runtimes();
    let serial = Runtime::builder().workers(1).build().expect("it needs no thread");
    runtimes.push(("one after the other".to_owned(), serial));
    for (name, runtime) in &runtimes {
        watchdog.now(name);
        let reads = Arc::<AtomicU32>::default();
        let count = Arc::clone(&reads);
        let mut block = case.block(Mode::Verify);
        block.source = Arc::new(TestSource {
            memory: Arc::new(case.memory.clone()),
            hook: Arc::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
                Ok(())
            }),
            code_by_hash: case.code_by_hash,
        });
        let token = CancelToken::new();
        let late = Control::new().cancel(&token).deadline(Instant::now() + Duration::from_millis(50));
        let got = runtime.execute_with(&block, late);
        assert!(matches!(got, Err(ExecuteError::DeadlineExceeded)), "{name}: {got:?}");
        // Ten until the deadline; a busy machine makes them fewer.
        let reads = reads.load(Ordering::Relaxed);
        assert!(reads < READS / 4, "{name}: {reads} reads");
    }
}

/// What trying the candidates one at a time gives.
fn one_at_a_time(case: &Case, gas_limit: u64) -> (Vec<usize>, Vec<usize>, u64) {
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    let mut gas_used = 0;
    for (candidate, transaction) in case.transactions.iter().enumerate() {
        let mut trial: Vec<TxEnv> =
            taken.iter().map(|taken: &usize| case.transactions[*taken].clone()).collect();
        trial.push(transaction.clone());
        let executed = execute_sequential(&case.env, &case.cfg, &trial, &case.memory, Mode::Build, false)
            .expect("nothing fails");
        let valid = executed.transactions.last().is_some_and(|outcome| outcome.result().is_some());
        if transaction.gas_limit > gas_limit - gas_used || !valid {
            left_out.push(candidate);
        } else {
            gas_used = executed.gas_used;
            taken.push(candidate);
        }
    }
    (taken, left_out, gas_used)
}

fn included(built: &Built) -> Vec<usize> {
    built.included.iter().map(|included| included.candidate).collect()
}

#[test]
fn a_built_block_has_what_fits_and_says_what_does_not() {
    let watchdog = Watchdog::new(PATIENCE);
    let mut reasons = [0; 2];
    for seed in 0..10 {
        let mut case = Case::of(random_block(seed));
        let total: u64 = case.transactions.iter().map(|tx| tx.gas_limit).sum();
        for gas_limit in [total, total / 2, total / 5] {
            case.env.gas_limit = gas_limit;
            let (taken, not_taken, gas_used) = one_at_a_time(&case, gas_limit);
            let transactions: Vec<_> = taken.iter().map(|taken| case.transactions[*taken].clone()).collect();
            let expected =
                execute_sequential(&case.env, &case.cfg, &transactions, &case.memory, Mode::Verify, false)
                    .expect("it was tried");
            for (name, runtime) in &runtimes() {
                for batch in [1, 3, 512] {
                    watchdog.now(&format!("seed {seed}, {name}, {batch}"));
                    let source: Arc<dyn StateSource> = Arc::new(case.memory.clone());
                    let mut draft = Draft::new(case.env.clone(), case.cfg.clone(), source);
                    draft.batch = batch;
                    let built = runtime
                        .build_block(&draft, &mut FromIter(case.transactions.iter().cloned()))
                        .expect("nothing fails");
                    assert_eq!(included(&built), taken, "seed {seed}, {name}, {batch}");
                    assert_eq!(built.gas_used, gas_used);
                    for (included, expected) in built.included.iter().zip(&expected.transactions) {
                        assert_eq!(Some(&included.result), expected.result(), "seed {seed}, {name}");
                    }
                    assert_eq!(built.bundle.state, expected.bundle.state, "seed {seed}, {name}, {batch}");
                    // Reverts have no order within a block.
                    assert_eq!(
                        sorted(&built),
                        sorted_reverts(&expected.bundle),
                        "seed {seed}, {name}, {batch}"
                    );
                    // What a full block did not even try is not mentioned.
                    let left_out: Vec<_> = built.left_out.iter().map(|(candidate, _)| *candidate).collect();
                    assert_eq!(left_out, not_taken[..left_out.len()], "seed {seed}, {name}");
                    match built.ended {
                        Ended::NoMore => assert_eq!(left_out.len(), not_taken.len()),
                        Ended::Full => assert!(gas_limit - built.gas_used < 21_000),
                        other => panic!("{other:?}"),
                    }
                    for (_, reason) in &built.left_out {
                        match reason {
                            LeftOut::Invalid(_) => reasons[0] += 1,
                            LeftOut::GasLimit { limit, left } if limit > left => reasons[1] += 1,
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        }
    }
    assert!(reasons.iter().all(|reason| *reason > 50), "{reasons:?}");
}

#[test]
fn a_candidate_that_costs_the_block_is_named_by_its_number() {
    let _watchdog = Watchdog::new(PATIENCE);
    let mut case = Case::new(SpecId::OSAKA);
    for number in 0..40 {
        let sender = case.rich(10 + number);
        case.send(sender, address(1), 5);
    }
    // One that is not taken, so that numbers are not places.
    case.transactions[3].nonce = 9;
    case.hook =
        Arc::new(
            |key| {
                if key == common::Key::Account(address(30)) { Err(common::Fault(key)) } else { Ok(()) }
            },
        );
    let block = case.block(Mode::Build);
    for (name, runtime) in &runtimes() {
        for batch in [1, 16, 512] {
            let mut draft = Draft::new(case.env.clone(), case.cfg.clone(), Arc::clone(&block.source));
            draft.batch = batch;
            let error = runtime
                .build_block(&draft, &mut FromIter(case.transactions.iter().cloned()))
                .expect_err("the source fails");
            assert!(matches!(error, ExecuteError::Source { index: 20, .. }), "{name}, {batch}: {error}");
        }
    }
}

type Reverts = std::collections::BTreeMap<revm::primitives::Address, String>;

fn sorted(built: &Built) -> Reverts {
    sorted_reverts(&built.bundle)
}

fn sorted_reverts(bundle: &revm::database::BundleState) -> Reverts {
    let mut reverts = Reverts::new();
    for (address, revert) in bundle.reverts.iter().flatten() {
        let slots: std::collections::BTreeMap<_, _> = revert.storage.iter().collect();
        let rest = (&revert.account, &revert.previous_status, revert.wipe_storage);
        reverts.insert(*address, format!("{rest:?} {slots:?}"));
    }
    reverts
}

#[test]
fn candidates_from_a_channel_end_at_the_deadline() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsManyPools.build(&Knobs { transactions: 30, ..Knobs::default() }));
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let (sender, mut receiver) = mpsc::channel();
        let mut draft = Draft::new(
            case.env.clone(),
            case.cfg.clone(),
            Arc::new(case.memory.clone()) as Arc<dyn StateSource>,
        );
        draft.deadline = Some(Instant::now() + Duration::from_millis(300));
        let built = thread::scope(|scope| {
            let transactions = &case.transactions;
            let sender = sender.clone();
            scope.spawn(move || {
                for transaction in transactions {
                    thread::sleep(Duration::from_micros(100));
                    // The block may be finished meanwhile.
                    let _ = sender.send(transaction.clone());
                }
            });
            runtime.build_block(&draft, &mut receiver).expect("nothing fails")
        });
        assert_eq!(built.ended, Ended::Deadline, "{name}: somebody could still send");
        let taken = included(&built);
        assert_eq!(taken, (0..taken.len()).collect::<Vec<_>>(), "{name}: a prefix, as all of them are valid");
        assert!(built.left_out.iter().all(|(_, reason)| *reason == LeftOut::Late), "{name}");
        let expected = execute_sequential(
            &case.env,
            &case.cfg,
            &case.transactions[..taken.len()],
            &case.memory,
            Mode::Verify,
            false,
        );
        assert_eq!(built.bundle.state, expected.expect("a valid block").bundle.state, "{name}");

        // Without anybody to send, the end comes at once.
        drop(sender);
        draft.deadline = None;
        let ended = runtime.build_block(&draft, &mut receiver).expect("nothing fails").ended;
        assert_eq!(ended, Ended::NoMore);
        // A cancelled token ends the wait for a channel that says nothing.
        let (_sender, mut receiver) = mpsc::channel();
        let token = CancelToken::new();
        draft.cancel = Some(token.clone());
        let built = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                token.cancel();
            });
            runtime.build_block(&draft, &mut receiver).expect("nothing fails")
        });
        assert_eq!(built.ended, Ended::Cancelled);
    }
}

#[test]
fn many_runtimes_and_blocks_at_once() {
    let watchdog = Watchdog::new(PATIENCE);
    let blocks: Vec<Case> = (0..8).map(|seed| Case::of(random_block(100 + seed))).collect();
    let expected: Vec<_> = blocks.iter().map(|case| case.sequential(Mode::Build)).collect();
    let runtimes: Vec<Runtime> = (1..=4).map(|workers| runtime(workers, 64, 64, None)).collect();
    fn share<T: Send + Sync>(_: &T) {}
    share(&runtimes);
    watchdog.now("many");
    thread::scope(|scope| {
        for thread in 0..8 {
            let (runtimes, blocks, expected) = (&runtimes, &blocks, &expected);
            scope.spawn(move || {
                for round in 0..24 {
                    let (runtime, block) = ((thread + round) % 4, (thread * 3 + round) % 8);
                    let got = runtimes[runtime].execute(&blocks[block].block(Mode::Build));
                    agree(&expected[block], &got, format!("thread {thread}, round {round}"));
                }
            });
        }
    });
}
