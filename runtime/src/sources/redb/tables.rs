//! How the store is laid out.

use redb::TableDefinition;
use revm::{
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use super::StoreError;
use crate::sources::Head;

/// Address -> nonce, balance, hash of the code.
pub(super) const ACCOUNTS: TableDefinition<'static, &[u8; 20], &[u8; 72]> = TableDefinition::new("accounts");
/// Address and slot -> value. Slots that are zero are not there.
pub(super) const STORAGE: TableDefinition<'static, &[u8; 52], &[u8; 32]> = TableDefinition::new("storage");
/// Hash -> code.
pub(super) const CODE: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("code");
/// Number -> hash, zero where it is not known.
pub(super) const BLOCK_HASHES: TableDefinition<'static, u64, &[u8; 32]> =
    TableDefinition::new("block hashes");
/// What the store says of itself.
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// What stands under "format".
pub(super) const FORMAT: &[u8] = b"counterpoint state 1";
/// The key of the last block.
pub(super) const HEAD: &str = "head";
/// The key of the block that the store began with.
pub(super) const FIRST: &str = "first";

pub(super) fn slot_key(address: Address, slot: U256) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(address.as_slice());
    key[20..].copy_from_slice(&slot.to_be_bytes::<32>());
    key
}

pub(super) fn encode_account(info: &AccountInfo) -> [u8; 72] {
    let mut value = [0; 72];
    value[..8].copy_from_slice(&info.nonce.to_be_bytes());
    value[8..40].copy_from_slice(&info.balance.to_be_bytes::<32>());
    value[40..].copy_from_slice(info.code_hash.as_slice());
    value
}

pub(super) fn decode_account(value: &[u8; 72]) -> AccountInfo {
    let (nonce, rest) = value.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let (balance, code_hash) = rest.split_at(32);
    AccountInfo {
        nonce: u64::from_be_bytes(*nonce),
        balance: U256::from_be_slice(balance),
        code_hash: B256::from_slice(code_hash),
        code: None,
        account_id: None,
    }
}

pub(super) fn encode_head(head: Head) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&head.number.to_be_bytes());
    value[8..].copy_from_slice(head.hash.as_slice());
    value
}

pub(super) fn decode_head(value: &[u8]) -> Result<Head, StoreError> {
    let (number, hash) = value.split_first_chunk().ok_or(StoreError::Head)?;
    let hash = B256::try_from(hash).map_err(|_| StoreError::Head)?;
    Ok(Head { number: u64::from_be_bytes(*number), hash })
}
