//! Bytes that may be a fixture or the input of `t8n`: nothing panics, hangs, or differs from sequential revm.
//!
//! Whatever can be read is executed. The input of `t8n` is one object with `alloc`, `env` and `txs`, as on standard
//! input, and here also `state` (`fork`, `chainid`, `reward`) and `blobParams`, which its options say otherwise.

use std::{path::Path, sync::OnceLock};

use counterpoint::{
    Runtime,
    cli::{
        blocktest,
        executor::Executor,
        fixture::{Case, File, FileError, Verdict},
        statetest,
        t8n::{Input, Options, Output, T8nError, transition},
    },
};
use serde_json::Value;

/// No block that is told its gas limit has more gas: what takes long is no hang.
const GAS_LIMIT: u64 = 1_000_000;

/// Reads the bytes, and executes what they are.
///
/// # Panics
///
/// If Counterpoint differs from sequential revm.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As it comes, which may be larger than anything that is executed below.
    let file = fixture(text.to_owned());
    let _ = statetest::run(&file, Executor::Sequential, &|_, _| false);
    let _ = blocktest::run(&file, &Executor::Sequential, &|_, _| false);

    let Ok(mut json) = serde_json::from_str::<Value>(text) else { return };
    limit_gas(&mut json);
    // revm does not have EIP-7610, which only such accounts can tell.
    let comparable = !has_bare_storage(&json);
    if json.get("env").is_some() {
        transitions(&json, comparable);
        return;
    }
    let file = fixture(json.to_string());
    let parallel = Executor::Parallel(runtime());
    // A state test that fails says whether sequential revm agrees.
    for case in statetest::run(&file, parallel, &|_, _| true).into_iter().flatten() {
        if let Verdict::Failed(reason) = case.verdict {
            assert!(!comparable || !reason.contains("sequential revm differs"), "{}: {reason}", case.case);
        }
    }
    let blocks = |executor| outcome(blocktest::run(&file, &executor, &|_, _| true));
    let (expected, got) = (blocks(Executor::Sequential), blocks(parallel));
    assert!(!comparable || expected == got, "sequential revm: {expected:?}, Counterpoint: {got:?}");
}

fn fixture(text: String) -> File {
    File::new(Path::new("fixture.json"), text)
}

/// What can be compared of executing a file.
fn outcome(cases: Result<Vec<Case>, FileError>) -> Result<Vec<(String, Verdict)>, String> {
    match cases {
        Ok(cases) => Ok(cases.into_iter().map(|case| (case.case, case.verdict)).collect()),
        Err(error) => Err(error.to_string()),
    }
}

fn transitions(json: &Value, comparable: bool) {
    let (expected, got) = (transit(json, Executor::Sequential), transit(json, Executor::Parallel(runtime())));
    match (&expected, &got) {
        _ if !comparable => {}
        (Ok(expected), Ok(got)) => {
            assert_eq!(expected.result, got.result);
            assert_eq!(expected.alloc, got.alloc);
            assert_eq!(expected.body, got.body);
        }
        (Err(expected), Err(got)) => assert_eq!(expected.exit_code(), got.exit_code(), "{expected}, {got}"),
        _ => panic!("sequential revm: {:?}, Counterpoint: {:?}", expected.err(), got.err()),
    }
}

fn transit(json: &Value, executor: Executor<'_>) -> Result<Output, T8nError> {
    let field = |name: &str| json.get(name).cloned().unwrap_or_default();
    let state = field("state");
    let number = |name: &str| state.get(name).and_then(Value::as_i64);
    let options = Options {
        fork: state.get("fork").and_then(Value::as_str).unwrap_or("Prague").to_owned(),
        chain_id: number("chainid").and_then(|id| u64::try_from(id).ok()).unwrap_or(1),
        reward: number("reward").unwrap_or_default().into(),
        blob_params: json.get("blobParams").cloned(),
    };
    let input = Input { alloc: field("alloc"), env: field("env"), txs: field("txs") };
    transition(&executor, input, &options)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::builder().workers(2).build().expect("a thread can be started"))
}

/// Lowers every `currentGasLimit`.
fn limit_gas(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "currentGasLimit" {
                    limit(value);
                } else {
                    limit_gas(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(limit_gas),
        _ => {}
    }
}

fn limit(value: &mut Value) {
    let number = serde_json::from_value::<counterpoint::cli::fixture::Quantity>(value.clone());
    if number.is_ok_and(|number| number.to_u64().is_none_or(|number| number > GAS_LIMIT)) {
        *value = GAS_LIMIT.into();
    }
}

/// Whether there may be an account with storage, and with neither code nor nonce.
fn has_bare_storage(json: &Value) -> bool {
    match json {
        Value::Object(fields) => {
            let bare = |name: &str| match fields.get(name) {
                Some(Value::String(text)) => text.trim_start_matches("0x").trim_matches('0').is_empty(),
                Some(Value::Number(number)) => number.as_u64() == Some(0),
                _ => true,
            };
            let storage = fields.get("storage").and_then(Value::as_object);
            (storage.is_some_and(|slots| !slots.is_empty()) && bare("nonce") && bare("code"))
                || fields.values().any(has_bare_storage)
        }
        Value::Array(values) => values.iter().any(has_bare_storage),
        _ => false,
    }
}
