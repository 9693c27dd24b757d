//! What goes wrong when a source is read, with the key.

use std::{error::Error as StdError, time::Duration};

use counterpoint_state::Key;

/// Why a source has no answer to a key. In a [`SourceError`](crate::state::SourceError), from where
/// [`downcast_ref`](crate::state::SourceError::downcast_ref) gets it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What lies below the source failed.
    #[error("{key:?}: {cause}")]
    Failed {
        /// What was asked for.
        key: Key,
        /// The error of the database, the store or the node.
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// What lies below the source panicked.
    #[error("{key:?}: panicked: {message}")]
    Panicked {
        /// What was asked for.
        key: Key,
        /// The panic's message.
        message: String,
    },
    /// There was no answer in time.
    #[error("{key:?}: no answer in {after:?}")]
    TimedOut {
        /// What was asked for.
        key: Key,
        /// How long an attempt may take.
        after: Duration,
    },
    /// The answer was of another kind than the key.
    #[error("{key:?}: the answer is of another kind")]
    WrongAnswer {
        /// What was asked for.
        key: Key,
    },
    /// The source was shut down.
    #[error("{key:?}: the source was shut down")]
    Closed {
        /// What was asked for.
        key: Key,
    },
}

impl ReadError {
    /// What was asked for.
    pub fn key(&self) -> Key {
        match self {
            Self::Failed { key, .. }
            | Self::Panicked { key, .. }
            | Self::TimedOut { key, .. }
            | Self::WrongAnswer { key }
            | Self::Closed { key } => *key,
        }
    }
}
