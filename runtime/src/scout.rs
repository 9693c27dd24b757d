//! Scouts: where the source answers later, a transaction that cannot go on yet is executed ahead on a guess, only to find
//! out what it reads, so that the answers are there when it goes on.
//!
//! A scout has a fiber, a word and a body of its own, with the id `last + index`; it waits for the source, and for
//! nothing else. It registers no read, publishes nothing and is never invalidated: whatever it sees, it can do no
//! harm but ask for a key in vain.
//!
//! A slot that a scout does not know it takes for zero, so that a long row of reads that do not depend on each other (an
//! airdrop's balances) becomes one round of requests; when the answers are there it goes again, and knows more. After a few
//! accounts that it waited for, the same holds for accounts. It asks for a limited number of keys at a time, since a guess
//! may send it round a loop without end, and its time is limited by what it finds. A scout that is through is `Deferred`
//! until it is sent once more: each incarnation may take another way.

use std::time::{Duration, Instant};

use counterpoint_actors::{End, Fiber, Yielded};
use counterpoint_state::{Phase, WaitWord, Waiter};

use crate::{
    outcome::ExecuteError,
    run::{Visit, nanoseconds},
    worker::{For, Kit, Store},
};

/// A transaction that was parked for the source so often will be again: a scout goes ahead.
const LONG: u32 = 3;

/// The same for the one that all others wait for.
const LONG_AT_FRONTIER: u32 = 1;

/// If it still is parked for the source after that, another scout goes each time that it was parked so often.
const AGAIN: u32 = 8;

/// How often a transaction is scouted at most: each round knows what the one before it asked for.
const ROUNDS: u32 = 24;

/// A transaction's scouts may take so long for each key that they ask for, and so long besides: who computes much and reads
/// little is better off waiting for its answers itself.
const PER_KEY: Duration = Duration::from_micros(50);
const BESIDES: Duration = Duration::from_millis(3);

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
            let word = self.run.word(id);
            // One that was never sent.
            if word.begin().is_some() {
                word.defer();
            }
            if word.kick() {
                self.push(id);
            }
        }
    }

    /// A transaction is parked for the source, for so many times: it will be again.
    pub(crate) fn send_scout_for_loads(&mut self, index: u32, loads: u32) {
        if index > self.run.last() {
            return;
        }
        let is_next = self.run.at_frontier(index) && !self.run.is_foreseen(index);
        let first = if is_next { LONG_AT_FRONTIER } else { LONG };
        if loads == first || loads > first && loads.is_multiple_of(AGAIN) {
            self.send_scout(index);
        }
    }

    /// Sends a scout, or lets it go on.
    pub(crate) fn scout(&mut self, id: u32, kit: &mut Kit, store: &Store) {
        let run = self.run;
        // SAFETY: the word was claimed.
        let body = unsafe { run.body(id) };
        // Not where schedules are to repeat.
        let clock = || (!cfg!(feature = "shuttle")).then(Instant::now);
        let mut begin = clock();
        let mut took = || {
            let now = clock();
            let took = now.zip(begin).map_or(0, |(now, begin)| nanoseconds(now - begin));
            begin = now;
            took
        };
        let (mut fiber, mut yielded) = match body.fiber.take() {
            Some(mut fiber) => {
                let yielded = fiber.resume(self.context);
                (fiber, yielded)
            }
            None => {
                let Some(mut fiber) = self.fiber_to_spare(kit, store) else { return run.word(id).defer() };
                let mut execution = kit.execution();
                execution.reset_to_scout(id - run.last(), body.rounds);
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
                    body.took += took();
                    let guessed = execution.guessed();
                    body.asked += execution.asked();
                    kit.keep_execution(execution);
                    kit.keep_fiber(fiber, store);
                    self.release_fiber();
                    return self.scout_again(id, guessed);
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
            body.took += took();
            match self.park(id, fiber, reason) {
                Some(again) => fiber = again,
                None => return,
            }
            yielded = fiber.resume(self.context);
        }
    }

    /// A scout has come to an end. If it had to guess, it goes again when the answers are there.
    fn scout_again(&mut self, id: u32, guessed: Option<&'static WaitWord<'static>>) {
        let word = self.run.word(id);
        // SAFETY: the caller owns the scout.
        let body = unsafe { self.run.body(id) };
        body.rounds += 1;
        let budget = nanoseconds(BESIDES).saturating_add(nanoseconds(PER_KEY) * u64::from(body.asked));
        let Some(guessed) = guessed.filter(|_| body.rounds < ROUNDS && body.took <= budget) else {
            body.rounds = 0;
            return word.defer();
        };
        let phase = self.run.state.word(id - self.run.last()).load().phase();
        if matches!(phase, Phase::Executed | Phase::Final) {
            return word.defer();
        }
        // As in `park`, without a fiber.
        let Some(ticket) = word.park_for_source() else { return word.defer() };
        let waiter = self.context.waiter(Waiter::new(id, ticket));
        if !guessed.wait(waiter) && word.wake(ticket) {
            self.push(id);
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
