//! A cell's versions: a list sorted from the highest index down, which only grows while the block lives.

use std::{marker::PhantomData, ptr};

use crate::{
    arena::Arena,
    sync::{AtomicPtr, Ordering, mutation},
    version::{Entry, Version, VersionWord},
};

/// The versions of one cell.
///
/// Entries are inserted by compare-and-swap and never unlinked: a version that is taken back becomes
/// [`Version::Absent`] in place. So a traversal needs no guard, and there is nothing to reclaim before the
/// block's arenas go.
#[derive(Debug)]
pub struct Chain<'b, V> {
    head: AtomicPtr<Entry<'b, V>>,
    entries: PhantomData<&'b Entry<'b, V>>,
}

impl<V> Default for Chain<'_, V> {
    fn default() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()), entries: PhantomData }
    }
}

/// The highest version below an index.
#[derive(Debug)]
pub enum Visible<'b, V> {
    /// No transaction below wrote the cell.
    None,
    /// The value that the transaction at this index left.
    Value(u32, &'b V),
    /// The version of a lower transaction that is not there yet.
    Blocked(&'b VersionWord<'b>),
}

impl<'b, V: PartialEq> Chain<'b, V> {
    /// A chain without versions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no transaction has an entry here. May be out of date at once.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Acquire: pairs with the insertion in `entry`. A caller that relies on it looks again later.
        self.head.load(Ordering::Acquire).is_null()
    }

    /// The entry of the transaction at `index`, inserted if there is none.
    pub fn entry(&self, index: u32, arena: &'b Arena) -> &'b Entry<'b, V> {
        let mut new: Option<&'b Entry<'b, V>> = None;
        let mut link: &AtomicPtr<Entry<'b, V>> = &self.head;
        loop {
            // Acquire: pairs with the release of the insertion below.
            let current = link.load(Ordering::Acquire);
            // SAFETY: links hold null or a `&'b Entry`.
            match unsafe { current.as_ref::<'b>() } {
                Some(entry) if entry.common().index() > index => link = &entry.next,
                Some(entry) if entry.common().index() == index => return entry,
                _ => {
                    let entry = *new.get_or_insert_with(|| arena.alloc(Entry::new(index)));
                    // Relaxed: nobody else has the entry yet.
                    entry.next.store(current, Ordering::Relaxed);
                    // Release: who finds the entry sees it initialised. A failure means that somebody
                    // inserted at this very link: look again from here, entries never go away.
                    let success = mutation!("insert-relaxed", Ordering::Relaxed, Ordering::Release);
                    let new = ptr::from_ref(entry).cast_mut();
                    let inserted = mutation!(
                        "insert-by-swap",
                        Ok(link.swap(new, Ordering::AcqRel)),
                        link.compare_exchange(current, new, success, Ordering::Relaxed)
                    );
                    if inserted.is_ok() {
                        return entry;
                    }
                }
            }
        }
    }

    /// The entries of the transactions below `index`, from the highest down.
    #[inline]
    pub fn below(&self, index: u32) -> Below<'b, V> {
        // Acquire, here and below: pairs with the insertion in `entry`.
        let mut next = self.head.load(Ordering::Acquire);
        // SAFETY: as in `entry`.
        while let Some(entry) = unsafe { next.as_ref::<'b>() } {
            if entry.common().index() < index {
                break;
            }
            next = entry.next.load(Ordering::Acquire);
        }
        Below { next, entries: PhantomData }
    }

    /// The highest value below `index`. Of a chain without deltas.
    #[inline]
    pub fn visible(&self, index: u32) -> Visible<'b, V> {
        self.visible_past(index, false)
    }

    /// As [`visible`](Self::visible); on demand past versions that are not there yet, to whatever lies below.
    #[inline]
    pub fn visible_past(&self, index: u32, estimates: bool) -> Visible<'b, V> {
        for entry in self.below(index) {
            match entry.read() {
                Version::Absent => {}
                Version::Estimate if estimates => {}
                Version::Value(value) | Version::Delta(value) => {
                    return Visible::Value(entry.common().index(), value);
                }
                Version::Estimate => return Visible::Blocked(entry.common()),
            }
        }
        Visible::None
    }
}

/// The iterator of [`Chain::below`].
#[derive(Debug)]
pub struct Below<'b, V> {
    next: *const Entry<'b, V>,
    entries: PhantomData<&'b Entry<'b, V>>,
}

impl<'b, V> Iterator for Below<'b, V> {
    type Item = &'b Entry<'b, V>;

    #[inline]
    fn next(&mut self) -> Option<&'b Entry<'b, V>> {
        // SAFETY: links hold null or a `&'b Entry`.
        let entry = unsafe { self.next.as_ref::<'b>()? };
        // Acquire: pairs with the insertion in `Chain::entry`.
        self.next = entry.next.load(Ordering::Acquire);
        Some(entry)
    }
}
