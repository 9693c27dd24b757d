//! Building a block: candidates go in until the block is full, its time is over or there are no more.

use std::{
    fmt, mem,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use counterpoint_state::{Changeset, StateSource};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::{
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{ExecutionResult, InvalidTransaction},
    },
    database::{BundleState, CacheState},
    state::EvmState,
};

use crate::{
    Block, CancelToken, Control, ExecuteError, Finalized, HookError, HookFailure, Mode, Runtime,
    TransactionOutcome,
    allowance::{Allowance, Misfit},
    sources::overlay::Overlay,
};

/// How long a wait for candidates goes on without a look at the cancel token.
const GLANCE: Duration = Duration::from_millis(5);

/// A block to be built. Its gas limit is the environment's.
#[derive(Clone)]
#[non_exhaustive]
pub struct Draft {
    /// Number, beneficiary, timestamp, gas limit, base fee and so on.
    pub env: BlockEnv,
    /// The rules.
    pub cfg: CfgEnv,
    /// The state before the first transaction.
    pub source: Arc<dyn StateSource>,
    /// The limit of the blobs' gas, if there is one.
    pub blob_gas_limit: Option<u64>,
    /// When the block has to be finished. What is not final then is left out.
    pub deadline: Option<Instant>,
    /// Ends the building as the deadline does, when it is cancelled.
    pub cancel: Option<CancelToken>,
    /// How many candidates are executed at a time, at most.
    pub batch: usize,
}

impl Draft {
    /// A draft without deadline, in batches of 512.
    pub fn new(env: BlockEnv, cfg: CfgEnv, source: Arc<dyn StateSource>) -> Self {
        Self { env, cfg, source, blob_gas_limit: None, deadline: None, cancel: None, batch: 512 }
    }
}

/// Where candidates come from, in the order in which they are tried.
pub trait Candidates {
    /// The next one. Where it is not there yet, it may be waited for until `until`, and not longer.
    fn next(&mut self, until: Instant) -> Next;
}

/// What [`Candidates`] have.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
#[derive(Clone, Debug)]
pub enum Next {
    /// A candidate.
    Transaction(TxEnv),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    End,
}

/// Candidates from an iterator, which is not waited for.
#[derive(Clone, Debug)]
pub struct FromIter<I>(pub I);

impl<I: Iterator<Item = TxEnv>> Candidates for FromIter<I> {
    fn next(&mut self, _: Instant) -> Next {
        self.0.next().map_or(Next::End, Next::Transaction)
    }
}

/// They end when the last sender is dropped.
impl Candidates for Receiver<TxEnv> {
    fn next(&mut self, until: Instant) -> Next {
        match self.try_recv() {
            Ok(transaction) => return Next::Transaction(transaction),
            Err(TryRecvError::Disconnected) => return Next::End,
            Err(TryRecvError::Empty) => {}
        }
        match self.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(transaction) => Next::Transaction(transaction),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

/// A block that was built.
#[derive(Debug)]
#[non_exhaustive]
pub struct Built {
    /// Its transactions, in order.
    pub included: Vec<Included>,
    /// The candidates that are not part of it, with the reasons. Candidates that were never taken are not among them.
    pub left_out: Vec<(usize, LeftOut)>,
    /// Why no more candidates were tried.
    pub ended: Ended,
    /// Gas that the block uses.
    pub gas_used: u64,
    /// Gas that its blobs use.
    pub blob_gas_used: u64,
    /// The block's net state changes with their reverts.
    pub bundle: BundleState,
}

/// A transaction of a block that was built.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Included {
    /// Its number among the candidates, from 0.
    pub candidate: usize,
    /// The transaction.
    pub transaction: TxEnv,
    /// Its result.
    pub result: ExecutionResult,
}

/// Why a candidate is not part of the block.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// It is invalid where it would be.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// It may use more gas than the block had left.
    #[error("gas limit {limit} is over the {left} that the block has left")]
    GasLimit {
        /// The transaction's limit.
        limit: u64,
        /// What was left.
        left: u64,
    },
    /// Its blobs use more gas than the block had left for them.
    #[error("blob gas {needed} is over the {left} that the block has left")]
    BlobGasLimit {
        /// The transaction's.
        needed: u64,
        /// What was left.
        left: u64,
    },
    /// It was taken, but not final when the time was over.
    #[error("the block's time was over")]
    Late,
}

impl From<Misfit> for LeftOut {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Gas { limit, left } => Self::GasLimit { limit, left },
            Misfit::Blobs { needed, left } => Self::BlobGasLimit { needed, left },
        }
    }
}

/// Why no more candidates were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// There were no more.
    NoMore,
    /// No transaction of any kind fits into the gas that is left.
    Full,
    /// The deadline was there.
    Deadline,
    /// The token was cancelled.
    Cancelled,
}

/// What became final of a batch, as the hook notes it.
struct Finals {
    allowance: Allowance,
    done: Vec<(TransactionOutcome, EvmState)>,
}

/// The hook's word for a candidate that does not fit.
#[derive(Debug, thiserror::Error)]
#[error("does not fit")]
struct Stopped(Misfit);

impl Runtime {
    /// Builds a block from candidates: each is part of it that is valid, and fits into the gas that those before it have
    /// left, as if they were tried one at a time in their order.
    ///
    /// Candidates are executed in batches. One that does not fit ends its batch; those after it are executed again in the
    /// next, on what those before it left. At the deadline the block has what is final by then.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), except for invalid transactions; a transaction's place is its number among the
    /// candidates. A deadline or a cancelled token is no error.
    pub fn build_block(
        &self,
        draft: &Draft,
        candidates: &mut impl Candidates,
    ) -> Result<Built, ExecuteError> {
        let mut building = Building {
            draft,
            next: 0,
            batch: Vec::new(),
            allowance: Allowance::new(&draft.cfg, &draft.env, draft.blob_gas_limit),
            changes: Changeset::new(),
            cache: CacheState::default(),
            included: Vec::new(),
            left_out: Vec::new(),
        };
        let ended = loop {
            let no_more = building.fill(candidates);
            if building.batch.is_empty() {
                match building.is_over() {
                    Some(over) => break over,
                    None if no_more => break Ended::NoMore,
                    None => continue,
                }
            }
            if let Some(over) = building.execute(self)? {
                break over;
            }
        };
        let late = mem::take(&mut building.batch);
        building.left_out.extend(late.into_iter().map(|(candidate, _)| (candidate, LeftOut::Late)));
        building.left_out.sort_by_key(|(candidate, _)| *candidate);
        Ok(Built {
            included: building.included,
            left_out: building.left_out,
            ended,
            gas_used: building.allowance.gas_used(),
            blob_gas_used: building.allowance.blob_gas,
            bundle: building.changes.finish(),
        })
    }
}

/// A block as far as it is built.
struct Building<'a> {
    draft: &'a Draft,
    /// The next candidate's number.
    next: usize,
    /// Candidates that were taken.
    batch: Vec<(usize, TxEnv)>,
    allowance: Allowance,
    changes: Changeset,
    /// The accounts as the block so far left them.
    cache: CacheState,
    included: Vec<Included>,
    left_out: Vec<(usize, LeftOut)>,
}

impl Building<'_> {
    fn is_over(&self) -> Option<Ended> {
        if self.draft.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Some(Ended::Cancelled);
        }
        if self.draft.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Some(Ended::Deadline);
        }
        self.allowance.is_full().then_some(Ended::Full)
    }

    /// Takes candidates as long as there are any, and waits for one if there are none. Says whether there are no more.
    fn fill(&mut self, candidates: &mut impl Candidates) -> bool {
        let fits = |(candidate, transaction): (usize, TxEnv), left_out: &mut Vec<_>| match self
            .allowance
            .refuses(&transaction)
        {
            Some(misfit) => {
                left_out.push((candidate, misfit.into()));
                None
            }
            None => Some((candidate, transaction)),
        };
        let again = mem::take(&mut self.batch);
        self.batch.extend(again.into_iter().filter_map(|taken| fits(taken, &mut self.left_out)));
        while self.batch.len() < self.draft.batch.max(1) && self.is_over().is_none() {
            let now = Instant::now();
            let patience = if self.batch.is_empty() { GLANCE } else { Duration::ZERO };
            let until = self.draft.deadline.map_or(now + patience, |deadline| deadline.min(now + patience));
            match candidates.next(until) {
                Next::Transaction(transaction) => {
                    let taken = (self.next, transaction);
                    self.next += 1;
                    self.batch.extend(fits(taken, &mut self.left_out));
                }
                Next::Nothing if self.batch.is_empty() => {}
                Next::Nothing => break,
                Next::End => return true,
            }
        }
        false
    }

    /// Executes the batch, and keeps of it what has to be tried again. Says whether the block's time is over.
    fn execute(&mut self, runtime: &Runtime) -> Result<Option<Ended>, ExecuteError> {
        let transactions: Arc<[TxEnv]> =
            self.batch.iter().map(|(_, transaction)| transaction.clone()).collect();
        let source: Arc<dyn StateSource> = if self.cache.accounts.is_empty() {
            Arc::clone(&self.draft.source)
        } else {
            Arc::new(Overlay::new(Arc::clone(&self.draft.source), &self.cache))
        };
        let finals = Arc::new(Mutex::new(Finals { allowance: self.allowance.clone(), done: Vec::new() }));
        let control =
            Control { hook: None, cancel: self.draft.cancel.clone(), deadline: self.draft.deadline };
        let control = control.hook({
            let (finals, transactions) = (Arc::clone(&finals), Arc::clone(&transactions));
            move |last: Finalized<'_>| finals.lock().take(&transactions[last.index], last)
        });
        let block = Block {
            env: self.draft.env.clone(),
            cfg: self.draft.cfg.clone(),
            transactions,
            source,
            mode: Mode::Build,
        };
        // No copies of the states: the hook has them.
        let executed = runtime.execute_keeping(&block, false, control);
        let number = |place| self.batch.get(place).map(|(candidate, _)| *candidate);
        let executed = executed.map_err(|error| error.among(number));
        let done = {
            let mut finals = finals.lock();
            self.allowance = finals.allowance.clone();
            mem::take(&mut finals.done)
        };
        let mut rest = self.batch.split_off(done.len());
        for ((candidate, transaction), (outcome, state)) in mem::take(&mut self.batch).into_iter().zip(done) {
            match outcome {
                TransactionOutcome::Executed(result) => {
                    self.changes.apply(state.clone());
                    self.cache.apply_evm_state(state, |_, _| ());
                    self.included.push(Included { candidate, transaction, result });
                }
                TransactionOutcome::Skipped(cause) => self.left_out.push((candidate, cause.into())),
            }
        }
        let over = match executed {
            Ok(_) => None,
            Err(ExecuteError::DeadlineExceeded) => Some(Ended::Deadline),
            Err(ExecuteError::Cancelled) => Some(Ended::Cancelled),
            Err(ExecuteError::Hook { index, cause }) => {
                let HookFailure::Refused(refusal) = &cause else {
                    return Err(ExecuteError::Hook { index, cause });
                };
                let Some(Stopped(misfit)) = refusal.downcast_ref() else {
                    return Err(ExecuteError::Hook { index, cause });
                };
                if !rest.is_empty() {
                    let (candidate, _) = rest.remove(0);
                    self.left_out.push((candidate, (*misfit).into()));
                }
                None
            }
            Err(error) => return Err(error),
        };
        self.batch = rest;
        Ok(over)
    }
}

impl Finals {
    fn take(&mut self, transaction: &TxEnv, last: Finalized<'_>) -> Result<(), HookError> {
        if let TransactionOutcome::Executed(result) = last.outcome {
            if let Some(misfit) = self.allowance.refuses(transaction) {
                return Err(Box::new(Stopped(misfit)));
            }
            self.allowance.take(transaction, result);
        }
        self.done.push((last.outcome.clone(), last.state.clone()));
        Ok(())
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("env", &self.env)
            .field("spec", &self.cfg.spec)
            .field("deadline", &self.deadline)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
