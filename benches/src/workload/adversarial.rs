//! Blocks that are built against prediction and speculation.

use alloy_primitives::{Bytes, U256};
use rand::Rng;
use revm::{
    bytecode::opcode::{ADD, DUP1, MUL, POP, REVERT, SLOAD, SSTORE, STOP, SWAP1},
    primitives::{eip7825, hardfork::SpecId},
};

use super::{Knobs, Workload, world::World};
use crate::asm::Asm;

/// Gas of one round of [`burn`].
const ROUND: u64 = 46;
/// Rounds of a transaction of usual length.
const SHORT: u64 = 800;
/// What a transaction of usual length needs, and room.
const SHORT_GAS: u64 = 50_000 + 2 * SHORT * ROUND;
/// What the long transactions burn at full size, in gas.
const LONG: u64 = 30_000_000;
/// How many transactions a block has for each pair of long ones.
const TRANSFERS_PER_PAIR: usize = 250;

/// Replaces the top of the stack by something that takes so many rounds to find out, and depends on what was there.
fn burn(asm: &mut Asm, rounds: u64) {
    asm.repeat(rounds, |asm| {
        // Odd, so that no two beginnings lead to the same end.
        asm.ops(&[SWAP1]).num(0x9e37_79b9).ops(&[MUL]).num(0x7f4a_7c15).ops(&[ADD, SWAP1]);
    });
}

/// Reverts if the call data's word with this number is not zero.
fn refuse(asm: &mut Asm, argument: u64) {
    asm.argument(argument).when(|asm| {
        asm.num(0).num(0).ops(&[REVERT]);
    });
}

fn words<const N: usize>(words: [U256; N]) -> Bytes {
    words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect::<Vec<_>>().into()
}

/// The slot that is a transaction's own.
fn own(index: usize) -> U256 {
    U256::from(1_000_000 + index)
}

/// Every transaction reads one slot of a few, computes, and writes another: the hot share of them. The function is
/// always the same, and what it read and wrote before says nothing of what it does next.
pub(super) fn shifting(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let mut asm = Asm::new();
    asm.argument(0).ops(&[SLOAD]);
    burn(&mut asm, SHORT);
    asm.argument(1).ops(&[SSTORE]);
    refuse(&mut asm, 2);
    let slots = knobs.pools.max(1);
    let storage = (0..slots).map(|slot| (U256::from(slot), U256::ONE));
    let storage = storage.chain((0..knobs.transactions).map(|index| (own(index), U256::ONE)));
    let contract = world.contract("shifting", 0, asm.build(), storage.collect::<Vec<_>>());
    for (index, from) in world.senders().into_iter().enumerate() {
        let (read, write) = match world.rng.random_bool(knobs.hot.clamp(0.0, 1.0)) {
            true => {
                [world.rng.random_range(0..slots), world.rng.random_range(0..slots)].map(U256::from).into()
            }
            false => (own(index), own(index)),
        };
        let data = |bad: u64| words([read, write, U256::from(bad)]);
        world.call(from, contract, data(0), data(1), SHORT_GAS);
    }
    world.finish()
}

/// Every transaction computes first, then looks up in a slot of its own what it depends on, and counts that up as its last
/// instruction: the hot share of them the same slot.
pub(super) fn late(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let mut asm = Asm::new();
    refuse(&mut asm, 1);
    asm.argument(0);
    burn(&mut asm, SHORT);
    asm.ops(&[POP]).argument(0).ops(&[SLOAD]);
    asm.ops(&[DUP1, SLOAD]).num(1).ops(&[ADD, SWAP1, SSTORE]);
    let hot: Vec<bool> =
        (0..knobs.transactions).map(|_| world.rng.random_bool(knobs.hot.clamp(0.0, 1.0))).collect();
    let storage = hot.iter().enumerate().flat_map(|(index, hot)| {
        let other = own(knobs.transactions + index);
        [(own(index), if *hot { U256::from(7) } else { other }), (other, U256::ONE)]
    });
    let storage: Vec<_> = storage.chain([(U256::from(7), U256::ONE)]).collect();
    let contract = world.contract("late", 0, asm.build(), storage);
    for (index, from) in world.senders().into_iter().enumerate() {
        let data = |bad: u64| words([own(index), U256::from(bad)]);
        world.call(from, contract, data(0), data(1), SHORT_GAS);
    }
    world.finish()
}

/// Long transactions that read one slot first, each after a long one that writes this slot last, among transfers.
/// Who speculates on the later one loses all of it.
pub(super) fn invalidated(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let cap = if knobs.spec.is_enabled_in(SpecId::OSAKA) { eip7825::TX_GAS_LIMIT_CAP } else { LONG };
    // Small blocks have a short pair.
    let pairs = (knobs.transactions / TRANSFERS_PER_PAIR).max(1);
    let share = (knobs.transactions as f64 / TRANSFERS_PER_PAIR as f64).min(1.0);
    let gas = (cap.min(LONG) as f64 * share) as u64;
    let gas = gas.max(200_000);
    let rounds = (gas - 100_000) / ROUND;

    let mut asm = Asm::new();
    // The earlier one: call data (1, slot).
    asm.argument(0).when(|asm| {
        asm.argument(1).ops(&[SLOAD]);
        // A little shorter, so that the later one has done nearly all when it hears of it.
        burn(asm, rounds / 10 * 9);
        asm.argument(1).ops(&[SSTORE, STOP]);
    });
    // The later one: call data (0, slot, slot of its own).
    asm.argument(1).ops(&[SLOAD]);
    burn(&mut asm, rounds);
    asm.argument(2).ops(&[SSTORE]);
    let storage = (0..2 * pairs).map(|index| (own(index), U256::from(index + 1))).collect::<Vec<_>>();
    let contract = world.contract("invalidated", 0, asm.build(), storage);

    let every = knobs.transactions.div_ceil(pairs).max(2);
    let mut index = 0;
    while world.len() < knobs.transactions {
        let pair = world.len() / every;
        let from = world.user(index);
        match world.len() % every {
            0 => {
                let data = words([U256::ONE, own(2 * pair), U256::ZERO]);
                world.send(from, contract, U256::ZERO, data, gas);
            }
            1 => {
                let data = words([U256::ZERO, own(2 * pair), own(2 * pair + 1)]);
                world.send(from, contract, U256::ZERO, data, gas);
            }
            _ => {
                let to = World::address("recipient", index);
                world.pay(from, to, U256::ONE);
            }
        }
        index += 1;
    }
    world.finish()
}
