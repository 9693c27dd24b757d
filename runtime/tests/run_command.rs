//! `run`: which blocks it takes, what is in the store afterwards, and how it ends.

#![cfg(feature = "cli")]

mod command;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, SignableTransaction, TxLegacy, proofs,
};
use alloy_eips::eip4895::Withdrawal;
use command::*;
use counterpoint::{
    cli::signing,
    ethereum::Transaction,
    sources::redb::{RedbSnapshot, RedbStore},
    state::StateSource,
};
use revm::primitives::{Address, B256, TxKind, U256};
use serde_json::{Value, json};

const NUMBER: u64 = 19_500_000;
const STORE: [&str; 3] = ["run", "--store", "s.redb"];

fn run_on_store(more: &[&str], folder: &Path, exit: i32) -> String {
    run(&[&STORE, more].concat(), folder, exit)
}

fn snapshot(folder: &Path) -> RedbSnapshot {
    RedbStore::open(folder.join("s.redb")).expect("a store").snapshot().expect("a state")
}

fn is_empty(folder: &Path) -> bool {
    RedbStore::open(folder.join("s.redb")).expect("a store").head().expect("it can be read").is_none()
}

/// A Cancun block of mainnet with a transfer and a withdrawal, as a node gives it, with the state before.
fn block_file() -> Value {
    let transfer = TxLegacy {
        chain_id: Some(1),
        gas_price: 10,
        gas_limit: 21_000,
        to: TxKind::Call(RECIPIENT),
        value: U256::from(5),
        ..TxLegacy::default()
    };
    let signature = signing::sign(&KEY, &transfer.signature_hash()).expect("a key");
    let transfer: Transaction = transfer.into_signed(signature).into();
    let withdrawal = Withdrawal { index: 1, validator_index: 2, address: RECIPIENT, amount: 3 };
    let receipt =
        alloy_consensus::Receipt { status: true.into(), cumulative_gas_used: 21_000, logs: Vec::new() };
    let header = Header {
        parent_hash: B256::repeat_byte(0x11),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: MINER,
        state_root: B256::repeat_byte(0x22),
        transactions_root: proofs::calculate_transaction_root(std::slice::from_ref(&transfer)),
        receipts_root: proofs::calculate_receipt_root(&[ReceiptEnvelope::Legacy(receipt.into())]),
        withdrawals_root: Some(proofs::calculate_withdrawals_root(&[withdrawal])),
        number: NUMBER,
        timestamp: 1_711_500_000,
        gas_limit: 30_000_000,
        gas_used: 21_000,
        base_fee_per_gas: Some(7),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::repeat_byte(0x33)),
        ..Header::default()
    };
    let mut transaction = serde_json::to_value(&transfer).expect("JSON");
    transaction["from"] = json!(SENDER);
    let mut block = serde_json::to_value(&header).expect("JSON");
    block["hash"] = json!(header.hash_slow());
    block["transactions"] = json!([transaction]);
    block["withdrawals"] = json!([withdrawal]);
    block["uncles"] = json!([]);
    let state = alloc(&[(SENDER, 1_000_000, 0), (Address::repeat_byte(0x55), 1_000_000, 0)]);
    json!({ "block": block, "preState": state, "blockHashes": {} })
}

type Edit = fn(&mut Value);

#[test]
fn a_block_file_is_one_block_or_is_refused_and_leaves_nothing() {
    let edits: [(&str, Edit); 17] = [
        ("header: transactionsRoot", |block| block["transactions"][0]["value"] = json!("0x6")),
        ("header: transactionsRoot", |block| block["transactions"][0]["to"] = json!(MINER)),
        ("header: transactionsRoot", |block| block["transactionsRoot"] = json!(B256::repeat_byte(0x77))),
        ("transaction 0: from is", |block| {
            block["transactions"][0]["from"] = json!(Address::repeat_byte(0x55));
        }),
        // Without the root, the signature tells.
        ("signed it", |block| {
            block["transactions"][0]["value"] = json!("0x6");
            block["transactionsRoot"] = Value::Null;
        }),
        ("transaction 0: v: signed for chain", |block| block["transactions"][0]["chainId"] = json!("0x5")),
        ("transaction 0: invalid signature", |block| {
            block["transactions"][0]["r"] = json!("0x0");
            block["transactionsRoot"] = Value::Null;
        }),
        ("header: withdrawalsRoot", |block| block["withdrawals"][0]["amount"] = json!("0x4")),
        ("header: withdrawalsRoot", |block| block["withdrawalsRoot"] = json!(B256::repeat_byte(0x77))),
        ("header: sha3Uncles", |block| block["sha3Uncles"] = json!(B256::repeat_byte(0x77))),
        ("header: hash", |block| block["hash"] = json!(B256::repeat_byte(0x77))),
        ("header: hash", |block| block["stateRoot"] = json!(B256::repeat_byte(0x77))),
        ("header: hash", |block| block["parentBeaconBlockRoot"] = json!(B256::repeat_byte(0x77))),
        // With another field missing, the hash does not tell any more.
        ("header: blobGasUsed", |block| {
            block["blobGasUsed"] = json!("0x20000");
            block["extraData"] = Value::Null;
        }),
        ("header: gasUsed", |block| {
            block["gasUsed"] = json!("0x5209");
            block["extraData"] = Value::Null;
        }),
        ("header: logsBloom", |block| {
            block["logsBloom"] = json!(format!("0x{}", "01".repeat(256)));
            block["extraData"] = Value::Null;
        }),
        ("header: receiptsRoot", |block| {
            block["receiptsRoot"] = json!(B256::repeat_byte(0x77));
            block["extraData"] = Value::Null;
        }),
    ];
    let folder = folder(&[("good.json", &block_file().to_string())]);
    let folder = folder.path();
    let write = |file: &Value| std::fs::write(folder.join("bad.json"), file.to_string()).expect("a file");
    for (part, edit) in edits {
        let mut file = block_file();
        edit(&mut file["block"]);
        write(&file);
        let exit = if part.contains(": v: ") { 2 } else { 1 };
        let printed = run_on_store(&["bad.json"], folder, exit);
        assert!(printed.contains(part) && printed.contains("block 19500000"), "{part}: {printed}");
        assert!(is_empty(folder), "{part}");
    }
    // A state that is not the one before the block.
    write(&with(block_file(), "/preState", alloc(&[(SENDER, 1, 0)])));
    run_on_store(&["bad.json"], folder, 1);
    let mut other = block_file();
    other["blockHashes"] = json!({ format!("{:#x}", NUMBER - 1): B256::repeat_byte(0x12) });
    write(&other);
    let printed = run_on_store(&["bad.json"], folder, 1);
    assert!(printed.contains("header: parentHash"), "{printed}");
    assert!(is_empty(folder));

    run_on_store(&["good.json"], folder, 0);
    let hash = snapshot(folder).head().hash;
    assert_eq!(json!(hash), block_file()["block"]["hash"]);
}

#[test]
fn what_a_block_file_lacks_is_not_checked() {
    let mut file = block_file();
    let block = file["block"].as_object_mut().expect("an object");
    for field in ["stateRoot", "hash", "transactionsRoot", "withdrawalsRoot", "sha3Uncles", "uncles"] {
        block.remove(field);
    }
    let transaction = block["transactions"][0].as_object_mut().expect("an object");
    for field in ["v", "r", "s"] {
        transaction.remove(field);
    }
    let folder = folder(&[("one.json", &file.to_string())]);
    run_on_store(&["one.json"], folder.path(), 0);
    assert_eq!(snapshot(folder.path()).head().hash, B256::ZERO);
}

#[test]
fn a_hash_that_is_not_in_the_file_is_the_headers() {
    let mut file = block_file();
    let hash = file["block"].as_object_mut().expect("an object").remove("hash");
    let folder = folder(&[("one.json", &file.to_string())]);
    run_on_store(&["one.json"], folder.path(), 0);
    assert_eq!(Some(json!(snapshot(folder.path()).head().hash)), hash);
}

/// Stores the hash of the block before in its slot 0.
const ASKS: Address = Address::repeat_byte(0xc0);

/// A block as for `t8n`, with a call for each nonce.
fn transition(number: u64, parent: u8, nonces: &[u64]) -> Value {
    let call = |nonce: &u64| {
        json!({
            "type": "0x0", "to": ASKS, "gas": "0x186a0", "gasPrice": "0x10", "value": "0x0", "input": "0x",
            "nonce": format!("{nonce:#x}"), "v": "0x0", "r": "0x0", "s": "0x0", "secretKey": KEY,
        })
    };
    json!({
        "env": {
            "currentCoinbase": MINER, "currentGasLimit": "0x1c9c380", "currentNumber": format!("{number:#x}"),
            "currentTimestamp": format!("{:#x}", 1_000 + number), "currentBaseFee": "0x7", "currentRandom": "0x0",
            "currentExcessBlobGas": "0x0", "withdrawals": [], "parentBeaconBlockRoot": B256::ZERO,
            "parentHash": B256::repeat_byte(parent),
        },
        "txs": nonces.iter().map(call).collect::<Vec<_>>(),
    })
}

/// The same with the state before.
fn first(nonces: &[u64]) -> Value {
    let mut first = transition(1, 0x11, nonces);
    first["alloc"] = json!({
        SENDER.to_string(): account(1_000_000_000_000, 0),
        // BLOCKHASH(NUMBER - 1) -> slot 0
        ASKS.to_string(): { "balance": "0x0", "code": "0x60014303406000550000" },
    });
    first
}

fn chain(blocks: &[(&str, Value)]) -> tempfile::TempDir {
    let blocks: Vec<_> = blocks.iter().map(|(name, block)| (*name, block.to_string())).collect();
    folder(&blocks.iter().map(|(name, block)| (*name, block.as_str())).collect::<Vec<_>>())
}

fn stored(folder: &Path) -> B256 {
    snapshot(folder).storage(ASKS, U256::ZERO).expect("it can be read").into()
}

#[test]
fn hashes_that_a_block_brings_are_known_from_then_on() {
    let (second, third) = (transition(2, 0xab, &[0]), transition(3, 0xcd, &[1]));
    let folder = chain(&[("1.json", first(&[])), ("2.json", second.clone()), ("3.json", third)]);
    let path = folder.path();
    run_on_store(&["1.json", "2.json"], path, 0);
    assert_eq!(stored(path), B256::repeat_byte(0xab));
    assert_eq!(snapshot(path).block_hash(1).expect("known"), B256::repeat_byte(0xab));
    snapshot(path).block_hash(2).expect_err("its hash was not told");
    run_on_store(&["3.json"], path, 0);
    assert_eq!(stored(path), B256::repeat_byte(0xcd));

    // They have to be the ones that the store knows.
    let mut fourth = transition(4, 0xef, &[2]);
    fourth["env"]["blockHashes"] = json!({ "1": B256::repeat_byte(0xac) });
    std::fs::write(path.join("4.json"), fourth.to_string()).expect("a file");
    let printed = run_on_store(&["4.json"], path, 1);
    assert!(printed.contains("among its block hashes is 0xacac"), "{printed}");
    fourth["env"]["blockHashes"] = json!({ "1": B256::repeat_byte(0xab) });
    std::fs::write(path.join("4.json"), fourth.to_string()).expect("a file");
    run_on_store(&["4.json"], path, 0);

    // Nobody tells the hash: the block that asks for it is refused, rather than told zero.
    let mut fifth = transition(5, 0, &[3]);
    fifth["env"].as_object_mut().expect("an object").remove("parentHash");
    std::fs::write(path.join("5.json"), fifth.to_string()).expect("a file");
    let printed = run_on_store(&["5.json"], path, 1);
    assert!(printed.contains("no hash of block 4"), "{printed}");
    assert_eq!(snapshot(path).head().number, 4);
}

#[test]
fn what_is_left_out_is_listed_and_no_block_with_a_hash_leaves_anything_out() {
    let mut block = first(&[5, 0, 1]);
    block["txs"][2]["v"] = json!("0x2");
    let folder = chain(&[("1.json", block.clone())]);
    let mut with_hash = block.clone();
    with_hash["hash"] = json!(B256::repeat_byte(1));
    std::fs::write(folder.path().join("hash.json"), with_hash.to_string()).expect("a file");
    let printed = run_on_store(&["hash.json"], folder.path(), 1);
    assert!(printed.contains("block 1: transaction 2: v is 2"), "{printed}");
    with_hash["txs"].as_array_mut().expect("a list").pop();
    std::fs::write(folder.path().join("hash.json"), with_hash.to_string()).expect("a file");
    let printed = run_on_store(&["hash.json"], folder.path(), 1);
    assert!(printed.contains("block 1: transaction 0: nonce 5 too high"), "{printed}");
    assert!(is_empty(folder.path()));

    let printed = run_on_store(&["--json", "1.json"], folder.path(), 0);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let rejected = lines[0]["rejected"].as_array().expect("a list");
    assert_eq!(rejected.iter().map(|one| &one["index"]).collect::<Vec<_>>(), [0, 2]);
    assert!(rejected[0]["error"].as_str().expect("text").starts_with("nonce too high"));
    assert_eq!((&lines[0]["transactions"], &lines[0]["hash"]), (&json!(1), &Value::Null));
    assert_eq!((&lines[1]["transactions"], &lines[1]["rejected"]), (&json!(1), &json!(2)));

    std::fs::remove_file(folder.path().join("s.redb")).expect("it is there");
    let printed = run_on_store(&["1.json"], folder.path(), 0);
    assert!(printed.contains("block 1: transaction 0 is left out: nonce too high"), "{printed}");
    assert!(printed.contains("1: 1 transactions, "), "{printed}");
}

#[test]
fn blocks_of_another_chain_are_not_passed_over() {
    let hash = |mut block: Value, hash: u8| {
        block["hash"] = json!(B256::repeat_byte(hash));
        block
    };
    let folder = chain(&[
        ("1.json", hash(first(&[]), 0xa1)),
        ("2.json", hash(transition(2, 0xa1, &[]), 0xa2)),
        ("other.json", hash(transition(2, 0xa1, &[]), 0xb2)),
        ("cousin.json", transition(2, 0xb1, &[])),
    ]);
    let folder = folder.path();
    run_on_store(&["1.json", "2.json"], folder, 0);
    run_on_store(&["1.json", "2.json"], folder, 0);
    let printed = run_on_store(&["other.json"], folder, 1);
    assert!(printed.contains("block 2: its hash is 0xb2b2"), "{printed}");
    let printed = run_on_store(&["cousin.json"], folder, 1);
    assert!(printed.contains("block 2: its parent is 0xb1b1"), "{printed}");
}

#[test]
fn a_store_keeps_to_its_genesis() {
    let genesis = |balance: &str| {
        json!({
            "config": { "chainId": 1 }, "gasLimit": "0x1c9c380", "difficulty": "0x0",
            "alloc": { SENDER.to_string(): { "balance": balance } },
        })
    };
    let mut block = transition(1, 0, &[]);
    block["env"].as_object_mut().expect("an object").remove("parentHash");
    let mut cousin = block.clone();
    cousin["env"]["parentHash"] = json!(B256::repeat_byte(3));
    let folder = chain(&[
        ("g1.json", genesis("0x1000000000")),
        ("g2.json", genesis("0x2")),
        ("1.json", block),
        ("cousin.json", cousin),
    ]);
    let folder = folder.path();
    // Refused with the genesis that it came with: the store is as it was.
    run_on_store(&["--genesis", "g2.json", "cousin.json"], folder, 1);
    assert!(is_empty(folder));
    run_on_store(&["--genesis", "g1.json", "-"], folder, 0);
    assert_eq!(snapshot(folder).head().number, 0, "without a block, the genesis");
    run_on_store(&["--genesis", "g1.json", "1.json"], folder, 0);
    run_on_store(&["--genesis", "g1.json", "1.json"], folder, 0);
    let printed = run_on_store(&["--genesis", "g2.json", "1.json"], folder, 1);
    assert!(printed.contains("the store began with"), "{printed}");
}

#[test]
fn standard_input_has_its_place_among_the_paths() {
    let folder = chain(&[("2.json", transition(2, 0xab, &[]))]);
    let output =
        counterpoint(&[&STORE[..], &["-", "2.json"]].concat(), folder.path(), &first(&[]).to_string());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(snapshot(folder.path()).head().number, 2);
}

#[test]
fn a_port_that_is_in_use_is_known_before_there_is_a_store() {
    let folder = chain(&[("1.json", first(&[]))]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let printed = run_on_store(&["--metrics", &address, "1.json"], folder.path(), 2);
    assert!(printed.contains("metrics"), "{printed}");
    assert!(!folder.path().join("s.redb").exists());
}

fn start(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_counterpoint"))
        .args(STORE)
        .arg("-")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn complaint(child: &mut Child) -> String {
    let mut printed = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut printed).expect("text");
    printed
}

#[test]
fn a_closed_standard_output_is_no_bad_input() {
    let folder = folder(&[]);
    let mut child = start(folder.path());
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(first(&[]).to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let printed = complaint(&mut child);
    assert_eq!(child.wait().expect("it ends").code(), Some(4), "{printed}");
    assert!(printed.contains("standard output"), "{printed}");
    assert_eq!(snapshot(folder.path()).head().number, 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_it_after_a_whole_block() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let folder = folder(&[]);
        let mut child = start(folder.path());
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(first(&[]).to_string().as_bytes()).expect("it reads");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut line = || stdout.next().map(|line| line.expect("text"));
        assert!(line().expect("a block").starts_with("1: "));
        // It waits for more, which does not come.
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        assert!(line().expect("the sums").starts_with("1 blocks committed"));
        let printed = complaint(&mut child);
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{printed}");
        assert_eq!(snapshot(folder.path()).head().number, 1);
        drop(stdin);
    }
}
