//! A drop of one collection, and a game in which creatures are bred.

use alloy_primitives::{Address, U256};
use rand::Rng;

use super::{
    Knobs, Workload,
    stage::Call,
    venue::{self, Venue},
    world::{World, ether},
};
use crate::contracts::{self, Argument, call};

/// A collection on sale.
#[derive(Debug)]
pub(super) struct Sale {
    collection: Address,
    price: U256,
}

impl Sale {
    pub(super) fn open(world: &mut World) -> Self {
        let treasury = venue::treasury(world);
        let price = ether(1) / U256::from(1_000);
        let arguments: [Argument; _] = [price.into(), u64::from(u32::MAX).into(), u64::from(u32::MAX).into()];
        let collection = world.deploy("collection", 0, contracts::collectible(), treasury, &arguments);
        Self { collection, price }
    }
}

impl Venue for Sale {
    fn act(&mut self, world: &mut World, from: Address) {
        let count = U256::from(world.rng.random_range(1..=3_u64));
        // One too few is paid for where it is to revert.
        let paid = if world.reverts() { count - U256::ONE } else { count };
        world.send(from, self.collection, paid * self.price, call("mint(uint256)", &[count.into()]), 400_000);
    }
}

pub(super) fn drop(knobs: &Knobs) -> Workload {
    venue::run(knobs, |world, _| Sale::open(world))
}

/// A breeding game, in which everybody has a pair for each transaction.
#[derive(Debug)]
pub(super) struct Breeding {
    game: Address,
    /// The first of each pair, with its owner.
    pairs: Vec<(Address, u64)>,
}

impl Breeding {
    /// `breeders`: one entry for each birth.
    pub(super) fn open(world: &mut World, breeders: &[Address]) -> Self {
        let treasury = venue::treasury(world);
        let game = world.deploy("game", 0, contracts::creatures(), treasury, &[]);
        let mut calls = Vec::new();
        let mut pairs = Vec::new();
        for (pair, from) in breeders.iter().enumerate() {
            for _ in 0..2 {
                let genes = U256::from_be_bytes(world.rng.random::<[u8; 32]>());
                calls.push(Call { from: *from, to: game, data: call("found(uint256)", &[genes.into()]) });
            }
            pairs.push((*from, 2 * pair as u64));
        }
        world.set_up(calls);
        pairs.reverse();
        Self { game, pairs }
    }

    /// Adds a birth of the next pair.
    pub(super) fn breed(&mut self, world: &mut World) {
        let (from, matron) = self.pairs.pop().expect("there is a pair for each birth");
        // Nobody is bred with itself.
        let sire = if world.reverts() { matron } else { matron + 1 };
        let data = call("breed(uint256,uint256)", &[matron.into(), sire.into()]);
        world.send(from, self.game, ether(2) / U256::from(1_000), data, 500_000);
    }
}

pub(super) fn breeding(knobs: &Knobs) -> Workload {
    let mut world = World::new(knobs);
    let senders = world.senders();
    let mut game = Breeding::open(&mut world, &senders);
    senders.iter().for_each(|_| game.breed(&mut world));
    world.finish()
}
