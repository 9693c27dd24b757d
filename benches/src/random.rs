//! Small random blocks that mix everything that parallel execution can get wrong.
//!
//! A few senders, a few contracts, one beneficiary that may be any of them, and up to some forty transactions at a
//! random fork from Frontier to Osaka. While the block is made, each transaction is executed, so that
//! the next one's nonce, funds and targets can be right, or wrong on purpose.

use std::ops::RangeInclusive;

use rand::Rng;
use revm::primitives::hardfork::SpecId;

use crate::{Workload, fork};

#[cfg(test)]
mod coverage;
mod dice;
mod fixed;
pub mod keys;
mod snippets;
mod spoil;
mod transactions;
mod typed;
mod world;

use dice::Dice;
use transactions::Generator;
use world::World;

/// The block that belongs to the seed.
///
/// Some of its transactions may be invalid where they stand, so it is for a builder's mode, or for a verifier that
/// is expected to reject it. The sum of the included transactions' gas limits stays below the block's.
pub fn random_block(seed: u64) -> Workload {
    roll(&mut Dice::new(seed))
}

/// The block that belongs to the bytes, as [`random_block`] for what drives it from outside, such as a fuzzer.
///
/// The first eight bytes are a seed. Each of the others makes one decision; once they are used up, the seed decides.
pub fn random_block_from(bytes: &[u8]) -> Workload {
    roll(&mut Dice::from_bytes(bytes))
}

fn roll(rng: &mut Dice) -> Workload {
    // The latest forks have the most that can go wrong.
    let oldest = if rng.random_bool(0.35) { fork::FORKS.len() - 3 } else { 0 };
    let spec = fork::FORKS[rng.random_range(oldest..fork::FORKS.len())];
    let (world, empty) = World::new(rng, spec);
    // Long blocks are where most dependencies are, short ones are quicker to understand.
    let length = if rng.random_bool(0.3) { rng.random_range(1..8) } else { rng.random_range(8..41) };
    let transactions = Generator::new(rng, &world, &empty).generate(length);
    Workload { transactions, ..empty }
}

/// The block of this fork and about this length that belongs to the seed; else as [`random_block`]. All of its senders
/// but those that cannot be any have [`keys`].
pub fn random_block_of(seed: u64, spec: SpecId, length: RangeInclusive<usize>) -> Workload {
    let mut rng = Dice::new(seed);
    let (world, empty) = World::new(&mut rng, spec);
    let length = rng.random_range(length);
    let transactions = Generator::new(&mut rng, &world, &empty).generate(length);
    Workload { transactions, ..empty }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential;

    #[test]
    fn sequential_execution_takes_any_block() {
        let mut invalid = 0;
        for seed in 0..300 {
            let workload = random_block(seed);
            assert!((1..=41).contains(&workload.transactions.len()));
            let outcome = sequential::execute(&workload);
            let included = outcome.results.iter().filter(|result| result.is_ok()).count();
            invalid += outcome.results.len() - included;
            let gas: u64 = outcome
                .results
                .iter()
                .zip(&workload.transactions)
                .filter_map(|(result, transaction)| result.is_ok().then_some(transaction.gas_limit))
                .sum();
            assert!(gas <= workload.env.gas_limit, "seed {seed}");
        }
        assert!(invalid > 100, "{invalid}");
    }

    #[test]
    fn bytes_decide_before_the_seed_does() {
        let seed = 7_u64;
        let plain = random_block(seed);
        let none = random_block_from(&seed.to_le_bytes());
        assert_eq!((plain.transactions, plain.env), (none.transactions, none.env));
        for byte in 0..=255 {
            let bytes = [&seed.to_le_bytes()[..], &[byte; 300]].concat();
            let workload = random_block_from(&bytes);
            assert_eq!(workload.transactions, random_block_from(&bytes).transactions);
            sequential::execute(&workload);
        }
        let fork = |byte| random_block_from(&[[0; 8], [byte; 8]].concat()).cfg.spec;
        assert_ne!(fork(0), fork(255));
    }

    #[test]
    fn a_seed_always_gives_the_same_block() {
        for seed in 0..20 {
            let (one, other) = (random_block(seed), random_block(seed));
            assert_eq!(one.transactions, other.transactions);
            assert_eq!(one.env, other.env);
            assert_eq!(sequential::execute(&one).bundle, sequential::execute(&other).bundle);
        }
    }
}
