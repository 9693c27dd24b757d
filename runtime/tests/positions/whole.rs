//! A whole block, with its system calls, whose source fails at every read in turn.

use std::{collections::HashSet, sync::Arc};

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip4895::Withdrawal,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
};
use alloy_hardforks::EthereumHardfork as Fork;
use counterpoint::{
    ExecuteError, Mode,
    cli::sequential::SequentialEngine,
    ethereum::{BlockError, Phase, Rules, WholeBlock, execute},
    state::StateSource,
};
use revm::{
    context::{BlockEnv, TxEnv},
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
};

use crate::{
    PATIENCE,
    common::{Case, EXPECTED, Key, Watchdog, address, quiet},
    runtimes,
    trap::{Manner, Sprung, Trap, names, trapped},
};
/// A whole block of Prague: two system calls before, two after, withdrawals, three transactions.
fn whole(
    source: Arc<dyn StateSource>,
    rules: &Rules,
    withdrawals: &'static [Withdrawal],
) -> WholeBlock<'static> {
    let call = |nonce: u64, to: Address| TxEnv {
        caller: address(1),
        kind: TxKind::Call(to),
        nonce,
        gas_limit: 200_000,
        gas_price: 20,
        chain_id: None,
        ..TxEnv::default()
    };
    WholeBlock {
        env: BlockEnv {
            number: U256::from(7),
            timestamp: U256::from(1_000),
            gas_limit: 30_000_000,
            basefee: 7,
            prevrandao: Some(B256::ZERO),
            blob_excess_gas_and_price: rules.blob_fee(0),
            ..BlockEnv::default()
        },
        parent_hash: B256::repeat_byte(6),
        parent_beacon_block_root: Some(B256::repeat_byte(9)),
        ommers: &[],
        withdrawals: Some(withdrawals),
        reward: None,
        transactions: [call(0, address(2)), call(1, address(3)), call(2, address(2))].into(),
        source,
        mode: Mode::Verify,
    }
}

static WITHDRAWALS: [Withdrawal; 2] = [
    Withdrawal { index: 0, validator_index: 0, address: Address::repeat_byte(0xaa), amount: 5 },
    Withdrawal { index: 1, validator_index: 0, address: Address::repeat_byte(0xab), amount: 6 },
];

#[test]
fn a_whole_block_names_transaction_or_phase_of_every_failing_read() {
    quiet();
    let watchdog = Watchdog::new(PATIENCE);
    let rules = Rules::new(Fork::Prague, 1);
    let mut case = Case::new(SpecId::PRAGUE);
    case.rich(1);
    case.contract(address(2), counterpoint_benches::asm::Asm::new().increment(1, 1).build(), &[]);
    for (contract, code) in [
        (BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ] {
        case.contract(contract, (*code).clone(), &[]);
    }
    let good =
        execute(&SequentialEngine, &rules, &whole(Arc::new(case.memory.clone()), &rules, &WITHDRAWALS), None)
            .expect("the block is fine");
    for (name, runtime) in &runtimes() {
        for manner in [Manner::Error, Manner::Panic] {
            let mut seen = HashSet::new();
            for position in 0.. {
                let way = format!("{name}, {manner:?} at read {position}");
                watchdog.now(&way);
                let trap = Trap::at(position);
                let source = Arc::new(trapped(&case, &trap, manner));
                let got = execute(runtime, &rules, &whole(source, &rules, &WITHDRAWALS), None);
                let Sprung { keys, known, .. } = trap.sprung();
                match got {
                    Ok(block) => {
                        assert!(keys.is_empty() || known, "{way}: {keys:?}");
                        assert_eq!(block.bundle.state, good.bundle.state, "{way}");
                        if keys.is_empty() {
                            break;
                        }
                    }
                    Err(BlockError::Outside { phase, cause }) => {
                        seen.insert(format!("{phase}"));
                        match manner {
                            Manner::Panic => assert!(cause.to_string().ends_with(EXPECTED), "{way}: {cause}"),
                            _ => assert!(names(&cause, &keys, manner), "{way}: {cause:?}"),
                        }
                        let account = |address| keys.contains(&Key::Account(address));
                        let about = match phase {
                            Phase::Before => !account(address(2)),
                            Phase::Balances => {
                                account(WITHDRAWALS[0].address) || account(WITHDRAWALS[1].address)
                            }
                            _ => !account(WITHDRAWALS[0].address),
                        };
                        assert!(about, "{way}: {phase:?} {keys:?}");
                    }
                    Err(BlockError::Execute(ExecuteError::Source { index, .. }))
                        if manner == Manner::Error =>
                    {
                        seen.insert(format!("transaction {index}"));
                    }
                    Err(BlockError::Execute(ExecuteError::Panic { index, .. }))
                        if manner == Manner::Panic =>
                    {
                        seen.insert(format!("transaction {index}"));
                    }
                    Err(error) => panic!("{way}: {error:?}"),
                }
                let again = whole(Arc::new(case.memory.clone()), &rules, &WITHDRAWALS);
                let again = execute(runtime, &rules, &again, None).expect("the block is fine");
                assert_eq!(again.bundle.state, good.bundle.state, "after {way}");
            }
            for part in [
                "before the transactions",
                "transaction 0",
                "transaction 1",
                "requests after the transactions",
                "withdrawals and rewards",
            ] {
                assert!(seen.contains(part), "{name}, {manner:?}: {seen:?}");
            }
        }
    }
}
