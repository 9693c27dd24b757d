//! The end of large blocks, whose bundle a helper takes part in, and what is kept of a block for the next one.

#![cfg(feature = "cli")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Case, TestSource, Watchdog, agree, runtime};
use counterpoint::{ExecuteError, Mode, Runtime};
use counterpoint_benches::workload::{Knobs, Mix};

/// A block that changes so many accounts that a helper is worth it.
fn large(mix: Mix) -> Case {
    Case::of(mix.build(&Knobs { transactions: 6_000, accounts: 12_000, ..Knobs::default() }))
}

#[test]
fn large_blocks_are_as_executed_one_after_the_other() {
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let large = [large(Mix::IndependentTransfers), large(Mix::Erc20Independent)];
    let small = Case::of(Mix::Defi.build(&Knobs { transactions: 30, ..Knobs::default() }));
    let mut runtimes: Vec<(String, Runtime)> =
        [1, 2, 8].map(|workers| (format!("{workers} workers"), runtime(workers, 256, 256, None))).into();
    let parallel = Runtime::builder().workers(3).serial_prefix(0).keep_states(true).build();
    runtimes.push(("all in parallel".to_owned(), parallel.expect("threads can be started")));
    let mut refused = small.block(Mode::Verify);
    refused.source = Arc::new(TestSource {
        memory: Arc::new(small.memory.clone()),
        hook: Arc::new(|key| Err(common::Fault(key))),
        code_by_hash: false,
    });
    let expected: Vec<_> = large.iter().map(|case| case.sequential(Mode::Verify)).collect();
    for accounts in expected.iter().map(|expected| expected.as_ref().expect("it is valid").bundle.state.len())
    {
        assert!(accounts > 4_096, "{accounts} accounts are too few for a helper");
    }
    let expected_small = small.sequential(Mode::Verify);
    for (name, runtime) in &runtimes {
        watchdog.now(name);
        // Large after small, small after large, and each after one that failed.
        for round in 0..2 {
            for (case, expected) in large.iter().zip(&expected) {
                agree(expected, &runtime.execute(&case.block(Mode::Verify)), format!("{name}, {round}"));
                let failed = runtime.execute(&refused);
                assert!(matches!(failed, Err(ExecuteError::Source { .. })), "{name}: {failed:?}");
                agree(&expected_small, &runtime.execute(&small.block(Mode::Verify)), name);
            }
        }
    }
}
