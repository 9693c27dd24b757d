//! What a block asks of the consensus layer: deposits, withdrawals, consolidations.

use alloy_consensus::{ReceiptEnvelope, TxReceipt};
use alloy_eips::{
    eip6110::DEPOSIT_REQUEST_TYPE, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, eip7685::Requests,
};
use alloy_evm::{
    Evm,
    block::{
        SystemCaller,
        system_calls::{BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS},
    },
    eth::eip6110,
};
use alloy_hardforks::EthereumHardfork;
use revm::{
    Database, DatabaseCommit,
    primitives::{B256, Log, b256},
};

use super::{BlockError, Phase, RequestError, Rules};

/// The first topic of the deposit contract's logs.
const DEPOSIT_EVENT: B256 = b256!("0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

/// Where the parts of a deposit stand in its log, and how long they are, in words of 32 bytes.
const DEPOSIT_PARTS: [(usize, usize); 5] = [(160, 48), (256, 32), (320, 8), (384, 96), (512, 8)];

/// How long a deposit's log is.
const DEPOSIT_LENGTH: usize = 576;

/// The block's requests (EIP-7685): none before Prague. Makes the system calls that take place after the
/// transactions.
pub(super) fn collect(
    rules: &Rules,
    receipts: &[ReceiptEnvelope],
    evm: &mut impl Evm<DB: Database + DatabaseCommit>,
) -> Result<Requests, BlockError> {
    let mut requests = Requests::default();
    if !rules.has(EthereumHardfork::Prague) {
        return Ok(requests);
    }
    for log in receipts.iter().flat_map(TxReceipt::logs) {
        if is_deposit(rules, log) && !is_well_formed(&log.data.data) {
            return Err(RequestError::DepositLayout.into());
        }
    }
    let deposits =
        eip6110::parse_deposits_from_receipts(rules, receipts).map_err(|_| RequestError::DepositLayout)?;
    if !deposits.is_empty() {
        requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, deposits);
    }
    // A call of an account without code succeeds; for these contracts it must not.
    let mut called = vec![WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS];
    if rules.has(EthereumHardfork::Amsterdam) {
        called.extend([BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS]);
    }
    for contract in called {
        let account = evm
            .db_mut()
            .basic(contract)
            .map_err(|error| BlockError::outside(Phase::Requests, error.to_string()))?;
        if account.is_none_or(|account| account.is_empty_code_hash()) {
            return Err(RequestError::NoContract(contract).into());
        }
    }
    SystemCaller::new(rules)
        .append_post_execution_changes(evm, &mut requests)
        .map_err(|error| BlockError::in_phase(Phase::Requests, error))?;
    Ok(requests)
}

fn is_deposit(rules: &Rules, log: &Log) -> bool {
    log.address == rules.deposit_contract && log.topics().first() == Some(&DEPOSIT_EVENT)
}

/// The only layout that the deposit contract writes.
fn is_well_formed(data: &[u8]) -> bool {
    // Called only where all of the data is there.
    let word = |at: usize| {
        let word = &data[at..at + 32];
        let (high, low) = word.split_at(24);
        let low = <[u8; 8]>::try_from(low).map(u64::from_be_bytes);
        if high.iter().all(|byte| *byte == 0) { low.ok() } else { None }
    };
    data.len() == DEPOSIT_LENGTH
        && DEPOSIT_PARTS.iter().enumerate().all(|(part, (offset, length))| {
            word(part * 32) == Some(*offset as u64) && word(*offset) == Some(*length as u64)
        })
}
