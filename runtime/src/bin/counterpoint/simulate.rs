//! `counterpoint simulate`: what a block's dependencies and times allow on any number of workers.

use std::{
    fmt::Write as _,
    io,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use clap::Args;
use counterpoint::{
    Block, ExecuteError, Mode, Runtime,
    cli::{
        blockfile::{self, BlockFile},
        simulate::{
            calibrate::{self, Machine, Run},
            model::{self, Simulated},
            record::{self, RecordError},
        },
    },
};
use serde::Serialize;

use crate::{
    inputs,
    output::{self, Output},
    replay::{MOST_WORKERS, Status},
};

/// Simulate the scheduler over a block's recorded transactions, on any number of workers.
///
/// The transactions' times and dependencies come from executing the block sequentially here; what the runtime
/// adds comes from running it on one worker, and from a generated block on two. Exits with 0, or 2 if the usage
/// or an input is bad.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Block files (JSON, gzipped or plain), or folders of *.json and *.json.gz.
    #[arg(required = true, value_name = "BLOCK")]
    paths: Vec<PathBuf>,

    /// Numbers of workers, separated by commas.
    #[arg(
        long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8,16,32,64,128",
        value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS)
    )]
    workers: Vec<u16>,

    /// Run the blocks too, on as many of these numbers of workers as there are cores for, and compare.
    #[arg(long)]
    measure: bool,

    /// How often everything is executed that is measured; the shortest run counts.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Write one JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

/// A block without a simulation.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] blockfile::Error),
    #[error("{}: {cause}", path.display())]
    Record { path: PathBuf, cause: RecordError },
    #[error("{}: {cause}", path.display())]
    Execute { path: PathBuf, cause: ExecuteError },
}

/// A line of JSON; the times are in milliseconds.
#[derive(Debug, Serialize)]
struct Report {
    block: u64,
    transactions: usize,
    /// As the header says.
    gas_used: Option<u64>,
    sequential_ms: f64,
    /// No number of workers is faster than this.
    critical_path_ms: f64,
    critical_path_speedup: f64,
    /// What the runtime adds, in microseconds: for each transaction, for each that speculates, for each plain transfer that
    /// does, before and after on one worker, and with helpers.
    cost_each_us: f64,
    cost_speculative_us: f64,
    cost_speculative_plain_us: f64,
    cost_serial_us: f64,
    cost_shared_us: f64,
    predictions: Vec<Prediction>,
}

#[derive(Debug, Serialize)]
struct Prediction {
    workers: usize,
    ms: f64,
    speedup: f64,
    executions: usize,
    parked: usize,
    /// With `--measure`, where there are cores for it.
    measured_ms: Option<f64>,
    measured_speedup: Option<f64>,
    /// Predicted by measured time, less one.
    off: Option<f64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Status {
    let files = match inputs::collect(&arguments.paths) {
        Ok(files) => files,
        Err(error) => return bad_input(error),
    };
    let mut simulation = match Simulation::new(arguments, files.len()) {
        Ok(simulation) => simulation,
        Err(error) => return bad_input(error),
    };
    match simulation.all(&files) {
        Ok(()) => simulation.status,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => simulation.status,
        Err(error) => bad_input(format_args!("cannot write to standard output: {error}")),
    }
}

fn bad_input(message: impl std::fmt::Display) -> Status {
    output::complain(message);
    Status::BadInput
}

struct Simulation<'a> {
    arguments: &'a Arguments,
    output: Output,
    alone: Runtime,
    /// With `--measure`: the runtimes that there are cores for.
    measured: Vec<Runtime>,
    machine: Machine,
    reports: Vec<Report>,
    status: Status,
}

impl<'a> Simulation<'a> {
    fn new(arguments: &'a Arguments, files: usize) -> Result<Self, String> {
        let start = |workers: usize| {
            let runtime = Runtime::builder().workers(workers).build();
            runtime.map_err(|error| format!("cannot start {workers} workers: {error}"))
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let alone = start(1)?;
        let machine = calibrate::machine(&alone, cores, arguments.repeat);
        let workers = arguments.workers.iter().map(|workers| usize::from(*workers));
        let measured = match arguments.measure {
            true => workers.filter(|workers| *workers <= cores).map(start).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        Ok(Self {
            arguments,
            output: Output::new(files, !arguments.json),
            alone,
            measured,
            machine: machine.map_err(|error| error.to_string())?,
            reports: Vec::new(),
            status: Status::Agrees,
        })
    }

    fn all(&mut self, files: &[PathBuf]) -> io::Result<()> {
        if !self.arguments.json {
            self.output.line(self.heading())?;
        }
        for path in files {
            self.output.begin(path.file_name().unwrap_or_default().to_string_lossy());
            let report = self.one(path);
            self.output.advance();
            match report {
                Ok(report) => {
                    if self.arguments.json {
                        self.output.line(serde_json::to_string(&report).map_err(io::Error::other)?)?;
                    } else {
                        self.output.line(rows(&report))?;
                    }
                    self.reports.push(report);
                }
                Err(failure) => {
                    self.output.complain(failure);
                    self.status = Status::BadInput;
                }
            }
        }
        self.output.finish();
        match self.reports.len() {
            0 | 1 => Ok(()),
            _ if self.arguments.json => Ok(()),
            _ => self.output.line(summary(&self.reports)),
        }
    }

    fn one(&self, path: &Path) -> Result<Report, Failure> {
        let file = BlockFile::load(path)?;
        let block = file.block(file.spec(), Mode::Verify, path)?;
        let Block { env, cfg, transactions, mode, .. } = &block;
        let repeat = self.arguments.repeat;
        let recording = record::record(env, cfg, transactions, &*file.source, *mode, repeat)
            .map_err(|cause| Failure::Record { path: path.to_owned(), cause })?;
        let measure = |runtime: &Runtime| {
            calibrate::measure(runtime, &block, repeat)
                .map_err(|cause| Failure::Execute { path: path.to_owned(), cause })
        };
        let alone = measure(&self.alone)?;
        let costs = calibrate::costs(&recording, &alone, &self.machine);
        let measured: Vec<(usize, Run)> = self
            .measured
            .iter()
            .map(|runtime| Ok((runtime.workers(), measure(runtime)?)))
            .collect::<Result<_, Failure>>()?;
        let sequential = recording.sequential.as_secs_f64().max(1e-9);
        let predict = |workers: usize| {
            let Simulated { time, executions, parked } = model::simulate(
                &recording.transactions,
                &costs,
                calibrate::workers_for(&block, &alone, workers),
            );
            let run = measured.iter().find(|(with, _)| *with == workers);
            let seconds = run.map(|(_, run)| run.elapsed.as_secs_f64().max(1e-9));
            Prediction {
                workers,
                ms: time * 1e3,
                speedup: sequential / time.max(1e-9),
                executions,
                parked,
                measured_ms: seconds.map(|seconds| seconds * 1e3),
                measured_speedup: seconds.map(|seconds| sequential / seconds),
                off: seconds.map(|seconds| time / seconds - 1.0),
            }
        };
        let critical_path = model::critical_path(&recording.transactions, &costs).max(1e-9);
        Ok(Report {
            block: file.header.number,
            transactions: transactions.len(),
            gas_used: file.header.gas_used,
            sequential_ms: sequential * 1e3,
            critical_path_ms: critical_path * 1e3,
            critical_path_speedup: sequential / critical_path,
            cost_each_us: costs.each * 1e6,
            cost_speculative_us: costs.speculative * 1e6,
            cost_speculative_plain_us: costs.speculative_plain * 1e6,
            cost_serial_us: costs.serial * 1e6,
            cost_shared_us: costs.shared * 1e6,
            predictions: self.arguments.workers.iter().map(|workers| predict((*workers).into())).collect(),
        })
    }

    fn heading(&self) -> String {
        let mut line = format!("{:>9} {:>6} {:>10} {:<9}", "block", "tx", "seq ms", "");
        for workers in &self.arguments.workers {
            let _ = write!(line, " {workers:>7}");
        }
        line + "   limit"
    }
}

/// A block's speed-ups by workers, and below, what was measured.
fn rows(report: &Report) -> String {
    let mut text =
        format!("{:>9} {:>6} {:>10.3} predicted", report.block, report.transactions, report.sequential_ms);
    for prediction in &report.predictions {
        let _ = write!(text, " {:>6.2}x", prediction.speedup);
    }
    let _ = write!(text, " {:>6.2}x", report.critical_path_speedup);
    if report.predictions.iter().any(|prediction| prediction.measured_ms.is_some()) {
        let _ = write!(text, "\n{:>27} measured ", "");
        for prediction in &report.predictions {
            let speedup = prediction.measured_speedup.map_or("-".to_owned(), |x| format!("{x:.2}x"));
            let _ = write!(text, " {speedup:>7}");
        }
        let _ = write!(text, "\n{:>27} off      ", "");
        for prediction in &report.predictions {
            let off = prediction.off.map_or("-".to_owned(), |off| format!("{:+.0} %", off * 100.0));
            let _ = write!(text, " {off:>7}");
        }
    }
    text
}

/// All blocks together: total time, and how far predictions were off.
fn summary(reports: &[Report]) -> String {
    let total = |of: &dyn Fn(&Report) -> Option<f64>| reports.iter().map(of).sum::<Option<f64>>();
    let sequential = total(&|report| Some(report.sequential_ms)).unwrap_or_default();
    let mut text = format!("\n{} blocks, speed-up of the total time\n", reports.len());
    let sides = reports[0].predictions.len();
    for side in 0..sides {
        let workers = reports[0].predictions[side].workers;
        let predicted = total(&|report| Some(report.predictions[side].ms)).unwrap_or_default();
        let _ = write!(text, "{workers:>5} workers: predicted {:.2}x", sequential / predicted);
        if let Some(measured) = total(&|report| report.predictions[side].measured_ms) {
            let mut off: Vec<f64> =
                reports.iter().filter_map(|report| report.predictions[side].off).map(f64::abs).collect();
            off.sort_by(f64::total_cmp);
            let within = off.iter().filter(|off| **off <= 0.15).count();
            let _ = write!(
                text,
                ", measured {:.2}x, off by {:+.1} %; blocks off by {:.1} % in the median, {within} of {} by at most 15 %",
                sequential / measured,
                (predicted / measured - 1.0) * 100.0,
                off[off.len() / 2] * 100.0,
                off.len(),
            );
        }
        text.push('\n');
    }
    let limit = total(&|report| Some(report.critical_path_ms)).unwrap_or_default();
    let _ = write!(text, "critical path: {:.2}x", sequential / limit);
    text
}
