//! Why a service does not start, and why a job came to nothing.

use std::io;
#[cfg(feature = "ethereum")]
use std::sync::Arc;

use revm::primitives::{B256, U256};

use super::StoreFailure;
use crate::{ExecuteError, sources::Head};

/// Why a job came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The block could not be executed; of a whole block, this says nothing about its being valid.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The whole block is not valid, or what is around its transactions failed.
    #[cfg(feature = "ethereum")]
    #[error(transparent)]
    Block(Arc<crate::ethereum::BlockError>),
    /// The block does not follow the last one.
    #[error("block {number} does not follow block {}, the last one", head.number)]
    NotNext {
        /// The last block.
        head: Head,
        /// The block's number.
        number: u64,
    },
    /// The block follows another block of the last one's number.
    #[error("block {}: its parent is {parent}, and the last block is {}", head.number.saturating_add(1), head.hash)]
    OtherParent {
        /// The last block.
        head: Head,
        /// The hash of the block that it follows.
        parent: B256,
    },
    /// The block is to be committed under one number, and executed with another.
    #[error("block {number}: its environment has the number {environment}")]
    OtherNumber {
        /// The block's number.
        number: u64,
        /// Its environment's.
        environment: U256,
    },
    /// What came out is not what the job's [`check`](super::Job::check) expects.
    #[error("{0}")]
    Rejected(String),
    /// The store failed.
    #[error("store: {0}")]
    Store(StoreFailure),
    /// Something panicked on the way. The service goes on.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The mailbox is full ([`Service::try_commit`](super::Service::try_commit)).
    #[error("the mailbox is full")]
    Full,
    /// The service has stopped, or will before it comes to this.
    #[error("the service has stopped")]
    Stopped,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no actix [`System`](actix::System) on this thread.
    #[error("there is no actix system on this thread")]
    NoSystem,
    /// The system refused the thread.
    #[error("cannot start the service's thread: {0}")]
    Thread(#[source] io::Error),
}
