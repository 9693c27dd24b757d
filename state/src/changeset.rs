//! The changeset: transactions' state changes, in order, as revm's `BundleState` with reverts.
//!
//! It gives what `revm_database::State` gives after `commit` of each transaction. Where transactions run one after
//! the other it is also the state that they read from; where they run in parallel, the cells serve the reads, and
//! what slots hold is found in the transitions afterwards.

use std::{borrow::Cow, sync::Arc};

use revm::{
    database::{
        AccountStatus, BundleState, StorageWithOriginalValues, TransitionAccount, states::StorageSlot,
    },
    primitives::{Address, AddressMap, StorageKeyMap, U256, hash_map::Entry},
    state::{Account, AccountInfo, EvmState, EvmStorage},
};

use crate::{
    bundle::bundle,
    prefix::{self, Prefix},
    source::StateSource,
};

type Transition = TransitionAccount<Option<Cow<'static, EvmStorage>>>;

/// Collects the state changes of a block's transactions in their order.
#[derive(Debug, Default)]
pub struct Changeset {
    positions: AddressMap<u32>,
    accounts: Vec<Tracked>,
    transitions: Vec<(Address, TransitionAccount)>,
}

/// An account as the transactions so far left it.
#[derive(Debug)]
struct Tracked {
    address: Address,
    info: Option<AccountInfo>,
    status: AccountStatus,
    /// A transaction created, destroyed or removed it.
    wiped: bool,
    /// The slots that are known, if they are kept.
    slots: StorageKeyMap<U256>,
    /// Where its transition is, if a transaction changed it.
    transition: Option<u32>,
}

impl Changeset {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// No changes, and room for those of so many accounts.
    pub fn with_capacity(accounts: usize) -> Self {
        let mut positions = AddressMap::default();
        positions.reserve(accounts);
        Self { positions, accounts: Vec::with_capacity(accounts), transitions: Vec::with_capacity(accounts) }
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
        let Some(transition) = tracked.apply(account, keep) else { return };
        if let Some(at) = tracked.transition {
            return self.transitions[at as usize].1.update(transition);
        }
        tracked.transition = Some(self.transitions.len() as u32);
        self.transitions.push((address, transition.map_storage(changed)));
    }

    /// Adds to the balance of an account that transactions have changed before, in wei; returns what it holds then.
    /// `None` where that is not all there is to it: the account is not known, is gone or empty, or the sum overflows.
    /// Then nothing is changed.
    pub fn credit(&mut self, address: &Address, amount: U256, with_code: bool) -> Option<U256> {
        let position = *self.positions.get(address)?;
        let tracked = &mut self.accounts[position as usize];
        let transition = &mut self.transitions[tracked.transition? as usize].1;
        let info = tracked.info.as_mut()?;
        if info.is_empty() || (with_code && info.code.is_none()) {
            return None;
        }
        let sum = info.balance.checked_add(amount)?;
        tracked.status = tracked.status.on_changed(info.has_no_code_and_nonce());
        info.balance = sum;
        transition.info.as_mut()?.balance = sum;
        transition.status = tracked.status;
        Some(sum)
    }

    /// The position of an account; where it is not known yet, it is added.
    fn place(&mut self, address: Address, new: impl FnOnce() -> Tracked) -> usize {
        match self.positions.entry(address) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                entry.insert(self.accounts.len() as u32);
                self.accounts.push(new());
                self.accounts.len() - 1
            }
        }
    }

    /// Notes an account as the source knows it; returns its position.
    pub fn load(&mut self, address: Address, info: Option<AccountInfo>) -> usize {
        self.place(address, || Tracked::new(address, info))
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
        self.accounts[position].info.as_ref()
    }

    /// The account as the transactions so far left it; the outer `None` if nothing is known of it.
    pub fn account(&self, address: &Address) -> Option<Option<&AccountInfo>> {
        self.position(address).map(|position| self.info(position))
    }

    /// Whether a transaction created, destroyed or removed the account at a position.
    pub fn is_wiped(&self, position: usize) -> bool {
        self.accounts[position].wiped
    }

    /// What a slot of the account at a position holds, as far as the source need not be asked.
    #[inline]
    pub fn slot(&self, position: usize, slot: &U256) -> Option<U256> {
        let account = &self.accounts[position];
        if account.info.is_none() {
            return Some(U256::ZERO);
        }
        if let Some(value) = account.slots.get(slot) {
            return Some(*value);
        }
        // What parallel transactions have changed.
        let transition = account.transition.map(|at| &self.transitions[at as usize].1);
        match transition.and_then(|transition| transition.storage.get(slot)) {
            Some(slot) => Some(slot.present_value),
            None => account.status.is_storage_known().then_some(U256::ZERO),
        }
    }

    /// Keeps what the source says of a slot.
    #[inline]
    pub fn keep_slot(&mut self, position: usize, slot: U256, value: U256) {
        self.accounts[position].slots.insert(slot, value);
    }

    /// What is known of the state so far, for transactions that go on from here over this source of the state before the
    /// block. `None` where they would not find what they would find here, see [`Prefix`]: then nothing is changed.
    pub fn freeze(&mut self, source: Arc<dyn StateSource>) -> Option<Prefix> {
        let known = |at: &Tracked| at.transition.is_some() || at.wiped || !at.slots.is_empty();
        if self.accounts.iter().any(|at| self.is_odd(at)) {
            return None;
        }
        let transitions = &self.transitions;
        let accounts = self.accounts.iter_mut().filter(|at| known(at)).map(|at| {
            // Where the source does not know better they are needed again after these transactions.
            let needed = at.status.is_storage_known();
            let mut slots = if needed { at.slots.clone() } else { std::mem::take(&mut at.slots) };
            if let Some(transition) = at.transition {
                for (slot, value) in &transitions[transition as usize].1.storage {
                    slots.entry(*slot).or_insert(value.present_value);
                }
            }
            (at.address, prefix::Account { info: at.info.clone(), status: at.status, wiped: at.wiped, slots })
        });
        Some(Prefix::new(source, accounts.collect()))
    }

    /// Whether the cells of parallel transactions would show something else of an account than revm's `State` does.
    /// They go by what the source says, and of a changed account this is not what it said: it may have come into
    /// being in the block and have lost the empty code at hand, or have neither nonce nor code and yet slots that
    /// count.
    fn is_odd(&self, at: &Tracked) -> bool {
        let (Some(info), Some(transition)) = (&at.info, at.transition) else { return false };
        let transition = &self.transitions[transition as usize].1;
        let is_new = at.wiped || transition.previous_info.is_none();
        let has_slots = !at.slots.is_empty() || !transition.storage.is_empty();
        info.is_empty_code_hash()
            && (is_new && info.code.is_none() || at.status.is_storage_known() && info.nonce == 0 && has_slots)
    }

    /// The net changes and how to revert them.
    pub fn finish(self) -> BundleState {
        bundle(self.transitions)
    }
}

/// The slots that a transaction changed, with what they held before it.
fn changed(storage: Option<Cow<'_, EvmStorage>>) -> StorageWithOriginalValues {
    let Some(storage) = storage else { return StorageWithOriginalValues::default() };
    storage
        .iter()
        .filter(|(_, slot)| slot.is_changed())
        .map(|(key, slot)| (*key, StorageSlot::new_changed(slot.original_value, slot.present_value)))
        .collect()
}

impl Tracked {
    fn new(address: Address, info: Option<AccountInfo>) -> Self {
        let status = match &info {
            None => AccountStatus::LoadedNotExisting,
            Some(info) if info.is_empty() => AccountStatus::LoadedEmptyEIP161,
            Some(_) => AccountStatus::Loaded,
        };
        let slots = StorageKeyMap::default();
        Self { address, info, status, wiped: false, slots, transition: None }
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

    /// The order of the cases is that of `revm_database::CacheState`: destroyed, created, removed as empty,
    /// changed.
    fn apply(&mut self, mut account: Account, keep: bool) -> Option<Transition> {
        account.info.account_id = None;
        let previous_status = self.status;
        let previous_info = self.info.take();
        let (info, storage) = if account.is_selfdestructed() {
            self.status = previous_status.on_selfdestructed();
            if previous_status == AccountStatus::LoadedNotExisting {
                return None;
            }
            self.wipe();
            (None, None)
        } else if account.is_created() {
            self.status = previous_status.on_created();
            self.wipe();
            (Some(account.info), Some(account.storage))
        } else if account.is_empty() {
            self.status = previous_status.on_touched_empty_post_eip161();
            if matches!(
                previous_status,
                AccountStatus::LoadedNotExisting | AccountStatus::Destroyed | AccountStatus::DestroyedAgain
            ) {
                return None;
            }
            self.wipe();
            (None, None)
        } else {
            let without_nonce_and_code =
                previous_info.as_ref().is_some_and(AccountInfo::has_no_code_and_nonce);
            self.status = previous_status.on_changed(without_nonce_and_code);
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
        self.info.clone_from(&info);
        let storage_was_destroyed = storage.is_none();
        Some(TransitionAccount {
            info,
            status: self.status,
            previous_info,
            previous_status,
            storage: storage.map(Cow::Owned),
            storage_was_destroyed,
        })
    }
}
