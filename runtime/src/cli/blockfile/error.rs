//! What can be wrong with a block file, and where.

use std::{fmt, io, path::PathBuf};

use revm::primitives::{Address, B256};

/// A block file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{problem}", path.display(), BlockPrefix(*.block))]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// The block's number, once that much was understood.
    pub block: Option<u64>,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
}

impl Error {
    pub(super) fn new(path: PathBuf, block: Option<u64>, problem: Problem) -> Self {
        Self { path, block, problem: Box::new(problem) }
    }
}

struct BlockPrefix(Option<u64>);

impl fmt::Display for BlockPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, "block {number}: "))
    }
}

/// What is wrong with a block file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// It begins like a gzip file and does not go on like one.
    #[error("truncated or corrupt gzip: {0}")]
    Gzip(io::Error),
    /// It unpacks to more than this many bytes.
    #[error("unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// It is JSON of another shape.
    #[error("not a block file: {0}")]
    Shape(serde_json::Error),
    /// A field of it is missing or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// A field that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{field}: {reason}")]
pub struct FieldError {
    /// The object that the field belongs to.
    pub place: Place,
    /// The field's name, with the way to it where it is nested.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// An object within a block file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file's outermost object.
    File,
    /// The `block` object.
    Header,
    /// A transaction, by its place in the block, from 0.
    Transaction(usize),
    /// A withdrawal, by its place in the block, from 0.
    Withdrawal(usize),
    /// An ommer, by its place in the block, from 0.
    Ommer(usize),
    /// An account in `preState`.
    Account(Address),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Header => f.write_str("header: "),
            Self::Transaction(index) => write!(f, "transaction {index}: "),
            Self::Withdrawal(index) => write!(f, "withdrawal {index}: "),
            Self::Ommer(index) => write!(f, "ommer {index}: "),
            Self::Account(address) => write!(f, "preState: account {address}: "),
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It is not there, and this hard fork needs it.
    #[error("missing, but {0} needs it")]
    MissingInFork(&'static str),
    /// It is of another JSON type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// It is not `0x` followed by hex digits.
    #[error("invalid hex {0:?}: expected 0x and hex digits")]
    Hex(String),
    /// Its hex digits do not make whole bytes.
    #[error("invalid hex {0:?}: odd number of digits")]
    OddHex(String),
    /// It has the wrong number of bytes.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// How many it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// It is a list of the wrong length.
    #[error("expected {expected} of them, found {found}")]
    Count {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// It is not the one that the block names.
    #[error("the block names {expected}, not {found}")]
    OtherHash {
        /// What the block says.
        expected: B256,
        /// What was found.
        found: B256,
    },
    /// It is a number that does not fit.
    #[error("{value:?} does not fit into {bits} bits")]
    Overflow {
        /// The number.
        value: String,
        /// How many bits there are for it.
        bits: usize,
    },
    /// A signature for another chain.
    #[error("signed for chain {signed}, and the transaction is for chain {named}")]
    OtherChain {
        /// The chain that the transaction names.
        named: u64,
        /// The chain in the signature.
        signed: u64,
    },
    /// No signature has this.
    #[error("{0}, which no signature has")]
    Parity(u64),
    /// There is no such transaction type.
    #[error("unknown transaction type {0}")]
    TransactionType(u64),
    /// Transactions of this type call; they cannot create a contract.
    #[error("missing: a transaction of type {0} cannot create a contract")]
    NoCreation(u8),
    /// The bytes are no code that an account can have.
    #[error("invalid code: {0}")]
    Code(String),
    /// No chain gets there, and the blob fee would not fit into a number.
    #[error("{0} is too large for a blob fee to exist")]
    BlobFee(u64),
}
