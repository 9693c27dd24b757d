//! From the transitions of a block's accounts to revm's `BundleState` with reverts.
//!
//! revm's own conversion serves every case, and copies each account several times. Nearly all accounts of a block were
//! only changed, or came into being: these are moved.

use revm::{
    database::{
        AccountRevert, AccountStatus, BundleAccount, BundleState, RevertToSlot, TransitionAccount,
        TransitionState,
        states::{bundle_state::BundleRetention, reverts::AccountInfoRevert},
    },
    primitives::{Address, AddressMap, StorageKeyMap},
    state::AccountInfo,
};

use crate::sync::{AtomicBool, Mutex, Ordering, SPINS};

/// Accounts that are handed over at a time. Fewer under shuttle, so that schedules see it.
const PART: usize = if SPINS < 100 { 2 } else { 32 };

/// Where another thread may help with a bundle: it puts the accounts into their map, while the one that has the changeset
/// goes on with how to revert them.
#[derive(Debug, Default)]
pub struct Bundling {
    parts: Mutex<Vec<Part>>,
    accounts: Mutex<Accounts>,
    joined: AtomicBool,
    over: AtomicBool,
}

type Part = Vec<(Address, BundleAccount)>;

#[derive(Debug, Default)]
struct Accounts {
    state: AddressMap<BundleAccount>,
    /// As `BundleState::state_size`.
    size: usize,
}

impl Accounts {
    fn insert(&mut self, address: Address, account: BundleAccount) {
        self.size += account.size_hint();
        self.state.insert(address, account);
    }

    fn extend(&mut self, part: Part) {
        for (address, account) in part {
            self.insert(address, account);
        }
    }
}

impl Bundling {
    /// Nothing to help with yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nobody helps yet: the caller does from now on.
    pub fn join(&self) -> bool {
        // Relaxed, here and below: the locks guard what the threads share. These only say who comes, and when to go.
        !self.joined.swap(true, Ordering::Relaxed)
    }

    /// The caller helps no more; another one may.
    pub fn leave(&self) {
        // Relaxed: as above.
        self.joined.store(false, Ordering::Relaxed);
    }

    /// Whether somebody helps.
    pub fn is_joined(&self) -> bool {
        // Relaxed: as above.
        self.joined.load(Ordering::Relaxed)
    }

    /// Whether no more help is needed.
    pub fn is_over(&self) -> bool {
        // Relaxed: as above.
        self.over.load(Ordering::Relaxed)
    }

    /// No more help is needed.
    pub fn end(&self) {
        // Relaxed: as above.
        self.over.store(true, Ordering::Relaxed);
    }

    /// Does a part of the work; `false`: there is none, or another thread is at it.
    pub fn help(&self) -> bool {
        let Some(mut accounts) = self.accounts.try_lock() else { return false };
        // Bound to a name, so that the lock is free again.
        let part = self.parts.lock().pop();
        let found = part.is_some();
        accounts.extend(part.unwrap_or_default());
        found
    }
}

/// The bundle of one block in the making.
pub(crate) struct Bundler<'a> {
    bundle: BundleState,
    reverts: Vec<(Address, AccountRevert)>,
    accounts: Accounts,
    /// What revm's own conversion serves.
    other: TransitionState,
    bundling: Option<&'a Bundling>,
    part: Part,
    handed_over: usize,
}

impl<'a> Bundler<'a> {
    /// For so many accounts.
    pub(crate) fn new(accounts: usize, bundling: Option<&'a Bundling>) -> Self {
        let bundling = bundling.filter(|_| accounts > PART);
        let mut own = Accounts::default();
        match bundling {
            Some(bundling) => bundling.accounts.lock().state.reserve(accounts),
            None => own.state.reserve(accounts),
        }
        Self {
            bundle: BundleState::default(),
            reverts: Vec::with_capacity(accounts),
            accounts: own,
            other: TransitionState::default(),
            bundling,
            part: Vec::new(),
            handed_over: 0,
        }
    }

    pub(crate) fn add(&mut self, address: Address, transition: TransitionAccount) {
        if !is_plain(&transition) {
            self.other.transitions.insert(address, transition);
            return;
        }
        let hash = |info: Option<&AccountInfo>| info.map(|info| info.code_hash);
        if hash(transition.info.as_ref()) != hash(transition.previous_info.as_ref())
            && let Some(info) = &transition.info
            && let Some(code) = &info.code
        {
            self.bundle.contracts.insert(info.code_hash, code.clone());
        }
        let Some(revert) = revert(&transition) else { return };
        self.bundle.reverts_size += revert.size_hint();
        self.reverts.push((address, revert));
        let TransitionAccount { info, status, previous_info, storage, .. } = transition;
        let account = BundleAccount { info, original_info: previous_info, storage, status };
        match self.bundling {
            None => self.accounts.insert(address, account),
            Some(bundling) => {
                if self.part.capacity() == 0 {
                    self.part.reserve_exact(PART);
                }
                self.part.push((address, account));
                self.handed_over += 1;
                if self.part.len() == PART {
                    bundling.parts.lock().push(std::mem::take(&mut self.part));
                }
            }
        }
    }

    pub(crate) fn finish(self) -> BundleState {
        let Self { mut bundle, mut reverts, mut accounts, other, bundling, part, handed_over } = self;
        if let Some(bundling) = bundling {
            // Whoever helps is through with its part when the lock is free, and finds no more afterwards.
            let mut all = bundling.accounts.lock();
            all.extend(part);
            let left = std::mem::take(&mut *bundling.parts.lock());
            left.into_iter().for_each(|part| all.extend(part));
            accounts = std::mem::take(&mut *all);
            assert_eq!(accounts.state.len(), handed_over, "a part of the bundle was lost to a panic");
        }
        bundle.state = accounts.state;
        bundle.state_size = accounts.size;
        bundle.apply_transitions_and_create_reverts(other, BundleRetention::Reverts);
        if let Some(last) = bundle.reverts.last_mut() {
            if last.is_empty() {
                // Not copied.
                *last = reverts;
            } else {
                last.append(&mut reverts);
            }
        }
        bundle
    }
}

/// Whether an account was only changed, or came into being.
fn is_plain(transition: &TransitionAccount) -> bool {
    use AccountStatus::{Changed, InMemoryChange, Loaded, LoadedEmptyEIP161, LoadedNotExisting};
    matches!(
        (transition.previous_status, transition.status),
        (Loaded, Changed) | (Loaded | LoadedEmptyEIP161 | LoadedNotExisting, InMemoryChange)
    )
}

/// How to revert such an account; `None` where there is nothing to revert. The rule is that of
/// `revm_database::BundleAccount::update_and_create_revert`.
fn revert(transition: &TransitionAccount) -> Option<AccountRevert> {
    let account = if transition.previous_status == AccountStatus::LoadedNotExisting {
        AccountInfoRevert::DeleteIt
    } else if transition.info == transition.previous_info {
        AccountInfoRevert::DoNothing
    } else {
        AccountInfoRevert::RevertTo(transition.previous_info.clone().unwrap_or_default())
    };
    let mut storage = StorageKeyMap::default();
    storage.reserve(transition.storage.len());
    for (key, slot) in transition.storage.iter().filter(|(_, slot)| slot.is_changed()) {
        storage.insert(*key, RevertToSlot::Some(slot.previous_or_original_value));
    }
    let revert =
        AccountRevert { account, storage, previous_status: transition.previous_status, wipe_storage: false };
    (!revert.is_empty()).then_some(revert)
}
