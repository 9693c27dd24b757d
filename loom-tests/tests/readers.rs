//! A transaction reads a slot and registers while a lower one writes it, writes it anew, or takes it back.
//!
//! Property: when all have ended, the reader has seen what the slot holds, or it was invalidated.
//!
//! Threads: the reader looks, registers and looks again (the steps of `CellDatabase::read_slot`); the writer
//! publishes, tells whom that misled, becomes an estimate, and publishes or retracts, and tells again. In one
//! model a second reader registers at the same time.
//!
//! Left out: waiting for an estimate (`park.rs`): the reader gives up there, which is right, since it has seen
//! nothing; the check of values at the frontier, which would notice a lost invalidation later and at a price.
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, explore_large, run};
use counterpoint_state::{
    Arena, Fields, Invalidated, Reader, SlotCell, SlotView,
    sync::{AtomicU32, Ordering, mutated},
};
use revm::primitives::U256;

const NOTHING: u32 = u32::MAX;
const BASE: u32 = 5;

struct Shared {
    cell: SlotCell<'static>,
    readers: [Transaction; 2],
    saw: [AtomicU32; 2],
}

fn set_up(arena: &'static Arena) -> Shared {
    let cell = SlotCell::new();
    assert!(cell.set_base(U256::from(BASE), arena).next().is_none());
    Shared {
        cell,
        readers: [Transaction::running(3), Transaction::running(4)],
        saw: [AtomicU32::new(NOTHING), AtomicU32::new(NOTHING)],
    }
}

fn read<const READER: usize>(shared: &'static Shared, arena: &'static Arena) {
    let index = 3 + READER as u32;
    loop {
        let SlotView::Value(value, floor) = shared.cell.view(index, 0, true) else { return };
        shared.cell.readers.register(arena.alloc(Reader::new(index, 0, floor, Fields::SLOT)));
        let unchanged = shared.cell.versions.is_empty()
            || matches!(
                shared.cell.view(index, 0, true),
                SlotView::Value(second, at) if second == value && at >= floor
            );
        if unchanged || mutated("no-second-look") {
            shared.saw[READER].store(value.to(), Ordering::Relaxed);
            // `false`: invalidated already.
            let _ = shared.readers[READER].word.finish();
            return;
        }
    }
}

fn tell(shared: &'static Shared) {
    shared.cell.readers.affected(1, Fields::SLOT, |reader| {
        let invalidated = shared.readers[reader.index as usize - 3].word.invalidate(reader.incarnation);
        invalidated == Invalidated::Over
    });
}

fn publish(shared: &'static Shared, arena: &'static Arena, value: u32) {
    let entry = shared.cell.versions.entry(1, arena);
    if mutated("tell-before-publishing") {
        tell(shared);
    }
    let displaced = entry.publish(arena.alloc(U256::from(value)));
    if displaced.changed && !mutated("tell-before-publishing") {
        tell(shared);
    }
}

fn write(shared: &'static Shared, arena: &'static Arena) {
    publish(shared, arena, 7);
}

fn write_twice(shared: &'static Shared, arena: &'static Arena) {
    publish(shared, arena, 7);
    shared.cell.versions.entry(1, arena).common().estimate();
    publish(shared, arena, 8);
}

fn write_and_retract(shared: &'static Shared, arena: &'static Arena) {
    publish(shared, arena, 7);
    let version = shared.cell.versions.entry(1, arena).common();
    version.estimate();
    if version.retract().changed {
        tell(shared);
    }
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    for (reader, saw) in shared.readers.iter().zip(&shared.saw) {
        let saw = saw.load(Ordering::Relaxed);
        let SlotView::Value(holds, _) = shared.cell.view(3, 0, true) else { panic!("nothing is pending") };
        assert!(
            saw == NOTHING || U256::from(saw) == holds || reader.word.load().invalid(),
            "an invalidation was lost: read {saw}, and the slot holds {holds}"
        );
    }
}

#[test]
fn read_against_write() {
    explore(|| run(set_up, &[write, read::<0>], at_end));
}

#[test]
fn read_against_two_incarnations() {
    explore(|| run(set_up, &[write_twice, read::<0>], at_end));
}

#[test]
fn read_against_retraction() {
    explore(|| run(set_up, &[write_and_retract, read::<0>], at_end));
}

#[test]
fn two_reads_against_retraction() {
    explore_large(|| run(set_up, &[write_and_retract, read::<1>, read::<0>], at_end));
}

#[test]
fn catches_one_look_only() {
    caught("read_against_write", "no-second-look", "an invalidation was lost");
}

#[test]
fn catches_a_touch_that_only_loads() {
    caught("read_against_write", "touch-by-load", "an invalidation was lost");
}

#[test]
fn catches_a_registration_that_does_not_acquire() {
    caught("read_against_write", "register-release", "an invalidation was lost");
}

#[test]
fn catches_telling_before_publishing() {
    caught("read_against_write", "tell-before-publishing", "an invalidation was lost");
}

#[test]
fn catches_a_touch_that_only_loads_on_retraction() {
    caught("two_reads_against_retraction", "touch-by-load", "an invalidation was lost");
}
