//! Execution as a service: a supervised actix actor that executes blocks one after the other on a store, and commits
//! them.
//!
//! The actor has a thread of its own (an arbiter), on which it executes; the runtime's workers help. Its mailbox is
//! bounded: who sends more than it holds waits, or is told with [`Service::try_commit`]. What a subscriber hears of comes in
//! the order of commits, and only what the store has acknowledged. A panic costs the message that was handled: the
//! supervisor starts the actor again, which reads the head anew from the store, and goes on with the next message. The thread
//! ends with [`Service::stop`], or soon after the last copy of the [`Service`] is dropped.

mod actor;
mod error;
mod job;
mod places;
mod store;

// Seam: threads that wait for each other at a service's beginning and end, outside of the protocols within a block.
use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use actix::{
    Addr, Arbiter, MailboxError, Recipient, Supervisor, System, dev::ToEnvelope, prelude::SendError,
};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;

pub use actor::{
    Commit, Committed, Execute, ExecutionService, Failed, GetStatistics, ServiceStatistics, Stop, Subscribe,
    SubscribeFailures,
};
pub use error::{ServiceError, StartError};
#[cfg(feature = "ethereum")]
pub use job::WholeJob;
pub use job::{Job, Output};
pub use store::{MemoryStore, NotNext, Store, StoreFailure};

use crate::{CancelToken, Runtime};
use places::Places;

/// How a service is set up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Jobs that may wait, of all copies of the service together, beside the one that is executed. 0 is taken for 1.
    /// Default: 16.
    pub mailbox: usize,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self { mailbox: 16 }
    }
}

/// A running [`ExecutionService`]: sends it messages and waits for what comes back. Cheap to clone.
///
/// When the last copy is dropped, the service does what it was sent so far and ends, and its thread with it. Nobody waits for
/// that; [`stop`](Self::stop) does. A copy of the [`address`](Self::address) keeps nothing alive.
#[derive(Clone)]
pub struct Service(Arc<Running>);

struct Running {
    address: Addr<ExecutionService>,
    arbiter: Mutex<Option<Arbiter>>,
    thread: ThreadId,
    places: Places,
    cancel: CancelToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.address.do_send(Stop);
    }
}

impl Service {
    /// Starts the actor on a thread of its own. There must be an actix [`System`] on this thread.
    ///
    /// # Errors
    ///
    /// There is no system, or the operating system refuses the thread.
    pub fn start(
        runtime: Arc<Runtime>,
        store: Arc<dyn Store>,
        settings: ServiceSettings,
    ) -> Result<Self, StartError> {
        if System::try_current().is_none() {
            return Err(StartError::NoSystem);
        }
        let arbiter = Arbiter::try_new().map_err(StartError::Thread)?;
        let cancel = CancelToken::new();
        let (ready, started) = mpsc::channel();
        let token = cancel.clone();
        let address = Supervisor::start_in_arbiter(&arbiter.handle(), move |_| {
            // Whoever starts it is there, and waits.
            let _ = ready.send(thread::current().id());
            ExecutionService::new(runtime, store, token)
        });
        let ended = |_| StartError::Thread(io::Error::other("it ended at once"));
        let thread = started.recv().map_err(ended)?;
        let places = Places::new(settings.mailbox);
        Ok(Self(Arc::new(Running { address, arbiter: Mutex::new(Some(arbiter)), thread, places, cancel })))
    }

    /// The actor's address. What is sent there is not counted among the jobs that wait, and knows no bound but actix's own.
    pub fn address(&self) -> &Addr<ExecutionService> {
        &self.0.address
    }

    /// Executes a block on the store's state, and changes nothing. If the future is dropped before the service comes to the
    /// block, the block is passed over.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub async fn execute(&self, job: Job) -> Result<Arc<Output>, ServiceError> {
        let place = self.0.places.wait().await?;
        self.send(Execute(job.wait(place))).await?
    }

    /// Executes the next block and commits it. When this returns, the store has it for good. If the future is dropped before
    /// the service comes to the block, the block is passed over.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub async fn commit(&self, job: Job) -> Result<Committed, ServiceError> {
        let place = self.0.places.wait().await?;
        self.send(Commit(job.wait(place))).await?
    }

    /// As [`commit`](Self::commit), but does not wait: what becomes of it, subscribers hear, those of
    /// [`subscribe`](Self::subscribe) or those of [`subscribe_failures`](Self::subscribe_failures). What is handed over at the
    /// moment at which another thread stops the service may be dropped without a word.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Full`] or [`ServiceError::Stopped`].
    pub fn try_commit(&self, job: Job) -> Result<(), ServiceError> {
        let place = self.0.places.try_take()?;
        // A copy of the address always has room: the places alone are the bound.
        self.0.address.clone().try_send(Commit(job.wait(place))).map_err(|error| match error {
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

    /// Has every block sent there that was to be committed from now on and was not, in order. As for
    /// [`subscribe`](Self::subscribe), nobody is waited for.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Stopped`].
    pub async fn subscribe_failures(&self, subscriber: Recipient<Failed>) -> Result<(), ServiceError> {
        self.send(SubscribeFailures(subscriber)).await
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
    /// is answered with [`ServiceError::Stopped`], and so is what still waits for a place in the mailbox. This takes as long
    /// as those blocks take: where a source may never answer, [`stop_within`](Self::stop_within) is better. The service stops
    /// even if the future is dropped before.
    pub async fn stop(&self) {
        self.0.places.close();
        // Twice: actix passes over a message whose answer nobody waits for any more.
        self.0.address.do_send(Stop);
        // Already stopped: all the better.
        let _ = self.send(Stop).await;
        self.0.join();
    }

    /// As [`stop`](Self::stop), but gives up what is not done after this time: the block that is executed ends with
    /// [`ExecuteError::Cancelled`](crate::ExecuteError::Cancelled), those that wait with [`ServiceError::Stopped`]. What is
    /// around the transactions of a whole block, a store's commit, and a source that does not return from a read on the
    /// service's own thread are waited for nevertheless. If the future is dropped before, nothing is given up, and the service
    /// stops as it comes to it.
    pub async fn stop_within(&self, grace: Duration) {
        let (done, waits) = mpsc::channel::<()>();
        let cancel = self.0.cancel.clone();
        let clock = thread::Builder::new().name("counterpoint-stop".to_owned()).spawn(move || {
            if waits.recv_timeout(grace) == Err(RecvTimeoutError::Timeout) {
                cancel.cancel();
            }
        });
        if clock.is_err() {
            // Better at once than never.
            self.0.cancel.cancel();
        }
        self.stop().await;
        drop(done);
        if let Ok(clock) = clock {
            // It hears of the end above.
            let _ = clock.join();
        }
    }

    async fn send<M>(&self, message: M) -> Result<M::Result, ServiceError>
    where
        M: actix::Message<Result: Send> + Send + 'static,
        ExecutionService: actix::Handler<M>,
        actix::Context<ExecutionService>: ToEnvelope<ExecutionService, M>,
    {
        self.0.address.send(message).await.map_err(|error| match error {
            MailboxError::Closed | MailboxError::Timeout => ServiceError::Stopped,
        })
    }
}

impl Running {
    /// Waits for the thread's end, which is near.
    fn join(&self) {
        // The thread itself, which a task that somebody put there may be on, ends after that.
        if thread::current().id() != self.thread {
            // Whoever comes second waits as well.
            let mut arbiter = self.arbiter.lock();
            if let Some(arbiter) = arbiter.take() {
                // Whether it panicked does not matter: it has ended.
                let _ = arbiter.join();
            }
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("connected", &self.0.address.connected()).finish_non_exhaustive()
    }
}
