//! A balance is read, as a sum of credits, while one of the credits changes or is settled.
//!
//! Property: when all have ended, the reader has seen the sum that is there, or it was invalidated. A credit
//! that is settled into a value changes nothing for any reader at any moment.
//!
//! Threads: the reader folds, registers and folds again (the steps of `CellDatabase::read_account`); the
//! transaction at 1 makes its credit an estimate and publishes another one, or none, and tells whom that
//! misled; the transaction at 2 publishes its first. In the second model the frontier settles a credit that
//! brings an account into being (the steps of `settle::add`) while somebody reads.
//!
//! Left out: overflow, which the frontier handles alone; waiting for the estimate (`park.rs`).
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, explore_large, run};
use counterpoint_state::{
    AccountCells, Arena, Fields, Invalidated, Lifecycle, Reader,
    sync::{AtomicU32, Ordering, mutated},
};
use revm::{primitives::U256, state::AccountInfo};

const NOTHING: u32 = u32::MAX;
/// What a credit depends on and changes.
const CREDIT: Fields = Fields::BALANCE;

struct Shared {
    cells: AccountCells<'static>,
    reader: Transaction,
    saw: AtomicU32,
}

fn set_up(arena: &'static Arena) -> Shared {
    let cells = AccountCells::new();
    assert!(
        cells.set_base(Some(AccountInfo::default().with_balance(U256::from(100))), arena).next().is_none()
    );
    let _ = cells.balance.entry(1, arena).publish_delta(arena.alloc(U256::from(10)));
    Shared { cells, reader: Transaction::running(3), saw: AtomicU32::new(NOTHING) }
}

fn read(shared: &'static Shared, arena: &'static Arena) {
    let cells = &shared.cells;
    loop {
        let Ok(view) = cells.view(3) else { return };
        cells.readers.register(arena.alloc(Reader::new(3, 0, view.floor, Fields::ACCOUNT)));
        let unchanged = cells.is_unwritten(Fields::ACCOUNT)
            || cells
                .view(3)
                .is_ok_and(|second| second.floor >= view.floor && second.agrees(&view, Fields::ACCOUNT));
        if unchanged || mutated("no-second-look") {
            shared.saw.store(view.balance.to(), Ordering::Relaxed);
            // `false`: invalidated already.
            let _ = shared.reader.word.finish();
            return;
        }
    }
}

fn tell(shared: &'static Shared, index: u32) {
    shared.cells.readers.affected(index, CREDIT, |reader| {
        shared.reader.word.invalidate(reader.incarnation) == Invalidated::Over
    });
}

fn credit(shared: &'static Shared, arena: &'static Arena, index: u32, amount: u32) {
    let entry = shared.cells.balance.entry(index, arena);
    if mutated("tell-before-publishing") {
        tell(shared, index);
    }
    let displaced = entry.publish_delta(arena.alloc(U256::from(amount)));
    if displaced.changed && !mutated("tell-before-publishing") {
        tell(shared, index);
    }
}

fn credit_first(shared: &'static Shared, arena: &'static Arena) {
    credit(shared, arena, 2, 20);
}

fn credit_anew(shared: &'static Shared, arena: &'static Arena) {
    shared.cells.balance.entry(1, arena).common().estimate();
    credit(shared, arena, 1, 11);
}

fn retract(shared: &'static Shared, arena: &'static Arena) {
    let version = shared.cells.balance.entry(1, arena).common();
    version.estimate();
    if version.retract().changed {
        tell(shared, 1);
    }
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    let saw = shared.saw.load(Ordering::Relaxed);
    let holds = shared.cells.view(3).expect("nothing is pending").balance;
    assert!(
        saw == NOTHING || U256::from(saw) == holds || shared.reader.word.load().invalid(),
        "an invalidation was lost: read {saw}, and the account holds {holds}"
    );
}

#[test]
fn fold_against_a_new_credit() {
    explore(|| run(set_up, &[credit_first, read], at_end));
}

#[test]
fn fold_against_a_republished_credit() {
    explore(|| run(set_up, &[credit_anew, read], at_end));
}

#[test]
fn fold_against_two_credits() {
    explore_large(|| run(set_up, &[credit_anew, credit_first, read], at_end));
}

#[test]
fn fold_against_a_retracted_credit() {
    explore(|| run(set_up, &[retract, read], at_end));
}

/// An account that the source does not know, and a credit that brings it into being.
fn set_up_birth(arena: &'static Arena) -> Shared {
    let cells = AccountCells::new();
    assert!(cells.set_base(None, arena).next().is_none());
    let _ = cells.balance.entry(1, arena).publish_delta(arena.alloc(U256::from(10)));
    Shared { cells, reader: Transaction::running(3), saw: AtomicU32::new(NOTHING) }
}

fn settle(shared: &'static Shared, arena: &'static Arena) {
    let cells = &shared.cells;
    let view = cells.view(1).expect("below 1 everything is final");
    assert!(!view.exists);
    let settle = || cells.balance.entry(1, arena).settle(arena.alloc(U256::from(10)));
    if mutated("settle-before-lifecycle") {
        settle();
    }
    let lifecycle = arena.alloc(Lifecycle { exists: true, wiped: false });
    let _ = cells.lifecycle.entry(1, arena).publish(lifecycle);
    if !mutated("settle-before-lifecycle") {
        settle();
    }
}

fn look(shared: &'static Shared, _: &'static Arena) {
    let view = shared.cells.view(2).expect("nothing is pending");
    assert!(view.exists, "the account exists since the credit");
    assert_eq!(view.balance, U256::from(10));
}

#[test]
fn fold_against_settlement() {
    explore(|| run(set_up_birth, &[settle, look, look], look));
}

#[test]
fn catches_one_look_only() {
    caught("fold_against_a_new_credit", "no-second-look", "an invalidation was lost");
    caught("fold_against_a_republished_credit", "no-second-look", "an invalidation was lost");
}

#[test]
fn catches_telling_before_publishing() {
    caught("fold_against_a_new_credit", "tell-before-publishing", "an invalidation was lost");
}

#[test]
fn catches_a_touch_that_only_loads() {
    caught("fold_against_two_credits", "touch-by-load", "an invalidation was lost");
    caught("fold_against_a_retracted_credit", "touch-by-load", "an invalidation was lost");
}

#[test]
fn catches_settling_before_the_account_exists() {
    caught("fold_against_settlement", "settle-before-lifecycle", "the account exists since the credit");
}
