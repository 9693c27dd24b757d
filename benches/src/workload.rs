//! Blocks with the state before them, built from a seed and a few knobs.

use std::{fmt, str::FromStr, sync::Arc};

use counterpoint::{Block, Mode};
use counterpoint_state::MemorySource;
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::hardfork::SpecId,
};

mod defi;
mod skew;
mod swaps;
mod tokens;
mod transfers;
mod world;

pub use skew::Skew;

/// A block to execute, with the state before it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Number, beneficiary, base fee and so on.
    pub env: BlockEnv,
    /// The fork and the chain id.
    pub cfg: CfgEnv,
    /// The transactions in the block's order.
    pub transactions: Vec<TxEnv>,
    /// The state before the first transaction: complete, as far as the transactions need it.
    pub source: MemorySource,
}

impl Workload {
    /// The block that the runtime takes. Copies the pre-state: call it outside of what is timed.
    pub fn block(&self, mode: Mode) -> Block {
        self.clone().into_block(mode)
    }

    /// The block that the runtime takes.
    pub fn into_block(self, mode: Mode) -> Block {
        let Self { env, cfg, transactions, source } = self;
        Block { env, cfg, transactions: transactions.into(), source: Arc::new(source), mode }
    }
}

/// What makes a [`Mix`] larger or harder. Each mix reads the knobs that its description names.
#[derive(Clone, Debug, PartialEq)]
pub struct Knobs {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// The number of transactions.
    pub transactions: usize,
    /// How many accounts send, where a mix does not take one per transaction.
    pub accounts: usize,
    /// The number of tokens.
    pub tokens: usize,
    /// The number of pools.
    pub pools: usize,
    /// The share of the transactions, from 0 to 1, that goes to the hottest pool, token or recipient.
    pub hot: f64,
    /// Zipf's exponent for the choice among the others: 0 is uniform.
    pub skew: f64,
    /// In [`Mix::ChainedTransfers`], how many transactions a chain has; 0 for one chain in all.
    pub chain: usize,
    /// The fork, London or later for transactions with a base fee.
    pub spec: SpecId,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            seed: 0,
            transactions: 1_000,
            accounts: 500,
            tokens: 8,
            pools: 12,
            hot: 0.3,
            skew: 0.8,
            chain: 0,
            spec: SpecId::CANCUN,
        }
    }
}

/// The named kinds of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mix {
    /// Plain transfers that have no account in common.
    IndependentTransfers,
    /// Plain transfers from one sender to many.
    SameSender,
    /// Plain transfers where each one's recipient sends the next and could not pay for it without.
    ChainedTransfers,
    /// Transfers of one token that have no holder in common.
    IndependentTokens,
    /// Transfers of one token from many holders; the hot share goes to one recipient.
    HotRecipient,
    /// Swaps on one pool.
    OnePool,
    /// Swaps on many pools, with a hot one.
    ManyPools,
    /// Transfers, token payments, swaps and liquidity, with a hot share of each.
    Defi,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::IndependentTransfers,
        Self::SameSender,
        Self::ChainedTransfers,
        Self::IndependentTokens,
        Self::HotRecipient,
        Self::OnePool,
        Self::ManyPools,
        Self::Defi,
    ];

    /// The name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IndependentTransfers => "independent-transfers",
            Self::SameSender => "same-sender",
            Self::ChainedTransfers => "chained-transfers",
            Self::IndependentTokens => "independent-tokens",
            Self::HotRecipient => "hot-recipient",
            Self::OnePool => "one-pool",
            Self::ManyPools => "many-pools",
            Self::Defi => "defi",
        }
    }

    /// One line on what it is and which knobs it reads beside `seed`, `transactions` and `spec`.
    pub const fn description(self) -> &'static str {
        match self {
            Self::IndependentTransfers => "transfers that share no account",
            Self::SameSender => "transfers from one sender to many recipients",
            Self::ChainedTransfers => "transfers of which each funds the next [chain]",
            Self::IndependentTokens => "transfers of one token between disjoint holders",
            Self::HotRecipient => "transfers of one token, a share of them to one recipient [hot]",
            Self::OnePool => "swaps on one pool, from distinct accounts",
            Self::ManyPools => "swaps on many pools, from distinct accounts [pools, tokens, hot, skew]",
            Self::Defi => "transfers, tokens, swaps, liquidity [accounts, pools, tokens, hot, skew]",
        }
    }

    /// Builds the block.
    pub fn build(self, knobs: &Knobs) -> Workload {
        match self {
            Self::IndependentTransfers => transfers::independent(knobs),
            Self::SameSender => transfers::same_sender(knobs),
            Self::ChainedTransfers => transfers::chained(knobs),
            Self::IndependentTokens => tokens::independent(knobs),
            Self::HotRecipient => tokens::hot_recipient(knobs),
            Self::OnePool => swaps::one_pool(knobs),
            Self::ManyPools => swaps::many_pools(knobs),
            Self::Defi => defi::defi(knobs),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No [`Mix`] has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMixError(String);

impl fmt::Display for UnknownMixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Mix::ALL.map(Mix::name).join(", ");
        write!(f, "no workload is called {:?}; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownMixError {}

impl FromStr for Mix {
    type Err = UnknownMixError;

    fn from_str(name: &str) -> Result<Self, UnknownMixError> {
        Self::ALL.into_iter().find(|mix| mix.name() == name).ok_or_else(|| UnknownMixError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential;

    #[test]
    fn every_transaction_of_every_mix_succeeds_at_every_fork_and_seed() {
        for mix in Mix::ALL {
            for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::CANCUN, SpecId::OSAKA] {
                for seed in 0..3 {
                    let knobs = Knobs { seed, spec, transactions: 300, accounts: 80, ..Knobs::default() };
                    let workload = mix.build(&knobs);
                    assert_eq!(workload.transactions.len(), 300, "{mix}");
                    let outcome = sequential::execute(&workload);
                    for (index, result) in outcome.results.iter().enumerate() {
                        let result =
                            result.as_ref().unwrap_or_else(|e| panic!("{mix} {spec:?} {seed} {index}: {e}"));
                        assert!(result.is_success(), "{mix} {spec:?} {seed} {index}: {result:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_knobs_give_the_same_block_and_other_seeds_another() {
        for mix in Mix::ALL {
            let build = |seed| mix.build(&Knobs { seed, transactions: 50, ..Knobs::default() });
            let transactions = build(3).transactions;
            assert_eq!(transactions, build(3).transactions, "{mix}");
            assert_ne!(transactions, build(4).transactions, "{mix}");
            let gas = |seed| sequential::execute(&build(seed)).gas_used();
            assert_eq!(gas(3), gas(3), "{mix}");
        }
    }

    #[test]
    fn a_chain_breaks_without_its_first_transaction() {
        let mut workload = Mix::ChainedTransfers.build(&Knobs { transactions: 20, ..Knobs::default() });
        workload.transactions.remove(0);
        assert!(sequential::execute(&workload).results.iter().all(Result::is_err));
    }

    #[test]
    fn one_knob_set_degenerates_without_panic() {
        let tiny = Knobs { accounts: 1, tokens: 1, pools: 1, hot: 0.0, transactions: 5, ..Knobs::default() };
        for mix in Mix::ALL {
            let outcome = sequential::execute(&mix.build(&tiny));
            assert!(
                outcome.results.iter().all(|result| result.as_ref().is_ok_and(|r| r.is_success())),
                "{mix}"
            );
        }
    }

    #[test]
    fn names_parse_back() {
        for mix in Mix::ALL {
            assert_eq!(mix.name().parse(), Ok(mix));
        }
        assert!("nonsense".parse::<Mix>().is_err());
    }
}
