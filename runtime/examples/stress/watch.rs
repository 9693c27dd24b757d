//! The watchdog: ends the process when nothing has happened for too long.

use std::{
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

// Not the standard library's, whose slow path ThreadSanitizer does not see.
use parking_lot::Mutex;

/// What is being done, and since when.
#[derive(Debug, Default)]
struct Doing {
    /// One entry per thread that executes blocks.
    callers: Vec<Option<(u64, String, Instant)>>,
}

/// Hears of every block, and aborts the process when one does not end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Doing>>);

impl Watch {
    /// Begins to watch.
    pub(crate) fn start(patience: Duration) -> Self {
        let watch = Self::default();
        let shared = watch.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                let doing = shared.0.lock();
                let late = doing.callers.iter().flatten().find(|(_, _, since)| since.elapsed() > patience);
                if let Some((seed, what, _)) = late {
                    eprintln!("error: seed {seed}, {what}: not done after {patience:?}");
                    process::abort();
                }
            }
        });
        watch
    }

    /// The caller with this number begins a block.
    pub(crate) fn begin(&self, caller: usize, seed: u64, what: &str) {
        let mut doing = self.0.lock();
        if doing.callers.len() <= caller {
            doing.callers.resize_with(caller + 1, || None);
        }
        doing.callers[caller] = Some((seed, what.to_owned(), Instant::now()));
    }

    /// The caller with this number has ended.
    pub(crate) fn end(&self, caller: usize) {
        let mut doing = self.0.lock();
        if let Some(slot) = doing.callers.get_mut(caller) {
            *slot = None;
        }
    }
}
