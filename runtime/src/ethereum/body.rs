//! Bodies: what the header says of them, and the ommers.

use alloy_consensus::{
    Header, Transaction as _,
    proofs::{calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root},
};
use alloy_hardforks::EthereumHardfork as Fork;
use revm::primitives::B256;

use super::{Ancestor, Block, BodyError, Rules, validate_header};

/// EIP-7934: ten mebibytes less two.
const LARGEST_BLOCK: usize = (10 - 2) * 1024 * 1024;

/// A block has at most this many ommers.
const MOST_OMMERS: usize = 2;

/// How far back an ommer's parent may be.
const GENERATIONS: usize = 6;

/// Checks a body against its header. `size` is that of the encoded block; `ancestors` begin with the parent;
/// `ommer_rules` are those that were in force at an ommer.
///
/// The ommers' proof of work is not checked.
///
/// # Errors
///
/// What is wrong with it.
pub fn validate_body(
    rules: &Rules,
    block: &Block,
    size: usize,
    ancestors: &[Ancestor],
    ommer_rules: &dyn Fn(&Header) -> Rules,
) -> Result<(), BodyError> {
    let (header, body) = (&block.header, &block.body);
    if rules.has(Fork::Osaka) && size > LARGEST_BLOCK {
        return Err(BodyError::TooLarge(size));
    }
    let got = calculate_transaction_root(&body.transactions);
    if got != header.transactions_root {
        return Err(BodyError::TransactionsRoot { expected: header.transactions_root, got });
    }
    let got = calculate_ommers_root(&body.ommers);
    if got != header.ommers_hash {
        return Err(BodyError::OmmersHash { expected: header.ommers_hash, got });
    }
    match (&body.withdrawals, header.withdrawals_root) {
        (None, None) => {}
        (Some(withdrawals), Some(expected)) => {
            let got = calculate_withdrawals_root(withdrawals);
            if got != expected {
                return Err(BodyError::WithdrawalsRoot { expected, got });
            }
        }
        _ => return Err(BodyError::Withdrawals),
    }
    blobs(rules, block)?;
    ommers(block, ancestors, ommer_rules)
}

fn blobs(rules: &Rules, block: &Block) -> Result<(), BodyError> {
    let Some((blobs, expected)) = rules.blobs.zip(block.header.blob_gas_used) else { return Ok(()) };
    let transactions = block.body.transactions.iter();
    let got = transactions.filter_map(|transaction| transaction.blob_gas_used()).sum();
    let limit = blobs.max_blob_gas_per_block();
    if got > limit {
        Err(BodyError::TooManyBlobs { limit, got })
    } else if got != expected {
        Err(BodyError::BlobGasUsed { expected, got })
    } else {
        Ok(())
    }
}

fn ommers(
    block: &Block,
    ancestors: &[Ancestor],
    ommer_rules: &dyn Fn(&Header) -> Rules,
) -> Result<(), BodyError> {
    let ommers = &block.body.ommers;
    if ommers.len() > MOST_OMMERS {
        return Err(BodyError::TooManyOmmers(ommers.len()));
    }
    let family = &ancestors[..ancestors.len().min(GENERATIONS + 1)];
    let mut seen: Vec<B256> = family.iter().flat_map(|ancestor| ancestor.ommers.iter().copied()).collect();
    for ommer in ommers {
        let hash = ommer.hash_slow();
        if family.iter().any(|ancestor| ancestor.hash == hash) || hash == block.header.hash_slow() {
            return Err(BodyError::OmmerIsAncestor(hash));
        }
        if seen.contains(&hash) {
            return Err(BodyError::OmmerTwice(hash));
        }
        seen.push(hash);
        // The block's own parent has this block as a child, and its siblings are no ommers of it.
        let parent = family.iter().skip(1).find(|ancestor| ancestor.hash == ommer.parent_hash);
        let parent = parent.ok_or(BodyError::OmmerUnrelated(hash))?;
        validate_header(&ommer_rules(ommer), ommer, parent)
            .map_err(|cause| BodyError::Ommer { hash, cause })?;
    }
    Ok(())
}
