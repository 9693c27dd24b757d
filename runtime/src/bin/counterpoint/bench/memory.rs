//! Peak memory: each side executes the workload once in a process of its own.
//!
//! There the allocator gives back what is freed at once, so that what building the block took is not counted, nor what
//! the other side left. The peak is the highest resident memory of the process while the block executes: block,
//! state before it, results and all.

use std::{env, fmt, io, process::Command, str::FromStr};

use counterpoint_benches::{Knobs, Mix};

use super::{Arguments, latency, runs::Subject, runtime, usage};
use crate::{output::Output, replay::Status};

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Sequential,
    Workers(usize),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequential => f.write_str("sequential"),
            Self::Workers(workers) => write!(f, "{workers}"),
        }
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sequential" => Ok(Self::Sequential),
            workers => workers.parse().map(Self::Workers).map_err(|error| error.to_string()),
        }
    }
}

/// Peak memory of every side, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) sequential: u64,
    /// For each number of workers.
    pub(super) parallel: Vec<u64>,
}

/// Has every side execute the workload in a process of its own.
pub(super) fn measure(
    mix: Mix,
    knobs: &Knobs,
    workers: &[usize],
    arguments: &Arguments,
) -> io::Result<Memory> {
    let of = |side| measure_side(side, mix, knobs, arguments);
    Ok(Memory {
        sequential: of(Side::Sequential)?,
        parallel: workers.iter().map(|workers| of(Side::Workers(*workers))).collect::<io::Result<_>>()?,
    })
}

fn measure_side(side: Side, mix: Mix, knobs: &Knobs, arguments: &Arguments) -> io::Result<u64> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["bench", "--workload", mix.name()]).args(knobs.options());
    command.arg(format!("--memory-of={side}"));
    if let Some(latency) = arguments.source_latency_us {
        command.arg(format!("--source-latency-us={latency}"));
    }
    if let Some(prefix) = arguments.serial_prefix {
        command.arg(format!("--serial-prefix={prefix}"));
    }
    // For jemalloc under the name that its crate gives it.
    command.env("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0");
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| io::Error::other(format!("the other process says {text:?}")))
}

/// In the process of its own: executes the workload once and prints the peak, in bytes.
pub(super) fn print(side: Side, mixes: &[Mix], arguments: &Arguments) -> io::Result<Status> {
    let [mix] = mixes else { return Err(io::Error::other("one workload is needed")) };
    let subject = Subject::new(*mix, &arguments.knobs.knobs(*mix), latency(arguments))?;
    let runtime = match side {
        Side::Sequential => None,
        Side::Workers(workers) => Some(runtime(workers, arguments).map_err(io::Error::other)?),
    };
    usage::reset_peak_memory()?;
    match runtime {
        None => subject.run_sequential(),
        Some(runtime) => runtime.execute(&subject.block).map(drop),
    }
    .map_err(io::Error::other)?;
    Output::new(0, false).line(usage::peak_memory()?)?;
    Ok(Status::Agrees)
}
