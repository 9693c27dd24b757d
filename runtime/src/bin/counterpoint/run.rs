//! `counterpoint run`: blocks, executed and committed to a store one after the other.

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix::System;
use clap::Args;
use counterpoint::{
    Runtime,
    cli::{
        chain::{self, ChainError, ChainOptions, Incoming},
        forks::ForkName,
        t8n,
    },
    service::{Service, ServiceError, ServiceSettings},
    sources::{
        Head,
        redb::{RedbStore, StoreError, read_genesis},
    },
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{inputs, output::Output, replay::MOST_WORKERS};

/// Blocks that are read ahead.
const AHEAD: usize = 4;

/// Upper bounds of the buckets of histograms of times, in seconds.
const SECONDS: [f64; 12] = [1e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Upper bounds of the buckets of histograms of counts.
const COUNTS: [f64; 8] = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

/// Execute blocks in order on a store on disk, and commit each.
///
/// Blocks that the store has are passed over, so that the same command goes on where it was stopped, whether by its end or by
/// a crash. An empty store takes the state of a genesis file, or the one that comes with the first block. Exits with 0, or
/// with 1 if a block is refused, 2 for bad usage or input, 3 if the store fails.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The store's file. It is made if it is not there.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// What an empty store begins with: geth's genesis.json.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,

    /// Files of blocks, or folders of *.json and *.json.gz; `-` is standard input. Each holds one JSON object or several: a
    /// block file's, or one with `env` and `txs` as for t8n.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Workers, the calling thread included [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    workers: Option<u16>,

    /// Answer Prometheus there, such as 127.0.0.1:9184.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,

    /// Write one JSON object a line instead of text.
    #[arg(long)]
    json: bool,

    /// For block files: the hard fork, instead of the one that mainnet had at the block.
    #[arg(long, value_name = "NAME")]
    spec: Option<ForkName>,

    /// For blocks as for t8n: the fork or chain.
    #[arg(long = "state.fork", value_name = "NAME", default_value = "Cancun")]
    fork: String,

    /// For blocks as for t8n: the chain's id.
    #[arg(long = "state.chainid", value_name = "ID", default_value_t = 1)]
    chain_id: u64,

    /// For blocks as for t8n: what the miner gets, in wei; -1 for no reward at all.
    #[arg(long = "state.reward", value_name = "WEI", default_value_t = -1, allow_negative_numbers = true)]
    reward: i128,
}

/// Why the command ends early.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Input(#[from] inputs::InputError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start: {0}")]
    Start(String),
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    #[error("the store is empty, and block {0} comes without a state: --genesis brings one")]
    NoState(u64),
    #[error("block {number} does not follow block {}, the last one of the store", head.number)]
    Gap { head: Head, number: u64 },
    #[error("block {number}: its parent is {parent}, and the store's last block is {}", head.hash)]
    OtherChain { head: Head, number: u64, parent: revm::primitives::B256 },
    #[error("block {number}: {cause}")]
    Refused { number: u64, cause: ServiceError },
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl RunError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { cause: ServiceError::Store(_), .. } | Self::Store(_) => 3,
            Self::Refused { .. } => 1,
            _ => 2,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let mut output = Output::new(0, !arguments.json);
    let done = start(arguments, &mut output);
    output.finish();
    match done {
        Ok(()) => 0,
        Err(error) => {
            output.complain(&error);
            error.exit_code()
        }
    }
}

fn start(arguments: &Arguments, output: &mut Output) -> Result<(), RunError> {
    let (stdin, files): (Vec<PathBuf>, Vec<PathBuf>) =
        arguments.paths.iter().cloned().partition(|path| path.as_os_str() == "-");
    let files = inputs::collect(&files)?;
    let genesis = arguments.genesis.as_deref().map(read_genesis).transpose()?;
    let store = Arc::new(RedbStore::open(&arguments.store)?);
    if let Some(genesis) = &genesis
        && store.head()?.is_none()
    {
        store.import_genesis(genesis)?;
    }
    if let Some(address) = arguments.metrics {
        // With a thread of its own, since no runtime runs here.
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Prefix("counterpoint_block_".to_owned()), &COUNTS)?
            .with_http_listener(address)
            .install()?;
    }
    let options = ChainOptions {
        t8n: t8n::Options {
            fork: arguments.fork.clone(),
            chain_id: arguments.chain_id,
            reward: arguments.reward,
            blob_params: None,
        },
        spec: arguments.spec,
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = Runtime::builder().workers(arguments.workers.map_or(cores, usize::from)).build();
    let runtime = Arc::new(runtime.map_err(|error| RunError::Start(error.to_string()))?);

    let (sender, blocks) = mpsc::channel(AHEAD);
    let stdin = !stdin.is_empty();
    // Not joined: where the command ends early, it may still wait for standard input.
    thread::Builder::new()
        .name("counterpoint-reader".to_owned())
        .spawn(move || read_all(&files, stdin, &options, &sender))
        .map_err(|error| RunError::Start(error.to_string()))?;

    System::new().block_on(async {
        let service = Service::start(runtime, Arc::clone(&store) as _, ServiceSettings::default())
            .map_err(|error| RunError::Start(error.to_string()))?;
        let done = execute_all(&service, &store, blocks, arguments.json, output).await;
        service.stop().await;
        done
    })
}

type Read = Result<Incoming, ChainError>;

/// Reads the inputs one after the other, ahead of what executes them.
fn read_all(files: &[PathBuf], stdin: bool, options: &ChainOptions, sender: &mpsc::Sender<Read>) {
    // Nobody takes any more: the command is at its end.
    let mut take = |incoming| sender.blocking_send(Ok(incoming)).is_ok();
    let mut read = || {
        for path in files {
            chain::read_file(path, options, &mut take)?;
        }
        if stdin {
            chain::read(io::stdin().lock(), Path::new("stdin"), options, &mut take)?;
        }
        Ok(())
    };
    if let Err(error) = read() {
        let _ = sender.blocking_send(Err(error));
    }
}

#[derive(Default)]
struct Totals {
    passed_over: u64,
    blocks: u64,
    transactions: u64,
    gas: u64,
}

async fn execute_all(
    service: &Service,
    store: &RedbStore,
    mut blocks: mpsc::Receiver<Read>,
    json: bool,
    output: &mut Output,
) -> Result<(), RunError> {
    let (begin, mut totals) = (Instant::now(), Totals::default());
    while let Some(incoming) = blocks.recv().await {
        let Incoming { job, before, parent_hash } = incoming?;
        let number = job.block.number;
        let head = match (store.head()?, before) {
            (Some(head), _) => head,
            (None, Some((state, head))) => {
                store.import(&state, head)?;
                head
            }
            (None, None) => return Err(RunError::NoState(number)),
        };
        if number <= head.number {
            totals.passed_over += 1;
            continue;
        }
        if number != head.number + 1 {
            return Err(RunError::Gap { head, number });
        }
        if let Some(parent) = parent_hash.filter(|parent| *parent != head.hash && !head.hash.is_zero()) {
            return Err(RunError::OtherChain { head, number, parent });
        }
        output.begin(format_args!("block {number}"));
        let (transactions, start) = (job.len(), Instant::now());
        let committed = service.commit(job).await.map_err(|cause| RunError::Refused { number, cause })?;
        let time = start.elapsed();
        totals.blocks += 1;
        totals.transactions += transactions as u64;
        totals.gas += committed.output.gas_used();
        let gas_used = committed.output.gas_used();
        if json {
            let ms = milliseconds(time);
            let line = json!({ "block": number, "hash": committed.block.hash, "transactions": transactions, "gas_used": gas_used, "ms": ms });
            output.line(line)?;
        } else {
            output.line(format_args!(
                "{number}: {transactions} transactions, {gas_used} gas, {:.3} ms",
                milliseconds(time)
            ))?;
        }
        output.advance();
    }
    let statistics = service.statistics().await.map_err(|cause| RunError::Start(cause.to_string()))?;
    let Totals { passed_over, blocks, transactions, gas } = totals;
    let (total, executing, committing) = (
        milliseconds(begin.elapsed()),
        milliseconds(statistics.executing),
        milliseconds(statistics.committing),
    );
    output.finish();
    if json {
        output.line(json!({
            "blocks": blocks,
            "passed_over": passed_over,
            "transactions": transactions,
            "gas_used": gas,
            "ms": total,
            "executing_ms": executing,
            "committing_ms": committing,
            "restarts": statistics.restarts,
            "head": store.head()?.map(|head| head.number),
        }))?;
    } else {
        output.line(format_args!(
            "{blocks} blocks committed, {passed_over} passed over; {transactions} transactions, {gas} gas; {total:.0} ms, of which \
             {executing:.0} ms executing and {committing:.0} ms committing"
        ))?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
