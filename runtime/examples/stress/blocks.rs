//! Random and contended blocks on many workers, in several ways, each compared with sequential revm.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use counterpoint::{
    Block, Mode, Runtime,
    cli::{compare::first_difference, latency::LatencySource, sequential::execute_sequential, workload},
};
use counterpoint_benches::{Knobs, Mix, Workload, random_block};
use revm::primitives::hardfork::SpecId;

use crate::{Failure, watch::Watch};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many blocks; each is executed in six ways.
    #[arg(long)]
    blocks: Option<u64>,
    /// For how long; the block that was begun is ended. Default, without a number of blocks: 30.
    #[arg(long)]
    seconds: Option<u64>,
    /// Workers, the calling thread included: more than there are cores, so that the system stops them anywhere.
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// Fibers in flight.
    #[arg(long, default_value_t = 256)]
    fibers: usize,
    /// Transactions of the contended blocks, of which there is one among four.
    #[arg(long, default_value_t = 800)]
    transactions: usize,
}

fn generate(seed: u64, transactions: usize) -> Workload {
    if !seed.is_multiple_of(4) {
        return random_block(seed);
    }
    let turn = (seed / 4) as usize;
    let spec = [SpecId::LONDON, SpecId::CANCUN, SpecId::OSAKA][turn / Mix::ALL.len() % 3];
    let contended =
        Knobs { seed, transactions, accounts: 40, tokens: 2, pools: 2, hot: 0.8, spec, ..Knobs::default() };
    Mix::ALL[turn % Mix::ALL.len()].build(&contended)
}

/// What was executed so far.
#[derive(Debug, Default)]
struct Counts {
    blocks: u64,
    transactions: u64,
    incarnations: u64,
    resumed: u64,
    migrated: u64,
}

/// The way that comes first: with a source that answers later.
const SLOW: &str = "a slow source";
/// How long that takes for a key.
const LATENCY: Duration = Duration::from_micros(50);

/// How many blocks the same runtimes execute.
const GENERATION: u64 = 64;
const WAYS: u64 = 6;

pub(crate) fn run(options: &Options, first: u64, watch: &Watch) -> Result<String, Failure> {
    let seconds = options.seconds.or(options.blocks.is_none().then_some(30)).map(Duration::from_secs);
    let last = options.blocks.map_or(u64::MAX, |blocks| first.saturating_add(blocks));
    let start = Instant::now();
    let over = || seconds.is_some_and(|seconds| start.elapsed() >= seconds);
    let mut counts = Counts::default();
    let mut from = first;
    while from < last && !over() {
        let to = last.min(from.saturating_add(GENERATION));
        // Outlives the runtimes: a block is freed when all threads that had it are gone, which ThreadSanitizer
        // can follow.
        let mut kept = Vec::new();
        generation(options, (from..to).take_while(|_| !over()), &mut kept, &mut counts, watch)?;
        from = to;
    }
    let Counts { blocks, transactions, incarnations, resumed, migrated } = counts;
    if blocks >= 8 && (incarnations <= transactions || migrated == 0) {
        return Err(Failure::Idle("nothing was contended".to_owned()));
    }
    Ok(format!(
        "blocks, {} workers, {} fibers: {blocks} blocks in {WAYS} ways equal to sequential revm; {transactions} \
         transactions, {incarnations} incarnations, {resumed} parked and resumed, {migrated} of them on another \
         thread; {:.1} s",
        options.workers,
        options.fibers,
        start.elapsed().as_secs_f64(),
    ))
}

/// Executes some blocks on the same runtimes.
fn generation(
    options: &Options,
    seeds: impl Iterator<Item = u64>,
    kept: &mut Vec<Block>,
    counts: &mut Counts,
    watch: &Watch,
) -> Result<(), Failure> {
    let base = || Runtime::builder().workers(options.workers).fibers(options.fibers).keep_states(true);
    let runtimes: [_; WAYS as usize] = [
        (SLOW, base().in_flight(options.fibers).build()?),
        ("plain", base().serial_prefix(0).build()?),
        ("chaos", base().chaos(7).build()?),
        ("3 fibers, window 8, chaos", base().fibers(3).window(8).chaos(8).build()?),
        ("pauses everywhere, chaos", base().chaos(9).pause_everywhere().build()?),
        ("2 workers, pauses everywhere, chaos", base().workers(2).chaos(10).pause_everywhere().build()?),
    ];
    for seed in seeds {
        let workload = generate(seed, options.transactions);
        let expected = execute_sequential(
            &workload.env,
            &workload.cfg,
            &workload.transactions,
            &workload.source,
            Mode::Build,
            true,
        )
        .map_err(|cause| Failure::Sequential { seed, cause })?;
        let memory = Arc::new(workload.source.clone());
        let slow = LatencySource::new(memory, LATENCY).map_err(|cause| Failure::Idle(cause.to_string()))?;
        let mut block = workload::block(workload, Mode::Build);
        let prompt = std::mem::replace(&mut block.source, Arc::new(slow));
        for (way_name, runtime) in &runtimes {
            let way = || format!("{} workers, {} fibers, {way_name}", options.workers, options.fibers);
            watch.begin(0, seed, &way());
            let outcome = runtime.execute(&block).map_err(|cause| Failure::Unexpected {
                seed,
                way: way(),
                got: cause.to_string(),
                expected: "success".to_owned(),
            })?;
            if *way_name == SLOW {
                block.source = Arc::clone(&prompt);
            }
            if let Some(difference) = first_difference(&expected, &outcome) {
                return Err(Failure::Differs { seed, way: way(), difference });
            }
            counts.transactions += block.transactions.len() as u64;
            counts.incarnations += outcome.statistics.incarnations;
            counts.resumed += outcome.statistics.resumed;
            counts.migrated += outcome.statistics.migrated;
        }
        counts.blocks += 1;
        kept.push(block);
    }
    Ok(())
}
