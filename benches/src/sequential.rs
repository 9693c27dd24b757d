//! Executing a workload one transaction at a time, with nothing but revm: the reference.

use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::{
        ContextTr,
        result::{EVMError, ExecutionResult, InvalidTransaction},
    },
    context_interface::JournalTr,
    database::{BundleState, State, WrapDatabaseRef, states::bundle_state::BundleRetention},
    handler::MainnetContext,
};

use crate::Workload;
use counterpoint_state::MemorySource;

/// revm's state on top of a workload's source.
pub type SourceState<'a> = State<WrapDatabaseRef<&'a MemorySource>>;

/// What sequential execution gives.
#[derive(Clone, Debug)]
pub struct Sequential {
    /// One entry per transaction: its result, or why it was skipped.
    pub results: Vec<Result<ExecutionResult, InvalidTransaction>>,
    /// The block's net changes with their reverts.
    pub bundle: BundleState,
}

impl Sequential {
    /// Gas that the included transactions used.
    pub fn gas_used(&self) -> u64 {
        self.results.iter().flatten().map(ExecutionResult::tx_gas_used).sum()
    }
}

/// revm's context for a workload, with nothing executed yet.
pub fn context(workload: &Workload) -> MainnetContext<SourceState<'_>> {
    let state = State::builder().with_database_ref(&workload.source).with_bundle_update().build();
    Context::mainnet().with_db(state).with_cfg(workload.cfg.clone()).with_block(workload.env.clone())
}

/// Executes every transaction in order; invalid ones are skipped.
///
/// # Panics
///
/// If the source lacks something that the block needs, or the environment does not fit the fork: a workload is
/// complete.
pub fn execute(workload: &Workload) -> Sequential {
    let mut evm = context(workload).build_mainnet();
    let results = workload
        .transactions
        .iter()
        .map(|transaction| match evm.transact_commit(transaction.clone()) {
            Ok(result) => Ok(result),
            Err(EVMError::Transaction(cause)) => Err(cause),
            Err(error) => panic!("workload is incomplete: {error}"),
        })
        .collect();
    let state = evm.ctx.journal_mut().db_mut();
    state.merge_transitions(BundleRetention::Reverts);
    Sequential { results, bundle: state.take_bundle() }
}
