//! The runtime: a persistent pool of workers that executes blocks.

use std::{fmt, io, ops::Range, sync::Arc, time::Instant};

use counterpoint_actors::BlockState;
use counterpoint_state::{
    Changeset, StateSource,
    sync::{
        Ordering,
        thread::{self, JoinHandle},
    },
};

use revm::context::TxEnv;

use crate::{
    builder::Builder,
    commit::Committer,
    control::{Alarm, Control, Follower, Stop, Timer, Watch},
    finish::collect,
    input::Block,
    observe,
    outcome::{ExecuteError, Outcome, Statistics},
    pace::Watches,
    plan::{Plan, Stretches},
    pool::{Expected, Pool},
    run::{BlockRun, Limits},
    serial,
    worker::Kit,
};

/// Executes blocks on a pool of workers.
///
/// The thread that calls [`execute`](Self::execute) works on its block itself; the pool's threads help. With
/// one worker there are no other threads. Any number of threads may execute blocks at the same time.
///
/// Dropping the runtime ends and joins its threads. Of a block nothing is held any more when `execute` returns: its source is
/// the caller's alone again.
pub struct Runtime {
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
    /// Ends blocks at their deadlines.
    timer: Timer,
    settings: Builder,
}

impl Runtime {
    /// Starts the threads.
    pub(crate) fn new(settings: Builder) -> io::Result<Self> {
        let pool = Arc::<Pool>::default();
        let mut runtime = Self {
            pool: Arc::clone(&pool),
            threads: Vec::with_capacity(settings.workers - 1),
            timer: Timer::default(),
            settings,
        };
        // The calling thread is worker 0. If a thread is refused, dropping the runtime joins the others.
        for worker in 1..runtime.settings.workers {
            let pool = Arc::clone(&pool);
            let thread = thread::Builder::new().name(format!("counterpoint-{worker}"));
            runtime.threads.push(thread.spawn(move || pool.help(worker))?);
        }
        Ok(runtime)
    }

    /// Configures a runtime.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How many threads may work on a block.
    pub fn workers(&self) -> usize {
        self.settings.workers
    }

    /// Forgets what earlier blocks have taught: which calls took long, fought over slots, and read what. That decides when
    /// transactions begin and what a source that answers later is asked for ahead, and takes at most some 30 MB. Results are
    /// the same; the next block is executed as if it was the first one.
    pub fn forget(&self) {
        self.pool.store.forget();
    }

    /// Executes a block and returns when it is committed.
    ///
    /// # Errors
    ///
    /// See [`ExecuteError`]. Nothing of the block is committed then, and the runtime remains usable.
    pub fn execute(&self, block: &Block) -> Result<Outcome, ExecuteError> {
        self.execute_with(block, Control::new())
    }

    /// Executes a block that can be followed and stopped meanwhile, see [`Control`].
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`ExecuteError::Hook`], [`ExecuteError::Cancelled`] and
    /// [`ExecuteError::DeadlineExceeded`].
    pub fn execute_with(&self, block: &Block, control: Control) -> Result<Outcome, ExecuteError> {
        self.execute_keeping(block, self.settings.keep_states, control)
    }

    /// Executes a block; `keep_states` stands for what the runtime was built with.
    pub(crate) fn execute_keeping(
        &self,
        block: &Block,
        keep_states: bool,
        control: Control,
    ) -> Result<Outcome, ExecuteError> {
        let outcome = self.run(block, keep_states, control);
        observe::executed(&outcome);
        outcome
    }

    fn run(&self, block: &Block, keep_states: bool, mut control: Control) -> Result<Outcome, ExecuteError> {
        let span = tracing::debug_span!(
            "execute",
            number = %block.env.number,
            transactions = block.transactions.len(),
            workers = self.settings.workers,
        );
        let _entered = span.enter();
        let follower = control.hook.take().map(Follower::new);
        if u32::try_from(block.transactions.len()).is_err() {
            return Err(ExecuteError::Internal("a block with more than 2^32 transactions".to_owned()));
        }

        control.check()?;
        let mut kit = self.pool.store.take_kit();
        let outcome = self.run_with(block, &mut kit, keep_states, &control, follower);
        self.pool.store.put_kit(kit);
        outcome
    }

    fn run_with(
        &self,
        block: &Block,
        kit: &mut Kit,
        keep_states: bool,
        control: &Control,
        follower: Option<Follower>,
    ) -> Result<Outcome, ExecuteError> {
        let begin = Instant::now();
        let transactions = block.transactions.len();
        let mut statistics = Statistics { workers: self.settings.workers, ..Statistics::default() };
        let changeset = self.pool.store.take_changeset(transactions);
        let mut committer = Committer::new(changeset, transactions, keep_states, follower);
        // Who says how many transactions go alone has the rest measured in one piece.
        let divides = block.source.deferred().is_none() && self.settings.serial_prefix.is_none();
        let mut stretches = Stretches::new(divides);
        let mut plan = self.plan(block);
        let watches = self.watches(block);
        let mut awake = None;
        loop {
            let mut done = committer.transactions.len();
            // Where the source answers later there is always something to do meanwhile.
            if let Some(plan) = &mut plan {
                let (from, alone) = (done, Instant::now());
                let mut shares = false;
                let span = tracing::debug_span!("serial").entered();
                let long_calls = &self.pool.store.long_calls;
                done = serial::execute(
                    block,
                    done,
                    kit,
                    &mut committer,
                    control,
                    long_calls,
                    |index, changeset| {
                        let known = |rest: &[TxEnv]| self.pool.store.long_calls.expected(rest);
                        shares = plan.shares(&block.transactions, index, known);
                        if shares && changeset.is_odd() {
                            plan.put_off(index);
                            shares = false;
                        }
                        !shares
                    },
                )?;
                drop(span);
                statistics.add_serial(done - from, alone.elapsed());
                if !shares {
                    break;
                }
            }
            let range = done..stretches.end(done, transactions);
            committer.pace.begin(watches);
            let mut course = Course { block, kit, control, statistics: &mut statistics, awake: &mut awake };
            committer = self.execute_stretch(&mut course, range.clone(), committer)?;
            done = committer.transactions.len();
            if done == transactions {
                break;
            }
            // What comes next may be for one worker alone.
            awake = None;
            plan = Some(match self.settings.disorder() {
                Some(chaos) => stretches.by_chance(done, &chaos),
                None if done == range.end => stretches.paid(done),
                None => stretches.did_not_pay(done),
            });
        }
        let executed = Instant::now();
        let _span = tracing::debug_span!("finish").entered();
        let pool = &*self.pool;
        let helpers = (self.settings.workers > 1).then_some((&pool.bundlings, &*pool.work));
        let mut outcome = collect(committer, statistics, &pool.store, helpers, awake.is_some())?;
        drop(awake);
        let statistics = &mut outcome.statistics;
        statistics.finish += executed.elapsed();
        // What is left of the time went into preparing the stretches.
        statistics.setup = begin.elapsed().saturating_sub(statistics.execution + statistics.finish);
        Ok(outcome)
    }

    /// What parallel execution goes by when it stops.
    fn watches(&self, block: &Block) -> Watches {
        if block.source.deferred().is_some() || self.settings.workers == 1 {
            return Watches::Nothing;
        }
        match (self.settings.disorder(), self.settings.serial_prefix) {
            (Some(_), _) => Watches::Chance,
            (None, Some(_)) => Watches::Nothing,
            (None, None) => Watches::All,
        }
    }

    /// How far to go alone; `None`: not at all.
    fn plan(&self, block: &Block) -> Option<Plan> {
        let transactions = block.transactions.len();
        if block.source.deferred().is_some() {
            // There is always something to do while it answers.
            return None;
        }
        if let Some(prefix) = self.settings.serial_prefix {
            return (prefix > 0).then(|| Plan::sharing_from(prefix));
        }
        match self.settings.disorder() {
            None => Some(Plan::new(&block.transactions, self.settings.workers)),
            // Chaos is for the parallel part: half the time there is nothing before it.
            Some(chaos) => (transactions > 1 && chaos.one_in(2))
                .then(|| Plan::sharing_from(1 + (chaos.next() as usize) % (transactions - 1))),
        }
    }

    /// Executes a range of a block's transactions in parallel, or the first ones of it, as long as that pays; the committer has
    /// those before it.
    fn execute_stretch<'a>(
        &'a self,
        course: &mut Course<'_, 'a>,
        range: Range<usize>,
        mut committer: Committer,
    ) -> Result<Committer, ExecuteError> {
        let block = course.block;
        if committer.changeset.is_empty() {
            let source = Arc::clone(&block.source);
            return self.execute_in_parallel(course, range, source, committer);
        }
        let store = &self.pool.store;
        // What was changed so far is the state that these transactions read, and what they change is laid over it.
        let below = Arc::new(std::mem::take(&mut committer.changeset));
        let (top, source) = below.cover(store.take_changeset(range.len()), Arc::clone(&block.source));
        committer.changeset = top;
        let source = Arc::new(source);
        committer = self.execute_in_parallel(course, range, source, committer)?;
        let begin = Instant::now();
        let mut top = std::mem::take(&mut committer.changeset);
        top.detach();
        committer.changeset = alone(below);
        committer.changeset.absorb(&mut top);
        store.put_changeset(top);
        course.statistics.finish += begin.elapsed();
        Ok(committer)
    }

    /// Executes a range of a block's transactions, or the first ones of it, as long as that pays; the committer has those
    /// before it, whose changes are in the source.
    fn execute_in_parallel<'a>(
        &'a self,
        course: &mut Course<'_, 'a>,
        range: Range<usize>,
        source: Arc<dyn StateSource>,
        committer: Committer,
    ) -> Result<Committer, ExecuteError> {
        let Course { block, kit, control, statistics, awake } = course;
        let workers = self.settings.workers;
        let shared = workers > 1 && range.len() > 1;
        // Spans are entered by the calling thread around whole phases. What runs inside on fibers knows nothing of them.
        let span = tracing::debug_span!("setup").entered();
        let expected = shared.then(|| Expected::new(&self.pool));
        let state = BlockState::new(
            block.env.clone(),
            block.cfg.clone(),
            Arc::clone(&block.transactions),
            range.clone(),
            source,
            workers,
            || self.pool.store.take_memory(),
            self.settings.disorder(),
            {
                let work = Arc::clone(&self.pool.work);
                move || work.notify_waiting()
            },
        );
        let settings = &self.settings;
        let (fibers, window) = match state.is_deferred() {
            true => (settings.in_flight, settings.in_flight),
            false => (settings.fibers, settings.transactions_ahead()),
        };
        let limits = Limits {
            fibers: u32::try_from(fibers).unwrap_or(u32::MAX),
            window: u32::try_from(window).unwrap_or(u32::MAX),
        };
        let early = if workers > 1 { self.pool.store.long_calls.longest(&state) } else { Box::default() };
        let run = Arc::new(BlockRun::new(state, workers, limits, block.mode, committer, early));
        let stops = self.watch(control, &run)?;
        let set_up = Instant::now();
        drop(span);

        let span = tracing::debug_span!("parallel").entered();
        if shared {
            self.pool.runs.write().push(Arc::clone(&run));
            drop(expected);
            self.pool.work.notify_waiting();
        }
        self.pool.lead(&run, kit);
        // If this is the last stretch, its helpers are wanted for the bundle.
        **awake = shared.then(|| Expected::soon(&self.pool));
        if shared {
            self.pool.runs.write().retain(|other| !Arc::ptr_eq(other, &run));
        }
        drop(stops);
        let executed = Instant::now();
        drop(span);

        let failure = run.take_failure();
        if failure.is_some() {
            // Who gave the block up may have done so while another worker commits.
            self.pool.give_up(&run, kit);
        }
        // SAFETY: the block is done. Nobody is there, or the drainer of the frontier ended it, and commits no more.
        let committer =
            std::mem::replace(unsafe { run.committer() }, Committer::new(Changeset::new(), 0, false, None));
        if failure.is_none() && (run.state.is_deferred() || committer.transactions.len() < range.end) {
            // Scouts are on their way, or parked fibers are left.
            self.pool.give_up(&run, kit);
        }
        add_counters(statistics, &run);
        run.presence.release();
        // Nobody has it for long any more. With it goes the source, which is the caller's again when this returns, and its
        // memory is for the next stretch or block.
        self.pool.store.put_memory(alone(run).into_state().into_memory().take(workers), shared);
        self.pool.work.notify_waiting();
        statistics.execution += executed - set_up;
        statistics.finish += executed.elapsed();
        match failure {
            Some(error) => Err(error),
            None => Ok(committer),
        }
    }

    /// Has the block stopped when its token is cancelled or its deadline is over, until what comes back is dropped.
    fn watch(
        &self,
        control: &Control,
        run: &Arc<BlockRun>,
    ) -> Result<(Option<Watch>, Option<Alarm>), ExecuteError> {
        let stop = |error: ExecuteError| -> Stop {
            let (run, work) = (Arc::downgrade(run), Arc::clone(&self.pool.work));
            Arc::new(move || {
                let Some(run) = run.upgrade() else { return };
                run.presence.enter();
                run.fail(error.clone());
                run.presence.leave();
                work.notify();
            })
        };
        let watch = control.cancel.as_ref().map(|token| token.watch(stop(ExecuteError::Cancelled)));
        let alarm = control.deadline.map(|at| self.timer.at(at, stop(ExecuteError::DeadlineExceeded)));
        Ok((watch, alarm.transpose()?))
    }
}

/// A block on its course, with what its stretches have in common.
struct Course<'a, 'pool> {
    block: &'a Block,
    kit: &'a mut Kit,
    control: &'a Control,
    statistics: &'a mut Statistics,
    /// Keeps the helpers of the last stretch from going to sleep.
    awake: &'a mut Option<Expected<'pool>>,
}

/// What is in here, once nobody else has it: a worker that has left a block drops it next.
fn alone<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(own) => return own,
            Err(again) => shared = again,
        }
        thread::yield_now();
    }
}

/// Adds what the workers have counted.
fn add_counters(statistics: &mut Statistics, run: &BlockRun) {
    for counters in run.state.counters() {
        statistics.incarnations += counters.incarnations.get();
        statistics.parked += counters.parked.get();
        statistics.resumed += counters.resumed.get();
        statistics.migrated += counters.migrated.get();
        statistics.invalidated += counters.invalidated.get();
        statistics.hops += counters.hops.get();
        statistics.inline_hops += counters.hops.get() - counters.queued.get();
        statistics.requests += counters.requests.get();
        statistics.fiberless += counters.fiberless.get();
        statistics.predicted += counters.predicted.get();
        statistics.account_waits += counters.account_waits.get();
        statistics.slot_waits += counters.slot_waits.get();
        statistics.source_waits += counters.source_waits.get();
        statistics.deferrals += counters.deferrals.get();
        statistics.fibers = statistics.fibers.max(counters.fibers.get());
        statistics.ready = statistics.ready.max(counters.ready.get());
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Release: pairs with the loads in `help`. The event count wakes who sleeps.
        self.pool.closing.store(true, Ordering::Release);
        self.pool.work.notify();
        let here = thread::current().id();
        for thread in self.threads.drain(..) {
            // What a worker drops may be the last that held the runtime.
            if thread.thread().id() != here {
                // A worker's panic was reported where it happened.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("settings", &self.settings).finish_non_exhaustive()
    }
}
