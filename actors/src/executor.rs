//! An incarnation's run from its beginning to its end.

use std::{fmt, ptr};

use corosensei::Yielder;
use revm::{context::result::EVMError, primitives::Address};

use crate::{
    block::BlockState,
    database::{CellDatabase, Link, ReadError},
    evm::ActorEvm,
    execution::{Credit, End, Executed, Execution, Stop},
    fiber::{Order, Request},
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
        self.evm.database().attach(link, credited);
        self.evm.0.precompiles.set_yielder(yielder);

        // SAFETY: the transaction lives as long as the block; `finalize` takes it out below.
        let result = unsafe { self.evm.run(block.transaction(execution.index)) };

        let state = self.evm.finalize();
        self.evm.0.precompiles.set_yielder(ptr::null());
        let database = self.evm.database();
        let (masked, worker) = (database.masked, database.worker());
        database.detach();

        execution.end = match (result, execution.stopped.take()) {
            (_, Some(Stop::Doomed)) => End::Doomed,
            (_, Some(Stop::MustWait)) => End::MustWait,
            (_, Some(Stop::Cancelled | Stop::Misplaced)) => End::Cancelled,
            (_, Some(Stop::Source(error))) | (Err(EVMError::Database(ReadError::Source(error))), None) => {
                End::Source(error)
            }
            (Ok(result), None) => {
                let mut executed = Executed { result, state, fee: None, transfer: None };
                Self::take_credits(block, execution, &mut executed, credited.filter(|_| masked), worker);
                End::Executed(Box::new(executed))
            }
            (Err(EVMError::Transaction(cause)), None) => End::Invalid(cause),
            (Err(EVMError::Header(cause)), None) => End::Header(cause),
            (Err(error), None) => End::Failed(error.to_string()),
        };
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
