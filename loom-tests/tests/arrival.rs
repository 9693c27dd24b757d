//! A transaction is deferred, or parks for something that never comes, while the frontier arrives at it.
//!
//! Property: it becomes ready, exactly once. The one pair of store-then-load in the design: the worker stores
//! the transaction's word and then looks for the frontier, the drainer stores the frontier and then looks at
//! the word. A `SeqCst` fence on both sides lets at least one of them see the other.
//!
//! Threads: the transaction's worker defers or parks, and looks (`Visit::look_for_frontier`); another drains
//! past the transaction below and kicks the next (`Visit::drain`, `commit`).
//!
//! Left out: what the transaction does once it is ready (`transaction.rs`).
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, Transaction, caught, explore, run};
use counterpoint_state::{
    Arena, Chain, Entry, Frontier, Phase,
    sync::{AtomicU32, Ordering, fence, mutated},
};

struct Shared {
    frontier: Frontier,
    below: Transaction,
    tx: Transaction,
    never: &'static Entry<'static, Tracked>,
    enqueued: AtomicU32,
}

fn set_up(arena: &'static Arena) -> Shared {
    let never = Chain::new().entry(1, arena);
    never.common().estimate();
    let (below, tx) = (Transaction::running(1), Transaction::running(2));
    Shared { frontier: Frontier::new(), below, tx, never, enqueued: AtomicU32::new(0) }
}

impl Shared {
    fn kick(&self) {
        if self.tx.word.kick() {
            self.enqueued.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn look_for_frontier(&self) {
        if !mutated("look-without-fence") {
            fence(Ordering::SeqCst);
        }
        if self.frontier.passed() == 1 {
            self.kick();
        }
    }
}

fn defer(shared: &'static Shared, _: &'static Arena) {
    if mutated("look-before-deferring") {
        shared.look_for_frontier();
        return shared.tx.word.defer();
    }
    shared.tx.word.defer();
    shared.look_for_frontier();
}

fn park(shared: &'static Shared, arena: &'static Arena) {
    assert!(!shared.tx.park(shared.never.common().waiting(), arena, || shared.look_for_frontier()));
}

fn drain(shared: &'static Shared, _: &'static Arena) {
    shared.below.finish();
    shared.frontier.drain(|passed| {
        if !mutated("drain-without-fence") {
            fence(Ordering::SeqCst);
        }
        if passed == 0 {
            let claimed = shared.below.word.claim_executed().is_some();
            shared.below.word.commit();
            return claimed;
        }
        assert!(shared.tx.word.claim_executed().is_none());
        shared.kick();
        false
    });
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    assert_eq!(shared.frontier.passed(), 1);
    assert_eq!(shared.tx.word.load().phase(), Phase::Ready, "the frontier's arrival was missed");
    assert_eq!(shared.enqueued.load(Ordering::Relaxed), 1);
}

#[test]
fn deferral_against_arrival() {
    explore(|| run(set_up, &[drain, defer], at_end));
}

#[test]
fn parking_against_arrival() {
    explore(|| run(set_up, &[drain, park], at_end));
}

#[test]
fn catches_a_look_without_fence() {
    caught("deferral_against_arrival", "look-without-fence", "the frontier's arrival was missed");
    caught("parking_against_arrival", "look-without-fence", "the frontier's arrival was missed");
}

#[test]
fn catches_a_drainer_without_fence() {
    caught("deferral_against_arrival", "drain-without-fence", "the frontier's arrival was missed");
    caught("parking_against_arrival", "drain-without-fence", "the frontier's arrival was missed");
}

#[test]
fn catches_looking_before_deferring() {
    caught("deferral_against_arrival", "look-before-deferring", "the frontier's arrival was missed");
}
