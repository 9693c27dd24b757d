//! Blocks that follow each other, from files or a stream of JSON values, as jobs for the service.
//!
//! A value is a block file's object (see [`blockfile`]), or that of a state transition: `env` and `txs` as
//! for [`t8n`], `alloc` if the first one brings the state with it, and `hash`, the block's own, if it is known.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use alloy_consensus::{EMPTY_ROOT_HASH, ReceiptEnvelope, TxReceipt, proofs::calculate_receipt_root};
use alloy_hardforks::EthereumHardfork as Fork;
use alloy_primitives::Bloom;
use counterpoint_state::MemorySource;
use revm::primitives::{B256, hardfork::SpecId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use super::{
    blockfile::{self, BlockFile, Header},
    forks::{self, ForkName},
    t8n::{self, T8nError},
};
use crate::{
    Mode,
    ethereum::{ExecutedBlock, Rules},
    service::{Job, Output, WholeJob},
    sources::Head,
};

/// How blocks are read.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// For state transitions: the fork and so on.
    pub t8n: t8n::Options,
    /// For block files: the fork, if it is not mainnet's at the block.
    pub spec: Option<ForkName>,
}

/// A block that came in.
#[derive(Debug)]
pub struct Incoming {
    /// What to execute.
    pub job: Job,
    /// The state before it, where it brings that with it.
    pub before: Option<(MemorySource, Head)>,
    /// The hash of the block before, where it is known.
    pub parent_hash: Option<B256>,
}

/// Why there is no block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The input cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// It is not JSON, or an object of neither kind.
    #[error("{}: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// It is an object of neither kind.
    #[error("{}: an object with neither \"block\" nor \"env\"", path.display())]
    Neither {
        /// The file.
        path: PathBuf,
    },
    /// The block file is wrong.
    #[error(transparent)]
    Block(#[from] blockfile::Error),
    /// The state transition is wrong.
    #[error("{}: {cause}", path.display())]
    Transition {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: T8nError,
    },
    /// The ommers' headers are needed, since their miners are rewarded, and are not in the file.
    #[error(
        "{}: block {number} has ommers, whose miners are rewarded: the file needs their headers in a list \"ommers\", as \
         eth_getUncleByBlockHashAndIndex gives them",
        path.display()
    )]
    Ommers {
        /// The file.
        path: PathBuf,
        /// The block.
        number: u64,
    },
}

#[derive(Deserialize)]
struct Probe {
    block: Option<IgnoredAny>,
    env: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Transition {
    env: Value,
    #[serde(default)]
    txs: Value,
    #[serde(default)]
    alloc: Option<Value>,
    #[serde(default)]
    hash: Option<B256>,
}

/// Reads the blocks of a file, gzipped or plain, in order, and hands each to `take` until that says that it is enough.
///
/// # Errors
///
/// What cannot be read; the blocks before it were handed over.
pub fn read_file(
    path: &Path,
    options: &ChainOptions,
    take: &mut dyn FnMut(Incoming) -> bool,
) -> Result<(), ChainError> {
    let bytes = fs::read(path).map_err(|cause| ChainError::Read { path: path.to_owned(), cause })?;
    let bytes = blockfile::unpack_at(bytes, path)?;
    read_values(serde_json::Deserializer::from_slice(&bytes).into_iter(), path, options, take)
}

/// Reads a stream of blocks; `name` is what errors call it.
///
/// # Errors
///
/// As [`read_file`].
pub fn read(
    stream: impl Read,
    name: &Path,
    options: &ChainOptions,
    take: &mut dyn FnMut(Incoming) -> bool,
) -> Result<(), ChainError> {
    read_values(serde_json::Deserializer::from_reader(stream).into_iter(), name, options, take)
}

fn read_values(
    values: impl Iterator<Item = serde_json::Result<Box<RawValue>>>,
    name: &Path,
    options: &ChainOptions,
    take: &mut dyn FnMut(Incoming) -> bool,
) -> Result<(), ChainError> {
    let json = |cause| ChainError::Json { path: name.to_owned(), cause };
    for value in values {
        let value = value.map_err(json)?;
        let probe: Probe = serde_json::from_str(value.get()).map_err(json)?;
        let incoming = match probe {
            Probe { block: Some(_), .. } => from_block_file(value.get(), name, options)?,
            Probe { env: Some(_), .. } => {
                let transition: Transition = serde_json::from_str(value.get()).map_err(json)?;
                from_transition(transition, options)
                    .map_err(|cause| ChainError::Transition { path: name.to_owned(), cause })?
            }
            Probe { block: None, env: None } => return Err(ChainError::Neither { path: name.to_owned() }),
        };
        if !take(incoming) {
            break;
        }
    }
    Ok(())
}

fn from_transition(transition: Transition, options: &ChainOptions) -> Result<Incoming, T8nError> {
    let next = t8n::next_block(transition.env, transition.txs, &options.t8n)?;
    let before = transition.alloc.map(t8n::accounts).transpose()?.map(|mut state| {
        for (number, hash) in &next.block_hashes {
            state.insert_block_hash(*number, *hash);
        }
        (state, Head { number: next.number.saturating_sub(1), hash: next.parent_hash })
    });
    let block = Head { number: next.number, hash: transition.hash.unwrap_or_default() };
    let parent_hash = Some(next.parent_hash).filter(|hash| !hash.is_zero());
    Ok(Incoming { job: Job::whole(block, next.job), before, parent_hash })
}

fn from_block_file(json: &str, name: &Path, options: &ChainOptions) -> Result<Incoming, ChainError> {
    let file = BlockFile::from_json(json.as_bytes(), name)?;
    let (number, timestamp) = (file.header.number, file.header.timestamp);
    let spec = options.spec.map_or_else(|| file.spec(), |name| name.0);
    let (env, _) = file.environment(spec, name)?;
    let mut rules = Rules::new(fork_of(spec), file.chain_id());
    rules.blobs = forks::blob_params(spec, timestamp);
    if options.spec.is_none() && number == DAO_BLOCK {
        rules.dao_block = Some(DAO_BLOCK);
    }
    let reward = rules.block_reward();
    let ommers = match file.ommers {
        Some(ommers) => ommers,
        None if reward.is_some() && file.ommer_count > 0 => {
            return Err(ChainError::Ommers { path: name.to_owned(), number });
        }
        None => Vec::new(),
    };
    let parent_hash = file.header.parent_hash;
    let whole = WholeJob {
        rules,
        env,
        parent_hash: parent_hash.unwrap_or_default(),
        parent_beacon_block_root: file.header.parent_beacon_block_root,
        ommers,
        withdrawals: file.withdrawals,
        reward,
        transactions: file.transactions,
        mode: Mode::Verify,
    };
    let header = file.header.clone();
    let block = Head { number, hash: file.header.hash.unwrap_or_default() };
    let job = Job::whole(block, whole).check(move |output| check(&header, spec, output));
    let before = Head { number: number.saturating_sub(1), hash: parent_hash.unwrap_or_default() };
    Ok(Incoming { job, before: Some((MemorySource::clone(&file.source), before)), parent_hash })
}

/// The block at which mainnet took ether from the DAO.
const DAO_BLOCK: u64 = 1_920_000;

/// Compares what came out with the header.
fn check(header: &Header, spec: SpecId, output: &Output) -> Result<(), String> {
    let Output::Whole(block) = output else { return Err("not a whole block".to_owned()) };
    let ExecutedBlock { receipts, gas_used, .. } = &**block;
    let mut differences = Vec::new();
    let mut compare = |name: &str, expected: Option<String>, got: String| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            differences.push(format!("{name} is {got}, not {expected} as the header says"));
        }
    };
    compare("gas used", header.gas_used.map(|gas| gas.to_string()), gas_used.to_string());
    let bloom = receipts.iter().map(TxReceipt::bloom).fold(Bloom::ZERO, |all, bloom| all | bloom);
    compare("logs bloom", header.logs_bloom.map(|bloom| bloom.to_string()), bloom.to_string());
    // Before Byzantium receipts hold state roots, which take the whole state's trie.
    if spec.is_enabled_in(SpecId::BYZANTIUM) {
        compare(
            "receipts root",
            header.receipts_root.map(|root| root.to_string()),
            root(receipts).to_string(),
        );
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn root(receipts: &[ReceiptEnvelope]) -> B256 {
    if receipts.is_empty() { EMPTY_ROOT_HASH } else { calculate_receipt_root(receipts) }
}

/// alloy's name for a fork.
fn fork_of(spec: SpecId) -> Fork {
    match spec {
        SpecId::FRONTIER => Fork::Frontier,
        SpecId::HOMESTEAD => Fork::Homestead,
        SpecId::TANGERINE => Fork::Tangerine,
        SpecId::SPURIOUS_DRAGON => Fork::SpuriousDragon,
        SpecId::BYZANTIUM => Fork::Byzantium,
        SpecId::PETERSBURG => Fork::Petersburg,
        SpecId::ISTANBUL => Fork::Istanbul,
        SpecId::BERLIN => Fork::Berlin,
        SpecId::LONDON => Fork::London,
        SpecId::MERGE => Fork::Paris,
        SpecId::SHANGHAI => Fork::Shanghai,
        SpecId::CANCUN => Fork::Cancun,
        SpecId::PRAGUE => Fork::Prague,
        SpecId::OSAKA => Fork::Osaka,
        SpecId::AMSTERDAM => Fork::Amsterdam,
    }
}
