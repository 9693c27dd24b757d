//! A program for alloy-evm's block executor, with the factory swapped.

use std::{error::Error, sync::Arc};

use alloy_consensus::{ReceiptEnvelope, Signed, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_evm::{
    EthEvmFactory, EvmEnv, EvmFactory,
    block::{BlockExecutionError, BlockExecutor, BlockExecutorFactory},
    eth::{
        EthBlockExecutionCtx, EthBlockExecutorFactory, receipt_builder::AlloyReceiptBuilder, spec::EthSpec,
    },
};
use counterpoint::{Runtime, ethereum::ParallelBlockExecutorFactory, state::MemorySource};
use revm::{
    context::{BlockEnv, CfgEnv},
    database::{BundleState, State, states::bundle_state::BundleRetention},
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// The program. It knows no executor but by its factory.
fn execute<F>(
    factory: &F,
    source: &MemorySource,
    transactions: &[Recovered<TxEnvelope>],
) -> Result<(Vec<ReceiptEnvelope>, BundleState), BlockExecutionError>
where
    F: for<'a> BlockExecutorFactory<
            EvmFactory = EthEvmFactory,
            ExecutionCtx<'a> = EthBlockExecutionCtx<'a>,
            Transaction = TxEnvelope,
            Receipt = ReceiptEnvelope,
        >,
{
    let env = EvmEnv {
        cfg_env: CfgEnv::new_with_spec(SpecId::SHANGHAI),
        block_env: BlockEnv {
            number: U256::from(17_100_000),
            timestamp: U256::from(1_682_000_000),
            ..BlockEnv::default()
        },
    };
    let ctx = EthBlockExecutionCtx {
        parent_hash: B256::ZERO,
        parent_beacon_block_root: None,
        ommers: &[],
        withdrawals: None,
        extra_data: Default::default(),
        tx_count_hint: Some(transactions.len()),
        slot_number: None,
    };
    let mut state = State::builder().with_database_ref(source).with_bundle_update().build();
    let evm = factory.evm_factory().create_evm(&mut state, env);
    let result = factory.create_executor(evm, ctx).execute_block(transactions)?;
    state.merge_transitions(BundleRetention::Reverts);
    Ok((result.receipts, state.take_bundle()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut source = MemorySource::new();
    let transfer = |sender: u8| {
        let transaction = TxEip1559 {
            chain_id: 1,
            gas_limit: 21_000,
            to: TxKind::Call(Address::repeat_byte(0xaa)),
            value: U256::from(7),
            ..TxEip1559::default()
        };
        // A signature that nobody checks: the sender is known.
        let signed = Signed::new_unhashed(transaction, alloy_primitives::Signature::test_signature());
        Recovered::new_unchecked(TxEnvelope::from(signed), Address::with_last_byte(sender))
    };
    let transactions: Vec<_> = (1..=50).map(transfer).collect();
    for transaction in &transactions {
        source.insert_account(transaction.signer(), AccountInfo::from_balance(U256::from(1_000_000)), []);
    }

    let one_by_one = EthBlockExecutorFactory::new(
        AlloyReceiptBuilder::default(),
        EthSpec::mainnet(),
        EthEvmFactory::default(),
    );
    let expected = execute(&one_by_one, &source, &transactions)?;

    let runtime = Arc::new(Runtime::builder().workers(2).build()?);
    let parallel =
        ParallelBlockExecutorFactory::new(AlloyReceiptBuilder::default(), EthSpec::mainnet(), runtime);
    let got = execute(&parallel, &source, &transactions)?;

    assert_eq!(got.0, expected.0);
    assert_eq!(got.1.state, expected.1.state);
    println!("{} receipts, the same state", got.0.len());
    Ok(())
}
