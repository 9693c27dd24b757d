//! revm, with hooks where a frame begins and ends: there a transaction hops from actor to actor.

use std::{marker::PhantomData, sync::LazyLock};

use revm::{
    Context, Journal,
    context::{
        BlockEnv, CfgEnv, ContextError, Evm, FrameStack, JournalTr, LocalContext, TxEnv,
        result::{EVMError, ExecutionResult},
    },
    database_interface::Database,
    handler::{
        EthFrame, EvmTr, FrameInitOrResult, FrameResult, FrameTr, Handler, ItemOrResult,
        evm::{ContextDbError, FrameInitResult},
        instructions::EthInstructions,
    },
    interpreter::{CreateInputs, FrameInput, interpreter::EthInterpreter, interpreter_action::FrameInit},
    primitives::{Address, KECCAK_EMPTY, U256, constants::CALL_STACK_LIMIT, hardfork::SpecId},
    state::{Account, AccountInfo, EvmState},
};

use crate::{
    balances::{Look, observing},
    database::ReadError,
    digests::{Digests, remembering},
    execution::Hop,
    handler::ActorHandler,
    message::Selector,
    precompiles::WorkerPrecompiles,
    transfer::{Transfer, Transfers},
};

/// The databases that the EVM runs on: cells where transactions run in parallel, the changeset where they run one
/// after the other.
pub(crate) trait EvmDatabase: Database<Error = ReadError> {
    /// Whether transactions run in parallel on it: then it wants to know where frames start and end, and need not know what
    /// accounts hold whose balance nothing looks at.
    const IN_PARALLEL: bool;

    /// A frame starts.
    fn arrive(&mut self, hop: Hop);

    /// A frame ended.
    fn leave(&mut self);

    /// What the worker that executes this has hashed.
    fn digests<R>(&mut self, look: impl FnOnce(&mut Digests) -> R) -> R;

    /// Whether the source has storage of the account (EIP-7610).
    fn has_stored(&mut self, address: Address) -> Result<bool, ReadError>;

    /// Whether the block has created, destroyed or removed an account that was read, with its storage.
    fn is_wiped(&mut self, address: Address) -> bool;

    /// Something looks at the balance of an account of the journal. Returns what that has to be raised by, in wei, modulo
    /// 2^256, if it was not read so far.
    fn look_at(&mut self, address: Address, account: &Account, look: Look)
    -> Result<Option<U256>, ReadError>;

    /// An instruction begins that looks at the balances of the accounts that it loads, or ends.
    fn observes(&mut self, observes: bool);

    /// Whether the fee may be added later, without a look at the beneficiary.
    fn defers_fee(&mut self) -> bool;

    /// The fee, in wei, to be added later.
    fn defer_fee(&mut self, fee: U256) -> Result<(), ReadError>;
}

pub(crate) type ActorContext<D> = Context<BlockEnv, &'static TxEnv, CfgEnv, D, Journal<D>, ()>;
pub(crate) type Instructions<D> = EthInstructions<EthInterpreter, ActorContext<D>>;
type InnerEvm<D> = Evm<ActorContext<D>, (), Instructions<D>, WorkerPrecompiles, EthFrame<EthInterpreter>>;

/// revm's, but for those that know more or say more.
fn instructions<D: EvmDatabase>(spec: SpecId) -> Instructions<D> {
    let instructions = remembering(EthInstructions::new_mainnet_with_spec(spec));
    if D::IN_PARALLEL { observing(instructions) } else { instructions }
}

/// What stands in for a transaction while there is none.
static NO_TRANSACTION: LazyLock<TxEnv> = LazyLock::new(TxEnv::default);

/// revm's EVM over the block's cells.
pub(crate) struct ActorEvm<D: EvmDatabase>(pub(crate) InnerEvm<D>, Option<Transfers>);

impl<D: EvmDatabase> ActorEvm<D> {
    /// An EVM over a database, with the rules of no fork in particular.
    pub(crate) fn new(database: D) -> Self {
        let spec = SpecId::default();
        let ctx = Context {
            block: BlockEnv::default(),
            tx: &*NO_TRANSACTION,
            cfg: CfgEnv::default(),
            journaled_state: Journal::new(database),
            chain: (),
            local: LocalContext::default(),
            error: Ok(()),
        };
        let evm = Evm {
            ctx,
            inspector: (),
            instruction: instructions(spec),
            precompiles: WorkerPrecompiles::new(spec),
            frame_stack: FrameStack::new_prealloc(8),
        };
        Self(evm, None)
    }

    /// Takes over a block's environment and rules.
    pub(crate) fn configure(&mut self, env: &BlockEnv, cfg: &CfgEnv) {
        let evm = &mut self.0;
        if evm.ctx.cfg.spec != cfg.spec {
            evm.instruction = instructions(cfg.spec);
        }
        self.1 = Transfers::new(cfg);
        evm.ctx.block = env.clone();
        evm.ctx.cfg = cfg.clone();
        evm.ctx.journaled_state.set_spec_id(cfg.spec);
        evm.ctx
            .journaled_state
            .set_eip7708_config(cfg.amsterdam_eip7708_disabled, cfg.amsterdam_eip8246_delayed_clear_disabled);
    }

    /// Executes a transaction; what it changed is left in the journal, to be taken or finalised.
    ///
    /// # Safety
    ///
    /// The transaction must stay where it is until [`forget`](Self::forget).
    pub(crate) unsafe fn run(
        &mut self,
        transaction: *const TxEnv,
    ) -> Result<ExecutionResult, EVMError<ReadError>> {
        // SAFETY: the caller's.
        self.0.ctx.tx = unsafe { &*transaction };
        self.0.ctx.error = Ok(());
        ActorHandler(PhantomData).run(self)
    }

    /// The transaction, if it is a plain transfer that is valid in its block; nothing was executed.
    ///
    /// # Safety
    ///
    /// As for [`run`](Self::run).
    pub(crate) unsafe fn transfer(&mut self, transaction: *const TxEnv) -> Option<Transfer> {
        // SAFETY: the caller's.
        self.0.ctx.tx = unsafe { &*transaction };
        self.1.as_ref()?.transfer(&mut self.0.ctx)
    }

    /// What the sender of such a transfer holds afterwards, see [`Transfer::charge`].
    pub(crate) fn charge(&self, transfer: &Transfer, sender: &AccountInfo) -> Option<U256> {
        let ctx = &self.0.ctx;
        transfer.charge(sender, ctx.tx, &ctx.block, &ctx.cfg)
    }

    /// Who gets the fees.
    pub(crate) fn beneficiary(&self) -> Address {
        self.0.ctx.block.beneficiary
    }

    /// The transaction is not referred to any more.
    pub(crate) fn release(&mut self) {
        self.0.ctx.tx = &*NO_TRANSACTION;
    }

    /// What the transaction changed. It is not referred to any more.
    pub(crate) fn finalize(&mut self) -> EvmState {
        self.release();
        self.0.ctx.journaled_state.finalize()
    }

    pub(crate) fn database(&mut self) -> &mut D {
        &mut self.0.ctx.journaled_state.database
    }

    /// A frame starts: the transaction arrives at the callee's actor.
    fn call(&mut self, init: &FrameInit) {
        let FrameInput::Call(inputs) = &init.frame_input else { return };
        let ctx = &mut self.0.ctx;
        let mut selector = Selector::default();
        if D::IN_PARALLEL {
            let bytes = inputs.input.as_bytes(&*ctx);
            let length = bytes.len().min(4);
            selector[..length].copy_from_slice(&bytes[..length]);
        }
        ctx.journaled_state.database.arrive(Hop { address: inputs.target_address, selector });
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
    ) -> Result<FrameInitResult<'_, EthFrame<EthInterpreter>>, ContextDbError<ActorContext<D>>> {
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
}

impl<D: EvmDatabase> EvmTr for ActorEvm<D> {
    type Context = ActorContext<D>;
    type Instructions = Instructions<D>;
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
        self.database().leave();
        self.0.frame_return_result(result)
    }
}
