//! What the fixtures' transactions are executed by: Counterpoint, or plain revm for comparison.

use std::sync::Arc;

use revm::database::BundleState;

use super::sequential::{Sequential, SequentialEngine, execute_sequential};
use crate::{
    Block, ExecuteError, Outcome, Runtime, TransactionOutcome,
    ethereum::{Engine, Executions},
    sources::overlay::SourceDatabase,
};

/// Executes blocks of fixtures.
#[derive(Clone, Copy, Debug)]
pub enum Executor<'a> {
    /// Counterpoint.
    Parallel(&'a Runtime),
    /// Sequential revm, as its users run it. Without EIP-7610, which it leaves out.
    Sequential,
}

/// What one of them gives.
#[derive(Debug)]
pub(super) enum Executed {
    Parallel(Outcome),
    Sequential(Sequential),
}

impl Executor<'_> {
    /// Executes a block's transactions.
    pub(super) fn execute(self, block: &Block) -> Result<Executed, ExecuteError> {
        match self {
            Self::Parallel(runtime) => runtime.execute(block).map(Executed::Parallel),
            Self::Sequential => {
                let source = SourceDatabase(Arc::clone(&block.source));
                let Block { env, cfg, transactions, mode, .. } = block;
                execute_sequential(env, cfg, transactions, &source, *mode, false).map(Executed::Sequential)
            }
        }
    }
}

impl Executed {
    pub(super) fn transactions(&self) -> &[TransactionOutcome] {
        match self {
            Self::Parallel(outcome) => &outcome.transactions,
            Self::Sequential(outcome) => &outcome.transactions,
        }
    }

    pub(super) fn bundle(&self) -> &BundleState {
        match self {
            Self::Parallel(outcome) => &outcome.bundle,
            Self::Sequential(outcome) => &outcome.bundle,
        }
    }
}

impl Engine for Executor<'_> {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        match self {
            Self::Parallel(runtime) => Engine::execute(*runtime, block),
            Self::Sequential => SequentialEngine.execute(block),
        }
    }
}
