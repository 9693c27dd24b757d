//! Two workers end transactions and drain the frontier, and one invalidates the other's late.
//!
//! Property: transactions become final in order and exactly once, by one drainer at a time, none that ended is
//! overlooked, and none becomes final with an invalidation that nobody took note of.
//!
//! Threads: one per transaction. Each ends its own and drains (the steps of `Visit::ended`, `drain` and
//! `commit`); in the second model the worker of transaction 1 invalidates transaction 2 before it ends its
//! own, as a publication does, and checks it again if that made it ready.
//!
//! Left out: a commit that refuses (`requeue` and a later drain: the same steps as a late invalidation), the
//! values (differential tests).
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, run};
use counterpoint_state::{
    Arena, Frontier, Invalidated,
    sync::{AtomicU32, Ordering, mutated},
};
use loom::cell::UnsafeCell;

struct Shared<const N: usize> {
    frontier: Frontier,
    transactions: [Transaction; N],
    /// Invalidations of the last transaction that were accepted.
    accepted: AtomicU32,
    /// What became final: the drainer's alone.
    committed: UnsafeCell<Vec<u32>>,
}

// SAFETY: that only the drainer touches `committed` is what the models check.
unsafe impl<const N: usize> Sync for Shared<N> {}

fn set_up<const N: usize>(_: &'static Arena) -> Shared<N> {
    Shared {
        frontier: Frontier::new(),
        transactions: std::array::from_fn(|at| Transaction::running(at as u32 + 1)),
        accepted: AtomicU32::new(0),
        committed: UnsafeCell::new(Vec::new()),
    }
}

impl<const N: usize> Shared<N> {
    fn drain(&self) {
        self.frontier.drain(|passed| {
            let Some(transaction) = self.transactions.get(passed as usize) else { return false };
            let Some(snapshot) = transaction.word.claim_executed() else { return false };
            assert!(!snapshot.invalid(), "an invalid transaction became final");
            // SAFETY: loom fails the model if there are two drainers.
            self.committed.with_mut(|committed| unsafe { &mut *committed }.push(passed + 1));
            transaction.word.commit();
            true
        });
    }

    fn end(&self, at: usize) {
        let transaction = &self.transactions[at];
        transaction.enter();
        if mutated("drain-before-finishing") {
            self.drain();
            return transaction.finish();
        }
        transaction.finish();
        self.drain();
    }
}

fn end<const AT: usize, const N: usize>(shared: &'static Shared<N>, _: &'static Arena) {
    shared.end(AT);
}

/// Transaction 1 publishes something that misled transaction 2, and ends.
fn invalidate_and_end(shared: &'static Shared<2>, _: &'static Arena) {
    let other = &shared.transactions[1];
    let invalidated = other.word.invalidate(0);
    if !matches!(invalidated, Invalidated::Ignored | Invalidated::Over) {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
    }
    if invalidated == Invalidated::Enqueue && other.word.claim().is_some() {
        other.check_again();
        shared.drain();
    }
    shared.end(0);
}

fn at_end<const N: usize>(shared: &'static Shared<N>, _: &'static Arena) {
    // SAFETY: the threads are gone.
    let committed = shared.committed.with(|committed| unsafe { (*committed).clone() });
    assert!(committed.iter().copied().eq(1..=N as u32), "not in order, once each: {committed:?}");
    assert_eq!(shared.frontier.passed(), N as u32);
    let noted = shared.transactions[N - 1].history().2;
    assert_eq!(noted, shared.accepted.load(Ordering::Relaxed), "an invalidation was not noted");
}

#[test]
fn two_drainers() {
    explore(|| run(set_up, &[end::<0, 2>, end::<1, 2>], at_end));
}

#[test]
fn two_drainers_against_an_invalidation() {
    explore(|| run(set_up, &[invalidate_and_end, end::<1, 2>], at_end));
}

#[test]
fn three_drainers() {
    explore(|| run(set_up, &[end::<0, 3>, end::<1, 3>, end::<2, 3>], at_end));
}

#[test]
fn catches_a_drainer_that_does_not_count_again() {
    caught("two_drainers", "drain-without-recount", "not in order, once each");
}

#[test]
fn catches_a_relaxed_claim_of_the_frontier() {
    caught("two_drainers", "drain-relaxed", "panicked");
}

#[test]
fn catches_draining_before_finishing() {
    caught("two_drainers", "drain-before-finishing", "not in order, once each");
}

#[test]
fn catches_an_end_that_overlooks_an_invalidation() {
    caught(
        "two_drainers_against_an_invalidation",
        "finish-though-invalid",
        "an invalid transaction became final",
    );
}
