//! Plain transfers, worked out without revm's journal and frames.
//!
//! A transaction that only moves value to an account without code is checked, charged and paid out by the same functions as
//! any other, but nothing is executed in between. What is not plain beyond doubt, or does not succeed, is left to revm:
//! so this knows no error, and whatever it does not know costs time, not the result.

use revm::{
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, Output, ResultGas, SuccessReason},
    },
    context_interface::{Block, Cfg, ContextTr, Transaction, transaction::TransactionType},
    handler::{pre_execution, validation},
    precompile::{PrecompileSpecId, Precompiles},
    primitives::{Address, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::database::ReadError;

/// What the plain transfers of a block have in common.
#[derive(Debug)]
pub(crate) struct Transfers {
    /// What each of them uses, in gas.
    used: u64,
    gas: ResultGas,
    precompiles: &'static Precompiles,
}

/// A plain transfer, if the accounts are as they should be.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: Address,
    /// In wei.
    pub(crate) value: U256,
    /// What the beneficiary gets, in wei.
    pub(crate) fee: U256,
    /// What the sender gets back of what it is charged, in wei.
    unused: U256,
    gas: ResultGas,
}

impl Transfers {
    /// Under these rules; `None` where revm has to be asked for each of them.
    pub(crate) fn new(cfg: &CfgEnv) -> Option<Self> {
        // For simulations, and what Amsterdam adds: logs, and a price for what the recipient is.
        let is_odd = cfg.is_nonce_check_disabled()
            || cfg.is_balance_check_disabled()
            || cfg.is_fee_charge_disabled()
            || cfg.is_amsterdam_eip2780_enabled()
            || cfg.is_amsterdam_eip8037_enabled()
            || cfg.gas_params().max_refund_quotient() == 0
            || cfg.spec.is_enabled_in(SpecId::AMSTERDAM);
        if is_odd {
            return None;
        }
        // Which of them it is makes no difference.
        let any = TxEnv { gas_limit: u64::MAX, kind: TxKind::Call(Address::ZERO), ..TxEnv::default() };
        let initial = validation::validate_initial_tx_gas_with_gas_params(
            &any,
            cfg.spec,
            cfg.gas_params(),
            cfg.is_eip7623_disabled(),
            false,
            u64::MAX,
            None,
        );
        let initial = initial.ok()?;
        let used = initial.initial_total_gas();
        (initial.floor_gas() <= used).then(|| Self {
            used,
            gas: ResultGas::default().with_total_gas_spent(used).with_floor_gas(initial.floor_gas()),
            precompiles: Precompiles::new(PrecompileSpecId::from_spec_id(cfg.spec)),
        })
    }

    /// The context's transaction, if it is a plain transfer that is valid in its block.
    pub(crate) fn transfer<C>(&self, ctx: &mut C) -> Option<Transfer>
    where
        C: ContextTr<Block = BlockEnv, Tx = &'static TxEnv, Cfg = CfgEnv>,
    {
        let tx = *ctx.tx();
        let TxKind::Call(to) = tx.kind else { return None };
        let has_nothing_else = tx.data.is_empty()
            && tx.access_list.0.is_empty()
            && tx.authorization_list.is_empty()
            && tx.blob_hashes.is_empty()
            && match TransactionType::from(tx.tx_type) {
                TransactionType::Legacy | TransactionType::Eip2930 | TransactionType::Eip1559 => true,
                TransactionType::Eip4844 | TransactionType::Eip7702 | TransactionType::Custom => false,
            };
        if !has_nothing_else
            || to == tx.caller
            || tx.gas_limit < self.used
            || self.precompiles.contains(&to)
            || validation::validate_env::<_, EVMError<ReadError>>(&mut *ctx).is_err()
        {
            return None;
        }
        let basefee = u128::from(ctx.block().basefee());
        let price = tx.effective_gas_price(basefee);
        // EIP-1559: the base fee is burnt.
        let is_burnt = ctx.cfg().spec.is_enabled_in(SpecId::LONDON);
        let tip = if is_burnt { price.saturating_sub(basefee) } else { price };
        Some(Transfer {
            to,
            value: tx.value,
            fee: U256::from(tip.checked_mul(u128::from(self.used))?),
            unused: U256::from(price.saturating_mul(u128::from(tx.gas_limit - self.used))),
            gas: self.gas,
        })
    }
}

/// Whether an account has code, by its hash or at hand.
pub(crate) fn has_code(info: &AccountInfo) -> bool {
    !info.is_empty_code_hash() || info.code.as_ref().is_some_and(|code| !code.is_empty())
}

impl Transfer {
    /// What the sender holds afterwards, in wei; `None` where revm has to say what is wrong with it.
    pub(crate) fn charge(
        &self,
        sender: &AccountInfo,
        tx: &TxEnv,
        block: &BlockEnv,
        cfg: &CfgEnv,
    ) -> Option<U256> {
        if has_code(sender) || sender.nonce != tx.nonce {
            return None;
        }
        let charged = pre_execution::calculate_caller_fee(sender.balance, tx, block, cfg).ok()?;
        charged.checked_sub(self.value)?.checked_add(self.unused)
    }

    /// Its result.
    pub(crate) fn result(&self) -> ExecutionResult {
        ExecutionResult::Success {
            reason: SuccessReason::Stop,
            gas: self.gas,
            logs: Vec::new(),
            output: Output::Call(Bytes::new()),
        }
    }
}
