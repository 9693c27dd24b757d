//! How much gas a block has left for its next transactions.

use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::{Cfg, Transaction, result::ExecutionResult},
};

#[cfg(feature = "ethereum")]
use crate::TransactionOutcome;

/// Gas that a block has left.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    gas_limit: u64,
    blob_limit: u64,
    /// The most that one transaction may use of the block's regular gas.
    cap: u64,
    /// EIP-8037: regular gas and state gas are counted apart.
    two_kinds: bool,
    regular_gas: u64,
    state_gas: u64,
    pub(crate) blob_gas: u64,
}

/// Why a transaction does not fit into the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    Gas { limit: u64, left: u64 },
    Blobs { needed: u64, left: u64 },
}

impl Allowance {
    /// What an empty block has, with a limit for its blobs' gas if it has one.
    pub(crate) fn new(cfg: &CfgEnv, env: &BlockEnv, blob_limit: Option<u64>) -> Self {
        let two_kinds = cfg.is_amsterdam_eip8037_enabled();
        Self {
            gas_limit: env.gas_limit,
            blob_limit: blob_limit.unwrap_or(u64::MAX),
            cap: if two_kinds { cfg.tx_gas_limit_cap() } else { u64::MAX },
            two_kinds,
            regular_gas: 0,
            state_gas: 0,
            blob_gas: 0,
        }
    }

    /// What is left after the transactions, and the first one that did not fit, if one did not.
    #[cfg(feature = "ethereum")]
    pub(crate) fn follow(
        &self,
        transactions: &[TxEnv],
        outcomes: &[TransactionOutcome],
    ) -> (Self, Option<(usize, Misfit)>) {
        let mut left = self.clone();
        for (index, (transaction, outcome)) in transactions.iter().zip(outcomes).enumerate() {
            // An invalid transaction is left out for its own reason.
            let Some(result) = outcome.result() else { continue };
            if let Some(cause) = left.refuses(transaction) {
                return (left, Some((index, cause)));
            }
            left.take(transaction, result);
        }
        (left, None)
    }

    /// Why the transaction does not fit, if it does not.
    pub(crate) fn refuses(&self, transaction: &TxEnv) -> Option<Misfit> {
        let limit = transaction.gas_limit;
        let left = self.gas_limit.saturating_sub(self.regular_gas);
        if limit.min(self.cap) > left {
            return Some(Misfit::Gas { limit, left });
        }
        let left = self.gas_limit.saturating_sub(self.state_gas);
        if self.two_kinds && limit > left {
            return Some(Misfit::Gas { limit, left });
        }
        let needed = transaction.total_blob_gas();
        let left = self.blob_limit.saturating_sub(self.blob_gas);
        (needed > left).then_some(Misfit::Blobs { needed, left })
    }

    /// The transaction is part of the block.
    pub(crate) fn take(&mut self, transaction: &TxEnv, result: &ExecutionResult) {
        if self.two_kinds {
            self.regular_gas += result.gas().block_regular_gas_used();
            self.state_gas += result.gas().block_state_gas_used();
        } else {
            self.regular_gas += result.tx_gas_used();
        }
        self.blob_gas += transaction.total_blob_gas();
    }

    /// Gas that the block has used.
    pub(crate) fn gas_used(&self) -> u64 {
        self.regular_gas.max(self.state_gas)
    }

    /// Gas that no transaction of any kind could do without: with less left, the block is full.
    pub(crate) fn is_full(&self) -> bool {
        self.gas_limit.saturating_sub(self.gas_used()) < CHEAPEST
    }
}

/// What the cheapest transaction costs, in gas.
const CHEAPEST: u64 = 21_000;
