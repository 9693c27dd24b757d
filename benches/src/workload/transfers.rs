//! Blocks of plain transfers.

use alloy_primitives::U256;
use rand::Rng;

use super::{
    Knobs, Workload,
    world::{TRANSFER_GAS, World},
};

/// A little more than dust.
fn amount(world: &mut World) -> U256 {
    U256::from(world.rng.random_range(1..1_000_000_000_000_u64))
}

pub(super) fn independent(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    for index in 0..knobs.transactions {
        let (from, to) = (world.user(2 * index), world.user(2 * index + 1));
        let value = amount(&mut world);
        world.transfer(from, to, value);
    }
    world.finish()
}

pub(super) fn same_sender(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let from = world.user(0);
    for index in 0..knobs.transactions {
        let to = world.user(index + 1);
        let value = amount(&mut world);
        world.transfer(from, to, value);
    }
    world.finish()
}

pub(super) fn chained(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let length = if knobs.chain == 0 { knobs.transactions.max(1) } else { knobs.chain };
    let fee = world.most_fee(TRANSFER_GAS);
    let mut from = None;
    for index in 0..knobs.transactions {
        let place = index % length;
        // Each passes on what the rest of its chain needs and has nothing of its own to pay with.
        let needed = |place: usize| fee * U256::from(length - place);
        let sender = match from {
            Some(sender) if place > 0 => sender,
            _ => world.account("chained", index, needed(0)),
        };
        let to = world.account("chained", knobs.transactions + index, U256::ZERO);
        world.transfer(sender, to, needed(place + 1));
        from = Some(to);
    }
    world.finish()
}
