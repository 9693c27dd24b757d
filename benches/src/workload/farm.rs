//! A yield farm: stakes in several pools, each with an index of what a unit has earned.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    stage::Call,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call};

/// A yield farm with several pools of stakes.
#[derive(Debug)]
pub(super) struct Farm {
    farm: Address,
    pool_of: HashMap<Address, u64>,
}

impl Farm {
    pub(super) const SPENDER: &str = "farm";

    /// Everybody has staked some of the first token before; rewards are paid in the second.
    pub(super) fn open(world: &mut World, users: &[Address], [staked, reward]: [Address; 2]) -> Self {
        let treasury = venue::treasury(world);
        let arguments: [Argument; _] = [reward.into(), ether(1).into()];
        let farm = world.deploy(Self::SPENDER, 0, contracts::farm(), treasury, &arguments);
        let fund = contracts::token::transfer(farm, ether(1_000_000_000));
        let mut calls = vec![Call { from: treasury, to: reward, data: fund }];
        let pools = world.knobs.pools.max(1);
        for weight in 1..=pools as u64 {
            let data = call("open(address,uint64)", &[staked.into(), weight.into()]);
            calls.push(Call { from: treasury, to: farm, data });
        }
        let choice = Skew::new(pools, world.knobs.hot, world.knobs.skew);
        let mut pool_of = HashMap::new();
        for user in users {
            let pool = choice.pick(&mut world.rng) as u64;
            pool_of.insert(*user, pool);
            let data = call("stake(uint256,uint256)", &[pool.into(), ether(1_000).into()]);
            calls.push(Call { from: *user, to: farm, data });
        }
        world.set_up(calls);
        Self { farm, pool_of }
    }
}

impl Venue for Farm {
    fn act(&mut self, world: &mut World, from: Address) {
        let pool = self.pool_of[&from];
        let amount = U256::from(world.rng.random_range(1..1_000_u64)) * ether(1) / U256::from(1_000);
        let amount = if world.reverts() { U256::MAX >> 8 } else { amount };
        let data = match world.rng.random_range(0..100) {
            0..40 => call("stake(uint256,uint256)", &[pool.into(), amount.into()]),
            40..70 => call("unstake(uint256,uint256)", &[pool.into(), amount.into()]),
            // There is no pool of so high a number.
            _ if amount > ether(1) => call("harvest(uint256)", &[u64::MAX.into()]),
            _ => call("harvest(uint256)", &[pool.into()]),
        };
        world.send(from, self.farm, U256::ZERO, data, 400_000);
    }
}

pub(super) fn stakes(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let tokens = venue::tokens(world, 2, users, &[World::address(Farm::SPENDER, 0)]);
        Farm::open(world, users, [tokens[0], tokens[1]])
    })
}
