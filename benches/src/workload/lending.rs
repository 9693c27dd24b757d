//! Lending over an oracle: everyday use of several markets, and a cascade of liquidations.

use std::collections::HashMap;

use alloy_primitives::{Address, Bytes, U256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    stage::Call,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call, pool};

/// Gas that suffices for a market's functions.
const GAS_LIMIT: u64 = 500_000;

/// A call of a market's function that takes an amount.
fn of_amount(function: &str, amount: U256) -> Bytes {
    call(&format!("{function}(uint256)"), &[amount.into()])
}

/// Markets that lend one token, each against a collateral of its own, with one oracle for all.
#[derive(Debug)]
pub(super) struct Lending {
    oracle: Address,
    feeder: Address,
    /// With their collateral.
    markets: Vec<(Address, Address)>,
    market_of: HashMap<Address, usize>,
    prices: Vec<U256>,
}

impl Lending {
    pub(super) fn spenders(markets: usize) -> Vec<Address> {
        (0..markets).map(|index| World::address("lending", index)).collect()
    }

    /// `tokens`: what is lent, and then the collaterals. Everybody has some of both in the market and owes a little.
    pub(super) fn open(world: &mut World, users: &[Address], tokens: &[Address]) -> Self {
        let treasury = venue::treasury(world);
        let feeder = world.account("feeder", 0, ether(1_000));
        let oracle = world.deploy("oracle", 0, contracts::oracle(), treasury, &[feeder.into()]);
        let (asset, collaterals) = tokens.split_first().expect("something is lent");
        let mut calls = Vec::new();
        let mut markets = Vec::new();
        for (index, collateral) in collaterals.iter().enumerate() {
            let arguments: [Argument; _] = [*asset, *collateral, oracle].map(Argument::from);
            let artifact = contracts::lending_market();
            let market = world.deploy("lending", index, artifact, treasury, &arguments);
            calls.push(Self::post(feeder, oracle, *collateral, ether(2)));
            calls.push(Call { from: treasury, to: market, data: of_amount("supply", ether(1_000_000_000)) });
            markets.push((market, *collateral));
        }
        let choice = Skew::new(markets.len(), world.knobs.hot, world.knobs.skew);
        let mut market_of = HashMap::new();
        for user in users {
            let market = choice.pick(&mut world.rng);
            market_of.insert(*user, market);
            for (function, amount) in [("depositCollateral", 1_000), ("borrow", 100), ("supply", 100)] {
                let data = of_amount(function, ether(amount));
                calls.push(Call { from: *user, to: markets[market].0, data });
            }
        }
        world.set_up(calls);
        let prices = vec![ether(2); markets.len()];
        Self { oracle, feeder, markets, market_of, prices }
    }

    fn post(feeder: Address, oracle: Address, asset: Address, price: U256) -> Call {
        let data = call("post(address,uint128)", &[asset.into(), price.into()]);
        Call { from: feeder, to: oracle, data }
    }
}

impl Venue for Lending {
    fn act(&mut self, world: &mut World, from: Address) {
        if world.rng.random_bool(0.02) {
            let index = world.rng.random_range(0..self.markets.len());
            // Up and down, never so far that anybody owes too much.
            let percent = world.rng.random_range(99..=101_u64);
            let price = self.prices[index] * U256::from(percent) / U256::from(100);
            self.prices[index] = price.clamp(ether(1), ether(3));
            let Call { from, to, data } =
                Self::post(self.feeder, self.oracle, self.markets[index].1, self.prices[index]);
            let bad = call("post(address,uint128)", &[]);
            return world.call(from, to, data, bad, 150_000);
        }
        let function = match world.rng.random_range(0..100) {
            0..30 => "borrow",
            30..60 => "repay",
            60..75 => "depositCollateral",
            75..85 => "withdrawCollateral",
            85..95 => "supply",
            _ => "withdraw",
        };
        let amount = U256::from(world.rng.random_range(1..1_000_u64)) * ether(1) / U256::from(1_000);
        let market = self.markets[self.market_of[&from]].0;
        // Nobody has so much, of anything.
        let (good, bad) = (of_amount(function, amount), of_amount(function, U256::MAX >> 100));
        world.call(from, market, good, bad, GAS_LIMIT);
    }
}

pub(super) fn one_oracle(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let markets = world.knobs.pools.max(1);
        let tokens = venue::tokens(world, markets + 1, users, &Lending::spenders(markets));
        Lending::open(world, users, &tokens)
    })
}

/// A constant-product pool as its contract computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserves(pub(super) [U256; 2]);

impl Reserves {
    /// What a swap of token `from` gives.
    pub(super) fn quote(&self, from: usize, amount: U256) -> U256 {
        let after_fee = amount * U256::from(997);
        after_fee * self.0[1 - from] / (self.0[from] * U256::from(1_000) + after_fee)
    }

    /// The swap itself.
    pub(super) fn swap(&mut self, from: usize, amount: U256) -> U256 {
        let out = self.quote(from, amount);
        self.0[from] += amount;
        self.0[1 - from] -= out;
        out
    }

    /// The price of the first token in the second, as the oracle has it.
    fn price(&self) -> U256 {
        self.0[1] * ether(1) / self.0[0]
    }
}

/// Somebody sells a lot of the collateral on the pool that the oracle follows. Every borrower owes so much that the sale
/// before makes them liquidatable; each liquidator sells what they seized, which is the sale before the next.
pub(super) fn cascade(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    // No interest: the debts are measured out.
    world.elapsed = 0;
    // Two transactions for each liquidation, after the first sale.
    let borrowers = world.users(knobs.transactions / 2 + 1);
    let liquidators: Vec<Address> =
        (0..borrowers.len()).map(|index| world.account("liquidator", index, ether(1_000))).collect();
    let users: Vec<Address> = borrowers.iter().chain(&liquidators).copied().collect();
    let [market, pool] = [World::address("lending", 0), World::address("pool", 0)];
    let tokens = venue::tokens(&mut world, 2, &users, &[market, pool]);
    let (collateral, asset) = (tokens[0], tokens[1]);
    let treasury = venue::treasury(&mut world);

    let size = ether(1_000_000);
    let mut reserves = Reserves([size; 2]);
    world.pool_with(pool, [collateral, asset], [size.to(); 2], treasury);
    // The pool counts what it holds.
    let give = |token| Call { from: treasury, to: token, data: contracts::token::transfer(pool, size) };
    let oracle = world.deploy("oracle", 0, contracts::oracle(), treasury, &[treasury.into()]);
    let arguments: [Argument; _] = [asset, collateral, oracle].map(Argument::from);
    world.deploy("lending", 0, contracts::lending_market(), treasury, &arguments);
    let follow = call("follow(address,address)", &[collateral.into(), pool.into()]);
    let supply = of_amount("supply", ether(1_000_000_000));
    let mut calls = vec![
        give(collateral),
        give(asset),
        Call { from: treasury, to: oracle, data: follow },
        Call { from: treasury, to: market, data: supply },
    ];

    // All sales together move the price by a third or so.
    let repaid = size / U256::from(8 * borrowers.len());
    let held = repaid * U256::from(5);
    let first_sale = size / U256::from(16);
    reserves.swap(0, first_sale);
    let mut seizures = Vec::new();
    let mut before = reserves.price() * U256::from(102) / U256::from(100);
    for borrower in &borrowers {
        let price = reserves.price();
        // Sound at the price before, and not at this one.
        let owed = held * ((before + price) / U256::from(2)) / ether(1) * U256::from(80) / U256::from(100);
        calls.push(Call { from: *borrower, to: market, data: of_amount("depositCollateral", held) });
        calls.push(Call { from: *borrower, to: market, data: of_amount("borrow", owed) });
        let seized = repaid * U256::from(108) / U256::from(100) * ether(1) / price;
        seizures.push(seized);
        reserves.swap(0, seized);
        before = price;
    }
    world.set_up(calls);

    let sell = |from, amount| pool::swap(collateral, amount, U256::ONE, from);
    if knobs.transactions > 0 {
        world.send(treasury, pool, U256::ZERO, sell(treasury, first_sale), pool::GAS_LIMIT);
    }
    let mut next = (0, false);
    while world.len() < knobs.transactions {
        let ((index, sells), liquidate) = (next, |account: Address, amount: U256| {
            call("liquidate(address,uint256)", &[account.into(), amount.into()])
        });
        let from = liquidators[index];
        if world.reverts() {
            // Somebody else who comes too early: to whom nothing has happened yet.
            let sound = borrowers[borrowers.len() - 1];
            let hasty = world.account("hasty", world.len(), ether(1_000));
            let data = liquidate(sound, U256::MAX >> 100);
            world.send(hasty, market, U256::ZERO, data, GAS_LIMIT);
        } else if sells {
            world.send(from, pool, U256::ZERO, sell(from, seizures[index]), pool::GAS_LIMIT);
            next = (index + 1, false);
        } else {
            world.send(from, market, U256::ZERO, liquidate(borrowers[index], repaid), GAS_LIMIT);
            next = (index, true);
        }
    }
    world.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential;

    #[test]
    fn nobody_is_liquidated_before_the_sale_before() {
        let knobs = Knobs { transactions: 41, ..Knobs::default() };
        let mut workload = cascade(&knobs);
        // The liquidations alone, without the sales between them.
        let sold = |index: usize| index.is_multiple_of(2);
        let kept = workload.transactions.iter().enumerate().filter(|(index, _)| *index == 0 || !sold(*index));
        workload.transactions = kept.map(|(_, transaction)| transaction.clone()).collect();
        let results = sequential::execute(&workload).results;
        let succeeded: Vec<bool> =
            results.iter().map(|result| result.as_ref().is_ok_and(|result| result.is_success())).collect();
        assert_eq!(succeeded.len(), 21);
        assert!(succeeded[0] && succeeded[1], "the first sale, and the first liquidation");
        assert!(succeeded[2..].iter().all(|succeeded| !succeeded), "{succeeded:?}");
    }
}
