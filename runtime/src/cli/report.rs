//! How a replayed block went, as a readable line or JSON, and how all of them went.

use std::{fmt, time::Duration};

use revm::primitives::hardfork::SpecId;
use serde::Serialize;

use super::header::HeaderChecks;
use crate::Statistics;

/// One replayed block.
#[derive(Clone, Debug)]
pub struct BlockReport {
    /// The block's number.
    pub block: u64,
    /// The hard fork it was executed under.
    pub spec: SpecId,
    /// How many transactions it has.
    pub transactions: usize,
    /// Gas that they used.
    pub gas_used: u64,
    /// Workers that the runtime has.
    pub workers: usize,
    /// How the results compare with the header; all `None` if they were not compared.
    pub header: HeaderChecks,
    /// How the outcome compares with sequential execution, if it was compared.
    pub sequential_equal: Option<bool>,
    /// Median time of sequential execution, if it was executed.
    pub sequential: Option<Duration>,
    /// Median time of parallel execution.
    pub parallel: Duration,
    /// Counts of the parallel execution whose time is the median.
    pub statistics: Statistics,
}

/// The fields of a line of JSON, in this order.
#[derive(Serialize)]
struct JsonLine {
    block: u64,
    transactions: usize,
    gas_used: u64,
    workers: usize,
    header: HeaderChecks,
    sequential_equal: Option<bool>,
    sequential_ms: Option<f64>,
    parallel_ms: f64,
    speedup: Option<f64>,
    incarnations: u64,
    parked: u64,
    resumed: u64,
    invalidated: u64,
}

impl BlockReport {
    /// How many times faster than sequential execution.
    pub fn speedup(&self) -> Option<f64> {
        let parallel = self.parallel.as_secs_f64();
        self.sequential.filter(|_| parallel > 0.0).map(|sequential| sequential.as_secs_f64() / parallel)
    }

    /// Whether nothing that was compared differs.
    pub fn agrees(&self) -> bool {
        self.sequential_equal != Some(false) && self.header.wrong().next().is_none()
    }

    /// The block as one line of JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&JsonLine {
            block: self.block,
            transactions: self.transactions,
            gas_used: self.gas_used,
            workers: self.workers,
            header: self.header,
            sequential_equal: self.sequential_equal,
            sequential_ms: self.sequential.map(milliseconds),
            parallel_ms: milliseconds(self.parallel),
            speedup: self.speedup(),
            incarnations: self.statistics.incarnations,
            parked: self.statistics.parked,
            resumed: self.statistics.resumed,
            invalidated: self.statistics.invalidated,
        })
    }

    fn verdict(&self) -> String {
        let sequential = match self.sequential_equal {
            Some(true) => "equal",
            Some(false) => "DIFFERS FROM SEQUENTIAL",
            None => "not compared",
        };
        let mut wrong = self.header.wrong().peekable();
        if wrong.peek().is_some() {
            return format!("{sequential}, HEADER DIFFERS: {}", wrong.collect::<Vec<_>>().join(", "));
        }
        let header = if self.header == HeaderChecks::default() { "" } else { ", header ok" };
        format!("{sequential}{header}")
    }
}

impl fmt::Display for BlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec: &str = self.spec.into();
        write!(
            f,
            "block {:>8}  {spec:<10} {:>5} tx {:>9} gas",
            self.block, self.transactions, self.gas_used
        )?;
        if let Some(sequential) = self.sequential {
            write!(f, "  sequential {:>8.3} ms", milliseconds(sequential))?;
        }
        write!(f, "  parallel {:>8.3} ms", milliseconds(self.parallel))?;
        if let Some(speedup) = self.speedup() {
            write!(f, "  {speedup:>5.2}x")?;
        }
        write!(f, "  {}", self.verdict())
    }
}

/// All replayed blocks together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    blocks: usize,
    differing: usize,
    transactions: usize,
    gas_used: u64,
    incarnations: u64,
    workers: usize,
    sequential: Duration,
    parallel: Duration,
    /// Sum of the speedups' logarithms, and how many there are.
    logarithms: (f64, usize),
    worst: Option<(f64, u64)>,
    most_executed: Option<(f64, u64)>,
}

impl Summary {
    /// Counts a block.
    pub fn add(&mut self, report: &BlockReport) {
        self.blocks += 1;
        self.differing += usize::from(!report.agrees());
        self.transactions += report.transactions;
        self.gas_used += report.gas_used;
        self.incarnations += report.statistics.incarnations;
        self.workers = report.workers;
        self.sequential += report.sequential.unwrap_or_default();
        self.parallel += report.parallel;
        if let Some(speedup) = report.speedup() {
            self.logarithms.0 += speedup.ln();
            self.logarithms.1 += 1;
            if self.worst.is_none_or(|(worst, _)| speedup < worst) {
                self.worst = Some((speedup, report.block));
            }
        }
        if report.transactions > 0 {
            let executions = report.statistics.incarnations as f64 / report.transactions as f64;
            if self.most_executed.is_none_or(|(most, _)| executions > most) {
                self.most_executed = Some((executions, report.block));
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<28}{value}");
        row("blocks", format!("{} ({} differ)", self.blocks, self.differing))?;
        row("transactions", self.transactions.to_string())?;
        row("gas", self.gas_used.to_string())?;
        row("workers", self.workers.to_string())?;
        if !self.sequential.is_zero() {
            row("sequential, total", format!("{:.3} ms", milliseconds(self.sequential)))?;
        }
        row("parallel, total", format!("{:.3} ms", milliseconds(self.parallel)))?;
        if let (logarithms, count @ 1..) = self.logarithms {
            let total = self.sequential.as_secs_f64() / self.parallel.as_secs_f64();
            row("speedup, total", format!("{total:.2}x"))?;
            row("speedup, geometric mean", format!("{:.2}x", (logarithms / count as f64).exp()))?;
        }
        if let Some((speedup, block)) = self.worst {
            row("speedup, worst", format!("{speedup:.2}x (block {block})"))?;
        }
        if let Some((most, block)) = self.most_executed {
            let mean = self.incarnations as f64 / self.transactions as f64;
            row("executions per transaction", format!("{mean:.3} (highest {most:.3}, block {block})"))?;
        }
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
