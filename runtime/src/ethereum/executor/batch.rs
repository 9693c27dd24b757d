//! Transactions that are executed together.

use std::{
    collections::HashMap,
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

/// What became final, in order.
pub(super) type Done = Vec<Result<(ExecutionResult, EvmState), InvalidTransaction>>;

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
    /// Executes on a source, with changes over it.
    pub(super) fn execute_on<E>(
        self,
        source: Arc<dyn StateSource>,
        changes: &CacheState,
    ) -> (Done, Option<Failure<E>>) {
        let source = match changes.accounts.is_empty() {
            true => source,
            false => Arc::new(Overlay::new(source, changes)),
        };
        let done = Arc::default();
        let over = self.execute(source, &done);
        let done = std::mem::take(&mut *done.lock());
        (done, over.err().map(|error| Failure { error, database: None }))
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
            let notes = Arc::clone(&done);
            let spawned =
                thread::Builder::new().name("counterpoint-block".to_owned()).spawn_scoped(scope, move || {
                    let over = self.execute(source, &notes);
                    // Where this thread is gone, it panicked, and the panic goes its way.
                    let _ = sender.send(Event::Over(over));
                });
            if let Err(error) = spawned {
                return Err(ExecuteError::Internal(format!("cannot start the block's thread: {error}")));
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

    /// Executes, and notes what became final even if not all did.
    fn execute(self, source: Arc<dyn StateSource>, done: &Arc<Mutex<Done>>) -> Result<(), ExecuteError> {
        let Self { runtime, env, cfg, transactions, mode } = self;
        let notes = Arc::clone(done);
        let control = Control::new().hook(move |last: Finalized<'_>| -> Result<(), HookError> {
            notes.lock().push(match last.outcome {
                TransactionOutcome::Executed(result) => Ok((result.clone(), last.state.clone())),
                TransactionOutcome::Skipped(cause) => Err(cause.clone()),
            });
            Ok(())
        });
        runtime.execute_keeping(&Block { env, cfg, transactions, source, mode }, false, control).map(|_| ())
    }
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
