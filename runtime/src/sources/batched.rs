//! Sources that are futures: keys are handed over in batches, and answered from a tokio runtime when they are there.

use std::{fmt, future::Future, io, sync::Arc, time::Instant};

use counterpoint_state::{DeferredSource, Key, Request, StateSource};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use tokio::runtime::{self, Handle, Runtime};

use super::{
    pending::{Pending, answer_all, close_all},
    read_by, wait_for,
};
use crate::observe;

/// A source whose reads are futures.
pub trait AsyncSource: Send + Sync + 'static {
    /// Answers the requests, each when it can, in any order, here or from elsewhere. One that is dropped, by an end
    /// or a panic of the future too, counts as an error.
    fn serve(&self, requests: Vec<Request>) -> impl Future<Output = ()> + Send;
}

/// How much a [`Batched`] source is asked for at a time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Keys in a batch, at most. 0 counts as 1.
    pub batch: usize,
    /// Batches at a time. 0 counts as 1.
    pub concurrent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch: 128, concurrent: 16 }
    }
}

impl Limits {
    /// So many keys in a batch, and so many batches at a time, each at least one.
    pub fn new(batch: usize, concurrent: usize) -> Self {
        Self { batch: batch.max(1), concurrent: concurrent.max(1) }
    }
}

/// An [`AsyncSource`] as a source that answers later.
///
/// While fewer batches than [`Limits::concurrent`] are on their way, what is asked for leaves at once; after that it
/// gathers, so that batches grow with the load. A key that is on its way already is not asked for again.
pub struct Batched<S> {
    shared: Arc<Shared<S>>,
    handle: Handle,
    /// Its own, if it has one.
    runtime: Option<Runtime>,
}

struct Shared<S> {
    source: S,
    limits: Limits,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    pending: Pending,
    /// Batches on their way.
    running: usize,
    closing: bool,
}

impl<S: AsyncSource> Batched<S> {
    /// On a tokio runtime of its own, with one thread.
    ///
    /// # Errors
    ///
    /// The system may refuse the thread.
    pub fn new(source: S, limits: Limits) -> io::Result<Self> {
        let mut builder = runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("counterpoint-async").enable_all().build()?;
        let mut batched = Self::on(runtime.handle().clone(), source, limits);
        batched.runtime = Some(runtime);
        Ok(batched)
    }

    /// On this runtime. Where one thread drives it, that thread must not wait for a block that reads from here.
    pub fn on(handle: Handle, source: S, limits: Limits) -> Self {
        // With a limit of nothing, nothing would ever leave.
        let limits = Limits::new(limits.batch, limits.concurrent);
        let shared = Arc::new(Shared { source, limits, queue: Mutex::default() });
        Self { shared, handle, runtime: None }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.shared.source
    }
}

impl<S: AsyncSource> DeferredSource for Batched<S> {
    fn request(&self, requests: Vec<Request>) {
        let batches = {
            let mut queue = self.shared.queue.lock();
            if queue.closing {
                drop(queue);
                return close_all(requests);
            }
            queue.pending.add(requests);
            let mut batches = Vec::new();
            while queue.running < self.shared.limits.concurrent && queue.pending.has_more() {
                queue.running += 1;
                batches.push(queue.pending.next(self.shared.limits.batch));
            }
            batches
        };
        for batch in batches {
            let lane = Lane { shared: Arc::clone(&self.shared), batch };
            self.handle.spawn(lane.run());
        }
    }
}

/// One batch after the other. Where tokio drops it, since its runtime ends, its keys and those that wait are closed.
struct Lane<S: AsyncSource> {
    shared: Arc<Shared<S>>,
    batch: Vec<Key>,
}

impl<S: AsyncSource> Lane<S> {
    async fn run(mut self) {
        while !self.batch.is_empty() {
            let requests = self.batch.iter().map(|key| self.request(*key)).collect();
            let shared = Arc::clone(&self.shared);
            // On a task of its own, which contains a panic: that drops, and so answers, its requests.
            let begin = Instant::now();
            let _ = tokio::spawn(async move { shared.source.serve(requests).await }).await;
            observe::read("async", begin.elapsed());
            let mut queue = self.shared.queue.lock();
            observe::waiting("async", queue.pending.len());
            self.batch = queue.pending.next(self.shared.limits.batch);
            if self.batch.is_empty() {
                queue.running -= 1;
            }
        }
    }

    /// One request for all who want the key.
    fn request(&self, key: Key) -> Request {
        let shared = Arc::clone(&self.shared);
        Request::new(key, move |answer| {
            let wanted = shared.queue.lock().pending.take(key);
            answer_all(wanted, answer);
        })
    }
}

impl<S: AsyncSource> Drop for Lane<S> {
    fn drop(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut queue = self.shared.queue.lock();
        queue.running -= 1;
        let mut lost = queue.pending.take_waiting();
        lost.extend(self.batch.drain(..).flat_map(|key| queue.pending.take(key)));
        drop(queue);
        close_all(lost);
    }
}

/// At once: the thread that asks waits. It must not be one that drives the runtime.
impl<S: AsyncSource> StateSource for Batched<S> {
    read_by!(wait_for);

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

impl<S> Drop for Batched<S> {
    fn drop(&mut self) {
        let unread = {
            let mut queue = self.shared.queue.lock();
            queue.closing = true;
            queue.pending.take_waiting()
        };
        close_all(unread);
        if let Some(runtime) = self.runtime.take() {
            // A thread that drives a runtime must not wait for another one's end.
            match Handle::try_current() {
                Ok(_) => runtime.shutdown_background(),
                Err(_) => drop(runtime),
            }
        }
    }
}

impl<S> fmt::Debug for Batched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}
