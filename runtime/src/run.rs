//! One block in execution, as its workers share it.

use std::{
    cell::UnsafeCell,
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering, fence},
};

use counterpoint_actors::{BlockState, Chaos, Execution, Fiber, Signals, WorkerContext, Written};
use counterpoint_state::{Frontier, Invalidated};
use crossbeam_deque::{Steal, Stealer, Worker as Deque};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::{commit::Committer, input::Mode, outcome::ExecuteError};

/// What belongs to a transaction while it is not final. Owned by whoever moved the transaction's word to
/// `Running`.
#[derive(Default)]
pub(crate) struct Body {
    /// Its fiber, while it is parked.
    pub(crate) fiber: Option<Fiber>,
    /// Its last incarnation, once that has ended.
    pub(crate) execution: Option<Box<Execution>>,
    /// The versions that it has in the cells.
    pub(crate) written: Vec<Written>,
    /// Credits must not be deferred: they overflowed.
    pub(crate) exact: bool,
    /// The sender's next transaction was let go.
    pub(crate) released: bool,
    /// The last incarnation is known to be of no use.
    pub(crate) useless: bool,
}

/// A block that is being executed.
pub(crate) struct BlockRun {
    /// Workers that are in the block. The first to go, see there.
    pub(crate) visitors: Visitors,
    // Before `state`: fibers and executions point into it.
    bodies: Box<[CachePadded<UnsafeCell<Body>>]>,
    committer: UnsafeCell<Committer>,
    /// One queue of ready transactions per worker, used by that worker; the others steal.
    queues: Box<[CachePadded<UnsafeCell<Deque<u32>>>]>,
    stealers: Box<[Stealer<u32>]>,
    pub(crate) state: BlockState,
    pub(crate) frontier: Frontier,
    /// The next transaction to begin.
    next: CachePadded<AtomicU32>,
    /// Whether the transaction may begin when its turn comes: it does not wait in its sender's mailbox.
    unqueued: Box<[AtomicBool]>,
    /// How many transactions' begins were routed.
    routed: CachePadded<AtomicU32>,
    /// Whether begins go through the mailboxes: not with one worker, which begins everything in order.
    pub(crate) uses_mailboxes: bool,
    /// Fibers in flight.
    fibers: CachePadded<AtomicU32>,
    done: AtomicBool,
    failure: Mutex<Option<ExecuteError>>,
    limits: Limits,
    pub(crate) mode: Mode,
}

/// How many workers are in a block. Each of them releases, when it leaves, what it did there.
///
/// Whoever drops the block acquires it here first. The `Arc`'s own fence orders the same; ThreadSanitizer does
/// not follow fences, and would take the end of every block for a race. Boxed, since it goes by the address, which
/// must stay when the block is moved out of its `Arc`.
#[derive(Debug, Default)]
pub(crate) struct Visitors(Box<CachePadded<AtomicU32>>);

impl Visitors {
    /// Whether nobody is left. What they did is visible then.
    pub(crate) fn have_left(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Releases what the caller did to the block after it left.
    pub(crate) fn release(&self) {
        self.0.fetch_add(0, Ordering::Release);
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        let _ = self.have_left();
    }
}

/// A worker takes up its only ready transaction itself, at once: a thief would only move a serial stretch from
/// core to core.
const WORTH_STEALING: usize = 2;

/// How far ahead a block is executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Fibers in flight.
    pub(crate) fibers: u32,
    /// Transactions above the frontier that may have begun.
    pub(crate) window: u32,
}

// SAFETY: a `Body` is touched by the owner of its transaction's word only (acquire and release travel with
// the word), the committer by who drains the frontier only, a queue by its worker only (see `Visit`). The
// rest is `Sync`.
unsafe impl Sync for BlockRun {}
// SAFETY: as above; nothing in it depends on a thread.
unsafe impl Send for BlockRun {}

impl BlockRun {
    pub(crate) fn new(
        state: BlockState,
        workers: usize,
        limits: Limits,
        mode: Mode,
        keep_states: bool,
    ) -> Self {
        let transactions = state.len();
        let queues: Box<[_]> =
            (0..workers).map(|_| CachePadded::new(UnsafeCell::new(Deque::new_fifo()))).collect();
        // SAFETY: nobody else has the queues yet.
        let stealers = queues.iter().map(|queue| unsafe { &*queue.get() }.stealer()).collect();
        Self {
            visitors: Visitors::default(),
            bodies: (0..transactions).map(|_| CachePadded::default()).collect(),
            committer: UnsafeCell::new(Committer::new(transactions, keep_states)),
            queues,
            stealers,
            state,
            frontier: Frontier::new(),
            next: CachePadded::new(AtomicU32::new(1)),
            unqueued: (0..transactions).map(|_| AtomicBool::new(true)).collect(),
            routed: CachePadded::new(AtomicU32::new(if workers > 1 { 0 } else { transactions as u32 })),
            uses_mailboxes: workers > 1,
            fibers: CachePadded::default(),
            done: AtomicBool::new(transactions == 0),
            failure: Mutex::new(None),
            limits,
            mode,
        }
    }

    /// Takes the run apart, once nobody else has it.
    pub(crate) fn into_state(self) -> BlockState {
        let Self { visitors, bodies, committer, state, .. } = self;
        // What points into the state goes first.
        drop(visitors);
        drop((bodies, committer));
        state
    }

    /// The last transaction's index.
    pub(crate) fn last(&self) -> u32 {
        self.state.len() as u32
    }

    /// # Safety
    ///
    /// The caller must own the transaction: it moved its word to `Running` and has not moved it on, or it has
    /// made sure that no worker is in the block.
    #[expect(clippy::mut_from_ref, reason = "ownership is that of the transaction word")]
    pub(crate) unsafe fn body(&self, index: u32) -> &mut Body {
        // SAFETY: the caller's.
        unsafe { &mut *self.bodies[index as usize - 1].get() }
    }

    /// # Safety
    ///
    /// The caller must be draining the frontier, or have made sure that nobody else will.
    #[expect(clippy::mut_from_ref, reason = "ownership is that of the frontier's drainer")]
    pub(crate) unsafe fn committer(&self) -> &mut Committer {
        // SAFETY: the caller's.
        unsafe { &mut *self.committer.get() }
    }

    /// Whether the block is committed, or was given up.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// All transactions are final.
    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Gives the block up. The first failure counts: it comes from the frontier.
    pub(crate) fn fail(&self, error: ExecuteError) {
        self.failure.lock().get_or_insert(error);
        self.finish();
    }

    pub(crate) fn take_failure(&self) -> Option<ExecuteError> {
        self.failure.lock().take()
    }

    /// Whether this is the transaction at the frontier: everything below is final.
    pub(crate) fn at_frontier(&self, index: u32) -> bool {
        self.frontier.passed() + 1 == index
    }

    /// Whether there may be something to do. For a worker that is about to sleep.
    pub(crate) fn may_have_work(&self) -> bool {
        self.is_done() || self.stealers.iter().any(|queue| queue.len() >= WORTH_STEALING) || self.can_begin()
    }

    /// Whether the next transaction could begin.
    fn can_begin(&self) -> bool {
        let next = self.next.load(Ordering::Acquire);
        next <= self.last()
            && next <= self.routed()
            && self.may_begin(next)
            && self.fibers.load(Ordering::Relaxed) < self.limits.fibers
    }

    /// How many transactions' begins were routed.
    fn routed(&self) -> u32 {
        self.routed.load(Ordering::Acquire)
    }

    /// Whether this transaction's begin was routed.
    pub(crate) fn is_routed(&self, index: u32) -> bool {
        index <= self.routed()
    }

    /// Whether the transaction may begin when its turn comes.
    fn unqueued(&self, index: u32) -> bool {
        // Relaxed: `routed` was seen before.
        self.unqueued[index as usize - 1].load(Ordering::Relaxed)
    }

    fn may_begin(&self, index: u32) -> bool {
        index <= self.frontier.passed().saturating_add(self.limits.window)
    }

    fn acquire_fiber(&self) -> bool {
        // Relaxed: a bound on memory; nothing is handed over by it.
        self.fibers
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |fibers| {
                (fibers < self.limits.fibers).then_some(fibers + 1)
            })
            .is_ok()
    }

    fn release_fiber(&self) {
        self.fibers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for BlockRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockRun")
            .field("state", &self.state)
            .field("frontier", &self.frontier)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// A worker's stay in a block: the right to use one of its queues and arenas.
pub(crate) struct Visit<'a> {
    pub(crate) run: &'a BlockRun,
    worker: usize,
    pub(crate) context: WorkerContext,
    /// The frontier's transaction, to be taken up next: not in the queue, where it would look like surplus.
    next: Option<u32>,
    /// Executions that were committed, to be used again.
    #[expect(clippy::vec_box, reason = "the boxes travel on, to bodies and fibers")]
    pub(crate) used: Vec<Box<Execution>>,
}

impl<'a> Visit<'a> {
    /// # Safety
    ///
    /// No other thread may act as this worker of the block until the visit is dropped, and the caller keeps
    /// the block alive.
    pub(crate) unsafe fn new(run: &'a BlockRun, worker: usize) -> Self {
        // SAFETY: the caller's.
        let context = unsafe { run.state.worker(worker) };
        run.visitors.0.fetch_add(1, Ordering::AcqRel);
        Self { run, worker, context, next: None, used: Vec::new() }
    }

    fn queue(&self) -> &Deque<u32> {
        // SAFETY: only this visit acts as this worker.
        unsafe { &*self.run.queues[self.worker].get() }
    }

    /// Enqueues a transaction whose word this worker just made ready.
    pub(crate) fn push(&mut self, index: u32) {
        self.queue().push(index);
    }

    /// Notes that this worker takes up a transaction next whose word it just made ready.
    pub(crate) fn take_up(&mut self, index: u32) {
        if let Some(other) = self.next.replace(index) {
            self.push(other);
        }
    }

    /// Whether others should hear of something: the block is done (committed or given up), or there is more to
    /// do than this worker will take up next.
    pub(crate) fn has_news(&self) -> bool {
        self.run.is_done() || self.queue().len() >= WORTH_STEALING || self.run.can_begin()
    }

    /// Routes every transaction's begin to its sender, in order, while the others may already begin.
    pub(crate) fn send_begins(&mut self) {
        let run = self.run;
        for index in 1..=run.last() {
            if !run.state.send_begin(index, &self.context) {
                run.unqueued[index as usize - 1].store(false, Ordering::Relaxed);
            }
            if run.state.chaos().is_some_and(|chaos| chaos.one_in(8)) {
                // The frontier may arrive between the letter and the note.
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            // Release: who may begin it sees whether it is queued.
            run.routed.store(index, Ordering::Release);
        }
        // The frontier may have arrived at a transaction that was received from its mailbox before it counted as
        // routed, and then nobody began it. Whoever drains at the moment looks once more for this.
        self.drain();
    }

    /// After this worker stored something that the frontier's arrival would have found (a parking, a
    /// deferral): is the frontier here already?
    pub(crate) fn look_for_frontier(&mut self, index: u32) {
        // Pairs with the fence in `drain`: either the drainer sees what was stored, or this sees the
        // frontier.
        fence(Ordering::SeqCst);
        if self.run.at_frontier(index) && self.run.state.word(index).kick() {
            self.push(index);
        }
    }

    /// A ready transaction: the frontier's, this worker's own, another worker's.
    pub(crate) fn claim_ready(&mut self) -> Option<u32> {
        let run = self.run;
        if let Some(index) = self.next.take()
            && run.state.word(index).claim().is_some()
        {
            return Some(index);
        }
        if run.state.chaos().is_some_and(Chaos::swaps_work) {
            // The others, who may share a core with this worker, get the time to take what it has.
            for _ in 0..4 {
                if let Some(index) = self.steal(1) {
                    return Some(index);
                }
                std::thread::yield_now();
            }
        }
        let frontier = run.frontier.passed() + 1;
        if !self.queue().is_empty() && frontier <= run.last() && run.state.word(frontier).claim().is_some() {
            return Some(frontier);
        }
        // Entries may be stale: the word decides.
        while let Some(index) = self.queue().pop() {
            if run.state.word(index).claim().is_some() {
                return Some(index);
            }
        }
        self.steal(WORTH_STEALING)
    }

    /// A ready transaction of a worker that has at least `worth` of them.
    fn steal(&self, worth: usize) -> Option<u32> {
        let run = self.run;
        for offset in 1..run.stealers.len() {
            let stealer = &run.stealers[(self.worker + offset) % run.stealers.len()];
            while stealer.len() >= worth {
                match stealer.steal() {
                    Steal::Empty => break,
                    Steal::Retry => {}
                    Steal::Success(index) if run.state.word(index).claim().is_some() => return Some(index),
                    Steal::Success(_) => {}
                }
            }
        }
        None
    }

    /// The next transaction to begin, and whether a fiber was reserved for it.
    pub(crate) fn claim_next(&mut self) -> Option<(u32, bool)> {
        let run = self.run;
        loop {
            let next = run.next.load(Ordering::Acquire);
            if next > run.last() || next > run.routed() {
                return None;
            }
            if !run.unqueued(next) {
                // Its sender's actor lets it go. Passed over at once, so that no worker is woken to do it.
                let _ = run.next.compare_exchange(next, next + 1, Ordering::AcqRel, Ordering::Relaxed);
                continue;
            }
            if !run.may_begin(next) {
                return None;
            }
            let without_fiber = run.at_frontier(next) || run.state.looks_plain(next);
            if !without_fiber && !run.acquire_fiber() {
                return None;
            }
            let taken =
                run.next.compare_exchange(next, next + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if taken && run.state.word(next).begin().is_some() {
                return Some((next, !without_fiber));
            }
            if !without_fiber {
                run.release_fiber();
            }
        }
    }

    pub(crate) fn acquire_fiber(&self) -> bool {
        self.run.acquire_fiber()
    }

    pub(crate) fn release_fiber(&self) {
        self.run.release_fiber();
    }
}

impl Signals for Visit<'_> {
    fn wake(&mut self, index: u32, ticket: u32) {
        if self.run.state.word(index).wake(ticket) {
            self.push(index);
        }
    }

    fn invalidate(&mut self, index: u32, incarnation: u32) -> bool {
        let invalidated = self.run.state.word(index).invalidate(incarnation);
        if invalidated == Invalidated::Enqueue {
            self.push(index);
        }
        invalidated == Invalidated::Over
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // Release: what this worker did in the block is visible to who waits for the visitors to leave.
        self.run.visitors.0.fetch_sub(1, Ordering::AcqRel);
    }
}
