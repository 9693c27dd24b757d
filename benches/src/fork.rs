//! Block environments and configurations of every fork, as they stood on Ethereum's main network.

use alloy_primitives::{Address, B256, U256, keccak256};
use revm::{
    context::{BlockEnv, CfgEnv},
    context_interface::block::BlobExcessGasAndPrice,
    primitives::{
        eip4844::{BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE},
        hardfork::SpecId,
    },
};

/// The forks that blocks are made for, oldest first.
pub const FORKS: [SpecId; 14] = [
    SpecId::FRONTIER,
    SpecId::HOMESTEAD,
    SpecId::TANGERINE,
    SpecId::SPURIOUS_DRAGON,
    SpecId::BYZANTIUM,
    SpecId::PETERSBURG,
    SpecId::ISTANBUL,
    SpecId::BERLIN,
    SpecId::LONDON,
    SpecId::MERGE,
    SpecId::SHANGHAI,
    SpecId::CANCUN,
    SpecId::PRAGUE,
    SpecId::OSAKA,
];

/// Number and timestamp of a block in the midst of a fork's time on the main network.
fn number_and_time(spec: SpecId) -> (u64, u64) {
    match spec {
        SpecId::FRONTIER => (100_000, 1_439_800_000),
        SpecId::HOMESTEAD => (1_200_000, 1_458_200_000),
        SpecId::TANGERINE => (2_500_000, 1_477_000_000),
        SpecId::SPURIOUS_DRAGON => (3_000_000, 1_484_500_000),
        SpecId::BYZANTIUM => (5_000_000, 1_517_300_000),
        SpecId::PETERSBURG => (8_000_000, 1_561_100_000),
        SpecId::ISTANBUL => (10_000_000, 1_588_600_000),
        SpecId::BERLIN => (12_500_000, 1_621_900_000),
        SpecId::LONDON => (13_500_000, 1_635_500_000),
        SpecId::MERGE => (16_000_000, 1_668_800_000),
        SpecId::SHANGHAI => (18_000_000, 1_693_060_000),
        SpecId::CANCUN => (20_000_000, 1_717_280_000),
        SpecId::PRAGUE => (22_800_000, 1_751_000_000),
        _ => (24_000_000, 1_765_200_000),
    }
}

/// A block environment of the fork.
pub fn block_env(spec: SpecId, beneficiary: Address, gas_limit: u64, base_fee: u64) -> BlockEnv {
    let (number, timestamp) = number_and_time(spec);
    let merged = spec.is_enabled_in(SpecId::MERGE);
    let fraction = if spec.is_enabled_in(SpecId::PRAGUE) {
        BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE
    } else {
        BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN
    };
    BlockEnv {
        number: U256::from(number),
        beneficiary,
        timestamp: U256::from(timestamp),
        gas_limit,
        basefee: if spec.is_enabled_in(SpecId::LONDON) { base_fee } else { 0 },
        difficulty: if merged { U256::ZERO } else { U256::from(12_500_000_000_000_000_u64) },
        prevrandao: merged.then(|| keccak256(number.to_be_bytes())),
        blob_excess_gas_and_price: spec
            .is_enabled_in(SpecId::CANCUN)
            .then(|| BlobExcessGasAndPrice::new(0, fraction)),
        slot_num: 0,
    }
}

/// The main network's rules at the fork.
pub fn cfg_env(spec: SpecId) -> CfgEnv {
    let mut cfg = CfgEnv::new_with_spec(spec);
    cfg.max_blobs_per_tx = match spec {
        SpecId::CANCUN | SpecId::OSAKA => Some(6),
        SpecId::PRAGUE => Some(9),
        _ => None,
    };
    cfg
}

/// A made-up hash of the block with this number.
pub fn block_hash(number: u64) -> B256 {
    keccak256(format!("block {number}"))
}
