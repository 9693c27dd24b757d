//! alloy-evm's block executor on Counterpoint: code that is written for `EthBlockExecutor` runs in parallel with another
//! factory, and gives the same.
//!
//! [`execute_block`](BlockExecutor::execute_block) has all transactions, and executes them in parallel between the same
//! system calls, rewards and requests; receipts, state hook and state come in order, from the same code. The methods
//! that take one transaction at a time must answer before they see the next: on their own they execute it as
//! `EthBlockExecutor` does. [`announce`](ParallelBlockExecutor::announce) says beforehand which ones will come. Then the
//! first call executes all of them, and each call returns the result that is ready for it. What was executed ahead is
//! dropped where the host does not keep to it: a result is not committed, something else is committed than the last result that
//! was given out, or a transaction does not fit into the block's gas. The announced ones after that are then executed again,
//! together. Where another transaction comes, the announcement is forgotten.
//!
//! Where what is asked for cannot be done in parallel, everything is left to `EthBlockExecutor`: with an inspector (any type
//! but `NoOpInspector`), with precompiles at other addresses or with other ids than the hard fork's, and from Amsterdam on.

mod batch;
mod database;

use std::{any::type_name, collections::VecDeque, fmt, mem, sync::Arc};

use alloy_consensus::{Transaction, TransactionEnvelope, TxReceipt};
use alloy_eips::Encodable2718;
use alloy_evm::{
    EthEvm, EthEvmFactory, Evm, EvmEnv, EvmFactory, FromRecoveredTx, FromTxWithEncoded, RecoveredTx,
    block::{
        BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockExecutorFactory, BlockValidationError,
        CommitChanges, ExecutableTx, ExecutableTxParts, GasOutput, StateDB,
    },
    eth::{
        EthBlockExecutionCtx, EthBlockExecutor, EthBlockExecutorFactory, EthEvmContext, EthTxResult,
        receipt_builder::{AlloyReceiptBuilder, ReceiptBuilder},
        spec::{EthExecutorSpec, EthSpec},
    },
    precompiles::PrecompilesMap,
};
use alloy_primitives::Log;
use counterpoint_state::StateSource;
use revm::{
    Inspector,
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, ResultAndState},
    },
    database::CacheState,
    inspector::NoOpInspector,
    precompile::{PrecompileSpecId, Precompiles},
    primitives::{AddressMap, B256, hardfork::SpecId},
    state::EvmState,
};

use crate::Runtime;
use batch::{Batch, Done, Ended, Failure, with_changes};
use database::Recording;

/// Makes [`ParallelBlockExecutor`]s: what `EthBlockExecutorFactory` is to `EthBlockExecutor`.
#[derive(Clone, Debug)]
pub struct ParallelBlockExecutorFactory<R = AlloyReceiptBuilder, Spec = EthSpec> {
    inner: EthBlockExecutorFactory<R, Spec, EthEvmFactory>,
    runtime: Arc<Runtime>,
}

impl<R, Spec> ParallelBlockExecutorFactory<R, Spec> {
    /// Executors of this chain, on this runtime.
    pub fn new(receipt_builder: R, spec: Spec, runtime: Arc<Runtime>) -> Self {
        let inner = EthBlockExecutorFactory::new(receipt_builder, spec, EthEvmFactory::default());
        Self { inner, runtime }
    }

    /// The chain's specification.
    pub const fn spec(&self) -> &Spec {
        self.inner.spec()
    }

    /// The runtime.
    pub const fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }
}

impl<R, Spec> BlockExecutorFactory for ParallelBlockExecutorFactory<R, Spec>
where
    R: ReceiptBuilder<Transaction: Transaction + Encodable2718, Receipt: TxReceipt<Log = Log>> + 'static,
    Spec: EthExecutorSpec + 'static,
    TxEnv: FromRecoveredTx<R::Transaction> + FromTxWithEncoded<R::Transaction>,
    <R::Transaction as TransactionEnvelope>::TxType: Send + 'static,
{
    type EvmFactory = EthEvmFactory;
    type TxExecutionResult = EthTxResult<HaltReason, <R::Transaction as TransactionEnvelope>::TxType>;
    type ExecutionCtx<'a> = EthBlockExecutionCtx<'a>;
    type Transaction = R::Transaction;
    type Receipt = R::Receipt;
    type Executor<'a, DB: StateDB, I: Inspector<EthEvmContext<DB>>> =
        ParallelBlockExecutor<'a, DB, I, &'a Spec, &'a R>;

    fn evm_factory(&self) -> &EthEvmFactory {
        self.inner.evm_factory()
    }

    fn create_executor<'a, DB, I>(
        &'a self,
        evm: EthEvm<DB, I, PrecompilesMap>,
        ctx: EthBlockExecutionCtx<'a>,
    ) -> Self::Executor<'a, DB, I>
    where
        DB: StateDB,
        I: Inspector<EthEvmContext<DB>>,
    {
        ParallelBlockExecutor {
            inner: EthBlockExecutor::new(evm, ctx, self.inner.spec(), self.inner.receipt_builder()),
            runtime: Arc::clone(&self.runtime),
            source: None,
            changes: CacheState::default(),
            announced: VecDeque::new(),
            ready: VecDeque::new(),
            expected: None,
        }
    }
}

/// A block executor as `EthBlockExecutor`, whose transactions run in parallel.
///
/// Any database will do: while the transactions execute, the calling thread reads what they need from it, one key at a time,
/// and no worker waits. With [`with_source`](Self::with_source), the workers read for themselves, and the calling thread commits
/// each transaction of [`execute_block`](BlockExecutor::execute_block), state hook included, while those after it are executed.
pub struct ParallelBlockExecutor<'a, DB, I, Spec, R>
where
    DB: StateDB,
    R: ReceiptBuilder,
{
    inner: EthBlockExecutor<'a, EthEvm<DB, I, PrecompilesMap>, Spec, R>,
    runtime: Arc<Runtime>,
    source: Option<Arc<dyn StateSource>>,
    /// With a source: what was committed to the database since.
    changes: CacheState,
    /// Transactions that will come, by hash.
    announced: VecDeque<(B256, TxEnv)>,
    /// The results of the first announced ones.
    ready: VecDeque<Result<(ExecutionResult, EvmState), InvalidTransaction>>,
    /// The changes of the last result that was given out, which must be committed next: what is ready was executed on top.
    expected: Option<EvmState>,
}

impl<DB, I, Spec, R> ParallelBlockExecutor<'_, DB, I, Spec, R>
where
    DB: StateDB,
    I: Inspector<EthEvmContext<DB>>,
    Spec: EthExecutorSpec,
    R: ReceiptBuilder<Transaction: Transaction + Encodable2718, Receipt: TxReceipt<Log = Log>>,
    TxEnv: FromRecoveredTx<R::Transaction> + FromTxWithEncoded<R::Transaction>,
    <R::Transaction as TransactionEnvelope>::TxType: Send + 'static,
{
    /// Has the workers read from here and not through the database. It must be the state as the database has it before
    /// the block. To be called before anything is executed.
    pub fn with_source(mut self, source: Arc<dyn StateSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Says which transactions will be executed next, one at a time, so that they can be executed together. Their results may
    /// be committed or not, changed before that, and in any order. But until they have come, the state must be changed by
    /// [`commit_transaction`](BlockExecutor::commit_transaction) alone, and the block's environment not at all.
    pub fn announce(&mut self, transactions: impl IntoIterator<Item = impl ExecutableTx<Self>>) {
        self.announced.extend(transactions.into_iter().map(|transaction| {
            let (env, recovered) = transaction.into_parts();
            (recovered.tx().trie_hash(), env)
        }));
    }

    /// Whether this can be done in parallel with the same result.
    fn is_parallel(&self) -> bool {
        let (cfg, precompiles) = (self.inner.evm.cfg_env(), self.inner.evm.precompiles());
        let standard = Precompiles::new(PrecompileSpecId::from_spec_id(cfg.spec));
        let ids = |addresses: &PrecompilesMap| {
            let ids = addresses.addresses().zip(addresses.identifiers());
            ids.map(|(address, id)| (*address, id.clone())).collect::<AddressMap<_>>()
        };
        type_name::<I>() == type_name::<NoOpInspector>()
            && cfg.spec < SpecId::AMSTERDAM
            && !cfg.enable_amsterdam_eip8037
            && ids(precompiles) == ids(&PrecompilesMap::from_static(standard))
    }

    /// The check that `EthBlockExecutor` makes before it executes a transaction.
    fn check_gas(&self, limit: u64) -> Result<(), BlockExecutionError> {
        let evm = &self.inner.evm;
        let left = evm.block().gas_limit.saturating_sub(self.inner.cumulative_tx_gas_used);
        if limit.min(revm::context_interface::Cfg::tx_gas_limit_cap(evm.cfg_env())) > left {
            return Err(BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas {
                transaction_gas_limit: limit,
                block_available_gas: left,
            }
            .into());
        }
        Ok(())
    }

    /// All transactions of a block.
    fn execute_all(
        &mut self,
        transactions: impl IntoIterator<Item = impl ExecutableTx<Self>>,
    ) -> Result<(), BlockExecutionError> {
        let transactions = transactions.into_iter().map(ExecutableTxParts::into_parts);
        if !self.is_parallel() {
            for (env, recovered) in transactions {
                self.execute_transaction((env, recovered))?;
            }
            return Ok(());
        }
        let (envs, recovered): (Vec<TxEnv>, Vec<_>) = transactions.unzip();
        let mut ended = 0;
        let mut commit = |this: &mut Self, done: Ended| {
            let transaction = recovered[ended].tx();
            this.check_gas(transaction.gas_limit())?;
            let (result, state) = done.map_err(|cause| invalid::<DB>(cause, transaction.trie_hash()))?;
            this.commit_transaction(tx_result(transaction, result, state));
            ended += 1;
            Ok::<(), BlockExecutionError>(())
        };
        let failure = match self.source() {
            // Nobody reads the database meanwhile, so each transaction is committed to it as soon as it is final.
            Some(source) => {
                // Nothing is executed on it after these: what they change need not be kept for that.
                self.source = None;
                let runtime = Arc::clone(&self.runtime);
                let batch = self.batch(&runtime, envs.into(), crate::Mode::Verify);
                batch.stream_on(source, |done| commit(self, done))?
            }
            None => {
                let (done, failure) = self.execute_batch(envs.into(), crate::Mode::Verify);
                done.into_iter().try_for_each(|done| commit(self, done))?;
                failure
            }
        };
        let Some(failure) = failure else { return Ok(()) };
        // The one that failed may have no gas left in the block, which comes first.
        let hash = match recovered.get(ended) {
            Some(recovered) => {
                self.check_gas(recovered.tx().gas_limit())?;
                recovered.tx().trie_hash()
            }
            None => B256::ZERO,
        };
        Err(failure.into_error(hash))
    }

    /// The result that is ready for this transaction, if it was announced. If not, none is ready any more.
    fn take_ready(
        &mut self,
        transaction: &R::Transaction,
    ) -> Result<Option<(ExecutionResult, EvmState)>, BlockExecutionError> {
        if self.expected.take().is_some() {
            self.ready.clear();
        }
        let hash = transaction.trie_hash();
        if self.announced.front().is_none_or(|(next, _)| *next != hash)
            || (self.ready.is_empty() && !self.is_parallel())
        {
            self.announced.clear();
            self.ready.clear();
            return Ok(None);
        }
        if let Err(error) = self.check_gas(transaction.gas_limit()) {
            // Those after it were executed after it.
            self.announced.pop_front();
            self.ready.clear();
            return Err(error);
        }
        if self.ready.is_empty() {
            let envs = self.announced.iter().map(|(_, env)| env.clone()).collect();
            let (done, failure) = self.execute_batch(envs, crate::Mode::Build);
            self.ready.extend(done);
            if let Some(failure) = failure.filter(|_| self.ready.is_empty()) {
                self.announced.pop_front();
                return Err(failure.into_error(hash));
            }
        }
        self.announced.pop_front();
        match self.ready.pop_front() {
            Some(Ok(ready)) => Ok(Some(ready)),
            Some(Err(cause)) => Err(invalid::<DB>(cause, hash)),
            None => Ok(None),
        }
    }

    /// Executes a transaction, or has its result ready.
    fn next(
        &mut self,
        tx: impl ExecutableTx<Self>,
    ) -> Result<<Self as BlockExecutor>::Result, BlockExecutionError> {
        let (env, recovered) = tx.into_parts();
        match self.take_ready(recovered.tx())? {
            Some((result, state)) => Ok(tx_result(recovered.tx(), result, state)),
            None => self.inner.execute_transaction_without_commit((env, recovered)),
        }
    }

    fn keep(&mut self, output: <Self as BlockExecutor>::Result) -> GasOutput {
        if self.source.is_some() {
            self.changes.apply_evm_state(output.result.state.clone(), |_, _| ());
        }
        self.inner.commit_transaction(output)
    }

    fn execute_batch(
        &mut self,
        transactions: Arc<[TxEnv]>,
        mode: crate::Mode,
    ) -> (Done, Option<Failure<DB::Error>>) {
        let runtime = Arc::clone(&self.runtime);
        let batch = self.batch(&runtime, transactions, mode);
        match self.source() {
            Some(source) => batch.execute_on(source),
            None => batch.execute_through(self.inner.evm.db_mut()),
        }
    }

    /// The state by now, where the workers need not ask the database for it.
    fn source(&self) -> Option<Arc<dyn StateSource>> {
        self.source.clone().map(|source| with_changes(source, &self.changes))
    }

    fn batch<'r>(&self, runtime: &'r Runtime, transactions: Arc<[TxEnv]>, mode: crate::Mode) -> Batch<'r> {
        let evm = &self.inner.evm;
        let (env, cfg) = (evm.block().clone(), evm.cfg_env().clone());
        Batch { runtime, env, cfg, transactions, mode }
    }
}

fn invalid<DB: StateDB>(cause: InvalidTransaction, hash: B256) -> BlockExecutionError {
    BlockExecutionError::evm(EVMError::<DB::Error>::Transaction(cause), hash)
}

fn tx_result<T: Transaction + TransactionEnvelope>(
    transaction: &T,
    result: ExecutionResult,
    state: EvmState,
) -> EthTxResult<HaltReason, T::TxType> {
    EthTxResult {
        result: ResultAndState { result, state },
        blob_gas_used: transaction.blob_gas_used().unwrap_or_default(),
        tx_type: transaction.tx_type(),
    }
}

impl<DB, I, Spec, R> BlockExecutor for ParallelBlockExecutor<'_, DB, I, Spec, R>
where
    DB: StateDB,
    I: Inspector<EthEvmContext<DB>>,
    Spec: EthExecutorSpec,
    R: ReceiptBuilder<Transaction: Transaction + Encodable2718, Receipt: TxReceipt<Log = Log>>,
    TxEnv: FromRecoveredTx<R::Transaction> + FromTxWithEncoded<R::Transaction>,
    <R::Transaction as TransactionEnvelope>::TxType: Send + 'static,
{
    type Transaction = R::Transaction;
    type Receipt = R::Receipt;
    type Evm = EthEvm<DB, I, PrecompilesMap>;
    type Result = EthTxResult<HaltReason, <R::Transaction as TransactionEnvelope>::TxType>;

    fn apply_pre_execution_changes(&mut self) -> Result<(), BlockExecutionError> {
        self.ready.clear();
        if self.source.is_none() {
            return self.inner.apply_pre_execution_changes();
        }
        // The same, on an EVM whose database notes what is committed.
        let EthBlockExecutor { evm, system_caller, ctx, .. } = &mut self.inner;
        let env = EvmEnv { cfg_env: evm.cfg_env().clone(), block_env: evm.block().clone() };
        let recording = Recording { database: evm.db_mut(), changes: &mut self.changes };
        let mut evm = EthEvmFactory::default().create_evm(recording, env);
        system_caller.apply_blockhashes_contract_call(ctx.parent_hash, &mut evm)?;
        system_caller.apply_beacon_root_contract_call(ctx.parent_beacon_block_root, &mut evm)
    }

    fn execute_transaction_without_commit(
        &mut self,
        tx: impl ExecutableTx<Self>,
    ) -> Result<Self::Result, BlockExecutionError> {
        let output = self.next(tx)?;
        // The host may commit another one, or change this one: only what it changes tells.
        self.expected = (!self.ready.is_empty()).then(|| output.result.state.clone());
        Ok(output)
    }

    /// As the trait's own, but knows without comparing that what is committed is what was given out.
    fn execute_transaction_with_commit_condition(
        &mut self,
        tx: impl ExecutableTx<Self>,
        f: impl FnOnce(&Self::Result) -> CommitChanges,
    ) -> Result<Option<GasOutput>, BlockExecutionError> {
        let output = self.next(tx)?;
        let ready = mem::take(&mut self.ready);
        if !f(&output).should_commit() {
            return Ok(None);
        }
        self.ready = ready;
        Ok(Some(self.keep(output)))
    }

    fn commit_transaction(&mut self, output: Self::Result) -> GasOutput {
        if self.expected.take().is_none_or(|expected| expected != output.result.state) {
            self.ready.clear();
        }
        self.keep(output)
    }

    fn finish(self) -> Result<(Self::Evm, BlockExecutionResult<R::Receipt>), BlockExecutionError> {
        self.inner.finish()
    }

    fn evm_mut(&mut self) -> &mut Self::Evm {
        self.inner.evm_mut()
    }

    fn evm(&self) -> &Self::Evm {
        self.inner.evm()
    }

    fn receipts(&self) -> &[R::Receipt] {
        self.inner.receipts()
    }

    fn execute_block(
        mut self,
        transactions: impl IntoIterator<Item = impl ExecutableTx<Self>>,
    ) -> Result<BlockExecutionResult<R::Receipt>, BlockExecutionError> {
        self.apply_pre_execution_changes()?;
        self.execute_all(transactions)?;
        self.apply_post_execution_changes()
    }
}

impl<DB, I, Spec, R> fmt::Debug for ParallelBlockExecutor<'_, DB, I, Spec, R>
where
    DB: StateDB,
    R: ReceiptBuilder,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParallelBlockExecutor")
            .field("runtime", &self.runtime)
            .field("announced", &self.announced.len())
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}
