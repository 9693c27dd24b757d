//! What Counterpoint's parts cost: cells, readers, waiting, mailboxes, fibers, the commit.
//!
//! ```text
//! cargo bench -p counterpoint-benches --bench parts
//! ```
//!
//! Where a benchmark does something several times, its throughput is in elements, and `thrpt` tells the price of one.

use std::{hint::black_box, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message};
use corosensei::{Coroutine, CoroutineResult};
use counterpoint_actors::{
    BlockState, Chaos, Execution, Executor, Fiber, WorkerMemory, Yielded,
    mailbox::{Letter, Mailbox},
    run_inline,
};
use counterpoint_benches::{Knobs, Mix, sequential};
use counterpoint_state::{
    Arena, Cache, Changeset, Fields, Reader, Readers, SlotCell, SlotView, TransactionWord, Waiter,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, primitives::U256, state::EvmState};

/// As in the `counterpoint` command.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often something is done where once is too short to measure.
const TIMES: u32 = 64;

fn value(view: SlotView<'_>) -> U256 {
    match view {
        SlotView::Value(value, _) => value,
        other => panic!("there is a value: {other:?}"),
    }
}

fn cells(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cell");
    let arena = Arena::new();
    let unwritten = SlotCell::new();
    unwritten.set_base(U256::from(7), &arena).for_each(drop);
    group.bench_function("read, not written in the block", |bencher| {
        bencher.iter(|| value(black_box(&unwritten).view(9, 0, true)));
    });
    let written = SlotCell::new();
    written.versions.entry(5, &arena).publish(arena.alloc(U256::ONE)).waiters.for_each(drop);
    group.bench_function("read, one version", |bencher| {
        bencher.iter(|| value(black_box(&written).view(9, 0, true)));
    });
    for index in 10..26 {
        written.versions.entry(index, &arena).publish(arena.alloc(U256::ONE)).waiters.for_each(drop);
    }
    group.bench_function("read, below 16 higher versions", |bencher| {
        bencher.iter(|| value(black_box(&written).view(9, 0, true)));
    });
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("publish, nobody waits", |bencher| {
        bencher.iter_batched_ref(
            Arena::new,
            |arena| {
                let cell = SlotCell::new();
                for index in 1..=TIMES {
                    let entry = cell.versions.entry(index, arena);
                    entry.publish(arena.alloc(U256::from(index))).waiters.for_each(drop);
                }
                black_box(&cell);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A cell's readers: so many transactions, above the first one.
/// What is kept from block to block.
fn cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    let keys = 0..u64::from(TIMES);
    let held = Cache::new(1 << 20);
    keys.clone().for_each(|key| held.add(key, U256::from(key), 0, 1));
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("find", |bencher| {
        bencher.iter(|| keys.clone().filter_map(|key| held.get(black_box(&key), 1)).max());
    });
    // Of a hundred thousand that are added, four thousand fit.
    let full = Cache::new(1 << 19);
    let mut next = 0u64;
    group.bench_function("add, and let another one go", |bencher| {
        bencher.iter(|| {
            next += u64::from(TIMES);
            (next..next + u64::from(TIMES)).for_each(|key| full.add(key, U256::from(key), 0, next));
        });
    });
    group.finish();
}

fn register(arena: &Arena) -> Readers<'_> {
    let readers = Readers::new();
    for index in 2..TIMES + 2 {
        readers.register(arena.alloc(Reader::new(index, 0, 0, Fields::SLOT)));
    }
    readers
}

fn readers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("readers");
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("register", |bencher| {
        bencher.iter_batched_ref(
            Arena::new,
            |arena| {
                black_box(register(arena));
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("register and invalidate", |bencher| {
        bencher.iter_batched_ref(
            || (Arena::new(), (0..TIMES + 2).map(|_| TransactionWord::new()).collect::<Vec<_>>()),
            |(arena, words)| {
                for word in &*words {
                    word.begin().expect("it has not begun");
                }
                let readers = register(arena);
                // One write that misled all of them.
                readers.affected(1, Fields::SLOT, |reader| {
                    black_box(words[reader.index as usize].invalidate(reader.incarnation));
                    true
                });
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The words alone: what a fiber's parking costs beside the switches.
fn waiting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("waiting");
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("park and resume", |bencher| {
        bencher.iter_batched_ref(
            || (Arena::new(), (0..TIMES + 2).map(|_| TransactionWord::new()).collect::<Vec<_>>()),
            |(arena, words)| {
                let cell: SlotCell<'_> = SlotCell::new();
                let entry = cell.versions.entry(1, arena);
                entry.common().estimate();
                for index in 2..TIMES + 2 {
                    let word = &words[index as usize];
                    word.begin().expect("it has not begun");
                    let ticket = word.park().expect("nothing invalidated it");
                    assert!(entry.common().waiting().wait(arena.alloc(Waiter::new(index, ticket))));
                }
                let mut resumed = 0;
                for waiter in entry.publish(arena.alloc(U256::ONE)).waiters {
                    let word = &words[waiter.index as usize];
                    assert!(word.wake(waiter.ticket));
                    resumed += u32::from(word.claim().is_some());
                }
                assert_eq!(resumed, TIMES);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

#[derive(Debug)]
struct Counting(u64);

#[derive(Clone, Copy, Debug)]
struct Ping(u64);

impl Message for Ping {
    type Result = u64;
}

impl Actor for Counting {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(4 * TIMES as usize);
    }
}

impl Handler<Ping> for Counting {
    type Result = u64;

    fn handle(&mut self, Ping(by): Ping, _: &mut Self::Context) -> u64 {
        self.0 += by;
        self.0
    }
}

fn mailboxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    let letters: Vec<_> = (0..u64::from(TIMES)).map(Letter::new).collect();
    let idle = Mailbox::new();
    group.bench_function("account, inline hop", |bencher| {
        let mut sum = 0_u64;
        bencher.iter(|| {
            // The actor was idle: the message is handled where it was sent, and then there is no other.
            if idle.send(&letters[1]) {
                sum = sum.wrapping_add(1);
            }
            assert_eq!(idle.receive(), None);
            sum
        });
    });
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("account, queued hops", |bencher| {
        bencher.iter(|| {
            let mut sum = 0;
            assert!(idle.send(&letters[0]), "the first sender is the receiver");
            for letter in &letters[1..] {
                assert!(!idle.send(letter));
            }
            while let Some(number) = idle.receive() {
                sum += number;
            }
            sum
        });
    });
    let system = actix::System::new();
    let address = system.block_on(async { Counting(0).start() });
    group.throughput(Throughput::Elements(1));
    group.bench_function("actix, send and answer", |bencher| {
        bencher.iter(|| system.block_on(address.send(Ping(1))).expect("the actor lives"));
    });
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("actix, queued messages", |bencher| {
        bencher.iter(|| {
            (1..TIMES).for_each(|_| address.do_send(Ping(1)));
            system.block_on(address.send(Ping(1))).expect("the actor lives")
        });
    });
    group.finish();
}

/// A block whose first transaction is a plain transfer.
fn block(pauses: bool) -> BlockState {
    let workload = Mix::IndependentTransfers.build(&Knobs { transactions: 1, ..Knobs::default() });
    let chaos = pauses.then(|| Chaos::pausing_everywhere(None));
    let transactions: Arc<[_]> = workload.transactions.into();
    let source = Arc::new(workload.source);
    let range = 0..transactions.len();
    BlockState::new(
        workload.env,
        workload.cfg,
        transactions,
        range,
        source,
        1,
        WorkerMemory::default,
        chaos,
        || (),
    )
}

/// The execution of the block's transaction, as the first incarnation.
fn execution() -> Box<Execution> {
    let mut execution = Execution::new();
    execution.reset(1, 0, false, false);
    execution
}

fn fibers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fiber");
    group.bench_function("switch to a stack and back", |bencher| {
        let mut coroutine = Coroutine::<(), (), ()>::new(|yielder, ()| {
            loop {
                yielder.suspend(());
            }
        });
        bencher.iter(|| assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(()))));
        // Nothing on its stack has a destructor.
        // SAFETY: the coroutine's frames own nothing and borrow nothing.
        unsafe { coroutine.force_reset() };
    });
    group.bench_function("new, with its stack and EVM", |bencher| {
        bencher.iter_with_large_drop(|| Fiber::new().expect("memory for a stack"));
    });
    group.throughput(Throughput::Elements(TIMES.into()));
    group.bench_function("transfer on the worker's stack", |bencher| {
        let mut executor = Executor::new();
        bencher.iter_batched_ref(
            || block(false),
            |block| {
                for _ in 0..TIMES {
                    // SAFETY: one thread, one worker.
                    run_inline(&mut executor, block, &mut execution(), unsafe { block.worker(0) });
                }
            },
            BatchSize::SmallInput,
        );
    });
    for (name, pauses) in
        [("transfer on a fiber", false), ("transfer on a fiber, a switch at every read", true)]
    {
        let mut fiber = Fiber::new().expect("memory for a stack");
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || block(pauses),
                |block| {
                    for _ in 0..TIMES {
                        // SAFETY: one thread, one worker; the fiber is idle, and ends here before the block does.
                        let worker = unsafe { block.worker(0) };
                        // SAFETY: as above.
                        let mut yielded = unsafe { fiber.run(block, execution(), worker) };
                        while let Ok(Yielded::Pause) = yielded {
                            yielded = fiber.resume(worker);
                        }
                        assert!(matches!(yielded, Ok(Yielded::Done(_))));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The state changes of a block's transactions, in order.
fn changes() -> Vec<EvmState> {
    let knobs = Knobs { transactions: TIMES as usize, ..Knobs::default() };
    let workload = Mix::Erc20Independent.build(&knobs);
    let mut evm = sequential::context(&workload).build_mainnet();
    let execute = |transaction: &revm::context::TxEnv| {
        let state = evm.transact(transaction.clone()).expect("a valid transaction").state;
        evm.commit(state.clone());
        state
    };
    workload.transactions.iter().map(execute).collect()
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(TIMES.into()));
    let changes = changes();
    let apply = |changes: Vec<EvmState>| {
        let mut changeset = Changeset::new();
        changes.into_iter().for_each(|state| changeset.apply(state));
        changeset
    };
    group.bench_function("token transfers into the changeset", |bencher| {
        bencher.iter_batched(|| changes.clone(), apply, BatchSize::SmallInput);
    });
    group.bench_function("the changeset into the bundle", |bencher| {
        bencher.iter_batched(|| apply(changes.clone()), Changeset::finish, BatchSize::SmallInput);
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = cells, cache, readers, waiting, mailboxes, fibers, commit
}
criterion_main!(benches);
