//! Changes in layers are those that come without them, whatever happens to an account above and below.
#![cfg(not(loom))]

use std::{collections::BTreeMap, sync::Arc};

use counterpoint_state::{Changes, Changeset, MemorySource, StateSource, changeset::Before};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, Bytes, U256},
    state::{Account, AccountInfo, EvmState, EvmStorageSlot},
};

const ACCOUNTS: u64 = 7;
const SLOTS: u64 = 4;
const SEEDS: u64 = if cfg!(miri) { 20 } else { 3_000 };
const STEPS: u64 = 60;

/// Numbers by chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Clone)]
struct State {
    info: AccountInfo,
    slots: BTreeMap<u64, u64>,
}

fn address(number: u64) -> Address {
    Address::left_padding_from(&(number + 1).to_be_bytes())
}

/// Some of the accounts exist: a contract with storage, a wallet, an empty one, one that has nothing but a balance.
fn before() -> BTreeMap<u64, State> {
    let contract = AccountInfo { nonce: 1, ..AccountInfo::from_balance(U256::from(5)) }
        .with_code(Bytecode::new_legacy(Bytes::from_static(&[0])));
    let wallet = AccountInfo { nonce: 3, ..AccountInfo::from_balance(U256::from(50)) };
    BTreeMap::from([
        (0, State { info: contract, slots: BTreeMap::from([(0, 1), (1, 2)]) }),
        (1, State { info: wallet, slots: BTreeMap::new() }),
        (2, State { info: AccountInfo::default(), slots: BTreeMap::new() }),
        (3, State { info: AccountInfo::from_balance(U256::from(9)), slots: BTreeMap::new() }),
    ])
}

fn source() -> MemorySource {
    let mut source = MemorySource::new();
    source.set_eip7610(true);
    for (number, State { info, slots }) in before() {
        let slots: Vec<_> =
            slots.iter().map(|(slot, value)| (U256::from(*slot), U256::from(*value))).collect();
        source.insert_account(address(number), info, slots);
    }
    source
}

/// What a transaction by chance does to an account, as the journal would have it.
fn change(state: &mut BTreeMap<u64, State>, chance: &mut Chance) -> EvmState {
    let number = chance.below(ACCOUNTS);
    let known = state.get(&number).cloned();
    let mut account = match &known {
        Some(State { info, .. }) => Account::from(info.clone()),
        None => Account::new_not_existing(Default::default()),
    };
    account.mark_touch();
    match (known, chance.below(8)) {
        (Some(_), 0) => {
            account.mark_selfdestruct();
            state.remove(&number);
        }
        (Some(State { info, .. }), _) if info.is_empty() && chance.below(2) == 0 => {
            state.remove(&number);
        }
        (None, 0) => {}
        (None, 1..5) => {
            account.mark_created();
            account.info.nonce = 1;
            if chance.below(2) == 0 {
                account.info = account.info.with_code(Bytecode::new_legacy(Bytes::from_static(&[1])));
            }
            let mut slots = BTreeMap::new();
            write(&mut account, &mut slots, chance);
            state.insert(number, State { info: account.info.clone(), slots });
        }
        (known, kind) => {
            let mut slots = known.map(|known| known.slots).unwrap_or_default();
            account.info.balance += U256::from(1 + chance.below(3));
            account.info.nonce += u64::from(kind == 6);
            if !account.info.is_empty_code_hash() || chance.below(4) == 0 {
                write(&mut account, &mut slots, chance);
            } else if chance.below(10) == 0 {
                // The journal does not always have the code at hand, though it is empty.
                account.info.code = None;
            }
            state.insert(number, State { info: account.info.clone(), slots });
        }
    }
    EvmState::from_iter([(address(number), account)])
}

/// The same in the form in which parallel transactions hand it over: some have not read the balance.
fn taken_apart(
    state: EvmState,
    earlier: &BTreeMap<u64, State>,
    there: &Changeset,
    chance: &mut Chance,
) -> Changes {
    let mut changes = Changes::default();
    for (changed, mut account) in state {
        let known = earlier.iter().find(|(number, _)| address(**number) == changed);
        let mut before = known.map(|(_, State { info, .. })| Before {
            nonce: info.nonce,
            balance: info.balance,
            code_hash: info.code_hash,
            assumed: None,
        });
        if let Some(before) = &mut before
            && before.has_nonce_or_code()
            && account.info.code_hash == before.code_hash
            && !account.is_selfdestructed()
            && chance.below(2) == 0
        {
            let assumed = U256::from([0, 3, 1_000][chance.below(3) as usize]);
            account.info.balance = account.info.balance.wrapping_sub(before.balance).wrapping_add(assumed);
            before.assumed = Some(assumed);
            if there.account(&changed).is_some() {
                // What is there counts.
                before.balance = U256::from(12_345);
            }
        }
        let slots: Vec<_> = account.storage.iter().map(|(key, slot)| (*key, slot.is_changed())).collect();
        changes.note(changed, account, before);
        for (slot, is_changed) in slots {
            assert_eq!(changes.contain(&changed, &slot), is_changed, "slot {slot}");
        }
    }
    changes
}

/// Writes or reads some slots.
fn write(account: &mut Account, slots: &mut BTreeMap<u64, u64>, chance: &mut Chance) {
    for slot in 0..SLOTS {
        if chance.below(2) == 0 {
            let (old, new) = (slots.get(&slot).copied().unwrap_or(0), chance.below(3));
            let value = EvmStorageSlot::new_changed(U256::from(old), U256::from(new), Default::default());
            account.storage.insert(U256::from(slot), value);
            slots.insert(slot, new);
        }
    }
}

fn check(seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let memory: Arc<dyn StateSource> = Arc::new(source());
    let mut state = before();
    let (mut expected, mut bottom) = (Changeset::new(), Arc::new(Changeset::new()));
    let mut layers = 0;
    let mut left = STEPS;
    while left > 0 {
        let steps = (1 + chance.below(12)).min(left);
        left -= steps;
        let serial = bottom.is_odd() || chance.below(3) == 0;
        let (mut top, prefix) = match serial {
            true => (std::mem::take(Arc::get_mut(&mut bottom).expect("nobody else has it")), None),
            false => {
                layers += 1;
                let (top, prefix) = bottom.cover(Changeset::new(), Arc::clone(&memory));
                (top, Some(prefix))
            }
        };
        if let Some(prefix) = &prefix {
            for number in 0..ACCOUNTS {
                let place = || format!("seed {seed}: account {number}, {left} steps before the end");
                let known = state.get(&number);
                let info = prefix.account(address(number)).expect("memory answers");
                assert_eq!(info.as_ref(), known.map(|known| &known.info), "{}", place());
                if let Some(info) = info.filter(|info| !info.is_empty_code_hash()) {
                    assert!(info.code.is_some(), "{}: nobody else has the code", place());
                }
                let position = expected.position(&address(number));
                for slot in 0..SLOTS {
                    let slot = U256::from(slot);
                    let value = position.and_then(|position| expected.slot(position, &slot));
                    let value = value.map_or_else(|| memory.storage(address(number), slot), Ok);
                    let got = prefix.storage(address(number), slot).expect("memory answers");
                    assert_eq!(got, value.expect("memory answers"), "{}, slot {slot}", place());
                }
                let is_wiped = position.is_some_and(|position| expected.is_wiped(position));
                let has_storage = !is_wiped && memory.has_storage(address(number)).expect("memory answers");
                let got = prefix.has_storage(address(number)).expect("memory answers");
                assert_eq!(got, has_storage, "{}", place());
            }
        }
        for _ in 0..steps {
            if chance.below(4) == 0 {
                let number = chance.below(ACCOUNTS);
                let sum = expected.credit(&address(number), U256::from(9), false);
                assert_eq!(top.credit(&address(number), U256::from(9), false), sum, "seed {seed}");
                if let (Some(sum), Some(known)) = (sum, state.get_mut(&number)) {
                    known.info.balance = sum;
                }
                continue;
            }
            let earlier = state.clone();
            let changes = change(&mut state, &mut chance);
            expected.apply_and_keep(changes.clone());
            match (serial, chance.below(3)) {
                (true, _) => top.apply_and_keep(changes),
                (false, 0) => top.apply(changes),
                (false, _) => top.add(&mut taken_apart(changes, &earlier, &top, &mut chance)),
            }
        }
        drop(prefix);
        if serial {
            bottom = Arc::new(top);
        } else {
            top.detach();
            let bottom = Arc::get_mut(&mut bottom).expect("nobody else has it");
            bottom.absorb(&mut top);
            assert!(top.is_empty());
        }
        assert_eq!(bottom.is_odd(), expected.is_odd(), "seed {seed}");
        assert_eq!(bottom.changes(), expected.changes(), "seed {seed}");
    }
    let bottom = Arc::into_inner(bottom).expect("nobody else has it");
    assert_eq!(bottom.finish(), expected.finish(), "seed {seed}, {layers} layers");
}

#[test]
fn layers_change_nothing() {
    (0..SEEDS).for_each(check);
}
