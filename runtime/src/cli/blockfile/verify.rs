//! Whether a file is one block: what it says of itself, compared with what it holds and with what execution gives.
//!
//! What the file lacks is not checked. Nor is what takes more than the file: the state's root, of which only the hash of the
//! header tells that it is the one that the chain has, and what follows from the parent's header (base fee, gas limit,
//! difficulty, excess blob gas).

use std::{num::NonZero, panic, thread};

use alloy_consensus::{
    EMPTY_ROOT_HASH, ReceiptEnvelope, Transaction as _, TxReceipt,
    proofs::{calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root},
};
use alloy_primitives::Bloom;
use revm::{
    context::TxEnv,
    primitives::{Address, B256, hardfork::SpecId},
};

use super::BlockFile;
use crate::ethereum::{ExecutedBlock, Rules, Transaction, TransactionError, sender};

/// Signatures that are worth a thread.
const SIGNATURES: usize = 32;

/// A part of a block that does not fit the others.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A field of the header is not what the block gives.
    #[error("header: {field} is {said}, but the block's is {found}")]
    Header {
        /// The field.
        field: &'static str,
        /// What the header says.
        said: String,
        /// What the rest of the block gives.
        found: String,
    },
    /// Somebody else signed the transaction.
    #[error("transaction {index}: from is {said}, but {found} signed it")]
    Sender {
        /// Its place in the block, from 0.
        index: usize,
        /// What `from` says.
        said: Address,
        /// Whose signature it is.
        found: Address,
    },
    /// The signature is not valid.
    #[error("transaction {index}: {cause}")]
    Signature {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// Why not.
        cause: TransactionError,
    },
    /// The signature is for another chain.
    #[error("transaction {index}: it is signed for chain {signed}, and the block is of chain {chain}")]
    Chain {
        /// The transaction's place in the block, from 0.
        index: usize,
        /// The chain in the signature.
        signed: u64,
        /// The block's chain.
        chain: u64,
    },
}

fn compare<T: PartialEq + ToString>(
    field: &'static str,
    said: Option<T>,
    found: Option<T>,
) -> Result<(), Mismatch> {
    match (said, found) {
        (Some(said), Some(found)) if said != found => {
            Err(Mismatch::Header { field, said: said.to_string(), found: found.to_string() })
        }
        _ => Ok(()),
    }
}

impl BlockFile {
    /// The block's hash: what the file says, or what its header gives if it has every field.
    pub fn hash(&self, spec: SpecId) -> Option<B256> {
        self.header.hash.or_else(|| Some(self.header.complete(spec)?.hash_slow()))
    }

    /// Checks before execution: the roots of transactions, withdrawals and ommers, the parent's hash, the header's hash, and
    /// who signed the transactions.
    ///
    /// # Errors
    ///
    /// The first part that does not fit.
    pub fn verify(&self, rules: &Rules) -> Result<(), Mismatch> {
        let header = &self.header;
        let transactions = self.signed.as_deref();
        compare("transactionsRoot", header.transactions_root, transactions.map(calculate_transaction_root))?;
        let withdrawals = self.withdrawals.as_deref();
        compare("withdrawalsRoot", header.withdrawals_root, withdrawals.map(calculate_withdrawals_root))?;
        compare("sha3Uncles", header.ommers_hash, self.ommers_hash)?;
        let parent = header.number.checked_sub(1);
        let parent = self.source.block_hashes().find(|(number, _)| Some(*number) == parent);
        compare("parentHash", header.parent_hash, parent.map(|(_, hash)| hash))?;
        let hash = header.complete(rules.spec_id()).map(|header| header.hash_slow());
        compare("hash", header.hash, hash)?;
        transactions.map_or(Ok(()), |signed| senders(rules, signed, &self.transactions))
    }

    /// Checks after execution: gas, blob gas, the logs' bloom filter, the receipts' root and the requests.
    ///
    /// # Errors
    ///
    /// The first field that does not fit.
    pub fn verify_results(&self, rules: &Rules, executed: &ExecutedBlock) -> Result<(), Mismatch> {
        let (header, spec) = (&self.header, rules.spec_id());
        let ExecutedBlock { receipts, gas_used, blob_gas_used, requests, .. } = executed;
        compare("gasUsed", header.gas_used, Some(*gas_used))?;
        let bloom = receipts.iter().map(TxReceipt::bloom).fold(Bloom::ZERO, |all, bloom| all | bloom);
        compare("logsBloom", header.logs_bloom, Some(bloom))?;
        // Before Byzantium receipts hold state roots, which take the whole state's trie.
        let receipts = spec.is_enabled_in(SpecId::BYZANTIUM).then(|| receipts_root(receipts));
        compare("receiptsRoot", header.receipts_root, receipts)?;
        compare("blobGasUsed", header.blob_gas_used, Some(*blob_gas_used))?;
        let requests = spec.is_enabled_in(SpecId::PRAGUE).then(|| requests.requests_hash());
        compare("requestsHash", header.requests_hash, requests)
    }
}

fn receipts_root(receipts: &[ReceiptEnvelope]) -> B256 {
    if receipts.is_empty() { EMPTY_ROOT_HASH } else { calculate_receipt_root(receipts) }
}

/// Compares who signed the transactions with who they are from. On several threads: it takes longer than executing them.
fn senders(rules: &Rules, signed: &[Transaction], envs: &[TxEnv]) -> Result<(), Mismatch> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let each = signed.len().div_ceil(cores).max(SIGNATURES);
    let check = |part: usize| {
        let places = (part * each..signed.len()).take(each);
        places.into_iter().try_for_each(|index| signer(rules, &signed[index], &envs[index], index))
    };
    thread::scope(|scope| {
        let start = |part| {
            let thread = thread::Builder::new().spawn_scoped(scope, move || check(part));
            // Where there is no thread to be had, this one does it.
            thread.map_err(|_| check(part))
        };
        let others: Vec<_> = (1..signed.len().div_ceil(each)).map(start).collect();
        let mut done = check(0);
        for other in others {
            let other = match other {
                Ok(thread) => thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause)),
                Err(checked) => checked,
            };
            done = done.and(other);
        }
        done
    })
}

fn signer(rules: &Rules, signed: &Transaction, env: &TxEnv, index: usize) -> Result<(), Mismatch> {
    let chain = rules.chain_id;
    if let Some(signed) = signed.chain_id().filter(|signed| *signed != chain) {
        return Err(Mismatch::Chain { index, signed, chain });
    }
    let found = sender(rules, signed).map_err(|cause| Mismatch::Signature { index, cause })?;
    if found != env.caller {
        return Err(Mismatch::Sender { index, said: env.caller, found });
    }
    Ok(())
}
