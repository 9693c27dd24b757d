//! What goes wrong with the store.

use std::{io, path::PathBuf};

use revm::{database_interface::DBErrorMarker, primitives::B256};

use crate::sources::Head;

/// What goes wrong with a [`RedbStore`](super::RedbStore).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("{}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: Box<redb::Error>,
    },
    /// The file was written by something else, or another version of this.
    #[error("{}: the format is {found:?}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format.
        found: String,
    },
    /// The file is a redb database of something else.
    #[error("{}: a database of something else", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// redb panicked, as it does over a file that is damaged in some ways.
    #[error("redb panicked: {0}")]
    Panicked(String),
    /// redb failed.
    #[error("redb: {0}")]
    Redb(Box<redb::Error>),
    /// The note of the last block is not one.
    #[error("the note of the last block is damaged")]
    Head,
    /// The store has no state yet.
    #[error("the store is empty: a state has to be imported first")]
    Empty,
    /// The store has a state already.
    #[error("the store is at block {} already", .0.number)]
    NotEmpty(Head),
    /// The block does not follow the last one.
    #[error("block {number} does not follow block {}, the last one", head.number)]
    NotNext {
        /// The last block.
        head: Head,
        /// The block's number.
        number: u64,
    },
    /// An account's code is not there.
    #[error("no code with hash {0}")]
    NoCode(B256),
    /// The hash of a block is not there, or not known.
    #[error("no hash of block {0}")]
    NoBlockHash(u64),
    /// A genesis file cannot be read.
    #[error("{}: {cause}", path.display())]
    GenesisFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A genesis file is not one.
    #[error("{}: {cause}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
}

impl DBErrorMarker for StoreError {}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);
