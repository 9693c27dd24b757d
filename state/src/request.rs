//! Sources that answer later: keys now, answers when they are there, so that no worker waits for storage.

use std::fmt;

use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};

use crate::source::SourceError;

/// What a source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The account at an address.
    Account(Address),
    /// A storage slot.
    Storage(Address, U256),
    /// The code with a hash.
    Code(B256),
    /// The hash of the ancestor block with a number.
    BlockHash(u64),
}

/// What a source answers, each variant to the [`Key`] of the same name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The account, or `None` where it does not exist. Without `code`, that is asked for by hash.
    Account(Option<AccountInfo>),
    /// The slot's value, zero where it was never written or the account does not exist.
    Storage(U256),
    /// The code.
    Code(Bytecode),
    /// The block's hash.
    BlockHash(B256),
}

/// A source that answers later.
///
/// The runtime asks each key of a block once, also for keys that only a speculative execution needs, and many
/// before it needs them. An error is final for the block: the transactions that need the key fail with it. Who
/// wants to try again does so before answering.
pub trait DeferredSource: Send + Sync {
    /// Asks. Called by workers, so it must not wait for storage itself: it hands the requests to whoever does.
    /// They may be answered from any thread, in any order, before or after this returns. A panic counts as an error for
    /// the requests of this call that were not answered.
    fn request(&self, requests: Vec<Request>);
}

/// Takes the answer.
type Reply = Box<dyn FnOnce(Result<Answer, SourceError>) + Send>;

/// A question, to be answered once. Dropping it unanswered answers with an error.
pub struct Request {
    key: Key,
    reply: Option<Reply>,
}

/// The error of a request that was dropped.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the source dropped the request for {0:?}")]
pub struct DroppedError(pub Key);

/// The error of a request whose answer is of another kind than its key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the source's answer for {0:?} is of another kind")]
pub struct WrongAnswerError(pub Key);

impl Request {
    /// A question for this key, whose answer `reply` takes.
    pub fn new(key: Key, reply: impl FnOnce(Result<Answer, SourceError>) + Send + 'static) -> Self {
        Self { key, reply: Some(Box::new(reply)) }
    }

    /// What is asked for.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Answers. An answer of another kind than the key counts as an error, a [`WrongAnswerError`].
    pub fn answer(mut self, answer: Result<Answer, SourceError>) {
        self.reply(answer);
    }

    fn reply(&mut self, answer: Result<Answer, SourceError>) {
        if let Some(reply) = self.reply.take() {
            reply(answer);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.reply(Err(SourceError::new(DroppedError(self.key))));
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("key", &self.key).finish_non_exhaustive()
    }
}
