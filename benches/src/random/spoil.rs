//! Making a valid transaction invalid, in every way that there is.

use alloy_primitives::{B256, Bytes, TxKind, U256};
use rand::Rng;
use revm::{
    context::TxEnv,
    primitives::hardfork::SpecId::{self, *},
};

use super::{
    dice::Dice,
    world::{GAS_LIMIT, World},
};

/// Spoils the transaction. Now and then it stays valid: a nonce of zero has none below.
pub(super) fn spoil(rng: &mut Dice, world: &World, mut transaction: TxEnv) -> TxEnv {
    let has = |spec: SpecId| world.spec.is_enabled_in(spec);
    let dynamic = transaction.tx_type == 2;
    match rng.random_range(0..20) {
        0..3 => transaction.nonce = transaction.nonce.saturating_add(rng.random_range(1..4)),
        3..6 => transaction.nonce = transaction.nonce.saturating_sub(1),
        6..9 => transaction.value = U256::MAX >> rng.random_range(0..8),
        9 => transaction.gas_limit = GAS_LIMIT + 1,
        10 => transaction.gas_limit = 20_999,
        11 if world.base_fee > 0 && !dynamic => transaction.gas_price = u128::from(world.base_fee) - 1,
        11 if dynamic => transaction.gas_priority_fee = Some(transaction.gas_price + 1),
        12 => transaction.chain_id = Some(2),
        13 => transaction.caller = World::COUNTER,
        14 => transaction.nonce = u64::MAX,
        15 if has(SHANGHAI) => {
            transaction.kind = TxKind::Create;
            transaction.data = Bytes::from(vec![0; 50_000]);
            transaction.gas_limit = 3_000_000;
        }
        16 if !has(BERLIN) => transaction.tx_type = 1,
        16 if !has(PRAGUE) => (transaction.tx_type, transaction.chain_id) = (4, Some(1)),
        17 if !has(LONDON) => transaction.tx_type = 2,
        17 if has(PRAGUE) => (transaction.tx_type, transaction.chain_id) = (4, Some(1)),
        18 if !has(CANCUN) => (transaction.tx_type, transaction.chain_id) = (3, Some(1)),
        // No blob, one of an unknown version, too low a price for it, or too many.
        18 => {
            (transaction.tx_type, transaction.chain_id) = (3, Some(1));
            let version = rng.random_range(0..3);
            let count = if rng.random_bool(0.3) { 10 } else { 1 };
            if version > 0 {
                transaction.blob_hashes = vec![B256::from(U256::from(version) << 248); count];
            }
            transaction.max_fee_per_blob_gas = u128::from(version == 2 || count == 10);
        }
        19 if has(PRAGUE) => {
            // Enough for the data's cost, and not for its floor.
            (transaction.data, transaction.gas_limit) = (Bytes::from(vec![1; 1_000]), 40_000);
            transaction.kind = TxKind::Call(World::COUNTER);
        }
        _ => transaction.value = transaction.value.saturating_add(U256::from(10).pow(U256::from(30))),
    }
    transaction
}
