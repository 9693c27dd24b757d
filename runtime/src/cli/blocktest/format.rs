//! The JSON of block tests.

use std::collections::BTreeMap;

use revm::primitives::{B256, Bytes};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::{
    fixture::{self, Alloc},
    network::Config,
};

#[derive(Debug, Deserialize)]
pub(super) struct Test {
    #[serde(default)]
    network: Option<String>,
    #[serde(default)]
    pub(super) config: Config,
    #[serde(rename = "genesisRLP")]
    pub(super) genesis: Bytes,
    pub(super) pre: Alloc,
    pub(super) blocks: Vec<Block>,
    #[serde(rename = "lastblockhash")]
    pub(super) last: B256,
    #[serde(rename = "postState", default)]
    pub(super) post: Option<Alloc>,
    #[serde(rename = "sealEngine", default)]
    pub(super) seal: Option<String>,
    #[serde(rename = "postStateHash", default)]
    pub(super) post_hash: Option<B256>,
}

impl Test {
    /// The name of its chain, which newer files have in the configuration too, and may leave out here.
    pub(super) fn network(&self) -> &str {
        self.network.as_deref().or(self.config.network.as_deref()).unwrap_or_default()
    }
}

impl fixture::Test for Test {
    const KIND: &'static str = "block test";

    fn is_one(value: &Value) -> bool {
        value.get("blocks").is_some() && value.get("genesisRLP").is_some()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Block {
    #[serde(default)]
    pub(super) rlp: Bytes,
    /// Only of blocks that are valid.
    #[serde(rename = "blockHeader", default)]
    header: Option<Hashed>,
    /// `expectException`, or in older files the same with a fork's name behind it.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Hashed {
    hash: B256,
}

/// What should become of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has this hash.
    Valid(B256),
    /// It is rejected, for one of these reasons if there is a name.
    Invalid(Option<String>),
}

impl Block {
    pub(super) fn fate(&self, network: &str) -> Fate {
        let named = |key: &str| self.others.get(key).and_then(Value::as_str).map(str::to_owned);
        let exception = named("expectException")
            .or_else(|| named(&format!("expectException{network}")))
            .or_else(|| named("expectExceptionALL"));
        match (&self.header, exception) {
            (Some(header), None) => Fate::Valid(header.hash),
            (_, exception) => Fate::Invalid(exception),
        }
    }
}
