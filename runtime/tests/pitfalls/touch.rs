//! Empty accounts, and calls of nothing that touch without writing.

use revm::{
    primitives::{U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{Case, address, output, output_word, word},
    contracts::{balance_of, forwarder, probe, script, step},
};

const FORKS: [SpecId; 5] =
    [SpecId::FRONTIER, SpecId::TANGERINE, SpecId::SPURIOUS_DRAGON, SpecId::PETERSBURG, SpecId::OSAKA];

#[test]
fn empty_accounts_come_and_go() {
    for spec in FORKS {
        for exists in [false, true] {
            let mut case = Case::new(spec);
            case.rounds(10);
            let empty = address(2);
            if exists {
                case.memory.insert_account(empty, AccountInfo::default(), []);
            }
            let forwarder = case.contract_with(address(1), forwarder(), U256::from(100), &[]);
            let balances = case.contract(address(3), balance_of(), &[]);
            for number in 0..12 {
                let sender = case.rich(10 + number);
                match number % 6 {
                    0 => case.call(sender, balances, &[word(empty)]),
                    1 => case.send(sender, empty, 0),
                    // Gas tells whether the account exists.
                    2 | 4 => case.call(sender, forwarder, &[word(empty), word(0)]),
                    3 => case.send(sender, empty, u128::from(number / 6)),
                    _ => case.call(sender, forwarder, &[word(empty), word(number / 6)]),
                };
            }
            case.check_success();
        }
    }
}

#[test]
fn an_empty_accounts_code_hash_tells_whether_it_exists() {
    for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let empty = address(2);
        case.memory.insert_account(empty, AccountInfo::default(), []);
        let probe = case.contract(address(1), probe(), &[]);
        let senders: Vec<_> = (0..6).map(|number| case.rich(10 + number)).collect();
        case.call(senders[0], probe, &[word(empty)]);
        case.send(senders[1], empty, 0);
        case.call(senders[2], probe, &[word(empty)]);
        case.send(senders[3], empty, 1);
        case.call(senders[4], probe, &[word(empty)]);
        let sequential = case.check_success();
        // revm holds an account that is empty for one that does not exist.
        assert_eq!(output_word(&sequential, 2, 2), U256::ZERO);
        assert_ne!(output_word(&sequential, 4, 2), U256::ZERO);
    }
}

#[test]
fn a_sender_empties_itself() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let sender = address(2);
        case.account(sender, U256::from(21_000 * 25 + 7));
        case.send(sender, address(100), 7).gas_limit = 21_000;
        let other = case.rich(10);
        case.send(other, sender, 0);
        let balances = case.contract(address(3), balance_of(), &[]);
        case.call(other, balances, &[word(sender)]);
        case.send(other, sender, 9);
        assert_eq!(output(&case.check_success(), 2), U256::ZERO);
    }
}

#[test]
fn calls_of_nothing_do_not_conflict() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let touched: Vec<_> = (0..3).map(|number| address(200 + number)).collect();
        let steps: Vec<_> = touched.iter().map(|to| step(*to, 0, &[])).collect();
        let caller = case.contract(address(1), script(&steps), &[]);
        case.account(touched[0], U256::from(5));
        for number in 0..12 {
            let sender = case.rich(10 + number);
            match number % 4 {
                0 => case.send(sender, touched[number as usize % 3], 0),
                1 => case.send(sender, touched[1], 1),
                _ => case.call(sender, caller, &[]),
            };
        }
        case.check_success();
    }
}

#[test]
fn a_touch_inside_a_call_that_fails_is_undone() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let empty = address(2);
        case.memory.insert_account(empty, AccountInfo::default(), []);
        // Calls the empty account, then runs out of gas; the third precompile keeps its touch in history.
        let mut touching =
            script(&[step(empty, 0, &[]), step(revm::primitives::Address::with_last_byte(3), 0, &[])])
                .to_vec();
        let length = touching.len();
        touching[length - 1] = 0xfe;
        let failing = case.contract(address(4), touching.into(), &[]);
        let catching = case.contract(address(5), script(&[step(failing, 0, &[])]), &[]);
        let balances = case.contract(address(3), balance_of(), &[]);
        for number in 0..6 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.call(sender, catching, &[]),
                1 => case.call(sender, failing, &[]),
                _ => case.call(sender, balances, &[word(empty)]),
            };
        }
        case.check();
    }
}
