//! `counterpoint replay`: block files, executed in parallel and checked.

use std::{
    io,
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use counterpoint::{
    Runtime,
    cli::{forks::ForkName, report::Summary},
};

use crate::{
    inputs,
    measure::{self, Failure, Options, Replayed},
    output::{self, Output},
};

/// Threads beyond this are a mistake, not a machine.
pub(crate) const MOST_WORKERS: i64 = 1024;

/// Execute blocks in parallel and compare with sequential execution and with their headers.
///
/// Exits with 0 if everything agrees, 1 if anything differs, 2 if the usage or an input is bad.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Block files (JSON, gzipped or plain), or folders of *.json and *.json.gz.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Workers, the calling thread included [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    workers: Option<u16>,

    /// How often each block is executed, sequentially and in parallel by turns; times are medians.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Have every read of the state take at least this many microseconds, for both sides.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u32).range(1..))]
    source_latency_us: Option<u32>,

    /// Execute so many transactions of each block one after the other before the workers share the rest [default:
    /// decided block by block].
    #[arg(long, value_name = "N")]
    serial_prefix: Option<usize>,

    /// Before each execution, forget what earlier ones have taught the runtime of the calls.
    #[arg(long)]
    forget: bool,

    /// Execute in parallel only; compare nothing.
    #[arg(long)]
    no_check: bool,

    /// Write one JSON object a line instead of text.
    #[arg(long)]
    json: bool,

    /// The hard fork to execute under, instead of the one that mainnet had at the block.
    #[arg(long, value_name = "NAME")]
    spec: Option<ForkName>,
}

/// How replaying ended; the worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Agrees,
    Differs,
    BadInput,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Status {
    let files = match inputs::collect(&arguments.paths) {
        Ok(files) => files,
        Err(error) => return bad_input(error),
    };
    let workers = match arguments.workers {
        Some(workers) => usize::from(workers),
        None => thread::available_parallelism().map_or(1, NonZero::get),
    };
    let mut builder = Runtime::builder().workers(workers);
    if let Some(prefix) = arguments.serial_prefix {
        builder = builder.serial_prefix(prefix);
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return bad_input(format_args!("cannot start {workers} workers: {error}")),
    };
    let options = Options {
        repeat: arguments.repeat,
        check: !arguments.no_check,
        spec: arguments.spec.map(|fork| fork.0),
        workers,
        forget: arguments.forget,
        latency: arguments.source_latency_us.map(|us| Duration::from_micros(us.into())),
    };
    let mut replay = Replay {
        runtime,
        options,
        json: arguments.json,
        output: Output::new(files.len(), !arguments.json),
        summary: Summary::default(),
        status: Status::Agrees,
    };
    match replay.all(&files) {
        Ok(()) => replay.status,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => replay.status,
        Err(error) => bad_input(format_args!("cannot write to standard output: {error}")),
    }
}

fn bad_input(message: impl std::fmt::Display) -> Status {
    output::complain(message);
    Status::BadInput
}

/// A running command.
struct Replay {
    runtime: Runtime,
    options: Options,
    json: bool,
    output: Output,
    summary: Summary,
    status: Status,
}

impl Replay {
    fn all(&mut self, files: &[PathBuf]) -> io::Result<()> {
        let result = files.iter().try_for_each(|path| self.one(path));
        self.output.finish();
        result?;
        if self.json || files.len() < 2 {
            return Ok(());
        }
        self.output.line(format_args!("\n{}", self.summary.to_string().trim_end()))
    }

    fn one(&mut self, path: &Path) -> io::Result<()> {
        self.output.begin(path.file_name().unwrap_or_default().to_string_lossy());
        let replayed = measure::replay(&self.runtime, path, &self.options);
        self.output.advance();
        match replayed {
            Ok(replayed) => self.report(path, &replayed),
            Err(failure) => {
                self.fail(&failure);
                Ok(())
            }
        }
    }

    fn report(&mut self, path: &Path, replayed: &Replayed) -> io::Result<()> {
        let report = &replayed.report;
        self.summary.add(report);
        let place = format!("{}: block {}", path.display(), report.block);
        if let Some(difference) = &replayed.difference {
            self.differs(format_args!("{place}: {difference}"));
        }
        for field in report.header.wrong() {
            self.differs(format_args!("{place}: {field} is not what the header says"));
        }
        if self.json {
            self.output.line(report.to_json().map_err(io::Error::other)?)
        } else {
            self.output.line(report)
        }
    }

    fn differs(&mut self, message: impl std::fmt::Display) {
        self.output.complain(message);
        self.status = self.status.max(Status::Differs);
    }

    fn fail(&mut self, failure: &Failure) {
        self.output.complain(failure);
        let status = if failure.is_bad_input() { Status::BadInput } else { Status::Differs };
        self.status = self.status.max(status);
    }
}
