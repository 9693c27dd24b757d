//! Who is in a block, and whether it is done: so that what is left of it can be taken apart once nobody is there.

use counterpoint_state::sync::{AtomicBool, AtomicU32, Ordering, mutation, thread};
use crossbeam_utils::CachePadded;

/// Workers in a block, and its end.
///
/// A worker enters, works until the block is done, and leaves. Who ends the block does so before it leaves. Who
/// saw the end may [`wait_alone`](Self::wait_alone): from then on, who enters finds the block done and touches
/// nothing. That rests on the one order of entries and exits: an entry before the exit of the worker that ended the
/// block is waited for, and an entry after it acquires the end.
///
/// Whoever drops the block acquires it here first. Its `Arc`'s own fence orders the same; ThreadSanitizer does not
/// follow fences, and would take the end of every block for a race. The count is boxed, since that goes by the
/// address, which must stay when the block is moved out of its `Arc`.
#[derive(Debug)]
pub(crate) struct Presence {
    visitors: Box<CachePadded<AtomicU32>>,
    done: AtomicBool,
}

impl Presence {
    /// Nobody is there.
    pub(crate) fn new(done: bool) -> Self {
        Self { visitors: Box::default(), done: AtomicBool::new(done) }
    }

    /// Enters. To be followed by a look at [`is_done`](Self::is_done) before anything is touched.
    pub(crate) fn enter(&self) {
        // Acquire: who comes after the exit of the worker that ended the block sees the end. Pairs with `leave`.
        self.visitors.fetch_add(1, mutation!("enter-relaxed", Ordering::Relaxed, Ordering::AcqRel));
    }

    /// Leaves.
    pub(crate) fn leave(&self) {
        // Release: what the worker did, its ending of the block included. Pairs with `enter` and `wait_alone`.
        self.visitors.fetch_sub(1, mutation!("leave-relaxed", Ordering::Relaxed, Ordering::AcqRel));
    }

    /// Whether the block was committed or given up.
    pub(crate) fn is_done(&self) -> bool {
        // Acquire: pairs with the store in `finish`.
        self.done.load(Ordering::Acquire)
    }

    /// The block is committed or given up.
    pub(crate) fn finish(&self) {
        // Release: the last commit is visible to who sees the end. Pairs with the load in `is_done`.
        self.done.store(true, mutation!("finish-relaxed", Ordering::Relaxed, Ordering::Release));
    }

    /// Releases what the caller did to the block after it left.
    pub(crate) fn release(&self) {
        // Release: pairs with the load in `drop`.
        self.visitors.fetch_add(0, Ordering::Release);
    }

    /// Waits until nobody is there. For a worker that saw the end and has left.
    pub(crate) fn wait_alone(&self) {
        debug_assert!(self.is_done(), "nobody would leave");
        // Acquire: what those did who left. Pairs with `leave`.
        while self.visitors.load(Ordering::Acquire) != 0 {
            thread::yield_now();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Acquire: pairs with `leave` and `release`.
        let _ = self.visitors.load(Ordering::Acquire);
    }
}
