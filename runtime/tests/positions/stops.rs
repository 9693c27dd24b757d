//! The hook or the host ends the block at every transaction in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use counterpoint::{CancelToken, Control, ExecuteError, Finalized, HookFailure, Mode};
use counterpoint_benches::workload::{Knobs, Mix};

use crate::{
    PATIENCE, cases,
    common::{Case, EXPECTED, Watchdog, agree, quiet},
    runtimes,
};

#[test]
fn a_hook_fails_at_every_transaction() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    for (workload, case) in &cases() {
        let good = case.sequential(Mode::Build);
        for (name, runtime) in &runtimes() {
            for at in 0..case.transactions.len() {
                for panics in [false, true] {
                    let way = format!("{workload}, {name}, transaction {at}, panics: {panics}");
                    watchdog.now(&way);
                    let heard = Arc::new(AtomicUsize::new(0));
                    let count = Arc::clone(&heard);
                    let control = Control::new().hook(move |last: Finalized<'_>| {
                        count.fetch_add(1, Ordering::Relaxed);
                        assert!(last.index != at || !panics, "{EXPECTED}");
                        if last.index == at { Err("no".into()) } else { Ok(()) }
                    });
                    match runtime.execute_with(&case.block(Mode::Build), control) {
                        Err(ExecuteError::Hook { index, cause: HookFailure::Refused(_) }) if !panics => {
                            assert_eq!(index, at, "{way}");
                        }
                        Err(ExecuteError::Hook { index, cause: HookFailure::Panicked(_) }) if panics => {
                            assert_eq!(index, at, "{way}");
                        }
                        other => panic!("{way}: {other:?}"),
                    }
                    assert_eq!(heard.load(Ordering::Relaxed), at + 1, "{way}");
                    agree(&good, &runtime.execute(&case.block(Mode::Build)), format!("after {way}"));
                }
            }
        }
    }
}

/// Ends a block from its hook at every transaction in turn, by a token or by a deadline that is over then.
#[test]
fn a_block_is_stopped_at_every_transaction() {
    let watchdog = Watchdog::new(PATIENCE);
    let mut late = 0;
    for (workload, case) in &cases()[..5] {
        let good = case.sequential(Mode::Build);
        for (name, runtime) in &runtimes() {
            for at in 0..case.transactions.len() {
                for by_deadline in [false, true] {
                    let way = format!("{workload}, {name}, transaction {at}, by the deadline: {by_deadline}");
                    watchdog.now(&way);
                    let token = CancelToken::new();
                    let heard = Arc::new(AtomicUsize::new(0));
                    let (own, count) = (token.clone(), Arc::clone(&heard));
                    let deadline = Instant::now() + Duration::from_millis(4);
                    let mut control = Control::new().hook(move |last: Finalized<'_>| {
                        count.fetch_add(1, Ordering::Relaxed);
                        if last.index == at && by_deadline {
                            thread::sleep(deadline.saturating_duration_since(Instant::now()));
                        } else if last.index == at {
                            own.cancel();
                        }
                        Ok(())
                    });
                    control = if by_deadline { control.deadline(deadline) } else { control.cancel(&token) };
                    let got = runtime.execute_with(&case.block(Mode::Build), control);
                    let heard = heard.load(Ordering::Relaxed);
                    let is_last = at + 1 == case.transactions.len();
                    match &got {
                        Err(ExecuteError::Cancelled) if !by_deadline => assert_eq!(heard, at + 1, "{way}"),
                        Err(ExecuteError::DeadlineExceeded) if by_deadline => late += 1,
                        // There is nothing left to be stopped, or it was faster than the timer.
                        Ok(_) if is_last || (by_deadline && *name != "1 worker") => {
                            assert_eq!(heard, case.transactions.len(), "{way}");
                            agree(&good, &got, &way);
                        }
                        other => panic!("{way}: {other:?}"),
                    }
                    agree(&good, &runtime.execute(&case.block(Mode::Build)), format!("after {way}"));
                }
            }
        }
    }
    assert!(late > 20, "{late} blocks were late");
}

/// Cancels from another thread, at moments spread over the block's time and a little more.
#[test]
fn a_block_is_cancelled_from_outside_at_any_moment() {
    let watchdog = Watchdog::new(PATIENCE);
    let knobs = Knobs { transactions: 120, accounts: 40, ..Knobs::default() };
    let case = Case::of(Mix::Defi.build(&knobs));
    let good = case.sequential(Mode::Build);
    for (name, runtime) in &runtimes() {
        let begin = Instant::now();
        agree(&good, &runtime.execute(&case.block(Mode::Build)), name);
        let whole = begin.elapsed();
        let (mut cancelled, rounds) = (0, 60);
        for round in 0..rounds {
            watchdog.now(&format!("{name}, round {round}"));
            let token = CancelToken::new();
            let (sender, heard) = mpsc::channel();
            let control = Control::new()
                .cancel(&token)
                .hook(move |last: Finalized<'_>| Ok(sender.send((last.index, last.outcome.clone()))?));
            let got = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(whole * round / rounds);
                    token.cancel();
                });
                runtime.execute_with(&case.block(Mode::Build), control)
            });
            let heard: Vec<_> = heard.iter().collect();
            let reference = good.as_ref().expect("the block is fine");
            for (place, (index, outcome)) in heard.iter().enumerate() {
                assert_eq!((*index, outcome), (place, &reference.transactions[place]), "{name}");
            }
            match &got {
                Err(ExecuteError::Cancelled) => cancelled += 1,
                Ok(_) => agree(&good, &got, name),
                Err(error) => panic!("{name}: {error:?}"),
            }
            agree(&good, &runtime.execute(&case.block(Mode::Build)), format!("after {name}, round {round}"));
        }
        assert!(cancelled > 0, "{name}: the first round cancels before the block begins");
    }
}
