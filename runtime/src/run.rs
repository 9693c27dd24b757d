//! One block in execution, as its workers share it.

use std::{
    cell::UnsafeCell,
    fmt,
    time::{Duration, Instant},
};

use counterpoint_actors::{BlockState, Chaos, Execution, Fiber, Signals, WorkerContext, Written};
use counterpoint_state::{
    Frontier, Invalidated, Phase, TransactionWord,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering, fence, mutation, thread},
};
use crossbeam_deque::{Steal, Stealer, Worker as Deque};
use crossbeam_utils::CachePadded;

use crate::{
    begins::Begins,
    commit::Committer,
    conflicts::Slot,
    input::Mode,
    known_reads::Told,
    longest::{Long, are_worth_keeping},
    outcome::ExecuteError,
    pace::Work,
    plan,
    presence::Presence,
    worker::Store,
};

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
    /// Slots that it was expected to write when it began.
    pub(crate) expected: Vec<Slot>,
    /// Credits must not be deferred: they overflowed.
    pub(crate) exact: bool,
    /// The sender's next transaction was let go.
    pub(crate) released: bool,
    /// It began ahead of the frontier.
    pub(crate) ahead: bool,
    /// It was parked for a version.
    pub(crate) waited: bool,
    /// How often it was parked for the source.
    pub(crate) loads: u32,
    /// Of a scout: how many keys it has asked for.
    pub(crate) asked: u32,
    /// Of a scout: how often it has come to an end.
    pub(crate) rounds: u32,
    /// What executing the last incarnation has taken so far, in nanoseconds, if that is worth knowing.
    pub(crate) took: u64,
    /// What of that was counted as useful.
    pub(crate) useful: u64,
    /// The last incarnation is known to be of no use.
    pub(crate) useless: bool,
}

/// A block that is being executed.
pub(crate) struct BlockRun {
    /// Who is in the block. The first to go, see there.
    pub(crate) presence: Presence,
    // Before `state`: fibers and executions point into it.
    bodies: Box<[CachePadded<UnsafeCell<Body>>]>,
    committer: UnsafeCell<Committer>,
    /// One queue of ready transactions per worker, used by that worker; the others steal.
    queues: Box<[CachePadded<UnsafeCell<Deque<u32>>>]>,
    stealers: Box<[Stealer<u32>]>,
    /// The same for scouts far from the frontier, which run only where there is nothing else to do.
    scout_queues: Box<[CachePadded<UnsafeCell<Deque<u32>>>]>,
    scout_stealers: Box<[Stealer<u32>]>,
    pub(crate) state: BlockState,
    pub(crate) frontier: Frontier,
    pub(crate) begins: Begins,
    /// The transactions that begin before their turn.
    early: Box<[Long]>,
    /// Whether begins go through the mailboxes.
    pub(crate) uses_mailboxes: bool,
    /// The words of the scouts, one for each transaction if the source answers later. Their bodies come after the
    /// transactions'.
    scouts: Box<[CachePadded<TransactionWord>]>,
    /// The next transaction to send a scout for, if it needs one.
    next_scout: CachePadded<AtomicU32>,
    /// Of each transaction, if the source answers later: all that it will probably read was asked for.
    foreseen: Box<[AtomicBool]>,
    /// Fibers in flight.
    fibers: CachePadded<AtomicU32>,
    failure: Mutex<Option<ExecuteError>>,
    limits: Limits,
    /// Whether transactions are timed.
    pub(crate) is_timed: bool,
    /// Whether anybody wants to see what each transaction changed.
    pub(crate) shows_changes: bool,
    pub(crate) mode: Mode,
    /// How often a transaction is executed ahead of the frontier; what an incarnation after these reads there is final.
    pub(crate) guesses: u32,
    /// Whether a sender's plain transfers begin before the frontier arrives.
    pub(crate) guesses_transfers: bool,
}

/// A scout for a transaction so close to the frontier goes before others begin.
const NEAR: u32 = 32;

/// What a plain transfer takes, in gas (yellow paper, G_transaction).
const TRANSFER: u64 = 21_000;

/// Of so many plain transfers one is timed.
const PLAIN: u32 = 8;

/// Whether there is more to gain from what was done ahead is seen from so many transactions, of which more than so many
/// are executed.
const NEXT: u32 = 8;
const MOST_EXECUTED: usize = 2;

/// What so many transactions need is asked for at once.
const AT_ONCE: u32 = 16;

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

type Queues = (Box<[CachePadded<UnsafeCell<Deque<u32>>>]>, Box<[Stealer<u32>]>);

fn new_queues(workers: usize) -> Queues {
    let queues: Box<[_]> =
        (0..workers).map(|_| CachePadded::new(UnsafeCell::new(Deque::new_fifo()))).collect();
    // SAFETY: nobody else has the queues yet.
    let stealers = queues.iter().map(|queue| unsafe { &*queue.get() }.stealer()).collect();
    (queues, stealers)
}

/// When a piece of an execution began, and for how many like it that stands; `None` where it is not worth knowing.
pub(crate) type Watch = Option<(Instant, u64)>;

/// A time in nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl BlockRun {
    /// For the state's transactions; those before them are final, and the committer has them. `early` are to begin first.
    pub(crate) fn new(
        state: BlockState,
        workers: usize,
        limits: Limits,
        mode: Mode,
        committer: Committer,
        early: Box<[Long]>,
    ) -> Self {
        let done = state.indices().start() - 1;
        let transactions = state.indices().count();
        // One worker begins everything in order, unless it goes on to others while one waits for the source.
        let scouts = if state.is_deferred() { transactions } else { 0 };
        let uses_mailboxes = workers > 1 || state.is_deferred();
        let is_timed = committer.pace.is_timed();
        let shows_changes = committer.shows_changes();
        let (queues, stealers) = new_queues(workers);
        let (scout_queues, scout_stealers) = new_queues(if scouts > 0 { workers } else { 0 });
        Self {
            presence: Presence::new(transactions == 0),
            bodies: (0..transactions + scouts).map(|_| CachePadded::default()).collect(),
            committer: UnsafeCell::new(committer),
            queues,
            stealers,
            scout_queues,
            scout_stealers,
            state,
            frontier: Frontier::after(done),
            begins: Begins::new(
                transactions,
                done,
                !uses_mailboxes,
                early.iter().map(|long| long.index).collect(),
            ),
            early,
            uses_mailboxes,
            scouts: (0..scouts).map(|_| CachePadded::default()).collect(),
            next_scout: CachePadded::new(AtomicU32::new(done + 1)),
            foreseen: (0..scouts).map(|_| AtomicBool::new(false)).collect(),
            fibers: CachePadded::default(),
            is_timed,
            shows_changes,
            failure: Mutex::new(None),
            limits,
            mode,
            guesses: plan::guesses(workers),
            guesses_transfers: plan::guesses_transfers(workers),
        }
    }

    /// Takes the run apart, once nobody else has it.
    pub(crate) fn into_state(self) -> BlockState {
        let Self { presence, bodies, committer, state, .. } = self;
        // What points into the state goes first.
        drop(presence);
        drop((bodies, committer));
        state
    }

    /// The last transaction's index.
    pub(crate) fn last(&self) -> u32 {
        *self.state.indices().end()
    }

    /// How many transactions were final before the first one here.
    fn done_before(&self) -> u32 {
        self.state.indices().start() - 1
    }

    /// Where a transaction's things are.
    fn place(&self, index: u32) -> usize {
        (index - self.state.indices().start()) as usize
    }

    /// Whether the source was asked for all that this transaction will probably read.
    pub(crate) fn is_foreseen(&self, index: u32) -> bool {
        // Relaxed: a hint.
        self.foreseen.get(self.place(index)).is_some_and(|foreseen| foreseen.load(Ordering::Relaxed))
    }

    /// The word of a transaction, or of a scout (see `scout.rs`).
    pub(crate) fn word(&self, id: u32) -> &TransactionWord {
        match id.checked_sub(self.last() + 1) {
            Some(scout) => &self.scouts[(scout - self.done_before()) as usize],
            None => self.state.word(id),
        }
    }

    /// Whether this is a scout that can wait until there is nothing else to do.
    fn is_far_scout(&self, id: u32) -> bool {
        id.checked_sub(self.last()).is_some_and(|index| index > self.frontier.passed().saturating_add(NEAR))
    }

    /// The ids of the transactions and scouts.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        let scouts = self.state.indices().take(self.scouts.len()).map(|index| self.last() + index);
        self.state.indices().chain(scouts)
    }

    /// The next transaction that waits for its begin, for the frontier or in a fiber, to send a scout for.
    pub(crate) fn next_to_scout(&self) -> Option<u32> {
        loop {
            // Relaxed: an index, nothing else; the scout's word decides.
            let next = self.next_scout.load(Ordering::Relaxed);
            if next > self.last()
                || self.scouts.is_empty()
                || !self.begins.is_routed(next)
                || next > self.horizon()
            {
                return None;
            }
            // Relaxed: as above.
            if self.next_scout.compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                && matches!(
                    self.state.word(next).load().phase(),
                    Phase::Pending | Phase::Parked | Phase::Loading | Phase::Deferred
                )
                && !self.is_foreseen(next)
                // With more gas than a transfer takes it may call a contract.
                && (!self.state.looks_plain(next) || self.state.transaction(next).gas_limit > TRANSFER)
            {
                return Some(next);
            }
        }
    }

    /// # Safety
    ///
    /// The caller must own the transaction: it moved its word to `Running` and has not moved it on, or it has
    /// made sure that no worker is in the block.
    #[expect(clippy::mut_from_ref, reason = "ownership is that of the transaction word")]
    pub(crate) unsafe fn body(&self, id: u32) -> &mut Body {
        let (first, last) = self.state.indices().into_inner();
        let place = if id <= last { id - first } else { id - last - first + (last + 1 - first) } as usize;
        // SAFETY: the caller's.
        unsafe { &mut *self.bodies[place].get() }
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
        self.presence.is_done()
    }

    /// All transactions are final, or the rest is left to others.
    pub(crate) fn finish(&self) {
        self.presence.finish();
        self.state.end();
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

    /// What was done by the time that this transaction is final.
    pub(crate) fn work_after(&self, index: u32) -> Work {
        let next = index + 1..=self.last().min(index.saturating_add(NEXT));
        let is_executed = |next: &u32| self.state.word(*next).load().phase() == Phase::Executed;
        Work {
            nanoseconds: self
                .state
                .counters()
                .fold(0, |sum, counters| sum.wrapping_add(counters.useful.get())),
            ahead: next.filter(is_executed).count() > MOST_EXECUTED,
        }
    }

    /// Whether to stop after this transaction would throw away more than it could spare.
    pub(crate) fn would_lose(&self, index: u32) -> bool {
        let has_begun = |long: &&Long| {
            long.index > index
                && !matches!(self.state.word(long.index).load().phase(), Phase::Pending | Phase::Deferred)
        };
        let (all, left) = (self.last() - self.done_before(), self.last() - index);
        are_worth_keeping(self.early.iter().filter(has_begun), left, all)
    }

    /// Whether there may be something to do. For a worker that is about to sleep.
    pub(crate) fn may_have_work(&self) -> bool {
        self.is_done()
            || self.state.has_answers()
            || self.stealers.iter().any(|queue| queue.len() >= WORTH_STEALING)
            || self.can_begin()
    }

    /// Whether the next transaction could begin.
    fn can_begin(&self) -> bool {
        (self.begins.has_early() || self.begins.turn(self.horizon()).is_some()) && self.has_fiber()
    }

    /// Up to where transactions may begin at the moment.
    fn horizon(&self) -> u32 {
        self.frontier.passed().saturating_add(self.limits.window)
    }

    /// How many fibers there are then.
    fn acquire_fiber(&self) -> Option<u32> {
        // Relaxed: a bound on memory; nothing is handed over by it.
        self.fibers
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |fibers| {
                (fibers < self.limits.fibers).then_some(fibers + 1)
            })
            .ok()
            .map(|before| before + 1)
    }

    /// Whether a fiber could be had at the moment.
    pub(crate) fn has_fiber(&self) -> bool {
        // Relaxed: as in `acquire_fiber`, which decides.
        self.fibers.load(Ordering::Relaxed) < self.limits.fibers
    }

    /// For the frontier's transaction, which always gets one. How many there are then.
    fn reserve_fiber(&self) -> u32 {
        // Relaxed: as in `acquire_fiber`.
        self.fibers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn release_fiber(&self) {
        // Relaxed: as in `acquire_fiber`.
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
    /// For the worker that asks ahead, where the source answers later: how many transactions it has asked for.
    pub(crate) asked_ahead: Option<u32>,
    /// For the same worker: the kinds of calls whose known reads it has asked for.
    told: Told,
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
        run.presence.enter();
        Self { run, worker, context, next: None, asked_ahead: None, told: Told::default(), used: Vec::new() }
    }

    fn queue(&self) -> &Deque<u32> {
        // SAFETY: only this visit acts as this worker.
        unsafe { &*self.run.queues[self.worker].get() }
    }

    /// A piece of a transaction's execution begins. Of plain transfers, which are all alike, some stand for the others: to
    /// look at the clock takes a while.
    pub(crate) fn watch(&self, index: u32) -> Watch {
        let run = self.run;
        let weight = match run.is_timed {
            false => return None,
            true if !run.state.looks_plain(index) => 1,
            true if index.is_multiple_of(PLAIN) => PLAIN,
            true => return None,
        };
        Some((Instant::now(), u64::from(weight)))
    }

    /// It has come to its end; adds to what it took.
    pub(crate) fn watched(&self, watch: Watch, body: &mut Body) {
        if let Some((begin, weight)) = watch {
            body.took += nanoseconds(begin.elapsed()) * weight;
        }
    }

    /// Enqueues a transaction whose word this worker just made ready.
    pub(crate) fn push(&mut self, index: u32) {
        if self.run.is_far_scout(index) {
            // SAFETY: only this visit acts as this worker.
            unsafe { &*self.run.scout_queues[self.worker].get() }.push(index);
        } else {
            let queue = self.queue();
            queue.push(index);
            self.context.counters.ready.at_least(queue.len() as u64);
        }
    }

    /// A scout that may go, or go on: this worker's own, another worker's.
    pub(crate) fn claim_ready_scout(&mut self) -> Option<u32> {
        let run = self.run;
        if run.scout_queues.is_empty() {
            return None;
        }
        // SAFETY: only this visit acts as this worker.
        let own = unsafe { &*run.scout_queues[self.worker].get() };
        while let Some(id) = own.pop() {
            if run.word(id).claim().is_some() {
                return Some(id);
            }
        }
        self.steal_from(&run.scout_stealers, 1)
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
        for index in run.frontier.passed() + 1..=run.last() {
            let waits = !run.state.send_begin(index, &self.context);
            if run.state.chaos().is_some_and(|chaos| chaos.one_in(8)) {
                // The frontier may arrive between the letter and the note.
                thread::sleep(std::time::Duration::from_micros(200));
            }
            run.begins.note(index, waits);
        }
        // The frontier may have arrived at a transaction that was received from its mailbox before it counted as
        // routed, and then nobody began it. Whoever drains at the moment looks once more for this.
        mutation!("route-without-drain", (), self.drain());
    }

    /// Asks for what the transactions in the window name, and what is known of their reads, as far as that was not done, if
    /// that is this worker's part.
    pub(crate) fn ask_ahead(&mut self, store: &Store) {
        let (run, Some(asked)) = (self.run, self.asked_ahead) else { return };
        let end = run.frontier.passed().saturating_add(run.limits.window).min(run.last());
        if end <= asked {
            return;
        }
        for index in asked + 1..=end {
            run.state.ask_ahead(index, &self.context);
            let ask = |key| run.state.ask_ahead_for(key, &self.context);
            if store.known_reads.of(run.state.transaction(index), &mut self.told, ask) {
                // Relaxed: a hint.
                run.foreseen[run.place(index)].store(true, Ordering::Relaxed);
            }
            if index.is_multiple_of(AT_ONCE) {
                run.state.send_requests(&self.context);
            }
        }
        self.asked_ahead = Some(end);
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
            && run.word(index).claim().is_some()
        {
            return Some(index);
        }
        if run.state.chaos().is_some_and(Chaos::swaps_work) {
            // The others, who may share a core with this worker, get the time to take what it has.
            for _ in 0..4 {
                if let Some(index) = self.steal(1) {
                    return Some(index);
                }
                thread::yield_now();
            }
        }
        let frontier = run.frontier.passed() + 1;
        if !self.queue().is_empty() && frontier <= run.last() && run.state.word(frontier).claim().is_some() {
            return Some(frontier);
        }
        // Entries may be stale: the word decides.
        while let Some(index) = self.queue().pop() {
            if run.word(index).claim().is_some() {
                return Some(index);
            }
        }
        self.steal(WORTH_STEALING)
    }

    /// A ready transaction of a worker that has at least `worth` of them.
    fn steal(&self, worth: usize) -> Option<u32> {
        self.steal_from(&self.run.stealers, worth)
    }

    fn steal_from(&self, stealers: &[Stealer<u32>], worth: usize) -> Option<u32> {
        let run = self.run;
        for offset in 1..stealers.len() {
            let stealer = &stealers[(self.worker + offset) % stealers.len()];
            while stealer.len() >= worth {
                match stealer.steal() {
                    Steal::Empty => break,
                    Steal::Retry => {}
                    Steal::Success(index) if run.word(index).claim().is_some() => return Some(index),
                    Steal::Success(_) => {}
                }
            }
        }
        None
    }

    /// The next transaction to begin, and whether a fiber was reserved for it.
    pub(crate) fn claim_next(&mut self) -> Option<(u32, bool)> {
        let run = self.run;
        while run.begins.has_early() && self.acquire_fiber() {
            if let Some(index) = run.begins.take_early()
                && run.state.word(index).begin().is_some()
            {
                return Some((index, true));
            }
            run.release_fiber();
        }
        loop {
            let next = run.begins.turn(run.horizon())?;
            let without_fiber = run.at_frontier(next) || run.state.looks_plain(next);
            if !without_fiber && !self.acquire_fiber() {
                return None;
            }
            if run.begins.take(next) && run.state.word(next).begin().is_some() {
                return Some((next, !without_fiber));
            }
            if !without_fiber {
                run.release_fiber();
            }
        }
    }

    pub(crate) fn acquire_fiber(&self) -> bool {
        let fibers = self.run.acquire_fiber();
        self.context.counters.fibers.at_least(fibers.map_or(0, u64::from));
        fibers.is_some()
    }

    /// For the frontier's transaction.
    pub(crate) fn reserve_fiber(&self) {
        self.context.counters.fibers.at_least(self.run.reserve_fiber().into());
    }

    pub(crate) fn release_fiber(&self) {
        self.run.release_fiber();
    }
}

impl Signals for Visit<'_> {
    fn wake(&mut self, index: u32, ticket: u32) {
        if self.run.word(index).wake(ticket) {
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
        self.run.presence.leave();
    }
}
