//! Exploring a model to its end, and showing that it notices a mutation.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use counterpoint_state::Arena;
use loom::{cell::UnsafeCell, thread};

/// Preemptions per execution, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 2;

/// Explores every execution of a model within the preemption bound.
///
/// # Panics
///
/// If an execution fails, or if the exploration was told to stop early.
pub fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_within(0, model);
}

/// As [`explore`], with one preemption less: for the models with many steps on three threads.
///
/// # Panics
///
/// As [`explore`].
pub fn explore_large(model: impl Fn() + Send + Sync + 'static) {
    explore_within(1, model);
}

fn explore_within(less: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(PREEMPTIONS).saturating_sub(less);
    builder.preemption_bound = Some(bound);
    // The limit on branches is none: loom panics when it is hit.
    assert!(
        builder.max_duration.is_none() && builder.max_permutations.is_none(),
        "LOOM_MAX_DURATION and LOOM_MAX_PERMUTATIONS end an exploration silently"
    );
    let executions = Arc::new(AtomicU64::new(0));
    let counted = {
        let executions = Arc::clone(&executions);
        move || {
            executions.fetch_add(1, Ordering::Relaxed);
            model();
        }
    };
    let begin = Instant::now();
    if env::var_os("LOOM_LOG").is_some() {
        // This way sets up the log, and takes all settings from the environment.
        assert!(env::var_os("LOOM_MAX_PREEMPTIONS").is_some(), "with LOOM_LOG, set LOOM_MAX_PREEMPTIONS too");
        loom::model(counted);
    } else {
        builder.check(counted);
    }
    let name = thread_name();
    let executions = executions.load(Ordering::Relaxed);
    println!("{name}: {executions} executions, {bound} preemptions, {:.1?}", begin.elapsed());
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or("model").to_owned()
}

/// Runs one of this test binary's models, in a process of its own, with a mutation switched on: it must fail,
/// and say why. (A process, since the mutation holds for all of it, and since a panic may abort there.)
///
/// # Panics
///
/// If the model passes, or fails for another reason.
pub fn caught(model: &str, mutation: &str, complaint: &str) {
    let output = process::Command::new(env::current_exe().expect("the test binary's path"))
        .args(["--exact", model, "--nocapture", "--test-threads=1"])
        .env("COUNTERPOINT_MUTATION", mutation)
        .env_remove("LOOM_LOG")
        .env_remove("LOOM_CHECKPOINT_FILE")
        .output()
        .expect("the test binary runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("running 1 test"), "no model {model}:\n{said}");
    assert!(!output.status.success(), "{model} does not notice {mutation}:\n{said}");
    assert!(said.contains(complaint), "{model} fails with {mutation}, but not for {complaint:?}:\n{said}");
}

/// What one thread of a model does, with an arena of its own.
type Part<S> = fn(&'static S, &'static Arena);

/// Runs the parts as threads (the last on the caller's) over what `set_up` makes, and then `at_end`.
pub fn run<S: Sync + 'static>(
    set_up: impl FnOnce(&'static Arena) -> S,
    parts: &[Part<S>],
    at_end: impl FnOnce(&'static S, &'static Arena),
) {
    // The protocols' types borrow from arenas. Here both live from now until the threads are joined.
    let arenas: Vec<Lent> = (0..=parts.len()).map(|_| Lent(Box::into_raw(Box::default()))).collect();
    let shared = Box::into_raw(Box::new(set_up(arenas[parts.len()].get())));
    // SAFETY: freed below, after the last use.
    let lent: &'static S = unsafe { &*shared };
    let (last, others) = parts.split_last().expect("a model has threads");
    let threads: Vec<_> = others
        .iter()
        .zip(&arenas)
        .map(|(&part, &arena)| thread::spawn(move || part(lent, arena.get())))
        .collect();
    last(lent, arenas[others.len()].get());
    for thread in threads {
        thread.join().expect("a panic ends the model");
    }
    at_end(lent, arenas[parts.len()].get());
    // SAFETY: made above, and the threads are gone. A model that panics leaks.
    drop(unsafe { Box::from_raw(shared) });
    for arena in arenas {
        // SAFETY: as above; what pointed into the arenas is gone.
        drop(unsafe { Box::from_raw(arena.0) });
    }
}

/// An arena on its way to the thread that uses it.
#[derive(Clone, Copy)]
struct Lent(*mut Arena);

// SAFETY: each is used by one thread, and by the model's own once the threads are joined.
unsafe impl Send for Lent {}

impl Lent {
    fn get(self) -> &'static Arena {
        // SAFETY: `run` frees it after the last use.
        unsafe { &*self.0 }
    }
}

/// A number in plain memory: loom notices an access that is not ordered after its writing.
#[derive(Debug)]
#[repr(align(8))]
pub struct Tracked(UnsafeCell<u64>);

// SAFETY: loom checks the accesses.
unsafe impl Sync for Tracked {}

impl Tracked {
    /// Holds this number.
    pub fn new(value: u64) -> Self {
        let cell = UnsafeCell::new(0);
        // Written once more: loom dates a cell's creation back to its thread's last access.
        // SAFETY: nobody else has it yet.
        cell.with_mut(|number| unsafe { *number = value });
        Self(cell)
    }

    /// The number.
    pub fn get(&self) -> u64 {
        // SAFETY: nobody writes after `new`.
        self.0.with(|value| unsafe { *value })
    }
}

/// A number that is taken back in the end: loom notices who reads it without being ordered before that.
#[derive(Debug)]
pub struct Owned(UnsafeCell<u64>);

// SAFETY: loom checks the accesses.
unsafe impl Sync for Owned {}

impl Owned {
    /// Holds this number, until it is dropped.
    pub fn new(value: u64) -> Self {
        let cell = UnsafeCell::new(0);
        // SAFETY, and why: as in `Tracked::new`.
        cell.with_mut(|number| unsafe { *number = value });
        Self(cell)
    }
}

impl Clone for Owned {
    fn clone(&self) -> Self {
        // SAFETY: nobody writes before the drop.
        Self::new(self.0.with(|value| unsafe { *value }))
    }
}

impl PartialEq<u64> for Owned {
    fn eq(&self, other: &u64) -> bool {
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value } == *other)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more, or loom complains.
        self.0.with_mut(|value| unsafe { *value = u64::MAX });
    }
}

impl PartialEq for Tracked {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}
