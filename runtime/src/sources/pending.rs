//! Requests on their way: each key once, whoever wants it.

use std::collections::{HashMap, VecDeque};

use counterpoint_actors::contain;
use counterpoint_state::{Answer, Key, Request, SourceError};

use super::ReadError;

/// Keys that are wanted, and by whom.
#[derive(Default)]
pub(super) struct Pending {
    /// Keys that nobody has taken up yet.
    waiting: VecDeque<Key>,
    /// All keys without an answer.
    wanted: HashMap<Key, Vec<Request>>,
}

impl Pending {
    /// Adds requests, and says how many new keys there are.
    pub(super) fn add(&mut self, requests: Vec<Request>) -> usize {
        let before = self.waiting.len();
        for request in requests {
            let waiting = self.wanted.entry(request.key()).or_default();
            if waiting.is_empty() {
                self.waiting.push_back(request.key());
            }
            waiting.push(request);
        }
        self.waiting.len() - before
    }

    /// The next keys to take up, this many at most.
    pub(super) fn next(&mut self, most: usize) -> Vec<Key> {
        let count = most.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// How many keys have no answer.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether there are keys to take up.
    #[cfg(feature = "async")]
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those who want this key, which has an answer now.
    pub(super) fn take(&mut self, key: Key) -> Vec<Request> {
        self.wanted.remove(&key).unwrap_or_default()
    }

    /// Those who want a key that nobody has taken up.
    pub(super) fn take_waiting(&mut self) -> Vec<Request> {
        let keys = std::mem::take(&mut self.waiting);
        keys.into_iter().flat_map(|key| self.take(key)).collect()
    }
}

/// Gives all of them the same answer. If one panics on it, that is no matter of the others, nor of the source.
pub(super) fn answer_all(requests: Vec<Request>, answer: Result<Answer, SourceError>) {
    for request in requests {
        let _ = contain(|| request.answer(answer.clone()));
    }
}

/// Tells them that there will be no answer.
pub(super) fn close_all(requests: Vec<Request>) {
    for request in requests {
        let key = request.key();
        let _ = contain(|| request.answer(Err(SourceError::new(ReadError::Closed { key }))));
    }
}
