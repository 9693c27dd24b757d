//! Sources that answer later: results are those of sequential execution whatever the order of the answers, each key is
//! asked for once, and a source that fails, forgets, lies or panics costs its block and nothing else.
#![cfg(all(feature = "chaos", feature = "cli"))]

mod common;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::later::{self, Later};
use counterpoint::{
    Block, ExecuteError, Mode, Outcome, Runtime,
    cli::{compare::first_difference, latency::LatencySource, sequential::execute_sequential},
    state::{Answer, DeferredSource, Key, MemorySource, Request, SourceError, StateSource},
};
use counterpoint_benches::{
    random::random_block,
    workload::{Knobs, Mix, Workload},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use revm::{primitives::U256, state::AccountInfo};

/// What a source does with a batch of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Answers before the call returns, on the worker that asks.
    AtOnce,
    /// Answers from other threads, in any order, after any time.
    Scrambled,
    /// As `Scrambled`, but one key in eight is refused.
    Failing,
    /// As `Scrambled`, but one key in eight is dropped.
    Forgetful,
    /// As `Scrambled`, but one key in eight is answered with a value of another kind.
    Lying,
    /// Panics at the first batch, or a later one.
    Panicking,
}

struct Source {
    memory: Arc<MemorySource>,
    manner: Manner,
    rng: Mutex<StdRng>,
    asked: Mutex<HashSet<Key>>,
    twice: AtomicU64,
    batches: AtomicU64,
    /// Requests that were not answered yet, and the most there were of them.
    out: Arc<AtomicU64>,
    most: AtomicU64,
    panics_at: u64,
}

impl Source {
    fn new(memory: &MemorySource, manner: Manner, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::new(memory.clone()),
            manner,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            asked: Mutex::default(),
            twice: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            out: Arc::default(),
            most: AtomicU64::new(0),
            panics_at: seed % 3,
        })
    }

    fn treat(request: Request, memory: &MemorySource, manner: Manner, spoil: bool) {
        let answer = answer(memory, request.key());
        match manner {
            Manner::Failing if spoil => request.answer(Err(SourceError::new("the disk is on fire"))),
            Manner::Forgetful if spoil => drop(request),
            Manner::Lying if spoil => match request.key() {
                Key::Storage(..) => request.answer(Ok(Answer::Account(None))),
                _ => request.answer(Ok(Answer::Storage(U256::ZERO))),
            },
            _ => request.answer(answer),
        }
    }
}

/// What the memory says, accounts without their code, as a database would give them.
fn answer(memory: &MemorySource, key: Key) -> Result<Answer, SourceError> {
    let answer = later::answer(memory, key)?;
    Ok(match answer {
        Answer::Account(info) => Answer::Account(info.map(|info| AccountInfo { code: None, ..info })),
        other => other,
    })
}

impl DeferredSource for Source {
    fn request(&self, mut requests: Vec<Request>) {
        assert!(!requests.is_empty(), "nothing is asked for");
        let batch = self.batches.fetch_add(1, Ordering::Relaxed);
        assert!(self.manner != Manner::Panicking || batch != self.panics_at, "the source panics");
        {
            let mut asked = self.asked.lock().expect("not poisoned");
            for request in &requests {
                if !asked.insert(request.key()) {
                    self.twice.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let mut rng = self.rng.lock().expect("not poisoned");
        let mut seed = StdRng::seed_from_u64(rng.random());
        drop(rng);
        requests.shuffle(&mut seed);
        let (memory, manner, out) = (Arc::clone(&self.memory), self.manner, Arc::clone(&self.out));
        let now = out.fetch_add(requests.len() as u64, Ordering::Relaxed) + requests.len() as u64;
        self.most.fetch_max(now, Ordering::Relaxed);
        let treat_all = move || {
            for request in requests {
                if manner != Manner::AtOnce && seed.random_bool(0.2) {
                    thread::sleep(Duration::from_micros(seed.random_range(0..200)));
                }
                let spoil = seed.random_bool(0.125);
                out.fetch_sub(1, Ordering::Relaxed);
                Self::treat(request, &memory, manner, spoil);
            }
        };
        match manner {
            Manner::AtOnce => treat_all(),
            _ => drop(thread::spawn(treat_all)),
        }
    }
}

fn runtimes() -> Vec<(&'static str, Runtime)> {
    let build =
        |builder: counterpoint::Builder| builder.keep_states(true).build().expect("threads can be started");
    vec![
        ("1 worker", build(Runtime::builder().workers(1))),
        ("2 workers", build(Runtime::builder().workers(2))),
        ("8 workers", build(Runtime::builder().workers(8))),
        ("2 workers, 1 in flight", build(Runtime::builder().workers(2).in_flight(1))),
        ("3 workers, 5 in flight, chaos", build(Runtime::builder().workers(3).in_flight(5).chaos(3))),
        ("1 worker, chaos", build(Runtime::builder().workers(1).chaos(4))),
    ]
}

fn block(workload: &Workload, source: Arc<dyn StateSource>) -> Block {
    Block {
        env: workload.env.clone(),
        cfg: workload.cfg.clone(),
        transactions: workload.transactions.clone().into(),
        source,
        mode: Mode::Build,
    }
}

/// A hang must fail.
fn watchdog(what: &'static str) {
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(600));
        eprintln!("{what} does not end");
        std::process::abort();
    });
}

fn check(workload: &Workload, outcome: &Outcome, place: &str) {
    let Workload { env, cfg, transactions, source } = workload;
    let expected = execute_sequential(env, cfg, transactions, source, Mode::Build, true)
        .expect("build mode skips what is invalid");
    if let Some(difference) = first_difference(&expected, outcome) {
        panic!("{place}: {difference}");
    }
}

#[test]
fn any_order_of_answers_gives_the_sequential_result() {
    watchdog("any_order_of_answers_gives_the_sequential_result");
    let runtimes = runtimes();
    let mut requests = 0;
    for seed in 0..150 {
        let workload = match seed % 10 {
            0 => Mix::SameSender.build(&Knobs { seed, transactions: 30, ..Knobs::default() }),
            1 => Mix::SwapsOnePool.build(&Knobs { seed, transactions: 30, ..Knobs::default() }),
            2 => Mix::Defi.build(&Knobs { seed, transactions: 60, ..Knobs::default() }),
            _ => random_block(seed),
        };
        for (name, runtime) in &runtimes {
            let manner = if seed % 3 == 0 { Manner::AtOnce } else { Manner::Scrambled };
            let source = Source::new(&workload.source, manner, seed);
            let place = format!("seed {seed}, {name}, {manner:?}");
            let outcome = runtime
                .execute(&block(&workload, Arc::new(Later(Arc::clone(&source)))))
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            check(&workload, &outcome, &place);
            assert_eq!(source.twice.load(Ordering::Relaxed), 0, "{place}: a key was asked for twice");
            let asked = source.asked.lock().expect("not poisoned").len() as u64;
            assert_eq!(outcome.statistics.requests, asked, "{place}");
            requests += asked;
        }
    }
    assert!(requests > 10_000, "{requests}");
}

#[test]
fn a_source_that_misbehaves_costs_its_block_alone() {
    watchdog("a_source_that_misbehaves_costs_its_block_alone");
    let runtimes = runtimes();
    for manner in [Manner::Failing, Manner::Forgetful, Manner::Lying, Manner::Panicking] {
        let mut failures = 0;
        for seed in 0..30 {
            let workload = random_block(seed);
            for (name, runtime) in &runtimes {
                let place = format!("seed {seed}, {name}, {manner:?}");
                let source = Source::new(&workload.source, manner, seed);
                match runtime.execute(&block(&workload, Arc::new(Later(source)))) {
                    // What failed was asked for in vain only.
                    Ok(outcome) => check(&workload, &outcome, &place),
                    Err(ExecuteError::Source { index, .. }) => {
                        failures += 1;
                        assert!(index < workload.transactions.len(), "{place}");
                    }
                    Err(error) => panic!("{place}: {error}"),
                }
                // The runtime is as good as new.
                let outcome = runtime.execute(&block(&workload, Arc::new(workload.source.clone())));
                check(&workload, &outcome.expect("nothing is wrong with this source"), &place);
            }
        }
        assert!(failures > 10, "{manner:?}: {failures}");
    }
}

#[test]
fn one_worker_has_many_requests_out() {
    let workload = Mix::SwapsManyPools.build(&Knobs { transactions: 200, ..Knobs::default() });
    let source = Source::new(&workload.source, Manner::Scrambled, 1);
    let runtime =
        Runtime::builder().workers(1).keep_states(true).build().expect("one worker needs no thread");
    let outcome =
        runtime.execute(&block(&workload, Arc::new(Later(Arc::clone(&source))))).expect("the block is valid");
    check(&workload, &outcome, "one worker");
    // What the transactions name is asked for before the first answer is needed.
    let most = source.most.load(Ordering::Relaxed);
    assert!(most > 100, "{most} requests at a time");
}

#[test]
fn a_source_with_latency_gives_the_sequential_result() {
    let workload = Mix::Defi.build(&Knobs { transactions: 100, ..Knobs::default() });
    let memory = Arc::new(workload.source.clone());
    for (name, runtime) in &runtimes() {
        let source = LatencySource::new(Arc::clone(&memory), Duration::from_micros(300));
        let source = Arc::new(source.expect("a thread can be started"));
        let outcome = runtime.execute(&block(&workload, source)).expect("the block is valid");
        check(&workload, &outcome, name);
    }
}
