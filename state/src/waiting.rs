//! One atomic word that either says something or has a list of fibers that wait until it does.
//!
//! The word is a tagged pointer, so that "is it still to come?" and "add me to who waits" are one
//! compare-and-swap, and "here it is" and "who waits for it?" are one swap. A waiter is therefore either in the
//! list that the publisher takes, or sees that there is nothing left to wait for: no wake-up can fall between.

use std::{marker::PhantomData, ptr};

use crate::sync::{AtomicPtr, Ordering, mutation};

const TAG: usize = 0b11;
/// Nothing is there, and nobody waits: the word is null.
pub(crate) const ABSENT: usize = 0b00;
/// The two things that a word may say.
pub(crate) const VALUE: usize = 0b01;
/// See [`VALUE`].
pub(crate) const OTHER: usize = 0b10;
/// It is to come; the pointer is the list of those who wait.
pub(crate) const AWAITED: usize = 0b11;

/// A tagged pointer.
pub(crate) type Word = *mut ();

pub(crate) fn tag(word: Word) -> usize {
    word.addr() & TAG
}

pub(crate) fn untag(word: Word) -> Word {
    word.map_addr(|address| address & !TAG)
}

pub(crate) fn tagged<T>(pointer: *const T, tag: usize) -> Word {
    const { assert!(align_of::<T>() > TAG, "the tag needs the low bits") };
    pointer.cast_mut().cast::<()>().map_addr(|address| address | tag)
}

/// The word of what is to come, without anybody who waits.
pub(crate) fn awaited() -> Word {
    tagged::<Waiter<'_>>(ptr::null(), AWAITED)
}

/// A parked fiber's place in a waiting list: which transaction, and which of its parkings.
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

/// The waiters that a publisher took: each is to be woken.
#[derive(Debug)]
pub struct Waiters<'b> {
    next: *const Waiter<'b>,
}

impl Waiters<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_null()
    }
}

impl<'b> Iterator for Waiters<'b> {
    type Item = &'b Waiter<'b>;

    fn next(&mut self) -> Option<&'b Waiter<'b>> {
        // SAFETY: the list holds only `&'b Waiter`s (see `WaitWord::wait`), and who pushed them wrote
        // `next` before the push, which the taker's acquiring swap sees.
        let waiter = unsafe { self.next.as_ref()? };
        // Relaxed: the swap that took the list acquired it.
        self.next = waiter.next.load(Ordering::Relaxed);
        Some(waiter)
    }
}

/// What fibers wait for.
///
/// Every write is a read-modify-write with release, every read acquires: who sees what it says sees the record
/// behind it, and who takes a waiting list sees its nodes.
#[derive(Debug)]
pub struct WaitWord<'b> {
    word: AtomicPtr<()>,
    lifetime: PhantomData<&'b ()>,
}

impl Default for WaitWord<'_> {
    fn default() -> Self {
        Self { word: AtomicPtr::new(ptr::null_mut()), lifetime: PhantomData }
    }
}

impl<'b> WaitWord<'b> {
    /// What the word says at the moment.
    #[inline]
    pub(crate) fn load(&self) -> Word {
        // Acquire: pairs with `swap`; who sees the word sees its record.
        self.word.load(mutation!("read-relaxed", Ordering::Relaxed, Ordering::Acquire))
    }

    /// Whether something is to come at the moment.
    pub fn is_awaited(&self) -> bool {
        tag(self.load()) == AWAITED
    }

    /// Joins the waiting list, if something is to come. `false`: there is nothing to wait for any more.
    ///
    /// The caller must already be wakeable under the waiter's ticket: the wake-up may come before this
    /// returns.
    #[must_use]
    pub fn wait(&self, waiter: &'b Waiter<'b>) -> bool {
        // Acquire: pairs with `swap`, so that a caller who need not wait sees what was published.
        let mut seen = self.word.load(Ordering::Acquire);
        while tag(seen) == AWAITED {
            // Relaxed: the exchange below publishes it.
            waiter.next.store(untag(seen).cast(), Ordering::Relaxed);
            // Release: the publisher that takes the list sees the node. Pairs with `swap`.
            let success = mutation!("wait-relaxed", Ordering::Relaxed, Ordering::AcqRel);
            match self.word.compare_exchange(seen, tagged(waiter, AWAITED), success, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Says that something is to come, if nothing was said yet. `true`: it was the caller who said so.
    #[must_use]
    pub(crate) fn announce(&self) -> bool {
        let absent = ptr::without_provenance_mut(ABSENT);
        // Release, Acquire: as every write. Nothing depends on it: it brings no record and takes no list.
        mutation!(
            "announce-in-two-steps",
            {
                let announces = self.word.load(Ordering::Acquire).is_null();
                if announces {
                    self.word.store(awaited(), Ordering::Release);
                }
                announces
            },
            // Acquire, Release: as above.
            self.word.compare_exchange(absent, awaited(), Ordering::AcqRel, Ordering::Acquire).is_ok()
        )
    }

    /// Says something, and takes those who waited for it.
    pub(crate) fn swap(&self, new: Word) -> Waiters<'b> {
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
        let next = if tag(old) == AWAITED { untag(old).cast_const().cast() } else { ptr::null() };
        Waiters { next }
    }
}
