//! A block executed in every way there is, each compared with sequential execution.

#![allow(dead_code, reason = "each test target uses its own part")]

pub(crate) mod later;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    panic::{self, PanicHookInfo},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use counterpoint::{
    Block, ExecuteError, Mode, Outcome, Runtime, TransactionOutcome,
    cli::{
        compare::{first_difference, same_error},
        sequential::{Sequential, execute_sequential},
    },
    state::{MemorySource, SourceError, StateSource},
};
use counterpoint_benches::{fork, workload::Workload};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv, result::ExecutionResult},
    database_interface::DBErrorMarker,
    primitives::{Address, B256, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// The end of every panic message that a test expects: nothing is printed of those.
pub(crate) const EXPECTED: &str = "(this panic is part of a test)";

/// How long comparing one block may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Wei that everybody starts with.
pub(crate) const RICH: u128 = 1_000_000_000_000_000_000;

/// Wei per gas: the base fee from London on, and the price that transactions offer unless they say otherwise.
pub(crate) const BASE_FEE: u64 = 10;
pub(crate) const PRICE: u128 = 25;

/// Whom fees go to, unless a test says otherwise.
pub(crate) const BENEFICIARY: Address = Address::repeat_byte(0xbe);

/// An address from a number, far from the precompiles.
pub(crate) fn address(number: u64) -> Address {
    let mut bytes = [0xad; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// An address or number as one word of call data.
pub(crate) fn word(value: impl Into<Word>) -> U256 {
    value.into().0
}

/// See [`word`].
pub(crate) struct Word(U256);

impl From<Address> for Word {
    fn from(address: Address) -> Self {
        Self(U256::from_be_slice(address.as_slice()))
    }
}

impl From<u64> for Word {
    fn from(number: u64) -> Self {
        Self(U256::from(number))
    }
}

/// A question to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Account(Address),
    Slot(Address, U256),
    Code(B256),
    BlockHash(u64),
}

/// Why the source does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer to {0:?}")]
pub(crate) struct Fault(pub(crate) Key);

impl DBErrorMarker for Fault {}

/// What happens before a question is answered.
pub(crate) type Hook = Arc<dyn Fn(Key) -> Result<(), Fault> + Send + Sync>;

/// A source in memory that may hesitate, fail or panic.
#[derive(Clone)]
pub(crate) struct TestSource {
    pub(crate) memory: Arc<MemorySource>,
    pub(crate) hook: Hook,
    /// Whether code is only given by its hash, and not with the account.
    pub(crate) code_by_hash: bool,
}

impl TestSource {
    fn answer_account(&self, address: Address) -> Result<Option<AccountInfo>, Fault> {
        (self.hook)(Key::Account(address))?;
        let info = self.memory.basic_ref(address).map_err(|_| Fault(Key::Account(address)))?;
        Ok(info.map(|mut info| {
            if self.code_by_hash && !info.is_empty_code_hash() {
                info.code = None;
            }
            info
        }))
    }

    fn answer_storage(&self, address: Address, slot: U256) -> Result<U256, Fault> {
        let key = Key::Slot(address, slot);
        (self.hook)(key)?;
        self.memory.storage_ref(address, slot).map_err(|_| Fault(key))
    }

    fn answer_code(&self, hash: B256) -> Result<Bytecode, Fault> {
        let key = Key::Code(hash);
        (self.hook)(key)?;
        self.memory.code_by_hash_ref(hash).map_err(|_| Fault(key))
    }

    fn answer_block_hash(&self, number: u64) -> Result<B256, Fault> {
        let key = Key::BlockHash(number);
        (self.hook)(key)?;
        self.memory.block_hash_ref(number).map_err(|_| Fault(key))
    }
}

impl StateSource for TestSource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.answer_account(address).map_err(SourceError::new)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        let exists = self.memory.basic_ref(address).is_ok_and(|info| info.is_some());
        assert!(exists, "the source is never asked for storage of an account that does not exist: {address}");
        self.answer_storage(address, slot).map_err(SourceError::new)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.answer_code(hash).map_err(SourceError::new)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.answer_block_hash(number).map_err(SourceError::new)
    }
}

impl DatabaseRef for TestSource {
    type Error = Fault;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Fault> {
        self.answer_account(address)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Fault> {
        self.answer_storage(address, slot)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Fault> {
        self.answer_code(hash)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Fault> {
        self.answer_block_hash(number)
    }
}

/// How the source takes its time, so that transactions meet in different orders.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// It answers at once.
    Prompt,
    /// The first transaction's sender takes long to load: everything above runs on speculation.
    HoldFirst,
    /// Every third transaction's sender takes long to load.
    HoldThirds,
    /// Any answer may take a while.
    Jitter(u64),
}

const HOLD: Duration = Duration::from_micros(80);

/// A block to execute, as a test writes it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) env: BlockEnv,
    pub(crate) cfg: CfgEnv,
    pub(crate) transactions: Vec<TxEnv>,
    pub(crate) memory: MemorySource,
    pub(crate) hook: Hook,
    pub(crate) code_by_hash: bool,
    nonces: BTreeMap<Address, u64>,
    rounds: u64,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("spec", &self.cfg.spec).finish_non_exhaustive()
    }
}

impl Case {
    /// An empty block under this fork.
    pub(crate) fn new(spec: SpecId) -> Self {
        Self {
            env: fork::block_env(spec, BENEFICIARY, 1_000_000_000, BASE_FEE),
            cfg: fork::cfg_env(spec),
            transactions: Vec::new(),
            memory: MemorySource::new(),
            hook: Arc::new(|_| Ok(())),
            code_by_hash: false,
            nonces: BTreeMap::new(),
            rounds: 20,
        }
    }

    /// A generated block.
    pub(crate) fn of(workload: Workload) -> Self {
        let mut case = Self::new(workload.cfg.spec);
        (case.env, case.cfg) = (workload.env, workload.cfg);
        (case.transactions, case.memory) = (workload.transactions, workload.source);
        case
    }

    /// How often each configuration executes the block. Default: 20.
    pub(crate) fn rounds(&mut self, rounds: u64) {
        self.rounds = rounds;
    }

    /// A rich account without code.
    pub(crate) fn rich(&mut self, number: u64) -> Address {
        let address = address(number);
        self.account(address, U256::from(RICH));
        address
    }

    /// An account without code.
    pub(crate) fn account(&mut self, address: Address, balance: U256) {
        self.memory.insert_account(address, AccountInfo::from_balance(balance), []);
    }

    /// A contract with storage.
    pub(crate) fn contract(&mut self, address: Address, code: Bytes, storage: &[(u64, U256)]) -> Address {
        self.contract_with(address, code, U256::ZERO, storage)
    }

    /// A contract with a balance and storage.
    pub(crate) fn contract_with(
        &mut self,
        address: Address,
        code: Bytes,
        balance: U256,
        storage: &[(u64, U256)],
    ) -> Address {
        let info = AccountInfo { balance, nonce: 1, ..AccountInfo::default() };
        let info = info.with_code(Bytecode::new_raw(code));
        let storage: Vec<_> = storage.iter().map(|(slot, value)| (U256::from(*slot), *value)).collect();
        self.memory.insert_account(address, info, storage);
        address
    }

    /// Appends a transaction with its sender's next nonce.
    pub(crate) fn push(&mut self, mut tx: TxEnv) -> &mut TxEnv {
        let nonce = self.nonces.entry(tx.caller).or_insert_with(|| {
            let known = self.memory.basic_ref(tx.caller).ok().flatten();
            known.map_or(0, |info| info.nonce)
        });
        tx.nonce = *nonce;
        *nonce += 1;
        self.transactions.push(tx);
        self.transactions.last_mut().expect("it was just pushed")
    }

    /// Appends a transaction that will turn out invalid: its sender's nonce stays.
    pub(crate) fn push_invalid(&mut self, change: impl FnOnce(&mut TxEnv)) -> usize {
        let tx = self.transactions.pop().expect("there is a transaction to spoil");
        *self.nonces.get_mut(&tx.caller).expect("its sender is known") -= 1;
        self.transactions.push(tx);
        change(self.transactions.last_mut().expect("it was just pushed"));
        self.transactions.len() - 1
    }

    /// Appends a transfer of wei.
    pub(crate) fn send(&mut self, from: Address, to: Address, value: u128) -> &mut TxEnv {
        self.call_with(from, to, U256::from(value), &[])
    }

    /// Appends a call with words of call data.
    pub(crate) fn call(&mut self, from: Address, to: Address, data: &[U256]) -> &mut TxEnv {
        self.call_with(from, to, U256::ZERO, data)
    }

    /// Appends a call with value and call data.
    pub(crate) fn call_with(&mut self, from: Address, to: Address, value: U256, data: &[U256]) -> &mut TxEnv {
        let data: Vec<u8> = data.iter().flat_map(|word| word.to_be_bytes::<32>()).collect();
        self.push(TxEnv { kind: TxKind::Call(to), value, data: data.into(), ..template(from) })
    }

    /// Appends a creation; returns the contract's address.
    pub(crate) fn create(&mut self, from: Address, init: Bytes, value: u64) -> Address {
        let value = U256::from(value);
        let nonce = self.push(TxEnv { kind: TxKind::Create, value, data: init, ..template(from) }).nonce;
        from.create(nonce)
    }

    /// Executes the block in every way and mode; each must agree with sequential execution. Returns what a
    /// builder gets.
    #[track_caller]
    pub(crate) fn check(&self) -> Sequential {
        let built = self.compare(Mode::Build).expect("sequential execution builds the block");
        let invalid = built.transactions.iter().any(|outcome| outcome.result().is_none());
        // Only invalid transactions tell the modes apart.
        let verified = self.compare_rounds(Mode::Verify, if invalid { self.rounds } else { 1 });
        assert_eq!(verified.is_err(), invalid, "a verifier rejects exactly what a builder leaves out");
        built
    }

    /// As [`check`](Self::check), for a block in which every transaction is included and succeeds.
    #[track_caller]
    pub(crate) fn check_success(&self) -> Sequential {
        let sequential = self.check();
        for (index, outcome) in sequential.transactions.iter().enumerate() {
            assert!(outcome.result().is_some_and(ExecutionResult::is_success), "{index}: {outcome:?}");
        }
        sequential
    }

    /// What plain revm makes of the block.
    pub(crate) fn sequential(&self, mode: Mode) -> Result<Sequential, ExecuteError> {
        execute_sequential(
            &self.env,
            &self.cfg,
            &self.transactions,
            &self.source(Arc::clone(&self.hook)),
            mode,
            true,
        )
    }

    /// The block as the runtime takes it.
    pub(crate) fn block(&self, mode: Mode) -> Block {
        self.block_with(mode, Arc::clone(&self.hook))
    }

    fn source(&self, hook: Hook) -> TestSource {
        TestSource { memory: Arc::new(self.memory.clone()), hook, code_by_hash: self.code_by_hash }
    }

    fn block_with(&self, mode: Mode, hook: Hook) -> Block {
        Block {
            env: self.env.clone(),
            cfg: self.cfg.clone(),
            transactions: self.transactions.clone().into(),
            source: Arc::new(self.source(hook)),
            mode,
        }
    }

    fn paced(&self, pace: Pace, mode: Mode) -> Block {
        let inner = Arc::clone(&self.hook);
        let senders: Vec<Address> = self.transactions.iter().map(|tx| tx.caller).collect();
        let steps = AtomicU64::new(0);
        let hook = move |key: Key| {
            let held = match pace {
                Pace::Prompt => false,
                Pace::HoldFirst => senders.first().is_some_and(|sender| key == Key::Account(*sender)),
                Pace::HoldThirds => senders.iter().step_by(3).any(|sender| key == Key::Account(*sender)),
                Pace::Jitter(seed) => {
                    let random = mix(seed, steps.fetch_add(1, Ordering::Relaxed));
                    match random % 4 {
                        0 => thread::yield_now(),
                        1 => spin(Duration::from_nanos((random >> 8) % 30_000)),
                        _ => {}
                    }
                    false
                }
            };
            if held {
                thread::sleep(HOLD);
            }
            inner(key)
        };
        self.block_with(mode, Arc::new(hook))
    }

    /// Executes the block in every way; each must agree with sequential execution.
    #[track_caller]
    pub(crate) fn compare(&self, mode: Mode) -> Result<Sequential, ExecuteError> {
        self.compare_rounds(mode, self.rounds)
    }

    #[track_caller]
    fn compare_rounds(&self, mode: Mode, rounds: u64) -> Result<Sequential, ExecuteError> {
        quiet();
        let watchdog = Watchdog::new(PATIENCE);
        let expected = self.sequential(mode);
        let mut paces =
            [Pace::Prompt, Pace::HoldFirst, Pace::HoldThirds, Pace::Jitter(0), Pace::Jitter(1000)];
        let mut configurations = Vec::new();
        for workers in [1, 2, 4, 8] {
            for (fibers, window) in [(256, 256), (1, 256), (2, 256), (256, 2)] {
                configurations.push((workers, fibers, window, None));
            }
        }
        let plain = configurations.len();
        if cfg!(feature = "chaos") {
            for workers in [1, 2, 4] {
                for (seed, (fibers, window)) in
                    [(256, 256), (1, 256), (2, 256), (256, 2), (256, 256), (3, 3)].into_iter().enumerate()
                {
                    configurations.push((
                        workers,
                        fibers,
                        window,
                        Some(1 + 31 * workers as u64 + seed as u64),
                    ));
                }
            }
        }
        for (number, (workers, fibers, window, seed)) in configurations.into_iter().enumerate() {
            let runtime = runtime(workers, fibers, window, seed);
            // One worker has one order, but for chaos.
            let rounds = if workers == 1 { 1 } else { rounds.div_ceil(if number < plain { 1 } else { 4 }) };
            for round in 0..rounds {
                let count = paces.len();
                let pace = &mut paces[round as usize % count];
                if let Pace::Jitter(seed) = pace {
                    *seed += 1;
                }
                let way = format!(
                    "{:?} {mode:?}: workers {workers}, fibers {fibers}, window {window}, chaos {seed:?}, {pace:?}, \
                     round {round}",
                    self.cfg.spec
                );
                watchdog.now(&way);
                let got = runtime.execute(&self.paced(*pace, mode));
                agree(&expected, &got, &way);
                if let (Ok(expected), Ok(got)) = (&expected, &got) {
                    assert_eq!(expected.states.len(), got.states.len(), "{way}: states are kept");
                }
            }
        }
        // As most users have it: nobody asks for each transaction's changes.
        for (workers, prefix) in [(1, None), (2, None), (2, Some(self.transactions.len() / 2)), (3, Some(0))]
        {
            let builder = Runtime::builder().workers(workers);
            let builder = prefix.map_or(builder.clone(), |prefix| builder.serial_prefix(prefix));
            let runtime = builder.build().expect("the system has threads");
            for round in 0..if workers == 1 { 1 } else { rounds.div_ceil(4) } {
                let way =
                    format!("{:?} {mode:?}: workers {workers}, {prefix:?}, round {round}", self.cfg.spec);
                watchdog.now(&way);
                agree(&expected, &runtime.execute(&self.paced(Pace::Jitter(round), mode)), &way);
            }
        }
        expected
    }
}

/// Fails unless the runtime did what sequential execution does.
#[track_caller]
pub(crate) fn agree(
    expected: &Result<Sequential, ExecuteError>,
    got: &Result<Outcome, ExecuteError>,
    way: impl fmt::Display,
) {
    match (expected, got) {
        (Ok(expected), Ok(got)) => {
            if let Some(difference) = first_difference(expected, got) {
                panic!("{way}: {difference}");
            }
        }
        (Err(expected), Err(got)) => {
            assert!(same_error(expected, got), "{way}: {got:?} instead of {expected:?}");
        }
        (Ok(_), Err(got)) => panic!("{way}: {got:?}, but sequential execution succeeds"),
        (Err(expected), Ok(_)) => panic!("{way}: success, but sequential execution fails: {expected:?}"),
    }
}

/// A runtime that keeps each transaction's state. Without chaos everything is executed in parallel.
pub(crate) fn runtime(workers: usize, fibers: usize, window: usize, chaos: Option<u64>) -> Runtime {
    let builder = Runtime::builder().workers(workers).fibers(fibers).window(window).keep_states(true);
    #[cfg(feature = "chaos")]
    let builder = match chaos {
        Some(seed) => builder.chaos(seed),
        None => builder.serial_prefix(0),
    };
    #[cfg(not(feature = "chaos"))]
    let builder = builder.serial_prefix(chaos.map_or(0, |seed| seed as usize % 8));
    builder.build().expect("the system has threads")
}

/// A call without value or data.
pub(crate) fn template(from: Address) -> TxEnv {
    TxEnv { caller: from, gas_limit: 1_000_000, gas_price: PRICE, ..TxEnv::default() }
}

/// The output of an executed transaction, as one number.
#[track_caller]
pub(crate) fn output(sequential: &Sequential, index: usize) -> U256 {
    let output = sequential.transactions[index].result().and_then(ExecutionResult::output);
    U256::try_from_be_slice(output.expect("it has an output")).expect("the output is a word")
}

/// The output's word with this number.
#[track_caller]
pub(crate) fn output_word(sequential: &Sequential, index: usize, word: usize) -> U256 {
    let output = sequential.transactions[index].result().and_then(ExecutionResult::output);
    U256::from_be_slice(&output.expect("it has an output")[32 * word..][..32])
}

/// Whether a transaction was included and succeeded.
pub(crate) fn succeeded(sequential: &Sequential, index: usize) -> bool {
    sequential.transactions[index].result().is_some_and(ExecutionResult::is_success)
}

/// Whether a transaction was left out.
pub(crate) fn skipped(sequential: &Sequential, index: usize) -> bool {
    matches!(sequential.transactions[index], TransactionOutcome::Skipped(_))
}

/// An account's balance after the block, zero where it does not exist.
pub(crate) fn balance(sequential: &Sequential, address: Address) -> U256 {
    let account = sequential.bundle.state.get(&address).expect("the block changed it");
    account.info.as_ref().map_or(U256::ZERO, |info| info.balance)
}

/// A number that looks random, from two others.
pub(crate) fn mix(seed: u64, step: u64) -> u64 {
    let mut z =
        seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Panics that tests expect print nothing.
pub(crate) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let expected = info.payload_as_str().is_some_and(|message| message.ends_with(EXPECTED));
            if !expected {
                default(info);
            }
        }));
    });
}

/// Ends the process with a message unless it is dropped in time: a hang fails instead of blocking.
pub(crate) struct Watchdog {
    doing: Arc<Mutex<String>>,
    _alive: Sender<()>,
}

impl Watchdog {
    pub(crate) fn new(patience: Duration) -> Self {
        let (alive, ended) = mpsc::channel();
        let doing = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&doing);
        let test = thread::current().name().unwrap_or("test").to_owned();
        thread::spawn(move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let doing = shown.lock().unwrap_or_else(PoisonError::into_inner);
                // Not `eprintln!`, which the test harness keeps to itself.
                let _ = writeln!(io::stderr(), "{test} hangs after {patience:?}: {doing}");
                std::process::abort();
            }
        });
        Self { doing, _alive: alive }
    }

    /// Says what would be hanging.
    pub(crate) fn now(&self, doing: &str) {
        let mut current = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.push_str(doing);
    }
}
