//! Writing a block in the block-file format.

use alloy_primitives::Bloom;
use counterpoint_state::MemorySource;
use revm::{
    DatabaseRef,
    context::{BlockEnv, TxEnv},
    primitives::{Address, B256, U256},
};
use serde_json::{Map, Value, json};

use super::transaction::{self, quantity};

/// What executing the block gives, for the header. What is not known is written as `null` and not checked
/// when the file is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderResults {
    /// Gas that the transactions used, in gas.
    pub gas_used: Option<u64>,
    /// The logs' bloom filter.
    pub logs_bloom: Option<Bloom>,
    /// The receipts' root.
    pub receipts_root: Option<B256>,
}

/// Writes a block so that [`BlockFile`](super::BlockFile) gives the same input back.
///
/// The hard fork is not part of the format: it follows from `env`'s number and timestamp, and so do the
/// header fields that are written. `block_hashes` are the ancestors that BLOCKHASH asks for. An account that
/// is empty and has no storage comes back as one that does not exist.
pub fn to_json(
    env: &BlockEnv,
    results: &HeaderResults,
    transactions: &[TxEnv],
    source: &MemorySource,
    block_hashes: &[(u64, B256)],
) -> Value {
    let mut block = json!({
        "number": env.number,
        "timestamp": env.timestamp,
        "miner": env.beneficiary,
        "gasLimit": quantity(env.gas_limit),
        "difficulty": env.difficulty,
        "mixHash": env.prevrandao.unwrap_or_default(),
        "baseFeePerGas": quantity(env.basefee),
        "gasUsed": results.gas_used.map(quantity),
        "logsBloom": results.logs_bloom,
        "receiptsRoot": results.receipts_root,
        "transactions": transactions
            .iter()
            .enumerate()
            .map(|(index, transaction)| transaction::to_json(transaction, index))
            .collect::<Vec<_>>(),
    });
    if let (Some(blob), Some(fields)) = (env.blob_excess_gas_and_price, block.as_object_mut()) {
        fields.insert("excessBlobGas".into(), quantity(blob.excess_blob_gas).into());
    }

    // Sorted, so that the same block gives the same bytes.
    let mut accounts: Vec<(&Address, _, _)> = source.accounts().collect();
    accounts.sort_unstable_by_key(|(address, ..)| **address);
    let state: Map<String, Value> = accounts
        .into_iter()
        .map(|(address, info, storage)| {
            let mut slots: Vec<(&U256, &U256)> = storage.iter().collect();
            slots.sort_unstable();
            let slots: Map<_, _> =
                slots.into_iter().map(|(slot, value)| (quantity(slot), json!(value))).collect();
            let code = info.code.clone().or_else(|| source.code_by_hash_ref(info.code_hash).ok());
            let code = code.map(|code| code.original_bytes()).unwrap_or_default();
            let account =
                json!({ "balance": info.balance, "nonce": quantity(info.nonce), "code": code, "storage": slots });
            (quantity(address), account)
        })
        .collect();
    let hashes: Map<_, _> =
        block_hashes.iter().map(|(number, hash)| (quantity(number), json!(hash))).collect();
    json!({ "block": block, "preState": state, "blockHashes": hashes })
}
