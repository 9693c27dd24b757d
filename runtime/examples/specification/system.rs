//! System contracts, and calls of them by an account of its own.

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use counterpoint_benches::asm::Asm;
use rand::{Rng, rngs::StdRng};
use revm::{
    bytecode::opcode::{LOG1, STOP},
    context::{BlockEnv, TxEnv},
    primitives::{
        Address, B256, Bytes, TxKind, U256, b256,
        hardfork::SpecId::{self, *},
    },
};

/// The first topic of the deposit contract's logs.
const DEPOSIT_EVENT: B256 = b256!("0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

/// The fork's system contracts with their code.
pub(crate) fn contracts(spec: SpecId) -> Vec<(Address, Bytes)> {
    let mut contracts = Vec::new();
    if spec.is_enabled_in(CANCUN) {
        contracts.push((BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE.clone()));
    }
    if spec.is_enabled_in(PRAGUE) {
        contracts.extend([
            (HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE.clone()),
            (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE.clone()),
            (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE.clone()),
            (MAINNET_DEPOSIT_CONTRACT_ADDRESS, deposit_code()),
        ]);
    }
    contracts
}

/// What each call makes the deposit contract's stand-in log: a deposit in the layout that EIP-6110 prescribes.
fn deposit_code() -> Bytes {
    let word = |value: u64| B256::from(U256::from(value)).to_vec();
    let parts = [(160, 48), (256, 32), (320, 8), (384, 96), (512, 8)];
    let mut log: Vec<u8> = parts.iter().flat_map(|(offset, _)| word(*offset)).collect();
    for (number, (_, length)) in (1..).zip(parts) {
        log.extend(word(length as u64));
        log.resize(log.len() + length, number);
        log.resize(log.len().next_multiple_of(32), 0);
    }
    let mut asm = Asm::new();
    asm.memory(&log).push(DEPOSIT_EVENT.into()).num(log.len() as u64).num(0).ops(&[LOG1, STOP]).build()
}

/// Calls of the system contracts by `caller`, some of them wrong, each with its place in a block of this length.
pub(crate) fn calls(
    rng: &mut StdRng,
    spec: SpecId,
    env: &BlockEnv,
    caller: Address,
    length: usize,
) -> Vec<(usize, TxEnv)> {
    let contracts = contracts(spec);
    if contracts.is_empty() {
        return Vec::new();
    }
    // Up to more than the withdrawals and consolidations that one block may hold.
    let count = if rng.random_bool(0.3) { rng.random_range(10..30) } else { rng.random_range(0..6) };
    let mut places: Vec<usize> = (0..count).map(|_| rng.random_range(0..=length)).collect();
    places.sort_unstable();
    let call = |(nonce, place): (u64, usize), rng: &mut StdRng| {
        let (target, _) = contracts[rng.random_range(0..contracts.len())];
        let random = |rng: &mut StdRng, length: usize| -> Bytes {
            (0..length).map(|_| rng.random::<u8>()).collect::<Vec<_>>().into()
        };
        let data = match target {
            _ if rng.random_bool(0.1) => Bytes::new(),
            BEACON_ROOTS_ADDRESS => B256::from(env.timestamp - U256::from(rng.random_range(0..2))).into(),
            HISTORY_STORAGE_ADDRESS => B256::from(env.number - U256::from(rng.random_range(0..3))).into(),
            WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS => random(rng, 56),
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS => random(rng, 96),
            _ => Bytes::new(),
        };
        let transaction = TxEnv {
            caller,
            nonce,
            kind: TxKind::Call(target),
            // The fee of a request; too little for one here and there.
            value: U256::from(rng.random_range(0..5)),
            data,
            gas_limit: 300_000,
            gas_price: u128::from(env.basefee) + 1,
            chain_id: Some(1),
            ..TxEnv::default()
        };
        (place, transaction)
    };
    (0..).zip(places).map(|numbered| call(numbered, rng)).collect()
}
