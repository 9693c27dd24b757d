//! `counterpoint blocktest`: Ethereum's block tests.

use counterpoint::cli::blocktest;

use crate::{replay::Status, suite};

/// Execute Ethereum's block tests in parallel: chains of whole blocks, and blocks that must be rejected.
///
/// Reads the `BlockchainTests` of ethereum/tests and the `blockchain_tests` of the execution-spec-tests. Exits with 0
/// if every case comes out as its file says, 1 if one does not, 2 if the usage or an input is bad.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    suite: suite::Arguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Status {
    suite::run(&arguments.suite, |file, executor, wanted| blocktest::run(file, &executor, wanted))
}
