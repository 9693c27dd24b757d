//! Balances near the largest number: a reward is dropped, a transfer fails, a self-destruct wraps.

use revm::primitives::{Address, U256, hardfork::SpecId};

use crate::{
    common::{BENEFICIARY, Case, address, balance, output, succeeded, word},
    contracts::{balance_of, destroy, forwarder, script, step, store},
};

const FORKS: [SpecId; 4] = [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::PRAGUE];

/// This far from the largest number.
fn below_max(wei: u128) -> U256 {
    U256::MAX - U256::from(wei)
}

#[test]
fn a_reward_that_overflows_is_dropped() {
    for spec in FORKS {
        for room in [0, 5, 21_000 * 15, 21_000 * 50 + 1] {
            let mut case = Case::new(spec);
            case.rounds(10);
            case.account(BENEFICIARY, below_max(room));
            let balances = case.contract(address(1), balance_of(), &[]);
            for number in 0..8 {
                let sender = case.rich(10 + number);
                match number {
                    3 | 6 => case.call(sender, balances, &[word(BENEFICIARY)]),
                    _ => case.send(sender, address(100), 1),
                };
            }
            case.check_success();
        }
    }
}

#[test]
fn rewards_are_dropped_until_there_is_room_again() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let beneficiary = address(2);
        case.account(beneficiary, below_max(3));
        case.env.beneficiary = beneficiary;
        let balances = case.contract(address(1), balance_of(), &[]);
        for number in 0..12 {
            let sender = case.rich(10 + number);
            match number {
                // It spends, which makes room for some of the later ones.
                4 => case.send(beneficiary, address(100), 21_000 * 40),
                7 | 10 => case.call(sender, balances, &[word(beneficiary)]),
                8 => case.send(sender, beneficiary, 1),
                _ => case.send(sender, address(100), 1),
            };
        }
        case.check();
    }
}

#[test]
fn a_transfer_that_overflows_fails() {
    for spec in FORKS {
        let full = address(2);
        let mut case = Case::new(spec);
        case.account(full, below_max(10));
        for (number, value) in [4, 11, 0, 6, 1, 0, 3].into_iter().enumerate() {
            let sender = case.rich(10 + number as u64);
            case.send(sender, full, value);
        }
        let sequential = case.check();
        let fits: Vec<_> = (0..7).map(|index| succeeded(&sequential, index)).collect();
        assert_eq!(fits, [true, false, true, true, false, true, false]);
        assert_eq!(balance(&sequential, full), U256::MAX);
    }
}

#[test]
fn transfers_fit_again_after_the_recipient_spends() {
    for spec in FORKS {
        let full = address(2);
        let mut case = Case::new(spec);
        case.account(full, below_max(10));
        let balances = case.contract(address(1), balance_of(), &[]);
        for (number, value) in [10, 1, 0, 40, 21_000_000, 7].into_iter().enumerate() {
            let sender = case.rich(10 + number as u64);
            case.send(sender, full, value);
            if number == 2 {
                case.send(full, address(100), 50);
            }
            if number % 2 == 1 {
                let sender = case.rich(30 + number as u64);
                case.call(sender, balances, &[word(full)]);
            }
        }
        let sequential = case.check();
        assert!(!succeeded(&sequential, 1) && succeeded(&sequential, 5));
    }
}

#[test]
fn transfers_from_inside_overflow_too() {
    for spec in FORKS {
        let full = address(2);
        let mut case = Case::new(spec);
        case.account(full, below_max(10));
        let forwarder = case.contract_with(address(1), forwarder(), U256::from(1_000), &[]);
        let both = script(&[step(full, 4, &[]), step(full, 4, &[])]);
        let both = case.contract_with(address(3), both, U256::from(1_000), &[]);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.call(sender, forwarder, &[word(full), word(3)]),
                1 => case.send(sender, full, 2),
                _ => case.call(sender, both, &[]),
            };
        }
        case.check();
    }
}

#[test]
fn a_self_destruct_that_overflows_wraps() {
    for spec in FORKS {
        let full = address(2);
        let mut case = Case::new(spec);
        case.account(full, below_max(10));
        let balances = case.contract(address(1), balance_of(), &[]);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.send(sender, full, 4),
                1 => {
                    let target = case.contract_with(address(200 + number), store(), U256::from(9), &[]);
                    case.call(sender, target, &destroy(full))
                }
                _ => case.call(sender, balances, &[word(full)]),
            };
        }
        let sequential = case.check();
        assert!(output(&sequential, 2) < U256::from(10), "it wrapped");
    }
}

#[test]
fn the_beneficiary_receives_and_overflows_at_once() {
    for spec in FORKS {
        for room in [2, 21_000 * 15 + 2, 21_000 * 60] {
            let mut case = Case::new(spec);
            case.rounds(10);
            case.account(BENEFICIARY, below_max(room));
            for number in 0..8 {
                let sender = case.rich(10 + number);
                if number % 2 == 0 {
                    // The value fits or not, and then the fee fits or not.
                    case.send(sender, BENEFICIARY, number.into());
                } else {
                    case.send(sender, address(100), 1);
                }
            }
            case.check();
        }
    }
}

#[test]
fn everybody_is_near_the_limit() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let people: Vec<Address> = (0..4).map(|number| address(10 + number)).collect();
        for (room, person) in people.iter().enumerate() {
            case.account(*person, below_max(room as u128));
        }
        case.env.beneficiary = people[3];
        for number in 0..16 {
            let (from, to) = (people[number % 4], people[(number * 3 + 1) % 4]);
            case.send(from, to, (number as u128 % 5) * 100_000);
        }
        case.check();
    }
}
