//! Blocks of token transfers.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{Knobs, Workload, world::World};
use crate::contracts::token::{self, Token};

/// Every odd user gets a payment from the even one before it; the hot share pays user 1 instead.
fn payments(knobs: &Knobs, hot: f64) -> Workload {
    let mut world = World::new(knobs);
    let users: Vec<Address> = (0..2 * knobs.transactions).map(|index| world.user(index)).collect();
    let balance = U256::from(10).pow(U256::from(24));
    let balances = users.iter().map(|user| (*user, balance)).collect();
    let token = world.token(0, Token { balances, ..Token::default() });
    for pair in users.chunks_exact(2) {
        let to = if world.rng.random_bool(hot) { users[1] } else { pair[1] };
        let value = U256::from(world.rng.random_range(1..1_000_000_000_u64));
        world.send(pair[0], token, U256::ZERO, token::transfer(to, value), token::GAS_LIMIT);
    }
    world.finish()
}

pub(super) fn independent(knobs: &Knobs) -> Workload {
    payments(knobs, 0.0)
}

pub(super) fn hot_recipient(knobs: &Knobs) -> Workload {
    payments(knobs, knobs.hot.clamp(0.0, 1.0))
}
