//! The source fails at every read in turn.

use std::{
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use counterpoint::{
    Block, Control, ExecuteError, Finalized, Mode, Outcome, Runtime, TransactionOutcome,
    cli::sequential::Sequential, sources::BlockingSource, state::StateSource,
};
use revm::{
    context::transaction::{AccessList, AccessListItem},
    primitives::{B256, U256, hardfork::SpecId},
};

use crate::{
    PATIENCE, cases,
    common::{Case, EXPECTED, Fault, Key, Watchdog, address, agree, quiet},
    runtimes,
    trap::{Manner, Sprung, Trap, answerer, later, names, trapped},
};
/// How long a block may take whose source never answers.
const SOON: Duration = Duration::from_millis(25);

/// What a block did with a trap.
struct Run {
    got: Result<Outcome, ExecuteError>,
    heard: Vec<(usize, TransactionOutcome)>,
}

fn run(runtime: &Runtime, block: &Block, deadline: Option<Duration>) -> Run {
    let (sender, heard) = mpsc::channel();
    let mut control =
        Control::new().hook(move |last: Finalized<'_>| Ok(sender.send((last.index, last.outcome.clone()))?));
    if let Some(time) = deadline {
        control = control.deadline(Instant::now() + time);
    }
    let got = runtime.execute_with(block, control);
    Run { got, heard: heard.iter().collect() }
}

/// Compares what came out with sequential execution on a state in which the same keys fail. `Break`: the position is
/// beyond the block's last read.
fn check(
    case: &Case,
    good: &Sequential,
    trap: &Trap,
    manner: Manner,
    run: &Run,
    way: &str,
) -> ControlFlow<()> {
    for (place, (index, outcome)) in run.heard.iter().enumerate() {
        assert_eq!((*index, outcome), (place, &good.transactions[place]), "{way}: what was heard");
    }
    let Sprung { keys, known, .. } = trap.sprung();
    if keys.is_empty() {
        let got = run.got.as_ref().unwrap_or_else(|error| panic!("{way}: {error:?}"));
        assert_eq!(got.transactions, good.transactions, "{way}");
        assert_eq!(got.bundle.state, good.bundle.state, "{way}");
        return ControlFlow::Break(());
    }
    let mut bad = case.clone();
    let fails = keys.clone();
    bad.hook = Arc::new(move |key| if fails.contains(&key) { Err(Fault(key)) } else { Ok(()) });
    let expected = match bad.sequential(Mode::Build) {
        Ok(_) => None,
        Err(ExecuteError::Source { index, .. }) => Some(index),
        Err(error) => panic!("{way}: {error:?}"),
    };
    let index = match (&run.got, expected) {
        // The key was not needed, or known.
        (Ok(got), _) if expected.is_none() || known => {
            assert_eq!(got.transactions, good.transactions, "{way}");
            assert_eq!(got.bundle.state, good.bundle.state, "{way}");
            return ControlFlow::Continue(());
        }
        (Err(ExecuteError::Source { index, cause }), Some(_)) => {
            assert!(names(cause, &keys, manner), "{way}: {cause:?} instead of {keys:?}");
            *index
        }
        (Err(ExecuteError::Panic { index, message }), Some(_)) if manner == Manner::Panic => {
            assert!(message.ends_with(EXPECTED), "{way}: {message}");
            *index
        }
        (Err(ExecuteError::DeadlineExceeded), _) if manner == Manner::Never => {
            let most = expected.unwrap_or(usize::MAX);
            assert!(run.heard.len() <= most, "{way}: {} of {most} were heard of", run.heard.len());
            return ControlFlow::Continue(());
        }
        (got, _) => panic!("{way}: {got:?} instead of a failure at {expected:?}"),
    };
    // The lowest transaction that needs the key, or where the block knew it, a later one.
    let first = expected.unwrap_or_default();
    assert!(index == first || (known && index > first), "{way}: at {index} instead of {first}");
    assert_eq!(run.heard.len(), index, "{way}: all before the failure is heard of, and nothing else");
    ControlFlow::Continue(())
}

/// The keys that sequential execution needs.
fn needed(case: &Case) -> usize {
    let trap = Trap::at(usize::MAX);
    let mut case = case.clone();
    let notes = Arc::clone(&trap);
    case.hook = Arc::new(move |key| {
        notes.springs(key);
        Ok(())
    });
    case.sequential(Mode::Build).expect("the block is fine");
    trap.sprung().seen.len()
}

/// Has the source of each block fail at each read in turn, on each runtime. `source` is given what it fails at.
fn at_every_read(
    runtimes: &[(&'static str, Runtime)],
    cases: &[(String, Case)],
    manner: Manner,
    source: impl Fn(&Case, &Arc<Trap>) -> Arc<dyn StateSource>,
) {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let deadline = (manner == Manner::Never).then_some(SOON);
    for (workload, case) in cases {
        let good = case.sequential(Mode::Build);
        let reference = good.as_ref().expect("the block is fine");
        let needed = needed(case);
        for (name, runtime) in runtimes {
            let mut position = 0;
            loop {
                let way = format!("{workload}, {name}, {manner:?} at read {position}");
                watchdog.now(&way);
                let trap = Trap::at(position);
                let block = Block { source: source(case, &trap), ..case.block(Mode::Build) };
                let ran = run(runtime, &block, deadline);
                let reached = check(case, reference, &trap, manner, &ran, &way);
                agree(&good, &runtime.execute(&case.block(Mode::Build)), format!("after {way}"));
                if reached.is_break() {
                    break;
                }
                position += 1;
            }
            assert!(position >= needed, "{workload}, {name}: {position} reads of {needed}");
        }
    }
}

#[test]
fn a_source_that_answers_at_once_fails_at_every_read() {
    for manner in [Manner::Error, Manner::Panic] {
        at_every_read(&runtimes(), &cases(), manner, |case, trap| Arc::new(trapped(case, trap, manner)));
    }
}

#[test]
fn a_blocking_database_fails_at_every_read() {
    for manner in [Manner::Error, Manner::Panic] {
        at_every_read(&runtimes(), &cases(), manner, |case, trap| {
            Arc::new(BlockingSource::new(trapped(case, trap, manner), 2).expect("threads"))
        });
    }
}

/// Where the source answers later, nothing is executed one after the other.
fn parallel() -> Vec<(&'static str, Runtime)> {
    let mut runtimes = runtimes();
    runtimes.retain(|(name, _)| name.contains("parallel") || *name == "chaos");
    runtimes
}

#[test]
fn a_source_that_answers_later_fails_at_every_read() {
    let answers = answerer();
    for manner in [Manner::Error, Manner::Panic, Manner::WrongAnswer, Manner::Dropped] {
        at_every_read(&parallel(), &cases(), manner, |case, trap| later(&answers, case, trap, manner));
    }
}

#[test]
fn a_source_never_answers_one_read() {
    let answers = answerer();
    let (mut runtimes, mut cases) = (parallel(), cases());
    runtimes.truncate(2);
    cases.truncate(2);
    at_every_read(&runtimes, &cases, Manner::Never, |case, trap| later(&answers, case, trap, Manner::Never));
}

/// What is only asked for ahead, since it is on an access list, is not waited for.
#[test]
fn nobody_waits_for_what_nobody_needs() {
    let watchdog = Watchdog::new(Duration::from_secs(60));
    let mut case = Case::new(SpecId::CANCUN);
    let (sender, unused) = (case.rich(1), address(2));
    let list = vec![AccessListItem { address: unused, storage_keys: vec![B256::repeat_byte(3)] }];
    let tx = case.call(sender, address(4), &[]);
    (tx.tx_type, tx.access_list) = (1, AccessList(list));
    case.call(sender, address(5), &[]);
    let expected = case.sequential(Mode::Verify);
    for (name, runtime) in &parallel() {
        for at_account in [true, false] {
            watchdog.now(name);
            let trap = Trap::at(usize::MAX);
            let slot = Key::Slot(unused, U256::from_be_bytes([3; 32]));
            trap.state.lock().expect("nobody has it").keys =
                vec![if at_account { Key::Account(unused) } else { slot }];
            let source = later(&answerer(), &case, &trap, Manner::Never);
            let got = runtime.execute(&Block { source, ..case.block(Mode::Verify) });
            agree(&expected, &got, name);
        }
    }
}
