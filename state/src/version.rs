//! One transaction's version of one cell, in one atomic word: absent, a value, a delta, or an estimate with
//! the fibers that wait for it.

use std::{marker::PhantomData, ptr};

use crate::{
    sync::{AtomicPtr, AtomicU32, Ordering},
    waiting::{AWAITED as ESTIMATE, OTHER as DELTA, VALUE, WaitWord, Waiters, awaited, tag, tagged, untag},
};

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
    word: WaitWord<'b>,
    /// The content that was last published (tagged; null if none), kept while the word says "estimate".
    /// Owner only, as `stamp`.
    last: AtomicPtr<()>,
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
            word: WaitWord::default(),
            last: AtomicPtr::new(ptr::null_mut()),
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

    /// What fibers wait for while this is an estimate.
    pub fn waiting(&self) -> &WaitWord<'b> {
        &self.word
    }

    /// Turns the version into an estimate, keeping in mind what it said. Owner only.
    pub fn estimate(&self) {
        // Only the owner makes an estimate or ends one.
        if !self.is_estimate() {
            let waiters = self.word.swap(awaited());
            debug_assert!(waiters.is_empty(), "nobody waits for what is not an estimate");
        }
    }

    /// Whether this is an estimate at the moment.
    pub fn is_estimate(&self) -> bool {
        self.word.is_awaited()
    }

    /// Whether there is no version here at the moment.
    pub fn is_absent(&self) -> bool {
        self.word.load().is_null()
    }

    /// Takes the version back: the transaction does not write the cell after all. Owner only.
    #[must_use]
    pub fn retract(&self) -> Displaced<'b> {
        // Relaxed: the owner's, as in `stamp`.
        let changed = !self.last.load(Ordering::Relaxed).is_null();
        self.last.store(ptr::null_mut(), Ordering::Relaxed);
        Displaced { waiters: self.word.swap(ptr::null_mut()), changed }
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
        let word = self.common.word.load();
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
        let waiters = self.common.word.swap(tagged(value, VALUE));
        debug_assert!(waiters.is_empty(), "a settled version was published before");
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
        Displaced { waiters: self.common.word.swap(word), changed: !same }
    }
}
