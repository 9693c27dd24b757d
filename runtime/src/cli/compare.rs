//! Comparing an outcome with sequential execution: results, logs, gas, changeset, and each transaction's own
//! changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
};

use revm::{
    database::{AccountRevert, BundleAccount, BundleState},
    primitives::{Address, U256},
    state::{Account, AccountInfo, AccountStatus, EvmState},
};

use super::sequential::Sequential;
use crate::{ExecuteError, Outcome, TransactionOutcome};

/// How much of a value a difference repeats.
const EXCERPT: usize = 400;

/// A place where an outcome is not what sequential execution gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The transaction, account or slot.
    pub place: String,
    /// What sequential execution has there.
    pub expected: String,
    /// What the outcome has there.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, got } = self;
        write!(f, "{place}: sequential execution gives {expected}, parallel execution gives {got}")
    }
}

type Compared = Result<(), Difference>;

/// The first difference between an outcome and sequential execution, in the block's order.
///
/// Each transaction's own changes are compared if both sides kept them.
pub fn first_difference(expected: &Sequential, got: &Outcome) -> Option<Difference> {
    compare(expected, got).err()
}

fn compare(expected: &Sequential, got: &Outcome) -> Compared {
    same(|| "number of transactions", &expected.transactions.len(), &got.transactions.len())?;
    let keep = !expected.states.is_empty() && !got.states.is_empty();
    if keep {
        same(|| "number of per-transaction states", &expected.states.len(), &got.states.len())?;
    }
    for (index, (expected_outcome, got_outcome)) in
        expected.transactions.iter().zip(&got.transactions).enumerate()
    {
        compare_transaction(index, expected_outcome, got_outcome)?;
        if keep {
            compare_states(index, &expected.states[index], &got.states[index])?;
        }
    }
    same(|| "gas used by the block", &expected.gas_used, &got.gas_used)?;
    compare_bundles(&expected.bundle, &got.bundle)
}

/// Whether two failures are the same one. What a source says of a key is not compared, only where it failed.
pub fn same_error(expected: &ExecuteError, got: &ExecuteError) -> bool {
    use ExecuteError::{Execution, InvalidHeader, InvalidTransaction, Source};
    match (expected, got) {
        (InvalidTransaction { index: a, cause: x }, InvalidTransaction { index: b, cause: y }) => {
            a == b && x == y
        }
        (InvalidHeader(x), InvalidHeader(y)) => x == y,
        (Source { index: a, .. }, Source { index: b, .. })
        | (Execution { index: a, .. }, Execution { index: b, .. }) => a == b,
        _ => false,
    }
}

/// Compares one transaction's result.
fn compare_transaction(index: usize, expected: &TransactionOutcome, got: &TransactionOutcome) -> Compared {
    if let (Some(expected), Some(got)) = (expected.result(), got.result()) {
        let at = |what: &'static str| move || format!("transaction {index}: {what}");
        same(at("success"), &expected.is_success(), &got.is_success())?;
        same(at("gas used"), &expected.tx_gas_used(), &got.tx_gas_used())?;
        same(at("number of logs"), &expected.logs().len(), &got.logs().len())?;
        for (log, (expected, got)) in expected.logs().iter().zip(got.logs()).enumerate() {
            same(|| format!("transaction {index}: log {log}"), expected, got)?;
        }
        same(at("output"), &expected.output(), &got.output())?;
    }
    same(|| format!("transaction {index}: result"), expected, got)
}

/// Compares what one transaction changed: touched accounts, and of them what revm commits.
fn compare_states(index: usize, expected: &EvmState, got: &EvmState) -> Compared {
    fn touched(state: &EvmState) -> BTreeMap<&Address, &Account> {
        state.iter().filter(|(_, account)| account.is_touched()).collect()
    }
    fn changed(account: &Account) -> BTreeMap<&U256, (U256, U256)> {
        account
            .changed_storage_slots()
            .map(|(key, slot)| (key, (slot.original_value, slot.present_value)))
            .collect()
    }
    let flags = AccountStatus::Created
        | AccountStatus::SelfDestructed
        | AccountStatus::Touched
        | AccountStatus::LoadedAsNotExisting;

    let (expected, got) = (touched(expected), touched(got));
    for (address, expected, got) in pairs(&expected, &got) {
        let at = |what: &'static str| move || format!("transaction {index}: account {address}: {what}");
        let (Some(expected), Some(got)) = (expected, got) else {
            return same(at("touched"), &expected.is_some(), &got.is_some());
        };
        same_info(|| format!("transaction {index}: account {address}"), &expected.info, &got.info)?;
        same(at("status"), &(expected.status & flags), &(got.status & flags))?;
        let (expected, got) = (changed(expected), changed(got));
        for (slot, expected, got) in pairs(&expected, &got) {
            let place = || format!("transaction {index}: account {address}: slot {slot:#x} (before, after)");
            same(place, &expected, &got)?;
        }
    }
    Ok(())
}

/// Compares changesets: accounts, contracts and reverts. The order of reverts within a block has no meaning.
pub fn compare_bundles(expected: &BundleState, got: &BundleState) -> Result<(), Difference> {
    for (address, expected, got) in pairs(&sorted(&expected.state), &sorted(&got.state)) {
        let (Some(expected), Some(got)) = (expected, got) else {
            let place = || format!("changeset: account {address}: changed");
            return same(place, &expected.is_some(), &got.is_some());
        };
        compare_accounts(address, expected, got)?;
    }
    for (hash, expected, got) in pairs(&sorted(&expected.contracts), &sorted(&got.contracts)) {
        same(|| format!("changeset: contract {hash}"), &expected, &got)?;
    }
    same(|| "changeset: number of reverts", &expected.reverts.len(), &got.reverts.len())?;
    for (expected, got) in expected.reverts.iter().zip(got.reverts.iter()) {
        same(|| "changeset: number of reverted accounts", &expected.len(), &got.len())?;
        let by_address = |reverts: &'_ [(Address, AccountRevert)]| -> BTreeMap<Address, AccountRevert> {
            reverts.iter().cloned().collect()
        };
        for (address, expected, got) in pairs(&by_address(expected), &by_address(got)) {
            same(|| format!("changeset: revert of account {address}"), &expected, &got)?;
        }
    }
    Ok(())
}

fn compare_accounts(address: &Address, expected: &BundleAccount, got: &BundleAccount) -> Compared {
    let at = |what: &'static str| move || format!("changeset: account {address}: {what}");
    match (&expected.info, &got.info) {
        (Some(expected), Some(got)) => {
            same_info(|| format!("changeset: account {address}"), expected, got)?;
        }
        (expected, got) => same(at("exists"), &expected.is_some(), &got.is_some())?,
    }
    match (&expected.original_info, &got.original_info) {
        (Some(expected), Some(got)) => {
            same_info(|| format!("changeset: account {address}: before the block"), expected, got)?;
        }
        (expected, got) => same(at("existed before the block"), &expected.is_some(), &got.is_some())?,
    }
    same(at("status"), &expected.status, &got.status)?;
    for (slot, expected, got) in pairs(&sorted(&expected.storage), &sorted(&got.storage)) {
        same(|| format!("changeset: account {address}: slot {slot:#x}"), &expected, &got)?;
    }
    Ok(())
}

fn same_info(place: impl Fn() -> String, expected: &AccountInfo, got: &AccountInfo) -> Compared {
    same(|| format!("{}: balance", place()), &expected.balance, &got.balance)?;
    same(|| format!("{}: nonce", place()), &expected.nonce, &got.nonce)?;
    same(|| format!("{}: code hash", place()), &expected.code_hash, &got.code_hash)
}

fn same<T, P>(place: impl Fn() -> P, expected: &T, got: &T) -> Compared
where
    T: PartialEq + Debug + ?Sized,
    P: Into<String>,
{
    if expected == got {
        return Ok(());
    }
    Err(Difference { place: place().into(), expected: excerpt(expected), got: excerpt(got) })
}

fn excerpt(value: &(impl Debug + ?Sized)) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(EXCERPT) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn sorted<'a, K: Ord, V>(map: impl IntoIterator<Item = (&'a K, &'a V)>) -> BTreeMap<&'a K, &'a V> {
    map.into_iter().collect()
}

/// Every key of two maps in order, with its values.
fn pairs<'a, K: Ord, V>(
    expected: &'a BTreeMap<K, V>,
    got: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let keys: BTreeSet<&K> = expected.keys().chain(got.keys()).collect();
    keys.into_iter().map(|key| (key, expected.get(key), got.get(key)))
}

#[cfg(test)]
mod tests {
    use revm::{
        context::{BlockEnv, TxEnv, result::ExecutionResult},
        primitives::{Bytes, TxKind, hardfork::SpecId},
        state::Bytecode,
    };

    use super::*;
    use crate::{
        Mode, Statistics,
        cli::{forks, sequential::execute_sequential},
        state::MemorySource,
    };

    /// A call that stores, logs and pays, an invalid transaction, and a transfer.
    fn execute() -> Sequential {
        let mut source = MemorySource::new();
        let rich = AccountInfo::from_balance(U256::from(10).pow(U256::from(18)));
        source.insert_account(Address::repeat_byte(1), rich, []);
        // SSTORE(0, 1), then LOG0 of nothing.
        let code = Bytecode::new_raw(Bytes::from_static(&[0x60, 1, 0x5f, 0x55, 0x5f, 0x5f, 0xa0]));
        source.insert_account(Address::repeat_byte(2), AccountInfo::default().with_code(code), []);
        let call = |to, nonce| TxEnv {
            caller: Address::repeat_byte(1),
            kind: TxKind::Call(Address::repeat_byte(to)),
            gas_limit: 100_000,
            gas_price: 10,
            value: U256::from(5),
            nonce,
            ..TxEnv::default()
        };
        let transactions = [call(2, 0), call(3, 7), call(3, 1)];
        let env = BlockEnv { beneficiary: Address::repeat_byte(9), ..BlockEnv::default() };
        let cfg = forks::configuration(SpecId::CANCUN, 0, 1);
        execute_sequential(&env, &cfg, &transactions, &source, Mode::Build, true).unwrap()
    }

    fn outcome() -> Outcome {
        let Sequential { transactions, bundle, gas_used, states, .. } = execute();
        Outcome { transactions, bundle, gas_used, states, statistics: Statistics::default() }
    }

    /// What is said of an outcome that was changed like this.
    #[track_caller]
    fn difference(change: impl FnOnce(&mut Outcome)) -> Difference {
        let mut outcome = outcome();
        change(&mut outcome);
        first_difference(&execute(), &outcome).expect("it was changed")
    }

    #[test]
    fn equal_outcomes_are_equal() {
        let expected = execute();
        assert_eq!(first_difference(&expected, &outcome()), None);
        assert!(matches!(expected.transactions[1], TransactionOutcome::Skipped(_)));
        assert!(expected.states[1].is_empty());
        let mut reversed = outcome();
        reversed.bundle.reverts[0].reverse();
        assert_eq!(first_difference(&expected, &reversed), None, "reverts have no order");
        reversed.states.clear();
        assert_eq!(first_difference(&expected, &reversed), None, "states are optional");
    }

    #[test]
    fn every_part_of_an_outcome_is_compared() {
        let contract = Address::repeat_byte(2);
        let slot = U256::ZERO;

        let found = difference(|outcome| {
            let TransactionOutcome::Executed(ExecutionResult::Success { logs, .. }) =
                &mut outcome.transactions[0]
            else {
                panic!("it succeeds")
            };
            logs[0].address = Address::ZERO;
        });
        assert_eq!(found.place, "transaction 0: log 0");
        let found = difference(|outcome| outcome.transactions.swap(1, 2));
        assert_eq!(found.place, "transaction 1: result");
        let found = difference(|outcome| drop(outcome.transactions.pop()));
        assert_eq!((found.expected.as_str(), found.got.as_str()), ("3", "2"));
        let found = difference(|outcome| outcome.gas_used += 1);
        assert_eq!(found.place, "gas used by the block");

        let found = difference(|outcome| {
            let account = outcome.states[0].get_mut(&contract).unwrap();
            account.storage.get_mut(&slot).unwrap().present_value = U256::from(2);
        });
        assert_eq!(found.place, format!("transaction 0: account {contract}: slot 0x0 (before, after)"));
        let found = difference(|outcome| outcome.states[0].get_mut(&contract).unwrap().mark_created());
        assert_eq!(found.place, format!("transaction 0: account {contract}: status"));
        let found = difference(|outcome| outcome.states[0].get_mut(&contract).unwrap().unmark_touch());
        assert_eq!(found.place, format!("transaction 0: account {contract}: touched"));

        let found = difference(|outcome| {
            let account = outcome.bundle.state.get_mut(&contract).unwrap();
            account.storage.get_mut(&slot).unwrap().present_value = U256::from(2);
        });
        assert_eq!(found.place, format!("changeset: account {contract}: slot 0x0"));
        let found = difference(|outcome| {
            outcome.bundle.state.get_mut(&contract).unwrap().info.as_mut().unwrap().nonce = 1;
        });
        assert_eq!(found.place, format!("changeset: account {contract}: nonce"));
        assert_eq!((found.expected.as_str(), found.got.as_str()), ("0", "1"));
        let found = difference(|outcome| drop(outcome.bundle.state.remove(&contract)));
        assert_eq!(found.place, format!("changeset: account {contract}: changed"));
        let found = difference(|outcome| {
            for (address, revert) in &mut outcome.bundle.reverts[0] {
                revert.wipe_storage |= *address == contract;
            }
        });
        assert_eq!(found.place, format!("changeset: revert of account {contract}"));
    }
}
