//! What a transaction calls, as far as calls of the same kind behave alike.

use counterpoint_actors::Selector;
use revm::{
    context::TxEnv,
    primitives::{Address, TxKind},
};
use smallvec::SmallVec;

/// Arguments that are looked at.
const ARGUMENTS: usize = 8;

/// The function that a transaction calls.
pub(crate) fn function(transaction: &TxEnv) -> Option<(Address, Selector)> {
    let TxKind::Call(to) = transaction.kind else { return None };
    let selector = transaction.data.first_chunk::<4>().copied()?;
    Some((to, selector))
}

/// The addresses among the arguments of the function, the sender's own left out.
pub(crate) fn addresses(transaction: &TxEnv) -> SmallVec<[&[u8]; ARGUMENTS]> {
    let arguments = transaction.data.get(size_of::<Selector>()..).unwrap_or_default();
    // An address in a word: twelve zeros, and then not another few, which would make it a small number.
    let is_address = |word: &&[u8]| {
        word[..12].iter().all(|byte| *byte == 0)
            && word[12..16].iter().any(|byte| *byte != 0)
            && word[12..] != transaction.caller[..]
    };
    arguments.chunks_exact(32).take(ARGUMENTS).filter(is_address).collect()
}
