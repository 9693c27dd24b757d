//! What comes out of executing a block.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use counterpoint_state::SourceError;
use revm::{
    context::result::{ExecutionResult, InvalidHeader, InvalidTransaction},
    database::BundleState,
    state::EvmState,
};

/// The committed result of a block.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// One entry per transaction, in order.
    pub transactions: Vec<TransactionOutcome>,
    /// The block's net state changes with their reverts, as sequential revm's
    /// [`State`](revm::database::State) gives them.
    pub bundle: BundleState,
    /// Gas that the block's executed transactions used, in gas.
    pub gas_used: u64,
    /// How it went.
    pub statistics: Statistics,
    /// With [`Builder::keep_states`](crate::Builder::keep_states): what each transaction changed.
    pub states: Vec<EvmState>,
}

/// The fate of one transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionOutcome {
    /// It was included.
    Executed(ExecutionResult),
    /// It is invalid at its place in the block and was left out ([`Mode::Build`](crate::Mode::Build) only).
    Skipped(InvalidTransaction),
}

impl TransactionOutcome {
    /// The result, if the transaction was included.
    pub fn result(&self) -> Option<&ExecutionResult> {
        match self {
            Self::Executed(result) => Some(result),
            Self::Skipped(_) => None,
        }
    }
}

/// Why a block was not executed. Nothing of it is committed; the runtime stays usable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// A transaction is invalid at its place in the block ([`Mode::Verify`](crate::Mode::Verify)).
    #[error("transaction {index} is invalid: {cause}")]
    InvalidTransaction {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// Why it cannot be included.
        cause: InvalidTransaction,
    },
    /// The block environment lacks what the hard fork needs.
    #[error("block environment is invalid: {0}")]
    InvalidHeader(InvalidHeader),
    /// The state source failed on a key that a transaction needs.
    #[error("transaction {index}: state source failed: {cause}")]
    Source {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// The source's error.
        cause: SourceError,
    },
    /// Executing a transaction failed for a reason that is not the transaction's own.
    #[error("transaction {index}: execution failed: {message}")]
    Execution {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// What revm reported.
        message: String,
    },
    /// The code that executed a transaction panicked (revm, a precompile, or the state source).
    #[error("transaction {index}: panicked: {message}")]
    Panic {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// The panic's message.
        message: String,
    },
    /// The hook refused the transaction, or panicked.
    #[error("transaction {index}: hook failed: {cause}")]
    Hook {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// What it said.
        cause: HookFailure,
    },
    /// The block's [`CancelToken`](crate::CancelToken) was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The block was not finished at its [deadline](crate::Control::deadline).
    #[error("the deadline is over")]
    DeadlineExceeded,
    /// A part of the runtime outside a transaction's execution panicked: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ExecuteError {
    /// The place of the transaction that it names.
    pub(crate) fn index_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::InvalidTransaction { index, .. }
            | Self::Source { index, .. }
            | Self::Execution { index, .. }
            | Self::Panic { index, .. }
            | Self::Hook { index, .. } => Some(index),
            Self::InvalidHeader(_) | Self::Cancelled | Self::DeadlineExceeded | Self::Internal(_) => None,
        }
    }

    /// The same of some of a block's transactions, `places` of them, as it is of the block.
    pub(crate) fn among(mut self, places: impl Fn(usize) -> Option<usize>) -> Self {
        if let Some(index) = self.index_mut() {
            *index = places(*index).unwrap_or(*index);
        }
        self
    }
}

/// How a [`Hook`](crate::Hook) failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookFailure {
    /// It returned an error.
    #[error("{0}")]
    Refused(Arc<dyn StdError + Send + Sync>),
    /// It panicked.
    #[error("panicked: {0}")]
    Panicked(String),
}

/// Counts and times of one block's execution.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Workers that the runtime may use, the calling thread included.
    pub workers: usize,
    /// Attempts at executing a transaction: at least one per transaction.
    pub incarnations: u64,
    /// Transactions that ran one after the other on the calling thread.
    pub serial: u64,
    /// Times that a fiber was parked.
    pub parked: u64,
    /// Times that a parked fiber was resumed.
    pub resumed: u64,
    /// Of these, times that it had run on another worker before.
    pub migrated: u64,
    /// Times that a fiber could not go on without an account that an earlier transaction was about to write. A little
    /// more than what it was parked for: what it needs may come before it is.
    pub account_waits: u64,
    /// The same for storage slots.
    pub slot_waits: u64,
    /// The same for answers of the source.
    pub source_waits: u64,
    /// Times that a transaction was left until all before it were final: it was misled before, or there was no fiber.
    pub deferrals: u64,
    /// The most fibers in flight.
    pub fibers: u64,
    /// The most transactions that were ready in one worker's queue.
    pub ready: u64,
    /// Transactions that began before all before them were final.
    pub ahead: u64,
    /// Times that a transaction had read something too early and was invalidated.
    pub invalidated: u64,
    /// Messages between actors.
    pub hops: u64,
    /// Those of them that were handled where they were sent, without a queue.
    pub inline_hops: u64,
    /// Keys that a source was asked for that answers later, ahead or when they were needed.
    pub requests: u64,
    /// Transactions that ran on a worker's own stack, without a fiber.
    pub fiberless: u64,
    /// Estimates entered by prediction.
    pub predicted: u64,
    /// Preparing what executes transactions in parallel.
    pub setup: Duration,
    /// From the first transaction's begin to the last one's commit.
    pub execution: Duration,
    /// Merging the changeset and collecting the results.
    pub finish: Duration,
}

impl Statistics {
    /// So many transactions ran one after the other, and took so long.
    pub(crate) fn add_serial(&mut self, transactions: usize, time: Duration) {
        self.serial += transactions as u64;
        self.incarnations += transactions as u64;
        self.fiberless += transactions as u64;
        self.execution += time;
    }

    /// The share of incarnations that repeat an earlier one, from 0 to 1.
    pub fn reexecution_share(&self, transactions: usize) -> f64 {
        if self.incarnations == 0 {
            return 0.0;
        }
        self.incarnations.saturating_sub(transactions as u64) as f64 / self.incarnations as f64
    }
}
