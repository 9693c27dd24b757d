//! The command line as tests call it, and small states to call it with.

#![allow(dead_code, reason = "each test target uses its own part")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use counterpoint::{cli::fixture, ethereum::StateTrie};
use revm::primitives::{Address, B256, address, b256};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const KEY: B256 = b256!("0x45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8");
pub(crate) const SENDER: Address = address!("0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b");
pub(crate) const RECIPIENT: Address = Address::repeat_byte(0x77);
pub(crate) const MINER: Address = Address::repeat_byte(0xbe);
/// `keccak256(rlp([]))`
pub(crate) const NO_LOGS: &str = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

pub(crate) fn counterpoint(arguments: &[&str], folder: &Path, stdin: &str) -> Output {
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
pub(crate) fn run(arguments: &[&str], folder: &Path, exit: i32) -> String {
    let output = counterpoint(arguments, folder, "");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).expect("text");
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    printed
}

pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(path, content).expect("the file can be written");
    }
    folder
}

pub(crate) fn account(balance: u64, nonce: u64) -> Value {
    json!({ "balance": format!("{balance:#x}"), "nonce": format!("{nonce:#x}"), "code": "0x", "storage": {} })
}

pub(crate) fn alloc(accounts: &[(Address, u64, u64)]) -> Value {
    accounts.iter().map(|(who, balance, nonce)| (who.to_string(), account(*balance, *nonce))).collect()
}

pub(crate) fn root(alloc: &Value) -> B256 {
    let alloc = serde_json::from_value(alloc.clone()).expect("accounts");
    StateTrie::new(&fixture::state(&alloc)).root()
}

pub(crate) fn with(mut json: Value, pointer: &str, value: Value) -> Value {
    *json.pointer_mut(pointer).expect("it is there") = value;
    json
}

pub(crate) fn last_line(printed: &str) -> &str {
    printed.trim_end().lines().last().unwrap_or_default()
}
