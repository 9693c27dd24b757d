//! Memory that lives as long as its block: bump allocation for one worker, freed all at once.

use std::{cell::RefCell, fmt, ptr::NonNull};

use bumpalo::Bump;

/// One worker's allocations for one block.
///
/// What it hands out stays valid until the arena is dropped or [`reset`](Self::reset), which the borrow
/// checker sees to: both need the arena to be free of borrows.
#[derive(Default)]
pub struct Arena {
    bump: Bump,
    owned: RefCell<Vec<Owned>>,
}

/// A value with a destructor, to be run when the arena goes.
struct Owned {
    value: NonNull<u8>,
    drop: unsafe fn(NonNull<u8>),
}

impl Arena {
    /// An empty arena; allocates nothing until it is used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a value that needs no destructor.
    #[inline]
    pub fn alloc<T>(&self, value: T) -> &T {
        const { assert!(!std::mem::needs_drop::<T>(), "use alloc_owned for types with destructors") };
        self.bump.alloc(value)
    }

    /// Stores a value whose destructor runs when the arena is dropped or reset.
    pub fn alloc_owned<T: Send + Sync + 'static>(&self, value: T) -> &T {
        // SAFETY: what borrows nothing has nothing dead to look at.
        unsafe { self.alloc_owned_borrowing(value) }
    }

    /// As [`alloc_owned`](Self::alloc_owned), of a value that may borrow.
    ///
    /// # Safety
    ///
    /// The destructor runs when the arena goes, which may be after what the value borrows: it must not look at
    /// that.
    pub unsafe fn alloc_owned_borrowing<T: Send + Sync>(&self, value: T) -> &T {
        unsafe fn drop_value<T>(value: NonNull<u8>) {
            // SAFETY: `value` was allocated below as a `T`, and the arena runs each destructor once.
            unsafe { value.cast::<T>().drop_in_place() }
        }
        let value: &mut T = self.bump.alloc(value);
        if std::mem::needs_drop::<T>() {
            self.owned
                .borrow_mut()
                .push(Owned { value: NonNull::from(&mut *value).cast(), drop: drop_value::<T> });
        }
        value
    }

    /// Frees everything, keeping the largest chunk of memory for the next block.
    pub fn reset(&mut self) {
        self.drop_owned();
        self.bump.reset();
    }

    /// Bytes that are allocated from the system.
    pub fn allocated_bytes(&self) -> usize {
        self.bump.allocated_bytes()
    }

    fn drop_owned(&mut self) {
        for owned in self.owned.get_mut().drain(..) {
            // SAFETY: the value was allocated by `alloc_owned`, is still in the bump memory, and leaves the
            // list here, so that its destructor runs once; `&mut self` rules out references to it.
            unsafe { (owned.drop)(owned.value) }
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.drop_owned();
    }
}

// SAFETY: the destructors belong to `Send` values (see `alloc_owned`), and everything else is owned memory.
unsafe impl Send for Arena {}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("allocated_bytes", &self.allocated_bytes()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn owned_values_are_dropped_once() {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut arena = Arena::new();
        arena.alloc_owned(Counted(drops.clone()));
        arena.alloc_owned(Counted(drops.clone()));
        assert_eq!(*arena.alloc(7_u64), 7);
        arena.reset();
        assert_eq!(drops.load(Ordering::Relaxed), 2);
        arena.alloc_owned(Counted(drops.clone()));
        drop(arena);
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    }
}
