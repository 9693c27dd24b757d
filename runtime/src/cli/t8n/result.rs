//! What comes out, as JSON.

use alloy_consensus::{
    Eip658Value, Header, ReceiptEnvelope, Transaction as _, TxReceipt,
    proofs::{calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root},
};
use alloy_eips::eip4895::Withdrawal;
use alloy_hardforks::EthereumHardfork as Fork;
use alloy_primitives::Bloom;
use counterpoint_state::MemorySource;
use revm::{
    bytecode::Bytecode,
    context::TxEnv,
    context_interface::result::ExecutionResult,
    primitives::{Address, B256, Log, StorageKeyMap, U256, hex, keccak256},
    state::AccountInfo,
};
use serde_json::{Map, Value, json};

use crate::ethereum::{ExecutedBlock, Rules, Transaction};

/// Everything that the result is made of.
pub(super) struct Results<'a> {
    pub(super) rules: &'a Rules,
    pub(super) header: &'a Header,
    pub(super) withdrawals: Option<&'a [Withdrawal]>,
    pub(super) included: &'a [(Transaction, TxEnv)],
    pub(super) rejected: &'a [(usize, String)],
    pub(super) executed: &'a ExecutedBlock,
    pub(super) state_root: B256,
}

fn quantity(number: impl std::fmt::LowerHex) -> Value {
    Value::String(format!("{number:#x}"))
}

impl Results<'_> {
    pub(super) fn to_json(&self) -> Value {
        let executed = self.executed;
        let transactions: Vec<&Transaction> = self.included.iter().map(|(tx, _)| tx).collect();
        let logs: Vec<&Log> = executed.receipts.iter().flat_map(|receipt| receipt.logs()).collect();
        let mut encoded = Vec::new();
        alloy_rlp::encode_list::<&Log, Log>(&logs, &mut encoded);
        let bloom =
            executed.receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
        let merged = self.rules.has(Fork::Paris);
        let mut result = Map::new();
        let mut put = |name: &str, value: Value| result.insert(name.to_owned(), value);
        put("stateRoot", json!(self.state_root));
        put("txRoot", json!(calculate_transaction_root(&transactions)));
        put("receiptsRoot", json!(calculate_receipt_root(&executed.receipts)));
        put("logsHash", json!(keccak256(encoded)));
        put("logsBloom", json!(bloom));
        put("receipts", self.receipts());
        let rejected = self.rejected.iter().map(|(index, error)| json!({ "index": index, "error": error }));
        put("rejected", rejected.collect());
        put("currentDifficulty", if merged { Value::Null } else { quantity(self.header.difficulty) });
        put("gasUsed", quantity(executed.gas_used));
        if let Some(fee) = self.header.base_fee_per_gas {
            put("currentBaseFee", quantity(fee));
        }
        if self.rules.has(Fork::Shanghai) {
            put("withdrawalsRoot", json!(calculate_withdrawals_root(self.withdrawals.unwrap_or_default())));
        }
        if let Some(excess) = self.header.excess_blob_gas {
            put("currentExcessBlobGas", quantity(excess));
            put("blobGasUsed", quantity(executed.blob_gas_used));
        }
        if self.rules.has(Fork::Prague) {
            put("requestsHash", json!(executed.requests.requests_hash()));
            put("requests", executed.requests.iter().map(|request| json!(request)).collect());
        }
        Value::Object(result)
    }

    fn receipts(&self) -> Value {
        let results = self.executed.transactions.iter().filter_map(|result| result.as_ref().ok());
        let mut first_log = 0;
        let mut receipts = Vec::new();
        for ((included, receipt), result) in self.included.iter().zip(&self.executed.receipts).zip(results) {
            receipts.push(self.receipt(receipts.len(), first_log, included, receipt, result));
            first_log += receipt.logs().len();
        }
        Value::Array(receipts)
    }

    fn receipt(
        &self,
        index: usize,
        first_log: usize,
        (transaction, env): &(Transaction, TxEnv),
        receipt: &ReceiptEnvelope,
        result: &ExecutionResult,
    ) -> Value {
        let hash = transaction.tx_hash();
        let log = |(place, log): (usize, &Log)| {
            json!({
                "address": log.address,
                "topics": log.topics(),
                "data": log.data.data,
                "blockNumber": quantity(self.header.number),
                "transactionHash": hash,
                "transactionIndex": quantity(index),
                "blockHash": B256::ZERO,
                "logIndex": quantity(first_log + place),
                "removed": false,
            })
        };
        let root = match receipt.status_or_post_state() {
            Eip658Value::PostState(root) => json!(root),
            Eip658Value::Eip658(_) => json!("0x"),
        };
        // Also where the receipt itself has none.
        let status = if result.is_success() { "0x1" } else { "0x0" };
        // Where the contract would be, be it deployed or not.
        let contract = if env.kind.is_create() { env.caller.create(env.nonce) } else { Address::default() };
        let mut fields = json!({
            "type": quantity(env.tx_type),
            "root": root,
            "status": status,
            "cumulativeGasUsed": quantity(receipt.cumulative_gas_used()),
            "logsBloom": receipt.logs_bloom(),
            "logs": receipt.logs().iter().enumerate().map(log).collect::<Value>(),
            "transactionHash": hash,
            "contractAddress": contract,
            "gasUsed": quantity(result.tx_gas_used()),
            "effectiveGasPrice": quantity(transaction.effective_gas_price(self.header.base_fee_per_gas)),
            "blockHash": B256::ZERO,
            "blockNumber": quantity(self.header.number),
            "transactionIndex": quantity(index),
        });
        if let (Some(fields), Some(used)) = (fields.as_object_mut(), transaction.blob_gas_used()) {
            fields.insert("blobGasUsed".to_owned(), quantity(used));
        }
        fields
    }
}

/// The accounts of a state.
pub(super) fn alloc(state: &MemorySource) -> Value {
    let mut accounts: Vec<_> = state.accounts().collect();
    accounts.sort_unstable_by_key(|(address, _, _)| **address);
    let account = |(address, info, storage): (&Address, &AccountInfo, &StorageKeyMap<U256>)| {
        let mut fields = Map::new();
        let code = info.code.as_ref().map(Bytecode::original_bytes).unwrap_or_default();
        if !code.is_empty() {
            fields.insert("code".to_owned(), json!(code));
        }
        let mut slots: Vec<_> = storage.iter().collect();
        slots.sort_unstable();
        if !slots.is_empty() {
            let slots = slots
                .into_iter()
                .map(|(slot, value)| (B256::from(*slot).to_string(), json!(B256::from(*value))));
            fields.insert("storage".to_owned(), Value::Object(slots.collect()));
        }
        fields.insert("balance".to_owned(), quantity(info.balance));
        if info.nonce != 0 {
            fields.insert("nonce".to_owned(), quantity(info.nonce));
        }
        (hex::encode_prefixed(address), Value::Object(fields))
    };
    Value::Object(accounts.into_iter().map(account).collect())
}
