//! What makes a random block's decisions: a seed, or bytes that somebody else chose.

use std::collections::VecDeque;

use rand::{RngCore, SeedableRng, rngs::StdRng};

/// Gives each decision its randomness.
#[derive(Debug)]
pub(super) struct Dice {
    /// One for each decision, as long as there are any.
    bytes: VecDeque<u8>,
    seeded: StdRng,
}

impl Dice {
    /// Everything follows from the seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { bytes: VecDeque::new(), seeded: StdRng::seed_from_u64(seed) }
    }

    /// A seed in the first eight bytes, and decisions in the others.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let (seed, decisions) = bytes.split_at(bytes.len().min(8));
        let mut word = [0; 8];
        word[..seed.len()].copy_from_slice(seed);
        let seeded = StdRng::seed_from_u64(u64::from_le_bytes(word));
        Self { bytes: decisions.iter().copied().collect(), seeded }
    }
}

// Ranges and probabilities look at the highest bits first: that is where a byte goes.
impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        let number = self.seeded.next_u32();
        self.bytes.pop_front().map_or(number, |byte| (number >> 8) | (u32::from(byte) << 24))
    }

    fn next_u64(&mut self) -> u64 {
        let number = self.seeded.next_u64();
        self.bytes.pop_front().map_or(number, |byte| (number >> 8) | (u64::from(byte) << 56))
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.seeded.fill_bytes(bytes);
    }
}
