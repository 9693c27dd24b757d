//! Which slots calls fought over in earlier blocks: who is likely to write one announces that when it begins, and who finds
//! it announced by an earlier transaction waits for the frontier, instead of being executed twice.
//!
//! Calls are alike that call the same function of the same contract with the same addresses among their arguments, the
//! sender's own left out: a swap of these two tokens, a payment to this account. What is remembered decides when a
//! transaction is executed, and nothing else; so a key is a hash, and whom it confuses waits in vain.

use std::{fmt, hash::BuildHasher};

use counterpoint_state::sync::{
    RwLock,
    unordered::{AtomicBool, Ordering},
};
use revm::{
    context::TxEnv,
    primitives::{Address, HashMap, U256, map::DefaultHashBuilder},
};
use smallvec::SmallVec;

use crate::calls::{addresses, function};

/// A storage slot of a contract.
pub(crate) type Slot = (Address, U256);

/// Slots that are remembered of one kind of call.
const SLOTS: usize = 4;

/// Kinds of calls that are remembered.
const CALLS: usize = 8_192;

/// A slot is announced if its score is at least this. Each time that a call was misled by it, or has announced and
/// written it, counts one, up to a bound; each time that it was announced and not written counts this much less. Who
/// announces what others of its kind seldom write makes them wait in vain.
const LEAST: i32 = 2;
const MOST: i32 = 8;
const MISS: i32 = 3;
const WORST: i32 = -10_000;

/// Contended slots, by the kinds of calls that write them.
#[derive(Default)]
pub(crate) struct Conflicts {
    /// Whether there is any: spares the lock.
    any: AtomicBool,
    hasher: DefaultHashBuilder,
    calls: RwLock<HashMap<u64, SmallVec<[Remembered; SLOTS]>>>,
}

#[derive(Debug)]
struct Remembered {
    slot: Slot,
    score: i32,
}

impl Conflicts {
    /// The slots that this transaction is expected to write, and others like it fought over.
    pub(crate) fn of(&self, transaction: &TxEnv) -> Vec<Slot> {
        // Relaxed: a hint, here and below.
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let Some(call) = self.call(transaction) else { return Vec::new() };
        let calls = self.calls.read();
        let Some(slots) = calls.get(&call) else { return Vec::new() };
        slots.iter().filter(|at| at.score >= LEAST).map(|at| at.slot).collect()
    }

    /// This transaction wrote or read a slot that another one wrote at the same time.
    pub(crate) fn learn(&self, transaction: &TxEnv, slot: Slot) {
        let Some(call) = self.call(transaction) else { return };
        let mut calls = self.calls.write();
        if calls.len() >= CALLS && !calls.contains_key(&call) {
            calls.clear();
        }
        let slots = calls.entry(call).or_default();
        if let Some(known) = slots.iter_mut().find(|at| at.slot == slot) {
            known.score = (known.score + 1).min(MOST);
        } else if slots.len() < SLOTS {
            slots.push(Remembered { slot, score: 1 });
        }
        // Relaxed: a hint.
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether this transaction has written a slot that it had announced.
    pub(crate) fn judge(&self, transaction: &TxEnv, slot: Slot, written: bool) {
        let Some(call) = self.call(transaction) else { return };
        let is_at = |at: &&Remembered| at.slot == slot;
        if written {
            // Mostly there is nothing to change.
            let calls = self.calls.read();
            if calls.get(&call).and_then(|slots| slots.iter().find(is_at)).is_none_or(|at| at.score == MOST) {
                return;
            }
        }
        let mut calls = self.calls.write();
        if let Some(at) = calls.get_mut(&call).and_then(|slots| slots.iter_mut().find(|at| at.slot == slot)) {
            at.score = (at.score + if written { 1 } else { -MISS }).clamp(WORST, MOST);
        }
    }

    /// As if there had been no blocks.
    pub(crate) fn forget(&self) {
        self.calls.write().clear();
    }

    /// The kind of call that a transaction makes.
    fn call(&self, transaction: &TxEnv) -> Option<u64> {
        let function = function(transaction)?;
        Some(self.hasher.hash_one((function, addresses(transaction))))
    }
}

impl fmt::Debug for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflicts").field("calls", &self.calls.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::{Bytes, TxKind};

    use super::*;

    fn call(sender: u8, arguments: &[U256]) -> TxEnv {
        let mut data = vec![1, 2, 3, 4];
        data.extend(arguments.iter().flat_map(|word| word.to_be_bytes::<32>()));
        TxEnv {
            caller: Address::repeat_byte(sender),
            kind: TxKind::Call(Address::repeat_byte(0xcc)),
            data: Bytes::from(data),
            ..TxEnv::default()
        }
    }

    fn word(byte: u8) -> U256 {
        U256::from_be_bytes(Address::repeat_byte(byte).into_word().0)
    }

    const SLOT: Slot = (Address::repeat_byte(7), U256::ONE);

    #[test]
    fn calls_are_alike_up_to_amounts_and_the_sender() {
        let conflicts = Conflicts::default();
        let first = call(1, &[word(9), U256::from(1_000), word(1)]);
        conflicts.learn(&first, SLOT);
        assert!(conflicts.of(&first).is_empty(), "once is chance");
        conflicts.learn(&first, SLOT);
        assert_eq!(conflicts.of(&first)[..], [SLOT]);
        assert_eq!(conflicts.of(&call(2, &[word(9), U256::from(2_000), word(2)]))[..], [SLOT]);
        assert!(conflicts.of(&call(2, &[word(8), U256::from(2_000), word(2)])).is_empty());
        let transfer = TxEnv { data: Bytes::new(), ..first.clone() };
        assert!(conflicts.of(&transfer).is_empty());
        conflicts.learn(&transfer, SLOT);
        conflicts.forget();
        assert!(conflicts.of(&first).is_empty());
    }

    #[test]
    fn what_seldom_comes_is_not_announced() {
        let conflicts = Conflicts::default();
        let call = call(1, &[word(9)]);
        conflicts.judge(&call, SLOT, false);
        for _ in 0..100 {
            conflicts.learn(&call, SLOT);
        }
        conflicts.judge(&call, SLOT, false);
        conflicts.judge(&call, SLOT, false);
        assert_eq!(conflicts.of(&call)[..], [SLOT]);
        conflicts.judge(&call, SLOT, false);
        assert!(conflicts.of(&call).is_empty());
        for _ in 0..100 {
            conflicts.judge(&call, SLOT, true);
        }
        // A miss now and then does no harm.
        for number in 0..100 {
            conflicts.judge(&call, SLOT, number % 5 > 0);
            assert_eq!(conflicts.of(&call)[..], [SLOT]);
        }
        // Half of the time does.
        for number in 0..100 {
            conflicts.judge(&call, SLOT, number % 2 > 0);
        }
        conflicts.learn(&call, SLOT);
        assert!(conflicts.of(&call).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let conflicts = Conflicts::default();
        for number in 0..=CALLS as u64 {
            let address = U256::from(number) << 96;
            conflicts.learn(&call(1, &[address]), SLOT);
            let mut to = [0; 20];
            to[..8].copy_from_slice(&number.to_be_bytes());
            let other = TxEnv { kind: TxKind::Call(Address::from(to)), ..call(1, &[]) };
            conflicts.learn(&other, SLOT);
        }
        assert!(conflicts.calls.read().len() <= CALLS);
        let (conflicts, one) = (Conflicts::default(), call(1, &[]));
        for number in 0..10 {
            conflicts.learn(&one, (Address::ZERO, U256::from(number)));
            conflicts.learn(&one, (Address::ZERO, U256::from(number)));
        }
        assert_eq!(conflicts.of(&one).len(), SLOTS);
    }
}
