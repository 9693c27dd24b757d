//! Blocks of token transfers.

use alloy_primitives::{Address, Bytes, U256};
use rand::Rng;

use super::{
    Knobs, Workload,
    world::{World, ether},
};
use crate::contracts::token::{self, Token};

/// What nobody has.
const TOO_MUCH: U256 = U256::MAX;

/// A token that all of these hold plenty of.
fn held_by(world: &mut World, holders: impl IntoIterator<Item = Address>) -> Address {
    let balances = holders.into_iter().map(|holder| (holder, ether(1_000_000))).collect();
    world.token(0, Token { balances, ..Token::default() })
}

/// A payment of a little, or for the reverting share of too much.
fn pay(world: &mut World, token: Address, from: Address, to: Address) {
    let value = U256::from(world.rng.random_range(1..1_000_000_000_u64));
    let (good, bad) = (token::transfer(to, value), token::transfer(to, TOO_MUCH));
    world.call(from, token, good, bad, token::GAS_LIMIT);
}

/// Everybody pays a holder of their own; the hot share pays one holder instead.
fn payments(knobs: &Knobs, hot: f64) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let recipients: Vec<_> = (0..=senders.len()).map(|index| World::address("recipient", index)).collect();
    let token = held_by(&mut world, senders.iter().chain(&recipients).copied());
    for (index, from) in senders.into_iter().enumerate() {
        let to = if hot > 0.0 && world.rng.random_bool(hot) { recipients[0] } else { recipients[index + 1] };
        pay(&mut world, token, from, to);
    }
    world.finish()
}

pub(super) fn independent(knobs: &Knobs) -> Workload {
    payments(knobs, 0.0)
}

pub(super) fn hot_recipient(knobs: &Knobs) -> Workload {
    payments(knobs, knobs.hot.clamp(0.0, 1.0))
}

pub(super) fn one_to_many(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let from = world.user(0);
    let recipients: Vec<_> = (0..knobs.transactions).map(|i| World::address("recipient", i)).collect();
    let token = held_by(&mut world, recipients.iter().copied().chain([from]));
    for to in recipients {
        pay(&mut world, token, from, to);
    }
    world.finish()
}

/// Nobody in a chain but the first has a token of their own, and each passes on all that came.
pub(super) fn chained(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let length = if knobs.chain == 0 { knobs.transactions.max(1) } else { knobs.chain };
    let value = U256::from(world.rng.random_range(1_000_000..1_000_000_000_u64));
    let users = world.users(knobs.transactions + knobs.transactions.div_ceil(length) + 1);
    // A chain of n transfers has n + 1 holders.
    let balances = users.iter().step_by(length + 1).map(|first| (*first, value)).collect();
    let token = world.token(0, Token { balances, ..Token::default() });
    let mut holder = 0;
    while world.len() < knobs.transactions {
        if world.reverts() {
            // Of somebody outside: it asks for a balance of the chain's own contract, and the chain goes on.
            let outsider = world.account("outsider", world.len(), ether(1));
            let bad: Bytes = token::transfer(users[holder], TOO_MUCH);
            world.send(outsider, token, U256::ZERO, bad, token::GAS_LIMIT);
            continue;
        }
        let (from, to) = (users[holder], users[holder + 1]);
        world.send(from, token, U256::ZERO, token::transfer(to, value), token::GAS_LIMIT);
        // The last holder of a chain keeps what it got.
        holder += if (holder + 2) % (length + 1) == 0 { 2 } else { 1 };
    }
    world.finish()
}
