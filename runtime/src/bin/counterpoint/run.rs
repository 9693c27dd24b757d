//! `counterpoint run`: blocks, executed and committed to a store one after the other.

mod signals;

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    pin::pin,
    slice,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix::System;
use clap::Args;
use counterpoint::{
    Runtime,
    cli::{
        chain::{self, ChainError, ChainOptions, Incoming, Ledger, OrderError, Refusal},
        forks::ForkName,
        t8n::{self, LeftOut},
    },
    service::{self, Committed, Service, ServiceError, ServiceSettings},
    sources::redb::{RedbStore, StoreError, read_genesis},
};
use futures_util::future::{self, Either};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use serde_json::json;
use tokio::sync::mpsc;

use self::signals::Signals;
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
/// a crash. An empty store takes the state of a genesis file, or the one that comes with the first block. SIGINT and SIGTERM
/// end it after the block under way. Exits with 0, or with 1 if a block or a genesis is refused, 2 for bad usage or input, 3 if
/// the store fails, 4 if standard output does, 130 or 143 after a signal.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The store's file. It is made if it is not there.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,

    /// What an empty store begins with: geth's genesis.json. A store that began with another one is refused.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,

    /// Files of blocks, or folders of *.json and *.json.gz; `-` is standard input. Each holds one JSON object or several: a
    /// block file's, or one with `env` and `txs` as for t8n, and `hash`, the block's own, if it is known.
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
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("block {number}: {cause}")]
    Unfit { number: u64, cause: Refusal },
    #[error("block {number}: {cause}")]
    Refused { number: u64, cause: ServiceError },
    #[error("standard output: {0}; what was committed is in the store")]
    Output(#[from] io::Error),
}

impl RunError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { cause: ServiceError::Store(_), .. }
            | Self::Store(_)
            | Self::Order(OrderError::Store(_)) => 3,
            Self::Refused { .. }
            | Self::Unfit { .. }
            | Self::Order(OrderError::OtherChain(_) | OrderError::OtherGenesis { .. }) => 1,
            Self::Output(_) => 4,
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
        Ok(code) => code,
        Err(error) => {
            output.complain(&error);
            error.exit_code()
        }
    }
}

/// Where blocks come from.
enum Input {
    File(PathBuf),
    Stdin,
}

/// The files that the paths name, and standard input, in order.
fn collect(paths: &[PathBuf]) -> Result<Vec<Input>, inputs::InputError> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            all.push(Input::Stdin);
        } else {
            all.extend(inputs::collect(slice::from_ref(path))?.into_iter().map(Input::File));
        }
    }
    Ok(all)
}

fn start(arguments: &Arguments, output: &mut Output) -> Result<u8, RunError> {
    // Before there are threads.
    let signals = Signals::listen();
    let inputs = collect(&arguments.paths)?;
    let genesis = arguments.genesis.as_deref().map(read_genesis).transpose()?;
    // Whatever may be refused comes before the store's file is made.
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

    let ledger = Ledger::new(RedbStore::open(&arguments.store)?);
    if let Some(genesis) = &genesis {
        ledger.begin_with(genesis)?;
    }
    let head = ledger.head()?.map(|head| head.number);
    let ledger = Arc::new(ledger);
    let (sender, blocks) = mpsc::channel(AHEAD);
    // Not joined: where the command ends early, it may still wait for standard input.
    thread::Builder::new()
        .name("counterpoint-reader".to_owned())
        .spawn(move || read_all(&inputs, &options, head, &sender))
        .map_err(|error| RunError::Start(error.to_string()))?;

    System::new().block_on(async {
        let service = Service::start(runtime, Arc::clone(&ledger) as _, ServiceSettings::default())
            .map_err(|error| RunError::Start(error.to_string()))?;
        let done = execute_all(&service, &ledger, blocks, signals, arguments.json, output).await;
        service.stop().await;
        done
    })
}

type Read = Result<Incoming, RunError>;

/// Reads the inputs one after the other, ahead of what executes them. Blocks after `head` are checked as well.
fn read_all(inputs: &[Input], options: &ChainOptions, head: Option<u64>, sender: &mpsc::Sender<Read>) {
    let mut take = |incoming: Incoming| {
        let number = incoming.job.block.number;
        let checked = if head.is_none_or(|head| number > head) { incoming.verify() } else { Ok(()) };
        let unfit = checked.is_err();
        let read = checked.map(|()| incoming).map_err(|cause| RunError::Unfit { number, cause });
        // Nobody takes any more: the command is at its end.
        sender.blocking_send(read).is_ok() && !unfit
    };
    let read = |input: &Input| match input {
        Input::File(path) => chain::read_file(path, options, &mut take),
        Input::Stdin => chain::read(io::stdin().lock(), Path::new("stdin"), options, &mut take),
    };
    for input in inputs.iter().map(read) {
        match input {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let _ = sender.blocking_send(Err(error.into()));
                break;
            }
        }
    }
}

#[derive(Default)]
struct Totals {
    passed_over: u64,
    blocks: u64,
    transactions: u64,
    rejected: u64,
    gas: u64,
}

/// Executes what comes until there is no more, or a signal comes: the command's exit code.
async fn execute_all(
    service: &Service,
    ledger: &Ledger,
    mut blocks: mpsc::Receiver<Read>,
    mut signals: Signals,
    json: bool,
    output: &mut Output,
) -> Result<u8, RunError> {
    let (begin, mut totals) = (Instant::now(), Totals::default());
    let code = loop {
        let read = match future::select(pin!(signals.wait()), pin!(blocks.recv())).await {
            Either::Left((code, _)) => break code,
            Either::Right((read, _)) => read,
        };
        let Some(incoming) = read else { break 0 };
        let mut incoming = incoming?;
        let number = incoming.job.block.number;
        if !ledger.expect(&mut incoming)? {
            totals.passed_over += 1;
            continue;
        }
        output.begin(format_args!("block {number}"));
        let (Incoming { job, places, .. }, start) = (incoming, Instant::now());
        let committed = service.commit(job).await.map_err(|cause| RunError::Refused { number, cause })?;
        let ms = milliseconds(start.elapsed());
        let (transactions, left_out) = transactions(&committed, &places);
        let gas_used = committed.output.gas_used();
        totals.blocks += 1;
        totals.transactions += transactions as u64;
        totals.rejected += left_out.len() as u64;
        totals.gas += gas_used;
        if json {
            let hash = Some(committed.block.hash).filter(|hash| !hash.is_zero());
            output.line(json!({
                "block": number,
                "hash": hash,
                "transactions": transactions,
                "rejected": left_out,
                "gas_used": gas_used,
                "ms": ms,
            }))?;
        } else {
            for LeftOut { index, error } in &left_out {
                output.complain(format_args!("block {number}: transaction {index} is left out: {error}"));
            }
            output.line(format_args!("{number}: {transactions} transactions, {gas_used} gas, {ms:.3} ms"))?;
        }
        output.advance();
    };
    ledger.settle()?;
    let statistics = service.statistics().await.map_err(|cause| RunError::Start(cause.to_string()))?;
    let Totals { passed_over, blocks, transactions, rejected, gas } = totals;
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
            "rejected": rejected,
            "gas_used": gas,
            "ms": total,
            "executing_ms": executing,
            "committing_ms": committing,
            "restarts": statistics.restarts,
            "head": ledger.head()?.map(|head| head.number),
        }))?;
    } else {
        output.line(format_args!(
            "{blocks} blocks committed, {passed_over} passed over; {transactions} transactions, {gas} gas; {total:.0} ms, of which \
             {executing:.0} ms executing and {committing:.0} ms committing"
        ))?;
    }
    if code != 0 {
        output.complain("stopped by a signal, after a whole block; the same command goes on from there");
    }
    Ok(code)
}

/// How many transactions the block has, and which it does not have.
fn transactions(committed: &Committed, places: &t8n::Places) -> (usize, Vec<LeftOut>) {
    match &*committed.output {
        service::Output::Whole(executed) => {
            (executed.transactions.iter().flatten().count(), places.left_out(executed))
        }
        _ => (0, Vec::new()),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
