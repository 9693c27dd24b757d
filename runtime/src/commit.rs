//! The commit at the frontier: what is final, in order.

use std::time::Instant;

use counterpoint_actors::{End, Executed, Unsettled, settle};
use counterpoint_state::{
    Changeset, Phase,
    sync::{Ordering, fence, mutation},
};
use revm::state::EvmState;

use crate::{
    control::{Finalized, Follower},
    input::Mode,
    outcome::{ExecuteError, TransactionOutcome},
    pace::{Course, Pace},
    run::{Visit, nanoseconds},
};

/// Of so many transactions, one stands for the others: how long it takes to add what it changed.
const COMMITS: u32 = 8;

/// What the transactions that passed the frontier left.
pub(crate) struct Committer {
    pub(crate) changeset: Changeset,
    pub(crate) transactions: Vec<TransactionOutcome>,
    pub(crate) states: Vec<EvmState>,
    pub(crate) gas_used: u64,
    keep_states: bool,
    pub(crate) pace: Pace,
    /// Transactions that had begun ahead of the frontier.
    pub(crate) ahead: u64,
    /// Parallel execution stops here: it does not pay.
    stops: bool,
    /// Who wants to hear of every transaction that is final.
    pub(crate) follower: Option<Follower>,
}

impl Committer {
    /// Nothing yet of so many transactions; the changeset is empty.
    pub(crate) fn new(
        changeset: Changeset,
        transactions: usize,
        keep_states: bool,
        follower: Option<Follower>,
    ) -> Self {
        Self {
            changeset,
            transactions: Vec::with_capacity(transactions),
            states: Vec::new(),
            gas_used: 0,
            keep_states,
            ahead: 0,
            pace: Pace::default(),
            stops: false,
            follower,
        }
    }

    /// Whether anybody wants to see what each transaction changed.
    pub(crate) fn shows_changes(&self) -> bool {
        self.keep_states || self.follower.is_some()
    }

    /// Adds the next transaction's outcome and its changes, of which `apply` takes care.
    pub(crate) fn append(
        &mut self,
        outcome: TransactionOutcome,
        state: EvmState,
        apply: impl FnOnce(&mut Changeset, EvmState),
    ) -> Result<(), ExecuteError> {
        self.gas_used += outcome.result().map_or(0, |result| result.tx_gas_used());
        if let Some(follower) = &mut self.follower {
            let (index, gas_used) = (self.transactions.len(), self.gas_used);
            follower.tell(Finalized { index, outcome: &outcome, state: &state, gas_used })?;
        }
        if self.keep_states {
            self.states.push(state.clone());
        }
        apply(&mut self.changeset, state);
        self.transactions.push(outcome);
        Ok(())
    }
}

impl Visit<'_> {
    /// Commits whatever can be committed.
    pub(crate) fn drain(&mut self) {
        let run = self.run;
        run.frontier.drain(|passed| {
            // Pairs with the fence in `look_for_frontier`.
            fence(Ordering::SeqCst);
            let index = passed + 1;
            if index > run.last() || run.is_done() {
                return false;
            }
            let committed = self.commit(index);
            // SAFETY: called by the frontier's drainer.
            if committed && (index == run.last() || unsafe { run.committer() }.stops) {
                run.finish();
            }
            committed
        });
    }

    /// Tries to make the transaction at the frontier final.
    fn commit(&mut self, index: u32) -> bool {
        let run = self.run;
        let word = run.state.word(index);
        if word.claim_executed().is_none() {
            // Whatever it waits for is there. But a transaction that its sender's actor has not heard of begins
            // when it has.
            let unheard = word.load().phase() == Phase::Pending && !run.begins.is_routed(index);
            // One that is ready may sit in the queue of a worker that is busy with a long one. The claim decides.
            if !unheard && (word.kick() || word.load().phase() == Phase::Ready) {
                self.take_up(index);
            }
            return false;
        }
        // SAFETY: the word was moved to `Running` here.
        let body = unsafe { run.body(index) };
        let execution = body.execution.as_mut().expect("an executed transaction has its execution");
        let valid =
            execution.on_final_state() || mutation!("commit-unchecked", true, execution.still_valid());
        if !valid {
            body.useless = true;
            word.requeue();
            self.take_up(index);
            return false;
        }
        // SAFETY: called by the frontier's drainer.
        let committer = unsafe { run.committer() };
        let begin = (run.is_timed && index.is_multiple_of(COMMITS)).then(Instant::now);
        let appended = match std::mem::replace(&mut execution.end, End::Unfinished) {
            End::Executed(mut executed) => {
                let settled = settle(
                    &run.state,
                    execution,
                    &mut executed,
                    &mut committer.changeset,
                    run.shows_changes,
                    self.context,
                    self,
                );
                match settled {
                    Ok(()) => {
                        let Executed { result, state, .. } = *executed;
                        let changes = execution.changes();
                        let apply = |changeset: &mut Changeset, state| {
                            changeset.add(changes);
                            // Together, or whom the credits have added.
                            changeset.apply(state);
                        };
                        committer.append(TransactionOutcome::Executed(result), state, apply)
                    }
                    Err(Unsettled::Overflow) => {
                        body.exact = true;
                        body.useless = true;
                        word.requeue();
                        self.take_up(index);
                        return false;
                    }
                    Err(Unsettled::Source(cause)) => {
                        run.fail(ExecuteError::Source { index: index as usize - 1, cause });
                        return false;
                    }
                    Err(Unsettled::Panicked(message)) => {
                        run.fail(ExecuteError::Panic { index: index as usize - 1, message });
                        return false;
                    }
                }
            }
            End::Invalid(cause) if run.mode == Mode::Build => {
                committer.append(TransactionOutcome::Skipped(cause), EvmState::default(), Changeset::apply)
            }
            End::Invalid(cause) => {
                run.fail(ExecuteError::InvalidTransaction { index: index as usize - 1, cause });
                return false;
            }
            end => {
                // Other ends are handled before a transaction counts as executed.
                run.fail(ExecuteError::Internal(format!("transaction {}: ended with {end:?}", index - 1)));
                return false;
            }
        };
        if let Err(error) = appended {
            run.fail(error);
            return false;
        }
        if let Some(begin) = begin {
            self.context.counters.useful.add(nanoseconds(begin.elapsed()) * u64::from(COMMITS));
        }
        let course = match (body.ahead, body.waited || word.load().incarnation() > 0) {
            (false, _) => Course::AtTheFrontier,
            (true, false) => Course::Untroubled,
            (true, true) => Course::Troubled,
        };
        let (work, would_lose) = (|| run.work_after(index), || run.would_lose(index));
        committer.stops = committer.pace.committed(course, run.state.chaos(), work, would_lose);
        committer.ahead += u64::from(body.ahead);
        if let Some(mut execution) = body.execution.take() {
            execution.keep_written(std::mem::take(&mut body.written));
            self.used.push(execution);
        }
        word.commit();
        true
    }
}
