//! Executing a whole block: before, around and after its transactions.

use std::{fmt, sync::Arc};

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, TxType};
use alloy_eips::{eip4895::Withdrawal, eip7685::Requests};
use alloy_evm::{
    Evm, EvmEnv, EvmFactory,
    block::{SystemCaller, calc, state_changes::insert_post_block_withdrawals_balance_increments},
    eth::{
        EthEvmFactory,
        dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY},
    },
};
use alloy_hardforks::EthereumHardfork;
use counterpoint_state::StateSource;
use revm::{
    Database, DatabaseCommit,
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::result::ExecutionResult,
    database::{BundleState, State, WrapDatabaseRef, states::bundle_state::BundleRetention},
    primitives::{Address, AddressMap, B256, U256},
    state::{Account, EvmState, TransactionId},
};

use super::{
    BlockError, Engine, Executions, Phase, Rules, TransactionError, ahead, outside::Outside, requests,
};
use crate::{
    Block, ExecuteError, Mode, TransactionOutcome,
    allowance::Allowance,
    sources::overlay::{Overlay, SourceDatabase},
};

/// A block with all that executing it needs.
#[derive(Clone)]
pub struct WholeBlock<'a> {
    /// Number, beneficiary, timestamp, gas limit, base fee and so on.
    pub env: BlockEnv,
    /// The hash of the block before.
    pub parent_hash: B256,
    /// The root of the beacon block before, from Cancun on.
    pub parent_beacon_block_root: Option<B256>,
    /// The ommers, whose miners are rewarded.
    pub ommers: &'a [Ommer],
    /// What validators withdraw, from Shanghai on.
    pub withdrawals: Option<&'a [Withdrawal]>,
    /// What the miner gets, if there is one. See [`Rules::block_reward`].
    pub reward: Option<u128>,
    /// The transactions in their order, with their senders.
    pub transactions: Arc<[TxEnv]>,
    /// The state before the block.
    pub source: Arc<dyn StateSource>,
    /// What becomes of the block if a transaction is invalid.
    pub mode: Mode,
}

/// A block that did not become part of the chain, and whose miner is rewarded nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ommer {
    /// Its miner.
    pub beneficiary: Address,
    /// Its number.
    pub number: u64,
}

/// What executing a block gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExecutedBlock {
    /// One for each transaction: its result, or why it is not part of the block ([`Mode::Build`] only).
    pub transactions: Vec<Result<ExecutionResult, TransactionError>>,
    /// The receipts of the transactions that are part of the block.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Requests to the consensus layer, from Prague on.
    pub requests: Requests,
    /// Gas that the block used.
    pub gas_used: u64,
    /// Gas that its blobs used.
    pub blob_gas_used: u64,
    /// The block's net changes of the state, with their reverts.
    pub bundle: BundleState,
}

/// Gives the state root after the changes so far. Receipts hold it before Byzantium.
pub type RootAfter<'a> = &'a mut dyn FnMut(&BundleState) -> B256;

type BlockState = State<WrapDatabaseRef<Outside>>;

/// Executes a block.
///
/// A source that answers later is asked for all that the block reads in any case (system contracts, whom it pays) at once,
/// and, but for [`has_storage`](StateSource::has_storage), in no other way.
///
/// Before Byzantium, receipts hold the state root after their transaction: `root` is asked for it. Without, they
/// hold the transaction's status.
///
/// # Errors
///
/// A block that is not valid, or an engine that fails. With [`Mode::Build`] an invalid transaction is no error.
pub fn execute(
    engine: &impl Engine,
    rules: &Rules,
    block: &WholeBlock<'_>,
    root: Option<RootAfter<'_>>,
) -> Result<ExecutedBlock, BlockError> {
    let cfg = rules.cfg();
    let block = &WholeBlock { source: ahead::source(rules, block), ..block.clone() };
    let (database, failures) = Outside::new(Arc::clone(&block.source));
    let mut state = State::builder().with_database_ref(database).with_bundle_update().build();
    failures.contain(Phase::Before, || begin(rules, &cfg, block, &mut state))?;

    let (transactions, changes, allowance) = run(engine, &cfg, rules, block, &state)?;
    let receipts = commit(block, &transactions, changes, &mut state, root);

    let requests = failures.contain(Phase::Requests, || {
        requests::collect(rules, &receipts, &mut evm(&cfg, block, &mut state))
    })?;
    failures.contain(Phase::Balances, || end(rules, block, &mut state))?;

    state.merge_transitions(BundleRetention::Reverts);
    Ok(ExecutedBlock {
        transactions,
        receipts,
        requests,
        gas_used: allowance.gas_used(),
        blob_gas_used: allowance.blob_gas,
        bundle: state.take_bundle(),
    })
}

fn evm<'a>(
    cfg: &CfgEnv,
    block: &WholeBlock<'_>,
    state: &'a mut BlockState,
) -> impl Evm<DB = &'a mut BlockState> {
    EthEvmFactory::default().create_evm(state, EvmEnv { cfg_env: cfg.clone(), block_env: block.env.clone() })
}

/// What happens before the transactions.
fn begin(
    rules: &Rules,
    cfg: &CfgEnv,
    block: &WholeBlock<'_>,
    state: &mut BlockState,
) -> Result<(), BlockError> {
    if rules.dao_block.is_some_and(|dao| block.env.number == U256::from(dao)) {
        take_from_the_dao(state)?;
    }
    if rules.has(EthereumHardfork::Cancun) {
        let mut evm = evm(cfg, block, state);
        let mut caller = SystemCaller::new(rules);
        caller
            .apply_blockhashes_contract_call(block.parent_hash, &mut evm)
            .and_then(|()| caller.apply_beacon_root_contract_call(block.parent_beacon_block_root, &mut evm))
            .map_err(|error| BlockError::in_phase(Phase::Before, error))?;
    }
    Ok(())
}

/// The irregular change of the DAO fork (EIP-779).
fn take_from_the_dao(state: &mut BlockState) -> Result<(), BlockError> {
    let mut taken = U256::ZERO;
    let mut changes = AddressMap::default();
    for address in DAO_HARDFORK_ACCOUNTS {
        let mut account = account(state, address, Phase::Before)?;
        taken = taken.saturating_add(std::mem::take(&mut account.info.balance));
        changes.insert(address, account);
    }
    let mut beneficiary = match changes.remove(&DAO_HARDFORK_BENEFICIARY) {
        Some(account) => account,
        None => account(state, DAO_HARDFORK_BENEFICIARY, Phase::Before)?,
    };
    beneficiary.info.balance = beneficiary.info.balance.saturating_add(taken);
    changes.insert(DAO_HARDFORK_BENEFICIARY, beneficiary);
    for account in changes.values_mut() {
        account.mark_touch();
        // Before EIP-161 an empty account stays: only as a new one is it committed.
        if account.is_empty() {
            account.mark_created();
        }
    }
    state.commit(changes);
    Ok(())
}

fn account(state: &mut BlockState, address: Address, phase: Phase) -> Result<Account, BlockError> {
    let info = state.basic(address).map_err(|error| BlockError::outside(phase, error.to_string()))?;
    Ok(info.map_or_else(|| Account::new_not_existing(TransactionId::ZERO), Account::from))
}

type Runs = (Vec<Result<ExecutionResult, TransactionError>>, Vec<EvmState>, Allowance);

/// The transactions. A transaction that the block has no gas left for is not part of it: those after it are
/// executed again without it.
fn run(
    engine: &impl Engine,
    cfg: &CfgEnv,
    rules: &Rules,
    block: &WholeBlock<'_>,
    state: &BlockState,
) -> Result<Runs, BlockError> {
    let source: Arc<dyn StateSource> = if state.cache.accounts.is_empty() {
        Arc::clone(&block.source)
    } else {
        Arc::new(Overlay::new(Arc::clone(&block.source), &state.cache))
    };
    let execute = |transactions: Arc<[TxEnv]>| {
        let env = block.env.clone();
        let source = Arc::clone(&source);
        engine.execute(&Block { env, cfg: cfg.clone(), transactions, source, mode: block.mode })
    };
    let blob_limit = rules.blobs.map(|blobs| blobs.max_blob_gas_per_block());
    let empty = Allowance::new(cfg, &block.env, blob_limit);
    let mut refused: Vec<Option<TransactionError>> = vec![None; block.transactions.len()];
    loop {
        let candidates: Vec<usize> = (0..refused.len()).filter(|index| refused[*index].is_none()).collect();
        let transactions = match candidates.len() == refused.len() {
            true => Arc::clone(&block.transactions),
            false => candidates.iter().map(|index| block.transactions[*index].clone()).collect(),
        };
        let executions = match execute(Arc::clone(&transactions)) {
            Ok(executions) => executions,
            Err(ExecuteError::InvalidTransaction { index, cause }) => {
                // One before it may have no gas left in the block, which only its predecessors' gas tells.
                let before = execute(transactions[..index].into())?;
                let (_, over) = empty.follow(&transactions[..index], &before.transactions);
                return Err(match over {
                    Some((index, misfit)) => BlockError::Transaction { index, cause: misfit.into() },
                    None => BlockError::Transaction { index, cause: cause.into() },
                });
            }
            Err(error) => return Err(error.among(|place| candidates.get(place).copied()).into()),
        };
        let (allowance, over) = empty.follow(&transactions, &executions.transactions);
        match over {
            None => return Ok(merge(refused, candidates, executions, allowance)),
            Some((index, misfit)) if block.mode == Mode::Verify => {
                return Err(BlockError::Transaction { index, cause: misfit.into() });
            }
            Some((first, _)) => {
                // What is left only shrinks: whatever does not fit now does not fit later.
                for place in first..candidates.len() {
                    refused[candidates[place]] =
                        allowance.refuses(&transactions[place]).map(TransactionError::from);
                }
            }
        }
    }
}

/// The results of all transactions, from those of the candidates.
fn merge(
    refused: Vec<Option<TransactionError>>,
    candidates: Vec<usize>,
    executions: Executions,
    allowance: Allowance,
) -> Runs {
    let mut results: Vec<_> = refused.into_iter().map(|cause| cause.map(Err)).collect();
    let mut states = Vec::with_capacity(candidates.len());
    for ((index, outcome), state) in
        candidates.into_iter().zip(executions.transactions).zip(executions.states)
    {
        results[index] = Some(match outcome {
            TransactionOutcome::Executed(result) => {
                states.push(state);
                Ok(result)
            }
            TransactionOutcome::Skipped(cause) => Err(cause.into()),
        });
    }
    (results.into_iter().flatten().collect(), states, allowance)
}

/// Commits what the transactions changed, and makes their receipts.
fn commit(
    block: &WholeBlock<'_>,
    transactions: &[Result<ExecutionResult, TransactionError>],
    changes: Vec<EvmState>,
    state: &mut BlockState,
    root: Option<RootAfter<'_>>,
) -> Vec<ReceiptEnvelope> {
    // Roots are those of all changes so far; the block's own bundle is merged once, so that it reverts at once.
    let mut roots = root.map(|root| {
        let database = SourceDatabase(Arc::clone(&block.source));
        let mut shadow = State::builder().with_database_ref(database).with_bundle_update().build();
        shadow.cache = state.cache.clone();
        shadow.transition_state = state.transition_state.clone();
        (root, shadow)
    });
    let mut cumulative_gas_used = 0;
    let executed = block.transactions.iter().zip(transactions);
    let executed = executed.filter_map(|(transaction, result)| Some((transaction, result.as_ref().ok()?)));
    let receipt = |((transaction, result), changes): ((&TxEnv, &ExecutionResult), _)| {
        let status = match &mut roots {
            None => Eip658Value::Eip658(result.is_success()),
            Some((root, shadow)) => {
                shadow.commit(Clone::clone(&changes));
                shadow.merge_transitions(BundleRetention::PlainState);
                Eip658Value::PostState(root(&shadow.bundle_state))
            }
        };
        state.commit(changes);
        cumulative_gas_used += result.tx_gas_used();
        let receipt = Receipt { status, cumulative_gas_used, logs: result.logs().to_vec() };
        // revm executes no other type.
        let tx_type = TxType::try_from(transaction.tx_type).unwrap_or_default();
        ReceiptEnvelope::from_typed(tx_type, receipt)
    };
    executed.zip(changes).map(receipt).collect()
}

/// What happens after the transactions and the requests: withdrawals and rewards.
fn end(rules: &Rules, block: &WholeBlock<'_>, state: &mut BlockState) -> Result<(), BlockError> {
    let mut increments = AddressMap::default();
    if let Some(reward) = block.reward {
        let number = block.env.number.saturating_to();
        for ommer in block.ommers {
            *increments.entry(ommer.beneficiary).or_default() += ommer_reward(reward, number, ommer.number);
        }
        *increments.entry(block.env.beneficiary).or_default() +=
            calc::block_reward(reward, block.ommers.len());
    }
    let timestamp = block.env.timestamp.saturating_to();
    insert_post_block_withdrawals_balance_increments(rules, timestamp, block.withdrawals, &mut increments);

    let mut changes = AddressMap::default();
    for (address, amount) in increments {
        let mut account = account(state, address, Phase::Balances)?;
        account.info.balance = account.info.balance.saturating_add(U256::from(amount));
        account.mark_touch();
        if account.is_empty() && !rules.has(EthereumHardfork::SpuriousDragon) {
            // A touch brings an account into being, and removes none.
            if !account.is_loaded_as_not_existing() {
                continue;
            }
            account.mark_created();
        }
        changes.insert(address, account);
    }
    state.commit(changes);
    Ok(())
}

/// An ommer's miner gets an eighth of the reward less for each generation.
fn ommer_reward(reward: u128, number: u64, ommer: u64) -> u128 {
    let generations = number.saturating_sub(ommer);
    reward.saturating_mul(u128::from(8_u64.saturating_sub(generations))) / 8
}

impl fmt::Debug for WholeBlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeBlock")
            .field("env", &self.env)
            .field("transactions", &self.transactions.len())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
