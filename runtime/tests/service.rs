//! The service: blocks in order, back-pressure, and nothing lost that was acknowledged.

#![cfg(feature = "cli")]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output as ProcessOutput, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, System};
use common::{EXPECTED, Watchdog, quiet};
use counterpoint::{
    Mode, Runtime,
    cli::{
        blockfile::{HeaderResults, to_json},
        header,
        sequential::execute_sequential,
    },
    service::{Committed, Job, MemoryStore, Service, ServiceError, ServiceSettings, Store, StoreFailure},
    sources::{
        Head,
        redb::{RedbStore, StoreError},
    },
    state::{MemorySource, StateSource},
};
use counterpoint_benches::workload::{Knobs, Mix, Workload};
use revm::{
    context::TxEnv,
    database::BundleState,
    primitives::{B256, U256, keccak256},
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(300);

fn head(number: u64) -> Head {
    Head { number, hash: keccak256(number.to_be_bytes()) }
}

/// A chain: the state before, and blocks of the same world that follow each other.
struct Chain {
    workload: Workload,
    first: u64,
    blocks: Vec<Vec<TxEnv>>,
}

impl Chain {
    fn new(blocks: usize) -> Self {
        let mut workload = Mix::Defi.build(&Knobs { transactions: 20 * blocks, ..Knobs::default() });
        let first = workload.env.number.to();
        let transactions = std::mem::take(&mut workload.transactions);
        let blocks = transactions.chunks(20).map(<[_]>::to_vec).collect();
        Self { workload, first, blocks }
    }

    fn job(&self, place: usize) -> Job {
        let mut env = self.workload.env.clone();
        env.number = U256::from(self.first + place as u64);
        let transactions = self.blocks[place].clone().into();
        Job::transactions(
            head(self.first + place as u64),
            env,
            self.workload.cfg.clone(),
            transactions,
            Mode::Build,
        )
    }

    /// The state after so many blocks, one after the other with plain revm.
    fn after(&self, blocks: usize) -> MemorySource {
        let mut state = self.workload.source.clone();
        for (place, transactions) in self.blocks.iter().enumerate().take(blocks) {
            let mut env = self.workload.env.clone();
            env.number = U256::from(self.first + place as u64);
            let executed =
                execute_sequential(&env, &self.workload.cfg, transactions, &state, Mode::Build, false);
            state.apply(&executed.expect("nothing fails").bundle);
        }
        state
    }

    fn before(&self) -> Head {
        head(self.first - 1)
    }
}

fn same(left: &MemorySource, right: &MemorySource) -> bool {
    let list = |state: &MemorySource| {
        let mut accounts: Vec<_> = state
            .accounts()
            .map(|(address, info, storage)| {
                let mut slots: Vec<_> =
                    storage.iter().filter(|slot| !slot.1.is_zero()).map(|slot| (*slot.0, *slot.1)).collect();
                slots.sort();
                (*address, info.nonce, info.balance, info.code_hash, slots)
            })
            .collect();
        accounts.sort();
        accounts
    };
    list(left) == list(right)
}

/// A store that is told to panic, fail or wait at a commit.
struct Faulty {
    below: MemoryStore,
    panics: AtomicU32,
    fails: AtomicU32,
    pause: Mutex<Duration>,
    /// Every block that was acknowledged.
    log: Mutex<Vec<u64>>,
}

impl Faulty {
    fn new(chain: &Chain) -> Arc<Self> {
        Arc::new(Self {
            below: MemoryStore::new(chain.workload.source.clone(), chain.before()),
            panics: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            pause: Mutex::default(),
            log: Mutex::default(),
        })
    }
}

fn take(counter: &AtomicU32) -> bool {
    counter.try_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

impl Store for Faulty {
    fn head(&self) -> Result<Head, StoreFailure> {
        self.below.head()
    }

    fn state(&self) -> Result<Arc<dyn StateSource>, StoreFailure> {
        self.below.state()
    }

    fn commit(&self, changes: &BundleState, block: Head) -> Result<(), StoreFailure> {
        thread::sleep(*self.pause.lock().expect("not poisoned"));
        assert!(!take(&self.panics), "{EXPECTED}");
        if take(&self.fails) {
            return Err(StoreFailure::new("the disk is full"));
        }
        self.below.commit(changes, block)?;
        self.log.lock().expect("not poisoned").push(block.number);
        Ok(())
    }
}

fn runtime() -> Arc<Runtime> {
    Arc::new(Runtime::builder().workers(2).build().expect("a thread"))
}

/// Hears of committed blocks.
struct Listener(Arc<Mutex<Vec<u64>>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Committed> for Listener {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Context<Self>) {
        self.0.lock().expect("not poisoned").push(committed.block.number);
    }
}

#[test]
fn blocks_are_committed_in_order_and_heard_of() {
    let _watchdog = Watchdog::new(PATIENCE);
    let chain = Chain::new(6);
    let store = Faulty::new(&chain);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    System::new().block_on(async {
        let service =
            Service::start(runtime(), Arc::clone(&store) as _, ServiceSettings::default()).expect("a thread");
        service.subscribe(Listener(notes).start().recipient()).await.expect("it runs");
        // Executing changes nothing.
        for _ in 0..2 {
            let output = service.execute(chain.job(0)).await.expect("a block");
            assert!(output.gas_used() > 0);
        }
        assert_eq!(store.head().expect("it has one"), chain.before());
        for place in 0..6 {
            let wrong = service.commit(chain.job(place + usize::from(place < 5))).await;
            if place < 5 {
                assert!(matches!(wrong, Err(ServiceError::NotNext { .. })), "{wrong:?}");
                let committed = service.commit(chain.job(place)).await.expect("the next block");
                assert_eq!(committed.block, head(chain.first + place as u64));
            } else {
                wrong.expect("the next block");
            }
        }
        let statistics = service.statistics().await.expect("it runs");
        assert_eq!((statistics.committed, statistics.failed, statistics.restarts), (6, 5, 0));
        assert_eq!(statistics.transactions, 120);
        service.stop().await;
        assert!(matches!(service.commit(chain.job(0)).await, Err(ServiceError::Stopped)));
        assert!(matches!(service.statistics().await, Err(ServiceError::Stopped)));
        // What was sent to this thread's listener is still on its way.
        for _ in 0..1_000 {
            if heard.lock().expect("not poisoned").len() == 6 {
                break;
            }
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(*heard.lock().expect("not poisoned"), (chain.first..chain.first + 6).collect::<Vec<_>>());
}

#[test]
fn a_panic_or_an_error_loses_no_acknowledged_block() {
    quiet();
    let _watchdog = Watchdog::new(PATIENCE);
    let chain = Chain::new(8);
    let store = Faulty::new(&chain);
    System::new().block_on(async {
        let service =
            Service::start(runtime(), Arc::clone(&store) as _, ServiceSettings::default()).expect("a thread");
        for place in 0..8_usize {
            let (counter, panics) =
                if place.is_multiple_of(2) { (&store.panics, true) } else { (&store.fails, false) };
            counter.store(1, Ordering::SeqCst);
            match (service.commit(chain.job(place)).await, panics) {
                (Err(ServiceError::Panicked(message)), true) => assert_eq!(message, EXPECTED),
                (Err(ServiceError::Store(error)), false) => assert_eq!(error.to_string(), "the disk is full"),
                (other, _) => panic!("{other:?}"),
            }
            // A check that says no leaves everything as it was, too.
            let checked = service.commit(chain.job(place).check(|_| Err("not that".to_owned()))).await;
            assert!(matches!(&checked, Err(ServiceError::Rejected(why)) if why == "not that"), "{checked:?}");
            service.commit(chain.job(place)).await.expect("it goes on");
        }
        let statistics = service.statistics().await.expect("it runs");
        assert_eq!((statistics.committed, statistics.failed, statistics.restarts), (8, 16, 4));
        service.stop().await;
    });
    let log = store.log.lock().expect("not poisoned").clone();
    assert_eq!(log, (chain.first..chain.first + 8).collect::<Vec<_>>());
    assert_eq!(store.head().expect("it has one"), head(chain.first + 7));
    let state = store.state().expect("it has one");
    let expected = chain.after(8);
    for (address, info, storage) in expected.accounts() {
        let got = state.account(*address).expect("it is known").expect("it exists");
        assert_eq!((got.balance, got.nonce), (info.balance, info.nonce));
        for (slot, value) in storage {
            assert_eq!(state.storage(*address, *slot).expect("it is known"), *value);
        }
    }
}

#[test]
fn a_full_mailbox_pushes_back() {
    let _watchdog = Watchdog::new(PATIENCE);
    let chain = Chain::new(40);
    let store = Faulty::new(&chain);
    *store.pause.lock().expect("not poisoned") = Duration::from_millis(5);
    System::new().block_on(async {
        let mut settings = ServiceSettings::default();
        settings.mailbox = 3;
        let service = Service::start(runtime(), Arc::clone(&store) as _, settings).expect("a thread");
        let (mut sent, mut full) = (0, 0);
        while sent < 40 {
            match service.try_commit(chain.job(sent)) {
                Ok(()) => sent += 1,
                Err(ServiceError::Full) => {
                    full += 1;
                    actix::clock::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
            let done = store.log.lock().expect("not poisoned").len();
            // The mailbox's, and one in hand.
            assert!(sent - done.min(sent) <= 3 + 1, "{sent} sent, {done} done");
        }
        assert!(full > 0);
        // A graceful stop does first what came before it.
        service.stop().await;
    });
    assert_eq!(store.log.lock().expect("not poisoned").len(), 40);
}

/// The command, on a chain of block files.
struct Files {
    folder: tempfile::TempDir,
    chain: Chain,
    /// The state after each block.
    states: Vec<MemorySource>,
}

impl Files {
    fn new(blocks: usize) -> Self {
        let chain = Chain::new(blocks);
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = chain.workload.source.clone();
        let mut states = Vec::new();
        for (place, transactions) in chain.blocks.iter().enumerate() {
            let number = chain.first + place as u64;
            let (mut env, cfg) = (chain.workload.env.clone(), &chain.workload.cfg);
            env.number = U256::from(number);
            let executed =
                execute_sequential(&env, cfg, transactions, &state, Mode::Verify, false).expect("all valid");
            let results: HeaderResults = header::results(transactions, &executed.transactions, cfg.spec);
            let mut json = to_json(&env, &results, transactions, &state, &[]);
            let block = json["block"].as_object_mut().expect("an object");
            block.insert("hash".into(), json!(head(number).hash));
            block.insert("parentHash".into(), json!(head(number - 1).hash));
            block.insert("parentBeaconBlockRoot".into(), json!(B256::ZERO));
            block.insert("withdrawals".into(), json!([]));
            fs::write(folder.path().join(format!("{number}.json")), json.to_string()).expect("a file");
            state.apply(&executed.bundle);
            states.push(state.clone());
        }
        Self { folder, chain, states }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("state.redb")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterpoint"));
        command.args(["run", "--store"]).arg(self.store()).args(more);
        command
    }

    fn run(&self, more: &[&str], exit: i32) -> Vec<Value> {
        let output = self.command(more).arg("--json").arg(self.folder.path()).output().expect("it starts");
        lines(&output, exit)
    }

    #[track_caller]
    fn check(&self, blocks: usize) {
        let store = RedbStore::open(self.store()).expect("a store");
        let snapshot = store.snapshot().expect("a state");
        assert_eq!(snapshot.head(), head(self.chain.first + blocks as u64 - 1));
        assert!(same(&snapshot.load().expect("a state"), &self.states[blocks - 1]));
    }
}

#[track_caller]
fn lines(output: &ProcessOutput, exit: i32) -> Vec<Value> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_command_goes_on_where_it_stopped() {
    let _watchdog = Watchdog::new(PATIENCE);
    let files = Files::new(10);
    // The first three, from standard input.
    let mut child = files
        .command(&["--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    for place in 0..3 {
        let path = files.folder.path().join(format!("{}.json", files.chain.first + place));
        stdin.write_all(&fs::read(path).expect("a file")).expect("it reads");
    }
    drop(stdin);
    let printed = lines(&child.wait_with_output().expect("it ends"), 0);
    assert_eq!(printed.len(), 4);
    assert_eq!((&printed[3]["blocks"], &printed[3]["passed_over"]), (&json!(3), &json!(0)));
    files.check(3);

    let printed = files.run(&[], 0);
    let last = printed.last().expect("the sums");
    assert_eq!(
        (&last["blocks"], &last["passed_over"], &last["transactions"]),
        (&json!(7), &json!(3), &json!(140))
    );
    assert_eq!(last["head"], json!(files.chain.first + 9));
    files.check(10);
    let printed = files.run(&[], 0);
    assert_eq!((&printed[0]["blocks"], &printed[0]["passed_over"]), (&json!(0), &json!(10)));
}

#[test]
fn the_command_loses_nothing_when_it_is_killed() {
    let _watchdog = Watchdog::new(PATIENCE);
    let files = Files::new(16);
    let mut lives = 0;
    loop {
        let mut child = files
            .command(&["--json"])
            .arg(files.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        thread::sleep(Duration::from_millis(20 + lives * 40));
        child.kill().expect("it is killed, or has ended");
        let mut printed = String::new();
        child.stdout.take().expect("it is piped").read_to_string(&mut printed).expect("text");
        child.wait().expect("it is dead");
        lives += 1;
        let done = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let acknowledged = done.filter_map(|line| line["block"].as_u64()).max();
        let store = RedbStore::open(files.store()).expect("a store");
        let head = match store.snapshot() {
            Ok(snapshot) => snapshot.head().number,
            Err(StoreError::Empty) => {
                assert_eq!(acknowledged, None, "what was printed is there");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        drop(store);
        assert!(acknowledged.is_none_or(|block| block <= head), "{acknowledged:?}, {head}");
        if head + 1 > files.chain.first {
            files.check((head + 1 - files.chain.first) as usize);
        }
        if head == files.chain.first + 15 {
            break;
        }
    }
    println!("{lives} lives");
}

#[test]
fn the_command_refuses_what_is_wrong() {
    let _watchdog = Watchdog::new(PATIENCE);
    let files = Files::new(3);
    let path = |place: u64| files.folder.path().join(format!("{}.json", files.chain.first + place));
    let edit = |place: u64, edit: &dyn Fn(&mut Value)| {
        let original = fs::read(path(place)).expect("a file");
        let mut json: Value = serde_json::from_slice(&original).expect("JSON");
        edit(&mut json);
        fs::write(path(place), json.to_string()).expect("a file");
        original
    };
    let errors = |arguments: &[&str], paths: &[&Path], exit: i32| {
        let output = files.command(arguments).args(paths).output().expect("it starts");
        lines(&ProcessOutput { stdout: Vec::new(), ..output.clone() }, exit);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // A header that says something else: nothing of the block is committed.
    let original = edit(1, &|json| json["block"]["gasUsed"] = json!("0x1"));
    let error = errors(&[], &[files.folder.path()], 1);
    assert!(error.contains("header: gasUsed"), "{error}");
    files.check(1);
    fs::write(path(1), original).expect("a file");
    // A gap, another chain, an invalid transaction, and things that are no blocks.
    let error = errors(&[], &[&path(2)], 2);
    assert!(error.contains("does not follow"), "{error}");
    let original = edit(1, &|json| json["block"]["parentHash"] = json!(B256::repeat_byte(7)));
    let error = errors(&[], &[&path(1)], 1);
    assert!(error.contains("parent"), "{error}");
    fs::write(path(1), &original).expect("a file");
    edit(1, &|json| json["block"]["transactions"][3]["nonce"] = json!("0x77"));
    let error = errors(&[], &[&path(1)], 1);
    assert!(error.contains("transaction 3"), "{error}");
    fs::write(path(1), original).expect("a file");
    for (content, part) in [("{\"a\": 1}", "neither"), ("{\"env\"", "EOF"), ("{\"env\": {}}", "env")] {
        let wrong = files.folder.path().join("wrong.txt");
        fs::write(&wrong, content).expect("a file");
        let error = errors(&[], &[&wrong], 2);
        assert!(error.contains(part), "{error}");
    }
    files.check(1);
    let printed = files.run(&["--workers", "1"], 0);
    assert_eq!(printed.last().expect("the sums")["blocks"], json!(2));
    files.check(3);
}

/// Before the merge the miner and the ommers' miners are rewarded, which takes the ommers' headers.
#[test]
fn the_command_rewards_ommers_whose_headers_the_file_has() {
    let _watchdog = Watchdog::new(PATIENCE);
    let files = Files::new(1);
    let (number, path) = (files.chain.first, files.folder.path().join(format!("{}.json", files.chain.first)));
    let hash = B256::repeat_byte(0x33);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let block = json["block"].as_object_mut().expect("an object");
    block.insert("uncles".into(), json!([hash]));
    // No transaction of today's kind before the merge, and nothing of what came with it.
    block.insert("transactions".into(), json!([]));
    for later in ["withdrawals", "parentBeaconBlockRoot", "baseFeePerGas", "excessBlobGas", "blobGasUsed"] {
        block.remove(later);
    }
    for (name, value) in [
        ("gasUsed", json!("0x0")),
        ("difficulty", json!("0x20000")),
        ("logsBloom", json!(format!("0x{}", "00".repeat(256)))),
        ("receiptsRoot", json!(alloy_consensus::EMPTY_ROOT_HASH)),
    ] {
        block.insert(name.into(), value);
    }
    let miner: revm::primitives::Address =
        json["block"]["miner"].as_str().expect("a miner").parse().expect("hex");
    let ommer = revm::primitives::Address::repeat_byte(0x44);
    let write = |ommers: Option<Value>| {
        let mut json = json.clone();
        if let Some(ommers) = ommers {
            json["ommers"] = ommers;
        }
        fs::write(&path, json.to_string()).expect("a file");
    };
    let header = |hash: B256| json!({"miner": ommer, "number": format!("{:#x}", number - 1), "hash": hash});
    let refused = [
        (None, "eth_getUncleByBlockHashAndIndex"),
        (Some(json!([])), "expected 1 of them, found 0"),
        (Some(json!([header(B256::ZERO)])), "ommer 0: hash: the block names"),
        (Some(json!([{"number": "0x1"}])), "ommer 0: miner: missing"),
    ];
    for (ommers, part) in refused {
        write(ommers);
        let output = files.command(&["--spec", "petersburg"]).arg(&path).output().expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(part), "{error}");
    }
    write(Some(json!([header(hash)])));
    let output = files.command(&["--spec", "petersburg", "--json"]).arg(&path).output().expect("it starts");
    lines(&output, 0);
    let store = RedbStore::open(files.store()).expect("a store");
    let state = store.snapshot().expect("a state").load().expect("a state");
    let ether = U256::from(1_000_000_000_000_000_000_u128);
    let balance =
        |state: &MemorySource, address| state.get(&address).map_or(U256::ZERO, |account| account.0.balance);
    let before = balance(&files.chain.workload.source, miner);
    // Two ether, a 32nd of it for naming the ommer; seven eighths of it for an ommer one block ago.
    assert_eq!(
        balance(&state, miner) - before,
        ether * U256::from(2) + ether * U256::from(2) / U256::from(32)
    );
    assert_eq!(balance(&state, ommer), ether * U256::from(2) * U256::from(7) / U256::from(8));
}

#[test]
fn the_command_answers_prometheus_and_takes_state_transitions() {
    let _watchdog = Watchdog::new(PATIENCE);
    let files = Files::new(1);
    let address =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound").to_string();
    let mut child = files
        .command(&["--json", "--state.fork", "Shanghai", "--metrics", &address, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let transition = |number: u64, state: bool| {
        let mut json = json!({
            "env": {
                "currentCoinbase": "0x00000000000000000000000000000000000000be",
                "currentGasLimit": "0x1000000", "currentNumber": format!("{number:#x}"),
                "currentTimestamp": format!("{:#x}", number * 12), "currentRandom": "0x1", "currentBaseFee": "0x7",
                "withdrawals": [{"index": "0x0", "validatorIndex": "0x0", "address": "0x00000000000000000000000000000000000000aa", "amount": "0x2"}],
                "blockHashes": {format!("{}", number - 1): head(number - 1).hash},
            },
            "txs": [{
                "type": "0x0", "to": "0x00000000000000000000000000000000000000cc", "gas": "0x5208", "gasPrice": "0x7",
                "value": "0x5", "nonce": format!("{:#x}", number - 1), "input": "0x", "v": "0x0", "r": "0x0", "s": "0x0",
                "secretKey": "0x45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8",
            }],
            "hash": head(number).hash,
        });
        if state {
            json["alloc"] =
                json!({"0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b": {"balance": "0xde0b6b3a7640000"}});
        }
        json.to_string()
    };
    stdin.write_all(transition(1, true).as_bytes()).expect("it reads");
    stdin.write_all(transition(2, false).as_bytes()).expect("it reads");
    stdin.flush().expect("it reads");
    let begin = Instant::now();
    let page = loop {
        assert!(begin.elapsed() < PATIENCE, "nobody answers");
        let mut page = String::new();
        if let Ok(mut stream) = TcpStream::connect(&address) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_string(&mut page);
        }
        if page.contains("counterpoint_commits_total 2") {
            break page;
        }
        thread::sleep(Duration::from_millis(10));
    };
    for name in [
        "counterpoint_blocks_total",
        "counterpoint_transactions_total 2",
        "counterpoint_commit_seconds_bucket",
        "counterpoint_commit_lag_seconds_count 2",
        "counterpoint_service_waiting 0",
        "counterpoint_reexecutions_total 0",
        "counterpoint_serial_total 2",
        "counterpoint_ahead_total 0",
        "counterpoint_waits_total{reason=\"account\"} 0",
        "counterpoint_waits_total{reason=\"slot\"} 0",
        "counterpoint_waits_total{reason=\"source\"} 0",
        "counterpoint_waits_total{reason=\"turn\"} 0",
        "counterpoint_block_fibers_bucket{le=\"0\"} 2",
        "counterpoint_block_ready_count 2",
        "counterpoint_phase_seconds_bucket{phase=\"execution\",le=\"2.5\"} 2",
    ] {
        assert!(page.contains(name), "{page}");
    }
    drop(stdin);
    let printed = lines(&child.wait_with_output().expect("it ends"), 0);
    assert_eq!(printed.last().expect("the sums")["transactions"], json!(2));
    let store = RedbStore::open(files.store()).expect("a store");
    let state = store.snapshot().expect("a state").load().expect("a state");
    let balance = |last: u8| {
        state.get(&revm::primitives::Address::with_last_byte(last)).map(|account| account.0.balance)
    };
    assert_eq!(balance(0xcc), Some(U256::from(10)));
    assert_eq!(balance(0xaa), Some(U256::from(2 * 2 * 1_000_000_000_u64)));
}
