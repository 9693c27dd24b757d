//! A random block as the input of `t8n`.

use std::ops::RangeInclusive;

use counterpoint::cli::t8n::{Input, Options};
use counterpoint_benches::{
    Workload, fork,
    random::{keys, random_block_of},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use revm::{
    bytecode::Bytecode,
    primitives::{
        Address, B256, U256,
        hardfork::SpecId::{self, *},
    },
    state::AccountInfo,
};
use serde_json::{Map, Value, json};

use crate::{
    forks::Fork,
    system,
    transactions::{self, number},
};

/// One ether.
const ETHER: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// The whole block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) fork: &'static Fork,
    pub(crate) seed: u64,
    txs: Value,
    /// Whether the transactions come as RLP: without any that is invalid.
    pub(crate) from_rlp: bool,
    alloc: Value,
    env: Value,
    reward: i128,
}

impl Block {
    /// The block that belongs to the seed.
    pub(crate) fn new(fork: &'static Fork, seed: u64, length: RangeInclusive<usize>) -> Self {
        // Forks of the same rules have different blocks.
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(fork.stream()));
        let workload = random_block_of(rng.random(), fork.spec, length);
        let mut accounts = keys::accounts().skip(keys::SENDERS);
        let (clerk, contract) = (accounts.next().unwrap_or_default(), accounts.next().unwrap_or_default());
        let txs = transactions(&mut rng, fork.spec, &workload, clerk, contract);
        Self {
            fork,
            seed,
            txs,
            from_rlp: false,
            alloc: alloc(fork.spec, &workload, clerk, contract),
            env: env(&mut rng, fork.spec, &workload),
            reward: reward(&mut rng, fork.spec),
        }
    }

    /// The same block with these transactions, in RLP.
    pub(crate) fn with_body(self, txs: Value) -> Self {
        Self { txs, from_rlp: true, ..self }
    }

    /// What is executed.
    pub(crate) fn input(&self) -> Input {
        Input { alloc: self.alloc.clone(), env: self.env.clone(), txs: self.txs.clone() }
    }

    /// Under which rules.
    pub(crate) fn options(&self) -> Options {
        Options { fork: self.fork.name.to_owned(), chain_id: 1, reward: self.reward, blob_params: None }
    }
}

/// What the miner gets: nobody has a reward since the merge.
///
/// Nothing, as against no reward, is for the first forks only. No fork has such a reward, and from Spurious Dragon on the
/// two sides take it differently where the miner does not exist: for the specification's tool it leaves an empty
/// account, for geth's and ours it does not.
fn reward(rng: &mut StdRng, spec: SpecId) -> i128 {
    let nothing = if spec.is_enabled_in(SPURIOUS_DRAGON) { -1 } else { 0 };
    let rewards = [-1, nothing, 7, 2_000_000_000_000_000_000];
    match spec.is_enabled_in(MERGE) {
        true => -1,
        false => *rewards.choose(rng).unwrap_or(&-1),
    }
}

fn transactions(
    rng: &mut StdRng,
    spec: SpecId,
    workload: &Workload,
    clerk: Address,
    contract: Address,
) -> Value {
    let key = keys::of(contract).unwrap_or_default();
    let mut calls =
        system::calls(rng, spec, &workload.env, clerk, workload.transactions.len()).into_iter().peekable();
    let mut list = Vec::new();
    for (place, transaction) in workload.transactions.iter().enumerate() {
        while let Some((_, call)) = calls.next_if(|(before, _)| *before <= place) {
            list.extend(transactions::to_json(&call, key));
        }
        list.extend(transactions::to_json(transaction, key));
    }
    list.extend(calls.filter_map(|(_, call)| transactions::to_json(&call, key)));
    Value::Array(list)
}

fn alloc(spec: SpecId, workload: &Workload, clerk: Address, contract: Address) -> Value {
    let mut accounts = Map::new();
    let mut insert = |address: Address, info: &AccountInfo, storage: Vec<(U256, U256)>| {
        let code = info.code.as_ref().map(Bytecode::original_bytes).unwrap_or_default();
        // The specification's tool refuses them: there have been none since long before.
        if spec.is_enabled_in(MERGE) && info.nonce == 0 && info.balance.is_zero() && code.is_empty() {
            return;
        }
        let slots = storage.into_iter().map(|(slot, value)| (word(slot), Value::String(word(value))));
        let account = json!({
            // Its numbers do not wrap: no balance comes near 2^256 in these blocks.
            "balance": info.balance.min(U256::from(1) << 200),
            "nonce": number(info.nonce),
            "code": code,
            "storage": slots.collect::<Map<_, _>>(),
        });
        accounts.insert(format!("{address:#x}"), account);
    };
    for (address, info, storage) in workload.source.accounts() {
        insert(*address, info, storage.iter().map(|(slot, value)| (*slot, *value)).collect());
    }
    insert(clerk, &AccountInfo::from_balance(ETHER), Vec::new());
    let code = Bytecode::new_legacy([0].into());
    insert(contract, &AccountInfo::from_balance(ETHER).with_nonce(1).with_code(code), Vec::new());
    for (address, code) in system::contracts(spec) {
        let info = AccountInfo::default().with_nonce(1).with_code(Bytecode::new_legacy(code));
        insert(address, &info, Vec::new());
    }
    Value::Object(accounts)
}

fn env(rng: &mut StdRng, spec: SpecId, workload: &Workload) -> Value {
    let env = &workload.env;
    let has = |fork: SpecId| spec.is_enabled_in(fork);
    let block = env.number.saturating_to::<u64>();
    let hashes = (block.saturating_sub(256)..block)
        .map(|number| (format!("{number:#x}"), json!(fork::block_hash(number))));
    // In some blocks the last transactions find no room.
    let wanted: u64 = workload.transactions.iter().map(|tx| tx.gas_limit.min(env.gas_limit)).sum();
    let gas_limit =
        if rng.random_bool(0.2) { (wanted / 3 * 2).clamp(1_000_000, env.gas_limit) } else { env.gas_limit };
    let mut json = json!({
        "currentCoinbase": format!("{:#x}", env.beneficiary),
        "currentGasLimit": number(gas_limit),
        "currentNumber": env.number,
        "currentTimestamp": env.timestamp,
        "blockHashes": hashes.collect::<Map<_, _>>(),
    });
    let mut set = |key: &str, value: Value| json[key] = value;
    // What can be told or computed from the block before is sometimes the one, sometimes the other.
    if has(MERGE) {
        set("currentRandom", json!(env.prevrandao.unwrap_or_default()));
    } else if rng.random_bool(0.5) {
        set("currentDifficulty", json!(env.difficulty));
    } else {
        let before = *[1, 8, 9, 13, 18, 30, 500, 5_000].choose(rng).unwrap_or(&1);
        set("parentDifficulty", json!(env.difficulty));
        set("parentTimestamp", json!(env.timestamp - U256::from(before)));
        if rng.random_bool(0.5) {
            set("parentUncleHash", json!(B256::repeat_byte(1)));
        }
    }
    if has(LONDON) {
        if rng.random_bool(0.5) {
            set("currentBaseFee", number(env.basefee));
        } else {
            // At most the target: the fee stays or falls.
            set("parentGasUsed", number(rng.random_range(gas_limit / 4..=gas_limit / 2)));
            set("parentGasLimit", number(gas_limit));
        }
        set("parentBaseFee", number(env.basefee));
    }
    if has(SHANGHAI) {
        set("withdrawals", withdrawals(rng, workload));
    }
    if has(CANCUN) {
        set("parentBeaconBlockRoot", json!(B256::from(rng.random::<[u8; 32]>())));
        let blobs = |rng: &mut StdRng, most: u64| number(rng.random_range(0..=most) << 17);
        if rng.random_bool(0.5) {
            set("currentExcessBlobGas", blobs(rng, 90));
        } else {
            set("parentExcessBlobGas", blobs(rng, 90));
            set("parentBlobGasUsed", blobs(rng, 9));
        }
    }
    json
}

/// Withdrawals to those whom the block is about, and to others.
fn withdrawals(rng: &mut StdRng, workload: &Workload) -> Value {
    let mut known: Vec<Address> = workload.source.accounts().map(|(address, ..)| *address).collect();
    known.sort_unstable();
    let count: u64 = rng.random_range(0..=16);
    let withdrawal = |index: u64| {
        let address = match rng.random_range(0..4) {
            0 => Address::repeat_byte(rng.random_range(1..4)),
            1 => workload.env.beneficiary,
            _ => known.choose(rng).copied().unwrap_or_default(),
        };
        let amount = *[0, 1, 32_000_000_000_u64].choose(rng).unwrap_or(&1);
        json!({
            "index": number(index),
            "validatorIndex": number(index * 3),
            "address": format!("{address:#x}"),
            "amount": number(amount),
        })
    };
    (0..count).map(withdrawal).collect()
}

fn word(value: U256) -> String {
    format!("{value:#066x}")
}
