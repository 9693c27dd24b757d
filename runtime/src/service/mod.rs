//! Execution as a service: a supervised actix actor that executes blocks one after the other on a store, and commits
//! them.
//!
//! The actor has a thread of its own (an arbiter), on which it executes; the runtime's workers help. Its mailbox is
//! bounded: who sends more than it holds waits, or is told with [`Service::try_commit`]. What a subscriber hears of comes in
//! the order of commits, and only what the store has acknowledged. A panic costs the message that was handled: the
//! supervisor starts the actor again, which reads the head anew from the store, and goes on with the next message.

mod actor;
mod job;
mod store;

use std::{
    fmt, io,
    sync::{Arc, atomic::AtomicUsize, mpsc},
};

use actix::{Addr, Arbiter, MailboxError, Recipient, Supervisor, dev::ToEnvelope, prelude::SendError};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;

pub use actor::{
    Commit, Committed, Execute, ExecutionService, GetStatistics, ServiceStatistics, Stop, Subscribe,
};
#[cfg(feature = "ethereum")]
pub use job::WholeJob;
pub use job::{Job, Output};
pub use store::{MemoryStore, Store, StoreFailure};

use crate::{ExecuteError, Runtime, sources::Head};

/// Why a job came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The block could not be executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The whole block is not valid, or could not be executed.
    #[cfg(feature = "ethereum")]
    #[error(transparent)]
    Block(Arc<crate::ethereum::BlockError>),
    /// The block does not follow the last one.
    #[error("block {number} does not follow block {}, the last one", head.number)]
    NotNext {
        /// The last block.
        head: Head,
        /// The block's number.
        number: u64,
    },
    /// What came out is not what the job's [`check`](Job::check) expects.
    #[error("{0}")]
    Rejected(String),
    /// The store failed.
    #[error("store: {0}")]
    Store(StoreFailure),
    /// Something panicked on the way. The service goes on.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The mailbox is full ([`Service::try_commit`]).
    #[error("the mailbox is full")]
    Full,
    /// The service has stopped, or will before it comes to this.
    #[error("the service has stopped")]
    Stopped,
}

/// How a service is set up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Messages that the mailbox holds. Each sender may have one more under way. Default: 16.
    pub mailbox: usize,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self { mailbox: 16 }
    }
}

/// A running [`ExecutionService`]: sends it messages and waits for what comes back. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    address: Addr<ExecutionService>,
    arbiter: Arc<Mutex<Option<Arbiter>>>,
    /// Jobs that were handed over and not taken up.
    waiting: Arc<AtomicUsize>,
}

impl Service {
    /// Starts the actor on a thread of its own. There must be an actix [`System`](actix::System) on this thread.
    ///
    /// # Errors
    ///
    /// The system may refuse the thread.
    pub fn start(
        runtime: Arc<Runtime>,
        store: Arc<dyn Store>,
        settings: ServiceSettings,
    ) -> io::Result<Self> {
        let arbiter = Arbiter::try_new()?;
        let (ready, started) = mpsc::channel();
        let address = Supervisor::start_in_arbiter(&arbiter.handle(), move |context| {
            context.set_mailbox_capacity(settings.mailbox);
            // Whoever starts it is there, and waits.
            let _ = ready.send(());
            ExecutionService::new(runtime, store)
        });
        // Until then the mailbox is larger.
        started.recv().map_err(|_| io::Error::other("the service's thread ended"))?;
        Ok(Self { address, arbiter: Arc::new(Mutex::new(Some(arbiter))), waiting: Arc::default() })
    }

    /// The actor's address. `do_send` ignores the mailbox's bound.
    pub fn address(&self) -> &Addr<ExecutionService> {
        &self.address
    }

    /// Executes a block on the store's state, and changes nothing.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub async fn execute(&self, job: Job) -> Result<Arc<Output>, ServiceError> {
        self.send(Execute(job.wait(&self.waiting))).await?
    }

    /// Executes the next block and commits it. When this returns, the store has it for good.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub async fn commit(&self, job: Job) -> Result<Committed, ServiceError> {
        self.send(Commit(job.wait(&self.waiting))).await?
    }

    /// As [`commit`](Self::commit), but does not wait: what becomes of it, subscribers hear.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Full`] or [`ServiceError::Stopped`].
    pub fn try_commit(&self, job: Job) -> Result<(), ServiceError> {
        self.address.try_send(Commit(job.wait(&self.waiting))).map_err(|error| match error {
            SendError::Full(_) => ServiceError::Full,
            SendError::Closed(_) => ServiceError::Stopped,
        })
    }

    /// Has every block that is committed from now on sent there, in order. A subscriber that does not take it is not waited
    /// for; one that is gone is forgotten.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Stopped`].
    pub async fn subscribe(&self, subscriber: Recipient<Committed>) -> Result<(), ServiceError> {
        self.send(Subscribe(subscriber)).await
    }

    /// How it does.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Stopped`].
    pub async fn statistics(&self) -> Result<ServiceStatistics, ServiceError> {
        self.send(GetStatistics).await
    }

    /// Stops the service when it has done what it was sent so far, and waits for the end of its thread. What is sent later
    /// is answered with [`ServiceError::Stopped`].
    pub async fn stop(&self) {
        // Already stopped: all the better.
        let _ = self.send(Stop).await;
        let arbiter = self.arbiter.lock().take();
        if let Some(arbiter) = arbiter {
            arbiter.stop();
            // It has nothing left to do but to end.
            let _ = arbiter.join();
        }
    }

    async fn send<M>(&self, message: M) -> Result<M::Result, ServiceError>
    where
        M: actix::Message<Result: Send> + Send + 'static,
        ExecutionService: actix::Handler<M>,
        actix::Context<ExecutionService>: ToEnvelope<ExecutionService, M>,
    {
        self.address.send(message).await.map_err(|error| match error {
            MailboxError::Closed | MailboxError::Timeout => ServiceError::Stopped,
        })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("connected", &self.address.connected()).finish_non_exhaustive()
    }
}
