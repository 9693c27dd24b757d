//! Contracts that keep records: votes, goods on their way, a rollup's inbox.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use rand::Rng;

use super::{
    Knobs, Skew, Workload,
    stage::Call,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call};

/// Votes on proposals.
#[derive(Debug)]
pub(super) struct Votes {
    governor: Address,
    proposals: usize,
    choice: Skew,
    /// The proposals that somebody has voted on.
    voted: HashMap<Address, Vec<usize>>,
}

impl Votes {
    pub(super) const SPENDER: &str = "governor";

    pub(super) fn open(world: &mut World, users: &[Address], token: Address) -> Self {
        let treasury = venue::treasury(world);
        let governor = world.deploy(Self::SPENDER, 0, contracts::governor(), treasury, &[token.into()]);
        let proposals = world.knobs.pools.max(1);
        let mut calls: Vec<Call> = (0..proposals)
            .map(|index| {
                let action = keccak256(format!("action {index}"));
                let arguments: [Argument; _] = [action.into(), 0_u64.into(), 1_000_000_u64.into()];
                Call {
                    from: treasury,
                    to: governor,
                    data: call("propose(bytes32,uint64,uint64)", &arguments),
                }
            })
            .collect();
        for user in users {
            let amount = ether(world.rng.random_range(1..1_000));
            calls.push(Call { from: *user, to: governor, data: call("lock(uint256)", &[amount.into()]) });
        }
        world.set_up(calls);
        let choice = Skew::new(proposals, world.knobs.hot, world.knobs.skew);
        Self { governor, proposals, choice, voted: HashMap::new() }
    }
}

impl Venue for Votes {
    fn act(&mut self, world: &mut World, from: Address) {
        let first = self.choice.pick(&mut world.rng);
        let voted = self.voted.entry(from).or_default();
        let open = (0..self.proposals).map(|step| (first + step) % self.proposals);
        let Some(proposal) = open.into_iter().find(|proposal| !voted.contains(proposal)) else {
            // Who has voted on everything locks more.
            let data = |amount: U256| call("lock(uint256)", &[amount.into()]);
            return world.call(from, self.governor, data(U256::ONE), data(U256::MAX >> 100), 200_000);
        };
        if world.reverts() {
            let arguments: [Argument; _] = [U256::from(self.proposals).into(), 0_u64.into()];
            return world.send(
                from,
                self.governor,
                U256::ZERO,
                call("vote(uint256,uint8)", &arguments),
                200_000,
            );
        }
        voted.push(proposal);
        let arguments: [Argument; _] = [U256::from(proposal).into(), world.rng.random_range(0..3_u64).into()];
        world.send(from, self.governor, U256::ZERO, call("vote(uint256,uint8)", &arguments), 200_000);
    }
}

pub(super) fn votes(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, users| {
        let tokens = venue::tokens(world, 1, users, &[World::address(Votes::SPENDER, 0)]);
        Votes::open(world, users, tokens[0])
    })
}

/// Goods on their way, each with records that only grow.
#[derive(Debug)]
pub(super) struct Goods {
    tracker: Address,
    /// The item that somebody has.
    item_of: HashMap<Address, B256>,
    users: Vec<Address>,
}

impl Goods {
    pub(super) fn open(world: &mut World, users: &[Address]) -> Self {
        let treasury = venue::treasury(world);
        let tracker = world.deploy("tracker", 0, contracts::tracker(), treasury, &[]);
        let item_of: HashMap<Address, B256> = users.iter().map(|user| (*user, keccak256(user))).collect();
        let register = |user: &Address| {
            let arguments: [Argument; _] = [item_of[user], B256::ZERO, B256::ZERO].map(Argument::from);
            let data = call("register(bytes32,bytes32,bytes32)", &arguments);
            Call { from: *user, to: tracker, data }
        };
        world.set_up(users.iter().map(register));
        Self { tracker, item_of, users: users.to_vec() }
    }
}

impl Venue for Goods {
    fn act(&mut self, world: &mut World, from: Address) {
        let [place, document] = [(); 2].map(|()| B256::from(world.rng.random::<[u8; 32]>()));
        let somebody = self.users[world.rng.random_range(0..self.users.len())];
        let dice = world.rng.random_range(0..100);
        let record = |item: B256| {
            let what = 1 + dice % 4_u64;
            let arguments: [Argument; _] = [item.into(), what.into(), place.into(), document.into()];
            call("record(bytes32,uint8,bytes32,bytes32)", &arguments)
        };
        let data = match self.item_of.get(&from).copied() {
            // Nobody has this one.
            _ if world.reverts() => record(B256::repeat_byte(1)),
            Some(item) if dice < 60 => record(item),
            Some(item) if dice < 75 => {
                self.item_of.remove(&from);
                let arguments: [Argument; _] = [item.into(), somebody.into(), place.into(), document.into()];
                call("handOver(bytes32,address,bytes32,bytes32)", &arguments)
            }
            _ => {
                let item = keccak256([place, document].concat());
                self.item_of.insert(from, item);
                let arguments: [Argument; _] = [item, place, document].map(Argument::from);
                call("register(bytes32,bytes32,bytes32)", &arguments)
            }
        };
        world.send(from, self.tracker, U256::ZERO, data, 400_000);
    }
}

pub(super) fn goods(knobs: &Knobs) -> Workload {
    venue::run(knobs, Goods::open)
}

/// A rollup's inbox: single deposits, batches, and the sequencer who takes them.
#[derive(Debug)]
pub(super) struct Bridge {
    inbox: Address,
    sequencer: Address,
    count: u64,
}

impl Bridge {
    pub(super) fn open(world: &mut World) -> Self {
        let treasury = venue::treasury(world);
        let sequencer = world.account("sequencer", 0, ether(1_000));
        let inbox = world.deploy("inbox", 0, contracts::bridge_inbox(), treasury, &[sequencer.into()]);
        Self { inbox, sequencer, count: 0 }
    }
}

impl Venue for Bridge {
    fn act(&mut self, world: &mut World, from: Address) {
        let reverts = world.reverts();
        if world.rng.random_bool(0.02) {
            let up_to = if reverts { u64::MAX } else { self.count };
            let data = call("take(uint64)", &[up_to.into()]);
            return world.send(self.sequencer, self.inbox, U256::ZERO, data, 150_000);
        }
        let amount = |world: &mut World| U256::from(world.rng.random_range(1..1_000_000_000_u64));
        let batch = if reverts || world.rng.random_bool(0.15) { world.rng.random_range(2..=10) } else { 1 };
        if batch == 1 {
            let (value, to) = (amount(world), World::address("layer two", world.len()));
            let message = vec![7; world.rng.random_range(0..200)];
            let data = call("deposit(address,bytes)", &[to.into(), Argument::Bytes(message)]);
            world.send(from, self.inbox, value, data, 400_000);
        } else {
            let amounts: Vec<U256> = (0..batch).map(|_| amount(world)).collect();
            let to: Vec<_> = (0..batch).map(|_| World::address("layer two", world.len())).collect();
            let total = amounts.iter().fold(U256::ZERO, |sum, amount| sum + *amount);
            let data = call("depositBatch(address[],uint256[])", &[to.into(), amounts.into()]);
            // Paid too little where it is to revert.
            let paid = if reverts { total - U256::ONE } else { total };
            world.send(from, self.inbox, paid, data, 100_000 + 200_000 * batch);
        }
        if !reverts {
            self.count += batch;
        }
    }
}

pub(super) fn bridge(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, _| Bridge::open(world))
}
