//! `generate-block`: writes a generated block, with the state before it, as a block file.
//!
//! ```text
//! cargo run --release -p counterpoint-benches --bin generate-block -- examples/defi-block.json.gz
//! ```
//!
//! The file has the format that `counterpoint replay` reads, compressed if its name ends in `.gz`. The same options
//! always give the same file. Options choose the workload and its knobs: see `--help`.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use counterpoint_benches::{KnobArguments, Knobs, Mix, generate};

/// Writes a generated block, with the state before it, as a block file.
#[derive(Debug, Parser)]
#[command(name = "generate-block", version)]
struct Arguments {
    /// The file to write; compressed if the name ends in .gz.
    path: PathBuf,
    /// The kind of block; `counterpoint bench --list` names them.
    #[arg(long, value_name = "NAME", default_value = "defi")]
    workload: Mix,
    #[command(flatten)]
    knobs: KnobArguments,
}

impl Arguments {
    /// The knobs; without options those of the block in `examples/`.
    fn knobs(&self) -> Knobs {
        let mut knobs = self.knobs.clone();
        knobs.seed.get_or_insert(1);
        if knobs.gas.is_none() && knobs.transactions.is_none() {
            knobs.transactions = Some(1_800);
            knobs.accounts.get_or_insert(600);
        }
        knobs.knobs(self.workload)
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let workload = arguments.workload.build(&arguments.knobs());
    let file = generate::block_file(&workload).map_err(|error| error.to_string())?;
    generate::write(&arguments.path, &file)
        .map_err(|error| format!("{}: {error}", arguments.path.display()))?;
    let gas = &file["block"]["gasUsed"].as_str().unwrap_or_default()[2..];
    let gas = u64::from_str_radix(gas, 16).unwrap_or_default();
    println!(
        "{}: {} transactions, {:.1} Mgas",
        arguments.path.display(),
        workload.transactions.len(),
        gas as f64 / 1e6
    );
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
