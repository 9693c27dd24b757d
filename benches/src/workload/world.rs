//! What the mixes build their blocks with: accounts, contracts, fees and nonces.

use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256, map::AddressMap};
use counterpoint_state::MemorySource;
use rand::{Rng, SeedableRng, rngs::StdRng};
use revm::{
    bytecode::{Bytecode, opcode},
    context::TxEnv,
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

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
    pub(super) knobs: Knobs,
    /// How long before the block the set-up happens, in seconds.
    pub(super) elapsed: u64,
    pub(super) nonces: AddressMap<u64>,
    transactions: Vec<TxEnv>,
}

/// A number of ether.
pub(super) fn ether(number: u64) -> U256 {
    U256::from(number) * U256::from(10).pow(U256::from(18))
}

impl World {
    pub(super) fn new(knobs: &Knobs) -> Self {
        Self {
            rng: StdRng::seed_from_u64(knobs.seed),
            source: MemorySource::new(),
            knobs: knobs.clone(),
            elapsed: 3_600,
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
        self.account("user", index, ether(1_000))
    }

    /// Adds users, numbered from 0.
    pub(super) fn users(&mut self, count: usize) -> Vec<Address> {
        (0..count).map(|index| self.user(index)).collect()
    }

    /// Adds the senders of the block's transactions: all different, but for the repeated share.
    pub(super) fn senders(&mut self) -> Vec<Address> {
        let (count, repeated) = (self.knobs.transactions, self.knobs.repeated);
        let mut senders = Vec::with_capacity(count);
        for index in 0..count {
            match senders.last() {
                Some(&last) if repeated > 0.0 && self.rng.random_bool(repeated) => senders.push(last),
                _ => senders.push(self.user(index)),
            }
        }
        senders
    }

    /// Adds an account without code.
    pub(super) fn account(&mut self, kind: &str, index: usize, balance: U256) -> Address {
        let address = Self::address(kind, index);
        let nonce = self.rng.random_range(1..1_000);
        self.nonces.insert(address, nonce);
        self.source.insert_account(address, AccountInfo::from_balance(balance).with_nonce(nonce), []);
        address
    }

    /// Adds a contract with this code and storage.
    pub(super) fn contract(
        &mut self,
        kind: &str,
        index: usize,
        code: Bytes,
        storage: impl IntoIterator<Item = (U256, U256)>,
    ) -> Address {
        let address = Self::address(kind, index);
        let info = AccountInfo::from_bytecode(Bytecode::new_legacy(code)).with_nonce(1);
        self.source.insert_account(address, info, storage);
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
        self.pool_with(address, tokens, reserves, owner);
        (address, reserves.map(U256::from))
    }

    /// Adds a pool that has these reserves.
    pub(super) fn pool_with(
        &mut self,
        address: Address,
        tokens: [Address; 2],
        reserves: [u128; 2],
        owner: Address,
    ) {
        let shares = vec![
            (Address::ZERO, U256::from(1_000)),
            (owner, U256::from(reserves[0].isqrt() * reserves[1].isqrt())),
        ];
        let updated = fork::block_env(self.knobs.spec, address, 0, 0).timestamp.to::<u32>() - 36;
        Pool { tokens, reserves, updated, shares }.insert(&mut self.source, address);
    }

    /// The most that a transaction with this gas limit can cost beside its value.
    pub(super) fn most_fee(&self, gas_limit: u64) -> U256 {
        U256::from(gas_limit) * U256::from(2 * u128::from(BASE_FEE) + 3 * GWEI)
    }

    /// Whether the next transaction is one of those that revert.
    pub(super) fn reverts(&mut self) -> bool {
        self.knobs.reverting > 0.0 && self.rng.random_bool(self.knobs.reverting)
    }

    /// Adds a transaction: mostly with EIP-1559 fees where the fork has them.
    pub(super) fn send(&mut self, from: Address, to: Address, value: U256, data: Bytes, gas_limit: u64) {
        let london = self.knobs.spec.is_enabled_in(SpecId::LONDON);
        let base_fee = u128::from(if london { BASE_FEE } else { 0 });
        let tip = self.rng.random_range(1..3 * GWEI);
        let dynamic = london && self.rng.random_bool(0.75);
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

    /// Adds a call with `data`, or, for the reverting share, with `bad` data, which reverts.
    pub(super) fn call(&mut self, from: Address, to: Address, data: Bytes, bad: Bytes, gas_limit: u64) {
        let data = if self.reverts() { bad } else { data };
        self.send(from, to, U256::ZERO, data, gas_limit);
    }

    /// Adds a plain transfer.
    pub(super) fn transfer(&mut self, from: Address, to: Address, value: U256) {
        self.send(from, to, value, Bytes::new(), TRANSFER_GAS);
    }

    /// Adds a plain transfer, or, for the reverting share, one to a contract that refuses it.
    pub(super) fn pay(&mut self, from: Address, to: Address, value: U256) {
        if !self.reverts() {
            return self.transfer(from, to, value);
        }
        let refusing = Self::address("refusing", 0);
        if self.source.get(&refusing).is_none() {
            let code = [opcode::PUSH1, 0, opcode::DUP1, opcode::REVERT];
            self.contract("refusing", 0, Bytes::copy_from_slice(&code), []);
        }
        self.send(from, refusing, value, Bytes::new(), TRANSFER_GAS + 1_000);
    }

    /// The number of transactions so far.
    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    pub(super) fn finish(mut self) -> Workload {
        let parent = fork::block_env(self.knobs.spec, Address::ZERO, 0, 0).number.to::<u64>() - 1;
        self.source.insert_block_hash(parent, fork::block_hash(parent));
        // An included transaction's gas limit has to fit into what the earlier ones left.
        let gas: u64 = self.transactions.iter().map(|transaction| transaction.gas_limit).sum();
        let beneficiary = Self::address("beneficiary", 0);
        Workload {
            env: fork::block_env(self.knobs.spec, beneficiary, gas.max(BLOCK_GAS_LIMIT), BASE_FEE),
            cfg: fork::cfg_env(self.knobs.spec),
            transactions: self.transactions,
            source: self.source,
        }
    }
}
