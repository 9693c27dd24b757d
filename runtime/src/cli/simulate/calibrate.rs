//! What the model's constants are on this machine.

use std::time::{Duration, Instant};

use counterpoint_benches::{Knobs, Mix};

use super::{
    model::Costs,
    record::{self, RecordError, Recording},
};
use crate::{Block, ExecuteError, Mode, Runtime, Statistics, cli::workload};

/// A run of the runtime: from the call to the result, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Run {
    /// From the call to the result.
    pub elapsed: Duration,
    /// What it says of itself.
    pub statistics: Statistics,
}

/// The shortest of several runs, after one to warm up: what else the machine does only makes runs longer.
///
/// # Errors
///
/// As [`Runtime::execute`].
pub fn measure(runtime: &Runtime, block: &Block, repeat: u32) -> Result<Run, ExecuteError> {
    let run = || {
        let start = Instant::now();
        let outcome = runtime.execute(block)?;
        Ok(Run { elapsed: start.elapsed(), statistics: outcome.statistics.clone() })
    };
    let mut shortest = run()?;
    for _ in 0..repeat {
        let again = run()?;
        if again.elapsed < shortest.elapsed {
            shortest = again;
        }
    }
    Ok(shortest)
}

/// Why there are no constants.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The block that is to tell cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It cannot be executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// What one worker's run says of a recorded block: the cost for each transaction, and what comes before and after.
pub fn costs(recording: &Recording, alone: &Run, speculative: f64) -> Costs {
    let count = recording.transactions.len().max(1) as f64;
    let plain: f64 = recording.transactions.iter().map(|recorded| recorded.time.as_secs_f64()).sum();
    let within = alone.statistics.execution.as_secs_f64();
    Costs {
        each: (within - plain) / count,
        speculative,
        serial: (alone.elapsed.as_secs_f64() - within).max(0.0),
    }
}

/// A block whose gas limits sum up to less than this is executed by one worker, whatever there are.
const WORTH_HELP: u64 = 200_000;

/// How many of so many workers the runtime has work on this block.
pub fn workers_for(block: &Block, workers: usize) -> usize {
    let gas =
        block.transactions.iter().fold(0_u64, |sum, transaction| sum.saturating_add(transaction.gas_limit));
    if block.transactions.len() < 2 || gas < WORTH_HELP { 1 } else { workers }
}

/// What speculation costs for each transaction, in seconds: from a generated block of independent token
/// transfers on two workers, which has nothing else to lose. On a machine with one core there is nothing to measure: 0.
///
/// # Errors
///
/// If the generated block cannot be executed, which is a bug.
pub fn speculation(alone: &Runtime, pair: Option<&Runtime>, repeat: u32) -> Result<f64, CalibrateError> {
    let Some(pair) = pair else { return Ok(0.0) };
    let workload = Mix::Erc20Independent.build(&Knobs { transactions: 2_000, ..Knobs::default() });
    let recording = record::record(
        &workload.env,
        &workload.cfg,
        &workload.transactions,
        &workload.source,
        Mode::Verify,
        repeat,
    )?;
    let block = workload::block(workload, Mode::Verify);
    let one = measure(alone, &block, repeat)?.statistics.execution.as_secs_f64();
    let two = measure(pair, &block, repeat)?.statistics.execution.as_secs_f64();
    Ok(((2.0 * two - one) / recording.transactions.len() as f64).max(0.0))
}
