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
    for (index, from) in world.senders().into_iter().enumerate() {
        let to = world.account("recipient", index, U256::ONE);
        let value = amount(&mut world);
        world.pay(from, to, value);
    }
    world.finish()
}

pub(super) fn many_to_one(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let hot = world.account("exchange", 0, U256::ONE);
    for (index, from) in world.senders().into_iter().enumerate() {
        let to = match world.rng.random_bool(knobs.hot.clamp(0.0, 1.0)) {
            true => hot,
            false => world.account("recipient", index, U256::ONE),
        };
        let value = amount(&mut world);
        world.pay(from, to, value);
    }
    world.finish()
}

pub(super) fn one_to_many(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let from = world.user(0);
    for index in 0..knobs.transactions {
        let to = World::address("newcomer", index);
        let value = amount(&mut world);
        world.pay(from, to, value);
    }
    world.finish()
}

pub(super) fn same_sender(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let from = world.user(0);
    let others: Vec<_> =
        (1..=knobs.accounts.max(1)).map(|index| world.account("recipient", index, U256::ONE)).collect();
    for _ in 0..knobs.transactions {
        let to = others[world.rng.random_range(0..others.len())];
        let value = amount(&mut world);
        world.pay(from, to, value);
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
