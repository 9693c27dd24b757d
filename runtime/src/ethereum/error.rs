//! Why a block is not valid.

use std::fmt;

use alloy_evm::block::BlockExecutionError;
use alloy_primitives::Bloom;
use counterpoint_state::SourceError;
use revm::{
    context::result::InvalidTransaction,
    primitives::{Address, B256, U256},
};

use super::DecodeError;
use crate::{ExecuteError, allowance::Misfit};

/// Why a block cannot be part of the chain, or could not be executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes are no block.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The header contradicts its parent or the rules.
    #[error("header: {0}")]
    Header(#[from] HeaderError),
    /// The body contradicts the header or the rules.
    #[error("body: {0}")]
    Body(#[from] BodyError),
    /// A transaction cannot be where it is.
    #[error("transaction {index}: {cause}")]
    Transaction {
        /// Its place in the block, from 0.
        index: usize,
        /// Why not.
        cause: TransactionError,
    },
    /// A system call or a request fails.
    #[error("requests: {0}")]
    Request(#[from] RequestError),
    /// What the header says of the results is not what they are.
    #[error("{0}")]
    Results(Box<Results>),
    /// The block could not be executed, which says nothing about its being valid.
    #[error(transparent)]
    Execute(ExecuteError),
    /// What comes before or after the transactions failed for a reason that is not the block's: the source, mostly.
    #[error("{phase}: {cause}")]
    Outside {
        /// What was done.
        phase: Phase,
        /// What went wrong: the source's own error where it was that.
        cause: SourceError,
    },
}

/// A part of executing a block that is not its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// What happens before the transactions: system calls, and the change of balances at the DAO fork.
    Before,
    /// The system calls after the transactions.
    Requests,
    /// Withdrawals and rewards.
    Balances,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before the transactions",
            Self::Requests => "requests after the transactions",
            Self::Balances => "withdrawals and rewards",
        })
    }
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It follows another block.
    #[error("its parent is {got}, not {expected}")]
    Parent {
        /// The hash of the block before.
        expected: B256,
        /// The header's.
        got: B256,
    },
    /// Its number is not the parent's plus one.
    #[error("number {got} follows {parent}")]
    Number {
        /// The parent's.
        parent: u64,
        /// The header's.
        got: u64,
    },
    /// It is not later than the parent.
    #[error("timestamp {got} is not after its parent's {parent}")]
    Timestamp {
        /// The parent's.
        parent: u64,
        /// The header's.
        got: u64,
    },
    /// The gas limit is too small, or too far from the parent's.
    #[error("gas limit {got} after {parent}")]
    GasLimit {
        /// The parent's.
        parent: u64,
        /// The header's.
        got: u64,
    },
    /// The gas limit is over 2^63 - 1.
    #[error("gas limit {0} is too large")]
    GasLimitTooLarge(u64),
    /// More gas was used than there is.
    #[error("gas used {used} is over the limit {limit}")]
    GasUsedOverLimit {
        /// The header's gas used.
        used: u64,
        /// Its gas limit.
        limit: u64,
    },
    /// The extra data is too long.
    #[error("{0} bytes of extra data are too many")]
    ExtraDataTooLong(usize),
    /// The ten blocks from the DAO fork on say so in their extra data, and these do not.
    #[error("the extra data is not that of the DAO fork")]
    ExtraDataNotDao,
    /// The base fee is not what follows from the parent.
    #[error("base fee {got} is not {expected}")]
    BaseFee {
        /// What follows.
        expected: u64,
        /// The header's.
        got: u64,
    },
    /// The difficulty is not what follows from the parent.
    #[error("difficulty {got} is not {expected}")]
    Difficulty {
        /// What follows.
        expected: U256,
        /// The header's.
        got: U256,
    },
    /// A block without proof of work has a difficulty.
    #[error("difficulty {0} after the merge")]
    DifficultyAfterMerge(U256),
    /// A block without proof of work has a nonce.
    #[error("a nonce after the merge")]
    NonceAfterMerge,
    /// A block without proof of work has ommers.
    #[error("ommers after the merge")]
    OmmersAfterMerge,
    /// A field that these rules demand is not there.
    #[error("no {0}")]
    Missing(&'static str),
    /// A field that these rules do not know is there.
    #[error("{0} before its fork")]
    Unexpected(&'static str),
    /// The blob gas is no multiple of a blob's, or too much.
    #[error("blob gas used {0} is not possible")]
    BlobGasUsed(u64),
    /// The excess blob gas is not what follows from the parent.
    #[error("excess blob gas {got} is not {expected}")]
    ExcessBlobGas {
        /// What follows.
        expected: u64,
        /// The header's.
        got: u64,
    },
}

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The transactions are not those that the header means.
    #[error("transactions root {got} is not {expected}")]
    TransactionsRoot {
        /// The header's.
        expected: B256,
        /// The body's.
        got: B256,
    },
    /// The ommers are not those that the header means.
    #[error("ommers hash {got} is not {expected}")]
    OmmersHash {
        /// The header's.
        expected: B256,
        /// The body's.
        got: B256,
    },
    /// The withdrawals are not those that the header means.
    #[error("withdrawals root {got} is not {expected}")]
    WithdrawalsRoot {
        /// The header's.
        expected: B256,
        /// The body's.
        got: B256,
    },
    /// There are no withdrawals where there must be a list, or a list where there must be none.
    #[error("withdrawals do not belong to the fork")]
    Withdrawals,
    /// The blobs' gas is not what the header says.
    #[error("blob gas used {got} is not {expected}")]
    BlobGasUsed {
        /// The header's.
        expected: u64,
        /// The transactions'.
        got: u64,
    },
    /// There are more blobs than a block may have.
    #[error("blob gas {got} is over the limit {limit}")]
    TooManyBlobs {
        /// The most there may be.
        limit: u64,
        /// The transactions'.
        got: u64,
    },
    /// The block is too large (EIP-7934).
    #[error("{0} bytes are too many")]
    TooLarge(usize),
    /// There are too many ommers.
    #[error("{0} ommers are too many")]
    TooManyOmmers(usize),
    /// An ommer is an ancestor of the block.
    #[error("ommer {0} is an ancestor")]
    OmmerIsAncestor(B256),
    /// An ommer was included before, or twice.
    #[error("ommer {0} was included before")]
    OmmerTwice(B256),
    /// An ommer's parent is not an ancestor within six generations, or is the block's own parent.
    #[error("ommer {0} is not of the family")]
    OmmerUnrelated(B256),
    /// An ommer's own header is not valid.
    #[error("ommer {hash}: {cause}")]
    Ommer {
        /// Its hash.
        hash: B256,
        /// What is wrong with it.
        cause: HeaderError,
    },
}

/// Why a transaction cannot be where it is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The signature is nobody's, or not allowed under the rules.
    #[error("invalid signature")]
    Signature,
    /// It names a chain, which nobody could before Spurious Dragon.
    #[error("a chain id before EIP-155")]
    ChainIdTooEarly,
    /// The block has less gas left than the transaction may use.
    #[error("gas limit {limit} is over the {left} that the block has left")]
    GasAllowance {
        /// The transaction's limit.
        limit: u64,
        /// What is left.
        left: u64,
    },
    /// The block has less blob gas left than the transaction uses.
    #[error("blob gas {needed} is over the {left} that the block has left")]
    BlobAllowance {
        /// The transaction's.
        needed: u64,
        /// What is left.
        left: u64,
    },
    /// revm's reason.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
}

impl From<Misfit> for TransactionError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Gas { limit, left } => Self::GasAllowance { limit, left },
            Misfit::Blobs { needed, left } => Self::BlobAllowance { needed, left },
        }
    }
}

/// Why the requests of a block cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The contract that a system call calls is not there.
    #[error("no system contract at {0}")]
    NoContract(Address),
    /// A system call fails.
    #[error("{0}")]
    CallFailed(String),
    /// A deposit's log is not that of the deposit contract.
    #[error("a deposit's log is not laid out as it should")]
    DepositLayout,
}

/// What the header says of the results, and what they are, where the two differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Gas used.
    pub gas_used: Option<(u64, u64)>,
    /// The logs' filter.
    pub logs_bloom: Option<(Bloom, Bloom)>,
    /// The root of the receipts.
    pub receipts_root: Option<(B256, B256)>,
    /// The hash of the requests.
    pub requests_hash: Option<(B256, B256)>,
    /// The root of the state.
    pub state_root: Option<(B256, B256)>,
}

impl std::fmt::Display for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        let mut field = |name: &str, values: Option<(String, String)>| match values {
            Some((header, got)) => {
                write!(f, "{separator}{name} is {got}, not {header} as the header says")?;
                separator = "; ";
                Ok(())
            }
            None => Ok(()),
        };
        let hashes = |pair: Option<(B256, B256)>| pair.map(|(a, b)| (a.to_string(), b.to_string()));
        field("gas used", self.gas_used.map(|(a, b)| (a.to_string(), b.to_string())))?;
        field("logs bloom", self.logs_bloom.map(|(a, b)| (a.to_string(), b.to_string())))?;
        field("receipts root", hashes(self.receipts_root))?;
        field("requests hash", hashes(self.requests_hash))?;
        field("state root", hashes(self.state_root))
    }
}

impl From<ExecuteError> for BlockError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::InvalidTransaction { index, cause } => {
                Self::Transaction { index, cause: TransactionError::Invalid(cause) }
            }
            other => Self::Execute(other),
        }
    }
}

impl BlockError {
    pub(super) fn outside(phase: Phase, cause: String) -> Self {
        Self::Outside { phase, cause: SourceError::new(cause) }
    }

    /// What alloy-evm's own code says in this phase.
    pub(super) fn in_phase(phase: Phase, error: BlockExecutionError) -> Self {
        match error {
            BlockExecutionError::Validation(cause) => {
                Self::Request(RequestError::CallFailed(cause.to_string()))
            }
            BlockExecutionError::Internal(cause) => Self::outside(phase, cause.to_string()),
        }
    }
}
