//! The mailbox's bound: one for all copies of a service, since actix gives each copy of an address room of its own.

// Seam: a count, outside of the protocols within a block.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::ServiceError;
use crate::observe;

/// Where jobs wait for a service.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(places)), taken: Arc::default() }
    }

    /// A place, when one is free. Whoever comes first gets it first.
    pub(super) async fn wait(&self) -> Result<Place, ServiceError> {
        let since = Instant::now();
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| ServiceError::Stopped)?;
        Ok(self.take(since, permit))
    }

    /// A place, if one is free.
    pub(super) fn try_take(&self) -> Result<Place, ServiceError> {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Ok(self.take(Instant::now(), permit)),
            Err(TryAcquireError::NoPermits) => Err(ServiceError::Full),
            Err(TryAcquireError::Closed) => Err(ServiceError::Stopped),
        }
    }

    /// From now on there are none: whoever waits for one is told.
    pub(super) fn close(&self) {
        self.free.close();
    }

    fn take(&self, since: Instant, permit: OwnedSemaphorePermit) -> Place {
        // Relaxed: a count.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        observe::queued(before + 1);
        Place { since, taken: Arc::clone(&self.taken), _permit: permit }
    }
}

/// A job's place in the mailbox, until it is dropped.
pub(super) struct Place {
    /// When the job was handed over.
    pub(super) since: Instant,
    taken: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Relaxed: a count.
        let before = self.taken.fetch_sub(1, Ordering::Relaxed);
        observe::queued(before - 1);
    }
}
