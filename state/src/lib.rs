//! Counterpoint's versioned state map.
//!
//! A block's state is split into *cells*: an account's lifecycle, code, nonce and balance, and each storage
//! slot. Every cell holds *versions*, one for each transaction that wrote it: a value, a delta that commutes,
//! or an *estimate* that says "this transaction will probably write here". A read at an index finds the
//! highest version below it, or what has to be waited for. The crate knows values and indices; it knows
//! nothing of the EVM or of actors.
//!
//! Index 0 is what comes before the block's first transaction; the transactions have the indices from 1 on.
//!
//! | module | protocol |
//! |---|---|
//! | [`waiting`] | one word: something, or who waits for it |
//! | [`version`] | one word per version: publish, estimate, retract |
//! | [`base`] | what was there before the block: one request for each key |
//! | [`chain`] | a cell's sorted versions |
//! | [`index`] | from keys to cells |
//! | [`readers`] | who read a cell, against who writes it |
//! | [`transaction`] | the transaction word: who may touch a transaction |
//! | [`frontier`] | moving the frontier in order |
//! | [`event`] | idle workers against new work |
//! | [`cache`] | what outlives the block, within a budget |
//!
//! Everything that is atomic comes through [`sync`], which is loom's under `--cfg loom`.

pub mod account;
pub mod arena;
pub mod base;
mod bundle;
pub mod cache;
pub mod chain;
pub mod changeset;
pub mod event;
pub mod frontier;
pub mod index;
pub mod prefix;
pub mod readers;
pub mod request;
pub mod slot;
pub mod source;
pub mod sync;
pub mod transaction;
pub mod version;
pub mod waiting;

pub use account::{AccountCells, AccountView, Code, Lifecycle, NotReady};
pub use arena::Arena;
pub use base::{Base, Failure, Known};
pub use bundle::Bundling;
pub use cache::Cache;
pub use chain::Chain;
pub use changeset::{Changes, Changeset};
pub use event::EventCount;
pub use frontier::Frontier;
pub use index::Index;
pub use prefix::Prefix;
pub use readers::{Fields, Reader, Readers};
pub use request::{Answer, DeferredSource, DroppedError, Key, Request, WrongAnswerError};
pub use slot::{SlotCell, SlotView};
pub use source::{MemorySource, MissingError, SourceError, StateSource};
pub use transaction::{Invalidated, Phase, Snapshot, TransactionWord};
pub use version::{Displaced, Entry, Version, VersionWord};
pub use waiting::{WaitWord, Waiter, Waiters};
