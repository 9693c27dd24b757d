//! Whole small blocks under random schedules: at every access to an atomic and at every lock, shuttle's scheduler
//! decides which worker goes on.
//!
//! ```text
//! cargo test --release -p counterpoint --features shuttle --test schedules
//! ```
//!
//! `COUNTERPOINT_SCHEDULES=n` sets how many are tried, `COUNTERPOINT_SCHEDULE=n` repeats one: the number is
//! the seed of the block, of its settings, and of the scheduler. A sleeper that nobody wakes is a deadlock, and
//! fails at once.
#![cfg(all(feature = "shuttle", feature = "cli"))]

mod common;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::later::answer;
use counterpoint::{
    Block, ExecuteError, Mode, Runtime,
    cli::{
        compare::first_difference,
        sequential::{Sequential, execute_sequential},
    },
    state::{DeferredSource, Request, SourceError, StateSource},
};
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix, Workload},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler},
};

/// Schedules that a run tries, unless `COUNTERPOINT_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 5_000;

/// Steps after which a schedule counts as endless. The longest take a tenth of it.
const STEPS: usize = 5_000_000;

/// What became of everything that was tried.
#[derive(Default)]
struct Totals {
    transactions: AtomicU64,
    incarnations: AtomicU64,
    parked: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
}

/// One seed's blocks and settings.
struct Case {
    workers: usize,
    fibers: usize,
    chaos: Option<u64>,
    /// The source answers later: from a thread of its own for each batch, or at once.
    deferred: Option<bool>,
    /// Executed one after the other on one runtime.
    blocks: Vec<(Block, Result<Sequential, ExecuteError>)>,
}

impl Case {
    fn new(seed: u64) -> Self {
        // Each knob of its own, so that all combinations come.
        let mut rng = StdRng::seed_from_u64(seed);
        let workload = match rng.random_range(0..8) {
            // What is contended in one way only.
            0 => {
                let mixes = [
                    Mix::SwapsOnePool,
                    Mix::Erc20HotRecipient,
                    Mix::Defi,
                    Mix::SameSender,
                    Mix::ChainedTransfers,
                ];
                let mix = mixes[rng.random_range(0..mixes.len())];
                mix.build(&Knobs { seed, transactions: 12, ..Knobs::default() })
            }
            _ => random_block(seed),
        };
        let mut blocks = vec![expect(&workload, Mode::Build)];
        if rng.random_ratio(1, 3) {
            // Mostly fails somewhere: a block that is given up, and then another one in the same memory.
            blocks.insert(0, expect(&random_block(seed + 1), Mode::Verify));
        }
        Self {
            workers: [1, 2, 3, 2, 4, 3][rng.random_range(0..6)],
            fibers: [256, 256, 1, 2][rng.random_range(0..4)],
            chaos: rng.random_ratio(1, 4).then_some(seed),
            deferred: rng.random_ratio(1, 3).then(|| rng.random()),
            blocks,
        }
    }

    /// Executes the blocks, within shuttle.
    fn run(&self, totals: &Totals) {
        let mut builder = Runtime::builder()
            .workers(self.workers)
            .fibers(self.fibers)
            .in_flight(self.fibers)
            .keep_states(true);
        builder = match self.chaos {
            Some(seed) => builder.chaos(seed),
            None => builder.serial_prefix(self.workers % 3),
        };
        let runtime = builder.build().expect("threads can be started");
        for (block, expected) in &self.blocks {
            let mut block = block.clone();
            if let Some(at_once) = self.deferred {
                block.source = Arc::new(Deferred { source: block.source, at_once });
            }
            let outcome = match (runtime.execute(&block), expected) {
                (Ok(outcome), Ok(expected)) => {
                    if let Some(difference) = first_difference(expected, &outcome) {
                        panic!("{difference}");
                    }
                    outcome
                }
                (Err(error), Err(expected)) => {
                    assert_eq!(error.to_string(), expected.to_string());
                    totals.failed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                (Ok(_), Err(expected)) => panic!("executed, instead of: {expected}"),
                (Err(error), Ok(_)) => panic!("{error}"),
            };
            let statistics = &outcome.statistics;
            totals.transactions.fetch_add(block.transactions.len() as u64, Ordering::Relaxed);
            totals.incarnations.fetch_add(statistics.incarnations, Ordering::Relaxed);
            totals.parked.fetch_add(statistics.parked, Ordering::Relaxed);
            totals.resumed.fetch_add(statistics.resumed, Ordering::Relaxed);
        }
    }
}

/// Answers from a thread of its own, or before the request returns.
struct Deferred {
    source: Arc<dyn StateSource>,
    at_once: bool,
}

impl DeferredSource for Deferred {
    fn request(&self, requests: Vec<Request>) {
        let source = Arc::clone(&self.source);
        let answer_all = move || {
            for request in requests {
                let answer = answer(&*source, request.key());
                request.answer(answer);
            }
        };
        if self.at_once {
            return answer_all();
        }
        shuttle::thread::spawn(answer_all);
    }
}

impl StateSource for Deferred {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.source.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.source.storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.source.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.source.block_hash(number)
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

fn expect(workload: &Workload, mode: Mode) -> (Block, Result<Sequential, ExecuteError>) {
    let expected = execute_sequential(
        &workload.env,
        &workload.cfg,
        &workload.transactions,
        &workload.source,
        mode,
        true,
    );
    (counterpoint::cli::workload::block(workload.clone(), mode), expected)
}

fn config() -> Config {
    let mut config = Config::new();
    // revm runs on the workers' own stacks, too.
    config.stack_size = 2 << 20;
    // The seed says it in fewer characters.
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    // Orderings are what the loom models are for.
    config.silence_warnings = true;
    config
}

/// Half of the schedules switch anywhere; half at few places, between which threads run for long.
fn scheduler(seed: u64) -> Box<dyn Scheduler + Send> {
    if seed.is_multiple_of(2) {
        Box::new(RandomScheduler::new_from_seed(seed, 1))
    } else {
        Box::new(PctScheduler::new_from_seed(seed, 2 + (seed / 2 % 9) as usize, 1))
    }
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

#[test]
fn random_schedules_equal_sequential_execution() {
    let seeds = match number("COUNTERPOINT_SCHEDULE") {
        Some(seed) => seed..seed + 1,
        None => 0..number("COUNTERPOINT_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let totals = Arc::new(Totals::default());
    let schedules = seeds.end - seeds.start;
    for seed in seeds {
        if schedules > 1 && seed.is_multiple_of(100) {
            // Should it crash, this says where.
            println!("from schedule {seed}");
        }
        let case = Case::new(seed);
        let run = {
            let totals = Arc::clone(&totals);
            move || case.run(&totals)
        };
        let explored = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler(seed), config()).run(run)));
        assert!(explored.is_ok(), "schedule {seed} failed; COUNTERPOINT_SCHEDULE={seed} repeats it");
    }
    let [transactions, incarnations, parked, resumed, failed] =
        [&totals.transactions, &totals.incarnations, &totals.parked, &totals.resumed, &totals.failed]
            .map(|total| total.load(Ordering::Relaxed));
    println!(
        "{schedules} schedules: {transactions} transactions, {incarnations} incarnations, {parked} parkings, \
         {resumed} resumptions, {failed} blocks given up"
    );
    if schedules >= 100 {
        assert!(
            incarnations > transactions && parked > 0 && resumed > 0 && failed > 0,
            "nothing was contended"
        );
    }
}

#[test]
fn a_seed_repeats_its_schedule() {
    for seed in 0..20 {
        let case = Case::new(seed);
        let inner = RandomScheduler::new_from_seed(seed, 3);
        let twice = UncontrolledNondeterminismCheckScheduler::new(inner);
        Runner::new(twice, config()).run(move || case.run(&Totals::default()));
    }
}

/// Runs the schedules in a process of their own, with a deliberate weakening: they must fail.
fn caught(mutation: &str) {
    let output = Command::new(env::current_exe().expect("the test binary's path"))
        .args(["--exact", "random_schedules_equal_sequential_execution", "--nocapture"])
        .env("COUNTERPOINT_MUTATION", mutation)
        .output()
        .expect("the test binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "the schedules do not notice {mutation}");
    assert!(said.contains("repeats it"), "failed with {mutation}, but not a schedule:\n{said}");
}

#[test]
fn catches_a_frontier_that_overlooks_a_finished_transaction() {
    caught("drain-without-recount");
}

#[test]
fn catches_a_sleeper_that_is_not_woken() {
    caught("notify-without-lock");
}

#[test]
fn catches_a_commit_of_what_was_read_too_early() {
    // Each of the two alone is made up for by the other: what was invalidated is executed again, and what passes
    // the frontier is compared by value.
    caught("commit-unchecked,finish-though-invalid");
}
