//! How blocks and what belongs to them end: nothing is held any more when `execute` returns, and nothing that a host's own
//! values do when they are dropped comes out of it.

#![cfg(feature = "cli")]

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use common::{Case, EXPECTED, Key, TestSource, Watchdog, address, agree, quiet, runtime};
use counterpoint::{
    Block, BuildError, CancelToken, Control, ExecuteError, Finalized, Hook, HookError, HookFailure, Mode,
    Runtime,
    sources::BlockingSource,
    state::{MemorySource, SourceError, StateSource},
};
use counterpoint_benches::workload::{Knobs, Mix};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256, hardfork::SpecId},
    state::AccountInfo,
};

const PATIENCE: Duration = Duration::from_secs(120);

fn runtimes() -> Vec<(String, Runtime)> {
    let mut runtimes = vec![("alone".to_owned(), Runtime::builder().workers(1).build().expect("no thread"))];
    for workers in [1, 2, 4] {
        runtimes.push((workers.to_string(), runtime(workers, 64, 64, None)));
    }
    runtimes.push(("chaos".to_owned(), runtime(3, 64, 64, Some(5))));
    runtimes
}

fn transfers(count: u64) -> Case {
    let mut case = Case::new(SpecId::OSAKA);
    for number in 0..count {
        let sender = case.rich(10 + number);
        case.send(sender, address(1), 5);
    }
    case
}

#[test]
fn a_blocks_source_is_the_callers_again_when_it_is_executed() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = transfers(20);
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let mut block = case.block(Mode::Verify);
        for _ in 0..2_000 {
            let source: Arc<dyn StateSource> = Arc::new(case.memory.clone());
            block.source = Arc::clone(&source);
            runtime.execute(&block).expect("nothing fails");
            assert_eq!(Arc::strong_count(&source), 2, "{name}: this one's and the block's");
        }
        // Neither does a block that fails leave it anywhere.
        block.transactions = block.transactions.iter().chain(&block.transactions[..1]).cloned().collect();
        for _ in 0..300 {
            let source: Arc<dyn StateSource> = Arc::new(case.memory.clone());
            block.source = Arc::clone(&source);
            runtime.execute(&block).expect_err("the last one's nonce is used up");
            assert_eq!(Arc::strong_count(&source), 2, "{name}: this one's and the block's");
        }
    }
}

/// A host that is the source of its own blocks.
struct Node {
    runtime: Runtime,
    memory: MemorySource,
}

impl StateSource for Node {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.memory.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.memory.storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.memory.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.memory.block_hash(number)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let thread = std::thread::current();
        let is_a_worker = thread.name().is_some_and(|name| name.starts_with("counterpoint-"));
        assert!(!is_a_worker, "a worker had it last");
    }
}

#[test]
fn who_owns_the_runtime_may_be_its_source() {
    let _watchdog = Watchdog::new(PATIENCE);
    let case = transfers(40);
    for _ in 0..500 {
        let node = Arc::new(Node { runtime: runtime(3, 64, 64, None), memory: case.memory.clone() });
        let mut block: Block = case.block(Mode::Verify);
        block.source = Arc::clone(&node) as Arc<dyn StateSource>;
        node.runtime.execute(&block).expect("nothing fails");
        drop(block);
        assert!(Arc::into_inner(node).is_some(), "it is the caller's");
    }
}

/// A hook whose end panics.
struct Bad;

impl Hook for Bad {
    fn finalized(&mut self, _: Finalized<'_>) -> Result<(), HookError> {
        Ok(())
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("{EXPECTED}");
    }
}

#[test]
fn a_hook_whose_end_panics_ends_the_block() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 12, ..Knobs::default() }));
    let expected = case.sequential(Mode::Verify);
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let execute = |control: Control| {
            catch_unwind(AssertUnwindSafe(|| {
                runtime.execute_with(&case.block(Mode::Verify), control.hook(Bad))
            }))
            .unwrap_or_else(|_| panic!("{name}: a panic came out"))
        };
        for _ in 0..5 {
            let got = execute(Control::new());
            let Err(ExecuteError::Hook { index, cause: HookFailure::Panicked(message) }) = &got else {
                panic!("{name}: {got:?}")
            };
            assert_eq!((*index, message.as_str()), (case.transactions.len() - 1, EXPECTED), "{name}");
        }
        let token = CancelToken::new();
        token.cancel();
        let got = execute(Control::new().cancel(&token));
        assert!(matches!(got, Err(ExecuteError::Cancelled)), "{name}: {got:?}");
        agree(&expected, &runtime.execute(&case.block(Mode::Verify)), name);
    }
}

/// What a panic may carry.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{EXPECTED}");
    }
}

#[test]
fn a_panic_that_holds_another_one_is_contained() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let good = transfers(6);
    let expected = good.sequential(Mode::Verify);
    let mut bad = good.clone();
    bad.hook =
        Arc::new(|key| if key == Key::Account(address(12)) { resume_unwind(Box::new(Bomb)) } else { Ok(()) });
    for (name, runtime) in &runtimes() {
        watchdog.now(name);
        let contained = |case: &Case, control: Control| {
            catch_unwind(AssertUnwindSafe(|| runtime.execute_with(&case.block(Mode::Verify), control)))
                .unwrap_or_else(|_| panic!("{name}: a panic came out"))
        };
        let got = contained(&bad, Control::new());
        assert!(matches!(got, Err(ExecuteError::Panic { index: 2, .. })), "{name}: {got:?}");
        let hook = |last: Finalized<'_>| {
            if last.index == 3 { resume_unwind(Box::new(Bomb)) } else { Ok(()) }
        };
        let got = contained(&good, Control::new().hook(hook));
        assert!(matches!(got, Err(ExecuteError::Hook { index: 3, .. })), "{name}: {got:?}");
        agree(&expected, &runtime.execute(&good.block(Mode::Verify)), name);
    }
    let source =
        BlockingSource::new(TestSource { memory: bad.memory.into(), code_by_hash: false, hook: bad.hook }, 1);
    let mut block = good.block(Mode::Verify);
    block.source = Arc::new(source.expect("a thread"));
    for _ in 0..2 {
        let got = runtimes()[2].1.execute(&block);
        assert!(matches!(got, Err(ExecuteError::Source { index: 2, .. })), "{got:?}");
    }
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    for workers in [usize::MAX, 1 << 40, 4_097] {
        let got = Runtime::builder().workers(workers).build();
        assert!(matches!(got, Err(BuildError::TooManyWorkers { .. })), "{got:?}");
        let got = BlockingSource::new(MemorySource::new(), workers).expect_err("too many");
        assert_eq!(got.kind(), std::io::ErrorKind::InvalidInput);
    }
    // What bounds blocks may be as large as it likes.
    let most = usize::MAX;
    let runtime = Runtime::builder().workers(2).fibers(most).window(most).in_flight(most).serial_prefix(most);
    let case = transfers(6);
    let runtime = runtime.build().expect("a thread");
    assert!(runtime.execute(&case.block(Mode::Verify)).is_ok());
}
