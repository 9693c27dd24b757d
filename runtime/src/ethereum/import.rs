//! A block of a chain: validated, executed, and its results compared with its header.

use std::sync::Arc;

use alloy_consensus::{Header, proofs::calculate_receipt_root};
use alloy_hardforks::EthereumHardfork;
use alloy_primitives::Bloom;
use counterpoint_state::StateSource;
use revm::{
    context::BlockEnv,
    primitives::{B256, U256},
};

use super::{
    Ancestor, Block, BlockError, BodyError, Engine, ExecutedBlock, HeaderError, Ommer, Results, Rules,
    StateTrie, WholeBlock, execute, recover, validate_body, validate_header,
};
use crate::Mode;

/// A block that can be part of the chain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// What executing it gave.
    pub executed: ExecutedBlock,
    /// The state's root after it.
    pub state_root: B256,
}

/// Validates and executes a block.
///
/// `size` is that of the encoded block; `ancestors` begin with the parent and go back seven generations, or to the
/// genesis block; `source` and `trie` are the state after the parent. `ommer_rules` are those that were in force at
/// an ommer.
///
/// # Errors
///
/// Why the block cannot be part of the chain. Which of several reasons is found is not said.
#[expect(clippy::too_many_arguments, reason = "they are what a chain knows of a block")]
pub fn import(
    engine: &impl Engine,
    rules: &Rules,
    block: &Block,
    size: usize,
    ancestors: &[Ancestor],
    ommer_rules: &dyn Fn(&Header) -> Rules,
    source: Arc<dyn StateSource>,
    trie: &StateTrie,
) -> Result<Imported, BlockError> {
    let header = &block.header;
    let Some(parent) = ancestors.first() else {
        return Err(HeaderError::Parent { expected: B256::ZERO, got: header.parent_hash }.into());
    };
    validate_header(rules, header, parent)?;
    let body = validate_body(rules, block, size, ancestors, ommer_rules);
    let result = match body {
        Ok(()) => run(engine, rules, block, source, trie),
        // Which transaction is wrong tells more than that the root is.
        Err(error @ BodyError::TransactionsRoot { .. }) => {
            return Err(match run(engine, rules, block, source, trie) {
                Err(transaction @ BlockError::Transaction { .. }) => transaction,
                _ => error.into(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let executed = result?;
    let state_root = trie.root_after(&executed.bundle);
    compare(rules, header, &executed, state_root)?;
    Ok(Imported { executed, state_root })
}

fn run(
    engine: &impl Engine,
    rules: &Rules,
    block: &Block,
    source: Arc<dyn StateSource>,
    trie: &StateTrie,
) -> Result<ExecutedBlock, BlockError> {
    let header = &block.header;

    let transactions = recover(rules, &block.body.transactions)?.into();
    let ommers: Vec<Ommer> = block
        .body
        .ommers
        .iter()
        .map(|ommer| Ommer { beneficiary: ommer.beneficiary, number: ommer.number })
        .collect();
    let whole = WholeBlock {
        env: environment(rules, header),
        parent_hash: header.parent_hash,
        parent_beacon_block_root: header.parent_beacon_block_root,
        ommers: &ommers,
        withdrawals: block.body.withdrawals.as_ref().map(|withdrawals| withdrawals.as_slice()),
        reward: rules.block_reward(),
        transactions,
        source,
        mode: Mode::Verify,
    };
    let mut root_after = |bundle: &_| trie.root_after(bundle);
    let roots = !rules.has(EthereumHardfork::Byzantium);
    execute(engine, rules, &whole, if roots { Some(&mut root_after) } else { None })
}

/// The environment that a header gives its transactions.
pub fn environment(rules: &Rules, header: &Header) -> BlockEnv {
    let merged = rules.has(EthereumHardfork::Paris);
    let excess = rules.blobs.and(header.excess_blob_gas);
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: if merged { U256::ZERO } else { header.difficulty },
        prevrandao: merged.then_some(header.mix_hash),
        blob_excess_gas_and_price: excess.and_then(|excess| rules.blob_fee(excess)),
        slot_num: header.slot_number.unwrap_or_default(),
    }
}

fn compare(
    rules: &Rules,
    header: &Header,
    executed: &ExecutedBlock,
    state_root: B256,
) -> Result<(), BlockError> {
    fn differ<T: PartialEq>(expected: T, got: T) -> Option<(T, T)> {
        (expected != got).then_some((expected, got))
    }
    let bloom = executed.receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
    let requests_hash = header.requests_hash.filter(|_| rules.has(EthereumHardfork::Prague));
    let results = Results {
        gas_used: differ(header.gas_used, executed.gas_used),
        logs_bloom: differ(header.logs_bloom, bloom),
        receipts_root: differ(header.receipts_root, calculate_receipt_root(&executed.receipts)),
        requests_hash: requests_hash.and_then(|hash| differ(hash, executed.requests.requests_hash())),
        state_root: differ(header.state_root, state_root),
    };
    if results == Results::default() { Ok(()) } else { Err(BlockError::Results(Box::new(results))) }
}
