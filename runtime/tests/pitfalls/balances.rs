//! Balances that are moved without being looked at: who pays from them, who looks at them, and where sums end.

use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::{Bytecode, opcode},
    primitives::{Address, Bytes, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{BENEFICIARY, Case, address, balance, output, output_word, succeeded, word},
    contracts::{balance_of, destroy, factory, factory_address, probe, script, step, store, store_init},
};

const FORKS: [SpecId; 5] =
    [SpecId::FRONTIER, SpecId::TANGERINE, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::PRAGUE];

/// Takes what comes with a call, and notes it for the caller; pays out the first argument, or fails if the caller has less.
fn vault() -> Bytes {
    use opcode::{ADD, CALL, CALLER, CALLVALUE, DUP1, INVALID, ISZERO, LT, SLOAD, SSTORE, STOP, SUB};
    let mut asm = Asm::new();
    asm.ops(&[CALLVALUE]).when(|asm| {
        asm.ops(&[CALLER, SLOAD, CALLVALUE, ADD, CALLER, SSTORE, STOP]);
    });
    asm.argument(0).ops(&[CALLER, SLOAD, LT]).when(|asm| {
        asm.ops(&[INVALID]);
    });
    asm.argument(0).ops(&[CALLER, SLOAD, SUB, CALLER, SSTORE]);
    asm.num(0).num(0).num(0).num(0).argument(0).ops(&[CALLER]).num(40_000).ops(&[CALL, DUP1, ISZERO]).when(
        |asm| {
            asm.ops(&[INVALID]);
        },
    );
    asm.return_word().build()
}

/// Takes what comes with a call without data. Otherwise pays the first argument the second; returns whether that went well.
fn wallet() -> Bytes {
    paying(opcode::CALL, &[])
}

/// As a [`wallet`], but returns what it has left.
fn open_wallet() -> Bytes {
    paying(opcode::CALL, &[opcode::POP, opcode::ADDRESS, opcode::BALANCE])
}

fn paying(call: u8, afterwards: &[u8]) -> Bytes {
    let mut asm = Asm::new();
    asm.ops(&[opcode::CALLDATASIZE, opcode::ISZERO]).when(|asm| {
        asm.ops(&[opcode::STOP]);
    });
    asm.num(0).num(0).num(0).num(0).argument(1).argument(0).num(200_000).ops(&[call]);
    asm.ops(afterwards).return_word().build()
}

/// Passes on all that comes with a call, and then does what is said.
fn passing_to(to: Option<Address>, afterwards: &[u8]) -> Bytes {
    let mut asm = Asm::new();
    asm.num(0).num(0).num(0).num(0).ops(&[opcode::CALLVALUE]);
    match to {
        Some(to) => asm.address(to),
        None => asm.ops(&[opcode::CALLER]),
    };
    asm.num(12_000).ops(&[opcode::GAS, opcode::SUB, opcode::CALL]);
    asm.ops(afterwards).return_word().build()
}

/// Creates a [`store`] with the first argument as value, by CREATE or CREATE2; returns its address.
fn creator(is_create2: bool) -> Bytes {
    let init = store_init();
    let mut asm = Asm::new();
    asm.ops(&[opcode::CALLDATASIZE, opcode::ISZERO]).when(|asm| {
        asm.ops(&[opcode::STOP]);
    });
    asm.memory(&init);
    if is_create2 {
        asm.argument(1);
    }
    asm.num(init.len() as u64).num(0).argument(0);
    asm.ops(&[if is_create2 { opcode::CREATE2 } else { opcode::CREATE }]).return_word().build()
}

/// Takes money, and fails.
fn failing() -> Bytes {
    Asm::new().num(0).num(0).ops(&[opcode::REVERT]).build()
}

fn wei(amount: u64) -> U256 {
    U256::from(amount)
}

/// Two to the power of this.
fn power(exponent: usize) -> U256 {
    U256::from(1) << exponent
}

#[test]
fn everybody_uses_one_vault() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let vault = case.contract(address(1), vault(), &[]);
        let people: Vec<Address> = (0..5).map(|number| case.rich(10 + number)).collect();
        for round in 0..4 {
            for (number, person) in people.iter().enumerate() {
                match (round + number) % 3 {
                    0 | 1 => case.call_with(*person, vault, wei(100 + number as u64), &[]),
                    _ => case.call(*person, vault, &[word(100)]),
                };
            }
        }
        case.check();
    }
}

#[test]
fn what_is_paid_out_was_paid_in_before() {
    for spec in FORKS {
        for there in [0, 3] {
            let mut case = Case::new(spec);
            case.rounds(10);
            let wallet = case.contract_with(address(1), wallet(), wei(there), &[]);
            for number in 0..12 {
                let sender = case.rich(10 + number);
                match number % 4 {
                    0 => case.call_with(sender, wallet, wei(10), &[]),
                    // More than there is, unless what comes later counts.
                    1 => case.call(sender, wallet, &[word(address(100)), word(11 + there + number / 4)]),
                    2 => case.call(sender, wallet, &[word(address(100)), word(9)]),
                    // Just what is left over.
                    _ => case.call(sender, wallet, &[word(address(101)), word(1 + there)]),
                };
            }
            let sequential = case.check_success();
            for number in (0..12).filter(|number| number % 4 == 2) {
                assert_eq!(output(&sequential, number), wei(1));
            }
            assert_eq!(output(&sequential, 1), U256::ZERO);
            assert_eq!(output(&sequential, 3), wei(1));
        }
    }
}

#[test]
fn who_pays_in_decides_what_can_be_paid_out() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        // Each pays the next one what only the one before can have given it.
        let wallets: Vec<Address> =
            (0..8).map(|number| case.contract(address(1 + number), wallet(), &[])).collect();
        let first = case.rich(50);
        case.call_with(first, wallets[0], wei(7), &[]);
        for (number, pair) in wallets.windows(2).enumerate() {
            let sender = case.rich(60 + number as u64);
            let value = if number < 5 { 7 } else { 8 };
            case.call(sender, pair[0], &[word(pair[1]), word(value)]);
        }
        let sequential = case.check_success();
        let paid: Vec<_> = (1..8).map(|index| output(&sequential, index)).collect();
        assert_eq!(paid, [1, 1, 1, 1, 1, 0, 0].map(wei));
    }
}

#[test]
fn somebody_looks_between_payments() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let purse = case.contract_with(address(1), open_wallet(), wei(1_000), &[]);
        let other = case.contract(address(2), wallet(), &[]);
        let looks = if spec.is_enabled_in(SpecId::PETERSBURG) { probe() } else { balance_of() };
        let looks = case.contract(address(3), looks, &[]);
        for number in 0..15 {
            let sender = case.rich(10 + number);
            match number % 5 {
                0 => case.call_with(sender, purse, wei(number + 1), &[]),
                1 => case.call(sender, purse, &[word(other), word(number)]),
                2 => case.call(sender, looks, &[word(purse)]),
                3 => case.call(sender, other, &[word(purse), word(1)]),
                _ => case.call(sender, looks, &[word(other)]),
            };
        }
        let sequential = case.check_success();
        assert_eq!(output_word(&sequential, 2, 0), wei(1_000));
        assert_eq!(output(&sequential, 6), wei(1_000 + 1 - 1 + 1 + 6 - 6));
    }
}

#[test]
fn a_contract_looks_at_its_own_balance() {
    let own = Asm::new().ops(&[opcode::SELFBALANCE]).return_word().build();
    let paying = passing_to(Some(address(2)), &[opcode::POP, opcode::SELFBALANCE]);
    for spec in [SpecId::ISTANBUL, SpecId::PRAGUE] {
        let mut case = Case::new(spec);
        let own = case.contract_with(address(1), own.clone(), wei(5), &[]);
        case.contract(address(2), wallet(), &[]);
        let paying = case.contract_with(address(3), paying.clone(), wei(50), &[]);
        for number in 0..12 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.call_with(sender, own, wei(number), &[]),
                1 => case.call_with(sender, paying, wei(number), &[]),
                _ => case.call(sender, address(2), &[word(own), word(1)]),
            };
        }
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 0), wei(5));
        assert_eq!(output(&sequential, 3), wei(9));
        assert_eq!(output(&sequential, 4), wei(50));
    }
}

#[test]
fn payments_that_are_undone() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let failing = case.contract(address(1), failing(), &[]);
        let purse = case.contract_with(address(2), wallet(), wei(20), &[]);
        // Pays on, and then fails as a whole.
        let spoiled = passing_to(Some(purse), &[opcode::INVALID]);
        let spoiled = case.contract_with(address(3), spoiled, wei(5), &[]);
        let tries = script(&[
            step(failing, 5, &[]),
            step(spoiled, 6, &[]),
            step(purse, 2, &[]),
            step(spoiled, 0, &[]),
            step(purse, 0, &[word(address(4)), word(12)]),
        ]);
        let tries = case.contract_with(address(4), tries, wei(6), &[]);
        for number in 0..9 {
            let sender = case.rich(10 + number);
            match number % 3 {
                0 => case.call(sender, tries, &[]).gas_limit = 2_000_000,
                1 => case.call_with(sender, failing, wei(9), &[]).gas_limit = 100_000,
                _ => case.call(sender, purse, &[word(failing), word(3)]).gas_limit = 2_000_000,
            }
        }
        case.check();
    }
}

#[test]
fn money_goes_through_many_hands() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        // The first one gets it back in the end, but for what the transaction brings.
        let last = case.contract(address(1), passing_to(Some(address(6)), &[]), &[]);
        let mut next = last;
        for number in 2..6 {
            next = case.contract(address(number), passing_to(Some(next), &[]), &[]);
        }
        let purse = case.contract_with(address(6), wallet(), wei(40), &[]);
        for number in 0..10 {
            let sender = case.rich(10 + number);
            if number % 2 == 0 {
                case.call(sender, purse, &[word(next), word(30 + number)]);
            } else {
                case.call_with(sender, next, wei(number), &[]);
            }
        }
        let sequential = case.check_success();
        assert_eq!(balance(&sequential, purse), wei(40 + 1 + 3 + 5 + 7 + 9));
    }
}

#[test]
fn a_paid_contract_is_destroyed() {
    for spec in FORKS {
        for heir in [address(2), address(3), address(1), address(99)] {
            let mut case = Case::new(spec);
            case.rounds(5);
            let doomed = case.contract_with(address(1), store(), wei(11), &[]);
            let purse = case.contract_with(address(2), open_wallet(), wei(30), &[]);
            case.contract_with(address(3), store(), wei(1), &[]);
            let balances = case.contract(address(4), balance_of(), &[]);
            // Paid, destroyed, and paid again in one transaction.
            let fate = script(&[
                step(doomed, 3, &[]),
                step(doomed, 1, &destroy(heir)),
                step(doomed, 2, &[]),
                step(balances, 0, &[word(doomed)]),
            ]);
            let fate = case.contract_with(address(5), fate, wei(40), &[]);
            for number in 0..10 {
                let sender = case.rich(10 + number);
                match number % 5 {
                    0 => case.call_with(sender, doomed, wei(4), &[]),
                    1 => case.call(sender, purse, &[word(doomed), word(2)]),
                    2 => case.call(sender, fate, &[]),
                    3 if number < 5 => case.call(sender, doomed, &destroy(heir)),
                    3 => case.call(sender, balances, &[word(heir)]),
                    _ => case.call(sender, purse, &[word(heir), word(2)]),
                };
            }
            case.check_success();
        }
    }
}

#[test]
fn the_beneficiary_is_a_contract_that_is_paid() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        case.contract_with(BENEFICIARY, open_wallet(), wei(5), &[]);
        let purse = case.contract_with(address(1), wallet(), wei(1_000), &[]);
        let balances = case.contract(address(2), balance_of(), &[]);
        for number in 0..15 {
            let sender = case.rich(10 + number);
            match number % 5 {
                0 => case.call(sender, purse, &[word(BENEFICIARY), word(3)]),
                // What it has are fees of this block.
                1 => case.call(sender, BENEFICIARY, &[word(purse), word(21_000 * 10)]),
                2 => case.call_with(sender, BENEFICIARY, wei(7), &[]),
                3 => case.send(sender, address(100), 1),
                _ => case.call(sender, balances, &[word(BENEFICIARY)]),
            };
        }
        let sequential = case.check_success();
        assert!(output(&sequential, 9) > output(&sequential, 4));
    }
}

#[test]
fn a_beneficiary_that_is_paid_earns_nothing() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.contract_with(BENEFICIARY, wallet(), wei(5), &[]);
        let purse = case.contract_with(address(1), wallet(), wei(1_000), &[]);
        for number in 0..8 {
            let sender = case.rich(10 + number);
            let tx = match number % 3 {
                0 => case.call(sender, purse, &[word(BENEFICIARY), word(number % 2)]),
                1 => case.call(sender, BENEFICIARY, &[word(purse), word(5)]),
                _ => case.call_with(sender, BENEFICIARY, wei(number), &[]),
            };
            tx.gas_price = if spec.is_enabled_in(SpecId::LONDON) { 10 } else { 0 };
        }
        case.check_success();
    }
}

#[test]
fn senders_are_paid_from_inside() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let purse = case.contract_with(address(1), wallet(), wei(1_000_000_000), &[]);
        let balances = case.contract(address(2), balance_of(), &[]);
        let people: Vec<Address> = (0..3).map(|number| address(10 + number)).collect();
        for person in &people {
            let info = AccountInfo { nonce: 9, balance: wei(60_000_000), ..AccountInfo::default() };
            case.memory.insert_account(*person, info, []);
        }
        let rich: Vec<Address> = (0..4).map(|number| case.rich(20 + number)).collect();
        for round in 0..4 {
            for (number, person) in people.iter().enumerate() {
                case.call(rich[number], purse, &[word(*person), word(2_000_000)]);
                // Soon it lives on what it gets.
                case.send(*person, address(100 + round), 20_000_000).gas_limit = 21_000;
            }
            case.call(rich[3], balances, &[word(people[round as usize % 3])]);
            case.send(people[0], purse, 1).gas_limit = 100_000;
        }
        case.check();
    }
}

#[test]
fn senders_live_on_what_they_are_paid() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let purse = case.contract_with(address(1), wallet(), wei(1_000_000_000), &[]);
        let poor = address(10);
        case.memory.insert_account(poor, AccountInfo { nonce: 3, ..AccountInfo::default() }, []);
        for number in 0..5 {
            let sender = case.rich(20 + number);
            case.call(sender, purse, &[word(poor), word(25 * 21_000 + 1)]);
            case.send(poor, address(100), 1).gas_limit = 21_000;
        }
        case.check_success();
    }
}

#[test]
fn contracts_of_this_block_are_paid() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let purse = case.contract_with(address(1), open_wallet(), wei(500), &[]);
        let maker = case.rich(10);
        let balances = case.contract(address(2), balance_of(), &[]);
        let created = case.create(maker, Asm::new().deploying(&wallet()), 12);
        for number in 0..10 {
            let sender = case.rich(20 + number);
            match number % 4 {
                0 => case.call(sender, purse, &[word(created), word(5 + number)]),
                1 => case.call(sender, created, &[word(purse), word(13)]),
                2 => case.call_with(sender, created, wei(3), &[]),
                _ => case.call(sender, balances, &[word(created)]),
            };
        }
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 2), wei(1), "it has what it was paid in this block");
    }
}

#[test]
fn creations_are_paid_for() {
    for spec in FORKS {
        for is_create2 in [false, true] {
            if is_create2 && !spec.is_enabled_in(SpecId::PETERSBURG) {
                continue;
            }
            let mut case = Case::new(spec);
            case.rounds(10);
            let creator = case.contract_with(address(1), creator(is_create2), wei(10), &[]);
            for number in 0..10 {
                let sender = case.rich(20 + number);
                match number % 3 {
                    // More than there is, unless others have paid in.
                    0 => case.call(sender, creator, &[word(8 + number), word(number)]),
                    1 => case.call_with(sender, creator, wei(6), &[]),
                    // Twice at one address.
                    _ => case.call(sender, creator, &[word(1), word(2)]),
                };
            }
            let sequential = case.check_success();
            assert!(output(&sequential, 0) > U256::ZERO && output(&sequential, 6) == U256::ZERO);
        }
    }
}

#[test]
fn a_factorys_stores_are_paid_before_they_are_there() {
    for spec in [SpecId::PETERSBURG, SpecId::PRAGUE] {
        let mut case = Case::new(spec);
        case.rounds(10);
        let factory = case.contract(address(1), factory(), &[]);
        let purse = case.contract_with(address(2), open_wallet(), wei(100), &[]);
        let balances = case.contract(address(3), balance_of(), &[]);
        let there = factory_address(factory, 1);
        for number in 0..12 {
            let sender = case.rich(20 + number);
            match number % 4 {
                0 => case.call(sender, purse, &[word(there), word(3)]),
                1 => case.call_with(sender, factory, wei(4), &[word(1)]),
                2 => case.call_with(sender, there, wei(5), &[]),
                _ if number > 6 => case.call(sender, balances, &[word(there)]),
                _ => case.call(sender, there, &destroy(purse)),
            };
        }
        case.check();
    }
}

#[test]
fn code_of_others_pays() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let purse = case.contract_with(address(1), wallet(), wei(3), &[]);
        // Pays itself, to run another's code.
        let borrower = paying(opcode::CALLCODE, &[]);
        let borrower = case.contract_with(address(2), borrower, wei(5), &[]);
        for number in 0..10 {
            let sender = case.rich(20 + number);
            match number % 3 {
                0 => case.call(sender, borrower, &[word(purse), word(5 + number)]),
                1 => case.call_with(sender, borrower, wei(2), &[]),
                _ => case.call(sender, purse, &[word(borrower), word(number / 3)]),
            };
        }
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 0), wei(1));
        assert_eq!(output(&sequential, 3), U256::from(5 + 2 >= 8));
    }
}

#[test]
fn code_of_others_pays_by_delegation() {
    use opcode::{CALLDATACOPY, CALLDATASIZE, DELEGATECALL, GAS, MLOAD};
    for spec in [SpecId::TANGERINE, SpecId::PRAGUE] {
        let mut case = Case::new(spec);
        case.rounds(10);
        let library = case.contract_with(address(1), open_wallet(), wei(1_000), &[]);
        let mut asm = Asm::new();
        asm.ops(&[CALLDATASIZE]).num(0).num(0).ops(&[CALLDATACOPY]);
        asm.num(32).num(0).ops(&[CALLDATASIZE]).num(0).address(library).ops(&[
            GAS,
            DELEGATECALL,
            opcode::POP,
        ]);
        let proxy = asm.num(0).ops(&[MLOAD]).return_word().build();
        let proxy = case.contract_with(address(2), proxy, wei(5), &[]);
        for number in 0..9 {
            let sender = case.rich(20 + number);
            match number % 3 {
                0 => case.call(sender, proxy, &[word(address(100)), word(4 + number)]),
                1 => case.call_with(sender, proxy, wei(3), &[]),
                _ => case.call(sender, library, &[word(proxy), word(2)]),
            };
        }
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 0), wei(1));
    }
}

#[test]
fn large_payments() {
    for spec in [SpecId::FRONTIER, SpecId::PRAGUE] {
        for amount in
            [power(127), power(128) - wei(1), power(128), power(128) + wei(1), power(199), power(200)]
        {
            let mut case = Case::new(spec);
            case.rounds(5);
            let purse = case.contract_with(address(1), wallet(), amount, &[]);
            let other = case.contract(address(2), open_wallet(), &[]);
            for number in 0..8 {
                let sender = address(20 + number);
                case.account(sender, power(210));
                match number % 4 {
                    0 => case.call(sender, purse, &[word(other), amount]),
                    1 => case.call_with(sender, purse, amount - wei(1), &[]),
                    2 => case.call(sender, other, &[word(purse), amount]),
                    _ => case.call(sender, purse, &[word(other), wei(1)]),
                };
            }
            case.check_success();
        }
    }
}

#[test]
fn a_delegated_sender_pays_more_than_fits() {
    let spec = SpecId::PRAGUE;
    let mut case = Case::new(spec);
    let full = case.contract_with(address(1), wallet(), power(199), &[]);
    let purse = case.contract(address(2), wallet(), &[]);
    let everything = U256::MAX - power(198);
    for number in 0..6 {
        let sender = address(20 + number);
        let code = Bytecode::new_eip7702(purse);
        let info = AccountInfo { balance: U256::MAX, ..AccountInfo::default() }.with_code(code);
        case.memory.insert_account(sender, info, []);
        match number % 3 {
            // Its own code pays.
            0 => case.call(sender, sender, &[word(full), everything]),
            1 => case.call(sender, sender, &[word(full), power(190)]),
            _ => case.call(sender, full, &[word(purse), word(1)]),
        };
    }
    let sequential = case.check();
    let paid: Vec<_> = (0..3).map(|index| output(&sequential, index)).collect();
    assert_eq!(paid, [0, 1, 1].map(wei), "the first one does not fit");
}

#[test]
fn a_delegated_sender_leaves_more_than_fits() {
    let spec = SpecId::PRAGUE;
    let mut case = Case::new(spec);
    // What the sender has while it runs, and so much more wraps to this.
    let charged = wei(25 * 1_000_000);
    let left = wei(10);
    let full = case.contract_with(address(1), wallet(), charged + wei(1) + left, &[]);
    let code = case.contract(address(2), store(), &[]);
    let purse = address(3);
    for number in 0..2 {
        let sender = address(20 + number);
        let info = AccountInfo { balance: U256::MAX, ..AccountInfo::default() };
        case.memory.insert_account(sender, info.with_code(Bytecode::new_eip7702(code)), []);
        let steps =
            [step(sender, 0, &destroy(full)), step(full, 0, &[word(purse), left + wei(1) - wei(number)])];
        let script = case.contract(address(10 + number), script(&steps), &[]);
        if number == 1 {
            // It has again what it had at first.
            let refill = case.rich(30);
            case.call_with(refill, full, charged + wei(1), &[]);
        }
        case.call(sender, script, &[]);
    }
    let sequential = case.check_success();
    assert_eq!((output(&sequential, 0), output(&sequential, 2)), (wei(0), wei(1)));
}

#[test]
fn balances_near_the_limits() {
    for spec in [SpecId::FRONTIER, SpecId::SHANGHAI, SpecId::PRAGUE] {
        for there in [power(199), power(200) - wei(2), power(200), U256::MAX - wei(9), U256::MAX] {
            let mut case = Case::new(spec);
            case.rounds(5);
            let full = case.contract_with(address(1), open_wallet(), there, &[]);
            let purse = case.contract_with(address(2), wallet(), wei(100), &[]);
            let doomed = case.contract_with(address(3), store(), wei(6), &[]);
            for number in 0..12 {
                let sender = case.rich(20 + number);
                match number % 4 {
                    0 => case.call(sender, purse, &[word(full), word(4)]),
                    1 => case.call_with(sender, full, wei(3), &[]),
                    2 if number < 8 => case.call(sender, full, &[word(purse), word(5)]),
                    2 => case.call(sender, doomed, &destroy(full)),
                    _ => case.call(sender, full, &[word(full), word(1)]),
                };
            }
            case.check();
        }
    }
}

#[test]
fn what_does_not_fit_does_not_come_back_either() {
    for spec in FORKS {
        for is_there in [false, true] {
            let mut case = Case::new(spec);
            case.rounds(5);
            // In the end they have what they had, unless it did not fit in between.
            let bouncing = passing_to(None, &[]);
            let there = if is_there { U256::MAX - wei(3) } else { U256::ZERO };
            let bouncing = case.contract_with(address(1), bouncing, there, &[]);
            let failing = case.contract_with(address(2), failing(), there, &[]);
            let purse = case.contract_with(address(3), open_wallet(), wei(100), &[]);
            // Looks when it is over.
            let seen = passing_to(None, &[opcode::POP, opcode::ADDRESS, opcode::BALANCE]);
            let seen = case.contract_with(address(4), seen, there, &[]);
            if !is_there {
                for (number, to) in [bouncing, failing, seen].into_iter().enumerate() {
                    let heir = address(50 + number as u64);
                    case.contract_with(heir, store(), U256::MAX - wei(3), &[]);
                    let sender = case.rich(40 + number as u64);
                    case.call(sender, heir, &destroy(to));
                }
            }
            for number in 0..12 {
                let sender = case.rich(20 + number);
                let tx = match number % 6 {
                    0 => case.call(sender, purse, &[word(bouncing), word(4)]),
                    1 => case.call(sender, purse, &[word(failing), word(4)]),
                    2 => case.call_with(sender, bouncing, wei(5), &[]),
                    3 => case.call_with(sender, failing, wei(5), &[]),
                    4 => case.call(sender, purse, &[word(seen), word(6)]),
                    _ => case.call_with(sender, seen, wei(7), &[]),
                };
                tx.gas_limit = 500_000;
            }
            let sequential = case.check();
            let first = if is_there { 0 } else { 3 };
            assert!(!succeeded(&sequential, first + 2), "it does not fit");
            assert!(!succeeded(&sequential, first + 5), "it does not fit");
        }
    }
}
