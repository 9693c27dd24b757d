//! A cache that outlives blocks: values of different sizes within a budget of memory, found, added and let go without a
//! lock.
//!
//! The table is a fixed number of *rows* of a few *places*, each a pointer to an entry, or null. A key's hash says which
//! row is its own; within it the key may be anywhere. An entry never changes once it is in a place. Whoever takes it out, by
//! exchanging the pointer, owes its memory to the epoch-based collector, which frees it when nobody can be reading it any
//! more (Fraser, *Practical lock-freedom*, 2004).
//!
//! Time is counted in *moments*, which the owner defines. What was added at a moment is found from that moment on, and an
//! entry that was used at the present moment does not have to make room for another.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    mem,
};

use crossbeam_epoch::{Atomic, Guard, Owned, Shared, pin};
use revm::primitives::map::DefaultHashBuilder;

use crate::{
    mutation,
    sync::{
        Ordering, Watched,
        unordered::{AtomicU64, AtomicUsize},
    },
};

/// Places in a row, which are a cache line.
#[cfg(not(loom))]
const PLACES: usize = 8;
/// Few are explored sooner.
#[cfg(loom)]
const PLACES: usize = 2;

/// What an entry takes besides itself: what the allocator adds, and its place in the table.
const OVERHEAD: usize = 32;

/// The table has so many rows at most: 128 MiB.
const MOST_ROWS: usize = 1 << 21;

/// So many rows at most are looked through for room for an entry, and as many more as it is large.
const SWEEP: usize = 16;

/// See the module.
pub struct Cache<K, V> {
    rows: Box<[Row<K, V>]>,
    hasher: DefaultHashBuilder,
    /// What the entries may take, in bytes.
    budget: usize,
    /// What they take: reserved before one is added.
    bytes: AtomicUsize,
    entries: AtomicUsize,
    evicted: AtomicU64,
    /// The row that is looked at next for something to let go.
    hand: AtomicUsize,
}

#[repr(align(64))]
struct Row<K, V>([Atomic<Entry<K, V>>; PLACES]);

struct Entry<K, V> {
    key: K,
    value: V,
    /// The moment at which it was added.
    since: u64,
    /// The last moment that found it.
    used: AtomicU64,
    /// What it takes, in bytes.
    size: usize,
    watched: Watched,
}

/// A place, and what was found in it.
type Found<'g, K, V> = (&'g Atomic<Entry<K, V>>, Shared<'g, Entry<K, V>>);

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Nothing yet, and never more than about `budget` bytes. The table takes some twentieth of them from the beginning.
    pub fn new(budget: usize) -> Self {
        let entry = mem::size_of::<Entry<K, V>>() + OVERHEAD;
        let rows = (budget / entry / PLACES).clamp(1, MOST_ROWS).next_power_of_two();
        let table = rows * mem::size_of::<Row<K, V>>();
        Self {
            rows: (0..rows).map(|_| Row(Default::default())).collect(),
            hasher: DefaultHashBuilder::default(),
            budget: budget.saturating_sub(table),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    fn row(&self, key: &K) -> &Row<K, V> {
        // A power of two of them.
        &self.rows[self.hasher.hash_one(key) as usize & (self.rows.len() - 1)]
    }

    /// What was added of a key by this moment.
    pub fn get(&self, key: &K, moment: u64) -> Option<V> {
        let guard = pin();
        let (_, entry) = self.row(key).entries(&guard).find(|(_, entry)| entry.key == *key)?;
        if entry.since > moment {
            return None;
        }
        // Relaxed, here and below: an age, a hint for whom to evict.
        if entry.used.load(Ordering::Relaxed) < moment {
            entry.used.store(moment, Ordering::Relaxed);
        }
        Some(entry.value.clone())
    }

    /// Adds a value that takes so many bytes besides itself, if there is none of this key and room for it. What was not used
    /// at this moment goes to make room.
    ///
    /// Who adds at the same time as somebody [removes](Self::remove) the same key may add before or after that.
    pub fn add(&self, key: K, value: V, extra: usize, moment: u64) {
        let size = mem::size_of::<Entry<K, V>>() + OVERHEAD + extra;
        let guard = pin();
        let row = self.row(&key);
        if row.entries(&guard).any(|(_, entry)| entry.key == key) || !self.make_room(size, moment, &guard) {
            return;
        }
        // Counted before others can take it out. Relaxed: a count.
        self.entries.fetch_add(1, Ordering::Relaxed);
        let used = AtomicU64::new(moment);
        let new = Owned::new(Entry { key, value, since: moment, used, size, watched: Watched::new() });
        if !self.place(row, new, moment, &guard) {
            // Relaxed: a budget, here and below. The entries are handed over by their places.
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Finds a place for an entry whose bytes are reserved: an empty one, or that of the one that was not used for the longest
    /// time. `false`: there is none, or somebody else was quicker.
    fn place(&self, row: &Row<K, V>, mut new: Owned<Entry<K, V>>, moment: u64, guard: &Guard) -> bool {
        for place in &row.0 {
            // Acquire: pairs with the exchange that put there what is there.
            let now = place.load(Ordering::Acquire, guard);
            // SAFETY: as in `Row::entries`.
            match unsafe { now.as_ref() } {
                // Two who add the same key at once may all the same take two places: then either is found.
                Some(entry) if entry.key == new.key => return false,
                Some(_) => {}
                None => match self.exchange(place, now, new, guard) {
                    Ok(()) => return true,
                    Err(again) => new = again,
                },
            }
        }
        row.oldest(moment, guard).is_some_and(|(place, now)| self.exchange(place, now, new, guard).is_ok())
    }

    /// Forgets what is known of a key.
    pub fn remove(&self, key: &K) {
        let guard = pin();
        // All of them: two who add at once may have taken two places.
        for (place, entry) in self.row(key).entries(&guard).filter(|(_, entry)| entry.key == *key) {
            self.take_out(place, Shared::from(std::ptr::from_ref(entry)), &guard);
        }
    }

    /// Forgets whatever is not to be kept. Looks at everything.
    pub fn retain(&self, keep: impl Fn(&K) -> bool) {
        for row in &self.rows {
            let guard = pin();
            for (place, entry) in row.entries(&guard).filter(|(_, entry)| !keep(&entry.key)) {
                self.take_out(place, Shared::from(std::ptr::from_ref(entry)), &guard);
            }
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        // Relaxed: a count, which hands nothing over.
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the values take, about, in bytes.
    pub fn bytes(&self) -> usize {
        // Relaxed: a count.
        self.bytes.load(Ordering::Relaxed)
    }

    /// What the values may take, in bytes: what the table leaves of the budget.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// How many values had to go to make room.
    pub fn evicted(&self) -> u64 {
        // Relaxed: a count.
        self.evicted.load(Ordering::Relaxed)
    }

    /// Reserves so many bytes. Where there are not enough, lets go what was not used at this moment: the oldest of each row, one
    /// row after the other.
    fn make_room(&self, size: usize, moment: u64, guard: &Guard) -> bool {
        if size > self.budget {
            return false;
        }
        for _ in 0..=SWEEP + size / OVERHEAD {
            // Relaxed: a budget, and where to look.
            let reserved = self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                bytes.checked_add(size).filter(|bytes| *bytes <= self.budget)
            });
            if reserved.is_ok() {
                return true;
            }
            let hand = self.hand.fetch_add(1, Ordering::Relaxed);
            if let Some((place, oldest)) = self.rows[hand & (self.rows.len() - 1)].oldest(moment, guard)
                && self.take_out(place, oldest, guard)
            {
                // Relaxed: a count.
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        false
    }

    /// Puts an entry, whose bytes are reserved, in the place of what was there, or of nothing. Gives it back where
    /// somebody else was quicker.
    fn exchange<'g>(
        &self,
        place: &Atomic<Entry<K, V>>,
        old: Shared<'g, Entry<K, V>>,
        new: Owned<Entry<K, V>>,
        guard: &'g Guard,
    ) -> Result<(), Owned<Entry<K, V>>> {
        // Release: pairs with the load in `Row::entries`, which shows the entry.
        let ordering = mutation!("cache-relaxed", Ordering::Relaxed, Ordering::Release);
        match place.compare_exchange(old, new, ordering, Ordering::Relaxed, guard) {
            Ok(_) => {
                if !old.is_null() {
                    // Relaxed: a count.
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                    self.retire(old, guard);
                }
                Ok(())
            }
            Err(failed) => Err(failed.new),
        }
    }

    /// Empties a place, if this is still what is in it.
    fn take_out<'g>(
        &self,
        place: &Atomic<Entry<K, V>>,
        old: Shared<'g, Entry<K, V>>,
        guard: &'g Guard,
    ) -> bool {
        // Relaxed: it hands nothing over. Whoever finds the entry no more learns nothing else by it, and the collector
        // has a fence of its own before it frees what was taken out.
        let taken = place.compare_exchange(old, Shared::null(), Ordering::Relaxed, Ordering::Relaxed, guard);
        if taken.is_ok() {
            self.retire(old, guard);
        } else if mutation!("cache-counts-losers", true, false) {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// An entry that was taken out by the caller, and by nobody else.
    fn retire<'g>(&self, old: Shared<'g, Entry<K, V>>, guard: &'g Guard) {
        // SAFETY: not null, and the guard was there before it was taken out.
        let entry = unsafe { old.deref() };
        // Relaxed: a budget and a count.
        self.bytes.fetch_sub(entry.size, Ordering::Relaxed);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        mutation!(
            "cache-dropped-at-once",
            // SAFETY: there is none, which is what the model is to notice.
            unsafe { std::ptr::drop_in_place(old.as_raw().cast_mut()) },
            // SAFETY: it is in no place any more, so nobody who pins from now on finds it; and the caller alone took it out.
            unsafe { guard.defer_destroy(old) }
        );
    }
}

impl<K, V> Row<K, V> {
    /// What is in the places.
    fn entries<'g>(
        &'g self,
        guard: &'g Guard,
    ) -> impl Iterator<Item = (&'g Atomic<Entry<K, V>>, &'g Entry<K, V>)> {
        self.0.iter().filter_map(|place| {
            // Acquire: pairs with the exchange that put it there.
            // SAFETY: it was there after the guard had been, so it is not freed before the guard goes.
            let entry = unsafe { place.load(Ordering::Acquire, guard).as_ref() }?;
            entry.watched.look();
            Some((place, entry))
        })
    }

    /// The entry that was not used for the longest time, and not at this moment.
    fn oldest<'g>(&'g self, moment: u64, guard: &'g Guard) -> Option<Found<'g, K, V>> {
        // Relaxed: an age.
        let age = |entry: &Entry<K, V>| entry.used.load(Ordering::Relaxed);
        let (place, oldest) = self
            .entries(guard)
            .filter(|(_, entry)| age(entry) < moment)
            .min_by_key(|(_, entry)| age(entry))?;
        Some((place, Shared::from(std::ptr::from_ref(oldest))))
    }
}

impl<K, V> Drop for Cache<K, V> {
    fn drop(&mut self) {
        for place in self.rows.iter_mut().flat_map(|row| &mut row.0) {
            // SAFETY: nobody else has the cache any more, and what is in a place is owned by it.
            drop(unsafe { mem::take(place).try_into_owned() });
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("rows", &self.rows.len())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
