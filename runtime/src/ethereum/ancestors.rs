//! The blocks that a block follows.

use alloy_consensus::Header;
use revm::primitives::B256;

/// A block that another one follows.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Its hash.
    pub hash: B256,
    /// Its header.
    pub header: Header,
    /// The hashes of its ommers.
    pub ommers: Vec<B256>,
}
