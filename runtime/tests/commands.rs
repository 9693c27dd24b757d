//! `statetest`, `blocktest` and `t8n` with small inputs made by hand: what they print, and how they exit.

#![cfg(feature = "cli")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use alloy_consensus::{BlockBody, EMPTY_ROOT_HASH, Header, SignableTransaction, TxLegacy, proofs};
use alloy_primitives::Bloom;
use counterpoint::{
    cli::{fixture, signing},
    ethereum::{Block, StateTrie, Transaction},
};
use revm::primitives::{Address, B256, TxKind, U256, address, b256, hex};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: B256 = b256!("0x45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8");
const SENDER: Address = address!("0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b");
const RECIPIENT: Address = Address::repeat_byte(0x77);
const MINER: Address = Address::repeat_byte(0xbe);
/// `keccak256(rlp([]))`
const NO_LOGS: &str = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

fn counterpoint(arguments: &[&str], folder: &Path, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_counterpoint"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that ends before it reads closes the pipe.
    let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the command ends")
}

/// Checks the exit code, and returns what was printed to standard output and standard error.
fn run(arguments: &[&str], folder: &Path, exit: i32) -> String {
    let output = counterpoint(arguments, folder, "");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).expect("text");
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    printed
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(path, content).expect("the file can be written");
    }
    folder
}

fn account(balance: u64, nonce: u64) -> Value {
    json!({ "balance": format!("{balance:#x}"), "nonce": format!("{nonce:#x}"), "code": "0x", "storage": {} })
}

fn alloc(accounts: &[(Address, u64, u64)]) -> Value {
    accounts.iter().map(|(who, balance, nonce)| (who.to_string(), account(*balance, *nonce))).collect()
}

fn root(alloc: &Value) -> B256 {
    let alloc = serde_json::from_value(alloc.clone()).expect("accounts");
    StateTrie::new(&fixture::state(&alloc)).root()
}

/// A transfer of 5 wei, for 10 wei a gas of which 7 are burnt.
fn state_test() -> Value {
    let pre = alloc(&[(SENDER, 1_000_000, 0)]);
    let post = alloc(&[(SENDER, 1_000_000 - 5 - 210_000, 1), (RECIPIENT, 5, 0), (MINER, 63_000, 0)]);
    json!({ "transfer": {
        "_info": {},
        "env": {
            "currentCoinbase": MINER, "currentNumber": "0x01", "currentTimestamp": "0x03e8",
            "currentGasLimit": "0x05500000", "currentDifficulty": "0x020000", "currentBaseFee": "0x07",
            "currentRandom": B256::ZERO, "currentExcessBlobGas": "0x00"
        },
        "pre": pre,
        "transaction": {
            "data": ["0x"], "gasLimit": ["0x5208", "0x5207"], "value": ["0x05"], "nonce": "0x00",
            "gasPrice": "0x0a", "to": RECIPIENT, "secretKey": KEY
        },
        "post": {
            "Cancun": [
                { "hash": root(&post), "logs": NO_LOGS, "indexes": { "data": 0, "gas": 0, "value": 0 } },
                {
                    "hash": root(&pre), "logs": NO_LOGS, "indexes": { "data": 0, "gas": 1, "value": 0 },
                    "expectException": "TransactionException.INTRINSIC_GAS_TOO_LOW"
                }
            ],
            "Shanghai": [
                { "hash": root(&post), "logs": NO_LOGS, "indexes": { "data": 0, "gas": 0, "value": 0 } }
            ]
        }
    }})
}

fn with(mut json: Value, pointer: &str, value: Value) -> Value {
    *json.pointer_mut(pointer).expect("it is there") = value;
    json
}

fn last_line(printed: &str) -> &str {
    printed.trim_end().lines().last().unwrap_or_default()
}

#[test]
fn a_state_test_passes() {
    let folder =
        folder(&[("tests/deep/one.json", &state_test().to_string()), ("tests/readme.txt", "not a test")]);
    for workers in ["1", "4"] {
        let printed = run(&["statetest", "tests", "--workers", workers], folder.path(), 0);
        assert_eq!(last_line(&printed), "3 passed, 0 failed, 0 skipped");
        assert!(printed.contains("Cancun") && printed.contains("deep"), "{printed}");
    }
    let of = |options: &[&str]| {
        let printed = run(&[&["statetest", "tests"], options].concat(), folder.path(), 0);
        last_line(&printed).to_owned()
    };
    assert_eq!(of(&["--fork", "Shanghai"]), "1 passed, 0 failed, 0 skipped");
    assert_eq!(of(&["--fork", "cancun"]), "2 passed, 0 failed, 0 skipped");
    assert_eq!(of(&["--filter", r"one.json:transfer\[d0g1v0\]"]), "1 passed, 0 failed, 0 skipped");
    assert_eq!(of(&["--filter", "nothing"]), "0 passed, 0 failed, 0 skipped");

    let printed = run(&["statetest", "tests", "--json"], folder.path(), 0);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["status"], "passed");
    assert_eq!(lines[3], json!({ "passed": 3, "failed": 0, "skipped": 0 }));
}

#[test]
fn what_differs_from_a_state_test_is_named() {
    let first = "/transfer/post/Cancun/0";
    for (pointer, value, part) in [
        (format!("{first}/hash"), json!(B256::ZERO), "state root"),
        (format!("{first}/logs"), json!(B256::ZERO), "hash of the logs"),
        ("/transfer/pre".to_owned(), alloc(&[(SENDER, 210_004, 0)]), "rejected: lack of funds"),
        ("/transfer/post/Cancun/1/indexes/gas".to_owned(), json!(0), "not rejected for"),
        (
            "/transfer/post/Cancun/1/expectException".to_owned(),
            json!("TransactionException.NONCE_IS_MAX"),
            "another reason than TransactionException.NONCE_IS_MAX",
        ),
    ] {
        let test = with(state_test(), &pointer, value);
        let folder = folder(&[("one.json", &test.to_string())]);
        let printed = run(&["statetest", "one.json"], folder.path(), 1);
        assert!(printed.contains(part), "{pointer}: {printed}");
        assert!(printed.contains("FAILED one.json: transfer["), "{printed}");
        assert!(printed.contains("sequential revm agrees with this"), "{printed}");
    }
}

#[test]
fn bad_state_tests_and_bad_usage_are_told_apart_from_failures() {
    let renamed = state_test().to_string().replace("Shanghai", "Atlantis");
    let good = state_test().to_string();
    let folder = folder(&[
        ("not.json", "{"),
        ("wrong.json", &with(state_test(), "/transfer/env/currentNumber", json!("x")).to_string()),
        ("fork.json", &renamed),
        ("other.json", r#"{"case": {"blocks": [], "genesisRLP": "0x"}}"#),
        ("good.json", &good),
        ("empty/readme.txt", ""),
    ]);
    let folder = folder.path();
    for (file, part) in [
        ("not.json", "not.json: EOF"),
        ("wrong.json", "wrong.json: invalid value"),
        ("absent.json", "absent.json: No such file"),
        ("empty", "no fixture file"),
    ] {
        let printed = run(&["statetest", file], folder, 2);
        assert!(printed.contains(part), "{file}: {printed}");
    }
    let printed = run(&["statetest", "good.json", "not.json"], folder, 2);
    assert!(printed.contains("3 passed"), "the others are executed: {printed}");
    let printed = run(&["statetest", "fork.json"], folder, 0);
    assert!(printed.contains("skipped: unknown fork \"Atlantis\""), "{printed}");
    assert!(printed.contains("2 passed, 0 failed, 1 skipped"), "{printed}");
    let printed = run(&["statetest", "other.json"], folder, 0);
    assert!(printed.contains("skipped: not a state test, but blockchain_test"), "{printed}");
    for usage in [
        &["statetest"][..],
        &["statetest", "good.json", "--fork", "Atlantis"],
        &["statetest", "good.json", "--filter", "("],
        &["statetest", "good.json", "--workers", "0"],
    ] {
        run(usage, folder, 2);
    }
}

fn transfer(nonce: u64) -> Transaction {
    let transfer = TxLegacy {
        chain_id: Some(1),
        nonce,
        gas_price: 1_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(RECIPIENT),
        value: U256::from(5),
        ..TxLegacy::default()
    };
    let signature = signing::sign(&KEY, &transfer.signature_hash()).expect("a key");
    transfer.into_signed(signature).into()
}

const RICH: u64 = 1_000_000_000_000_000;

/// A chain of one block with one transfer, on Paris; `change` makes another block of it.
fn block_test(change: impl FnOnce(&mut Block)) -> Value {
    let pre = alloc(&[(SENDER, RICH, 0)]);
    // All of the fee is burnt but what is over the base fee of 875,000,000 wei.
    let spent = 21_000 * 1_000_000_000 + 5;
    let post = alloc(&[(SENDER, RICH - spent, 1), (RECIPIENT, 5, 0), (MINER, 21_000 * 125_000_000, 0)]);
    let genesis = Header {
        state_root: root(&pre),
        gas_limit: 30_000_000,
        base_fee_per_gas: Some(1_000_000_000),
        transactions_root: EMPTY_ROOT_HASH,
        ..Header::default()
    };
    let body = BlockBody { transactions: vec![transfer(0)], ommers: Vec::new(), withdrawals: None };
    let receipt = alloy_consensus::ReceiptEnvelope::Legacy(
        alloy_consensus::Receipt { status: true.into(), cumulative_gas_used: 21_000, logs: Vec::new() }
            .into(),
    );
    let header = Header {
        parent_hash: genesis.hash_slow(),
        beneficiary: MINER,
        number: 1,
        timestamp: 12,
        gas_limit: 30_000_000,
        gas_used: 21_000,
        base_fee_per_gas: Some(875_000_000),
        transactions_root: proofs::calculate_transaction_root(&body.transactions),
        receipts_root: proofs::calculate_receipt_root(&[receipt]),
        logs_bloom: Bloom::ZERO,
        state_root: root(&post),
        ..Header::default()
    };
    let mut block = Block { header, body };
    let hash = block.header.hash_slow();
    change(&mut block);
    let encode = |block: &Block| hex::encode_prefixed(alloy_rlp::encode(block));
    let genesis = Block { header: genesis, body: BlockBody::default() };
    json!({ "chain": {
        "network": "Paris",
        "genesisRLP": encode(&genesis),
        "pre": pre,
        "blocks": [{ "rlp": encode(&block), "blockHeader": { "hash": hash } }],
        "lastblockhash": hash,
        "postState": post,
        "sealEngine": "NoProof"
    }})
}

#[test]
fn a_block_test_passes() {
    let folder = folder(&[("one.json", &block_test(|_| {}).to_string())]);
    for workers in ["1", "4"] {
        let printed = run(&["blocktest", ".", "--workers", workers], folder.path(), 0);
        assert_eq!(last_line(&printed), "1 passed, 0 failed, 0 skipped");
    }
    let printed = run(&["blocktest", ".", "--fork", "Cancun"], folder.path(), 0);
    assert_eq!(last_line(&printed), "0 passed, 0 failed, 0 skipped");
}

/// Blocks that must be rejected, for the reason that the file names and for no other.
#[test]
fn an_invalid_block_is_rejected_for_its_reason() {
    type Change = fn(&mut Block);
    let changes: [(&str, Change); 14] = [
        ("BlockException.UNKNOWN_PARENT", |block| block.header.parent_hash = B256::repeat_byte(1)),
        ("BlockException.INVALID_BLOCK_NUMBER", |block| block.header.number = 2),
        ("BlockException.INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT", |block| block.header.timestamp = 0),
        ("BlockException.INVALID_GASLIMIT", |block| block.header.gas_limit = 31_000_000),
        ("BlockException.GAS_USED_OVERFLOW", |block| block.header.gas_used = 30_000_001),
        ("BlockException.INVALID_BASEFEE_PER_GAS", |block| block.header.base_fee_per_gas = Some(1)),
        ("BlockException.EXTRA_DATA_TOO_BIG", |block| block.header.extra_data = vec![0; 33].into()),
        ("BlockException.IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS", |block| {
            block.header.difficulty = U256::ONE;
        }),
        ("BlockException.INVALID_GAS_USED", |block| block.header.gas_used = 20_999),
        ("BlockException.INVALID_LOG_BLOOM", |block| block.header.logs_bloom = Bloom::repeat_byte(1)),
        ("BlockException.INVALID_RECEIPTS_ROOT", |block| block.header.receipts_root = B256::ZERO),
        ("BlockException.INVALID_STATE_ROOT", |block| block.header.state_root = B256::ZERO),
        ("BlockException.INVALID_TRANSACTIONS_ROOT", |block| block.header.transactions_root = B256::ZERO),
        ("TransactionException.NONCE_MISMATCH_TOO_HIGH", |block| {
            block.body.transactions = vec![transfer(1)];
        }),
    ];
    for (exception, change) in changes {
        let test = block_test(change);
        let valid = folder(&[("one.json", &test.to_string())]);
        let printed = run(&["blocktest", "one.json"], valid.path(), 1);
        assert!(printed.contains("block 0 of the file: rejected"), "{exception}: {printed}");

        // The last block is the genesis block then.
        let mut rejected = test.clone();
        rejected["chain"]["blocks"][0].as_object_mut().expect("an object").remove("blockHeader");
        rejected["chain"]["blocks"][0]["expectException"] = json!(exception);
        rejected["chain"]["lastblockhash"] = genesis_hash(&test);
        rejected["chain"]["postState"] = test["chain"]["pre"].clone();
        let second = folder(&[("one.json", &rejected.to_string())]);
        let printed = run(&["blocktest", "one.json"], second.path(), 0);
        assert_eq!(last_line(&printed), "1 passed, 0 failed, 0 skipped");

        rejected["chain"]["blocks"][0]["expectException"] = json!("BlockException.RLP_STRUCTURES_ENCODING");
        let second = folder(&[("one.json", &rejected.to_string())]);
        let printed = run(&["blocktest", "one.json"], second.path(), 1);
        assert!(printed.contains("for another reason than"), "{exception}: {printed}");
    }
}

fn genesis_hash(test: &Value) -> Value {
    let rlp = hex::decode(test["chain"]["genesisRLP"].as_str().expect("hex")).expect("hex");
    let block = counterpoint::ethereum::decode_block(&rlp).expect("a block");
    json!(block.header.hash_slow())
}

#[test]
fn what_differs_from_a_block_test_is_named() {
    let test = || block_test(|_| {});
    for (pointer, value, part) in [
        ("/chain/lastblockhash", json!(B256::ZERO), "no block 0x00"),
        ("/chain/postState", alloc(&[]), "exists"),
        ("/chain/pre", alloc(&[(SENDER, 1, 0)]), "genesis block: state root"),
        ("/chain/genesisRLP", json!("0xc0"), "genesis block: the header cannot be decoded"),
        ("/chain/blocks/0/rlp", json!("0x"), "rejected: the block cannot be decoded"),
        ("/chain/blocks/0/blockHeader/hash", json!(B256::ZERO), "is not 0x00"),
    ] {
        let folder = folder(&[("one.json", &with(test(), pointer, value).to_string())]);
        let printed = run(&["blocktest", "one.json"], folder.path(), 1);
        assert!(printed.contains(part), "{pointer}: {printed}");
    }
    let folder = folder(&[
        ("amsterdam.json", &with(test(), "/chain/network", json!("Amsterdam")).to_string()),
        ("atlantis.json", &with(test(), "/chain/network", json!("Atlantis")).to_string()),
        ("wrong.json", &with(test(), "/chain/blocks/0/rlp", json!("0xg")).to_string()),
    ]);
    for (file, exit, part) in [
        ("amsterdam.json", 0, "block access lists (EIP-7928) are not built yet"),
        ("atlantis.json", 0, "unknown fork \"Atlantis\""),
        ("wrong.json", 2, "wrong.json: "),
    ] {
        let printed = run(&["blocktest", file], folder.path(), exit);
        assert!(printed.contains(part), "{printed}");
    }
}

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
    let output = counterpoint(&["t8n", "--input.alloc=stdin", "--input.env=stdin"], empty.path(), "{}");
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
