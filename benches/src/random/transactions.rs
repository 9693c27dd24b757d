//! The transactions of a random block, each made for the state that the earlier ones left.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use rand::{Rng, seq::IndexedRandom};
use revm::{
    Database, ExecuteCommitEvm, MainBuilder, MainnetEvm,
    context::{ContextTr, TxEnv, result::EVMError, transaction::AccessListItem},
    handler::MainnetContext,
    primitives::hardfork::SpecId::{self, *},
    state::AccountInfo,
};

use super::{
    dice::Dice,
    fixed, spoil,
    world::{SMALL, World, to},
};
use crate::{
    Workload,
    asm::Asm,
    contracts::{pool, token},
    sequential::{self, SourceState},
};

/// Makes transactions and executes them as it goes.
#[derive(Debug)]
pub(super) struct Generator<'a> {
    pub(super) rng: &'a mut Dice,
    pub(super) world: &'a World,
    evm: MainnetEvm<MainnetContext<SourceState<'a>>>,
    transactions: Vec<TxEnv>,
    length: usize,
    /// Contracts that transactions of this block created.
    made: Vec<Address>,
}

impl<'a> Generator<'a> {
    pub(super) fn new(rng: &'a mut Dice, world: &'a World, start: &'a Workload) -> Self {
        let evm = sequential::context(start).build_mainnet();
        Self { rng, world, evm, transactions: Vec::new(), length: 0, made: Vec::new() }
    }

    pub(super) fn generate(mut self, length: usize) -> Vec<TxEnv> {
        self.length = length;
        while self.transactions.len() < length {
            self.scene();
        }
        self.transactions
    }

    /// One thing that happens: mostly a transaction, sometimes a few that belong together.
    fn scene(&mut self) {
        if self.has(PRAGUE) && self.rng.random_bool(0.12) {
            return self.set_code();
        }
        if self.has(CANCUN) && self.rng.random_bool(0.03) {
            return self.blobs();
        }
        match self.rng.random_range(0..108) {
            0..20 => self.transfer(),
            20..44 => self.call_fixed(),
            44..62 => self.call_program(),
            62..70 => self.call_child(),
            70..76 => self.recreate(),
            76..82 => self.create(),
            82..94 => self.trade(),
            94..100 => self.fund_and_send(),
            100..106 => {
                let good = self.simple();
                let bad = spoil::spoil(self.rng, self.world, good);
                self.add(bad);
            }
            _ => {
                let transaction = self.simple();
                self.add(transaction);
            }
        }
    }

    pub(super) fn has(&self, spec: SpecId) -> bool {
        self.world.spec.is_enabled_in(spec)
    }

    pub(super) fn account(&mut self, address: Address) -> AccountInfo {
        let state = self.evm.ctx.db_mut();
        state.basic(address).expect("memory does not fail").unwrap_or_default()
    }

    /// Executes the transaction and adds it, whether it is valid or not.
    pub(super) fn add(&mut self, transaction: TxEnv) {
        if self.transactions.len() >= self.length {
            return;
        }
        match self.evm.transact_commit(transaction.clone()) {
            Ok(result) => self.made.extend(result.created_address()),
            Err(EVMError::Transaction(_)) => {}
            Err(error) => panic!("random block is incomplete: {error}"),
        }
        self.transactions.push(transaction);
    }

    /// A transaction of a sender that can pay for it, most of the time. `budget` is gas beside what the
    /// transaction itself costs.
    pub(super) fn transaction(&mut self, kind: TxKind, value: U256, data: Bytes, budget: u64) -> TxEnv {
        let base_fee = u128::from(self.world.base_fee);
        let tip = *[0, 0, 1, 10].choose(self.rng).unwrap_or(&0);
        let roll = self.rng.random_range(0..100);
        let tx_type = match roll {
            0..50 if self.has(LONDON) => 2,
            50..65 if self.has(BERLIN) => 1,
            _ => 0,
        };
        let slack = if tx_type == 2 { *[0, 5].choose(self.rng).unwrap_or(&0) } else { 0 };
        let mut transaction = TxEnv {
            tx_type,
            gas_price: base_fee + tip + slack,
            gas_priority_fee: (tx_type == 2).then_some(tip),
            gas_limit: budget,
            kind,
            value,
            data,
            chain_id: (tx_type > 0 || self.has(SPURIOUS_DRAGON) && roll % 5 > 0).then_some(1),
            ..TxEnv::default()
        };
        if tx_type > 0 && roll % 3 == 0 {
            self.add_access_list(&mut transaction);
        }
        transaction.gas_limit += intrinsic(&transaction);
        let most = U256::from(transaction.gas_limit) * U256::from(transaction.gas_price) + value;
        self.set_sender(&mut transaction, most);
        transaction
    }

    fn add_access_list(&mut self, transaction: &mut TxEnv) {
        let items = (0..self.rng.random_range(0..3)).map(|_| {
            let keys = (0..self.rng.random_range(0..3)).map(|_| self.rng.random_range(0..7));
            let storage_keys = keys.map(|slot: u64| B256::from(U256::from(slot))).collect();
            AccessListItem { address: self.world.any(self.rng), storage_keys }
        });
        transaction.access_list = items.collect::<Vec<_>>().into();
    }

    fn set_sender(&mut self, transaction: &mut TxEnv, most: U256) {
        let careless = self.rng.random_bool(0.02);
        for _ in 0..10 {
            transaction.caller = *self.world.senders.choose(self.rng).unwrap_or(&Address::ZERO);
            let account = self.account(transaction.caller);
            transaction.nonce = account.nonce;
            if careless || account.balance >= most {
                break;
            }
        }
    }

    fn budget(&mut self) -> u64 {
        match self.rng.random_range(0..20) {
            0 => self.rng.random_range(0..30_000),
            1..4 => self.rng.random_range(30_000..100_000),
            4..18 => self.rng.random_range(100_000..400_000),
            _ => 1_000_000,
        }
    }

    pub(super) fn small(&mut self) -> U256 {
        match self.rng.random_range(0..4) {
            0 => U256::from(self.rng.random_range(0..20 * SMALL)),
            1 => U256::ZERO,
            _ => U256::from(self.rng.random_range(0..SMALL)),
        }
    }

    /// An address as the only argument.
    pub(super) fn with_address(&mut self) -> Bytes {
        word(self.world.any(self.rng).into_word())
    }

    /// A plain transfer or a call of the counter.
    pub(super) fn simple(&mut self) -> TxEnv {
        if self.rng.random_bool(0.4) {
            return self.transaction(to(World::COUNTER), U256::ZERO, Bytes::new(), 60_000);
        }
        let (target, value) = (self.world.any(self.rng), self.small());
        self.transaction(to(target), value, Bytes::new(), 0)
    }

    fn transfer(&mut self) {
        let value = self.small();
        let target = match self.rng.random_range(0..10) {
            0 | 1 => self.world.beneficiary,
            2 => self.world.empty[0],
            3 => self.world.absent[1],
            _ => self.world.any(self.rng),
        };
        // Most of them have the gas of a plain transfer, whatever the recipient turns out to be.
        let budget = if self.rng.random_bool(0.5) { 0 } else { self.budget() };
        let mut transaction = self.transaction(to(target), value, Bytes::new(), budget);
        if self.rng.random_bool(0.08) {
            transaction.kind = to(transaction.caller);
        }
        self.add(transaction);
    }

    fn call_fixed(&mut self) {
        let value = if self.rng.random_bool(0.6) { U256::ZERO } else { self.small() };
        let (target, data, value) = match self.rng.random_range(0..16) {
            0..3 if self.rng.random_bool(0.5) => (World::COUNTER, Bytes::new(), U256::ZERO),
            0..3 => {
                let slot = B256::from(U256::from(self.rng.random_range(0..4)));
                (World::COUNTER, word(slot), U256::ZERO)
            }
            3 => (
                World::FACTORY,
                if self.rng.random_bool(0.5) { Bytes::new() } else { word(B256::ZERO) },
                value,
            ),
            4..6 => (self.salted_factory(), self.deployment(), value),
            6..10 => (World::FORWARDER, self.with_address(), self.small()),
            10..13 => (World::OBSERVER, self.with_address(), value),
            13 => (World::SUICIDE, self.doom(World::SUICIDE), value),
            14 => (World::SUICIDE, Bytes::new(), value),
            _ => {
                let depth = B256::from(U256::from(self.rng.random_range(0..40)));
                let end = B256::from(U256::from(self.rng.random_range(0..3)));
                (World::RECURSOR, [depth, end].concat().into(), U256::ZERO)
            }
        };
        let budget = if target == World::RECURSOR { 1_500_000 } else { self.budget() };
        let transaction = self.transaction(to(target), value, data, budget);
        self.add(transaction);
    }

    /// The factory that uses CREATE2, or the other one where there is no CREATE2 yet.
    fn salted_factory(&mut self) -> Address {
        let known = self.has(PETERSBURG) || self.rng.random_bool(0.05);
        if known { World::FACTORY2 } else { World::FACTORY }
    }

    /// Call data that makes a contract destroy itself in favour of itself, the beneficiary or another.
    fn doom(&mut self, contract: Address) -> Bytes {
        if let Some(rich) = self.world.rich.filter(|_| self.rng.random_bool(0.6)) {
            return word(rich.into_word());
        }
        match self.rng.random_range(0..4) {
            0 => word(contract.into_word()),
            1 => word(self.world.beneficiary.into_word()),
            _ => self.with_address(),
        }
    }

    fn deployment(&mut self) -> Bytes {
        let [salt, flags] = [3, 4].map(|end| B256::from(U256::from(self.rng.random_range(0..end))));
        [salt, flags, self.world.any(self.rng).into_word()].concat().into()
    }

    fn call_program(&mut self) {
        let target = *self.world.programs.choose(self.rng).unwrap_or(&World::COUNTER);
        let value = if self.rng.random_bool(0.7) { U256::ZERO } else { self.small() };
        let data = if self.rng.random_bool(0.6) { Bytes::new() } else { self.with_address() };
        let budget = self.budget();
        let transaction = self.transaction(to(target), value, data, budget);
        self.add(transaction);
    }

    fn call_child(&mut self) {
        let made = self.made.choose(self.rng).copied().filter(|_| self.rng.random_bool(0.4));
        let child = made.or_else(|| self.world.children.choose(self.rng).copied()).unwrap_or_default();
        let data = if self.rng.random_bool(0.6) { Bytes::new() } else { self.doom(child) };
        let value = if self.rng.random_bool(0.8) { U256::ZERO } else { self.small() };
        let transaction = self.transaction(to(child), value, data, 150_000);
        self.add(transaction);
    }

    /// A child's life: deployed, called, destroyed, and deployed again, with other things in between.
    fn recreate(&mut self) {
        let salt = self.rng.random_range(0..3);
        let child = match self.has(PETERSBURG) {
            true => World::child_of_salt(salt),
            false => *self.world.children.choose(self.rng).unwrap_or(&World::SUICIDE),
        };
        for step in [0, 1, 2, 0, 1] {
            if self.rng.random_bool(0.3) {
                let between = self.simple();
                self.add(between);
            }
            if self.rng.random_bool(0.1) {
                continue;
            }
            let (target, data) = match step {
                0 => {
                    let flags = self.rng.random_range(0..4);
                    let words = [salt, flags].map(|number| B256::from(U256::from(number)));
                    let heir = self.world.any(self.rng).into_word();
                    (self.salted_factory(), [words[0], words[1], heir].concat().into())
                }
                1 => (child, Bytes::new()),
                _ => (child, self.doom(child)),
            };
            let transaction = self.transaction(to(target), U256::ZERO, data, 400_000);
            self.add(transaction);
        }
    }

    fn create(&mut self) {
        let init = match self.rng.random_range(0..6) {
            0 | 1 => fixed::child_init(),
            // The program itself is the constructor and most often deploys nothing.
            2 => self.world.program(self.rng),
            3 => Bytes::new(),
            _ => {
                let (mut constructor, program) = (Asm::new(), self.world.program(self.rng));
                constructor.increment(self.rng.random_range(0..4), 7).deploying(&program)
            }
        };
        let value = if self.rng.random_bool(0.7) { U256::ZERO } else { self.small() };
        let budget = self.budget();
        let transaction = self.transaction(TxKind::Create, value, init, budget);
        self.add(transaction);
        if let (Some(made), true) = (self.made.last().copied(), self.rng.random_bool(0.5)) {
            let transaction = self.transaction(to(made), U256::ZERO, Bytes::new(), 200_000);
            self.add(transaction);
        }
    }

    fn trade(&mut self) {
        if !self.has(PETERSBURG) && self.rng.random_bool(0.9) {
            // What the compiler made runs into opcodes that the fork does not have.
            return self.call_fixed();
        }
        let world = self.world;
        let amount = U256::from(self.rng.random_range(0..200_000_u64));
        let token = *world.tokens.choose(self.rng).unwrap_or(&world.pool);
        let (from, target) =
            (self.world.senders.choose(self.rng).copied().unwrap_or_default(), world.any(self.rng));
        let (target, data) = match self.rng.random_range(0..16) {
            0..4 => (token, token::transfer(target, amount)),
            4 => (token, token::transfer(world.senders[0], amount)),
            5 => (token, token::transfer_from(from, target, amount)),
            6 => (token, token::approve(world.pool, U256::MAX)),
            7 => (token, token::mint(target, amount)),
            8..14 => (world.pool, pool::swap(token, amount, U256::ONE, from)),
            14 => (world.pool, pool::deposit(amount, amount, from)),
            _ => (world.pool, pool::withdraw(amount >> 4, target)),
        };
        let budget = if self.rng.random_bool(0.9) { pool::GAS_LIMIT } else { self.budget() };
        let transaction = self.transaction(to(target), U256::ZERO, data, budget);
        self.add(transaction);
    }

    /// Someone without enough gets it, directly or from a contract, and spends it.
    fn fund_and_send(&mut self) {
        let senders = self.world.senders.clone();
        let Some(&poor) = senders[1..].choose(self.rng) else { return };
        let value = U256::from(self.rng.random_range(1..2_000_000_000_u64));
        let fund = if self.rng.random_bool(0.5) {
            self.transaction(to(poor), value, Bytes::new(), 0)
        } else {
            self.transaction(to(World::FORWARDER), value, word(poor.into_word()), 150_000)
        };
        self.add(fund);
        for _ in 0..self.rng.random_range(1..4) {
            let mut transaction = self.simple();
            let account = self.account(poor);
            (transaction.caller, transaction.nonce) = (poor, account.nonce);
            self.add(transaction);
        }
    }
}

fn word(word: B256) -> Bytes {
    word.0.into()
}

/// At least what the transaction costs before it runs, at any fork; exact for plain transfers.
fn intrinsic(transaction: &TxEnv) -> u64 {
    let data = transaction.data.len() as u64;
    let lists = transaction.access_list.iter().map(|item| 2_400 + 1_900 * item.storage_keys.len() as u64);
    let create = if transaction.kind.is_create() { 32_000 + 200 * data } else { 0 };
    21_000 + 68 * data + lists.sum::<u64>() + create
}
