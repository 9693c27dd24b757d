//! Who is who: from addresses to actors, and from an actor's slots to their cells.

use std::{fmt, hash::BuildHasher};

use counterpoint_state::{
    AccountCells, Arena, Base, Index, SlotCell,
    sync::unordered::{AtomicU32, Ordering},
};
use foldhash::quality::SeedableRandomState;
use papaya::HashMap;
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
};

use crate::{mailbox::Mailbox, memory::Memory, message::Message, order::hasher};

/// An account as an actor: the owner of its cells and its mailbox.
#[derive(Debug)]
pub struct Actor<'b> {
    id: u32,
    /// The account's address.
    pub address: Address,
    /// The account's own cells.
    pub cells: AccountCells<'b>,
    /// Messages that wait.
    pub mailbox: Mailbox<'b, Message>,
    /// What it has learnt of its functions.
    pub memory: Memory<'b>,
}

/// A slot's cell with its key.
struct Slot<'b> {
    actor: u32,
    slot: U256,
    cell: SlotCell<'b>,
}

/// The actors of a block.
///
/// The keys are chosen by whoever writes transactions, so the hasher is keyed at random. Each look-up in one of
/// papaya's maps is a leaf function that is not inlined: they pin a thread-local guard, and the caller may be a
/// fiber, which must not have a thread-local's address in its registers when it moves to another thread. Actors and
/// slots, of which there may be thousands in one transaction, are in an index of our own: no guard, no resizing, no
/// allocation but in the arena.
pub struct Directory<'b> {
    actors: Index<'b, Actor<'b>>,
    slots: Index<'b, Slot<'b>>,
    hasher: SeedableRandomState,
    code: HashMap<B256, &'b Base<'b, Bytecode>, SeedableRandomState>,
    block_hashes: HashMap<u64, &'b Base<'b, U256>, SeedableRandomState>,
    ids: AtomicU32,
}

impl<'b> Directory<'b> {
    /// A directory for a block that touches about this many accounts.
    pub fn new(accounts: usize) -> Self {
        let hasher = hasher();
        Self {
            actors: Index::with_capacity(accounts),
            slots: Index::with_capacity(accounts),
            code: HashMap::with_hasher(hasher.clone()),
            block_hashes: HashMap::with_hasher(hasher.clone()),
            hasher,
            ids: AtomicU32::new(0),
        }
    }

    /// The actor of this address.
    #[inline]
    pub fn actor(&self, address: Address, arena: &'b Arena) -> &'b Actor<'b> {
        let make = || Actor {
            // Relaxed: an id only has to be unique.
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            address,
            cells: AccountCells::new(),
            mailbox: Mailbox::new(),
            memory: Memory::new(),
        };
        self.actors.get_or_insert(
            self.hasher.hash_one(address),
            arena,
            |found| found.address == address,
            make,
        )
    }

    /// The cell of one of the actor's slots.
    #[inline]
    pub fn slot(&self, actor: &Actor<'b>, slot: U256, arena: &'b Arena) -> &'b SlotCell<'b> {
        let hash = self.hasher.hash_one((actor.id, slot.as_limbs()));
        let slot = self.slots.get_or_insert(
            hash,
            arena,
            |found| found.actor == actor.id && found.slot == slot,
            || Slot { actor: actor.id, slot, cell: SlotCell::new() },
        );
        &slot.cell
    }

    /// The source's code with this hash.
    #[inline(never)]
    pub fn code(&self, hash: B256, arena: &'b Arena) -> &'b Base<'b, Bytecode> {
        self.code.pin().get_or_insert_with(hash, || arena.alloc(Base::default()))
    }

    /// The hash of the ancestor block with this number, as a word.
    #[inline(never)]
    pub fn block_hash(&self, number: u64, arena: &'b Arena) -> &'b Base<'b, U256> {
        self.block_hashes.pin().get_or_insert_with(number, || arena.alloc(Base::default()))
    }
}

impl fmt::Debug for Directory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("actors", &self.ids).finish_non_exhaustive()
    }
}
