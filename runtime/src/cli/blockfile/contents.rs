//! Parsing a whole file. Accounts become state one at a time, so that a large block's JSON is never held
//! as a tree.

use std::{borrow::Cow, fmt, sync::Arc};

use alloy_consensus::proofs::calculate_ommers_root;
use alloy_rpc_types_eth::Withdrawal;
use counterpoint_state::MemorySource;
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, Bytes, U256},
    state::AccountInfo,
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{
    BlockFile,
    error::{FieldError, Place, Problem, Reason},
    fields::{Fields, FromHex},
    header::Header,
    signed, transaction,
};
use crate::ethereum::Ommer;

/// Parses a block file; `number` is set as soon as the block's number is known.
pub(super) fn parse(json: &[u8], number: &mut Option<u64>) -> Result<BlockFile, Problem> {
    let mut file = Contents::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let parsed = FileSeed(&mut file).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    // The number makes every message better, also where something before or after it is wrong.
    *number = file.block.as_ref().and_then(|block| u64::from_hex(block.get("number")?.as_str()?).ok());
    if let Some(error) = file.error {
        return Err(error.into());
    }
    parsed.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::Shape(error),
        _ => Problem::Json(error),
    })?;

    let missing =
        |field: &str| FieldError { place: Place::File, field: field.into(), reason: Reason::Missing };
    let block = file.block.ok_or_else(|| missing("block"))?;
    let block = Fields::new(&block, Place::File, "block")?;
    let header = Header::parse(&block.clone())?;
    let list = block.array("transactions")?;
    let transactions: Vec<_> = (list.iter().enumerate())
        .map(|(index, json)| transaction::parse(json, index))
        .collect::<Result<_, _>>()?;
    let signed = list.iter().zip(&transactions).enumerate();
    let signed = signed.map(|(index, (json, transaction))| signed::parse(json, transaction, index));
    let signed = signed.collect::<Result<Option<Vec<_>>, _>>()?;
    let withdrawals = block.json("withdrawals").map(|_| parse_withdrawals(&block)).transpose()?;
    let ommer_hashes = block.json("uncles").map(|_| block.list::<B256>("uncles")).transpose()?;
    let hashes = ommer_hashes.as_deref().unwrap_or_default();
    let ommers = file.ommers.as_ref().map(|list| parse_ommers(list, hashes)).transpose()?;
    if !file.has_state {
        return Err(missing("preState").into());
    }
    if let Some(hashes) = &file.block_hashes {
        let object = serde_json::json!({ "blockHashes": hashes });
        let fields = Fields::new(&object, Place::File, "")?;
        for (number, hash) in fields.pairs::<u64, B256>("blockHashes")? {
            file.source.insert_block_hash(number, hash);
        }
    }
    let (ommers, headers) = ommers.unzip();
    let headers = match &ommer_hashes {
        Some(hashes) if hashes.is_empty() => Some(Vec::new()),
        _ => headers.flatten(),
    };
    Ok(BlockFile {
        header,
        transactions: transactions.into(),
        signed: signed.map(Arc::from),
        withdrawals,
        ommer_count: hashes.len(),
        ommers,
        ommers_hash: headers.map(|headers| calculate_ommers_root(&headers)),
        source: Arc::new(file.source),
    })
}

type Ommers = (Vec<Ommer>, Option<Vec<alloy_consensus::Header>>);

/// The ommers whose hashes the block names, in that order, and their headers, if the file has all of each.
fn parse_ommers(list: &Value, hashes: &[B256]) -> Result<Ommers, FieldError> {
    let object = serde_json::json!({ "ommers": list });
    let fields = Fields::new(&object, Place::File, "")?;
    let list = fields.array("ommers")?;
    if list.len() != hashes.len() {
        return Err(fields.error("ommers", Reason::Count { expected: hashes.len(), found: list.len() }));
    }
    let (mut ommers, mut headers) = (Vec::new(), Vec::new());
    for (index, (json, expected)) in list.iter().zip(hashes).enumerate() {
        let fields = Fields::new(json, Place::Ommer(index), "ommers")?;
        let header = Header::parse_ommer(&fields)?;
        let hashes = [fields.optional("hash")?, header.as_ref().map(alloy_consensus::Header::hash_slow)];
        if let Some(found) = hashes.into_iter().flatten().find(|hash| hash != expected) {
            return Err(fields.error("hash", Reason::OtherHash { expected: *expected, found }));
        }
        ommers.push(Ommer { beneficiary: fields.get("miner")?, number: fields.get("number")? });
        headers.push(header);
    }
    Ok((ommers, headers.into_iter().collect()))
}

fn parse_withdrawals(block: &Fields<'_>) -> Result<Vec<Withdrawal>, FieldError> {
    let parse = |(index, json)| {
        let fields = Fields::new(json, Place::Withdrawal(index), "withdrawal")?;
        Ok(Withdrawal {
            index: fields.get("index")?,
            validator_index: fields.get("validatorIndex")?,
            address: fields.get("address")?,
            amount: fields.get("amount")?,
        })
    };
    block.array("withdrawals")?.iter().enumerate().map(parse).collect()
}

/// What was found so far.
#[derive(Default)]
struct Contents {
    block: Option<Value>,
    block_hashes: Option<Value>,
    ommers: Option<Value>,
    source: MemorySource,
    has_state: bool,
    /// A wrong account: serde's errors cannot carry it.
    error: Option<FieldError>,
}

impl Contents {
    fn insert_account(&mut self, address: &str, json: &Value) -> Result<(), FieldError> {
        let field = format!("preState[{address:?}]");
        let address = Address::from_hex(address).map_err(|reason| FieldError {
            place: Place::File,
            field: field.clone(),
            reason,
        })?;
        let fields = Fields::new(json, Place::Account(address), "")?;
        let balance: U256 = fields.get("balance")?;
        let nonce = fields.optional("nonce")?.unwrap_or_default();
        let code: Bytes = fields.optional("code")?.unwrap_or_default();
        let code = Bytecode::new_raw_checked(code)
            .map_err(|error| fields.error("code", Reason::Code(error.to_string())))?;
        let storage = fields.pairs::<U256, U256>("storage")?;
        let info = AccountInfo { balance, nonce, ..AccountInfo::default() }.with_code(code);
        // In this format an empty account is one that does not exist.
        if !info.is_empty() || !storage.is_empty() {
            self.source.insert_account(address, info, storage);
        }
        Ok(())
    }
}

struct FileSeed<'a>(&'a mut Contents);

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with block, preState and blockHashes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "block" => self.0.block = Some(map.next_value()?),
                "blockHashes" => self.0.block_hashes = Some(map.next_value()?),
                "ommers" => self.0.ommers = map.next_value()?,
                "preState" => {
                    map.next_value_seed(StateSeed(self.0))?;
                    self.0.has_state = true;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct StateSeed<'a>(&'a mut Contents);

impl<'de> DeserializeSeed<'de> for StateSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StateSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("preState as an object from address to account")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(address) = map.next_key::<Cow<'de, str>>()? {
            let account: Value = map.next_value()?;
            if self.0.error.is_none()
                && let Err(error) = self.0.insert_account(&address, &account)
            {
                // Read on: the block's number may follow, and the file may turn out to be truncated.
                self.0.error = Some(error);
            }
        }
        Ok(())
    }
}
