//! The actor: one message at a time, on its own thread.

use std::{
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, Arbiter, Context, Handler, Message, Recipient, Supervised, prelude::SendError,
};
use counterpoint_actors::contain;

use super::{Job, Output, ServiceError, Store};
use crate::{CancelToken, Runtime, observe, sources::Head};

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

/// A block that was to be committed, and was not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The block.
    pub block: Head,
    /// Why not.
    pub error: ServiceError,
}

impl Message for Failed {
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

/// Has blocks sent there that were not committed.
pub struct SubscribeFailures(pub Recipient<Failed>);

impl Message for SubscribeFailures {
    type Result = ();
}

impl fmt::Debug for SubscribeFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubscribeFailures").finish()
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
    /// Jobs that were begun and came to nothing.
    pub failed: u64,
    /// How often the actor was started again.
    pub restarts: u64,
    /// Committed blocks and failures that a subscriber did not take.
    pub missed: u64,
    /// Time in execution.
    pub executing: Duration,
    /// Time in the store's commits.
    pub committing: Duration,
}

/// Stops the service and ends its thread when it has done what came before.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

impl Message for Stop {
    type Result = ();
}

/// The actor. [`Service::start`](super::Service::start) starts it supervised, on a thread of its own.
pub struct ExecutionService {
    runtime: Arc<Runtime>,
    store: Arc<dyn Store>,
    /// Ends what is executed, and keeps from beginning what is not.
    cancel: CancelToken,
    subscribers: Vec<Recipient<Committed>>,
    failure_subscribers: Vec<Recipient<Failed>>,
    statistics: ServiceStatistics,
    stopped: bool,
    /// Something panicked while the message was handled.
    panicked: bool,
}

/// Sends it to all of them, forgets those that are gone, and counts those that do not take it.
fn tell<M>(subscribers: &mut Vec<Recipient<M>>, missed: &mut u64, message: &M)
where
    M: Message<Result = ()> + Clone + Send,
{
    subscribers.retain(|subscriber| match subscriber.try_send(message.clone()) {
        Ok(()) => true,
        Err(SendError::Full(_)) => {
            *missed += 1;
            true
        }
        Err(SendError::Closed(_)) => false,
    });
}

impl ExecutionService {
    pub(super) fn new(runtime: Arc<Runtime>, store: Arc<dyn Store>, cancel: CancelToken) -> Self {
        Self {
            runtime,
            store,
            cancel,
            subscribers: Vec::new(),
            failure_subscribers: Vec::new(),
            statistics: ServiceStatistics::default(),
            stopped: false,
            panicked: false,
        }
    }

    /// Does something, contained. After a panic, the supervisor starts the actor again.
    fn contain<T>(
        &mut self,
        context: &mut Context<Self>,
        work: impl FnOnce(&mut Self) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if self.stopped || self.cancel.is_cancelled() {
            return Err(ServiceError::Stopped);
        }
        let done = contain(|| work(self)).unwrap_or_else(|message| Err(self.panicked(message)));
        if mem::take(&mut self.panicked) {
            context.stop();
        }
        self.statistics.failed += u64::from(done.is_err());
        done
    }

    fn panicked(&mut self, message: String) -> ServiceError {
        self.panicked = true;
        ServiceError::Panicked(message)
    }

    fn execute(&mut self, mut job: Job) -> Result<Output, ServiceError> {
        job.arrive();
        let begin = Instant::now();
        let source = self.store.state().map_err(ServiceError::Store)?;
        let output = job.execute(&self.runtime, source, &self.cancel);
        self.statistics.executing += begin.elapsed();
        output
    }

    fn commit(&mut self, mut job: Job) -> Result<Committed, ServiceError> {
        let since = job.arrive();
        let _entered = tracing::debug_span!("commit", number = job.block.number).entered();
        let (block, transactions) = (job.block, job.len());
        // Read from the store each time: it alone knows what is acknowledged.
        let head = self.store.head().map_err(ServiceError::Store)?;
        job.follows(head)?;
        let output = Arc::new(self.execute(job)?);
        let begin = Instant::now();
        self.commit_output(&output, block)?;
        let elapsed = begin.elapsed();
        observe::committed(elapsed, since.elapsed());
        self.statistics.committing += elapsed;
        self.statistics.committed += 1;
        self.statistics.transactions += transactions as u64;
        self.statistics.gas_used += output.gas_used();
        let committed = Committed { block, output };
        tell(&mut self.subscribers, &mut self.statistics.missed, &committed);
        Ok(committed)
    }

    /// A store that fails or panics may have the block nevertheless: its head says so.
    fn commit_output(&mut self, output: &Output, block: Head) -> Result<(), ServiceError> {
        let store = Arc::clone(&self.store);
        let done = contain(|| store.commit(output.bundle(), block));
        let error = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => ServiceError::Store(error),
            Err(message) => self.panicked(message),
        };
        if store.head().is_ok_and(|head| head == block) {
            tracing::warn!(number = block.number, %error, "the store failed after it had committed the block");
            return Ok(());
        }
        Err(error)
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
        let block = job.block;
        let done = self.contain(context, |service| service.commit(job));
        if let Err(error) = &done {
            let failed = Failed { block, error: error.clone() };
            tell(&mut self.failure_subscribers, &mut self.statistics.missed, &failed);
        }
        done
    }
}

impl Handler<Subscribe> for ExecutionService {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Context<Self>) {
        self.subscribers.push(subscriber);
    }
}

impl Handler<SubscribeFailures> for ExecutionService {
    type Result = ();

    fn handle(&mut self, SubscribeFailures(subscriber): SubscribeFailures, _: &mut Context<Self>) {
        self.failure_subscribers.push(subscriber);
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
        // It is the service's own. What is still in the mailbox is dropped with it, and whoever waits for that is told.
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.stop();
        }
    }
}

impl fmt::Debug for ExecutionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionService").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}
