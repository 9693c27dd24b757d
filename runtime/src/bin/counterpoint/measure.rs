//! Executing one block both ways, measured and compared.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use counterpoint::state::StateSource;
use counterpoint::{
    ExecuteError, Mode, Outcome, Runtime, Statistics,
    cli::{
        blockfile::{self, BlockFile},
        compare::{self, Difference},
        header::{self, HeaderChecks},
        latency::LatencySource,
        report::BlockReport,
        sequential::{Sequential, execute_sequential},
    },
};
use revm::primitives::hardfork::SpecId;

/// How blocks are replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How often each side executes a block.
    pub(crate) repeat: u32,
    /// Whether sequential execution and the header are compared.
    pub(crate) check: bool,
    /// The hard fork, if not the one that mainnet's schedule gives.
    pub(crate) spec: Option<SpecId>,
    /// Workers that the runtime has.
    pub(crate) workers: usize,
    /// Whether the runtime forgets before each execution what it has learnt.
    pub(crate) forget: bool,
    /// How long each read of the source takes.
    pub(crate) latency: Option<Duration>,
}

/// A replayed block.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) report: BlockReport,
    /// What differs from sequential execution, if anything does.
    pub(crate) difference: Option<Difference>,
}

/// A block without a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] blockfile::Error),
    /// The block cannot be executed, whoever tries.
    #[error("{}: block {block}: {cause}", path.display())]
    Block { path: PathBuf, block: u64, cause: ExecuteError },
    /// Only one side can execute the block, or the sides fail differently.
    #[error(
        "{}: block {block}: sequential execution gives {expected}, parallel execution gives {got}",
        path.display()
    )]
    Differs { path: PathBuf, block: u64, expected: String, got: String },
    /// The source that takes its time has no thread.
    #[error("{}: cannot start a thread: {cause}", path.display())]
    Thread { path: PathBuf, cause: io::Error },
    /// The runtime failed in a way that no input may make it fail.
    #[error("{}: block {block}: parallel execution failed: {cause}", path.display())]
    Parallel { path: PathBuf, block: u64, cause: ExecuteError },
}

impl Failure {
    /// Whether the input is to blame, and not the runtime.
    pub(crate) fn is_bad_input(&self) -> bool {
        matches!(self, Self::File(_) | Self::Block { .. })
    }
}

/// Executes the block in `path` as often as asked, sequentially and in parallel by turns.
pub(crate) fn replay(runtime: &Runtime, path: &Path, options: &Options) -> Result<Replayed, Failure> {
    let file = BlockFile::load(path)?;
    let spec = options.spec.unwrap_or_else(|| file.spec());
    let mut block = file.block(spec, Mode::Verify, path)?;
    let slow = match options.latency {
        Some(latency) => {
            let slow = LatencySource::new(Arc::clone(&file.source), latency);
            Some(Arc::new(slow.map_err(|cause| Failure::Thread { path: path.to_owned(), cause })?))
        }
        None => None,
    };
    if let Some(slow) = &slow {
        block.source = Arc::clone(slow) as Arc<dyn StateSource>;
    }

    let sequential = || match &slow {
        Some(slow) => {
            execute_sequential(&block.env, &block.cfg, &block.transactions, &**slow, block.mode, false)
        }
        None => {
            execute_sequential(&block.env, &block.cfg, &block.transactions, &*file.source, block.mode, false)
        }
    };
    // Not measured, because it comes first: it warms the caches and has revm set up what it sets up once in a
    // process, such as the trusted setup for blobs, which takes seconds.
    let reference = options.check.then(sequential);
    let mut sequential_times = Vec::new();
    let mut parallel_runs = Vec::new();
    let mut difference = None;
    let mut header = HeaderChecks::default();
    let mut gas_used = 0;
    // The same for the other side: its first run is compared and not measured.
    let warm_up = u32::from(options.check);
    let measure_sequential = |times: &mut Vec<Duration>| {
        if let Some(Ok(again)) = reference.as_ref().map(|_| sequential()) {
            times.push(again.elapsed);
        }
    };
    // By turns, so that what the machine does besides is the same for both. But of a slow source, sequential execution is
    // asleep for most of its time, and would leave the other side a machine that has gone to sleep, too: one that
    // executes block after block never finds it so.
    if slow.is_some() {
        (0..options.repeat).for_each(|_| measure_sequential(&mut sequential_times));
    }
    for run in 0..options.repeat.saturating_add(warm_up) {
        let measured = run >= warm_up;
        if measured && slow.is_none() {
            measure_sequential(&mut sequential_times);
        }
        if options.forget {
            runtime.forget();
        }
        let start = Instant::now();
        let outcome = runtime.execute(&block);
        let elapsed = start.elapsed();

        let (reference, outcome) = both(path, file.header.number, reference.as_ref(), outcome)?;
        if let Some(reference) = reference {
            difference = difference.or_else(|| compare::first_difference(reference, &outcome));
            // Later runs give the same, or they differ from sequential execution and that is said.
            if run == 0 {
                let results = header::results(&block.transactions, &outcome.transactions, spec);
                header = HeaderChecks::new(&file.header, &results);
            }
        }
        gas_used = outcome.gas_used;
        if measured {
            parallel_runs.push((elapsed, outcome.statistics));
        }
    }

    let (parallel, statistics) = median_run(parallel_runs);
    let report = BlockReport {
        block: file.header.number,
        spec,
        transactions: block.transactions.len(),
        gas_used,
        workers: options.workers,
        header,
        sequential_equal: options.check.then_some(difference.is_none()),
        sequential: median(sequential_times),
        parallel,
        statistics,
    };
    Ok(Replayed { report, difference })
}

/// The results, if there are any on both sides.
fn both<'a>(
    path: &Path,
    block: u64,
    reference: Option<&'a Result<Sequential, ExecuteError>>,
    outcome: Result<Outcome, ExecuteError>,
) -> Result<(Option<&'a Sequential>, Outcome), Failure> {
    let path = path.to_owned();
    let differs =
        |expected: String, got: String| Failure::Differs { path: path.clone(), block, expected, got };
    let error = |error: &ExecuteError| format!("the error {:?}", error.to_string());
    let result = || "a result".to_owned();
    match (reference, outcome) {
        (None, Ok(outcome)) => Ok((None, outcome)),
        (Some(Ok(reference)), Ok(outcome)) => Ok((Some(reference), outcome)),
        (Some(Err(expected)), Ok(_)) => Err(differs(error(expected), result())),
        (Some(Ok(_)), Err(got)) => Err(differs(result(), error(&got))),
        (Some(Err(expected)), Err(cause)) if compare::same_error(expected, &cause) => {
            Err(Failure::Block { path, block, cause })
        }
        (Some(Err(expected)), Err(got)) => Err(differs(error(expected), error(&got))),
        (None, Err(cause)) => match cause {
            ExecuteError::InvalidTransaction { .. }
            | ExecuteError::InvalidHeader(_)
            | ExecuteError::Source { .. } => Err(Failure::Block { path, block, cause }),
            _ => Err(Failure::Parallel { path, block, cause }),
        },
    }
}

/// The median; of an even number of times the mean of the two in the middle.
pub(crate) fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    let upper = *times.get(times.len() / 2)?;
    let lower = times[(times.len() - 1) / 2];
    Some((lower + upper) / 2)
}

/// The median time, and the statistics of the run that took it or was just below.
pub(crate) fn median_run(mut runs: Vec<(Duration, Statistics)>) -> (Duration, Statistics) {
    runs.sort_by_key(|(time, _)| *time);
    let time = median(runs.iter().map(|(time, _)| *time).collect()).unwrap_or_default();
    let middle = runs.len().saturating_sub(1) / 2;
    let statistics = runs.into_iter().nth(middle).map(|(_, statistics)| statistics).unwrap_or_default();
    (time, statistics)
}
