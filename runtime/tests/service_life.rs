//! The service's edges: how much waits, what follows what, who hears of what went wrong, and how it ends.

#![cfg(feature = "cli")]

mod common;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    task::{Context as TaskContext, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Recipient, System};
use alloy_hardforks::EthereumHardfork;
use common::{EXPECTED, Watchdog, quiet};
use counterpoint::{
    ExecuteError, Mode, Runtime,
    ethereum::Rules,
    service::{
        Committed, Failed, Job, MemoryStore, NotNext, Service, ServiceError, ServiceSettings, StartError,
        Store, StoreFailure, WholeJob,
    },
    sources::Head,
    state::{DeferredSource, MemorySource, Request, SourceError, StateSource},
};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::BundleState,
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(120);

fn head(number: u64) -> Head {
    Head { number, hash: B256::from(U256::from(number + 1)) }
}

fn env(number: u64) -> BlockEnv {
    BlockEnv { number: U256::from(number), ..BlockEnv::default() }
}

fn empty(number: u64) -> Job {
    let cfg = CfgEnv::new_with_spec(SpecId::SHANGHAI);
    Job::transactions(head(number), env(number), cfg, Arc::from([]), Mode::Verify)
}

fn transfer() -> TxEnv {
    TxEnv { kind: TxKind::Call(Address::repeat_byte(0xaa)), gas_limit: 21_000, ..TxEnv::default() }
}

fn whole(number: u64, env: BlockEnv, parent_hash: B256, transactions: Vec<TxEnv>) -> Job {
    let whole = WholeJob {
        rules: Rules::new(EthereumHardfork::Shanghai, 1),
        env,
        parent_hash,
        parent_beacon_block_root: None,
        ommers: Vec::new(),
        withdrawals: Some(Vec::new()),
        reward: None,
        transactions: transactions.into(),
        mode: Mode::Verify,
    };
    Job::whole(head(number), whole)
}

fn memory() -> MemoryStore {
    MemoryStore::new(MemorySource::new(), head(0))
}

fn start(store: Arc<dyn Store>, mailbox: usize) -> Service {
    let runtime = Arc::new(Runtime::builder().workers(2).build().expect("threads"));
    let mut settings = ServiceSettings::default();
    settings.mailbox = mailbox;
    Service::start(runtime, store, settings).expect("a thread")
}

/// Sends when its thread ends.
struct AtTheEnd(Sender<()>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

thread_local! {
    static END: Mutex<Option<AtTheEnd>> = const { Mutex::new(None) };
}

/// What a store does at a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Before,
    Fails,
    Panics,
}

/// A store that says when a commit comes, waits until it may, and says when the thread ends that it is used on.
struct Gate {
    below: MemoryStore,
    comes: Sender<u64>,
    may: Mutex<Receiver<Fault>>,
    ends: Mutex<Sender<()>>,
}

/// The other side of a [`Gate`].
struct Keeper {
    comes: Receiver<u64>,
    may: Sender<Fault>,
    ends: Receiver<()>,
}

impl Keeper {
    fn new() -> (Self, Arc<Gate>) {
        let ((came, comes), (may, goes), (end, ends)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let gate = Gate { below: memory(), comes: came, may: Mutex::new(goes), ends: Mutex::new(end) };
        (Self { comes, may, ends }, Arc::new(gate))
    }

    fn let_through(&self, commits: usize) {
        for _ in 0..commits {
            self.may.send(Fault::None).expect("the store is there");
        }
    }
}

impl Store for Gate {
    fn head(&self) -> Result<Head, StoreFailure> {
        END.with(|end| {
            let sender = self.ends.lock().expect("not poisoned").clone();
            end.lock().expect("not poisoned").get_or_insert_with(|| AtTheEnd(sender));
        });
        self.below.head()
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        self.below.state()
    }

    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure> {
        let _ = self.comes.send(block.number);
        let fault = self.may.lock().map_or(Fault::None, |may| may.recv().unwrap_or(Fault::None));
        if fault == Fault::Before {
            return Err(StoreFailure::new("the disk is full"));
        }
        self.below.commit(changes, block)?;
        assert!(fault != Fault::Panics, "{EXPECTED}");
        if fault == Fault::Fails { Err(StoreFailure::new("the disk is slow")) } else { Ok(()) }
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

#[test]
fn the_mailbox_is_one_for_all_copies() {
    let _watchdog = Watchdog::new(PATIENCE);
    for (mailbox, places) in [(0, 1), (1, 1), (3, 3), (usize::MAX, 100)] {
        let (keeper, gate) = Keeper::new();
        System::new().block_on(async {
            let service = start(Arc::clone(&gate) as _, mailbox);
            service.try_commit(empty(1)).expect("it is empty");
            assert_eq!(keeper.comes.recv(), Ok(1));
            // One is in hand, and waits.
            let tries = (2..102).filter(|number| match service.clone().try_commit(empty(*number)) {
                Ok(()) => true,
                Err(ServiceError::Full) => false,
                Err(error) => panic!("{error}"),
            });
            assert_eq!(tries.count(), places, "{mailbox}");
            if mailbox == usize::MAX {
                keeper.let_through(1 + places);
                service.stop().await;
                return;
            }
            // Who waits for a place gets one when there is one.
            let next = places as u64 + 2;
            let copies = [service.clone(), service.clone(), service.clone()];
            let mut first = pin!(copies[0].commit(empty(next)));
            let mut second = pin!(copies[1].commit(empty(next + 1)));
            assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
            assert!(matches!(copies[2].try_commit(empty(next + 2)), Err(ServiceError::Full)));
            keeper.let_through(1);
            assert_eq!(keeper.comes.recv(), Ok(2));
            assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
            assert!(matches!(service.try_commit(empty(next + 2)), Err(ServiceError::Full)));
            // Who still waits when it stops has no place, and is told at once; the others are committed.
            let mut stopping = pin!(service.stop());
            assert!(poll(stopping.as_mut()).is_pending());
            let Poll::Ready(Err(ServiceError::Stopped)) = poll(second.as_mut()) else {
                panic!("it had no place");
            };
            assert!(matches!(service.try_commit(empty(next + 2)), Err(ServiceError::Stopped)));
            keeper.let_through(places + 1);
            assert_eq!(first.await.expect("it had a place").block, head(next));
            stopping.await;
        });
        assert_eq!(
            gate.below.head().expect("it has one").number,
            2 + places as u64 - u64::from(mailbox == usize::MAX)
        );
    }
}

#[test]
fn when_the_last_copy_is_dropped_the_thread_ends() {
    let _watchdog = Watchdog::new(PATIENCE);
    for (blocks, stops) in [(0, false), (3, false), (0, true), (3, true)] {
        let (keeper, gate) = Keeper::new();
        let (service, address) = System::new().block_on(async {
            let service = start(Arc::clone(&gate) as _, 16);
            for number in 1..=blocks {
                service.try_commit(empty(number)).expect("there is room");
            }
            // Refused when its turn comes: whatever was sent, the thread comes to the store.
            service.try_commit(empty(77)).expect("there is room");
            let address = service.address().clone();
            (service, address)
        });
        // The system is gone, and the address stays.
        drop(service.clone());
        assert!(address.connected());
        keeper.let_through(blocks as usize);
        if stops {
            let mut stopping = pin!(service.stop());
            while poll(stopping.as_mut()).is_pending() {
                thread::yield_now();
            }
        }
        drop(service);
        keeper.ends.recv().expect("the thread has ended");
        assert_eq!(gate.below.head().expect("it has one"), head(blocks));
    }
}

#[test]
fn without_a_system_it_does_not_start() {
    let started = thread::spawn(|| {
        let runtime = Arc::new(Runtime::builder().workers(1).build().expect("threads"));
        Service::start(runtime, Arc::new(memory()), ServiceSettings::default()).map(|_| ())
    });
    let started = started.join().expect("no panic");
    assert!(matches!(started, Err(StartError::NoSystem)), "{started:?}");
}

#[test]
fn a_block_must_follow_the_last_one() {
    let _watchdog = Watchdog::new(PATIENCE);
    System::new().block_on(async {
        let service = start(Arc::new(memory()), 16);
        let wrong = service.commit(whole(1, env(1), B256::repeat_byte(7), Vec::new())).await;
        let Err(ServiceError::OtherParent { head: last, parent }) = wrong else { panic!("{wrong:?}") };
        assert_eq!((last, parent), (head(0), B256::repeat_byte(7)));
        let cfg = CfgEnv::new_with_spec(SpecId::SHANGHAI);
        for job in [
            whole(1, env(2), head(0).hash, Vec::new()),
            Job::transactions(head(1), env(2), cfg, Arc::from([]), Mode::Verify),
        ] {
            let wrong = service.commit(job).await;
            let Err(ServiceError::OtherNumber { number, environment }) = wrong else { panic!("{wrong:?}") };
            assert_eq!((number, environment), (1, U256::from(2)));
        }
        service.commit(whole(1, env(1), head(0).hash, Vec::new())).await.expect("the next block");
        // A hash that is not known agrees with all.
        service.commit(whole(2, env(2), B256::ZERO, Vec::new())).await.expect("the next block");
        service.stop().await;
    });
}

#[test]
fn a_store_in_memory_takes_the_next_block_alone() {
    let store = memory();
    let changes = BundleState::default();
    store.commit(&changes, head(1)).expect("the next block");
    for number in [0, 1, 3, u64::MAX] {
        let error = store.commit(&changes, head(number)).expect_err("it is not the next block");
        let refused = error.downcast_ref::<NotNext>().expect("it says so");
        assert_eq!((refused.head, refused.number), (head(1), number));
        assert_eq!(store.head().expect("it has one"), head(1));
    }
}

/// Hands on what a service says.
struct Listener(UnboundedSender<Result<u64, Failed>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Committed> for Listener {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Context<Self>) {
        let _ = self.0.send(Ok(committed.block.number));
    }
}

impl Handler<Failed> for Listener {
    type Result = ();

    fn handle(&mut self, failed: Failed, _: &mut Context<Self>) {
        let _ = self.0.send(Err(failed));
    }
}

async fn listen(service: &Service) -> UnboundedReceiver<Result<u64, Failed>> {
    let (sender, receiver) = unbounded_channel();
    let listener = Listener(sender).start();
    let (committed, failed): (Recipient<Committed>, Recipient<Failed>) =
        (listener.clone().recipient(), listener.recipient());
    service.subscribe(committed).await.expect("it runs");
    service.subscribe_failures(failed).await.expect("it runs");
    receiver
}

#[test]
fn a_block_that_the_store_has_is_committed_whatever_the_store_says() {
    quiet();
    let _watchdog = Watchdog::new(PATIENCE);
    let (keeper, gate) = Keeper::new();
    System::new().block_on(async {
        let service = start(Arc::clone(&gate) as _, 16);
        let mut hears = listen(&service).await;
        let mut number = 0;
        for fault in [Fault::None, Fault::Fails, Fault::Panics, Fault::Before, Fault::Panics, Fault::None] {
            keeper.may.send(fault).expect("the store is there");
            let done = service.commit(empty(number + 1)).await;
            let heard = hears.recv().await.expect("it is heard of");
            if fault == Fault::Before {
                assert!(matches!(done, Err(ServiceError::Store(_))), "{done:?}");
                let failed = heard.expect_err("it is not there");
                assert_eq!(failed.block, head(number + 1));
                assert!(matches!(failed.error, ServiceError::Store(_)), "{failed:?}");
            } else {
                number += 1;
                assert_eq!(done.expect("it is there").block, head(number), "{fault:?}");
                assert_eq!(heard.expect("it is there"), number);
            }
        }
        let statistics = service.statistics().await.expect("it runs");
        assert_eq!((statistics.committed, statistics.failed, statistics.missed), (5, 1, 0));
        assert_eq!(statistics.restarts, 2);
        service.stop().await;
    });
}

#[test]
fn of_what_is_handed_over_without_waiting_all_is_heard() {
    let _watchdog = Watchdog::new(PATIENCE);
    System::new().block_on(async {
        let service = start(Arc::new(memory()), 16);
        let mut hears = listen(&service).await;
        for (number, job) in [
            (1, empty(1)),
            (7, empty(7)),
            (2, empty(2).check(|_| Err("not that".to_owned()))),
            (2, empty(2).deadline(Instant::now())),
            (2, empty(2)),
        ] {
            service.try_commit(job).expect("there is room");
            match hears.recv().await.expect("it is heard of") {
                Ok(committed) => assert_eq!(committed, number),
                Err(Failed { block, error, .. }) => {
                    assert_eq!(block, head(number));
                    match error {
                        ServiceError::NotNext { number: 7, .. } => assert_eq!(number, 7),
                        ServiceError::Rejected(why) => assert_eq!(why, "not that"),
                        ServiceError::Execute(ExecuteError::DeadlineExceeded) => {}
                        error => panic!("{error}"),
                    }
                }
            }
        }
        let statistics = service.statistics().await.expect("it runs");
        assert_eq!((statistics.committed, statistics.failed), (2, 3));
        service.stop().await;
    });
}

/// A source that never answers, and says so when it is asked.
struct Silent {
    asked: Mutex<Vec<Request>>,
    comes: UnboundedSender<()>,
}

impl DeferredSource for Silent {
    fn request(&self, requests: Vec<Request>) {
        self.asked.lock().expect("not poisoned").extend(requests);
        let _ = self.comes.send(());
    }
}

impl StateSource for Silent {
    fn account(&self, _: Address) -> Result<Option<AccountInfo>, SourceError> {
        Err(SourceError::new("it answers later"))
    }

    fn storage(&self, _: Address, _: U256) -> Result<U256, SourceError> {
        Err(SourceError::new("it answers later"))
    }

    fn code(&self, _: B256) -> Result<Bytecode, SourceError> {
        Err(SourceError::new("it answers later"))
    }

    fn block_hash(&self, _: u64) -> Result<B256, SourceError> {
        Err(SourceError::new("it answers later"))
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

/// A store whose state never answers.
struct Mute(Arc<Silent>);

impl Store for Mute {
    fn head(&self) -> Result<Head, StoreFailure> {
        Ok(head(0))
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        Ok(Arc::clone(&self.0) as _)
    }

    fn commit(&self, _: &BundleState, _: Head) -> Result<(), StoreFailure> {
        Err(StoreFailure::new("nothing comes out"))
    }
}

#[test]
fn a_source_that_never_answers_holds_up_neither_a_deadline_nor_the_end() {
    let _watchdog = Watchdog::new(PATIENCE);
    let cfg = CfgEnv::new_with_spec(SpecId::SHANGHAI);
    let jobs = [
        Job::transactions(head(1), env(1), cfg, Arc::from([transfer()]), Mode::Verify),
        whole(1, env(1), head(0).hash, vec![transfer()]),
    ];
    for job in jobs {
        let (comes, mut came) = unbounded_channel();
        let silent = Arc::new(Silent { asked: Mutex::default(), comes });
        System::new().block_on(async {
            let service = start(Arc::new(Mute(silent)), 16);
            let late = job.clone().deadline(Instant::now() + Duration::from_millis(20));
            let late = service.commit(late).await;
            assert!(matches!(late, Err(ServiceError::Execute(ExecuteError::DeadlineExceeded))), "{late:?}");
            while came.try_recv().is_ok() {}

            let copies = [service.clone(), service.clone()];
            let (mut hangs, mut waits) =
                (pin!(copies[0].commit(job.clone())), pin!(copies[1].commit(job.clone())));
            assert!(poll(hangs.as_mut()).is_pending() && poll(waits.as_mut()).is_pending());
            came.recv().await.expect("the source is asked");
            service.stop_within(Duration::ZERO).await;
            let hangs = hangs.await;
            assert!(matches!(hangs, Err(ServiceError::Execute(ExecuteError::Cancelled))), "{hangs:?}");
            let waits = waits.await;
            assert!(matches!(waits, Err(ServiceError::Stopped)), "{waits:?}");
        });
    }
    // Where there is time, what was handed over is done.
    let store = Arc::new(memory());
    System::new().block_on(async {
        let service = start(Arc::clone(&store) as _, 16);
        service.try_commit(empty(1)).expect("there is room");
        service.stop_within(PATIENCE).await;
    });
    assert_eq!(store.head().expect("it has one"), head(1));
}
