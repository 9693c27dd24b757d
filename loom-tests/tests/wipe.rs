//! A slot is read while its account's storage is wiped, or a wipe is taken back.
//!
//! Property: when all have ended, the reader has seen what the slot holds given the account's last wipe, or it
//! was invalidated, through the slot or through the account.
//!
//! Threads: the reader reads the account and then the slot, each with registration and a second look (the
//! steps of `CellDatabase::read_account` and `read_slot`); the transaction at 2 wipes the storage, and in one
//! model takes that back in its next incarnation; the transaction at 1 writes the slot.
//!
//! Left out: a contract that is created and written by the wiping transaction itself: the same cells in the
//! same order. Waiting for an estimate (`park.rs`): the reader gives up there.
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, run};
use counterpoint_state::{
    AccountCells, Arena, Fields, Invalidated, Lifecycle, Reader, Readers, SlotCell, SlotView,
    sync::{AtomicU32, Ordering, mutated},
};
use revm::{primitives::U256, state::AccountInfo};

const NOTHING: u32 = u32::MAX;

struct Shared {
    account: AccountCells<'static>,
    slot: SlotCell<'static>,
    reader: Transaction,
    saw: AtomicU32,
}

fn set_up(arena: &'static Arena) -> Shared {
    let account = AccountCells::new();
    assert!(account.set_base(Some(AccountInfo::default()), arena).next().is_none());
    let slot = SlotCell::new();
    assert!(slot.set_base(U256::from(5), arena).next().is_none());
    Shared { account, slot, reader: Transaction::running(3), saw: AtomicU32::new(NOTHING) }
}

fn read(shared: &'static Shared, arena: &'static Arena) {
    let Some(wiped) = read_account(&shared.account, arena) else { return };
    let Some(value) = read_slot(&shared.slot, wiped, arena) else { return };
    shared.saw.store(value, Ordering::Relaxed);
    // `false`: invalidated already.
    let _ = shared.reader.word.finish();
}

fn read_account(cells: &'static AccountCells<'static>, arena: &'static Arena) -> Option<u32> {
    loop {
        let view = cells.view(3).ok()?;
        cells.readers.register(arena.alloc(Reader::new(3, 0, view.floor, Fields::ACCOUNT)));
        let unchanged = cells.is_unwritten(Fields::ACCOUNT)
            || cells
                .view(3)
                .is_ok_and(|second| second.floor >= view.floor && second.agrees(&view, Fields::ACCOUNT));
        if unchanged || mutated("no-second-look-at-the-account") {
            return Some(view.wiped);
        }
    }
}

fn read_slot(cell: &'static SlotCell<'static>, wiped: u32, arena: &'static Arena) -> Option<u32> {
    loop {
        let SlotView::Value(value, floor) = cell.view(3, wiped, true) else { return None };
        cell.readers.register(arena.alloc(Reader::new(3, 0, floor, Fields::SLOT)));
        let unchanged = cell.versions.is_empty()
            || matches!(
                cell.view(3, wiped, true),
                SlotView::Value(second, at) if second == value && at >= floor
            );
        if unchanged || mutated("no-second-look-at-the-slot") {
            return Some(value.to());
        }
    }
}

fn tell(shared: &'static Shared, readers: &Readers<'static>, index: u32, fields: Fields) {
    readers.affected(index, fields, |reader| {
        shared.reader.word.invalidate(reader.incarnation) == Invalidated::Over
    });
}

fn write(shared: &'static Shared, arena: &'static Arena) {
    if shared.slot.versions.entry(1, arena).publish(arena.alloc(U256::from(7))).changed {
        tell(shared, &shared.slot.readers, 1, Fields::SLOT);
    }
}

fn wipe(shared: &'static Shared, arena: &'static Arena) {
    let entry = shared.account.lifecycle.entry(2, arena);
    let displaced = entry.publish(arena.alloc(Lifecycle { exists: false, wiped: true }));
    if displaced.changed && !mutated("wipe-in-silence") {
        tell(shared, &shared.account.readers, 2, Fields::LIFECYCLE);
    }
}

fn wipe_and_retract(shared: &'static Shared, arena: &'static Arena) {
    wipe(shared, arena);
    let version = shared.account.lifecycle.entry(2, arena).common();
    version.estimate();
    if version.retract().changed && !mutated("retract-in-silence") {
        tell(shared, &shared.account.readers, 2, Fields::LIFECYCLE);
    }
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    let saw = shared.saw.load(Ordering::Relaxed);
    let wiped = shared.account.view(3).expect("nothing is pending").wiped;
    let SlotView::Value(holds, _) = shared.slot.view(3, wiped, true) else { panic!("nothing is pending") };
    assert!(
        saw == NOTHING || U256::from(saw) == holds || shared.reader.word.load().invalid(),
        "an invalidation was lost: read {saw}, and the slot holds {holds}"
    );
}

#[test]
fn read_against_wipe() {
    explore(|| run(set_up, &[wipe, read], at_end));
}

#[test]
fn read_against_retracted_wipe() {
    explore(|| run(set_up, &[wipe_and_retract, read], at_end));
}

#[test]
fn read_against_write_and_wipe() {
    explore(|| run(set_up, &[write, wipe, read], at_end));
}

#[test]
fn read_against_write_and_retracted_wipe() {
    explore(|| run(set_up, &[write, wipe_and_retract, read], at_end));
}

#[test]
fn catches_one_look_at_the_account() {
    caught("read_against_wipe", "no-second-look-at-the-account", "an invalidation was lost");
}

#[test]
fn catches_one_look_at_the_slot() {
    caught("read_against_write_and_retracted_wipe", "no-second-look-at-the-slot", "an invalidation was lost");
}

#[test]
fn catches_a_wipe_that_tells_nobody() {
    caught("read_against_wipe", "wipe-in-silence", "an invalidation was lost");
    caught("read_against_retracted_wipe", "retract-in-silence", "an invalidation was lost");
}

#[test]
fn catches_a_registration_that_does_not_acquire() {
    caught("read_against_wipe", "register-release", "an invalidation was lost");
}
