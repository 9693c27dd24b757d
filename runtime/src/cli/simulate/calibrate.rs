//! What the model's constants are on this machine.

use std::time::{Duration, Instant};

use counterpoint_benches::{Knobs, Mix};

use super::{model::Costs, record::Recording};
use crate::{Block, BuildError, ExecuteError, Mode, Runtime, Statistics, cli::workload, plan};

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
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// Two workers cannot be started.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The block that is to tell cannot be executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// What speculation costs on this machine, and what helpers spare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// For each transaction, in seconds.
    pub speculative: f64,
    /// For each plain transfer, in seconds.
    pub speculative_plain: f64,
    /// What comes before and after takes this part of its time where there are helpers.
    pub shared: f64,
}

/// What one worker's run says of a recorded block: the cost for each transaction, and what comes before and after.
pub fn costs(recording: &Recording, alone: &Run, machine: &Machine) -> Costs {
    let count = recording.transactions.len().max(1) as f64;
    let plain: f64 = recording.transactions.iter().map(|recorded| recorded.time.as_secs_f64()).sum();
    let within = alone.statistics.execution.as_secs_f64();
    let serial = around(alone);
    Costs {
        each: (within - plain) / count,
        speculative: machine.speculative,
        speculative_plain: machine.speculative_plain,
        serial,
        shared: serial * machine.shared,
    }
}

/// What comes before and after, in seconds.
fn around(run: &Run) -> f64 {
    (run.elapsed.as_secs_f64() - run.statistics.execution.as_secs_f64()).max(0.0)
}

/// How many of so many workers the runtime has work on this block, which one alone executes like that.
pub fn workers_for(block: &Block, alone: &Run, workers: usize) -> usize {
    if plan::is_shared(&block.transactions, workers, alone.statistics.execution) { workers } else { 1 }
}

/// What speculation costs for each transaction, from generated blocks of independent token transfers and plain ones on two
/// workers, which have nothing else to lose. On a machine with one core there is nothing to measure: 0.
///
/// # Errors
///
/// If the generated blocks cannot be executed, which is a bug.
pub fn machine(alone: &Runtime, cores: usize, repeat: u32) -> Result<Machine, CalibrateError> {
    if cores < 2 {
        return Ok(Machine { shared: 1.0, ..Machine::default() });
    }
    // Every block's prediction rests on these.
    let repeat = repeat.max(15);
    // What is plain is not shared otherwise.
    let pair = Runtime::builder().workers(2).serial_prefix(0).build()?;
    let measured = |mix: Mix| -> Result<(f64, f64), CalibrateError> {
        let block =
            workload::block(mix.build(&Knobs { transactions: 2_000, ..Knobs::default() }), Mode::Verify);
        let (one, two) = (measure(alone, &block, repeat)?, measure(&pair, &block, repeat)?);
        let within = |run: &Run| run.statistics.execution.as_secs_f64();
        let cost = (2.0 * within(&two) - within(&one)) / block.transactions.len() as f64;
        Ok((cost.max(0.0), (around(&two) / around(&one).max(1e-9)).clamp(0.0, 1.0)))
    };
    let (speculative, shared) = measured(Mix::Erc20Independent)?;
    let (speculative_plain, _) = measured(Mix::IndependentTransfers)?;
    Ok(Machine { speculative, speculative_plain, shared })
}
