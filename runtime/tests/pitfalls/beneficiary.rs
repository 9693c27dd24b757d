//! The beneficiary: its fees commute, unless somebody looks.

use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::opcode,
    primitives::{Address, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{BASE_FEE, BENEFICIARY, Case, address, balance, output, skipped, succeeded, word},
    contracts::{
        ADD, READ, ask, balance_of, counter, destroy, factory, factory_address, forwarder, script, step,
        store,
    },
};

const FORKS: [SpecId; 5] =
    [SpecId::FRONTIER, SpecId::TANGERINE, SpecId::BERLIN, SpecId::SHANGHAI, SpecId::PRAGUE];

/// A block with a contract that returns balances.
fn with_balances(spec: SpecId) -> (Case, Address) {
    let mut case = Case::new(spec);
    let balances = case.contract(address(1), balance_of(), &[]);
    (case, balances)
}

/// What a transaction pays the beneficiary per gas if it pays just the base fee: nothing.
fn idle_price(spec: SpecId) -> u128 {
    if spec.is_enabled_in(SpecId::LONDON) { u128::from(BASE_FEE) } else { 0 }
}

#[test]
fn fees_add_up() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.account(BENEFICIARY, U256::from(1_000));
        let counter = case.contract(address(1), counter(), &[]);
        for number in 0..12 {
            let sender = case.rich(10 + number);
            if number % 3 == 0 {
                case.call(sender, counter, &[]);
            } else {
                case.send(sender, address(100 + number), 1);
            }
        }
        let sequential = case.check_success();
        assert!(balance(&sequential, BENEFICIARY) > U256::from(12 * 21_000 * 15));
    }
}

#[test]
fn a_beneficiary_that_does_not_exist_comes_into_being() {
    for spec in FORKS {
        let (mut case, balances) = with_balances(spec);
        for number in 0..4 {
            let sender = case.rich(10 + number);
            case.send(sender, address(100), 1);
            let sender = case.rich(20 + number);
            case.call(sender, balances, &[word(BENEFICIARY)]);
        }
        let sequential = case.check_success();
        let seen: Vec<_> = (0..4).map(|round| output(&sequential, 2 * round + 1)).collect();
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]) && seen[0] > U256::ZERO, "{seen:?}");
    }
}

#[test]
fn its_balance_is_read_inside_the_block() {
    for spec in FORKS {
        let (mut case, balances) = with_balances(spec);
        case.account(BENEFICIARY, U256::from(17));
        for number in 0..12 {
            let sender = case.rich(10 + number);
            match number % 4 {
                3 => case.call(sender, balances, &[word(BENEFICIARY)]),
                2 => case.send(sender, BENEFICIARY, 1_000),
                _ => case.send(sender, address(100), 1),
            };
        }
        case.check_success();
    }
}

#[test]
fn it_sends_most_transactions() {
    for spec in FORKS {
        let (mut case, balances) = with_balances(spec);
        let beneficiary = case.rich(2);
        case.env.beneficiary = beneficiary;
        let other = case.rich(3);
        for number in 0..14 {
            match number % 5 {
                4 => case.send(other, beneficiary, 5),
                3 => case.call(other, balances, &[word(beneficiary)]),
                _ => case.send(beneficiary, address(100 + number), 7),
            };
        }
        case.check_success();
    }
}

#[test]
fn it_receives_most_transactions() {
    for spec in FORKS {
        for balance in [None, Some(U256::ZERO), Some(U256::from(5))] {
            let mut case = Case::new(spec);
            case.rounds(10);
            if let Some(balance) = balance {
                case.account(BENEFICIARY, balance);
            }
            let forwarder = case.contract_with(address(1), forwarder(), U256::from(100), &[]);
            for number in 0..10 {
                let sender = case.rich(10 + number);
                match number % 5 {
                    4 => case.call(sender, forwarder, &[word(BENEFICIARY), word(3)]),
                    3 => case.send(sender, BENEFICIARY, 0),
                    _ => case.send(sender, BENEFICIARY, 9),
                };
            }
            case.check_success();
        }
    }
}

#[test]
fn a_sender_is_funded_by_its_fees() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let beneficiary = address(2);
        case.env.beneficiary = beneficiary;
        let transfers = 6;
        for number in 0..transfers {
            let sender = case.rich(10 + number);
            case.send(sender, address(100), 1);
        }
        // All that it has are the fees of this block.
        let earned = U256::from(21_000 * transfers) * U256::from(25 - idle_price(spec));
        let spent = U256::from(21_000 * 25);
        let tx = case.call_with(beneficiary, address(101), earned - spent, &[]);
        tx.gas_limit = 21_000;
        let last = case.rich(20);
        case.send(last, address(100), 1);
        case.check_success();

        // One wei more than that cannot be had.
        case.transactions[transfers as usize].value += U256::from(1);
        assert!(skipped(&case.check(), transfers as usize));
    }
}

#[test]
fn a_fee_of_nothing_touches() {
    for spec in [
        SpecId::FRONTIER,
        SpecId::TANGERINE,
        SpecId::SPURIOUS_DRAGON,
        SpecId::BERLIN,
        SpecId::LONDON,
        SpecId::CANCUN,
    ] {
        for existing in [None, Some(AccountInfo::default()), Some(AccountInfo::from_balance(U256::from(1)))] {
            let (mut case, balances) = with_balances(spec);
            case.rounds(10);
            if let Some(info) = existing.clone() {
                case.memory.insert_account(BENEFICIARY, info, []);
            }
            let price = idle_price(spec);
            let a = case.rich(10);
            case.send(a, address(100), 1).gas_price = price;
            let b = case.rich(11);
            case.call(b, balances, &[word(BENEFICIARY)]).gas_price = price;
            let c = case.rich(12);
            case.send(c, BENEFICIARY, 0).gas_price = price;
            let d = case.rich(13);
            case.send(d, address(100), 1).gas_price = price;
            let sequential = case.check_success();
            let changed = sequential.bundle.state.get(&BENEFICIARY).map(|account| account.info.is_some());
            let spurious = spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
            let expected = match (&existing, spurious) {
                (None, false) => Some(true),
                (Some(info), true) if info.is_empty() => Some(false),
                _ => None,
            };
            // Without a change it may be absent or present, as it was.
            if expected.is_some() {
                assert_eq!(changed, expected, "{spec:?}, {existing:?}");
            }
        }
    }
}

#[test]
fn fees_of_nothing_and_something_alternate() {
    for spec in FORKS {
        let (mut case, balances) = with_balances(spec);
        case.memory.insert_account(BENEFICIARY, AccountInfo::default(), []);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            let tx = match number % 3 {
                0 => case.send(sender, address(100), 1),
                1 => case.call(sender, balances, &[word(BENEFICIARY)]),
                _ => case.send(sender, BENEFICIARY, 0),
            };
            if number < 4 || number == 6 {
                tx.gas_price = idle_price(spec);
            }
        }
        case.check_success();
    }
}

/// The beneficiary is a contract that transactions destroy, with fees before, in between and after.
fn destroyed(spec: SpecId, heir: impl Fn(Address) -> Address) {
    let mut case = Case::new(spec);
    let beneficiary = case.contract_with(address(2), store(), U256::from(1_000), &[(1, U256::from(11))]);
    case.env.beneficiary = beneficiary;
    let balances = case.contract(address(1), balance_of(), &[]);
    for round in 0..3 {
        for number in 0..2 {
            let sender = case.rich(10 + 10 * round + number);
            case.send(sender, address(100), 1);
        }
        let sender = case.rich(13 + 10 * round);
        case.call(sender, beneficiary, &ask(ADD, 1));
        let sender = case.rich(14 + 10 * round);
        case.call(sender, beneficiary, &destroy(heir(beneficiary)));
        let sender = case.rich(15 + 10 * round);
        case.call(sender, balances, &[word(beneficiary)]);
        let sender = case.rich(16 + 10 * round);
        case.send(sender, beneficiary, 5);
    }
    case.check_success();
}

#[test]
fn its_self_destruct_burns_what_serial_execution_burns() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        destroyed(spec, |beneficiary| beneficiary);
        destroyed(spec, |_| address(99));
    }
}

#[test]
fn a_self_destruct_to_it_pays_it() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, balances) = with_balances(spec);
        for round in 0..4 {
            let value = U256::from(1_000 * (round % 2));
            let target = case.contract_with(address(200 + round), store(), value, &[]);
            let sender = case.rich(10 + round);
            case.send(sender, address(100), 1);
            let sender = case.rich(20 + round);
            case.call(sender, target, &destroy(BENEFICIARY));
            let sender = case.rich(30 + round);
            case.call(sender, balances, &[word(BENEFICIARY)]);
        }
        case.check_success();
    }
}

#[test]
fn it_is_created_inside_the_block() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, balances) = with_balances(spec);
        let factory = case.contract(address(3), factory(), &[]);
        let beneficiary = factory_address(factory, 1);
        case.env.beneficiary = beneficiary;
        for round in 0..2 {
            let senders: Vec<_> = (0..6).map(|number| case.rich(10 + 10 * round + number)).collect();
            case.send(senders[0], address(100), 1);
            case.call_with(senders[1], factory, U256::from(6), &[word(1)]);
            case.call(senders[2], beneficiary, &ask(ADD, 1));
            case.call(senders[3], balances, &[word(beneficiary)]);
            case.call(senders[4], beneficiary, &destroy(beneficiary));
            case.call(senders[5], beneficiary, &ask(READ, 1));
        }
        case.check_success();
    }
}

#[test]
fn it_is_born_and_destroyed_in_one_transaction() {
    for spec in [SpecId::SHANGHAI, SpecId::CANCUN] {
        let (mut case, balances) = with_balances(spec);
        let factory = case.contract(address(3), factory(), &[]);
        let beneficiary = factory_address(factory, 1);
        case.env.beneficiary = beneficiary;
        let once = script(&[step(factory, 4, &[word(1)]), step(beneficiary, 0, &destroy(beneficiary))]);
        let once = case.contract_with(address(4), once, U256::from(100), &[]);
        for round in 0..3 {
            let senders: Vec<_> = (0..3).map(|number| case.rich(10 + 10 * round + number)).collect();
            case.send(senders[0], address(100), 1);
            case.call(senders[1], once, &[]);
            case.call(senders[2], balances, &[word(beneficiary)]);
        }
        case.check_success();
    }
}

#[test]
fn it_is_named_in_an_access_list_or_by_the_coinbase_opcode() {
    // BALANCE(COINBASE), warm from Shanghai on.
    let coinbase = Asm::new().ops(&[opcode::COINBASE, opcode::BALANCE]).return_word().build();
    for spec in [SpecId::BERLIN, SpecId::SHANGHAI, SpecId::PRAGUE] {
        let mut case = Case::new(spec);
        let contract = case.contract(address(1), coinbase.clone(), &[]);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => {
                    let tx = case.send(sender, address(100), 1);
                    tx.tx_type = 1;
                    tx.access_list.0.push(revm::context::transaction::AccessListItem {
                        address: BENEFICIARY,
                        storage_keys: vec![],
                    });
                }
                1 => {
                    case.call(sender, contract, &[]);
                }
                _ => {
                    case.send(sender, address(100), 1);
                }
            }
        }
        case.check_success();
    }
}

#[test]
fn a_contract_pays_it_by_the_coinbase_opcode() {
    // As a searcher does: CALL(COINBASE, value of the call), then BALANCE(COINBASE).
    let mut tip = Asm::new();
    tip.num(0).num(0).num(0).num(0).ops(&[opcode::CALLVALUE, opcode::COINBASE]).num(30_000);
    tip.ops(&[opcode::CALL, opcode::POP, opcode::COINBASE, opcode::BALANCE]).return_word();
    for spec in FORKS {
        for exists in [false, true] {
            let mut case = Case::new(spec);
            if exists {
                case.account(BENEFICIARY, U256::from(3));
            }
            let tip = case.contract(address(1), tip.build(), &[]);
            for number in 0..8 {
                let sender = case.rich(10 + number);
                if number % 2 == 0 {
                    case.send(sender, address(100), 1);
                } else {
                    case.call_with(sender, tip, U256::from(number - 1), &[]);
                }
            }
            let sequential = case.check();
            assert!(succeeded(&sequential, 7));
        }
    }
}

#[test]
fn it_is_a_precompile_or_a_sender_without_funds() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::PRAGUE] {
        let (mut case, balances) = with_balances(spec);
        let sha256 = Address::with_last_byte(2);
        case.env.beneficiary = sha256;
        for number in 0..8 {
            let sender = case.rich(10 + number);
            match number % 4 {
                0 => case.send(sender, address(100), 1),
                1 => case.send(sender, sha256, 1),
                2 => case.call(sender, sha256, &[word(5)]),
                _ => case.call(sender, balances, &[word(sha256)]),
            };
        }
        case.check_success();
    }
}
