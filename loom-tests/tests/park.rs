//! A fiber parks with a version while the version's owner publishes it, or takes it back.
//!
//! Property: the fiber goes on exactly once per parking, is never entered by two workers or while it still
//! runs, and sees what was published.
//!
//! Threads: the fiber's worker reads the version, and parks with it while it is an estimate
//! ([`Transaction::park`], the steps of `Visit::park`); the owner publishes or retracts, wakes whom it
//! displaced, and goes on with whom it woke; in some models another worker claims the fiber from under it, or
//! a second fiber waits for the same version.
//!
//! Left out: the queue between waking and claiming (any worker may claim any index at any time, which is
//! more than the queue allows), the frontier (`arrival.rs`), the stack switch itself.
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, Transaction, caught, explore, run};
use counterpoint_state::{Arena, Chain, Displaced, Entry, Phase, Version};

struct Shared {
    entry: &'static Entry<'static, Tracked>,
    fibers: [Transaction; 2],
}

fn set_up(arena: &'static Arena) -> Shared {
    let entry = Chain::new().entry(1, arena);
    entry.common().estimate();
    Shared { entry, fibers: [Transaction::running(2), Transaction::running(3)] }
}

/// Owner of the fiber: reads until there is something to read.
fn proceed<const FIBER: usize>(shared: &'static Shared, arena: &'static Arena) {
    let fiber = &shared.fibers[FIBER];
    loop {
        fiber.enter();
        match shared.entry.read() {
            Version::Value(value) => assert_eq!(value.get(), 7),
            Version::Delta(_) => unreachable!("nobody publishes a delta"),
            Version::Absent => {}
            Version::Estimate => {
                if fiber.park(shared.entry.common().waiting(), arena, || {}) {
                    continue;
                }
                return;
            }
        }
        return fiber.finish();
    }
}

/// Another worker looks for something to do.
fn claim<const FIBER: usize>(shared: &'static Shared, arena: &'static Arena) {
    if shared.fibers[FIBER].word.claim().is_some() {
        proceed::<FIBER>(shared, arena);
    }
}

fn wake(shared: &'static Shared, arena: &'static Arena, displaced: Displaced<'static>) {
    for waiter in displaced.waiters {
        if shared.fibers[waiter.index as usize - 2].word.wake(waiter.ticket) {
            match waiter.index {
                2 => claim::<0>(shared, arena),
                _ => claim::<1>(shared, arena),
            }
        }
    }
}

fn publish(shared: &'static Shared, arena: &'static Arena) {
    let displaced = shared.entry.publish(arena.alloc(Tracked::new(7)));
    assert!(displaced.changed);
    wake(shared, arena, displaced);
}

fn retract(shared: &'static Shared, arena: &'static Arena) {
    let displaced = shared.entry.common().retract();
    assert!(!displaced.changed, "nothing was there before the estimate");
    wake(shared, arena, displaced);
}

fn at_end(fiber: &Transaction) {
    assert_eq!(fiber.word.load().phase(), Phase::Executed, "a wake-up was lost");
    let (entered, parkings, _) = fiber.history();
    assert_eq!(entered, 1 + parkings, "one resume for each parking");
    assert!(parkings <= 1, "what was waited for is there");
}

#[test]
fn park_against_publish() {
    explore(|| run(set_up, &[publish, claim::<0>, proceed::<0>], |shared, _| at_end(&shared.fibers[0])));
}

#[test]
fn park_against_retraction() {
    explore(|| run(set_up, &[retract, claim::<0>, proceed::<0>], |shared, _| at_end(&shared.fibers[0])));
}

#[test]
fn two_wait_for_one() {
    explore(|| {
        run(set_up, &[publish, proceed::<1>, proceed::<0>], |shared, _| {
            shared.fibers.iter().for_each(at_end)
        });
    });
}

#[test]
fn catches_waiting_before_parking() {
    caught("park_against_publish", "wait-before-park", "a wake-up was lost");
}

#[test]
fn catches_a_publication_in_two_steps() {
    caught("park_against_publish", "publish-in-two-steps", "a wake-up was lost");
    caught("park_against_retraction", "publish-in-two-steps", "a wake-up was lost");
    caught("two_wait_for_one", "publish-in-two-steps", "a wake-up was lost");
}

#[test]
fn catches_a_relaxed_publication() {
    caught("park_against_publish", "publish-relaxed", "Causality violation");
}

#[test]
fn catches_a_relaxed_wait() {
    caught("park_against_publish", "wait-relaxed", "Causality violation");
}

#[test]
fn catches_relaxed_transitions() {
    caught("park_against_publish", "transition-relaxed", "Causality violation");
}
