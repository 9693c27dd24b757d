//! What a block is made of, and how invalid transactions are treated.

use std::{fmt, sync::Arc};

use counterpoint_state::StateSource;
use revm::context::{BlockEnv, CfgEnv, TxEnv};

/// What happens to a transaction that cannot be included (nonce, funds, gas limit, ...).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The block is somebody else's: an invalid transaction rejects it as a whole.
    #[default]
    Verify,
    /// The block is being built: an invalid transaction is skipped and reported.
    Build,
}

/// A block to execute: its environment, the rules, the ordered transactions, and the state before it.
#[derive(Clone)]
pub struct Block {
    /// Number, beneficiary, timestamp, gas limit, base fee and so on.
    pub env: BlockEnv,
    /// Hard fork (`cfg.spec()`), chain id, and revm's switches.
    pub cfg: CfgEnv,
    /// The transactions in the block's order, with their senders recovered.
    pub transactions: Arc<[TxEnv]>,
    /// The state before the first transaction.
    pub source: Arc<dyn StateSource>,
    /// What to do with an invalid transaction.
    pub mode: Mode,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("env", &self.env)
            .field("spec", &self.cfg.spec)
            .field("transactions", &self.transactions.len())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
