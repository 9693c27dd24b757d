//! The changeset: transactions' state changes, in order, as revm's `BundleState` with reverts.
//!
//! It gives what `revm_database::State` gives after `commit` of each transaction. Where transactions run one after
//! the other it is also the state that they read from; where they run in parallel, the cells serve the reads, and
//! what slots hold is found in the transitions afterwards.
//!
//! A large block's changeset takes tens of megabytes. Most of its cost is memory that is touched for the first time, so an
//! account is in one place only, and a changeset can be used again.

use std::{borrow::Cow, sync::Arc};

use revm::{
    database::{
        AccountStatus, BundleState, StorageWithOriginalValues, TransitionAccount, states::StorageSlot,
    },
    primitives::{Address, AddressMap, StorageKeyMap, U256, hash_map::Entry},
    state::{Account, AccountInfo, EvmState, EvmStorage},
};

use crate::{
    bundle::{Bundler, Bundling},
    source::as_found,
};

mod changes;
mod layers;

pub use changes::{Before, Changes};

/// Collects the state changes of a block's transactions in their order.
#[derive(Debug, Default)]
pub struct Changeset {
    positions: AddressMap<u32>,
    accounts: Vec<Tracked>,
    /// The positions of those that a transaction has changed, in the order of their first change.
    changed: Vec<u32>,
    /// How many are odd.
    odd: usize,
    /// What transactions before those here have changed, see `layers.rs`.
    below: Option<Arc<Changeset>>,
}

/// An account as the transactions so far left it.
#[derive(Debug)]
struct Tracked {
    address: Address,
    /// A transaction created, destroyed or removed it.
    wiped: bool,
    /// A transaction changed it.
    changed: bool,
    /// It counts among the odd ones.
    odd: bool,
    /// The slots that are known, if they are kept.
    slots: StorageKeyMap<U256>,
    /// What it is, and what it was before the first transaction that changed it.
    transition: TransitionAccount,
}

impl Changeset {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for the changes of so many more accounts.
    pub fn reserve(&mut self, accounts: usize) {
        self.positions.reserve(accounts);
        self.accounts.reserve(accounts);
        self.changed.reserve(accounts);
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// How many accounts the transactions so far have changed.
    pub fn changes(&self) -> usize {
        self.changed.len()
    }

    /// For about how many accounts there is room.
    pub fn capacity(&self) -> usize {
        self.accounts.capacity()
    }

    /// Adds what the next transaction changed, as revm's journal finalised it.
    pub fn apply(&mut self, state: EvmState) {
        for (address, account) in state {
            self.apply_account(address, account, None, false);
        }
    }

    /// As [`apply`](Self::apply), and keeps what the slots hold at hand, to be read. An account's id is its position
    /// here.
    pub fn apply_and_keep(&mut self, state: EvmState) {
        for (address, account) in state {
            let position = account.info.account_id.map(|id| id.get());
            self.apply_account(address, account, position, true);
        }
    }

    fn apply_account(&mut self, address: Address, account: Account, position: Option<usize>, keep: bool) {
        if !account.is_touched() {
            return;
        }
        let position = match position {
            Some(position) if self.accounts.get(position).is_some_and(|at| at.address == address) => position,
            _ => self.place(address, || Tracked::loaded(address, &account)),
        };
        let tracked = &mut self.accounts[position];
        if tracked.apply(account, keep) {
            self.changed.push(position as u32);
        }
        tracked.recount(&mut self.odd);
    }

    /// Adds to the balance of an account that transactions have changed before, in wei; returns what it holds then.
    /// `None` where that is not all there is to it: the account is not known, is gone or empty, or the sum overflows.
    /// Then nothing is changed.
    pub fn credit(&mut self, address: &Address, amount: U256, with_code: bool) -> Option<U256> {
        let position = match self.position(address) {
            Some(position) if self.accounts[position].changed => position,
            _ if self.has_changed_below(address) => {
                self.place(*address, || unreachable!("it is known below"))
            }
            _ => return None,
        };
        let tracked = &mut self.accounts[position];
        let info = tracked.transition.info.as_ref()?;
        if info.is_empty() || (with_code && info.code.is_none()) {
            return None;
        }
        let balance = info.balance.checked_add(amount)?;
        if !tracked.changed {
            // It was changed below, so what it was before is there.
            tracked.changed = true;
            self.changed.push(position as u32);
        }
        let TransitionAccount { info, status, .. } = &mut tracked.transition;
        let info = info.as_mut()?;
        info.balance = balance;
        *status = status.on_changed(info.has_no_code_and_nonce());
        tracked.recount(&mut self.odd);
        Some(balance)
    }

    /// Changes what the account at a position holds, besides its storage, as a transaction does that touches it. It must not be
    /// empty afterwards; one that is missing comes into being, without being created.
    ///
    /// # Panics
    ///
    /// If there is no account at this position.
    pub fn update(&mut self, position: usize, change: impl FnOnce(&mut AccountInfo)) {
        let tracked = &mut self.accounts[position];
        let transition = &mut tracked.transition;
        let status = transition.status;
        if !tracked.changed {
            tracked.changed = true;
            self.changed.push(position as u32);
            transition.previous_info = transition.info.clone();
            transition.previous_status = status;
        }
        let had_nothing = transition.info.as_ref().is_some_and(AccountInfo::has_no_code_and_nonce);
        transition.status = status.on_changed(had_nothing);
        change(transition.info.get_or_insert_default());
        tracked.recount(&mut self.odd);
    }

    /// The position of an account; where it is not known yet, it is added: as it is below, or as a new one.
    fn place(&mut self, address: Address, new: impl FnOnce() -> Tracked) -> usize {
        match self.positions.entry(address) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                entry.insert(self.accounts.len() as u32);
                let below = self.below.as_ref().and_then(|below| below.seen_from_above(&address));
                self.accounts.push(below.unwrap_or_else(new));
                self.accounts.len() - 1
            }
        }
    }

    /// Notes an account as the source knows it; returns its position.
    pub fn load(&mut self, address: Address, info: Option<AccountInfo>) -> usize {
        self.place(address, || Tracked::new(address, as_found(info)))
    }

    /// An account's position, if it is known.
    #[inline]
    pub fn position(&self, address: &Address) -> Option<usize> {
        self.positions.get(address).map(|position| *position as usize)
    }

    /// Whether this account is at this position.
    #[inline]
    pub fn is_at(&self, position: usize, address: &Address) -> bool {
        self.accounts.get(position).is_some_and(|at| at.address == *address)
    }

    /// The account at a position as the transactions so far left it.
    #[inline]
    pub fn info(&self, position: usize) -> Option<&AccountInfo> {
        self.accounts[position].transition.info.as_ref()
    }

    /// The account as the transactions so far left it; the outer `None` if nothing is known of it.
    pub fn account(&self, address: &Address) -> Option<Option<&AccountInfo>> {
        let here = self.position(address).map(|position| self.info(position));
        here.or_else(|| self.below.as_ref()?.account(address))
    }

    /// Whether the cells of parallel transactions that go on from here would show something else than revm's `State` does:
    /// then these changes cannot be [covered](Self::cover).
    pub fn is_odd(&self) -> bool {
        self.odd > 0
    }

    /// Whether a transaction created, destroyed or removed the account at a position.
    pub fn is_wiped(&self, position: usize) -> bool {
        self.accounts[position].wiped
    }

    /// What a slot of the account at a position holds, as far as the source need not be asked.
    #[inline]
    pub fn slot(&self, position: usize, slot: &U256) -> Option<U256> {
        let account = &self.accounts[position];
        let transition = &account.transition;
        if transition.info.is_none() {
            return Some(U256::ZERO);
        }
        if let Some(value) = account.slots.get(slot) {
            return Some(*value);
        }
        // What parallel transactions have changed.
        match transition.storage.get(slot) {
            Some(slot) => Some(slot.present_value),
            None => transition.status.is_storage_known().then_some(U256::ZERO),
        }
    }

    /// Keeps what the source says of a slot.
    #[inline]
    pub fn keep_slot(&mut self, position: usize, slot: U256, value: U256) {
        self.accounts[position].slots.insert(slot, value);
    }

    /// The net changes and how to revert them.
    pub fn finish(mut self) -> BundleState {
        self.take_bundle(None)
    }

    /// The net changes and how to revert them; where it is given, whoever helps with `bundling` does a part of the work. The
    /// changeset is empty then, and keeps its room.
    ///
    /// # Panics
    ///
    /// If whoever helped has panicked.
    pub fn take_bundle(&mut self, bundling: Option<&Bundling>) -> BundleState {
        let mut bundler = Bundler::new(self.changed.len(), bundling);
        for position in self.changed.drain(..) {
            let tracked = &mut self.accounts[position as usize];
            bundler.add(tracked.address, std::mem::take(&mut tracked.transition));
        }
        let bundle = bundler.finish();
        self.clear();
        bundle
    }

    /// Forgets all changes, and keeps the room that they took.
    fn clear(&mut self) {
        self.positions.clear();
        self.accounts.clear();
        self.changed.clear();
        self.odd = 0;
        self.below = None;
    }
}

/// The slots that a transaction changed, with what they held before it.
fn changed(storage: Option<EvmStorage>) -> StorageWithOriginalValues {
    let mut slots = StorageWithOriginalValues::default();
    let Some(storage) = storage else { return slots };
    let changed = || storage.iter().filter(|(_, slot)| slot.is_changed());
    slots.reserve(changed().count());
    slots.extend(
        changed()
            .map(|(key, slot)| (*key, StorageSlot::new_changed(slot.original_value, slot.present_value))),
    );
    slots
}

impl Tracked {
    fn new(address: Address, info: Option<AccountInfo>) -> Self {
        let status = match &info {
            None => AccountStatus::LoadedNotExisting,
            Some(info) if info.is_empty() => AccountStatus::LoadedEmptyEIP161,
            Some(_) => AccountStatus::Loaded,
        };
        let transition = TransitionAccount { info, status, ..TransitionAccount::default() };
        Self {
            address,
            wiped: false,
            changed: false,
            odd: false,
            slots: StorageKeyMap::default(),
            transition,
        }
    }

    /// The account before the transaction that touches it first.
    fn loaded(address: Address, account: &Account) -> Self {
        let original = (!account.is_loaded_as_not_existing()).then(|| {
            let mut original = account.original_info();
            original.account_id = None;
            original
        });
        Self::new(address, original)
    }

    fn wipe(&mut self) {
        self.wiped = true;
        self.slots.clear();
    }

    /// Adds what a transaction did to it; returns whether it is the first one that changed it. The order of the cases is
    /// that of `revm_database::CacheState`: destroyed, created, removed as empty, changed.
    fn apply(&mut self, mut account: Account, keep: bool) -> bool {
        account.info.account_id = None;
        let previous_status = self.transition.status;
        let (info, storage) = if account.is_selfdestructed() {
            self.transition.status = previous_status.on_selfdestructed();
            if previous_status == AccountStatus::LoadedNotExisting {
                return false;
            }
            self.wipe();
            (None, None)
        } else if account.is_created() {
            self.transition.status = previous_status.on_created();
            self.wipe();
            (Some(account.info), Some(account.storage))
        } else if account.is_empty() {
            self.transition.status = previous_status.on_touched_empty_post_eip161();
            if matches!(
                previous_status,
                AccountStatus::LoadedNotExisting | AccountStatus::Destroyed | AccountStatus::DestroyedAgain
            ) {
                return false;
            }
            self.wipe();
            (None, None)
        } else {
            let without_nonce_and_code =
                self.transition.info.as_ref().is_some_and(AccountInfo::has_no_code_and_nonce);
            self.transition.status = previous_status.on_changed(without_nonce_and_code);
            if without_nonce_and_code && !account.storage.is_empty() {
                // From here on a slot that is not known counts as zero, but these were read before.
                self.slots.extend(account.storage.iter().map(|(key, slot)| (*key, slot.present_value)));
            }
            (Some(account.info), Some(account.storage))
        };
        // Kept ones must not be outdated.
        if (keep || !self.slots.is_empty())
            && let Some(storage) = &storage
        {
            let changed = storage.iter().filter(|(_, slot)| slot.is_changed());
            self.slots.extend(changed.map(|(key, slot)| (*key, slot.present_value)));
        }
        let storage_was_destroyed = storage.is_none();
        let status = self.transition.status;
        if self.changed {
            self.transition.update(TransitionAccount {
                info,
                status,
                previous_info: None,
                previous_status,
                storage: storage.map(Cow::Owned),
                storage_was_destroyed,
            });
            return false;
        }
        self.changed = true;
        self.transition = TransitionAccount {
            info,
            status,
            previous_info: self.transition.info.take(),
            previous_status,
            storage: changed(storage),
            storage_was_destroyed,
        };
        true
    }

    /// Sees to it that it is counted if it is odd.
    fn recount(&mut self, odd: &mut usize) {
        let is_odd = self.is_odd();
        let was_odd = std::mem::replace(&mut self.odd, is_odd);
        *odd = *odd + usize::from(self.odd) - usize::from(was_odd);
    }

    /// Whether the cells of parallel transactions would show something else of the account than revm's `State` does.
    /// They go by what the source says, and of a changed account this is not what it said: it may have come into
    /// being in the block and have lost the empty code at hand, or have neither nonce nor code and yet slots that
    /// count.
    fn is_odd(&self) -> bool {
        let TransitionAccount { info: Some(info), status, previous_info, storage, .. } = &self.transition
        else {
            return false;
        };
        let is_new = self.wiped || previous_info.is_none();
        let has_slots = !self.slots.is_empty() || !storage.is_empty();
        self.changed
            && info.is_empty_code_hash()
            && (is_new && info.code.is_none() || status.is_storage_known() && info.nonce == 0 && has_slots)
    }
}
