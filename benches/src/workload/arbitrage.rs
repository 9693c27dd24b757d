//! Trades that move one of three pools, and who trades around them with a flash loan.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    lending::Reserves,
    stage::Call,
    venue,
    world::{World, ether},
};
use crate::contracts::{
    self, call, pool,
    token::{self, Token},
};

/// Three tokens and the pools between them: pool `i` has tokens `i` and `i + 1`.
#[derive(Debug)]
struct Triangle {
    tokens: [Address; 3],
    pools: [Address; 3],
    reserves: [Reserves; 3],
}

/// Which of its tokens every pool is given in this direction.
fn side(forward: bool) -> usize {
    usize::from(!forward)
}

impl Triangle {
    /// What a loan of the first token becomes, around in the order of the pools or against it.
    fn around(&self, amount: U256, forward: bool) -> U256 {
        let order = if forward { [0, 1, 2] } else { [2, 1, 0] };
        order.into_iter().fold(amount, |amount, pool| self.reserves[pool].quote(side(forward), amount))
    }

    /// The best loan, if one pays: what the contract finds out about the direction, over a few sizes.
    fn best(&self) -> Option<U256> {
        let sizes = (1..=20_u64).map(|step| ether(step * 20_000));
        let profit = |amount: U256| {
            let got = self.around(amount, true).max(self.around(amount, false));
            let owed = amount + amount * U256::from(5) / U256::from(10_000);
            got.checked_sub(owed).filter(|profit| !profit.is_zero())
        };
        sizes.filter_map(|amount| Some((profit(amount)?, amount))).max().map(|(_, amount)| amount)
    }

    fn trade_around(&mut self, amount: U256) {
        let forward = self.around(amount, true) >= self.around(amount, false);
        let order = if forward { [0, 1, 2] } else { [2, 1, 0] };
        let mut held = amount;
        for pool in order {
            held = self.reserves[pool].swap(side(forward), held);
        }
    }
}

/// Half of the transactions trade on one pool of a triangle, and the other half take what that opened.
pub(super) fn flash(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let mut users = senders.clone();
    users.dedup();
    let treasury = venue::treasury(&mut world);
    let [vault, arbitrage] = ["vault", "arbitrage"].map(|kind| World::address(kind, 0));
    let size = ether(10_000_000);
    let mut triangles: Vec<Triangle> = Vec::new();
    for triangle in 0..knobs.pools.div_ceil(3).max(1) {
        let indices = [3 * triangle, 3 * triangle + 1, 3 * triangle + 2];
        let tokens = indices.map(|index| World::address("token", index));
        let pools = indices.map(|index| World::address("pool", index));
        for (place, index) in indices.into_iter().enumerate() {
            // The two pools that have the token hold their reserves of it.
            let holders = [pools[place], pools[(place + 2) % 3]];
            let balances = users.iter().map(|user| (*user, ether(1_000_000_000)));
            let balances = balances.chain(holders.map(|pool| (pool, size))).chain([(vault, size)]);
            let allowances = users.iter().flat_map(|user| holders.map(|pool| (*user, pool, U256::MAX)));
            let allowances = allowances.chain(holders.map(|pool| (arbitrage, pool, U256::MAX)));
            let (balances, allowances) = (balances.collect(), allowances.collect());
            world.token(index, Token { owner: treasury, balances, allowances, ..Token::default() });
            let pair = [tokens[place], tokens[(place + 1) % 3]];
            world.pool_with(pools[place], pair, [size.to(); 2], treasury);
        }
        triangles.push(Triangle { tokens, pools, reserves: [Reserves([size; 2]); 3] });
    }
    world.deploy("vault", 0, contracts::flash_vault(), treasury, &[]);
    world.deploy("arbitrage", 0, contracts::arbitrage(), treasury, &[]);
    // The contract holds a little of everything, as after earlier rounds.
    let mints = triangles.iter().flat_map(|triangle| triangle.tokens);
    let mint = |token| Call { from: treasury, to: token, data: token::mint(arbitrage, ether(1)) };
    world.set_up(mints.map(mint).collect::<Vec<_>>());

    let choice = Skew::new(triangles.len(), knobs.hot, knobs.skew);
    // The triangle in which a trade has just opened a gap.
    let mut open: Option<usize> = None;
    for from in senders {
        if let Some(index) = open
            && let Some(amount) = triangles[index].best()
        {
            let triangle = &mut triangles[index];
            let data = |least: U256| {
                let mut arguments = vec![vault.into(), triangle.tokens[0].into(), amount.into()];
                arguments.extend(triangle.pools.map(contracts::Argument::from));
                arguments.push(least.into());
                call("trade(address,address,uint256,address[3],uint256)", &arguments)
            };
            let (good, bad) = (data(U256::ONE), data(U256::MAX));
            if world.reverts() {
                world.send(from, arbitrage, U256::ZERO, bad, 2_000_000);
            } else {
                world.send(from, arbitrage, U256::ZERO, good, 2_000_000);
                triangle.trade_around(amount);
                open = None;
            }
            continue;
        }
        let index = choice.pick(&mut world.rng);
        let triangle = &mut triangles[index];
        let pool = world.rng.random_range(0..3);
        // Back towards where all prices are one: neither pool runs dry however long the block is.
        let [own, other] = triangle.reserves[pool].0;
        let side = usize::from(own > other);
        // 4 to 6 % of the reserves.
        let amount =
            triangle.reserves[pool].0[side] * U256::from(world.rng.random_range(40..60)) / U256::from(1_000);
        let token_in = triangle.tokens[(pool + side) % 3];
        let data = |least| pool::swap(token_in, amount, least, from);
        if world.reverts() {
            world.send(from, triangle.pools[pool], U256::ZERO, data(U256::MAX), pool::GAS_LIMIT);
        } else {
            world.send(from, triangle.pools[pool], U256::ZERO, data(U256::ONE), pool::GAS_LIMIT);
            triangle.reserves[pool].swap(side, amount);
            open = Some(index);
        }
    }
    world.finish()
}
