//! A chain's beginning, from geth's `genesis.json`.

use std::{fs, path::Path};

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header,
    constants::{EMPTY_ROOT_HASH, EMPTY_WITHDRAWALS},
};
use alloy_eips::{eip1559::INITIAL_BASE_FEE, eip7685::EMPTY_REQUESTS_HASH};
use alloy_genesis::Genesis;
use counterpoint_state::MemorySource;
use revm::{
    bytecode::Bytecode,
    primitives::{B256, U256},
    state::AccountInfo,
};

use super::{RedbStore, StoreError};
use crate::{ethereum::StateTrie, sources::Head};

/// Reads a genesis file.
///
/// # Errors
///
/// A file that cannot be read, or is not one.
pub fn read_genesis(path: &Path) -> Result<Genesis, StoreError> {
    let text =
        fs::read_to_string(path).map_err(|cause| StoreError::GenesisFile { path: path.to_owned(), cause })?;
    serde_json::from_str(&text).map_err(|cause| StoreError::Genesis { path: path.to_owned(), cause })
}

/// The state and the header of a chain's first block.
pub fn genesis_block(genesis: &Genesis) -> (MemorySource, Header) {
    let mut state = MemorySource::new();
    for (address, account) in &genesis.alloc {
        let code = account.code.clone().unwrap_or_default();
        let code = Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
        let info = AccountInfo {
            balance: account.balance,
            nonce: account.nonce.unwrap_or_default(),
            ..Default::default()
        };
        let slots = account.storage.iter().flatten();
        let slots = slots.map(|(slot, value)| (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0)));
        state.insert_account(*address, info.with_code(code), slots.filter(|(_, value)| !value.is_zero()));
    }
    let (config, number, timestamp) =
        (&genesis.config, genesis.number.unwrap_or_default(), genesis.timestamp);
    let london = config.is_london_active_at_block(number);
    let shanghai = config.is_shanghai_active_at_block_and_timestamp(number, timestamp);
    let cancun = config.is_cancun_active_at_block_and_timestamp(number, timestamp);
    let prague = london && config.prague_time.is_some_and(|time| time <= timestamp);
    let base_fee = genesis.base_fee_per_gas.and_then(|fee| u64::try_from(fee).ok());
    let header = Header {
        parent_hash: genesis.parent_hash.unwrap_or_default(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: genesis.coinbase,
        state_root: StateTrie::new(&state).root(),
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: genesis.difficulty,
        number,
        gas_limit: genesis.gas_limit,
        timestamp,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        nonce: genesis.nonce.into(),
        base_fee_per_gas: london.then(|| base_fee.unwrap_or(INITIAL_BASE_FEE)),
        withdrawals_root: shanghai.then_some(EMPTY_WITHDRAWALS),
        blob_gas_used: cancun.then(|| genesis.blob_gas_used.unwrap_or_default()),
        excess_blob_gas: cancun.then(|| genesis.excess_blob_gas.unwrap_or_default()),
        parent_beacon_block_root: cancun.then_some(B256::ZERO),
        requests_hash: prague.then_some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    };
    (state, header)
}

impl RedbStore {
    /// Fills an empty store with a chain's beginning.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    pub fn import_genesis(&self, genesis: &Genesis) -> Result<Head, StoreError> {
        let (state, header) = genesis_block(genesis);
        let head = Head { number: header.number, hash: header.hash_slow() };
        self.import(&state, head)?;
        Ok(head)
    }
}
