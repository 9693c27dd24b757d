//! Checking results against what the block's header says of them.

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, TxType, proofs::calculate_receipt_root};
use alloy_primitives::{Bloom, logs_bloom};
use revm::{
    context::TxEnv,
    context_interface::result::ExecutionResult,
    primitives::{B256, hardfork::SpecId},
};
use serde::Serialize;

use super::blockfile::{Header, HeaderResults};
use crate::TransactionOutcome;

/// Whether results agree with the header, field by field; `None` where that cannot be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderChecks {
    /// `gasUsed`.
    pub gas_used: Option<bool>,
    /// `logsBloom`.
    pub logs_bloom: Option<bool>,
    /// `receiptsRoot`. Before Byzantium receipts hold state roots, which a partial state does not give.
    pub receipts_root: Option<bool>,
}

impl HeaderChecks {
    /// Compares results with a header.
    pub fn new(header: &Header, got: &HeaderResults) -> Self {
        fn equal<T: PartialEq>(expected: Option<T>, got: Option<T>) -> Option<bool> {
            Some(expected? == got?)
        }
        Self {
            gas_used: equal(header.gas_used, got.gas_used),
            logs_bloom: equal(header.logs_bloom, got.logs_bloom),
            receipts_root: equal(header.receipts_root, got.receipts_root),
        }
    }

    /// The names of the header's fields that do not agree.
    pub fn wrong(&self) -> impl Iterator<Item = &'static str> {
        let checks = [
            ("gasUsed", self.gas_used),
            ("logsBloom", self.logs_bloom),
            ("receiptsRoot", self.receipts_root),
        ];
        checks.into_iter().filter(|(_, check)| *check == Some(false)).map(|(name, _)| name)
    }
}

/// What the header of a block with these results says. Skipped transactions are not part of the block.
pub fn results(transactions: &[TxEnv], outcomes: &[TransactionOutcome], spec: SpecId) -> HeaderResults {
    HeaderResults {
        gas_used: Some(gas_used(outcomes, spec)),
        logs_bloom: Some(bloom(outcomes)),
        receipts_root: spec
            .is_enabled_in(SpecId::BYZANTIUM)
            .then(|| receipts_root(transactions, outcomes))
            .flatten(),
    }
}

/// The block's gas: from Amsterdam on the larger of regular gas and state gas.
pub fn gas_used(outcomes: &[TransactionOutcome], spec: SpecId) -> u64 {
    let sum = |gas: fn(&ExecutionResult) -> u64| executed(outcomes).map(gas).sum::<u64>();
    if spec.is_enabled_in(SpecId::AMSTERDAM) {
        sum(|result| result.gas().block_regular_gas_used())
            .max(sum(|result| result.gas().block_state_gas_used()))
    } else {
        sum(ExecutionResult::tx_gas_used)
    }
}

/// The block's bloom filter.
pub fn bloom(outcomes: &[TransactionOutcome]) -> Bloom {
    logs_bloom(executed(outcomes).flat_map(ExecutionResult::logs))
}

/// The root of the block's receipts, from Byzantium on. `None` if a transaction is of a type that has no
/// receipt.
pub fn receipts_root(transactions: &[TxEnv], outcomes: &[TransactionOutcome]) -> Option<B256> {
    let mut cumulative_gas_used = 0;
    let receipts = transactions
        .iter()
        .zip(outcomes)
        .filter_map(|(transaction, outcome)| Some((transaction, outcome.result()?)))
        .map(|(transaction, result)| {
            cumulative_gas_used += result.tx_gas_used();
            let receipt = Receipt {
                status: Eip658Value::Eip658(result.is_success()),
                cumulative_gas_used,
                logs: result.logs().to_vec(),
            };
            let tx_type = TxType::try_from(transaction.tx_type).ok()?;
            Some(ReceiptEnvelope::from_typed(tx_type, receipt))
        })
        .collect::<Option<Vec<_>>>()?;
    Some(calculate_receipt_root(&receipts))
}

fn executed(outcomes: &[TransactionOutcome]) -> impl Iterator<Item = &ExecutionResult> {
    outcomes.iter().filter_map(TransactionOutcome::result)
}
