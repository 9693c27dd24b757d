//! Test only: disorder at every point where the order of things may vary.

use std::{hint::black_box, ptr};

use counterpoint_state::sync::unordered::{AtomicU64, Ordering};

/// Pauses at reads, wrong predictions, and forced invalidations, from a seed.
///
/// Results must not change under any of it. The decisions depend on the seed and on a shared count, so that
/// one worker repeats them exactly, and several workers vary them.
///
/// Under chaos, each resumption of a fiber is checked: the worker that was handed in is the thread that the
/// fiber runs on, and nobody else is on the fiber.
#[derive(Debug)]
pub struct Chaos {
    state: AtomicU64,
    disorder: bool,
    pauses_everywhere: bool,
}

impl Chaos {
    /// Disorder from a seed. A fiber pauses before one read in four.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed), disorder: true, pauses_everywhere: false }
    }

    /// A fiber pauses before every read, and another worker goes on with it if there is one. With a seed, the
    /// disorder from it comes on top.
    pub fn pausing_everywhere(seed: Option<u64>) -> Self {
        Self { disorder: seed.is_some(), pauses_everywhere: true, ..Self::new(seed.unwrap_or(0)) }
    }

    /// The next number of a splitmix64 sequence.
    pub fn next(&self) -> u64 {
        // Relaxed: any number will do.
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True once in `n` times; never where there are to be pauses alone.
    pub fn one_in(&self, n: u64) -> bool {
        self.disorder && self.next().is_multiple_of(n)
    }

    /// Whether a fiber pauses before its next read.
    pub(crate) fn pauses(&self) -> bool {
        self.pauses_everywhere || self.one_in(4)
    }

    /// Whether a first incarnation runs on a fiber although the frontier is there.
    pub fn speculates_at_the_frontier(&self) -> bool {
        self.pauses_everywhere || self.one_in(2)
    }

    /// Whether workers look for ready transactions with each other before they look in their own queues: then
    /// most fibers go on elsewhere than where they paused.
    pub fn swaps_work(&self) -> bool {
        self.pauses_everywhere
    }
}

// Seam: which thread this is. Nothing is shared through it.
thread_local! {
    static HERE: u8 = const { 0 };
}

/// The thread that runs this, as a number that no other living thread has.
///
/// On a fiber that has moved, a caller may still hold what this gave on the thread before; it cannot, where it
/// calls this once only, after the move. Never inlined, and opaque, so that no call is merged with another.
#[inline(never)]
pub(crate) fn current_thread() -> usize {
    black_box(HERE.with(|here| ptr::from_ref(here).addr()))
}
