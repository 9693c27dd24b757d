//! The frontier: how many indices are final, and who may move it.

use crate::sync::{AtomicU32, Ordering, mutation};

/// The number of final indices, moved in order by one worker at a time.
///
/// Whoever finishes a transaction calls [`drain`](Self::drain). If another worker is at it, a count tells
/// that worker to look once more, so that no finished transaction is overlooked: the count and the right to
/// drain are one word.
#[derive(Debug, Default)]
pub struct Frontier {
    passed: AtomicU32,
    requests: AtomicU32,
}

impl Frontier {
    /// Nothing is final yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many indices are final.
    pub fn after(passed: u32) -> Self {
        Self { passed: AtomicU32::new(passed), requests: AtomicU32::new(0) }
    }

    /// How many transactions are final: all indices up to this one.
    #[inline]
    pub fn passed(&self) -> u32 {
        // Acquire: pairs with the store in `drain`.
        self.passed.load(Ordering::Acquire)
    }

    /// Moves the frontier as far as it goes. `step` is given the number of final indices, tries to make the
    /// next one final, and says whether it did; it runs on one worker at a time.
    pub fn drain(&self, mut step: impl FnMut(u32) -> bool) {
        // Release: what the caller finished is visible to the drainer, which acquires below.
        // Acquire: the previous drainer's work is visible to this one.
        let ordering = mutation!("drain-relaxed", Ordering::Relaxed, Ordering::AcqRel);
        if self.requests.fetch_add(1, ordering) != 0 {
            return;
        }
        let mut seen = 1;
        loop {
            loop {
                // Relaxed: only drainers write it, and one drains at a time, ordered by `requests`.
                let passed = self.passed.load(Ordering::Relaxed);
                if !step(passed) {
                    break;
                }
                // Release: who sees the frontier sees what became final.
                self.passed.store(passed + 1, Ordering::Release);
            }
            // Release: what was drained, for the next drainer. Acquire: what those finished who came meanwhile. Pairs with
            // the addition above and with itself.
            match mutation!(
                "drain-without-recount",
                Ok(self.requests.swap(0, Ordering::AcqRel)),
                self.requests.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire)
            ) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}
