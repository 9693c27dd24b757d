//! Transactions one after the other on the calling thread, where there is nothing to gain from more.

use std::sync::Arc;

use counterpoint_actors::{SerialEnd, SerialExecutor, contain};
use counterpoint_state::Changeset;
use revm::{context::TxEnv, state::EvmState};

use crate::{
    commit::Committer,
    control::Control,
    input::{Block, Mode},
    longest::{LongCalls, Timing},
    outcome::{ExecuteError, TransactionOutcome},
    worker::Kit,
};

/// Executes transactions from the one at `index` on, as long as `goes_on` says so, which is asked before each; the
/// committer has those before it. Returns how many are executed; their outcome is added to the committer.
pub(crate) fn execute(
    block: &Block,
    mut index: usize,
    kit: &mut Kit,
    committer: &mut Committer,
    control: &Control,
    long_calls: &LongCalls,
    mut goes_on: impl FnMut(usize, &mut Changeset) -> bool,
) -> Result<usize, ExecuteError> {
    let mut executor = kit.serial.take().unwrap_or_default();
    let executed = contain(|| {
        executor.begin(
            &block.env,
            &block.cfg,
            Arc::clone(&block.source),
            std::mem::take(&mut committer.changeset),
            control.stops(),
        );
        while index < block.transactions.len() && goes_on(index, executor.changeset()) {
            control.check()?;
            let (next, mode) = (&block.transactions[index], block.mode);
            transaction(&mut executor, index, next, mode, committer, control, long_calls)?;
            index += 1;
        }
        Ok(())
    });
    match executed {
        Ok(result) => {
            committer.changeset = executor.end();
            kit.serial = Some(executor);
            result.map(|()| index)
        }
        // The EVM is in the middle of something: it goes with the panic.
        Err(message) => Err(ExecuteError::Panic { index, message }),
    }
}

fn transaction(
    executor: &mut SerialExecutor,
    index: usize,
    transaction: &TxEnv,
    mode: Mode,
    committer: &mut Committer,
    control: &Control,
    long_calls: &LongCalls,
) -> Result<(), ExecuteError> {
    let transferred = executor.transfer(transaction, committer.shows_changes());
    let is_applied = transferred.is_some();
    let end = transferred.unwrap_or_else(|| {
        let timing = Timing::of(transaction, long_calls);
        let end = executor.execute(transaction);
        timing.ended(matches!(end, SerialEnd::Executed(..)));
        end
    });
    let (outcome, mut state) = match end {
        SerialEnd::Executed(result, state) => (TransactionOutcome::Executed(result), state),
        SerialEnd::Invalid(cause) if mode == Mode::Build => {
            (TransactionOutcome::Skipped(cause), EvmState::default())
        }
        SerialEnd::Invalid(cause) => return Err(ExecuteError::InvalidTransaction { index, cause }),
        SerialEnd::Header(cause) => return Err(ExecuteError::InvalidHeader(cause)),
        SerialEnd::Source(cause) => return Err(ExecuteError::Source { index, cause }),
        SerialEnd::Stopped => {
            control.check()?;
            return Err(ExecuteError::Internal(format!("transaction {index}: stopped for nothing")));
        }
        SerialEnd::Failed(message) => return Err(ExecuteError::Execution { index, message }),
    };
    if committer.shows_changes() {
        // The ids are positions in the changeset; they mean nothing outside.
        for account in state.values_mut() {
            account.info.account_id = None;
        }
    }
    committer.append(outcome, state, |_, state| {
        if !is_applied {
            executor.apply(state);
        }
    })
}
