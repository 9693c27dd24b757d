//! The difficulty of blocks before the merge.

use alloy_hardforks::EthereumHardfork;
use revm::primitives::U256;

use super::Rules;

/// No block is easier than this.
const MINIMUM: U256 = U256::from_limbs([131_072, 0, 0, 0]);

/// A step is this part of the parent's difficulty.
const DIVISOR: U256 = U256::from_limbs([2_048, 0, 0, 0]);

/// The bomb doubles every so many blocks.
const BOMB_PERIOD: u64 = 100_000;

/// How many steps down the difficulty goes at most.
const MOST_STEPS_DOWN: u64 = 99;

/// The difficulty that a block has, given its parent.
pub(crate) fn difficulty(
    rules: &Rules,
    number: u64,
    timestamp: u64,
    parent_timestamp: u64,
    parent_difficulty: U256,
    parent_has_ommers: bool,
) -> U256 {
    let passed = timestamp.saturating_sub(parent_timestamp);
    let (up, down) = if rules.has(EthereumHardfork::Byzantium) {
        (1 + u64::from(parent_has_ommers), passed / 9)
    } else if rules.has(EthereumHardfork::Homestead) {
        (1, passed / 10)
    } else if passed < 13 {
        (1, 0)
    } else {
        (0, 1)
    };
    let step = parent_difficulty / DIVISOR;
    let base = if up >= down {
        parent_difficulty.saturating_add(step.saturating_mul(U256::from(up - down)))
    } else {
        parent_difficulty.saturating_sub(step.saturating_mul(U256::from((down - up).min(MOST_STEPS_DOWN))))
    };
    let base = base.max(MINIMUM);
    match (number.saturating_sub(rules.bomb_delay()) / BOMB_PERIOD).checked_sub(2) {
        Some(exponent) => base.saturating_add(U256::ONE.checked_shl(exponent as usize).unwrap_or(U256::MAX)),
        None => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mainnet(fork: EthereumHardfork, number: u64, passed: u64, parent: u64, ommers: bool) -> U256 {
        difficulty(&Rules::new(fork, 1), number, 1_000_000 + passed, 1_000_000, U256::from(parent), ommers)
    }

    /// Blocks of mainnet with their parents.
    #[test]
    fn difficulties_are_those_of_mainnet() {
        // Block 1: the genesis block's time is 0, its difficulty 2^34.
        assert_eq!(
            mainnet(EthereumHardfork::Frontier, 1, 1_438_269_988, 17_179_869_184, false),
            U256::from(17_171_480_576_u64)
        );
        // Block 2, 29 seconds later.
        assert_eq!(
            mainnet(EthereumHardfork::Frontier, 2, 29, 17_171_480_576, false),
            U256::from(17_163_096_064_u64)
        );
    }

    #[test]
    fn ommers_and_time_count_since_byzantium() {
        let parent = 2_048_000;
        let of = |passed, ommers| mainnet(EthereumHardfork::Byzantium, 4_000_000, passed, parent, ommers);
        // 4,000,000 - 3,000,000 blocks are 10 periods: 2^8.
        assert_eq!(of(8, false), U256::from(parent + 1_000 + 256));
        assert_eq!(of(8, true), U256::from(parent + 2_000 + 256));
        assert_eq!(of(9, false), U256::from(parent + 256));
        assert_eq!(of(18, false), U256::from(parent - 1_000 + 256));
        assert_eq!(of(u64::MAX - 1_000_000, false), U256::from(parent - 99_000 + 256));
    }

    #[test]
    fn nothing_is_easier_than_the_minimum_and_the_bomb_does_not_overflow() {
        assert_eq!(mainnet(EthereumHardfork::Homestead, 1, 1_000, 131_072, false), MINIMUM);
        assert_eq!(mainnet(EthereumHardfork::Homestead, u64::MAX, 1, 131_072, false), U256::MAX);
    }
}
