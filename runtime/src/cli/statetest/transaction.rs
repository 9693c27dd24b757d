//! The transaction of one case, as revm takes it.

use alloy_consensus::constants::{
    EIP1559_TX_TYPE_ID, EIP2930_TX_TYPE_ID, EIP4844_TX_TYPE_ID, EIP7702_TX_TYPE_ID, LEGACY_TX_TYPE_ID,
};
use revm::{
    context::{
        TxEnv,
        either::Either,
        transaction::{
            AccessListItem, Authorization, RecoveredAuthority, RecoveredAuthorization, SignedAuthorization,
        },
    },
    primitives::{Address, TxKind},
};

use super::format::{self, Indexes, Transaction};
use crate::{
    cli::{
        fixture::{Quantity, Rejection},
        signing,
    },
    ethereum::Rules,
};

/// Builds the transaction with the values at `indexes`, if there can be such a transaction.
pub(super) fn build(test: &Transaction, indexes: Indexes, rules: &Rules) -> Result<TxEnv, Rejection> {
    let transaction = fields(test, indexes, rules).map_err(Rejection::Field)?;
    if transaction.tx_type >= EIP4844_TX_TYPE_ID && transaction.kind.is_create() {
        return Err(Rejection::Creation(transaction.tx_type));
    }
    Ok(transaction)
}

fn fields(test: &Transaction, indexes: Indexes, rules: &Rules) -> Result<TxEnv, &'static str> {
    let caller = match (test.sender, &test.secret_key) {
        (Some(sender), _) => sender,
        (None, Some(key)) => signing::address(key).ok_or("secretKey")?,
        (None, None) => return Err("sender"),
    };
    let number = |text: &str, name| Quantity::parse(text).ok_or(name);
    let fee = |text: &Option<String>, name| match text {
        Some(text) => number(text, name)?.to_u128().ok_or(name).map(Some),
        None => Ok(None),
    };
    let kind = match test.to.as_deref().unwrap_or_default().trim() {
        "" | "0x" => TxKind::Create,
        to => TxKind::Call(to.parse::<Address>().map_err(|_| "to")?),
    };
    let access_list = match &test.access_lists {
        Some(lists) => lists.get(indexes.data).cloned().flatten(),
        None => None,
    };
    let tx_type = if test.authorization_list.is_some() {
        EIP7702_TX_TYPE_ID
    } else if test.blob_versioned_hashes.is_some() || test.max_fee_per_blob_gas.is_some() {
        EIP4844_TX_TYPE_ID
    } else if test.max_fee_per_gas.is_some() {
        EIP1559_TX_TYPE_ID
    } else if access_list.is_some() {
        EIP2930_TX_TYPE_ID
    } else {
        LEGACY_TX_TYPE_ID
    };
    let max_fee = fee(&test.max_fee_per_gas, "maxFeePerGas")?;
    let gas_price = match max_fee {
        Some(fee) => fee,
        None => fee(&test.gas_price, "gasPrice")?.unwrap_or_default(),
    };
    let tip = fee(&test.max_priority_fee_per_gas, "maxPriorityFeePerGas")?;
    let gas_limit = test.gas_limit.get(indexes.gas).ok_or("gasLimit")?;
    Ok(TxEnv {
        tx_type,
        caller,
        gas_limit: number(gas_limit, "gasLimit")?.to_u64().ok_or("gasLimit")?,
        gas_price,
        kind,
        value: number(test.value.get(indexes.value).ok_or("value")?, "value")?.0,
        data: test.data.get(indexes.data).ok_or("data")?.clone(),
        nonce: number(&test.nonce, "nonce")?.to_u64().ok_or("nonce")?,
        chain_id: Some(rules.chain_id),
        access_list: access_list.unwrap_or_default().into_iter().map(item).collect::<Vec<_>>().into(),
        gas_priority_fee: if tx_type >= EIP1559_TX_TYPE_ID { Some(tip.unwrap_or_default()) } else { None },
        blob_hashes: test.blob_versioned_hashes.clone().unwrap_or_default(),
        max_fee_per_blob_gas: fee(&test.max_fee_per_blob_gas, "maxFeePerBlobGas")?.unwrap_or_default(),
        authorization_list: match &test.authorization_list {
            Some(list) => list.iter().map(authorization).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
    })
}

fn item(item: format::AccessListItem) -> AccessListItem {
    AccessListItem { address: item.address, storage_keys: item.storage_keys }
}

/// A field of an authorization, as a reason for a rejection.
const AUTHORIZATION: &str = "authorizationList";

type EitherAuthorization = Either<SignedAuthorization, RecoveredAuthorization>;

fn authorization(authorization: &format::Authorization) -> Result<EitherAuthorization, &'static str> {
    let number = |text: &str| Quantity::parse(text).ok_or(AUTHORIZATION);
    let inner = Authorization {
        chain_id: number(&authorization.chain_id)?.0,
        address: authorization.address,
        nonce: number(&authorization.nonce)?.to_u64().ok_or(AUTHORIZATION)?,
    };
    let parity = authorization.y_parity.as_deref().or(authorization.v.as_deref());
    let parity = number(parity.unwrap_or("0x0"))?;
    let (r, s) = (number(&authorization.r)?.0, number(&authorization.s)?.0);
    // Anything but 0 and 1 is nobody's signature.
    let recovered = match u8::try_from(parity.0) {
        Ok(parity @ (0 | 1)) => SignedAuthorization::new_unchecked(inner, parity, r, s).into_recovered(),
        _ => RecoveredAuthorization::new_unchecked(inner, RecoveredAuthority::Invalid),
    };
    Ok(Either::Right(recovered))
}
