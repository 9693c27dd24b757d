//! The reference: the block's transactions one after another with plain revm.

use std::{
    fmt::{Debug, Display},
    sync::Arc,
    time::{Duration, Instant},
};

use counterpoint_state::SourceError;
use revm::{
    Context, DatabaseRef, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{BlockEnv, CfgEnv, TxEnv, result::EVMError},
    database::{BundleState, State, states::bundle_state::BundleRetention},
    state::EvmState,
};

use super::header;
use crate::{
    Block, ExecuteError, Mode, TransactionOutcome,
    ethereum::{Engine, Executions},
    sources::overlay::SourceDatabase,
};

/// What sequential execution gives.
#[derive(Debug)]
pub struct Sequential {
    /// One entry per transaction, in order.
    pub transactions: Vec<TransactionOutcome>,
    /// The block's net state changes with their reverts.
    pub bundle: BundleState,
    /// Gas that the block's executed transactions used, in gas.
    pub gas_used: u64,
    /// What each transaction changed, if that was asked for; empty for a transaction that was skipped.
    pub states: Vec<EvmState>,
    /// From inputs in memory to results and changeset. Freeing the caches is not in it.
    pub elapsed: Duration,
}

/// Sequential execution as what whole blocks run on, to compare with.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequentialEngine;

impl Engine for SequentialEngine {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        let source = SourceDatabase(Arc::clone(&block.source));
        let Block { env, cfg, transactions, mode, .. } = block;
        let sequential = execute_sequential(env, cfg, transactions, &source, *mode, true)?;
        Ok(Executions { transactions: sequential.transactions, states: sequential.states })
    }
}

/// Executes a block the way revm's users do: one [`State`] over the source, a transaction at a time, each
/// committed before the next.
pub fn execute_sequential<S>(
    env: &BlockEnv,
    cfg: &CfgEnv,
    transactions: &[TxEnv],
    source: &S,
    mode: Mode,
    keep_states: bool,
) -> Result<Sequential, ExecuteError>
where
    S: DatabaseRef<Error: Debug + Display>,
{
    // revm takes its inputs by value; whoever has only this one use for them copies nothing.
    execute_owned(env.clone(), cfg.clone(), transactions.to_vec(), source, mode, keep_states)
}

/// The same with inputs of its own, for who measures what is around `elapsed` too.
pub fn execute_owned<S>(
    env: BlockEnv,
    cfg: CfgEnv,
    transactions: Vec<TxEnv>,
    source: &S,
    mode: Mode,
    keep_states: bool,
) -> Result<Sequential, ExecuteError>
where
    S: DatabaseRef<Error: Debug + Display>,
{
    let spec = cfg.spec;

    let start = Instant::now();
    let mut state = State::builder().with_database_ref(source).with_bundle_update().build();
    let mut evm = Context::mainnet().with_db(&mut state).with_block(env).with_cfg(cfg).build_mainnet();
    let mut outcomes = Vec::with_capacity(transactions.len());
    let mut states = Vec::new();
    for (index, transaction) in transactions.into_iter().enumerate() {
        match evm.transact(transaction) {
            Ok(executed) => {
                outcomes.push(TransactionOutcome::Executed(executed.result));
                if keep_states {
                    states.push(executed.state.clone());
                }
                evm.commit(executed.state);
            }
            Err(EVMError::Transaction(cause)) if mode == Mode::Build => {
                outcomes.push(TransactionOutcome::Skipped(cause));
                if keep_states {
                    states.push(EvmState::default());
                }
            }
            Err(error) => return Err(at(index, error)),
        }
    }
    drop(evm);
    state.merge_transitions(BundleRetention::Reverts);
    let bundle = state.take_bundle();
    let elapsed = start.elapsed();

    let gas_used = header::gas_used(&outcomes, spec);
    Ok(Sequential { transactions: outcomes, bundle, gas_used, states, elapsed })
}

fn at<E: Display>(index: usize, error: EVMError<E>) -> ExecuteError {
    match error {
        EVMError::Transaction(cause) => ExecuteError::InvalidTransaction { index, cause },
        EVMError::Header(cause) => ExecuteError::InvalidHeader(cause),
        EVMError::Database(cause) => {
            ExecuteError::Source { index, cause: SourceError::new(cause.to_string()) }
        }
        EVMError::Custom(message) => ExecuteError::Execution { index, message },
        EVMError::CustomAny(error) => ExecuteError::Execution { index, message: error.to_string() },
    }
}
