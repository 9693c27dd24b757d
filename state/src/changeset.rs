//! The changeset: transactions' state changes, in order, as revm's `BundleState` with reverts.
//!
//! It gives what `revm_database::State` gives after `commit` of each transaction, without keeping a second
//! copy of the state to read from: the cells serve the reads.

use std::borrow::Cow;

use revm::{
    database::{
        AccountStatus, BundleState, TransitionAccount, TransitionState, states::bundle_state::BundleRetention,
    },
    primitives::{Address, AddressMap},
    state::{Account, AccountInfo, EvmState, EvmStorage},
};

type Transition = TransitionAccount<Option<Cow<'static, EvmStorage>>>;

/// Collects the state changes of a block's transactions in their order.
#[derive(Debug, Default)]
pub struct Changeset {
    accounts: AddressMap<Tracked>,
    transitions: TransitionState,
}

/// An account as the transactions so far left it.
#[derive(Debug)]
struct Tracked {
    info: Option<AccountInfo>,
    status: AccountStatus,
}

impl Changeset {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the next transaction changed, as revm's journal finalised it.
    pub fn apply(&mut self, state: EvmState) {
        for (address, account) in state {
            if !account.is_touched() {
                continue;
            }
            let tracked = self.accounts.entry(address).or_insert_with(|| Tracked::loaded(&account));
            if let Some(transition) = tracked.apply(account) {
                self.transitions.add_transition(address, transition);
            }
        }
    }

    /// The account as the transactions so far left it; the outer `None` if none of them changed it.
    pub fn account(&self, address: &Address) -> Option<Option<&AccountInfo>> {
        self.accounts.get(address).map(|tracked| tracked.info.as_ref())
    }

    /// The net changes and how to revert them.
    pub fn finish(self) -> BundleState {
        let mut bundle = BundleState::default();
        bundle.apply_transitions_and_create_reverts(self.transitions, BundleRetention::Reverts);
        bundle
    }
}

impl Tracked {
    /// The account before the transaction that touches it first.
    fn loaded(account: &Account) -> Self {
        if account.is_loaded_as_not_existing() {
            return Self { info: None, status: AccountStatus::LoadedNotExisting };
        }
        let mut original = account.original_info();
        original.account_id = None;
        let status =
            if original.is_empty() { AccountStatus::LoadedEmptyEIP161 } else { AccountStatus::Loaded };
        Self { info: Some(original), status }
    }

    /// The order of the cases is that of `revm_database::CacheState`: destroyed, created, removed as empty,
    /// changed.
    fn apply(&mut self, account: Account) -> Option<Transition> {
        let previous_status = self.status;
        let previous_info = self.info.take();
        let (info, storage) = if account.is_selfdestructed() {
            self.status = previous_status.on_selfdestructed();
            if previous_status == AccountStatus::LoadedNotExisting {
                return None;
            }
            (None, None)
        } else if account.is_created() {
            self.status = previous_status.on_created();
            (Some(account.info), Some(account.storage))
        } else if account.is_empty() {
            self.status = previous_status.on_touched_empty_post_eip161();
            if matches!(
                previous_status,
                AccountStatus::LoadedNotExisting | AccountStatus::Destroyed | AccountStatus::DestroyedAgain
            ) {
                return None;
            }
            (None, None)
        } else {
            let without_nonce_and_code =
                previous_info.as_ref().is_some_and(AccountInfo::has_no_code_and_nonce);
            self.status = previous_status.on_changed(without_nonce_and_code);
            (Some(account.info), Some(account.storage))
        };
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
