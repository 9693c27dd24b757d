//! Test only: disorder at every point where the order of things may vary.

use counterpoint_state::sync::unordered::{AtomicU64, Ordering};

/// Random yields at suspension points, wrong predictions, and forced invalidations, from a seed.
///
/// Results must not change under any of it. The decisions depend on the seed and on a shared count, so that
/// one worker repeats them exactly, and several workers vary them.
#[derive(Debug)]
pub struct Chaos {
    state: AtomicU64,
}

impl Chaos {
    /// Disorder from a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// The next number of a splitmix64 sequence.
    pub fn next(&self) -> u64 {
        // Relaxed: any number will do.
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}
