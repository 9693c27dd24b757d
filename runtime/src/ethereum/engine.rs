//! What executes a block's transactions: Counterpoint, or whatever it is compared with.

use revm::state::EvmState;

use crate::{Block, Control, ExecuteError, Runtime, TransactionOutcome};

/// Executes transactions in order.
pub trait Engine {
    /// Executes the block's transactions on its source.
    ///
    /// # Errors
    ///
    /// As [`Runtime::execute`].
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError>;
}

/// What an [`Engine`] gives, transaction by transaction.
#[derive(Debug)]
pub struct Executions {
    /// What became of each.
    pub transactions: Vec<TransactionOutcome>,
    /// What each changed; nothing where it was skipped.
    pub states: Vec<EvmState>,
}

impl Engine for Runtime {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        let outcome = self.execute_keeping(block, true, Control::new())?;
        Ok(Executions { transactions: outcome.transactions, states: outcome.states })
    }
}

impl<E: Engine + ?Sized> Engine for &E {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        (**self).execute(block)
    }
}
