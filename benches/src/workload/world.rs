//! What the mixes build their blocks with: accounts, contracts, fees and nonces.

use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256, map::AddressMap};
use counterpoint_state::MemorySource;
use rand::{Rng, SeedableRng, rngs::StdRng};
use revm::{context::TxEnv, primitives::hardfork::SpecId, state::AccountInfo};

use super::{Knobs, Workload};
use crate::{
    contracts::{pool::Pool, token::Token},
    fork,
};

/// Gas of a plain transfer.
pub(super) const TRANSFER_GAS: u64 = 21_000;
/// The base fee from London on.
pub(super) const BASE_FEE: u64 = 12_000_000_000;
const GWEI: u128 = 1_000_000_000;
/// The gas limit of a block that needs no more.
const BLOCK_GAS_LIMIT: u64 = 30_000_000;

/// A block in the making.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) source: MemorySource,
    spec: SpecId,
    nonces: AddressMap<u64>,
    transactions: Vec<TxEnv>,
}

impl World {
    pub(super) fn new(knobs: &Knobs) -> Self {
        Self {
            rng: StdRng::seed_from_u64(knobs.seed),
            source: MemorySource::new(),
            spec: knobs.spec,
            nonces: AddressMap::default(),
            transactions: Vec::with_capacity(knobs.transactions),
        }
    }

    /// An address that looks like any other, always the same for the same arguments.
    pub(super) fn address(kind: &str, index: usize) -> Address {
        Address::from_word(keccak256(format!("{kind} {index}")))
    }

    /// Adds an account with 1,000 ether and a history.
    pub(super) fn user(&mut self, index: usize) -> Address {
        let balance = U256::from(1_000) * U256::from(10).pow(U256::from(18));
        self.account("user", index, balance)
    }

    /// Adds an account without code.
    pub(super) fn account(&mut self, kind: &str, index: usize, balance: U256) -> Address {
        let address = Self::address(kind, index);
        let nonce = self.rng.random_range(1..1_000);
        self.nonces.insert(address, nonce);
        self.source.insert_account(address, AccountInfo::from_balance(balance).with_nonce(nonce), []);
        address
    }

    pub(super) fn token(&mut self, index: usize, token: Token) -> Address {
        let address = Self::address("token", index);
        let (name, symbol) = (format!("Token {index}"), format!("TK{index}"));
        Token { name, symbol, ..token }.insert(&mut self.source, address);
        address
    }

    /// Adds a pool and returns how much of its two tokens it has to hold.
    pub(super) fn pool(
        &mut self,
        index: usize,
        tokens: [Address; 2],
        owner: Address,
    ) -> (Address, [U256; 2]) {
        let address = Self::address("pool", index);
        let mut reserve = || self.rng.random_range(1..10_u128) * 10_u128.pow(25);
        let reserves = [reserve(), reserve()];
        let shares = vec![
            (Address::ZERO, U256::from(1_000)),
            (owner, U256::from(reserves[0].isqrt() * reserves[1].isqrt())),
        ];
        let updated = fork::block_env(self.spec, address, 0, 0).timestamp.to::<u32>() - 36;
        Pool { tokens, reserves, updated, shares }.insert(&mut self.source, address);
        (address, reserves.map(U256::from))
    }

    /// The most that a transaction with this gas limit can cost beside its value.
    pub(super) fn most_fee(&self, gas_limit: u64) -> U256 {
        U256::from(gas_limit) * U256::from(2 * u128::from(BASE_FEE) + 3 * GWEI)
    }

    /// Adds a transaction: mostly with EIP-1559 fees where the fork has them.
    pub(super) fn send(&mut self, from: Address, to: Address, value: U256, data: Bytes, gas_limit: u64) {
        let base_fee = u128::from(if self.spec.is_enabled_in(SpecId::LONDON) { BASE_FEE } else { 0 });
        let tip = self.rng.random_range(1..3 * GWEI);
        let dynamic = self.spec.is_enabled_in(SpecId::LONDON) && self.rng.random_bool(0.75);
        let nonce = self.nonces.entry(from).or_default();
        self.transactions.push(TxEnv {
            tx_type: if dynamic { 2 } else { 0 },
            caller: from,
            gas_limit,
            gas_price: if dynamic { 2 * base_fee + tip } else { base_fee + tip },
            gas_priority_fee: dynamic.then_some(tip),
            kind: TxKind::Call(to),
            value,
            data,
            nonce: *nonce,
            chain_id: Some(1),
            ..TxEnv::default()
        });
        *nonce += 1;
    }

    pub(super) fn transfer(&mut self, from: Address, to: Address, value: U256) {
        self.send(from, to, value, Bytes::new(), TRANSFER_GAS);
    }

    /// The number of transactions so far.
    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    pub(super) fn finish(self) -> Workload {
        // An included transaction's gas limit has to fit into what the earlier ones left.
        let gas: u64 = self.transactions.iter().map(|transaction| transaction.gas_limit).sum();
        let beneficiary = Self::address("beneficiary", 0);
        Workload {
            env: fork::block_env(self.spec, beneficiary, gas.max(BLOCK_GAS_LIMIT), BASE_FEE),
            cfg: fork::cfg_env(self.spec),
            transactions: self.transactions,
            source: self.source,
        }
    }
}
