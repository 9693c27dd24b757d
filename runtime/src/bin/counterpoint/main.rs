//! The `counterpoint` command.

mod bench;
mod blocktest;
mod inputs;
mod measure;
mod output;
mod replay;
mod run;
mod simulate;
mod statetest;
mod suite;
mod t8n;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// For both sides of every comparison: with the system's allocator, workers wait for each other's `free`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An actor-based parallel EVM.
#[derive(Debug, Parser)]
#[command(name = "counterpoint", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::Arguments),
    Bench(bench::Arguments),
    Simulate(simulate::Arguments),
    Statetest(statetest::Arguments),
    Blocktest(blocktest::Arguments),
    T8n(t8n::Arguments),
    Run(run::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Replay(arguments) => replay::run(&arguments).into(),
        Command::Bench(arguments) => bench::run(&arguments).into(),
        Command::Simulate(arguments) => simulate::run(&arguments).into(),
        Command::Statetest(arguments) => statetest::run(&arguments).into(),
        Command::Blocktest(arguments) => blocktest::run(&arguments).into(),
        Command::T8n(arguments) => t8n::run(&arguments),
        Command::Run(arguments) => run::run(&arguments).into(),
    }
}
