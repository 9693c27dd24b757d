//! A source, a hook or a host that fails at every position of a small block in turn: a typed error at its transaction or
//! phase, never a hang, nothing is heard of but the block's prefix, and the next block on the same runtime is right.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
mod reads;
mod stops;
mod trap;
mod whole;

use std::time::Duration;

use common::Case;
use counterpoint::Runtime;
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix},
};

const PATIENCE: Duration = Duration::from_secs(600);

/// Small blocks: contracts, chains, creations, invalid transactions, code that is asked for by its hash.
fn cases() -> Vec<(String, Case)> {
    let mixes =
        [(Mix::SwapsOnePool, 5), (Mix::Defi, 7), (Mix::ChainedTransfers, 5), (Mix::LendingOneOracle, 4)];
    let mut cases: Vec<_> = mixes
        .into_iter()
        .map(|(mix, transactions)| {
            let knobs = Knobs { transactions, accounts: 8, ..Knobs::default() };
            (mix.name().to_owned(), Case::of(mix.build(&knobs)))
        })
        .collect();
    for seed in [3, 8, 21] {
        let mut case = Case::of(random_block(seed));
        case.transactions.truncate(9);
        cases.push((format!("random block {seed}"), case));
    }
    for (number, (_, case)) in cases.iter_mut().enumerate() {
        case.code_by_hash = number % 2 == 0;
    }
    cases
}

/// All ways through a block: one after the other, first that and then in parallel, in parallel.
fn runtimes() -> Vec<(&'static str, Runtime)> {
    let build = |workers: usize, prefix: Option<usize>| {
        let builder = Runtime::builder().workers(workers).keep_states(true);
        let builder = match prefix {
            Some(prefix) => builder.serial_prefix(prefix),
            None => builder,
        };
        builder.build().expect("the system has threads")
    };
    #[cfg_attr(not(feature = "chaos"), expect(unused_mut))]
    let mut runtimes = vec![
        ("1 worker", build(1, None)),
        ("2 workers", build(2, None)),
        ("2 workers, 3 transactions before", build(2, Some(3))),
        ("1 worker, parallel", build(1, Some(0))),
        ("2 workers, parallel", build(2, Some(0))),
        ("4 workers, parallel", build(4, Some(0))),
    ];
    #[cfg(feature = "chaos")]
    runtimes.push(("chaos", common::runtime(4, 4, 256, Some(4))));
    runtimes
}
