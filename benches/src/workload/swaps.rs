//! Blocks of swaps on one pool or on many.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{Knobs, Skew, Workload, world::World};
use crate::contracts::{
    pool,
    token::{self, Token},
};

/// Pools, their tokens, and the users that may trade on all of them.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) users: Vec<Address>,
    pub(super) tokens: Vec<Address>,
    /// Each pool with its two tokens.
    pub(super) pools: Vec<(Address, [Address; 2])>,
}

impl Market {
    /// Lays out the market; `trades(user, pool)` says who has approved which pool.
    pub(super) fn new(
        world: &mut World,
        [users, tokens, pools]: [usize; 3],
        trades: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let (users, tokens) = (users.max(1), tokens.max(2));
        let users: Vec<Address> = (0..users).map(|index| world.user(index)).collect();
        let mut states = vec![Token { owner: users[0], ..Token::default() }; tokens];
        let mut market = Self {
            tokens: (0..tokens).map(|index| World::address("token", index)).collect(),
            pools: Vec::new(),
            users,
        };
        for index in 0..pools.max(1) {
            // Neighbours first, then further apart, so that few pools share a pair.
            let first = index % tokens;
            let second = (first + 1 + index / tokens % (tokens - 1)) % tokens;
            let pair = [market.tokens[first], market.tokens[second]];
            let (pool, reserves) = world.pool(index, pair, market.users[0]);
            for (token, reserve) in [first, second].into_iter().zip(reserves) {
                states[token].balances.push((pool, reserve));
                let approvals = market.users.iter().enumerate().filter(|(user, _)| trades(*user, index));
                states[token].allowances.extend(approvals.map(|(_, user)| (*user, pool, U256::MAX)));
            }
            market.pools.push((pool, pair));
        }
        let balance = U256::from(10).pow(U256::from(24));
        for (index, mut state) in states.into_iter().enumerate() {
            state.balances.extend(market.users.iter().map(|user| (*user, balance)));
            world.token(index, state);
        }
        market
    }

    /// A swap of a small amount, in a random direction.
    pub(super) fn swap(&self, world: &mut World, user: usize, pool: usize) {
        let (pool, pair) = self.pools[pool];
        let token_in = pair[world.rng.random_range(0..2)];
        let amount = U256::from(world.rng.random_range(1..1_000_u64)) * U256::from(10).pow(U256::from(15));
        let user = self.users[user];
        world.send(user, pool, U256::ZERO, pool::swap(token_in, amount, U256::ONE, user), pool::GAS_LIMIT);
    }

    /// A payment in a token.
    pub(super) fn pay(&self, world: &mut World, user: usize, to: Address, token: usize) {
        let value = U256::from(world.rng.random_range(1..1_000_000_000_u64));
        let data = token::transfer(to, value);
        world.send(self.users[user], self.tokens[token], U256::ZERO, data, token::GAS_LIMIT);
    }
}

pub(super) fn one_pool(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let market = Market::new(&mut world, [knobs.transactions, 2, 1], |_, _| true);
    for user in 0..knobs.transactions {
        market.swap(&mut world, user, 0);
    }
    world.finish()
}

pub(super) fn many_pools(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let skew = Skew::new(knobs.pools.max(1), knobs.hot, knobs.skew);
    let choices: Vec<usize> = (0..knobs.transactions).map(|_| skew.pick(&mut world.rng)).collect();
    let counts = [knobs.transactions, knobs.tokens, knobs.pools];
    let market = Market::new(&mut world, counts, |user, pool| choices.get(user) == Some(&pool));
    for (user, pool) in choices.into_iter().enumerate() {
        market.swap(&mut world, user, pool);
    }
    world.finish()
}
