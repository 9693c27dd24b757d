//! What one transaction changed, taken apart by whoever executed it: who adds it in order has little left to do, and frees no
//! memory of another thread.

use revm::{
    database::{TransitionAccount, states::StorageSlot},
    primitives::{Address, B256, KECCAK_EMPTY, U256, hash_map::Entry},
    state::{Account, AccountInfo},
};

use super::{Changeset, Tracked};

/// One transaction's changes. Its memory is used again.
#[derive(Debug, Default)]
pub struct Changes {
    accounts: Vec<Change>,
    /// Of all accounts, one after the other.
    slots: Vec<(U256, StorageSlot)>,
    /// Accounts of which there is more to say.
    others: Vec<(Address, Account)>,
}

/// What an account was before the transaction that touched it.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// The nonce.
    pub nonce: u64,
    /// The balance, in wei.
    pub balance: U256,
    /// The code's hash.
    pub code_hash: B256,
    /// What the transaction took the balance for, in wei, if it did not read it: what it has more or less then is to be added to
    /// what there is. `balance` is then what it was before the block, and counts for an account that no transaction has
    /// changed.
    pub assumed: Option<U256>,
}

impl Before {
    /// Whether it was a contract, or had sent a transaction.
    pub fn has_nonce_or_code(&self) -> bool {
        self.nonce != 0 || self.code_hash != KECCAK_EMPTY
    }
}

/// An account with nonce or code that stayed what it was, but for its nonce, its balance and some slots.
#[derive(Debug)]
struct Change {
    address: Address,
    info: AccountInfo,
    nonce: u64,
    balance: U256,
    /// See [`Before::assumed`].
    assumed: Option<U256>,
    slots: u32,
}

impl Changes {
    /// Adds an account that revm's journal has touched, with what it was before the transaction, if it existed.
    pub fn note(&mut self, address: Address, mut account: Account, before: Option<Before>) {
        account.info.account_id = None;
        let has_more_to_it = |before: &Before| {
            account.is_created()
                || account.is_selfdestructed()
                || account.is_loaded_as_not_existing()
                || account.is_empty()
                || account.info.code_hash != before.code_hash
                || !before.has_nonce_or_code()
        };
        let Some(Before { nonce, balance, assumed, .. }) = before.filter(|before| !has_more_to_it(before))
        else {
            debug_assert!(before.is_none_or(|before| before.assumed.is_none()), "its balance was read");
            return self.others.push((address, account));
        };
        let first = self.slots.len();
        let changed = account.storage.iter().filter(|(_, slot)| slot.is_changed());
        self.slots
            .extend(changed.map(|(key, slot)| {
                (*key, StorageSlot::new_changed(slot.original_value, slot.present_value))
            }));
        let slots = (self.slots.len() - first) as u32;
        self.accounts.push(Change { address, info: account.info, nonce, balance, assumed, slots });
    }

    /// Adds an account with nonce or code of which nothing changed but nonce and balance, and that is not empty.
    pub fn note_info(&mut self, address: Address, info: AccountInfo, before: Before) {
        let Before { nonce, balance, assumed, .. } = before;
        self.accounts.push(Change { address, info, nonce, balance, assumed, slots: 0 });
    }

    /// Whether a slot is among them.
    pub fn contain(&self, address: &Address, slot: &U256) -> bool {
        let mut first = 0;
        for change in &self.accounts {
            let slots = &self.slots[first..first + change.slots as usize];
            if change.address == *address {
                return slots.iter().any(|(key, _)| key == slot);
            }
            first += slots.len();
        }
        let other = self.others.iter().find(|(other, _)| other == address);
        other.and_then(|(_, account)| account.storage.get(slot)).is_some_and(|slot| slot.is_changed())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.accounts.clear();
        self.slots.clear();
        self.others.clear();
    }
}

impl Changeset {
    /// Adds what the next transaction changed, as [`apply`](Self::apply) does. There is nothing in `changes` then.
    pub fn add(&mut self, changes: &mut Changes) {
        let mut slots = changes.slots.drain(..);
        for Change { address, mut info, nonce, balance, assumed, slots: count } in changes.accounts.drain(..)
        {
            let position = self.place(address, || {
                Tracked::new(address, Some(AccountInfo { nonce, balance, ..info.clone() }))
            });
            let tracked = &mut self.accounts[position];
            if let Some(assumed) = assumed {
                let there = tracked.transition.info.as_ref().map_or(U256::ZERO, |info| info.balance);
                info.balance = there.wrapping_add(info.balance.wrapping_sub(assumed));
            }
            if tracked.change(info, slots.by_ref().take(count as usize)) {
                self.changed.push(position as u32);
            }
            tracked.recount(&mut self.odd);
        }
        drop(slots);
        for (address, account) in changes.others.drain(..) {
            self.apply_account(address, account, None, false);
        }
    }
}

impl Tracked {
    /// [`apply`](Self::apply) for an account that has nonce or code, before and afterwards; returns whether it is changed for
    /// the first time.
    fn change(&mut self, info: AccountInfo, slots: impl Iterator<Item = (U256, StorageSlot)>) -> bool {
        let transition = &mut self.transition;
        debug_assert!(transition.info.as_ref().is_some_and(|info| !info.has_no_code_and_nonce()));
        let previous_status = transition.status;
        let status = previous_status.on_changed(false);
        let keeps = !self.slots.is_empty();
        let kept = &mut self.slots;
        let slots = slots.inspect(|(key, slot)| {
            if keeps {
                kept.insert(*key, slot.present_value);
            }
        });
        if !self.changed {
            self.changed = true;
            *transition = TransitionAccount {
                info: Some(info),
                status,
                previous_info: transition.info.take(),
                previous_status,
                storage: slots.collect(),
                storage_was_destroyed: false,
            };
            return true;
        }
        transition.info = Some(info);
        transition.status = status;
        // As `TransitionAccount::update` of an account that is not destroyed.
        for (key, slot) in slots {
            match transition.storage.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(slot);
                }
                Entry::Occupied(mut entry) => {
                    if entry.get().original_value() == slot.present_value() {
                        entry.remove();
                    } else {
                        entry.get_mut().present_value = slot.present_value;
                    }
                }
            }
        }
        false
    }
}
