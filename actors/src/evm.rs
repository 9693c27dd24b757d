//! revm, with hooks where a frame begins and ends: there a transaction hops from actor to actor.

use std::{fmt, ptr, sync::LazyLock};

use corosensei::Yielder;
use revm::{
    Context, Journal,
    context::{
        BlockEnv, CfgEnv, ContextError, Evm, FrameStack, JournalTr, LocalContext, TxEnv, result::EVMError,
    },
    handler::{
        EthFrame, EvmTr, FrameInitOrResult, FrameResult, FrameTr, Handler, ItemOrResult,
        evm::{ContextDbError, FrameInitResult},
        instructions::EthInstructions,
    },
    interpreter::{CreateInputs, FrameInput, interpreter::EthInterpreter, interpreter_action::FrameInit},
    primitives::{Address, KECCAK_EMPTY, constants::CALL_STACK_LIMIT, hardfork::SpecId},
};

use crate::{
    block::BlockState,
    database::{CellDatabase, Link, ReadError},
    execution::{Credit, End, Executed, Execution, Hop, Stop},
    fiber::{Order, Request},
    handler::ActorHandler,
    message::Selector,
    precompiles::WorkerPrecompiles,
    worker::WorkerContext,
};

pub(crate) type ActorContext =
    Context<BlockEnv, &'static TxEnv, CfgEnv, CellDatabase, Journal<CellDatabase>, ()>;
type Instructions = EthInstructions<EthInterpreter, ActorContext>;
type InnerEvm = Evm<ActorContext, (), Instructions, WorkerPrecompiles, EthFrame<EthInterpreter>>;

/// What stands in for a transaction while there is none.
static NO_TRANSACTION: LazyLock<TxEnv> = LazyLock::new(TxEnv::default);

/// revm's EVM over the block's cells.
pub(crate) struct ActorEvm(pub(crate) InnerEvm);

impl ActorEvm {
    /// A frame starts: the transaction arrives at the callee's actor.
    fn call(&mut self, init: &FrameInit) {
        let FrameInput::Call(inputs) = &init.frame_input else { return };
        let mut selector = Selector::default();
        {
            let bytes = inputs.input.as_bytes(&self.0.ctx);
            let length = bytes.len().min(4);
            selector[..length].copy_from_slice(&bytes[..length]);
        }
        let hop = Hop { address: inputs.target_address, selector };
        let database = &mut self.0.ctx.journaled_state.database;
        let worker = database.worker();
        worker.counters.hops.increment();
        let block: *const BlockState = database.block();
        let execution = database.execution();
        execution.hops.push(hop);
        if !execution.on_final_state && !execution.scouts {
            // SAFETY: the block outlives the run, see `Link`.
            let entered = execution.predict(unsafe { &*block }, hop, worker.arena);
            for _ in 0..entered {
                worker.counters.predicted.increment();
            }
        }
    }

    /// EIP-7610: the address of a creation that fails because the account there has storage, though neither
    /// code nor nonce. revm looks at these two only.
    fn occupied(&mut self, inputs: &CreateInputs, depth: usize) -> Result<Option<Address>, ReadError> {
        let journal = &mut self.0.ctx.journaled_state;
        // Loaded: it is the sender, or it executes.
        let Some(caller) = journal.inner.state.get(&inputs.caller()) else { return Ok(None) };
        // What fails earlier does not touch the address.
        let fails_earlier = depth > CALL_STACK_LIMIT as usize
            || caller.info.balance < inputs.value()
            || caller.info.nonce == u64::MAX;
        if fails_earlier {
            return Ok(None);
        }
        let address = inputs.created_address(caller.info.nonce);
        if !journal.database.has_stored(address)? {
            return Ok(None);
        }
        let account = journal.load_account(address)?.data;
        let free = account.info.nonce == 0 && account.info.code_hash == KECCAK_EMPTY;
        // What this transaction or the block created or destroyed there has left nothing of the old storage.
        let fresh = account.is_created() || journal.database.is_wiped(address);
        Ok((free && !fresh).then_some(address))
    }

    /// Lets revm find a collision at this address.
    #[cold]
    fn collide(
        &mut self,
        address: Address,
        frame_input: FrameInit,
    ) -> Result<FrameInitResult<'_, EthFrame<EthInterpreter>>, ContextDbError<ActorContext>> {
        self.set_nonce(address, 1);
        let failed = match self.0.frame_init(frame_input)? {
            ItemOrResult::Result(result) => result,
            ItemOrResult::Item(_) => {
                return Err(ContextError::Custom("a creation over storage succeeded".to_owned()));
            }
        };
        self.set_nonce(address, 0);
        Ok(ItemOrResult::Result(failed))
    }

    fn set_nonce(&mut self, address: Address, nonce: u64) {
        if let Some(account) = self.0.ctx.journaled_state.inner.state.get_mut(&address) {
            account.info.nonce = nonce;
        }
    }

    /// A frame ended: the transaction returns to the caller's actor.
    fn returned(&mut self) {
        self.0.ctx.journaled_state.database.worker().counters.hops.increment();
    }
}

impl EvmTr for ActorEvm {
    type Context = ActorContext;
    type Instructions = Instructions;
    type Precompiles = WorkerPrecompiles;
    type Frame = EthFrame<EthInterpreter>;

    #[inline]
    fn all(&self) -> (&Self::Context, &Self::Instructions, &Self::Precompiles, &FrameStack<Self::Frame>) {
        self.0.all()
    }

    #[inline]
    fn all_mut(
        &mut self,
    ) -> (&mut Self::Context, &mut Self::Instructions, &mut Self::Precompiles, &mut FrameStack<Self::Frame>)
    {
        self.0.all_mut()
    }

    #[inline]
    fn frame_init(
        &mut self,
        frame_input: <Self::Frame as FrameTr>::FrameInit,
    ) -> Result<FrameInitResult<'_, Self::Frame>, ContextDbError<Self::Context>> {
        self.call(&frame_input);
        let occupied = match &frame_input.frame_input {
            FrameInput::Create(inputs) => self.occupied(inputs, frame_input.depth)?,
            _ => None,
        };
        match occupied {
            None => self.0.frame_init(frame_input),
            Some(address) => self.collide(address, frame_input),
        }
    }

    #[inline]
    fn frame_run(&mut self) -> Result<FrameInitOrResult<Self::Frame>, ContextDbError<Self::Context>> {
        self.0.frame_run()
    }

    #[inline]
    fn frame_return_result(
        &mut self,
        result: FrameResult,
    ) -> Result<Option<FrameResult>, ContextDbError<Self::Context>> {
        self.returned();
        self.0.frame_return_result(result)
    }
}

/// An EVM that executes transactions of any block, one after the other.
pub struct Executor {
    evm: ActorEvm,
    block: u64,
}

// SAFETY: an executor can only be moved while it is idle, and then it is closed: its memory is shared through
// `Rc`s that are all inside it, the frames' bytecode pointers point into bytecode that the frames own, the
// database is detached from its incarnation, and the precompiles from their fiber.
unsafe impl Send for Executor {}

impl Executor {
    /// An executor that is not tied to a block yet.
    pub fn new() -> Self {
        let spec = SpecId::default();
        let ctx = Context {
            block: BlockEnv::default(),
            tx: &*NO_TRANSACTION,
            cfg: CfgEnv::default(),
            journaled_state: Journal::new(CellDatabase::default()),
            chain: (),
            local: LocalContext::default(),
            error: Ok(()),
        };
        let evm = Evm {
            ctx,
            inspector: (),
            instruction: EthInstructions::new_mainnet_with_spec(spec),
            precompiles: WorkerPrecompiles::new(spec),
            frame_stack: FrameStack::new_prealloc(8),
        };
        Self { evm: ActorEvm(evm), block: 0 }
    }

    /// Takes over a block's environment and rules.
    fn configure(&mut self, block: &BlockState) {
        let evm = &mut self.evm.0;
        if evm.ctx.cfg.spec != block.cfg.spec || self.block == 0 {
            evm.instruction = EthInstructions::new_mainnet_with_spec(block.cfg.spec);
        }
        evm.ctx.block = block.env.clone();
        evm.ctx.cfg = block.cfg.clone();
        evm.ctx.journaled_state.set_spec_id(block.cfg.spec);
        evm.ctx.journaled_state.set_eip7708_config(
            block.cfg.amsterdam_eip7708_disabled,
            block.cfg.amsterdam_eip8246_delayed_clear_disabled,
        );
        self.block = block.id;
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
            self.configure(block);
        }
        let transaction: *const TxEnv = block.transaction(execution.index);
        let credited = if execution.exact { None } else { block.credited(execution.index) };
        let link = Link { block, execution: ptr::from_mut(execution), worker, yielder };
        let evm = &mut self.evm.0;
        // SAFETY: the transaction lives as long as the block, and is taken out below.
        evm.ctx.tx = unsafe { &*transaction };
        evm.ctx.error = Ok(());
        evm.ctx.journaled_state.database.attach(link, credited);
        evm.precompiles.set_yielder(yielder);

        let result = ActorHandler.run(&mut self.evm);

        let evm = &mut self.evm.0;
        let state = evm.ctx.journaled_state.finalize();
        let masked = evm.ctx.journaled_state.database.masked;
        evm.ctx.tx = &*NO_TRANSACTION;
        evm.precompiles.set_yielder(ptr::null());
        let worker = evm.ctx.journaled_state.database.worker();
        evm.ctx.journaled_state.database.detach();

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
