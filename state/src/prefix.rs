//! The state after a block's first transactions, as a source for the rest of them.

use std::{fmt, sync::Arc};

use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use crate::{
    changeset::Changeset,
    source::{SourceError, StateSource},
};

/// What transactions have changed and read so far, over the source of the state before them.
///
/// It answers as `revm_database::State` would: what these transactions changed or read is known, and an account that
/// they created, destroyed or found without nonce and code has no other storage.
pub struct Prefix {
    source: Arc<dyn StateSource>,
    changes: Arc<Changeset>,
}

impl Prefix {
    pub(crate) fn new(source: Arc<dyn StateSource>, changes: Arc<Changeset>) -> Self {
        Self { source, changes }
    }
}

impl StateSource for Prefix {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        match self.changes.account(&address) {
            Some(info) => Ok(info.cloned()),
            None => self.source.account(address),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        let known = self.changes.position(&address).and_then(|position| self.changes.slot(position, &slot));
        match known {
            Some(value) => Ok(value),
            None => self.source.storage(address, slot),
        }
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.source.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.source.block_hash(number)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        match self.changes.position(&address) {
            Some(position) if self.changes.is_wiped(position) => Ok(false),
            _ => self.source.has_storage(address),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix").field("changes", &self.changes.changes()).finish_non_exhaustive()
    }
}
