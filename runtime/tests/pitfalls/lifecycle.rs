//! Self-destruct, creation over an address, and removal of an empty account make storage zero.

use std::sync::Arc;

use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::{Bytecode, opcode},
    context::{
        TxEnv,
        either::Either,
        transaction::{Authorization, RecoveredAuthority, RecoveredAuthorization},
    },
    primitives::{Address, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{BENEFICIARY, Case, EXPECTED, Fault, Key, address, output, succeeded, template, word},
    contracts::{
        ADD, BORN_SLOT, BORN_VALUE, FAIL, READ, ask, destroy, factory, factory_address, forwarder, probe,
        script, step, store, store_init, write,
    },
};

const SALT: u64 = 7;
const FACTORY: u64 = 1;
const FORWARDER: u64 = 2;
const PROBE: u64 = 3;
const HEIR: u64 = 4;

/// A block with a factory, whose store is there already with storage if `deployed`.
fn with_factory(spec: SpecId, deployed: bool) -> (Case, Address, Address) {
    let mut case = Case::new(spec);
    let factory = case.contract(address(FACTORY), factory(), &[]);
    case.contract(address(FORWARDER), forwarder(), &[]);
    case.contract(address(PROBE), probe(), &[]);
    let target = factory_address(factory, SALT);
    if deployed {
        let storage = [(1, U256::from(11)), (2, U256::from(22)), (3, U256::from(33))];
        case.contract_with(target, store(), U256::from(1000), &storage);
    }
    (case, factory, target)
}

/// Appends calls, each from a sender of its own.
fn calls(case: &mut Case, calls: &[(Address, &[U256])]) {
    for (to, data) in calls {
        let sender = case.rich(100 + case.transactions.len() as u64);
        case.call(sender, *to, data);
    }
}

#[test]
fn self_destructed_and_created_again_starts_from_zero() {
    for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::SHANGHAI] {
        let (mut case, factory, target) = with_factory(spec, true);
        calls(
            &mut case,
            &[
                (target, &ask(READ, 1)),
                (target, &write(3, 99)),
                (target, &destroy(address(HEIR))),
                (target, &ask(READ, 1)),
                (factory, &[word(SALT)]),
                (target, &ask(READ, 1)),
                (target, &ask(ADD, 1)),
                (target, &ask(READ, 2)),
                (target, &ask(READ, 3)),
                (target, &ask(READ, BORN_SLOT)),
                (target, &destroy(address(HEIR))),
                (factory, &[word(SALT)]),
                (target, &ask(ADD, 1)),
                (target, &ask(READ, 3)),
            ],
        );
        let sequential = case.check_success();
        let read: Vec<_> = [0, 5, 6, 7, 8, 9, 12, 13].map(|index| output(&sequential, index)).into();
        assert_eq!(read, [11, 0, 1, 0, 0, BORN_VALUE, 1, 0].map(U256::from));
    }
}

#[test]
fn self_destruct_keeps_an_older_contract_from_cancun_on() {
    for spec in [SpecId::CANCUN, SpecId::OSAKA] {
        let (mut case, factory, target) = with_factory(spec, true);
        calls(
            &mut case,
            &[
                (target, &write(3, 99)),
                (target, &destroy(address(HEIR))),
                (target, &ask(READ, 1)),
                (target, &ask(READ, 3)),
                (address(PROBE), &[word(address(HEIR))]),
                (factory, &[word(SALT)]),
                (target, &ask(ADD, 1)),
                (target, &destroy(target)),
                (target, &ask(READ, 1)),
            ],
        );
        let sequential = case.check_success();
        let read: Vec<_> = [2, 3, 6, 8].map(|index| output(&sequential, index)).into();
        assert_eq!(read, [11, 99, 12, 12].map(U256::from));
        assert_eq!(output(&sequential, 5), U256::ZERO, "the address is taken");
    }
}

#[test]
fn a_destroyed_accounts_slot_is_not_asked_of_the_source() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI] {
        let (mut case, factory, target) = with_factory(spec, true);
        calls(
            &mut case,
            &[
                (target, &destroy(address(HEIR))),
                (factory, &[word(SALT)]),
                (target, &ask(READ, 1)),
                (target, &ask(ADD, 2)),
                (target, &ask(READ, 77)),
            ],
        );
        // Only speculation asks: it fails at one slot and panics at another.
        case.hook = Arc::new(move |key| match key {
            Key::Slot(at, slot) if at == target && slot == U256::from(1) => Err(Fault(key)),
            Key::Slot(at, _) if at == target => panic!("{key:?} {EXPECTED}"),
            _ => Ok(()),
        });
        let sequential = case.check_success();
        let read: Vec<_> = [2, 3, 4].map(|index| output(&sequential, index)).into();
        assert_eq!(read, [0, 1, 0].map(U256::from));
    }
}

#[test]
fn create2_at_the_same_address_again_and_again() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI] {
        let (mut case, factory, target) = with_factory(spec, false);
        for _ in 0..4 {
            calls(
                &mut case,
                &[
                    (factory, &[word(SALT)]),
                    (target, &ask(ADD, BORN_SLOT)),
                    (target, &ask(ADD, 1)),
                    (factory, &[word(SALT)]),
                    (target, &destroy(address(HEIR))),
                    (target, &ask(ADD, 1)),
                ],
            );
        }
        let sequential = case.check_success();
        for round in 0..4 {
            assert_eq!(output(&sequential, 6 * round), word(target));
            assert_eq!(output(&sequential, 6 * round + 1), U256::from(BORN_VALUE + 1));
            assert_eq!(output(&sequential, 6 * round + 2), U256::from(1));
            assert_eq!(output(&sequential, 6 * round + 3), U256::ZERO);
        }
    }
}

#[test]
fn created_and_destroyed_in_one_transaction() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN, SpecId::PRAGUE] {
        let (mut case, factory, target) = with_factory(spec, false);
        case.account(target, U256::from(5));
        let born_and_gone = script(&[
            step(factory, 9, &[word(SALT)]),
            step(target, 0, &write(1, 10)),
            step(target, 0, &destroy(address(HEIR))),
            step(target, 0, &ask(ADD, 1)),
        ]);
        let once = case.contract_with(address(50), born_and_gone, U256::from(1000), &[]);
        calls(
            &mut case,
            &[
                (once, &[]),
                (address(PROBE), &[word(target)]),
                (once, &[]),
                (address(PROBE), &[word(address(HEIR))]),
                (factory, &[word(SALT)]),
                (target, &ask(READ, 1)),
                (target, &ask(READ, BORN_SLOT)),
                (target, &destroy(address(HEIR))),
                (target, &ask(READ, BORN_SLOT)),
            ],
        );
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 0), U256::from(11), "it lives until the transaction ends");
        assert_eq!(output(&sequential, 4), word(target));
        assert_eq!(output(&sequential, 5), U256::ZERO);
        assert_eq!(output(&sequential, 6), U256::from(BORN_VALUE));
    }
}

#[test]
fn destroyed_created_and_read_in_one_transaction() {
    // What is destroyed is gone at the end of its transaction, so creating it again there fails.
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, factory, target) = with_factory(spec, true);
        let all = script(&[
            step(target, 0, &ask(ADD, 1)),
            step(target, 0, &destroy(address(HEIR))),
            step(factory, 0, &[word(SALT)]),
            step(target, 0, &ask(READ, 1)),
        ]);
        let all = case.contract(address(50), all, &[]);
        calls(
            &mut case,
            &[
                (target, &ask(ADD, 1)),
                (all, &[]),
                (target, &ask(READ, 1)),
                (factory, &[word(SALT)]),
                (target, &ask(READ, 1)),
            ],
        );
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 1), U256::from(13));
    }
}

#[test]
fn a_reverted_self_destruct_leaves_everything() {
    use opcode::{CALL, POP, REVERT};
    for spec in [SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, _, target) = with_factory(spec, true);
        let mut reverting = Asm::new();
        reverting.num(2).num(0).ops(&[opcode::MSTORE]).address(address(HEIR)).num(32).ops(&[opcode::MSTORE]);
        reverting.num(0).num(0).num(64).num(0).num(0).address(target).num(100_000).ops(&[CALL, POP]);
        reverting.num(0).num(0).ops(&[REVERT]);
        let reverting = case.contract(address(50), reverting.build(), &[]);
        calls(
            &mut case,
            &[
                (target, &ask(ADD, 1)),
                (reverting, &[]),
                (target, &ask(ADD, 1)),
                (target, &[word(FAIL), word(1), word(500)]),
                (target, &ask(ADD, 1)),
                (address(PROBE), &[word(target)]),
            ],
        );
        let sequential = case.check();
        assert!(!succeeded(&sequential, 1) && !succeeded(&sequential, 3));
        assert_eq!(output(&sequential, 4), U256::from(14));
    }
}

#[test]
fn creation_over_an_existing_address() {
    for spec in [SpecId::FRONTIER, SpecId::TANGERINE, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::PRAGUE] {
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        let target = creator.create(0);
        // An account that has only a balance, and storage as no account on mainnet has.
        let storage =
            [(1, 11), (2, 22), (BORN_SLOT, 1)].map(|(slot, value)| (U256::from(slot), U256::from(value)));
        case.memory.insert_account(target, AccountInfo::from_balance(U256::from(3)), storage);
        let other = case.rich(11);
        case.send(other, target, 4);
        assert_eq!(case.create(creator, store_init(), 5), target);
        calls(
            &mut case,
            &[
                (target, &ask(READ, 1)),
                (target, &ask(READ, BORN_SLOT)),
                (target, &ask(ADD, 2)),
                (target, &ask(READ, 77)),
                (target, &destroy(address(HEIR))),
                (target, &ask(READ, 2)),
            ],
        );
        let sequential = case.check_success();
        let read: Vec<_> = [2, 3, 4, 5].map(|index| output(&sequential, index)).into();
        assert_eq!(read, [0, BORN_VALUE, 1, 0].map(U256::from));
    }
}

#[test]
fn creation_over_an_address_that_the_block_paid() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, factory, target) = with_factory(spec, false);
        let sender = case.rich(10);
        case.send(sender, target, 5);
        calls(&mut case, &[(address(PROBE), &[word(target)])]);
        case.send(sender, target, 6);
        calls(&mut case, &[(factory, &[word(SALT)]), (address(PROBE), &[word(target)])]);
        case.send(sender, target, 7);
        calls(
            &mut case,
            &[(target, &ask(ADD, 1)), (address(PROBE), &[word(target)]), (target, &destroy(target))],
        );
        case.send(sender, target, 8);
        calls(&mut case, &[(address(PROBE), &[word(target)]), (target, &ask(ADD, 1))]);
        case.check_success();
    }
}

#[test]
fn a_destroyed_account_that_is_paid_again_exists_without_its_past() {
    for spec in [SpecId::FRONTIER, SpecId::TANGERINE, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let mut case = Case::new(spec);
        let target = case.contract_with(address(20), store(), U256::from(9), &[(1, U256::from(11))]);
        calls(&mut case, &[(target, &ask(ADD, 1)), (target, &destroy(target))]);
        let sender = case.rich(10);
        case.send(sender, target, 0);
        calls(&mut case, &[(target, &ask(READ, 1))]);
        case.send(sender, target, 8);
        calls(&mut case, &[(target, &ask(ADD, 1)), (target, &destroy(address(HEIR)))]);
        case.send(sender, target, 3);
        case.check_success();
    }
}

#[test]
fn destroyed_to_an_heir_that_is_destroyed_too() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let mut case = Case::new(spec);
        let first = case.contract_with(address(20), store(), U256::from(9), &[(1, U256::from(11))]);
        let second = case.contract_with(address(21), store(), U256::from(90), &[(1, U256::from(12))]);
        let both = script(&[step(first, 0, &destroy(second)), step(second, 0, &destroy(first))]);
        let both = case.contract(address(22), both, &[]);
        let sender = case.rich(10);
        case.send(sender, first, 1);
        calls(
            &mut case,
            &[(first, &ask(ADD, 1)), (both, &[]), (second, &ask(ADD, 1)), (first, &ask(ADD, 1))],
        );
        case.send(sender, second, 2);
        calls(&mut case, &[(second, &destroy(address(HEIR))), (both, &[])]);
        case.check_success();
    }
}

/// A transaction that gives `authority` the code at `delegate`.
fn delegating(sender: Address, authority: Address, nonce: u64, delegate: Address) -> TxEnv {
    let authorization = Authorization { chain_id: U256::ZERO, address: delegate, nonce };
    let recovered =
        RecoveredAuthorization::new_unchecked(authorization, RecoveredAuthority::Valid(authority));
    let mut tx = template(sender);
    tx.tx_type = 4;
    tx.gas_priority_fee = Some(1);
    tx.kind = TxKind::Call(address(HEIR));
    tx.authorization_list = vec![Either::Right(recovered)];
    tx
}

/// A block about an empty account that has storage all the same, which a delegation makes visible.
fn with_empty_account(empty: Address) -> (Case, Address) {
    let mut case = Case::new(SpecId::PRAGUE);
    let delegate = case.contract(address(30), store(), &[]);
    case.memory.insert_account(empty, AccountInfo::default(), [(U256::from(1), U256::from(11))]);
    (case, delegate)
}

#[test]
fn an_empty_account_has_no_storage_even_if_the_source_says_so() {
    let empty = address(31);
    let (mut case, delegate) = with_empty_account(empty);
    let sender = case.rich(10);
    case.push(delegating(sender, empty, 0, delegate));
    calls(&mut case, &[(empty, &ask(ADD, 1)), (empty, &ask(ADD, 2))]);
    assert_eq!(output(&case.check_success(), 1), U256::from(1), "revm does not ask");
}

#[test]
fn removing_a_touched_empty_account_makes_its_storage_zero() {
    let empty = address(31);
    for touch in 0..3 {
        let (mut case, delegate) = with_empty_account(empty);
        let toucher = case.rich(10);
        match touch {
            // A plain transfer of nothing.
            0 => {
                case.send(toucher, empty, 0);
            }
            // A call of nothing from inside.
            1 => {
                let caller = case.contract(address(40), script(&[step(empty, 0, &[])]), &[]);
                case.call(toucher, caller, &[]);
            }
            // What is destroyed with nothing in it leaves nothing to its heir.
            _ => {
                let target = case.contract(address(40), store(), &[]);
                case.call(toucher, target, &destroy(empty));
            }
        }
        let sender = case.rich(11);
        case.push(delegating(sender, empty, 0, delegate));
        calls(&mut case, &[(empty, &ask(READ, 1)), (empty, &ask(ADD, 1)), (empty, &ask(READ, 2))]);
        case.hook = Arc::new(move |key| match key {
            // Only speculation asks, in the order in which nothing was touched.
            Key::Slot(at, _) if at == empty => panic!("{key:?} {EXPECTED}"),
            _ => Ok(()),
        });
        let sequential = case.check_success();
        let read: Vec<_> = [2, 3, 4].map(|index| output(&sequential, index)).into();
        assert_eq!(read, [0, 1, 0].map(U256::from));
    }
}

#[test]
fn a_fee_of_nothing_removes_an_empty_beneficiary_with_its_storage() {
    let (mut case, delegate) = with_empty_account(BENEFICIARY);
    let idle = case.rich(10);
    let other = address(60);
    case.send(idle, other, 1).gas_price = 10;
    let sender = case.rich(11);
    case.push(delegating(sender, BENEFICIARY, 0, delegate)).gas_priority_fee = Some(0);
    for (index, data) in [ask(READ, 1), ask(ADD, 1), ask(READ, 2)].into_iter().enumerate() {
        let sender = case.rich(12 + index as u64);
        case.call(sender, BENEFICIARY, &data).gas_price = 10;
    }
    let sequential = case.check_success();
    let read: Vec<_> = [2, 3, 4].map(|index| output(&sequential, index)).into();
    assert_eq!(read, [0, 1, 0].map(U256::from));
}

#[test]
fn an_empty_account_that_was_removed_and_paid_has_no_storage() {
    let empty = address(31);
    let (mut case, delegate) = with_empty_account(empty);
    let probe = case.contract(address(PROBE), probe(), &[]);
    let sender = case.rich(10);
    case.send(sender, empty, 0);
    calls(&mut case, &[(probe, &[word(empty)])]);
    case.send(sender, empty, 6);
    calls(&mut case, &[(probe, &[word(empty)])]);
    case.send(sender, empty, 0);
    case.push(delegating(sender, empty, 0, delegate));
    calls(&mut case, &[(empty, &ask(ADD, 1)), (empty, &ask(READ, 1))]);
    let sequential = case.check_success();
    assert_eq!(output(&sequential, 7), U256::from(1));
}

#[test]
fn an_empty_account_that_was_paid_before_the_touch_has_no_storage() {
    let empty = address(31);
    let (mut case, delegate) = with_empty_account(empty);
    let (payer, toucher, sender) = (case.rich(10), case.rich(11), case.rich(12));
    case.send(payer, empty, 1);
    case.send(toucher, empty, 0);
    case.push(delegating(sender, empty, 0, delegate));
    calls(&mut case, &[(empty, &ask(ADD, 1))]);
    assert_eq!(output(&case.check_success(), 3), U256::from(1));
}

#[test]
fn touched_accounts_with_code_keep_their_storage() {
    // A contract without balance and nonce is not empty: it has code.
    for spec in [SpecId::TANGERINE, SpecId::PETERSBURG, SpecId::CANCUN] {
        let mut case = Case::new(spec);
        let target = address(20);
        let info = AccountInfo::default().with_code(Bytecode::new_raw(store()));
        case.memory.insert_account(target, info, [(U256::from(1), U256::from(11))]);
        let sender = case.rich(10);
        case.send(sender, target, 0);
        calls(&mut case, &[(target, &ask(ADD, 1)), (target, &[]), (target, &ask(READ, 1))]);
        assert_eq!(output(&case.check_success(), 3), U256::from(12));
    }
}
