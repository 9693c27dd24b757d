//! Sequential revm, and the same block on Counterpoint.

use std::{error::Error, sync::Arc};

use counterpoint::{Block, Mode, Runtime, state::MemorySource};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{State, states::bundle_state::BundleRetention},
    primitives::{Address, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (env, cfg) = (BlockEnv::default(), CfgEnv::new_with_spec(SpecId::SHANGHAI));
    let mut source = MemorySource::new();
    let senders: Vec<Address> = (1..=50).map(Address::with_last_byte).collect();
    for sender in &senders {
        source.insert_account(*sender, AccountInfo::from_balance(U256::from(1_000_000)), []);
    }
    let transfer = |from: &Address| TxEnv {
        caller: *from,
        kind: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(7),
        gas_limit: 21_000,
        ..TxEnv::default()
    };
    let transactions: Vec<TxEnv> = senders.iter().map(transfer).collect();

    // Before: one transaction at a time.
    let mut state = State::builder().with_database_ref(&source).with_bundle_update().build();
    let context = Context::mainnet().with_db(&mut state).with_block(env.clone()).with_cfg(cfg.clone());
    let mut evm = context.build_mainnet();
    let mut results = Vec::new();
    for transaction in transactions.clone() {
        results.push(evm.transact_commit(transaction)?);
    }
    state.merge_transitions(BundleRetention::Reverts);
    let bundle = state.take_bundle();

    // After: all of them, on every core. Build the runtime once and keep it.
    let runtime = Runtime::builder().build()?;
    let outcome = runtime.execute(&Block {
        env,
        cfg,
        transactions: transactions.into(),
        source: Arc::new(source),
        mode: Mode::Verify,
    })?;

    assert!(results.iter().eq(outcome.transactions.iter().filter_map(|outcome| outcome.result())));
    assert_eq!(outcome.bundle.state, bundle.state);
    println!("{} transactions, {} gas, the same state", results.len(), outcome.gas_used);
    Ok(())
}
