//! One transaction's word, with everybody after it: a wake-up, a stale waiter, an invalidation, the frontier.
//!
//! Property: the fiber's stack is entered by one worker at a time, after whoever entered it before stored it
//! away; each signal that makes the transaction ready does so once; a waiter of an earlier parking does
//! nothing; an invalidation that was accepted is noted before the transaction ends; it ends executed.
//!
//! Threads: the owner, whose fiber has parked once before, parks with a version and ends when it goes on; the
//! version's publisher, who also wakes with the earlier parking's ticket; somebody who invalidates, and then
//! kicks as the frontier does. Whoever makes it ready claims it and goes on.
//!
//! Left out: incarnations beyond the first (the number is part of the same word and only compared), the
//! deferral (`arrival.rs`).
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, Transaction, caught, explore, explore_large, run};
use counterpoint_state::{
    Arena, Chain, Entry, Invalidated, Phase, Version,
    sync::{AtomicBool, Ordering},
};

struct Shared {
    entry: &'static Entry<'static, Tracked>,
    tx: Transaction,
    stale: u32,
    invalidated: AtomicBool,
}

fn set_up(arena: &'static Arena) -> Shared {
    let entry = Chain::new().entry(1, arena);
    entry.common().estimate();
    let tx = Transaction::running(2);
    let stale = tx.word.park().expect("valid");
    assert!(tx.word.wake(stale) && tx.word.claim().is_some());
    Shared { entry, tx, stale, invalidated: AtomicBool::new(false) }
}

/// The owner's part, whoever that is.
fn proceed(shared: &'static Shared, arena: &'static Arena) {
    loop {
        shared.tx.enter();
        shared.tx.look_again();
        if !matches!(shared.entry.read(), Version::Estimate) {
            return shared.tx.finish();
        }
        if !shared.tx.park(shared.entry.common().waiting(), arena, || {}) {
            return;
        }
    }
}

/// Somebody finds the index in a queue.
fn claim(shared: &'static Shared, arena: &'static Arena) {
    if shared.tx.word.claim().is_some() {
        proceed(shared, arena);
    }
}

fn publish(shared: &'static Shared, arena: &'static Arena) {
    assert!(!shared.tx.word.wake(shared.stale), "a stale waiter woke somebody");
    for waiter in shared.entry.publish(arena.alloc(Tracked::new(7))).waiters {
        if shared.tx.word.wake(waiter.ticket) {
            claim(shared, arena);
        }
    }
}

fn invalidate(shared: &'static Shared, arena: &'static Arena) {
    let invalidated = shared.tx.word.invalidate(0);
    if !matches!(invalidated, Invalidated::Ignored | Invalidated::Over) {
        shared.invalidated.store(true, Ordering::Relaxed);
    }
    if invalidated == Invalidated::Enqueue {
        claim(shared, arena);
    }
}

fn invalidate_and_kick(shared: &'static Shared, arena: &'static Arena) {
    invalidate(shared, arena);
    kick(shared, arena);
}

fn kick(shared: &'static Shared, arena: &'static Arena) {
    if shared.tx.word.kick() {
        claim(shared, arena);
    }
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    let word = shared.tx.word.load();
    assert_eq!(word.phase(), Phase::Executed, "it did not end");
    assert!(!word.invalid(), "an invalidation was not noted");
    let noted = shared.tx.history().2;
    assert_eq!(noted, u32::from(shared.invalidated.load(Ordering::Relaxed)), "noted as often as accepted");
}

#[test]
fn wake_against_invalidation_and_kick() {
    explore_large(|| run(set_up, &[publish, invalidate_and_kick, proceed], at_end));
}

#[test]
fn wake_against_invalidation() {
    explore(|| run(set_up, &[publish, invalidate, proceed], at_end));
}

#[test]
fn wake_against_kick() {
    explore(|| run(set_up, &[publish, kick, proceed], at_end));
}

#[test]
fn catches_a_ticket_ignored() {
    caught("wake_against_invalidation_and_kick", "wake-without-ticket", "a stale waiter woke somebody");
}

#[test]
fn catches_relaxed_transitions() {
    caught("wake_against_invalidation_and_kick", "transition-relaxed", "Causality violation");
}

#[test]
fn catches_an_end_that_overlooks_an_invalidation() {
    caught("wake_against_invalidation_and_kick", "finish-though-invalid", "an invalidation was not noted");
}

#[test]
fn catches_storing_the_fiber_after_parking() {
    caught("wake_against_invalidation_and_kick", "store-after-park", "panicked");
}

#[test]
fn catches_going_on_without_unparking() {
    caught(
        "wake_against_invalidation_and_kick",
        "go-on-without-unpark",
        "only a running transaction's stack is entered",
    );
}
