//! Several workers look up keys in the index, which inserts what is not there yet.
//!
//! Property: all who look up a key get the same value, initialised, and no value is lost when a place that two
//! keys share becomes a branch.
//!
//! Threads: each looks up one or two keys whose hashes agree in nothing, in the first bits, or in all. Under
//! loom the index branches on every bit, so that two keys are enough for a branch.
//!
//! Left out: nothing is ever removed, so there is nothing to reclaim.
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, caught, explore, run};
use counterpoint_state::{Arena, Index};

/// A key is its own hash, without the part above `SAME`.
const SAME: u64 = 8;

struct Entry {
    key: u64,
    value: Tracked,
}

type Shared = Index<'static, Entry>;

fn set_up(_: &'static Arena) -> Shared {
    Index::new()
}

fn look_up(index: &'static Shared, arena: &'static Arena, key: u64) -> &'static Entry {
    let found = index.get_or_insert(
        key % SAME,
        arena,
        |entry| entry.key == key,
        || Entry { key, value: Tracked::new(key * 10) },
    );
    assert_eq!((found.key, found.value.get()), (key, key * 10));
    found
}

fn twice<const KEY: u64>(index: &'static Shared, arena: &'static Arena) {
    let first = look_up(index, arena, KEY);
    assert!(std::ptr::eq(first, look_up(index, arena, KEY)), "a value was lost");
}

fn once<const KEY: u64>(index: &'static Shared, arena: &'static Arena) {
    look_up(index, arena, KEY);
}

#[test]
fn two_look_up_one_key() {
    explore(|| run(set_up, &[twice::<1>, twice::<1>], |_, _| {}));
}

#[test]
fn two_keys_at_one_place() {
    explore(|| run(set_up, &[twice::<0>, twice::<2>], |_, _| {}));
}

#[test]
fn two_keys_with_one_hash() {
    explore(|| run(set_up, &[twice::<0>, twice::<8>], |_, _| {}));
}

#[test]
fn three_keys_at_one_place() {
    explore(|| run(set_up, &[twice::<0>, once::<2>, once::<4>], |_, _| {}));
}

#[test]
fn catches_a_relaxed_insertion() {
    caught("two_look_up_one_key", "leaf-relaxed", "Causality violation");
}

#[test]
fn catches_a_branch_that_overwrites() {
    caught("three_keys_at_one_place", "branch-by-swap", "a value was lost");
}
