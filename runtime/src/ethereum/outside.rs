//! What is executed outside the transactions: its failures are the source's or the block's, and say which.

use std::{fmt, sync::Arc};

use counterpoint_actors::contain;
use counterpoint_state::{SourceError, StateSource};
// Seam: one thread, and a lock only because databases are shared.
use parking_lot::Mutex;
use revm::{
    bytecode::Bytecode,
    database_interface::DatabaseRef,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use super::{BlockError, Phase};

/// The source as a database that remembers its failure. alloy-evm takes whatever goes wrong in a system call for the
/// block's fault.
pub(super) struct Outside {
    source: Arc<dyn StateSource>,
    failure: Arc<Mutex<Option<SourceError>>>,
}

/// Tells the failures of an [`Outside`] from the block's.
pub(super) struct Failures(Arc<Mutex<Option<SourceError>>>);

impl Outside {
    pub(super) fn new(source: Arc<dyn StateSource>) -> (Self, Failures) {
        let failure = Arc::default();
        (Self { source, failure: Arc::clone(&failure) }, Failures(failure))
    }

    fn note<T>(&self, answer: Result<T, SourceError>) -> Result<T, SourceError> {
        if let Err(error) = &answer {
            self.failure.lock().get_or_insert_with(|| error.clone());
        }
        answer
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("failure", &*self.failure.lock()).finish_non_exhaustive()
    }
}

impl Failures {
    /// Does what belongs to this phase. A failure or a panic of the source in it names the phase.
    pub(super) fn contain<T>(
        &self,
        phase: Phase,
        work: impl FnOnce() -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        let _span = tracing::debug_span!("outside", %phase).entered();
        let done = contain(work).unwrap_or_else(|message| {
            let cause = SourceError::new(format!("panicked: {message}"));
            Err(BlockError::Outside { phase, cause })
        });
        done.map_err(|error| match self.0.lock().take() {
            Some(cause) => BlockError::Outside { phase, cause },
            None => error,
        })
    }
}

impl DatabaseRef for Outside {
    type Error = SourceError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.note(self.source.account(address))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, SourceError> {
        self.note(self.source.code(code_hash))
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, SourceError> {
        self.note(self.source.storage(address, index))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, SourceError> {
        self.note(self.source.block_hash(number))
    }
}
