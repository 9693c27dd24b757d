//! A source that takes its time: each read of another source takes at least so long, as if that lay on a disk or behind a
//! network.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use counterpoint_state::{
    DeferredSource, MemorySource, MissingError, Request, SourceError, StateSource,
    sync::{Condvar, Mutex},
};
use revm::{
    bytecode::Bytecode,
    database_interface::DatabaseRef,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use crate::sources::ask_source;

/// A [`MemorySource`] whose every read takes a while.
///
/// Who asks in revm's way, or in that of a source that answers at once, waits. Who asks for answers later may ask
/// for any number of keys meanwhile; a thread of the source's own answers each when its time has come.
pub struct LatencySource {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    memory: Arc<MemorySource>,
    latency: Duration,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// In the order of asking, which is that of falling due.
    waiting: VecDeque<(Instant, Request)>,
    closing: bool,
}

impl LatencySource {
    /// A source that answers from `memory` after `latency`.
    ///
    /// # Errors
    ///
    /// The system may refuse the thread.
    pub fn new(memory: Arc<MemorySource>, latency: Duration) -> io::Result<Self> {
        let shared = Shared { memory, latency, queue: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("latency".to_owned()).spawn(move || shared.answer_all())?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    fn wait(&self) -> &MemorySource {
        precise_sleep(self.shared.latency);
        &self.shared.memory
    }
}

/// Sleeps so long and little longer.
fn precise_sleep(time: Duration) {
    thread_local! {
        // Linux would add 50 us, to wake several at a time.
        static PRECISE: () = {
            #[cfg(target_os = "linux")]
            let _ = nix::sys::prctl::set_timerslack(1);
        };
    }
    PRECISE.with(|()| thread::sleep(time));
}

impl Shared {
    fn answer_all(&self) {
        let mut queue = self.queue.lock();
        while !queue.closing {
            let Some((due, _)) = queue.waiting.front() else {
                self.changed.wait(&mut queue);
                continue;
            };
            let now = Instant::now();
            if let Some(left) = due.checked_duration_since(now).filter(|left| !left.is_zero()) {
                drop(queue);
                precise_sleep(left);
                queue = self.queue.lock();
                continue;
            }
            let due = queue.waiting.partition_point(|(due, _)| *due <= now);
            let due: Vec<_> = queue.waiting.drain(..due).collect();
            drop(queue);
            for (_, request) in due {
                let answer = ask_source(&*self.memory, request.key());
                request.answer(answer);
            }
            queue = self.queue.lock();
        }
    }
}

impl DeferredSource for LatencySource {
    fn request(&self, requests: Vec<Request>) {
        let due = Instant::now() + self.shared.latency;
        let mut queue = self.shared.queue.lock();
        let sleeps = queue.waiting.is_empty();
        queue.waiting.extend(requests.into_iter().map(|request| (due, request)));
        drop(queue);
        if sleeps {
            self.shared.changed.notify_all();
        }
    }
}

impl StateSource for LatencySource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.wait().account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.wait().storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.wait().code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.wait().block_hash(number)
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }
}

impl DatabaseRef for LatencySource {
    type Error = MissingError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, MissingError> {
        self.wait().basic_ref(address)
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, MissingError> {
        self.wait().code_by_hash_ref(code_hash)
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, MissingError> {
        self.wait().storage_ref(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, MissingError> {
        self.wait().block_hash_ref(number)
    }
}

impl Drop for LatencySource {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for LatencySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencySource").field("latency", &self.shared.latency).finish_non_exhaustive()
    }
}
