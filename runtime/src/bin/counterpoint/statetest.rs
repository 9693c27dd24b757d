//! `counterpoint statetest`: Ethereum's state tests.

use counterpoint::cli::statetest;

use crate::{replay::Status, suite};

/// Execute Ethereum's state tests in parallel, and compare state roots, logs and exceptions with what they say.
///
/// Reads the `GeneralStateTests` of ethereum/tests and the `state_tests` of the execution-spec-tests. Exits with 0 if
/// every case comes out as its file says, 1 if one does not, 2 if the usage or an input is bad.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    suite: suite::Arguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Status {
    suite::run(&arguments.suite, statetest::run)
}
