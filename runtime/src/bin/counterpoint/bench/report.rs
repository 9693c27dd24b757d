//! A workload's figures as rows of a table or as a line of JSON.

use std::{fmt::Write as _, time::Duration};

use counterpoint_benches::{Knobs, Mix};
use serde::Serialize;

use super::{
    Arguments,
    memory::Memory,
    runs::{Measured, Medians},
};

/// A workload's figures. Its fields are those of a line of JSON, in this order.
#[derive(Debug, Serialize)]
pub(super) struct WorkloadReport {
    workload: &'static str,
    /// As the options that they are.
    knobs: String,
    transactions: usize,
    /// Those of them that reverted or halted.
    failed: usize,
    gas_used: u64,
    repeat: u32,
    source_latency_us: Option<u32>,
    /// Whether every side's results and changeset were the same.
    equal: bool,
    sequential: Figures,
    parallel: Vec<Parallel>,
}

/// What both sides have.
#[derive(Debug, Serialize)]
struct Figures {
    ms: f64,
    gas_per_second: f64,
    cpu_seconds_per_gigagas: Option<f64>,
    peak_memory_bytes: Option<u64>,
}

/// What one number of workers has besides.
#[derive(Debug, Serialize)]
struct Parallel {
    workers: usize,
    #[serde(flatten)]
    figures: Figures,
    /// Sequential time by this time.
    speedup: f64,
    /// This processor time by the sequential one.
    cpu_ratio: Option<f64>,
    memory_ratio: Option<f64>,
    executions_per_transaction: f64,
    /// The share of executions that repeat an earlier one.
    reexecution_share: f64,
    /// Of the time: preparing, executing, merging and collecting.
    setup_ms: f64,
    execution_ms: f64,
    finish_ms: f64,
    incarnations: u64,
    /// Transactions that were executed one after the other, while nobody else worked.
    serial: u64,
    parked: u64,
    resumed: u64,
    invalidated: u64,
}

impl WorkloadReport {
    pub(super) fn new(
        mix: Mix,
        knobs: &Knobs,
        arguments: &Arguments,
        measured: Measured,
        memory: Option<Memory>,
    ) -> Self {
        let gas = measured.gas_used;
        let sequential = Figures::new(&measured.sequential, gas, memory.as_ref().map(|m| m.sequential));
        let transactions = measured.transactions;
        let parallel = measured.parallel.iter().enumerate().map(|(side, medians)| {
            let figures = Figures::new(medians, gas, memory.as_ref().map(|m| m.parallel[side]));
            let ratio = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs.filter(|t| *t > 0.0)?);
            let bytes = |figures: &Figures| figures.peak_memory_bytes.map(|bytes| bytes as f64);
            let statistics = &medians.statistics;
            Parallel {
                workers: statistics.workers,
                speedup: sequential.ms / figures.ms,
                cpu_ratio: ratio(figures.cpu_seconds_per_gigagas, sequential.cpu_seconds_per_gigagas),
                memory_ratio: ratio(bytes(&figures), bytes(&sequential)),
                executions_per_transaction: statistics.incarnations as f64 / transactions.max(1) as f64,
                reexecution_share: statistics.reexecution_share(transactions),
                incarnations: statistics.incarnations,
                serial: statistics.serial,
                setup_ms: statistics.setup.as_secs_f64() * 1e3,
                execution_ms: statistics.execution.as_secs_f64() * 1e3,
                finish_ms: statistics.finish.as_secs_f64() * 1e3,
                parked: statistics.parked,
                resumed: statistics.resumed,
                invalidated: statistics.invalidated,
                figures,
            }
        });
        Self {
            workload: mix.name(),
            knobs: knobs.options().join(" "),
            transactions,
            failed: measured.failed,
            gas_used: gas,
            repeat: arguments.repeat,
            source_latency_us: arguments.source_latency_us,
            equal: measured.difference.is_none(),
            parallel: parallel.collect(),
            sequential,
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl Figures {
    fn new(medians: &Medians, gas: u64, peak_memory_bytes: Option<u64>) -> Self {
        let giga = gas.max(1) as f64 / 1e9;
        // A time of zero would be a clock that stands still.
        let seconds = medians.elapsed.max(Duration::from_nanos(1)).as_secs_f64();
        Self {
            ms: seconds * 1e3,
            gas_per_second: gas as f64 / seconds,
            cpu_seconds_per_gigagas: medians.cpu.map(|cpu| cpu.as_secs_f64() / giga),
            peak_memory_bytes,
        }
    }
}

/// The table, row by row.
#[derive(Debug, Default)]
pub(super) struct Table {
    begun: bool,
    /// For each number of workers: the speed-ups so far.
    speedups: Vec<(usize, Vec<f64>)>,
}

impl Table {
    /// The rows of a workload: sequential first, then each number of workers.
    pub(super) fn rows(&mut self, report: &WorkloadReport) -> String {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            let columns = [
                "workload",
                "tx",
                "Mgas",
                "side",
                "ms",
                "speedup",
                "Mgas/s",
                "CPU s/Ggas",
                "peak MB",
                "exec/tx",
                "parked",
            ];
            row(&mut text, columns.map(str::to_owned));
        }
        let verdict = if report.equal { "" } else { "DIFFERS" };
        let first = [
            report.workload.to_owned(),
            report.transactions.to_string(),
            format!("{:.1}", report.gas_used as f64 / 1e6),
            "seq".to_owned(),
        ];
        row(&mut text, cells(first, verdict, &report.sequential, (None, None), Default::default()));
        for parallel in &report.parallel {
            let first = [String::new(), String::new(), String::new(), parallel.workers.to_string()];
            let speedup = format!("{:.2}x", parallel.speedup);
            let ratios = (parallel.cpu_ratio, parallel.memory_ratio);
            let last = [format!("{:.3}", parallel.executions_per_transaction), parallel.parked.to_string()];
            row(&mut text, cells(first, &speedup, &parallel.figures, ratios, last));
            match self.speedups.iter_mut().find(|(workers, _)| *workers == parallel.workers) {
                Some((_, speedups)) => speedups.push(parallel.speedup),
                None => self.speedups.push((parallel.workers, vec![parallel.speedup])),
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// What stands below several workloads.
    pub(super) fn summary(&self) -> Option<String> {
        let mut text = String::new();
        for (workers, speedups) in self.speedups.iter().filter(|(_, speedups)| speedups.len() > 1) {
            let count = speedups.len();
            let mean = (speedups.iter().map(|speedup| speedup.ln()).sum::<f64>() / count as f64).exp();
            let worst = speedups.iter().copied().fold(f64::INFINITY, f64::min);
            let (workers, plural) = (*workers, if *workers == 1 { "" } else { "s" });
            let _ = write!(
                text,
                "\n{workers} worker{plural}: speedup of {count} workloads, geometric mean {mean:.2}x, worst {worst:.2}x"
            );
        }
        (!text.is_empty()).then_some(text)
    }
}

fn cells(
    [workload, transactions, gas, workers]: [String; 4],
    speedup: &str,
    figures: &Figures,
    (cpu_ratio, memory_ratio): (Option<f64>, Option<f64>),
    [executions, parked]: [String; 2],
) -> [String; 11] {
    let with_ratio = |value: Option<String>, ratio: Option<f64>| match (value, ratio) {
        (Some(value), Some(ratio)) => format!("{value} {ratio:.2}x"),
        (Some(value), None) => value,
        (None, _) => "-".to_owned(),
    };
    let cpu = figures.cpu_seconds_per_gigagas.map(|cpu| format!("{cpu:.3}"));
    let memory = figures.peak_memory_bytes.map(|bytes| format!("{:.0}", bytes as f64 / 1e6));
    [
        workload,
        transactions,
        gas,
        workers,
        format!("{:.2}", figures.ms),
        speedup.to_owned(),
        format!("{:.0}", figures.gas_per_second / 1e6),
        with_ratio(cpu, cpu_ratio),
        with_ratio(memory, memory_ratio),
        executions,
        parked,
    ]
}

fn row(text: &mut String, cells: [String; 11]) {
    const WIDTHS: [usize; 10] = [6, 7, 4, 8, 7, 6, 11, 11, 7, 6];
    let _ = write!(text, "{:<23}", cells[0]);
    for (cell, width) in cells[1..].iter().zip(WIDTHS) {
        let _ = write!(text, " {cell:>width$}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}
