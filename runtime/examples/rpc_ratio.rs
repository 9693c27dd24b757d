//! What Counterpoint gains where the state is a node's: recorded blocks on the state of a local JSON-RPC server that takes a
//! while for each response, against sequential revm that reads from the same server, a key at a time.
//!
//! `cargo run --release -p counterpoint --features rpc --example rpc_ratio -- ../shared/fixtures/mainnet`

#[path = "../tests/node/mod.rs"]
mod node;

use std::{error::Error, fs, path::PathBuf, sync::Arc, time::Instant};

use alloy_eips::BlockId;
use clap::Parser;
use counterpoint::{
    Mode, Runtime,
    cli::{blockfile::BlockFile, compare::first_difference, sequential::execute_sequential},
    sources::{Limits, RpcSettings, RpcSource},
    state::{SourceError, StateSource},
};
use node::{Manner, Node};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

/// Executes recorded blocks on the state of a local JSON-RPC server, sequentially and with Counterpoint.
#[derive(Debug, Parser)]
struct Arguments {
    /// Block files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// Milliseconds that the server takes for a response.
    #[arg(long, default_value_t = 1)]
    delay_ms: u64,

    /// Workers, the calling thread included.
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// JSON-RPC batches at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,

    /// Keys in a batch, at most.
    #[arg(long, default_value_t = 100)]
    batch: usize,
}

/// The node's state as sequential revm reads it.
struct ReadByRead(Arc<RpcSource>);

impl DatabaseRef for ReadByRead {
    type Error = SourceError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.0.account(address)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(hash)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.0.storage(address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, SourceError> {
        self.0.block_hash(number)
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".json") || name.ends_with(".json.gz") {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() { Err("no block files".into()) } else { Ok(files) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let runtime = Runtime::builder().workers(arguments.workers).build()?;
    let mut settings = RpcSettings::default();
    settings.limits = Limits::new(arguments.batch, arguments.connections);
    let (mut sequential_ms, mut parallel_ms, mut different) = (0.0, 0.0, 0);
    for path in files(&arguments.paths)? {
        let file = BlockFile::load(&path)?;
        let mut block = file.block(file.spec(), Mode::Verify, &path)?;
        let node = Node::start(&file.source, Manner::Slow(arguments.delay_ms));
        let parent = BlockId::number(file.header.number.saturating_sub(1));
        let connect = || RpcSource::connect(&node.url, parent, settings);

        // Each side comes to a node that it does not know: a source keeps the code that it has read.
        let database = ReadByRead(Arc::new(connect()?));
        let begin = Instant::now();
        let expected =
            execute_sequential(&block.env, &block.cfg, &block.transactions, &database, Mode::Verify, false)?;
        let sequential = begin.elapsed().as_secs_f64() * 1_000.0;

        block.source = Arc::new(connect()?);
        let begin = Instant::now();
        let got = runtime.execute(&block)?;
        let parallel = begin.elapsed().as_secs_f64() * 1_000.0;

        let difference = first_difference(&expected, &got);
        println!(
            "{}: {} transactions, {} keys asked for; sequential {sequential:.0} ms, Counterpoint {parallel:.0} ms, {:.1}x{}",
            file.header.number,
            block.transactions.len(),
            got.statistics.requests,
            sequential / parallel,
            difference.as_ref().map_or(String::new(), |difference| format!("; DIFFERENT: {difference}")),
        );
        different += u32::from(difference.is_some());
        sequential_ms += sequential;
        parallel_ms += parallel;
    }
    println!(
        "total: sequential {sequential_ms:.0} ms, Counterpoint {parallel_ms:.0} ms: {:.1}x with {} ms a response and {} workers",
        sequential_ms / parallel_ms,
        arguments.delay_ms,
        arguments.workers
    );
    if different > 0 { Err(format!("{different} blocks came out differently").into()) } else { Ok(()) }
}
