//! Every workload with plain sequential revm and with Counterpoint; some of them over contention and workers.
//!
//! ```text
//! cargo bench -p counterpoint-benches --bench workloads              # all, some minutes
//! cargo bench -p counterpoint-benches --bench workloads -- defi-day  # what matches
//! ```
//!
//! Throughput is gas. For figures to compare, `counterpoint bench` is the better tool: it executes both sides by turns.

use std::{hint::black_box, num::NonZero, thread, time::Duration};

use counterpoint::{
    Block, Mode, Runtime,
    cli::{sequential::execute_owned, workload},
    state::MemorySource,
};
use counterpoint_benches::{Knobs, Mix};
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};

/// For both sides, as in the `counterpoint` command.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A block's gas, so that a run of all takes minutes.
const GAS: u64 = 20_000_000;

/// A workload that both sides can execute.
struct Subject {
    block: Block,
    source: MemorySource,
    gas: u64,
}

impl Subject {
    fn new(mix: Mix, change: impl FnOnce(&mut Knobs)) -> Self {
        let mut knobs = mix.full_size();
        change(&mut knobs);
        knobs.transactions = mix.transactions_for(GAS, &knobs);
        knobs.accounts = (knobs.transactions / 2).max(1);
        let workload = mix.build(&knobs);
        let source = workload.source.clone();
        let gas = counterpoint_benches::sequential::execute(&workload).gas_used();
        Self { block: workload::block(workload, Mode::Verify), source, gas }
    }

    fn sequential(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId) {
        group.throughput(Throughput::Elements(self.gas));
        let Block { env, cfg, transactions, mode, .. } = &self.block;
        group.bench_function(id, |bencher| {
            let inputs = || (env.clone(), cfg.clone(), transactions.to_vec());
            let run = |(env, cfg, transactions)| {
                black_box(
                    execute_owned(env, cfg, transactions, &self.source, *mode, false).expect("a valid block"),
                )
            };
            bencher.iter_batched(inputs, run, BatchSize::PerIteration);
        });
    }

    fn parallel(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, runtime: &Runtime) {
        group.throughput(Throughput::Elements(self.gas));
        group.bench_function(id, |bencher| {
            bencher.iter_with_large_drop(|| runtime.execute(&self.block).expect("a valid block"));
        });
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("threads can be started")
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

/// Sequential, one worker, all cores.
fn every_workload(criterion: &mut Criterion) {
    let mut workers = vec![1, cores()];
    workers.dedup();
    let runtimes: Vec<Runtime> = workers.into_iter().map(runtime).collect();
    for mix in Mix::ALL {
        let mut group = group(criterion, mix.name());
        let subject = Subject::new(*mix, |_| {});
        subject.sequential(&mut group, BenchmarkId::from_parameter("sequential"));
        for runtime in &runtimes {
            let id = BenchmarkId::new("workers", runtime.workers());
            subject.parallel(&mut group, id, runtime);
        }
        group.finish();
    }
}

/// From no contention to all of it, in percent that go to the hottest place.
fn contention(criterion: &mut Criterion) {
    let runtime = runtime(cores());
    for mix in [Mix::Erc20HotRecipient, Mix::SwapsManyPools, Mix::DefiDay, Mix::AdversarialLate] {
        let mut group = group(criterion, &format!("contention/{mix}"));
        for percent in [0, 25, 50, 75, 100] {
            let subject =
                Subject::new(mix, |knobs| (knobs.hot, knobs.skew) = (f64::from(percent) / 100.0, 0.0));
            subject.sequential(&mut group, BenchmarkId::new("sequential", percent));
            subject.parallel(&mut group, BenchmarkId::new("all cores", percent), &runtime);
        }
        group.finish();
    }
}

/// From one worker to twice as many as there are cores.
fn workers(criterion: &mut Criterion) {
    let counts = (1..=2 * cores()).filter(|workers| workers.is_power_of_two() || *workers == cores());
    let runtimes: Vec<Runtime> = counts.map(runtime).collect();
    for mix in [Mix::IndependentTransfers, Mix::SwapsManyPools, Mix::DefiDay] {
        let mut group = group(criterion, &format!("workers/{mix}"));
        let subject = Subject::new(mix, |_| {});
        for runtime in &runtimes {
            subject.parallel(&mut group, BenchmarkId::from_parameter(runtime.workers()), runtime);
        }
        group.finish();
    }
}

criterion_group!(benches, every_workload, contention, workers);
criterion_main!(benches);
