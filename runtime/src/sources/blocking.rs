//! Databases that block: a few threads wait for them, so that no worker does.

use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use counterpoint_actors::contain;
use counterpoint_state::{Answer, DeferredSource, Key, Request, SourceError, StateSource};
// Seam: a source's own threads and their queue, outside of blocks.
use parking_lot::{Condvar, Mutex};
use revm::database_interface::DatabaseRef;

use super::{
    ReadError, ask_database,
    pending::{Pending, answer_all, close_all},
    read_by,
};
use crate::observe;

/// A source has so many threads at most.
const MOST_THREADS: usize = 4_096;

/// Any database of revm's as a source that answers later: its own threads read, while the fibers that need the values are
/// parked.
///
/// Keys are read in the order of asking, as many at a time as there are threads, each once however many want it. The
/// database's errors and panics become [`ReadError`]s. Dropping the source joins its threads: what they are reading they
/// still read, the rest is answered with an error.
pub struct BlockingSource<D> {
    shared: Arc<Shared<D>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<D> {
    database: D,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    pending: Pending,
    closing: bool,
}

impl<D: DatabaseRef + Send + Sync + 'static> BlockingSource<D> {
    /// A source that reads `database` on so many threads, at least one. As many as the database has use for at a time: for
    /// a disk some 8 to 32.
    ///
    /// # Errors
    ///
    /// More than 4096 threads are an [`InvalidInput`](io::ErrorKind::InvalidInput), and the system may refuse a thread.
    pub fn new(database: D, threads: usize) -> io::Result<Self> {
        if threads > MOST_THREADS {
            let message = format!("{threads} threads are more than {MOST_THREADS}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let shared = Arc::new(Shared { database, queue: Mutex::default(), changed: Condvar::new() });
        let mut source = Self { shared, threads: Vec::with_capacity(threads) };
        // If a thread is refused, dropping the source joins the others.
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&source.shared);
            let thread = thread::Builder::new().name(format!("counterpoint-io-{number}"));
            source.threads.push(thread.spawn(move || shared.serve())?);
        }
        Ok(source)
    }
}

impl<D> BlockingSource<D> {
    /// The database.
    pub fn database(&self) -> &D {
        &self.shared.database
    }
}

impl<D: DatabaseRef> Shared<D> {
    fn serve(&self) {
        let mut queue = self.queue.lock();
        while !queue.closing {
            let Some(&key) = queue.pending.next(1).first() else {
                self.changed.wait(&mut queue);
                continue;
            };
            drop(queue);
            let begin = Instant::now();
            let answer = self.read(key);
            observe::read("blocking", begin.elapsed());
            let (wanted, waiting) = {
                let mut queue = self.queue.lock();
                (queue.pending.take(key), queue.pending.len())
            };
            observe::waiting("blocking", waiting);
            answer_all(wanted, answer);
            queue = self.queue.lock();
        }
    }

    fn read(&self, key: Key) -> Result<Answer, SourceError> {
        match contain(|| ask_database(&self.database, key)) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(SourceError::new(ReadError::Failed { key, cause: Box::new(error) })),
            Err(message) => Err(SourceError::new(ReadError::Panicked { key, message })),
        }
    }
}

impl<D: DatabaseRef + Send + Sync> DeferredSource for BlockingSource<D> {
    fn request(&self, requests: Vec<Request>) {
        let new = self.shared.queue.lock().pending.add(requests);
        if new >= self.threads.len() {
            self.shared.changed.notify_all();
        } else {
            for _ in 0..new {
                self.shared.changed.notify_one();
            }
        }
    }
}

/// At once: on the thread that asks.
impl<D: DatabaseRef + Send + Sync> StateSource for BlockingSource<D> {
    read_by!(|source: &Self, key| source.shared.read(key));

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

impl<D> Drop for BlockingSource<D> {
    fn drop(&mut self) {
        let unread = {
            let mut queue = self.shared.queue.lock();
            queue.closing = true;
            queue.pending.take_waiting()
        };
        self.shared.changed.notify_all();
        close_all(unread);
        let here = thread::current().id();
        for thread in self.threads.drain(..) {
            // Whoever takes an answer may drop the last reference to the source, on one of its own threads.
            if thread.thread().id() != here {
                // It does not panic: the database is contained, and so is who takes an answer.
                let _ = thread.join();
            }
        }
    }
}

impl<D> fmt::Debug for BlockingSource<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingSource").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
