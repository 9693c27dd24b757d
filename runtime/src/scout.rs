//! Scouts: where the source answers later, a transaction that cannot go on yet is executed ahead on a guess, only to find
//! out what it reads, so that the answers are there when it goes on.
//!
//! A scout has a fiber, a word and a body of its own, with the id `last + index`; it waits for the source, and for
//! nothing else. It registers no read, publishes nothing and is never invalidated: whatever it sees, it can do no
//! harm but ask for a key in vain. A transaction is scouted at most once.
//!
//! What a scout does not know it takes for zero after a while, so that a long row of reads that do not depend on each
//! other (an airdrop's balances) becomes one round of requests.

use counterpoint_actors::{End, Fiber, Yielded};

use counterpoint_state::Phase;

use crate::{
    outcome::ExecuteError,
    run::Visit,
    worker::{For, Kit, Store},
};

/// How often a scout waits for a slot before it guesses, if its transaction has not begun.
const PATIENCE: u32 = 8;

impl Visit<'_> {
    /// The id of a scout to send, for a transaction that waits for its turn in a mailbox, or is parked.
    pub(crate) fn claim_scout(&mut self) -> Option<u32> {
        // Without a fiber to spare the transaction keeps its scout for later.
        while self.run.has_fiber()
            && let Some(index) = self.run.next_to_scout()
        {
            let id = self.run.last() + index;
            if self.run.word(id).begin().is_some() {
                return Some(id);
            }
        }
        None
    }

    /// A transaction is parked: what it will read after that may be asked for already.
    pub(crate) fn send_scout(&mut self, index: u32) {
        if self.run.state.is_deferred() && index <= self.run.last() {
            let id = self.run.last() + index;
            if self.run.word(id).release() {
                self.push(id);
            }
        }
    }

    /// Sends a scout, or lets it go on.
    pub(crate) fn scout(&mut self, id: u32, kit: &mut Kit, store: &Store) {
        let run = self.run;
        // SAFETY: the word was claimed.
        let body = unsafe { run.body(id) };
        let (mut fiber, mut yielded) = match body.fiber.take() {
            Some(mut fiber) => {
                let yielded = fiber.resume(self.context);
                (fiber, yielded)
            }
            None => {
                let Some(mut fiber) = self.fiber_to_spare(kit, store) else { return run.word(id).commit() };
                let mut execution = kit.execution();
                let index = id - run.last();
                // One that was sent because the transaction is parked for the source does not wait for the same.
                let waits = run.state.word(index).load().phase() == Phase::Pending;
                execution.reset_to_scout(index, if waits { PATIENCE } else { 0 });
                // SAFETY: the fiber is idle, and the block is kept alive by whoever runs it: a fiber that is still
                // suspended at its end is cancelled before.
                let yielded = unsafe { fiber.run(&run.state, execution, self.context) };
                (fiber, yielded)
            }
        };
        loop {
            let reason = match yielded {
                Ok(Yielded::Done(execution)) => {
                    if let End::Panicked(message) = &execution.end
                        && execution.was_misplaced()
                    {
                        let index = (id - run.last()) as usize - 1;
                        run.fail(ExecuteError::Panic { index, message: message.clone() });
                    }
                    kit.keep_execution(execution);
                    kit.keep_fiber(fiber, store);
                    self.release_fiber();
                    return run.word(id).commit();
                }
                Ok(Yielded::Load(answer)) => For::Source(answer),
                Ok(Yielded::Wait(version)) => For::Version(version),
                Ok(Yielded::Pause) => For::Others,
                Err(message) => {
                    // A panic that even the fiber's own guard could not contain.
                    self.release_fiber();
                    let index = (id - run.last()) as usize - 1;
                    return run.fail(ExecuteError::Panic { index, message });
                }
            };
            debug_assert!(!matches!(reason, For::Version(_)), "a scout looks past estimates");
            match self.park(id, fiber, reason) {
                Some(again) => fiber = again,
                None => return,
            }
            yielded = fiber.resume(self.context);
        }
    }

    fn fiber_to_spare(&mut self, kit: &mut Kit, store: &Store) -> Option<Fiber> {
        if !self.acquire_fiber() {
            return None;
        }
        let fiber = kit.fiber(store).ok();
        if fiber.is_none() {
            self.release_fiber();
        }
        fiber
    }
}
