//! Headers: what follows from the parent and from the rules.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, constants::MAXIMUM_EXTRA_DATA_SIZE};
use alloy_eips::{
    eip1559::{BaseFeeParams, INITIAL_BASE_FEE},
    eip4844::DATA_GAS_PER_BLOB,
};
use alloy_hardforks::EthereumHardfork as Fork;
use alloy_primitives::B64;

use super::{Ancestor, HeaderError, Rules, difficulty::difficulty};

/// No block may have less gas.
const LEAST_GAS_LIMIT: u64 = 5_000;

/// EIP-1985: no block may have more gas.
const MOST_GAS_LIMIT: u64 = i64::MAX as u64;

/// The gas limit changes by less than this part of the parent's.
const GAS_LIMIT_DIVISOR: u64 = 1_024;

/// No block uses more blob gas, whatever its rules: a million blobs.
const MOST_BLOB_GAS: u64 = DATA_GAS_PER_BLOB << 20;

/// The first blocks after the DAO fork that say so.
const DAO_EXTRA_RANGE: u64 = 10;

/// What they say.
const DAO_EXTRA_DATA: &[u8] = b"dao-hard-fork";

/// Checks a header against its parent and the rules, except for what depends on the body or on execution.
///
/// Proof of work is not checked.
///
/// # Errors
///
/// What is wrong with it.
pub fn validate_header(rules: &Rules, header: &Header, parent: &Ancestor) -> Result<(), HeaderError> {
    if header.parent_hash != parent.hash {
        return Err(HeaderError::Parent { expected: parent.hash, got: header.parent_hash });
    }
    let parent = &parent.header;
    if parent.number.checked_add(1) != Some(header.number) {
        return Err(HeaderError::Number { parent: parent.number, got: header.number });
    }
    if header.timestamp <= parent.timestamp {
        return Err(HeaderError::Timestamp { parent: parent.timestamp, got: header.timestamp });
    }
    if header.extra_data.len() > MAXIMUM_EXTRA_DATA_SIZE {
        return Err(HeaderError::ExtraDataTooLong(header.extra_data.len()));
    }
    if let Some(dao) = rules.dao_block
        && (dao..dao.saturating_add(DAO_EXTRA_RANGE)).contains(&header.number)
        && *header.extra_data != *DAO_EXTRA_DATA
    {
        return Err(HeaderError::ExtraDataNotDao);
    }
    gas(rules, header, parent)?;
    base_fee(rules, header, parent)?;
    work(rules, header, parent)?;
    presence(rules, header)?;
    blob_gas(rules, header, parent)
}

fn gas(rules: &Rules, header: &Header, parent: &Header) -> Result<(), HeaderError> {
    if header.gas_limit > MOST_GAS_LIMIT {
        return Err(HeaderError::GasLimitTooLarge(header.gas_limit));
    }
    let mut before = parent.gas_limit;
    if is_first_of_london(rules, parent) {
        // The elasticity of EIP-1559.
        before = before.saturating_mul(2);
    }
    if header.gas_limit.abs_diff(before) >= before / GAS_LIMIT_DIVISOR || header.gas_limit < LEAST_GAS_LIMIT {
        return Err(HeaderError::GasLimit { parent: before, got: header.gas_limit });
    }
    if header.gas_used > header.gas_limit {
        return Err(HeaderError::GasUsedOverLimit { used: header.gas_used, limit: header.gas_limit });
    }
    Ok(())
}

fn is_first_of_london(rules: &Rules, parent: &Header) -> bool {
    rules.has(Fork::London) && parent.base_fee_per_gas.is_none()
}

fn base_fee(rules: &Rules, header: &Header, parent: &Header) -> Result<(), HeaderError> {
    if !rules.has(Fork::London) {
        return absent(header.base_fee_per_gas.is_some(), "base fee");
    }
    let got = header.base_fee_per_gas.ok_or(HeaderError::Missing("base fee"))?;
    // Without one, the parent is of before London.
    let expected = parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(INITIAL_BASE_FEE);
    if got == expected { Ok(()) } else { Err(HeaderError::BaseFee { expected, got }) }
}

fn work(rules: &Rules, header: &Header, parent: &Header) -> Result<(), HeaderError> {
    if rules.has(Fork::Paris) {
        if !header.difficulty.is_zero() {
            return Err(HeaderError::DifficultyAfterMerge(header.difficulty));
        }
        if header.nonce != B64::ZERO {
            return Err(HeaderError::NonceAfterMerge);
        }
        if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
            return Err(HeaderError::OmmersAfterMerge);
        }
        return Ok(());
    }
    let expected = difficulty(
        rules,
        header.number,
        header.timestamp,
        parent.timestamp,
        parent.difficulty,
        parent.ommers_hash != EMPTY_OMMER_ROOT_HASH,
    );
    if header.difficulty == expected {
        Ok(())
    } else {
        Err(HeaderError::Difficulty { expected, got: header.difficulty })
    }
}

/// Fields belong to a fork: there from it on, and not before.
fn presence(rules: &Rules, header: &Header) -> Result<(), HeaderError> {
    let fields = [
        ("withdrawals root", header.withdrawals_root.is_some(), Fork::Shanghai),
        ("blob gas used", header.blob_gas_used.is_some(), Fork::Cancun),
        ("excess blob gas", header.excess_blob_gas.is_some(), Fork::Cancun),
        ("parent beacon block root", header.parent_beacon_block_root.is_some(), Fork::Cancun),
        ("requests hash", header.requests_hash.is_some(), Fork::Prague),
        ("block access list hash", header.block_access_list_hash.is_some(), Fork::Amsterdam),
        ("slot number", header.slot_number.is_some(), Fork::Amsterdam),
    ];
    for (name, present, fork) in fields {
        if !rules.has(fork) {
            absent(present, name)?;
        } else if !present {
            return Err(HeaderError::Missing(name));
        }
    }
    Ok(())
}

fn absent(present: bool, name: &'static str) -> Result<(), HeaderError> {
    if present { Err(HeaderError::Unexpected(name)) } else { Ok(()) }
}

fn blob_gas(rules: &Rules, header: &Header, parent: &Header) -> Result<(), HeaderError> {
    let (Some(blobs), Some(used), Some(got)) = (rules.blobs, header.blob_gas_used, header.excess_blob_gas)
    else {
        return Ok(());
    };
    if used % DATA_GAS_PER_BLOB != 0 || used > blobs.max_blob_gas_per_block() {
        return Err(HeaderError::BlobGasUsed(used));
    }
    let expected = next_excess_blob_gas(rules, parent);
    if got == expected { Ok(()) } else { Err(HeaderError::ExcessBlobGas { expected, got }) }
}

/// The excess blob gas of a block, given its parent: zero before Cancun and in its first block.
pub(crate) fn next_excess_blob_gas(rules: &Rules, parent: &Header) -> u64 {
    let (Some(blobs), Some(excess), Some(used)) = (rules.blobs, parent.excess_blob_gas, parent.blob_gas_used)
    else {
        return 0;
    };
    // More than any chain has, so that what is computed below does not overflow.
    if excess.checked_add(used).is_none() || used > MOST_BLOB_GAS {
        return u64::MAX;
    }
    blobs.next_block_excess_blob_gas_osaka(excess, used, parent.base_fee_per_gas.unwrap_or_default())
}
