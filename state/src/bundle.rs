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
    primitives::{Address, StorageKeyMap},
    state::AccountInfo,
};

/// The bundle of one block.
pub(crate) fn bundle(transitions: Vec<(Address, TransitionAccount)>) -> BundleState {
    let mut bundle = BundleState::default();
    let mut reverts = Vec::with_capacity(transitions.len());
    bundle.state.reserve(transitions.len());
    let mut other = TransitionState::default();
    for (address, transition) in transitions {
        if !is_plain(&transition) {
            other.transitions.insert(address, transition);
            continue;
        }
        let hash = |info: Option<&AccountInfo>| info.map(|info| info.code_hash);
        if hash(transition.info.as_ref()) != hash(transition.previous_info.as_ref())
            && let Some(info) = &transition.info
            && let Some(code) = &info.code
        {
            bundle.contracts.insert(info.code_hash, code.clone());
        }
        let Some(revert) = revert(&transition) else { continue };
        bundle.reverts_size += revert.size_hint();
        reverts.push((address, revert));
        let TransitionAccount { info, status, previous_info, storage, .. } = transition;
        let account = BundleAccount { info, original_info: previous_info, storage, status };
        bundle.state_size += account.size_hint();
        bundle.state.insert(address, account);
    }
    bundle.apply_transitions_and_create_reverts(other, BundleRetention::Reverts);
    if let Some(last) = bundle.reverts.last_mut() {
        last.append(&mut reverts);
    }
    bundle
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
