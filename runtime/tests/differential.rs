//! Random blocks, fought over by a few accounts: Counterpoint must give what sequential revm gives.
//!
//! `COUNTERPOINT_SEED=n` repeats one block, `COUNTERPOINT_BLOCKS=n` sets how many are tried.
#![cfg(all(feature = "chaos", feature = "cli"))]

use std::{env, sync::Arc, time::Duration};

use counterpoint::{
    Block, Builder, Mode, Outcome, Runtime,
    cli::{
        compare::first_difference,
        sequential::{Sequential, execute_sequential},
    },
};
use counterpoint_benches::{random::random_block, workload::Workload};

/// A way to run a block.
struct Configuration {
    name: &'static str,
    runtime: fn(u64) -> Builder,
}

/// Nobody asks for each transaction's changes: then plain transfers and credits go to the changeset at once.
const NOT_KEPT: &[Configuration] = &[
    Configuration { name: "1 worker, nothing kept", runtime: |_| Runtime::builder().workers(1) },
    Configuration { name: "3 workers, nothing kept", runtime: |_| parallel(3) },
    Configuration {
        name: "2 workers after a few, nothing kept",
        runtime: |seed| Runtime::builder().workers(2).serial_prefix(1 + seed as usize % 20),
    },
    Configuration {
        name: "2 workers, chaos, nothing kept",
        runtime: |seed| Runtime::builder().workers(2).chaos(seed),
    },
];

const CONFIGURATIONS: &[Configuration] = &[
    Configuration { name: "1 worker", runtime: |_| Runtime::builder().workers(1) },
    Configuration { name: "1 worker, parallel", runtime: |_| parallel(1) },
    Configuration { name: "2 workers", runtime: |_| parallel(2) },
    Configuration {
        name: "3 workers after a few",
        runtime: |seed| Runtime::builder().workers(3).serial_prefix(seed as usize % 20),
    },
    Configuration { name: "8 workers", runtime: |_| parallel(8) },
    Configuration { name: "2 workers, 1 fiber", runtime: |_| parallel(2).fibers(1) },
    Configuration { name: "3 workers, 2 fibers", runtime: |_| parallel(3).fibers(2) },
    Configuration { name: "1 worker, chaos", runtime: |seed| Runtime::builder().workers(1).chaos(seed) },
    Configuration { name: "2 workers, chaos", runtime: |seed| Runtime::builder().workers(2).chaos(seed) },
    Configuration {
        name: "4 workers, 2 fibers, chaos",
        runtime: |seed| Runtime::builder().workers(4).fibers(2).chaos(seed),
    },
];

/// Everything through the parallel machinery.
fn parallel(workers: usize) -> Builder {
    Runtime::builder().workers(workers).serial_prefix(0)
}

fn sequential(workload: &Workload) -> Sequential {
    execute_sequential(
        &workload.env,
        &workload.cfg,
        &workload.transactions,
        &workload.source,
        Mode::Build,
        true,
    )
    .expect("build mode skips what is invalid")
}

fn check(
    seed: u64,
    configuration: &Configuration,
    runtime: &Runtime,
    block: &Block,
    expected: &Sequential,
) -> Outcome {
    let outcome = runtime
        .execute(block)
        .unwrap_or_else(|error| panic!("COUNTERPOINT_SEED={seed}, {}: {error}", configuration.name));
    if let Some(difference) = first_difference(expected, &outcome) {
        panic!("COUNTERPOINT_SEED={seed}, {}: {difference}", configuration.name);
    }
    outcome
}

/// Ends the process if a block takes forever: a hang must fail.
fn watchdog() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(3_000));
        eprintln!("the differential test does not end");
        std::process::abort();
    });
}

#[test]
fn random_blocks_equal_sequential_execution() {
    watchdog();
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let blocks = number("COUNTERPOINT_BLOCKS").unwrap_or(1_500);
    let seeds = match number("COUNTERPOINT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..blocks,
    };
    let build = |builder: Builder| builder.build().expect("threads can be started");
    let kept = CONFIGURATIONS.iter().map(|way| (way, build((way.runtime)(7).keep_states(true))));
    let runtimes: Vec<_> = kept.chain(NOT_KEPT.iter().map(|way| (way, build((way.runtime)(7))))).collect();
    let repeats = if seeds.end - seeds.start == 1 { 200 } else { 1 };
    let (mut incarnations, mut parked, mut transactions) = (0, 0, 0);
    for seed in seeds {
        let workload = random_block(seed);
        let expected = sequential(&workload);
        let block = Block {
            env: workload.env.clone(),
            cfg: workload.cfg.clone(),
            transactions: workload.transactions.clone().into(),
            source: Arc::new(workload.source),
            mode: Mode::Build,
        };
        for _ in 0..repeats {
            for (configuration, runtime) in &runtimes {
                let statistics = check(seed, configuration, runtime, &block, &expected).statistics;
                incarnations += statistics.incarnations;
                parked += statistics.parked;
                transactions += block.transactions.len() as u64;
            }
        }
    }
    println!("{transactions} transactions, {incarnations} incarnations, {parked} parkings");
    assert!(repeats > 1 || (incarnations > transactions && parked > 0), "nothing was contended");
}
