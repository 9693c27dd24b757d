//! A block as a busy DeFi chain has it: a bit of everything, with hot spots.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{Knobs, Skew, Workload, swaps::Market, world::World};
use crate::contracts::{pool, token};

pub(super) fn defi(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let users = world.users(knobs.accounts.max(1));
    let market = Market::lay_out(&mut world, users, [knobs.tokens, knobs.pools], &[], |_, _| true);
    // An exchange's deposit account: the hot recipient of transfers and payments.
    let exchange = world.account("exchange", 0, U256::from(10).pow(U256::from(21)));
    let pools = Skew::new(market.pools.len(), knobs.hot, knobs.skew);
    let tokens = Skew::new(market.tokens.len(), knobs.hot, knobs.skew);
    let users = market.users.len();

    while world.len() < knobs.transactions {
        let user = world.rng.random_range(0..users);
        let to = match world.rng.random_bool(knobs.hot.clamp(0.0, 1.0) / 2.0) {
            true => exchange,
            false => market.users[world.rng.random_range(0..users)],
        };
        match world.rng.random_range(0..100) {
            0..25 => {
                let value = U256::from(world.rng.random_range(1..1_000_000_000_000_u64));
                world.transfer(market.users[user], to, value);
            }
            25..58 => {
                let token = tokens.pick(&mut world.rng);
                market.pay(&mut world, market.users[user], to, token);
            }
            58..63 => {
                let token = market.tokens[tokens.pick(&mut world.rng)];
                let spender = World::address("spender", world.rng.random_range(0..20));
                let value = U256::from(world.rng.random::<u64>());
                let data = token::approve(spender, value);
                world.send(market.users[user], token, U256::ZERO, data, token::GAS_LIMIT);
            }
            63..66 => mint(&mut world, &market, to, &tokens),
            66..95 => {
                let pool = pools.pick(&mut world.rng);
                market.swap(&mut world, market.users[user], pool);
            }
            95..98 => {
                let (pool, _) = market.pools[pools.pick(&mut world.rng)];
                let most = U256::from(10).pow(U256::from(18));
                let user = market.users[user];
                world.send(user, pool, U256::ZERO, pool::deposit(most, most, user), pool::GAS_LIMIT);
            }
            _ => {
                // Only the first user has shares to begin with.
                let (pool, _) = market.pools[pools.pick(&mut world.rng)];
                let shares = U256::from(world.rng.random_range(1_000_000..1_000_000_000_u64));
                let data = pool::withdraw(shares, to);
                world.send(market.users[0], pool, U256::ZERO, data, pool::GAS_LIMIT);
            }
        }
    }
    world.finish()
}

fn mint(world: &mut World, market: &Market, to: Address, tokens: &Skew) {
    let token = market.tokens[tokens.pick(&mut world.rng)];
    let value = U256::from(world.rng.random_range(1..1_000_000_000_u64));
    world.send(market.users[0], token, U256::ZERO, token::mint(to, value), token::GAS_LIMIT);
}
