//! Plain transfers: to code that comes later, to precompiles, to oneself, and next to readers.

use revm::{
    primitives::{Address, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{Case, address, balance, output, word},
    contracts::{
        ADD, BORN_SLOT, ask, balance_of, counter, destroy, factory, factory_address, forwarder, store_init,
    },
};

const FORKS: [SpecId; 4] = [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::OSAKA];

#[test]
fn to_an_account_whose_code_is_deployed_earlier_in_the_block() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        let target = creator.create(1);
        let mut senders = 20..;
        let mut sender = |case: &mut Case| case.rich(senders.next().unwrap());
        let from = sender(&mut case);
        case.send(from, target, 1);
        case.send(creator, target, 2);
        let from = sender(&mut case);
        case.send(from, target, 3);
        assert_eq!(case.create(creator, store_init(), 4), target);
        for value in 5..9 {
            let from = sender(&mut case);
            case.send(from, target, value);
        }
        let from = sender(&mut case);
        case.call(from, target, &ask(ADD, BORN_SLOT));
        let from = sender(&mut case);
        case.call(from, target, &destroy(address(99)));
        let from = sender(&mut case);
        case.send(from, target, 10);
        case.check_success();
    }
}

#[test]
fn to_an_account_that_comes_and_goes_by_create2() {
    for spec in [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::CANCUN] {
        let mut case = Case::new(spec);
        let factory = case.contract(address(1), factory(), &[]);
        let target = factory_address(factory, 1);
        for round in 0..3 {
            let senders: Vec<_> = (0..6).map(|number| case.rich(10 + 10 * round + number)).collect();
            case.send(senders[0], target, 1);
            case.call(senders[1], factory, &[word(1)]);
            case.send(senders[2], target, 2);
            case.call(senders[3], target, &destroy(target));
            case.send(senders[4], target, 3);
            case.send(senders[5], target, 0);
        }
        case.check_success();
    }
}

#[test]
fn to_precompiles() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        // Some are precompiles only from a later fork on, and one never is.
        let targets: Vec<_> = [1, 2, 3, 4, 5, 9, 10, 11, 18].map(Address::with_last_byte).into();
        for (number, target) in targets.iter().enumerate() {
            let sender = case.rich(10 + number as u64);
            case.send(sender, *target, number as u128 % 3);
            let sender = case.rich(30 + number as u64);
            case.send(sender, *target, number as u128 % 2);
        }
        case.check();
    }
}

#[test]
fn to_oneself() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let own = case.rich(10);
        let other = case.rich(11);
        for number in 0..12 {
            match number % 3 {
                0 => case.send(other, own, 5),
                _ => case.send(own, own, 7 * number),
            };
        }
        // More than what the fee leaves.
        case.call_with(own, own, U256::from(crate::common::RICH), &[]);
        case.push_invalid(|_| {});
        case.check();
    }
}

#[test]
fn many_to_one_with_readers_in_between() {
    for spec in FORKS {
        for exists in [false, true] {
            let mut case = Case::new(spec);
            case.rounds(10);
            let target = address(2);
            if exists {
                case.account(target, U256::from(1));
            }
            let balances = case.contract(address(1), balance_of(), &[]);
            for number in 0..24 {
                let sender = case.rich(10 + number);
                if number % 5 == 4 {
                    case.call(sender, balances, &[word(target)]);
                } else {
                    case.send(sender, target, number.into());
                }
            }
            let sequential = case.check_success();
            let expected: u64 = (0..24).filter(|number| number % 5 != 4).sum();
            assert_eq!(balance(&sequential, target), U256::from(expected + u64::from(exists)));
        }
    }
}

#[test]
fn in_a_circle() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let people: Vec<_> = (0..5).map(|number| case.rich(10 + number)).collect();
        for number in 0..40 {
            case.send(people[number % 5], people[(number + 1 + number / 5 % 3) % 5], 1_000);
        }
        case.check_success();
    }
}

#[test]
fn to_a_recipient_with_a_nonce_and_no_balance() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let target = address(2);
        case.memory.insert_account(target, AccountInfo { nonce: 3, ..AccountInfo::default() }, []);
        let forwarder = case.contract_with(address(1), forwarder(), U256::from(100), &[]);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.send(sender, target, 0),
                1 => case.call(sender, forwarder, &[word(target), word(2)]),
                _ => case.send(sender, target, 5),
            };
        }
        case.check_success();
    }
}

#[test]
fn to_an_account_whose_code_the_source_gives_by_hash() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.code_by_hash = true;
        let counter = case.contract(address(1), counter(), &[]);
        for number in 0..8 {
            let sender = case.rich(10 + number);
            case.send(sender, if number % 2 == 0 { counter } else { address(100) }, 1);
        }
        assert_eq!(output(&case.check_success(), 6), U256::from(3));
    }
}
