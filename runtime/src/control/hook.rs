//! The hook: what is called, in order, with every transaction that becomes final.

use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use counterpoint_actors::panic_message;
use revm::state::EvmState;

use crate::{ExecuteError, HookFailure, TransactionOutcome};

/// Why a [`Hook`] stops the block.
pub type HookError = Box<dyn StdError + Send + Sync>;

/// A transaction whose result will not change any more.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Finalized<'a> {
    /// Its place in the block, from 0.
    pub index: usize,
    /// Its result, or why it was left out.
    pub outcome: &'a TransactionOutcome,
    /// What it changed, with the fee; nothing if it was left out.
    pub state: &'a EvmState,
    /// Gas that the block's transactions used up to this one, with it.
    pub gas_used: u64,
}

/// Follows a block: called with each transaction as it becomes final, in the block's order, one at a time.
///
/// It is called by whichever worker commits, while the others execute: what takes long belongs on another thread, with a
/// channel between. An error or a panic ends the block with [`ExecuteError::Hook`], and nothing of it is committed. The
/// block can still fail after the hook has heard of some of its transactions: these count only if `execute_with`
/// returns the outcome.
///
/// It is dropped when the block ends, before `execute_with` returns: who receives what it sends sees the end.
pub trait Hook: Send {
    /// The transaction is final.
    ///
    /// # Errors
    ///
    /// Whatever the host finds wrong with it. The block ends.
    fn finalized(&mut self, transaction: Finalized<'_>) -> Result<(), HookError>;
}

impl<F: FnMut(Finalized<'_>) -> Result<(), HookError> + Send> Hook for F {
    fn finalized(&mut self, transaction: Finalized<'_>) -> Result<(), HookError> {
        self(transaction)
    }
}

/// Calls the hook, contained.
pub(crate) fn tell(hook: &mut dyn Hook, transaction: Finalized<'_>) -> Result<(), ExecuteError> {
    let index = transaction.index;
    let cause = match catch_unwind(AssertUnwindSafe(|| hook.finalized(transaction))) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => HookFailure::Refused(Arc::from(error)),
        Err(panic) => HookFailure::Panicked(panic_message(&*panic)),
    };
    Err(ExecuteError::Hook { index, cause })
}
