//! What only speculation meets has no effect: nonsense addresses, failing keys, panics, views that never were.

use std::sync::Arc;

use counterpoint::{ExecuteError, Mode};
use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::opcode,
    primitives::{Address, Bytes, U256, hardfork::SpecId},
};

use crate::{
    common::{Case, EXPECTED, Fault, Hook, Key, address, output, succeeded, word},
    contracts::{ADD, READ, ask, balance_of, counter, forwarder, store, write},
};

const FORKS: [SpecId; 3] = [SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::OSAKA];

/// An address that only stands in a slot until the block changes it.
const NONSENSE: Address = Address::repeat_byte(0x66);

/// Calls a [`store`] at the address in slot 0 to add one to its slot 1; looks at that address in every other
/// way, too. Slot 0 is set by the first argument, if that is not zero.
fn pointer() -> Bytes {
    use opcode::{BALANCE, CALL, EXTCODEHASH, EXTCODESIZE, MLOAD, MSTORE, POP, STOP};
    let mut asm = Asm::new();
    asm.argument(0).when(|asm| {
        asm.argument(0).store(0).ops(&[STOP]);
    });
    for op in [BALANCE, EXTCODESIZE, EXTCODEHASH] {
        asm.load(0).ops(&[op, POP]);
    }
    asm.num(ADD).num(0).ops(&[MSTORE]).num(1).num(32).ops(&[MSTORE]);
    asm.num(32).num(0x400).num(64).num(0).num(0).load(0).num(150_000).ops(&[CALL, POP]);
    asm.num(0x400).ops(&[MLOAD]).return_word().build()
}

/// A hook that fails, or panics, where `wrong` says.
fn refuse(panics: bool, wrong: impl Fn(Key) -> bool + Send + Sync + 'static) -> Hook {
    Arc::new(move |key| match (wrong(key), panics) {
        (true, true) => panic!("{key:?} {EXPECTED}"),
        (true, false) => Err(Fault(key)),
        (false, _) => Ok(()),
    })
}

#[test]
fn a_read_at_a_nonsense_address() {
    for spec in FORKS {
        for panics in [None, Some(false), Some(true)] {
            let mut case = Case::new(spec);
            case.rounds(10);
            let pointer = case.contract(address(1), pointer(), &[(0, word(NONSENSE))]);
            let target = case.contract(address(2), store(), &[(1, U256::from(10))]);
            let first = case.rich(10);
            case.call(first, pointer, &[word(target)]);
            for number in 0..6 {
                let sender = case.rich(11 + number);
                case.call(sender, pointer, &[]);
            }
            if let Some(panics) = panics {
                case.hook = refuse(panics, |key| matches!(key, Key::Account(at) if at == NONSENSE));
            }
            let sequential = case.check_success();
            assert_eq!(output(&sequential, 6), U256::from(16));
        }
    }
}

#[test]
fn a_read_at_a_nonsense_address_that_the_block_needs() {
    // Here serial execution goes there too: it is an error, at the right place.
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(10);
        let pointer = case.contract(address(1), pointer(), &[(0, word(NONSENSE))]);
        let target = case.contract(address(2), store(), &[(1, U256::from(10))]);
        for number in 0..7 {
            let sender = case.rich(10 + number);
            match number {
                0 => case.call(sender, pointer, &[word(target)]),
                3 => case.call(sender, pointer, &[word(NONSENSE)]),
                _ => case.call(sender, pointer, &[]),
            };
        }
        case.hook = refuse(false, |key| matches!(key, Key::Account(at) if at == NONSENSE));
        for mode in [Mode::Build, Mode::Verify] {
            assert!(matches!(case.compare(mode), Err(ExecuteError::Source { index: 4, .. })));
        }
    }
}

#[test]
fn a_slot_that_only_speculation_reads() {
    // Reads the slot whose number stands in slot 0, then raises that number.
    let mut code = Asm::new();
    code.argument(0).when(|asm| {
        asm.argument(0).store(0).ops(&[opcode::STOP]);
    });
    code.load(0).ops(&[opcode::SLOAD]).increment(0, 1).return_word();
    for spec in FORKS {
        for panics in [false, true] {
            let mut case = Case::new(spec);
            case.rounds(10);
            let chase = case.contract(address(1), code.build(), &[(0, U256::from(7)), (101, U256::from(5))]);
            for number in 0..8 {
                let sender = case.rich(10 + number);
                let data: &[U256] = if number == 0 { &[U256::from(100)] } else { &[] };
                case.call(sender, chase, data);
            }
            case.hook = refuse(
                panics,
                |key| matches!(key, Key::Slot(_, slot) if slot != U256::ZERO && slot < U256::from(100)),
            );
            assert_eq!(output(&case.check_success(), 2), U256::from(5));
        }
    }
}

#[test]
fn code_and_block_hash_that_only_speculation_reads() {
    let mut code = Asm::new();
    code.argument(0).when(|asm| {
        asm.argument(0).store(0).argument(1).store(1).ops(&[opcode::STOP]);
    });
    code.load(1).ops(&[opcode::BLOCKHASH, opcode::POP]).load(0).ops(&[opcode::EXTCODESIZE]).return_word();
    for spec in FORKS {
        for panics in [false, true] {
            let mut case = Case::new(spec);
            case.rounds(10);
            case.code_by_hash = true;
            let number: u64 = case.env.number.to();
            case.memory.insert_block_hash(number - 9, word(4).into());
            let counter = case.contract(address(2), counter(), &[]);
            let wrong = case.contract(address(3), store(), &[]);
            let storage = [(0, word(wrong)), (1, U256::from(number - 5))];
            let looking = case.contract(address(1), code.build(), &storage);
            for number_ in 0..7 {
                let sender = case.rich(10 + number_);
                let data: &[U256] = if number_ == 0 { &[word(counter), U256::from(number - 9)] } else { &[] };
                case.call(sender, looking, data);
            }
            let wrong_code = revm::primitives::keccak256(store());
            case.hook = refuse(panics, move |key| match key {
                Key::Code(hash) => hash == wrong_code,
                Key::BlockHash(at) => at == number - 5,
                _ => false,
            });

            assert_eq!(output(&case.check_success(), 3), U256::from(self::counter().len()));
        }
    }
}

#[test]
fn a_view_that_never_was() {
    // Two slots are always equal between transactions. Whoever sees them differ goes astray.
    let mut code = Asm::new();
    code.load(1).load(2).ops(&[opcode::SUB]).when(|asm| {
        asm.address(NONSENSE).ops(&[opcode::BALANCE, opcode::POP]).num(3).ops(&[opcode::JUMP]);
    });
    code.increment(1, 1).increment(2, 1).load(1).return_word();
    for spec in FORKS {
        for panics in [false, true] {
            let mut case = Case::new(spec);
            let code = case.contract(address(1), code.build(), &[]);
            for number in 0..16 {
                let sender = case.rich(10 + number);
                case.call(sender, code, &[]);
            }
            case.hook = refuse(panics, |key| matches!(key, Key::Account(at) if at == NONSENSE));
            let sequential = case.check_success();
            assert_eq!(output(&sequential, 15), U256::from(16));
        }
    }
}

#[test]
fn a_balance_and_a_slot_that_belong_together() {
    // The vault notes in a slot what it holds. Whoever sees more noted than held goes astray.
    let mut vault = Asm::new();
    vault.ops(&[opcode::CALLVALUE]).load(0).ops(&[opcode::ADD]).store(0);
    vault.load(0).ops(&[opcode::ADDRESS, opcode::BALANCE, opcode::SUB]).when(|asm| {
        asm.address(NONSENSE).ops(&[opcode::EXTCODESIZE, opcode::POP, opcode::INVALID]);
    });
    vault.load(0).return_word();
    for spec in FORKS {
        let mut case = Case::new(spec);
        let vault = case.contract(address(1), vault.build(), &[]);
        let forwarder = case.contract_with(address(2), forwarder(), U256::from(1_000), &[]);
        for number in 0..14 {
            let sender = case.rich(10 + number);
            if number % 3 == 2 {
                case.call(sender, forwarder, &[word(vault), word(number)]);
            } else {
                case.call_with(sender, vault, U256::from(number), &[]);
            }
        }
        case.hook = refuse(true, |key| matches!(key, Key::Account(at) if at == NONSENSE));
        assert_eq!(output(&case.check_success(), 13), U256::from(13 * 14 / 2));
    }
}

#[test]
fn the_sender_of_a_speculative_transaction_has_nothing_yet() {
    // Invalid until the transaction before it is in; a failure of what it would read must not surface.
    for spec in FORKS {
        let mut case = Case::new(spec);
        let gate = case.contract(address(1), store(), &[(1, word(NONSENSE))]);
        let balances = case.contract(address(2), balance_of(), &[]);
        let (first, poor) = (case.rich(10), address(3));
        case.call(first, gate, &write(1, 5));
        case.send(first, poor, 100_000_000_000_000);
        case.call(poor, gate, &ask(READ, 1));
        case.call(poor, balances, &[word(address(4))]);
        case.call(poor, gate, &ask(ADD, 1));
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 4), U256::from(6));
    }
}

#[test]
fn a_loop_that_only_speculation_enters() {
    // Runs until its gas is gone unless slot 0 is set.
    let mut code = Asm::new();
    code.argument(0).when(|asm| {
        asm.argument(0).store(0).ops(&[opcode::STOP]);
    });
    code.load(0).ops(&[opcode::ISZERO]).when(|asm| {
        asm.repeat(1_000_000, |asm| {
            asm.num(1).ops(&[opcode::POP]);
        });
    });
    code.load(0).return_word();
    for spec in FORKS {
        let mut case = Case::new(spec);
        case.rounds(5);
        let code = case.contract(address(1), code.build(), &[]);
        for number in 0..6 {
            let sender = case.rich(10 + number);
            let data: &[U256] = if number == 0 { &[U256::from(3)] } else { &[] };
            case.call(sender, code, data).gas_limit = 300_000;
        }
        case.check_success();
    }
}

#[test]
fn every_transaction_changes_where_the_next_one_goes() {
    // Each call bumps the counter at the pointer, then moves the pointer on to a target that it names.
    for spec in FORKS {
        let mut case = Case::new(spec);
        let pointer = case.contract(address(1), pointer(), &[(0, word(NONSENSE))]);
        let targets: Vec<_> = (0..3)
            .map(|number| case.contract(address(20 + number), store(), &[(1, U256::from(number))]))
            .collect();
        for number in 0..15 {
            let sender = case.rich(100 + number);
            if number % 2 == 0 {
                case.call(sender, pointer, &[word(targets[number as usize / 2 % 3])]);
            } else {
                case.call(sender, pointer, &[]);
            }
        }
        case.hook = refuse(true, |key| matches!(key, Key::Account(at) if at == NONSENSE));
        let sequential = case.check();
        assert!(succeeded(&sequential, 14));
    }
}
