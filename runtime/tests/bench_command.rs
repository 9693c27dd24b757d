//! `bench` and `simulate`: what they print, and how they exit.

#![cfg(feature = "cli")]

use std::process::{Command, Output};

use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/defi-block.json.gz");

fn counterpoint(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_counterpoint")).args(arguments).output().expect("the command starts")
}

/// Checks the exit code, and returns what was printed to standard output.
fn run(arguments: &[&str]) -> String {
    let output = counterpoint(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[test]
fn every_workload_is_listed_with_its_knobs() {
    let list = run(&["bench", "--list"]);
    for mix in counterpoint_benches::Mix::ALL {
        assert!(list.contains(mix.name()) && list.contains(mix.description()), "{mix}");
    }
    assert!(list.contains("--hot"));
}

#[test]
fn json_has_a_line_for_each_workload() {
    let text = run(&[
        "bench",
        "--workload",
        "erc20-hot-recipient,swaps-one-pool",
        "--transactions",
        "60",
        "--workers",
        "1,2",
        "--repeat",
        "2",
        "--reverting",
        "0.5",
        "--json",
    ]);
    let lines = json(&text);
    assert_eq!(lines.len(), 2);
    for (line, name) in lines.iter().zip(["erc20-hot-recipient", "swaps-one-pool"]) {
        assert_eq!(line["workload"], name);
        assert_eq!((&line["transactions"], &line["equal"]), (&60.into(), &true.into()));
        assert!((15..45).contains(&line["failed"].as_u64().unwrap()), "{line}");
        assert!(line["sequential"]["ms"].as_f64().unwrap() > 0.0);
        let parallel = line["parallel"].as_array().unwrap();
        for (side, workers) in parallel.iter().zip([1, 2]) {
            assert_eq!(side["workers"], workers);
            let speedup = line["sequential"]["ms"].as_f64().unwrap() / side["ms"].as_f64().unwrap();
            assert!((side["speedup"].as_f64().unwrap() / speedup - 1.0).abs() < 1e-9);
            assert!(side["executions_per_transaction"].as_f64().unwrap() >= 1.0);
            if cfg!(target_os = "linux") {
                assert!(side["peak_memory_bytes"].as_u64().unwrap() > 1_000_000, "{side}");
                assert!(
                    side["cpu_ratio"].is_number() || line["sequential"]["cpu_seconds_per_gigagas"] == 0.0
                );
            }
        }
        // What it says to have been asked for gives the same block.
        let knobs = line["knobs"].as_str().unwrap().to_owned();
        let again: Vec<&str> = ["bench", "--json", "--no-memory", "--repeat", "1", "--workload", name]
            .into_iter()
            .chain(knobs.split(' '))
            .collect();
        assert_eq!(json(&run(&again))[0]["gas_used"], line["gas_used"]);
    }
}

#[test]
fn a_table_fits_into_110_columns() {
    let text = run(&[
        "bench",
        "--workload",
        "all",
        "--gas",
        "300000",
        "--workers",
        "1,2",
        "--repeat",
        "1",
        "--no-memory",
    ]);
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    assert!(text.contains("workload") && text.contains("geometric mean"), "{text}");
    let rows = text.lines().filter(|line| line.contains(" seq ")).count();
    assert_eq!(rows, counterpoint_benches::Mix::ALL.len());
}

#[test]
fn a_slow_source_is_slow_for_both_sides() {
    let text = run(&[
        "bench",
        "--workload",
        "independent-transfers",
        "--transactions",
        "20",
        "--workers",
        "2",
        "--repeat",
        "1",
        "--source-latency-us",
        "500",
        "--no-memory",
        "--json",
    ]);
    let line = &json(&text)[0];
    // Two accounts for each, and the beneficiary: one after the other, sequentially.
    assert!(line["sequential"]["ms"].as_f64().unwrap() >= 20.0, "{line}");
    assert!(line["parallel"][0]["ms"].as_f64().unwrap() >= 0.5, "{line}");
}

#[test]
fn bad_usage_is_said() {
    for (arguments, says) in [
        (&["bench"][..], "--workload"),
        (&["bench", "--workload", "atlantis"], "no workload is called"),
        (&["bench", "--workload", "defi", "--hot", "1.5"], "from 0 to 1"),
        (&["bench", "--workload", "defi", "--transactions", "0"], "0"),
        (&["bench", "--workload", "defi", "--workers", "0"], "0"),
        (&["bench", "--workload", "defi", "--gas", "5", "--transactions", "5"], "cannot be used with"),
        (&["simulate"], "BLOCK"),
        (&["simulate", "/nonexistent"], "/nonexistent"),
        (&["simulate", EXAMPLE, "--workers", "0"], "0"),
    ] {
        let output = counterpoint(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_simulation_stays_within_its_limits() {
    let text = run(&["simulate", EXAMPLE, "--workers", "1,2,8,128", "--repeat", "2", "--measure", "--json"]);
    let line = &json(&text)[0];
    let sequential = line["sequential_ms"].as_f64().unwrap();
    let limit = line["critical_path_speedup"].as_f64().unwrap();
    let predictions = line["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 4);
    for prediction in predictions {
        let [ms, speedup] = ["ms", "speedup"].map(|field| prediction[field].as_f64().unwrap());
        assert!((sequential / ms / speedup - 1.0).abs() < 1e-6, "{prediction}");
        assert!(speedup <= limit * 1.000_001, "{prediction}, limit {limit}");
        assert!(prediction["executions"].as_u64().unwrap() >= 1_800, "{prediction}");
    }
    assert_eq!(predictions[0]["executions"], 1_800, "one worker repeats nothing");
    assert!(predictions[0]["measured_ms"].as_f64().unwrap() > 0.0);
    assert!(predictions[3]["measured_ms"].is_null(), "no machine that tests this has 128 cores");
    let table = run(&["simulate", EXAMPLE, "--repeat", "1"]);
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
    assert!(table.contains("limit") && table.contains("predicted"), "{table}");
}
