//! A storage slot's cell: its versions, its readers, and its value before the block.

use revm::primitives::U256;

use crate::{
    arena::Arena,
    base::Base,
    chain::{Chain, Visible},
    readers::Readers,
    sync::unordered::{AtomicBool, Ordering},
    version::VersionWord,
    waiting::Waiters,
};

/// The cell of one storage slot.
#[derive(Debug, Default)]
pub struct SlotCell<'b> {
    /// What the block's transactions wrote.
    pub versions: Chain<'b, U256>,
    /// Who read it.
    pub readers: Readers<'b>,
    base: Base<'b, U256>,
    contended: AtomicBool,
}

/// What a slot holds below an index.
#[derive(Clone, Copy, Debug)]
pub enum SlotView<'b> {
    /// The value, and the index of the version it comes from (0: from before the block).
    Value(U256, u32),
    /// The source has to be asked.
    Unloaded,
    /// The version of a lower transaction that is not there yet.
    Blocked(&'b VersionWord<'b>),
}

impl<'b> SlotCell<'b> {
    /// A cell that nobody has touched.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the slot holds for the transaction at `index`, in an account whose storage was last wiped by the
    /// transaction at `wiped` (0: not in this block). `stored` tells whether the source's storage of the account
    /// counts, see [`AccountCells::has_source_storage`](crate::AccountCells::has_source_storage).
    #[inline]
    pub fn view(&self, index: u32, wiped: u32, stored: bool) -> SlotView<'b> {
        self.view_past(index, wiped, stored, false)
    }

    /// As [`view`](Self::view); on demand past versions that are not there yet: a guess.
    #[inline]
    pub fn view_past(&self, index: u32, wiped: u32, stored: bool, estimates: bool) -> SlotView<'b> {
        match self.versions.visible_past(index, estimates) {
            // A version at the wipe's own index was written after the wipe: a contract created there.
            Visible::Value(at, value) if at >= wiped => SlotView::Value(*value, at),
            Visible::Value(..) => SlotView::Value(U256::ZERO, wiped),
            Visible::Blocked(version) if version.index() >= wiped => SlotView::Blocked(version),
            Visible::Blocked(_) => SlotView::Value(U256::ZERO, wiped),
            Visible::None if wiped > 0 => SlotView::Value(U256::ZERO, wiped),
            Visible::None if !stored => SlotView::Value(U256::ZERO, 0),
            Visible::None => self.base().map_or(SlotView::Unloaded, |value| SlotView::Value(value, 0)),
        }
    }

    /// The value before the block, if it is known.
    #[inline]
    pub fn base(&self) -> Option<U256> {
        self.base.get().copied()
    }

    /// The value before the block, as far as it is known.
    pub fn source(&self) -> &Base<'b, U256> {
        &self.base
    }

    /// Notes the source's answer.
    pub fn set_base(&self, value: U256, arena: &'b Arena) -> Waiters<'b> {
        self.base.set(arena.alloc(value))
    }

    /// Whether no transaction wrote the slot or read it too early. A hint: it may be out of date at once.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.versions.is_empty() && !self.is_contended()
    }

    /// Whether a transaction of the block read this slot too early. A hint.
    pub fn is_contended(&self) -> bool {
        // Relaxed: a hint, here and below.
        self.contended.load(Ordering::Relaxed)
    }

    /// Notes that a transaction read this slot too early.
    pub fn set_contended(&self) {
        if !self.is_contended() {
            // Relaxed: a hint.
            self.contended.store(true, Ordering::Relaxed);
        }
    }
}
