//! What a service is given to do, and what comes out.

use std::{fmt, sync::Arc, time::Instant};

use counterpoint_state::StateSource;
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    database::BundleState,
    primitives::{B256, U256},
};

use super::{ServiceError, places::Place};
use crate::{Block, CancelToken, Control, Mode, Outcome, Runtime, sources::Head};
#[cfg(feature = "ethereum")]
use crate::{
    ExecuteError,
    ethereum::{self, BlockError, Engine, ExecutedBlock, Executions, Ommer, Rules, WholeBlock},
};

/// A block for a service, without the state, which the service has.
#[derive(Clone)]
pub struct Job {
    /// The block's number, and the hash under which it is committed.
    pub block: Head,
    work: Work,
    check: Option<Check>,
    deadline: Option<Instant>,
    /// Where it waits, from when it was handed to a service.
    place: Option<Arc<Place>>,
}

/// Says what is wrong with what came out, if anything is.
type Check = Arc<dyn Fn(&Output) -> Result<(), String> + Send + Sync>;

#[derive(Clone, Debug)]
enum Work {
    Transactions(Box<Transactions>),
    #[cfg(feature = "ethereum")]
    Whole(Box<WholeJob>),
}

#[derive(Clone, Debug)]
struct Transactions {
    env: BlockEnv,
    cfg: CfgEnv,
    transactions: Arc<[TxEnv]>,
    mode: Mode,
}

/// A whole block: see [`WholeBlock`](crate::ethereum::WholeBlock).
#[cfg(feature = "ethereum")]
#[derive(Clone, Debug)]
pub struct WholeJob {
    /// The rules.
    pub rules: Rules,
    /// Number, beneficiary, timestamp, gas limit, base fee and so on.
    pub env: BlockEnv,
    /// The hash of the block before. Zero if it is not known: then it is not compared with the last block's.
    pub parent_hash: B256,
    /// The root of the beacon block before, from Cancun on.
    pub parent_beacon_block_root: Option<B256>,
    /// The ommers, whose miners are rewarded.
    pub ommers: Vec<Ommer>,
    /// What validators withdraw, from Shanghai on.
    pub withdrawals: Option<Vec<alloy_eips::eip4895::Withdrawal>>,
    /// What the miner gets, if there is one.
    pub reward: Option<u128>,
    /// The transactions in their order, with their senders.
    pub transactions: Arc<[TxEnv]>,
    /// What becomes of the block if a transaction is invalid.
    pub mode: Mode,
}

/// What executing a block gave.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Of its transactions.
    Transactions(Box<Outcome>),
    /// Of a whole block.
    #[cfg(feature = "ethereum")]
    Whole(Box<ExecutedBlock>),
}

impl Output {
    /// What the block changes.
    pub fn bundle(&self) -> &BundleState {
        match self {
            Self::Transactions(outcome) => &outcome.bundle,
            #[cfg(feature = "ethereum")]
            Self::Whole(block) => &block.bundle,
        }
    }

    /// Gas that it uses.
    pub fn gas_used(&self) -> u64 {
        match self {
            Self::Transactions(outcome) => outcome.gas_used,
            #[cfg(feature = "ethereum")]
            Self::Whole(block) => block.gas_used,
        }
    }
}

impl Job {
    /// A block's transactions, and nothing around them.
    pub fn transactions(
        block: Head,
        env: BlockEnv,
        cfg: CfgEnv,
        transactions: Arc<[TxEnv]>,
        mode: Mode,
    ) -> Self {
        Self {
            block,
            work: Work::Transactions(Box::new(Transactions { env, cfg, transactions, mode })),
            check: None,
            deadline: None,
            place: None,
        }
    }

    /// A whole block.
    #[cfg(feature = "ethereum")]
    pub fn whole(block: Head, whole: WholeJob) -> Self {
        Self { block, work: Work::Whole(Box::new(whole)), check: None, deadline: None, place: None }
    }

    /// Has what comes out checked before it is committed, with the header say: an error is
    /// [`ServiceError::Rejected`], and nothing is committed.
    pub fn check(mut self, check: impl Fn(&Output) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Gives it up with [`ExecuteError::DeadlineExceeded`](crate::ExecuteError::DeadlineExceeded) if its transactions
    /// are not executed then, as [`Control::deadline`] does. What is around the transactions of a whole block reads from the
    /// source on the service's thread, and is not ended.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The hash of the block before, where it does not say.
    #[cfg(feature = "cli")]
    pub(crate) fn set_parent_hash(&mut self, hash: revm::primitives::B256) {
        if let Work::Whole(whole) = &mut self.work
            && whole.parent_hash.is_zero()
        {
            whole.parent_hash = hash;
        }
    }

    /// It is handed to a service.
    pub(super) fn wait(mut self, place: Place) -> Self {
        self.place = Some(Arc::new(place));
        self
    }

    /// The service comes to it. Since when it has waited; a job that was sent to the actor's own address, from now.
    pub(super) fn arrive(&mut self) -> Instant {
        self.place.take().map_or_else(Instant::now, |place| place.since)
    }

    /// Whether it is the block after this one, as far as hashes are known.
    pub(super) fn follows(&self, head: Head) -> Result<(), ServiceError> {
        let number = self.block.number;
        if head.number.checked_add(1) != Some(number) {
            return Err(ServiceError::NotNext { head, number });
        }
        let (environment, parent) = match &self.work {
            Work::Transactions(work) => (work.env.number, B256::ZERO),
            #[cfg(feature = "ethereum")]
            Work::Whole(whole) => (whole.env.number, whole.parent_hash),
        };
        if environment != U256::from(number) {
            return Err(ServiceError::OtherNumber { number, environment });
        }
        if !parent.is_zero() && !head.hash.is_zero() && parent != head.hash {
            return Err(ServiceError::OtherParent { head, parent });
        }
        Ok(())
    }

    /// How many transactions it has.
    pub fn len(&self) -> usize {
        match &self.work {
            Work::Transactions(work) => work.transactions.len(),
            #[cfg(feature = "ethereum")]
            Work::Whole(whole) => whole.transactions.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Executes it.
    pub(super) fn execute(
        self,
        runtime: &Runtime,
        source: Arc<dyn StateSource>,
        cancel: &CancelToken,
    ) -> Result<Output, ServiceError> {
        let control = || {
            let control = Control::new().cancel(cancel);
            self.deadline.into_iter().fold(control, Control::deadline)
        };
        control().check()?;
        let output = self.work.execute(&Controlled { runtime, control: &control }, source)?;
        match self.check.map(|check| check(&output)) {
            Some(Err(difference)) => Err(ServiceError::Rejected(difference)),
            _ => Ok(output),
        }
    }
}

/// A runtime whose blocks can be stopped.
struct Controlled<'a> {
    runtime: &'a Runtime,
    control: &'a dyn Fn() -> Control,
}

#[cfg(feature = "ethereum")]
impl Engine for Controlled<'_> {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        let outcome = self.runtime.execute_keeping(block, true, (self.control)())?;
        Ok(Executions { transactions: outcome.transactions, states: outcome.states })
    }
}

impl Work {
    fn execute(self, engine: &Controlled<'_>, source: Arc<dyn StateSource>) -> Result<Output, ServiceError> {
        match self {
            Self::Transactions(work) => {
                let Transactions { env, cfg, transactions, mode } = *work;
                let block = Block { env, cfg, transactions, source, mode };
                let outcome = engine.runtime.execute_with(&block, (engine.control)())?;
                Ok(Output::Transactions(Box::new(outcome)))
            }
            #[cfg(feature = "ethereum")]
            Self::Whole(whole) => {
                let WholeJob { rules, env, parent_hash, parent_beacon_block_root, .. } = &*whole;
                let block = WholeBlock {
                    env: env.clone(),
                    parent_hash: *parent_hash,
                    parent_beacon_block_root: *parent_beacon_block_root,
                    ommers: &whole.ommers,
                    withdrawals: whole.withdrawals.as_deref(),
                    reward: whole.reward,
                    transactions: Arc::clone(&whole.transactions),
                    source,
                    mode: whole.mode,
                };
                let executed = ethereum::execute(engine, rules, &block, None);
                let executed = executed.map_err(|error| match error {
                    BlockError::Execute(error) => ServiceError::Execute(error),
                    error => ServiceError::Block(Arc::new(error)),
                })?;
                Ok(Output::Whole(Box::new(executed)))
            }
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("block", &self.block)
            .field("transactions", &self.len())
            .finish_non_exhaustive()
    }
}
