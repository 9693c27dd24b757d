//! That the random blocks hold what they are meant to hold: everything is counted over many seeds.

mod wanted;

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256, map::AddressSet};
use revm::{
    Database, DatabaseCommit, InspectEvm, Inspector, MainBuilder,
    bytecode::opcode::*,
    context::{
        ContextTr, JournalTr, TxEnv,
        result::{EVMError, ExecutionResult},
    },
    handler::MainnetContext,
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter,
        interpreter_types::{InputsTr, Jumps},
    },
    primitives::hardfork::SpecId::*,
    state::{AccountInfo, EvmState},
};

use super::{random_block, world::World};
use crate::{
    Workload,
    sequential::{self, SourceState},
};

/// Counts what happens, and remembers what the block's earlier transactions did.
#[derive(Debug, Default)]
struct Trace {
    counts: BTreeMap<String, u64>,
    beneficiary: Address,
    destroyed: AddressSet,
    recreated: AddressSet,
    /// What transactions of the block created.
    created: AddressSet,
    /// What the source has slots for.
    stored: AddressSet,
}

impl Trace {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn count_if(&mut self, condition: bool, what: &str) {
        if condition {
            self.count(what);
        }
    }
}

/// The name of an enum's variant.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

type Context<'a> = MainnetContext<SourceState<'a>>;

/// An account's balance in the midst of a transaction.
fn balance(context: &mut Context<'_>, address: Address) -> U256 {
    let loaded = context.journaled_state.inner.state.get(&address).map(|account| account.info.balance);
    loaded.unwrap_or_else(|| context.db_mut().basic(address).unwrap().unwrap_or_default().balance)
}

impl<'a> Inspector<Context<'a>> for Trace {
    fn step(&mut self, interp: &mut Interpreter, context: &mut Context<'a>) {
        let opcode = interp.bytecode.opcode();
        let this = interp.input.target_address();
        let top = interp.stack.peek(0).unwrap_or_default();
        match opcode {
            SLOAD => {
                self.count_if(self.recreated.contains(&this), "slot read after recreation");
                self.count_if(self.destroyed.contains(&this), "slot read after destruction");
                self.count_if(!self.stored.contains(&this), "slot read of an account without slots");
            }
            SELFDESTRUCT => {
                let target = Address::from_word(top.into());
                let (value, before) = (balance(context, this), balance(context, target));
                self.count_if(before.checked_add(value).is_none(), "self-destruct overflows");
            }
            BALANCE | EXTCODEHASH | EXTCODESIZE => {
                let address = Address::from_word(top.into());
                self.count_if(
                    opcode == BALANCE && address == self.beneficiary,
                    "balance of beneficiary read",
                );
                self.count_if(self.destroyed.contains(&address), "destroyed account observed");
                self.count_if(opcode == BALANCE && top <= U256::from(9), "balance of nonsense read");
            }
            _ => {}
        }
        if matches!(
            opcode,
            SELFBALANCE | EXTCODEHASH | EXTCODESIZE | BLOCKHASH | TSTORE | MCOPY | CLZ | LOG0..=LOG4
        ) {
            let name = OpCode::new(opcode).map_or("?", |opcode| opcode.as_str());
            self.count(name.trim_end_matches(char::is_numeric));
        }
    }

    fn call(&mut self, context: &mut Context<'a>, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let depth = context.journal().depth();
        self.count_if(depth > 20, "recursion deeper than 20");
        if depth > 0 {
            self.count(format!("inner {}", variant(&inputs.scheme)));
            let value = inputs.value.get();
            let account = context.db_mut().basic(inputs.target_address).ok().flatten();
            self.count_if(!value.is_zero() && account.is_none(), "value to a nonexistent account");
            self.count_if(!value.is_zero(), "inner call with value");
            self.count_if(value.is_zero() && account.is_some_and(|a| a.is_empty()), "empty account touched");
        }
        None
    }

    fn call_end(&mut self, _: &mut Context<'a>, inputs: &CallInputs, outcome: &mut CallOutcome) {
        let number = U256::from_be_slice(inputs.bytecode_address.as_slice());
        if number >= U256::from(1) && number <= U256::from(6) && outcome.result.is_ok() {
            self.count(format!("precompile {number}"));
        }
        self.count_if(outcome.result.is_revert(), "call reverted");
        self.count(format!("call {}", variant(&outcome.result.result)));
    }

    fn create_end(&mut self, context: &mut Context<'a>, _: &CreateInputs, outcome: &mut CreateOutcome) {
        let inner = context.journal().depth() > 0;
        self.count_if(inner && outcome.result.is_ok(), "inner creation");
        self.count_if(outcome.result.result == InstructionResult::CreateCollision, "creation collided");
        self.count_if(outcome.result.is_halt(), "creation failed");
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.count_if(contract == target, "self-destruct to itself");
        self.count_if(contract == self.beneficiary, "self-destruct of the beneficiary");
        self.count_if(target == self.beneficiary, "self-destruct to the beneficiary");
        self.count_if(contract != target && !value.is_zero(), "self-destruct moves money");
    }
}

/// The accounts that a transaction names, as they stand before it.
struct Before {
    sender: AccountInfo,
    beneficiary: AccountInfo,
    target: Option<AccountInfo>,
}

/// What an included transaction's result and state tell.
fn inspect_result(
    trace: &mut Trace,
    workload: &Workload,
    tx: &TxEnv,
    result: &ExecutionResult,
    before: &Before,
) {
    match result {
        ExecutionResult::Success { reason, .. } => trace.count(format!("success {reason:?}")),
        ExecutionResult::Revert { .. } => trace.count("revert"),
        ExecutionResult::Halt { reason, .. } => trace.count(format!("halt {}", variant(reason))),
    }
    let success = result.is_success();
    trace.count(format!("type {}", tx.tx_type));
    trace.count_if(tx.kind.is_create() && success, "creating transaction");
    trace.count_if(tx.kind.to() == Some(&tx.caller), "transfer to itself");
    trace.count_if(tx.kind.to() == Some(&workload.env.beneficiary), "transfer to the beneficiary");
    trace.count_if(tx.caller == workload.env.beneficiary, "beneficiary sends");
    let created = tx.kind.to().is_some_and(|to| trace.created.contains(to));
    trace.count_if(created && success, "contract of the block called");
    let delegated = |info: &AccountInfo| info.code.as_ref().is_some_and(|code| code.is_eip7702());
    trace.count_if(delegated(&before.sender), "delegated account sends");
    trace.count_if(before.target.as_ref().is_some_and(delegated), "delegated account called");
    trace.count_if(before.target.is_none() && tx.value.is_zero(), "zero-value transfer to nobody");
    trace.count_if(before.target.is_none() && !tx.value.is_zero(), "transfer to nobody");
    trace.count_if(before.target.as_ref().is_some_and(AccountInfo::is_empty), "transfer to an empty account");

    let base_fee = u128::from(workload.env.basefee);
    let price = tx.gas_priority_fee.map_or(tx.gas_price, |tip| tx.gas_price.min(base_fee + tip));
    trace.count_if(price == base_fee, "no tip");
    trace.count_if(price > base_fee, "tip");
    let reward = U256::from(price - base_fee) * U256::from(result.tx_gas_used());
    trace.count_if(before.beneficiary.balance.checked_add(reward).is_none(), "reward overflows");
    let start = workload.source.accounts().find(|account| *account.0 == tx.caller);
    let had = start.map_or(U256::ZERO, |account| account.1.balance);
    trace.count_if(had < tx.value + U256::from(tx.gas_limit) * U256::from(tx.gas_price), "sender was funded");
}

fn inspect_state(trace: &mut Trace, workload: &Workload, state: &EvmState, db: &mut impl Database) {
    let cancun = workload.cfg.spec.is_enabled_in(CANCUN);
    for (address, account) in state {
        let before = db.basic(*address).ok().flatten();
        if account.is_created() && account.is_touched() {
            let again = trace.destroyed.contains(address);
            trace.count_if(again && !cancun, "recreation before Cancun");
            trace.count_if(again && cancun, "recreation from Cancun on");
            trace.count_if(before.is_some() && !again, "creation over an existing account");
            trace.count_if(trace.stored.contains(address) && !again, "creation over leftover slots");
            trace.created.insert(*address);
            if again {
                trace.recreated.insert(*address);
            }
        }
        if account.is_selfdestructed() {
            trace.count(if cancun { "destroyed from Cancun on" } else { "destroyed before Cancun" });
            trace.recreated.remove(address);
            trace.destroyed.insert(*address);
        }
        let empty = before.as_ref().is_some_and(AccountInfo::is_empty);
        trace.count_if(
            empty && account.is_touched() && account.is_empty(),
            "empty account touched or cleared",
        );
        let code = |info: Option<&AccountInfo>| {
            info.and_then(|info| info.code.as_ref()).and_then(|code| code.eip7702_address())
        };
        let (old, new) = (code(before.as_ref()), code(Some(&account.info)));
        if account.is_touched() && old != new {
            let change = match (old, new) {
                (None, _) => "delegation set",
                (_, None) => "delegation cleared",
                _ => "delegation changed",
            };
            trace.count(change);
        }
    }
}

fn run(trace: &mut Trace, seed: u64) {
    let workload = random_block(seed);
    trace.beneficiary = workload.env.beneficiary;
    trace.destroyed.clear();
    trace.recreated.clear();
    trace.created.clear();
    trace.stored = workload.source.accounts().filter(|a| !a.2.is_empty()).map(|a| *a.0).collect();
    trace.count(format!("{:?}", workload.cfg.spec));
    let start = workload.source.accounts().find(|account| *account.0 == trace.beneficiary);
    let kind = match start {
        None => "beneficiary does not exist",
        Some((_, info, _)) if info.is_empty() => "beneficiary is empty",
        Some((_, info, _)) if info.is_empty_code_hash() => "beneficiary has no code",
        _ => "beneficiary is a contract",
    };
    trace.count(kind);
    let low = U256::from_be_slice(trace.beneficiary.as_slice()) < U256::from(16);
    trace.count_if(low, "beneficiary is a precompile");

    let mut evm = sequential::context(&workload).build_mainnet_with_inspector(&mut *trace);
    let mut senders = BTreeMap::<Address, u64>::new();
    for tx in &workload.transactions {
        let mut account = |address: Address| evm.ctx.db_mut().basic(address).unwrap();
        let before = Before {
            sender: account(tx.caller).unwrap_or_default(),
            beneficiary: account(workload.env.beneficiary).unwrap_or_default(),
            target: tx.kind.to().and_then(|to| account(*to)),
        };
        match evm.inspect_tx(tx.clone()) {
            Ok(done) => {
                let sent = senders.entry(tx.caller).or_default();
                *sent += 1;
                evm.inspector.count_if(*sent > 1, "another transaction of a sender");
                inspect_result(evm.inspector, &workload, tx, &done.result, &before);
                let fresh = [(World::FACTORY, "factory"), (World::FACTORY2, "salted factory")];
                for (address, name) in fresh {
                    evm.inspector.count_if(tx.kind.to() == Some(&address) && done.result.is_success(), name);
                }
                let code = before.target.as_ref().map(|target| target.code_hash);
                for (artifact, name) in
                    [(crate::contracts::token(), "token call"), (crate::contracts::pool(), "pool call")]
                {
                    let called = code == Some(artifact.runtime.hash_slow());
                    evm.inspector.count_if(called && done.result.is_success(), name);
                    evm.inspector.count_if(called && !done.result.is_success(), &format!("{name} failed"));
                }
                inspect_state(evm.inspector, &workload, &done.state, evm.ctx.db_mut());
                evm.ctx.db_mut().commit(done.state);
            }
            Err(EVMError::Transaction(cause)) => {
                evm.inspector.count(format!("invalid {}", variant(&cause)));
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

#[test]
fn everything_occurs() {
    let mut trace = Trace::default();
    for seed in 0..2_000 {
        run(&mut trace, seed);
    }
    for (what, count) in &trace.counts {
        println!("{count:8} {what}");
    }
    for (least, names) in wanted::WANTED {
        for name in *names {
            let count = trace.counts.get(*name).copied().unwrap_or_default();
            assert!(count >= *least, "{name}: {count}");
        }
    }
}
