//! Every named workload, small, in every way there is: sequentially, on 1, 2 and 8 workers, and under chaos.
#![cfg(feature = "chaos")]

use counterpoint::{
    Mode, Runtime,
    cli::{compare::first_difference, sequential::execute_sequential, workload},
};
use counterpoint_benches::{Knobs, Mix};

fn runtimes() -> Vec<(&'static str, Runtime)> {
    let build = |builder: counterpoint::Builder| builder.keep_states(true).build().expect("threads start");
    let base = Runtime::builder;
    vec![
        ("1 worker", build(base().workers(1))),
        ("1 worker, nothing kept", base().workers(1).build().expect("no thread is needed")),
        ("2 workers", build(base().workers(2))),
        ("2 workers, nothing kept", base().workers(2).serial_prefix(0).build().expect("a thread starts")),
        ("8 workers", build(base().workers(8))),
        ("3 workers, few fibers", build(base().workers(3).fibers(4).window(8))),
        ("4 workers, chaos", build(base().workers(4).chaos(7))),
    ]
}

/// Blocks with these knobs give the sequential result in every way.
fn agree(change: impl Fn(&mut Knobs)) {
    let runtimes = runtimes();
    for mix in Mix::ALL {
        let mut knobs = Knobs { seed: 5, transactions: 120, accounts: 40, ..mix.full_size() };
        change(&mut knobs);
        let generated = mix.build(&knobs);
        let (env, cfg, transactions) = (&generated.env, &generated.cfg, &generated.transactions);
        let expected = execute_sequential(env, cfg, transactions, &generated.source, Mode::Verify, true)
            .unwrap_or_else(|error| panic!("{mix}: {error}"));
        let block = workload::block(generated, Mode::Verify);
        for (name, runtime) in &runtimes {
            let outcome = runtime.execute(&block).unwrap_or_else(|error| panic!("{mix}, {name}: {error}"));
            if let Some(difference) = first_difference(&expected, &outcome) {
                panic!("{mix}, {name}: {difference}");
            }
        }
    }
}

#[test]
fn every_workload_gives_the_sequential_result() {
    agree(|_| {});
}

#[test]
fn and_with_transactions_that_revert_and_senders_that_send_again() {
    agree(|knobs| {
        knobs.reverting = 0.3;
        knobs.repeated = 0.4;
        knobs.hot = 0.6;
        knobs.chain = 7;
    });
}

#[test]
fn and_under_the_newest_rules() {
    agree(|knobs| knobs.spec = revm::primitives::hardfork::SpecId::OSAKA);
}
