//! Transactions as `t8n` reads them, with the keys to sign them.

use alloy_eips::eip7702::Authorization;
use counterpoint::cli::signing;
use counterpoint_benches::random::keys;
use revm::{
    context::{TxEnv, either::Either, transaction::AccessListItem},
    primitives::{Address, B256, TxKind},
};
use serde_json::{Value, json};

/// The transaction, signed by its caller, or by `other` for a caller that is a contract.
///
/// `None` where the specification's tool cannot read what is meant: in JSON, each transaction is one for chain 1.
pub(crate) fn to_json(transaction: &TxEnv, other: B256) -> Option<Value> {
    if transaction.chain_id.is_some_and(|id| id != 1) {
        return None;
    }
    let legacy = transaction.tx_type == 0;
    let to = match transaction.kind {
        TxKind::Create => String::new(),
        TxKind::Call(to) => format!("{to:#x}"),
    };
    let mut json = json!({
        "type": number(transaction.tx_type),
        "chainId": "0x1",
        "nonce": number(transaction.nonce),
        "gas": number(transaction.gas_limit),
        "to": to,
        "value": transaction.value,
        "input": transaction.data,
        "secretKey": keys::of(transaction.caller).unwrap_or(other),
        "v": "0x0",
        "r": "0x0",
        "s": "0x0",
    });
    let mut set = |key: &str, value: Value| json[key] = value;
    if legacy {
        set("protected", json!(transaction.chain_id.is_some()));
    } else {
        let item = |item: &AccessListItem| json!({ "address": lower(item.address), "storageKeys": item.storage_keys });
        set("accessList", transaction.access_list.iter().map(item).collect());
    }
    if transaction.tx_type < 2 {
        set("gasPrice", number(transaction.gas_price));
    } else {
        set("maxFeePerGas", number(transaction.gas_price));
        set("maxPriorityFeePerGas", number(transaction.gas_priority_fee.unwrap_or_default()));
    }
    if transaction.tx_type == 3 {
        set("maxFeePerBlobGas", number(transaction.max_fee_per_blob_gas));
        set("blobVersionedHashes", json!(transaction.blob_hashes));
    }
    if transaction.tx_type == 4 {
        let list = transaction.authorization_list.iter().map(|entry| match entry {
            Either::Left(signed) => authorization(signed.inner(), None),
            Either::Right(recovered) => authorization(recovered, recovered.authority()),
        });
        set("authorizationList", list.collect());
    }
    Some(json)
}

/// The authorization, with a signature that is nobody's if the authority has no key.
fn authorization(inner: &Authorization, authority: Option<Address>) -> Value {
    let signature = authority.and_then(keys::of).and_then(|key| signing::sign(&key, &inner.signature_hash()));
    let (parity, r, s) = match signature {
        Some(signature) => (u8::from(signature.v()), json!(signature.r()), json!(signature.s())),
        None => (0, json!("0x0"), json!("0x1")),
    };
    json!({
        "chainId": inner.chain_id,
        "address": lower(inner.address),
        "nonce": number(inner.nonce),
        "v": number(parity),
        "r": r,
        "s": s,
    })
}

fn lower(address: Address) -> String {
    format!("{address:#x}")
}

pub(crate) fn number(number: impl std::fmt::LowerHex) -> Value {
    json!(format!("{number:#x}"))
}
