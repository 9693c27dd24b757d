//! Blocks that are given up in the middle, several at a time, on runtimes that come and go.

use std::{
    fmt::Debug,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use counterpoint::{
    Block, ExecuteError, Mode, Outcome, Runtime,
    cli::{
        compare::{first_difference, same_error},
        sequential::{Sequential, execute_sequential},
    },
};
use counterpoint_benches::{Knobs, Mix, Workload, random_block};
use parking_lot::Mutex;

use crate::{
    Failure,
    source::{EXPECTED, FaultySource, When},
    watch::Watch,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many blocks.
    #[arg(long, default_value_t = 2_000)]
    blocks: u64,
    /// Threads that execute blocks at the same time, on the same runtimes.
    #[arg(long, default_value_t = 4)]
    callers: usize,
    /// Workers of each runtime, the calling thread included.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Blocks after which the runtimes are dropped and others take their place.
    #[arg(long, default_value_t = 100)]
    generation: u64,
}

/// How blocks ended.
#[derive(Debug, Default)]
struct Counts {
    executed: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

/// What a block is made of, and how its source fails.
struct Plan {
    seed: u64,
    workload: Workload,
    mode: Mode,
    when: When,
    panics: bool,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let workload = if seed.is_multiple_of(3) {
            let knobs = Knobs { seed, transactions: 60, accounts: 12, hot: 0.7, ..Knobs::default() };
            Mix::ALL[(seed / 3) as usize % Mix::ALL.len()].build(&knobs)
        } else {
            random_block(seed)
        };
        let when = match seed % 5 {
            0 => When::Never,
            1 | 2 => When::Key(30),
            _ => When::Question(seed * 7 % 90),
        };
        let mode = if (seed / 5).is_multiple_of(2) { Mode::Verify } else { Mode::Build };
        Self { seed, workload, mode, when, panics: (seed / 10).is_multiple_of(2) }
    }

    fn source(&self, panics: bool, when: When) -> FaultySource {
        let memory = Arc::new(self.workload.source.clone());
        FaultySource { memory, seed: self.seed, when, panics, asked: AtomicU64::new(0) }
    }

    /// What sequential execution makes of it. A failing question has a number that means nothing there.
    fn expected(&self) -> Result<Sequential, ExecuteError> {
        let when = if let When::Question(_) = self.when { When::Never } else { self.when };
        let Workload { env, cfg, transactions, .. } = &self.workload;
        execute_sequential(env, cfg, transactions, &self.source(false, when), self.mode, true)
    }

    fn block(&self) -> Block {
        Block {
            env: self.workload.env.clone(),
            cfg: self.workload.cfg.clone(),
            transactions: self.workload.transactions.clone().into(),
            source: Arc::new(self.source(self.panics, self.when)),
            mode: self.mode,
        }
    }

    fn check(&self, way: &str, got: Result<Outcome, ExecuteError>, counts: &Counts) -> Result<(), Failure> {
        let expected = self.expected();
        let count = match &got {
            Ok(_) => &counts.executed,
            Err(ExecuteError::InvalidTransaction { .. }) => &counts.rejected,
            Err(ExecuteError::Panic { .. }) => &counts.panicked,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let (seed, way) = (self.seed, way.to_owned());
        let fits = match (&expected, &got) {
            (Ok(expected), Ok(got)) => match first_difference(expected, got) {
                Some(difference) => return Err(Failure::Differs { seed, way, difference }),
                None => true,
            },
            // Anything may be asked at the moment of the fault, and speculation may hide it.
            (_, Err(error)) if matches!(self.when, When::Question(_)) && self.is_planted(error) => true,
            (Err(ExecuteError::Source { index, .. }), Err(error)) if self.panics => {
                self.is_planted(error)
                    && matches!(error, ExecuteError::Panic { index: at, .. } if at == index)
            }
            (Err(expected), Err(got)) => same_error(expected, got),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let show = |it: &dyn Debug| format!("{it:?}").chars().take(300).collect::<String>();
        let expected = expected.map(|_| "success");
        let got = got.map(|_| "success");
        Err(Failure::Unexpected { seed, way, got: show(&got), expected: show(&expected) })
    }

    /// Whether the error is the one that the source was to give.
    fn is_planted(&self, error: &ExecuteError) -> bool {
        match error {
            ExecuteError::Source { .. } => !self.panics,
            ExecuteError::Panic { message, .. } => self.panics && message.ends_with(EXPECTED),
            _ => false,
        }
    }
}

/// Panics that are expected print nothing.
fn quiet() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|message| message.ends_with(EXPECTED)) {
            default(info);
        }
    }));
}

/// One caller's part of a generation: blocks until there are none left, or somebody failed.
#[expect(clippy::too_many_arguments, reason = "what the callers of a generation share")]
fn call(
    caller: usize,
    runtimes: &[(&str, Runtime)],
    next: &AtomicU64,
    last: u64,
    failed: &AtomicBool,
    counts: &Counts,
    kept: &Mutex<Vec<Block>>,
    watch: &Watch,
) -> Result<(), Failure> {
    while !failed.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= last {
            break;
        }
        let plan = Plan::new(seed);
        let (way, runtime) = &runtimes[seed as usize / 7 % runtimes.len()];
        watch.begin(caller, seed, way);
        let block = plan.block();
        let got = runtime.execute(&block);
        kept.lock().push(block);
        plan.check(way, got, counts).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
    }
    watch.end(caller);
    Ok(())
}

pub(crate) fn run(options: &Options, first: u64, watch: &Watch) -> Result<String, Failure> {
    quiet();
    let start = Instant::now();
    let counts = Counts::default();
    let last = first.saturating_add(options.blocks);
    let mut generations = 0_u64;
    let mut from = first;
    while from < last {
        let to = last.min(from.saturating_add(options.generation.max(1)));
        // Outlives the runtimes: a block is freed when all threads that had it are gone, which ThreadSanitizer
        // can follow.
        let kept = Mutex::new(Vec::new());
        let base = || Runtime::builder().workers(options.workers).keep_states(true);
        let runtimes = [
            ("plain", base().serial_prefix(0).build()?),
            ("chaos", base().chaos(from).build()?),
            ("2 fibers, chaos", base().fibers(2).chaos(from + 1).build()?),
            ("pauses everywhere, chaos", base().chaos(from + 2).pause_everywhere().build()?),
        ];
        let next = AtomicU64::new(from);
        let failed = AtomicBool::new(false);
        thread::scope(|scope| {
            let callers: Vec<_> = (0..options.callers.max(1))
                .map(|caller| {
                    let (runtimes, next, failed) = (&runtimes, &next, &failed);
                    let (counts, kept) = (&counts, &kept);
                    scope.spawn(move || call(caller, runtimes, next, to, failed, counts, kept, watch))
                })
                .collect();
            // Joined one by one, which ThreadSanitizer can follow, unlike the end of a scope.
            callers
                .into_iter()
                .map(|caller| caller.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        })
        .into_iter()
        .collect::<Result<(), _>>()?;
        from = to;
        generations += 1;
    }
    let [executed, rejected, failed, panicked] =
        [counts.executed, counts.rejected, counts.failed, counts.panicked].map(AtomicU64::into_inner);
    if options.blocks >= 200 && [executed, rejected, failed, panicked].contains(&0) {
        return Err(Failure::Idle(format!(
            "one kind of end is missing: {executed} executed, {rejected} rejected, {failed} failed, {panicked} \
             panicked"
        )));
    }
    Ok(format!(
        "faults, {} callers, {} workers: {executed} blocks executed, {rejected} rejected, {failed} with a failing \
         source, {panicked} with a panicking one, each as sequential revm has it; {} runtimes dropped; {:.1} s",
        options.callers,
        options.workers,
        4 * generations,
        start.elapsed().as_secs_f64(),
    ))
}
