//! `t8n` with small blocks made by hand: what comes out, where it goes, and how the command exits.

#![cfg(feature = "cli")]

mod command;

use std::{fs, path::Path, process::Output};

use alloy_consensus::EMPTY_ROOT_HASH;
use command::*;
use revm::primitives::{B256, hex};
use serde_json::{Value, json};

fn t8n_input() -> Value {
    let unsigned = |nonce: u64, gas: u64| {
        json!({
            "nonce": format!("{nonce:#x}"), "gas": format!("{gas:#x}"), "gasPrice": "0xa", "value": "0x5",
            "input": "0x", "to": RECIPIENT, "secretKey": KEY, "v": "0x0", "r": "0x0", "s": "0x0"
        })
    };
    json!({
        "alloc": alloc(&[(SENDER, 1_000_000, 0)]),
        "env": {
            "currentCoinbase": MINER, "currentNumber": "0x1", "currentTimestamp": "0x3e8",
            "currentGasLimit": "0x5500000", "currentBaseFee": "0x7", "currentRandom": "0x0", "withdrawals": []
        },
        "txs": [unsigned(0, 21_000), unsigned(0, 21_000), unsigned(1, 20_000), unsigned(1, 21_000)]
    })
}

fn t8n(input: &Value, fork: &str) -> Output {
    let arguments = [
        "t8n",
        "--input.alloc",
        "stdin",
        "--input.env=stdin",
        "--input.txs=stdin",
        "--output.alloc=stdout",
        "--output.result=stdout",
        "--output.body=stdout",
        "--state.reward=-1",
        "--state.fork",
        fork,
    ];
    counterpoint(&arguments, Path::new("."), &input.to_string())
}

#[test]
fn a_transition_leaves_out_what_is_invalid() {
    let output = t8n(&t8n_input(), "Shanghai");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let result = &output["result"];
    let rejected = result["rejected"].as_array().expect("a list");
    assert_eq!(rejected.iter().map(|entry| entry["index"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert!(rejected[0]["error"].as_str().is_some_and(|error| error.contains("nonce")), "{rejected:?}");
    assert_eq!(result["gasUsed"], "0xa410");
    assert_eq!(result["receipts"].as_array().map(Vec::len), Some(2));
    assert_eq!(result["receipts"][1]["cumulativeGasUsed"], "0xa410");
    assert_eq!(result["logsHash"], NO_LOGS);
    assert_eq!(result["currentDifficulty"], Value::Null);
    assert_eq!(result["currentBaseFee"], "0x7");
    assert_eq!(result["withdrawalsRoot"], json!(EMPTY_ROOT_HASH));
    let post = alloc(&[(SENDER, 1_000_000 - 2 * 210_005, 2), (RECIPIENT, 10, 0), (MINER, 126_000, 0)]);
    assert_eq!(result["stateRoot"], json!(root(&post)));
    assert_eq!(root(&output["alloc"]), root(&post));
    assert_eq!(output["alloc"][MINER.to_string().to_lowercase()], json!({ "balance": "0x1ec30" }));

    // What was included is input again, and gives the same.
    let again = with(t8n_input(), "/txs", output["body"].clone());
    let again: Value = serde_json::from_slice(&t8n(&again, "Shanghai").stdout).expect("JSON");
    assert_eq!(again["result"]["rejected"], json!([]));
    assert_eq!(again["result"]["txRoot"], result["txRoot"]);
    assert_eq!(again["result"]["stateRoot"], result["stateRoot"]);
    assert_eq!(again["body"], output["body"]);
}

#[test]
fn a_transition_reads_and_writes_files() {
    let input = t8n_input();
    let folder = folder(&[
        ("alloc.json", &input["alloc"].to_string()),
        ("env.json", &input["env"].to_string()),
        ("txs.json", &input["txs"].to_string()),
    ]);
    let arguments = ["t8n", "--state.fork=Paris", "--output.basedir=out", "--output.body=body.rlp"];
    run(&arguments, folder.path(), 0);
    let read = |name: &str| {
        let text = fs::read_to_string(folder.path().join("out").join(name)).expect("it was written");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    assert_eq!(read("result.json")["stateRoot"], json!(root(&read("alloc.json"))));
    assert_eq!(read("result.json").get("withdrawalsRoot"), None, "not before Shanghai");
    // The body is what `--input.txs` takes.
    let arguments = ["t8n", "--state.fork=Paris", "--input.txs=out/body.rlp", "--output.basedir=again"];
    run(&arguments, folder.path(), 0);
    let again = fs::read_to_string(folder.path().join("again/result.json")).expect("it was written");
    assert!(again.contains(read("result.json")["txRoot"].as_str().expect("a hash")));
}

#[test]
fn transitions_fail_with_their_exit_codes() {
    let input = t8n_input;
    // BLOCKHASH(0)
    let asks = json!({ "balance": "0x0", "nonce": "0x1", "code": "0x600040", "storage": {} });
    let mut missing_hash = input();
    missing_hash["alloc"][RECIPIENT.to_string()] = asks;
    missing_hash["txs"][0]["gas"] = json!("0xc350");
    for (name, input, fork, exit) in [
        ("no request contracts", input(), "Prague", 3),
        ("unknown fork", input(), "Atlantis", 3),
        ("no difficulty", input(), "Berlin", 3),
        ("no random", with(input(), "/env/currentRandom", Value::Null), "Shanghai", 3),
        ("no withdrawals", with(input(), "/env/withdrawals", Value::Null), "Shanghai", 3),
        ("no base fee", with(input(), "/env/currentBaseFee", Value::Null), "Shanghai", 3),
        ("missing block hash", missing_hash, "Shanghai", 4),
        ("alloc is no object", with(input(), "/alloc", json!([])), "Shanghai", 10),
        ("txs are no list", with(input(), "/txs", json!({})), "Shanghai", 10),
        ("a number that is none", with(input(), "/env/currentNumber", json!("one")), "Shanghai", 10),
        ("txs are no hex", with(input(), "/txs", json!("0xg")), "Shanghai", 10),
        ("txs are no RLP list", with(input(), "/txs", json!("0x01")), "Shanghai", 12),
        ("txs end too early", with(input(), "/txs", json!("0xc2c1")), "Shanghai", 12),
    ] {
        let output = t8n(&input, fork);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{name}: {stderr}");
        assert!(stderr.starts_with("counterpoint: ") && !stderr.contains("panicked"), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    let mut prague = input();
    prague["env"]["parentBeaconBlockRoot"] = json!(B256::ZERO);
    let output = t8n(&prague, "Prague");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));

    let empty = folder(&[("env.json", "{")]);
    run(&["t8n"], empty.path(), 11);
    let arguments = ["t8n", "--input.alloc=stdin", "--input.env=stdin"];
    let output = counterpoint(&arguments, empty.path(), "{}");
    assert_eq!(output.status.code(), Some(10));
    let output = counterpoint(&["t8n", "--input.alloc=stdin"], empty.path(), "not JSON");
    assert_eq!(output.status.code(), Some(10));
}

/// A transaction that cannot be is rejected, and the others are executed.
#[test]
fn transactions_that_cannot_be_are_rejected() {
    for (field, value, part) in [
        ("to", json!("0x12"), "no address"),
        ("gasPrice", json!(format!("0x1{}", "0".repeat(32))), "gasPrice is too large"),
        ("type", json!("0x7f"), "not supported"),
        ("secretKey", json!(B256::ZERO), "no key"),
        ("v", json!("0x2"), "which no signature has"),
        ("v", json!("0x1b"), "invalid signature"),
    ] {
        let mut input = t8n_input();
        input["txs"][0][field] = value;
        let output = t8n(&input, "Shanghai");
        assert_eq!(output.status.code(), Some(0), "{field}: {}", String::from_utf8_lossy(&output.stderr));
        let output: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let first = &output["result"]["rejected"][0];
        assert_eq!(first["index"], 0, "{field}");
        assert!(first["error"].as_str().is_some_and(|error| error.contains(part)), "{field}: {first}");
        assert_eq!(
            output["result"]["gasUsed"], "0xa410",
            "{field}: the second takes its place, and the fourth"
        );
    }
}

/// As geth's tool takes it: what is not given is nothing, and the RLP counts before the list.
#[test]
fn a_transition_takes_what_is_there() {
    let result = |input: &Value| -> Value {
        let output = t8n(input, "Shanghai");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let without = |fields: &[&str]| {
        let mut input = t8n_input();
        for field in fields {
            input.as_object_mut().expect("an object").remove(*field);
        }
        input
    };
    let idle = result(&without(&["txs"]));
    assert_eq!(idle["result"]["receipts"], json!([]));
    assert_eq!(idle["body"], "0xc0");
    assert_eq!(result(&without(&["alloc", "txs"]))["result"]["stateRoot"], json!(EMPTY_ROOT_HASH));
    assert_eq!(result(&with(t8n_input(), "/txs", json!("0x")))["result"]["receipts"], json!([]));

    // The body has two transactions, the list four.
    let body = result(&t8n_input())["body"].clone();
    for (rlp, rejected) in [(body, 0), (json!(""), 2)] {
        let mut input = t8n_input();
        input["txsRlp"] = rlp;
        assert_eq!(result(&input)["result"]["rejected"].as_array().map(Vec::len), Some(rejected));
    }

    // Addresses without 0x, and null for nothing.
    let mut input = without(&["alloc"]);
    let bare = hex::encode(SENDER);
    input["alloc"] = json!({ bare: { "balance": "1000000", "nonce": null, "code": null, "storage": null } });
    input["env"]["currentCoinbase"] = json!(hex::encode(MINER));
    input["env"]["blockHashes"] = Value::Null;
    assert_eq!(result(&input)["result"]["stateRoot"], result(&t8n_input())["result"]["stateRoot"]);
}

#[test]
fn receipts_before_byzantium_have_a_root_and_a_status() {
    let mut input = t8n_input();
    let invalid = json!({ "balance": "0x0", "nonce": "0x1", "code": "0xfe", "storage": {} });
    input["alloc"][MINER.to_string()] = invalid;
    input["env"]["currentDifficulty"] = json!("0x20000");
    input["txs"][3]["to"] = json!(MINER);
    input["txs"][3]["gas"] = json!("0x5dc0");
    let output: Value = serde_json::from_slice(&t8n(&input, "Homestead").stdout).expect("JSON");
    let receipts = &output["result"]["receipts"];
    assert_eq!((&receipts[0]["status"], &receipts[1]["status"]), (&json!("0x1"), &json!("0x0")));
    assert_eq!(receipts[1]["root"], output["result"]["stateRoot"]);
    assert_ne!(receipts[0]["root"], receipts[1]["root"]);
}

/// Those who drive transition tools look for geth's words.
#[test]
fn rejections_say_what_geth_says() {
    let rejection = |field: &str, value: Value| -> String {
        let mut input = t8n_input();
        input["txs"][0][field] = value;
        let output: Value = serde_json::from_slice(&t8n(&input, "Shanghai").stdout).expect("JSON");
        output["result"]["rejected"][0]["error"].as_str().expect("text").to_owned()
    };
    for (field, value, words) in [
        ("nonce", json!("0x9"), "nonce too high"),
        ("gas", json!("0x5207"), "intrinsic gas too low"),
        ("gas", json!("0x5500001"), "gas limit reached"),
        ("gasPrice", json!("0x6"), "max fee per gas less than block base fee"),
        ("value", json!("0xf4240"), "insufficient funds for gas * price + value"),
        ("type", json!("0x4"), "transaction type not supported"),
    ] {
        let error = rejection(field, value);
        assert!(error.contains(words), "{field}: {error}");
    }
}

#[test]
fn outputs_go_where_they_are_sent() {
    let input = t8n_input().to_string();
    let arguments = [
        "t8n",
        "--input.alloc=stdin",
        "--input.env=stdin",
        "--input.txs=stdin",
        "--output.alloc=",
        "--output.body=stderr",
        "--output.result=stdout",
        "--state.fork=Shanghai",
        "--state.reward",
        "-1",
    ];
    let empty = folder(&[]);
    let output = counterpoint(&arguments, empty.path(), &input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let object = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    assert_eq!(object(&output.stdout).as_object().map(|fields| fields.len()), Some(1));
    assert_eq!(object(&output.stdout)["result"]["gasUsed"], "0xa410");
    assert!(object(&output.stderr)["body"].as_str().is_some_and(|body| body.starts_with("0xf8")));
    assert_eq!(fs::read_dir(empty.path()).expect("a folder").count(), 0, "nothing is written");

    // The folder is made, those below it are not.
    let arguments = [&arguments[..4], &["--state.fork=Shanghai", "--output.basedir=a/b"]].concat();
    let output = counterpoint(&arguments, empty.path(), &input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(empty.path().join("a/b/result.json").exists() && empty.path().join("a/b/alloc.json").exists());
    let arguments = [&arguments[..], &["--output.body=c/body.rlp"]].concat();
    assert_eq!(counterpoint(&arguments, empty.path(), &input).status.code(), Some(11));
}

#[test]
fn the_help_lists_the_forks() {
    let help = run(&["t8n", "--help"], Path::new("."), 0);
    for fork in ["Frontier", "ConstantinopleFix", "Merge", "Paris", "Cancun", "Prague", "Osaka", "BPO2"] {
        assert!(help.contains(fork), "{fork}: {help}");
    }
}
