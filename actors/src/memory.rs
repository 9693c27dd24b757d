//! What an actor remembers: which of its slots were contended, and which of its functions write them.

use std::ptr;

use counterpoint_state::{
    Arena, SlotCell,
    sync::{AtomicPtr, Mutex, Ordering},
};
use smallvec::SmallVec;

use crate::message::Selector;

/// Functions that are remembered of one contract, and slots of one function.
const FUNCTIONS: usize = 16;
const SLOTS: usize = 8;

/// A function that was right less often than this many times in a row is forgotten.
const MISSES: u8 = 3;

/// The contended slots that a contract's functions write.
#[derive(Debug, Default)]
pub struct Memory<'b> {
    /// Null until there is anything: most actors learn nothing.
    functions: AtomicPtr<Functions<'b>>,
}

type Functions<'b> = Mutex<Vec<Function<'b>>>;

#[derive(Debug)]
struct Function<'b> {
    selector: Selector,
    slots: SmallVec<[Remembered<'b>; 2]>,
}

#[derive(Debug)]
struct Remembered<'b> {
    cell: &'b SlotCell<'b>,
    misses: u8,
}

impl<'b> Memory<'b> {
    /// Nothing learnt.
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn functions(&self) -> Option<&'b Functions<'b>> {
        // Acquire: pairs with the release in `functions_in`.
        let functions = self.functions.load(Ordering::Acquire);
        // SAFETY: null, or a `&'b Functions` that was stored there.
        unsafe { functions.as_ref::<'b>() }
    }

    fn functions_in(&self, arena: &'b Arena) -> &'b Functions<'b> {
        if let Some(functions) = self.functions() {
            return functions;
        }
        // SAFETY: the destructor frees the lists; it follows none of the references in them.
        let new = unsafe { arena.alloc_owned_borrowing(Functions::default()) };
        let pointer = ptr::from_ref(new).cast_mut();
        // Release: who finds the lists sees them. Acquire: those of somebody who was faster.
        match self.functions.compare_exchange(ptr::null_mut(), pointer, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            // SAFETY: as in `functions`.
            Err(other) => unsafe { &*other },
        }
    }

    /// A transaction that called this function wrote this contended slot.
    pub fn learn(&self, selector: Selector, cell: &'b SlotCell<'b>, arena: &'b Arena) {
        let mut functions = self.functions_in(arena).lock();
        let position = functions.iter().position(|function| function.selector == selector);
        let function = match position {
            Some(position) => &mut functions[position],
            None if functions.len() < FUNCTIONS => {
                functions.push(Function { selector, slots: SmallVec::new() });
                functions.last_mut().expect("pushed above")
            }
            None => return,
        };
        if let Some(slot) = function.slots.iter_mut().find(|slot| std::ptr::eq(slot.cell, cell)) {
            slot.misses = 0;
        } else if function.slots.len() < SLOTS {
            function.slots.push(Remembered { cell, misses: 0 });
        }
    }

    /// The slots that a call of this function is expected to write.
    pub fn predict(&self, selector: Selector) -> SmallVec<[&'b SlotCell<'b>; SLOTS]> {
        let Some(functions) = self.functions() else { return SmallVec::new() };
        let functions = functions.lock();
        functions
            .iter()
            .filter(|function| function.selector == selector)
            .flat_map(|function| function.slots.iter().map(|slot| slot.cell))
            .collect()
    }

    /// A predicted write of this slot did not come.
    pub fn unlearn(&self, selector: Selector, cell: &'b SlotCell<'b>) {
        let Some(functions) = self.functions() else { return };
        let mut functions = functions.lock();
        for function in functions.iter_mut().filter(|function| function.selector == selector) {
            for slot in &mut function.slots {
                if std::ptr::eq(slot.cell, cell) {
                    slot.misses += 1;
                }
            }
            function.slots.retain(|slot| slot.misses < MISSES);
        }
    }
}
