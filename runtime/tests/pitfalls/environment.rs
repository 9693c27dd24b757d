//! What transactions learn from the block, and what the block sums up: hashes, blobs, gas.

use counterpoint::{ExecuteError, Mode};
use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::opcode,
    context::{
        result::{ExecutionResult, InvalidTransaction},
        transaction::AccessListItem,
    },
    context_interface::block::BlobExcessGasAndPrice,
    primitives::{B256, U256, eip4844, hardfork::SpecId},
};

use crate::{
    common::{Case, address, output, skipped, succeeded, word},
    contracts::{ADD, READ, ask, balance_of, counter, script, step, store, write},
};

#[test]
fn block_hashes() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let number: u64 = case.env.number.to();
        for ago in 1..=256 {
            case.memory.insert_block_hash(number - ago, B256::from(U256::from(1000 + ago)));
        }
        let direct = Asm::new().argument(0).ops(&[opcode::BLOCKHASH]).return_word().build();
        let direct = case.contract(address(1), direct, &[]);
        // The hash of the block whose distance stands in a slot.
        let mut stored = Asm::new();
        stored.load(0).ops(&[opcode::NUMBER, opcode::SUB, opcode::BLOCKHASH]).increment(0, 50).return_word();
        let stored = case.contract(address(2), stored.build(), &[(0, U256::from(1))]);
        for (index, ago) in [1, 2, 255, 256, 257, 0, 1].into_iter().enumerate() {
            let sender = case.rich(10 + index as u64);
            case.call(sender, direct, &[word(number - ago)]);
            let sender = case.rich(30 + index as u64);
            case.call(sender, stored, &[]);
        }
        let sequential = case.check_success();
        let hashes: Vec<_> = (0..7).map(|index| output(&sequential, 2 * index)).collect();
        assert_eq!(hashes, [1001, 1002, 1255, 1256, 0, 0, 1001].map(U256::from));
        let hashes: Vec<_> = (0..7).map(|index| output(&sequential, 2 * index + 1)).collect();
        assert_eq!(hashes, [1001, 1051, 1101, 1151, 1201, 1251, 0].map(U256::from));
    }
}

#[test]
fn blob_gas() {
    for spec in [SpecId::CANCUN, SpecId::PRAGUE, SpecId::OSAKA] {
        for excess in [0, 40_000_000] {
            let mut case = Case::new(spec);
            let fraction = eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN;
            case.env.blob_excess_gas_and_price = Some(BlobExcessGasAndPrice::new(excess, fraction));
            let mut code = Asm::new();
            code.ops(&[opcode::BLOBBASEFEE]).num(1).ops(&[opcode::BLOBHASH, opcode::ADD]).return_word();
            let code = case.contract(address(1), code.build(), &[]);
            let sender = case.rich(10);
            for number in 0..8_usize {
                let from = if number % 2 == 0 { sender } else { case.rich(20 + number as u64) };
                let tx = case.call(from, code, &[]);
                if number % 4 != 3 {
                    tx.tx_type = 3;
                    tx.gas_priority_fee = Some(1);
                    tx.max_fee_per_blob_gas = 1_000_000;
                    tx.blob_hashes =
                        (0..=number % 3).map(|blob| B256::from(U256::from(blob)).with_version()).collect();
                }
            }
            case.check_success();

            // A price below the block's, no blobs, too many, and money for gas but not for blobs.
            let poor = address(3);
            case.account(poor, U256::from(1_000_000 * 25 + 1));
            for flaw in 0..4 {
                let mut case = case.clone();
                let mut tx = case.transactions[0].clone();
                tx.caller = address(40);
                tx.nonce = 0;
                case.rich(40);
                match flaw {
                    0 => tx.max_fee_per_blob_gas = 0,
                    1 => tx.blob_hashes.clear(),
                    2 => tx.blob_hashes = vec![tx.blob_hashes[0]; 10],
                    _ => tx.caller = poor,
                }
                case.rounds(4);
                case.transactions.insert(3, tx);
                assert!(skipped(&case.check(), 3));
                let error = case.compare(Mode::Verify).unwrap_err();
                assert!(matches!(
                    (flaw, error),
                    (
                        0,
                        ExecuteError::InvalidTransaction {
                            index: 3,
                            cause: InvalidTransaction::BlobGasPriceGreaterThanMax { .. }
                        }
                    ) | (
                        1,
                        ExecuteError::InvalidTransaction { index: 3, cause: InvalidTransaction::EmptyBlobs }
                    ) | (
                        2,
                        ExecuteError::InvalidTransaction {
                            index: 3,
                            cause: InvalidTransaction::TooManyBlobs { .. }
                        }
                    ) | (
                        3,
                        ExecuteError::InvalidTransaction {
                            index: 3,
                            cause: InvalidTransaction::LackOfFundForMaxFee { .. }
                        }
                    )
                ));
            }
        }
    }
}

trait Versioned {
    fn with_version(self) -> Self;
}

impl Versioned for B256 {
    /// A blob's hash begins with its version.
    fn with_version(mut self) -> Self {
        self.0[0] = 1;
        self
    }
}

#[test]
fn cumulative_gas_with_refunds_and_failures() {
    for spec in [SpecId::FRONTIER, SpecId::PETERSBURG, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let storage: Vec<_> = (1..9).map(|slot| (slot, U256::from(slot))).collect();
        let store = case.contract(address(1), store(), &storage);
        let clears: Vec<_> = (1..5).map(|slot| step(store, 0, &write(slot, 0))).collect();
        let clearing = case.contract(address(2), script(&clears), &[]);
        let sets: Vec<_> = (1..5).map(|slot| step(store, 0, &write(slot, 7))).collect();
        let setting = case.contract(address(3), script(&sets), &[]);
        for number in 0..12 {
            let sender = case.rich(10 + number);
            match number % 4 {
                0 => case.call(sender, clearing, &[]),
                1 => case.call(sender, setting, &[]),
                2 => {
                    let tx = case.call(sender, store, &ask(ADD, 6));
                    // The third of them runs out of gas.
                    if number == 10 {
                        tx.gas_limit = 24_000;
                    }
                    tx
                }
                _ => case.call(sender, store, &write(number, 1)),
            };
        }
        let sequential = case.check();
        assert!(!succeeded(&sequential, 10));
        let sum: u64 = sequential
            .transactions
            .iter()
            .filter_map(|outcome| outcome.result())
            .map(ExecutionResult::tx_gas_used)
            .sum();
        assert_eq!(sum, sequential.gas_used);
    }
}

#[test]
fn a_slot_that_returns_to_what_it_was() {
    // Gas and refunds of a write depend on the value before the transaction, not before the block.
    for spec in [SpecId::PETERSBURG, SpecId::ISTANBUL, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let store = case.contract(address(1), store(), &[(1, U256::from(5))]);
        let there_and_back =
            [step(store, 0, &write(1, 9)), step(store, 0, &write(1, 5)), step(store, 0, &write(2, 0))];
        let there_and_back = case.contract(address(2), script(&there_and_back), &[]);
        for (number, value) in [0, 5, 5, 9, 5, 0, 0, 5].into_iter().enumerate() {
            let sender = case.rich(10 + number as u64);
            case.call(sender, store, &write(1, value));
            let sender = case.rich(30 + number as u64);
            case.call(sender, there_and_back, &[]);
            let sender = case.rich(50 + number as u64);
            case.call(sender, store, &ask(READ, 1));
        }
        case.check_success();
    }
}

#[test]
fn access_lists_warm_what_they_name() {
    for spec in [SpecId::BERLIN, SpecId::LONDON, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let store = case.contract(address(1), store(), &[(1, U256::from(5))]);
        for number in 0..9_u64 {
            let sender = case.rich(10 + number);
            let tx = match number % 3 {
                0 => case.call(sender, store, &ask(ADD, 1)),
                1 => case.send(sender, address(100), 3),
                _ => case.call(sender, store, &ask(ADD, 2)),
            };
            tx.tx_type = 1;
            for (named, slot) in [(store, 1), (address(100), 2), (address(101), 3)] {
                let storage_keys = vec![B256::from(U256::from(slot))];
                tx.access_list.0.push(AccessListItem { address: named, storage_keys });
            }
        }
        case.check_success();
    }
}

#[test]
fn logs_keep_their_order_and_address() {
    // LOG1 of what the counter was, with itself as topic.
    let mut code = Asm::new();
    code.load(0).num(0).ops(&[opcode::MSTORE]).increment(0, 1);
    code.load(0).num(32).num(0).ops(&[opcode::LOG1]);
    for spec in [SpecId::FRONTIER, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        let loud = case.contract(address(1), code.build(), &[]);
        let twice = case.contract(address(2), script(&[step(loud, 0, &[]), step(loud, 0, &[])]), &[]);
        for number in 0..10 {
            let sender = case.rich(10 + number);
            case.call(sender, if number % 2 == 0 { loud } else { twice }, &[]);
        }
        let sequential = case.check_success();
        let logs: Vec<_> = sequential
            .transactions
            .iter()
            .flat_map(|outcome| outcome.result().unwrap().logs().to_vec())
            .collect();
        assert_eq!(logs.len(), 15);
        for (count, log) in logs.iter().enumerate() {
            assert_eq!(U256::from_be_slice(&log.data.data), U256::from(count));
        }
    }
}

#[test]
fn a_hot_counter() {
    for spec in [SpecId::FRONTIER, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        case.rounds(10);
        let counter = case.contract(address(1), counter(), &[]);
        let balances = case.contract(address(2), balance_of(), &[]);
        for number in 0..40 {
            let sender = case.rich(10 + number % 30);
            if number % 8 == 7 {
                case.call(sender, balances, &[word(sender)]);
            } else {
                case.call_with(sender, counter, U256::from(number), &[]);
            }
        }
        let sequential = case.check_success();
        let counts: Vec<_> =
            (0..40).filter(|number| number % 8 != 7).map(|index| output(&sequential, index)).collect();
        assert_eq!(counts, (0..35).map(U256::from).collect::<Vec<_>>());
    }
}

/// What was hashed before is remembered: it costs the same, and fails in the same place.
#[test]
fn hashes_with_any_amount_of_gas() {
    let mut code = Asm::new();
    // A mapping's slot twice; beyond the memory's end; one that overlaps; another length.
    for (length, offset) in
        [(64, 0), (64, 0), (64, 128), (64, 0), (64, 128), (64, 1), (32, 0), (64, 1), (63, 0)]
    {
        code.num(length).num(offset).ops(&[opcode::KECCAK256, opcode::ADD]);
    }
    // With nothing left on the stack to hash.
    let mut empty = Asm::new();
    empty.num(64).num(0).ops(&[opcode::KECCAK256, opcode::KECCAK256]);
    let mut whole = Asm::new();
    whole.num(7).num(0).ops(&[opcode::MSTORE]).num(0);
    let whole = [whole.build(), code.return_word().build()].concat();
    for spec in [SpecId::FRONTIER, SpecId::OSAKA] {
        let mut case = Case::new(spec);
        case.rounds(1);
        let hashes = case.contract(address(1), whole.clone().into(), &[]);
        let empty = case.contract(address(2), empty.build(), &[]);
        let sender = case.rich(10);
        for gas in 0..700 {
            case.call(sender, hashes, &[]).gas_limit = 21_000 + gas;
        }
        case.call(sender, empty, &[]);
        let sequential = case.check();
        assert!(succeeded(&sequential, 699) && !succeeded(&sequential, 300) && !succeeded(&sequential, 700));
    }
}
