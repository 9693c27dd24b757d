//! What can go wrong, with the exit codes that geth's tool has for it.

use std::{io, path::Path};

use counterpoint_state::{MissingError, SourceError};

use crate::{ExecuteError, ethereum::BlockError};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum T8nError {
    /// The block cannot be executed.
    #[error("{0}")]
    Evm(String),
    /// The environment lacks something, or the fork is not known.
    #[error("{0}")]
    Config(String),
    /// A transaction asks for a block's hash that is not in the environment.
    #[error("{0}")]
    MissingBlockHash(String),
    /// Input that is not the JSON that it should be.
    #[error("{what}: {cause}")]
    Json {
        /// Which input.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A file that cannot be read or written.
    #[error("{what}: {cause}")]
    Io {
        /// Which file.
        what: String,
        /// Why not.
        cause: io::Error,
    },
    /// Transactions that are not the RLP that they should be.
    #[error("txs: {0}")]
    Rlp(String),
}

impl T8nError {
    /// JSON that is wrong.
    pub fn json(what: &str, cause: impl ToString) -> Self {
        Self::Json { what: what.to_owned(), cause: cause.to_string() }
    }

    /// A file that cannot be read or written.
    pub fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io { what: path.display().to_string(), cause }
    }

    /// The command's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Evm(_) => 2,
            Self::Config(_) => 3,
            Self::MissingBlockHash(_) => 4,
            Self::Json { .. } => 10,
            Self::Io { .. } => 11,
            Self::Rlp(_) => 12,
        }
    }
}

impl From<BlockError> for T8nError {
    fn from(error: BlockError) -> Self {
        match &error {
            BlockError::Execute(ExecuteError::Source { cause, .. }) if is_missing_hash(cause) => {
                Self::MissingBlockHash(error.to_string())
            }
            _ => Self::Evm(error.to_string()),
        }
    }
}

fn is_missing_hash(error: &SourceError) -> bool {
    matches!(error.downcast_ref(), Some(MissingError::BlockHash(_)))
}
