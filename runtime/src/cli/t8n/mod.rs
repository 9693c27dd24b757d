//! The state transition of one block, from JSON to JSON, in the form of geth's `evm t8n`.

mod env;
mod error;
mod rejection;
mod result;
mod transactions;

use std::{collections::BTreeMap, sync::Arc};

use alloy_eips::eip2718::Encodable2718;
use alloy_hardforks::EthereumHardfork as Fork;
use counterpoint_state::{MemorySource, StateSource};
use revm::{
    context::TxEnv,
    primitives::{B256, U256},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    fixture::{self, Alloc},
    network::{BlobSchedule, Config, Network},
};
use crate::{
    Mode,
    ethereum::{Engine, ExecutedBlock, Rules, StateTrie, Transaction, WholeBlock, environment, execute},
    service::WholeJob,
};
pub use error::T8nError;

/// What a block is made of.
#[derive(Debug)]
pub struct Input {
    /// The accounts before it.
    pub alloc: Value,
    /// Its environment.
    pub env: Value,
    /// Its transactions: a list of objects, or the hex of their RLP.
    pub txs: Value,
}

/// Under which rules it is executed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fork or chain, by name.
    pub fork: String,
    /// The chain's id.
    pub chain_id: u64,
    /// What the miner gets; nobody, not even nothing, if it is -1.
    pub reward: i128,
    /// Other blob parameters than those of the fork, as in a fixture's schedule.
    pub blob_params: Option<Value>,
}

/// What comes out.
#[derive(Debug)]
pub struct Output {
    /// The accounts after the block.
    pub alloc: Value,
    /// Roots, receipts and what was rejected.
    pub result: Value,
    /// The transactions that are part of the block, as hex of their RLP.
    pub body: Value,
}

/// Executes the block. Transactions that cannot be part of it are left out and reported.
///
/// # Errors
///
/// Input that is wrong, or a block that cannot be executed whatever is left out.
pub fn transition(engine: &impl Engine, input: Input, options: &Options) -> Result<Output, T8nError> {
    let alloc: Alloc = serde_json::from_value(input.alloc).map_err(|error| T8nError::json("alloc", error))?;
    let env: env::Env = serde_json::from_value(input.env).map_err(|error| T8nError::json("env", error))?;
    let rules = rules(options, &env)?;
    let header = env.header(&rules)?;
    let transactions = transactions::read(&rules, input.txs)?;

    let mut state = fixture::state(&alloc);
    for (number, hash) in &env.block_hashes {
        if let Some(number) = number.to_u64() {
            state.insert_block_hash(number, *hash);
        }
    }
    let trie = StateTrie::new(&state);
    let source = Arc::new(state);
    let (valid, envs): (Vec<usize>, Vec<TxEnv>) = transactions
        .iter()
        .enumerate()
        .filter_map(|(index, transaction)| Some((index, transaction.as_ref().ok()?.1.clone())))
        .unzip();
    let ommers = env.ommers(header.number);
    let withdrawals = env.withdrawals();
    let block = WholeBlock {
        env: environment(&rules, &header),
        parent_hash: env.parent_hash(header.number),
        parent_beacon_block_root: env.parent_beacon_block_root,
        ommers: &ommers,
        withdrawals: withdrawals.as_deref().filter(|_| rules.has(Fork::Shanghai)),
        reward: u128::try_from(options.reward).ok(),
        transactions: envs.into(),
        source: Arc::clone(&source) as Arc<dyn StateSource>,
        mode: Mode::Build,
    };
    let mut root_after = |bundle: &_| trie.root_after(bundle);
    let root: Option<&mut dyn FnMut(&_) -> _> =
        if rules.has(Fork::Byzantium) { None } else { Some(&mut root_after) };
    let executed = execute(engine, &rules, &block, root)?;

    let mut included: Vec<(Transaction, TxEnv)> = Vec::new();
    let mut rejected = Vec::new();
    let mut outcomes = executed.transactions.iter();
    for (index, transaction) in transactions.into_iter().enumerate() {
        match transaction {
            Err(error) => rejected.push((index, error)),
            Ok(transaction) => match outcomes.next() {
                Some(Ok(_)) => included.push(transaction),
                Some(Err(cause)) => rejected.push((index, rejection::describe(cause))),
                None => return Err(T8nError::Evm(format!("transaction {} has no outcome", valid.len()))),
            },
        }
    }
    let mut after = fixture::state(&alloc);
    after.apply(&executed.bundle);
    let result = result::Results {
        rules: &rules,
        header: &header,
        withdrawals: withdrawals.as_deref(),
        included: &included,
        rejected: &rejected,
        executed: &executed,
        state_root: trie.root_after(&executed.bundle),
    };
    Ok(Output { alloc: result::alloc(&after), result: result.to_json(), body: body(&included) })
}

/// A block for a service, from its environment and transactions.
#[derive(Debug)]
pub struct NextBlock {
    /// Its number.
    pub number: u64,
    /// The hash of the block before, as far as the environment says.
    pub parent_hash: B256,
    /// The hashes of its ancestors that the environment names.
    pub block_hashes: BTreeMap<u64, B256>,
    /// The block. Transactions that cannot be read are left out already.
    pub job: WholeJob,
    /// Where its transactions were listed.
    pub places: Places,
}

/// A transaction that is not part of its block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its place among those that were listed, from 0.
    pub index: usize,
    /// Why.
    pub error: String,
}

/// Where the transactions of a block were listed.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Those that cannot be read.
    pub unreadable: Vec<LeftOut>,
    /// The places of the others, in order; those of a block that lists no others are not noted.
    readable: Vec<usize>,
}

impl Places {
    /// The transactions that are not part of the block, in order.
    pub fn left_out(&self, executed: &ExecutedBlock) -> Vec<LeftOut> {
        let outcomes = executed.transactions.iter().enumerate();
        let invalid = outcomes.filter_map(|(index, outcome)| {
            let error = rejection::describe(outcome.as_ref().err()?);
            Some(LeftOut { index: self.readable.get(index).copied().unwrap_or(index), error })
        });
        let mut all: Vec<_> = self.unreadable.iter().cloned().chain(invalid).collect();
        all.sort_unstable_by_key(|transaction| transaction.index);
        all
    }
}

/// Reads a block that is to be executed on a state that is there already.
///
/// # Errors
///
/// Input that is wrong.
pub fn next_block(env: Value, txs: Value, options: &Options) -> Result<NextBlock, T8nError> {
    let env: env::Env = serde_json::from_value(env).map_err(|error| T8nError::json("env", error))?;
    let rules = rules(options, &env)?;
    let header = env.header(&rules)?;
    let transactions = transactions::read(&rules, txs)?;
    let (mut places, mut envs) = (Places::default(), Vec::new());
    for (index, transaction) in transactions.into_iter().enumerate() {
        match transaction {
            Ok((_, env)) => {
                places.readable.push(index);
                envs.push(env);
            }
            Err(error) => places.unreadable.push(LeftOut { index, error }),
        }
    }
    let hashes = env.block_hashes.iter();
    let parent_hash = env.parent_hash(header.number);
    let job = WholeJob {
        env: environment(&rules, &header),
        parent_hash,
        parent_beacon_block_root: env.parent_beacon_block_root,
        ommers: env.ommers(header.number),
        withdrawals: env.withdrawals().filter(|_| rules.has(Fork::Shanghai)),
        reward: u128::try_from(options.reward).ok(),
        transactions: envs.into(),
        mode: Mode::Build,
        rules,
    };
    Ok(NextBlock {
        number: header.number,
        parent_hash,
        block_hashes: hashes.filter_map(|(number, hash)| Some((number.to_u64()?, *hash))).collect(),
        job,
        places,
    })
}

/// The accounts that a block begins with.
///
/// # Errors
///
/// Input that is wrong.
pub fn accounts(alloc: Value) -> Result<MemorySource, T8nError> {
    let alloc: Alloc = serde_json::from_value(alloc).map_err(|error| T8nError::json("alloc", error))?;
    Ok(fixture::state(&alloc))
}

fn rules(options: &Options, env: &env::Env) -> Result<Rules, T8nError> {
    let config = |error: &dyn ToString| T8nError::Config(error.to_string());
    let network = Network::new(&options.fork, &Config::default()).map_err(|error| config(&error))?;
    let mut rules = network.rules(env.number.0, env.timestamp.0, U256::ZERO);
    rules.chain_id = options.chain_id;
    if let Some(params) = &options.blob_params {
        let schedule: BlobSchedule = serde_json::from_value(params.clone())
            .map_err(|error| T8nError::json("blob parameters", error))?;
        rules.blobs = rules.blobs.map(|_| schedule.params(rules.fork));
    }
    // A fork of this name is one at which the ether is taken, whatever the block's number.
    if rules.fork == Fork::Dao && rules.dao_block.is_none() {
        rules.dao_block = Some(env.number.0);
    }
    Ok(rules)
}

/// What the network would call the body's transactions.
fn body(included: &[(Transaction, TxEnv)]) -> Value {
    let transactions: Vec<&Transaction> = included.iter().map(|(transaction, _)| transaction).collect();
    let mut bytes = Vec::new();
    let payload_length = transactions.iter().map(|transaction| transaction.network_len()).sum();
    alloy_rlp::Header { list: true, payload_length }.encode(&mut bytes);
    for transaction in transactions {
        transaction.network_encode(&mut bytes);
    }
    Value::String(revm::primitives::hex::encode_prefixed(bytes))
}
