//! Hot state, kept from block to block within a budget of memory.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    hash::Hash,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use counterpoint_state::{Answer, DeferredSource, Key, Request, SourceError, StateSource};
use foldhash::fast::RandomState;
use papaya::HashMap;
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::RwLock;
use revm::{
    bytecode::Bytecode,
    database::BundleState,
    primitives::{Address, AddressSet, B256, U256},
    state::AccountInfo,
};

use super::{answer_known, ask_source, unwrap_answer, without_id};

/// What an entry takes besides its key and value, about: its allocation, and its place in the table.
const OVERHEAD: usize = 64;

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
    budget: usize,
    accounts: Map<Address, Option<AccountInfo>>,
    slots: Map<(Address, U256), U256>,
    codes: Map<B256, Bytecode>,
    hashes: Map<u64, B256>,
    /// The epoch. Who adds a value of it holds it for reading, who changes the state for writing, so that no value of an
    /// earlier epoch is added after the change. Reading a value takes no lock.
    epoch: RwLock<u64>,
    bytes: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

type Map<K, V> = HashMap<K, Entry<V>, RandomState>;

struct Entry<V> {
    value: V,
    /// The epoch in which it was added. It has held since: what a change makes wrong, the change replaces or removes.
    since: u64,
    /// The last epoch that read it.
    used: AtomicU64,
    size: usize,
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
    /// Nothing yet, and never more than about `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self(Arc::new(Shared {
            budget,
            accounts: Map::default(),
            slots: Map::default(),
            codes: Map::default(),
            hashes: Map::default(),
            epoch: RwLock::new(0),
            bytes: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
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
            let info = account.info.clone().map(without_id);
            let size = account_size(&info);
            hot.replace(&hot.accounts, *address, info, size, *epoch);
            for (slot, value) in &account.storage {
                hot.replace(&hot.slots, (*address, *slot), value.present_value, 0, *epoch);
            }
        }
        for (hash, code) in &changes.contracts {
            hot.add(&hot.codes, *hash, code.clone(), code.len(), *epoch);
        }
        hot.make_room();
    }

    /// A block is taken back: the state is again what it was before. Of several, the last one first.
    pub fn revert(&self, changes: &BundleState) {
        let hot = &*self.0;
        let mut epoch = hot.epoch.write();
        *epoch += 1;
        hot.forget_slots(changes.state.iter());
        for address in changes.state.keys() {
            hot.remove(&hot.accounts, address);
        }
        hot.forget_all(&hot.hashes);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let hot = &*self.0;
        *hot.epoch.write() += 1;
        hot.forget_all(&hot.accounts);
        hot.forget_all(&hot.slots);
        hot.forget_all(&hot.codes);
        hot.forget_all(&hot.hashes);
    }

    /// How it does.
    pub fn statistics(&self) -> HotStatistics {
        let hot = &*self.0;
        // Relaxed, here and below: counts, which hand nothing over.
        HotStatistics {
            hits: hot.hits.load(Ordering::Relaxed),
            misses: hot.misses.load(Ordering::Relaxed),
            entries: hot.accounts.len() + hot.slots.len() + hot.codes.len() + hot.hashes.len(),
            bytes: hot.bytes.load(Ordering::Relaxed),
            evicted: hot.evicted.load(Ordering::Relaxed),
        }
    }
}

fn account_size(info: &Option<AccountInfo>) -> usize {
    info.as_ref().and_then(|info| info.code.as_ref()).map_or(0, Bytecode::len)
}

impl Shared {
    /// What is known of a key in this epoch.
    fn look(&self, key: Key, epoch: u64) -> Option<Answer> {
        let answer = match key {
            Key::Account(address) => find(&self.accounts, &address, epoch).map(Answer::Account),
            Key::Storage(address, slot) => find(&self.slots, &(address, slot), epoch).map(Answer::Storage),
            Key::Code(hash) => find(&self.codes, &hash, epoch).map(Answer::Code),
            Key::BlockHash(number) => find(&self.hashes, &number, epoch).map(Answer::BlockHash),
        };
        let count = if answer.is_some() { &self.hits } else { &self.misses };
        // Relaxed: a count.
        count.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Keeps what the source below answered in this epoch, unless it is over.
    fn keep(&self, key: Key, answer: &Answer, epoch: u64) {
        let now = self.epoch.read();
        if *now != epoch {
            return;
        }
        match (key, answer) {
            (Key::Account(address), Answer::Account(info)) => {
                let info = info.clone().map(without_id);
                let size = account_size(&info);
                self.add(&self.accounts, address, info, size, epoch);
            }
            (Key::Storage(address, slot), Answer::Storage(value)) => {
                self.add(&self.slots, (address, slot), *value, 0, epoch);
            }
            (Key::Code(hash), Answer::Code(code)) => {
                self.add(&self.codes, hash, code.clone(), code.len(), epoch);
            }
            (Key::BlockHash(number), Answer::BlockHash(hash)) => {
                self.add(&self.hashes, number, *hash, 0, epoch);
            }
            // Of another kind: not for here to complain.
            _ => {}
        }
    }

    /// Adds a value if there is none and room for it. The epoch is held.
    fn add<K: Hash + Eq, V>(&self, map: &Map<K, V>, key: K, value: V, extra: usize, epoch: u64) {
        let size = mem::size_of::<K>() + mem::size_of::<Entry<V>>() + OVERHEAD + extra;
        // Reserved before it is added: the sum never exceeds the budget.
        // Relaxed: a budget; the entries are handed over by the map.
        let reserved = self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
            bytes.checked_add(size).filter(|bytes| *bytes <= self.budget)
        });
        if reserved.is_ok() {
            let entry = Entry { value, since: epoch, used: AtomicU64::new(epoch), size };
            if map.pin().try_insert(key, entry).is_err() {
                // Relaxed: a budget, as above.
                self.bytes.fetch_sub(size, Ordering::Relaxed);
            }
        }
    }

    /// Puts a value in the place of another. The epoch is held for writing.
    fn replace<K: Hash + Eq, V>(&self, map: &Map<K, V>, key: K, value: V, extra: usize, epoch: u64) {
        self.remove(map, &key);
        // Relaxed: a budget, as in `reserve`.
        if self.bytes.load(Ordering::Relaxed) >= self.budget / 8 * 7 {
            self.make_room();
        }
        self.add(map, key, value, extra, epoch);
    }

    fn remove<K: Hash + Eq, V>(&self, map: &Map<K, V>, key: &K) {
        if let Some(entry) = map.pin().remove(key) {
            // Relaxed: a budget.
            self.bytes.fetch_sub(entry.size, Ordering::Relaxed);
        }
    }

    fn forget_all<K: Hash + Eq, V>(&self, map: &Map<K, V>) {
        self.retain(map, |_, _| false);
    }

    /// Forgets all slots of these accounts. Destroyed accounts are rare, so there is no index for it.
    fn forget_slots<'a, T: 'a>(&self, accounts: impl Iterator<Item = (&'a Address, T)>) {
        let addresses: AddressSet = accounts.map(|(address, _)| *address).collect();
        if !addresses.is_empty() {
            self.retain(&self.slots, |(address, _), _| !addresses.contains(address));
        }
    }

    fn retain<K: Hash + Eq, V>(&self, map: &Map<K, V>, keep: impl Fn(&K, &Entry<V>) -> bool) {
        let map = map.pin();
        for (key, entry) in &map {
            if !keep(key, entry) && map.remove(key).is_some() {
                // Relaxed: a budget.
                self.bytes.fetch_sub(entry.size, Ordering::Relaxed);
            }
        }
    }

    /// If three quarters of the budget are taken, lets go what was not read for the longest time, down to a half. The
    /// epoch is held for writing.
    fn make_room(&self) {
        // Relaxed: a budget.
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes <= self.budget / 4 * 3 {
            return;
        }
        let mut ages: BTreeMap<u64, usize> = BTreeMap::new();
        count_ages(&self.accounts, &mut ages);
        count_ages(&self.slots, &mut ages);
        count_ages(&self.codes, &mut ages);
        count_ages(&self.hashes, &mut ages);
        let excess = bytes - self.budget / 2;
        let mut sum = 0;
        let last = ages.into_iter().find_map(|(age, bytes)| {
            sum += bytes;
            (sum >= excess).then_some(age)
        });
        let last = last.unwrap_or(u64::MAX);
        let left = Cell::new(excess);
        self.evict(&self.accounts, last, &left);
        self.evict(&self.slots, last, &left);
        self.evict(&self.codes, last, &left);
        self.evict(&self.hashes, last, &left);
    }

    /// Lets go what was last read at this epoch or before, while there is something `left` to go.
    fn evict<K: Hash + Eq, V>(&self, map: &Map<K, V>, last: u64, left: &Cell<usize>) {
        self.retain(map, |_, entry| {
            // Relaxed: an age, a hint for whom to evict.
            let goes = left.get() > 0 && entry.used.load(Ordering::Relaxed) <= last;
            if goes {
                left.set(left.get().saturating_sub(entry.size));
                // Relaxed: a count.
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            !goes
        });
    }
}

fn find<K: Hash + Eq, V: Clone>(map: &Map<K, V>, key: &K, epoch: u64) -> Option<V> {
    let map = map.pin();
    let entry = map.get(key).filter(|entry| entry.since <= epoch)?;
    // Relaxed: an age, here and below; a hint for whom to evict.
    if entry.used.load(Ordering::Relaxed) < epoch {
        entry.used.store(epoch, Ordering::Relaxed);
    }
    Some(entry.value.clone())
}

fn count_ages<K: Hash + Eq, V>(map: &Map<K, V>, ages: &mut BTreeMap<u64, usize>) {
    for entry in map.pin().values() {
        // Relaxed: an age, as above.
        *ages.entry(entry.used.load(Ordering::Relaxed)).or_default() += entry.size;
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
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        let key = Key::Account(address);
        unwrap_answer!(Account, key, self.read(key))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        let key = Key::Storage(address, slot);
        unwrap_answer!(Storage, key, self.read(key))
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        let key = Key::Code(hash);
        unwrap_answer!(Code, key, self.read(key))
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        let key = Key::BlockHash(number);
        unwrap_answer!(BlockHash, key, self.read(key))
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        self.base.deferred().map(|_| self as _)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        self.base.has_storage(address)
    }
}

impl fmt::Debug for HotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotState").field("budget", &self.0.budget).field("now", &self.statistics()).finish()
    }
}

impl fmt::Debug for CachedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSource").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
