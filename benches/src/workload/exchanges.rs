//! Exchanges beside the plain pool: routes over several pools, concentrated and stable pools, an order book.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    stage::Call,
    swaps::Market,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call};

/// A router over a ring of pools: pool `i` has tokens `i` and `i + 1`.
#[derive(Debug)]
pub(super) struct Routes {
    router: Address,
    market: Market,
    starts: Skew,
}

impl Routes {
    pub(super) const SPENDER: &str = "router";

    pub(super) fn open(world: &mut World, market: Market) -> Self {
        let treasury = venue::treasury(world);
        let router = world.deploy(Self::SPENDER, 0, contracts::router(), treasury, &[]);
        let starts = Skew::new(market.ring(), world.knobs.hot, world.knobs.skew);
        Self { router, market, starts }
    }
}

impl Venue for Routes {
    fn act(&mut self, world: &mut World, from: Address) {
        let ring = self.market.ring();
        let start = self.starts.pick(&mut world.rng);
        let hops = world.rng.random_range(2..=3).min(ring);
        let pools: Vec<Address> = (0..hops).map(|hop| self.market.pools[(start + hop) % ring].0).collect();
        let amount = U256::from(world.rng.random_range(1..1_000_u64)) * ether(1) / U256::from(1_000);
        let data = |minimum: U256| {
            let token = self.market.tokens[start];
            let arguments: [Argument; 6] = [
                pools.clone().into(),
                token.into(),
                amount.into(),
                minimum.into(),
                from.into(),
                u64::MAX.into(),
            ];
            call("swapAlong(address[],address,uint256,uint256,address,uint256)", &arguments)
        };
        world.call(from, self.router, data(U256::ONE), data(U256::MAX), 900_000);
    }
}

pub(super) fn multi_hop(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let router = World::address(Routes::SPENDER, 0);
        let tokens = world.knobs.tokens.max(3);
        let market = Market::lay_out(world, users.to_vec(), [tokens, tokens], &[router], |_, _| false);
        Routes::open(world, market)
    })
}

/// Pools with liquidity between prices.
#[derive(Debug)]
pub(super) struct Concentrated {
    pools: Vec<Address>,
    choice: Skew,
    providers: Vec<Address>,
}

impl Concentrated {
    /// Places around the middle that have liquidity of their own.
    const AROUND: i64 = 20;
    const PROVIDERS: usize = 16;

    pub(super) fn spenders(pools: usize) -> Vec<Address> {
        (0..pools).map(|index| World::address("concentrated", index)).collect()
    }

    /// The tokens are approved, those of the providers not yet.
    pub(super) fn open(world: &mut World, pools: usize, tokens: [Address; 2]) -> Self {
        let treasury = venue::treasury(world);
        let providers: Vec<_> =
            (0..Self::PROVIDERS).map(|index| world.account("provider", index, ether(1_000))).collect();
        let arguments: [Argument; _] = [tokens[0].into(), tokens[1].into(), 0_u64.into()];
        let pools: Vec<_> = (0..pools)
            .map(|index| {
                world.deploy("concentrated", index, contracts::concentrated_pool(), treasury, &arguments)
            })
            .collect();
        let mut calls = Vec::new();
        for provider in &providers {
            for token in tokens {
                let data = contracts::token::transfer(*provider, ether(1_000_000_000));
                calls.push(Call { from: treasury, to: token, data });
                for pool in &pools {
                    let data = contracts::token::approve(*pool, U256::MAX);
                    calls.push(Call { from: *provider, to: token, data });
                }
            }
        }
        for pool in &pools {
            let mut mint = |from, lower, upper, amount| {
                calls.push(Call { from, to: *pool, data: Self::range("mint", lower, upper, amount) });
            };
            mint(treasury, -400, 400, ether(1_000_000));
            for place in -Self::AROUND..Self::AROUND {
                mint(treasury, place, place + 3, ether(100_000));
            }
            for provider in &providers {
                mint(*provider, -30, 30, ether(10_000));
            }
        }
        world.set_up(calls);
        let choice = Skew::new(pools.len(), world.knobs.hot, world.knobs.skew);
        Self { pools, choice, providers }
    }

    fn range(function: &str, lower: i64, upper: i64, amount: U256) -> alloy_primitives::Bytes {
        let place = |place: i64| {
            let size = U256::from(place.unsigned_abs());
            if place < 0 { size.wrapping_neg() } else { size }
        };
        let arguments: [Argument; _] = [place(lower).into(), place(upper).into(), amount.into()];
        call(&format!("{function}(int24,int24,uint128)"), &arguments)
    }
}

impl Venue for Concentrated {
    fn act(&mut self, world: &mut World, from: Address) {
        let pool = self.pools[self.choice.pick(&mut world.rng)];
        let lower = world.rng.random_range(-Self::AROUND..Self::AROUND);
        let upper = lower + world.rng.random_range(1..12);
        match world.rng.random_range(0..100) {
            0..6 => {
                let data = |amount| Self::range("mint", lower, upper, amount);
                world.call(from, pool, data(ether(10)), data(U256::ZERO), 800_000);
            }
            6..10 => {
                let provider = self.providers[world.rng.random_range(0..self.providers.len())];
                let data = |amount| Self::range("burn", -30, 30, amount);
                world.call(provider, pool, data(U256::from(1_000_000)), data(ether(1_000_000)), 600_000);
            }
            _ => {
                let first = u64::from(world.rng.random_bool(0.5));
                let amount =
                    U256::from(world.rng.random_range(1_000..400_000_u64)) * ether(1) / U256::from(1_000);
                let data = |minimum: U256| {
                    let arguments: [Argument; _] = [first.into(), amount.into(), minimum.into(), from.into()];
                    call("swap(bool,uint256,uint256,address)", &arguments)
                };
                world.call(from, pool, data(U256::ONE), data(U256::MAX), 900_000);
            }
        }
    }
}

pub(super) fn concentrated(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let pools = world.knobs.pools.max(1);
        let tokens = venue::tokens(world, 2, users, &Concentrated::spenders(pools));
        Concentrated::open(world, pools, [tokens[0], tokens[1]])
    })
}

/// Pools of tokens that should have the same price.
#[derive(Debug)]
pub(super) struct Stable {
    pools: Vec<Address>,
    choice: Skew,
}

impl Stable {
    pub(super) fn spenders(pools: usize) -> Vec<Address> {
        (0..pools).map(|index| World::address("stable", index)).collect()
    }

    pub(super) fn open(world: &mut World, pools: usize, tokens: [Address; 2]) -> Self {
        let treasury = venue::treasury(world);
        let arguments = tokens.map(Argument::from);
        let pools: Vec<_> = (0..pools)
            .map(|index| world.deploy("stable", index, contracts::stable_pool(), treasury, &arguments))
            .collect();
        let amounts = [ether(50_000_000).into(), ether(60_000_000).into()];
        let data = call("add(uint256[2])", &amounts);
        world.set_up(pools.iter().map(|pool| Call { from: treasury, to: *pool, data: data.clone() }));
        let choice = Skew::new(pools.len(), world.knobs.hot, world.knobs.skew);
        Self { pools, choice }
    }
}

impl Venue for Stable {
    fn act(&mut self, world: &mut World, from: Address) {
        let pool = self.pools[self.choice.pick(&mut world.rng)];
        let mut amount = || U256::from(world.rng.random_range(1..100_000_u64)) * ether(1) / U256::from(1_000);
        let amounts = [amount(), amount()];
        if world.rng.random_bool(0.1) {
            let data = |amounts: [U256; 2]| call("add(uint256[2])", &amounts.map(Argument::from));
            return world.call(from, pool, data(amounts), data([ether(1_000_000_000); 2]), 500_000);
        }
        let first = world.rng.random_range(0..2_u64);
        let data = |minimum: U256| {
            call("swap(uint256,uint256,uint256)", &[first.into(), amounts[0].into(), minimum.into()])
        };
        world.call(from, pool, data(U256::ONE), data(U256::MAX), 500_000);
    }
}

pub(super) fn stable(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let pools = world.knobs.pools.max(1);
        let tokens = venue::tokens(world, 2, users, &Stable::spenders(pools));
        Stable::open(world, pools, [tokens[0], tokens[1]])
    })
}

/// An exchange with an order book.
#[derive(Debug)]
pub(super) struct Book {
    book: Address,
    /// Orders far from the price that wait to be taken back, with their owner.
    waiting: Vec<u64>,
    maker: Address,
}

impl Book {
    pub(super) const SPENDER: &str = "book";
    const MIDDLE: u64 = 10_000;
    const WAITING: u64 = 200;

    pub(super) fn open(world: &mut World, users: &[Address], tokens: [Address; 2]) -> Self {
        let treasury = venue::treasury(world);
        let arguments = tokens.map(Argument::from);
        let book = world.deploy(Self::SPENDER, 0, contracts::order_book(), treasury, &arguments);
        let deposit = |from, base: U256, quote: U256| {
            let data = call("deposit(uint256,uint256)", &[base.into(), quote.into()]);
            Call { from, to: book, data }
        };
        let million = U256::from(1_000_000);
        let mut calls: Vec<_> =
            users.iter().map(|user| deposit(*user, million, million * U256::from(Self::MIDDLE))).collect();
        calls.push(deposit(treasury, U256::from(u64::MAX), U256::from(u128::MAX >> 20)));
        // Something to trade with on both sides, and orders that nobody will reach.
        for step in 1..=30 {
            for (buys, price) in [(true, Self::MIDDLE - step), (false, Self::MIDDLE + step)] {
                calls.push(Call { from: treasury, to: book, data: Self::place(buys, price, 1_000) });
            }
        }
        for step in 0..Self::WAITING {
            calls.push(Call { from: treasury, to: book, data: Self::place(true, 1_000 + step % 50, 10) });
        }
        let ids = 61..61 + Self::WAITING;
        world.set_up(calls);
        Self { book, waiting: ids.rev().collect(), maker: treasury }
    }

    fn place(buys: bool, price: u64, amount: u64) -> alloy_primitives::Bytes {
        let arguments: [Argument; _] = [u64::from(buys).into(), price.into(), amount.into()];
        call("place(bool,uint64,uint256)", &arguments)
    }
}

impl Venue for Book {
    fn act(&mut self, world: &mut World, from: Address) {
        if world.rng.random_bool(0.05)
            && let Some(id) = self.waiting.pop()
        {
            let cancel = |id: u64| call("cancel(uint32)", &[id.into()]);
            return world.call(self.maker, self.book, cancel(id), cancel(u64::from(u32::MAX)), 200_000);
        }
        let buys = world.rng.random_bool(0.5);
        // Around the middle, so that some trade at once and some wait.
        let price = Self::MIDDLE - 20 + world.rng.random_range(0..41);
        let amount = world.rng.random_range(1..20);
        let (good, bad) = (Self::place(buys, price, amount), Self::place(buys, 0, amount));
        world.call(from, self.book, good, bad, 2_000_000);
    }
}

pub(super) fn order_book(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let tokens = venue::tokens(world, 2, users, &[World::address(Book::SPENDER, 0)]);
        Book::open(world, users, [tokens[0], tokens[1]])
    })
}
