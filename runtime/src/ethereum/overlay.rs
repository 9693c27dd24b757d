//! The state between what happens before a block's transactions and these.

use std::{fmt, sync::Arc};

use counterpoint_state::{SourceError, StateSource};
use revm::{
    bytecode::Bytecode,
    database::{CacheState, states::plain_account::PlainStorage},
    database_interface::DatabaseRef,
    primitives::{Address, AddressMap, B256, B256Map, U256},
    state::AccountInfo,
};

/// A source as revm's database.
#[derive(Clone)]
pub(crate) struct SourceDatabase(pub(crate) Arc<dyn StateSource>);

impl fmt::Debug for SourceDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceDatabase").finish_non_exhaustive()
    }
}

impl DatabaseRef for SourceDatabase {
    type Error = SourceError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.0.account(address)
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(code_hash)
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, SourceError> {
        self.0.storage(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, SourceError> {
        self.0.block_hash(number)
    }
}

/// A source with a few accounts changed.
pub(super) struct Overlay {
    base: Arc<dyn StateSource>,
    accounts: AddressMap<Changed>,
    code: B256Map<Bytecode>,
}

struct Changed {
    info: Option<AccountInfo>,
    storage: PlainStorage,
    /// Slots that are not in `storage` are zero.
    complete: bool,
}

impl Overlay {
    /// What `cache` holds over `base`.
    pub(super) fn new(base: Arc<dyn StateSource>, cache: &CacheState) -> Self {
        let accounts = cache.accounts.iter().map(|(address, account)| {
            let (info, storage) = match &account.account {
                Some(plain) => (Some(plain.info.clone()), plain.storage.clone()),
                None => (None, PlainStorage::default()),
            };
            (*address, Changed { info, storage, complete: account.status.is_storage_known() })
        });
        Self { base, accounts: accounts.collect(), code: cache.contracts.clone() }
    }
}

impl StateSource for Overlay {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        match self.accounts.get(&address) {
            Some(changed) => Ok(changed.info.clone()),
            None => self.base.account(address),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        match self.accounts.get(&address) {
            Some(changed) => match changed.storage.get(&slot) {
                Some(value) => Ok(*value),
                None if changed.complete => Ok(U256::ZERO),
                None => self.base.storage(address, slot),
            },
            None => self.base.storage(address, slot),
        }
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        match self.code.get(&hash) {
            Some(code) => Ok(code.clone()),
            None => self.base.code(hash),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.base.block_hash(number)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        let changed = self.accounts.get(&address);
        if changed.is_some_and(|changed| changed.storage.values().any(|value| !value.is_zero())) {
            return Ok(true);
        }
        if changed.is_some_and(|changed| changed.complete) {
            Ok(false)
        } else {
            self.base.has_storage(address)
        }
    }
}
