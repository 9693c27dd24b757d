//! Where state comes from, and what is kept of it from block to block.
//!
//! | source | over | answers |
//! |---|---|---|
//! | [`MemorySource`](crate::state::MemorySource) | maps in memory | at once |
//! | [`BlockingSource`] | any `DatabaseRef` of revm | later, from a small pool of threads |
//! | `Batched` (feature `async`) | an `AsyncSource`; through it revm's `DatabaseAsyncRef` and `DatabaseAsync` | later, from a tokio runtime |
//! | `RpcSource` (feature `rpc`) | a node's JSON-RPC | later, in batches |
//! | `RedbSnapshot` (feature `redb`) | a store on disk | at once; later inside a [`BlockingSource`] |
//! | [`CachedSource`] | any of these, with a [`HotState`] | what it knows at once, the rest as they do |
//!
//! Those that answer later ask for a key once, however many blocks and fibers want it at the same time, and answer with a
//! [`ReadError`] that names the key where they cannot.

#[cfg(feature = "async")]
mod batched;
mod blocking;
#[cfg(feature = "async")]
mod database;
mod error;
mod head;
mod hot;
pub(crate) mod overlay;
mod pending;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "rpc")]
mod rpc;

#[cfg(feature = "async")]
pub use batched::{AsyncSource, Batched, Limits};
pub use blocking::BlockingSource;
#[cfg(feature = "async")]
pub use database::{AsyncDatabase, AsyncDatabases};
pub use error::ReadError;
pub use head::Head;
pub use hot::{CachedSource, HotState, HotStatistics};
#[cfg(feature = "rpc")]
pub use rpc::{RpcError, RpcSettings, RpcSource};

#[cfg(any(feature = "async", feature = "ethereum"))]
// Seam: one thread waits for one answer.
use std::sync::mpsc;

#[cfg(any(feature = "async", feature = "ethereum"))]
use counterpoint_state::DeferredSource;
use counterpoint_state::{Answer, Key, Request, SourceError, StateSource};
use revm::{database_interface::DatabaseRef, state::AccountInfo};

/// Asks a database, in revm's way.
fn ask_database<D: DatabaseRef>(database: &D, key: Key) -> Result<Answer, D::Error> {
    Ok(match key {
        Key::Account(address) => Answer::Account(database.basic_ref(address)?.map(without_id)),
        Key::Storage(address, slot) => Answer::Storage(database.storage_ref(address, slot)?),
        Key::Code(hash) => Answer::Code(database.code_by_hash_ref(hash)?),
        Key::BlockHash(number) => Answer::BlockHash(database.block_hash_ref(number)?),
    })
}

/// Asks a source in the way that answers at once.
pub(crate) fn ask_source(source: &(impl StateSource + ?Sized), key: Key) -> Result<Answer, SourceError> {
    Ok(match key {
        Key::Account(address) => Answer::Account(source.account(address)?),
        Key::Storage(address, slot) => Answer::Storage(source.storage(address, slot)?),
        Key::Code(hash) => Answer::Code(source.code(hash)?),
        Key::BlockHash(number) => Answer::BlockHash(source.block_hash(number)?),
    })
}

/// A database's own name for the account means nothing elsewhere.
fn without_id(mut info: AccountInfo) -> AccountInfo {
    info.account_id = None;
    info
}

/// Asks a source that answers later, and waits.
#[cfg(any(feature = "async", feature = "ethereum"))]
pub(crate) fn wait_for(source: &(impl DeferredSource + ?Sized), key: Key) -> Result<Answer, SourceError> {
    let (sender, answer) = mpsc::sync_channel(1);
    let request = Request::new(key, move |answer| {
        // Nobody listens any more if the waiting thread is gone.
        let _ = sender.send(answer);
    });
    source.request(vec![request]);
    answer.recv().unwrap_or_else(|_| Err(SourceError::new(ReadError::Closed { key })))
}

/// Answers those requests that can be answered at once; the others are for the source below.
fn answer_known(requests: Vec<Request>, known: impl Fn(Key) -> Option<Answer>) -> Vec<Request> {
    let mut unknown = Vec::new();
    for request in requests {
        match known(request.key()) {
            Some(answer) => request.answer(Ok(answer)),
            None => unknown.push(request),
        }
    }
    unknown
}

/// The reads of a [`StateSource`], by something that answers to keys.
macro_rules! read_by {
    ($read:expr) => {
        fn account(
            &self,
            address: revm::primitives::Address,
        ) -> Result<Option<revm::state::AccountInfo>, counterpoint_state::SourceError> {
            let key = counterpoint_state::Key::Account(address);
            match ($read)(self, key)? {
                counterpoint_state::Answer::Account(value) => Ok(value),
                _ => {
                    Err(counterpoint_state::SourceError::new($crate::sources::ReadError::WrongAnswer { key }))
                }
            }
        }

        fn storage(
            &self,
            address: revm::primitives::Address,
            slot: revm::primitives::U256,
        ) -> Result<revm::primitives::U256, counterpoint_state::SourceError> {
            let key = counterpoint_state::Key::Storage(address, slot);
            match ($read)(self, key)? {
                counterpoint_state::Answer::Storage(value) => Ok(value),
                _ => {
                    Err(counterpoint_state::SourceError::new($crate::sources::ReadError::WrongAnswer { key }))
                }
            }
        }

        fn code(
            &self,
            hash: revm::primitives::B256,
        ) -> Result<revm::bytecode::Bytecode, counterpoint_state::SourceError> {
            let key = counterpoint_state::Key::Code(hash);
            match ($read)(self, key)? {
                counterpoint_state::Answer::Code(value) => Ok(value),
                _ => {
                    Err(counterpoint_state::SourceError::new($crate::sources::ReadError::WrongAnswer { key }))
                }
            }
        }

        fn block_hash(&self, number: u64) -> Result<revm::primitives::B256, counterpoint_state::SourceError> {
            let key = counterpoint_state::Key::BlockHash(number);
            match ($read)(self, key)? {
                counterpoint_state::Answer::BlockHash(value) => Ok(value),
                _ => {
                    Err(counterpoint_state::SourceError::new($crate::sources::ReadError::WrongAnswer { key }))
                }
            }
        }
    };
}
#[allow(unused_imports, reason = "which sources use it goes by the features")]
pub(crate) use read_by;
