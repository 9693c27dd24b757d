//! A fiber goes on on another thread, and chaos notices where the worker that it is given is not that thread.

use std::{sync::Arc, thread};

use counterpoint_actors::{BlockState, Chaos, End, Execution, Fiber, WorkerMemory, Yielded};
use counterpoint_state::MemorySource;
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::{Address, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// A block with one transfer, in which fibers pause before every read, for two workers.
fn block() -> BlockState {
    let sender = Address::repeat_byte(0xaa);
    let mut source = MemorySource::new();
    source.insert_account(sender, AccountInfo::from_balance(U256::MAX >> 1), []);
    let transaction = TxEnv::builder()
        .caller(sender)
        .kind(TxKind::Call(Address::repeat_byte(0xbb)))
        .gas_limit(21_000)
        .build()
        .expect("a complete transaction");
    BlockState::new(
        BlockEnv::default(),
        CfgEnv::new_with_spec(SpecId::CANCUN),
        Arc::from([transaction]),
        0..1,
        Arc::new(source),
        2,
        WorkerMemory::default,
        Some(Chaos::pausing_everywhere(None)),
        || (),
    )
}

/// Starts the transfer as worker 0, up to its first pause.
fn paused(block: &BlockState) -> Fiber {
    let mut fiber = Fiber::new().expect("memory for a stack");
    let mut execution = Execution::new();
    execution.reset(1, 0, false, false);
    // SAFETY: this thread alone acts as worker 0, the fiber is idle, and it ends before the block does.
    let yielded = unsafe { fiber.run(block, execution, block.worker(0)) };
    assert!(matches!(yielded, Ok(Yielded::Pause)), "{yielded:?}");
    fiber
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot switch stacks")]
fn a_fiber_ends_on_another_thread() {
    let block = block();
    let mut fiber = paused(&block);
    let pauses = thread::scope(|scope| {
        let go_on = || {
            // SAFETY: this thread alone acts as worker 1.
            let worker = unsafe { block.worker(1) };
            let mut pauses = 1;
            loop {
                match fiber.resume(worker) {
                    Ok(Yielded::Pause) => pauses += 1,
                    Ok(Yielded::Done(execution)) => {
                        assert!(matches!(execution.end, End::Executed(_)), "{execution:?}");
                        return pauses;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        scope.spawn(go_on).join().expect("nothing panicked")
    });
    assert!(pauses > 1);
    let migrated: Vec<_> = block.counters().map(|counters| counters.migrated.get()).collect();
    assert_eq!(migrated, [0, 1], "it moved once, to the second worker");
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot switch stacks")]
fn a_stale_worker_is_noticed() {
    let block = block();
    // SAFETY: nobody else acts as worker 0 until it is taken away below.
    let stale = unsafe { block.worker(0) };
    let mut fiber = paused(&block);
    // Another thread becomes worker 0, so that what is kept here is out of date.
    thread::scope(|scope| {
        // SAFETY: this thread does nothing in the meantime, and that one nothing but become the worker.
        scope.spawn(|| unsafe { block.worker(0) }.counters.migrated.get()).join().expect("nothing panicked");
    });
    match fiber.resume(stale) {
        Ok(Yielded::Done(execution)) => {
            assert!(execution.was_misplaced());
            let End::Panicked(message) = &execution.end else { panic!("{execution:?}") };
            assert!(message.contains("another thread than that of the worker"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
