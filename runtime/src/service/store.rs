//! What a service executes on, and commits to.

use std::{error::Error as StdError, fmt, sync::Arc};

use counterpoint_state::{MemorySource, StateSource};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::database::BundleState;

use crate::sources::Head;

/// A store's error.
#[derive(Clone)]
pub struct StoreFailure(Arc<dyn StdError + Send + Sync>);

impl StoreFailure {
    /// Wraps the store's own error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The store's own error, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for StoreFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A state that blocks are committed to.
pub trait Store: Send + Sync + 'static {
    /// The last block.
    ///
    /// # Errors
    ///
    /// A store that has none, or cannot be read.
    fn head(&self) -> Result<Head, StoreFailure>;

    /// The state after the last block, which later commits do not change.
    ///
    /// # Errors
    ///
    /// As [`head`](Self::head).
    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure>;

    /// Adds the block after the last one, whole or not at all. It is there for good when this returns.
    ///
    /// # Errors
    ///
    /// Nothing of the block may be there then. If all of it is, or this panics when it is, [`head`](Self::head) must say so: a
    /// service takes the block for committed.
    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure>;
}

#[cfg(feature = "redb")]
impl Store for crate::sources::redb::RedbStore {
    fn head(&self) -> Result<Head, StoreFailure> {
        use crate::sources::redb::StoreError;
        self.head().and_then(|head| head.ok_or(StoreError::Empty)).map_err(StoreFailure::new)
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        Ok(Arc::new(self.snapshot().map_err(StoreFailure::new)?))
    }

    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure> {
        self.commit(changes, block).map_err(StoreFailure::new)
    }
}

/// A [`MemoryStore`] takes no other block than the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {number} does not follow block {}, the last one", head.number)]
#[non_exhaustive]
pub struct NotNext {
    /// The last block.
    pub head: Head,
    /// The block's number.
    pub number: u64,
}

/// A store in memory: for tests, and for states that fit twice.
///
/// A block that does not follow the last one is refused with [`NotNext`].
#[derive(Debug)]
pub struct MemoryStore(Mutex<(Head, Arc<MemorySource>)>);

impl MemoryStore {
    /// A store with the state after `head`.
    pub fn new(state: MemorySource, head: Head) -> Self {
        Self(Mutex::new((head, Arc::new(state))))
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Head, StoreFailure> {
        Ok(self.0.lock().0)
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        Ok(Arc::clone(&self.0.lock().1) as Arc<dyn StateSource>)
    }

    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure> {
        let mut now = self.0.lock();
        let (head, state) = &mut *now;
        if head.number.checked_add(1) != Some(block.number) {
            return Err(StoreFailure::new(NotNext { head: *head, number: block.number }));
        }
        // Copies it if somebody still reads the state before.
        let state = Arc::make_mut(state);
        state.apply(changes);
        state.insert_block_hash(block.number, block.hash);
        *head = block;
        Ok(())
    }
}
