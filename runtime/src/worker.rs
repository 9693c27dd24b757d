//! What a worker does in a block: run transactions, park them, publish them, run them again.

use counterpoint_actors::{
    Chaos, End, Execution, Executor, Fiber, SerialExecutor, WorkerMemory, Yielded, estimate, publish,
    run_inline,
};
// Seam: the state crate's.
use counterpoint_state::{Changeset, WaitWord, Waiter, sync::Mutex};

use crate::{
    conflicts::Conflicts,
    known_reads::KnownReads,
    longest::{LongCalls, Timing},
    outcome::ExecuteError,
    run::Visit,
};

/// What a fiber is parked for.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// The version of a lower transaction, or the frontier.
    Version(&'static WaitWord<'static>),
    /// The source's answer.
    Source(&'static WaitWord<'static>),
    /// Nothing: others go first.
    Others,
}

/// What a thread brings along to every block: an EVM, fibers, and used executions.
#[derive(Debug, Default)]
pub(crate) struct Kit {
    executor: Executor,
    fibers: Vec<Fiber>,
    #[expect(clippy::vec_box, reason = "the boxes travel on, to bodies and fibers")]
    executions: Vec<Box<Execution>>,
    /// For transactions that run one after the other.
    pub(crate) serial: Option<SerialExecutor>,
}

/// Idle kits and fibers of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Store {
    kits: Mutex<Vec<Kit>>,
    fibers: Mutex<Vec<Fiber>>,
    /// What workers need in a block, empty.
    memories: Mutex<Vec<WorkerMemory>>,
    /// What took long in earlier blocks.
    pub(crate) long_calls: LongCalls,
    /// What was fought over in earlier blocks.
    pub(crate) conflicts: Conflicts,
    /// What was read in earlier blocks, from sources that answer later.
    pub(crate) known_reads: KnownReads,
    /// The same of finished blocks, to be emptied.
    used: Mutex<Vec<WorkerMemory>>,
    /// Empty ones, with the room that blocks needed.
    changesets: Mutex<Vec<Changeset>>,
}

/// Workers' memories of finished blocks that are kept for others, about.
const MOST_MEMORIES: usize = 32;

/// Changesets that are kept for other blocks.
const MOST_CHANGESETS: usize = 4;

/// One with so many times the room that a block needs is not for it: in a large table, what is there is far apart.
const TOO_LARGE: usize = 16;

/// A transaction changes about so many accounts that no other one does.
const CHANGES: usize = 2;

/// Idle fibers that a kit keeps for itself.
const KEPT_FIBERS: usize = 16;

impl Store {
    pub(crate) fn take_kit(&self) -> Kit {
        let kit = self.kits.lock().pop();
        // Not under the lock: a new kit takes a while to build.
        kit.unwrap_or_default()
    }

    /// A worker's memory, with nothing in it.
    pub(crate) fn take_memory(&self) -> WorkerMemory {
        if let Some(memory) = self.memories.lock().pop() {
            return memory;
        }
        // Bound to a name, so that the lock is free again.
        let used = self.used.lock().pop();
        used.map(emptied).unwrap_or_default()
    }

    /// Takes the workers' memory of a finished block; where there are helpers, one of them empties it when it has nothing else to do.
    pub(crate) fn put_memory(&self, memories: impl Iterator<Item = WorkerMemory>, helpers: bool) {
        if helpers {
            // A block that begins while a helper empties one makes a new one: they must not pile up.
            let room = MOST_MEMORIES.saturating_sub(self.memories.lock().len());
            let mut used = self.used.lock();
            used.extend(memories);
            used.truncate(room);
        } else {
            self.memories.lock().extend(memories.map(emptied));
        }
    }

    /// Empties a worker's memory of a finished block, if there is one.
    pub(crate) fn clean_memory(&self) -> bool {
        let used = self.used.lock().pop();
        let found = used.is_some();
        if let Some(memory) = used {
            self.memories.lock().push(emptied(memory));
        }
        found
    }

    /// An empty changeset with room for what so many transactions change.
    pub(crate) fn take_changeset(&self, transactions: usize) -> Changeset {
        // The beneficiary, and whom withdrawals and system calls change.
        let needed = transactions * CHANGES + 16;
        // Bound to a name, so that the lock is free again.
        let kept = {
            let mut changesets = self.changesets.lock();
            let fits = changesets.iter().rposition(|kept| kept.capacity() <= needed * TOO_LARGE);
            fits.map(|at| changesets.swap_remove(at))
        };
        let mut changeset = kept.unwrap_or_default();
        changeset.reserve(needed);
        changeset
    }

    pub(crate) fn put_changeset(&self, changeset: Changeset) {
        let mut changesets = self.changesets.lock();
        if changesets.len() < MOST_CHANGESETS {
            changesets.push(changeset);
        }
    }

    /// Forgets what earlier blocks have taught.
    pub(crate) fn forget(&self) {
        self.long_calls.forget();
        self.conflicts.forget();
        self.known_reads.forget();
    }

    pub(crate) fn put_kit(&self, kit: Kit) {
        self.kits.lock().push(kit);
    }
}

fn emptied(mut memory: WorkerMemory) -> WorkerMemory {
    memory.reset();
    memory
}

impl Kit {
    pub(crate) fn execution(&mut self) -> Box<Execution> {
        self.executions.pop().unwrap_or_else(Execution::new)
    }

    /// Keeps an execution for reuse. It must not point into a block any more.
    pub(crate) fn keep_execution(&mut self, mut execution: Box<Execution>) {
        execution.clear();
        if self.executions.len() < 512 {
            self.executions.push(execution);
        }
    }

    pub(crate) fn fiber(&mut self, store: &Store) -> std::io::Result<Fiber> {
        match self.fibers.pop().or_else(|| store.fibers.lock().pop()) {
            Some(fiber) => Ok(fiber),
            None => Fiber::new(),
        }
    }

    pub(crate) fn keep_fiber(&mut self, fiber: Fiber, store: &Store) {
        if self.fibers.len() < KEPT_FIBERS {
            self.fibers.push(fiber);
        } else {
            store.fibers.lock().push(fiber);
        }
    }
}

impl Visit<'_> {
    /// Does one piece of work. `false`: there is none.
    pub(crate) fn step(&mut self, kit: &mut Kit, store: &Store) -> bool {
        if self.run.is_done() {
            return false;
        }
        if self.run.state.is_deferred() {
            let (state, context) = (&self.run.state, self.context);
            state.receive(&context, self);
            self.ask_ahead(store);
            self.run.state.send_requests(&self.context);
            let worked = self.work(kit, store);
            // Before the worker turns to anything else: somebody is parked for them.
            self.run.state.send_requests(&self.context);
            return worked;
        }
        self.work(kit, store)
    }

    fn work(&mut self, kit: &mut Kit, store: &Store) -> bool {
        if let Some(index) = self.claim_ready() {
            self.continue_transaction(index, kit, store);
        } else if let Some((index, reserved)) = self.claim_next() {
            self.execute(index, 0, reserved, kit, store);
        } else if let Some(scout) = self.claim_ready_scout().or_else(|| self.claim_scout()) {
            self.scout(scout, kit, store);
        } else {
            return false;
        }
        for execution in self.used.drain(..) {
            kit.keep_execution(execution);
        }
        true
    }

    /// Takes up a transaction that was ready: parked, invalidated, or let go by its sender's actor.
    fn continue_transaction(&mut self, index: u32, kit: &mut Kit, store: &Store) {
        if index > self.run.last() {
            return self.scout(index, kit, store);
        }
        // SAFETY: the word was claimed.
        let body = unsafe { self.run.body(index) };
        if let Some(fiber) = body.fiber.take() {
            self.context.counters.resumed.increment();
            self.resume(index, fiber, kit, store);
        } else if body.execution.is_some() {
            self.check_again(index, kit, store);
        } else {
            let incarnation = self.run.state.word(index).load().incarnation();
            self.execute(index, incarnation, false, kit, store);
        }
    }

    /// An executed transaction was invalidated, or its end has to be confirmed.
    fn check_again(&mut self, index: u32, kit: &mut Kit, store: &Store) {
        let word = self.run.state.word(index);
        // SAFETY: claimed by the caller.
        let body = unsafe { self.run.body(index) };
        let execution = body.execution.as_ref().expect("checked by the caller");
        while !body.useless {
            // Taken before the look, so that an invalidation during the look is not lost.
            let _ = word.take_invalid();
            if !execution.still_valid() {
                body.useless = true;
            } else if word.finish() {
                return self.drain();
            }
        }
        self.run_again(index, kit, store);
    }

    /// The last incarnation is of no use: the next one, now or when the frontier arrives.
    fn run_again(&mut self, index: u32, kit: &mut Kit, store: &Store) {
        let word = self.run.state.word(index);
        // SAFETY: the caller owns the transaction.
        let body = unsafe { self.run.body(index) };
        self.context.counters.invalidated.increment();
        self.context.counters.useful.add(body.useful.wrapping_neg());
        body.useful = 0;
        if let Some(execution) = &mut body.execution {
            execution.abandon(&mut body.written);
        }
        estimate(&body.written);
        body.useless = false;
        if let Some(execution) = &body.execution
            && let Some((address, slot, writer)) = execution.misled()
        {
            for index in [Some(index), writer].into_iter().flatten() {
                store.conflicts.learn(self.run.state.transaction(index), (address, slot));
            }
        }
        if let Some(execution) = body.execution.take() {
            kit.keep_execution(execution);
        }
        // A plain transfer is not worth another guess: at the frontier it takes no longer.
        let speculate =
            word.load().incarnation() + 1 < self.run.guesses && !self.run.state.looks_plain(index);
        if !speculate && !self.run.at_frontier(index) {
            return self.defer(index);
        }
        let incarnation = word.restart();
        self.execute(index, incarnation, false, kit, store);
    }

    /// Executes an incarnation. `reserved`: a fiber was reserved for it.
    fn execute(&mut self, index: u32, incarnation: u32, reserved: bool, kit: &mut Kit, store: &Store) {
        let run = self.run;
        // SAFETY: the caller owns the transaction.
        let body = unsafe { run.body(index) };
        let mut on_final_state = run.at_frontier(index);
        if incarnation == 0 && run.state.chaos().is_some_and(Chaos::speculates_at_the_frontier) {
            on_final_state = false;
        }
        body.ahead |= incarnation == 0 && !on_final_state;
        body.loads = 0;
        (body.took, body.useful) = (0, 0);
        let mut execution = kit.execution();

        if incarnation == 0 && !on_final_state && !run.state.looks_plain(index) && !run.state.is_deferred() {
            body.expected = store.conflicts.of(run.state.transaction(index));
            if !body.expected.is_empty() {
                execution.reset(index, incarnation, on_final_state, body.exact);
                if execution.announce(&run.state, &body.expected, &self.context) {
                    // Another one writes what this one will read.
                    execution.abandon(&mut body.written);
                    estimate(&body.written);
                    body.waited = true;
                    kit.keep_execution(execution);
                    if reserved {
                        self.release_fiber();
                    }
                    return self.defer(index);
                }
                execution.abandon(&mut body.written);
            }
        }
        self.context.counters.incarnations.increment();
        if on_final_state || (!reserved && run.state.looks_plain(index)) {
            if reserved {
                self.release_fiber();
            }
            execution.reset(index, incarnation, on_final_state, body.exact);
            self.disturb(&mut execution);
            let timing = Timing::of(run.state.transaction(index), &store.long_calls);
            let watch = self.watch(index);
            run_inline(&mut kit.executor, &run.state, &mut execution, self.context);
            self.watched(watch, body);
            timing.ended(matches!(execution.end, End::Executed(_)));
            if !matches!(execution.end, End::MustWait) {
                self.context.counters.fiberless.increment();
                return self.ended(index, execution, kit, store);
            }
            execution.abandon(&mut body.written);
            estimate(&body.written);
            if !on_final_state {
                // There is no work to keep, so it waits for the frontier without a fiber.
                kit.keep_execution(execution);
                return self.defer(index);
            }
        }

        // At the frontier only the source is waited for, and there is always a fiber.
        if on_final_state {
            self.reserve_fiber();
        }
        let reserved = on_final_state || reserved || self.acquire_fiber();
        let fiber = if reserved { kit.fiber(store).ok() } else { None };
        let Some(mut fiber) = fiber else {
            if reserved {
                self.release_fiber();
            }
            if on_final_state {
                return run
                    .fail(ExecuteError::Internal("the system refuses the memory for a stack".to_owned()));
            }
            // No fiber to be had. It will not need one at the frontier.
            kit.keep_execution(execution);
            return self.defer(index);
        };
        execution.reset(index, incarnation, on_final_state, body.exact);
        self.disturb(&mut execution);
        let timing = Timing::of(run.state.transaction(index), &store.long_calls);
        let watch = self.watch(index);
        // SAFETY: the fiber is idle, and the block is kept alive by whoever runs it: a fiber that is still
        // suspended when the block is given up is cancelled before.
        let yielded = unsafe { fiber.run(&run.state, execution, self.context) };
        self.watched(watch, body);
        if let Ok(Yielded::Done(execution)) = &yielded {
            timing.ended(matches!(execution.end, End::Executed(_)));
        }
        self.yielded(index, fiber, yielded, kit, store);
    }

    /// Leaves a transaction that the caller owns until the frontier arrives.
    fn defer(&mut self, index: u32) {
        self.context.counters.deferrals.increment();
        self.run.state.word(index).defer();
        self.look_for_frontier(index);
    }

    fn resume(&mut self, index: u32, mut fiber: Fiber, kit: &mut Kit, store: &Store) {
        let watch = self.watch(index);
        let yielded = fiber.resume(self.context);
        // SAFETY: the caller owns the transaction.
        self.watched(watch, unsafe { self.run.body(index) });
        self.yielded(index, fiber, yielded, kit, store);
    }

    /// A fiber came back: park it, let it go on, or take what it brings.
    fn yielded(
        &mut self,
        index: u32,
        mut fiber: Fiber,
        mut yielded: Result<Yielded, String>,
        kit: &mut Kit,
        store: &Store,
    ) {
        loop {
            match yielded {
                Ok(Yielded::Done(execution)) => {
                    kit.keep_fiber(fiber, store);
                    self.release_fiber();
                    return self.ended(index, execution, kit, store);
                }
                Ok(Yielded::Wait(version)) => match self.park(index, fiber, For::Version(version)) {
                    Some(again) => fiber = again,
                    None => return,
                },
                Ok(Yielded::Load(answer)) => match self.park(index, fiber, For::Source(answer)) {
                    Some(again) => fiber = again,
                    None => return,
                },
                Ok(Yielded::Pause) => match self.park(index, fiber, For::Others) {
                    Some(again) => fiber = again,
                    None => return,
                },
                Err(message) => {
                    // A panic that even the fiber's own guard could not contain.
                    self.release_fiber();
                    let index = index as usize - 1;
                    return self.run.fail(ExecuteError::Panic { index, message });
                }
            }
            let watch = self.watch(index);
            yielded = fiber.resume(self.context);
            // SAFETY: the caller owns the transaction.
            self.watched(watch, unsafe { self.run.body(index) });
        }
    }

    /// Parks a fiber with what it waits for. Gives the fiber back if it can go on at once.
    pub(crate) fn park(&mut self, index: u32, fiber: Fiber, reason: For) -> Option<Fiber> {
        let word = self.run.word(index);
        // SAFETY: the caller owns the transaction, until `park` below succeeds.
        let body = unsafe { self.run.body(index) };
        body.fiber = Some(fiber);
        body.waited |= matches!(reason, For::Version(_));
        body.loads += u32::from(matches!(reason, For::Source(_)));
        let loads = body.loads;
        // First the fiber is stored and the word says that it may be resumed; then the version learns who
        // waits. From here on another worker may have it.
        let ticket = if matches!(reason, For::Source(_)) { word.park_for_source() } else { word.park() };
        let Some(ticket) = ticket else { return body.fiber.take() };
        self.context.counters.parked.increment();
        let awaited = match reason {
            For::Version(awaited) | For::Source(awaited) => awaited,
            For::Others => {
                if word.wake(ticket) {
                    self.push(index);
                }
                return None;
            }
        };
        let waiter = self.context.waiter(Waiter::new(index, ticket));
        if awaited.wait(waiter) {
            match reason {
                For::Version(_) => {
                    if !self.run.is_foreseen(index) {
                        self.send_scout(index);
                    }
                    self.look_for_frontier(index);
                }
                // The source answers whether the frontier has arrived or not.
                _ => self.send_scout_for_loads(index, loads),
            }
            return None;
        }
        if !word.unpark(ticket) {
            // Somebody else made it ready meanwhile, and enqueued it.
            return None;
        }
        // SAFETY: `unpark` moved the word back to `Running`.
        unsafe { self.run.body(index) }.fiber.take()
    }

    /// An incarnation ended.
    fn ended(&mut self, index: u32, mut execution: Box<Execution>, kit: &mut Kit, store: &Store) {
        let run = self.run;
        let word = run.state.word(index);
        // SAFETY: the caller owns the transaction.
        let body = unsafe { run.body(index) };
        let position = index as usize - 1;
        let confirmed = execution.on_final_state();
        if run.is_done() {
            // Nobody needs it, and it may have ended for that reason.
            body.execution = Some(execution);
            return;
        }
        if let End::Executed(executed) = &execution.end
            && run.state.is_deferred()
        {
            store.known_reads.learn(run.state.transaction(index), &executed.state);
        }
        match &execution.end {
            End::Executed(_) | End::Invalid(_) => {
                let together = run.shows_changes;
                publish(&run.state, &mut execution, &mut body.written, together, self.context, self);
            }
            End::Inexact => {
                body.exact = true;
                body.execution = Some(execution);
                return self.run_again(index, kit, store);
            }
            End::Doomed | End::MustWait | End::Cancelled | End::Unfinished if !confirmed => {
                body.execution = Some(execution);
                return self.run_again(index, kit, store);
            }
            End::Panicked(message) if execution.was_misplaced() => {
                return run.fail(ExecuteError::Panic { index: position, message: message.clone() });
            }
            // What failed on state that is not final may not fail on final state.
            _ if !confirmed => {
                execution.abandon(&mut body.written);
                estimate(&body.written);
                kit.keep_execution(execution);
                return self.defer(index);
            }
            End::Header(cause) => return run.fail(ExecuteError::InvalidHeader(*cause)),
            End::Source(cause) => {
                return run.fail(ExecuteError::Source { index: position, cause: cause.clone() });
            }
            End::Failed(message) => {
                return run.fail(ExecuteError::Execution { index: position, message: message.clone() });
            }
            End::Panicked(message) => {
                return run.fail(ExecuteError::Panic { index: position, message: message.clone() });
            }
            End::Doomed | End::MustWait | End::Cancelled | End::Unfinished => {
                let message = format!("transaction {position}: {:?} on final state", execution.end);
                return run.fail(ExecuteError::Internal(message));
            }
        }
        for slot in body.expected.drain(..) {
            store.conflicts.judge(run.state.transaction(index), slot, execution.wrote(&slot.0, &slot.1));
        }
        body.execution = Some(execution);
        body.useful = body.took;
        self.context.counters.useful.add(body.useful);
        self.release_next(index);
        if word.finish() {
            self.disturb_others(index);
            self.drain();
        } else {
            self.check_again(index, kit, store);
        }
    }

    /// The first time that a transaction ends, its sender's next one may begin.
    fn release_next(&mut self, index: u32) {
        // SAFETY: the caller owns the transaction.
        let body = unsafe { self.run.body(index) };
        if !self.run.uses_mailboxes || std::mem::replace(&mut body.released, true) {
            return;
        }
        // Among few workers a plain transfer begins when the frontier arrives: it could only guess what this one leaves, and
        // a guess costs as much as the transfer. Others begin in their turn, or now if that is over.
        if let Some(next) = self.run.state.next_begin(index, &self.context)
            && (self.run.guesses_transfers || !self.run.state.looks_plain(next))
            && !self.run.begins.let_go(next)
            && self.run.state.word(next).release()
        {
            self.push(next);
        }
    }

    /// Chaos: predict what will not happen.
    fn disturb(&self, execution: &mut Execution) {
        if let Some(chaos) = self.run.state.chaos() {
            execution.predict_wrongly(&self.run.state, chaos, &self.context);
        }
    }

    /// Chaos: invalidate what is valid.
    fn disturb_others(&mut self, index: u32) {
        let Some(chaos) = self.run.state.chaos() else { return };
        if chaos.one_in(3) {
            let other = index + (chaos.next() % 4) as u32;
            if other <= self.run.last() {
                let incarnation = self.run.state.word(other).load().incarnation();
                let _ = counterpoint_actors::Signals::invalidate(self, other, incarnation);
            }
        }
    }
}
