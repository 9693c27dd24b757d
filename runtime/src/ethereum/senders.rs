//! Who signed the transactions.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_evm::FromRecoveredTx;
use alloy_hardforks::EthereumHardfork;
use revm::{context::TxEnv, primitives::Address};

use super::{BlockError, Rules, Transaction, TransactionError};

/// The transactions as revm takes them, with their senders.
///
/// # Errors
///
/// The first transaction with a signature that the rules do not allow.
pub fn recover(rules: &Rules, transactions: &[Transaction]) -> Result<Vec<TxEnv>, BlockError> {
    let recover = |(index, transaction)| {
        let sender = sender(rules, transaction).map_err(|cause| BlockError::Transaction { index, cause })?;
        Ok(TxEnv::from_recovered_tx(transaction, sender))
    };
    transactions.iter().enumerate().map(recover).collect()
}

/// Who signed the transaction.
///
/// # Errors
///
/// A signature that the rules do not allow.
pub(crate) fn sender(rules: &Rules, transaction: &Transaction) -> Result<Address, TransactionError> {
    let legacy_chain_id = transaction.as_legacy().and_then(|legacy| legacy.tx().chain_id);
    if legacy_chain_id.is_some() && !rules.has(EthereumHardfork::SpuriousDragon) {
        return Err(TransactionError::ChainIdTooEarly);
    }
    // EIP-2: since Homestead only the lower of the two possible values of s.
    let sender = if rules.has(EthereumHardfork::Homestead) {
        transaction.recover_signer()
    } else {
        transaction.recover_signer_unchecked()
    };
    sender.map_err(|_| TransactionError::Signature)
}
