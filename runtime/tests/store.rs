//! The store on disk: what is committed is there, whole, also after the process was killed in the middle.

#![cfg(feature = "redb")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write as _, stdout},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use counterpoint::{
    Block, Mode, Runtime,
    sources::{
        BlockingSource, Head, HotState,
        redb::{RedbSnapshot, RedbStore, StoreError, genesis_block, read_genesis},
    },
    state::{MemorySource, StateSource},
};
use counterpoint_benches::random::random_block;
use rand::{Rng, SeedableRng, rngs::StdRng};
use redb::ReadableDatabase;
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    database::{AccountStatus, BundleAccount, BundleState, states::StorageSlot},
    primitives::{Address, B256, Bytes, KECCAK_EMPTY, U256, keccak256},
    state::AccountInfo,
};

fn head(number: u64) -> Head {
    Head { number, hash: keccak256(number.to_be_bytes()) }
}

/// Everything in a state, in order.
type Listed = BTreeMap<Address, (u64, U256, B256, BTreeMap<U256, U256>)>;

fn list(state: &MemorySource) -> Listed {
    let accounts = state.accounts();
    accounts
        .map(|(address, info, storage)| {
            let slots = storage.iter().filter(|(_, value)| !value.is_zero());
            let slots = slots.map(|(slot, value)| (*slot, *value)).collect();
            (*address, (info.nonce, info.balance, info.code_hash, slots))
        })
        .collect()
}

#[test]
fn blocks_executed_on_the_store_leave_what_they_leave_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::builder().workers(2).build().expect("a thread");
    for seed in 0..30 {
        let mut workload = random_block(seed);
        // As the store: nothing is created over storage.
        workload.source.set_eip7610(true);
        let store = RedbStore::open(folder.path().join(format!("{seed}.redb"))).expect("a new store");
        assert_eq!(store.head().expect("it can be read"), None);
        assert!(matches!(store.snapshot(), Err(StoreError::Empty)));
        assert!(matches!(store.commit(&BundleState::default(), head(1)), Err(StoreError::Empty)));
        let number: u64 = workload.env.number.to::<u64>() - 1;
        store.import(&workload.source, head(number)).expect("an empty store");
        assert!(matches!(store.import(&workload.source, head(number)), Err(StoreError::NotEmpty(_))));

        let block = |source: Arc<dyn StateSource>| Block {
            env: workload.env.clone(),
            cfg: workload.cfg.clone(),
            transactions: workload.transactions.clone().into(),
            source,
            mode: Mode::Build,
        };
        let mut memory = workload.source.clone();
        let expected = runtime.execute(&block(Arc::new(memory.clone()))).expect("a block");
        let before: RedbSnapshot = store.snapshot().expect("a state");
        let hot = HotState::new(1 << 20);
        let slow = BlockingSource::new(store.snapshot().expect("a state"), 3).expect("threads");
        let sources: [Arc<dyn StateSource>; 3] = [
            Arc::new(store.snapshot().expect("a state")),
            Arc::new(hot.source(Arc::new(store.snapshot().expect("a state")))),
            Arc::new(slow),
        ];
        // revm's databases do not tell whether there is storage, so neither does a source over one.
        memory.set_eip7610(false);
        let without = runtime.execute(&block(Arc::new(memory.clone()))).expect("a block");
        for (source, expected) in sources.into_iter().zip([&expected, &expected, &without]) {
            let got = runtime.execute(&block(source)).expect("the same block");
            assert_eq!(got.transactions, expected.transactions, "seed {seed}");
            assert_eq!(got.bundle.state, expected.bundle.state, "seed {seed}");
        }

        for wrong in [number, number + 2] {
            let refused = store.commit(&expected.bundle, head(wrong));
            assert!(matches!(refused, Err(StoreError::NotNext { .. })), "{refused:?}");
        }
        store.commit(&expected.bundle, head(number + 1)).expect("the next block");
        memory.apply(&expected.bundle);
        let after = store.snapshot().expect("a state");
        assert_eq!(after.head(), head(number + 1));
        assert_eq!(list(&after.load().expect("a state")), list(&memory), "seed {seed}");
        assert_eq!(after.block_hash(number + 1).expect("known"), head(number + 1).hash);
        // What was read before stays as it was.
        assert_eq!(list(&before.load().expect("a state")), list(&workload.source), "seed {seed}");

        let digest = after.digest().expect("a state");
        drop((after, before, store));
        let store = RedbStore::open(folder.path().join(format!("{seed}.redb"))).expect("the store");
        assert_eq!(store.snapshot().expect("a state").digest().expect("a state"), digest);
    }
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no.redb");
    std::fs::write(&path, b"something else entirely, and long enough to be looked at").expect("a file");
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Open { .. })));
    let path = folder.path().join("twice.redb");
    let first = RedbStore::open(&path).expect("a store");
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Open { .. })), "it is open");
    drop(first);
    RedbStore::open(&path).expect("it is not open any more");
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.redb");
    let table = redb::TableDefinition::<&str, u64>::new("my app");
    let odd_meta = redb::TableDefinition::<&str, u64>::new("meta");
    let own_meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let many = redb::MultimapTableDefinition::<&str, u64>::new("many");
    for kind in 0..4 {
        let database = redb::Database::create(&path).expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        match kind {
            0 => drop(transaction.open_table(table).expect("a table")),
            1 => drop(transaction.open_table(odd_meta).expect("a table")),
            2 => drop(transaction.open_table(own_meta).expect("a table")),
            _ => drop(transaction.open_multimap_table(many).expect("a table")),
        }
        transaction.commit().expect("a disk");
        drop(database);
        for _ in 0..2 {
            let got = RedbStore::open(&path);
            assert!(matches!(got, Err(StoreError::Foreign { .. })), "{kind}: {got:?}");
        }
        let database = redb::Database::create(&path).expect("a database");
        let transaction = database.begin_read().expect("a transaction");
        let tables = transaction.list_tables().expect("tables").count()
            + transaction.list_multimap_tables().expect("tables").count();
        assert_eq!(tables, 1, "nothing was added");
        drop((transaction, database));
        std::fs::remove_file(&path).expect("a file");
    }
    std::fs::write(&path, b"").expect("a file");
    RedbStore::open(&path).expect("an empty file is a new store");
}

#[test]
fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut memory = MemorySource::new();
    for number in 0..300 {
        let address = Address::with_last_byte(number as u8).create(number);
        let slots = (0..5).map(|slot| (U256::from(slot), U256::from(number + 1)));
        memory.insert_account(address, AccountInfo::from_balance(U256::from(number)), slots);
    }
    let mut rng = StdRng::seed_from_u64(3);
    let (mut panics, mut errors) = (0, 0);
    let mut whole = Vec::new();
    for round in 0..4_000 {
        if round % 200 == 0 {
            if panics > 0 && errors > 0 {
                break;
            }
            // No two files are alike, and of some hardly any damage makes the store panic.
            let path = folder.path().join(format!("whole-{round}.redb"));
            let store = RedbStore::open(&path).expect("a new store");
            store.import(&memory, head(0)).expect("an empty store");
            drop(store);
            whole = std::fs::read(&path).expect("a file");
        }
        let mut damaged = whole.clone();
        for _ in 0..[1, 4, 40][round % 3] {
            let end = if rng.random_bool(0.5) { 8_192 } else { damaged.len() };
            let place = rng.random_range(0..end);
            damaged[place] = rng.random();
        }
        let path = folder.path().join("damaged.redb");
        std::fs::write(&path, damaged).expect("a file");
        let read = || -> Result<(), StoreError> {
            let store = RedbStore::open(&path)?;
            store.head()?;
            let snapshot = store.snapshot()?;
            let (digest, load) = (snapshot.digest(), snapshot.load());
            for (address, _, _) in memory.accounts() {
                snapshot.basic_ref(*address)?;
                snapshot.storage_ref(*address, U256::from(1))?;
            }
            digest?;
            load?;
            store.commit(&changes(1), head(1))
        };
        match read() {
            Ok(()) => {}
            Err(StoreError::Panicked(_)) => panics += 1,
            Err(_) => errors += 1,
        }
    }
    assert!(panics > 0 && errors > 0, "{panics} panics, {errors} errors");
}

#[test]
fn a_genesis_file_becomes_the_first_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("genesis.json");
    let genesis = r#"{
        "config": {"chainId": 7, "londonBlock": 0, "shanghaiTime": 0, "cancunTime": 0, "terminalTotalDifficulty": 0},
        "nonce": "0x42", "timestamp": "0x10", "extraData": "0x1234", "gasLimit": "0x1c9c380", "difficulty": "0x0",
        "mixHash": "0x0000000000000000000000000000000000000000000000000000000000000000",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "alloc": {
            "0x00000000000000000000000000000000000000aa": {"balance": "0x64"},
            "0x00000000000000000000000000000000000000bb": {
                "balance": "0", "nonce": "0x1", "code": "0x6001600055",
                "storage": {"0x01": "0x02"}
            }
        }
    }"#;
    std::fs::write(&path, genesis).expect("a file");
    let genesis = read_genesis(&path).expect("a genesis");
    let (state, header) = genesis_block(&genesis);
    assert_eq!(
        (header.number, header.base_fee_per_gas, header.blob_gas_used),
        (0, Some(1_000_000_000), Some(0))
    );
    assert_eq!(header.requests_hash, None);
    let store = RedbStore::open(folder.path().join("store.redb")).expect("a store");
    let head = store.import_genesis(&genesis).expect("an empty store");
    assert_eq!((head.number, head.hash), (0, header.hash_slow()));
    let snapshot = store.snapshot().expect("a state");
    assert_eq!(list(&snapshot.load().expect("a state")), list(&state));
    let contract = Address::with_last_byte(0xbb);
    let info = snapshot.basic_ref(contract).expect("it can be read").expect("it exists");
    let code = snapshot.code_by_hash_ref(info.code_hash).expect("its code");
    assert_eq!(code.original_bytes(), Bytes::from_static(&[0x60, 1, 0x60, 0, 0x55]));
    assert_eq!(snapshot.storage_ref(contract, U256::from(1)).expect("a slot"), U256::from(2));
    assert!(snapshot.has_storage(contract).expect("it can be read"));
    assert!(!snapshot.has_storage(Address::with_last_byte(0xaa)).expect("it can be read"));

    std::fs::write(&path, "{\"alloc\": 7}").expect("a file");
    assert!(matches!(read_genesis(&path), Err(StoreError::Genesis { .. })));
    assert!(matches!(read_genesis(folder.path()), Err(StoreError::GenesisFile { .. })));
}

/// What block `number` changes, whatever there was: values, zeros, new code, accounts that go, and storage with them.
fn changes(number: u64) -> BundleState {
    let mut rng = StdRng::seed_from_u64(number);
    let mut bundle = BundleState::default();
    for _ in 0..40 {
        let address = Address::with_last_byte(rng.random_range(0..60));
        let present = rng.random_bool(0.9).then(|| {
            let info = AccountInfo {
                balance: U256::from(rng.random::<u64>()),
                nonce: number,
                code_hash: KECCAK_EMPTY,
                ..AccountInfo::default()
            };
            match rng.random_range(0..5) {
                0 => info.with_code(Bytecode::new_legacy(Bytes::from(vec![number as u8; 900]))),
                _ => info,
            }
        });
        let status = match (&present, rng.random_bool(0.2)) {
            (None, _) => AccountStatus::Destroyed,
            (Some(_), true) => AccountStatus::DestroyedChanged,
            (Some(_), false) => AccountStatus::Changed,
        };
        let mut storage = revm::primitives::StorageKeyMap::default();
        for _ in 0..20 {
            let value = U256::from(rng.random_range(0..4_u64)) * U256::from(number);
            storage.insert(U256::from(rng.random_range(0..50_u64)), StorageSlot::new(value));
        }
        if present.is_none() {
            storage.clear();
        }
        bundle.state.insert(address, BundleAccount::new(None, present, storage, status));
    }
    bundle
}

const FOLDER: &str = "COUNTERPOINT_STORE_UNDER_TEST";

/// The child process: commits one block after the other, and says when each is acknowledged.
fn commit_for_ever(path: &Path) -> ! {
    let store = RedbStore::open(path).expect("the store opens");
    let head_now = store.head().expect("it can be read").expect("it has a state");
    for number in head_now.number + 1.. {
        store.commit(&changes(number), head(number)).expect("the next block");
        println!("committed {number}");
        stdout().flush().expect("somebody listens");
    }
    unreachable!("there are many numbers")
}

const NEW: &str = "COUNTERPOINT_NEW_STORE_UNDER_TEST";

#[test]
fn a_process_that_is_killed_while_it_makes_a_store_leaves_none_or_a_whole_one() {
    if let Some(path) = env::var_os(NEW) {
        println!("opening");
        stdout().flush().expect("somebody listens");
        let _store = RedbStore::open(&path).expect("a new store");
        thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = StdRng::seed_from_u64(2);
    let mut there = 0;
    for round in 0..100 {
        let path = folder.path().join(format!("{round}.redb"));
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "a_process_that_is_killed_while_it_makes_a_store_leaves_none_or_a_whole_one"])
            .arg("--nocapture")
            .env(NEW, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        while !lines.next().expect("the child runs").expect("it can be read").ends_with("opening") {}
        thread::sleep(Duration::from_micros(rng.random_range(0..5_000)));
        child.kill().expect("it is killed");
        child.wait().expect("it is dead");
        there += u32::from(path.exists());
        let store = RedbStore::open(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
        store.import(&MemorySource::new(), head(0)).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    println!("{there} of 100 were there");
}

#[test]
fn a_process_that_is_killed_loses_no_acknowledged_block() {
    if let Some(path) = env::var_os(FOLDER) {
        commit_for_ever(Path::new(&path));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).expect("a new store");
    store.import(&MemorySource::new(), head(0)).expect("an empty store");
    drop(store);

    let mut expected = MemorySource::new();
    let mut rng = StdRng::seed_from_u64(1);
    let (mut last, mut mid_commit) = (0, 0);
    for round in 0..200 {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "a_process_that_is_killed_loses_no_acknowledged_block", "--nocapture"])
            .env(FOLDER, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut acknowledged = last;
        let mut note = |line: String| {
            if let Some(number) = line.rsplit_once("committed ").and_then(|(_, number)| number.parse().ok()) {
                acknowledged = number;
                return true;
            }
            false
        };
        // Killed some time after a few commits, which is in the middle of another as likely as not.
        for _ in 0..rng.random_range(1..4) {
            while !note(lines.next().expect("the child runs").expect("it can be read")) {}
        }
        thread::sleep(Duration::from_micros(rng.random_range(0..4_000)));
        child.kill().expect("it is killed");
        for line in lines {
            note(line.unwrap_or_default());
        }
        child.wait().expect("it is dead");

        let store = RedbStore::open(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let snapshot = store.snapshot().expect("a state");
        let now = snapshot.head();
        // The block under way may be there too: then it is there as a whole.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&now.number),
            "round {round}: {now:?}, {acknowledged}"
        );
        assert_eq!(now, head(now.number));
        mid_commit += u32::from(now.number > acknowledged);
        for number in last + 1..=now.number {
            expected.apply(&changes(number));
        }
        last = now.number;
        assert_eq!(list(&snapshot.load().expect("a state")), list(&expected), "round {round}, {now:?}");
    }
    println!("{last} blocks in 200 lives; {mid_commit} were there without having been acknowledged");
    assert!(last >= 200, "every life commits");
}
