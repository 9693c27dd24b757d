//! Long blocks, which are executed stretch by stretch: each on top of what those before it have changed.

#![cfg(feature = "cli")]

mod common;

use std::time::Duration;

use common::{Case, Watchdog, agree};
use counterpoint::{Control, ExecuteError, Finalized, Hook, HookError, Mode, Runtime};
use counterpoint_benches::workload::{Knobs, Mix};

/// More than two stretches.
const TRANSACTIONS: usize = 9_000;

fn long(mix: Mix) -> Case {
    Case::of(mix.build(&Knobs { transactions: TRANSACTIONS, ..Knobs::default() }))
}

fn runtimes() -> impl Iterator<Item = (String, Runtime)> {
    [2, 5].into_iter().map(|workers| {
        let runtime = Runtime::builder().workers(workers).keep_states(true).build();
        (format!("{workers} workers"), runtime.expect("threads can be started"))
    })
}

#[test]
fn long_blocks_are_as_executed_one_after_the_other() {
    let watchdog = Watchdog::new(Duration::from_secs(300));
    for mix in [Mix::DefiDay, Mix::Erc20Independent, Mix::OneToMany, Mix::LendingOneOracle] {
        let case = long(mix);
        let expected = case.sequential(Mode::Verify);
        for (name, runtime) in runtimes() {
            watchdog.now(&name);
            for _ in 0..2 {
                agree(&expected, &runtime.execute(&case.block(Mode::Verify)), format!("{mix:?}, {name}"));
            }
        }
    }
}

#[test]
fn a_failure_in_a_later_stretch_costs_the_whole_block() {
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let case = long(Mix::DefiDay);
    let expected = case.sequential(Mode::Verify);
    for index in [4_000, 7_777, TRANSACTIONS - 1] {
        let mut spoilt = case.block(Mode::Verify);
        let mut transactions = spoilt.transactions.to_vec();
        transactions[index].nonce += 1_000;
        spoilt.transactions = transactions.into();
        for (name, runtime) in runtimes() {
            watchdog.now(&name);
            let failed = runtime.execute(&spoilt);
            assert!(
                matches!(failed, Err(ExecuteError::InvalidTransaction { index: at, .. }) if at == index),
                "{name}: {index}"
            );
            agree(&expected, &runtime.execute(&case.block(Mode::Verify)), &name);
        }
    }
}

/// Wants every transaction in its order, with the gas so far.
struct Follows {
    next: usize,
    gas_used: u64,
}

impl Hook for Follows {
    fn finalized(&mut self, finalized: Finalized<'_>) -> Result<(), HookError> {
        assert_eq!(finalized.index, self.next);
        assert!(finalized.gas_used > self.gas_used);
        (self.next, self.gas_used) = (self.next + 1, finalized.gas_used);
        if self.next == 8_000 { Err("far enough".into()) } else { Ok(()) }
    }
}

#[test]
fn a_hook_follows_from_stretch_to_stretch() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let case = long(Mix::Defi);
    for (name, runtime) in runtimes() {
        let control = Control::new().hook(Follows { next: 0, gas_used: 0 });
        let stopped = runtime.execute_with(&case.block(Mode::Verify), control);
        assert!(
            matches!(stopped, Err(ExecuteError::Hook { index: 7_999, .. })),
            "{name}: {:?}",
            stopped.err()
        );
    }
}
