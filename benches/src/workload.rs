//! Blocks with the state before them, built from a seed and a few knobs.

use counterpoint_state::MemorySource;
use revm::context::{BlockEnv, CfgEnv, TxEnv};

mod adversarial;
mod arbitrage;
mod day;
mod defi;
mod exchanges;
mod farm;
mod knobs;
mod lending;
mod mix;
mod nfts;
mod payouts;
mod records;
mod skew;
mod stage;
mod swaps;
mod tokens;
mod transfers;
mod venue;
mod world;

pub use knobs::{KnobArguments, Knobs};
pub use mix::{Mix, UnknownMixError};
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

#[cfg(test)]
mod tests;
