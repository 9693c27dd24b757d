//! Writing a workload as a block file: the block as a node's JSON gives it, with its pre-state.
//!
//! Gas used, logs bloom and receipts root in the header come from sequential execution. What takes a signature
//! or the whole state (hashes, state and transaction roots) is made up.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use alloy_consensus::{
    Eip658Value, Receipt, ReceiptEnvelope,
    constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS},
    proofs::calculate_receipt_root,
};
use alloy_primitives::{Address, B64, B256, Bloom, U256, keccak256};
use flate2::{Compression, write::GzEncoder};
use revm::{
    ExecuteCommitEvm, MainBuilder,
    context::{ContextTr, TxEnv, result::ExecutionResult, transaction::AccessListItem},
    context_interface::{
        JournalTr,
        result::{EVMError, InvalidTransaction},
    },
    primitives::hardfork::SpecId,
};
use serde_json::{Map, Value, json};

use crate::{Workload, fork, sequential};

/// Why a workload cannot be a block file.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateError {
    /// A transaction is invalid at its place, so the block is.
    Invalid {
        /// The transaction's place in the block.
        index: usize,
        /// Why it cannot be included.
        cause: InvalidTransaction,
    },
    /// A transaction is of a type that cannot be written: set-code transactions carry signatures inside.
    Type {
        /// The transaction's place in the block.
        index: usize,
        /// The type.
        kind: u8,
    },
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { index, cause } => write!(f, "transaction {index} is invalid: {cause}"),
            Self::Type { index, kind } => {
                write!(f, "transaction {index} is of type {kind}, which cannot be written unsigned")
            }
        }
    }
}

impl std::error::Error for GenerateError {}

/// The block file's content. Its pre-state holds what the block touches and no more.
pub fn block_file(workload: &Workload) -> Result<Value, GenerateError> {
    let mut evm = sequential::context(workload).build_mainnet();
    let mut receipts = Vec::with_capacity(workload.transactions.len());
    let (mut gas_used, mut bloom) = (0, Bloom::ZERO);
    for (index, transaction) in workload.transactions.iter().enumerate() {
        let result = match evm.transact_commit(transaction.clone()) {
            Ok(result) => result,
            Err(EVMError::Transaction(cause)) => return Err(GenerateError::Invalid { index, cause }),
            Err(error) => panic!("workload is incomplete: {error}"),
        };
        gas_used += result.tx_gas_used();
        let receipt = receipt(transaction.tx_type, result, gas_used)
            .ok_or(GenerateError::Type { index, kind: transaction.tx_type })?;
        bloom |= *receipt.logs_bloom();
        receipts.push(receipt);
    }

    let mut block = header(workload);
    let root = match workload.cfg.spec.is_enabled_in(SpecId::BYZANTIUM) {
        true => calculate_receipt_root(&receipts),
        // Receipts held state roots then.
        false => B256::ZERO,
    };
    block.extend([
        ("gasUsed".to_owned(), quantity(gas_used)),
        ("logsBloom".to_owned(), json!(bloom)),
        ("receiptsRoot".to_owned(), json!(root)),
        (
            "transactions".to_owned(),
            workload
                .transactions
                .iter()
                .enumerate()
                .map(|(i, tx)| transaction_json(workload, i, tx))
                .collect(),
        ),
    ]);

    // What was loaded, with the values from before.
    let loaded = &evm.ctx.journal().db().cache.accounts;
    let mut accounts: Vec<_> =
        workload.source.accounts().filter(|(address, ..)| loaded.contains_key(*address)).collect();
    accounts.sort_unstable_by_key(|(address, ..)| **address);
    let pre_state: Map<String, Value> = accounts
        .into_iter()
        .map(|(address, info, storage)| {
            let touched = loaded[address].account.as_ref().map(|account| &account.storage);
            let mut slots: Vec<_> =
                storage.iter().filter(|(slot, _)| touched.is_some_and(|t| t.contains_key(*slot))).collect();
            slots.sort_unstable();
            let slots: Map<String, Value> =
                slots.into_iter().map(|(slot, value)| (word(*slot), Value::String(word(*value)))).collect();
            let code = info.code.as_ref().map(|code| code.original_bytes()).unwrap_or_default();
            let account = json!({
                "balance": info.balance,
                "nonce": quantity(info.nonce),
                "code": code,
                "storage": slots,
            });
            (lower(*address), account)
        })
        .collect();
    let hashes: Map<String, Value> = evm
        .ctx
        .journal()
        .db()
        .block_hashes
        .iter()
        .map(|(number, hash)| (format!("{number:#x}"), json!(hash)))
        .collect();
    Ok(json!({ "block": block, "preState": pre_state, "blockHashes": hashes }))
}

/// Writes the block file to `path`, compressed if the name ends in `.gz`.
pub fn write(path: &Path, file: &Value) -> io::Result<()> {
    let writer = BufWriter::new(File::create(path)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = GzEncoder::new(writer, Compression::best());
        serde_json::to_writer(&mut encoder, file)?;
        encoder.finish()?.flush()
    } else {
        let mut writer = writer;
        serde_json::to_writer(&mut writer, file)?;
        writer.flush()
    }
}

fn quantity(value: impl Into<u128>) -> Value {
    json!(U256::from(value.into()))
}

fn word(value: U256) -> String {
    format!("{value:#066x}")
}

fn lower(address: Address) -> String {
    format!("{address:#x}")
}

fn receipt(kind: u8, result: ExecutionResult, cumulative_gas_used: u64) -> Option<ReceiptEnvelope> {
    let status = Eip658Value::Eip658(result.is_success());
    let receipt = Receipt { status, cumulative_gas_used, logs: result.into_logs() }.with_bloom();
    Some(match kind {
        0 => ReceiptEnvelope::Legacy(receipt),
        1 => ReceiptEnvelope::Eip2930(receipt),
        2 => ReceiptEnvelope::Eip1559(receipt),
        3 => ReceiptEnvelope::Eip4844(receipt),
        _ => return None,
    })
}

/// The header, but for what execution gives.
fn header(workload: &Workload) -> Map<String, Value> {
    let Workload { env, cfg, transactions, .. } = workload;
    let number = env.number.saturating_to::<u64>();
    let mut header = json!({
        "hash": fork::block_hash(number),
        "parentHash": fork::block_hash(number.saturating_sub(1)),
        "sha3Uncles": EMPTY_OMMER_ROOT_HASH,
        "miner": lower(env.beneficiary),
        "stateRoot": B256::ZERO,
        "transactionsRoot": B256::ZERO,
        "difficulty": env.difficulty,
        "number": env.number,
        "gasLimit": quantity(env.gas_limit),
        "timestamp": env.timestamp,
        "extraData": "0x",
        "mixHash": env.prevrandao.unwrap_or_default(),
        "nonce": B64::ZERO,
        "uncles": [],
    });
    let mut set = |key: &str, value: Value| header[key] = value;
    if cfg.spec.is_enabled_in(SpecId::LONDON) {
        set("baseFeePerGas", quantity(env.basefee));
    }
    if cfg.spec.is_enabled_in(SpecId::SHANGHAI) {
        set("withdrawals", json!([]));
        set("withdrawalsRoot", json!(EMPTY_WITHDRAWALS));
    }
    if cfg.spec.is_enabled_in(SpecId::CANCUN) {
        let blobs: usize = transactions.iter().map(|transaction| transaction.blob_hashes.len()).sum();
        let excess = env.blob_excess_gas_and_price.map_or(0, |blob| blob.excess_blob_gas);
        set("blobGasUsed", quantity((blobs as u64) << 17));
        set("excessBlobGas", quantity(excess));
        set("parentBeaconBlockRoot", json!(B256::ZERO));
    }
    if cfg.spec.is_enabled_in(SpecId::PRAGUE) {
        set("requestsHash", json!(alloy_eips::eip7685::EMPTY_REQUESTS_HASH));
    }
    match header {
        Value::Object(header) => header,
        _ => unreachable!("a header is an object"),
    }
}

fn transaction_json(workload: &Workload, index: usize, transaction: &TxEnv) -> Value {
    let number = workload.env.number.saturating_to::<u64>();
    let base_fee = u128::from(workload.env.basefee);
    let effective = match transaction.gas_priority_fee {
        Some(tip) => transaction.gas_price.min(base_fee + tip),
        None => transaction.gas_price,
    };
    let mut json = json!({
        "hash": keccak256(format!("block {number} transaction {index}")),
        "nonce": quantity(transaction.nonce),
        "blockHash": fork::block_hash(number),
        "blockNumber": quantity(number),
        "transactionIndex": quantity(index as u64),
        "from": lower(transaction.caller),
        "to": transaction.kind.to().copied().map(lower),
        "value": transaction.value,
        "gasPrice": quantity(effective),
        "gas": quantity(transaction.gas_limit),
        "input": transaction.data,
        "r": "0x1",
        "s": "0x1",
        "type": quantity(transaction.tx_type),
    });
    let mut set = |key: &str, value: Value| json[key] = value;
    match (transaction.tx_type, transaction.chain_id) {
        // The parity of a legacy signature is in `v`, along with the chain that it is for.
        (0, None) => set("v", json!("0x1b")),
        (0, Some(chain)) => {
            set("v", quantity(2 * chain + 35));
            set("chainId", quantity(chain));
        }
        (_, chain) => {
            set("v", json!("0x1"));
            set("yParity", json!("0x1"));
            set("chainId", quantity(chain.unwrap_or(workload.cfg.chain_id)));
            let item = |item: &AccessListItem| json!({ "address": lower(item.address), "storageKeys": item.storage_keys });
            set("accessList", transaction.access_list.iter().map(item).collect());
        }
    }
    if transaction.tx_type >= 2 {
        set("maxFeePerGas", quantity(transaction.gas_price));
        set("maxPriorityFeePerGas", quantity(transaction.gas_priority_fee.unwrap_or_default()));
    }
    if transaction.tx_type == 3 {
        set("maxFeePerBlobGas", quantity(transaction.max_fee_per_blob_gas));
        set("blobVersionedHashes", json!(transaction.blob_hashes));
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Knobs, Mix};
    use alloy_consensus::{Transaction as _, transaction::Recovered};
    use alloy_primitives::Bytes;
    use alloy_rpc_types_eth::Block;
    use counterpoint_state::MemorySource;
    use revm::state::{AccountInfo, Bytecode};

    fn parse(workload: &Workload) -> (Block, Value) {
        let mut file = block_file(workload).expect("every transaction is valid");
        let text = serde_json::to_string(&file["block"].take()).unwrap();
        (serde_json::from_str(&text).unwrap(), file)
    }

    #[test]
    fn a_node_type_reads_the_block_back() {
        for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::CANCUN, SpecId::OSAKA] {
            let workload = Mix::Defi.build(&Knobs { transactions: 200, spec, ..Knobs::default() });
            let (block, _) = parse(&workload);
            assert_eq!(U256::from(block.header.inner.number), workload.env.number);
            assert_eq!(block.header.inner.gas_used, sequential::execute(&workload).gas_used());
            let transactions: Vec<_> = block.transactions.into_transactions().collect();
            assert_eq!(transactions.len(), workload.transactions.len());
            for (read, written) in transactions.iter().zip(&workload.transactions) {
                let inner: &Recovered<_> = &read.inner;
                assert_eq!(inner.signer(), written.caller);
                assert_eq!(inner.kind(), written.kind);
                assert_eq!(inner.nonce(), written.nonce);
                assert_eq!(inner.value(), written.value);
                assert_eq!(inner.input(), &written.data);
                assert_eq!(inner.gas_limit(), written.gas_limit);
                assert_eq!(inner.max_fee_per_gas(), written.gas_price);
                assert_eq!(inner.max_priority_fee_per_gas(), written.gas_priority_fee);
                assert_eq!(inner.chain_id(), written.chain_id);
            }
        }
    }

    #[test]
    fn other_types_of_transactions_read_back() {
        let mut workload = Mix::IndependentTransfers.build(&Knobs { transactions: 3, ..Knobs::default() });
        let item = AccessListItem { address: Address::repeat_byte(3), storage_keys: vec![B256::ZERO] };
        let [access, blobs, early] = &mut workload.transactions[..] else { panic!() };
        let price = 100_000_000_000;
        (access.tx_type, access.gas_price, access.gas_priority_fee) = (1, price, None);
        (access.access_list, access.gas_limit) = (vec![item].into(), 50_000);
        (blobs.tx_type, blobs.gas_price, blobs.gas_priority_fee) = (3, price, Some(1));
        blobs.blob_hashes = vec![B256::with_last_byte(1) | B256::from(U256::ONE << 248)];
        blobs.max_fee_per_blob_gas = 7;
        (early.tx_type, early.chain_id, early.gas_price, early.gas_priority_fee) = (0, None, price, None);
        let (block, _) = parse(&workload);
        assert_eq!(block.header.inner.blob_gas_used, Some(131_072));
        let transactions: Vec<_> = block.transactions.into_transactions().collect();
        assert_eq!(transactions[0].access_list(), Some(&workload.transactions[0].access_list));
        assert_eq!(transactions[1].blob_versioned_hashes(), Some(&workload.transactions[1].blob_hashes[..]));
        assert_eq!(transactions[2].chain_id(), None);
    }

    #[test]
    fn the_pre_state_is_as_small_as_the_block_allows() {
        let workload = Mix::Defi.build(&Knobs { transactions: 50, ..Knobs::default() });
        let (_, file) = parse(&workload);
        let slots = |file: &Value| -> usize {
            let accounts = file["preState"].as_object().unwrap().values();
            accounts.map(|account| account["storage"].as_object().unwrap().len()).sum()
        };
        let all: usize = workload.source.accounts().map(|(_, _, storage)| storage.len()).sum();
        assert!(slots(&file) > 50 && slots(&file) < all / 5, "{} of {all}", slots(&file));
    }

    #[test]
    fn the_pre_state_suffices() {
        let workload = Mix::Defi.build(&Knobs { transactions: 300, ..Knobs::default() });
        let (block, file) = parse(&workload);
        let mut source = MemorySource::new();
        let number = |value: &Value| value.as_str().unwrap().parse::<U256>().unwrap();
        for (address, account) in file["preState"].as_object().unwrap() {
            let code: Bytes = account["code"].as_str().unwrap().parse().unwrap();
            let info = AccountInfo::from_balance(number(&account["balance"]))
                .with_nonce(number(&account["nonce"]).to())
                .with_code(Bytecode::new_raw(code));
            let slots = account["storage"].as_object().unwrap().iter();
            let slots = slots.map(|(slot, value)| (slot.parse().unwrap(), number(value)));
            source.insert_account(address.parse().unwrap(), info, slots);
        }
        let again = sequential::execute(&Workload { source, ..workload.clone() });
        let whole = sequential::execute(&workload);
        assert_eq!(again.results, whole.results);
        assert_eq!(again.bundle, whole.bundle);
        let bloom: Bloom = whole.results.iter().flatten().flat_map(ExecutionResult::logs).collect();
        assert_eq!(block.header.inner.logs_bloom, bloom);
    }

    #[test]
    fn an_invalid_transaction_is_named() {
        let mut workload = Mix::SameSender.build(&Knobs { transactions: 3, ..Knobs::default() });
        workload.transactions[1].nonce += 9;
        let error = block_file(&workload).unwrap_err();
        assert!(matches!(error, GenerateError::Invalid { index: 1, .. }), "{error}");
    }
}
