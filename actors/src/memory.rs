//! What an actor remembers: which of its slots were contended, and which of its functions write them.

use counterpoint_state::{
    SlotCell,
    sync::{
        Mutex,
        unordered::{AtomicBool, Ordering},
    },
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
    /// Whether there is anything: spares the lock on the way of every call.
    any: AtomicBool,
    functions: Mutex<Vec<Function<'b>>>,
}

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

    /// A transaction that called this function wrote this contended slot.
    pub fn learn(&self, selector: Selector, cell: &'b SlotCell<'b>) {
        let mut functions = self.functions.lock();
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
            // Relaxed: a hint; the lock orders the rest.
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// The slots that a call of this function is expected to write.
    pub fn predict(&self, selector: Selector) -> SmallVec<[&'b SlotCell<'b>; SLOTS]> {
        // Relaxed: as in `learn`.
        if !self.any.load(Ordering::Relaxed) {
            return SmallVec::new();
        }
        let functions = self.functions.lock();
        functions
            .iter()
            .filter(|function| function.selector == selector)
            .flat_map(|function| function.slots.iter().map(|slot| slot.cell))
            .collect()
    }

    /// A predicted write of this slot did not come.
    pub fn unlearn(&self, selector: Selector, cell: &'b SlotCell<'b>) {
        let mut functions = self.functions.lock();
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
