//! Which transaction begins next: begins are routed to the senders' actors in order by one worker, while the
//! others already begin what was routed.
//!
//! One worker routes: for each index it sends the begin to the sender's mailbox, and then notes whether the
//! transaction may begin in its turn or waits in the mailbox. The others take turns up to the last note. A
//! transaction that waits in a mailbox is let go by whoever executed the one before it of the same sender.
//!
//! Between the letter and the note lies a gap: a transaction may be received from its mailbox, and the frontier
//! may even arrive at it, before it counts as routed. Until then nobody but the mailbox may begin it, so the
//! frontier's drainer leaves it alone; the router drains once more when it is through.

use counterpoint_state::sync::{AtomicBool, AtomicU32, Ordering, mutation};
use crossbeam_utils::CachePadded;

/// The turns of a block's transactions.
#[derive(Debug)]
pub(crate) struct Begins {
    /// The next index whose turn it is.
    next: CachePadded<AtomicU32>,
    /// How many begins were routed.
    routed: CachePadded<AtomicU32>,
    /// Transactions that begin before their turn, in this order.
    early: Box<[u32]>,
    /// How many of them were passed.
    early_passed: CachePadded<AtomicU32>,
    /// For each transaction, whether it begins in its turn: it does not wait in its sender's mailbox.
    in_turn: Box<[AtomicBool]>,
}

impl Begins {
    /// The first `done` transactions are final, and no turn was taken. `routed`: everything begins in its turn, and
    /// nobody will route.
    ///
    /// `early`: transactions to begin before their turn, each the first of its sender.
    pub(crate) fn new(transactions: usize, done: u32, routed: bool, early: Box<[u32]>) -> Self {
        Self {
            early,
            early_passed: CachePadded::default(),
            next: CachePadded::new(AtomicU32::new(done + 1)),
            routed: CachePadded::new(AtomicU32::new(if routed { transactions as u32 } else { done })),
            in_turn: (0..transactions).map(|_| AtomicBool::new(true)).collect(),
        }
    }

    /// Router: notes that the next transaction's begin was sent, and whether it waits in the mailbox.
    pub(crate) fn note(&self, index: u32, waits: bool) {
        if waits {
            // Relaxed: `routed` publishes it.
            self.in_turn[index as usize - 1].store(false, Ordering::Relaxed);
        }
        // Release: whose turn it is sees whether it waits. Pairs with the load in `is_routed`.
        self.routed.store(index, mutation!("note-relaxed", Ordering::Relaxed, Ordering::Release));
    }

    /// Whether this transaction's begin was routed.
    pub(crate) fn is_routed(&self, index: u32) -> bool {
        // Acquire: pairs with the store in `note`.
        index <= self.routed.load(Ordering::Acquire)
    }

    /// The transaction whose turn it is, to be [`take`](Self::take)n. Passes over what waits in a mailbox, at
    /// once, so that no worker is woken to do it.
    pub(crate) fn turn(&self) -> Option<u32> {
        loop {
            // Relaxed: an index, nothing else. `is_routed` acquires what belongs to it, and the transaction's
            // word decides who begins it.
            let next = self.next.load(Ordering::Relaxed);
            if next as usize > self.in_turn.len() || !self.is_routed(next) {
                return None;
            }
            // Relaxed: `routed` was seen before.
            if self.in_turn[next as usize - 1].load(Ordering::Relaxed) {
                return Some(next);
            }
            self.take(next);
        }
    }

    /// The next transaction that may begin before its turn. It is taken: the transaction's word decides whether it
    /// has begun by then.
    pub(crate) fn take_early(&self) -> Option<u32> {
        loop {
            // Relaxed: an index, nothing else; `is_routed` acquires what belongs to it.
            let passed = self.early_passed.load(Ordering::Relaxed);
            let index = *self.early.get(passed as usize)?;
            if !self.is_routed(index) {
                return None;
            }
            // Relaxed: as above.
            if self
                .early_passed
                .compare_exchange(passed, passed + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
                // Relaxed: `routed` was seen before.
                && self.in_turn[index as usize - 1].load(Ordering::Relaxed)
            {
                return Some(index);
            }
        }
    }

    /// Whether a transaction may begin before its turn.
    pub(crate) fn has_early(&self) -> bool {
        // Relaxed: as in `take_early`.
        let passed = self.early_passed.load(Ordering::Relaxed);
        self.early.get(passed as usize).is_some_and(|index| self.is_routed(*index))
    }

    /// Takes a turn. `false`: another worker has.
    pub(crate) fn take(&self, index: u32) -> bool {
        // Relaxed: as in `turn`.
        self.next.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
