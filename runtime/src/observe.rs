//! What is counted and timed, through the `metrics` facade (feature `metrics`). Called by the thread that executes a block,
//! on its own stack and never on a fiber: recorders use thread-locals.

use std::time::Duration;

use crate::{ExecuteError, Outcome};

/// A block ended.
pub(crate) fn executed(outcome: &Result<Outcome, ExecuteError>) {
    #[cfg(feature = "metrics")]
    {
        use metrics::{counter, histogram};

        let result = match outcome {
            Ok(_) => "executed",
            Err(ExecuteError::InvalidTransaction { .. }) => "invalid",
            Err(ExecuteError::Source { .. }) => "source",
            Err(ExecuteError::Cancelled | ExecuteError::DeadlineExceeded) => "stopped",
            Err(_) => "failed",
        };
        counter!("counterpoint_blocks_total", "result" => result).increment(1);
        let Ok(outcome) = outcome else { return };
        let (statistics, transactions) = (&outcome.statistics, outcome.transactions.len() as u64);
        counter!("counterpoint_transactions_total").increment(transactions);
        counter!("counterpoint_gas_total").increment(outcome.gas_used);
        let again = statistics.incarnations.saturating_sub(transactions);
        counter!("counterpoint_reexecutions_total").increment(again);
        counter!("counterpoint_invalidated_total").increment(statistics.invalidated);
        counter!("counterpoint_parked_total").increment(statistics.parked);
        counter!("counterpoint_resumed_total").increment(statistics.resumed);
        counter!("counterpoint_migrated_total").increment(statistics.migrated);
        counter!("counterpoint_source_requests_total").increment(statistics.requests);
        counter!("counterpoint_fiberless_total").increment(statistics.fiberless);
        counter!("counterpoint_serial_total").increment(statistics.serial);
        counter!("counterpoint_ahead_total").increment(statistics.ahead);
        for (reason, waits) in [
            ("account", statistics.account_waits),
            ("slot", statistics.slot_waits),
            ("source", statistics.source_waits),
            ("turn", statistics.deferrals),
        ] {
            counter!("counterpoint_waits_total", "reason" => reason).increment(waits);
        }
        histogram!("counterpoint_block_fibers").record(statistics.fibers as f64);
        histogram!("counterpoint_block_ready").record(statistics.ready as f64);
        for (phase, time) in
            [("setup", statistics.setup), ("execution", statistics.execution), ("finish", statistics.finish)]
        {
            histogram!("counterpoint_phase_seconds", "phase" => phase).record(time.as_secs_f64());
        }
    }
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

/// A source read something, on a thread of its own.
pub(crate) fn read(source: &'static str, time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("counterpoint_source_seconds", "source" => source).record(time.as_secs_f64());
    #[cfg(not(feature = "metrics"))]
    let _ = (source, time);
}

/// A source of this kind has so many keys without an answer.
pub(crate) fn waiting(source: &'static str, keys: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("counterpoint_source_waiting", "source" => source).set(keys as f64);
    #[cfg(not(feature = "metrics"))]
    let _ = (source, keys);
}

/// A store committed a block: how long that took, and how long it is since the block was handed to the service.
#[cfg(feature = "service")]
pub(crate) fn committed(time: Duration, lag: Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("counterpoint_commits_total").increment(1);
        metrics::histogram!("counterpoint_commit_seconds").record(time.as_secs_f64());
        metrics::histogram!("counterpoint_commit_lag_seconds").record(lag.as_secs_f64());
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (time, lag);
}

/// So many jobs wait for a service.
#[cfg(feature = "service")]
pub(crate) fn queued(jobs: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("counterpoint_service_waiting").set(jobs as f64);
    #[cfg(not(feature = "metrics"))]
    let _ = jobs;
}
