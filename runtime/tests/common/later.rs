//! Sources that answer later, and only so.

use std::sync::Arc;

use counterpoint::state::{Answer, DeferredSource, Key, SourceError, StateSource};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

/// A source that must not be asked for an answer at once.
pub(crate) struct Later<D>(pub(crate) Arc<D>);

impl<D: DeferredSource> StateSource for Later<D> {
    fn account(&self, _: Address) -> Result<Option<AccountInfo>, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn storage(&self, _: Address, _: U256) -> Result<U256, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn code(&self, _: B256) -> Result<Bytecode, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn block_hash(&self, _: u64) -> Result<B256, SourceError> {
        unreachable!("it is asked in the other way")
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(&*self.0)
    }
}

/// What a source that answers at once says of a key.
pub(crate) fn answer(source: &dyn StateSource, key: Key) -> Result<Answer, SourceError> {
    Ok(match key {
        Key::Account(address) => Answer::Account(source.account(address)?),
        Key::Storage(address, slot) => Answer::Storage(source.storage(address, slot)?),
        Key::Code(hash) => Answer::Code(source.code(hash)?),
        Key::BlockHash(number) => Answer::BlockHash(source.block_hash(number)?),
    })
}
