//! Several workers send to one actor: who finds it idle handles everything until it is idle again.
//!
//! Property: every message is handled once, each sender's in the order of sending, by one receiver at a time
//! that sees what the one before it did; at the end the actor is idle.
//!
//! Threads: two senders with two messages each, or three with one, or two and a receiver at work; a sender that becomes the receiver handles
//! its own message and then whatever is in the box.
//!
//! Left out: handing the receiver's role from one worker to another while the actor stays busy, which the
//! transaction word orders (`transaction.rs`).
#![cfg(loom)]

use counterpoint_loom_tests::{caught, explore, run};
use counterpoint_state::Arena;
use loom::cell::UnsafeCell;

#[allow(dead_code, missing_docs, unreachable_pub, reason = "the real file, as it is")]
#[path = "../../actors/src/mailbox.rs"]
mod mailbox;

use mailbox::{Letter, Mailbox};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Message {
    sender: u32,
    number: u32,
}

struct Shared {
    mailbox: Mailbox<'static, Message>,
    /// The actor's own state: the receiver's alone.
    handled: UnsafeCell<Vec<Message>>,
}

// SAFETY: that only the receiver touches `handled` is what the models check.
unsafe impl Sync for Shared {}

fn set_up(_: &'static Arena) -> Shared {
    Shared { mailbox: Mailbox::new(), handled: UnsafeCell::new(Vec::new()) }
}

impl Shared {
    fn handle(&self, message: Message) {
        // SAFETY: loom fails the model if there are two receivers.
        self.handled.with_mut(|handled| unsafe { &mut *handled }.push(message));
    }

    fn send(&self, message: Message, arena: &'static Arena) {
        if !self.mailbox.send(arena.alloc(Letter::new(message))) {
            return;
        }
        self.handle(message);
        while let Some(next) = self.mailbox.receive() {
            self.handle(next);
        }
    }
}

fn send<const SENDER: u32, const MESSAGES: u32>(shared: &'static Shared, arena: &'static Arena) {
    for number in 0..MESSAGES {
        shared.send(Message { sender: SENDER, number }, arena);
    }
}

/// The receiver of a busy actor's mailbox, with a message in it.
fn set_up_busy(arena: &'static Arena) -> Shared {
    let shared = set_up(arena);
    assert!(shared.mailbox.send(arena.alloc(Letter::new(Message { sender: 0, number: 0 }))));
    assert!(!shared.mailbox.send(arena.alloc(Letter::new(Message { sender: 0, number: 1 }))));
    shared.handle(Message { sender: 0, number: 0 });
    shared
}

fn receive(shared: &'static Shared, _: &'static Arena) {
    while let Some(next) = shared.mailbox.receive() {
        shared.handle(next);
    }
}

fn at_end(shared: &'static Shared, arena: &'static Arena, messages: &[u32]) {
    let last = Message { sender: u32::MAX, number: 0 };
    assert!(shared.mailbox.send(arena.alloc(Letter::new(last))), "the actor is not idle");
    // SAFETY: the threads are gone.
    let handled = shared.handled.with(|handled| unsafe { (*handled).clone() });
    for (sender, &messages) in messages.iter().enumerate() {
        let numbers = handled.iter().filter(|message| message.sender == sender as u32).map(|m| m.number);
        assert!(numbers.eq(0..messages), "lost, doubled, or out of order: {handled:?}");
    }
}

#[test]
fn two_send_two() {
    explore(|| run(set_up, &[send::<0, 2>, send::<1, 2>], |s, arena| at_end(s, arena, &[2, 2])));
}

#[test]
fn two_send_to_a_busy_one() {
    explore(|| {
        run(set_up_busy, &[send::<1, 2>, send::<2, 1>, receive], |s, arena| at_end(s, arena, &[2, 2, 1]))
    });
}

#[test]
fn three_send_one() {
    explore(|| {
        run(set_up, &[send::<0, 1>, send::<1, 1>, send::<2, 1>], |s, arena| at_end(s, arena, &[1, 1, 1]))
    });
}

#[test]
fn catches_taking_without_looking_again() {
    caught("two_send_to_a_busy_one", "take-without-looking", "lost, doubled, or out of order");
}

#[test]
fn catches_a_relaxed_sending() {
    caught("two_send_two", "send-relaxed", "Causality violation");
}

#[test]
fn catches_falling_idle_relaxed() {
    caught("two_send_two", "idle-relaxed", "Causality violation");
}
