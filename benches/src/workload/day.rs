//! A day of a busy chain: what the other mixes do one by one, weighted like a main network's blocks.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    exchanges::{Book, Concentrated, Routes, Stable},
    farm::Farm,
    lending::Lending,
    nfts::Sale,
    payouts::{Airdrop, Multisend},
    records::{Bridge, Goods, Votes},
    swaps::Market,
    venue::{Venue, treasury},
    world::{World, ether},
};
use crate::contracts::token;

/// What each kind of transaction weighs, in thousandths. Routes, swaps and payments make up most of what contracts do.
const TRANSFER: u32 = 250;
const PAYMENT: u32 = 270;
const APPROVAL: u32 = 50;
const SWAP: u32 = 130;
/// Claims of the airdrop.
const CLAIM: u32 = 20;
const ROUTE: u32 = 70;
const CONCENTRATED: u32 = 60;
const STABLE: u32 = 20;
const BOOK: u32 = 10;
const LENDING: u32 = 35;
const FARM: u32 = 25;
const DROP: u32 = 25;
const MULTISEND: u32 = 10;
const BRIDGE: u32 = 10;
const VOTES: u32 = 5;
const GOODS: u32 = 10;

/// The markets of the lending protocol, and pools of each other kind of exchange.
const MARKETS: usize = 3;
const OTHER_POOLS: usize = 2;

pub(super) fn day(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let users = world.users(knobs.accounts.max(1));
    let mut spenders: Vec<Address> =
        [Routes::SPENDER, Book::SPENDER, Farm::SPENDER, Votes::SPENDER, Multisend::SPENDER]
            .map(|kind| World::address(kind, 0))
            .to_vec();
    spenders.extend(Concentrated::spenders(OTHER_POOLS));
    spenders.extend(Stable::spenders(OTHER_POOLS));
    spenders.extend(Lending::spenders(MARKETS));
    let treasury = treasury(&mut world);
    let holders = users.iter().copied().chain([treasury]).collect();
    let counts = [knobs.tokens.max(MARKETS + 1), knobs.pools];
    let market = Market::lay_out(&mut world, holders, counts, &spenders, |user, _| user != treasury);
    let tokens = market.tokens.clone();
    let pair = [tokens[0], tokens[1]];

    let claimants: Vec<_> = (0..knobs.transactions).map(|index| World::address("claimant", index)).collect();
    let mut airdrop = Airdrop::open(&mut world, &claimants, tokens[2]);
    let mut venues: Vec<(u32, Box<dyn Venue>)> = vec![
        (CONCENTRATED, Box::new(Concentrated::open(&mut world, OTHER_POOLS, pair))),
        (STABLE, Box::new(Stable::open(&mut world, OTHER_POOLS, pair))),
        (BOOK, Box::new(Book::open(&mut world, &users, pair))),
        (LENDING, Box::new(Lending::open(&mut world, &users, &tokens[..=MARKETS]))),
        (FARM, Box::new(Farm::open(&mut world, &users, pair))),
        (DROP, Box::new(Sale::open(&mut world))),
        (MULTISEND, Box::new(Multisend::open(&mut world, tokens[0]))),
        (BRIDGE, Box::new(Bridge::open(&mut world))),
        (VOTES, Box::new(Votes::open(&mut world, &users, tokens[0]))),
        (GOODS, Box::new(Goods::open(&mut world, &users))),
        (ROUTE, Box::new(Routes::open(&mut world, market.clone()))),
    ];
    // An exchange's deposit account: the hot recipient of transfers and payments.
    let exchange = world.account("exchange", 0, ether(1_000));
    let pool_choice = Skew::new(market.pools.len(), knobs.hot, knobs.skew);
    let token_choice = Skew::new(tokens.len(), knobs.hot, knobs.skew);
    let plain = TRANSFER + PAYMENT + APPROVAL + SWAP + CLAIM;
    let total = plain + venues.iter().map(|(weight, _)| weight).sum::<u32>();

    while world.len() < knobs.transactions {
        let user = world.rng.random_range(0..users.len());
        let from = users[user];
        let to = match world.rng.random_bool(knobs.hot.clamp(0.0, 1.0) / 2.0) {
            true => exchange,
            false => users[world.rng.random_range(0..users.len())],
        };
        let mut dice = world.rng.random_range(0..total);
        let mut is = |weight: u32| match dice.checked_sub(weight) {
            Some(rest) => {
                dice = rest;
                false
            }
            None => true,
        };
        if is(TRANSFER) {
            let value = U256::from(world.rng.random_range(1..1_000_000_000_000_u64));
            world.pay(from, to, value);
        } else if is(PAYMENT) {
            let token = token_choice.pick(&mut world.rng);
            market.pay(&mut world, from, to, token);
        } else if is(APPROVAL) {
            let token = tokens[token_choice.pick(&mut world.rng)];
            let spender = World::address("spender", world.rng.random_range(0..20));
            let value = U256::from(world.rng.random::<u64>());
            let (good, bad) = (token::approve(spender, value), token::approve(Address::ZERO, value));
            world.call(from, token, good, bad, token::GAS_LIMIT);
        } else if is(SWAP) {
            let pool = pool_choice.pick(&mut world.rng);
            market.swap(&mut world, from, pool);
        } else if is(CLAIM) {
            airdrop.claim(&mut world, from);
        } else if let Some((_, venue)) = venues.iter_mut().find(|(weight, _)| is(*weight)) {
            venue.act(&mut world, from);
        }
    }
    world.finish()
}
