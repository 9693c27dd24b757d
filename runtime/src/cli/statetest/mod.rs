//! State tests: one transaction on a given state, and what the state's root and the logs are then.

mod format;
mod transaction;

use std::sync::Arc;

use alloy_hardforks::EthereumHardfork as Fork;
use counterpoint_state::{MemorySource, SourceError, StateSource};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, TxEnv},
    database::{AccountStatus, BundleAccount, BundleState},
    primitives::{Address, B256, Log, U256, keccak256},
    state::AccountInfo,
};

use super::{
    compare,
    executor::{Executed, Executor},
    fixture::{self, Case, File, FileError, Rejection, Verdict, is_expected},
    network::{self, NO_CONSTANTINOPLE, Network, UnknownNetwork},
};
use crate::{
    Block, ExecuteError, Mode,
    ethereum::{Rules, StateTrie, TransactionError},
};
use format::{Env, Expected, Test};

/// Executes the cases of a file that `wanted` takes, by name and fork.
///
/// # Errors
///
/// A file that is no state test. A case that does not come out as expected is no error.
pub fn run(
    file: &File,
    executor: Executor<'_>,
    wanted: &dyn Fn(&str, &str) -> bool,
) -> Result<Vec<Case>, FileError> {
    fixture::run(file, wanted, |name, test: Test, cases| {
        let mut state = None;
        for (fork, expected) in &test.post {
            for expected in expected {
                let indexes = expected.indexes;
                let full = format!("{name}[d{}g{}v{}]", indexes.data, indexes.gas, indexes.value);
                cases.run(full, fork, || {
                    let (source, trie) = state.get_or_insert_with(|| {
                        let source = fixture::state(&test.pre);
                        let trie = StateTrie::new(&source);
                        (Arc::new(TestSource(source)), trie)
                    });
                    match execute(&test, fork, expected, source, trie, executor) {
                        Ok(()) => Verdict::Passed,
                        Err(Failure::Network(error)) => Verdict::Skipped(error.to_string()),
                        Err(Failure::Differs(_)) if is_constantinople(fork) => {
                            Verdict::Skipped(NO_CONSTANTINOPLE.to_owned())
                        }
                        Err(Failure::Differs(difference)) => Verdict::Failed(difference),
                    }
                });
            }
        }
    })
}

fn is_constantinople(fork: &str) -> bool {
    network::fork(fork) == Ok(Fork::Constantinople)
}

enum Failure {
    Network(UnknownNetwork),
    Differs(String),
}

fn execute(
    test: &Test,
    fork: &str,
    expected: &Expected,
    source: &Arc<TestSource>,
    trie: &StateTrie,
    executor: Executor<'_>,
) -> Result<(), Failure> {
    // The number and time of the block do not matter: a state test's chain has one fork.
    let network = Network::new(fork, &test.config).map_err(Failure::Network)?;
    let rules = network.rules(test.env.number.0, test.env.timestamp.0, U256::ZERO);
    let transaction = match transaction::build(&test.transaction, expected.indexes, &rules) {
        Ok(transaction) => transaction,
        Err(rejection) => {
            let difference = compare(test, &rules, expected, trie, &Err(rejection));
            return difference.map_or(Ok(()), |difference| Err(Failure::Differs(difference)));
        }
    };
    let block = block(&rules, &test.env, transaction, source);
    let outcome = match executor.execute(&block) {
        Ok(outcome) => Ok(outcome),
        Err(ExecuteError::InvalidTransaction { cause, .. }) => {
            Err(Rejection::Transaction(TransactionError::Invalid(cause)))
        }
        Err(other) => return Err(Failure::Differs(other.to_string())),
    };
    match compare(test, &rules, expected, trie, &outcome) {
        None => Ok(()),
        Some(difference) => match blame(&block, &outcome, executor) {
            Some(blame) => Err(Failure::Differs(format!("{difference} ({blame})"))),
            None => Err(Failure::Differs(difference)),
        },
    }
}

fn block(rules: &Rules, env: &Env, transaction: TxEnv, source: &Arc<TestSource>) -> Block {
    let merged = rules.has(Fork::Paris);
    let random = B256::from(env.random.unwrap_or(env.difficulty).0);
    let excess = env.excess_blob_gas.map_or(0, |excess| excess.0);
    let env = BlockEnv {
        number: U256::from(env.number.0),
        beneficiary: env.coinbase,
        timestamp: U256::from(env.timestamp.0),
        gas_limit: env.gas_limit.0.saturating_to(),
        basefee: if rules.has(Fork::London) { env.base_fee.map_or(0, |fee| fee.0) } else { 0 },
        difficulty: if merged { U256::ZERO } else { env.difficulty.0 },
        prevrandao: merged.then_some(random),
        blob_excess_gas_and_price: rules.blob_fee(excess),
        slot_num: env.slot_number.map_or(0, |slot| slot.0),
    };
    Block {
        env,
        cfg: rules.cfg(),
        transactions: Arc::from([transaction]),
        source: Arc::clone(source) as Arc<dyn StateSource>,
        mode: Mode::Verify,
    }
}

/// What is not as the file says, if anything is not.
fn compare(
    test: &Test,
    rules: &Rules,
    expected: &Expected,
    trie: &StateTrie,
    outcome: &Result<Executed, Rejection>,
) -> Option<String> {
    let unchanged = BundleState::default();
    let mut logs: &[Log] = &[];
    let mut bundle = &unchanged;
    match (outcome, &expected.exception) {
        (Err(rejection), None) => return Some(format!("rejected: {rejection}")),
        (Ok(_), Some(exception)) => return Some(format!("not rejected for {exception}")),
        (Err(rejection), Some(exception)) if !is_expected(rejection, exception) => {
            return Some(format!("rejected for another reason than {exception}: {rejection}"));
        }
        (Err(_), Some(_)) => {}
        (Ok(outcome), None) => {
            bundle = outcome.bundle();
            logs =
                outcome.transactions().first().and_then(|tx| tx.result()).map_or(&[], |result| result.logs());
        }
    }
    let touched = touch_beneficiary(test, rules, bundle);
    let root = trie.root_after(touched.as_ref().unwrap_or(bundle));
    if root != expected.hash {
        return Some(format!("state root {root} is not {}", expected.hash));
    }
    let logs = keccak256(rlp_list(logs));
    (logs != expected.logs).then(|| format!("hash of the logs {logs} is not {}", expected.logs))
}

fn rlp_list(logs: &[Log]) -> Vec<u8> {
    let mut bytes = Vec::new();
    alloy_rlp::encode_list(logs, &mut bytes);
    bytes
}

/// The block of a state test pays its miner nothing, which still touches the account. `None` if that changes
/// nothing.
fn touch_beneficiary(test: &Test, rules: &Rules, bundle: &BundleState) -> Option<BundleState> {
    let address = test.env.coinbase;
    let before = test.pre.contains_key(&address);
    let changed = bundle.state.get(&address);
    let exists = changed.map_or(before, |account| account.info.is_some());
    let appears = !rules.has(Fork::SpuriousDragon) && !exists;
    let empty = match changed {
        Some(account) => account.info.as_ref().is_some_and(AccountInfo::is_empty),
        None => test.pre.get(&address).is_some_and(|account| {
            account.balance.0.is_zero() && account.nonce.0 == 0 && account.code.is_empty()
        }),
    };
    let disappears = rules.has(Fork::SpuriousDragon) && exists && empty;
    if !appears && !disappears {
        return None;
    }
    let account = BundleAccount {
        info: appears.then(AccountInfo::default),
        original_info: None,
        storage: Default::default(),
        status: AccountStatus::Destroyed,
    };
    let mut bundle = bundle.clone();
    bundle.state.insert(address, account);
    Some(bundle)
}

/// Whether sequential revm differs from the file in the same way. `None` if it was sequential revm that did.
fn blame(block: &Block, outcome: &Result<Executed, Rejection>, executor: Executor<'_>) -> Option<String> {
    if matches!(executor, Executor::Sequential) {
        return None;
    }
    let same = match (Executor::Sequential.execute(block), outcome) {
        (Ok(Executed::Sequential(sequential)), Ok(Executed::Parallel(outcome))) => {
            match compare::first_difference(&sequential, outcome) {
                None => true,
                Some(difference) => return Some(format!("sequential revm differs: {difference}")),
            }
        }
        (Err(sequential), Err(Rejection::Transaction(TransactionError::Invalid(got)))) => {
            matches!(sequential, ExecuteError::InvalidTransaction { cause, .. } if cause == *got)
        }
        _ => false,
    };
    Some(if same { "sequential revm agrees with this" } else { "sequential revm differs" }.to_owned())
}

/// A state whose block hashes are those that state tests agree upon.
struct TestSource(MemorySource);

impl StateSource for TestSource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.0.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.0.storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        Ok(keccak256(number.to_string()))
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        self.0.has_storage(address)
    }
}
