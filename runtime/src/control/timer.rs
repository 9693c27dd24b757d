//! The runtime's timer: a thread that ends blocks at their deadlines, started with the first of them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

// Seam: one thread that sleeps until the next deadline.
use parking_lot::{Condvar, Mutex};

use super::Stop;
use crate::ExecuteError;

/// Ends blocks at their deadlines. Dropping it joins its thread.
#[derive(Default)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

#[derive(Default)]
struct Alarms {
    last: u64,
    /// By time, and those of one time by number.
    set: BTreeMap<(Instant, u64), Stop>,
    closing: bool,
}

/// A deadline, until it is dropped.
pub(crate) struct Alarm {
    shared: Arc<Shared>,
    key: (Instant, u64),
}

impl Timer {
    /// Calls `stop` at this time.
    pub(crate) fn at(&self, time: Instant, stop: Stop) -> Result<Alarm, ExecuteError> {
        {
            let mut thread = self.thread.lock();
            if thread.is_none() {
                let shared = Arc::clone(&self.shared);
                let builder = thread::Builder::new().name("counterpoint-timer".to_owned());
                let started = builder.spawn(move || shared.ring());
                *thread = Some(started.map_err(|error| {
                    ExecuteError::Internal(format!("cannot start the thread for deadlines: {error}"))
                })?);
            }
        }
        let mut alarms = self.shared.alarms.lock();
        alarms.last += 1;
        let key = (time, alarms.last);
        alarms.set.insert(key, stop);
        drop(alarms);
        self.shared.changed.notify_one();
        Ok(Alarm { shared: Arc::clone(&self.shared), key })
    }
}

impl Shared {
    fn ring(&self) {
        let mut alarms = self.alarms.lock();
        while !alarms.closing {
            let Some(next) = alarms.set.first_entry() else {
                self.changed.wait(&mut alarms);
                continue;
            };
            let time = next.key().0;
            if time > Instant::now() {
                self.changed.wait_until(&mut alarms, time);
                continue;
            }
            let stop = next.remove();
            drop(alarms);
            stop();
            alarms = self.alarms.lock();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.shared.alarms.lock().set.remove(&self.key);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.alarms.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.get_mut().take() {
            // Whoever it stops may drop the last reference to the runtime.
            if thread.thread().id() != thread::current().id() {
                // It does not panic.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
