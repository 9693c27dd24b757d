//! Where state comes from that no transaction of the block wrote.

use std::{error::Error as StdError, fmt, sync::Arc};

use crate::request::DeferredSource;
use revm::{
    bytecode::Bytecode,
    database::BundleState,
    database_interface::{DBErrorMarker, DatabaseRef},
    primitives::{Address, AddressMap, B256, B256Map, HashMap, KECCAK_EMPTY, StorageKeyMap, U256},
    state::AccountInfo,
};

/// An error of a [`StateSource`], shared so that every transaction that needed the key can report it.
#[derive(Clone)]
pub struct SourceError(Arc<dyn StdError + Send + Sync>);

impl SourceError {
    /// Wraps the source's own error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The source's own error, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl DBErrorMarker for SourceError {}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// State before the block: what a host's database, a snapshot or a node answers.
///
/// The runtime asks from many threads at once, and it may ask for keys that only a speculative execution
/// needs; an error for such a key has no effect unless the transaction's final execution needs it too.
/// Answers must not change while a block executes.
pub trait StateSource: Send + Sync {
    /// The account at `address`, or `None` where it does not exist. `code` may be `None`: it is then asked
    /// for by hash.
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError>;

    /// The value of a storage slot, zero where it was never written or the account does not exist.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError>;

    /// The code with this hash.
    fn code(&self, hash: B256) -> Result<Bytecode, SourceError>;

    /// The hash of the ancestor block with this number.
    fn block_hash(&self, number: u64) -> Result<B256, SourceError>;

    /// The other way to ask this source, for one that takes its time: the runtime then asks in this way alone (but for
    /// [`has_storage`](Self::has_storage)), and no worker waits for an answer. `None`, the default: the methods above answer at once.
    fn deferred(&self) -> Option<&dyn DeferredSource> {
        None
    }

    /// Whether the account has any slot that is not zero. Asked when a contract is about to be created at the
    /// address: then the creation fails (EIP-7610). No account with storage and without code and nonce can come
    /// into being since EIP-161, so that a source of a chain that has none need not answer.
    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        let _ = address;
        Ok(false)
    }
}

/// State in memory.
///
/// It implements revm's [`DatabaseRef`] too, so that sequential revm and Counterpoint can run on the very same
/// data structure.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    accounts: AddressMap<MemoryAccount>,
    code: B256Map<Bytecode>,
    block_hashes: HashMap<u64, B256>,
    eip7610: bool,
}

#[derive(Clone, Debug)]
struct MemoryAccount {
    info: AccountInfo,
    storage: StorageKeyMap<U256>,
}

/// What [`MemorySource`] answers for a block hash or code that it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissingError {
    /// No code with this hash was inserted.
    #[error("no code with hash {0}")]
    Code(B256),
    /// No hash of this block was inserted.
    #[error("no hash of block {0}")]
    BlockHash(u64),
}

impl DBErrorMarker for MissingError {}

impl MemorySource {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Inserts an account with its storage, replacing what was there. Code in `info` is indexed by its hash
    /// (the `code_hash` field is set from it).
    pub fn insert_account(
        &mut self,
        address: Address,
        mut info: AccountInfo,
        storage: impl IntoIterator<Item = (U256, U256)>,
    ) {
        if let Some(code) = &info.code {
            info.code_hash = if code.is_empty() { KECCAK_EMPTY } else { code.hash_slow() };
            if !code.is_empty() {
                self.code.insert(info.code_hash, code.clone());
            }
        }
        info.account_id = None;
        self.accounts.insert(address, MemoryAccount { info, storage: storage.into_iter().collect() });
    }

    /// Whether nothing is created over storage, see [`StateSource::has_storage`]. As long as nobody sets it, it is
    /// as with sequential revm on the same data.
    pub fn set_eip7610(&mut self, on: bool) {
        self.eip7610 = on;
    }

    /// Inserts the hash of an ancestor block.
    pub fn insert_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// Takes over what a block changed.
    pub fn apply(&mut self, bundle: &BundleState) {
        for (hash, code) in &bundle.contracts {
            self.code.insert(*hash, code.clone());
        }
        for (address, change) in &bundle.state {
            let Some(info) = &change.info else {
                self.accounts.remove(address);
                continue;
            };
            let account = self.accounts.entry(*address).or_insert_with(|| MemoryAccount {
                info: AccountInfo::default(),
                storage: Default::default(),
            });
            account.info = AccountInfo { account_id: None, ..info.clone() };
            if change.was_destroyed() {
                account.storage.clear();
            }
            for (slot, value) in &change.storage {
                if value.present_value.is_zero() {
                    account.storage.remove(slot);
                } else {
                    account.storage.insert(*slot, value.present_value);
                }
            }
        }
    }

    /// The account at this address, with its storage.
    pub fn get(&self, address: &Address) -> Option<(&AccountInfo, &StorageKeyMap<U256>)> {
        self.accounts.get(address).map(|account| (&account.info, &account.storage))
    }

    /// The accounts, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&Address, &AccountInfo, &StorageKeyMap<U256>)> {
        self.accounts.iter().map(|(address, account)| (address, &account.info, &account.storage))
    }

    /// The hashes of ancestor blocks by their numbers, in no order.
    pub fn block_hashes(&self) -> impl Iterator<Item = (u64, B256)> {
        self.block_hashes.iter().map(|(number, hash)| (*number, *hash))
    }

    fn find_account(&self, address: Address) -> Option<AccountInfo> {
        self.accounts.get(&address).map(|account| account.info.clone())
    }

    fn find_storage(&self, address: Address, slot: U256) -> U256 {
        self.accounts
            .get(&address)
            .and_then(|account| account.storage.get(&slot))
            .copied()
            .unwrap_or_default()
    }

    fn find_code(&self, hash: B256) -> Result<Bytecode, MissingError> {
        if hash == KECCAK_EMPTY {
            return Ok(Bytecode::default());
        }
        self.code.get(&hash).cloned().ok_or(MissingError::Code(hash))
    }

    fn find_block_hash(&self, number: u64) -> Result<B256, MissingError> {
        self.block_hashes.get(&number).copied().ok_or(MissingError::BlockHash(number))
    }
}

impl StateSource for MemorySource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        Ok(self.find_account(address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        Ok(self.find_storage(address, slot))
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.find_code(hash).map_err(SourceError::new)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.find_block_hash(number).map_err(SourceError::new)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        let storage = self.accounts.get(&address).filter(|_| self.eip7610).map(|account| &account.storage);
        Ok(storage.is_some_and(|storage| storage.values().any(|value| !value.is_zero())))
    }
}

impl DatabaseRef for MemorySource {
    type Error = MissingError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, MissingError> {
        Ok(self.find_account(address))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, MissingError> {
        self.find_code(code_hash)
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, MissingError> {
        Ok(self.find_storage(address, index))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, MissingError> {
        self.find_block_hash(number)
    }
}

/// An account as revm's `State` takes it from a database: an empty one is the default, whatever its code's hash. A host's own
/// id means nothing here.
pub(crate) fn as_found(info: Option<AccountInfo>) -> Option<AccountInfo> {
    info.map(|mut info| {
        info.account_id = None;
        if info.is_empty() && !info.is_empty_code_hash() { AccountInfo::default() } else { info }
    })
}
