//! Hot state, kept from block to block within a budget of memory.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use counterpoint_state::{Answer, Cache, DeferredSource, Key, Request, SourceError, StateSource};
// Seam: a plain lock, held for a moment and outside of the protocols within a block.
use parking_lot::RwLock;
use revm::{
    bytecode::Bytecode,
    database::BundleState,
    primitives::{Address, AddressSet},
};

use super::{answer_known, ask_source, read_by, without_id};

/// Values that were read or written lately, for the blocks that come.
///
/// The host says what becomes of the chain: [`commit`](Self::commit) after a block is applied to the database,
/// [`revert`](Self::revert) when it is taken back, [`clear`](Self::clear) when the database became another one in any
/// other way. Each of them begins a new *epoch*; a [`CachedSource`] belongs to the epoch in which it was made, for a
/// block on top of the state of that epoch. It never sees what a later epoch wrote, and keeps nothing for one.
///
/// Cheap to clone: all clones are the same memory.
#[derive(Clone)]
pub struct HotState(Arc<Shared>);

struct Shared {
    /// Its moments are the epochs. What it holds of a key has held since it was added: what a change makes wrong, the change
    /// replaces or removes.
    values: Cache<Key, Answer>,
    /// The epoch. Who adds a value of it holds it for reading, who changes the state for writing, so that no value of an
    /// earlier epoch is added after the change. Reading a value takes no lock.
    epoch: RwLock<u64>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How a [`HotState`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HotStatistics {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that went on to the source below.
    pub misses: u64,
    /// Values that it holds.
    pub entries: usize,
    /// What they take, about, in bytes: never more than the budget.
    pub bytes: usize,
    /// Values that had to go to make room.
    pub evicted: u64,
}

impl HotState {
    /// Nothing yet, and never more than about `budget` bytes. Some twentieth of them, 128 MiB at most, is taken at once.
    pub fn new(budget: usize) -> Self {
        Self(Arc::new(Shared {
            values: Cache::new(budget),
            epoch: RwLock::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }))
    }

    /// `base` with this memory before it, for a block on the state as it is now. `base` must be that state: what was
    /// committed here is in it, and nothing more.
    pub fn source(&self, base: Arc<dyn StateSource>) -> CachedSource {
        CachedSource { hot: Arc::clone(&self.0), base, epoch: *self.0.epoch.read() }
    }

    /// A block is applied. What it changed is hot.
    pub fn commit(&self, changes: &BundleState) {
        let hot = &*self.0;
        let mut epoch = hot.epoch.write();
        *epoch += 1;
        hot.forget_slots(changes.state.iter().filter(|(_, account)| account.was_destroyed()));
        for (address, account) in &changes.state {
            hot.replace(Key::Account(*address), Answer::Account(account.info.clone()), *epoch);
            for (slot, value) in &account.storage {
                hot.replace(Key::Storage(*address, *slot), Answer::Storage(value.present_value), *epoch);
            }
        }
        for (hash, code) in &changes.contracts {
            hot.add(Key::Code(*hash), Answer::Code(code.clone()), *epoch);
        }
    }

    /// A block is taken back: the state is again what it was before. Of several, the last one first.
    pub fn revert(&self, changes: &BundleState) {
        let hot = &*self.0;
        let mut epoch = hot.epoch.write();
        *epoch += 1;
        hot.forget_slots(changes.state.iter());
        for address in changes.state.keys() {
            hot.values.remove(&Key::Account(*address));
        }
        hot.values.retain(|key| !matches!(key, Key::BlockHash(_)));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let hot = &*self.0;
        *hot.epoch.write() += 1;
        hot.values.retain(|_| false);
    }

    /// How it does.
    pub fn statistics(&self) -> HotStatistics {
        let hot = &*self.0;
        HotStatistics {
            // Relaxed: counts, which hand nothing over.
            hits: hot.hits.load(Ordering::Relaxed),
            misses: hot.misses.load(Ordering::Relaxed),
            entries: hot.values.len(),
            bytes: hot.values.bytes(),
            evicted: hot.values.evicted(),
        }
    }
}

impl Shared {
    /// What is known of a key in this epoch.
    fn look(&self, key: Key, epoch: u64) -> Option<Answer> {
        let answer = self.values.get(&key, epoch);
        let count = if answer.is_some() { &self.hits } else { &self.misses };
        // Relaxed: a count.
        count.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Keeps what the source below answered in this epoch, unless it is over.
    fn keep(&self, key: Key, answer: &Answer, epoch: u64) {
        let now = self.epoch.read();
        let is_of_its_kind = matches!(
            (key, answer),
            (Key::Account(_), Answer::Account(_))
                | (Key::Storage(..), Answer::Storage(_))
                | (Key::Code(_), Answer::Code(_))
                | (Key::BlockHash(_), Answer::BlockHash(_))
        );
        // Of another kind: not for here to complain.
        if *now == epoch && is_of_its_kind {
            self.add(key, answer.clone(), epoch);
        }
    }

    /// Adds a value if there is none and room for it. The epoch is held.
    fn add(&self, key: Key, mut answer: Answer, epoch: u64) {
        if let Answer::Account(info) = &mut answer {
            *info = info.take().map(without_id);
        }
        let code = match &answer {
            Answer::Account(info) => info.as_ref().and_then(|info| info.code.as_ref()),
            Answer::Code(code) => Some(code),
            Answer::Storage(_) | Answer::BlockHash(_) => None,
        };
        let extra = code.map_or(0, Bytecode::len);
        self.values.add(key, answer, extra, epoch);
    }

    /// Puts a value in the place of another. The epoch is held for writing.
    fn replace(&self, key: Key, answer: Answer, epoch: u64) {
        self.values.remove(&key);
        self.add(key, answer, epoch);
    }

    /// Forgets all slots of these accounts. Destroyed accounts are rare, so there is no index for it.
    fn forget_slots<'a, T: 'a>(&self, accounts: impl Iterator<Item = (&'a Address, T)>) {
        let addresses: AddressSet = accounts.map(|(address, _)| *address).collect();
        if !addresses.is_empty() {
            self.values.retain(|key| match key {
                Key::Storage(address, _) => !addresses.contains(address),
                Key::Account(_) | Key::Code(_) | Key::BlockHash(_) => true,
            });
        }
    }
}

/// A source with a [`HotState`] before it, for one block. It answers later if the source below does.
pub struct CachedSource {
    hot: Arc<Shared>,
    base: Arc<dyn StateSource>,
    epoch: u64,
}

impl CachedSource {
    fn read(&self, key: Key) -> Result<Answer, SourceError> {
        if let Some(answer) = self.hot.look(key, self.epoch) {
            return Ok(answer);
        }
        let answer = ask_source(&*self.base, key)?;
        self.hot.keep(key, &answer, self.epoch);
        Ok(answer)
    }
}

impl DeferredSource for CachedSource {
    fn request(&self, requests: Vec<Request>) {
        let unknown = answer_known(requests, |key| self.hot.look(key, self.epoch));
        let kept = |request: Request| {
            let (key, hot, epoch) = (request.key(), Arc::clone(&self.hot), self.epoch);
            Request::new(key, move |answer| {
                if let Ok(answer) = &answer {
                    hot.keep(key, answer, epoch);
                }
                request.answer(answer);
            })
        };
        if let Some(base) = self.base.deferred().filter(|_| !unknown.is_empty()) {
            base.request(unknown.into_iter().map(kept).collect());
        }
    }
}

impl StateSource for CachedSource {
    read_by!(Self::read);

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        self.base.deferred().map(|_| self as _)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        self.base.has_storage(address)
    }
}

impl fmt::Debug for HotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotState")
            .field("budget", &self.0.values.budget())
            .field("now", &self.statistics())
            .finish()
    }
}

impl fmt::Debug for CachedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSource").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
