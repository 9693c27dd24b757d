//! An event count: workers sleep until there may be work, and none sleeps through it.

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering, fence, mutation};

const WAITER: u64 = 1;
const EPOCH: u64 = 1 << 32;

/// Epoch and number of sleepers in one word.
///
/// A worker that finds nothing calls [`prepare`](Self::prepare), looks once more, and then waits. Who makes
/// work available calls [`notify`](Self::notify) after that. Both are read-modify-writes of one word: either
/// the notification comes first, and the second look finds the work, or it comes later, and ends the wait.
#[derive(Debug, Default)]
pub struct EventCount {
    word: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A wait that was prepared.
#[derive(Debug)]
#[must_use]
pub struct Ticket(u64);

impl EventCount {
    /// Nobody waits.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0), lock: Mutex::new(()), changed: Condvar::new() }
    }

    /// Announces a wait. To be followed by another look for work, then [`wait`](Self::wait) or
    /// [`cancel`](Self::cancel).
    pub fn prepare(&self) -> Ticket {
        // Acquire: pairs with `notify`; the second look sees the work of every notification before this.
        let word = self.word.fetch_add(WAITER, Ordering::AcqRel);
        // Pairs with the fence in `notify_waiting`.
        mutation!("prepare-without-fence", (), fence(Ordering::SeqCst));
        Ticket(word / EPOCH)
    }

    /// There was work after all.
    pub fn cancel(&self, _ticket: Ticket) {
        // Relaxed: a number; who reads too much of it only notifies nobody.
        self.word.fetch_sub(WAITER, Ordering::Relaxed);
    }

    /// Sleeps until a notification that came after [`prepare`](Self::prepare).
    pub fn wait(&self, ticket: Ticket) {
        let mut guard = self.lock.lock();
        // Acquire: pairs with `notify`; who is woken sees the work.
        while self.word.load(Ordering::Acquire) / EPOCH == ticket.0 {
            self.changed.wait(&mut guard);
        }
        drop(guard);
        // Relaxed: a number; who reads too much of it only notifies nobody.
        self.word.fetch_sub(WAITER, Ordering::Relaxed);
    }

    /// Wakes all who wait. To be called after the work is visible.
    #[inline]
    pub fn notify(&self) {
        // The epoch may wrap at 2^32: a sleeper would have to miss exactly that many notifications.
        // Release: pairs with `prepare` and `wait`.
        let word = self.word.fetch_add(EPOCH, Ordering::AcqRel);
        if !word.is_multiple_of(EPOCH) {
            // Under the lock: a sleeper that has looked at the epoch is in `wait` by now.
            mutation!("notify-without-lock", (), drop(self.lock.lock()));
            self.changed.notify_all();
        }
    }

    /// As [`notify`](Self::notify), without writing to the shared word where nobody waits.
    #[inline]
    pub fn notify_waiting(&self) {
        // Either the waiter's second look sees the work that was stored before, or this sees the waiter.
        // Pairs with the fence in `prepare`.
        mutation!("notify-without-fence", (), fence(Ordering::SeqCst));
        // Relaxed: the fences order it.
        if !self.word.load(Ordering::Relaxed).is_multiple_of(EPOCH) {
            self.notify();
        }
    }
}
