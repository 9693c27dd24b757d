//! The commit at the frontier: what is final, in order.

use counterpoint_actors::{End, Executed, Unsettled, settle};
use counterpoint_state::{
    Changeset, Phase,
    sync::{Ordering, fence, mutation},
};
use revm::state::EvmState;

use crate::{
    input::Mode,
    outcome::{ExecuteError, TransactionOutcome},
    run::Visit,
};

/// What the transactions that passed the frontier left.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) changeset: Changeset,
    pub(crate) transactions: Vec<TransactionOutcome>,
    pub(crate) states: Vec<EvmState>,
    pub(crate) gas_used: u64,
    pub(crate) keep_states: bool,
}

impl Committer {
    pub(crate) fn new(transactions: usize, keep_states: bool) -> Self {
        Self {
            changeset: Changeset::with_capacity(transactions * 2),
            transactions: Vec::with_capacity(transactions),
            states: Vec::new(),
            gas_used: 0,
            keep_states,
        }
    }

    fn execute(&mut self, executed: Executed) {
        if self.keep_states {
            self.states.push(executed.state.clone());
        }
        self.changeset.apply(executed.state);
        self.note(TransactionOutcome::Executed(executed.result));
    }

    /// Adds the next transaction's outcome.
    pub(crate) fn note(&mut self, outcome: TransactionOutcome) {
        self.gas_used += outcome.result().map_or(0, |result| result.tx_gas_used());
        self.transactions.push(outcome);
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
            if committed && index == run.last() {
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
        match std::mem::replace(&mut execution.end, End::Unfinished) {
            End::Executed(mut executed) => match settle(
                &run.state,
                index,
                &mut executed,
                &mut committer.changeset,
                committer.keep_states,
                self.context,
                self,
            ) {
                Ok(()) => committer.execute(*executed),
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
            },
            End::Invalid(cause) if run.mode == Mode::Build => {
                if committer.keep_states {
                    committer.states.push(EvmState::default());
                }
                committer.note(TransactionOutcome::Skipped(cause));
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
        }
        if let Some(mut execution) = body.execution.take() {
            execution.keep_written(std::mem::take(&mut body.written));
            self.used.push(execution);
        }
        word.commit();
        true
    }
}
