//! Whole Ethereum blocks, from Frontier on: what happens before, around and after the transactions.
//!
//! [`execute`] makes the system calls, runs the transactions on an [`Engine`] (such as a
//! [`Runtime`](crate::Runtime)), and applies withdrawals, requests and rewards. [`import`] does that with a block
//! of a chain: it validates the header and the body before, and compares the results with the header after.
//! [`StateTrie`] gives state roots. The rules come from alloy-evm and alloy-consensus; [`Rules`] says which of
//! them are in force.
//!
//! Not part of it is what execution does not need: proof of work, and which of several chains counts.

mod ahead;
mod ancestors;
mod body;
mod decode;
mod difficulty;
mod engine;
mod error;
mod execute;
mod executor;
mod header;
mod import;
mod outside;
mod requests;
mod rules;
mod senders;
mod trie;

pub use ancestors::Ancestor;
pub use body::validate_body;
pub use decode::{DecodeError, Part, decode_block};
#[cfg(feature = "cli")]
pub(crate) use difficulty::difficulty;
pub use engine::{Engine, Executions};
pub use error::{BlockError, BodyError, HeaderError, Phase, RequestError, Results, TransactionError};
pub use execute::{ExecutedBlock, Ommer, RootAfter, WholeBlock, execute};
pub use executor::{ParallelBlockExecutor, ParallelBlockExecutorFactory};
#[cfg(feature = "cli")]
pub(crate) use header::next_excess_blob_gas;
pub use header::validate_header;
pub use import::{Imported, environment, import};
pub use rules::Rules;
pub use senders::recover;
#[cfg(feature = "cli")]
pub(crate) use senders::sender;
pub use trie::StateTrie;

/// A block of mainnet's transaction types, as it is gossiped and stored: blobs stay outside.
pub type Block = alloy_consensus::Block<Transaction>;

/// A signed transaction of any type.
pub type Transaction = alloy_consensus::EthereumTxEnvelope<alloy_consensus::TxEip4844>;
