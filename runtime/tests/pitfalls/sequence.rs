//! What one transaction owes to another before it: code, nonces, funds, and a place in the block.

use counterpoint::{ExecuteError, Mode};
use revm::{
    context::{TxEnv, result::InvalidTransaction},
    primitives::{Address, Bytes, U256, hardfork::SpecId},
    state::{AccountInfo, Bytecode},
};

use crate::{
    common::{Case, PRICE, address, output, output_word, skipped, succeeded, word},
    contracts::{
        ADD, BORN_SLOT, BORN_VALUE, READ, ask, counter, forwarder, probe, script, step, store, store_init,
    },
};

const FORKS: [SpecId; 4] = [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::LONDON, SpecId::OSAKA];

#[test]
fn deployed_and_called_in_one_block() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        for _ in 0..3 {
            let created = case.create(creator, store_init(), 3);
            let other = case.rich(20 + case.transactions.len() as u64);
            case.call(other, created, &ask(ADD, BORN_SLOT));
            case.call(creator, created, &ask(ADD, BORN_SLOT));
            let other = case.rich(20 + case.transactions.len() as u64);
            case.call(other, created, &ask(READ, BORN_SLOT));
        }
        let sequential = case.check_success();
        for round in 0..3 {
            assert_eq!(output(&sequential, 4 * round + 3), U256::from(BORN_VALUE + 2));
        }
    }
}

#[test]
fn deployed_code_is_seen_from_outside() {
    for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        // The same code stands elsewhere, where the source only gives its hash.
        case.code_by_hash = true;
        case.contract(address(2), store(), &[]);
        let probe = case.contract(address(1), probe(), &[]);
        let creator = case.rich(10);
        let target = creator.create(0);
        let senders: Vec<_> = (0..5).map(|number| case.rich(20 + number)).collect();
        case.call(senders[0], probe, &[word(target)]);
        case.create(creator, store_init(), 1);
        case.call(senders[1], probe, &[word(target)]);
        case.call(senders[2], target, &ask(ADD, 1));
        case.call(senders[3], address(2), &ask(ADD, 1));
        case.call(senders[4], probe, &[word(address(2))]);
        let sequential = case.check_success();
        assert_eq!(output_word(&sequential, 0, 1), U256::ZERO);
        assert_eq!(output_word(&sequential, 2, 1), U256::from(store().len()));
        assert_eq!(output_word(&sequential, 2, 2), output_word(&sequential, 5, 2));
    }
}

#[test]
fn several_transactions_of_one_sender() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let counter = case.contract(address(1), counter(), &[]);
        let senders = [case.rich(10), case.rich(11)];
        for number in 0..20 {
            let sender = senders[number % 3 % 2];
            match number % 4 {
                0 => case.call(sender, counter, &[]),
                1 => case.send(sender, senders[(number + 1) % 3 % 2], 5),
                _ => case.send(sender, address(100 + number as u64), 5),
            };
        }
        case.check_success();
    }
}

#[test]
fn a_long_chain_of_one_sender() {
    for spec in [SpecId::FRONTIER, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        case.rounds(4);
        let sender = case.rich(10);
        for number in 0..300 {
            case.send(sender, address(100 + number % 7), 1);
        }
        case.check_success();
    }
}

#[test]
fn each_transaction_funds_the_next_sender() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let mut sender = case.rich(10);
        for number in 0..24 {
            let next = address(11 + number);
            let left = 900_000_000_000_000_000 - u128::from(number) * 30_000_000_000;
            case.send(sender, next, left);
            sender = next;
        }
        case.check_success();
    }
}

#[test]
fn a_sender_is_funded_by_a_contract() {
    for spec in FORKS {
        for index in 0..3 {
            let mut case = Case::new(spec);
            case.rounds(10);
            let poor = address(2);
            let money = 1_000_000_000_000_000;
            let forwarder = case.contract_with(address(1), forwarder(), U256::from(10 * money), &[]);
            let payer = case.rich(10);
            match index {
                0 => case.call(payer, forwarder, &[word(poor), word(money)]),
                1 => {
                    let twice = script(&[step(poor, money / 2, &[]), step(poor, money / 2, &[])]);
                    let twice = case.contract_with(address(3), twice, U256::from(10 * money), &[]);
                    case.call(payer, twice, &[])
                }
                _ => {
                    let rich = case.contract_with(address(3), store(), U256::from(money), &[]);
                    case.call(payer, rich, &crate::contracts::destroy(poor))
                }
            };
            case.send(poor, address(100), 5);
            case.call(poor, forwarder, &[word(address(101)), word(1)]);
            let other = case.rich(11);
            case.send(other, poor, 5);
            case.send(poor, address(100), 5);
            case.check_success();
        }
    }
}

#[test]
fn a_sender_is_funded_too_late() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let poor = address(2);
        let payer = case.rich(10);
        let other = case.rich(11);
        case.send(other, address(100), 1);
        case.send(poor, address(100), 5);
        case.push_invalid(|_| {});
        case.send(payer, poor, 1_000_000_000_000_000);
        case.send(poor, address(100), 5);
        case.send(poor, address(100), 5);
        let sequential = case.check();
        assert_eq!([1, 3, 4].map(|index| skipped(&sequential, index)), [true, false, false]);
    }
}

#[test]
fn a_senders_funds_run_out_in_the_block() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let sender = address(2);
        let cost = 100_000 * PRICE;
        case.account(sender, U256::from(3 * cost));
        let other = case.rich(10);
        for number in 0..14 {
            let tx = case.send(sender, address(100), 1);
            tx.gas_limit = 100_000;
            if number == 4 {
                case.send(other, sender, 1);
            }
        }
        let sequential = case.check();
        assert!(
            !skipped(&sequential, 8) && skipped(&sequential, 14),
            "it cannot pay for as much gas any more"
        );
    }
}

/// A way to be invalid, from a fork on.
struct Flaw {
    name: &'static str,
    from: SpecId,
    spoil: fn(&mut TxEnv),
    cause: fn(&InvalidTransaction) -> bool,
}

const FLAWS: [Flaw; 14] = [
    Flaw {
        name: "nonce too high",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.nonce += 1,
        cause: |cause| matches!(cause, InvalidTransaction::NonceTooHigh { .. }),
    },
    Flaw {
        name: "nonce too low",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.nonce -= 1,
        cause: |cause| matches!(cause, InvalidTransaction::NonceTooLow { .. }),
    },
    Flaw {
        name: "nonce at the end",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.nonce = u64::MAX,
        cause: |cause| {
            matches!(
                cause,
                InvalidTransaction::NonceTooHigh { .. } | InvalidTransaction::NonceOverflowInTransaction
            )
        },
    },
    Flaw {
        name: "no funds",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.value = U256::from(10).pow(U256::from(30)),
        cause: |cause| matches!(cause, InvalidTransaction::LackOfFundForMaxFee { .. }),
    },
    Flaw {
        name: "payment overflow",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.value = U256::MAX,
        cause: |cause| {
            matches!(
                cause,
                InvalidTransaction::OverflowPaymentInTransaction
                    | InvalidTransaction::LackOfFundForMaxFee { .. }
            )
        },
    },
    Flaw {
        name: "more gas than the block",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.gas_limit = 2_000_000_000,
        cause: |cause| {
            matches!(
                cause,
                InvalidTransaction::CallerGasLimitMoreThanBlock
                    | InvalidTransaction::TxGasLimitGreaterThanCap { .. }
            )
        },
    },
    Flaw {
        name: "less than intrinsic gas",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.gas_limit = 20_999,
        cause: |cause| matches!(cause, InvalidTransaction::CallGasCostMoreThanGasLimit { .. }),
    },
    Flaw {
        name: "less than floor gas",
        from: SpecId::PRAGUE,
        spoil: |tx| {
            tx.data = vec![1; 1000].into();
            tx.gas_limit = 40_000;
        },
        cause: |cause| matches!(cause, InvalidTransaction::GasFloorMoreThanGasLimit { .. }),
    },
    Flaw {
        name: "wrong chain",
        from: SpecId::FRONTIER,
        spoil: |tx| tx.chain_id = Some(2),
        cause: |cause| matches!(cause, InvalidTransaction::InvalidChainId),
    },
    Flaw {
        name: "access list before its fork, or an unknown kind",
        from: SpecId::FRONTIER,
        spoil: |tx| {
            tx.tx_type = 1;
            tx.nonce += 5;
        },
        cause: |cause| {
            matches!(cause, InvalidTransaction::Eip2930NotSupported | InvalidTransaction::NonceTooHigh { .. })
        },
    },
    Flaw {
        name: "price below the base fee",
        from: SpecId::LONDON,
        spoil: |tx| tx.gas_price = 9,
        cause: |cause| matches!(cause, InvalidTransaction::GasPriceLessThanBasefee),
    },
    Flaw {
        name: "priority fee above the fee",
        from: SpecId::LONDON,
        spoil: |tx| {
            tx.tx_type = 2;
            tx.gas_priority_fee = Some(tx.gas_price + 1);
        },
        cause: |cause| matches!(cause, InvalidTransaction::PriorityFeeGreaterThanMaxFee),
    },
    Flaw {
        name: "init code too long",
        from: SpecId::SHANGHAI,
        spoil: |tx| {
            tx.kind = revm::primitives::TxKind::Create;
            tx.data = vec![0; 50_000].into();
        },
        cause: |cause| matches!(cause, InvalidTransaction::CreateInitCodeSizeLimit),
    },
    Flaw {
        name: "sender with code",
        from: SpecId::FRONTIER,
        spoil: |tx| {
            tx.caller = address(2);
            tx.nonce = 1;
        },
        cause: |cause| matches!(cause, InvalidTransaction::RejectCallerWithCode),
    },
];

#[test]
fn an_invalid_one_in_the_middle() {
    for spec in [SpecId::FRONTIER, SpecId::LONDON, SpecId::OSAKA] {
        for flaw in FLAWS.iter().filter(|flaw| spec.is_enabled_in(flaw.from)) {
            let mut case = Case::new(spec);
            case.rounds(5);
            let counter = case.contract(address(1), counter(), &[]);
            case.contract_with(address(2), store(), U256::from(10).pow(U256::from(18)), &[]);
            let (first, second) = (case.rich(10), case.rich(11));
            case.call(first, counter, &[]);
            case.send(second, first, 5);
            case.send(first, address(100), 1);
            case.send(first, address(100), 1);
            let index = case.push_invalid(flaw.spoil);
            case.call(first, counter, &[]);
            case.send(second, address(100), 1);
            case.call(second, counter, &[]);
            case.send(first, second, 1);

            let sequential = case.check();
            assert!(skipped(&sequential, index), "{}: {:?}", flaw.name, sequential.transactions[index]);
            match case.compare(Mode::Verify).err() {
                Some(ExecuteError::InvalidTransaction { index: at, cause }) => {
                    assert_eq!(at, index, "{}", flaw.name);
                    assert!((flaw.cause)(&cause), "{}: {cause:?}", flaw.name);
                }
                other => panic!("{}: {other:?}", flaw.name),
            }
        }
    }
}

#[test]
fn many_invalid_ones_and_the_first_is_reported() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let senders = [case.rich(10), case.rich(11), case.rich(12)];
        for number in 0..15 {
            case.send(senders[number % 3], address(100), 1);
            match number {
                4 => drop(case.push_invalid(|tx| tx.nonce = 9)),
                5 => drop(case.push_invalid(|tx| tx.gas_limit = 100)),
                9 => drop(case.push_invalid(|tx| tx.value = U256::MAX)),
                14 => drop(case.push_invalid(|tx| tx.nonce = 0)),
                _ => {}
            }
        }
        let sequential = case.check();
        let invalid: Vec<_> = (0..15).filter(|index| skipped(&sequential, *index)).collect();
        assert_eq!(invalid, [4, 5, 9, 14]);
        assert!(matches!(
            case.compare(Mode::Verify),
            Err(ExecuteError::InvalidTransaction {
                index: 4,
                cause: InvalidTransaction::NonceTooHigh { .. }
            })
        ));
    }
}

#[test]
fn a_block_of_nothing_but_invalid_ones() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        for number in 0..8 {
            case.send(address(10 + number % 4), address(100), 1);
        }
        let sequential = case.check();
        assert_eq!(sequential.gas_used, 0);
        assert!(sequential.bundle.state.is_empty());
    }
}

#[test]
fn a_missing_transaction_makes_the_rest_of_its_senders_invalid() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let (first, second) = (case.rich(10), case.rich(11));
        for _ in 0..6 {
            case.send(first, second, 1);
            case.send(second, address(100), 1);
        }
        case.transactions.remove(4);
        let sequential = case.check();
        let invalid: Vec<_> = (0..11).filter(|index| skipped(&sequential, *index)).collect();
        assert_eq!(invalid, [5, 7, 9]);
    }
}

#[test]
fn a_sender_becomes_a_contract_or_the_other_way_round() {
    // The account at a creation's address sends before it and after it, as no key on mainnet can.
    for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        let target: Address = creator.create(1);
        case.account(target, U256::from(10).pow(U256::from(18)));
        let store_code = store_init();
        case.send(creator, target, 5);
        case.create(creator, store_code.clone(), 0);
        case.send(target, address(100), 1);
        case.transactions.last_mut().unwrap().nonce = 1;
        let other = case.rich(11);
        case.call(other, target, &ask(ADD, BORN_SLOT));
        let sequential = case.check();
        assert!(skipped(&sequential, 2), "a contract cannot send");

        // Its own transaction came first: the address is taken, the creation fails.
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        case.account(target, U256::from(10).pow(U256::from(18)));
        case.send(creator, target, 5);
        case.send(target, address(100), 1);
        case.create(creator, store_code, 0);
        case.send(target, address(100), 1);
        let sequential = case.check();
        assert!(!succeeded(&sequential, 2) && succeeded(&sequential, 3));
    }
}

#[test]
fn nonces_near_the_end() {
    for spec in [SpecId::PETERSBURG, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let sender = address(2);
        let info = AccountInfo {
            nonce: u64::MAX - 3,
            ..AccountInfo::from_balance(U256::from(1_000_000_000_000_u64))
        };
        case.memory.insert_account(sender, info, []);
        for nonce in [u64::MAX - 3, u64::MAX - 2, u64::MAX - 1, u64::MAX, 0] {
            let mut tx = crate::common::template(sender);
            tx.kind = revm::primitives::TxKind::Call(address(100));
            tx.gas_limit = 100_000;
            tx.nonce = nonce;
            case.transactions.push(tx);
        }
        case.check();
    }
}

#[test]
fn creations_that_fail_still_cost() {
    for spec in FORKS {
        let mut case = Case::new(spec);
        let creator = case.rich(10);
        // An invalid opcode, a revert, code that costs more than there is, an occupied address.
        case.create(creator, Bytes::from_static(&[0xfe]), 5);
        case.create(creator, Bytes::from_static(&[0x60, 0, 0x60, 0, 0xfd]), 5);
        case.create(creator, store_init(), 5);
        case.transactions.last_mut().unwrap().gas_limit = 90_000;
        let occupied = creator.create(3);
        let code = Bytecode::new_raw(counter());
        case.memory.insert_account(occupied, AccountInfo::default().with_code(code), []);
        case.create(creator, store_init(), 5);
        let created = case.create(creator, store_init(), 5);
        let other = case.rich(11);
        case.call(other, created, &ask(ADD, BORN_SLOT));
        case.call(other, occupied, &[]);
        case.send(creator, other, 1);
        let sequential = case.check();
        assert!(!succeeded(&sequential, 3) && succeeded(&sequential, 4));
        assert_eq!(output(&sequential, 5), U256::from(BORN_VALUE + 1));
    }
}
