//! What a service is given to do, and what comes out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use counterpoint_state::StateSource;
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    database::BundleState,
};

use super::ServiceError;
#[cfg(feature = "ethereum")]
use crate::ethereum::{self, ExecutedBlock, Ommer, Rules, WholeBlock};
use crate::{Block, Mode, Outcome, Runtime, observe, sources::Head};

/// A block for a service, without the state, which the service has.
#[derive(Clone)]
pub struct Job {
    /// The block's number, and the hash under which it is committed.
    pub block: Head,
    work: Work,
    check: Option<Check>,
    /// Since it was handed to a service.
    waiting: Option<Arc<Waiting>>,
}

/// A job's time in a service's mailbox, counted among those that wait until it is dropped.
struct Waiting {
    since: Instant,
    jobs: Arc<AtomicUsize>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Relaxed: a count.
        let before = self.jobs.fetch_sub(1, Ordering::Relaxed);
        observe::queued(before - 1);
    }
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
    /// The hash of the block before.
    pub parent_hash: revm::primitives::B256,
    /// The root of the beacon block before, from Cancun on.
    pub parent_beacon_block_root: Option<revm::primitives::B256>,
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
            waiting: None,
        }
    }

    /// A whole block.
    #[cfg(feature = "ethereum")]
    pub fn whole(block: Head, whole: WholeJob) -> Self {
        Self { block, work: Work::Whole(Box::new(whole)), check: None, waiting: None }
    }

    /// Has what comes out checked before it is committed, with the header say: an error is
    /// [`ServiceError::Rejected`], and nothing is committed.
    pub fn check(mut self, check: impl Fn(&Output) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
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

    /// It is handed to a service, for which so many wait.
    pub(super) fn wait(mut self, jobs: &Arc<AtomicUsize>) -> Self {
        // Relaxed: a count.
        let before = jobs.fetch_add(1, Ordering::Relaxed);
        observe::queued(before + 1);
        self.waiting = Some(Arc::new(Waiting { since: Instant::now(), jobs: Arc::clone(jobs) }));
        self
    }

    /// The service comes to it. Since when it has waited; a job that was sent to the actor's own address, from now.
    pub(super) fn arrive(&mut self) -> Instant {
        self.waiting.take().map_or_else(Instant::now, |waiting| waiting.since)
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
    ) -> Result<Output, ServiceError> {
        let output = self.work.execute(runtime, source)?;
        match self.check.map(|check| check(&output)) {
            Some(Err(difference)) => Err(ServiceError::Rejected(difference)),
            _ => Ok(output),
        }
    }
}

impl Work {
    fn execute(self, runtime: &Runtime, source: Arc<dyn StateSource>) -> Result<Output, ServiceError> {
        match self {
            Self::Transactions(work) => {
                let Transactions { env, cfg, transactions, mode } = *work;
                let block = Block { env, cfg, transactions, source, mode };
                Ok(Output::Transactions(Box::new(runtime.execute(&block)?)))
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
                let executed = ethereum::execute(runtime, rules, &block, None);
                let executed = executed.map_err(|error| ServiceError::Block(Arc::new(error)))?;
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
