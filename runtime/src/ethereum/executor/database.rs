//! Databases between the host's own and Counterpoint.

// Seam: a channel between two threads of the executor.
use std::{fmt, sync::mpsc::Sender};

use alloy_evm::block::StateDB;
use counterpoint_state::{DeferredSource, Request, SourceError, StateSource};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::{
    Database, DatabaseCommit,
    bytecode::Bytecode,
    database::CacheState,
    primitives::{Address, AddressMap, B256, U256},
    state::{Account, AccountInfo},
};

/// The host's database, with a note of what is committed to it.
pub(super) struct Recording<'a, DB> {
    pub(super) database: &'a mut DB,
    pub(super) changes: &'a mut CacheState,
}

impl<DB: StateDB> Database for Recording<'_, DB> {
    type Error = DB::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, DB::Error> {
        self.database.basic(address)
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, DB::Error> {
        self.database.code_by_hash(code_hash)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, DB::Error> {
        self.database.storage(address, index)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, DB::Error> {
        self.database.block_hash(number)
    }
}

impl<DB: StateDB> DatabaseCommit for Recording<'_, DB> {
    fn commit(&mut self, changes: AddressMap<Account>) {
        self.changes.apply_evm_state(changes.clone(), |_, _| ());
        self.database.commit(changes);
    }
}

impl<DB> fmt::Debug for Recording<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

/// A source that hands its requests to another thread.
pub(super) struct Forwarding<T>(pub(super) Mutex<Sender<T>>);

impl<T: From<Vec<Request>> + Send> DeferredSource for Forwarding<T> {
    fn request(&self, requests: Vec<Request>) {
        // If nobody listens any more, the requests are dropped, which answers them.
        let _ = self.0.lock().send(requests.into());
    }
}

/// Nobody asks in this way: but for storage below a creation, of which revm's databases know nothing.
impl<T: From<Vec<Request>> + Send> StateSource for Forwarding<T> {
    fn account(&self, _: Address) -> Result<Option<AccountInfo>, SourceError> {
        Err(SourceError::new("this source answers later"))
    }

    fn storage(&self, _: Address, _: U256) -> Result<U256, SourceError> {
        Err(SourceError::new("this source answers later"))
    }

    fn code(&self, _: B256) -> Result<Bytecode, SourceError> {
        Err(SourceError::new("this source answers later"))
    }

    fn block_hash(&self, _: u64) -> Result<B256, SourceError> {
        Err(SourceError::new("this source answers later"))
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}
