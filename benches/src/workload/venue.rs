//! Blocks whose transactions all go to one kind of contract.

use alloy_primitives::{Address, U256};

use super::{
    Knobs, Workload,
    world::{World, ether},
};
use crate::contracts::token::Token;

/// Contracts that users call.
pub(super) trait Venue {
    /// Adds one transaction, by this user unless the venue needs somebody else's.
    fn act(&mut self, world: &mut World, from: Address);
}

/// A block of calls of one venue: `open` gets the users and lays it out.
pub(super) fn run<V: Venue>(knobs: &Knobs, open: impl FnOnce(&mut World, &[Address]) -> V) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let mut users = senders.clone();
    users.dedup();
    let mut venue = open(&mut world, &users);
    for from in senders {
        venue.act(&mut world, from);
    }
    world.finish()
}

/// The account that funds what venues need before the block.
pub(super) fn treasury(world: &mut World) -> Address {
    let address = World::address("treasury", 0);
    match world.source.get(&address) {
        Some(_) => address,
        None => world.account("treasury", 0, ether(1_000_000)),
    }
}

/// What the treasury holds of every token.
pub(super) fn plenty() -> U256 {
    U256::from(10).pow(U256::from(33))
}

/// Adds tokens that all users and the treasury hold, and that all spenders may spend.
pub(super) fn tokens(
    world: &mut World,
    count: usize,
    users: &[Address],
    spenders: &[Address],
) -> Vec<Address> {
    let treasury = treasury(world);
    let holders: Vec<Address> = users.iter().copied().chain([treasury]).collect();
    let token = Token {
        balances: users.iter().map(|user| (*user, ether(1_000_000))).chain([(treasury, plenty())]).collect(),
        allowances: holders
            .iter()
            .flat_map(|holder| spenders.iter().map(|spender| (*holder, *spender, U256::MAX)))
            .collect(),
        ..Token::default()
    };
    (0..count).map(|index| world.token(index, token.clone())).collect()
}
