//! One worker routes the begins of one sender's transactions, while another already begins what was routed and
//! executes it.
//!
//! Property: every transaction is executed, exactly once, after the one before it of the same sender, and becomes
//! final: no begin is lost between the mailbox, the turns, and the arrival of the frontier.
//!
//! Threads: the leading worker, which sends each begin to the sender's mailbox and notes it (`Visit::send_begins`), and
//! then works; and a helper. Both take what they made ready themselves or whose turn it is (`claim_ready`,
//! `claim_next`), execute it, let the sender's next one go (`release_next`) and drain the frontier (`drain`, `commit`). A
//! *plain* transaction is not let go by the one before it; it begins when the frontier arrives.
//!
//! Left out: several senders, whose mailboxes have nothing in common; stealing; the window and the bound on fibers,
//! which only put a turn off.
#![cfg(loom)]

use counterpoint_loom_tests::{Transaction, caught, explore, explore_large, run};
use counterpoint_state::{
    Arena, Frontier, Phase, TransactionWord,
    sync::{Ordering, fence, mutated},
};
use loom::cell::UnsafeCell;

#[allow(dead_code, missing_docs, unreachable_pub, reason = "the real file, as it is")]
#[path = "../../runtime/src/begins.rs"]
mod begins;
#[allow(dead_code, missing_docs, unreachable_pub, reason = "the real file, as it is")]
#[path = "../../actors/src/mailbox.rs"]
mod mailbox;

use begins::Begins;
use mailbox::{Letter, Mailbox};

struct Shared {
    mailbox: Mailbox<'static, u32>,
    begins: Begins,
    frontier: Frontier,
    transactions: Vec<Transaction>,
    /// The sender's first transaction. Below it is another sender's long one, which goes on.
    first: u32,
    /// A transaction that begins when the frontier arrives, or 0.
    plain: u32,
    /// What was executed, in order: the sender's own state.
    executed: UnsafeCell<Vec<u32>>,
}

// SAFETY: that the sender's transactions are executed one after the other is what the models check.
unsafe impl Sync for Shared {}

fn set_up(transactions: u32, plain: u32) -> Shared {
    Shared {
        mailbox: Mailbox::new(),
        begins: Begins::new(transactions as usize, 0, false, Box::default()),
        frontier: Frontier::new(),
        transactions: (1..=transactions).map(Transaction::pending).collect(),
        first: 1,
        plain,
        executed: UnsafeCell::new(Vec::new()),
    }
}

fn set_up_behind_a_long_one() -> Shared {
    let mut shared = set_up(3, 0);
    shared.transactions[0] = Transaction::running(1);
    shared.begins.note(1, false);
    assert!(shared.begins.take(1));
    shared.first = 2;
    shared
}

/// What a worker made ready.
type Queue = Vec<u32>;

impl Shared {
    fn last(&self) -> u32 {
        self.transactions.len() as u32
    }

    fn word(&self, index: u32) -> &TransactionWord {
        &self.transactions[index as usize - 1].word
    }

    fn send_begins(&self, queue: &mut Queue, arena: &'static Arena) {
        for index in self.first..=self.last() {
            let may_begin = self.mailbox.send(arena.alloc(Letter::new(index)));
            if may_begin {
                // The router is the receiver until it has noted it.
                // SAFETY: as in `execute`.
                self.executed.with_mut(|executed| unsafe { &mut *executed }.reserve(1));
            }
            self.begins.note(index, !may_begin);
        }
        if !mutated("route-without-drain") {
            self.drain(queue);
        }
    }

    fn claim_next(&self) -> Option<u32> {
        loop {
            let next = self.begins.turn(u32::MAX)?;
            if self.begins.take(next) && self.word(next).begin().is_some() {
                return Some(next);
            }
        }
    }

    fn execute(&self, index: u32, queue: &mut Queue) {
        self.transactions[index as usize - 1].enter();
        // SAFETY: loom fails the model if two of the sender's transactions are executed at a time.
        self.executed.with_mut(|executed| unsafe { &mut *executed }.push(index));
        if let Some(next) = self.mailbox.receive()
            && self.plain != next
            && !self.begins.let_go(next)
            && self.word(next).release()
        {
            queue.push(next);
        }
        assert!(self.word(index).finish(), "nobody invalidates it");
        self.drain(queue);
    }

    fn drain(&self, queue: &mut Queue) {
        self.frontier.drain(|passed| {
            fence(Ordering::SeqCst);
            let index = passed + 1;
            if index > self.last() {
                return false;
            }
            let word = self.word(index);
            if word.claim_executed().is_some() {
                word.commit();
                return true;
            }
            let unheard = word.load().phase() == Phase::Pending && !self.begins.is_routed(index);
            if (!unheard || mutated("kick-the-unheard")) && word.kick() {
                queue.push(index);
            }
            false
        });
    }

    fn work(&self, mut queue: Queue) {
        loop {
            let ready = std::iter::from_fn(|| queue.pop()).find(|&index| self.word(index).claim().is_some());
            match ready.or_else(|| self.claim_next()) {
                Some(index) => self.execute(index, &mut queue),
                None => return,
            }
        }
    }
}

fn lead(shared: &'static Shared, arena: &'static Arena) {
    let mut queue = Queue::new();
    shared.send_begins(&mut queue, arena);
    shared.work(queue);
}

fn help(shared: &'static Shared, _: &'static Arena) {
    shared.work(Queue::new());
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    // SAFETY: the threads are gone.
    let executed = shared.executed.with(|executed| unsafe { (*executed).clone() });
    let last = shared.last();
    assert!(executed.iter().copied().eq(shared.first..=last), "a begin was lost or doubled: {executed:?}");
    assert_eq!(shared.frontier.passed(), if shared.first == 1 { last } else { 0 });
}

#[test]
fn two_of_one_sender() {
    explore(|| run(|_| set_up(2, 0), &[help, lead], at_end));
}

#[test]
fn a_plain_one_waits_for_the_frontier() {
    explore(|| run(|_| set_up(2, 2), &[help, lead], at_end));
}

#[test]
fn three_of_one_sender() {
    explore_large(|| run(|_| set_up(3, 2), &[help, lead], at_end));
}

#[test]
fn two_of_one_sender_behind_a_long_one() {
    explore(|| run(|_| set_up_behind_a_long_one(), &[help, lead], at_end));
}

#[test]
fn catches_routing_without_another_drain() {
    caught("a_plain_one_waits_for_the_frontier", "route-without-drain", "a begin was lost or doubled");
}

#[test]
fn catches_a_relaxed_note() {
    caught("two_of_one_sender_behind_a_long_one", "note-relaxed", "Causality violation");
}

#[test]
fn catches_letting_go_relaxed() {
    caught("two_of_one_sender_behind_a_long_one", "let-go-relaxed", "Causality violation");
}

#[test]
fn catches_waiting_for_a_turn_that_is_over() {
    caught("two_of_one_sender_behind_a_long_one", "passed-in-turn", "a begin was lost or doubled");
}

#[test]
fn catches_beginning_what_nobody_was_told_of() {
    // A mailbox is received from before anything was sent to it, which may end in any way.
    caught("a_plain_one_waits_for_the_frontier", "kick-the-unheard", "");
}
