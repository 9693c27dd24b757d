//! The last block of a state.

use revm::primitives::B256;

/// The block that a state is the state after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}
