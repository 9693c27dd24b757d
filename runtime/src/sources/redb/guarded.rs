//! redb panics over some damaged files: that is an error, and goes no further.

use counterpoint_actors::contain;

use super::StoreError;

/// Has redb do something.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    contain(work).unwrap_or_else(|message| Err(StoreError::Panicked(message)))
}

/// Something of redb's that may panic whenever it is used, and at its end.
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(Some(inner))
    }

    /// Has redb do something with it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&T) -> Result<R, StoreError>) -> Result<R, StoreError> {
        guard(|| work(self.0.as_ref().expect("it goes with this")))
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let inner = self.0.take();
        let _ = contain(|| drop(inner));
    }
}
