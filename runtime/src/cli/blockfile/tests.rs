//! What is written is read back the same, and what is wrong is named.

use std::io::Write;

use alloy_consensus::{
    SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
    proofs::calculate_transaction_root,
};
use alloy_primitives::{Bloom, Signature};
use flate2::{Compression, write::GzEncoder};
use revm::{
    context::{
        either::Either,
        transaction::{
            AccessList, AccessListItem, Authorization, RecoveredAuthority, RecoveredAuthorization,
            SignedAuthorization,
        },
    },
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::DatabaseRef,
    primitives::{Address, B256, Bytes, TxKind, U256},
    state::{AccountInfo, Bytecode},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    Outcome, Statistics,
    cli::{
        compare::first_difference,
        header::{self, HeaderChecks},
        sequential::execute_sequential,
        signing,
    },
    ethereum::Rules,
};

fn address(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn transaction(tx_type: u8) -> TxEnv {
    let typed = |value: u64| if tx_type == 0 { 0 } else { value };
    let inner = |nonce| Authorization { chain_id: U256::from(1), address: address(9), nonce };
    TxEnv {
        tx_type,
        caller: address(1),
        gas_limit: 100_000,
        gas_price: u128::from(u64::MAX) + 7,
        kind: if tx_type == 1 { TxKind::Create } else { TxKind::Call(address(2)) },
        value: U256::from(12_345) << 130,
        data: Bytes::from_static(&[0, 1, 0xff]),
        nonce: u64::MAX - 1,
        chain_id: (tx_type > 0).then_some(1),
        access_list: AccessList(
            (0..typed(2))
                .map(|i| AccessListItem {
                    address: address(3),
                    storage_keys: vec![B256::with_last_byte(i as u8); i as usize],
                })
                .collect(),
        ),
        gas_priority_fee: (tx_type >= 2).then_some(3),
        blob_hashes: if tx_type == 3 { vec![B256::repeat_byte(1); 2] } else { Vec::new() },
        max_fee_per_blob_gas: if tx_type == 3 { 17 } else { 0 },
        authorization_list: if tx_type == 4 {
            let recovered =
                |authority| Either::Right(RecoveredAuthorization::new_unchecked(inner(u64::MAX), authority));
            vec![recovered(RecoveredAuthority::Valid(address(4))), recovered(RecoveredAuthority::Invalid)]
        } else {
            Vec::new()
        },
    }
}

fn environment() -> BlockEnv {
    BlockEnv {
        number: U256::from(22_500_000),
        beneficiary: address(0xbe),
        timestamp: U256::from(1_747_400_000),
        gas_limit: 36_000_000,
        basefee: 7,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::repeat_byte(0x5a)),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(393_216, 5_007_716)),
        slot_num: 0,
    }
}

fn source() -> MemorySource {
    let mut source = MemorySource::new();
    let code = Bytecode::new_raw(Bytes::from_static(&[0x60, 0, 0x54]));
    let contract = AccountInfo::default().with_code(code);
    source.insert_account(address(2), contract, [(U256::from(1), U256::MAX), (U256::MAX, U256::from(2))]);
    let delegated = AccountInfo::default().with_code(Bytecode::new_eip7702(address(7)));
    source.insert_account(address(3), delegated, []);
    let rich = AccountInfo { balance: U256::MAX, nonce: u64::MAX - 1, ..AccountInfo::default() };
    source.insert_account(address(1), rich, []);
    source.insert_block_hash(22_499_999, B256::repeat_byte(0x99));
    source
}

fn written(transactions: &[TxEnv]) -> Value {
    let hashes = [(22_499_999, B256::repeat_byte(0x99))];
    to_json(&environment(), &HeaderResults::default(), transactions, &source(), &hashes)
}

fn read(json: &Value) -> Result<BlockFile, Error> {
    BlockFile::from_json(json.to_string().as_bytes(), "test.json")
}

fn message(json: &Value) -> String {
    read(json).expect_err("the file is wrong").to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let transactions: Vec<_> = (0..=4).map(transaction).collect();
    let file = read(&written(&transactions)).unwrap();
    assert_eq!(file.transactions.as_ref(), transactions);
    assert_eq!(file.spec(), SpecId::PRAGUE);
    let (env, cfg) = file.environment(file.spec(), Path::new("test.json")).unwrap();
    assert_eq!(env, environment());
    assert_eq!((cfg.chain_id, cfg.max_blobs_per_tx), (1, Some(9)));
    assert_eq!((file.header.gas_used, file.header.logs_bloom, file.header.receipts_root), (None, None, None));

    let sorted = |source: &MemorySource| {
        let mut accounts: Vec<_> = source
            .accounts()
            .map(|(address, info, storage)| {
                let mut storage: Vec<_> = storage.iter().map(|(slot, value)| (*slot, *value)).collect();
                storage.sort_unstable();
                (*address, info.clone(), info.code.clone(), storage)
            })
            .collect();
        accounts.sort_by_key(|(address, ..)| *address);
        accounts
    };
    assert_eq!(sorted(&file.source), sorted(&source()));
    assert_eq!(file.source.block_hash_ref(22_499_999), Ok(B256::repeat_byte(0x99)));
}

#[test]
fn results_are_written_and_read() {
    let results = HeaderResults {
        gas_used: Some(21_000),
        logs_bloom: Some(Bloom::repeat_byte(3)),
        receipts_root: Some(B256::repeat_byte(4)),
    };
    let file = read(&to_json(&environment(), &results, &[], &source(), &[])).unwrap();
    let header = file.header;
    let read = (header.gas_used, header.logs_bloom, header.receipts_root);
    assert_eq!(read, (results.gas_used, results.logs_bloom, results.receipts_root));
}

#[test]
fn signed_authorizations_are_recovered() {
    let inner = Authorization { chain_id: U256::from(1), address: address(9), nonce: 5 };
    let mut signed = transaction(4);
    let good = SignedAuthorization::new_unchecked(inner.clone(), 1, U256::from(1), U256::from(6));
    let bad = SignedAuthorization::new_unchecked(inner, 9, U256::from(5), U256::from(6));
    let expected = [Some(good.recover_authority().unwrap()), None];
    signed.authorization_list = vec![Either::Left(good), Either::Left(bad)];
    let file = read(&written(&[signed])).unwrap();
    let authorities: Vec<_> = file.transactions[0]
        .authorization_list
        .iter()
        .map(|authorization| authorization.as_ref().right().unwrap().authority())
        .collect();
    assert_eq!(authorities, expected);
}

#[test]
fn signed_transactions_are_those_that_were_signed() {
    let key = B256::repeat_byte(7);
    let from = signing::address(&key).unwrap();
    let to = address(2);
    let inner = Authorization { chain_id: U256::from(1), address: address(9), nonce: 5 };
    let authorization = SignedAuthorization::new_unchecked(inner, 1, U256::from(1), U256::from(6));
    let access_list = transaction(2).access_list;
    let value = U256::from(5);
    fn sign<T: SignableTransaction<Signature>>(key: &B256, transaction: T) -> Transaction
    where
        Transaction: From<Signed<T>>,
    {
        let signature = signing::sign(key, &transaction.signature_hash()).unwrap();
        transaction.into_signed(signature).into()
    }
    let call = TxKind::Call(to);
    let signed = [
        sign(&key, TxLegacy { chain_id: Some(1), nonce: 1, to: call, value, ..TxLegacy::default() }),
        sign(&key, TxLegacy { nonce: 2, to: TxKind::Create, value, ..TxLegacy::default() }),
        sign(
            &key,
            TxEip2930 { chain_id: 1, to: call, access_list: access_list.clone(), ..TxEip2930::default() },
        ),
        sign(&key, TxEip1559 { chain_id: 1, max_priority_fee_per_gas: 3, to: call, ..TxEip1559::default() }),
        sign(
            &key,
            TxEip4844 {
                chain_id: 1,
                to,
                max_fee_per_blob_gas: 17,
                blob_versioned_hashes: vec![B256::repeat_byte(1); 2],
                ..TxEip4844::default()
            },
        ),
        sign(
            &key,
            TxEip7702 {
                chain_id: 1,
                to,
                access_list,
                authorization_list: vec![authorization],
                ..TxEip7702::default()
            },
        ),
    ];
    let json = |transaction: &Transaction| {
        let mut json = serde_json::to_value(transaction).unwrap();
        json["from"] = json!(from);
        json
    };
    let mut good = written(&[]);
    good["block"]["transactions"] = signed.iter().map(json).collect();
    good["block"]["transactionsRoot"] = json!(calculate_transaction_root(&signed));
    good["block"]["parentHash"] = json!(B256::repeat_byte(0x99));
    let rules = Rules::new(alloy_hardforks::EthereumHardfork::Prague, 1);
    let file = read(&good).unwrap();
    assert_eq!(file.signed.as_deref(), Some(&signed[..]));
    assert_eq!(file.verify(&rules), Ok(()));

    for index in 0..signed.len() {
        let mut bad = good.clone();
        bad["block"]["transactions"][index]["gas"] = json!("0x7");
        let root = read(&bad).unwrap().verify(&rules);
        assert!(matches!(root, Err(Mismatch::Header { field: "transactionsRoot", .. })), "{root:?}");
        bad["block"]["transactionsRoot"] = Value::Null;
        let sender = read(&bad).unwrap().verify(&rules);
        assert!(matches!(sender, Err(Mismatch::Sender { index: at, .. }) if at == index), "{sender:?}");
        bad["block"]["transactions"][index].as_object_mut().unwrap().remove("s");
        assert_eq!(read(&bad).unwrap().signed, None);
    }
    let other = file.verify(&Rules { chain_id: 2, ..rules });
    assert_eq!(other, Err(Mismatch::Chain { index: 0, signed: 1, chain: 2 }));
}

#[test]
fn gzip_is_recognised_by_its_first_bytes() {
    let plain = written(&[transaction(0)]).to_string();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(unpack(packed.clone()).unwrap(), plain.as_bytes());
    assert_eq!(unpack(plain.clone().into_bytes()).unwrap(), plain.as_bytes());
    for end in 2..packed.len() {
        assert!(matches!(unpack(packed[..end].to_vec()), Err(Problem::Gzip(_))), "cut at {end}");
    }
}

#[test]
fn errors_name_block_transaction_and_field() {
    let good = written(&[transaction(0), transaction(2), transaction(4)]);
    let with = |pointer: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect(pointer) = value;
        message(&json)
    };
    let block = "test.json: block 22500000: ";
    let cases = [
        ("/block/transactions/1/gas", json!("0xzz"), "transaction 1: gas: invalid hex \"0xzz\""),
        ("/block/transactions/1/gas", json!("21000"), "transaction 1: gas: invalid hex \"21000\""),
        ("/block/transactions/1/gas", json!(21_000), "transaction 1: gas: expected a string"),
        ("/block/transactions/1/gas", json!("0x10000000000000000"), "transaction 1: gas: \"0x1000"),
        ("/block/transactions/1/gas", Value::Null, "transaction 1: gas: missing"),
        ("/block/transactions/0/from", json!("0x12"), "transaction 0: from: expected 20 bytes, found 1"),
        ("/block/transactions/0/input", json!("0x123"), "transaction 0: input: invalid hex"),
        ("/block/transactions/0/type", json!("0x7e"), "transaction 0: type: unknown transaction type 126"),
        ("/block/transactions/2/to", Value::Null, "transaction 2: to: missing: a transaction of type 4"),
        (
            "/block/transactions/1/accessList/0/address",
            json!("0x"),
            "transaction 1: accessList[0].address: expected 20 bytes, found 0",
        ),
        (
            "/block/transactions/1/accessList/1/storageKeys/0",
            json!("0x01"),
            "transaction 1: accessList[1].storageKeys[0]: expected 32 bytes",
        ),
        (
            "/block/transactions/2/authorizationList/0/nonce",
            json!(1),
            "transaction 2: authorizationList[0].nonce: expected",
        ),
        ("/block/transactions/0", json!("0xabcd"), "transaction 0: transaction: expected an object"),
        ("/block/transactions", json!({}), "transactions: expected a list"),
        ("/block/gasLimit", json!("0x"), "header: gasLimit: invalid hex"),
        ("/block/logsBloom", json!("0x00"), "header: logsBloom: expected 256 bytes, found 1"),
    ];
    for (pointer, value, expected) in cases {
        let message = with(pointer, value);
        assert!(message.starts_with(&format!("{block}{expected}")), "{pointer}: {message}");
    }
    let account = format!("/preState/{:#x}", address(1));
    let message = with(&format!("{account}/balance"), json!("1"));
    assert!(message.starts_with(&format!("{block}preState: account {}: balance: ", address(1))), "{message}");
    let message = with(&account, json!([]));
    assert!(message.contains(&address(1).to_string()), "{message}");
    let message = with("/blockHashes", json!({ "0x1": "0x1234" }));
    assert!(message.starts_with(&format!("{block}blockHashes[\"0x1\"]: expected 32 bytes")), "{message}");
    let message = with("/preState", json!([]));
    assert!(message.starts_with(&format!("{block}not a block file: ")), "{message}");
}

#[test]
fn missing_parts_are_named() {
    for field in ["number", "timestamp", "miner", "gasLimit", "gasUsed", "logsBloom", "receiptsRoot"] {
        let mut json = written(&[]);
        json["block"].as_object_mut().unwrap().remove(field);
        let message = message(&json);
        assert!(message.ends_with(&format!("header: {field}: missing")), "{message}");
    }
    for key in ["block", "preState"] {
        let mut json = written(&[]);
        json.as_object_mut().unwrap().remove(key);
        let message = message(&json);
        assert!(message.ends_with(&format!("{key}: missing")), "{message}");
    }
}

#[test]
fn the_header_must_have_what_the_fork_needs() {
    for (field, spec) in
        [("baseFeePerGas", SpecId::LONDON), ("mixHash", SpecId::MERGE), ("excessBlobGas", SpecId::CANCUN)]
    {
        let mut json = written(&[]);
        json["block"].as_object_mut().unwrap().remove(field);
        let file = read(&json).unwrap();
        let message = file.environment(spec, Path::new("a.json")).unwrap_err().to_string();
        let expected = format!("header: {field}: missing, but {} needs it", <&str>::from(spec));
        assert!(message.ends_with(&expected), "{message}");
        file.environment(SpecId::BERLIN, Path::new("a.json")).unwrap();
    }
}

#[test]
fn an_impossible_blob_fee_is_refused() {
    let mut json = written(&[]);
    for (excess, fine) in [(48 * 5_007_716_u64 - 1, true), (48 * 5_007_716, false), (u64::MAX, false)] {
        json["block"]["excessBlobGas"] = json!(format!("{excess:#x}"));
        let environment = read(&json).unwrap().environment(SpecId::PRAGUE, Path::new("a.json"));
        assert_eq!(environment.is_ok(), fine, "{excess}");
    }
}

#[test]
fn an_empty_account_does_not_exist() {
    let mut json = written(&[]);
    let name = format!("{:#x}", address(0x77));
    json["preState"][&name] = json!({ "balance": "0x0", "nonce": "0x0", "code": "0x", "storage": {} });
    assert_eq!(read(&json).unwrap().source.basic_ref(address(0x77)), Ok(None));
}

/// Plain revm agrees with the network on every real block, also once the block was written and read again.
#[test]
fn real_blocks_agree_with_their_headers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/mainnet");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let file = BlockFile::load(&path).unwrap();
        let spec = file.spec();
        let (env, cfg) = file.environment(spec, &path).unwrap();
        let execute = |file: &BlockFile| {
            execute_sequential(&env, &cfg, &file.transactions, &*file.source, Mode::Verify, true).unwrap()
        };
        let expected = execute(&file);
        let results = header::results(&file.transactions, &expected.transactions, spec);
        let checks = HeaderChecks::new(&file.header, &results);
        let receipts_root = spec.is_enabled_in(SpecId::BYZANTIUM).then_some(true);
        let all = HeaderChecks { gas_used: Some(true), logs_bloom: Some(true), receipts_root };
        assert_eq!(checks, all, "{}", path.display());

        let ancestors = file.header.number.saturating_sub(256)..file.header.number;
        let hashes: Vec<_> =
            ancestors.filter_map(|n| Some((n, file.source.block_hash_ref(n).ok()?))).collect();
        let json = to_json(&env, &results, &file.transactions, &file.source, &hashes);
        let again = read(&json).unwrap();
        assert_eq!(again.transactions, file.transactions, "{}", path.display());
        assert_eq!(again.environment(spec, &path).unwrap(), (env.clone(), cfg.clone()), "{}", path.display());
        assert_eq!(again.header.gas_used, file.header.gas_used, "{}", path.display());
        let got = execute(&again);
        let got = Outcome {
            transactions: got.transactions,
            bundle: got.bundle,
            gas_used: got.gas_used,
            statistics: Statistics::default(),
            states: got.states,
        };
        assert_eq!(first_difference(&expected, &got), None, "{}", path.display());
    }
}
