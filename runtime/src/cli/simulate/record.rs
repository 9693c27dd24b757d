//! What each transaction of a block takes and touches, from executing them in order with plain revm.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use revm::database_interface::DatabaseCommit;
use revm::{
    Context, Database, DatabaseRef, ExecuteEvm, InspectEvm, Inspector, MainBuilder, MainContext,
    bytecode::{Bytecode, opcode},
    context::{BlockEnv, CfgEnv, ContextTr, Transaction, TxEnv, result::EVMError},
    context_interface::JournalTr,
    database::State,
    interpreter::{
        Interpreter,
        interpreter::EthInterpreter,
        interpreter_types::{InputsTr, Jumps},
    },
    primitives::{Address, B256, StorageKey, StorageValue, U256, hardfork::SpecId},
    state::{AccountInfo, EvmState},
};

use crate::Mode;

/// Something that one transaction writes and another one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Nonce and code.
    Account(Address),
    Balance(Address),
    Slot(Address, U256),
}

/// A read of something that an earlier transaction of the block writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dependency {
    /// When the transaction reads it, as a part of its time, from 0 to 1.
    pub at: f64,
    /// The last earlier transaction that writes it, from 0.
    pub on: usize,
    /// A number for the slot, if it is one: contention on slots is learnt.
    pub slot: Option<usize>,
}

/// A transaction as the simulation sees it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How long it takes.
    pub time: Duration,
    /// In the order of reading.
    pub dependencies: Vec<Dependency>,
    /// The transaction before it of the same sender.
    pub previous_of_sender: Option<usize>,
    /// Whether it is a plain transfer, which is cheaper to run late than to guess at.
    pub plain: bool,
}

/// A recorded block.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its transactions, in order; without those that are invalid.
    pub transactions: Vec<Recorded>,
    /// From inputs in memory to results and changeset, sequentially: the shortest of the runs.
    pub sequential: Duration,
}

/// The state, with the time of each read.
struct Watch<'s, S> {
    state: &'s mut S,
    reads: Vec<(Place, Instant)>,
    /// The balance that an account had when it was read.
    balances: HashMap<Address, U256>,
    /// Whose balance is read with the rest of the account. `None`: everybody's.
    sees_only: Option<Address>,
}

impl<S: Database> Database for Watch<'_, S> {
    type Error = S::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, S::Error> {
        let now = Instant::now();
        self.reads.push((Place::Account(address), now));
        let info = self.state.basic(address)?;
        self.balances.insert(address, info.as_ref().map_or(U256::ZERO, |info| info.balance));
        let may_be_empty = info.as_ref().is_none_or(AccountInfo::has_no_code_and_nonce);
        if may_be_empty || self.sees_only.is_none_or(|only| only == address) {
            self.reads.push((Place::Balance(address), now));
        }
        Ok(info)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, S::Error> {
        self.state.code_by_hash(hash)
    }

    fn storage(&mut self, address: Address, slot: StorageKey) -> Result<StorageValue, S::Error> {
        self.reads.push((Place::Slot(address, slot), Instant::now()));
        self.state.storage(address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, S::Error> {
        self.state.block_hash(number)
    }
}

/// The instructions that look at a balance: those that only pay see whether it is enough.
#[derive(Default)]
struct Looks(Vec<(Place, Instant)>);

impl<CTX> Inspector<CTX, EthInterpreter> for Looks {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut CTX) {
        let address = match interpreter.bytecode.opcode() {
            opcode::BALANCE => {
                let Ok(word) = interpreter.stack.peek(0) else { return };
                Address::from_word(word.into())
            }
            opcode::SELFBALANCE | opcode::SELFDESTRUCT => interpreter.input.target_address(),
            _ => return,
        };
        self.0.push((Place::Balance(address), Instant::now()));
    }
}

/// A block that cannot be recorded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("transaction {index}: {message}")]
pub struct RecordError {
    /// The transaction's place in the block, from 0.
    pub index: usize,
    /// Why it cannot be executed.
    pub message: String,
}

/// Executes the block once for the reads, and then `repeat` times for the times: each transaction's shortest counts.
///
/// # Errors
///
/// A transaction that is invalid ([`Mode::Verify`]), or a source that fails.
pub fn record<S>(
    env: &BlockEnv,
    cfg: &CfgEnv,
    transactions: &[TxEnv],
    source: &S,
    mode: Mode,
    repeat: u32,
) -> Result<Recording, RecordError>
where
    S: DatabaseRef<Error: std::fmt::Debug + std::fmt::Display>,
{
    let mut recorded = reads(env, cfg, transactions, source, mode)?;
    let mut sequential = Duration::MAX;
    let mut times: Vec<Duration> = vec![Duration::MAX; recorded.len()];
    for _ in 0..repeat.max(1) {
        let (total, run) = time(env, cfg, transactions, source, mode)?;
        sequential = sequential.min(total);
        times.iter_mut().zip(run).for_each(|(time, again)| *time = again.min(*time));
    }
    recorded.iter_mut().zip(times).for_each(|(recorded, time)| recorded.time = time);
    Ok(Recording { transactions: recorded, sequential })
}

/// The time of the whole and of each transaction.
fn time<S>(
    env: &BlockEnv,
    cfg: &CfgEnv,
    transactions: &[TxEnv],
    source: &S,
    mode: Mode,
) -> Result<(Duration, Vec<Duration>), RecordError>
where
    S: DatabaseRef<Error: std::fmt::Debug + std::fmt::Display>,
{
    let (env, cfg, transactions) = (env.clone(), cfg.clone(), transactions.to_vec());
    let start = Instant::now();
    let mut state = State::builder().with_database_ref(source).with_bundle_update().build();
    let mut evm = Context::mainnet().with_db(&mut state).with_block(env).with_cfg(cfg).build_mainnet();
    let mut times = Vec::with_capacity(transactions.len());
    let mut results = Vec::with_capacity(transactions.len());
    let mut last = Instant::now();
    for (index, transaction) in transactions.into_iter().enumerate() {
        match evm.transact(transaction) {
            Ok(executed) => {
                evm.ctx.db_mut().commit(executed.state);
                results.push(executed.result);
                let now = Instant::now();
                times.push(now - last);
                last = now;
            }
            Err(EVMError::Transaction(_)) if mode == Mode::Build => {}
            Err(error) => return Err(RecordError { index, message: error.to_string() }),
        }
    }
    drop(evm);
    state.merge_transitions(revm::database::states::bundle_state::BundleRetention::Reverts);
    let bundle = state.take_bundle();
    let total = start.elapsed();
    drop((results, bundle));
    Ok((total, times))
}

/// What each transaction reads when, of what earlier ones write. Times are to be filled in.
fn reads<S>(
    env: &BlockEnv,
    cfg: &CfgEnv,
    transactions: &[TxEnv],
    source: &S,
    mode: Mode,
) -> Result<Vec<Recorded>, RecordError>
where
    S: DatabaseRef<Error: std::fmt::Debug + std::fmt::Display>,
{
    let mut state = State::builder().with_database_ref(source).build();
    let watch = Watch { state: &mut state, reads: Vec::new(), balances: HashMap::new(), sees_only: None };
    let mut evm = Context::mainnet()
        .with_db(watch)
        .with_block(env.clone())
        .with_cfg(cfg.clone())
        .build_mainnet_with_inspector(Looks::default());
    let mut recorded: Vec<Recorded> = Vec::with_capacity(transactions.len());
    let mut written: HashMap<Place, usize> = HashMap::new();
    let mut slots: HashMap<Place, usize> = HashMap::new();
    let mut last_of: HashMap<Address, usize> = HashMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        // As the runtime does (`counterpoint_actors`, `balances.rs`).
        let leaves_unseen =
            !cfg.spec.is_enabled_in(SpecId::AMSTERDAM) && transaction.authorization_list_len() == 0;
        evm.ctx.db_mut().sees_only = leaves_unseen.then_some(transaction.caller);
        let start = Instant::now();
        let executed = match evm.inspect_tx(transaction.clone()) {
            Ok(executed) => executed,
            Err(EVMError::Transaction(_)) if mode == Mode::Build => {
                evm.ctx.db_mut().reads.clear();
                evm.inspector.0.clear();
                continue;
            }
            Err(error) => return Err(RecordError { index, message: error.to_string() }),
        };
        let length = start.elapsed().as_secs_f64().max(1e-9);
        let own = recorded.len();
        let looks = std::mem::take(&mut evm.inspector.0);
        let watch = evm.ctx.journal_mut().db_mut();
        let mut reads = std::mem::take(&mut watch.reads);
        reads.extend(looks);
        reads.sort_by_key(|(_, at)| *at);
        let tip =
            transaction.effective_gas_price(u128::from(env.basefee)).saturating_sub(u128::from(env.basefee));
        let fee = U256::from(tip) * U256::from(executed.result.tx_gas_used());
        let plain = is_plain(transaction, &executed.state);
        let recipient = transaction.kind.to().copied();
        let mut dependencies = Vec::new();
        for (place, at) in reads {
            match place {
                // The fee is only added, unless something else happened to the account too.
                Place::Account(address) | Place::Balance(address)
                    if address == env.beneficiary && transaction.caller != address =>
                {
                    let after = executed.state.get(&address).map(|account| account.info.balance);
                    let before = watch.balances.get(&address).copied().unwrap_or_default();
                    if after == Some(before.saturating_add(fee)) || after == Some(before) {
                        continue;
                    }
                }
                // So is a plain transfer's value.
                Place::Account(address) | Place::Balance(address) if plain && Some(address) == recipient => {
                    continue;
                }
                _ => {}
            }
            if let Some(on) = written.get(&place) {
                let numbers = slots.len();
                let slot = matches!(place, Place::Slot(..)).then(|| *slots.entry(place).or_insert(numbers));
                let at = at.duration_since(start).as_secs_f64() / length;
                dependencies.push(Dependency { at: at.clamp(0.0, 1.0), on: *on, slot });
            }
        }
        note_writes(&executed.state, own, &mut written);
        watch.state.commit(executed.state);
        recorded.push(Recorded {
            time: Duration::ZERO,
            dependencies,
            previous_of_sender: last_of.insert(transaction.caller, own),
            plain,
        });
    }
    Ok(recorded)
}

/// A call to somebody without code that is not the sender.
fn is_plain(transaction: &TxEnv, state: &EvmState) -> bool {
    let Some(to) = transaction.kind.to() else { return false };
    transaction.authorization_list.is_empty()
        && *to != transaction.caller
        && state.get(to).is_some_and(|account| account.info.is_empty_code_hash())
}

fn note_writes(state: &EvmState, index: usize, written: &mut HashMap<Place, usize>) {
    for (address, account) in state.iter().filter(|(_, account)| account.is_touched()) {
        let (before, after) = (account.original_info(), &account.info);
        let is_new = account.is_created() || account.is_selfdestructed();
        if is_new || after.nonce != before.nonce || after.code_hash != before.code_hash {
            written.insert(Place::Account(*address), index);
        }
        if is_new || after.balance != before.balance {
            written.insert(Place::Balance(*address), index);
        }
        for (slot, _) in account.changed_storage_slots() {
            written.insert(Place::Slot(*address, *slot), index);
        }
    }
}
