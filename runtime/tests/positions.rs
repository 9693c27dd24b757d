//! A source, a hook or a host that fails at every position of a small block in turn: a typed error at its transaction or
//! phase, never a hang, nothing is heard of but the block's prefix, and the next block on the same runtime is right.

#![cfg(feature = "cli")]

mod common;

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_hardforks::EthereumHardfork as Fork;
use common::{Case, EXPECTED, Fault, Key, TestSource, Watchdog, address, agree, quiet};
use counterpoint::{
    Block, CancelToken, Control, ExecuteError, Finalized, HookFailure, Mode, Outcome, Runtime,
    TransactionOutcome,
    cli::sequential::{Sequential, SequentialEngine},
    ethereum::{BlockError, Phase, Rules, WholeBlock, execute},
    sources::{BlockingSource, ReadError},
    state::{Answer, DeferredSource, DroppedError, Request, SourceError, StateSource, WrongAnswerError},
};
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix, Workload},
};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    context::{
        BlockEnv, TxEnv,
        transaction::{AccessList, AccessListItem},
    },
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

const PATIENCE: Duration = Duration::from_secs(600);

/// How long a block may take whose source never answers.
const SOON: Duration = Duration::from_millis(25);

fn case_of(workload: Workload) -> Case {
    let mut case = Case::new(workload.cfg.spec);
    (case.env, case.cfg) = (workload.env, workload.cfg);
    (case.transactions, case.memory) = (workload.transactions, workload.source);
    case
}

/// Small blocks: contracts, chains, creations, invalid transactions, code that is asked for by its hash.
fn cases() -> Vec<(String, Case)> {
    let mixes =
        [(Mix::SwapsOnePool, 5), (Mix::Defi, 7), (Mix::ChainedTransfers, 5), (Mix::LendingOneOracle, 4)];
    let mut cases: Vec<_> = mixes
        .into_iter()
        .map(|(mix, transactions)| {
            let knobs = Knobs { transactions, accounts: 8, ..Knobs::default() };
            (mix.name().to_owned(), case_of(mix.build(&knobs)))
        })
        .collect();
    for seed in [3, 8, 21] {
        let mut case = case_of(random_block(seed));
        case.transactions.truncate(9);
        cases.push((format!("random block {seed}"), case));
    }
    for (number, (_, case)) in cases.iter_mut().enumerate() {
        case.code_by_hash = number % 2 == 0;
    }
    cases
}

/// All ways through a block: one after the other, first that and then in parallel, in parallel.
fn runtimes() -> Vec<(&'static str, Runtime)> {
    let build = |workers: usize, prefix: Option<usize>| {
        let builder = Runtime::builder().workers(workers).keep_states(true);
        let builder = match prefix {
            Some(prefix) => builder.serial_prefix(prefix),
            None => builder,
        };
        builder.build().expect("the system has threads")
    };
    #[cfg_attr(not(feature = "chaos"), expect(unused_mut))]
    let mut runtimes = vec![
        ("1 worker", build(1, None)),
        ("2 workers", build(2, None)),
        ("2 workers, 3 transactions before", build(2, Some(3))),
        ("1 worker, parallel", build(1, Some(0))),
        ("2 workers, parallel", build(2, Some(0))),
        ("4 workers, parallel", build(4, Some(0))),
    ];
    #[cfg(feature = "chaos")]
    runtimes.push(("chaos", common::runtime(4, 4, 256, Some(4))));
    runtimes
}

/// Springs at the n-th read, and from then on whenever that key is read.
#[derive(Debug, Default)]
struct Trap {
    position: usize,
    state: Mutex<Sprung>,
}

#[derive(Clone, Debug, Default)]
struct Sprung {
    reads: usize,
    seen: HashSet<(u8, U256, U256)>,
    /// What fails.
    keys: Vec<Key>,
    /// The key had been read before, so that the block may know it.
    known: bool,
}

impl Trap {
    fn at(position: usize) -> Arc<Self> {
        Arc::new(Self { position, ..Self::default() })
    }

    fn springs(&self, key: Key) -> bool {
        let mut state = self.state.lock().expect("not poisoned");
        if !state.keys.is_empty() {
            return state.keys.contains(&key);
        }
        let first = state.seen.insert(number(key));
        let springs = state.reads == self.position;
        state.reads += 1;
        if springs {
            state.keys.push(key);
            state.known = !first;
        }
        springs
    }

    fn sprung(&self) -> Sprung {
        self.state.lock().expect("not poisoned").clone()
    }
}

/// A key as something that can be hashed.
fn number(key: Key) -> (u8, U256, U256) {
    let word = |address: Address| U256::from_be_slice(address.as_slice());
    match key {
        Key::Account(address) => (0, word(address), U256::ZERO),
        Key::Slot(address, slot) => (1, word(address), slot),
        Key::Code(hash) => (2, hash.into(), U256::ZERO),
        Key::BlockHash(number) => (3, U256::from(number), U256::ZERO),
    }
}

/// What a source does with the read that it fails at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Error,
    Panic,
    WrongAnswer,
    Dropped,
    Never,
}

fn trapped(case: &Case, trap: &Arc<Trap>, manner: Manner) -> TestSource {
    let trap = Arc::clone(trap);
    TestSource {
        memory: Arc::new(case.memory.clone()),
        hook: Arc::new(move |key| {
            let springs = trap.springs(key);
            assert!(!springs || manner != Manner::Panic, "{EXPECTED}");
            if springs { Err(Fault(key)) } else { Ok(()) }
        }),
        code_by_hash: case.code_by_hash,
    }
}

/// Answers later, from a thread of its own.
struct Later {
    memory: TestSource,
    trap: Arc<Trap>,
    manner: Manner,
    answers: mpsc::Sender<(Request, Result<Answer, SourceError>)>,
    unanswered: Mutex<Vec<Request>>,
}

/// A thread that answers, for as long as somebody may still ask for it.
fn answerer() -> mpsc::Sender<(Request, Result<Answer, SourceError>)> {
    let (sender, answers) = mpsc::channel::<(Request, _)>();
    thread::spawn(move || {
        for (request, answer) in answers {
            request.answer(answer);
        }
    });
    sender
}

fn own(key: counterpoint::state::Key) -> Key {
    match key {
        counterpoint::state::Key::Account(address) => Key::Account(address),
        counterpoint::state::Key::Storage(address, slot) => Key::Slot(address, slot),
        counterpoint::state::Key::Code(hash) => Key::Code(hash),
        counterpoint::state::Key::BlockHash(number) => Key::BlockHash(number),
    }
}

impl Later {
    fn read(&self, key: Key) -> Result<Answer, Fault> {
        Ok(match key {
            Key::Account(address) => Answer::Account(self.memory.basic_ref(address)?),
            Key::Slot(address, slot) => Answer::Storage(self.memory.storage_ref(address, slot)?),
            Key::Code(hash) => Answer::Code(self.memory.code_by_hash_ref(hash)?),
            Key::BlockHash(number) => Answer::BlockHash(self.memory.block_hash_ref(number)?),
        })
    }
}

impl DeferredSource for Later {
    fn request(&self, requests: Vec<Request>) {
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            let key = own(request.key());
            let answer = if self.trap.springs(key) {
                match self.manner {
                    Manner::Error => Err(SourceError::new(Fault(key))),
                    Manner::WrongAnswer if matches!(key, Key::Slot(..)) => Ok(Answer::Account(None)),
                    Manner::WrongAnswer => Ok(Answer::Storage(U256::ZERO)),
                    Manner::Dropped => {
                        drop(request);
                        continue;
                    }
                    Manner::Never => {
                        self.unanswered.lock().expect("not poisoned").push(request);
                        continue;
                    }
                    Manner::Panic => {
                        // The rest of the batch goes with it.
                        let lost = requests.map(|request| own(request.key()));
                        self.trap.state.lock().expect("not poisoned").keys.extend(lost);
                        panic!("{EXPECTED}");
                    }
                }
            } else {
                self.read(key).map_err(SourceError::new)
            };
            let _ = self.answers.send((request, answer));
        }
    }
}

impl StateSource for Later {
    fn account(&self, _: Address) -> Result<Option<AccountInfo>, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn storage(&self, _: Address, _: U256) -> Result<U256, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn code(&self, _: B256) -> Result<Bytecode, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn block_hash(&self, _: u64) -> Result<B256, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

/// Whether an error says that one of these keys failed, and in this way.
fn names(cause: &SourceError, keys: &[Key], manner: Manner) -> bool {
    if let Some(Fault(key)) = cause.downcast_ref::<Fault>() {
        return keys.contains(key) && manner == Manner::Error;
    }
    if let Some(error) = cause.downcast_ref::<ReadError>() {
        let kind = matches!(
            (error, manner),
            (ReadError::Failed { .. }, Manner::Error) | (ReadError::Panicked { .. }, Manner::Panic)
        );
        return kind && keys.contains(&own(error.key()));
    }
    if let Some(DroppedError(key)) = cause.downcast_ref::<DroppedError>() {
        return keys.contains(&own(*key)) && matches!(manner, Manner::Dropped | Manner::Panic);
    }
    // Found by the runtime.
    cause.downcast_ref().is_some_and(|WrongAnswerError(key)| keys.contains(&own(*key)))
        && manner == Manner::WrongAnswer
}

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

fn later(
    answers: &mpsc::Sender<(Request, Result<Answer, SourceError>)>,
    case: &Case,
    trap: &Arc<Trap>,
    manner: Manner,
) -> Arc<dyn StateSource> {
    // The memory behind it does not fail.
    let memory = trapped(case, &Trap::at(usize::MAX), manner);
    let (trap, answers) = (Arc::clone(trap), answers.clone());
    Arc::new(Later { memory, trap, manner, answers, unanswered: Mutex::default() })
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
    let case = case_of(Mix::Defi.build(&knobs));
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

/// A whole block of Prague: two system calls before, two after, withdrawals, three transactions.
fn whole(
    source: Arc<dyn StateSource>,
    rules: &Rules,
    withdrawals: &'static [Withdrawal],
) -> WholeBlock<'static> {
    let call = |nonce: u64, to: Address| TxEnv {
        caller: address(1),
        kind: TxKind::Call(to),
        nonce,
        gas_limit: 200_000,
        gas_price: 20,
        chain_id: None,
        ..TxEnv::default()
    };
    WholeBlock {
        env: BlockEnv {
            number: U256::from(7),
            timestamp: U256::from(1_000),
            gas_limit: 30_000_000,
            basefee: 7,
            prevrandao: Some(B256::ZERO),
            blob_excess_gas_and_price: rules.blob_fee(0),
            ..BlockEnv::default()
        },
        parent_hash: B256::repeat_byte(6),
        parent_beacon_block_root: Some(B256::repeat_byte(9)),
        ommers: &[],
        withdrawals: Some(withdrawals),
        reward: None,
        transactions: [call(0, address(2)), call(1, address(3)), call(2, address(2))].into(),
        source,
        mode: Mode::Verify,
    }
}

static WITHDRAWALS: [Withdrawal; 2] = [
    Withdrawal { index: 0, validator_index: 0, address: Address::repeat_byte(0xaa), amount: 5 },
    Withdrawal { index: 1, validator_index: 0, address: Address::repeat_byte(0xab), amount: 6 },
];

#[test]
fn a_whole_block_names_transaction_or_phase_of_every_failing_read() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let rules = Rules::new(Fork::Prague, 1);
    let mut case = Case::new(SpecId::PRAGUE);
    case.rich(1);
    case.contract(address(2), counterpoint_benches::asm::Asm::new().increment(1, 1).build(), &[]);
    for (contract, code) in [
        (BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ] {
        case.contract(contract, (*code).clone(), &[]);
    }
    let good =
        execute(&SequentialEngine, &rules, &whole(Arc::new(case.memory.clone()), &rules, &WITHDRAWALS), None)
            .expect("the block is fine");
    for (name, runtime) in &runtimes() {
        for manner in [Manner::Error, Manner::Panic] {
            let mut seen = HashSet::new();
            for position in 0.. {
                let way = format!("{name}, {manner:?} at read {position}");
                watchdog.now(&way);
                let trap = Trap::at(position);
                let source = Arc::new(trapped(&case, &trap, manner));
                let got = execute(runtime, &rules, &whole(source, &rules, &WITHDRAWALS), None);
                let Sprung { keys, known, .. } = trap.sprung();
                match got {
                    Ok(block) => {
                        assert!(keys.is_empty() || known, "{way}: {keys:?}");
                        assert_eq!(block.bundle.state, good.bundle.state, "{way}");
                        if keys.is_empty() {
                            break;
                        }
                    }
                    Err(BlockError::Outside { phase, cause }) => {
                        seen.insert(format!("{phase}"));
                        match manner {
                            Manner::Panic => assert!(cause.to_string().ends_with(EXPECTED), "{way}: {cause}"),
                            _ => assert!(names(&cause, &keys, manner), "{way}: {cause:?}"),
                        }
                        let account = |address| keys.contains(&Key::Account(address));
                        let about = match phase {
                            Phase::Before => !account(address(2)),
                            Phase::Balances => {
                                account(WITHDRAWALS[0].address) || account(WITHDRAWALS[1].address)
                            }
                            _ => !account(WITHDRAWALS[0].address),
                        };
                        assert!(about, "{way}: {phase:?} {keys:?}");
                    }
                    Err(BlockError::Execute(ExecuteError::Source { index, .. }))
                        if manner == Manner::Error =>
                    {
                        seen.insert(format!("transaction {index}"));
                    }
                    Err(BlockError::Execute(ExecuteError::Panic { index, .. }))
                        if manner == Manner::Panic =>
                    {
                        seen.insert(format!("transaction {index}"));
                    }
                    Err(error) => panic!("{way}: {error:?}"),
                }
                let again = whole(Arc::new(case.memory.clone()), &rules, &WITHDRAWALS);
                let again = execute(runtime, &rules, &again, None).expect("the block is fine");
                assert_eq!(again.bundle.state, good.bundle.state, "after {way}");
            }
            for part in [
                "before the transactions",
                "transaction 0",
                "transaction 1",
                "requests after the transactions",
                "withdrawals and rewards",
            ] {
                assert!(seen.contains(part), "{name}, {manner:?}: {seen:?}");
            }
        }
    }
}
