//! How much gas a block has left for its next transactions.

use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::{Cfg, Transaction, result::ExecutionResult},
};

use super::{Rejected, Rules, TransactionError};
use crate::TransactionOutcome;

/// Gas that a block has left.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    gas_limit: u64,
    blob_limit: u64,
    /// The most that one transaction may use of the block's regular gas.
    cap: u64,
    /// EIP-8037: regular gas and state gas are counted apart.
    two_kinds: bool,
    regular_gas: u64,
    state_gas: u64,
    pub(super) blob_gas: u64,
}

impl Allowance {
    /// What an empty block has.
    pub(super) fn new(cfg: &CfgEnv, rules: &Rules, env: &BlockEnv) -> Self {
        let two_kinds = cfg.is_amsterdam_eip8037_enabled();
        Self {
            gas_limit: env.gas_limit,
            blob_limit: rules.blobs.map_or(u64::MAX, |blobs| blobs.max_blob_gas_per_block()),
            cap: if two_kinds { cfg.tx_gas_limit_cap() } else { u64::MAX },
            two_kinds,
            regular_gas: 0,
            state_gas: 0,
            blob_gas: 0,
        }
    }

    /// What is left after the transactions, and the first one that did not fit, if one did not.
    pub(super) fn follow(
        &self,
        transactions: &[TxEnv],
        outcomes: &[TransactionOutcome],
    ) -> (Self, Option<(usize, Rejected)>) {
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
    pub(super) fn refuses(&self, transaction: &TxEnv) -> Option<Rejected> {
        let limit = transaction.gas_limit;
        let left = self.gas_limit.saturating_sub(self.regular_gas);
        if limit.min(self.cap) > left {
            return Some(TransactionError::GasAllowance { limit, left });
        }
        let left = self.gas_limit.saturating_sub(self.state_gas);
        if self.two_kinds && limit > left {
            return Some(TransactionError::GasAllowance { limit, left });
        }
        let needed = transaction.total_blob_gas();
        let left = self.blob_limit.saturating_sub(self.blob_gas);
        (needed > left).then_some(TransactionError::BlobAllowance { needed, left })
    }

    fn take(&mut self, transaction: &TxEnv, result: &ExecutionResult) {
        if self.two_kinds {
            self.regular_gas += result.gas().block_regular_gas_used();
            self.state_gas += result.gas().block_state_gas_used();
        } else {
            self.regular_gas += result.tx_gas_used();
        }
        self.blob_gas += transaction.total_blob_gas();
    }

    /// Gas that the block has used.
    pub(super) fn gas_used(&self) -> u64 {
        self.regular_gas.max(self.state_gas)
    }
}
