//! The state after a block's first transactions, as a source for the rest of them.

use std::{fmt, sync::Arc};

use revm::{
    bytecode::Bytecode,
    database::AccountStatus,
    primitives::{Address, AddressMap, B256, StorageKeyMap, U256},
    state::AccountInfo,
};

use crate::source::{SourceError, StateSource};

/// What is known of the state after some transactions that ran one after the other, over the source of the state
/// before them.
///
/// It answers as `revm_database::State` would: what these transactions changed or read is known, and an account that
/// they created, destroyed or found without nonce and code has no other storage.
pub struct Prefix {
    source: Arc<dyn StateSource>,
    accounts: AddressMap<Account>,
}

/// An account that the transactions have changed, or of which they have read a slot.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) info: Option<AccountInfo>,
    pub(crate) status: AccountStatus,
    pub(crate) wiped: bool,
    pub(crate) slots: StorageKeyMap<U256>,
}

impl Prefix {
    pub(crate) fn new(source: Arc<dyn StateSource>, accounts: AddressMap<Account>) -> Self {
        Self { source, accounts }
    }
}

impl StateSource for Prefix {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        match self.accounts.get(&address) {
            Some(account) => Ok(account.info.clone()),
            None => self.source.account(address),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        match self.accounts.get(&address) {
            Some(account) => match account.slots.get(&slot) {
                Some(value) => Ok(*value),
                None if account.info.is_none() || account.status.is_storage_known() => Ok(U256::ZERO),
                None => self.source.storage(address, slot),
            },
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
        match self.accounts.get(&address) {
            Some(account) if account.wiped => Ok(false),
            _ => self.source.has_storage(address),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}
