//! Several transactions insert their versions into one cell's chain, while somebody walks it.
//!
//! Property: the chain is sorted from the highest index down, holds every entry once, the same for all who
//! ask for it, and who finds an entry sees it initialised, and a published value with it.
//!
//! Threads: inserters at different and at the same place, each of which publishes; a reader that walks.
//!
//! Left out: nothing is ever unlinked, so there is nothing to reclaim.
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, caught, explore, run};
use counterpoint_state::{Arena, Chain, Version};

type Shared = Chain<'static, Tracked>;

fn set_up(arena: &'static Arena) -> Shared {
    let chain = Chain::new();
    let _ = chain.entry(3, arena).publish(arena.alloc(Tracked::new(30)));
    chain
}

fn insert<const INDEX: u32>(chain: &'static Shared, arena: &'static Arena) {
    let entry = chain.entry(INDEX, arena);
    assert_eq!(entry.common().index(), INDEX);
    let _ = entry.publish(arena.alloc(Tracked::new(u64::from(INDEX) * 10)));
    assert!(std::ptr::eq(entry, chain.entry(INDEX, arena)), "one entry per index");
}

/// Inserts and leaves it at that, as a reader of the same transaction's writes would find it.
fn find<const INDEX: u32>(chain: &'static Shared, arena: &'static Arena) {
    assert!(std::ptr::eq(chain.entry(INDEX, arena), chain.entry(INDEX, arena)), "one entry per index");
}

fn walk(chain: &'static Shared, _: &'static Arena) {
    let mut above = u32::MAX;
    let mut three = false;
    for entry in chain.below(u32::MAX) {
        let index = entry.common().index();
        assert!(index < above, "not sorted");
        above = index;
        three |= index == 3;
        if let Version::Value(value) = entry.read() {
            assert_eq!(value.get(), u64::from(index) * 10);
        }
    }
    assert!(three, "an entry was lost");
}

fn at_end(chain: &'static Shared, expected: &[u32]) {
    let indices: Vec<_> = chain.below(u32::MAX).map(|entry| entry.common().index()).collect();
    assert_eq!(indices, expected, "sorted, and none lost");
}

#[test]
fn two_insert_at_one_place() {
    explore(|| run(set_up, &[insert::<1>, insert::<2>], |chain, _| at_end(chain, &[3, 2, 1])));
}

#[test]
fn two_insert_above_and_below() {
    explore(|| run(set_up, &[insert::<2>, insert::<4>, walk], |chain, _| at_end(chain, &[4, 3, 2])));
}

#[test]
fn two_insert_the_same() {
    explore(|| run(set_up, &[insert::<2>, find::<2>], |chain, _| at_end(chain, &[3, 2])));
}

#[test]
fn three_insert() {
    explore(|| {
        run(set_up, &[insert::<1>, insert::<2>, insert::<4>], |chain, _| at_end(chain, &[4, 3, 2, 1]))
    });
}

#[test]
fn catches_a_relaxed_insertion() {
    caught("two_insert_above_and_below", "insert-relaxed", "Causality violation");
}

#[test]
fn catches_an_insertion_without_comparing() {
    caught("two_insert_at_one_place", "insert-by-swap", "sorted, and none lost");
}

#[test]
fn catches_a_relaxed_publication() {
    caught("two_insert_above_and_below", "publish-relaxed", "Causality violation");
}

#[test]
fn catches_a_relaxed_read() {
    caught("two_insert_above_and_below", "read-relaxed", "Causality violation");
}
