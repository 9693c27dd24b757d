//! A store on disk as blocks from outside come to it: whether each belongs there, and what it brings with it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alloy_genesis::Genesis;
use counterpoint_state::{MemorySource, StateSource};
// Seam: a plain lock, outside of the protocols within a block.
use parking_lot::Mutex;
use revm::{database::BundleState, database_interface::DatabaseRef, primitives::B256};

use super::Incoming;
use crate::{
    service::{Store, StoreFailure},
    sources::{
        Head,
        redb::{RedbStore, StoreError, genesis_block},
    },
};

/// Hashes of blocks further back serve nothing: the EVM asks for 256.
const USEFUL_HASHES: u64 = 256;

/// A store, and what goes into it with the next block: the state that it begins with, and the hashes of blocks before.
/// Either is there only when that block is.
pub struct Ledger {
    store: RedbStore,
    next: Mutex<Next>,
}

#[derive(Default)]
struct Next {
    first: Option<(Arc<MemorySource>, Head)>,
    hashes: BTreeMap<u64, B256>,
}

impl Next {
    fn begin_with(&mut self, mut state: Arc<MemorySource>, head: Head) {
        // As the store's own snapshots.
        Arc::make_mut(&mut state).set_eip7610(true);
        self.first = Some((state, head));
    }
}

/// Why a block has no place in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no state to execute it on.
    #[error("the store is empty, and block {0} comes without a state: --genesis brings one")]
    NoState(u64),
    /// Nothing comes before it.
    #[error("block 0 is where a chain begins, and cannot be executed: --genesis brings it")]
    First,
    /// Blocks are missing before it.
    #[error("block {number} does not follow block {}, the last one of the store", head.number)]
    Gap {
        /// The store's last block.
        head: Head,
        /// The block's number.
        number: u64,
    },
    /// It is of another chain.
    #[error(transparent)]
    OtherChain(#[from] Conflict),
    /// The store began with another block.
    #[error("the genesis is block {}, {}, and the store began with {known}", genesis.number, genesis.hash)]
    OtherGenesis {
        /// The genesis file's block.
        genesis: Head,
        /// The hash that the store has of the block.
        known: B256,
    },
}

/// A block that gives a block of the store another hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {number}: {} {named}, and the store's block {of} is {known}: they are of different chains", self.what())]
pub struct Conflict {
    /// The block that came.
    pub number: u64,
    /// The block whose hash it says.
    pub of: u64,
    /// What it says.
    pub named: B256,
    /// What the store has.
    pub known: B256,
}

impl Conflict {
    fn what(&self) -> &'static str {
        match self.number.checked_sub(self.of) {
            Some(0) => "its hash is",
            Some(1) => "its parent is",
            _ => "among its block hashes is",
        }
    }
}

impl Ledger {
    /// What comes to this store.
    pub fn new(store: RedbStore) -> Self {
        Self { store, next: Mutex::default() }
    }

    /// Has an empty store begin with this. Another one must have begun with it, as far as it knows.
    ///
    /// # Errors
    ///
    /// Another genesis, or a store that fails.
    pub fn begin_with(&self, genesis: &Genesis) -> Result<(), OrderError> {
        let (state, header) = genesis_block(genesis);
        let genesis = Head { number: header.number, hash: header.hash_slow() };
        if self.store.head()?.is_none() {
            self.next.lock().begin_with(Arc::new(state), genesis);
            return Ok(());
        }
        match self.block_hash(&Next::default(), genesis.number)? {
            Some(known) if known != genesis.hash => Err(OrderError::OtherGenesis { genesis, known }),
            _ => Ok(()),
        }
    }

    /// The last block, be it the one that the store is to begin with.
    ///
    /// # Errors
    ///
    /// A store that fails.
    pub fn head(&self) -> Result<Option<Head>, StoreError> {
        let first = self.next.lock().first.as_ref().map(|(_, head)| *head);
        Ok(self.store.head()?.or(first))
    }

    /// Whether the block is the next one, which is to be committed now, or one that the store has.
    ///
    /// # Errors
    ///
    /// A block that is neither, or disagrees with the store on a hash, or a store that fails.
    pub fn expect(&self, incoming: &mut Incoming) -> Result<bool, OrderError> {
        let block = incoming.job.block;
        let number = block.number;
        let mut next = self.next.lock();
        let first = next.first.as_ref().map(|(_, head)| *head);
        let head = match (self.store.head()?.or(first), incoming.before.take()) {
            (Some(head), _) => head,
            (None, Some(_)) if number == 0 => return Err(OrderError::First),
            (None, Some((state, head))) => {
                next.begin_with(state, head);
                head
            }
            (None, None) => return Err(OrderError::NoState(number)),
        };
        let own = Some((number, block.hash)).filter(|(_, hash)| !hash.is_zero());
        let named = incoming.hashes.iter().map(|(of, hash)| (*of, *hash)).chain(own);
        for (of, named) in named.filter(|(of, _)| *of <= head.number) {
            if let Some(known) = self.block_hash(&next, of)?.filter(|known| *known != named) {
                return Err(Conflict { number, of, named, known }.into());
            }
        }
        if number <= head.number {
            return Ok(false);
        }
        if head.number.checked_add(1) != Some(number) {
            return Err(OrderError::Gap { head, number });
        }
        if let Some(parent) = self.block_hash(&next, head.number)? {
            incoming.job.set_parent_hash(parent);
        }
        next.hashes = std::mem::take(&mut incoming.hashes);
        next.hashes.retain(|of, _| *of < number && number - of <= USEFUL_HASHES);
        let Next { first, hashes } = &mut *next;
        if let Some((state, _)) = first {
            let state = Arc::make_mut(state);
            hashes.iter().for_each(|(number, hash)| state.insert_block_hash(*number, *hash));
        }
        Ok(true)
    }

    /// Has the store begin with its genesis even if no block came.
    ///
    /// # Errors
    ///
    /// A store that fails.
    pub fn settle(&self) -> Result<(), StoreError> {
        match self.next.lock().first.take() {
            Some((state, head)) => self.store.import(&state, head),
            None => Ok(()),
        }
    }

    /// A block's hash, if it is known.
    fn block_hash(&self, next: &Next, number: u64) -> Result<Option<B256>, StoreError> {
        if let Some((state, head)) = &next.first {
            let known = (state.block_hashes().find(|(of, _)| *of == number)).map(|(_, hash)| hash);
            let head = Some(head).filter(|head| head.number == number).map(|head| head.hash);
            return Ok(known.or(head).filter(|hash| !hash.is_zero()));
        }
        match self.store.snapshot()?.block_hash_ref(number) {
            Ok(hash) => Ok(Some(hash)),
            // It is kept when others are long gone.
            Err(StoreError::NoBlockHash(_)) => {
                let first = self.store.first()?.filter(|first| first.number == number);
                Ok(first.map(|first| first.hash).filter(|hash| !hash.is_zero()))
            }
            Err(error) => Err(error),
        }
    }
}

impl Store for Ledger {
    fn head(&self) -> Result<Head, StoreFailure> {
        self.head().and_then(|head| head.ok_or(StoreError::Empty)).map_err(StoreFailure::new)
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        let next = self.next.lock();
        if let Some((state, _)) = &next.first {
            return Ok(Arc::clone(state) as _);
        }
        let mut snapshot = self.store.snapshot().map_err(StoreFailure::new)?;
        snapshot.name(next.hashes.clone());
        Ok(Arc::new(snapshot))
    }

    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure> {
        let mut next = self.next.lock();
        let first = next.first.as_ref().map(|(state, head)| (&**state, *head));
        self.store.commit_with(first, &next.hashes, changes, block).map_err(StoreFailure::new)?;
        *next = Next::default();
        Ok(())
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("store", &self.store).finish_non_exhaustive()
    }
}
