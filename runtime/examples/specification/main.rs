//! Random contended blocks, executed by Counterpoint and by the execution specification's own transition tool.
//!
//! The other side is `ethereum-spec-evm daemon` (the Python package ethereum-execution), which `.ci/spec` installs. Each
//! block goes through `t8n` at 1, 2 and 8 workers and in chaos mode; what comes out is compared field by field. One block
//! in four is then executed again without the transactions that were rejected, from the RLP that `t8n` wrote.

mod answers;
mod block;
mod compare;
mod forks;
mod oracle;
mod system;
mod transactions;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use counterpoint::{
    BuildError, Runtime,
    cli::t8n::{Options, Output, T8nError, transition},
};
use serde_json::{Value, json};

use answers::Answers;
use block::Block;
use compare::{Counts, Difference};
use forks::{FORKS, Fork};
use oracle::{Oracle, OracleError};

/// Compares Counterpoint with the execution specification on random contended blocks.
#[derive(Debug, Parser)]
struct Arguments {
    /// The specification's tool, `ethereum-spec-evm`.
    #[arg(long, value_name = "FILE")]
    oracle: PathBuf,
    /// Where the daemon works and where blocks that differ are left.
    #[arg(long, value_name = "FOLDER", default_value = "target/specification")]
    folder: PathBuf,
    /// Where the specification's answers are kept for the next run with the same blocks [default: they are not].
    #[arg(long, value_name = "FOLDER")]
    answers: Option<PathBuf>,
    /// Blocks of each fork.
    #[arg(long, default_value_t = 8)]
    blocks: u64,
    /// The first block's seed [default: one of its own for each run, which is printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Only these forks, with commas between.
    #[arg(long, value_delimiter = ',', value_parser = forks::by_name)]
    forks: Vec<&'static Fork>,
    /// The fewest transactions of a block.
    #[arg(long, default_value_t = 20)]
    shortest: usize,
    /// The most transactions of a block.
    #[arg(long, default_value_t = 200)]
    longest: usize,
    /// Blocks at the same time, each with a daemon of its own.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// One block in so many is executed again: the specification takes its time.
const AGAIN: u64 = 4;

/// After so many blocks of each fork a run says how far it is.
const ROUNDS: u64 = 20;

/// What ends the run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot start workers: {0}")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Oracle(#[from] OracleError),
    #[error("{0}: {1}")]
    Folder(PathBuf, io::Error),
    #[error("--shortest {0} is more than --longest {1}")]
    Length(usize, usize),
    #[error("{block}: {cause}")]
    Transition { block: String, cause: T8nError },
    #[error("{block}: {cause}\n  the block is in {}; --forks {fork} --seed {seed} --blocks 1 repeats it", folder.display())]
    Differs { block: String, cause: String, folder: PathBuf, fork: &'static str, seed: u64 },
    #[error("{rejected} of {all} transactions of {fork} were rejected: these blocks show little")]
    Idle { fork: &'static str, rejected: u64, all: u64 },
}

/// The ways in which Counterpoint executes each block.
struct Ways {
    runtimes: Vec<(&'static str, Runtime)>,
}

impl Ways {
    fn new(seed: u64) -> Result<Self, BuildError> {
        let workers = |count| Runtime::builder().workers(count);
        Ok(Self {
            runtimes: vec![
                ("1 worker", workers(1).build()?),
                ("2 workers", workers(2).serial_prefix(0).build()?),
                ("8 workers", workers(8).serial_prefix(5).build()?),
                ("8 workers with chaos", workers(8).chaos(seed).build()?),
            ],
        })
    }

    /// Executes the block in each way, and compares with what the specification says.
    fn execute(&self, block: &Block, expected: &Output) -> Result<Counts, WayError> {
        let mut counts = Counts::default();
        for (way, runtime) in &self.runtimes {
            let got = transition(runtime, block.input(), &block.options()).map_err(|cause| WayError {
                way,
                cause: cause.to_string(),
                got: None,
            })?;
            counts = compare::compare(block, expected, &got).map_err(|cause: Difference| WayError {
                way,
                cause: cause.to_string(),
                got: Some(Box::new(got)),
            })?;
        }
        Ok(counts)
    }
}

/// One way differs.
struct WayError {
    way: &'static str,
    cause: String,
    got: Option<Box<Output>>,
}

/// What the threads share.
struct Run {
    arguments: Arguments,
    forks: Vec<&'static Fork>,
    seed: u64,
    start: Instant,
    answers: Option<Answers>,
    next: AtomicUsize,
    failed: AtomicBool,
}

/// What each fork's blocks were.
type Table = Vec<Counts>;

impl Run {
    /// One thread's part of the blocks.
    fn work(&self, job: usize) -> Result<Table, Failure> {
        let Arguments { oracle, folder, .. } = &self.arguments;
        let oracle = Oracle::new(oracle, folder, job, self.answers.as_ref());
        let mut table = vec![Counts::default(); self.forks.len()];
        let ways = Ways::new(self.seed)?;
        while !self.failed.load(Ordering::Relaxed) {
            // Relaxed: the counter alone says whose block it is. Forks by turns, so that a short run has them all.
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            let (round, fork) = (turn / self.forks.len(), turn % self.forks.len());
            if round as u64 >= self.arguments.blocks {
                break;
            }
            if fork == 0 && round > 0 && (round as u64).is_multiple_of(ROUNDS) {
                println!("{round} blocks of each fork, {:.0} s", self.start.elapsed().as_secs_f64());
            }
            let counts = self.check(self.forks[fork], self.seed.wrapping_add(round as u64), &oracle, &ways);
            match counts {
                Ok(counts) => table[fork] += counts,
                Err(failure) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
        Ok(table)
    }

    fn check(
        &self,
        fork: &'static Fork,
        seed: u64,
        oracle: &Oracle<'_>,
        ways: &Ways,
    ) -> Result<Counts, Failure> {
        let block = Block::new(fork, seed, self.arguments.shortest..=self.arguments.longest);
        let expected = oracle.transition(&block)?;
        let counts = self.compare(&block, seed, &expected, ways)?;
        if !seed.is_multiple_of(AGAIN) {
            return Ok(counts);
        }
        // The same block without what is rejected: now the roots of transactions and receipts must agree too.
        let (_, runtime) = &ways.runtimes[1];
        let body = transition(runtime, block.input(), &block.options())
            .map_err(|cause| Failure::Transition { block: format!("{} {seed}", fork.name), cause })?
            .body;
        let block = block.with_body(body);
        let expected = oracle.transition(&block)?;
        self.compare(&block, seed, &expected, ways)?;
        Ok(counts)
    }

    fn compare(&self, block: &Block, seed: u64, expected: &Output, ways: &Ways) -> Result<Counts, Failure> {
        ways.execute(block, expected).map_err(|error| {
            let name = format!("{}-{seed}", block.fork.name);
            let folder = self.arguments.folder.join("different").join(name);
            let kept = keep(&folder, block, expected, error.got.as_deref());
            let form = if block.from_rlp { ", without what was rejected" } else { "" };
            let note = kept.err().map(|cause| format!(" (not kept: {cause})")).unwrap_or_default();
            Failure::Differs {
                block: format!("{} seed {seed}{form}, {}", block.fork.name, error.way),
                cause: error.cause + &note,
                folder,
                fork: block.fork.name,
                seed,
            }
        })
    }
}

/// Leaves the block where `counterpoint t8n` can execute it, with what came out.
fn keep(folder: &Path, block: &Block, expected: &Output, got: Option<&Output>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let write =
        |name: &str, value: &Value| fs::write(folder.join(name), serde_json::to_string_pretty(value)?);
    let input = block.input();
    write("alloc.json", &input.alloc)?;
    write("env.json", &input.env)?;
    write("txs.json", &input.txs)?;
    let Options { fork, chain_id, reward, .. } = block.options();
    write("state.json", &json!({ "fork": fork, "chainid": chain_id, "reward": reward.to_string() }))?;
    write("expected-alloc.json", &expected.alloc)?;
    write("expected-result.json", &expected.result)?;
    if let Some(got) = got {
        write("alloc-after.json", &got.alloc)?;
        write("result.json", &got.result)?;
    }
    Ok(())
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.shortest > arguments.longest {
        return Err(Failure::Length(arguments.shortest, arguments.longest));
    }
    fs::create_dir_all(&arguments.folder)
        .map_err(|cause| Failure::Folder(arguments.folder.clone(), cause))?;
    let forks = if arguments.forks.is_empty() { FORKS.iter().collect() } else { arguments.forks.clone() };
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}, {} blocks of each of {} forks", arguments.blocks, forks.len());
    let answers = arguments
        .answers
        .as_deref()
        .map(|folder| Answers::in_folder(folder).map_err(|cause| Failure::Folder(folder.to_owned(), cause)));
    let run = Run {
        answers: answers.transpose()?,
        arguments,
        forks,
        seed,
        start: Instant::now(),
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    let tables = thread::scope(|scope| {
        let jobs: Vec<_> = (0..run.arguments.jobs.max(1))
            .map(|job| {
                let run = &run;
                scope.spawn(move || run.work(job))
            })
            .collect();
        jobs.into_iter()
            .map(|job| job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut all = Counts::default();
    println!("{:<18} {:>7} {:>9} {:>9} {:>9}", "fork", "blocks", "included", "failed", "rejected");
    for (index, fork) in run.forks.iter().enumerate() {
        let mut counts = Counts::default();
        tables.iter().for_each(|table| counts += table[index]);
        counts.print(fork.name);
        // A few are meant to be; a block that has hardly any other is no test.
        let sum = counts.included + counts.rejected;
        if counts.rejected * 2 > sum {
            return Err(Failure::Idle { fork: fork.name, rejected: counts.rejected, all: sum });
        }
        all += counts;
    }
    all.print("all");
    let seconds = run.start.elapsed().as_secs_f64();
    println!("agree with the specification at 1, 2 and 8 workers and with chaos, {seconds:.0} s");
    Ok(())
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
