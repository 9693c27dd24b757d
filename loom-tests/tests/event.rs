//! A worker that finds nothing goes to sleep, while another makes work, or the end comes.
//!
//! Property: nobody sleeps while there is work or after the end; loom reports a deadlock if somebody does.
//!
//! Threads: workers that take work, and sleep where there is none, until the end (the steps of `Pool::lead`
//! and `Pool::help`); one that makes work, and then ends the block and tells.
//!
//! Left out: the work-stealing queues (crossbeam-deque): work is a counter here. The spins before sleeping.
//! Wake-ups of a condition variable without a reason, which the real loop allows for.
#![cfg(loom)]

use counterpoint_loom_tests::{caught, explore, run};
use counterpoint_state::{
    Arena, EventCount,
    sync::{AtomicBool, AtomicU32, Ordering, mutated},
};

struct Shared {
    event: EventCount,
    work: AtomicU32,
    taken: AtomicU32,
    done: AtomicBool,
}

fn set_up(_: &'static Arena) -> Shared {
    Shared {
        event: EventCount::new(),
        work: AtomicU32::new(0),
        taken: AtomicU32::new(0),
        done: AtomicBool::new(false),
    }
}

fn help(shared: &'static Shared, _: &'static Arena) {
    loop {
        let work = shared.work.load(Ordering::Acquire);
        if work > 0 {
            let taken =
                shared.work.compare_exchange(work, work - 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            shared.taken.fetch_add(u32::from(taken), Ordering::Relaxed);
            continue;
        }
        if shared.done.load(Ordering::Acquire) {
            return;
        }
        let ticket = shared.event.prepare();
        let something = shared.done.load(Ordering::Acquire) || shared.work.load(Ordering::Acquire) > 0;
        if something && !mutated("sleep-without-second-look") {
            shared.event.cancel(ticket);
        } else {
            shared.event.wait(ticket);
        }
    }
}

fn make_work(shared: &'static Shared, _: &'static Arena) {
    if mutated("notify-before-work") {
        shared.event.notify();
        shared.work.fetch_add(1, Ordering::Release);
        return;
    }
    shared.work.fetch_add(1, Ordering::Release);
    shared.event.notify();
}

fn end(shared: &'static Shared, _: &'static Arena) {
    shared.done.store(true, Ordering::Release);
    if !mutated("end-in-silence") {
        shared.event.notify();
    }
}

fn make_work_and_end(shared: &'static Shared, arena: &'static Arena) {
    make_work(shared, arena);
    end(shared, arena);
}

/// Takes one piece of work, without which it sleeps for ever.
fn take_one(shared: &'static Shared, _: &'static Arena) {
    while shared.work.load(Ordering::Acquire) == 0 {
        let ticket = shared.event.prepare();
        if shared.work.load(Ordering::Acquire) > 0 && !mutated("sleep-without-second-look") {
            shared.event.cancel(ticket);
        } else {
            shared.event.wait(ticket);
        }
    }
    shared.taken.fetch_add(1, Ordering::Relaxed);
}

fn make_work_and_tell_who_waits(shared: &'static Shared, _: &'static Arena) {
    shared.work.fetch_add(1, Ordering::Release);
    shared.event.notify_waiting();
}

fn at_end(shared: &'static Shared, _: &'static Arena) {
    assert_eq!(shared.taken.load(Ordering::Relaxed), 1, "the work was done once");
}

#[test]
fn sleep_against_work() {
    explore(|| run(set_up, &[make_work, take_one], at_end));
}

#[test]
fn sleep_against_work_for_who_waits() {
    explore(|| run(set_up, &[make_work_and_tell_who_waits, take_one], at_end));
}

#[test]
fn sleep_against_work_and_end() {
    explore(|| run(set_up, &[make_work_and_end, help], |_, _| {}));
}

#[test]
fn two_sleep_against_the_end() {
    explore(|| run(set_up, &[end, help, help], |_, _| {}));
}

#[test]
fn catches_waiters_announced_without_fence() {
    caught("sleep_against_work_for_who_waits", "prepare-without-fence", "deadlock");
}

#[test]
fn catches_a_look_for_waiters_without_fence() {
    caught("sleep_against_work_for_who_waits", "notify-without-fence", "deadlock");
}

#[test]
fn catches_sleeping_without_a_second_look() {
    caught("sleep_against_work", "sleep-without-second-look", "deadlock");
}

#[test]
fn catches_telling_before_there_is_work() {
    caught("sleep_against_work", "notify-before-work", "deadlock");
}

#[test]
fn catches_an_end_that_nobody_is_told_of() {
    caught("two_sleep_against_the_end", "end-in-silence", "deadlock");
}

#[test]
fn catches_a_notification_without_the_lock() {
    caught("sleep_against_work", "notify-without-lock", "deadlock");
}
