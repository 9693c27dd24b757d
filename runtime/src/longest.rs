//! Which transactions take long: they begin first, since the last of a block to end is often the longest.
//!
//! How long a transaction takes is guessed from its gas limit, and from how long calls of the same function of the
//! same contract took in earlier blocks: a gas limit says little of what a precompiled contract will take. A guess
//! decides when a transaction begins and whether a block is shared, and nothing else.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use counterpoint_actors::{BlockState, Selector};
use counterpoint_state::sync::{
    Mutex,
    unordered::{AtomicBool, Ordering},
};
use revm::{
    context::TxEnv,
    primitives::{Address, HashMap},
};

use crate::calls::function;

/// A transaction is long if it is expected to take at least this share of what all take, in percent.
pub(crate) const LONG: u64 = 4;

/// As many transactions begin before their turn.
pub(crate) const MOST_LONG: usize = 8;

/// A gas of the limit is taken for this long, in nanoseconds: about what contracts take, which seldom use the whole
/// limit.
const PER_GAS: f64 = 0.5;

/// Only transactions with such a gas limit are looked at, in gas.
const WORTH_TIMING: u64 = 300_000;

/// What took this long is remembered.
const WORTH_REMEMBERING: Duration = Duration::from_micros(500);

/// With so much gas it would be taken for long, in gas: what takes less is remembered, too.
const WORTH_CORRECTING: u64 = 1_000_000;

/// How many functions are remembered at most.
const FUNCTIONS: usize = 4_096;

/// A transaction that begins before its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Long {
    pub(crate) index: u32,
    /// Its share of what all transactions from there on are expected to take, in percent.
    pub(crate) share: u64,
}

/// Where parallel execution does not pay, it takes so much more than one worker alone, in percent.
const SPARED: u64 = 20;

/// Whether to have begun these is worth going on in parallel, where so many of all the transactions are left and parallel
/// execution does not pay otherwise.
pub(crate) fn are_worth_keeping<'a>(begun: impl Iterator<Item = &'a Long>, left: u32, all: u32) -> bool {
    let share: u64 = begun.map(|long| long.share).sum();
    share * u64::from(all) > SPARED * u64::from(left)
}

/// Functions whose calls took long.
#[derive(Debug, Default)]
pub(crate) struct LongCalls {
    /// Whether there is any: spares the lock.
    any: AtomicBool,
    /// What the last calls took, in nanoseconds.
    functions: Mutex<HashMap<(Address, Selector), u64>>,
}

impl LongCalls {
    /// Whether it is worth knowing how long this transaction takes.
    #[inline]
    fn times(&self, transaction: &TxEnv) -> bool {
        transaction.gas_limit >= WORTH_TIMING
    }

    /// An execution of this transaction took so long, without waiting.
    fn note(&self, transaction: &TxEnv, took: Duration) {
        let Some(function) = function(transaction) else { return };
        let is_short = took < WORTH_REMEMBERING;
        if is_short && transaction.gas_limit < WORTH_CORRECTING {
            // Relaxed: a hint, here and below.
            if self.any.load(Ordering::Relaxed) {
                self.functions.lock().remove(&function);
            }
            return;
        }
        let mut functions = self.functions.lock();
        if functions.len() >= FUNCTIONS && !functions.contains_key(&function) {
            if is_short {
                return;
            }
            functions.clear();
        }
        functions.insert(function, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        // Relaxed: a hint.
        self.any.store(true, Ordering::Relaxed);
    }

    /// What those of the transactions will take whose calls are known to take long.
    pub(crate) fn expected(&self, transactions: &[TxEnv]) -> Duration {
        // Relaxed: as above.
        if !self.any.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let functions = self.functions.lock();
        let times = transactions.iter().filter(|transaction| self.times(transaction));
        let known = times.filter_map(|transaction| functions.get(&function(transaction)?));
        Duration::from_nanos(known.fold(0, |sum, took| sum.saturating_add(*took)))
    }

    /// As if there had been no blocks.
    pub(crate) fn forget(&self) {
        self.functions.lock().clear();
    }

    /// The transactions that begin before their turn, longest first. Each is the first of its sender: a later one could
    /// not begin before the others of its sender.
    pub(crate) fn longest(&self, state: &BlockState) -> Box<[Long]> {
        let indices = state.indices();
        let first = *indices.start();
        let guess = |index| (state.transaction(index).gas_limit as f64 * PER_GAS) as u64;
        let mut all: u64 = indices.clone().map(guess).fold(0, u64::saturating_add);
        let least = (all / 100 * LONG).max(WORTH_TIMING / 2);
        let mut long: Vec<(u64, u32)> = Vec::new();
        // Relaxed: as above.
        let known = self.any.load(Ordering::Relaxed).then(|| self.functions.lock());
        for index in indices {
            let transaction = state.transaction(index);
            if !self.times(transaction) {
                continue;
            }
            let known = known.as_ref().and_then(|known| known.get(&function(transaction)?).copied());
            let expected = known.unwrap_or_else(|| guess(index));
            all = all.saturating_sub(guess(index)).saturating_add(expected);
            if expected >= least {
                long.push((expected, index));
            }
        }
        drop(known);
        long.sort_unstable_by_key(|(expected, index)| (Reverse(*expected), *index));
        long.truncate(MOST_LONG);
        let is_first = |index: u32| {
            let sender = state.transaction(index).caller;
            (first..index).all(|lower| state.transaction(lower).caller != sender)
        };
        let share = |expected: u64| expected.saturating_mul(100) / all.max(1);
        let long = long.into_iter().map(|(expected, index)| Long { index, share: share(expected) });
        long.filter(|long| is_first(long.index)).collect()
    }
}

/// The time that an execution takes, where that is worth knowing.
pub(crate) struct Timing<'a> {
    calls: &'a LongCalls,
    begin: Option<(&'a TxEnv, Instant)>,
}

impl<'a> Timing<'a> {
    /// An execution of this transaction begins.
    #[inline]
    pub(crate) fn of(transaction: &'a TxEnv, calls: &'a LongCalls) -> Self {
        // Not where schedules are to repeat.
        let begin = !cfg!(feature = "shuttle") && calls.times(transaction);
        Self { calls, begin: begin.then(|| (transaction, Instant::now())) }
    }

    /// It came to an end, and has not waited. `executed`: the transaction can be included.
    #[inline]
    pub(crate) fn ended(self, executed: bool) {
        if let Some((transaction, begin)) = self.begin
            && executed
        {
            self.calls.note(transaction, begin.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::{Bytes, TxKind};

    use super::*;

    #[test]
    fn what_took_long_is_remembered_until_it_does_not() {
        let calls = LongCalls::default();
        let call = TxEnv {
            kind: TxKind::Call(Address::repeat_byte(1)),
            data: Bytes::from_static(&[1, 2, 3, 4, 5]),
            gas_limit: WORTH_TIMING,
            ..TxEnv::default()
        };
        assert!(calls.times(&call));
        assert!(!calls.times(&TxEnv { gas_limit: WORTH_TIMING - 1, ..call.clone() }));
        let known = || calls.functions.lock().get(&function(&call).unwrap()).copied();
        calls.note(&call, WORTH_REMEMBERING / 2);
        assert_eq!(known(), None);
        calls.note(&call, WORTH_REMEMBERING * 3);
        assert_eq!(known(), Some(1_500_000));
        let other = TxEnv { data: Bytes::new(), ..call.clone() };
        assert_eq!(calls.expected(&[call.clone(), other, call.clone()]), WORTH_REMEMBERING * 6);
        calls.note(&call, WORTH_REMEMBERING / 2);
        assert_eq!(known(), None);
        calls.note(&call, WORTH_REMEMBERING * 3);
        calls.forget();
        assert_eq!(known(), None);
    }

    #[test]
    fn what_takes_more_than_is_spared_is_worth_keeping() {
        let long = |share| Long { index: 100, share };
        assert!(!are_worth_keeping([].iter(), 90, 100));
        assert!(!are_worth_keeping([long(4)].iter(), 90, 100), "4 % are less than a fifth of 90 %");
        assert!(are_worth_keeping([long(4)].iter(), 10, 100));
        assert!(are_worth_keeping([long(10), long(10)].iter(), 90, 100));
        assert!(!are_worth_keeping([long(0)].iter(), 0, 100));
    }

    #[test]
    fn memory_is_bounded() {
        let calls = LongCalls::default();
        for number in 0..=FUNCTIONS as u64 {
            let mut to = [0; 20];
            to[..8].copy_from_slice(&number.to_be_bytes());
            let call = TxEnv {
                kind: TxKind::Call(Address::from(to)),
                data: Bytes::from_static(&[0; 4]),
                ..TxEnv::default()
            };
            calls.note(&call, WORTH_REMEMBERING);
        }
        assert!(calls.functions.lock().len() <= FUNCTIONS);
    }
}
