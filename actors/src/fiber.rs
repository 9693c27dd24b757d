//! Fibers: transactions in execution on stacks of their own, to be suspended at any read and resumed by any
//! worker.

use std::{
    any::Any,
    fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use corosensei::{
    Coroutine, CoroutineResult, Yielder,
    stack::{DefaultStack, Stack},
};
use counterpoint_state::{
    WaitWord,
    sync::unordered::{AtomicBool, Ordering},
};

use crate::{
    block::BlockState,
    execution::{End, Execution},
    executor::Executor,
    worker::WorkerContext,
};

/// The usable size of a fiber's stack in bytes. revm keeps its call frames on the heap and precompiles run on
/// the worker's stack, so depth does not add up here: `tests/stack.rs` measures the high-water mark.
pub const STACK_SIZE: usize = 256 * 1024;

/// What a worker tells a fiber.
pub(crate) enum Order {
    /// Execute this; the fiber is idle.
    Run { block: *const BlockState, execution: Box<Execution>, worker: WorkerContext },
    /// Go on where you asked for something.
    Resume { worker: WorkerContext },
    /// Give up where you asked for something.
    Cancel,
    /// End; the fiber is idle.
    Exit,
}

/// What a fiber tells its worker.
pub(crate) enum Request {
    /// The execution has ended; the fiber is idle.
    Done(Box<Execution>),
    /// Park this until the version is there.
    Wait(&'static WaitWord<'static>),
    /// Park this until the source has answered.
    Load(&'static WaitWord<'static>),
    /// Let others run first.
    Pause,
}

/// What a fiber came back with.
#[derive(Debug)]
pub enum Yielded {
    /// The execution has ended; the fiber can run another.
    Done(Box<Execution>),
    /// It waits for this version.
    Wait(&'static WaitWord<'static>),
    /// It waits for this answer of the source.
    Load(&'static WaitWord<'static>),
    /// It lets others run first.
    Pause,
}

/// A pooled stack with an EVM on it.
pub struct Fiber {
    coroutine: Coroutine<Order, Request, ()>,
    stack: (usize, usize),
    /// Chaos: whether somebody is on the stack. On the heap, so that whoever came by a second copy of the fiber
    /// finds the same mark.
    entered: Box<AtomicBool>,
    /// Whether the mark is looked at.
    checked: bool,
}

// SAFETY: what lives on a suspended fiber's stack is an `Executor` (an EVM whose memory is shared through
// `Rc`s that never leave it, whose bytecode pointers point into what it owns), a `Box<Execution>`, and references
// into the block, which is `Sync`. All of it moves together, and nothing on the stack depends on the thread:
// what suspends touches no thread-local (see `CellDatabase::suspend`).
unsafe impl Send for Fiber {}

impl Fiber {
    /// A fiber that is idle.
    ///
    /// # Errors
    ///
    /// The system may refuse the memory for the stack.
    pub fn new() -> io::Result<Self> {
        let stack = DefaultStack::new(STACK_SIZE)?;
        let bounds = (stack.limit().get(), stack.base().get());
        let coroutine = Coroutine::with_stack(stack, fiber_main);
        Ok(Self { coroutine, stack: bounds, entered: Box::default(), checked: false })
    }

    /// Starts an execution on an idle fiber.
    ///
    /// # Errors
    ///
    /// The message of a panic; the fiber is of no use then.
    ///
    /// # Safety
    ///
    /// The fiber must be idle, and the block must live until the fiber comes back with
    /// [`Yielded::Done`] or is cancelled.
    pub unsafe fn run(
        &mut self,
        block: &BlockState,
        execution: Box<Execution>,
        worker: WorkerContext,
    ) -> Result<Yielded, String> {
        self.checked = block.chaos.is_some();
        self.order(Order::Run { block, execution, worker })
    }

    /// Resumes a suspended fiber.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn resume(&mut self, worker: WorkerContext) -> Result<Yielded, String> {
        self.order(Order::Resume { worker })
    }

    /// Cancels a suspended fiber's execution: it unwinds through revm's errors and is idle again.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn cancel(&mut self) -> Result<Yielded, String> {
        self.order(Order::Cancel)
    }

    fn order(&mut self, order: Order) -> Result<Yielded, String> {
        // Relaxed: the mark hands nothing over. What should do that is what it checks, and it must not help.
        if self.checked && self.entered.swap(true, Ordering::Relaxed) {
            return Err("the fiber was entered twice".to_owned());
        }
        let came_back = contain(|| self.coroutine.resume(order));
        if self.checked {
            self.entered.store(false, Ordering::Relaxed);
        }
        match came_back {
            Ok(CoroutineResult::Yield(Request::Done(execution))) => Ok(Yielded::Done(execution)),
            Ok(CoroutineResult::Yield(Request::Wait(version))) => Ok(Yielded::Wait(version)),
            Ok(CoroutineResult::Yield(Request::Load(word))) => Ok(Yielded::Load(word)),
            Ok(CoroutineResult::Yield(Request::Pause)) => Ok(Yielded::Pause),
            Ok(CoroutineResult::Return(())) => Err("the fiber ended".to_owned()),
            Err(message) => Err(message),
        }
    }

    /// The most bytes of the stack that were ever in use, from what is no longer zero.
    pub fn high_water_mark(&self) -> usize {
        let (limit, base) = self.stack;
        // The guard page at the low end cannot be read; the rest is mapped, and zero until it is used.
        let mut address = base - STACK_SIZE;
        debug_assert!(address > limit);
        // SAFETY: within the fiber's mapped stack, which nothing runs on while `self` is borrowed.
        while address < base && unsafe { ptr::read_volatile(address as *const u64) } == 0 {
            address += size_of::<u64>();
        }
        base - address
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // An idle fiber ends by itself, which needs no forced unwinding. A suspended one is cancelled first.
        let mut rounds = 0;
        while self.coroutine.started() && !self.coroutine.done() && rounds < 2 {
            rounds += 1;
            let _ = contain(|| self.coroutine.resume(Order::Exit));
        }
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("done", &self.coroutine.done()).finish_non_exhaustive()
    }
}

/// What every fiber runs: one execution after the other, on the same EVM.
fn fiber_main(yielder: &Yielder<Order, Request>, mut order: Order) {
    let mut executor = Box::new(Executor::new());
    while let Order::Run { block, mut execution, worker } = order {
        // SAFETY: `Fiber::run`'s caller keeps the block alive until this execution is done.
        run_guarded(&mut executor, unsafe { &*block }, &mut execution, worker, yielder);
        order = yielder.suspend(Request::Done(execution));
    }
}

/// Runs an execution on the caller's own stack. What panics ends in [`End::Panicked`].
pub fn run_inline(
    executor: &mut Executor,
    block: &BlockState,
    execution: &mut Execution,
    worker: WorkerContext,
) {
    run_guarded(executor, block, execution, worker, ptr::null());
}

/// Contains what panics: the execution itself must survive, since it knows which estimates it entered.
fn run_guarded(
    executor: &mut Executor,
    block: &BlockState,
    execution: &mut Execution,
    worker: WorkerContext,
    yielder: *const Yielder<Order, Request>,
) {
    if let Err(message) = contain(|| executor.run(block, execution, worker, yielder)) {
        // The EVM was interrupted anywhere: another one takes its place.
        *executor = Executor::new();
        execution.end = End::Panicked(message);
    }
}

/// Runs foreign code, which may need more stack than a fiber has, on the stack of the fiber's worker. Without a
/// fiber (null) that is this stack.
///
/// # Safety
///
/// The yielder must be null, or that of the fiber that runs this; `job` must not suspend.
pub(crate) unsafe fn on_worker_stack<R>(
    yielder: *const Yielder<Order, Request>,
    job: impl FnOnce() -> R,
) -> R {
    /// May run on the parent's stack although it borrows what is not `Send`.
    struct OnParent<F>(F);

    // SAFETY: `on_parent_stack` runs the closure on the same thread, and returns only after it has. The bound is
    // there so that no reference to the yielder gets in, which the caller sees to.
    unsafe impl<F> Send for OnParent<F> {}

    impl<F: FnOnce() -> R, R> OnParent<F> {
        fn call(self) -> R {
            (self.0)()
        }
    }

    // SAFETY: the caller's.
    match unsafe { yielder.as_ref() } {
        None => job(),
        Some(yielder) => {
            let job = OnParent(job);
            yielder.on_parent_stack(move || job.call())
        }
    }
}

/// Does this. Of a panic in it comes back what it says; what else it holds is dropped, and may panic once more.
///
/// # Errors
///
/// The panic's message.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic_message(&*panic);
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            // It may never come to an end with those.
            mem::forget(again);
        }
        message
    })
}

/// What a panic says.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri cannot switch stacks")]
    fn nobody_gets_onto_a_fiber_that_somebody_is_on() {
        let mut fiber = Fiber::new().expect("memory for a stack");
        fiber.checked = true;
        fiber.entered.store(true, Ordering::Relaxed);
        assert_eq!(fiber.order(Order::Cancel).expect_err("entered twice"), "the fiber was entered twice");
        assert!(!fiber.coroutine.started());
    }
}
