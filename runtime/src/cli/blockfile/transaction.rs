//! Transactions, between a node's JSON and revm's [`TxEnv`].

use revm::{
    context::{
        TxEnv,
        either::Either,
        transaction::{
            AccessList, AccessListItem, Authorization, RecoveredAuthority, RecoveredAuthorization,
            SignedAuthorization,
        },
    },
    primitives::{Address, Bytes, TxKind},
};
use serde_json::{Map, Value, json};

use super::{
    error::{FieldError, Place, Reason},
    fields::Fields,
};

/// Reads the transaction at `index`. The sender is what `from` says.
pub(super) fn parse(json: &Value, index: usize) -> Result<TxEnv, FieldError> {
    let fields = Fields::new(json, Place::Transaction(index), "transaction")?;
    let tx_type = match fields.optional::<u64>("type")?.unwrap_or(0) {
        known @ 0..=4 => known as u8,
        unknown => return Err(fields.error("type", Reason::TransactionType(unknown))),
    };
    let chain_id = match tx_type {
        0 => fields.optional("chainId")?,
        _ => Some(fields.get("chainId")?),
    };
    let kind = match fields.optional::<Address>("to")? {
        Some(address) => TxKind::Call(address),
        None if tx_type >= 3 => return Err(fields.error("to", Reason::NoCreation(tx_type))),
        None => TxKind::Create,
    };
    let input = if fields.has("input") { "input" } else { "data" };
    let data = if fields.has(input) { fields.get::<Bytes>(input)? } else { fields.get("input")? };
    let (gas_price, gas_priority_fee) = match tx_type {
        0 | 1 => (fields.get("gasPrice")?, None),
        _ => (fields.get("maxFeePerGas")?, Some(fields.get("maxPriorityFeePerGas")?)),
    };
    let access_list = if tx_type == 0 { AccessList::default() } else { parse_access_list(&fields)? };
    let (blob_hashes, max_fee_per_blob_gas) = match tx_type {
        3 => (fields.list("blobVersionedHashes")?, fields.get("maxFeePerBlobGas")?),
        _ => (Vec::new(), 0),
    };
    let authorization_list = match tx_type {
        4 => parse_authorizations(&fields)?,
        _ => Vec::new(),
    };
    Ok(TxEnv {
        tx_type,
        caller: fields.get("from")?,
        gas_limit: fields.get("gas")?,
        gas_price,
        kind,
        value: fields.get("value")?,
        data,
        nonce: fields.get("nonce")?,
        chain_id,
        access_list,
        gas_priority_fee,
        blob_hashes,
        max_fee_per_blob_gas,
        authorization_list,
    })
}

fn parse_access_list(fields: &Fields<'_>) -> Result<AccessList, FieldError> {
    let item = |item: Fields<'_>| {
        Ok(AccessListItem { address: item.get("address")?, storage_keys: item.list("storageKeys")? })
    };
    fields.objects("accessList")?.into_iter().map(item).collect::<Result<_, _>>().map(AccessList)
}

pub(super) type EitherAuthorization = Either<SignedAuthorization, RecoveredAuthorization>;

/// Authorities are recovered here, once, as senders are recovered before execution.
fn parse_authorizations(fields: &Fields<'_>) -> Result<Vec<EitherAuthorization>, FieldError> {
    let recover = |authorization: EitherAuthorization| match authorization {
        Either::Left(signed) => Either::Right(signed.into_recovered()),
        recovered => recovered,
    };
    Ok(authorizations(fields)?.into_iter().map(recover).collect())
}

/// The authorizations as the file has them: signed, or with an authority.
pub(super) fn authorizations(fields: &Fields<'_>) -> Result<Vec<EitherAuthorization>, FieldError> {
    let item = |item: Fields<'_>| {
        let inner = Authorization {
            chain_id: item.get("chainId")?,
            address: item.get("address")?,
            nonce: item.get("nonce")?,
        };
        // Written by `to_json` for an authorization that never had a signature.
        if item.has("authority") {
            let authority = item.optional("authority")?;
            let authority = authority.map_or(RecoveredAuthority::Invalid, RecoveredAuthority::Valid);
            return Ok(Either::Right(RecoveredAuthorization::new_unchecked(inner, authority)));
        }
        let parity = if item.has("yParity") { item.get::<u64>("yParity")? } else { item.get("v")? };
        // Anything but 0 and 1 makes the authorization invalid, and so does 255.
        let parity = u8::try_from(parity).unwrap_or(u8::MAX);
        let signed = SignedAuthorization::new_unchecked(inner, parity, item.get("r")?, item.get("s")?);
        Ok(Either::Left(signed))
    };
    fields.objects("authorizationList")?.into_iter().map(item).collect()
}

/// Writes a transaction so that [`parse`] gives it back.
pub(super) fn to_json(transaction: &TxEnv, index: usize) -> Value {
    let mut json = json!({
        "transactionIndex": quantity(index),
        "type": quantity(transaction.tx_type),
        "from": transaction.caller,
        "to": transaction.kind.to(),
        "nonce": quantity(transaction.nonce),
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity(transaction.gas_price),
        "value": transaction.value,
        "input": transaction.data,
    });
    let Some(fields) = json.as_object_mut() else { return json };
    if let Some(chain_id) = transaction.chain_id {
        fields.insert("chainId".into(), quantity(chain_id).into());
    }
    if transaction.tx_type >= 1 {
        fields.insert("accessList".into(), access_list_to_json(&transaction.access_list));
    }
    if transaction.tx_type >= 2 {
        fields.insert("maxFeePerGas".into(), quantity(transaction.gas_price).into());
        // Without a limit of its own the tip is limited by the fee.
        let tip = transaction.gas_priority_fee.unwrap_or(transaction.gas_price);
        fields.insert("maxPriorityFeePerGas".into(), quantity(tip).into());
    }
    if transaction.tx_type == 3 {
        fields.insert("maxFeePerBlobGas".into(), quantity(transaction.max_fee_per_blob_gas).into());
        fields.insert("blobVersionedHashes".into(), json!(transaction.blob_hashes));
    }
    if transaction.tx_type == 4 {
        let list = transaction.authorization_list.iter().map(authorization_to_json);
        fields.insert("authorizationList".into(), list.collect());
    }
    json
}

fn access_list_to_json(list: &AccessList) -> Value {
    let item = |item: &AccessListItem| json!({ "address": item.address, "storageKeys": item.storage_keys });
    list.0.iter().map(item).collect()
}

fn authorization_to_json(authorization: &EitherAuthorization) -> Value {
    let inner = match authorization {
        Either::Left(signed) => signed.inner(),
        Either::Right(recovered) => recovered,
    };
    let mut fields = Map::new();
    fields.insert("chainId".into(), json!(inner.chain_id));
    fields.insert("address".into(), json!(inner.address));
    fields.insert("nonce".into(), quantity(inner.nonce).into());
    match authorization {
        Either::Left(signed) => {
            fields.insert("yParity".into(), quantity(signed.y_parity()).into());
            fields.insert("r".into(), json!(signed.r()));
            fields.insert("s".into(), json!(signed.s()));
        }
        Either::Right(recovered) => {
            fields.insert("authority".into(), json!(recovered.authority()));
        }
    }
    fields.into()
}

/// A number the way the format writes it.
pub(super) fn quantity(number: impl std::fmt::LowerHex) -> String {
    format!("{number:#x}")
}
