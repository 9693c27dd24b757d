//! Blocks that follow each other, from files or a stream of JSON values, as jobs for the service.
//!
//! A value is a block file's object (see [`blockfile`]), or that of a state transition: `env` and `txs` as
//! for [`t8n`], `alloc` if the first one brings the state with it, and `hash`, the block's own, if it is known.
//! What the values say of the blocks before is for the [`Ledger`] to compare.

mod ledger;

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_hardforks::EthereumHardfork as Fork;
use counterpoint_state::MemorySource;
use revm::primitives::{B256, hardfork::SpecId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

pub use self::ledger::{Conflict, Ledger, OrderError};
use super::{
    blockfile::{self, BlockFile, Mismatch},
    forks::{self, ForkName},
    t8n::{self, LeftOut, Places, T8nError},
};
use crate::{
    Mode,
    ethereum::Rules,
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
    pub before: Option<(Arc<MemorySource>, Head)>,
    /// The hashes of blocks before it that it names, its parent's among them.
    pub hashes: BTreeMap<u64, B256>,
    /// Where its transactions were listed.
    pub places: Arc<Places>,
    /// What a block file says besides.
    file: Option<Arc<(BlockFile, Rules)>>,
}

/// Why a block is not executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not one block.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A transaction that cannot be read, in a block that has a hash, and so lists none that are left out.
    #[error("transaction {}: {}", .0.index, .0.error)]
    Transaction(LeftOut),
}

impl Incoming {
    /// Checks what can be checked before execution.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), Refusal> {
        if let Some(file) = &self.file {
            let (file, rules) = &**file;
            file.verify(rules)?;
        }
        match self.places.unreadable.first().filter(|_| !self.job.block.hash.is_zero()) {
            Some(transaction) => Err(Refusal::Transaction(transaction.clone())),
            None => Ok(()),
        }
    }
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

/// Reads the blocks of a file, gzipped or plain, in order, and hands each to `take` until that says that it is enough:
/// whether more is wanted.
///
/// # Errors
///
/// What cannot be read; the blocks before it were handed over.
pub fn read_file(
    path: &Path,
    options: &ChainOptions,
    take: &mut dyn FnMut(Incoming) -> bool,
) -> Result<bool, ChainError> {
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
) -> Result<bool, ChainError> {
    read_values(serde_json::Deserializer::from_reader(stream).into_iter(), name, options, take)
}

fn read_values(
    values: impl Iterator<Item = serde_json::Result<Box<RawValue>>>,
    name: &Path,
    options: &ChainOptions,
    take: &mut dyn FnMut(Incoming) -> bool,
) -> Result<bool, ChainError> {
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
            return Ok(false);
        }
    }
    Ok(true)
}

fn from_transition(transition: Transition, options: &ChainOptions) -> Result<Incoming, T8nError> {
    let mut next = t8n::next_block(transition.env, transition.txs, &options.t8n)?;
    let before = Head { number: next.number.saturating_sub(1), hash: next.parent_hash };
    let state = transition.alloc.map(t8n::accounts).transpose()?;
    let hash = transition.hash.filter(|hash| !hash.is_zero());
    if hash.is_some() {
        // The hash is of a block with all of its transactions.
        next.job.mode = Mode::Verify;
    }
    let hashes = named(next.number, next.parent_hash, next.block_hashes);
    let block = Head { number: next.number, hash: hash.unwrap_or_default() };
    Ok(Incoming {
        job: Job::whole(block, next.job),
        before: state.map(|state| (Arc::new(state), before)),
        hashes,
        places: Arc::new(next.places),
        file: None,
    })
}

/// The hashes of blocks before, without those that are zero, which no block has.
fn named(number: u64, parent: B256, mut hashes: BTreeMap<u64, B256>) -> BTreeMap<u64, B256> {
    if let Some(before) = number.checked_sub(1) {
        hashes.insert(before, parent);
    }
    hashes.retain(|of, hash| *of < number && !hash.is_zero());
    hashes
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
    let ommers = match &file.ommers {
        Some(ommers) => ommers.clone(),
        None if reward.is_some() && file.ommer_count > 0 => {
            return Err(ChainError::Ommers { path: name.to_owned(), number });
        }
        None => Vec::new(),
    };
    let hashes: BTreeMap<u64, B256> = file.source.block_hashes().collect();
    let before = number.saturating_sub(1);
    let parent_hash = file.header.parent_hash.or_else(|| hashes.get(&before).copied()).unwrap_or_default();
    let whole = WholeJob {
        rules: rules.clone(),
        env,
        parent_hash,
        parent_beacon_block_root: file.header.parent_beacon_block_root,
        ommers,
        withdrawals: file.withdrawals.clone(),
        reward,
        transactions: Arc::clone(&file.transactions),
        mode: Mode::Verify,
    };
    let block = Head { number, hash: file.hash(spec).unwrap_or_default() };
    let before = (Arc::clone(&file.source), Head { number: before, hash: parent_hash });
    let file = Arc::new((file, rules));
    let checked = Arc::clone(&file);
    let check = move |output: &Output| {
        let Output::Whole(block) = output else { return Err("not a whole block".to_owned()) };
        let (file, rules) = &*checked;
        file.verify_results(rules, block).map_err(|mismatch| mismatch.to_string())
    };
    Ok(Incoming {
        job: Job::whole(block, whole).check(check),
        before: Some(before),
        hashes: named(number, parent_hash, hashes),
        places: Arc::default(),
        file: Some(file),
    })
}

/// The block at which mainnet took ether from the DAO.
const DAO_BLOCK: u64 = 1_920_000;

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
