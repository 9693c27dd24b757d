//! Sources that fail, lie, panic or fall silent at one read.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use counterpoint::{
    sources::ReadError,
    state::{Answer, DeferredSource, DroppedError, Request, SourceError, StateSource, WrongAnswerError},
};
use revm::{
    DatabaseRef,
    primitives::{Address, U256},
};

use crate::common::{Case, EXPECTED, Fault, Key, TestSource, later::Later};

/// Springs at the n-th read, and from then on whenever that key is read.
#[derive(Debug, Default)]
pub(crate) struct Trap {
    position: usize,
    pub(crate) state: Mutex<Sprung>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sprung {
    reads: usize,
    pub(crate) seen: HashSet<(u8, U256, U256)>,
    /// What fails.
    pub(crate) keys: Vec<Key>,
    /// The key had been read before, so that the block may know it.
    pub(crate) known: bool,
}

impl Trap {
    pub(crate) fn at(position: usize) -> Arc<Self> {
        Arc::new(Self { position, ..Self::default() })
    }

    pub(crate) fn springs(&self, key: Key) -> bool {
        let mut state = self.state.lock().expect("not poisoned");
        if !state.keys.is_empty() {
            return state.keys.contains(&key);
        }
        let first = state.seen.insert(number(key));
        let springs = state.reads == self.position;
        state.reads += 1;
        if springs {
            state.keys.push(key);
            state.known = !first;
        }
        springs
    }

    pub(crate) fn sprung(&self) -> Sprung {
        self.state.lock().expect("not poisoned").clone()
    }
}

/// A key as something that can be hashed.
fn number(key: Key) -> (u8, U256, U256) {
    let word = |address: Address| U256::from_be_slice(address.as_slice());
    match key {
        Key::Account(address) => (0, word(address), U256::ZERO),
        Key::Slot(address, slot) => (1, word(address), slot),
        Key::Code(hash) => (2, hash.into(), U256::ZERO),
        Key::BlockHash(number) => (3, U256::from(number), U256::ZERO),
    }
}

/// What a source does with the read that it fails at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Error,
    Panic,
    WrongAnswer,
    Dropped,
    Never,
}

pub(crate) fn trapped(case: &Case, trap: &Arc<Trap>, manner: Manner) -> TestSource {
    let trap = Arc::clone(trap);
    TestSource {
        memory: Arc::new(case.memory.clone()),
        hook: Arc::new(move |key| {
            let springs = trap.springs(key);
            assert!(!springs || manner != Manner::Panic, "{EXPECTED}");
            if springs { Err(Fault(key)) } else { Ok(()) }
        }),
        code_by_hash: case.code_by_hash,
    }
}

/// Answers later, from a thread of its own.
struct Answerer {
    memory: TestSource,
    trap: Arc<Trap>,
    manner: Manner,
    answers: mpsc::Sender<(Request, Result<Answer, SourceError>)>,
    unanswered: Mutex<Vec<Request>>,
}

/// A thread that answers, for as long as somebody may still ask for it.
pub(crate) fn answerer() -> mpsc::Sender<(Request, Result<Answer, SourceError>)> {
    let (sender, answers) = mpsc::channel::<(Request, _)>();
    thread::spawn(move || {
        for (request, answer) in answers {
            request.answer(answer);
        }
    });
    sender
}

fn own(key: counterpoint::state::Key) -> Key {
    match key {
        counterpoint::state::Key::Account(address) => Key::Account(address),
        counterpoint::state::Key::Storage(address, slot) => Key::Slot(address, slot),
        counterpoint::state::Key::Code(hash) => Key::Code(hash),
        counterpoint::state::Key::BlockHash(number) => Key::BlockHash(number),
    }
}

impl Answerer {
    fn read(&self, key: Key) -> Result<Answer, Fault> {
        Ok(match key {
            Key::Account(address) => Answer::Account(self.memory.basic_ref(address)?),
            Key::Slot(address, slot) => Answer::Storage(self.memory.storage_ref(address, slot)?),
            Key::Code(hash) => Answer::Code(self.memory.code_by_hash_ref(hash)?),
            Key::BlockHash(number) => Answer::BlockHash(self.memory.block_hash_ref(number)?),
        })
    }
}

impl DeferredSource for Answerer {
    fn request(&self, requests: Vec<Request>) {
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            let key = own(request.key());
            let answer = if self.trap.springs(key) {
                match self.manner {
                    Manner::Error => Err(SourceError::new(Fault(key))),
                    Manner::WrongAnswer if matches!(key, Key::Slot(..)) => Ok(Answer::Account(None)),
                    Manner::WrongAnswer => Ok(Answer::Storage(U256::ZERO)),
                    Manner::Dropped => {
                        drop(request);
                        continue;
                    }
                    Manner::Never => {
                        self.unanswered.lock().expect("not poisoned").push(request);
                        continue;
                    }
                    Manner::Panic => {
                        // The rest of the batch goes with it.
                        let lost = requests.map(|request| own(request.key()));
                        self.trap.state.lock().expect("not poisoned").keys.extend(lost);
                        panic!("{EXPECTED}");
                    }
                }
            } else {
                self.read(key).map_err(SourceError::new)
            };
            let _ = self.answers.send((request, answer));
        }
    }
}

/// The case's memory, with the trap before it, that answers later.
pub(crate) fn later(
    answers: &mpsc::Sender<(Request, Result<Answer, SourceError>)>,
    case: &Case,
    trap: &Arc<Trap>,
    manner: Manner,
) -> Arc<dyn StateSource> {
    // The memory behind it does not fail.
    let memory = trapped(case, &Trap::at(usize::MAX), manner);
    let (trap, answers) = (Arc::clone(trap), answers.clone());
    Arc::new(Later(Arc::new(Answerer { memory, trap, manner, answers, unanswered: Mutex::default() })))
}

/// Whether an error says that one of these keys failed, and in this way.
pub(crate) fn names(cause: &SourceError, keys: &[Key], manner: Manner) -> bool {
    if let Some(Fault(key)) = cause.downcast_ref::<Fault>() {
        return keys.contains(key) && manner == Manner::Error;
    }
    if let Some(error) = cause.downcast_ref::<ReadError>() {
        let kind = matches!(
            (error, manner),
            (ReadError::Failed { .. }, Manner::Error) | (ReadError::Panicked { .. }, Manner::Panic)
        );
        return kind && keys.contains(&own(error.key()));
    }
    if let Some(DroppedError(key)) = cause.downcast_ref::<DroppedError>() {
        return keys.contains(&own(*key)) && matches!(manner, Manner::Dropped | Manner::Panic);
    }
    // Found by the runtime.
    cause.downcast_ref().is_some_and(|WrongAnswerError(key)| keys.contains(&own(*key)))
        && manner == Manner::WrongAnswer
}
