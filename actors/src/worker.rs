//! What a worker brings along when it runs a transaction: its memory for the block, and its counters.

use std::{cell::RefCell, fmt, ptr};

use counterpoint_state::{
    Arena, Request, Waiter,
    sync::unordered::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{chaos::current_thread, digests::Digests};

/// Counts one worker's doings in one block. Written by that worker alone, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    /// Attempts at executing a transaction.
    pub incarnations: Counter,
    /// Fibers parked.
    pub parked: Counter,
    /// Fibers resumed.
    pub resumed: Counter,
    /// Fibers that this worker went on with, and that another worker had before.
    pub migrated: Counter,
    /// Incarnations that had read something too early.
    pub invalidated: Counter,
    /// Messages between actors.
    pub hops: Counter,
    /// Messages that went through a mailbox.
    pub queued: Counter,
    /// Keys that the source was asked for.
    pub requests: Counter,
    /// Transactions run without a fiber.
    pub fiberless: Counter,
    /// Estimates entered by prediction.
    pub predicted: Counter,
    /// Nanoseconds that executing took what was not in vain, all workers' together: one adds, another takes back.
    pub useful: Counter,
    /// Times that a fiber could not go on without an account that an earlier transaction writes.
    pub account_waits: Counter,
    /// The same for a storage slot.
    pub slot_waits: Counter,
    /// Times that a fiber could not go on without the source's answer.
    pub source_waits: Counter,
    /// Times that a transaction was left until the frontier arrives.
    pub deferrals: Counter,
    /// The most fibers that were in flight when this worker took one.
    pub fibers: Counter,
    /// The most transactions that were ready in this worker's queue.
    pub ready: Counter,
    /// Chaos: the thread that acts as this worker.
    thread: AtomicUsize,
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. For the owning worker only: it is not a read-modify-write.
    #[inline]
    pub fn increment(&self) {
        // Relaxed: a count.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Sets it. For the owning worker only.
    #[inline]
    pub fn set(&self, number: u64) {
        // Relaxed: a count.
        self.0.store(number, Ordering::Relaxed);
    }

    /// Adds, wrapping. For the owning worker only.
    #[inline]
    pub fn add(&self, number: u64) {
        // Relaxed: a count.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
    }

    /// Raises it to this number. For the owning worker only.
    #[inline]
    pub fn at_least(&self, number: u64) {
        // Relaxed: a count.
        if number > self.0.load(Ordering::Relaxed) {
            self.0.store(number, Ordering::Relaxed);
        }
    }

    /// The count.
    pub fn get(&self) -> u64 {
        // Relaxed: a count. Exact once the worker has left the block.
        self.0.load(Ordering::Relaxed)
    }
}

/// What a worker needs memory for, from block to block.
#[derive(Debug, Default)]
pub struct WorkerMemory {
    arena: Arena,
    digests: Digests,
}

impl WorkerMemory {
    /// Forgets what a block has left in it.
    pub fn reset(&mut self) {
        self.arena.reset();
        self.digests.forget();
    }
}

/// A worker's part of a block.
#[derive(Debug, Default)]
pub struct Space {
    /// Its allocations. Used by the owning worker only.
    pub(crate) arena: Arena,
    /// What it has hashed. Used by the owning worker only.
    pub(crate) digests: RefCell<Digests>,
    /// What it will ask the source for. Used by the owning worker only.
    pub(crate) requests: RefCell<Vec<Request>>,
    /// Its counters.
    pub counters: Counters,
}

impl Space {
    pub(crate) fn new(memory: WorkerMemory) -> Self {
        let WorkerMemory { arena, digests } = memory;
        Self { arena, digests: RefCell::new(digests), ..Self::default() }
    }

    pub(crate) fn into_memory(self) -> WorkerMemory {
        WorkerMemory { arena: self.arena, digests: self.digests.into_inner() }
    }
}

/// The worker that runs a transaction at the moment, as a fiber sees it: handed in with every resumption,
/// since a fiber may not remember a thread.
///
/// `'static` stands for "as long as the block", see [`BlockState`](crate::BlockState).
#[derive(Clone, Copy)]
pub struct WorkerContext {
    pub(crate) arena: &'static Arena,
    pub(crate) requests: &'static RefCell<Vec<Request>>,
    pub(crate) digests: &'static RefCell<Digests>,
    /// The worker's counters.
    pub counters: &'static Counters,
}

impl WorkerContext {
    /// Chaos: notes that the current thread acts as this worker from here on.
    pub(crate) fn enter(&self) {
        // Relaxed: read by this thread, or by one that it handed a fiber to, and that orders it.
        self.counters.thread.store(current_thread(), Ordering::Relaxed);
    }

    /// Chaos: whether the current thread acts as this worker.
    pub(crate) fn is_here(&self) -> bool {
        // Relaxed: a worker's own thread sees what it wrote, and nobody else may ask with success.
        self.counters.thread.load(Ordering::Relaxed) == current_thread()
    }

    /// Whether both are the same worker.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self.counters, other.counters)
    }

    /// Stores a waiter for as long as the block lives.
    pub fn waiter(&self, waiter: Waiter<'static>) -> &'static Waiter<'static> {
        self.arena.alloc(waiter)
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerContext").field("counters", self.counters).finish_non_exhaustive()
    }
}

/// What a worker does for others while it publishes: the runtime puts the transactions in its queues.
pub trait Signals {
    /// The parking of this transaction with this ticket is over.
    fn wake(&mut self, index: u32, ticket: u32);
    /// This incarnation of this transaction read something that has changed. `true`: it is over, and need not be
    /// told again.
    fn invalidate(&mut self, index: u32, incarnation: u32) -> bool;
}
