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
use counterpoint_benches::{Knobs, Mix, Workload, generate};
use revm::primitives::hardfork::SpecId;

/// Writes a generated block, with the state before it, as a block file.
#[derive(Debug, Parser)]
#[command(name = "generate-block", version)]
struct Arguments {
    /// The file to write; compressed if the name ends in .gz.
    path: PathBuf,
    /// The kind of block: one of independent-transfers, same-sender, chained-transfers, independent-tokens,
    /// hot-recipient, one-pool, many-pools, defi.
    #[arg(long, default_value = "defi")]
    workload: Mix,
    /// Everything that is left to chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of transactions.
    #[arg(long, default_value_t = 1_800)]
    transactions: usize,
    /// How many accounts send.
    #[arg(long, default_value_t = 600)]
    accounts: usize,
    /// The number of tokens.
    #[arg(long, default_value_t = 8)]
    tokens: usize,
    /// The number of pools.
    #[arg(long, default_value_t = 12)]
    pools: usize,
    /// The share of the transactions, from 0 to 1, that goes to the hottest pool, token or recipient.
    #[arg(long, default_value_t = 0.3, value_parser = share)]
    hot: f64,
    /// Zipf's exponent for the choice among the others: 0 is uniform.
    #[arg(long, default_value_t = 0.8)]
    skew: f64,
    /// In chained-transfers, how many transactions a chain has; 0 for one chain in all.
    #[arg(long, default_value_t = 0)]
    chain: usize,
    /// The hard fork, by revm's name (London, Cancun, ...): contracts need Petersburg or later.
    #[arg(long, default_value = "Cancun")]
    spec: String,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

impl Arguments {
    fn build(&self) -> Result<Workload, String> {
        let spec: SpecId =
            self.spec.parse().map_err(|_| format!("no hard fork is called {:?}", self.spec))?;
        let &Self { seed, transactions, accounts, tokens, pools, hot, skew, chain, .. } = self;
        Ok(self.workload.build(&Knobs {
            seed,
            transactions,
            accounts,
            tokens,
            pools,
            hot,
            skew,
            chain,
            spec,
        }))
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let workload = arguments.build()?;
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
