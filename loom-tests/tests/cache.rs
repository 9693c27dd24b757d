//! Blocks on several threads share the cache that outlives them: some find what others add, and let it go.
//!
//! Property: who finds a value finds all of it, and may use it until it lets go of its guard, whatever becomes of the
//! entry; each entry is let go once; and what the cache counts is what is in it.
//!
//! Threads: some look a key up, some add it or another one, some remove it. A row has two places here, and the table
//! one row. The collector is crossbeam's real one, on loom's atomics too: hence `--cfg crossbeam_loom`.
//!
//! Left out: many rows, which have nothing in common but the counters; and when the collector frees what it may free.
#![cfg(all(loom, crossbeam_loom))]

use counterpoint_loom_tests::{Owned, caught, explore, run};
use counterpoint_state::{Arena, Cache};

type Shared = Cache<u64, Owned>;

/// Room for two entries, in a row of two places: of several rows the hash would tell, which is another one each time.
const BUDGET: usize = 240;

fn set_up(_: &'static Arena) -> Shared {
    let cache = Cache::new(BUDGET);
    cache.add(1, Owned::new(10), 0, 1);
    cache
}

fn full(arena: &'static Arena) -> Shared {
    let cache = set_up(arena);
    cache.add(2, Owned::new(20), 0, 1);
    cache
}

fn added(cache: &'static Shared, arena: &'static Arena) {
    assert!(cache.get(&3, 2).is_some() && cache.evicted() == 1, "nobody made room");
    count(cache, arena);
}

fn empty(_: &'static Arena) -> Shared {
    Cache::new(BUDGET)
}

fn look_up<const KEY: u64>(cache: &'static Shared, _: &'static Arena) {
    if let Some(value) = cache.get(&KEY, 1) {
        assert!(value == KEY * 10, "the wrong value");
    }
}

fn add<const KEY: u64>(cache: &'static Shared, _: &'static Arena) {
    cache.add(KEY, Owned::new(KEY * 10), 0, 1);
}

/// At a later moment, when what was there may go.
fn add_later<const KEY: u64>(cache: &'static Shared, _: &'static Arena) {
    cache.add(KEY, Owned::new(KEY * 10), 0, 2);
}

fn remove<const KEY: u64>(cache: &'static Shared, _: &'static Arena) {
    cache.remove(&KEY);
}

/// What it counts is what it has.
fn count(cache: &'static Shared, _: &'static Arena) {
    let found = (0..8).filter(|key| cache.get(key, 9).is_some()).count();
    let bytes = cache.bytes();
    assert!(cache.len() >= found, "the count is wrong: {} and {found}", cache.len());
    cache.retain(|_| false);
    assert_eq!((cache.len(), cache.bytes()), (0, 0), "the count is wrong, of {bytes} bytes");
}

#[test]
fn one_is_read_while_it_is_added() {
    explore(|| run(empty, &[add::<1>, look_up::<1>], count));
}

#[test]
fn one_is_read_while_it_is_removed() {
    explore(|| run(set_up, &[look_up::<1>, remove::<1>], count));
}

#[test]
fn two_remove_one() {
    explore(|| run(set_up, &[remove::<1>, remove::<1>], count));
}

#[test]
fn two_add_one() {
    explore(|| run(empty, &[add::<1>, add::<1>], count));
}

#[test]
fn one_is_read_while_it_makes_room() {
    explore(|| run(full, &[look_up::<1>, add_later::<3>], added));
}

#[test]
fn catches_a_relaxed_addition() {
    caught("one_is_read_while_it_is_added", "cache-relaxed", "Causality violation");
}

#[test]
fn catches_a_drop_under_a_reader() {
    caught("one_is_read_while_it_is_removed", "cache-dropped-at-once", "Causality violation");
}

#[test]
fn catches_losers_that_count() {
    caught("two_remove_one", "cache-counts-losers", "the count is wrong");
}
