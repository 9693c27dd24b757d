//! The threads of a runtime: who called leads its block to its end, the others help where there is work.

use std::sync::Arc;

use counterpoint_actors::{Yielded, contain};
use counterpoint_state::{
    EventCount,
    sync::{AtomicBool, AtomicU32, Ordering, RwLock, SPINS, spin_loop},
};

use crate::{
    finish::Bundlings,
    outcome::ExecuteError,
    run::{BlockRun, Visit},
    worker::{Kit, Store},
};

/// How often a helper looks for what was announced before it sleeps after all.
const SPINS_FOR_A_BLOCK: u32 = if SPINS < 100 { SPINS } else { 100 * SPINS };

/// What the threads of a runtime share.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Blocks in execution.
    pub(crate) runs: RwLock<Vec<Arc<BlockRun>>>,
    pub(crate) work: Arc<EventCount>,
    /// How much is to come for which helpers stay awake, see [`Expected`].
    expected: AtomicU32,
    pub(crate) bundlings: Bundlings,
    pub(crate) store: Store,
    pub(crate) closing: AtomicBool,
}

/// While it lives, helpers stay awake for what is to come: a block, or a block's end.
pub(crate) struct Expected<'a>(&'a Pool);

impl<'a> Expected<'a> {
    /// Wakes who sleeps.
    pub(crate) fn new(pool: &'a Pool) -> Self {
        let expected = Self::soon(pool);
        pool.work.notify();
        expected
    }

    /// Who sleeps is left alone.
    pub(crate) fn soon(pool: &'a Pool) -> Self {
        // Relaxed, here and below: a hint.
        pool.expected.fetch_add(1, Ordering::Relaxed);
        Self(pool)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        // Relaxed: a hint, as above.
        self.0.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// The calling thread's part: works on its block until that is done.
    pub(crate) fn lead(&self, run: &BlockRun, kit: &mut Kit) {
        // SAFETY: worker 0 of a block is the thread that called `execute`, and it holds the block.
        let mut visit = unsafe { Visit::new(run, 0) };
        if run.state.is_deferred() {
            visit.asked_ahead = Some(0);
            self.contain(&mut visit, |visit| {
                visit.ask_ahead(&self.store);
                visit.run.state.send_requests(&visit.context);
                true
            });
        }
        if run.uses_mailboxes {
            self.contain(&mut visit, |visit| {
                visit.send_begins();
                true
            });
            // Who looked before anything was routed may have gone to sleep.
            self.tell(&visit);
        }
        let mut idle = 0;
        while !run.is_done() {
            if self.step(&mut visit, kit) {
                idle = 0;
                self.tell(&visit);
                continue;
            }
            idle += 1;
            if idle < SPINS {
                spin_loop();
                continue;
            }
            let ticket = self.work.prepare();
            if run.may_have_work() {
                self.work.cancel(ticket);
            } else {
                self.work.wait(ticket);
            }
            idle = 0;
        }
        drop(visit);
        self.work.notify();
    }

    /// A block that is being executed, by its place on the list.
    fn run(&self, place: usize) -> Option<Arc<BlockRun>> {
        self.runs.read().get(place).cloned()
    }

    /// A pool thread's life: helps with whatever block has work.
    pub(crate) fn help(&self, worker: usize) {
        let mut kit = self.store.take_kit();
        let mut idle = 0;
        // Acquire: pairs with the store in `Runtime::drop`.
        while !self.closing.load(Ordering::Acquire) {
            let (mut worked, mut visited) = (false, 0);
            // One at a time: a block that ends while the helper is in another one gets its memory back.
            while let Some(run) = self.run(visited) {
                // SAFETY: thread `worker` of the pool is the only one that acts as this worker, in any block.
                let mut visit = unsafe { Visit::new(&run, worker) };
                while self.step(&mut visit, &mut kit) {
                    worked = true;
                    self.tell(&visit);
                }
                visited += 1;
            }
            let nothing_runs = visited == 0;
            if worked || self.bundlings.help() {
                idle = 0;
                continue;
            }
            idle += 1;
            // Relaxed: a hint; who sleeps too early is woken when the block is there.
            let expected = self.expected.load(Ordering::Relaxed) > 0;
            if (idle < SPINS && !nothing_runs) || (idle < SPINS_FOR_A_BLOCK && expected) {
                spin_loop();
                continue;
            }
            idle = 0;
            if self.store.clean_memory() {
                continue;
            }
            let ticket = self.work.prepare();
            // Acquire: as above.
            let something = self.closing.load(Ordering::Acquire)
                || self.bundlings.may_need_help()
                || self.runs.read().iter().any(|run| !run.is_done() && run.may_have_work());
            if something {
                self.work.cancel(ticket);
            } else {
                self.work.wait(ticket);
            }
        }
        self.store.put_kit(kit);
    }

    /// One step, contained: a panic outside a transaction's execution is a bug of ours, and costs the block.
    fn step(&self, visit: &mut Visit<'_>, kit: &mut Kit) -> bool {
        self.contain(visit, |visit| visit.step(kit, &self.store))
    }

    fn contain<'a>(&self, visit: &mut Visit<'a>, work: impl FnOnce(&mut Visit<'a>) -> bool) -> bool {
        match contain(|| work(visit)) {
            Ok(worked) => worked,
            Err(message) => {
                visit.run.fail(ExecuteError::Internal(message));
                self.work.notify();
                false
            }
        }
    }

    /// Tells the others of what became ready, and of the end.
    fn tell(&self, visit: &Visit<'_>) {
        if visit.has_news() {
            self.work.notify_waiting();
        }
    }

    /// Once the other workers have left, nobody will run the block's fibers any more. They are cancelled, which
    /// unwinds them through revm's own errors, and can be used again.
    pub(crate) fn give_up(&self, run: &BlockRun, kit: &mut Kit) {
        run.presence.wait_alone();
        for index in run.ids() {
            // SAFETY: no worker is in the block, and none enters: it is off the list.
            let body = unsafe { run.body(index) };
            body.execution = None;
            if let Some(mut fiber) = body.fiber.take()
                && matches!(fiber.cancel(), Ok(Yielded::Done(_)))
            {
                kit.keep_fiber(fiber, &self.store);
            }
        }
    }
}
