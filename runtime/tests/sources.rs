//! Sources that read elsewhere: the results are those of sequential execution, each key is read once, what fails names its
//! key, and what is kept from block to block is never wrong.

#![cfg(feature = "cli")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use alloy_eips::eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE};
use alloy_hardforks::EthereumHardfork as Fork;
use common::{Case, EXPECTED, Watchdog, agree, later::Later, quiet, runtime};
use counterpoint::{
    ExecuteError, Mode, Runtime,
    cli::{compare::first_difference, sequential::SequentialEngine},
    ethereum::{Rules, WholeBlock, execute},
    sources::{BlockingSource, HotState, ReadError},
    state::{Answer, DeferredSource, Key, MemorySource, Request, SourceError, StateSource},
};
use counterpoint_benches::{
    asm::Asm,
    random::random_block,
    workload::{Knobs, Mix},
};
use revm::{
    DatabaseRef,
    bytecode::{Bytecode, opcode},
    context::{BlockEnv, TxEnv},
    database_interface::DBErrorMarker,
    primitives::{Address, B256, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

const PATIENCE: Duration = Duration::from_secs(300);

/// A database that counts, waits, fails and panics.
struct Database {
    memory: MemorySource,
    /// How often each key was read.
    reads: Mutex<BTreeMap<String, u32>>,
    /// Reads at the moment, and the most there were.
    now: AtomicUsize,
    most: AtomicUsize,
    pause: Duration,
    fails: Option<Key>,
    panics: Option<Key>,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is on fire")]
struct Fire;

impl DBErrorMarker for Fire {}

impl Database {
    fn new(memory: &MemorySource) -> Self {
        Self {
            memory: memory.clone(),
            reads: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            pause: Duration::ZERO,
            fails: None,
            panics: None,
        }
    }

    fn read<T>(&self, key: Key, value: impl FnOnce(&MemorySource) -> T) -> Result<T, Fire> {
        *self.reads.lock().expect("not poisoned").entry(format!("{key:?}")).or_default() += 1;
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::sleep(self.pause);
        self.now.fetch_sub(1, Ordering::SeqCst);
        assert!(self.panics != Some(key), "{EXPECTED}");
        if self.fails == Some(key) { Err(Fire) } else { Ok(value(&self.memory)) }
    }
}

impl DatabaseRef for Database {
    type Error = Fire;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Fire> {
        let info = self.read(Key::Account(address), |memory| memory.basic_ref(address))?.expect("it has all");
        Ok(info.map(|info| AccountInfo { code: None, ..info }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Fire> {
        Ok(self.read(Key::Code(hash), |memory| memory.code_by_hash_ref(hash))?.expect("it has all"))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Fire> {
        let key = Key::Storage(address, slot);
        Ok(self.read(key, |memory| memory.storage_ref(address, slot))?.expect("it has all"))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Fire> {
        let hash = self.read(Key::BlockHash(number), |memory| memory.block_hash_ref(number))?;
        hash.map_err(|_| Fire)
    }
}

/// A block that reads accounts, slots, code and a block hash.
fn small() -> Case {
    let mut case = Case::new(SpecId::OSAKA);
    let number: u64 = case.env.number.to();
    case.memory.insert_block_hash(number - 3, B256::repeat_byte(3));
    let mut code = Asm::new();
    code.num(3).ops(&[opcode::NUMBER, opcode::SUB, opcode::BLOCKHASH, opcode::POP]);
    code.argument(0).ops(&[opcode::BALANCE, opcode::POP]).increment(1, 1).argument(0).ops(&[opcode::SLOAD]);
    let first = case.contract(common::address(1), code.return_word().build(), &[(1, U256::from(7))]);
    let mut code = Asm::new();
    code.increment(2, 5).address(first).ops(&[opcode::EXTCODESIZE]);
    let second = case.contract(common::address(2), code.return_word().build(), &[(2, U256::from(9))]);
    let senders: Vec<_> = (0..5).map(|number| case.rich(10 + number)).collect();
    case.send(senders[0], common::address(100), 5);
    case.call(senders[1], first, &[common::word(common::address(101))]);
    case.call(senders[2], second, &[]);
    case.call(senders[0], first, &[common::word(common::address(102))]);
    case.send(senders[3], senders[4], 5);
    case.call(senders[4], second, &[]);
    case
}

/// Every key that sequential execution of the block reads.
fn keys(case: &Case) -> Vec<Key> {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let mut case = case.clone();
    case.code_by_hash = true;
    let notes = Arc::clone(&keys);
    case.hook = Arc::new(move |key| {
        let key = match key {
            common::Key::Account(address) => Key::Account(address),
            common::Key::Slot(address, slot) => Key::Storage(address, slot),
            common::Key::Code(hash) => Key::Code(hash),
            common::Key::BlockHash(number) => Key::BlockHash(number),
        };
        let mut keys = notes.lock().expect("not poisoned");
        if !keys.contains(&key) {
            keys.push(key);
        }
        Ok(())
    });
    case.sequential(Mode::Verify).expect("the block is fine");
    let keys = keys.lock().expect("not poisoned").clone();
    assert!(keys.len() > 12, "{keys:?}");
    keys
}

fn runtimes() -> Vec<Runtime> {
    [(1, None), (2, None), (4, Some(7))].map(|(workers, chaos)| runtime(workers, 64, 64, chaos)).into()
}

/// Whether this happens before long.
fn soon(what: impl Fn() -> bool) -> bool {
    for _ in 0..10_000 {
        if what() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn a_blocking_database_is_read_once_for_a_key_and_by_no_more_threads() {
    let watchdog = Watchdog::new(PATIENCE);
    for seed in 0..20 {
        let case = Case::of(random_block(seed));
        let expected = case.sequential(Mode::Build);
        for runtime in &runtimes() {
            watchdog.now(&format!("seed {seed}, {runtime:?}"));
            let mut database = Database::new(&case.memory);
            database.pause = Duration::from_micros(50);
            let source = Arc::new(BlockingSource::new(database, 3).expect("threads"));
            let mut block = case.block(Mode::Build);
            block.source = Arc::clone(&source) as Arc<dyn StateSource>;
            let got = runtime.execute(&block);
            agree(&expected, &got, format!("seed {seed}, {runtime:?}"));
            let database = source.database();
            let twice: Vec<_> = database
                .reads
                .lock()
                .expect("not poisoned")
                .clone()
                .into_iter()
                .filter(|read| read.1 > 1)
                .collect();
            assert!(twice.is_empty(), "{twice:?}");
            let most = database.most.load(Ordering::SeqCst);
            assert!((1..=3).contains(&most), "{most} at a time");
        }
    }
}

#[test]
fn blocks_that_want_the_same_key_at_the_same_time_share_the_read() {
    let _watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 40, ..Knobs::default() }));
    let expected = case.sequential(Mode::Build);
    let mut database = Database::new(&case.memory);
    database.pause = Duration::from_millis(2);
    let source = Arc::new(BlockingSource::new(database, 4).expect("threads"));
    let runtime = runtime(2, 64, 64, None);
    let mut block = case.block(Mode::Build);
    block.source = Arc::clone(&source) as Arc<dyn StateSource>;
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| agree(&expected, &runtime.execute(&block), "one of six"));
        }
    });
    let reads = source.database().reads.lock().expect("not poisoned").clone();
    let (keys, reads) = (reads.len() as u32, reads.values().sum::<u32>());
    assert!(reads < keys * 3, "{reads} reads of {keys} keys by six blocks");
}

#[test]
fn an_error_or_a_panic_in_the_database_names_its_key() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let case = small();
    let good = case.sequential(Mode::Verify);
    let mut positions = BTreeSet::new();
    for key in keys(&case) {
        for runtime in &runtimes() {
            for panics in [false, true] {
                watchdog.now(&format!("{key:?}, {panics}, {runtime:?}"));
                let mut database = Database::new(&case.memory);
                if panics {
                    database.panics = Some(key)
                } else {
                    database.fails = Some(key)
                }
                let mut block = case.block(Mode::Verify);
                block.source = Arc::new(BlockingSource::new(database, 2).expect("threads"));
                let error = runtime.execute(&block).expect_err("the key is needed");
                let ExecuteError::Source { index, cause } = &error else { panic!("{key:?}: {error:?}") };
                positions.insert(*index);
                let read: &ReadError = cause.downcast_ref().expect("a typed error");
                assert_eq!(read.key(), key);
                match (read, panics) {
                    (ReadError::Failed { cause, .. }, false) => assert!(cause.is::<Fire>()),
                    (ReadError::Panicked { message, .. }, true) => assert_eq!(message, EXPECTED),
                    _ => panic!("{read:?}"),
                }
                agree(&good, &runtime.execute(&case.block(Mode::Verify)), "the next block");
            }
        }
    }
    assert!(positions.len() >= 4, "{positions:?}");
}

#[test]
fn whoever_panics_over_an_answer_costs_nobody_else_the_source() {
    quiet();
    let _watchdog = Watchdog::new(PATIENCE);
    let case = small();
    let source = Arc::new(BlockingSource::new(Database::new(&case.memory), 1).expect("a thread"));
    for _ in 0..3 {
        source.request(vec![Request::new(Key::Account(common::address(1)), |_| panic!("{EXPECTED}"))]);
    }
    let mut block = case.block(Mode::Verify);
    block.source = source;
    agree(&case.sequential(Mode::Verify), &runtime(2, 64, 64, None).execute(&block), "after the panics");
}

#[test]
fn a_blocking_source_that_is_dropped_joins_its_threads_and_answers_what_is_open() {
    let _watchdog = Watchdog::new(PATIENCE);
    let mut database = Database::new(&MemorySource::new());
    database.pause = Duration::from_millis(3);
    let database = Arc::new(database);
    let weak: Weak<Database> = Arc::downgrade(&database);
    let source = BlockingSource::new(database, 4).expect("threads");
    let answers = Arc::new(Mutex::new(Vec::new()));
    let requests = (0..100).map(|number| {
        let answers = Arc::clone(&answers);
        Request::new(Key::Account(common::address(number)), move |answer| {
            answers.lock().expect("not poisoned").push(answer);
        })
    });
    source.request(requests.collect());
    assert!(soon(|| !source.database().reads.lock().expect("not poisoned").is_empty()), "nobody reads");
    drop(source);
    assert_eq!(weak.strong_count(), 0, "no thread has the database any more");
    let answers = answers.lock().expect("not poisoned");
    let closed = |error: &SourceError| matches!(error.downcast_ref(), Some(ReadError::Closed { .. }));
    assert_eq!(answers.len(), 100, "each is answered once");
    assert!(answers.iter().any(Result::is_ok), "what was being read was read to its end");
    let open = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(open.clone().count() > 50 && open.clone().all(closed));
}

/// Executes a chain of blocks on states that follow each other; what each reads comes through `source`.
fn chain(
    length: u64,
    mut source: impl FnMut(Arc<dyn StateSource>) -> Arc<dyn StateSource>,
    mut after: impl FnMut(&revm::database::BundleState),
) {
    let runtime = runtime(2, 64, 64, None);
    let mut memory = MemorySource::new();
    let workload = Mix::Defi.build(&Knobs { transactions: 30, ..Knobs::default() });
    for (address, info, storage) in workload.source.accounts() {
        memory.insert_account(*address, info.clone(), storage.iter().map(|(slot, value)| (*slot, *value)));
    }
    for number in 0..length {
        let mut case =
            Case::of(Mix::Defi.build(&Knobs { transactions: 30, seed: number, ..Knobs::default() }));
        // Whoever has sent something has another nonce: those who have not make the block.
        case.memory = memory.clone();
        let expected = case.sequential(Mode::Build);
        let mut block = case.block(Mode::Build);
        block.source = source(Arc::new(memory.clone()));
        let got = runtime.execute(&block);
        agree(&expected, &got, format!("block {number}"));
        let bundle = got.expect("it agrees").bundle;
        memory.apply(&bundle);
        after(&bundle);
    }
}

#[test]
fn hot_state_follows_commits_within_its_budget() {
    let _watchdog = Watchdog::new(PATIENCE);
    for budget in [0, 4_000, 60_000, 100_000_000] {
        for slow in [false, true] {
            let hot = HotState::new(budget);
            let most = AtomicUsize::new(0);
            chain(
                25,
                |memory| {
                    Arc::new(match slow {
                        true => hot.source(Arc::new(BlockingSource::new(Below(memory), 2).expect("threads"))),
                        false => hot.source(memory),
                    })
                },
                |bundle| {
                    most.fetch_max(hot.statistics().bytes, Ordering::Relaxed);
                    hot.commit(bundle);
                    most.fetch_max(hot.statistics().bytes, Ordering::Relaxed);
                },
            );
            let statistics = hot.statistics();
            assert!(most.load(Ordering::Relaxed) <= budget, "{statistics:?} of {budget}");
            match budget {
                0 => assert_eq!((statistics.hits, statistics.entries), (0, 0)),
                4_000 | 60_000 => assert!(statistics.evicted > 0, "{statistics:?}"),
                _ => assert!(statistics.hits > 200 && statistics.evicted == 0, "{statistics:?}"),
            }
            hot.clear();
            assert_eq!((hot.statistics().entries, hot.statistics().bytes), (0, 0), "{statistics:?}");
        }
    }
}

/// A source as a database.
struct Below(Arc<dyn StateSource>);

impl DatabaseRef for Below {
    type Error = SourceError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.0.account(address)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(hash)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.0.storage(address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, SourceError> {
        self.0.block_hash(number)
    }
}

/// A change of one account: its balance, and one slot.
fn bundle(account: Address, balance: Option<u64>, slot: u64, value: u64) -> revm::database::BundleState {
    use revm::database::{AccountStatus, BundleAccount, BundleState, states::StorageSlot};
    let info = balance.map(|balance| AccountInfo::from_balance(U256::from(balance)));
    let status = if info.is_some() { AccountStatus::Changed } else { AccountStatus::Destroyed };
    let mut storage = revm::primitives::StorageKeyMap::default();
    storage.insert(U256::from(slot), StorageSlot::new(U256::from(value)));
    let mut bundle = BundleState::default();
    bundle.state.insert(account, BundleAccount::new(None, info, storage, status));
    bundle
}

#[test]
fn hot_state_belongs_to_its_block() {
    let account = common::address(1);
    let state = |balance: u64, slots: &[(u64, u64)]| -> Arc<dyn StateSource> {
        let mut memory = MemorySource::new();
        let slots = slots.iter().map(|(slot, value)| (U256::from(*slot), U256::from(*value)));
        memory.insert_account(account, AccountInfo::from_balance(U256::from(balance)), slots);
        Arc::new(memory)
    };
    let balance = |source: &dyn StateSource| {
        source.account(account).expect("it answers").map(|info| info.balance.to::<u64>())
    };
    let slot = |source: &dyn StateSource, slot: u64| {
        source.storage(account, U256::from(slot)).expect("it answers").to::<u64>()
    };
    let hot = HotState::new(1 << 20);
    let first = hot.source(state(1, &[(1, 10), (2, 20)]));
    assert_eq!((balance(&first), slot(&first, 1), slot(&first, 2)), (Some(1), 10, 20));

    // A block of before reads on as before, and leaves nothing for those after.
    let change = bundle(account, Some(2), 1, 11);
    hot.commit(&change);
    let second = hot.source(state(2, &[(1, 11), (2, 20), (3, 30)]));
    assert_eq!((balance(&first), slot(&first, 1), slot(&first, 2), slot(&first, 3)), (Some(1), 10, 20, 0));
    assert_eq!((balance(&second), slot(&second, 1), slot(&second, 2)), (Some(2), 11, 20));
    assert_eq!(slot(&second, 3), 30, "a zero read before the commit is not kept");

    // Taken back, everything that was changed is read again.
    hot.revert(&change);
    let again = hot.source(state(7, &[(1, 70), (2, 20)]));
    assert_eq!((balance(&again), slot(&again, 1)), (Some(7), 70));

    // With the account go all its slots.
    assert_eq!(slot(&again, 2), 20);
    hot.commit(&bundle(account, None, 5, 0));
    let gone = hot.source(Arc::new(MemorySource::new()));
    assert_eq!(balance(&gone), None);
    hot.commit(&bundle(account, Some(3), 1, 1));
    let back = hot.source(state(3, &[(1, 1)]));
    assert_eq!((balance(&back), slot(&back, 1), slot(&back, 2)), (Some(3), 1, 0));
}

#[test]
fn an_answer_that_comes_after_the_commit_is_not_kept() {
    /// Holds its requests back.
    struct Held(Mutex<Vec<Request>>);
    impl DeferredSource for Held {
        fn request(&self, requests: Vec<Request>) {
            self.0.lock().expect("not poisoned").extend(requests);
        }
    }
    let (account, slot) = (common::address(1), U256::from(1));
    let held = Arc::new(Held(Mutex::default()));
    let hot = HotState::new(1 << 20);
    let source = hot.source(Arc::new(Later(Arc::clone(&held))));
    let answered = Arc::new(AtomicU64::new(0));
    let notes = Arc::clone(&answered);
    let request = Request::new(Key::Storage(account, slot), move |answer| {
        if let Ok(Answer::Storage(value)) = answer {
            notes.store(value.to(), Ordering::SeqCst);
        }
    });
    source.deferred().expect("as the one below").request(vec![request]);
    hot.commit(&bundle(account, Some(1), 1, 11));
    // Meanwhile the entry may have had to make room.
    hot.clear();
    for request in held.0.lock().expect("not poisoned").drain(..) {
        request.answer(Ok(Answer::Storage(U256::from(10))));
    }
    assert_eq!(answered.load(Ordering::SeqCst), 10, "whoever asked gets what it was");
    assert_eq!(hot.statistics().entries, 0, "and nobody else");
}

#[test]
fn whole_blocks_read_from_a_source_that_answers_later() {
    let watchdog = Watchdog::new(PATIENCE);
    let (sender, reader) = (common::address(1), common::address(2));
    let mut memory = MemorySource::new();
    memory.insert_account(sender, AccountInfo::from_balance(U256::from(common::RICH)), []);
    let contract =
        |code: Bytes| AccountInfo { nonce: 1, code: Some(Bytecode::new_raw(code)), ..Default::default() };
    memory.insert_account(BEACON_ROOTS_ADDRESS, contract(BEACON_ROOTS_CODE.clone()), []);
    memory.insert_account(
        reader,
        contract(Asm::new().increment(1, 1).build()),
        [(U256::from(1), U256::from(5))],
    );
    let timestamp = 1_000_u64;
    let call = |to: Address, nonce: u64, data: Bytes| TxEnv {
        caller: sender,
        kind: TxKind::Call(to),
        nonce,
        data,
        gas_limit: 200_000,
        chain_id: None,
        ..TxEnv::default()
    };
    let data = Bytes::from(U256::from(timestamp).to_be_bytes::<32>());
    let transactions: Arc<[TxEnv]> =
        [call(BEACON_ROOTS_ADDRESS, 0, data), call(reader, 1, Bytes::new()), call(reader, 2, Bytes::new())]
            .into();
    let rules = Rules::new(Fork::Cancun, 1);
    let whole = |source: Arc<dyn StateSource>| WholeBlock {
        env: BlockEnv {
            number: U256::from(7),
            timestamp: U256::from(timestamp),
            gas_limit: 30_000_000,
            prevrandao: Some(B256::ZERO),
            blob_excess_gas_and_price: rules.blob_fee(0),
            ..BlockEnv::default()
        },
        parent_hash: B256::ZERO,
        parent_beacon_block_root: Some(B256::repeat_byte(9)),
        ommers: &[],
        withdrawals: None,
        reward: None,
        transactions: Arc::clone(&transactions),
        source,
        mode: Mode::Verify,
    };
    let expected =
        execute(&SequentialEngine, &rules, &whole(Arc::new(memory.clone())), None).expect("a block");
    let root = expected.transactions[0].as_ref().expect("it is included").output().expect("a root").clone();
    assert_eq!(root.as_ref(), B256::repeat_byte(9).as_slice(), "what the system call wrote");
    for runtime in &runtimes() {
        watchdog.now(&format!("{runtime:?}"));
        let source = BlockingSource::new(Database::new(&memory), 2).expect("threads");
        let got = execute(runtime, &rules, &whole(Arc::new(source)), None).expect("a block");
        assert_eq!(got.receipts, expected.receipts);
        assert_eq!(got.bundle.state, expected.bundle.state);
    }
}

#[test]
fn memory_does_not_grow_over_ten_thousand_blocks() {
    const ALONE: &str = "COUNTERPOINT_SOAK_ALONE";
    if std::env::var_os(ALONE).is_none() {
        // The other tests' memory must not count: in a process of its own.
        let name = "memory_does_not_grow_over_ten_thousand_blocks";
        let output = std::process::Command::new(std::env::current_exe().expect("the test binary's path"))
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("the test binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no test {name}");
        return;
    }
    // What a block leaves behind is counted in entries and live sources, not in bytes that an allocator may keep.
    let _watchdog = Watchdog::new(Duration::from_secs(600));
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 3, ..Knobs::default() }));
    let expected = case.sequential(Mode::Build).expect("a block");
    let runtime = runtime(2, 16, 16, None);
    let hot = HotState::new(1 << 18);
    let source = Arc::new(BlockingSource::new(Database::new(&case.memory), 2).expect("threads"));
    let mut resident = Vec::new();
    for number in 0..10_000 {
        let mut block = case.block(Mode::Build);
        block.source = Arc::new(hot.source(Arc::clone(&source) as Arc<dyn StateSource>));
        let got = runtime.execute(&block).expect("a block");
        if number % 1_000 == 0 {
            assert_eq!(first_difference(&expected, &got), None, "block {number}");
            resident.push(resident_pages());
        }
        // Every other block fails: that must not leave anything either.
        block.transactions = Arc::from([TxEnv { nonce: 99, ..case.transactions[0].clone() }]);
        block.mode = Mode::Verify;
        assert!(runtime.execute(&block).is_err());
    }
    assert!(
        soon(|| Arc::strong_count(&source) == 1),
        "{} blocks still hold the source",
        Arc::strong_count(&source)
    );
    // The first thousand fill the pools.
    let (early, late) = (resident[2], resident[resident.len() - 1]);
    assert!(late <= early + early / 4 + 2_048, "{resident:?} pages");
}

/// Pages of memory in use; always the same where the system does not tell.
fn resident_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default()
}
