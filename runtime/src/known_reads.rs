//! What calls read in earlier blocks: where the source answers later, it is asked for that as soon as such a call is near.
//!
//! Two kinds of calls are remembered: those of the same sender to the same function with the same addresses among their
//! arguments, which mostly read what the last one read; and those of the same function, which have in common what it
//! always reads. A constructor is known by its code. What is remembered decides what is asked for, and nothing else: so a kind is a hash, and whom it confuses
//! asks in vain.

use std::{cmp::Ordering as Order, fmt, hash::BuildHasher, mem, sync::Arc};

use counterpoint_state::{
    Key,
    sync::{
        RwLock,
        unordered::{AtomicBool, Ordering},
    },
};
use revm::{
    context::TxEnv,
    primitives::{HashMap, HashSet, TxKind, map::DefaultHashBuilder},
    state::EvmState,
};

use crate::calls::{addresses, function};

/// A key is remembered until so many calls of its kind have not read it, with one more for each that has, up to a bound.
const FIRST: u8 = 2;
const MOST: u8 = 8;

/// Who missed less than one in so many was not misled.
const FEW: usize = 8;

/// Keys that are remembered in a generation, of which there are two.
const KEYS: usize = 1 << 17;

/// So many are remembered of one kind of calls.
const KEYS_OF_A_CALL: usize = 8_192;

/// A kind of calls.
type Kind = u64;

/// The kinds of which all was told in a block.
pub(crate) type Told = HashSet<Kind>;

/// What calls of a kind read.
#[derive(Default)]
struct Reads {
    /// In their order.
    keys: Box<[(Key, u8)]>,
    /// The last call read much that was not known: scouts have to find out.
    misled: bool,
}

/// What calls of earlier blocks have read.
#[derive(Default)]
pub(crate) struct KnownReads {
    /// Whether there is anything: spares the lock.
    any: AtomicBool,
    hasher: DefaultHashBuilder,
    generations: RwLock<Generations>,
}

/// What was learnt lately, and before that. When the first is full, it replaces the second.
#[derive(Default)]
struct Generations {
    now: HashMap<Kind, Arc<Reads>>,
    before: HashMap<Kind, Arc<Reads>>,
    /// Keys in the first.
    keys: usize,
}

impl KnownReads {
    /// Tells what this transaction will probably read, but for what was told of its kind before. Whether that is all, or
    /// nearly.
    pub(crate) fn of(&self, transaction: &TxEnv, told: &mut Told, mut tell: impl FnMut(Key)) -> bool {
        // Relaxed: a hint, here and below.
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let (alike, of_the_function) = self.kinds(transaction);
        let known_of = |kind| Some((kind, self.generations.read().of(kind)?));
        let alike = known_of(alike);
        let is_foreseen = alike.as_ref().is_some_and(|(_, known)| !known.misled);
        let known = alike.or_else(|| known_of(of_the_function?));
        let known = known.filter(|(kind, _)| told.insert(*kind)).map(|(_, known)| known);
        for (key, _) in known.iter().flat_map(|known| &known.keys) {
            tell(*key);
        }
        is_foreseen
    }

    /// This transaction has read what is in here.
    pub(crate) fn learn(&self, transaction: &TxEnv, state: &EvmState) {
        let (alike, of_the_function) = self.kinds(transaction);
        let mut reads: Vec<Key> = Vec::new();
        // The address of a contract that was created is another one the next time.
        for (address, account) in state.iter().filter(|(_, account)| !account.is_created()) {
            // Not the code: its hash is a part of the state, which may be another one by then.
            reads.push(Key::Account(*address));
            reads.extend(account.storage.keys().map(|slot| Key::Storage(*address, *slot)));
        }
        let is_named = |key: &Key| match (key, transaction.kind) {
            (Key::Account(address), TxKind::Call(to)) => [transaction.caller, to].contains(address),
            _ => false,
        };
        if reads.iter().all(is_named) {
            return;
        }
        reads.sort_unstable();
        reads.truncate(KEYS_OF_A_CALL);
        for kind in [Some(alike), of_the_function].into_iter().flatten() {
            // Not under the lock. What another worker learns of the same kind at the same time may be lost.
            let known = self.generations.read().of(kind).unwrap_or_default();
            let reads = known.after(&reads);
            self.generations.write().put(kind, reads);
        }
        // Relaxed: a hint.
        self.any.store(true, Ordering::Relaxed);
    }

    /// As if there had been no blocks.
    pub(crate) fn forget(&self) {
        *self.generations.write() = Generations::default();
    }

    /// Calls just like this one, and those of the same function.
    fn kinds(&self, transaction: &TxEnv) -> (Kind, Option<Kind>) {
        let TxKind::Call(to) = transaction.kind else {
            // The same code as a constructor.
            let code = &transaction.data;
            return (self.hasher.hash_one((transaction.caller, code)), Some(self.hasher.hash_one(code)));
        };
        let function = function(transaction);
        let alike = (transaction.caller, to, function, addresses(transaction));
        (self.hasher.hash_one(alike), function.map(|function| self.hasher.hash_one(function)))
    }
}

impl Generations {
    fn of(&self, kind: Kind) -> Option<Arc<Reads>> {
        self.now.get(&kind).or_else(|| self.before.get(&kind)).cloned()
    }

    fn put(&mut self, kind: Kind, reads: Reads) {
        self.keys -= self.now.remove(&kind).map_or(0, |known| known.keys.len());
        if self.keys + reads.keys.len() > KEYS {
            self.before = mem::take(&mut self.now);
            self.keys = 0;
        }
        self.keys += reads.keys.len();
        self.now.insert(kind, Arc::new(reads));
    }
}

impl Reads {
    /// After a call that read this, in order.
    fn after(&self, keys: &[Key]) -> Self {
        let mut merged = Vec::with_capacity(self.keys.len() + keys.len());
        let (mut known, mut read) = (self.keys.iter().peekable(), keys.iter().peekable());
        let mut missed = 0;
        loop {
            let order = match (known.peek(), read.peek()) {
                (None, None) => break,
                (Some(_), None) => Order::Less,
                (None, Some(_)) => Order::Greater,
                (Some((known, _)), Some(read)) => known.cmp(read),
            };
            let known = if order.is_le() { known.next() } else { None };
            let read = if order.is_ge() { read.next() } else { None };
            merged.extend(match (known, read) {
                (Some((key, score)), Some(_)) => Some((*key, MOST.min(score + 1))),
                (Some((key, score)), None) => (*score > 1).then_some((*key, score - 1)),
                (None, read) => {
                    missed += 1;
                    read.map(|key| (*key, FIRST))
                }
            });
        }
        merged.truncate(KEYS_OF_A_CALL);
        Self { keys: merged.into_boxed_slice(), misled: !self.keys.is_empty() && missed * FEW > keys.len() }
    }
}

impl fmt::Debug for KnownReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownReads").field("keys", &self.generations.read().keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use revm::{
        primitives::{Address, Bytes, U256},
        state::{Account, EvmStorageSlot},
    };

    use super::*;

    const CONTRACT: Address = Address::repeat_byte(0xcc);

    fn call(sender: u8, selector: u8, argument: u8) -> TxEnv {
        let mut data = vec![selector; 4];
        data.extend(Address::repeat_byte(argument).into_word());
        TxEnv {
            caller: Address::repeat_byte(sender),
            kind: TxKind::Call(CONTRACT),
            data: Bytes::from(data),
            ..TxEnv::default()
        }
    }

    fn read(slots: &[u64]) -> EvmState {
        let mut account = Account::default();
        account.info.code_hash = Address::repeat_byte(1).into_word();
        for slot in slots {
            account.storage.insert(U256::from(*slot), EvmStorageSlot::default());
        }
        EvmState::from_iter([(CONTRACT, account)])
    }

    /// The slots that are known, and whether a call just like this one is.
    fn known(reads: &KnownReads, transaction: &TxEnv) -> (Vec<u64>, bool) {
        let mut slots = Vec::new();
        let alike = reads.of(transaction, &mut Told::default(), |key| {
            if let Key::Storage(_, slot) = key {
                slots.push(slot.to());
            }
        });
        (slots, alike)
    }

    #[test]
    fn calls_alike_and_of_the_same_function() {
        let reads = KnownReads::default();
        let first = call(1, 1, 9);
        assert_eq!(known(&reads, &first), (vec![], false));
        reads.learn(&first, &read(&[1, 2]));
        assert_eq!(known(&reads, &first), (vec![1, 2], true));
        assert_eq!(known(&reads, &call(2, 1, 9)), (vec![1, 2], false), "another sender");
        assert_eq!(known(&reads, &call(1, 1, 8)), (vec![1, 2], false), "another argument");
        assert_eq!(known(&reads, &call(1, 2, 9)), (vec![], false), "another function");
        // What all calls read stays, what was one call's goes.
        for sender in 2..10 {
            reads.learn(&call(sender, 1, 9), &read(&[1, 10 + u64::from(sender)]));
        }
        assert_eq!(known(&reads, &call(20, 1, 9)), (vec![1, 18, 19], false));
        assert_eq!(known(&reads, &first), (vec![1, 2], true));
        reads.forget();
        assert_eq!(known(&reads, &first), (vec![], false));
    }

    #[test]
    fn accounts_and_constructors_are_known_too() {
        let reads = KnownReads::default();
        let transfer = TxEnv { data: Bytes::new(), ..call(1, 1, 1) };
        reads.learn(&transfer, &read(&[]));
        assert!(
            !reads.of(&transfer, &mut Told::default(), |_| ()),
            "the transaction names all that it reads"
        );
        let other = Address::repeat_byte(0xdd);
        let mut state = read(&[]);
        state.insert(other, Account::default());
        reads.learn(&transfer, &state);
        let (mut keys, mut told) = (Vec::new(), Told::default());
        assert!(reads.of(&transfer, &mut told, |key| keys.push(key)));
        assert_eq!(keys, [Key::Account(CONTRACT), Key::Account(other)], "and no code");
        assert!(reads.of(&transfer, &mut told, |_| panic!("it was told")));
        let create = |sender| TxEnv { kind: TxKind::Create, ..call(sender, 1, 1) };
        reads.learn(&create(1), &read(&[1]));
        assert_eq!(known(&reads, &create(1)), (vec![1], true));
        assert_eq!(known(&reads, &create(2)), (vec![1], false));
    }

    #[test]
    fn what_is_not_read_any_more_is_forgotten() {
        let (reads, call) = (KnownReads::default(), call(1, 1, 9));
        for _ in 0..20 {
            reads.learn(&call, &read(&[1]));
        }
        for _ in 0..MOST - 1 {
            reads.learn(&call, &read(&[2]));
            assert_eq!(known(&reads, &call).0, [1, 2]);
        }
        reads.learn(&call, &read(&[2]));
        assert_eq!(known(&reads, &call), (vec![2], true));
    }

    #[test]
    fn who_reads_what_is_not_known_is_not_relied_on() {
        let (reads, call) = (KnownReads::default(), call(1, 1, 9));
        reads.learn(&call, &read(&(0..20).collect::<Vec<_>>()));
        assert!(known(&reads, &call).1);
        reads.learn(&call, &read(&(1..21).collect::<Vec<_>>()));
        assert!(known(&reads, &call).1, "one of twenty");
        reads.learn(&call, &read(&(11..31).collect::<Vec<_>>()));
        assert!(!known(&reads, &call).1, "half of them");
        reads.learn(&call, &read(&(11..31).collect::<Vec<_>>()));
        assert!(known(&reads, &call).1);
    }

    #[test]
    fn memory_is_bounded() {
        let reads = KnownReads::default();
        let slots: Vec<u64> = (0..KEYS_OF_A_CALL as u64 + 100).collect();
        let many = read(&slots);
        for selector in 0..=255 {
            reads.learn(&call(1, selector, 9), &many);
            assert!(known(&reads, &call(1, selector, 9)).1, "the last one is known");
        }
        let generations = reads.generations.read();
        assert!(generations.keys <= KEYS);
        for generation in [&generations.now, &generations.before] {
            assert!(generation.values().map(|reads| reads.keys.len()).sum::<usize>() <= KEYS);
        }
        drop(generations);
        assert!(!known(&reads, &call(1, 0, 9)).1, "the first one is not");
    }
}
