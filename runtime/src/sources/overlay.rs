//! A source with changes over it: those made before a block's transactions, or by its earlier ones.

#[cfg(feature = "ethereum")]
use std::fmt;
use std::sync::Arc;

use counterpoint_state::{Answer, DeferredSource, Key, Request, SourceError, StateSource};
#[cfg(feature = "ethereum")]
use revm::database_interface::DatabaseRef;
use revm::{
    bytecode::Bytecode,
    database::{CacheState, states::plain_account::PlainStorage},
    primitives::{Address, AddressMap, B256, B256Map, U256},
    state::AccountInfo,
};

use super::answer_known;

/// A source as revm's database.
#[cfg(feature = "ethereum")]
#[derive(Clone)]
pub(crate) struct SourceDatabase(pub(crate) Arc<dyn StateSource>);

#[cfg(feature = "ethereum")]
impl fmt::Debug for SourceDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceDatabase").finish_non_exhaustive()
    }
}

#[cfg(feature = "ethereum")]
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
pub(crate) struct Overlay {
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
    pub(crate) fn new(base: Arc<dyn StateSource>, cache: &CacheState) -> Self {
        let accounts = cache.accounts.iter().map(|(address, account)| {
            let (info, storage) = match &account.account {
                Some(plain) => (Some(plain.info.clone()), plain.storage.clone()),
                None => (None, PlainStorage::default()),
            };
            (*address, Changed { info, storage, complete: account.status.is_storage_known() })
        });
        Self { base, accounts: accounts.collect(), code: cache.contracts.clone() }
    }

    /// What the source below is not asked for.
    fn known(&self, key: Key) -> Option<Answer> {
        match key {
            Key::Account(address) => {
                self.accounts.get(&address).map(|changed| Answer::Account(changed.info.clone()))
            }
            Key::Storage(address, slot) => {
                let changed = self.accounts.get(&address)?;
                let unwritten = changed.complete.then_some(U256::ZERO);
                changed.storage.get(&slot).copied().or(unwritten).map(Answer::Storage)
            }
            Key::Code(hash) => self.code.get(&hash).cloned().map(Answer::Code),
            Key::BlockHash(_) => None,
        }
    }
}

impl DeferredSource for Overlay {
    fn request(&self, requests: Vec<Request>) {
        let unknown = answer_known(requests, |key| self.known(key));
        if let Some(base) = self.base.deferred().filter(|_| !unknown.is_empty()) {
            base.request(unknown);
        }
    }
}

impl StateSource for Overlay {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        match self.known(Key::Account(address)) {
            Some(Answer::Account(info)) => Ok(info),
            _ => self.base.account(address),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        match self.known(Key::Storage(address, slot)) {
            Some(Answer::Storage(value)) => Ok(value),
            _ => self.base.storage(address, slot),
        }
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        match self.known(Key::Code(hash)) {
            Some(Answer::Code(code)) => Ok(code),
            _ => self.base.code(hash),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.base.block_hash(number)
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        self.base.deferred().map(|_| self as _)
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
