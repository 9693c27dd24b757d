//! Two transactions pay from an account whose balance they do not read, and the frontier passes them.
//!
//! Property: a transaction that becomes final has paid what the account had at its place in the order, and one that
//! found less than there was is not final with that: each ends as it would one after the other. No reader is registered and
//! nobody is invalidated on the way.
//!
//! Threads: one per transaction. Each sees whether there is enough as far as that is known (the steps of
//! `CellDatabase::look_at_balance`), publishes what it pays as a delta (`Publisher::moved`), ends and drains. The drainer looks
//! again whether there was enough (`Execution::still_valid`), has what was not executed anew, and settles deltas into
//! values (`settle::balances`).
//!
//! Left out: who finds too little reads the balance exactly, which is registered as any read is (`fold.rs`); here the frontier
//! looks at that again, too.
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, explore_large, run};
use counterpoint_state::{
    AccountCells, Arena, Frontier,
    sync::{AtomicU32, Ordering, mutated},
};
use revm::{primitives::U256, state::AccountInfo};

/// What the account has before the first transaction.
const HAS: u32 = 100;

/// Outcomes of a payment.
const PAID: u32 = 1;
const REFUSED: u32 = 2;

struct Shared<const N: usize> {
    cells: AccountCells<'static>,
    frontier: Frontier,
    transactions: [Transaction; N],
    outcomes: [AtomicU32; N],
    /// What each of them pays, or gets.
    amounts: [i32; N],
}

fn set_up<const N: usize>(amounts: [i32; N], arena: &'static Arena) -> Shared<N> {
    let cells = AccountCells::new();
    let info = AccountInfo::default().with_balance(U256::from(HAS)).with_nonce(1);
    assert!(cells.set_base(Some(info), arena).next().is_none());
    Shared {
        cells,
        frontier: Frontier::new(),
        transactions: std::array::from_fn(|at| Transaction::running(at as u32 + 1)),
        outcomes: std::array::from_fn(|_| AtomicU32::new(0)),
        amounts,
    }
}

impl<const N: usize> Shared<N> {
    /// Executes a transaction: it pays if there is enough, as far as that is known.
    fn execute(&self, at: usize, arena: &'static Arena) {
        let index = at as u32 + 1;
        let (paid, delta) = match self.amounts[at] {
            amount if amount < 0 => (true, U256::from(-amount)),
            amount => {
                let amount = U256::from(amount);
                (self.cells.balance_so_far(index) >= amount, amount.wrapping_neg())
            }
        };
        let entry = self.cells.balance.entry(index, arena);
        if paid {
            let _ = entry.publish_delta(arena.alloc(delta));
        } else {
            let _ = entry.common().retract();
        }
        self.outcomes[at].store(if paid { PAID } else { REFUSED }, Ordering::Relaxed);
    }

    /// Whether the transaction would do the same once more.
    fn holds(&self, at: usize) -> bool {
        let amount = self.amounts[at];
        if amount < 0 || mutated("enough-unchecked") {
            return true;
        }
        let has_enough = self.cells.balance_so_far(at as u32 + 1) >= U256::from(amount);
        has_enough == (self.outcomes[at].load(Ordering::Relaxed) == PAID)
    }

    fn drain(&self, arena: &'static Arena) {
        self.frontier.drain(|passed| {
            let at = passed as usize;
            let Some(transaction) = self.transactions.get(at) else { return false };
            if transaction.word.claim_executed().is_none() {
                return false;
            }
            if !self.holds(at) {
                // On final state: what it does now is what counts.
                self.execute(at, arena);
            }
            if self.outcomes[at].load(Ordering::Relaxed) == PAID {
                let index = passed + 1;
                let sum = self.cells.balance_so_far(index + 1);
                self.cells.balance.entry(index, arena).settle(arena.alloc(sum));
            }
            transaction.word.commit();
            true
        });
    }
}

fn end<const AT: usize, const N: usize>(shared: &'static Shared<N>, arena: &'static Arena) {
    let transaction = &shared.transactions[AT];
    transaction.enter();
    shared.execute(AT, arena);
    transaction.finish();
    shared.drain(arena);
}

fn at_end<const N: usize>(shared: &'static Shared<N>, _: &'static Arena) {
    let mut has = i64::from(HAS);
    for at in 0..N {
        let amount = i64::from(shared.amounts[at]);
        let pays = amount <= has;
        let expected = if pays { PAID } else { REFUSED };
        assert_eq!(shared.outcomes[at].load(Ordering::Relaxed), expected, "not as one after the other: {at}");
        has -= if pays { amount } else { 0 };
    }
    assert_eq!(shared.frontier.passed(), N as u32);
    assert_eq!(shared.cells.balance_so_far(N as u32 + 1), U256::from(has), "not as one after the other");
}

#[test]
fn both_want_most_of_it() {
    explore(|| run(|arena| set_up([60, 60], arena), &[end::<0, 2>, end::<1, 2>], at_end));
}

#[test]
fn one_gets_what_the_other_needs() {
    explore(|| run(|arena| set_up([-50, 120], arena), &[end::<0, 2>, end::<1, 2>], at_end));
}

#[test]
fn what_one_refuses_the_next_one_has() {
    explore_large(|| {
        run(|arena| set_up([60, 60, 40], arena), &[end::<0, 3>, end::<1, 3>, end::<2, 3>], at_end)
    });
}

#[test]
fn catches_a_frontier_that_does_not_look_again() {
    caught("both_want_most_of_it", "enough-unchecked", "not as one after the other");
    caught("one_gets_what_the_other_needs", "enough-unchecked", "not as one after the other");
}

#[test]
fn catches_an_end_that_hands_nothing_over() {
    caught("both_want_most_of_it", "transition-relaxed", "not as one after the other");
}
