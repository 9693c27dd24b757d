//! A block is given up, or committed and its memory taken back, while workers come and go.
//!
//! Property: who takes the block apart is alone in it: nothing is touched by a worker that came late, and
//! what the others did is visible.
//!
//! Threads: the leading worker, which enters, works until the block is done, leaves (`Pool::lead`), and then takes the
//! outcome (`Runtime::collect`) or waits to be alone and takes the fibers away (`Pool::give_up`); a helper that ends the
//! block (`drain`, `BlockRun::fail`); a helper that comes at any time, twice (`Pool::help`). And for the memory: the leader takes the block off the pool's list and frees it if it has the
//! last handle (`Runtime::execute`), while a helper that found it in the list reads; the last one to let go frees.
//!
//! Left out: what the workers do in the block. The handles are `std`'s `Arc`; loom's stands in.
#![cfg(loom)]

use counterpoint_loom_tests::{caught, explore, run};
use counterpoint_state::{
    Arena,
    sync::{RwLock, mutated, thread},
};
use loom::{cell::UnsafeCell, sync::Arc};

#[allow(dead_code, missing_docs, unreachable_pub, reason = "the real file, as it is")]
#[path = "../../runtime/src/presence.rs"]
mod presence;

use presence::Presence;

/// A block with what each helper may touch while it is not done: the bodies of its transactions.
struct Block {
    presence: Presence,
    bodies: [UnsafeCell<u32>; 2],
}

// SAFETY: that nobody touches a body at the same time as another is what the models check.
unsafe impl Sync for Block {}
// SAFETY: as above.
unsafe impl Send for Block {}

impl Block {
    fn new() -> Self {
        Self { presence: Presence::new(false), bodies: [UnsafeCell::new(0), UnsafeCell::new(0)] }
    }

    fn touch(&self, helper: usize) {
        // SAFETY: loom fails the model if somebody else touches it meanwhile.
        self.bodies[helper].with_mut(|body| unsafe { *body += 1 });
    }

    /// A helper's visit.
    fn visit(&self, helper: usize, fails: bool) {
        if !mutated("look-before-entering") {
            self.presence.enter();
        }
        let done = self.presence.is_done();
        if mutated("look-before-entering") {
            self.presence.enter();
        }
        if !done {
            self.touch(helper);
            if fails {
                self.presence.finish();
            }
        }
        self.presence.leave();
    }

    /// The leader works until somebody ends the block.
    fn lead(&self) {
        self.presence.enter();
        while !self.presence.is_done() {
            thread::yield_now();
        }
        self.presence.leave();
    }
}

fn lead_and_give_up(block: &'static Block, _: &'static Arena) {
    block.lead();
    if !mutated("take-apart-at-once") {
        block.presence.wait_alone();
    }
    block.touch(0);
    block.touch(1);
}

/// The last commit was the helper's: the outcome is the leader's to take, though the helper is still there.
fn lead_and_collect(block: &'static Block, _: &'static Arena) {
    block.lead();
    block.touch(0);
}

/// A helper ends the block: it fails it, or makes the last transaction final.
fn end(block: &'static Block, _: &'static Arena) {
    block.visit(0, true);
}

fn come_and_go(block: &'static Block, _: &'static Arena) {
    block.visit(1, false);
    block.visit(1, false);
}

/// The leader ends the block itself.
fn finish_and_lead(block: &'static Block, _: &'static Arena) {
    block.presence.enter();
    if !mutated("finish-after-leaving") {
        block.presence.finish();
    }
    block.presence.leave();
    if mutated("finish-after-leaving") {
        block.presence.finish();
    }
    block.presence.wait_alone();
    block.touch(1);
}

#[test]
fn given_up_while_a_helper_comes() {
    explore(|| run(|_| Block::new(), &[come_and_go, finish_and_lead], |_, _| ()));
}

#[test]
fn given_up_by_a_helper() {
    explore(|| run(|_| Block::new(), &[end, come_and_go, lead_and_give_up], |_, _| ()));
}

#[test]
fn committed_by_a_helper() {
    explore(|| run(|_| Block::new(), &[end, lead_and_collect], |_, _| ()));
}

/// The memory of a block.
struct Memory {
    presence: Presence,
    arena: UnsafeCell<u32>,
}

// SAFETY: that nobody reads the arena while it is freed is what the models check.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn read(&self) {
        // SAFETY: loom fails the model if somebody frees it meanwhile.
        self.arena.with(|arena| assert_eq!(unsafe { *arena }, 1, "read after it was freed"));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: loom fails the model if somebody reads it meanwhile.
        self.arena.with_mut(|arena| unsafe { *arena = 0 });
    }
}

/// The blocks in execution, as the pool lists them.
type List = RwLock<Vec<Arc<Memory>>>;

fn list(_: &'static Arena) -> List {
    let memory = Memory { presence: Presence::new(false), arena: UnsafeCell::new(1) };
    RwLock::new(vec![Arc::new(memory)])
}

fn execute(list: &'static List, _: &'static Arena) {
    let run = Arc::clone(&list.read()[0]);
    run.presence.enter();
    run.read();
    run.presence.finish();
    run.presence.leave();
    list.write().clear();
    // The last handle frees; otherwise a helper's will.
    drop(Arc::try_unwrap(run));
}

fn help(list: &'static List, _: &'static Arena) {
    let runs = list.read().clone();
    if mutated("let-go-while-inside") {
        let inside: Vec<*const Memory> = runs.iter().map(Arc::as_ptr).collect();
        drop(runs);
        for run in inside {
            // SAFETY: none. That is the mutation.
            unsafe { &*run }.read();
        }
        return;
    }
    for run in &runs {
        run.presence.enter();
        run.read();
        run.presence.leave();
    }
}

#[test]
fn memory_is_freed_by_the_last_handle() {
    explore(|| run(list, &[help, execute], |_, _| ()));
}

#[test]
fn memory_is_freed_by_the_last_of_three() {
    explore(|| run(list, &[help, help, execute], |_, _| ()));
}

#[test]
fn catches_taking_apart_at_once() {
    caught("given_up_while_a_helper_comes", "look-before-entering", "Causality violation");
    caught("given_up_by_a_helper", "take-apart-at-once", "Causality violation");
}

#[test]
fn catches_ending_the_block_from_outside() {
    caught("given_up_while_a_helper_comes", "finish-after-leaving", "Causality violation");
}

#[test]
fn catches_relaxed_entries_and_exits() {
    caught("given_up_while_a_helper_comes", "enter-relaxed", "Causality violation");
    caught("given_up_while_a_helper_comes", "leave-relaxed", "Causality violation");
    caught("committed_by_a_helper", "finish-relaxed", "Causality violation");
}

#[test]
fn catches_a_helper_that_lets_go_while_inside() {
    caught("memory_is_freed_by_the_last_handle", "let-go-while-inside", "Causality violation");
}
