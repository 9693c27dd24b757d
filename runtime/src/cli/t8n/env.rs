//! The environment of the block: what is told, and what follows from the block before.

use std::collections::BTreeMap;

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::{eip1559::BaseFeeParams, eip4895::Withdrawal};
use alloy_hardforks::EthereumHardfork as Fork;
use revm::primitives::{Address, B256, U256};
use serde::Deserialize;

use super::T8nError;
use crate::{
    cli::fixture::{Quantity, Quantity64, or_default},
    ethereum::{Ommer, Rules, difficulty, next_excess_blob_gas},
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Env {
    #[serde(rename = "currentCoinbase")]
    coinbase: Address,
    #[serde(rename = "currentGasLimit")]
    gas_limit: Quantity64,
    #[serde(rename = "currentNumber")]
    pub(super) number: Quantity64,
    #[serde(rename = "currentTimestamp")]
    pub(super) timestamp: Quantity64,
    #[serde(rename = "currentDifficulty", default)]
    difficulty: Option<Quantity>,
    #[serde(rename = "currentRandom", default)]
    random: Option<Quantity>,
    #[serde(rename = "currentBaseFee", default)]
    base_fee: Option<Quantity64>,
    #[serde(rename = "currentExcessBlobGas", default)]
    excess_blob_gas: Option<Quantity64>,
    #[serde(default)]
    slot_number: Option<Quantity64>,
    #[serde(default)]
    parent_difficulty: Option<Quantity>,
    #[serde(default)]
    parent_timestamp: Option<Quantity64>,
    #[serde(default)]
    parent_uncle_hash: Option<B256>,
    #[serde(default)]
    parent_base_fee: Option<Quantity64>,
    #[serde(default)]
    parent_gas_used: Option<Quantity64>,
    #[serde(default)]
    parent_gas_limit: Option<Quantity64>,
    #[serde(default)]
    parent_excess_blob_gas: Option<Quantity64>,
    #[serde(default)]
    parent_blob_gas_used: Option<Quantity64>,
    #[serde(default)]
    pub(super) parent_beacon_block_root: Option<B256>,
    #[serde(default)]
    parent_hash: Option<B256>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) block_hashes: BTreeMap<BlockNumber, B256>,
    #[serde(default, deserialize_with = "or_default")]
    ommers: Vec<OmmerOf>,
    #[serde(default)]
    withdrawals: Option<Vec<WithdrawalOf>>,
}

/// A block's number as a key.
pub(super) type BlockNumber = Quantity;

#[derive(Debug, Deserialize)]
struct OmmerOf {
    /// How many blocks before.
    delta: Quantity64,
    address: Address,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithdrawalOf {
    index: Quantity64,
    validator_index: Quantity64,
    address: Address,
    amount: Quantity64,
}

impl Env {
    /// As much of the block's header as the environment determines.
    pub(super) fn header(&self, rules: &Rules) -> Result<Header, T8nError> {
        let merged = rules.has(Fork::Paris);
        let mut header = Header {
            beneficiary: self.coinbase,
            number: self.number.0,
            timestamp: self.timestamp.0,
            gas_limit: self.gas_limit.0,
            parent_beacon_block_root: self.parent_beacon_block_root,
            slot_number: self.slot_number.map(|slot| slot.0),
            ..Header::default()
        };
        if merged {
            if self.difficulty.is_some_and(|difficulty| !difficulty.0.is_zero()) {
                return Err(config("post-merge difficulty must be zero (or omitted) in env"));
            }
            let random = self
                .random
                .ok_or_else(|| config("post-merge requires currentRandom to be defined in env"))?;
            header.mix_hash = B256::from(random.0);
        } else {
            header.difficulty = self.difficulty(rules)?;
        }
        if rules.has(Fork::London) {
            header.base_fee_per_gas = Some(self.base_fee()?);
        }
        if rules.has(Fork::Shanghai) && self.withdrawals.is_none() {
            return Err(config("Shanghai config but missing 'withdrawals' in env section"));
        }
        if rules.has(Fork::Cancun) {
            if self.parent_beacon_block_root.is_none() {
                return Err(config("post-cancun env requires parentBeaconBlockRoot to be set"));
            }
            header.excess_blob_gas = Some(self.excess_blob_gas(rules));
        }
        Ok(header)
    }

    fn difficulty(&self, rules: &Rules) -> Result<U256, T8nError> {
        if let Some(difficulty) = self.difficulty {
            return Ok(difficulty.0);
        }
        let Some(parent) = self.parent_difficulty else {
            return Err(config(
                "currentDifficulty was not provided, and cannot be calculated due to missing parentDifficulty",
            ));
        };
        if self.number.0 == 0 {
            return Err(config("currentDifficulty needs to be provided for block number 0"));
        }
        let parent_timestamp = self.parent_timestamp.map_or(0, |timestamp| timestamp.0);
        if self.timestamp.0 <= parent_timestamp {
            return Err(T8nError::Config(format!(
                "currentDifficulty cannot be calculated -- currentTime ({}) needs to be after parent time ({parent_timestamp})",
                self.timestamp.0
            )));
        }
        let ommers =
            self.parent_uncle_hash.is_some_and(|hash| hash != EMPTY_OMMER_ROOT_HASH && !hash.is_zero());
        Ok(difficulty(rules, self.number.0, self.timestamp.0, parent_timestamp, parent.0, ommers))
    }

    fn base_fee(&self) -> Result<u64, T8nError> {
        if let Some(fee) = self.base_fee {
            return Ok(fee.0);
        }
        let missing = || config("EIP-1559 config but missing 'parentBaseFee' in env section");
        let parent = self.parent_base_fee.filter(|_| self.number.0 != 0).ok_or_else(missing)?;
        let used = self.parent_gas_used.map_or(0, |gas| gas.0);
        let limit = self.parent_gas_limit.map_or(self.gas_limit.0, |gas| gas.0);
        let params = BaseFeeParams::ethereum();
        if u128::from(limit) < params.elasticity_multiplier {
            return Err(config("the base fee cannot be calculated from this 'parentGasLimit'"));
        }
        Ok(params.next_block_base_fee(used, limit, parent.0))
    }

    fn excess_blob_gas(&self, rules: &Rules) -> u64 {
        if let Some(excess) = self.excess_blob_gas {
            return excess.0;
        }
        let parent = Header {
            base_fee_per_gas: self.parent_base_fee.map(|fee| fee.0),
            excess_blob_gas: Some(self.parent_excess_blob_gas.map_or(0, |gas| gas.0)),
            blob_gas_used: Some(self.parent_blob_gas_used.map_or(0, |gas| gas.0)),
            ..Header::default()
        };
        next_excess_blob_gas(rules, &parent)
    }

    /// The hash of the block before.
    pub(super) fn parent_hash(&self, number: u64) -> B256 {
        let before = number.checked_sub(1).map(|number| Quantity(U256::from(number)));
        let known = before.and_then(|number| self.block_hashes.get(&number)).copied();
        known.or(self.parent_hash).unwrap_or_default()
    }

    pub(super) fn ommers(&self, number: u64) -> Vec<Ommer> {
        let ommer = |ommer: &OmmerOf| Ommer {
            beneficiary: ommer.address,
            number: number.saturating_sub(ommer.delta.0),
        };
        self.ommers.iter().map(ommer).collect()
    }

    pub(super) fn withdrawals(&self) -> Option<Vec<Withdrawal>> {
        let withdrawal = |withdrawal: &WithdrawalOf| Withdrawal {
            index: withdrawal.index.0,
            validator_index: withdrawal.validator_index.0,
            address: withdrawal.address,
            amount: withdrawal.amount.0,
        };
        Some(self.withdrawals.as_ref()?.iter().map(withdrawal).collect())
    }
}

fn config(message: &str) -> T8nError {
    T8nError::Config(message.to_owned())
}
