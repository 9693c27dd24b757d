//! The actor: one message at a time, on its own thread.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Context, Handler, Message, Recipient, Supervised, prelude::SendError};
use counterpoint_actors::panic_message;

use super::{Job, Output, ServiceError, Store};
use crate::{Runtime, observe, sources::Head};

/// Executes a block on the state as it is, and changes nothing.
#[derive(Debug)]
pub struct Execute(pub Job);

impl Message for Execute {
    type Result = Result<Arc<Output>, ServiceError>;
}

/// Executes the next block and commits it.
#[derive(Debug)]
pub struct Commit(pub Job);

impl Message for Commit {
    type Result = Result<Committed, ServiceError>;
}

/// A block that the store has acknowledged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Committed {
    /// The block.
    pub block: Head,
    /// What came out of it.
    pub output: Arc<Output>,
}

impl Message for Committed {
    type Result = ();
}

/// Has committed blocks sent there.
pub struct Subscribe(pub Recipient<Committed>);

impl Message for Subscribe {
    type Result = ();
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscribe").finish()
    }
}

/// Asks how the service does.
#[derive(Clone, Copy, Debug)]
pub struct GetStatistics;

impl Message for GetStatistics {
    type Result = ServiceStatistics;
}

/// What a service has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceStatistics {
    /// Blocks that were committed.
    pub committed: u64,
    /// Their transactions.
    pub transactions: u64,
    /// Gas that they used.
    pub gas_used: u64,
    /// Jobs that came to nothing.
    pub failed: u64,
    /// How often the actor was started again.
    pub restarts: u64,
    /// Committed blocks that a subscriber did not take.
    pub missed: u64,
    /// Time in execution.
    pub executing: Duration,
    /// Time in the store's commits.
    pub committing: Duration,
}

/// Stops the service when it has done what came before.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

impl Message for Stop {
    type Result = ();
}

/// The actor. [`Service::start`](super::Service::start) starts it supervised, on a thread of its own.
pub struct ExecutionService {
    runtime: Arc<Runtime>,
    store: Arc<dyn Store>,
    subscribers: Vec<Recipient<Committed>>,
    statistics: ServiceStatistics,
    stopped: bool,
}

impl ExecutionService {
    pub(super) fn new(runtime: Arc<Runtime>, store: Arc<dyn Store>) -> Self {
        Self {
            runtime,
            store,
            subscribers: Vec::new(),
            statistics: ServiceStatistics::default(),
            stopped: false,
        }
    }

    /// Does something, contained. After a panic, the supervisor starts the actor again.
    fn contain<T>(
        &mut self,
        context: &mut Context<Self>,
        work: impl FnOnce(&mut Self) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if self.stopped {
            return Err(ServiceError::Stopped);
        }
        let done = catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or_else(|panic| {
            context.stop();
            Err(ServiceError::Panicked(panic_message(&*panic)))
        });
        self.statistics.failed += u64::from(done.is_err());
        done
    }

    fn execute(&mut self, mut job: Job) -> Result<Output, ServiceError> {
        job.arrive();
        let begin = Instant::now();
        let source = self.store.state().map_err(ServiceError::Store)?;
        let output = job.execute(&self.runtime, source);
        self.statistics.executing += begin.elapsed();
        output
    }

    fn commit(&mut self, mut job: Job) -> Result<Committed, ServiceError> {
        let since = job.arrive();
        let _entered = tracing::debug_span!("commit", number = job.block.number).entered();
        let (block, transactions) = (job.block, job.len());
        // Read from the store each time: it alone knows what is acknowledged.
        let head = self.store.head().map_err(ServiceError::Store)?;
        if head.number.checked_add(1) != Some(block.number) {
            return Err(ServiceError::NotNext { head, number: block.number });
        }
        let output = Arc::new(self.execute(job)?);
        let begin = Instant::now();
        self.store.commit(output.bundle(), block).map_err(ServiceError::Store)?;
        let elapsed = begin.elapsed();
        observe::committed(elapsed, since.elapsed());
        self.statistics.committing += elapsed;
        self.statistics.committed += 1;
        self.statistics.transactions += transactions as u64;
        self.statistics.gas_used += output.gas_used();
        let committed = Committed { block, output };
        let missed = &mut self.statistics.missed;
        self.subscribers.retain(|subscriber| match subscriber.try_send(committed.clone()) {
            Ok(()) => true,
            Err(SendError::Full(_)) => {
                *missed += 1;
                true
            }
            Err(SendError::Closed(_)) => false,
        });
        Ok(committed)
    }
}

impl Actor for ExecutionService {
    type Context = Context<Self>;
}

impl Supervised for ExecutionService {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.statistics.restarts += 1;
        tracing::warn!(restarts = self.statistics.restarts, "the execution service starts again");
    }
}

impl Handler<Execute> for ExecutionService {
    type Result = Result<Arc<Output>, ServiceError>;

    fn handle(&mut self, Execute(job): Execute, context: &mut Context<Self>) -> Self::Result {
        self.contain(context, |service| service.execute(job).map(Arc::new))
    }
}

impl Handler<Commit> for ExecutionService {
    type Result = Result<Committed, ServiceError>;

    fn handle(&mut self, Commit(job): Commit, context: &mut Context<Self>) -> Self::Result {
        self.contain(context, |service| service.commit(job))
    }
}

impl Handler<Subscribe> for ExecutionService {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Context<Self>) {
        self.subscribers.push(subscriber);
    }
}

impl Handler<GetStatistics> for ExecutionService {
    type Result = actix::MessageResult<GetStatistics>;

    fn handle(&mut self, _: GetStatistics, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.statistics)
    }
}

impl Handler<Stop> for ExecutionService {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) {
        self.stopped = true;
        self.subscribers.clear();
    }
}

impl fmt::Debug for ExecutionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionService").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}
