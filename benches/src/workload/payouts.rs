//! Payments of many at once, claims of an airdrop, and a token that takes a fee.

use alloy_primitives::{Address, B256, U256, keccak256};
use rand::{Rng, seq::SliceRandom};

use super::{
    Knobs, Workload,
    stage::Call,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call, encode, token};

/// Payments to several at once, in ether or in a token.
#[derive(Debug)]
pub(super) struct Multisend {
    sender: Address,
    token: Address,
    recipients: Vec<Address>,
}

impl Multisend {
    pub(super) const SPENDER: &str = "multisend";

    pub(super) fn open(world: &mut World, token: Address) -> Self {
        let treasury = venue::treasury(world);
        let sender = world.deploy(Self::SPENDER, 0, contracts::multisend(), treasury, &[]);
        let count = 20 + 5 * world.knobs.transactions;
        let recipients = (0..count).map(|index| World::address("recipient", index)).collect();
        Self { sender, token, recipients }
    }
}

impl Venue for Multisend {
    fn act(&mut self, world: &mut World, from: Address) {
        let count = world.rng.random_range(2..=12);
        let mut to = Vec::with_capacity(count);
        for _ in 0..count {
            // The hot share goes to the first few of all.
            let of = if world.rng.random_bool(world.knobs.hot) { 3 } else { self.recipients.len() };
            to.push(self.recipients[world.rng.random_range(0..of)]);
        }
        let mut amounts: Vec<U256> =
            (0..count).map(|_| U256::from(world.rng.random_range(1..1_000_000_u64))).collect();
        let total = amounts.iter().copied().fold(U256::ZERO, |sum, amount| sum + amount);
        if world.reverts() {
            amounts.pop();
        }
        let gas = 100_000 + 70_000 * count as u64;
        if world.rng.random_bool(0.5) {
            let data = call("sendEther(address[],uint256[])", &[to.into(), amounts.into()]);
            world.send(from, self.sender, total, data, gas);
        } else {
            let arguments: [Argument; _] = [self.token.into(), to.into(), amounts.into()];
            let data = call("sendToken(address,address[],uint256[])", &arguments);
            world.send(from, self.sender, U256::ZERO, data, gas);
        }
    }
}

pub(super) fn multisend(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let tokens = venue::tokens(world, 1, users, &[World::address(Multisend::SPENDER, 0)]);
        Multisend::open(world, tokens[0])
    })
}

/// An airdrop to everybody in a list.
#[derive(Debug)]
pub(super) struct Airdrop {
    airdrop: Address,
    /// Index, account and amount of claims to come.
    claims: Vec<(usize, Address, U256)>,
    /// The tree's nodes, from the leaves up to the root.
    levels: Vec<Vec<B256>>,
}

impl Airdrop {
    /// `accounts`: one entry for each claim. They come in any order.
    pub(super) fn open(world: &mut World, accounts: &[Address], token: Address) -> Self {
        let treasury = venue::treasury(world);
        let mut claims: Vec<_> = accounts
            .iter()
            .enumerate()
            .map(|(index, account)| (index, *account, U256::from(world.rng.random_range(1..u64::MAX))))
            .collect();
        let pair = |a: B256, b: B256| keccak256([a, b].concat());
        let leaf = |(index, account, amount): &(usize, Address, U256)| {
            keccak256(encode(&[U256::from(*index).into(), (*account).into(), (*amount).into()]))
        };
        let mut leaves: Vec<B256> = claims.iter().map(leaf).collect();
        leaves.resize(leaves.len().next_power_of_two(), B256::ZERO);
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(level.chunks(2).map(|nodes| pair(nodes[0], nodes[1])).collect());
        }
        let root = levels.last().map_or(B256::ZERO, |level| level[0]);
        let arguments: [Argument; _] = [token.into(), root.into()];
        let airdrop = world.deploy("airdrop", 0, contracts::airdrop(), treasury, &arguments);
        let total = U256::from(u64::MAX) * U256::from(claims.len().max(1));
        world.set_up([Call { from: treasury, to: token, data: token::transfer(airdrop, total) }]);
        claims.shuffle(&mut world.rng);
        Self { airdrop, claims, levels }
    }

    /// Adds the next claim, sent by this account for the one whose it is.
    pub(super) fn claim(&mut self, world: &mut World, from: Address) {
        let (index, account, amount) = self.claims.pop().expect("there is an entry for each claim");
        let proof = (0..self.levels.len() - 1).map(|level| self.levels[level][(index >> level) ^ 1].into());
        let amount = if world.reverts() { amount + U256::ONE } else { amount };
        let arguments =
            [U256::from(index).into(), account.into(), amount.into(), Argument::Array(proof.collect())];
        let data = call("claim(uint256,address,uint256,bytes32[])", &arguments);
        world.send(from, self.airdrop, U256::ZERO, data, 300_000);
    }
}

pub(super) fn airdrop(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let token = venue::tokens(&mut world, 1, &[], &[])[0];
    let mut airdrop = Airdrop::open(&mut world, &senders, token);
    for from in senders {
        airdrop.claim(&mut world, from);
    }
    world.finish()
}

/// Payments in a token that keeps a fee for one account and counts its transfers.
#[derive(Debug)]
struct FeeToken {
    token: Address,
}

impl Venue for FeeToken {
    fn act(&mut self, world: &mut World, from: Address) {
        let to = World::address("recipient", world.len());
        let value = U256::from(world.rng.random_range(10_000..1_000_000_000_u64));
        let (good, bad) = (token::transfer(to, value), token::transfer(to, U256::MAX));
        world.call(from, self.token, good, bad, 150_000);
    }
}

pub(super) fn fee_token(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let treasury = venue::treasury(world);
        let collector = world.account("collector", 0, ether(1));
        let supply = ether(u64::MAX);
        let arguments: [Argument; _] = [collector.into(), supply.into()];
        let token = world.deploy("fee token", 0, contracts::fee_token(), treasury, &arguments);
        let data = |user: &Address| token::transfer(*user, ether(1_000));
        world.set_up(users.iter().map(|user| Call { from: treasury, to: token, data: data(user) }));
        FeeToken { token }
    })
}
