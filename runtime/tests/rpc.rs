//! State over JSON-RPC and from futures: a node that delays, fails, lies or cuts connections costs time, or the block, and
//! never a wrong result.

#![cfg(feature = "rpc")]
#![cfg(feature = "cli")]

mod common;
mod node;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use alloy_eips::BlockId;
use common::{Case, Fault, Watchdog, agree, runtime};
use counterpoint::{
    ExecuteError, Mode, Runtime,
    sources::{
        AsyncDatabase, AsyncDatabases, AsyncSource, Batched, HotState, Limits, ReadError, RpcError,
        RpcSettings, RpcSource,
    },
    state::{DroppedError, Key, MemorySource, Request, StateSource},
};
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix},
};
use node::{Manner, Node};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};
use revm_database_interface::async_db::{DatabaseAsync, DatabaseAsyncRef};

const PATIENCE: Duration = Duration::from_secs(300);

/// Settings of a test: the pauses are short.
fn settings() -> RpcSettings {
    let mut settings = RpcSettings::default();
    settings.backoff = Duration::from_millis(1);
    settings.retries = 12;
    settings.limits = Limits::new(20, 4);
    settings
}

fn connect(node: &Node, settings: RpcSettings) -> Arc<RpcSource> {
    Arc::new(RpcSource::connect(&node.url, BlockId::number(7), settings).expect("a runtime"))
}

/// Blocks in which no account is empty: nodes do not tell those from none at all.
fn cases(count: u64) -> Vec<Case> {
    let defi =
        (0..count / 2).map(|seed| Mix::Defi.build(&Knobs { transactions: 40, seed, ..Knobs::default() }));
    let random = (0..count / 2).map(|seed| {
        let mut workload = random_block(seed);
        let mut memory = MemorySource::new();
        for (address, info, storage) in workload.source.accounts().filter(|(_, info, _)| !info.is_empty()) {
            let slots = storage.iter().map(|(slot, value)| (*slot, *value));
            memory.insert_account(*address, info.clone(), slots);
        }
        for (number, hash) in workload.source.block_hashes() {
            memory.insert_block_hash(number, hash);
        }
        workload.source = memory;
        workload
    });
    defi.chain(random).map(Case::of).collect()
}

fn runtimes() -> Vec<Runtime> {
    [(1, None), (2, None), (3, Some(7))].map(|(workers, chaos)| runtime(workers, 64, 64, chaos)).into()
}

#[test]
fn a_node_that_gives_trouble_that_passes_costs_only_time() {
    let watchdog = Watchdog::new(PATIENCE);
    let manners = [
        Manner::Honest,
        Manner::Slow(2),
        Manner::Overloaded,
        Manner::Cuts,
        Manner::Garbled,
        Manner::WrongIds,
    ];
    for case in cases(4) {
        let expected = case.sequential(Mode::Build);
        for manner in manners {
            for runtime in &runtimes() {
                watchdog.now(&format!("{manner:?}, {runtime:?}"));
                let node = Node::start(&case.memory, manner);
                let mut block = case.block(Mode::Build);
                block.source = connect(&node, settings());
                let got = runtime.execute(&block);
                agree(&expected, &got, format!("{manner:?}, {runtime:?}"));
                let (posts, calls) =
                    (node.shared.posts.load(Ordering::SeqCst), node.shared.calls.load(Ordering::SeqCst));
                assert!(posts < calls, "calls leave in batches: {posts} posts of {calls} calls");
                assert_eq!(manner == Manner::Cuts, node.shared.cuts.load(Ordering::SeqCst) > 0);
                if manner == Manner::Honest {
                    let asked = node.shared.asked.lock().expect("not poisoned");
                    let twice: Vec<_> = asked.iter().filter(|(_, count)| **count > 1).collect();
                    assert!(twice.is_empty(), "{twice:?}");
                }
            }
        }
    }
}

#[test]
fn a_node_that_takes_no_large_batch_gets_smaller_ones() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 20, ..Knobs::default() }));
    let expected = case.sequential(Mode::Build);
    for manner in [Manner::Takes(7), Manner::TakesAsGeth(7)] {
        for runtime in &runtimes() {
            watchdog.now(&format!("{manner:?}, {runtime:?}"));
            let node = Node::start(&case.memory, manner);
            let mut block = case.block(Mode::Build);
            block.source = connect(&node, settings());
            agree(&expected, &runtime.execute(&block), format!("{manner:?}, {runtime:?}"));
        }
        // An account takes three calls, however few keys are asked for.
        let manner = match manner {
            Manner::Takes(_) => Manner::Takes(2),
            _ => Manner::TakesAsGeth(2),
        };
        let node = Node::start(&case.memory, manner);
        let mut block = case.block(Mode::Build);
        block.source = connect(&node, settings());
        let error = runtimes()[1].execute(&block).expect_err("nothing can be read");
        assert!(error.to_string().contains("batch too large"), "{error}");
    }
}

#[test]
fn limits_of_nothing_are_limits_of_one() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 6, ..Knobs::default() }));
    let expected = case.sequential(Mode::Verify);
    for (batch, concurrent) in [(0, 4), (4, 0), (0, 0)] {
        watchdog.now(&format!("{batch}, {concurrent}"));
        let mut settings = settings();
        (settings.limits.batch, settings.limits.concurrent) = (batch, concurrent);
        let node = Node::start(&case.memory, Manner::Honest);
        let mut block = case.block(Mode::Verify);
        block.source = connect(&node, settings);
        agree(&expected, &runtime(2, 64, 64, None).execute(&block), format!("{batch}, {concurrent}"));
    }
}

#[test]
fn a_node_that_lies_costs_the_block_and_names_the_key() {
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 6, ..Knobs::default() }));
    for manner in [Manner::WrongType, Manner::Refuses, Manner::Stuck] {
        for runtime in &runtimes() {
            watchdog.now(&format!("{manner:?}, {runtime:?}"));
            let node = Node::start(&case.memory, manner);
            let mut settings = settings();
            settings.retries = 2;
            settings.timeout = Duration::from_millis(if manner == Manner::Stuck { 50 } else { 10_000 });
            let mut block = case.block(Mode::Verify);
            block.source = connect(&node, settings);
            let error = runtime.execute(&block).expect_err("the slots are needed");
            let ExecuteError::Source { cause, .. } = &error else { panic!("{manner:?}: {error:?}") };
            let cause: &ReadError = cause.downcast_ref().expect("a typed error");
            match (manner, cause) {
                (Manner::Stuck, ReadError::TimedOut { after, .. }) => assert_eq!(*after, settings.timeout),
                (Manner::WrongType | Manner::Refuses, ReadError::Failed { key: Key::Storage(..), cause }) => {
                    let Some(RpcError::Node { attempts, .. }) = cause.downcast_ref() else {
                        panic!("{cause:?}")
                    };
                    assert_eq!(*attempts, 1, "it would say the same again");
                }
                _ => panic!("{manner:?}: {cause:?}"),
            }
            agree(
                &case.sequential(Mode::Verify),
                &runtime.execute(&case.block(Mode::Verify)),
                "the next block",
            );
        }
    }
}

#[test]
fn nobody_at_the_address() {
    let _watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 6, ..Knobs::default() }));
    let node = Node::start(&case.memory, Manner::Honest);
    let mut settings = settings();
    settings.retries = 1;
    let source = connect(&node, settings);
    drop(node);
    let mut block = case.block(Mode::Verify);
    block.source = source;
    let error = runtime(2, 64, 64, None).execute(&block).expect_err("there is no state");
    assert!(matches!(&error, ExecuteError::Source { index: 0, .. }), "{error:?}");
    assert!(RpcSource::connect("no address", BlockId::latest(), settings).is_err());
}

/// Whoever listens under `https` hears of TLS and of nothing else, and what goes wrong in it is an error of the key.
#[cfg(feature = "rpc-tls")]
#[test]
fn a_node_under_https_is_spoken_to_in_tls() {
    let _watchdog = Watchdog::new(PATIENCE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("it is bound").port());
    let heard = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut record = [0; 6];
        std::io::Read::read_exact(&mut connection, &mut record).expect("a record");
        record
    });
    let case = Case::of(Mix::SwapsOnePool.build(&Knobs { transactions: 6, ..Knobs::default() }));
    let mut settings = settings();
    settings.retries = 0;
    let mut block = case.block(Mode::Verify);
    let source = RpcSource::connect(&url, BlockId::number(7), settings);
    block.source = Arc::new(source.expect("there is cryptography"));
    let error = runtime(2, 64, 64, None).execute(&block).expect_err("the other side says nothing");
    let ExecuteError::Source { cause, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(cause.downcast_ref(), Some(ReadError::Failed { .. })), "{cause:?}");
    let [kind, major, _, _, _, message] = heard.join().expect("it heard something");
    assert_eq!((kind, major, message), (22, 3, 1), "a handshake that begins with a client's greeting");
}

#[test]
fn hot_state_spares_the_node() {
    let _watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 40, ..Knobs::default() }));
    let expected = case.sequential(Mode::Build);
    let node = Node::start(&case.memory, Manner::Honest);
    let source = connect(&node, settings());
    let (hot, runtime) = (HotState::new(1 << 24), runtime(2, 64, 64, None));
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut block = case.block(Mode::Build);
        block.source = Arc::new(hot.source(Arc::clone(&source) as Arc<dyn StateSource>));
        agree(&expected, &runtime.execute(&block), "the same block");
        calls.push(node.shared.calls.load(Ordering::SeqCst));
    }
    assert!(calls[0] > 0 && calls[2] < calls[0] + calls[0] / 4, "{calls:?}");
}

/// An asynchronous database, in revm's way.
struct Later {
    memory: Arc<MemorySource>,
    fails: Option<Key>,
}

impl Later {
    async fn wait(&self, key: Key) -> Result<(), Fault> {
        tokio::time::sleep(Duration::from_micros(300)).await;
        match self.fails {
            Some(fails) if fails == key => Err(Fault(common::Key::BlockHash(0))),
            _ => Ok(()),
        }
    }
}

macro_rules! later {
    ($trait:ident, [$($self:tt)+], $basic:ident, $code:ident, $storage:ident, $hash:ident) => {
        impl $trait for Later {
            type Error = Fault;

            async fn $basic($($self)+ self, address: Address) -> Result<Option<AccountInfo>, Fault> {
                self.wait(Key::Account(address)).await?;
                Ok(self.memory.basic_ref(address).expect("it has all").map(|info| AccountInfo { code: None, ..info }))
            }

            async fn $code($($self)+ self, hash: B256) -> Result<Bytecode, Fault> {
                self.wait(Key::Code(hash)).await?;
                Ok(self.memory.code_by_hash_ref(hash).expect("it has all"))
            }

            async fn $storage($($self)+ self, address: Address, slot: U256) -> Result<U256, Fault> {
                self.wait(Key::Storage(address, slot)).await?;
                Ok(self.memory.storage_ref(address, slot).expect("it has all"))
            }

            async fn $hash($($self)+ self, number: u64) -> Result<B256, Fault> {
                self.wait(Key::BlockHash(number)).await?;
                self.memory.block_hash_ref(number).map_err(|_| Fault(common::Key::BlockHash(number)))
            }
        }
    };
}

later!(DatabaseAsyncRef, [&], basic_async_ref, code_by_hash_async_ref, storage_async_ref, block_hash_async_ref);
later!(DatabaseAsync, [&mut], basic_async, code_by_hash_async, storage_async, block_hash_async);

#[test]
fn revms_asynchronous_databases_serve_too() {
    let watchdog = Watchdog::new(PATIENCE);
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    for case in cases(8) {
        let expected = case.sequential(Mode::Build);
        let memory = Arc::new(case.memory.clone());
        let later = |fails| Later { memory: Arc::clone(&memory), fails };
        for runtime in &runtimes() {
            watchdog.now(&format!("{runtime:?}"));
            let limits = Limits::new(8, 4);
            let sources: [Arc<dyn StateSource>; 3] = [
                Arc::new(Batched::new(AsyncDatabase::new(later(None)), limits).expect("a runtime")),
                Arc::new(Batched::on(tokio.handle().clone(), AsyncDatabase::new(later(None)), limits)),
                Arc::new(Batched::on(
                    tokio.handle().clone(),
                    AsyncDatabases::new((0..5).map(|_| later(None))),
                    limits,
                )),
            ];
            for source in sources {
                let mut block = case.block(Mode::Build);
                block.source = source;
                agree(&expected, &runtime.execute(&block), format!("{runtime:?}"));
            }
            let mut block = case.block(Mode::Build);
            let key = Key::Account(case.transactions[0].caller);
            block.source =
                Arc::new(Batched::new(AsyncDatabase::new(later(Some(key))), limits).expect("a runtime"));
            match runtime.execute(&block) {
                Err(ExecuteError::Source { index: 0, cause }) => match cause.downcast_ref::<ReadError>() {
                    Some(ReadError::Failed { key: failed, .. }) => assert_eq!(*failed, key),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Panics, forgets, or hands its requests to another thread.
struct Odd {
    memory: Arc<MemorySource>,
    manner: u8,
}

impl AsyncSource for Odd {
    async fn serve(&self, requests: Vec<Request>) {
        match self.manner {
            0 => panic!("{}", common::EXPECTED),
            1 => drop(requests),
            2 => std::future::pending().await,
            _ => {
                let memory = Arc::clone(&self.memory);
                thread::spawn(move || {
                    for request in requests.into_iter().rev() {
                        let answer = match request.key() {
                            Key::Account(address) => {
                                memory.account(address).map(counterpoint::state::Answer::Account)
                            }
                            Key::Storage(address, slot) => {
                                memory.storage(address, slot).map(counterpoint::state::Answer::Storage)
                            }
                            Key::Code(hash) => memory.code(hash).map(counterpoint::state::Answer::Code),
                            Key::BlockHash(number) => {
                                memory.block_hash(number).map(counterpoint::state::Answer::BlockHash)
                            }
                        };
                        request.answer(answer);
                    }
                });
            }
        }
    }
}

#[test]
fn a_future_that_panics_forgets_or_never_ends() {
    common::quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let case = Case::of(Mix::Defi.build(&Knobs { transactions: 20, ..Knobs::default() }));
    let expected = case.sequential(Mode::Build);
    for runtime in &runtimes() {
        for manner in 0..4 {
            watchdog.now(&format!("{manner}, {runtime:?}"));
            let odd = Odd { memory: Arc::new(case.memory.clone()), manner };
            let tokio =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a thread");
            let source: Arc<dyn StateSource> =
                Arc::new(Batched::on(tokio.handle().clone(), odd, Limits::new(4, 2)));
            let mut block = case.block(Mode::Build);
            block.source = Arc::clone(&source);
            if manner == 2 {
                // The end of its runtime ends its requests.
                let ender = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(30));
                    tokio.shutdown_background();
                });
                let got = runtime.execute(&block);
                assert!(matches!(got, Err(ExecuteError::Source { .. })), "{got:?}");
                ender.join().expect("it ended");
                let got = runtime.execute(&block);
                assert!(matches!(got, Err(ExecuteError::Source { .. })), "for good: {got:?}");
                continue;
            }
            match (manner, runtime.execute(&block)) {
                (3, got) => agree(&expected, &got, "another thread"),
                (_, Err(ExecuteError::Source { cause, .. })) => {
                    assert!(cause.downcast_ref::<DroppedError>().is_some(), "{manner}: {cause:?}");
                }
                (_, other) => panic!("{manner}: {other:?}"),
            }
        }
    }
}
