//! The block-file format: one block with the state before it, as JSON, gzipped or plain.
//!
//! A file is one object of three keys. `block` is a node's answer to `eth_getBlockByNumber(number, true)`;
//! `preState` maps an address to `{balance, nonce, code, storage}` before the block; `blockHashes` maps the
//! number of an ancestor to its hash. Numbers are `0x` hex quantities. A fourth one, `ommers`, may list the headers of the
//! block's ommers, as `eth_getUncleByBlockHashAndIndex` gives them: before the merge their miners are rewarded.
//!
//! What the file says of itself is compared by [`BlockFile::verify`] and [`BlockFile::verify_results`], each as far as
//! the file goes: what is missing is not checked.

mod contents;
mod error;
mod fields;
mod header;
mod signed;
mod transaction;
mod verify;
mod write;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_rpc_types_eth::Withdrawal;
use counterpoint_state::MemorySource;
use flate2::read::MultiGzDecoder;
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::{B256, hardfork::SpecId},
};

pub use self::{
    error::{Error, FieldError, Place, Problem, Reason},
    header::Header,
    verify::Mismatch,
    write::{HeaderResults, to_json},
};
use super::forks;
use crate::{
    Block, Mode,
    ethereum::{Ommer, Transaction},
};

/// Every gzip member begins with these.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file that unpacks to more is refused; real blocks stay below a hundredth of it.
const LARGEST_FILE: u64 = 1 << 30;

/// One block with everything that executing it needs.
#[derive(Clone, Debug)]
pub struct BlockFile {
    /// The block's header.
    pub header: Header,
    /// The block's transactions, in order.
    pub transactions: Arc<[TxEnv]>,
    /// The same with their signatures, if the file has all of them.
    pub signed: Option<Arc<[Transaction]>>,
    /// The block's withdrawals, where the fork has them.
    pub withdrawals: Option<Vec<Withdrawal>>,
    /// How many ommers the block has.
    pub ommer_count: usize,
    /// The ommers, if the file has their headers.
    pub ommers: Option<Vec<Ommer>>,
    /// The hash of the ommers' headers, if there are none or the file has all of each.
    pub ommers_hash: Option<B256>,
    /// The state before the block.
    pub source: Arc<MemorySource>,
}

impl BlockFile {
    /// Reads a block file, gzipped or plain whatever it is called.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Problem::Read).and_then(unpack);
        let bytes = bytes.map_err(|problem| Error::new(path.to_owned(), None, problem))?;
        Self::from_json_at(&bytes, path.to_owned())
    }

    /// Parses a block file's JSON; `name` is what errors call the file.
    pub fn from_json(json: &[u8], name: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::from_json_at(json, name.into())
    }

    fn from_json_at(json: &[u8], path: PathBuf) -> Result<Self, Error> {
        let mut number = None;
        contents::parse(json, &mut number).map_err(|problem| Error::new(path, number, problem))
    }

    /// The hard fork that mainnet's schedule gives the block.
    pub fn spec(&self) -> SpecId {
        forks::mainnet(self.header.number, self.header.timestamp)
    }

    /// The chain that the transactions or their signatures name, mainnet if none does.
    pub fn chain_id(&self) -> u64 {
        let named = || self.transactions.iter().find_map(|transaction| transaction.chain_id);
        let signed = || self.signed.as_deref()?.iter().find_map(|transaction| transaction.chain_id());
        named().or_else(signed).unwrap_or(1)
    }

    /// The environment and configuration to execute the block with. It fails if the header lacks a field
    /// that the hard fork needs; `name` is what the error calls the file.
    pub fn environment(&self, spec: SpecId, name: &Path) -> Result<(BlockEnv, CfgEnv), Error> {
        let cfg = forks::configuration(spec, self.header.timestamp, self.chain_id());
        let env = self
            .header
            .environment(&cfg)
            .map_err(|error| Error::new(name.to_owned(), Some(self.header.number), error.into()))?;
        Ok((env, cfg))
    }

    /// The block as [`Runtime::execute`](crate::Runtime::execute) takes it.
    pub fn block(&self, spec: SpecId, mode: Mode, name: &Path) -> Result<Block, Error> {
        let (env, cfg) = self.environment(spec, name)?;
        let (transactions, source) = (Arc::clone(&self.transactions), Arc::clone(&self.source));
        Ok(Block { env, cfg, transactions, source, mode })
    }
}

/// What is in a file, gzipped or plain; `path` is what the error calls it.
pub(super) fn unpack_at(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>, Error> {
    unpack(bytes).map_err(|problem| Error::new(path.to_owned(), None, problem))
}

fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut unpacked)
        .map_err(Problem::Gzip)?;
    if unpacked.len() as u64 > LARGEST_FILE {
        return Err(Problem::TooLarge(LARGEST_FILE));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests;
