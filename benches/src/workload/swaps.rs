//! Blocks of swaps on one pool or on many.

use alloy_primitives::{Address, U256, map::AddressMap};
use rand::Rng;

use super::{
    Knobs, Skew, Workload, venue,
    world::{World, ether},
};
use crate::contracts::{
    pool,
    token::{self, Token},
};

/// Pools, their tokens, and the users that may trade on all of them.
#[derive(Clone, Debug)]
pub(super) struct Market {
    pub(super) users: Vec<Address>,
    pub(super) tokens: Vec<Address>,
    /// Each pool with its two tokens.
    pub(super) pools: Vec<(Address, [Address; 2])>,
}

impl Market {
    /// Lays out the market; `trades(user, pool)` says who has approved which pool. Everybody has approved the brokers,
    /// and they have approved all pools.
    pub(super) fn lay_out(
        world: &mut World,
        users: Vec<Address>,
        [tokens, pools]: [usize; 2],
        brokers: &[Address],
        trades: impl Fn(Address, usize) -> bool,
    ) -> Self {
        let tokens = tokens.max(2);
        let treasury = World::address("treasury", 0);
        let owner = users.first().copied().unwrap_or_default();
        let mut states = vec![Token { owner, ..Token::default() }; tokens];
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
            let (pool, reserves) = world.pool(index, pair, owner);
            for (token, reserve) in [first, second].into_iter().zip(reserves) {
                states[token].balances.push((pool, reserve));
                let approvals = market.users.iter().filter(|user| trades(**user, index));
                states[token].allowances.extend(approvals.map(|user| (*user, pool, U256::MAX)));
                states[token].allowances.extend(brokers.iter().map(|broker| (*broker, pool, U256::MAX)));
            }
            market.pools.push((pool, pair));
        }
        for (index, mut state) in states.into_iter().enumerate() {
            let plenty = |user: &Address| if *user == treasury { venue::plenty() } else { ether(1_000_000) };
            state.balances.extend(market.users.iter().map(|user| (*user, plenty(user))));
            for broker in brokers {
                state.allowances.extend(market.users.iter().map(|user| (*user, *broker, U256::MAX)));
            }
            world.token(index, state);
        }
        market
    }

    /// How many of the pools form a ring: the first, each with the token of its number and the next.
    pub(super) fn ring(&self) -> usize {
        self.tokens.len().min(self.pools.len())
    }

    /// A swap of a small amount, in a random direction, or for the reverting share for more than there is.
    pub(super) fn swap(&self, world: &mut World, user: Address, pool: usize) {
        let (pool, pair) = self.pools[pool];
        let token_in = pair[world.rng.random_range(0..2)];
        let amount = U256::from(world.rng.random_range(1..1_000_u64)) * U256::from(10).pow(U256::from(15));
        let least = |least| pool::swap(token_in, amount, least, user);
        world.call(user, pool, least(U256::ONE), least(U256::MAX), pool::GAS_LIMIT);
    }

    /// A payment in a token, or for the reverting share of more than there is.
    pub(super) fn pay(&self, world: &mut World, from: Address, to: Address, token: usize) {
        let value = U256::from(world.rng.random_range(1..1_000_000_000_u64));
        let (good, bad) = (token::transfer(to, value), token::transfer(to, U256::MAX));
        world.call(from, self.tokens[token], good, bad, token::GAS_LIMIT);
    }
}

/// Every transaction swaps on the pool that is chosen for it.
fn swaps(mut world: World, [tokens, pools]: [usize; 2], choices: Vec<usize>) -> Workload {
    let senders = world.senders();
    let choice: AddressMap<Vec<usize>> =
        senders.iter().zip(&choices).fold(AddressMap::default(), |mut choice, (sender, pool)| {
            choice.entry(*sender).or_insert_with(Vec::new).push(*pool);
            choice
        });
    let mut users = senders.clone();
    users.dedup();
    let market =
        Market::lay_out(&mut world, users, [tokens, pools], &[], |user, pool| choice[&user].contains(&pool));
    for (user, pool) in senders.into_iter().zip(choices) {
        market.swap(&mut world, user, pool);
    }
    world.finish()
}

pub(super) fn one_pool(knobs: &Knobs) -> Workload {
    swaps(World::new(knobs), [2, 1], vec![0; knobs.transactions])
}

pub(super) fn many_pools(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let skew = Skew::new(knobs.pools.max(1), knobs.hot, knobs.skew);
    let choices = (0..knobs.transactions).map(|_| skew.pick(&mut world.rng)).collect();
    swaps(world, [knobs.tokens, knobs.pools], choices)
}

/// Every sender has a pool and two tokens of their own.
pub(super) fn independent(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let mut market = Market { users: Vec::new(), tokens: Vec::new(), pools: Vec::new() };
    let mut last = None;
    for from in senders {
        if last != Some(from) {
            let index = market.pools.len();
            let tokens = [2 * index, 2 * index + 1];
            let pair = tokens.map(|token| World::address("token", token));
            let (pool, reserves) = world.pool(index, pair, from);
            for (token, reserve) in tokens.into_iter().zip(reserves) {
                let balances = vec![(pool, reserve), (from, ether(1_000_000))];
                let allowances = vec![(from, pool, U256::MAX)];
                world.token(token, Token { owner: from, balances, allowances, ..Token::default() });
            }
            market.pools.push((pool, pair));
            last = Some(from);
        }
        market.swap(&mut world, from, market.pools.len() - 1);
    }
    world.finish()
}
