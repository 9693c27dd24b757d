//! What is seen from outside: spans of blocks and phases, on the calling thread alone, and metrics that say what the
//! blocks' own statistics say.

#![cfg(feature = "cli")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Case, Watchdog, agree, runtime};
use counterpoint::{Block, Mode, Runtime, cli::latency::LatencySource, sources::BlockingSource};
use counterpoint_benches::workload::{Knobs, Mix};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::{Metadata, Subscriber, span};

fn case(mix: Mix, transactions: usize) -> Case {
    let workload = mix.build(&Knobs { transactions, accounts: 20, ..Knobs::default() });
    let mut case = Case::new(workload.cfg.spec);
    (case.env, case.cfg) = (workload.env, workload.cfg);
    (case.transactions, case.memory) = (workload.transactions, workload.source);
    case
}

/// Spans that were entered and left, by the threads' names.
#[derive(Debug, Default)]
struct Spans {
    last: AtomicU64,
    names: Mutex<BTreeMap<u64, &'static str>>,
    log: Mutex<Vec<(String, String)>>,
}

impl Spans {
    fn note(&self, what: &str, id: &span::Id) {
        let name = self.names.lock().expect("not poisoned")[&id.into_u64()];
        let thread = thread::current().name().unwrap_or_default().to_owned();
        self.log.lock().expect("not poisoned").push((thread, format!("{what}{name}")));
    }

    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.log.lock().expect("not poisoned"))
    }
}

struct Recorder(Arc<Spans>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("counterpoint")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let id = self.0.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.names.lock().expect("not poisoned").insert(id, attributes.metadata().name());
        span::Id::from_u64(id)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        self.0.note("+", id);
    }

    fn exit(&self, id: &span::Id) {
        self.0.note("-", id);
    }
}

/// The only test here whose subscriber hears of other tests' blocks: it looks at its own thread and at the pools'.
#[test]
fn spans_are_entered_by_the_calling_thread_alone() {
    let _watchdog = Watchdog::new(Duration::from_secs(120));
    let spans = Arc::new(Spans::default());
    tracing::subscriber::set_global_default(Recorder(Arc::clone(&spans))).expect("it is the only one");
    let case = case(Mix::Defi, 40);
    let build = |workers, prefix: Option<usize>| {
        let builder = Runtime::builder().workers(workers);
        prefix.map_or(builder.clone(), |prefix| builder.serial_prefix(prefix)).build().expect("threads")
    };
    let memory = Arc::new(case.memory.clone());
    let slow =
        || Arc::new(LatencySource::new(Arc::clone(&memory), Duration::from_micros(50)).expect("a thread"));
    let here = thread::current().name().expect("the harness names its threads").to_owned();
    for (name, runtime, block, phases) in [
        ("one after the other", build(1, None), case.block(Mode::Verify), &["serial", "finish"][..]),
        ("parallel", build(3, Some(0)), case.block(Mode::Verify), &["setup", "parallel", "finish"]),
        ("both", build(3, Some(5)), case.block(Mode::Verify), &["serial", "setup", "parallel", "finish"]),
        (
            "a slow source",
            build(2, None),
            Block { source: slow(), ..case.block(Mode::Verify) },
            &["setup", "parallel", "finish"],
        ),
    ] {
        spans.take();
        runtime.execute(&block).expect("the block is fine");
        let log = spans.take();
        let mut expected = vec!["+execute".to_owned()];
        for phase in phases {
            expected.extend([format!("+{phase}"), format!("-{phase}")]);
        }
        expected.push("-execute".to_owned());
        let heard: Vec<_> =
            log.iter().filter(|(thread, _)| *thread == here).map(|(_, what)| what.clone()).collect();
        assert_eq!(heard, expected, "{name}");
        let others: Vec<_> = log.iter().filter(|(thread, _)| thread.starts_with("counterpoint-")).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

/// What a metric says, with its labels as Prometheus writes them; 0 if it is not there.
fn value(handle: &PrometheusHandle, metric: &str) -> u64 {
    let page = handle.render();
    let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse::<f64>().expect("a number") as u64)
}

#[test]
fn metrics_say_what_the_statistics_say() {
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let case = case(Mix::SwapsOnePool, 30);
    let expected = case.sequential(Mode::Verify);
    let memory = Arc::new(case.memory.clone());
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut blocks = 0;
    // Whether a fiber meets an estimate is a matter of luck: until every reason was there, and not for ever.
    while blocks < 400 && (blocks < 20 || sums.values().any(|sum| *sum == 0)) {
        watchdog.now(&format!("block {blocks}: {sums:?}"));
        let chaos = cfg!(feature = "chaos").then_some(blocks);
        let runtime = runtime(4, if blocks % 3 == 0 { 2 } else { 64 }, 256, chaos);
        let mut block = case.block(Mode::Verify);
        if blocks % 4 == 0 {
            let slow = LatencySource::new(Arc::clone(&memory), Duration::from_micros(20));
            block.source = Arc::new(slow.expect("a thread"));
        }
        let got = metrics::with_local_recorder(&recorder, || runtime.execute(&block));
        agree(&expected, &got, blocks);
        let statistics = got.expect("it agrees").statistics;
        let again = statistics.incarnations - case.transactions.len() as u64;
        for (metric, count) in [
            ("counterpoint_waits_total{reason=\"account\"}", statistics.account_waits),
            ("counterpoint_waits_total{reason=\"slot\"}", statistics.slot_waits),
            ("counterpoint_waits_total{reason=\"source\"}", statistics.source_waits),
            ("counterpoint_waits_total{reason=\"turn\"}", statistics.deferrals),
            ("counterpoint_parked_total", statistics.parked),
            ("counterpoint_resumed_total", statistics.resumed),
            ("counterpoint_reexecutions_total", again),
            ("counterpoint_ahead_total", statistics.ahead),
            ("counterpoint_source_requests_total", statistics.requests),
            ("counterpoint_block_fibers_sum", statistics.fibers),
            ("counterpoint_block_ready_sum", statistics.ready),
        ] {
            *sums.entry(metric).or_default() += count;
        }
        blocks += 1;
    }
    for (metric, sum) in sums {
        assert_eq!(value(&handle, metric), sum, "{metric}");
        // One pool's slots are fought over; its accounts need not be.
        assert!(sum > 0 || metric.contains("account"), "{metric} is 0 after {blocks} blocks");
    }
    assert_eq!(value(&handle, "counterpoint_blocks_total{result=\"executed\"}"), blocks);
    assert_eq!(value(&handle, "counterpoint_block_fibers_count"), blocks);
}

#[test]
fn a_failed_block_is_counted_as_what_it_is() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let mut case = case(Mix::IndependentTransfers, 4);
    case.transactions[2].nonce += 1;
    let runtime = runtime(2, 16, 16, None);
    let got = metrics::with_local_recorder(&recorder, || runtime.execute(&case.block(Mode::Verify)));
    assert!(got.is_err());
    assert_eq!(value(&handle, "counterpoint_blocks_total{result=\"invalid\"}"), 1);
    assert_eq!(value(&handle, "counterpoint_transactions_total"), 0, "nothing of it counts");
}

#[test]
fn a_blocking_sources_reads_are_timed_by_its_own_threads() {
    // Its threads know the global recorder alone.
    let handle = PrometheusBuilder::new().install_recorder().expect("it is the only one");
    let case = case(Mix::IndependentTransfers, 4);
    let runtime = runtime(2, 16, 16, None);
    let source = BlockingSource::new(case.memory.clone(), 2).expect("threads");
    let block = Block { source: Arc::new(source), ..case.block(Mode::Verify) };
    let requests = runtime.execute(&block).expect("the block is fine").statistics.requests;
    drop(block);
    assert_eq!(value(&handle, "counterpoint_source_seconds_count{source=\"blocking\"}"), requests);
    assert_eq!(value(&handle, "counterpoint_source_waiting{source=\"blocking\"}"), 0);
}
