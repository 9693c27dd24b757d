//! Bad input ends the command line with exit code 2 and a message that says what is wrong, never with a panic.

#![cfg(feature = "cli")]

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Mainnet's first transfer, without what replaying it does not need.
fn block() -> Value {
    json!({
        "block": {
            "number": "0xb443",
            "timestamp": "0x55c42659",
            "miner": "0xe6a7a1d47ff21b6321162aea7c6cb457d5476bca",
            "difficulty": "0x153886c1bbd",
            "gasLimit": "0x520b",
            "gasUsed": "0x5208",
            "logsBloom": format!("0x{}", "00".repeat(256)),
            "receiptsRoot": "0xfe2bf2a941abf41d72637e5b91750332a30283efd40c424dc522b77e6f0ed8c4",
            "transactions": [{
                "type": "0x0",
                "from": "0xa1e4380a3b1f749673e270229993ee55f35663b4",
                "to": "0x5df9b87991262f6ba471f09758cde1c0fc1de734",
                "nonce": "0x0",
                "gas": "0x5208",
                "gasPrice": "0x2d79883d2000",
                "value": "0x7a69",
                "input": "0x"
            }]
        },
        "preState": {
            "0xa1e4380a3b1f749673e270229993ee55f35663b4":
                { "balance": "0x6c6b935b8bbd400000", "nonce": "0x0", "code": "0x", "storage": {} },
            "0xe6a7a1d47ff21b6321162aea7c6cb457d5476bca":
                { "balance": "0xf3426785a8ab466000", "nonce": "0x0", "code": "0x", "storage": {} }
        },
        "blockHashes": {}
    })
}

/// The block with one value replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut json = block();
    *json.pointer_mut(pointer).expect("the block has it") = value;
    json
}

/// The block with one field removed.
fn without(object: &str, field: &str) -> Value {
    let mut json = block();
    json.pointer_mut(object)
        .and_then(Value::as_object_mut)
        .and_then(|o| o.remove(field))
        .expect("it was there");
    json
}

fn counterpoint(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterpoint"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn replay(paths: &[&Path], options: &[&str]) -> Output {
    counterpoint(&["replay"]).args(paths).args(options).output().expect("the command starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code 2, a message with all of `parts`, no panic.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// Writes `contents` into a folder of its own.
fn file(name: &str, contents: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, contents).expect("the file can be written");
    (folder, path)
}

#[track_caller]
fn refused_json(json: &Value, parts: &[&str]) {
    let (_folder, path) = file("bad.json", json.to_string());
    let mut all = vec!["bad.json"];
    all.extend(parts);
    refused(&replay(&[&path], &["--workers", "1"]), &all);
    refused(&replay(&[&path], &["--workers", "1", "--no-check", "--json"]), &all);
}

#[test]
fn the_good_block_is_good() {
    let (folder, path) = file("46147.json", block().to_string());
    let output = replay(&[&path], &["--workers", "2", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(line["block"], json!(46_147));
    assert_eq!(line["header"], json!({ "gas_used": true, "logs_bloom": true, "receipts_root": null }));
    assert_eq!(line["sequential_equal"], json!(true));
    let names: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "block",
        "transactions",
        "gas_used",
        "workers",
        "header",
        "sequential_equal",
        "sequential_ms",
        "parallel_ms",
        "speedup",
        "incarnations",
        "parked",
        "resumed",
        "invalidated",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);

    let output = replay(&[folder.path()], &["--workers", "2", "--json", "--no-check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let unknown = json!({ "gas_used": null, "logs_bloom": null, "receipts_root": null });
    assert_eq!(line["header"], unknown);
    assert_eq!(line["sequential_equal"], Value::Null);
    assert_eq!(line["sequential_ms"], Value::Null);
    assert_eq!(line["speedup"], Value::Null);
}

#[test]
fn a_header_that_differs_is_exit_code_1() {
    let (_folder, path) = file("46147.json", with("/block/gasUsed", json!("0x5209")).to_string());
    let output = replay(&[&path], &["--workers", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("block 46147: gasUsed"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("HEADER DIFFERS: gasUsed"));
}

#[test]
fn missing_file_and_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    refused(&replay(&[&folder.path().join("absent.json")], &[]), &["absent.json"]);
    refused(&replay(&[&folder.path().join("absent")], &[]), &["absent"]);
}

#[test]
fn folder_without_a_block() {
    let (folder, _) = file("readme.txt", "no block here");
    let name = folder.path().to_string_lossy().into_owned();
    refused(&replay(&[folder.path()], &[]), &[&name, "no block file"]);
}

#[test]
fn truncated_gzip() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(block().to_string().as_bytes()).expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    let (_folder, path) = file("46147.json.gz", &packed);
    assert_eq!(replay(&[&path], &["--workers", "1"]).status.code(), Some(0));
    for end in [2, 5, 12, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
        let (_folder, path) = file("cut.json.gz", &packed[..end]);
        refused(&replay(&[&path], &["--workers", "1"]), &["cut.json.gz", "gzip"]);
    }
}

#[test]
fn not_json() {
    for text in ["", "nope", "{", "{\"block\": {", "\u{1f980}"] {
        let (_folder, path) = file("bad.json", text);
        refused(&replay(&[&path], &["--workers", "1"]), &["bad.json", "not JSON"]);
    }
    let (_folder, path) = file("bad.json", [0xff, 0xfe, 0x00]);
    refused(&replay(&[&path], &["--workers", "1"]), &["bad.json", "not JSON"]);
    let deep = "[".repeat(1_000_000);
    let (_folder, path) = file("bad.json", format!("{{\"block\":{deep}"));
    refused(&replay(&[&path], &["--workers", "1"]), &["bad.json", "not JSON"]);
    for json in [json!([]), json!(7), json!("0x")] {
        refused_json(&json, &["not a block file"]);
    }
}

#[test]
fn missing_fields() {
    refused_json(&json!({ "block": {} }), &["missing"]);
    refused_json(&without("", "block"), &["block: missing"]);
    refused_json(&without("", "preState"), &["block 46147", "preState: missing"]);
    refused_json(&without("/block", "transactions"), &["block 46147", "transactions: missing"]);
    for field in ["number", "timestamp", "miner", "gasLimit", "difficulty", "gasUsed", "logsBloom"] {
        refused_json(&without("/block", field), &["header", &format!("{field}: missing")]);
    }
    for field in ["from", "nonce", "gas", "gasPrice", "value", "input"] {
        let expected = format!("transaction 0: {field}: missing");
        refused_json(&without("/block/transactions/0", field), &["block 46147", &expected]);
    }
}

#[test]
fn wrong_hex() {
    let gas = |value: Value| with("/block/transactions/0/gas", value);
    for value in ["0xzz", "5208", "0x", "", "0x+1", "0x 1"] {
        refused_json(&gas(json!(value)), &["block 46147: transaction 0: gas: invalid hex"]);
    }
    refused_json(&gas(json!("0x1ffffffffffffffff")), &["transaction 0: gas", "64 bits"]);
    refused_json(&gas(json!(21_000)), &["transaction 0: gas: expected a string"]);
    let balance = "/preState/0xa1e4380a3b1f749673e270229993ee55f35663b4/balance";
    refused_json(
        &with(balance, json!("0xg")),
        &["block 46147: preState: account 0xA1E4", "balance: invalid hex"],
    );
    let hashes = json!({ "0x1": "0x1" });
    refused_json(&with("/blockHashes", hashes), &["block 46147: blockHashes", "odd number of digits"]);
}

#[test]
fn address_of_the_wrong_length() {
    for field in ["from", "to"] {
        let json = with(&format!("/block/transactions/0/{field}"), json!("0x12"));
        refused_json(&json, &[&format!("transaction 0: {field}: expected 20 bytes, found 1")]);
    }
    refused_json(&with("/block/miner", json!("0x1234")), &["header: miner: expected 20 bytes, found 2"]);
    let mut json = block();
    json["preState"]["0x12"] = json!({ "balance": "0x1" });
    refused_json(&json, &["block 46147: preState[\"0x12\"]: expected 20 bytes, found 1"]);
}

#[test]
fn unknown_transaction_type() {
    let json = with("/block/transactions/0/type", json!("0x7e"));
    refused_json(&json, &["block 46147: transaction 0: type: unknown transaction type 126"]);
}

#[test]
fn unsupported_fork() {
    let (_folder, path) = file("46147.json", block().to_string());
    refused(&replay(&[&path], &["--spec", "atlantis"]), &["--spec", "atlantis", "frontier", "osaka"]);
    // A fork that this old block's header is not made for.
    refused(&replay(&[&path], &["--spec", "Cancun"]), &["46147.json", "block 46147", "baseFeePerGas"]);
    let output = replay(&[&path], &["--spec", "HOMESTEAD", "--workers", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn invalid_transaction() {
    let nonce = with("/block/transactions/0/nonce", json!("0x5"));
    refused_json(&nonce, &["block 46147", "transaction 0 is invalid", "nonce"]);
    let gas = with("/block/transactions/0/gas", json!("0x520c"));
    refused_json(&gas, &["block 46147", "transaction 0 is invalid", "gas limit"]);
    let funds = with("/preState/0xa1e4380a3b1f749673e270229993ee55f35663b4/balance", json!("0x1"));
    refused_json(&funds, &["block 46147", "transaction 0 is invalid", "funds"]);
    let mut second = block();
    let transaction = second["block"]["transactions"][0].clone();
    second["block"]["transactions"].as_array_mut().expect("a list").push(transaction);
    refused_json(&second, &["block 46147", "transaction 1 is invalid"]);
}

#[test]
fn bad_usage() {
    let (_folder, path) = file("46147.json", block().to_string());
    for options in [
        ["--workers", "0"],
        ["--workers", "1025"],
        ["--workers", "many"],
        ["--repeat", "0"],
        ["--spec", ""],
        ["--unknown", "1"],
    ] {
        refused(&replay(&[&path], &options), &[options[0]]);
    }
    refused(&replay(&[], &[]), &["PATH"]);
    refused(&counterpoint(&[]).output().expect("the command starts"), &["replay"]);
    refused(&counterpoint(&["replai"]).output().expect("the command starts"), &["replai"]);
}

#[test]
fn one_bad_file_among_good_ones() {
    let (folder, _) = file("1.json", block().to_string());
    fs::write(folder.path().join("2.json"), "nope").expect("the file can be written");
    fs::write(folder.path().join("3.json"), block().to_string()).expect("the file can be written");
    let output = replay(&[folder.path()], &["--json", "--workers", "1"]);
    refused(&output, &["2.json", "not JSON"]);
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2, "the good ones are replayed");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let (folder, _) = file("0.json", block().to_string());
    for i in 1..50 {
        fs::copy(folder.path().join("0.json"), folder.path().join(format!("{i}.json"))).expect("a copy");
    }
    let mut child = counterpoint(&["replay", "--workers", "1", "--repeat", "50"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let mut message = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut message).expect("text");
    let status = child.wait().expect("it ends");
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(status.code(), Some(0), "{message}");
}

#[test]
fn a_damaged_real_block() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/mainnet/2462997.json.gz");
    let Ok(packed) = fs::read(&fixture) else {
        eprintln!("skipped: {} is not there", fixture.display());
        return;
    };
    let (_folder, path) = file("2462997.json.gz", &packed[..packed.len() / 2]);
    refused(&replay(&[&path], &["--workers", "1"]), &["2462997.json.gz", "gzip"]);
}
