//! One transaction's version of one cell, in one atomic word: absent, a value, a delta, or an estimate with
//! the fibers that wait for it.
//!
//! The word is a tagged pointer, so that "is it still an estimate?" and "add me to its waiters" are one
//! compare-and-swap, and "here is the value" and "who waits for it?" are one swap. A waiter is therefore
//! either in the list that the publisher takes, or sees that there is nothing left to wait for: no wake-up
//! can fall between.

use std::{marker::PhantomData, ptr};

use crate::sync::{AtomicPtr, AtomicU32, Ordering, mutation};

const TAG: usize = 0b11;
const VALUE: usize = 0b01;
const DELTA: usize = 0b10;
const ESTIMATE: usize = 0b11;

type Word = *mut ();

fn tag(word: Word) -> usize {
    word.addr() & TAG
}

fn untag(word: Word) -> Word {
    word.map_addr(|address| address & !TAG)
}

fn tagged<T>(pointer: *const T, tag: usize) -> Word {
    const { assert!(align_of::<T>() > TAG, "the tag needs the low bits") };
    pointer.cast_mut().cast::<()>().map_addr(|address| address | tag)
}

/// A parked fiber's place in the waiting list of an estimate: which transaction, and which of its parkings.
#[derive(Debug)]
#[repr(align(8))]
pub struct Waiter<'b> {
    /// The transaction's index.
    pub index: u32,
    /// The parking's ticket: a wake-up for an earlier parking does nothing.
    pub ticket: u32,
    /// Written before the waiter is published, read by who took the list.
    next: AtomicPtr<Waiter<'b>>,
}

impl Waiter<'_> {
    /// A waiter for this parking.
    pub fn new(index: u32, ticket: u32) -> Self {
        Self { index, ticket, next: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// The waiters that a publisher took.
#[derive(Debug)]
pub struct Waiters<'b> {
    next: *const Waiter<'b>,
}

impl<'b> Iterator for Waiters<'b> {
    type Item = &'b Waiter<'b>;

    fn next(&mut self) -> Option<&'b Waiter<'b>> {
        // SAFETY: the list holds only `&'b Waiter`s (see `VersionWord::wait`), and who pushed them wrote
        // `next` before the push, which the taker's acquiring swap sees.
        let waiter = unsafe { self.next.as_ref()? };
        // Relaxed: the swap that took the list acquired it.
        self.next = waiter.next.load(Ordering::Relaxed);
        Some(waiter)
    }
}

/// What a version says, as a reader sees it.
#[derive(Debug)]
pub enum Version<'b, V> {
    /// Nothing: the transaction did not write the cell (any more).
    Absent,
    /// The cell's value after the transaction.
    Value(&'b V),
    /// What the transaction adds to what lies below.
    Delta(&'b V),
    /// The transaction will probably write the cell, and has not yet.
    Estimate,
}

impl<V> Clone for Version<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Version<'_, V> {}

/// What one transaction left in one cell. The part that does not depend on the cell's type.
///
/// Only the worker that has claimed the transaction writes (`publish`, `estimate`, `retract`); anybody reads
/// and waits.
#[derive(Debug)]
pub struct VersionWord<'b> {
    index: u32,
    /// The incarnation that wrote last. Owner only: ownership travels with the transaction word.
    stamp: AtomicU32,
    /// The tagged word. Every write is a read-modify-write with release, every read acquires: who sees a
    /// value sees its record, and who takes a waiting list sees its nodes.
    word: AtomicPtr<()>,
    /// The content that was last published (tagged; null if none), kept while the word says "estimate".
    /// Owner only, as `stamp`.
    last: AtomicPtr<()>,
    lifetime: PhantomData<&'b ()>,
}

/// What a publication displaced.
#[derive(Debug)]
pub struct Displaced<'b> {
    /// Fibers that waited for this version: each is to be woken.
    pub waiters: Waiters<'b>,
    /// Whether readers of the earlier content, or of what lies below, read something that no longer holds.
    pub changed: bool,
}

impl<'b> VersionWord<'b> {
    fn new(index: u32) -> Self {
        Self {
            index,
            stamp: AtomicU32::new(u32::MAX),
            word: AtomicPtr::new(ptr::null_mut()),
            last: AtomicPtr::new(ptr::null_mut()),
            lifetime: PhantomData,
        }
    }

    /// The index of the transaction whose version this is.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The incarnation that wrote last ([`u32::MAX`]: none). Owner only.
    pub fn stamp(&self) -> u32 {
        // Relaxed: the owner's, like `last`. Ownership travels with the transaction word, which orders.
        self.stamp.load(Ordering::Relaxed)
    }

    /// Notes that this incarnation wrote. Owner only.
    pub fn set_stamp(&self, incarnation: u32) {
        // Relaxed: as in `stamp`.
        self.stamp.store(incarnation, Ordering::Relaxed);
    }

    /// Joins the waiting list, if this is an estimate. `false`: there is nothing to wait for any more.
    ///
    /// The caller must already be wakeable under the waiter's ticket: the wake-up may come before this
    /// returns.
    #[must_use]
    pub fn wait(&self, waiter: &'b Waiter<'b>) -> bool {
        // Acquire: pairs with the swaps, so that a caller who need not wait sees what was published.
        let mut seen = self.word.load(Ordering::Acquire);
        while tag(seen) == ESTIMATE {
            // Relaxed: the exchange below publishes it.
            waiter.next.store(untag(seen).cast(), Ordering::Relaxed);
            // Release: the publisher that takes the list sees the node. Pairs with the swaps below.
            let success = mutation!("wait-relaxed", Ordering::Relaxed, Ordering::AcqRel);
            match self.word.compare_exchange(seen, tagged(waiter, ESTIMATE), success, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Turns the version into an estimate, keeping in mind what it said. Owner only.
    pub fn estimate(&self) {
        // Relaxed: only the owner changes whether it is an estimate.
        if tag(self.word.load(Ordering::Relaxed)) != ESTIMATE {
            // Not an estimate, so there are no waiters, and only the owner makes one: a store would do, but
            // one kind of write to the word is easier to argue about.
            // Release: as in `swap`, for whoever reads on to what lies below.
            self.word.swap(tagged::<Waiter<'_>>(ptr::null(), ESTIMATE), Ordering::AcqRel);
        }
    }

    /// Whether this is an estimate at the moment.
    pub fn is_estimate(&self) -> bool {
        // Acquire: pairs with `swap`.
        tag(self.word.load(Ordering::Acquire)) == ESTIMATE
    }

    /// Whether there is no version here at the moment.
    pub fn is_absent(&self) -> bool {
        // Acquire: pairs with `swap`.
        self.word.load(Ordering::Acquire).is_null()
    }

    /// Takes the version back: the transaction does not write the cell after all. Owner only.
    #[must_use]
    pub fn retract(&self) -> Displaced<'b> {
        // Relaxed: the owner's, as in `stamp`.
        let changed = !self.last.load(Ordering::Relaxed).is_null();
        self.last.store(ptr::null_mut(), Ordering::Relaxed);
        Displaced { waiters: self.swap(ptr::null_mut()), changed }
    }

    fn swap(&self, new: Word) -> Waiters<'b> {
        // Release: readers that see `new` see its record. Acquire: the taken waiters are visible.
        let old = mutation!(
            "publish-in-two-steps",
            {
                let old = self.word.load(Ordering::Acquire);
                self.word.store(new, Ordering::Release);
                old
            },
            self.word.swap(new, mutation!("publish-relaxed", Ordering::Relaxed, Ordering::AcqRel))
        );
        let next = if tag(old) == ESTIMATE { untag(old).cast_const().cast() } else { ptr::null() };
        Waiters { next }
    }
}

/// A version in a cell's chain, linked to the next lower one.
#[derive(Debug)]
pub struct Entry<'b, V> {
    common: VersionWord<'b>,
    /// The next lower version. Written before the entry is published and by insertions below it.
    pub(crate) next: AtomicPtr<Entry<'b, V>>,
    values: PhantomData<&'b V>,
}

impl<'b, V: PartialEq> Entry<'b, V> {
    pub(crate) fn new(index: u32) -> Self {
        Self { common: VersionWord::new(index), next: AtomicPtr::new(ptr::null_mut()), values: PhantomData }
    }

    /// The part that does not depend on the cell's type.
    pub fn common(&self) -> &VersionWord<'b> {
        &self.common
    }

    /// What the version says now.
    #[inline]
    pub fn read(&self) -> Version<'b, V> {
        // Acquire: pairs with `swap`; who sees the word sees its record.
        let word = self.common.word.load(mutation!("read-relaxed", Ordering::Relaxed, Ordering::Acquire));
        let record = untag(word).cast_const().cast::<V>();
        // SAFETY: a word tagged VALUE or DELTA was made from a `&'b V` by `publish`, and the acquiring load
        // makes the record visible.
        unsafe {
            match tag(word) {
                VALUE => Version::Value(&*record),
                DELTA => Version::Delta(&*record),
                ESTIMATE => Version::Estimate,
                _ => Version::Absent,
            }
        }
    }

    /// Publishes the cell's value after this transaction. Owner only.
    #[must_use]
    pub fn publish(&self, value: &'b V) -> Displaced<'b> {
        self.replace(value, VALUE)
    }

    /// Publishes what this transaction adds to what lies below. Owner only.
    #[must_use]
    pub fn publish_delta(&self, delta: &'b V) -> Displaced<'b> {
        self.replace(delta, DELTA)
    }

    /// Replaces a delta by the value that it folds to, once everything below is final: what readers see is
    /// the same, they only find it faster. Owner only.
    pub fn settle(&self, value: &'b V) {
        // Relaxed: the owner's, as in `stamp`.
        self.common.last.store(tagged(value, VALUE), Ordering::Relaxed);
        let waiters = self.common.swap(tagged(value, VALUE));
        debug_assert!(waiters.next.is_null(), "a settled version was published before");
    }

    fn replace(&self, record: &'b V, kind: usize) -> Displaced<'b> {
        // Relaxed: the owner's, as in `stamp`.
        let last = self.common.last.load(Ordering::Relaxed);
        let same = tag(last) == kind && {
            // SAFETY: as in `read`; `last` holds the word of an earlier `publish`.
            let last = unsafe { &*untag(last).cast_const().cast::<V>() };
            last == record
        };
        let word = tagged(record, kind);
        // Relaxed: the owner's, as in `stamp`.
        self.common.last.store(word, Ordering::Relaxed);
        Displaced { waiters: self.common.swap(word), changed: !same }
    }
}
