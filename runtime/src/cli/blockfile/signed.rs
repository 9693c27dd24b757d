//! Transactions with their signatures, as the network has them: built from what is executed, so that it is this that the
//! signature and the root are compared with.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_primitives::Signature;
use revm::{
    context::{TxEnv, either::Either},
    primitives::Address,
};
use serde_json::Value;

use super::{
    error::{FieldError, Place, Reason},
    fields::Fields,
    transaction::authorizations,
};
use crate::ethereum::Transaction;

/// The transaction at `index` with its signature, or none if the file lacks a part of one.
pub(super) fn parse(json: &Value, env: &TxEnv, index: usize) -> Result<Option<Transaction>, FieldError> {
    let fields = Fields::new(json, Place::Transaction(index), "transaction")?;
    let parity = ["yParity", "v"].into_iter().find(|field| fields.json(field).is_some());
    let parity = if env.tx_type == 0 { Some("v").filter(|v| fields.json(v).is_some()) } else { parity };
    let (Some(parity), Some(r), Some(s)) = (parity, fields.optional("r")?, fields.optional("s")?) else {
        return Ok(None);
    };
    let sign = |odd| Signature::new(r, s, odd);
    let typed = || Ok::<_, FieldError>(sign(fields.get(parity)?));
    let to: Option<Address> = env.kind.to().copied();
    let (chain_id, nonce, gas_limit) = (env.chain_id.unwrap_or_default(), env.nonce, env.gas_limit);
    let (to_or_create, value, input) = (env.kind, env.value, env.data.clone());
    let access_list = env.access_list.clone();
    let tip = env.gas_priority_fee.unwrap_or_default();
    Ok(Some(match env.tx_type {
        0 => {
            let (odd, chain_id) = legacy(&fields, env)?;
            let legacy = TxLegacy {
                chain_id,
                nonce,
                gas_price: env.gas_price,
                gas_limit,
                to: to_or_create,
                value,
                input,
            };
            legacy.into_signed(sign(odd)).into()
        }
        1 => TxEip2930 {
            chain_id,
            nonce,
            gas_price: env.gas_price,
            gas_limit,
            to: to_or_create,
            value,
            access_list,
            input,
        }
        .into_signed(typed()?)
        .into(),
        2 => TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: env.gas_price,
            max_priority_fee_per_gas: tip,
            to: to_or_create,
            value,
            access_list,
            input,
        }
        .into_signed(typed()?)
        .into(),
        3 => TxEip4844 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: env.gas_price,
            max_priority_fee_per_gas: tip,
            // Without an address there is no transaction of this type, nor of the next.
            to: to.unwrap_or_default(),
            value,
            access_list,
            blob_versioned_hashes: env.blob_hashes.clone(),
            max_fee_per_blob_gas: env.max_fee_per_blob_gas,
            input,
        }
        .into_signed(typed()?)
        .into(),
        _ => {
            let list = authorizations(&fields)?.into_iter().map(Either::left).collect::<Option<Vec<_>>>();
            let Some(authorization_list) = list else { return Ok(None) };
            TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: env.gas_price,
                max_priority_fee_per_gas: tip,
                to: to.unwrap_or_default(),
                value,
                access_list,
                authorization_list,
                input,
            }
            .into_signed(typed()?)
            .into()
        }
    }))
}

/// The parity of a legacy signature, and the chain id that it holds since EIP-155.
fn legacy(fields: &Fields<'_>, env: &TxEnv) -> Result<(bool, Option<u64>), FieldError> {
    let v: u64 = fields.get("v")?;
    match v {
        27 | 28 => Ok((v == 28, None)),
        35.. => {
            let signed = (v - 35) / 2;
            // A node may leave the chain's id out, since it is in the signature.
            match env.chain_id {
                Some(named) if named != signed => {
                    Err(fields.error("v", Reason::OtherChain { named, signed }))
                }
                _ => Ok((v.is_multiple_of(2), Some(signed))),
            }
        }
        _ => Err(fields.error("v", Reason::Parity(v))),
    }
}
