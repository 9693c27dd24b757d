//! Executing one workload on every side, by turns.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use counterpoint::{
    ExecuteError, Mode, Runtime, Statistics,
    cli::{
        compare::{self, Difference},
        latency::LatencySource,
        sequential::{self, Sequential},
        workload,
    },
    state::{MemorySource, StateSource},
};
use counterpoint_benches::{Knobs, Mix};

use super::usage;
use crate::{measure, replay::Status};

/// What one execution took.
#[derive(Clone, Debug)]
struct Run {
    elapsed: Duration,
    /// Processor time of all threads, freeing included.
    cpu: Option<Duration>,
    /// Only of a parallel one.
    statistics: Statistics,
}

/// The medians of one side.
#[derive(Clone, Debug)]
pub(super) struct Medians {
    pub(super) elapsed: Duration,
    pub(super) cpu: Option<Duration>,
    /// Of the run whose time is the median, or just below.
    pub(super) statistics: Statistics,
}

/// A workload that was executed on every side.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) transactions: usize,
    pub(super) gas_used: u64,
    /// Transactions that reverted or halted.
    pub(super) failed: usize,
    pub(super) sequential: Medians,
    /// For each runtime.
    pub(super) parallel: Vec<Medians>,
    /// Where a parallel result is not the sequential one.
    pub(super) difference: Option<Difference>,
}

/// A workload without figures.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The knobs make a block that nobody can execute.
    #[error("sequential execution failed: {0}")]
    Sequential(ExecuteError),
    /// Only sequential execution succeeds.
    #[error("{workers} workers failed where sequential execution does not: {cause}")]
    Parallel { workers: usize, cause: ExecuteError },
    /// The source that takes its time has no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl Failure {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Parallel { .. } => Status::Differs,
            Self::Sequential(_) | Self::Thread(_) => Status::BadInput,
        }
    }
}

/// Where the state comes from, for both sides.
pub(super) enum Source {
    Memory(Arc<MemorySource>),
    Slow(Arc<LatencySource>),
}

impl Source {
    pub(super) fn new(memory: MemorySource, latency: Option<Duration>) -> io::Result<Self> {
        let memory = Arc::new(memory);
        Ok(match latency {
            None => Self::Memory(memory),
            Some(latency) => Self::Slow(Arc::new(LatencySource::new(memory, latency)?)),
        })
    }

    pub(super) fn shared(&self) -> Arc<dyn StateSource> {
        match self {
            Self::Memory(memory) => Arc::clone(memory) as _,
            Self::Slow(slow) => Arc::clone(slow) as _,
        }
    }
}

/// A workload's block with its source, to be executed either way.
pub(super) struct Subject {
    pub(super) block: counterpoint::Block,
    source: Source,
}

impl Subject {
    pub(super) fn new(mix: Mix, knobs: &Knobs, latency: Option<Duration>) -> io::Result<Self> {
        let mut workload = mix.build(knobs);
        let source = Source::new(std::mem::take(&mut workload.source), latency)?;
        let mut block = workload::block(workload, Mode::Verify);
        block.source = source.shared();
        Ok(Self { block, source })
    }

    /// Executes sequentially; the inputs' copies are not part of what is measured.
    fn sequential(&self) -> Result<(Run, Sequential), ExecuteError> {
        let (env, cfg) = (self.block.env.clone(), self.block.cfg.clone());
        let (transactions, mode) = (self.block.transactions.to_vec(), self.block.mode);
        let before = usage::cpu_time();
        let result = match &self.source {
            Source::Memory(memory) => {
                sequential::execute_owned(env, cfg, transactions, &**memory, mode, false)
            }
            Source::Slow(slow) => sequential::execute_owned(env, cfg, transactions, &**slow, mode, false),
        }?;
        let run = Run { elapsed: result.elapsed, cpu: since(before), statistics: Statistics::default() };
        Ok((run, result))
    }

    /// Executes sequentially, for what it takes alone.
    pub(super) fn run_sequential(&self) -> Result<(), ExecuteError> {
        self.sequential().map(drop)
    }

    fn parallel(&self, runtime: &Runtime) -> Result<(Run, counterpoint::Outcome), ExecuteError> {
        let before = usage::cpu_time();
        let start = Instant::now();
        let outcome = runtime.execute(&self.block)?;
        let elapsed = start.elapsed();
        Ok((Run { elapsed, cpu: since(before), statistics: outcome.statistics.clone() }, outcome))
    }
}

fn since(before: Option<Duration>) -> Option<Duration> {
    usage::cpu_time()?.checked_sub(before?)
}

/// Executes the workload on every side once to compare, and then `repeat` times by turns to measure.
pub(super) fn measure(
    mix: Mix,
    knobs: &Knobs,
    runtimes: &[Runtime],
    repeat: u32,
    latency: Option<Duration>,
) -> Result<Measured, Failure> {
    let subject = Subject::new(mix, knobs, latency).map_err(Failure::Thread)?;
    let parallel = |runtime: &Runtime| {
        let workers = runtime.workers();
        subject.parallel(runtime).map_err(|cause| Failure::Parallel { workers, cause })
    };

    // Not measured, because it comes first: it warms caches, pools and the allocator.
    let (_, reference) = subject.sequential().map_err(Failure::Sequential)?;
    let mut difference = None;
    for runtime in runtimes {
        let (_, outcome) = parallel(runtime)?;
        difference = difference.or_else(|| compare::first_difference(&reference, &outcome));
    }
    let results = reference.transactions.iter().filter_map(|outcome| outcome.result());
    let failed = results.filter(|result| !result.is_success()).count();
    let gas_used = reference.gas_used;
    drop(reference);

    let mut sequential = Vec::new();
    let mut parallel_runs = vec![Vec::new(); runtimes.len()];
    for _ in 0..repeat {
        let (run, result) = subject.sequential().map_err(Failure::Sequential)?;
        drop(result);
        sequential.push(run);
        for (runtime, runs) in runtimes.iter().zip(&mut parallel_runs) {
            let (run, outcome) = parallel(runtime)?;
            drop(outcome);
            runs.push(run);
        }
    }
    Ok(Measured {
        transactions: subject.block.transactions.len(),
        gas_used,
        failed,
        sequential: medians(sequential),
        parallel: parallel_runs.into_iter().map(medians).collect(),
        difference,
    })
}

fn medians(runs: Vec<Run>) -> Medians {
    let cpu = runs.iter().map(|run| run.cpu).collect::<Option<Vec<_>>>().and_then(measure::median);
    let (elapsed, statistics) =
        measure::median_run(runs.into_iter().map(|run| (run.elapsed, run.statistics)).collect());
    Medians { elapsed, cpu, statistics }
}
