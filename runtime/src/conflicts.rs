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
    primitives::{Address, HashMap, TxKind, U256, map::DefaultHashBuilder},
};
use smallvec::SmallVec;

/// A storage slot of a contract.
pub(crate) type Slot = (Address, U256);

/// Slots that are remembered of one kind of call.
const SLOTS: usize = 4;

/// Kinds of calls that are remembered.
const CALLS: usize = 8_192;

/// A slot that was not written so many times in a row is forgotten.
const MISSES: u8 = 2;

/// Arguments that are looked at.
const ARGUMENTS: usize = 8;

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
    misses: u8,
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
        calls.get(&call).map(|slots| slots.iter().map(|at| at.slot).collect()).unwrap_or_default()
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
            known.misses = 0;
        } else if slots.len() < SLOTS {
            slots.push(Remembered { slot, misses: 0 });
        }
        // Relaxed: a hint.
        self.any.store(true, Ordering::Relaxed);
    }

    /// This transaction has not written a slot that it was expected to write.
    pub(crate) fn unlearn(&self, transaction: &TxEnv, slot: Slot) {
        let Some(call) = self.call(transaction) else { return };
        let mut calls = self.calls.write();
        let Some(slots) = calls.get_mut(&call) else { return };
        for at in slots.iter_mut().filter(|at| at.slot == slot) {
            at.misses += 1;
        }
        slots.retain(|at| at.misses < MISSES);
        if slots.is_empty() {
            calls.remove(&call);
        }
    }

    /// The kind of call that a transaction makes.
    fn call(&self, transaction: &TxEnv) -> Option<u64> {
        let TxKind::Call(to) = transaction.kind else { return None };
        let (selector, arguments) = transaction.data.split_first_chunk::<4>()?;
        // An address in a word: twelve zeros, and then not another few, which would make it a small number.
        let is_address = |word: &&[u8]| {
            word[..12].iter().all(|byte| *byte == 0)
                && word[12..16].iter().any(|byte| *byte != 0)
                && word[12..] != transaction.caller[..]
        };
        let words = arguments.chunks_exact(32).take(ARGUMENTS);
        let addresses: SmallVec<[&[u8]; ARGUMENTS]> = words.filter(is_address).collect();
        Some(self.hasher.hash_one((to, selector, addresses)))
    }
}

impl fmt::Debug for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflicts").field("calls", &self.calls.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::Bytes;

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
        assert!(conflicts.of(&first).is_empty());
        conflicts.learn(&first, SLOT);
        assert_eq!(conflicts.of(&first)[..], [SLOT]);
        assert_eq!(conflicts.of(&call(2, &[word(9), U256::from(2_000), word(2)]))[..], [SLOT]);
        assert!(conflicts.of(&call(2, &[word(8), U256::from(2_000), word(2)])).is_empty());
        let transfer = TxEnv { data: Bytes::new(), ..first };
        assert!(conflicts.of(&transfer).is_empty());
        conflicts.learn(&transfer, SLOT);
    }

    #[test]
    fn what_does_not_come_is_forgotten() {
        let conflicts = Conflicts::default();
        let call = call(1, &[word(9)]);
        conflicts.learn(&call, SLOT);
        conflicts.unlearn(&call, SLOT);
        conflicts.learn(&call, SLOT);
        conflicts.unlearn(&call, SLOT);
        assert_eq!(conflicts.of(&call)[..], [SLOT]);
        conflicts.unlearn(&call, SLOT);
        assert!(conflicts.of(&call).is_empty());
        conflicts.unlearn(&call, SLOT);
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
        let one = call(1, &[]);
        for number in 0..10 {
            conflicts.learn(&one, (Address::ZERO, U256::from(number)));
        }
        assert_eq!(conflicts.of(&one).len(), SLOTS);
    }
}
