//! Comparing what the two tools say of a block, and what of that cannot be compared.
//!
//! The specification's tool
//! - keeps rejected transactions in its transactions trie, so the roots of transactions and receipts are compared
//!   only for blocks in which nothing is rejected, as any is that is executed again without what was;
//! - gives other reasons for a rejection, so only the places are compared;
//! - leaves `blobGasUsed` out;
//! - refuses empty accounts from Paris on, crashes where a balance reaches 2^256, where there are ommers, and where a
//!   gas limit is far from its parent's; takes each transaction in JSON for one of chain 1; and leaves an empty account
//!   where a reward of nothing is paid: the generated blocks have nothing of this kind;
//! - says `null` for a base fee or a difficulty of zero;
//! - has other names for a receipt's fields, and fewer of them.

use std::{collections::BTreeSet, ops::AddAssign};

use counterpoint::cli::{
    fixture::{Account, Alloc},
    t8n::Output,
};
use revm::primitives::U256;
use serde_json::Value;

use crate::block::Block;

/// Where the two differ.
#[derive(Debug, thiserror::Error)]
#[error("{what} is {got}, and {expected} by the specification")]
pub(crate) struct Difference {
    what: String,
    expected: String,
    got: String,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) blocks: u64,
    pub(crate) included: u64,
    /// Of those that are included.
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.included += other.included;
        self.failed += other.failed;
        self.rejected += other.rejected;
    }
}

impl Counts {
    pub(crate) fn print(&self, name: &str) {
        let Self { blocks, included, failed, rejected } = self;
        println!("{name:<18} {blocks:>7} {included:>9} {failed:>9} {rejected:>9}");
    }
}

/// Fields of the result that must be the same, whatever was rejected.
const FIELDS: [&str; 12] = [
    "stateRoot",
    "logsHash",
    "logsBloom",
    "gasUsed",
    "currentDifficulty",
    "currentBaseFee",
    "withdrawalsRoot",
    "currentExcessBlobGas",
    "blobGasUsed",
    "requestsHash",
    "requests",
    "blockException",
];

/// Fields that must be the same if nothing was rejected.
const ROOTS: [&str; 2] = ["txRoot", "receiptsRoot"];

/// Each field of a receipt, as the specification's tool calls it and as we do.
const RECEIPT: [(&str, &str); 5] = [
    ("transactionHash", "transactionHash"),
    ("cumulativeGasUsed", "cumulativeGasUsed"),
    ("bloom", "logsBloom"),
    ("succeeded", "status"),
    ("post_state", "root"),
];

/// Compares everything.
pub(crate) fn compare(block: &Block, expected: &Output, got: &Output) -> Result<Counts, Difference> {
    let rejected = |result: &Value| -> Vec<u64> {
        let list = result["rejected"].as_array().into_iter().flatten();
        let mut places: Vec<u64> = list.filter_map(|entry| entry["index"].as_u64()).collect();
        places.sort_unstable();
        places
    };
    let (ours, theirs) = (rejected(&got.result), rejected(&expected.result));
    if ours != theirs {
        let (ours, theirs): (BTreeSet<u64>, BTreeSet<u64>) =
            (ours.into_iter().collect(), theirs.into_iter().collect());
        let only = |one: &BTreeSet<u64>, other, list: &Value| {
            let places: Vec<u64> = one.difference(other).copied().collect();
            let reason = list.as_array().into_iter().flatten();
            let reason =
                reason.filter(|entry| entry["index"].as_u64().is_some_and(|index| places.contains(&index)));
            format!("with {:?}", reason.map(Value::to_string).collect::<Vec<_>>())
        };
        return Err(Difference {
            what: "rejected".to_owned(),
            expected: only(&theirs, &ours, &expected.result["rejected"]),
            got: only(&ours, &theirs, &got.result["rejected"]),
        });
    }
    // In the order in which it is easiest to see what went wrong: where, in what, and the rest.
    let failed = receipts(&expected.result["receipts"], &got.result["receipts"])?;
    accounts(&expected.alloc, &got.alloc)?;
    let roots: &[&str] = if theirs.is_empty() { &ROOTS } else { &[] };
    for field in FIELDS.iter().chain(roots) {
        if *field == "blobGasUsed" && expected.result.get(field).is_none() {
            continue;
        }
        same(field, &expected.result[field], &got.result[field])?;
    }
    let included = got.result["receipts"].as_array().map_or(0, Vec::len) as u64;
    if block.from_rlp && !ours.is_empty() {
        return Err(Difference {
            what: "what is rejected of transactions that were included before".to_owned(),
            expected: "nothing".to_owned(),
            got: format!("{ours:?}"),
        });
    }
    Ok(Counts { blocks: 1, included, failed, rejected: ours.len() as u64 })
}

fn same(what: &str, expected: &Value, got: &Value) -> Result<(), Difference> {
    let plain = |value: &Value| match value {
        Value::Null => Value::String("0x0".to_owned()),
        Value::Bool(yes) => Value::String(if *yes { "0x1" } else { "0x0" }.to_owned()),
        other => other.clone(),
    };
    if plain(expected) == plain(got) {
        return Ok(());
    }
    Err(Difference { what: what.to_owned(), expected: expected.to_string(), got: got.to_string() })
}

/// Compares the receipts; returns how many are of failed transactions.
fn receipts(expected: &Value, got: &Value) -> Result<u64, Difference> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (expected, got) = (list(expected), list(got));
    same("the number of receipts", &expected.len().into(), &got.len().into())?;
    let mut failed = 0;
    for (place, (expected, got)) in expected.iter().zip(&got).enumerate() {
        for (theirs, ours) in RECEIPT {
            // A status or a root, as the fork has it.
            if let Some(value) = expected.get(theirs) {
                same(&format!("receipt {place}, {ours}"), value, &got[ours])?;
            }
        }
        let logs = (list(&expected["logs"]), list(&got["logs"]));
        same(&format!("receipt {place}, the number of logs"), &logs.0.len().into(), &logs.1.len().into())?;
        for (number, (expected, got)) in logs.0.iter().zip(&logs.1).enumerate() {
            for field in ["address", "topics", "data"] {
                let lower = |value: &Value| Value::String(value.to_string().to_lowercase());
                let what = format!("receipt {place}, log {number}, {field}");
                same(&what, &lower(&expected[field]), &lower(&got[field]))?;
            }
        }
        failed += u64::from(expected.get("succeeded") == Some(&Value::Bool(false)));
    }
    Ok(failed)
}

fn accounts(expected: &Value, got: &Value) -> Result<(), Difference> {
    let read = |value: &Value, whose: &str| {
        serde_json::from_value::<Alloc>(value.clone()).map_err(|error| Difference {
            what: format!("alloc of {whose}"),
            expected: "readable".to_owned(),
            got: error.to_string(),
        })
    };
    let (expected, got) = (read(expected, "the specification")?, read(got, "Counterpoint")?);
    let addresses: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    for address in addresses {
        let fields = |account: Option<&Account>| match account {
            None => vec![("existence".to_owned(), "no".to_owned())],
            Some(account) => {
                let mut fields = vec![
                    ("existence".to_owned(), "yes".to_owned()),
                    ("balance".to_owned(), account.balance.0.to_string()),
                    ("nonce".to_owned(), account.nonce.0.to_string()),
                    ("code".to_owned(), account.code.to_string()),
                ];
                let slots = account.storage.iter().filter(|(_, value)| value.0 != U256::ZERO);
                fields.extend(
                    slots.map(|(slot, value)| (format!("slot {:#x}", slot.0), format!("{:#x}", value.0))),
                );
                fields
            }
        };
        let (theirs, ours) = (fields(expected.get(address)), fields(got.get(address)));
        if theirs != ours {
            let only = |one: &[(String, String)], other: &[(String, String)]| {
                let fields = one.iter().filter(|field| !other.contains(field));
                fields.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
            };
            return Err(Difference {
                what: format!("account {address:#x}"),
                expected: format!("[{}]", only(&theirs, &ours)),
                got: format!("[{}]", only(&ours, &theirs)),
            });
        }
    }
    Ok(())
}
