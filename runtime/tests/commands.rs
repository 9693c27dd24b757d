//! `statetest` and `blocktest` with small files made by hand: what they print, and how they exit.

#![cfg(feature = "cli")]

mod command;

use alloy_consensus::{BlockBody, EMPTY_ROOT_HASH, Header, SignableTransaction, TxLegacy, proofs};
use alloy_primitives::Bloom;
use command::*;
use counterpoint::{
    cli::signing,
    ethereum::{Block, Transaction},
};
use revm::primitives::{B256, TxKind, U256, hex};
use serde_json::{Value, json};

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

    assert_eq!(of(&["--sequential"]), "3 passed, 0 failed, 0 skipped");

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
        ("wrong.json", "wrong.json: case transfer: invalid value"),
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
    let printed = run(&["blocktest", ".", "--sequential"], folder.path(), 0);
    assert_eq!(last_line(&printed), "1 passed, 0 failed, 0 skipped");
    let printed = run(&["blocktest", ".", "--fork", "Cancun"], folder.path(), 0);
    assert_eq!(last_line(&printed), "0 passed, 0 failed, 0 skipped");
}

/// As newer files have it, with more beside that says nothing of the result.
#[test]
fn a_block_test_may_name_its_chain_in_its_configuration() {
    let mut test = block_test(|_| {});
    let chain = test["chain"].as_object_mut().expect("an object");
    let network = chain.remove("network").expect("it is there");
    chain.insert("config".to_owned(), json!({ "network": network, "chainid": "0x01", "blobSchedule": {} }));
    chain.insert("_info".to_owned(), json!({ "fixture-format": "blockchain_test", "hash": "0x00" }));
    test["chain"]["blocks"][0]["executionWitness"] = json!({ "state": [], "codes": [] });
    let folder = folder(&[("one.json", &test.to_string())]);
    let printed = run(&["blocktest", "one.json", "--fork", "Paris"], folder.path(), 0);
    assert_eq!(last_line(&printed), "1 passed, 0 failed, 0 skipped");
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
