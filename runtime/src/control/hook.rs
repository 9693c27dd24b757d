//! The hook: what is called, in order, with every transaction that becomes final.

use std::{error::Error as StdError, sync::Arc};

use counterpoint_actors::contain;
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
/// It is dropped when the block ends, before `execute_with` returns: who receives what it sends sees the end. If that panics,
/// it counts as a panic at the last transaction, unless the block has failed already.
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

/// A hook while its block executes: what panics in it is contained, its end included.
pub(crate) struct Follower {
    hook: Option<Box<dyn Hook>>,
    /// The last transaction that it was told of.
    last: usize,
}

impl Follower {
    pub(crate) fn new(hook: Box<dyn Hook>) -> Self {
        Self { hook: Some(hook), last: 0 }
    }

    /// Calls the hook.
    pub(crate) fn tell(&mut self, transaction: Finalized<'_>) -> Result<(), ExecuteError> {
        let index = transaction.index;
        self.last = index;
        let Some(hook) = &mut self.hook else { return Ok(()) };
        let cause = match contain(|| hook.finalized(transaction)) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => HookFailure::Refused(Arc::from(error)),
            Err(message) => HookFailure::Panicked(message),
        };
        Err(ExecuteError::Hook { index, cause })
    }

    /// Drops the hook.
    pub(crate) fn leave(mut self) -> Result<(), ExecuteError> {
        self.end()
            .map_err(|message| ExecuteError::Hook { index: self.last, cause: HookFailure::Panicked(message) })
    }

    fn end(&mut self) -> Result<(), String> {
        let hook = self.hook.take();
        contain(|| drop(hook))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The block failed before: that is what counts.
        let _ = self.end();
    }
}
