//! The transactions, as JSON or RLP, signed or with the keys to sign them.

use alloy_consensus::{SignableTransaction, error::ValueError};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_evm::FromRecoveredTx;
use alloy_hardforks::EthereumHardfork as Fork;
use alloy_primitives::Signature;
use alloy_rlp::Decodable;
use alloy_rpc_types_eth::{TransactionInput, TransactionRequest};
use revm::{
    context::TxEnv,
    primitives::{Address, B256, Bytes, TxKind, U256},
};
use serde::Deserialize;
use serde_json::Value;

use super::{T8nError, rejection};
use crate::{
    cli::{
        fixture::{Quantity, Quantity64},
        signing,
    },
    ethereum::{Rules, Transaction, sender},
};

/// A transaction, or why it is none.
pub(super) type Read = Result<(Transaction, TxEnv), String>;

/// Reads the transactions.
pub(super) fn read(rules: &Rules, txs: Value) -> Result<Vec<Read>, T8nError> {
    let with_sender = |transaction: Result<Transaction, String>| {
        let transaction = transaction?;
        let sender = sender(rules, &transaction).map_err(|error| rejection::describe(&error))?;
        let env = TxEnv::from_recovered_tx(&transaction, sender);
        Ok((transaction, env))
    };
    match txs {
        Value::Null => Ok(Vec::new()),
        Value::String(rlp) => {
            let bytes: Bytes = rlp.trim().parse().map_err(|error| T8nError::json("txs", error))?;
            Ok(decode(&bytes)?.into_iter().map(with_sender).collect())
        }
        list => {
            let list: Vec<Unsigned> =
                serde_json::from_value(list).map_err(|error| T8nError::json("txs", error))?;
            Ok(list.into_iter().map(|transaction| with_sender(transaction.sign(rules))).collect())
        }
    }
}

/// The transactions in a list; one that cannot be decoded is left out as any other invalid one.
fn decode(bytes: &[u8]) -> Result<Vec<Result<Transaction, String>>, T8nError> {
    let rlp = |error: alloy_rlp::Error| T8nError::Rlp(error.to_string());
    // Nothing at all is no transactions.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = bytes;
    let mut list = alloy_rlp::Header::decode_bytes(&mut rest, true).map_err(rlp)?;
    if !rest.is_empty() {
        return Err(rlp(alloy_rlp::Error::UnexpectedLength));
    }
    let mut transactions = Vec::new();
    while !list.is_empty() {
        let mut after = list;
        let header = alloy_rlp::Header::decode(&mut after).map_err(rlp)?;
        let length = list.len() - after.len() + header.payload_length;
        let (mut item, others) =
            list.split_at_checked(length).ok_or_else(|| rlp(alloy_rlp::Error::InputTooShort))?;
        transactions.push(Transaction::decode(&mut item).map_err(|error| error.to_string()));
        list = others;
    }
    Ok(transactions)
}

/// A transaction as JSON has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unsigned {
    #[serde(rename = "type", default)]
    tx_type: Option<Quantity64>,
    #[serde(default)]
    chain_id: Option<Quantity64>,
    nonce: Quantity64,
    #[serde(alias = "gasLimit")]
    gas: Quantity64,
    #[serde(default)]
    gas_price: Option<Quantity>,
    #[serde(default)]
    max_fee_per_gas: Option<Quantity>,
    #[serde(default)]
    max_priority_fee_per_gas: Option<Quantity>,
    #[serde(default)]
    max_fee_per_blob_gas: Option<Quantity>,
    #[serde(default)]
    blob_versioned_hashes: Option<Vec<B256>>,
    #[serde(default)]
    access_list: Option<Vec<Access>>,
    #[serde(default)]
    authorization_list: Option<Vec<Authority>>,
    value: Quantity,
    #[serde(default)]
    input: Option<Bytes>,
    #[serde(default)]
    data: Option<Bytes>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    v: Option<Quantity>,
    #[serde(default, alias = "y_parity")]
    y_parity: Option<Quantity>,
    #[serde(default)]
    r: Option<Quantity>,
    #[serde(default)]
    s: Option<Quantity>,
    #[serde(default)]
    secret_key: Option<B256>,
    #[serde(default)]
    protected: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    address: Address,
    #[serde(default)]
    storage_keys: Option<Vec<B256>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    chain_id: Quantity,
    address: Address,
    nonce: Quantity64,
    #[serde(default)]
    v: Option<Quantity>,
    #[serde(default)]
    y_parity: Option<Quantity>,
    r: Quantity,
    s: Quantity,
}

/// A signature that is there or can be made.
enum Signer {
    Signed(Signature),
    Key(B256),
}

impl Unsigned {
    fn sign(self, rules: &Rules) -> Result<Transaction, String> {
        let tx_type = self.tx_type();
        let legacy = tx_type == 0;
        let (signer, signed_chain_id) = self.signer(legacy)?;
        let to = match self.to.as_deref().map(str::trim) {
            None | Some("" | "0x") => TxKind::Create,
            Some(to) => TxKind::Call(to.parse().map_err(|_| format!("'to' is no address: {to:?}"))?),
        };
        if matches!(tx_type, 3 | 4) && to.is_create() {
            return Err(format!("type {tx_type} cannot create a contract"));
        }
        let fee = |fee: Option<Quantity>, name: &str| match fee {
            Some(fee) => fee.to_u128().map(Some).ok_or(format!("{name} is too large")),
            None => Ok(Some(0)),
        };
        let protected = self.protected.unwrap_or(true) && rules.has(Fork::SpuriousDragon);
        let chain_id = match signer {
            _ if !legacy => Some(self.chain_id.map_or(rules.chain_id, |id| id.0)),
            Signer::Signed(_) => signed_chain_id,
            Signer::Key(_) => protected.then_some(rules.chain_id),
        };
        // Each type takes its own of these.
        let request = TransactionRequest {
            chain_id,
            nonce: Some(self.nonce.0),
            gas: Some(self.gas.0),
            gas_price: fee(self.gas_price, "gasPrice")?,
            max_fee_per_gas: fee(self.max_fee_per_gas, "maxFeePerGas")?,
            max_priority_fee_per_gas: fee(self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
            max_fee_per_blob_gas: fee(self.max_fee_per_blob_gas, "maxFeePerBlobGas")?,
            to: Some(to),
            value: Some(self.value.0),
            input: TransactionInput::maybe_input(self.input.or(self.data)),
            access_list: Some(access_list(self.access_list)),
            blob_versioned_hashes: Some(self.blob_versioned_hashes.unwrap_or_default()),
            authorization_list: Some(authorizations(self.authorization_list)?),
            ..TransactionRequest::default()
        };
        match tx_type {
            0 => finish(request.build_legacy(), signer),
            1 => finish(request.build_2930(), signer),
            2 => finish(request.build_1559(), signer),
            3 => finish(request.build_4844_without_sidecar(), signer),
            4 => finish(request.build_7702(), signer),
            other => Err(format!("transaction type {other} is not supported")),
        }
    }

    fn tx_type(&self) -> u64 {
        if let Some(tx_type) = self.tx_type {
            tx_type.0
        } else if self.authorization_list.is_some() {
            4
        } else if self.max_fee_per_blob_gas.is_some() {
            3
        } else if self.max_fee_per_gas.is_some() {
            2
        } else {
            u64::from(self.access_list.is_some())
        }
    }

    /// Who signs, and the chain id that a legacy signature holds.
    fn signer(&self, legacy: bool) -> Result<(Signer, Option<u64>), String> {
        let of = |number: Option<Quantity>| number.map_or(U256::ZERO, |number| number.0);
        let (v, r, s) = (of(self.y_parity.filter(|_| !legacy).or(self.v)), of(self.r), of(self.s));
        if let Some(key) = self.secret_key
            && v.is_zero()
            && r.is_zero()
            && s.is_zero()
        {
            return Ok((Signer::Key(key), None));
        }
        let v = u64::try_from(v).map_err(|_| "v is too large".to_owned())?;
        let (parity, chain_id) = match (legacy, v) {
            (false, 0 | 1) => (v == 1, None),
            (true, 27 | 28) => (v == 28, None),
            (true, 35..) => (v % 2 == 0, Some((v - 35) / 2)),
            _ => return Err(format!("v is {v}, which no signature has")),
        };
        Ok((Signer::Signed(Signature::new(r, s, parity)), chain_id))
    }
}

fn finish<T>(
    transaction: Result<T, ValueError<TransactionRequest>>,
    signer: Signer,
) -> Result<Transaction, String>
where
    T: SignableTransaction<Signature>,
    Transaction: From<alloy_consensus::Signed<T>>,
{
    let transaction = transaction.map_err(|error| error.to_string())?;
    let signature = match signer {
        Signer::Signed(signature) => signature,
        Signer::Key(key) => {
            signing::sign(&key, &transaction.signature_hash()).ok_or("'secretKey' is no key")?
        }
    };
    Ok(transaction.into_signed(signature).into())
}

fn access_list(list: Option<Vec<Access>>) -> AccessList {
    let item = |item: Access| AccessListItem {
        address: item.address,
        storage_keys: item.storage_keys.unwrap_or_default(),
    };
    AccessList(list.unwrap_or_default().into_iter().map(item).collect())
}

fn authorizations(list: Option<Vec<Authority>>) -> Result<Vec<SignedAuthorization>, String> {
    let authorization = |authority: Authority| {
        let inner = Authorization {
            chain_id: authority.chain_id.0,
            address: authority.address,
            nonce: authority.nonce.0,
        };
        let parity = authority.y_parity.or(authority.v).unwrap_or_default();
        let parity = u8::try_from(parity.0).map_err(|_| "yParity of an authorization is too large")?;
        Ok(SignedAuthorization::new_unchecked(inner, parity, authority.r.0, authority.s.0))
    };
    list.unwrap_or_default().into_iter().map(authorization).collect()
}
