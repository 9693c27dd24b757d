//! Stress, for hours or under a sanitizer: fibers that move between workers at every read, long and contended
//! blocks on more workers than there are cores, and sources that fail in the middle.
//!
//! Each block is compared with sequential revm. What goes wrong ends the process with code 1 and names the seed
//! that repeats it; a hang ends it with an abort that does the same.

mod blocks;
mod faults;
mod migrate;
mod source;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use counterpoint::{BuildError, ExecuteError, cli::compare::Difference};
use counterpoint_benches::{Knobs, Mix, random_block, sequential};
use crossbeam_deque::Worker;

use watch::Watch;

/// Executes blocks under stress and compares them with sequential revm.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Seconds that one block may take before it counts as a hang.
    #[arg(long, global = true, default_value_t = 120)]
    patience: u64,
    /// The first block's seed.
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Parks, moves and resumes fibers, and checks the worker each time.
    Migrate(migrate::Options),
    /// Executes random and contended blocks, with chaos and without.
    Blocks(blocks::Options),
    /// Lets sources fail and panic, gives blocks up, drops runtimes, with many blocks at once.
    Faults(faults::Options),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// No runtime.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The reference itself fails.
    #[error("seed {seed}: sequential execution failed: {cause}")]
    Sequential { seed: u64, cause: ExecuteError },
    /// An error where there should be none, or another one than expected.
    #[error("seed {seed}, {way}: {got} instead of {expected}")]
    Unexpected { seed: u64, way: String, got: String, expected: String },
    /// Another result than sequential revm's.
    #[error("seed {seed}, {way}: {difference}")]
    Differs { seed: u64, way: String, difference: Difference },
    /// The run did not do what it is for.
    #[error("{0}")]
    Idle(String),
}

/// What is set up at its first use is set up here, before there are threads: ThreadSanitizer sees neither the
/// standard library's `OnceLock`s nor the queues' fences, and would take each first use for a race.
fn warm_up() {
    let queue = Worker::new_fifo();
    queue.push(0);
    let _ = queue.stealer().steal();
    // Enough to meet every fork and contract.
    for seed in 0..60 {
        let _ = sequential::execute(&random_block(seed));
    }
    for &mix in Mix::ALL {
        let _ = sequential::execute(&mix.build(&Knobs { transactions: 20, ..Knobs::default() }));
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    warm_up();
    let watch = Watch::start(Duration::from_secs(arguments.patience));
    let done = match arguments.command {
        Command::Migrate(options) => migrate::run(&options, arguments.seed, &watch),
        Command::Blocks(options) => blocks::run(&options, arguments.seed, &watch),
        Command::Faults(options) => faults::run(&options, arguments.seed, &watch),
    };
    match done {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
