//! An incarnation's run from its beginning to its end.

use std::{fmt, ptr};

use corosensei::Yielder;
use revm::{
    context::result::EVMError,
    database_interface::Database,
    primitives::{Address, U256},
    state::{AccountInfo, EvmState},
};

use crate::{
    balances::may_leave_unseen,
    block::BlockState,
    database::{CellDatabase, Link, ReadError},
    evm::{ActorEvm, EvmDatabase},
    execution::{Credit, End, Executed, Execution, Payer},
    fiber::{Order, Request},
    transfer::Transfer,
    worker::WorkerContext,
};

/// An EVM that executes transactions of any block, one after the other.
pub struct Executor {
    evm: ActorEvm<CellDatabase>,
    block: u64,
}

// SAFETY: an executor can only be moved while it is idle, and then it is closed: its memory is shared through
// `Rc`s that are all inside it, the frames' bytecode pointers point into bytecode that the frames own, the
// database is detached from its incarnation, and the precompiles from their fiber.
unsafe impl Send for Executor {}

impl Executor {
    /// An executor that is not tied to a block yet.
    pub fn new() -> Self {
        Self { evm: ActorEvm::new(CellDatabase::default()), block: 0 }
    }

    /// Runs an incarnation to its end. With a yielder this is the fiber's stack, and the thread may change
    /// on the way; without one, what would have to wait ends in [`End::MustWait`].
    pub(crate) fn run(
        &mut self,
        block: &BlockState,
        execution: &mut Execution,
        worker: WorkerContext,
        yielder: *const Yielder<Order, Request>,
    ) {
        if self.block != block.id {
            self.evm.configure(&block.env, &block.cfg);
            self.block = block.id;
        }
        let credited = if execution.exact { None } else { block.credited(execution.index) };
        let link = Link { block, execution: ptr::from_mut(execution), worker, yielder };
        let leaves_unseen = !execution.exact
            && !execution.scouts
            && may_leave_unseen(block.transaction(execution.index), &block.cfg);
        self.evm.database().attach(link, credited, leaves_unseen);

        if let Some(end) = self.transfer(block, execution, credited) {
            self.evm.database().detach();
            execution.end = end;
            return;
        }
        self.evm.0.precompiles.set_yielder(yielder);
        // SAFETY: the transaction lives as long as the block; `finalize` takes it out below.
        let result = unsafe { self.evm.run(block.transaction(execution.index)) };

        let state = self.evm.finalize();
        self.evm.0.precompiles.set_yielder(ptr::null());
        let database = self.evm.database();
        let (masked, worker) = (database.masked, database.worker());
        database.detach();

        if let Some(end) = execution.stopped() {
            execution.end = end;
            return;
        }
        execution.end = match result {
            Ok(result) => {
                let mut executed = Executed { result, state, payer: None, fee: None, transfer: None };
                Self::take_credits(block, execution, &mut executed, credited.filter(|_| masked), worker);
                End::Executed(Box::new(executed))
            }
            Err(EVMError::Database(ReadError::Source(error))) => End::Source(error),
            Err(EVMError::Transaction(cause)) => End::Invalid(cause),
            Err(EVMError::Header(cause)) => End::Header(cause),
            Err(error) => End::Failed(error.to_string()),
        };
    }

    /// Executes a plain transfer whose credits are deferred. `None`: it is something else, or it has to be looked at more closely.
    fn transfer(
        &mut self,
        block: &BlockState,
        execution: &mut Execution,
        credited: Option<Address>,
    ) -> Option<End> {
        let (tx, beneficiary) = (block.transaction(execution.index), block.env.beneficiary);
        let has_more_to_it = execution.scouts
            || execution.exact
            || tx.value.is_zero()
            || [Some(tx.caller), credited].contains(&Some(beneficiary));
        if credited.is_none() || has_more_to_it {
            return None;
        }
        // SAFETY: the transaction lives as long as the block, and is released below.
        let transfer = unsafe { self.evm.transfer(tx) };
        let end = transfer.and_then(|transfer| self.pay(block, execution, &transfer));
        self.evm.release();
        if end.is_none() {
            // It is executed from the beginning.
            execution.accounts.clear();
            self.evm.database().masked = false;
        }
        end
    }

    fn pay(&mut self, block: &BlockState, execution: &mut Execution, transfer: &Transfer) -> Option<End> {
        let caller = block.transaction(execution.index).caller;
        let read = |executor: &mut Self| -> Result<Option<(AccountInfo, U256)>, ReadError> {
            let Some(info) = executor.evm.database().basic(caller)? else { return Ok(None) };
            let Some(left) = executor.evm.charge(transfer, &info) else { return Ok(None) };
            executor.evm.database().basic(transfer.to)?;
            if !executor.evm.database().masked {
                return Ok(None);
            }
            executor.evm.database().defer_fee(transfer.fee)?;
            Ok(Some((info, left)))
        };
        let (info, left) = match read(self) {
            Ok(paid) => paid?,
            Err(error) => {
                return Some(execution.stopped().unwrap_or_else(|| match error {
                    ReadError::Source(error) => End::Source(error),
                    ReadError::Stopped => End::Failed(error.to_string()),
                }));
            }
        };
        let worker = self.evm.database().worker();
        let account = execution.account(&caller).expect("it was read");
        let mut info = AccountInfo { balance: left, nonce: info.nonce + 1, account_id: None, ..info };
        info.code.get_or_insert_default();
        let credit = |actor, amount| Some(Credit { actor, amount, entry: None });
        let position = execution.account(&transfer.to).expect("it was read");
        Some(End::Executed(Box::new(Executed {
            result: transfer.result(),
            state: EvmState::default(),
            payer: Some(Payer { account, info }),
            fee: execution.fee.take().and_then(|fee| credit(block.beneficiary(&worker), fee)),
            transfer: credit(execution.accounts[position].actor, transfer.value),
        })))
    }

    /// Takes what was deferred out of the state: the frontier adds it to what is there then.
    fn take_credits(
        block: &BlockState,
        execution: &mut Execution,
        executed: &mut Executed,
        masked: Option<Address>,
        worker: WorkerContext,
    ) {
        if let Some(address) = masked
            && let Some(account) = executed.state.remove(&address)
            && account.is_touched()
        {
            let actor = match execution.account(&address) {
                Some(position) => execution.accounts[position].actor,
                None => block.actor(address, &worker),
            };
            executed.transfer = Some(Credit { actor, amount: account.info.balance, entry: None });
        }
        if let Some(amount) = execution.fee.take() {
            let actor = block.beneficiary(&worker);
            executed.fee = Some(Credit { actor, amount, entry: None });
        }
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("block", &self.block).finish_non_exhaustive()
    }
}
