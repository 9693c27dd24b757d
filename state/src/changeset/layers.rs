//! Changes on top of others: what is below does not change meanwhile, and serves as a source.
//!
//! To begin a layer costs nothing, and to take it back costs what was changed in it, however much was changed before.

use std::sync::Arc;

use revm::primitives::{Address, hash_map::Entry};

use super::{Changeset, Tracked};
use crate::{prefix::Prefix, source::StateSource};

impl Changeset {
    /// Lays an empty changeset over this one. Returns it, and the state so far as a source, for transactions that go on
    /// from here; `source` has the state before the block. To be followed by [`detach`](Self::detach) and
    /// [`absorb`](Self::absorb).
    ///
    /// # Panics
    ///
    /// If `top` is not empty. The caller has made sure that this one is not [odd](Self::is_odd).
    pub fn cover(self: &Arc<Self>, mut top: Self, source: Arc<dyn StateSource>) -> (Self, Prefix) {
        assert!(top.accounts.is_empty(), "it is to be laid over another one");
        debug_assert!(!self.is_odd(), "cells would show something else");
        top.below = Some(Arc::clone(self));
        (top, Prefix::new(source, Arc::clone(self)))
    }

    /// Lets go of what is below; nothing may be changed here any more before that is to [`absorb`](Self::absorb) this.
    pub fn detach(&mut self) {
        self.below = None;
    }

    /// Takes the changes that were made on top of these. The other changeset is empty then, and keeps its room.
    pub fn absorb(&mut self, top: &mut Self) {
        for tracked in top.accounts.drain(..) {
            let position = match self.positions.entry(tracked.address) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let position = self.accounts.len() as u32;
                    entry.insert(position);
                    self.odd += usize::from(tracked.odd);
                    if tracked.changed {
                        self.changed.push(position);
                    }
                    self.accounts.push(tracked);
                    continue;
                }
            };
            let below = &mut self.accounts[position as usize];
            if tracked.changed && !below.changed {
                self.changed.push(position);
            }
            below.absorb(tracked);
            below.recount(&mut self.odd);
        }
        top.clear();
    }

    /// An account to be changed on top of this.
    pub(super) fn seen_from_above(&self, address: &Address) -> Option<Tracked> {
        let tracked = &self.accounts[self.position(address)?];
        let mut above = Tracked::new(*address, tracked.transition.info.clone());
        above.transition.status = tracked.transition.status;
        Some(above)
    }

    /// Whether an account was changed below.
    pub(super) fn has_changed_below(&self, address: &Address) -> bool {
        let Some(below) = &self.below else { return false };
        below.position(address).is_some_and(|position| below.accounts[position].changed)
    }
}

impl Tracked {
    /// Takes what was changed on top.
    fn absorb(&mut self, top: Self) {
        let Self { wiped, changed, slots, transition, .. } = top;
        if wiped {
            self.wiped = true;
            self.slots.clear();
        }
        self.slots.extend(slots);
        if !self.slots.is_empty() {
            // Kept ones must not be outdated.
            for (key, slot) in &transition.storage {
                if let Some(kept) = self.slots.get_mut(key) {
                    *kept = slot.present_value;
                }
            }
        }
        if !changed {
            self.transition.status = transition.status;
        } else if !self.changed {
            self.changed = true;
            self.transition = transition;
        } else {
            self.transition.info = transition.info;
            self.transition.status = transition.status;
            if transition.storage_was_destroyed {
                self.transition.storage_was_destroyed = true;
                self.transition.storage = transition.storage;
                return;
            }
            self.transition.storage.reserve(transition.storage.len());
            for (key, slot) in transition.storage {
                match self.transition.storage.entry(key) {
                    Entry::Vacant(entry) => {
                        entry.insert(slot);
                    }
                    // It holds what it held before the block.
                    Entry::Occupied(entry) if entry.get().original_value() == slot.present_value() => {
                        entry.remove();
                    }
                    Entry::Occupied(mut entry) => entry.get_mut().present_value = slot.present_value,
                }
            }
        }
    }
}
