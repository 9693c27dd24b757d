//! Plain transfers: to code that comes later, to precompiles, to oneself, and next to readers.

use std::sync::Arc;

use counterpoint::Mode;
use revm::{
    bytecode::Bytecode,
    context_interface::cfg::gas_params::{GasId, GasParams},
    primitives::{Address, B256, KECCAK_EMPTY, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{
        BASE_FEE, BENEFICIARY, Case, EXPECTED, Fault, Key, PRICE, address, balance, mix, output, skipped,
        word,
    },
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

/// Transfers between whoever they could go wrong with, most of them valid.
#[test]
fn random_ones_between_odd_accounts() {
    const ALL: [SpecId; 12] = [
        SpecId::FRONTIER,
        SpecId::HOMESTEAD,
        SpecId::TANGERINE,
        SpecId::SPURIOUS_DRAGON,
        SpecId::PETERSBURG,
        SpecId::BERLIN,
        SpecId::LONDON,
        SpecId::MERGE,
        SpecId::CANCUN,
        SpecId::PRAGUE,
        SpecId::OSAKA,
        SpecId::AMSTERDAM,
    ];
    for (number, spec) in ALL.into_iter().enumerate() {
        for seed in 0..6 {
            odd_transfers(spec, 1_000 * number as u64 + seed);
        }
    }
}

fn odd_transfers(spec: SpecId, seed: u64) {
    let mut step = 0;
    let mut below = |limit: u64| {
        step += 1;
        mix(seed, step) % limit
    };
    let mut case = Case::new(spec);
    case.rounds(4);
    case.code_by_hash = below(2) == 0;
    let mut accounts: Vec<_> = (10..14).map(|number| case.rich(number)).collect();
    let senders = accounts.clone();
    // Missing; empty; with dust; nearly full.
    accounts.extend([address(20), address(21), address(22), address(23), BENEFICIARY]);
    case.account(address(21), U256::ZERO);
    case.account(address(22), U256::from(1));
    case.account(address(23), U256::MAX - U256::from(below(9)));
    match below(4) {
        0 => {}
        1 => case.account(BENEFICIARY, U256::ZERO),
        2 => case.account(BENEFICIARY, U256::from(7)),
        _ => case.account(BENEFICIARY, U256::MAX - U256::from(below(300_000))),
    }
    if below(3) == 0 {
        // Its fees come from itself.
        case.env.beneficiary = senders[below(4) as usize];
    }
    accounts.push(case.contract(address(30), counter(), &[]));
    accounts.push(Address::with_last_byte(1 + below(12) as u8));
    if spec.is_enabled_in(SpecId::PRAGUE) {
        for (account, target) in [(address(31), address(30)), (senders[3], address(20))] {
            let info = AccountInfo::from_balance(U256::from(crate::common::RICH));
            let code = Bytecode::new_eip7702(target);
            case.memory.insert_account(account, info.with_code(code), []);
            accounts.push(account);
        }
    }
    for _ in 0..30 {
        let from = senders[below(4) as usize];
        let to = accounts[below(accounts.len() as u64) as usize];
        let value = [0, 0, 1, 5, 1_000, crate::common::RICH / 2][below(6) as usize];
        let (choices, is_wrong) = ([below(4), below(3), below(5)], below(12));
        let tx = case.send(from, to, value);
        tx.gas_limit = [21_000, 21_000, 50_000, 30_000][choices[0] as usize];
        // Below the base fee, at it (no tip), above it.
        tx.gas_price = [PRICE, BASE_FEE.into(), 0][(choices[1] * u64::from(choices[2] == 0)) as usize];
        if !spec.is_enabled_in(SpecId::LONDON) && choices[2] == 1 {
            tx.gas_price = 0;
        }
        if choices[0] == 3 {
            (tx.tx_type, tx.chain_id) = (2, Some(1));
            tx.gas_priority_fee = Some([0, 3, 100][choices[1] as usize]);
        }
        match is_wrong {
            0 => tx.nonce += 1,
            1 => tx.gas_limit = 20_999,
            2 => tx.value = U256::from(crate::common::RICH * 100),
            3 => tx.chain_id = Some(9),
            _ => {}
        }
        let so_far = case.sequential(Mode::Build).expect("a builder leaves out what is invalid");
        if skipped(&so_far, so_far.transactions.len() - 1) {
            case.push_invalid(|_| {});
        }
    }
    let _ = case.compare(Mode::Build);
    let _ = case.compare(Mode::Verify);
}

fn a_few(case: &mut Case) {
    case.rounds(2);
    for number in 0..8 {
        let sender = case.rich(10 + number);
        let to = if number % 2 == 0 { address(90 + number) } else { address(10) };
        case.send(sender, to, number.into());
    }
}

/// EIP-2780 and EIP-8037 can be had without the fork that brings them.
#[test]
fn with_amsterdams_rules_by_their_flags() {
    for (eip2780, eip8037) in [(true, false), (false, true), (true, true)] {
        let mut case = Case::new(SpecId::OSAKA);
        case.cfg.enable_amsterdam_eip2780 = eip2780;
        case.cfg.enable_amsterdam_eip8037 = eip8037;
        if eip8037 {
            case.cfg.gas_params = GasParams::new_spec(SpecId::AMSTERDAM);
        }
        let (from, to) = (case.rich(30), case.rich(31));
        case.send(from, to, 0);
        a_few(&mut case);
        case.check_success();
    }
}

#[test]
fn with_other_prices() {
    for (base, floor) in [(20_000, 21_000), (25_000, 21_000), (0, 0), (21_000, 30_000)] {
        let mut case = Case::new(SpecId::OSAKA);
        case.cfg.gas_params = GasParams::new_spec(SpecId::OSAKA);
        let prices = [(GasId::tx_base_stipend(), base), (GasId::tx_floor_cost_base_gas(), floor)];
        case.cfg.gas_params.override_gas(prices);
        a_few(&mut case);
        case.check_success();
    }
}

/// A recipient's code runs before the fee is paid.
#[test]
fn what_fails_first_is_what_is_said() {
    let mut case = Case::new(SpecId::OSAKA);
    case.rounds(2);
    case.code_by_hash = true;
    let counter = case.contract(address(1), counter(), &[]);
    let from = case.rich(10);
    case.send(from, counter, 1);
    case.hook = Arc::new(|key| match key {
        Key::Account(BENEFICIARY) => panic!("asked for the beneficiary {EXPECTED}"),
        Key::Code(_) | Key::Slot(..) => Err(Fault(key)),
        _ => Ok(()),
    });
    assert!(case.compare(Mode::Build).is_err());
}

#[test]
fn to_accounts_as_a_source_may_give_them() {
    for spec in FORKS {
        for code_hash in [B256::ZERO, KECCAK_EMPTY] {
            for (balance, nonce) in [(0, 0), (5, 0), (0, 2)] {
                for target in [BENEFICIARY, address(90), address(91)] {
                    let mut case = Case::new(spec);
                    let balance = U256::from(balance);
                    let info = AccountInfo { balance, nonce, code_hash, code: None, account_id: None };
                    // With another hash it says that it has code, which nobody has.
                    if code_hash == B256::ZERO && !info.is_empty() {
                        continue;
                    }
                    case.memory.insert_account(target, info, []);
                    a_few(&mut case);
                    for number in 20..23 {
                        let sender = case.rich(number);
                        case.send(sender, target, u128::from(number % 2));
                    }
                    case.check_success();
                }
            }
        }
    }
}

#[test]
fn of_senders_whose_code_is_not_given() {
    for spec in FORKS {
        for (nonce, own) in [(0, false), (3, false), (0, true), (3, true)] {
            let mut case = Case::new(spec);
            case.rounds(2);
            for number in 10..14 {
                let balance = U256::from(crate::common::RICH);
                let info = AccountInfo { balance, nonce, code: None, ..AccountInfo::default() };
                case.memory.insert_account(address(number), info, []);
            }
            if own {
                case.env.beneficiary = address(11);
            }
            for step in 0..12 {
                let to = [address(11), BENEFICIARY, address(70), address(12)][step % 4];
                case.send(address(10 + step as u64 % 2 * 3), to, step as u128 % 3);
                case.send(address(11), to, step as u128 % 3);
            }
            case.check_success();
        }
    }
}
