//! The JSON of state tests.

use std::collections::BTreeMap;

use revm::primitives::{Address, B256, Bytes};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::{
    fixture::{self, Alloc, Quantity, Quantity64},
    network::Config,
};

#[derive(Debug, Deserialize)]
pub(super) struct Test {
    pub(super) env: Env,
    pub(super) pre: Alloc,
    pub(super) transaction: Transaction,
    pub(super) post: BTreeMap<String, Vec<Expected>>,
    #[serde(default)]
    pub(super) config: Config,
}

impl fixture::Test for Test {
    const KIND: &'static str = "state test";

    fn is_one(value: &Value) -> bool {
        value.get("post").is_some() && value.get("transaction").is_some()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Env {
    #[serde(rename = "currentCoinbase")]
    pub(super) coinbase: Address,
    #[serde(rename = "currentNumber")]
    pub(super) number: Quantity64,
    #[serde(rename = "currentTimestamp")]
    pub(super) timestamp: Quantity64,
    #[serde(rename = "currentGasLimit")]
    pub(super) gas_limit: Quantity,
    #[serde(rename = "currentDifficulty", default)]
    pub(super) difficulty: Quantity,
    #[serde(rename = "currentRandom", default)]
    pub(super) random: Option<Quantity>,
    #[serde(rename = "currentBaseFee", default)]
    pub(super) base_fee: Option<Quantity64>,
    #[serde(rename = "currentExcessBlobGas", default)]
    pub(super) excess_blob_gas: Option<Quantity64>,
    #[serde(rename = "slotNumber", default)]
    pub(super) slot_number: Option<Quantity64>,
}

/// A transaction with several values of some fields. Numbers are text: some tests are about those that are too large.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    pub(super) data: Vec<Bytes>,
    pub(super) gas_limit: Vec<String>,
    pub(super) value: Vec<String>,
    pub(super) nonce: String,
    #[serde(default)]
    pub(super) gas_price: Option<String>,
    #[serde(default)]
    pub(super) max_fee_per_gas: Option<String>,
    #[serde(default)]
    pub(super) max_priority_fee_per_gas: Option<String>,
    #[serde(default)]
    pub(super) max_fee_per_blob_gas: Option<String>,
    #[serde(default)]
    pub(super) blob_versioned_hashes: Option<Vec<B256>>,
    #[serde(default)]
    pub(super) access_lists: Option<Vec<Option<Vec<AccessListItem>>>>,
    #[serde(default)]
    pub(super) authorization_list: Option<Vec<Authorization>>,
    #[serde(default)]
    pub(super) to: Option<String>,
    #[serde(default)]
    pub(super) sender: Option<Address>,
    #[serde(default)]
    pub(super) secret_key: Option<B256>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessListItem {
    pub(super) address: Address,
    #[serde(default)]
    pub(super) storage_keys: Vec<B256>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Authorization {
    pub(super) chain_id: String,
    pub(super) address: Address,
    pub(super) nonce: String,
    #[serde(default)]
    pub(super) v: Option<String>,
    #[serde(default)]
    pub(super) y_parity: Option<String>,
    pub(super) r: String,
    pub(super) s: String,
}

/// What a case expects.
#[derive(Debug, Deserialize)]
pub(super) struct Expected {
    pub(super) hash: B256,
    pub(super) logs: B256,
    pub(super) indexes: Indexes,
    #[serde(rename = "expectException", default)]
    pub(super) exception: Option<String>,
}

/// Which of a transaction's values a case takes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Indexes {
    pub(super) data: usize,
    pub(super) gas: usize,
    pub(super) value: usize,
}
