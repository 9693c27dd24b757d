//! What goes wrong around a block is contained: a typed error at the right place, and the runtime goes on.

#![cfg(feature = "cli")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Case, EXPECTED, Fault, Hook, Key, Watchdog, address, agree, mix, quiet, runtime, template, word,
};
use counterpoint::{Block, BuildError, ExecuteError, Mode, Outcome, Runtime, cli::sequential::Sequential};
use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::opcode,
    context::result::InvalidTransaction,
    primitives::{B256, TxKind, U256, hardfork::SpecId},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that count this process's threads or memory run alone.
static ALONE: RwLock<()> = RwLock::new(());

fn together() -> (RwLockReadGuard<'static, ()>, Watchdog) {
    quiet();
    (ALONE.read().unwrap_or_else(PoisonError::into_inner), Watchdog::new(PATIENCE))
}

fn alone() -> (RwLockWriteGuard<'static, ()>, Watchdog) {
    quiet();
    (ALONE.write().unwrap_or_else(PoisonError::into_inner), Watchdog::new(PATIENCE))
}

/// Six transactions that ask the source for accounts, slots, code and a block hash, some of them twice.
fn small() -> Case {
    let mut case = Case::new(SpecId::OSAKA);
    case.code_by_hash = true;
    let number: u64 = case.env.number.to();
    case.memory.insert_block_hash(number - 3, B256::repeat_byte(3));
    // Reads BLOCKHASH(number - 3), the balance of the first argument, and the slot with its number.
    let mut code = Asm::new();
    code.num(3).ops(&[opcode::NUMBER, opcode::SUB, opcode::BLOCKHASH, opcode::POP]);
    code.argument(0).ops(&[opcode::BALANCE, opcode::POP]).increment(1, 1).argument(0).ops(&[opcode::SLOAD]);
    let first = case.contract(address(1), code.return_word().build(), &[(1, U256::from(7))]);
    let mut code = Asm::new();
    code.increment(2, 5).address(first).ops(&[opcode::EXTCODESIZE]);
    let second = case.contract(address(2), code.return_word().build(), &[(2, U256::from(9))]);
    let senders: Vec<_> = (0..5).map(|number| case.rich(10 + number)).collect();
    case.send(senders[0], address(100), 5);
    case.call(senders[1], first, &[word(address(101))]);
    case.call(senders[2], second, &[]);
    case.call(senders[0], first, &[word(address(102))]);
    case.send(senders[3], senders[4], 5);
    case.call(senders[4], second, &[]);
    case
}

/// The keys that sequential execution asks for, in order.
fn keys(case: &Case) -> Vec<Key> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let mut case = case.clone();
    case.hook = Arc::new(move |key| {
        notes.lock().unwrap().push(key);
        Ok(())
    });
    case.sequential(Mode::Build).expect("the block is fine");
    let mut seen = BTreeSet::new();
    let asked = asked.lock().unwrap();
    asked.iter().copied().filter(|key| seen.insert(*key)).collect()
}

fn failing(at: Key) -> Hook {
    Arc::new(move |key| if key == at { Err(Fault(key)) } else { Ok(()) })
}

fn panicking(at: Key) -> Hook {
    Arc::new(move |key| {
        assert!(key != at, "{key:?} {EXPECTED}");
        Ok(())
    })
}

/// Executes a block whose source panics. The panic must not come out.
#[track_caller]
fn contained(runtime: &Runtime, block: &Block, way: &str) -> Result<Outcome, ExecuteError> {
    catch_unwind(AssertUnwindSafe(|| runtime.execute(block)))
        .unwrap_or_else(|_| panic!("{way}: a panic came out of `execute`"))
}

/// Workers, fibers and window.
const SHAPES: [(usize, usize, usize); 6] =
    [(1, 256, 256), (2, 256, 256), (2, 1, 256), (2, 256, 2), (4, 256, 256), (8, 2, 256)];

fn runtimes() -> Vec<(String, Runtime)> {
    let mut runtimes: Vec<_> =
        SHAPES.iter().map(|shape| (format!("{shape:?}"), runtime(shape.0, shape.1, shape.2, None))).collect();
    if cfg!(feature = "chaos") {
        runtimes.push(("chaos 1".to_owned(), runtime(1, 256, 256, Some(1))));
        runtimes.push(("chaos 4".to_owned(), runtime(4, 4, 256, Some(4))));
    }
    runtimes
}

#[test]
fn a_failing_key_is_an_error_at_its_transaction() {
    let (_guard, watchdog) = together();
    let good = small();
    let expected_good = good.sequential(Mode::Verify);
    let runtimes = runtimes();
    let mut failures = BTreeSet::new();
    for key in keys(&good) {
        let mut bad = good.clone();
        bad.hook = failing(key);
        let expected = bad.sequential(Mode::Verify);
        match &expected {
            Err(ExecuteError::Source { index, .. }) => failures.insert(*index),
            other => panic!("{key:?} is needed: {other:?}"),
        };
        for (name, runtime) in &runtimes {
            for round in 0..8 {
                let way = format!("{key:?}, {name}, round {round}");
                watchdog.now(&way);
                agree(&expected, &runtime.execute(&bad.block(Mode::Verify)), &way);
                agree(&expected_good, &runtime.execute(&good.block(Mode::Verify)), format!("after {way}"));
            }
        }
    }
    assert_eq!(failures.len(), 5, "the last transaction asks for nothing new");
}

#[test]
fn a_panic_in_the_source_is_an_error_at_its_transaction() {
    let (_guard, watchdog) = together();
    let good = small();
    let expected_good = good.sequential(Mode::Build);
    let runtimes = runtimes();
    for key in keys(&good) {
        let mut bad = good.clone();
        bad.hook = failing(key);
        let Err(ExecuteError::Source { index: expected, .. }) = bad.sequential(Mode::Build) else {
            panic!("{key:?} is needed")
        };
        bad.hook = panicking(key);
        for (name, runtime) in &runtimes {
            for round in 0..4 {
                let way = format!("{key:?}, {name}, round {round}");
                watchdog.now(&way);
                match contained(runtime, &bad.block(Mode::Build), &way) {
                    Err(ExecuteError::Panic { index, message }) => {
                        assert_eq!(index, expected, "{way}");
                        assert!(message.contains(EXPECTED), "{way}: {message}");
                    }
                    other => panic!("{way}: {other:?}"),
                }
                agree(&expected_good, &runtime.execute(&good.block(Mode::Build)), format!("after {way}"));
            }
        }
    }
}

#[test]
fn a_panic_when_the_fee_is_settled_is_contained() {
    let (_guard, watchdog) = together();
    let good = small();
    let expected_good = good.sequential(Mode::Build);
    let mut bad = good.clone();
    bad.hook = panicking(Key::Account(good.env.beneficiary));
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let got = contained(runtime, &bad.block(Mode::Build), name);
        assert!(matches!(got, Err(ExecuteError::Panic { index: 0, .. })), "{name}: {got:?}");
        agree(&expected_good, &runtime.execute(&good.block(Mode::Build)), format!("after {name}"));
    }
}

#[test]
fn a_panic_without_a_message_is_contained() {
    let (_guard, watchdog) = together();
    let good = small();
    let expected_good = good.sequential(Mode::Build);
    let mut bad = good.clone();
    bad.hook =
        Arc::new(|key| if key == Key::Account(address(2)) { resume_unwind(Box::new(5)) } else { Ok(()) });
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let got = contained(runtime, &bad.block(Mode::Build), name);
        assert!(matches!(got, Err(ExecuteError::Panic { index: 2, .. })), "{name}: {got:?}");
        agree(&expected_good, &runtime.execute(&good.block(Mode::Build)), format!("after {name}"));
    }
}

#[test]
fn every_key_fails() {
    let (_guard, watchdog) = together();
    let mut bad = small();
    for panics in [false, true] {
        bad.hook = Arc::new(move |key| if panics { panic!("{key:?} {EXPECTED}") } else { Err(Fault(key)) });
        for (name, runtime) in &runtimes() {
            for _ in 0..20 {
                watchdog.now(name);
                let got = contained(runtime, &bad.block(Mode::Build), name);
                assert!(
                    matches!(
                        (&got, panics),
                        (Err(ExecuteError::Source { index: 0, .. }), false)
                            | (Err(ExecuteError::Panic { index: 0, .. }), true)
                    ),
                    "{name}: {got:?}"
                );
            }
        }
    }
}

#[test]
fn a_failure_that_a_helper_finds_ends_the_block() {
    let (_guard, watchdog) = together();
    for failure in 0..3 {
        let mut case = Case::new(SpecId::OSAKA);
        let (first, second) = (case.rich(10), case.rich(11));
        case.send(first, address(100), 1);
        case.call(second, address(101), &[word(1)]);
        if failure == 0 {
            case.transactions[1].nonce = 5;
        }
        // The calling thread has the first transaction while a helper takes the second, and sleeps long before
        // that ends.
        case.hook = Arc::new(move |key| {
            if key == Key::Account(first) {
                thread::sleep(Duration::from_millis(3));
            } else if key == Key::Account(second) {
                thread::sleep(Duration::from_millis(30));
                assert!(failure != 2, "{EXPECTED}");
                return if failure == 1 { Err(Fault(key)) } else { Ok(()) };
            }
            Ok(())
        });
        let runtime = runtime(2, 256, 256, None);
        for round in 0..5 {
            watchdog.now(&format!("failure {failure}, round {round}"));
            let got = runtime.execute(&case.block(Mode::Verify));
            assert!(
                matches!(
                    (failure, &got),
                    (0, Err(ExecuteError::InvalidTransaction { index: 1, .. }))
                        | (1, Err(ExecuteError::Source { index: 1, .. }))
                        | (2, Err(ExecuteError::Panic { index: 1, .. }))
                ),
                "{failure}: {got:?}"
            );
        }
    }
}

#[test]
fn an_invalid_transaction_rejects_the_block_at_every_position() {
    let (_guard, watchdog) = together();
    let good = small();
    let expected_good = good.sequential(Mode::Verify);
    let runtimes = runtimes();
    for index in 0..good.transactions.len() {
        let mut bad = good.clone();
        bad.transactions[index].nonce += 7;
        let expected = bad.sequential(Mode::Verify);
        let built = bad.sequential(Mode::Build);
        for (name, runtime) in &runtimes {
            for round in 0..8 {
                let way = format!("{index}, {name}, round {round}");
                watchdog.now(&way);
                let got = runtime.execute(&bad.block(Mode::Verify));
                match &got {
                    Err(ExecuteError::InvalidTransaction {
                        index: at,
                        cause: InvalidTransaction::NonceTooHigh { .. },
                    }) => assert_eq!(*at, index, "{way}"),
                    other => panic!("{way}: {other:?}"),
                }
                agree(&expected, &got, &way);
                agree(&built, &runtime.execute(&bad.block(Mode::Build)), &way);
                agree(&expected_good, &runtime.execute(&good.block(Mode::Verify)), format!("after {way}"));
            }
        }
    }
}

#[test]
fn the_lowest_failure_is_reported() {
    let (_guard, watchdog) = together();
    // A later transaction fails first in time, since the others have to wait for the source.
    let mut case = small();
    let senders: Vec<_> = case.transactions.iter().map(|tx| tx.caller).collect();
    case.transactions[5].nonce = 9;
    case.transactions[2].nonce = 9;
    case.hook = Arc::new(move |key| {
        if key == Key::Account(senders[0]) || key == Key::Account(senders[2]) {
            thread::sleep(Duration::from_micros(300));
        }
        if key == Key::Account(senders[4]) { Err(Fault(key)) } else { Ok(()) }
    });
    for (name, runtime) in &runtimes() {
        for round in 0..20 {
            watchdog.now(&format!("{name}, round {round}"));
            let got = runtime.execute(&case.block(Mode::Verify));
            assert!(matches!(got, Err(ExecuteError::InvalidTransaction { index: 2, .. })), "{name}: {got:?}");
            let got = runtime.execute(&case.block(Mode::Build));
            assert!(matches!(got, Err(ExecuteError::Source { index: 4, .. })), "{name}: {got:?}");
        }
    }
}

#[test]
fn a_header_that_lacks_something() {
    let (_guard, watchdog) = together();
    for flaw in 0..2 {
        let mut case = small();
        match flaw {
            0 => case.env.prevrandao = None,
            _ => case.env.blob_excess_gas_and_price = None,
        }
        for mode in [Mode::Build, Mode::Verify] {
            let expected = case.sequential(mode);
            assert!(matches!(expected, Err(ExecuteError::InvalidHeader(_))), "{expected:?}");
            for (name, runtime) in &runtimes() {
                watchdog.now(name);
                agree(&expected, &runtime.execute(&case.block(mode)), name);
            }
        }
    }
}

#[test]
fn no_transactions_and_one() {
    let (_guard, watchdog) = together();
    for spec in [SpecId::FRONTIER, SpecId::OSAKA] {
        for transactions in 0..2 {
            let mut case = Case::new(spec);
            if transactions == 1 {
                let sender = case.rich(10);
                case.send(sender, address(100), 1);
            }
            for mode in [Mode::Build, Mode::Verify] {
                let expected = case.sequential(mode);
                for (name, runtime) in &runtimes() {
                    watchdog.now(name);
                    for _ in 0..10 {
                        agree(&expected, &runtime.execute(&case.block(mode)), name);
                    }
                }
            }
        }
    }
}

/// Transfers between a few or many people.
fn transfers(count: u64, people: u64) -> Case {
    let mut case = Case::new(SpecId::OSAKA);
    let senders: Vec<_> = (0..people).map(|number| case.rich(1000 + number)).collect();
    for number in 0..count {
        let random = mix(people, number);
        let to = address(1000 + (random >> 20) % (2 * people));
        case.send(senders[(random % people) as usize], to, u128::from(random % 9)).gas_limit = 21_000;
    }
    case
}

#[test]
fn ten_thousand_transfers() {
    let (_guard, watchdog) = together();
    for people in [10, 10_000] {
        let case = transfers(10_000, people);
        let expected = case.sequential(Mode::Verify);
        let block = case.block(Mode::Verify);
        for (name, runtime) in &runtimes() {
            watchdog.now(&format!("{people}, {name}"));
            agree(&expected, &runtime.execute(&block), format!("{people}, {name}"));
        }
    }
}

/// Different blocks with what sequential execution makes of them: good ones, and ones that fail.
fn assortment() -> Vec<(Block, Result<Sequential, ExecuteError>)> {
    let mut cases = vec![small(), transfers(40, 5), transfers(300, 100), Case::new(SpecId::OSAKA)];
    let all = keys(&cases[0]);
    for number in 0..4 {
        let mut bad = small();
        bad.hook = failing(all[number * all.len() / 4]);
        cases.push(bad);
        let mut bad = transfers(60, 8);
        bad.transactions[13 * number + 1].nonce += 1;
        cases.push(bad);
    }
    for spec in [SpecId::FRONTIER, SpecId::LONDON] {
        let mut other = transfers(50, 20);
        let fork = Case::new(spec);
        (other.env, other.cfg) = (fork.env, fork.cfg);
        cases.push(other);
    }
    cases.iter().map(|case| (case.block(Mode::Verify), case.sequential(Mode::Verify))).collect()
}

#[test]
fn many_threads_execute_different_blocks_on_one_runtime() {
    let (_guard, watchdog) = together();
    let blocks = assortment();
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        thread::scope(|scope| {
            for thread in 0..6 {
                let blocks = &blocks;
                scope.spawn(move || {
                    for round in 0..20 {
                        let (block, expected) = &blocks[(thread * 5 + round) % blocks.len()];
                        let way = format!("{name}, thread {thread}, round {round}");
                        agree(expected, &runtime.execute(block), way);
                    }
                });
            }
        });
    }
}

#[test]
fn several_runtimes_at_once() {
    let (_guard, watchdog) = together();
    let blocks = assortment();
    let runtimes = runtimes();
    watchdog.now("all of them");
    thread::scope(|scope| {
        for (number, (name, runtime)) in runtimes.iter().enumerate() {
            let blocks = &blocks;
            scope.spawn(move || {
                for round in 0..40 {
                    let (block, expected) = &blocks[(number * 3 + round) % blocks.len()];
                    agree(expected, &runtime.execute(block), format!("{name}, round {round}"));
                }
            });
        }
    });
}

#[test]
fn one_thread_uses_several_runtimes_in_turn() {
    let (_guard, watchdog) = together();
    let blocks = assortment();
    let runtimes = runtimes();
    for round in 0..60 {
        let (block, expected) = &blocks[round % blocks.len()];
        let (name, runtime) = &runtimes[round % runtimes.len()];
        watchdog.now(name);
        agree(expected, &runtime.execute(block), format!("{name}, round {round}"));
    }
}

#[test]
fn a_block_may_be_executed_again_and_shared() {
    let (_guard, watchdog) = together();
    let case = small();
    let block = case.block(Mode::Verify);
    let expected = case.sequential(Mode::Verify);
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        agree(&expected, &runtime.execute(&block), name);
                    }
                });
            }
        });
    }
}

#[test]
fn nothing_is_not_a_number_of_anything() {
    for builder in [Runtime::builder().workers(0), Runtime::builder().fibers(0), Runtime::builder().window(0)]
    {
        assert!(matches!(builder.build(), Err(BuildError::Zero(_))));
    }
}

/// How many threads of this process belong to a runtime.
#[cfg(target_os = "linux")]
fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("the process has threads");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("counterpoint-"))
        .count()
}

/// Waits until so many are left: a thread that was joined may be listed a moment longer.
#[cfg(target_os = "linux")]
fn await_workers(expected: usize) {
    let start = Instant::now();
    while workers() != expected {
        assert!(start.elapsed() < Duration::from_secs(5), "{} workers instead of {expected}", workers());
        thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_dropped_runtimes_threads_are_joined() {
    let (_guard, watchdog) = alone();
    await_workers(0);
    let blocks = assortment();
    for round in 0..60 {
        watchdog.now(&format!("round {round}"));
        let runtime = runtime(1 + round % 5, 256, 256, None);
        // Some are dropped without having done anything.
        for (block, expected) in blocks.iter().skip(round).step_by(2).take(round % 4) {
            agree(expected, &runtime.execute(block), format!("round {round}"));
        }
        // A thread takes its name when it first runs.
        await_workers(round % 5);
        drop(runtime);
        await_workers(0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_worker_dies_of_a_failure() {
    let (_guard, watchdog) = alone();
    await_workers(0);
    let runtime = runtime(4, 256, 256, None);
    await_workers(3);
    let good = small();
    for key in keys(&good) {
        let mut bad = good.clone();
        for hook in [failing(key), panicking(key)] {
            bad.hook = hook;
            watchdog.now(&format!("{key:?}"));
            for _ in 0..5 {
                assert!(contained(&runtime, &bad.block(Mode::Verify), &format!("{key:?}")).is_err());
            }
        }
    }
    await_workers(3);
    drop(runtime);
    await_workers(0);
}

/// Resident memory of this process, in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the process has a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it says what is resident");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number")
}

#[cfg(target_os = "linux")]
#[test]
fn failures_do_not_leak() {
    let (_guard, watchdog) = alone();
    // Everybody waits for the first transaction, which fails or panics when they do.
    let mut code = Asm::new();
    code.increment(0, 1).argument(0).ops(&[opcode::BALANCE]).return_word();
    for panics in [false, true] {
        let mut case = Case::new(SpecId::OSAKA);
        let hot = case.contract(address(1), code.build(), &[]);
        for number in 0..60 {
            let sender = case.rich(10 + number);
            let looked_at = if number == 0 { address(5) } else { sender };
            case.call(sender, hot, &[word(looked_at)]);
        }
        case.hook = Arc::new(move |key| {
            if key != Key::Account(address(5)) {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(500));
            assert!(!panics, "{EXPECTED}");
            Err(Fault(key))
        });
        let block = case.block(Mode::Verify);
        for (workers, fibers) in [(1, 256), (2, 256), (4, 8)] {
            let runtime = runtime(workers, fibers, 256, None);
            let execute = |times| {
                for _ in 0..times {
                    assert!(runtime.execute(&block).is_err());
                }
            };
            watchdog.now(&format!("panics {panics}, workers {workers}"));
            execute(100);
            let before = resident();
            execute(200);
            let grown = resident().saturating_sub(before);
            assert!(grown < 16 << 10, "panics {panics}, workers {workers}: {grown} KiB more");
        }
    }
}

#[test]
fn a_failure_with_parked_fibers_leaves_nothing_behind() {
    let (_guard, watchdog) = together();
    // As above, but the good block that comes next reuses fibers, executions and EVMs.
    let mut code = Asm::new();
    code.increment(0, 1).load(0).ops(&[opcode::BALANCE]).increment(1, 1).return_word();
    let mut good = Case::new(SpecId::OSAKA);
    let hot = good.contract(address(1), code.build(), &[]);
    for number in 0..30 {
        let sender = good.rich(10 + number);
        good.call(sender, hot, &[]);
    }
    let expected = good.sequential(Mode::Verify);
    let mut bad = good.clone();
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    bad.hook = Arc::new(move |key| {
        // The account whose address is the number 5 is looked at by the fifth transaction.
        let fifth = Key::Account(revm::primitives::Address::with_last_byte(5));
        if key == fifth {
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(200));
            return Err(Fault(key));
        }
        Ok(())
    });
    let expected_bad = bad.sequential(Mode::Verify);
    assert!(matches!(expected_bad, Err(ExecuteError::Source { index: 4, .. })), "{expected_bad:?}");
    for (name, runtime) in &runtimes() {
        for round in 0..25 {
            watchdog.now(&format!("{name}, round {round}"));
            agree(&expected_bad, &runtime.execute(&bad.block(Mode::Verify)), name);
            agree(&expected, &runtime.execute(&good.block(Mode::Verify)), name);
        }
    }
    assert!(calls.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_transaction_that_uses_all_its_frames_and_gas() {
    let (_guard, watchdog) = together();
    // Calls itself as deep as gas or the limit of 1024 frames allow, then stores how deep it came.
    let mut code = Asm::new();
    code.num(0).num(0).num(0).num(0).num(0).ops(&[opcode::ADDRESS, opcode::GAS, opcode::CALL, opcode::POP]);
    code.increment(0, 1);
    for spec in [SpecId::HOMESTEAD, SpecId::PETERSBURG] {
        let mut case = Case::new(spec);
        let deep = case.contract(address(1), code.build(), &[]);
        for number in 0..4 {
            let mut tx = template(case.rich(10 + number));
            tx.kind = TxKind::Call(deep);
            tx.gas_limit = 12_000_000;
            case.push(tx);
        }
        let expected = case.sequential(Mode::Verify);
        for (name, runtime) in &runtimes() {
            watchdog.now(name);
            agree(&expected, &runtime.execute(&case.block(Mode::Verify)), name);
        }
    }
}

/// The frontier may arrive at a transaction while its begin is on its way through the sender's mailbox: it must
/// still begin. Chaos holds the begins up there.
#[cfg(feature = "chaos")]
#[test]
fn the_frontier_overtakes_a_begin() {
    let (_guard, watchdog) = together();
    watchdog.now("one sender's chain");
    let case = transfers(60, 1);
    let block = case.block(Mode::Verify);
    let expected = case.sequential(Mode::Verify);
    for seed in 0..6 {
        let runtime = common::runtime(2 + seed as usize % 3, 256, 256, Some(seed));
        for _ in 0..40 {
            agree(&expected, &runtime.execute(&block), "one sender's chain");
        }
    }
}
