//! A source that fails or panics, for some keys or after some questions.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use counterpoint::state::{MemorySource, SourceError, StateSource};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    database_interface::DBErrorMarker,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

/// The end of every panic message that is part of the test: nothing is printed of those.
pub(crate) const EXPECTED: &str = "(this panic is part of the test)";

/// When the source does not answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Never,
    /// For one key in so many: sequential execution meets the same.
    Key(u64),
    /// Once, at the question with this number: which it is, is left to chance.
    Question(u64),
}

/// No answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the source has no answer, as it should")]
pub(crate) struct NoAnswer;

impl DBErrorMarker for NoAnswer {}

/// A source in memory that may fail.
#[derive(Debug)]
pub(crate) struct FaultySource {
    pub(crate) memory: Arc<MemorySource>,
    pub(crate) seed: u64,
    pub(crate) when: When,
    pub(crate) panics: bool,
    pub(crate) asked: AtomicU64,
}

impl FaultySource {
    fn ask(&self, key: impl Hash) -> Result<(), NoAnswer> {
        let fails = match self.when {
            When::Never => false,
            When::Key(one_in) => {
                let mut hasher = DefaultHasher::new();
                (self.seed, key).hash(&mut hasher);
                hasher.finish().is_multiple_of(one_in)
            }
            When::Question(number) => self.asked.fetch_add(1, Ordering::Relaxed) == number,
        };
        if !fails {
            return Ok(());
        }
        assert!(!self.panics, "{NoAnswer} {EXPECTED}");
        Err(NoAnswer)
    }
}

impl DatabaseRef for FaultySource {
    type Error = NoAnswer;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, NoAnswer> {
        self.ask(address)?;
        self.memory.basic_ref(address).map_err(|_| NoAnswer)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, NoAnswer> {
        self.ask((address, slot))?;
        self.memory.storage_ref(address, slot).map_err(|_| NoAnswer)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, NoAnswer> {
        self.ask(hash)?;
        self.memory.code_by_hash_ref(hash).map_err(|_| NoAnswer)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, NoAnswer> {
        self.ask(number)?;
        self.memory.block_hash_ref(number).map_err(|_| NoAnswer)
    }
}

impl StateSource for FaultySource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.basic_ref(address).map_err(SourceError::new)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.storage_ref(address, slot).map_err(SourceError::new)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.code_by_hash_ref(hash).map_err(SourceError::new)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.block_hash_ref(number).map_err(SourceError::new)
    }
}
