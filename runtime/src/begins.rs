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

use counterpoint_state::sync::{AtomicU32, Ordering, mutation};
use crossbeam_utils::CachePadded;

/// A transaction waits in its sender's mailbox, or has not been routed.
const WAITS: u32 = 0;

/// It begins in its turn.
const IN_TURN: u32 = 1;

/// Its turn came while it waited: it begins when it is let go.
const PASSED: u32 = 2;

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
    /// The transactions before the first one here.
    done: u32,
    /// For each transaction, `WAITS`, `IN_TURN` or `PASSED`.
    turns: Box<[AtomicU32]>,
}

impl Begins {
    /// For so many transactions after the first `done` ones of the block, which are final. No turn was taken. `routed`:
    /// everything begins in its turn, and nobody will route.
    ///
    /// `early`: transactions to begin before their turn, each the first of its sender.
    pub(crate) fn new(transactions: usize, done: u32, routed: bool, early: Box<[u32]>) -> Self {
        let turn = if routed { IN_TURN } else { WAITS };
        Self {
            early,
            early_passed: CachePadded::default(),
            next: CachePadded::new(AtomicU32::new(done + 1)),
            routed: CachePadded::new(AtomicU32::new(if routed { done + transactions as u32 } else { done })),
            done,
            turns: (0..transactions).map(|_| AtomicU32::new(turn)).collect(),
        }
    }

    fn turn_of(&self, index: u32) -> &AtomicU32 {
        &self.turns[(index - 1 - self.done) as usize]
    }

    /// Router: notes that the next transaction's begin was sent, and whether it waits in the mailbox. One that waits may
    /// have been let go already.
    pub(crate) fn note(&self, index: u32, waits: bool) {
        if !waits {
            // Relaxed: `routed` publishes it.
            self.turn_of(index).store(IN_TURN, Ordering::Relaxed);
        }
        // Release: whose turn it is sees whether it waits. Pairs with the load in `is_routed`.
        self.routed.store(index, mutation!("note-relaxed", Ordering::Relaxed, Ordering::Release));
    }

    /// Whether this transaction's begin was routed.
    pub(crate) fn is_routed(&self, index: u32) -> bool {
        // Acquire: pairs with the store in `note`.
        index <= self.routed.load(Ordering::Acquire)
    }

    /// A transaction was received from its sender's mailbox. `true`: it begins in its turn; `false`: its turn is over, and
    /// it may begin now.
    pub(crate) fn let_go(&self, index: u32) -> bool {
        // Release: whose turn it is receives from the mailbox next. Pairs with the load in `turn`.
        let success = mutation!("let-go-relaxed", Ordering::Relaxed, Ordering::Release);
        let turn = self.turn_of(index);
        // Relaxed, on failure: nothing was handed over by who passed it.
        let anyway = mutation!("passed-in-turn", true, false);
        turn.compare_exchange(WAITS, IN_TURN, success, Ordering::Relaxed).is_ok() || anyway
    }

    /// The transaction whose turn it is, up to `limit`, to be [`take`](Self::take)n. Passes over what waits in a mailbox, at
    /// once, so that no worker is woken to do it.
    pub(crate) fn turn(&self, limit: u32) -> Option<u32> {
        loop {
            // Relaxed: an index, nothing else. `is_routed` acquires what belongs to it, and the transaction's
            // word decides who begins it.
            let next = self.next.load(Ordering::Relaxed);
            if next > limit || (next - self.done) as usize > self.turns.len() || !self.is_routed(next) {
                return None;
            }
            let turn = self.turn_of(next);
            // Acquire: pairs with the exchange in `let_go`. Relaxed, on success: passing hands nothing over.
            let passed = turn.load(Ordering::Acquire) != IN_TURN
                && turn
                    .compare_exchange(WAITS, PASSED, Ordering::Relaxed, Ordering::Acquire)
                    .map_or_else(|turn| turn == PASSED, |_| true);
            if !passed {
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
                // Acquire: as in `turn`.
                && self.turn_of(index).load(Ordering::Acquire) == IN_TURN
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
