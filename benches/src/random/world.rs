//! The state that a random block starts from: who is there, and what each has.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256};
use counterpoint_state::MemorySource;
use rand::{Rng, seq::IndexedRandom};
use revm::{
    bytecode::Bytecode,
    primitives::hardfork::{SpecId, SpecId::*},
    state::AccountInfo,
};

use super::{
    dice::Dice,
    fixed, keys,
    snippets::{self, Part},
};
use crate::{
    Workload,
    asm::Asm,
    contracts::{pool::Pool, token::Token},
    fork,
};

/// The block's gas limit: more than the transactions of a block can have in all.
pub(super) const GAS_LIMIT: u64 = 120_000_000;
/// Values and balances that calls send are about this many wei.
pub(super) const SMALL: u64 = 1_000_000;
/// How many salts CREATE2 is used with.
const SALTS: u64 = 3;

/// The addresses that a random block is about.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) spec: SpecId,
    pub(super) beneficiary: Address,
    pub(super) base_fee: u64,
    /// Accounts that send.
    pub(super) senders: Vec<Address>,
    /// Accounts that exist and are empty.
    pub(super) empty: Vec<Address>,
    /// Accounts that do not exist.
    pub(super) absent: Vec<Address>,
    /// Where factories put children, by salt and by nonce.
    pub(super) children: Vec<Address>,
    /// Contracts made of random parts.
    pub(super) programs: Vec<Address>,
    pub(super) tokens: [Address; 2],
    pub(super) pool: Address,
    /// In some blocks, an account that can hardly get any richer.
    pub(super) rich: Option<Address>,
}

impl World {
    pub(super) const COUNTER: Address = address!("00000000000000000000000000000000000c0001");
    pub(super) const FACTORY: Address = address!("00000000000000000000000000000000000c0002");
    pub(super) const FACTORY2: Address = address!("00000000000000000000000000000000000c0003");
    pub(super) const FORWARDER: Address = address!("00000000000000000000000000000000000c0004");
    pub(super) const OBSERVER: Address = address!("00000000000000000000000000000000000c0005");
    pub(super) const SUICIDE: Address = address!("00000000000000000000000000000000000c0006");
    pub(super) const RECURSOR: Address = address!("00000000000000000000000000000000000c0007");
    /// The contracts that every block has.
    const FIXED: [Address; 7] = [
        Self::COUNTER,
        Self::FACTORY,
        Self::FACTORY2,
        Self::FORWARDER,
        Self::OBSERVER,
        Self::SUICIDE,
        Self::RECURSOR,
    ];

    /// The addresses, and a block without transactions that holds their state.
    pub(super) fn new(rng: &mut Dice, spec: SpecId) -> (Self, Workload) {
        let numbered = |base: u64, count: u64| -> Vec<Address> {
            (0..count).map(|i| Address::from_word(B256::from(U256::from(base + i)))).collect()
        };
        let salts = (0..SALTS).map(Self::child_of_salt);
        let nonces = (1..4).map(|nonce| Self::FACTORY.create(nonce));
        let mut world = Self {
            spec,
            beneficiary: Address::ZERO,
            base_fee: if spec.is_enabled_in(LONDON) { *[0, 7, 1_000].choose(rng).unwrap_or(&7) } else { 0 },
            senders: keys::accounts().take(rng.random_range(3..=keys::SENDERS)).collect(),
            empty: numbered(0xb0000, 2),
            absent: numbered(0xa0000, 3),
            children: salts.chain(nonces).collect(),
            programs: numbered(0xd0000, rng.random_range(2..6)),
            tokens: [0xf0001, 0xf0002].map(|n| numbered(n, 1)[0]),
            pool: numbered(0xf0003, 1)[0],
            rich: None,
        };
        world.beneficiary = match rng.random_range(0..10) {
            0 | 1 => world.senders[0],
            2 => world.contract(rng),
            3 => *world.children.choose(rng).unwrap_or(&Self::SUICIDE),
            4 => Self::SUICIDE,
            5 => world.empty[0],
            6 => Address::with_last_byte(rng.random_range(1..5)),
            7 => numbered(0xbb000, 1)[0],
            _ => world.absent[0],
        };
        if rng.random_bool(0.05) {
            world.rich = [world.beneficiary, world.absent[1]].choose(rng).copied();
        }
        let workload = world.state(rng);
        (world, workload)
    }

    /// Where the second factory puts the child of this salt.
    pub(super) fn child_of_salt(salt: u64) -> Address {
        Self::FACTORY2.create2(B256::from(U256::from(salt)), keccak256(fixed::child_init()))
    }

    /// A contract that exists before the block.
    pub(super) fn contract(&self, rng: &mut Dice) -> Address {
        let fixed = Self::FIXED[rng.random_range(0..Self::FIXED.len())];
        if rng.random_bool(0.5) { fixed } else { *self.programs.choose(rng).unwrap_or(&fixed) }
    }

    /// Any address that means something in this block.
    pub(super) fn any(&self, rng: &mut Dice) -> Address {
        let from = |list: &[Address], rng: &mut Dice| list[rng.random_range(0..list.len())];
        if let Some(rich) = self.rich.filter(|_| rng.random_bool(0.2)) {
            return rich;
        }
        match rng.random_range(0..20) {
            0..5 => from(&self.senders, rng),
            5..9 => self.contract(rng),
            9..13 => from(&self.children, rng),
            13 | 14 => from(&self.empty, rng),
            15 | 16 => from(&self.absent, rng),
            17 => Address::with_last_byte(rng.random_range(1..12)),
            18 => from(&self.tokens, rng),
            _ => self.beneficiary,
        }
    }

    fn state(&self, rng: &mut Dice) -> Workload {
        let env = fork::block_env(self.spec, self.beneficiary, GAS_LIMIT, self.base_fee);
        let number = env.number.saturating_to::<u64>();
        let mut source = MemorySource::new();
        for ancestor in number.saturating_sub(256)..number {
            source.insert_block_hash(ancestor, fork::block_hash(ancestor));
        }
        for (index, sender) in self.senders.iter().enumerate() {
            self.insert_sender(rng, &mut source, index, *sender);
        }
        for empty in &self.empty {
            source.insert_account(*empty, AccountInfo::default(), []);
        }
        if rng.random_bool(0.3) {
            let balance = U256::from(rng.random_range(0..SMALL));
            source.insert_account(Address::with_last_byte(2), AccountInfo::from_balance(balance), []);
        }
        for contract in Self::FIXED.iter().chain(&self.programs) {
            let code = self.code(rng, *contract);
            let info = self.contract_info(rng, code);
            source.insert_account(*contract, info, storage(rng));
        }
        for child in &self.children {
            insert_child(rng, &mut source, *child);
        }
        self.insert_market(rng, &mut source);
        // Last, as it may be any of them: what it was before is replaced, and contracts are left alone.
        if let Some(rich) =
            self.rich.filter(|rich| !Self::FIXED.contains(rich) && !self.programs.contains(rich))
        {
            let room = if rng.random_bool(0.5) { 1_000 } else { 10 * SMALL };
            let balance = U256::MAX - U256::from(rng.random_range(0..room));
            source.insert_account(rich, AccountInfo::from_balance(balance), []);
        }
        Workload { env, cfg: fork::cfg_env(self.spec), transactions: Vec::new(), source }
    }

    fn insert_sender(&self, rng: &mut Dice, source: &mut MemorySource, index: usize, sender: Address) {
        let ether = U256::from(10).pow(U256::from(18));
        let balance = match rng.random_range(0..20) {
            // At least one can pay for the others.
            _ if index == 0 => U256::from(1_000) * ether,
            0..4 => U256::ZERO,
            4..7 => U256::from(rng.random_range(1..200_000_000_u64)),
            7 if rng.random_bool(0.1) => U256::MAX - U256::from(rng.random_range(0..SMALL)),
            _ => ether,
        };
        let nonce = match rng.random_range(0..60) {
            0 if rng.random_bool(0.5) => u64::MAX - 1,
            0..30 => rng.random_range(1..5),
            _ => 0,
        };
        let mut info = AccountInfo::from_balance(balance).with_nonce(nonce);
        if self.spec.is_enabled_in(PRAGUE) && rng.random_bool(0.15) {
            info = info.with_nonce(nonce.max(1)).with_code(Bytecode::new_eip7702(self.any(rng)));
        }
        if balance.is_zero() && rng.random_bool(0.6) {
            return;
        }
        source.insert_account(sender, info, []);
    }

    fn code(&self, rng: &mut Dice, contract: Address) -> Bytes {
        match contract {
            Self::COUNTER => fixed::counter(),
            Self::FACTORY => fixed::factory(),
            Self::FACTORY2 => fixed::factory2(),
            Self::FORWARDER => fixed::forwarder(),
            Self::OBSERVER => fixed::observer(self.spec),
            Self::SUICIDE => fixed::suicide(),
            Self::RECURSOR => fixed::recursor(contract),
            _ => self.program(rng),
        }
    }

    /// Code of a few random parts.
    pub(super) fn program(&self, rng: &mut Dice) -> Bytes {
        let mut asm = Asm::new();
        for _ in 0..rng.random_range(1..6) {
            let part = Part::pick(rng, self.spec);
            snippets::emit(&mut asm, rng, self, part);
        }
        asm.build()
    }

    fn contract_info(&self, rng: &mut Dice, code: Bytes) -> AccountInfo {
        let balance = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..10 * SMALL) };
        // From Spurious Dragon on a new contract's nonce is 1.
        let nonce = u64::from(self.spec.is_enabled_in(SPURIOUS_DRAGON));
        let info = AccountInfo::from_balance(U256::from(balance)).with_nonce(nonce);
        info.with_code(Bytecode::new_legacy(code))
    }

    fn insert_market(&self, rng: &mut Dice, source: &mut MemorySource) {
        let owner = self.senders[0];
        let reserves = [0; 2].map(|_| rng.random_range(1_000_000..1_000_000_000_000_u128));
        for (index, token) in self.tokens.into_iter().enumerate() {
            let mut state = Token { name: format!("T{index}"), owner, ..Token::default() };
            state.balances.push((self.pool, U256::from(reserves[index])));
            for sender in &self.senders {
                if rng.random_bool(0.8) {
                    state.balances.push((*sender, U256::from(rng.random_range(0..SMALL))));
                }
                let limit = if rng.random_bool(0.5) { U256::MAX } else { U256::from(SMALL) };
                if rng.random_bool(0.8) {
                    state.allowances.push((*sender, self.pool, limit));
                }
            }
            state.insert(source, token);
        }
        let shares = self.senders.iter().map(|sender| (*sender, U256::from(100_000))).collect();
        Pool { tokens: self.tokens, reserves, updated: 1, shares }.insert(source, self.pool);
    }
}

/// Some slots with values; most of what is read was never written.
fn storage(rng: &mut Dice) -> Vec<(U256, U256)> {
    let count = if rng.random_bool(0.4) { 0 } else { rng.random_range(1..6) };
    (0..count).map(|_| (U256::from(rng.random_range(0..8)), U256::from(rng.random_range(1..100)))).collect()
}

/// What stands where a factory will put a child: nothing, money, leftovers, or the child itself.
fn insert_child(rng: &mut Dice, source: &mut MemorySource, child: Address) {
    let leftovers = [(fixed::UNWRITTEN, 1_000), (4, 2_000), (0, 3_000)];
    let leftovers = leftovers.map(|(slot, value)| (U256::from(slot), U256::from(value)));
    let money = AccountInfo::from_balance(U256::from(rng.random_range(1..SMALL)));
    match rng.random_range(0..10) {
        0 => source.insert_account(child, money, []),
        1 => source.insert_account(child, money, leftovers),
        2 => source.insert_account(child, AccountInfo::default(), []),
        3 => source.insert_account(child, AccountInfo::default(), leftovers),
        4..6 => {
            let code = Bytecode::new_legacy(fixed::child());
            source.insert_account(child, money.with_nonce(1).with_code(code), leftovers);
        }
        _ => {}
    }
}

/// The call of a transaction.
pub(super) fn to(address: Address) -> TxKind {
    TxKind::Call(address)
}
