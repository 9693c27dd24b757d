//! revm's mainnet handler with one change: the beneficiary's fee is deferred.

use std::marker::PhantomData;

use revm::{
    context::{
        Block, Cfg, ContextTr, JournalTr, Transaction,
        result::{EVMError, HaltReason},
    },
    handler::{FrameResult, Handler, post_execution},
    primitives::{U256, hardfork::SpecId},
};

use crate::{
    database::ReadError,
    evm::{ActorEvm, EvmDatabase},
};

/// The handler of mainnet's rules.
pub(crate) struct ActorHandler<D>(pub(crate) PhantomData<D>);

impl<D: EvmDatabase> Handler for ActorHandler<D> {
    type Evm = ActorEvm<D>;
    type Error = EVMError<ReadError>;
    type HaltReason = HaltReason;

    /// The fee commutes, so the frontier adds it, unless the transaction has loaded the beneficiary: then its
    /// execution has seen that account, and the fee may even be burnt with it, so it is added as revm does.
    fn reward_beneficiary(
        &self,
        evm: &mut ActorEvm<D>,
        exec_result: &mut FrameResult,
    ) -> Result<(), Self::Error> {
        let ctx = &mut evm.0.ctx;
        if ctx.cfg().is_fee_charge_disabled() {
            return Ok(());
        }
        let beneficiary = ctx.block().beneficiary();
        let gas = exec_result.gas();
        if !ctx.journal_mut().db_mut().defers_fee()
            || ctx.journaled_state.inner.state.contains_key(&beneficiary)
        {
            return post_execution::reward_beneficiary(ctx, gas).map_err(EVMError::from);
        }
        let basefee = u128::from(ctx.block().basefee());
        let price = ctx.tx().effective_gas_price(basefee);
        // EIP-1559: the base fee is burnt.
        let tip = if ctx.cfg().spec().is_enabled_in(SpecId::LONDON) {
            price.saturating_sub(basefee)
        } else {
            price
        };
        let used = gas.used().saturating_sub(gas.reservoir());
        let fee = U256::from(tip * u128::from(used));
        ctx.journal_mut().db_mut().defer_fee(fee).map_err(EVMError::Database)
    }
}
