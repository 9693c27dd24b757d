//! Transactions one after the other, without cells, fibers and words: the changeset is the state that they read.
//!
//! What parallel execution costs is only worth paying where there is something to gain. A block for one worker, a
//! block that is over before another worker has woken up, and a chain of transactions of one sender have nothing
//! to gain, and run here for the price of sequential revm.

use std::{fmt, sync::Arc};

use counterpoint_state::{Changeset, SourceError, StateSource};
use revm::{
    bytecode::Bytecode,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, InvalidHeader, InvalidTransaction},
    },
    database_interface::Database,
    primitives::{Address, B256, B256Map, HashMap, U256},
    state::{Account, AccountId, AccountInfo, EvmState, TransactionId},
};

use crate::{
    balances::Look,
    database::ReadError,
    digests::Digests,
    evm::{ActorEvm, EvmDatabase},
    execution::Hop,
    transfer::{Transfer, has_code},
};

/// Whether to stop in the middle of a transaction.
pub type Stops = Box<dyn Fn() -> bool + Send>;

/// How a transaction ended that was executed in its order.
#[derive(Debug)]
pub enum SerialEnd {
    /// It was executed, and changed this, which is to be applied.
    Executed(ExecutionResult, EvmState),
    /// It cannot be included.
    Invalid(InvalidTransaction),
    /// The block environment lacks something.
    Header(InvalidHeader),
    /// The source failed.
    Source(SourceError),
    /// revm failed for a reason that is not the transaction's.
    Failed(String),
    /// It was asked to stop.
    Stopped,
}

/// Executes transactions in their order.
pub struct SerialExecutor {
    evm: ActorEvm<SerialDatabase>,
}

// SAFETY: as for `Executor`: an idle EVM shares memory only with itself.
unsafe impl Send for SerialExecutor {}

impl SerialExecutor {
    /// An executor that is not tied to a block.
    pub fn new() -> Self {
        Self { evm: ActorEvm::new(SerialDatabase::default()) }
    }

    /// Prepares for a block, whose changes so far are given. Before the source is asked, so is `stops`.
    pub fn begin(
        &mut self,
        env: &BlockEnv,
        cfg: &CfgEnv,
        source: Arc<dyn StateSource>,
        changeset: Changeset,
        stops: Option<Stops>,
    ) {
        self.evm.configure(env, cfg);
        let database = self.evm.database();
        database.source = Some(source);
        database.changeset = changeset;
        database.stops = stops;
    }

    /// Executes the next transaction.
    pub fn execute(&mut self, transaction: &TxEnv) -> SerialEnd {
        // SAFETY: the transaction stays borrowed until `finalize` below.
        let result = unsafe { self.evm.run(transaction) };
        let state = self.evm.finalize();
        match result {
            Ok(result) => SerialEnd::Executed(result, state),
            Err(EVMError::Transaction(cause)) => SerialEnd::Invalid(cause),
            Err(EVMError::Header(cause)) => SerialEnd::Header(cause),
            Err(EVMError::Database(ReadError::Source(cause))) => SerialEnd::Source(cause),
            Err(EVMError::Database(ReadError::Stopped)) => SerialEnd::Stopped,
            Err(error) => SerialEnd::Failed(error.to_string()),
        }
    }

    /// Executes the next transaction and adds what it has changed, if it is a plain transfer that succeeds. `None`: it is not,
    /// and nothing was changed. The state that comes back is only for who wants to `show` it, and empty otherwise.
    pub fn transfer(&mut self, transaction: &TxEnv, show: bool) -> Option<SerialEnd> {
        // SAFETY: the transaction stays borrowed until `release` below.
        let transfer = unsafe { self.evm.transfer(transaction) };
        let end = transfer.and_then(|transfer| match self.pay(&transfer, transaction.caller, show) {
            Ok(Some(state)) => Some(SerialEnd::Executed(transfer.result(), state)),
            Ok(None) => None,
            Err(ReadError::Source(cause)) => Some(SerialEnd::Source(cause)),
            Err(ReadError::Stopped) => Some(SerialEnd::Stopped),
        });
        self.evm.release();
        end
    }

    /// Moves what a transfer moves. `None`: one of the accounts is not as it should be, and nothing was changed.
    fn pay(
        &mut self,
        transfer: &Transfer,
        caller: Address,
        show: bool,
    ) -> Result<Option<EvmState>, ReadError> {
        let sender = self.evm.database().position(caller)?;
        let info = self.evm.database().changeset.info(sender).cloned();
        let Some(left) = info.and_then(|info| self.evm.charge(transfer, &info)) else { return Ok(None) };
        let coinbase = self.evm.beneficiary();
        let database = self.evm.database();
        let recipient = database.position(transfer.to)?;
        if database.changeset.info(recipient).is_some_and(has_code) {
            // It runs before the beneficiary is asked for.
            return Ok(None);
        }
        let beneficiary = database.position(coinbase)?;

        let changeset = &mut database.changeset;
        let balance = |position: usize| changeset.info(position).map(|info| info.balance).unwrap_or_default();
        let is_missing = |position| changeset.info(position).is_none_or(AccountInfo::is_empty);
        // Who has nothing and gets nothing is touched, which may make an account come or go.
        let touches = is_missing(recipient) && transfer.value.is_zero()
            || is_missing(beneficiary) && beneficiary != recipient && transfer.fee.is_zero();
        // One that overflows fails, or is dropped.
        let received = balance(recipient).checked_add(transfer.value);
        let before = match beneficiary {
            beneficiary if beneficiary == sender => Some(left),
            beneficiary if beneficiary == recipient => received,
            beneficiary => Some(balance(beneficiary)),
        };
        let rewarded = before.and_then(|before| before.checked_add(transfer.fee));
        let (false, Some(received), Some(rewarded)) = (touches, received, rewarded) else {
            return Ok(None);
        };
        let mut state = EvmState::default();
        let touched = [(caller, sender), (transfer.to, recipient), (coinbase, beneficiary)];
        if show {
            state.extend(touched.map(|(address, position)| (address, touch(changeset.info(position)))));
        }
        changeset.update(sender, |info| {
            info.balance = left;
            info.nonce += 1;
            info.code.get_or_insert_default();
        });
        changeset.update(recipient, |info| {
            info.balance = received;
            info.code.get_or_insert_default();
        });
        changeset.update(beneficiary, |info| info.balance = rewarded);
        if show {
            for (address, position) in touched {
                if let (Some(account), Some(info)) = (state.get_mut(&address), changeset.info(position)) {
                    account.info = info.clone();
                }
            }
        }
        Ok(Some(state))
    }

    /// Adds what a transaction has changed: the next one finds it.
    pub fn apply(&mut self, state: EvmState) {
        self.evm.database().changeset.apply_and_keep(state);
    }

    /// The changes so far.
    pub fn changeset(&mut self) -> &mut Changeset {
        &mut self.evm.database().changeset
    }

    /// Lets go of the block; returns its changes.
    pub fn end(&mut self) -> Changeset {
        let database = self.evm.database();
        database.source = None;
        database.stops = None;
        database.code.clear();
        database.block_hashes.clear();
        database.digests.forget();
        std::mem::take(&mut database.changeset)
    }
}

/// An account as revm's journal has it when it has been touched.
fn touch(info: Option<&AccountInfo>) -> Account {
    let mut account = match info {
        Some(info) => Account::from(info.clone()),
        None => Account::new_not_existing(TransactionId::ZERO),
    };
    account.mark_touch();
    account
}

impl Default for SerialExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SerialExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialExecutor").finish_non_exhaustive()
    }
}

/// The changeset over the source, as revm's database.
#[derive(Default)]
pub(crate) struct SerialDatabase {
    source: Option<Arc<dyn StateSource>>,
    stops: Option<Stops>,
    changeset: Changeset,
    code: B256Map<Bytecode>,
    block_hashes: HashMap<u64, B256>,
    digests: Digests,
}

impl SerialDatabase {
    fn ask<T>(
        &self,
        question: impl FnOnce(&dyn StateSource) -> Result<T, SourceError>,
    ) -> Result<T, ReadError> {
        if self.stops.as_ref().is_some_and(|stops| stops()) {
            return Err(ReadError::Stopped);
        }
        let source = self.source.as_ref().expect("the EVM runs only between `begin` and `end`");
        question(&**source).map_err(ReadError::Source)
    }

    /// The position of an account in the changeset.
    fn position(&mut self, address: Address) -> Result<usize, ReadError> {
        if let Some(position) = self.changeset.position(&address) {
            return Ok(position);
        }
        let info = self.ask(|source| source.account(address))?;
        Ok(self.changeset.load(address, info))
    }

    fn slot(&mut self, address: Address, position: usize, slot: U256) -> Result<U256, ReadError> {
        if let Some(value) = self.changeset.slot(position, &slot) {
            return Ok(value);
        }
        let value = self.ask(|source| source.storage(address, slot))?;
        self.changeset.keep_slot(position, slot, value);
        Ok(value)
    }
}

impl Database for SerialDatabase {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        let position = self.position(address)?;
        let mut info = self.changeset.info(position).cloned();
        if let Some(info) = &mut info {
            // The id is the position: storage reads and the changeset find the account by it.
            info.account_id = AccountId::new(position);
        }
        Ok(info)
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, ReadError> {
        if let Some(code) = self.code.get(&code_hash) {
            return Ok(code.clone());
        }
        let code = self.ask(|source| source.code(code_hash))?;
        self.code.insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, ReadError> {
        let position = self.position(address)?;
        self.slot(address, position, index)
    }

    fn storage_by_account_id(
        &mut self,
        address: Address,
        account_id: AccountId,
        storage_key: U256,
    ) -> Result<U256, ReadError> {
        let position = account_id.get();
        if self.changeset.is_at(position, &address) {
            return self.slot(address, position, storage_key);
        }
        self.storage(address, storage_key)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadError> {
        if let Some(hash) = self.block_hashes.get(&number) {
            return Ok(*hash);
        }
        let hash = self.ask(|source| source.block_hash(number))?;
        self.block_hashes.insert(number, hash);
        Ok(hash)
    }
}

impl EvmDatabase for SerialDatabase {
    const IN_PARALLEL: bool = false;

    fn arrive(&mut self, _: Hop) {}

    fn leave(&mut self) {}

    fn digests<R>(&mut self, look: impl FnOnce(&mut Digests) -> R) -> R {
        look(&mut self.digests)
    }

    fn has_stored(&mut self, address: Address) -> Result<bool, ReadError> {
        self.ask(|source| source.has_storage(address))
    }

    fn is_wiped(&mut self, address: Address) -> bool {
        self.changeset.position(&address).is_some_and(|position| self.changeset.is_wiped(position))
    }

    fn look_at(&mut self, _: Address, _: &Account, _: Look) -> Result<Option<U256>, ReadError> {
        Ok(None)
    }

    fn observes(&mut self, _: bool) {}

    fn defers_fee(&mut self) -> bool {
        false
    }

    fn defer_fee(&mut self, _: U256) -> Result<(), ReadError> {
        Ok(())
    }
}
