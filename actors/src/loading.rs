//! Values before the block: which cell they belong to, how a source is asked for them, and the answers that come
//! later.

use std::{
    mem::{self, MaybeUninit},
    sync::Arc,
};

use counterpoint_state::{
    Answer, Base, Failure, Key, Known, Request, SlotCell, SourceError, StateSource, Waiters,
    WrongAnswerError,
    sync::{AtomicBool, Mutex, Ordering},
};
use revm::{
    bytecode::Bytecode,
    context::either::Either,
    primitives::{Address, B256, TxKind, U256},
};

use crate::{
    block::BlockState,
    directory::Actor,
    fiber::contain,
    worker::{Signals, WorkerContext},
};

/// Where a value before the block belongs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Account(&'static Actor<'static>),
    Slot { account: Address, slot: U256, cell: &'static SlotCell<'static> },
    Code(B256, &'static Base<'static, Bytecode>),
    BlockHash(u64, &'static Base<'static, U256>),
}

impl Place {
    fn key(self) -> Key {
        match self {
            Self::Account(actor) => Key::Account(actor.address),
            Self::Slot { account, slot, .. } => Key::Storage(account, slot),
            Self::Code(hash, _) => Key::Code(hash),
            Self::BlockHash(number, _) => Key::BlockHash(number),
        }
    }

    pub(crate) fn known(self) -> Known<'static> {
        match self {
            Self::Account(actor) => actor.cells.source().known(),
            Self::Slot { cell, .. } => cell.source().known(),
            Self::Code(_, code) => code.known(),
            Self::BlockHash(_, hash) => hash.known(),
        }
    }

    /// Claims the right to ask.
    fn claim(self) -> bool {
        match self {
            Self::Account(actor) => actor.cells.source().ask(),
            Self::Slot { cell, .. } => cell.source().ask(),
            Self::Code(_, code) => code.ask(),
            Self::BlockHash(_, hash) => hash.ask(),
        }
    }

    /// Asks a source that answers at once.
    pub(crate) fn ask(self, source: &dyn StateSource) -> Result<Answer, SourceError> {
        Ok(match self {
            Self::Account(actor) => Answer::Account(source.account(actor.address)?),
            Self::Slot { account, slot, .. } => Answer::Storage(source.storage(account, slot)?),
            Self::Code(hash, _) => Answer::Code(source.code(hash)?),
            Self::BlockHash(number, _) => Answer::BlockHash(source.block_hash(number)?),
        })
    }

    /// Notes an answer, and takes those who waited for it.
    pub(crate) fn note(
        self,
        answer: Result<Answer, SourceError>,
        worker: &WorkerContext,
    ) -> Waiters<'static> {
        let arena = worker.arena;
        match (self, answer) {
            (Self::Account(actor), Ok(Answer::Account(info))) => actor.cells.set_base(info, arena),
            (Self::Slot { cell, .. }, Ok(Answer::Storage(value))) => cell.set_base(value, arena),
            (Self::Code(_, base), Ok(Answer::Code(code))) => base.set(arena.alloc_owned(code)),
            (Self::BlockHash(_, base), Ok(Answer::BlockHash(hash))) => base.set(arena.alloc(hash.into())),
            (_, answer) => {
                let error = answer.err().unwrap_or_else(|| SourceError::new(WrongAnswerError(self.key())));
                let failure: &'static Failure = arena.alloc_owned(Failure(error));
                match self {
                    Self::Account(actor) => actor.cells.source().fail(failure),
                    Self::Slot { cell, .. } => cell.source().fail(failure),
                    Self::Code(_, code) => code.fail(failure),
                    Self::BlockHash(_, hash) => hash.fail(failure),
                }
            }
        }
    }
}

/// A place on its way through a source. It may come back when its block is gone, so it counts as uninitialised until a
/// worker of the block takes it out of the block's inbox.
struct Later(MaybeUninit<Place>);

/// Answers that no worker has noted yet.
pub(crate) struct Inbox {
    answers: Mutex<Vec<(Later, Result<Answer, SourceError>)>>,
    /// Whether there are any: spares the lock.
    any: AtomicBool,
    /// Wakes a worker.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { answers: Mutex::default(), any: AtomicBool::new(false), wake: Box::new(wake) }
    }

    fn put(&self, place: Later, answer: Result<Answer, SourceError>) {
        let first = {
            let mut answers = self.answers.lock();
            answers.push((place, answer));
            // Relaxed: the lock orders the answers. For a worker about to sleep, the event count's fences order it:
            // `wake` comes after.
            self.any.store(true, Ordering::Relaxed);
            answers.len() == 1
        };
        // Nobody has taken any since the first came, so the call that it made still holds.
        if first {
            (self.wake)();
        }
    }

    fn has_any(&self) -> bool {
        // Relaxed: as in `put`.
        self.any.load(Ordering::Relaxed)
    }

    fn take(&self) -> Vec<(Later, Result<Answer, SourceError>)> {
        let mut answers = self.answers.lock();
        // Relaxed: under the lock, as in `put`.
        self.any.store(false, Ordering::Relaxed);
        mem::take(&mut answers)
    }
}

impl BlockState {
    /// Whether the source answers later.
    pub fn is_deferred(&self) -> bool {
        self.inbox.is_some()
    }

    /// Whether answers of the source wait to be noted.
    pub fn has_answers(&self) -> bool {
        self.inbox.as_ref().is_some_and(|inbox| inbox.has_any())
    }

    /// Writes a request, if nobody has asked yet; to be sent with the worker's others.
    pub(crate) fn ask_for(&self, place: Place, worker: &WorkerContext) {
        let Some(inbox) = &self.inbox else { return };
        if !place.claim() {
            return;
        }
        worker.counters.requests.increment();
        let (inbox, later) = (Arc::clone(inbox), Later(MaybeUninit::new(place)));
        let request = Request::new(place.key(), move |answer| {
            // All of it moves in, not only what is inside.
            let later = later;
            inbox.put(later, answer);
        });
        worker.requests.borrow_mut().push(request);
    }

    /// Asks ahead for what a transaction names: sender, recipient, access list, authorities.
    pub fn ask_ahead(&self, index: u32, worker: &WorkerContext) {
        let account = |address: Address| {
            let actor = self.actor(address, worker);
            self.ask_for(Place::Account(actor), worker);
            actor
        };
        if index == *self.indices().start() {
            account(self.env.beneficiary);
        }
        let tx = self.transaction(index);
        account(tx.caller);
        if let TxKind::Call(to) = tx.kind {
            account(to);
        }
        for item in tx.access_list.iter() {
            let actor = account(item.address);
            for key in &item.storage_keys {
                let slot = U256::from_be_bytes(key.0);
                let cell = self.directory().slot(actor, slot, worker.arena);
                self.ask_for(Place::Slot { account: actor.address, slot, cell }, worker);
            }
        }
        for authorization in &tx.authorization_list {
            // Others cost a recovery of the signature to know.
            if let Either::Right(recovered) = authorization
                && let Some(authority) = recovered.authority()
            {
                account(authority);
            }
        }
    }

    /// Asks ahead for a key that a transaction will probably read.
    pub fn ask_ahead_for(&self, key: Key, worker: &WorkerContext) {
        let place = match key {
            Key::Account(address) => Place::Account(self.actor(address, worker)),
            Key::Storage(account, slot) => {
                let cell = self.directory().slot(self.actor(account, worker), slot, worker.arena);
                Place::Slot { account, slot, cell }
            }
            Key::Code(hash) => Place::Code(hash, self.directory().code(hash, worker.arena)),
            Key::BlockHash(number) => {
                Place::BlockHash(number, self.directory().block_hash(number, worker.arena))
            }
        };
        self.ask_for(place, worker);
    }

    /// Sends what the worker has asked for.
    pub fn send_requests(&self, worker: &WorkerContext) {
        let requests = mem::take(&mut *worker.requests.borrow_mut());
        if !requests.is_empty()
            && let Some(source) = self.source.deferred()
        {
            // What unwinds drops the requests, which answers them with an error: it counts where a key is needed.
            let _ = contain(|| source.request(requests));
        }
    }

    /// Notes the answers that have come, and wakes those who waited for them.
    pub fn receive(&self, worker: &WorkerContext, signals: &mut dyn Signals) {
        let Some(inbox) = self.inbox.as_ref().filter(|inbox| inbox.has_any()) else { return };
        for (later, answer) in inbox.take() {
            // SAFETY: made from a place of this block, whose inbox this is, and the block is alive.
            let place = unsafe { later.0.assume_init() };
            let code = match &answer {
                Ok(Answer::Account(Some(info))) if info.code.is_none() && !info.is_empty_code_hash() => {
                    Some(info.code_hash)
                }
                _ => None,
            };
            for waiter in place.note(answer, worker) {
                signals.wake(waiter.index, waiter.ticket);
            }
            if let Some(hash) = code {
                // Whoever asks for a contract mostly runs it.
                self.ask_for(Place::Code(hash, self.directory().code(hash, worker.arena)), worker);
            }
        }
    }
}
