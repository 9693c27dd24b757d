//! A bundle that another thread helps with is the one that is made alone, and a changeset can be used again.
#![cfg(not(loom))]

use std::thread;

use counterpoint_state::{Bundling, Changeset};
use revm::{
    database::BundleState,
    primitives::{Address, U256},
    state::{Account, AccountInfo, EvmState, EvmStorageSlot},
};

const ACCOUNTS: u64 = if cfg!(miri) { 300 } else { 5_000 };

fn address(number: u64) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

/// Account by account: changed, new, changed with a slot, changed twice, or only read.
fn changes(first: u64) -> Vec<EvmState> {
    let mut changes = Vec::new();
    for number in first..first + ACCOUNTS {
        let before = AccountInfo::from_balance(U256::from(number + 1));
        let times = if number % 5 == 3 { 2 } else { 1 };
        let mut info = before.clone();
        for time in 0..times {
            let mut account = match number % 5 {
                1 => Account::new_not_existing(Default::default()),
                _ => Account::from(info.clone()),
            };
            info.balance += U256::from(7);
            account.info = info.clone();
            if number % 5 == 2 {
                let slot = EvmStorageSlot::new_changed(U256::from(1), U256::from(number), Default::default());
                account.storage.insert(U256::from(number), slot);
                account.info.nonce = 1 + time;
            }
            if number % 5 != 4 {
                account.mark_touch();
            }
            changes.push(EvmState::from_iter([(address(number), account)]));
        }
    }
    changes
}

fn apply(changeset: &mut Changeset, first: u64) {
    changes(first).into_iter().for_each(|state| changeset.apply(state));
}

fn alone(first: u64) -> BundleState {
    let mut changeset = Changeset::new();
    apply(&mut changeset, first);
    let bundle = changeset.finish();
    assert_eq!(bundle.state.len() as u64, ACCOUNTS * 4 / 5, "all but those that were only read");
    bundle
}

#[test]
fn a_helper_changes_nothing() {
    let mut changeset = Changeset::new();
    for first in [1_000, 500_000] {
        let expected = alone(first);
        for helpers in 0..3 {
            apply(&mut changeset, first);
            let bundling = Bundling::new();
            let bundle = thread::scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|| {
                        if bundling.join() {
                            while !bundling.is_over() {
                                bundling.help();
                            }
                        }
                    });
                }
                let bundle = changeset.take_bundle(Some(&bundling));
                bundling.end();
                // Who helped and came too late finds nothing.
                assert!(!bundling.help());
                bundle
            });
            assert_eq!(bundle, expected, "{helpers} helpers");
            assert_eq!(
                (bundle.state_size, bundle.reverts_size),
                (expected.state_size, expected.reverts_size)
            );
            assert_eq!(changeset.changes(), 0);
        }
    }
}
