//! The state as of one commit.

use std::{collections::BTreeMap, fmt};

use alloy_primitives::Keccak256;
use counterpoint_state::{MemorySource, SourceError, StateSource};
use redb::{ReadOnlyTable, ReadTransaction};
use revm::{
    bytecode::Bytecode,
    database_interface::DatabaseRef,
    primitives::{Address, B256, Bytes, KECCAK_EMPTY, U256},
    state::AccountInfo,
};

use super::{
    StoreError,
    guarded::Guarded,
    tables::{ACCOUNTS, BLOCK_HASHES, CODE, HEAD, META, STORAGE, decode_account, decode_head, slot_key},
};
use crate::sources::Head;

/// A store's state after one block, as a source. It answers at once, from redb's cache or from the disk; where the disk is
/// slow, a [`BlockingSource`](crate::sources::BlockingSource) makes it one that answers later.
pub struct RedbSnapshot {
    head: Head,
    tables: Guarded<Tables>,
    /// Hashes that the next block brings.
    named: BTreeMap<u64, B256>,
}

struct Tables {
    accounts: ReadOnlyTable<&'static [u8; 20], &'static [u8; 72]>,
    storage: ReadOnlyTable<&'static [u8; 52], &'static [u8; 32]>,
    code: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    hashes: ReadOnlyTable<u64, &'static [u8; 32]>,
}

impl RedbSnapshot {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        let meta = transaction.open_table(META)?;
        let head = meta.get(HEAD)?.ok_or(StoreError::Empty)?;
        let tables = Tables {
            accounts: transaction.open_table(ACCOUNTS)?,
            storage: transaction.open_table(STORAGE)?,
            code: transaction.open_table(CODE)?,
            hashes: transaction.open_table(BLOCK_HASHES)?,
        };
        Ok(Self { head: decode_head(head.value())?, tables: Guarded::new(tables), named: BTreeMap::new() })
    }

    /// Knows these blocks' hashes too.
    #[cfg(feature = "cli")]
    pub(crate) fn name(&mut self, hashes: BTreeMap<u64, B256>) {
        self.named = hashes;
    }

    /// The block that it is the state of.
    pub fn head(&self) -> Head {
        self.head
    }

    /// A hash of everything: the head, every account and every slot. Two stores with the same digest have the same state.
    ///
    /// # Errors
    ///
    /// What redb reports.
    pub fn digest(&self) -> Result<B256, StoreError> {
        self.tables.with(|tables| {
            let mut hasher = Keccak256::new();
            hasher.update(self.head.number.to_be_bytes());
            hasher.update(self.head.hash);
            for entry in tables.accounts.range::<&[u8; 20]>(..)? {
                let (address, account) = entry?;
                hasher.update(address.value());
                hasher.update(account.value());
            }
            for entry in tables.storage.range::<&[u8; 52]>(..)? {
                let (key, value) = entry?;
                hasher.update(key.value());
                hasher.update(value.value());
            }
            Ok(hasher.finalize())
        })
    }

    /// All of it in memory, for state roots and tests.
    ///
    /// # Errors
    ///
    /// What redb reports, or code that is missing.
    pub fn load(&self) -> Result<MemorySource, StoreError> {
        self.tables.with(|tables| {
            let mut memory = MemorySource::new();
            for entry in tables.accounts.range::<&[u8; 20]>(..)? {
                let (address, account) = entry?;
                let address = Address::from(*address.value());
                let info = decode_account(account.value());
                let code = tables.code(info.code_hash)?;
                let mut slots = Vec::new();
                let (first, last) = (slot_key(address, U256::ZERO), slot_key(address, U256::MAX));
                for entry in tables.storage.range::<&[u8; 52]>(&first..=&last)? {
                    let (key, value) = entry?;
                    slots
                        .push((U256::from_be_slice(&key.value()[20..]), U256::from_be_bytes(*value.value())));
                }
                memory.insert_account(address, AccountInfo { code: Some(code), ..info }, slots);
            }
            for entry in tables.hashes.range::<u64>(..)? {
                let (number, hash) = entry?;
                let hash = B256::from(*hash.value());
                if !hash.is_zero() {
                    memory.insert_block_hash(number.value(), hash);
                }
            }
            Ok(memory)
        })
    }
}

impl Tables {
    fn code(&self, code_hash: B256) -> Result<Bytecode, StoreError> {
        if code_hash == KECCAK_EMPTY {
            return Ok(Bytecode::default());
        }
        let code = self.code.get(&code_hash.0)?.ok_or(StoreError::NoCode(code_hash))?;
        let bytes = Bytes::copy_from_slice(code.value());
        Ok(Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes)))
    }
}

impl DatabaseRef for RedbSnapshot {
    type Error = StoreError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        self.tables.with(|tables| {
            let account = tables.accounts.get(&address.0.0)?;
            Ok(account.map(|account| decode_account(account.value())))
        })
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, StoreError> {
        self.tables.with(|tables| tables.code(code_hash))
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, StoreError> {
        self.tables.with(|tables| {
            let value = tables.storage.get(&slot_key(address, index))?;
            Ok(value.map(|value| U256::from_be_bytes(*value.value())).unwrap_or_default())
        })
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> {
        if let Some(hash) = self.named.get(&number) {
            return Ok(*hash);
        }
        self.tables.with(|tables| {
            let hash = tables.hashes.get(number)?.map(|hash| B256::from(*hash.value()));
            hash.filter(|hash| !hash.is_zero()).ok_or(StoreError::NoBlockHash(number))
        })
    }
}

impl StateSource for RedbSnapshot {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.basic_ref(address).map_err(SourceError::new)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.storage_ref(address, slot).map_err(SourceError::new)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.code_by_hash_ref(hash).map_err(SourceError::new)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.block_hash_ref(number).map_err(SourceError::new)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        let (first, last) = (slot_key(address, U256::ZERO), slot_key(address, U256::MAX));
        let found = self.tables.with(|tables| {
            let mut slots = tables.storage.range::<&[u8; 52]>(&first..=&last)?;
            Ok(slots.next().transpose()?.is_some())
        });
        found.map_err(SourceError::new)
    }
}

impl fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbSnapshot").field("head", &self.head).finish_non_exhaustive()
    }
}
