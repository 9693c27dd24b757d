//! Every block of Ethereum's block tests, at several worker counts and under chaos, compared with sequential revm.
//!
//! The fixtures are expected in `../shared/fixtures`, beside the checkout; without them the test says so.

#![cfg(feature = "cli")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use counterpoint::{
    Block, ExecuteError, Runtime,
    cli::{
        blocktest,
        compare::same_error,
        fixture::{File, Verdict},
        sequential::SequentialEngine,
    },
    ethereum::{Engine, Executions},
};

/// Where the fixtures are, seen from the package.
const ARCHIVE: &str = "../../shared/fixtures/ethereum-tests/BlockchainTests.tar.gz";

/// Executes a block in every way, and fails if they do not give the same.
struct Agreement {
    runtimes: Vec<Runtime>,
    /// Blocks with more than one transaction.
    blocks: AtomicUsize,
}

impl Engine for Agreement {
    fn execute(&self, block: &Block) -> Result<Executions, ExecuteError> {
        if block.transactions.len() > 1 {
            self.blocks.fetch_add(1, Ordering::Relaxed);
        }
        let expected = SequentialEngine.execute(block);
        for runtime in &self.runtimes {
            let got = Engine::execute(runtime, block);
            let equal = match (&expected, &got) {
                (Ok(expected), Ok(got)) => {
                    expected.transactions == got.transactions && touched(expected) == touched(got)
                }
                (Err(expected), Err(got)) => same_error(expected, got),
                _ => false,
            };
            if !equal {
                let message = format!("{runtime:?} differs from sequential revm in {block:?}");
                return Err(ExecuteError::Internal(message));
            }
        }
        expected
    }
}

/// What the transactions changed: accounts and slots that were only read may be left out.
fn touched(executions: &Executions) -> Vec<impl PartialEq + '_> {
    let state = |state: &'_ revm::state::EvmState| {
        let mut accounts: Vec<_> = state
            .iter()
            .filter(|(_, account)| account.is_touched())
            .map(|(address, account)| {
                let mut slots: Vec<_> =
                    account.changed_storage_slots().map(|(k, v)| (*k, v.present_value)).collect();
                slots.sort_unstable();
                let info = &account.info;
                (*address, info.balance, info.nonce, info.code_hash, account.is_selfdestructed(), slots)
            })
            .collect();
        accounts.sort_unstable();
        accounts
    };
    executions.states.iter().map(state).collect()
}

#[test]
fn every_block_agrees_in_every_way() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(ARCHIVE);
    if !archive.exists() {
        println!("SKIPPED: no fixtures at {}", archive.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("tar is there").success(), "the archive unpacks");

    let builders = [
        Runtime::builder().workers(1),
        Runtime::builder().workers(2).serial_prefix(0),
        Runtime::builder().workers(8).serial_prefix(1),
    ];
    #[cfg(feature = "chaos")]
    let builders = builders.into_iter().chain((1..=4).map(|seed| Runtime::builder().workers(4).chaos(seed)));
    let runtimes: Vec<_> =
        builders.into_iter().map(|builder| builder.build().expect("threads start")).collect();
    let agreement = Agreement { runtimes, blocks: AtomicUsize::new(0) };

    let mut files = Vec::new();
    collect(folder.path(), &mut files);
    let mut cases = 0;
    for file in files {
        let file = File::read(&file).expect("the file can be read");
        for case in blocktest::run(&file, &&agreement, &|_, _| true).expect("the file is a fixture") {
            cases += 1;
            assert_eq!(case.verdict, Verdict::Passed, "{}: {}", file.path().display(), case.case);
        }
    }
    let blocks = agreement.blocks.into_inner();
    println!("{cases} cases, {blocks} executions of blocks with more than one transaction");
    assert!(cases > 500 && blocks > 100, "{cases} cases, {blocks} blocks");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
}
