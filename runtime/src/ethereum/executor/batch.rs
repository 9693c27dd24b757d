//! Transactions that are executed together.

use std::{
    collections::HashMap,
    io,
    panic::resume_unwind,
    sync::{Arc, mpsc},
    thread,
};

use alloy_evm::block::{BlockExecutionError, StateDB};
use counterpoint_state::{Answer, Key, Request, SourceError, StateSource};
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::{
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction},
    },
    database::CacheState,
    database_interface::DBErrorMarker,
    primitives::B256,
    state::EvmState,
};

use super::database::Forwarding;
use crate::{
    Block, Control, ExecuteError, Finalized, HookError, Mode, Runtime, TransactionOutcome,
    sources::{ReadError, overlay::Overlay},
};

pub(super) struct Batch<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) env: BlockEnv,
    pub(super) cfg: CfgEnv,
    pub(super) transactions: Arc<[TxEnv]>,
    pub(super) mode: Mode,
}

/// Why a batch ended before its end, with the database's own error where it was that.
pub(super) struct Failure<E> {
    error: ExecuteError,
    database: Option<E>,
}

/// What became of a transaction.
pub(super) type Ended = Result<(ExecutionResult, EvmState), InvalidTransaction>;

/// What became final, in order.
pub(super) type Done = Vec<Ended>;

/// What the thread that reads hears of.
enum Event {
    Read(Vec<Request>),
    Over(Result<(), ExecuteError>),
}

impl From<Vec<Request>> for Event {
    fn from(requests: Vec<Request>) -> Self {
        Self::Read(requests)
    }
}

impl Batch<'_> {
    /// Executes on a source.
    pub(super) fn execute_on<E>(self, source: Arc<dyn StateSource>) -> (Done, Option<Failure<E>>) {
        let done = Arc::default();
        let over = self.execute(source, note_in(&done));
        let done = std::mem::take(&mut *done.lock());
        (done, over.err().map(|error| Failure { error, database: None }))
    }

    /// As [`execute_on`](Self::execute_on), and hands over each transaction when it is final, on this thread, while another
    /// one leads the execution of those after it. Ends early where `take` fails.
    pub(super) fn stream_on<E, X>(
        self,
        source: Arc<dyn StateSource>,
        mut take: impl FnMut(Ended) -> Result<(), X>,
    ) -> Result<Option<Failure<E>>, X> {
        let over = thread::scope(|scope| {
            let (sender, finals) = mpsc::channel();
            let leader =
                thread::Builder::new().name("counterpoint-block".to_owned()).spawn_scoped(scope, move || {
                    // Where nobody listens any more, the block has come to its end.
                    self.execute(source, move |ended| Ok(sender.send(ended)?))
                });
            let leader = match leader {
                Ok(leader) => leader,
                Err(error) => return Ok(Err(no_thread(error))),
            };
            for ended in finals {
                take(ended)?;
            }
            Ok(leader.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        Ok(over.err().map(|error| Failure { error, database: None }))
    }

    /// Executes on the host's database, which this thread reads meanwhile.
    pub(super) fn execute_through<DB: StateDB>(
        self,
        database: &mut DB,
    ) -> (Done, Option<Failure<DB::Error>>) {
        let done = Arc::default();
        let mut errors = HashMap::new();
        let over = thread::scope(|scope| {
            let (sender, events) = mpsc::channel();
            let source = Arc::new(Forwarding(Mutex::new(sender.clone())));
            let take = note_in(&done);
            let spawned =
                thread::Builder::new().name("counterpoint-block".to_owned()).spawn_scoped(scope, move || {
                    let over = self.execute(source, take);
                    // Where this thread is gone, it panicked, and the panic goes its way.
                    let _ = sender.send(Event::Over(over));
                });
            if let Err(error) = spawned {
                return Err(no_thread(error));
            }
            for event in events {
                match event {
                    Event::Read(requests) => {
                        for request in requests {
                            serve(database, request, &mut errors);
                        }
                    }
                    Event::Over(over) => return over,
                }
            }
            Err(ExecuteError::Internal("the block's thread ended without a word".to_owned()))
        });
        let done = std::mem::take(&mut *done.lock());
        let failure = over.err().map(|error| {
            let database = match &error {
                ExecuteError::Source { cause, .. } => {
                    cause.downcast_ref::<ReadError>().and_then(|cause| errors.remove(&cause.key()))
                }
                _ => None,
            };
            Failure { error, database }
        });
        (done, failure)
    }

    /// Executes, and hands over what becomes final even if not all does.
    fn execute(
        self,
        source: Arc<dyn StateSource>,
        mut take: impl FnMut(Ended) -> Result<(), HookError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let Self { runtime, env, cfg, transactions, mode } = self;
        let control = Control::new().hook(move |last: Finalized<'_>| {
            take(match last.outcome {
                TransactionOutcome::Executed(result) => Ok((result.clone(), last.state.clone())),
                TransactionOutcome::Skipped(cause) => Err(cause.clone()),
            })
        });
        runtime.execute_keeping(&Block { env, cfg, transactions, source, mode }, false, control).map(|_| ())
    }
}

/// A source with changes over it.
pub(super) fn with_changes(source: Arc<dyn StateSource>, changes: &CacheState) -> Arc<dyn StateSource> {
    match changes.accounts.is_empty() {
        true => source,
        false => Arc::new(Overlay::new(source, changes)),
    }
}

fn note_in(done: &Arc<Mutex<Done>>) -> impl FnMut(Ended) -> Result<(), HookError> + Send + 'static {
    let done = Arc::clone(done);
    move |ended| {
        done.lock().push(ended);
        Ok(())
    }
}

fn no_thread(error: io::Error) -> ExecuteError {
    ExecuteError::Internal(format!("cannot start the block's thread: {error}"))
}

/// Reads what is asked for, and keeps the database's error.
fn serve<DB: StateDB>(database: &mut DB, request: Request, errors: &mut HashMap<Key, DB::Error>) {
    let key = request.key();
    let answer = match key {
        Key::Account(address) => database.basic(address).map(|info| {
            Answer::Account(info.map(|mut info| {
                info.account_id = None;
                info
            }))
        }),
        // A `State` wants to have loaded the account before its slots.
        Key::Storage(address, slot) => {
            database.basic(address).and_then(|_| database.storage(address, slot)).map(Answer::Storage)
        }
        Key::Code(hash) => database.code_by_hash(hash).map(Answer::Code),
        Key::BlockHash(number) => database.block_hash(number).map(Answer::BlockHash),
    };
    request.answer(answer.map_err(|error| {
        let cause = error.to_string().into();
        errors.insert(key, error);
        SourceError::new(ReadError::Failed { key, cause })
    }));
}

impl<E: DBErrorMarker> Failure<E> {
    /// As `EthBlockExecutor` would say it of the transaction with this hash.
    pub(super) fn into_error(self, hash: B256) -> BlockExecutionError {
        let error = match (self.error, self.database) {
            (_, Some(error)) => EVMError::Database(error),
            (ExecuteError::InvalidTransaction { cause, .. }, None) => EVMError::Transaction(cause),
            (ExecuteError::InvalidHeader(cause), None) => EVMError::Header(cause),
            (ExecuteError::Execution { message, .. }, None) => EVMError::Custom(message),
            (error, None) => return BlockExecutionError::other(error),
        };
        BlockExecutionError::evm(error, hash)
    }
}
