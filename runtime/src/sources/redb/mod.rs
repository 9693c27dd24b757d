//! A store on disk: accounts, storage, code, block hashes and the head, in one [redb](https://docs.rs/redb) file.
//!
//! A block's changes are committed in one transaction, and on disk when [`RedbStore::commit`] returns: after a crash, at
//! whatever moment, the store is as the last commit that returned left it, or as the one under way would have. Reads go
//! through [snapshots](RedbStore::snapshot), which later commits do not change.

mod create;
mod error;
mod genesis;
mod guarded;
mod snapshot;
mod tables;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use counterpoint_state::MemorySource;
use redb::{Database, ReadableDatabase, ReadableTable, TableError, WriteTransaction};
use revm::{
    bytecode::Bytecode,
    database::BundleState,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use super::Head;
pub use error::StoreError;
pub use genesis::{genesis_block, read_genesis};
use guarded::{Guarded, guard};
pub use snapshot::RedbSnapshot;
use tables::{
    ACCOUNTS, BLOCK_HASHES, CODE, FIRST, FORMAT, HEAD, META, STORAGE, decode_head, encode_account,
    encode_head, slot_key,
};

/// How many block hashes are kept: more than the EVM can ask for.
const KEPT_HASHES: u64 = 512;

/// The store. One process at a time has it open; its threads share it.
pub struct RedbStore {
    database: Guarded<Database>,
    path: PathBuf,
}

impl RedbStore {
    /// Opens the store in this file, or makes a new one. After a crash, redb first repairs what the last commit left.
    ///
    /// # Errors
    ///
    /// A file that is no store, is of another format or a database of something else, is open elsewhere, is damaged or
    /// cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let failed = |cause: redb::Error| StoreError::Open { path: path.clone(), cause: Box::new(cause) };
        let database = guard(|| {
            if !path.exists() {
                create::create(&path).map_err(failed)?;
            }
            Ok(Guarded::new(Database::create(&path).map_err(|cause| failed(cause.into()))?))
        })?;
        let store = Self { database, path };
        store.write(|transaction| store.mark(transaction))?;
        Ok(store)
    }

    /// Makes an empty database a store, and looks whether another one is.
    fn mark(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let foreign = || StoreError::Foreign { path: self.path.clone() };
        let is_new = transaction.list_tables()?.next().is_none()
            && transaction.list_multimap_tables()?.next().is_none();
        let mut meta = transaction.open_table(META).map_err(|error| match error {
            TableError::TableTypeMismatch { .. } | TableError::TableIsMultimap(_) => foreign(),
            error => error.into(),
        })?;
        let found = meta.get("format")?.map(|format| format.value().to_vec());
        match found {
            Some(found) if found != FORMAT => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(StoreError::Format { path: self.path.clone(), found });
            }
            Some(_) => {}
            None if is_new => {
                meta.insert("format", FORMAT)?;
            }
            None => return Err(foreign()),
        }
        // Whoever reads finds every table.
        transaction.open_table(ACCOUNTS)?;
        transaction.open_table(STORAGE)?;
        transaction.open_table(CODE)?;
        transaction.open_table(BLOCK_HASHES)?;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last block; none before an import.
    ///
    /// # Errors
    ///
    /// What redb reports.
    pub fn head(&self) -> Result<Option<Head>, StoreError> {
        self.database.with(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            let head = meta.get(HEAD)?;
            head.map(|head| decode_head(head.value())).transpose()
        })
    }

    /// The block whose state the store began with; none before an import, or where an older version made the store.
    #[cfg(feature = "cli")]
    pub(crate) fn first(&self) -> Result<Option<Head>, StoreError> {
        self.database.with(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            let first = meta.get(FIRST)?;
            first.map(|first| decode_head(first.value())).transpose()
        })
    }

    /// Fills an empty store with a state: what it is after the block `head`. Its hash is zero if it is not known.
    ///
    /// # Errors
    ///
    /// A store that is not empty, or what redb reports. The store is empty still.
    pub fn import(&self, state: &MemorySource, head: Head) -> Result<(), StoreError> {
        self.write(|transaction| import(transaction, state, head))
    }

    /// Adds the block after the head: what it changed, and its hash, zero if that is not known. On disk when this returns.
    ///
    /// # Errors
    ///
    /// A block that is not the next one, an empty store, or what redb reports. Nothing of the block is in the store then,
    /// unless the commit itself failed: whether the block is there, [`head`](Self::head) tells.
    pub fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreError> {
        self.write(|transaction| append(transaction, &BTreeMap::new(), changes, block))
    }

    /// As [`commit`](Self::commit), together with the state to begin with, if the store is empty, and with the hashes of
    /// blocks before.
    #[cfg(feature = "cli")]
    pub(crate) fn commit_with(
        &self,
        first: Option<(&MemorySource, Head)>,
        hashes: &BTreeMap<u64, B256>,
        changes: &BundleState,
        block: Head,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            if let Some((state, head)) = first {
                import(transaction, state, head)?;
            }
            append(transaction, hashes, changes, block)
        })
    }

    /// The state as it is now, whatever is committed later.
    ///
    /// # Errors
    ///
    /// An empty store, or what redb reports.
    pub fn snapshot(&self) -> Result<RedbSnapshot, StoreError> {
        self.database.with(|database| RedbSnapshot::new(&database.begin_read()?))
    }

    /// Does this in a transaction, all of it or nothing.
    fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.database.with(|database| {
            let mut transaction = database.begin_write()?;
            // The file opens at once after a crash, whatever its size.
            transaction.set_quick_repair(true);
            work(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}

fn import(transaction: &WriteTransaction, state: &MemorySource, head: Head) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    if let Some(found) = meta.get(HEAD)? {
        return Err(StoreError::NotEmpty(decode_head(found.value())?));
    }
    meta.insert(HEAD, encode_head(head).as_slice())?;
    meta.insert(FIRST, encode_head(head).as_slice())?;
    let mut writer = Writer::new(transaction)?;
    for (address, info, storage) in state.accounts() {
        writer.set_account(*address, info)?;
        for (slot, value) in storage {
            writer.set_slot(*address, *slot, *value)?;
        }
    }
    let mut hashes = transaction.open_table(BLOCK_HASHES)?;
    for (number, hash) in state.block_hashes() {
        hashes.insert(number, &hash.0)?;
    }
    hashes.insert(head.number, &head.hash.0)?;
    Ok(())
}

fn append(
    transaction: &WriteTransaction,
    before: &BTreeMap<u64, B256>,
    changes: &BundleState,
    block: Head,
) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    let head = match meta.get(HEAD)? {
        Some(head) => decode_head(head.value())?,
        None => return Err(StoreError::Empty),
    };
    if head.number.checked_add(1) != Some(block.number) {
        return Err(StoreError::NotNext { head, number: block.number });
    }
    meta.insert(HEAD, encode_head(block).as_slice())?;
    Writer::new(transaction)?.apply(changes)?;
    let mut hashes = transaction.open_table(BLOCK_HASHES)?;
    for (number, hash) in before {
        hashes.insert(number, &hash.0)?;
    }
    hashes.insert(block.number, &block.hash.0)?;
    hashes.retain_in(..block.number.saturating_sub(KEPT_HASHES), |_, _| false)?;
    Ok(())
}

/// The tables of the state, in a transaction that writes.
struct Writer<'a> {
    accounts: redb::Table<'a, &'static [u8; 20], &'static [u8; 72]>,
    storage: redb::Table<'a, &'static [u8; 52], &'static [u8; 32]>,
    code: redb::Table<'a, &'static [u8; 32], &'static [u8]>,
}

impl<'a> Writer<'a> {
    fn new(transaction: &'a WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            accounts: transaction.open_table(ACCOUNTS)?,
            storage: transaction.open_table(STORAGE)?,
            code: transaction.open_table(CODE)?,
        })
    }

    fn apply(&mut self, changes: &BundleState) -> Result<(), StoreError> {
        for (hash, code) in &changes.contracts {
            self.set_code(*hash, code)?;
        }
        for (address, change) in &changes.state {
            if change.was_destroyed() || change.info.is_none() {
                let (first, last) = (slot_key(*address, U256::ZERO), slot_key(*address, U256::MAX));
                self.storage.retain_in::<&[u8; 52], _>(&first..=&last, |_, _| false)?;
            }
            let Some(info) = &change.info else {
                self.accounts.remove(&address.0.0)?;
                continue;
            };
            self.set_account(*address, info)?;
            for (slot, value) in &change.storage {
                self.set_slot(*address, *slot, value.present_value)?;
            }
        }
        Ok(())
    }

    fn set_account(&mut self, address: Address, info: &AccountInfo) -> Result<(), StoreError> {
        if let Some(code) = info.code.as_ref().filter(|code| !code.is_empty()) {
            self.set_code(info.code_hash, code)?;
        }
        self.accounts.insert(&address.0.0, &encode_account(info))?;
        Ok(())
    }

    fn set_slot(&mut self, address: Address, slot: U256, value: U256) -> Result<(), StoreError> {
        let key = slot_key(address, slot);
        if value.is_zero() {
            self.storage.remove(&key)?;
        } else {
            self.storage.insert(&key, &value.to_be_bytes())?;
        }
        Ok(())
    }

    fn set_code(&mut self, hash: B256, code: &Bytecode) -> Result<(), StoreError> {
        if self.code.get(&hash.0)?.is_none() {
            self.code.insert(&hash.0, code.original_byte_slice())?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}
