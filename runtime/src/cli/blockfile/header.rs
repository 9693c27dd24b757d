//! The header fields that execution needs or that its results are checked against.

use alloy_primitives::{B64, Bloom};
use revm::{
    context::{BlockEnv, CfgEnv},
    context_interface::block::BlobExcessGasAndPrice,
    primitives::{Address, B256, Bytes, U256, hardfork::SpecId},
};

use super::{
    error::{FieldError, Place, Reason},
    fields::Fields,
};

/// The largest ratio of excess blob gas to update fraction for which the fee's series stays within 128 bits.
/// The fee would be e^48 wei.
const LARGEST_BLOB_EXPONENT: u64 = 48;

/// A block's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many ancestors the block has.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Who gets the fees.
    pub beneficiary: Address,
    /// Gas that the transactions may use together.
    pub gas_limit: u64,
    /// Proof-of-work difficulty, zero since the merge.
    pub difficulty: U256,
    /// `mixHash`: the beacon chain's randomness since the merge.
    pub mix_hash: Option<B256>,
    /// Base fee in wei, from London on.
    pub base_fee: Option<u64>,
    /// Excess blob gas, from Cancun on.
    pub excess_blob_gas: Option<u64>,
    /// The parent's root in the beacon chain, from Cancun on.
    pub parent_beacon_block_root: Option<B256>,
    /// The parent's hash.
    pub parent_hash: Option<B256>,
    /// The block's own hash.
    pub hash: Option<B256>,
    /// What the network says the transactions used, in gas; unknown in a generated file that says `null`.
    pub gas_used: Option<u64>,
    /// What the network says the logs' bloom filter is.
    pub logs_bloom: Option<Bloom>,
    /// What the network says the receipts' root is.
    pub receipts_root: Option<B256>,
    /// The hash of the ommers' headers.
    pub ommers_hash: Option<B256>,
    /// The root of the state after the block.
    pub state_root: Option<B256>,
    /// The transactions' root.
    pub transactions_root: Option<B256>,
    /// What the miner wrote.
    pub extra_data: Option<Bytes>,
    /// `nonce`: of the proof of work, zero since the merge.
    pub nonce: Option<B64>,
    /// The withdrawals' root, from Shanghai on.
    pub withdrawals_root: Option<B256>,
    /// What the network says the blobs used, in blob gas, from Cancun on.
    pub blob_gas_used: Option<u64>,
    /// The hash of the requests to the consensus layer, from Prague on.
    pub requests_hash: Option<B256>,
}

impl Header {
    pub(super) fn parse(block: &Fields<'_>) -> Result<Self, FieldError> {
        let header = Self::parse_fields(block);
        header.map_err(|error| FieldError { place: Place::Header, ..error })
    }

    /// An ommer's header, if the file has all of it.
    pub(super) fn parse_ommer(ommer: &Fields<'_>) -> Result<Option<alloy_consensus::Header>, FieldError> {
        let needed = [
            "number",
            "timestamp",
            "miner",
            "gasLimit",
            "difficulty",
            "gasUsed",
            "logsBloom",
            "receiptsRoot",
        ];
        if needed.iter().any(|field| ommer.json(field).is_none()) {
            return Ok(None);
        }
        // What came with later forks is part of it where it is there.
        Ok(Self::parse_fields(ommer)?.complete(SpecId::FRONTIER))
    }

    fn parse_fields(block: &Fields<'_>) -> Result<Self, FieldError> {
        // A result that is not known must say so: a file that lost the field must not pass as checked.
        for field in ["gasUsed", "logsBloom", "receiptsRoot"] {
            if !block.has(field) {
                return Err(block.error(field, Reason::Missing));
            }
        }
        Ok(Self {
            number: block.get("number")?,
            timestamp: block.get("timestamp")?,
            beneficiary: block.get("miner")?,
            gas_limit: block.get("gasLimit")?,
            difficulty: block.get("difficulty")?,
            mix_hash: block.optional("mixHash")?,
            base_fee: block.optional("baseFeePerGas")?,
            excess_blob_gas: block.optional("excessBlobGas")?,
            parent_beacon_block_root: block.optional("parentBeaconBlockRoot")?,
            parent_hash: block.optional("parentHash")?,
            hash: block.optional("hash")?,
            gas_used: block.optional("gasUsed")?,
            logs_bloom: block.optional("logsBloom")?,
            receipts_root: block.optional("receiptsRoot")?,
            ommers_hash: block.optional("sha3Uncles")?,
            state_root: block.optional("stateRoot")?,
            transactions_root: block.optional("transactionsRoot")?,
            extra_data: block.optional("extraData")?,
            nonce: block.optional("nonce")?,
            withdrawals_root: block.optional("withdrawalsRoot")?,
            blob_gas_used: block.optional("blobGasUsed")?,
            requests_hash: block.optional("requestsHash")?,
        })
    }

    /// The header as the network has it; none where a field is missing that it has under this hard fork.
    pub fn complete(&self, spec: SpecId) -> Option<alloy_consensus::Header> {
        // Its header has a hash of access lists, which is not read.
        if spec.is_enabled_in(SpecId::AMSTERDAM) {
            return None;
        }
        let cancun = self.blob_gas_used.is_some()
            && self.excess_blob_gas.is_some()
            && self.parent_beacon_block_root.is_some();
        let needed = [
            (SpecId::LONDON, self.base_fee.is_some()),
            (SpecId::SHANGHAI, self.withdrawals_root.is_some()),
            (SpecId::CANCUN, cancun),
            (SpecId::PRAGUE, self.requests_hash.is_some()),
        ];
        if needed.into_iter().any(|(fork, there)| spec.is_enabled_in(fork) && !there) {
            return None;
        }
        Some(alloy_consensus::Header {
            parent_hash: self.parent_hash?,
            ommers_hash: self.ommers_hash?,
            beneficiary: self.beneficiary,
            state_root: self.state_root?,
            transactions_root: self.transactions_root?,
            receipts_root: self.receipts_root?,
            logs_bloom: self.logs_bloom?,
            difficulty: self.difficulty,
            number: self.number,
            gas_limit: self.gas_limit,
            gas_used: self.gas_used?,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone()?,
            mix_hash: self.mix_hash?,
            nonce: self.nonce?,
            base_fee_per_gas: self.base_fee,
            withdrawals_root: self.withdrawals_root,
            blob_gas_used: self.blob_gas_used,
            excess_blob_gas: self.excess_blob_gas,
            parent_beacon_block_root: self.parent_beacon_block_root,
            requests_hash: self.requests_hash,
            ..alloy_consensus::Header::default()
        })
    }

    /// The environment that transactions see. A field that the hard fork needs must be there.
    pub(super) fn environment(&self, cfg: &CfgEnv) -> Result<BlockEnv, FieldError> {
        let enabled = |fork| cfg.spec.is_enabled_in(fork);
        let error = |field: &str, reason| FieldError { place: Place::Header, field: field.into(), reason };
        let missing = |field, fork: SpecId| error(field, Reason::MissingInFork(fork.into()));

        let basefee = match self.base_fee {
            Some(fee) => fee,
            None if enabled(SpecId::LONDON) => return Err(missing("baseFeePerGas", cfg.spec)),
            None => 0,
        };
        let prevrandao = match self.mix_hash {
            _ if !enabled(SpecId::MERGE) => None,
            Some(hash) => Some(hash),
            None => return Err(missing("mixHash", cfg.spec)),
        };
        let blob_excess_gas_and_price = match self.excess_blob_gas {
            _ if !enabled(SpecId::CANCUN) => None,
            Some(excess) => {
                let fraction = cfg.blob_base_fee_update_fraction();
                if excess / fraction >= LARGEST_BLOB_EXPONENT {
                    return Err(error("excessBlobGas", Reason::BlobFee(excess)));
                }
                Some(BlobExcessGasAndPrice::new(excess, fraction))
            }
            None => return Err(missing("excessBlobGas", cfg.spec)),
        };
        Ok(BlockEnv {
            number: U256::from(self.number),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee,
            difficulty: self.difficulty,
            prevrandao,
            blob_excess_gas_and_price,
            slot_num: 0,
        })
    }
}
