//! `counterpoint bench`: generated workloads, executed sequentially and in parallel by turns, and compared.

mod memory;
mod report;
mod runs;
mod usage;

use std::{io, num::NonZero, thread, time::Duration};

use clap::Args;
use counterpoint::{BuildError, Runtime};
use counterpoint_benches::{KnobArguments, Mix};

use crate::{
    output::{self, Output},
    replay::{MOST_WORKERS, Status},
};
use memory::Side;
use report::{Table, WorkloadReport};

/// Execute generated blocks sequentially and in parallel by turns; compare and measure.
///
/// Exits with 0 if everything agrees, 1 if anything differs, 2 if the usage is bad.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The workloads, separated by commas, or `all`; `--list` names them.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = mixes, required_unless_present = "list")]
    workload: Vec<Mixes>,

    /// List the workloads, the knobs that each reads, and their default size; execute nothing.
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    knobs: KnobArguments,

    /// Numbers of workers, the calling thread included, separated by commas [default: the number of cores].
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    workers: Vec<u16>,

    /// How often each side executes a block, by turns; figures are medians.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Have every read of the state take at least this many microseconds, for both sides.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u32).range(1..))]
    source_latency_us: Option<u32>,

    /// Execute so many transactions one after the other before the workers share the rest; with 0 all goes through the
    /// parallel machinery [default: decided block by block].
    #[arg(long, value_name = "N")]
    serial_prefix: Option<usize>,

    /// Do not measure memory, which takes a process of its own for each side.
    #[arg(long)]
    no_memory: bool,

    /// Write one JSON object for each workload, a line each, instead of a table.
    #[arg(long)]
    json: bool,

    /// Execute the workload once, on one side only, and print the memory that it took.
    #[arg(long, hide = true, value_name = "SIDE")]
    memory_of: Option<Side>,
}

/// What one name on the command line stands for.
#[derive(Clone, Debug)]
struct Mixes(Vec<Mix>);

fn mixes(name: &str) -> Result<Mixes, String> {
    match name {
        "all" => Ok(Mixes(Mix::ALL.to_vec())),
        name => name.parse().map(|mix| Mixes(vec![mix])).map_err(|error| format!("{error}")),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Status {
    let mixes: Vec<Mix> = arguments.workload.iter().flat_map(|names| names.0.iter().copied()).collect();
    let result = if arguments.list {
        list()
    } else if let Some(side) = arguments.memory_of {
        memory::print(side, &mixes, arguments)
    } else {
        bench(&mixes, arguments)
    };
    match result {
        Ok(status) => status,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Agrees,
        Err(error) => {
            output::complain(error);
            Status::BadInput
        }
    }
}

fn list() -> io::Result<Status> {
    let output = Output::new(0, false);
    for mix in Mix::ALL {
        let size = mix.full_size().transactions;
        output.line(format_args!("{:<24} {size:>6} transactions: {}", mix.name(), mix.description()))?;
        if !mix.knobs().is_empty() {
            output.line(format_args!("{:<24} reads --{}", "", mix.knobs().join(", --")))?;
        }
    }
    Ok(Status::Agrees)
}

fn bench(mixes: &[Mix], arguments: &Arguments) -> io::Result<Status> {
    let workers: Vec<usize> = match &arguments.workers[..] {
        [] => vec![thread::available_parallelism().map_or(1, NonZero::get)],
        workers => workers.iter().copied().map(usize::from).collect(),
    };
    let runtimes: Vec<Runtime> = workers
        .iter()
        .map(|workers| {
            runtime(*workers, arguments)
                .map_err(|error| io::Error::other(format!("cannot start {workers} workers: {error}")))
        })
        .collect::<io::Result<_>>()?;
    let mut output = Output::new(mixes.len(), !arguments.json);
    let mut table = Table::default();
    let mut status = Status::Agrees;
    for &mix in mixes {
        output.begin(mix);
        let knobs = arguments.knobs.knobs(mix);
        let measured = runs::measure(mix, &knobs, &runtimes, arguments.repeat, latency(arguments));
        let measured = match measured {
            Ok(measured) => measured,
            Err(failure) => {
                output.complain(format_args!("{mix}: {failure}"));
                status = status.max(failure.status());
                output.advance();
                continue;
            }
        };
        let memory = match arguments.no_memory {
            true => None,
            false => memory::measure(mix, &knobs, &workers, arguments)
                .map_err(|error| output.complain(format_args!("{mix}: memory is not measured: {error}")))
                .ok(),
        };
        output.advance();
        if let Some(difference) = &measured.difference {
            output.complain(format_args!("{mix}: {difference}"));
            status = status.max(Status::Differs);
        }
        let report = WorkloadReport::new(mix, &knobs, arguments, measured, memory);
        if arguments.json {
            output.line(report.to_json().map_err(io::Error::other)?)?;
        } else {
            output.line(table.rows(&report))?;
        }
    }
    output.finish();
    if !arguments.json
        && let Some(summary) = table.summary()
    {
        output.line(summary)?;
    }
    Ok(status)
}

fn runtime(workers: usize, arguments: &Arguments) -> Result<Runtime, BuildError> {
    let mut builder = Runtime::builder().workers(workers);
    if let Some(prefix) = arguments.serial_prefix {
        builder = builder.serial_prefix(prefix);
    }
    builder.build()
}

fn latency(arguments: &Arguments) -> Option<Duration> {
    arguments.source_latency_us.map(|us| Duration::from_micros(us.into()))
}
