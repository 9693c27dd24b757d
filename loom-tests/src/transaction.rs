//! A transaction as the runtime has it: its word, and what belongs to the word's owner.

use counterpoint_state::{Arena, Phase, TransactionWord, WaitWord, Waiter, sync::mutated};
use loom::cell::UnsafeCell;

/// What only the owner may touch: the runtime's `Body`, with the fiber's stack.
#[derive(Debug, Default)]
struct Body {
    /// The fiber is stored away.
    parked: bool,
    /// How often the stack was entered.
    entered: u32,
    /// How often the fiber was stored.
    parkings: u32,
    /// Invalidations that an owner took note of.
    noted: u32,
}

/// One transaction.
#[derive(Debug)]
pub struct Transaction {
    index: u32,
    /// Who may touch it.
    pub word: TransactionWord,
    body: UnsafeCell<Body>,
}

// SAFETY: that only the word's owner touches the body is what the models check.
unsafe impl Sync for Transaction {}

impl Transaction {
    /// A transaction that has not begun.
    pub fn pending(index: u32) -> Self {
        Self { index, word: TransactionWord::new(), body: UnsafeCell::default() }
    }

    /// A transaction that its maker owns.
    pub fn running(index: u32) -> Self {
        let transaction = Self::pending(index);
        transaction.word.begin().expect("nobody else has it");
        transaction
    }

    fn body<R>(&self, f: impl FnOnce(&mut Body) -> R) -> R {
        // SAFETY: loom fails the model if two threads get here without the word ordering them.
        self.body.with_mut(|body| f(unsafe { &mut *body }))
    }

    /// Owner: runs the fiber for a while.
    pub fn enter(&self) {
        assert_eq!(self.word.load().phase(), Phase::Running, "only a running transaction's stack is entered");
        self.body(|body| {
            body.parked = false;
            body.entered += 1;
        });
    }

    /// Owner: takes note of an invalidation, if there is one.
    pub fn look_again(&self) {
        if self.word.take_invalid() {
            self.body(|body| body.noted += 1);
        }
    }

    /// Owner: checks again what it read, after an invalidation, and ends. As `Visit::check_again`.
    pub fn check_again(&self) {
        loop {
            self.look_again();
            if self.word.finish() {
                return;
            }
        }
    }

    /// Owner: ends the incarnation. As `Visit::ended`, where what was read still holds.
    pub fn finish(&self) {
        if !self.word.finish() {
            self.check_again();
        }
    }

    /// Owner: waits for a version or an answer, as `Visit::park` does, and then looks for the frontier. `true`: goes on
    /// at once; `false`: parked, and perhaps somebody else's already.
    pub fn park(
        &self,
        awaited: &'static WaitWord<'static>,
        arena: &'static Arena,
        look_for_frontier: impl FnOnce(),
    ) -> bool {
        if !mutated("store-after-park") {
            self.store();
        }
        if mutated("wait-before-park") {
            let ticket = self.word.load().ticket() + 1;
            let waiting = awaited.wait(arena.alloc(Waiter::new(self.index, ticket)));
            return !waiting || self.word.park().is_none();
        }
        let Some(ticket) = self.word.park() else { return true };
        if mutated("store-after-park") {
            self.store();
        }
        if awaited.wait(arena.alloc(Waiter::new(self.index, ticket))) {
            look_for_frontier();
            return false;
        }
        if mutated("go-on-without-unpark") {
            return true;
        }
        self.word.unpark(ticket)
    }

    /// Owner: stores the fiber away.
    fn store(&self) {
        self.body(|body| {
            assert!(!body.parked, "it was entered since");
            body.parked = true;
            body.parkings += 1;
        });
    }

    /// How often the stack was entered, how often it was stored away, and how many invalidations were noted.
    pub fn history(&self) -> (u32, u32, u32) {
        self.body(|body| (body.entered, body.parkings, body.noted))
    }
}
