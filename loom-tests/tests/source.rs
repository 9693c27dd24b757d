//! Fibers need a value from before the block that a source gives later.
//!
//! Property: the source is asked exactly once for a key; whoever waits for the answer, value or error, goes on exactly
//! once per parking, and sees it; nobody is left waiting.
//!
//! Threads: two fibers' workers that look, ask if nobody has, and park (`CellDatabase::load`, `Visit::park`); the
//! worker that asked notes the answer later, as any worker may (`BlockState::receive`), and wakes whom it finds in the
//! list. In other models the key was asked for ahead, and a third worker notes the answer or the error; or the frontier
//! arrives at the one that waits (`commit`).
//!
//! Left out: the way of the request through the source and of the answer to the inbox, a list under a lock whose
//! wake-up is that of `event.rs`.
#![cfg(loom)]

use counterpoint_loom_tests::{Tracked, Transaction, caught, explore, run};
use counterpoint_state::{
    Arena, Base, Failure, Known, Phase, SourceError, Waiters,
    sync::{AtomicU32, Ordering},
};

struct Shared {
    base: &'static Base<'static, Tracked>,
    fibers: [Transaction; 2],
    requests: AtomicU32,
}

fn set_up(arena: &'static Arena) -> Shared {
    let fibers = [Transaction::running(2), Transaction::running(3)];
    Shared { base: arena.alloc(Base::default()), fibers, requests: AtomicU32::new(0) }
}

fn set_up_asked(arena: &'static Arena) -> Shared {
    let shared = set_up(arena);
    assert!(shared.base.ask());
    shared.requests.store(1, Ordering::Relaxed);
    shared
}

/// Owner of the fiber: goes on until there is something to read.
fn proceed<const FIBER: usize>(shared: &'static Shared, arena: &'static Arena) {
    let fiber = &shared.fibers[FIBER];
    let mut asked = false;
    loop {
        fiber.enter();
        match shared.base.known() {
            Known::Value => {
                assert_eq!(shared.base.get().expect("it is known").get(), 7);
                return fiber.finish();
            }
            Known::Failed(error) => {
                assert_eq!(error.0.to_string(), "broken");
                return fiber.finish();
            }
            Known::Nothing => {
                if shared.base.ask() {
                    shared.requests.fetch_add(1, Ordering::Relaxed);
                    asked = true;
                }
            }
            Known::Asked(word) => {
                let goes_on = fiber.park(word, arena, || {});
                if asked {
                    // Its own worker is the one that hears of the answer.
                    asked = false;
                    answer(shared, arena);
                }
                if !goes_on {
                    return;
                }
            }
        }
    }
}

fn wake(shared: &'static Shared, arena: &'static Arena, waiters: Waiters<'static>) {
    for waiter in waiters {
        let fiber = waiter.index as usize - 2;
        let word = &shared.fibers[fiber].word;
        if word.wake(waiter.ticket) && word.claim().is_some() {
            match fiber {
                0 => proceed::<0>(shared, arena),
                _ => proceed::<1>(shared, arena),
            }
        }
    }
}

fn answer(shared: &'static Shared, arena: &'static Arena) {
    wake(shared, arena, shared.base.set(arena.alloc(Tracked::new(7))));
}

/// The frontier arrives at a fiber that waits: it is made ready for nothing, looks, and waits again.
fn kick(shared: &'static Shared, arena: &'static Arena) {
    let word = &shared.fibers[0].word;
    if word.kick() && word.claim().is_some() {
        proceed::<0>(shared, arena);
    }
}

fn fail(shared: &'static Shared, arena: &'static Arena) {
    let failure = arena.alloc_owned(Failure(SourceError::new("broken")));
    wake(shared, arena, shared.base.fail(failure));
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    assert_eq!(shared.requests.load(Ordering::Relaxed), 1, "one request for a key");
    for fiber in &shared.fibers {
        assert_eq!(fiber.word.load().phase(), Phase::Executed, "a wake-up was lost");
        let (entered, parkings, _) = fiber.history();
        // A kick adds one of each.
        assert!(parkings <= 2, "what was waited for is there");
        assert!(entered <= 4, "looked, asked, and came back");
    }
}

#[test]
fn two_need_what_nobody_asked_for() {
    explore(|| run(set_up, &[proceed::<1>, proceed::<0>], at_end));
}

#[test]
fn two_wait_for_an_answer() {
    explore(|| run(set_up_asked, &[answer, proceed::<1>, proceed::<0>], at_end));
}

#[test]
fn two_wait_and_the_source_fails() {
    explore(|| run(set_up_asked, &[fail, proceed::<1>, proceed::<0>], at_end));
}

#[test]
fn the_frontier_arrives_at_one_that_waits() {
    explore(|| {
        run(
            |arena| {
                let shared = set_up_asked(arena);
                assert!(shared.fibers[1].word.finish());
                shared
            },
            &[answer, kick, proceed::<0>],
            at_end,
        );
    });
}

#[test]
fn catches_asking_in_two_steps() {
    caught("two_need_what_nobody_asked_for", "announce-in-two-steps", "one request for a key");
}

#[test]
fn catches_an_answer_in_two_steps() {
    caught("two_wait_for_an_answer", "publish-in-two-steps", "a wake-up was lost");
    caught("two_wait_and_the_source_fails", "publish-in-two-steps", "a wake-up was lost");
    caught("the_frontier_arrives_at_one_that_waits", "publish-in-two-steps", "a wake-up was lost");
}

#[test]
fn catches_a_relaxed_answer() {
    caught("two_wait_for_an_answer", "publish-relaxed", "Causality violation");
    caught("two_wait_for_an_answer", "read-relaxed", "Causality violation");
}
