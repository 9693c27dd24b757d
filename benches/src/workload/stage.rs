//! What happened before the block: contracts are deployed by running their constructors, and called.

use alloy_primitives::{Address, Bytes, TxKind, U256};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    bytecode::Bytecode,
    context::TxEnv,
    context::result::ExecutionResult,
    database::{State, states::bundle_state::BundleRetention},
    state::AccountInfo,
};

use super::world::World;
use crate::{
    contracts::{Argument, Artifact, encode},
    fork,
};

/// Gas of a call before the block: none of them is measured.
const GAS_LIMIT: u64 = 1_000_000_000;

/// A call that happened before the block.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) data: Bytes,
}

impl World {
    /// Deploys a contract at an address of its kind, by `owner`.
    pub(super) fn deploy(
        &mut self,
        kind: &str,
        index: usize,
        artifact: &Artifact,
        owner: Address,
        arguments: &[Argument],
    ) -> Address {
        let address = Self::address(kind, index);
        // The constructor runs where the contract will be, and returns its code.
        let code = [&artifact.creation[..], &encode(arguments)].concat();
        self.source.insert_account(
            address,
            AccountInfo::from_bytecode(Bytecode::new_legacy(code.into())),
            [],
        );
        let call = Call { from: owner, to: address, data: Bytes::new() };
        let code = self.set_up([call]).remove(0);
        let storage: Vec<_> = self
            .source
            .get(&address)
            .map(|(_, storage)| storage.iter().map(|(slot, value)| (*slot, *value)).collect())
            .unwrap_or_default();
        let info = AccountInfo::from_bytecode(Bytecode::new_legacy(code)).with_nonce(1);
        self.source.insert_account(address, info, storage);
        address
    }

    /// Executes calls before the block, free of charge, and returns what they return.
    ///
    /// # Panics
    ///
    /// If one fails: a mix sets up what can be set up.
    pub(super) fn set_up(&mut self, calls: impl IntoIterator<Item = Call>) -> Vec<Bytes> {
        let mut cfg = fork::cfg_env(self.knobs.spec);
        cfg.disable_nonce_check = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        let mut env = fork::block_env(self.knobs.spec, Address::ZERO, u64::MAX, 0);
        env.timestamp -= U256::from(self.elapsed);
        let state = State::builder().with_database_ref(&self.source).with_bundle_update().build();
        let mut evm = Context::mainnet().with_db(state).with_cfg(cfg).with_block(env).build_mainnet();
        let mut outputs = Vec::new();
        for Call { from, to, data } in calls {
            let transaction = TxEnv {
                caller: from,
                kind: TxKind::Call(to),
                data,
                gas_limit: GAS_LIMIT,
                chain_id: Some(1),
                ..TxEnv::default()
            };
            match evm.transact_commit(transaction) {
                Ok(ExecutionResult::Success { output, .. }) => outputs.push(output.into_data()),
                other => panic!("a call before the block failed: {other:?}"),
            }
            *self.nonces.entry(from).or_default() += 1;
        }
        let mut state = evm.ctx.journaled_state.database;
        state.merge_transitions(BundleRetention::Reverts);
        let bundle = state.take_bundle();
        drop(state);
        self.source.apply(&bundle);
        outputs
    }
}
