//! Many runtimes, sources and blocks at once: results are as ever, there are no more threads than were asked for, and
//! none is left afterwards. One test, alone in its process, since it counts the process's threads.

#![cfg(all(feature = "cli", target_os = "linux"))]

mod common;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Case, Watchdog, agree, runtime};
use counterpoint::{Block, Control, Mode, Runtime, sources::BlockingSource};
use counterpoint_benches::random::random_block;

const CALLERS: usize = 6;
const IO_THREADS: usize = 3;

/// All threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("the process has threads").count()
}

fn case(seed: u64) -> Case {
    let workload = random_block(seed);
    let mut case = Case::new(workload.cfg.spec);
    (case.env, case.cfg) = (workload.env, workload.cfg);
    (case.transactions, case.memory) = (workload.transactions, workload.source);
    case
}

#[test]
fn threads_are_bounded_and_all_joined() {
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let cases: Vec<Case> = (200..206).map(case).collect();
    let expected: Vec<_> = cases.iter().map(|case| case.sequential(Mode::Build)).collect();
    let before = threads();
    for round in 0..5 {
        watchdog.now(&format!("round {round}"));
        let runtimes: Vec<Runtime> = (1..=5).map(|workers| runtime(workers, 32, 32, None)).collect();
        let helpers: usize = runtimes.iter().map(|runtime| runtime.workers() - 1).sum();
        let blocks: Vec<Block> = cases
            .iter()
            .enumerate()
            .map(|(number, case)| {
                let mut block = case.block(Mode::Build);
                if number < 2 {
                    let source = BlockingSource::new(case.memory.clone(), IO_THREADS).expect("threads");
                    block.source = Arc::new(source);
                }
                block
            })
            .collect();
        // A timer for each runtime, started with the first deadline; this scope's callers, and who counts.
        let most = before + helpers + runtimes.len() + 2 * IO_THREADS + CALLERS + 1;
        let (peak, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    peak.fetch_max(threads(), Ordering::Relaxed);
                    thread::sleep(Duration::from_micros(200));
                }
            });
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let (runtimes, blocks, expected) = (&runtimes, &blocks, &expected);
                    scope.spawn(move || {
                        for step in 0..20 {
                            let place = (caller + step) % blocks.len();
                            let runtime = &runtimes[(caller * 3 + step) % runtimes.len()];
                            let deadline = Instant::now() + Duration::from_secs(200);
                            let got = runtime.execute_with(&blocks[place], Control::new().deadline(deadline));
                            let way = format!("round {round}, caller {caller}, step {step}");
                            agree(&expected[place], &got, way);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.join().expect("it says itself what is wrong");
            }
            over.store(true, Ordering::Relaxed);
        });
        let peak = peak.into_inner();
        assert!((before + helpers..=most).contains(&peak), "{peak} threads, {most} at most");
        drop((runtimes, blocks));
        // A thread that was joined may be listed a moment longer.
        let start = Instant::now();
        while threads() != before {
            assert!(start.elapsed() < Duration::from_secs(5), "{} threads instead of {before}", threads());
            thread::yield_now();
        }
    }
}
