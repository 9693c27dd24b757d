//! Balances that a transaction moves without looking at them.
//!
//! A call loads the account that it goes to with all of its fields, and mostly nothing looks at the balance: only a few
//! instructions do. So an account that has nonce or code, and is not empty whatever it holds, is read without its balance.
//! The journal holds what the transaction assumes instead: nothing at first, and what is there as far as that is known from
//! the moment on that it has to be enough for a payment. The result depends on that moment's "enough" alone, which is looked
//! at again at the frontier. What the account has more or less at the end is published as a delta. An instruction that
//! looks at the balance itself has it read as any other field.
//!
//! Sums are worked out modulo 2^256. Where amounts are so large that one could get there, the transaction is executed exactly:
//! with every balance read.

use counterpoint_state::Fields;
use revm::{
    bytecode::opcode,
    context::{CfgEnv, ContextError, TxEnv},
    context_interface::Transaction,
    interpreter::{
        Instruction, InstructionContext, InstructionExecResult, InstructionResult,
        instructions::{contract, host},
        interpreter::EthInterpreter,
        interpreter_types::InputsTr,
    },
    primitives::{Address, U256, hardfork::SpecId},
    state::Account,
};

use crate::{
    database::{CellDatabase, ReadError},
    evm::{ActorContext, EvmDatabase, Instructions},
    execution::Stop,
};

/// A payment of so much, in wei, is executed exactly: 2^128.
pub(crate) const LARGE: U256 = U256::from_limbs([0, 0, 1, 0]);

/// So is what moves the balance of an account that holds so much, in wei: 2^200. No transaction has the gas to get from there
/// to an overflow with payments that are not large.
pub(crate) const HUGE: U256 = U256::from_limbs([0, 0, 0, 1 << 8]);

/// How a transaction looks at a balance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// Whether it is enough for this payment, in wei.
    Enough(U256),
    /// It has to be known.
    Exactly,
}

/// Whether a transaction may leave balances unseen under these rules.
pub(crate) fn may_leave_unseen(tx: &TxEnv, cfg: &CfgEnv) -> bool {
    // EIP-7708 logs what moves, EIP-8246 asks what destroyed accounts hold; an authority's code may change (EIP-7702).
    !cfg.spec.is_enabled_in(SpecId::AMSTERDAM) && tx.authorization_list_len() == 0 && tx.value < LARGE
}

impl CellDatabase {
    /// The transaction looks at the balance of an account of the journal. What it is raised by, if that was not read so far.
    pub(crate) fn look_at_balance(
        &mut self,
        address: Address,
        account: &Account,
        look: Look,
    ) -> Result<Option<U256>, ReadError> {
        if !self.leaves_unseen {
            return Ok(None);
        }
        if let Look::Enough(value) = look {
            if value >= LARGE {
                return self.stop(Stop::Inexact);
            }
            self.execution().pays = true;
        }
        let execution = self.execution();
        let index = execution.index;
        let Some(position) = execution.position_of(&address, account) else { return Ok(None) };
        let read = &mut execution.accounts[position];
        if read.fields != Fields::BUT_BALANCE {
            return Ok(None);
        }
        let (held, assumed) = (account.info.balance, read.view.balance);
        if let Look::Enough(value) = look {
            // What it must have had before the transaction.
            let needed = (assumed + value).saturating_sub(held);
            let found = if held < value { read.actor.cells.balance_so_far(index) } else { assumed };
            if needed <= found && found < HUGE {
                read.least = read.least.max(needed);
                read.view.balance = found;
                return Ok((found != assumed).then(|| found.wrapping_sub(assumed)));
            }
        }
        let actor = read.actor;
        let view = self.read_fields(actor, Fields::ACCOUNT, |_| true)?.expect("anything will do");
        let execution = self.execution();
        let read = &mut execution.accounts[position];
        let holds = view.agrees(&read.view, Fields::BUT_BALANCE) && view.balance >= read.least;
        if !holds && !execution.on_final_state {
            return self.stop(Stop::Doomed);
        }
        if !holds || view.balance >= HUGE {
            return self.stop(Stop::Inexact);
        }
        (read.view, read.fields, read.least) = (view, Fields::ACCOUNT, U256::ZERO);
        Ok((view.balance != assumed).then(|| view.balance.wrapping_sub(assumed)))
    }
}

type Context<'a, D> = InstructionContext<'a, ActorContext<D>, EthInterpreter>;
type Observing<D> = fn(Context<'_, D>) -> InstructionExecResult;

/// Has those instructions say so that look at balances.
pub(crate) fn observing<D: EvmDatabase>(mut instructions: Instructions<D>) -> Instructions<D> {
    let table: [(u8, Observing<D>); 7] = [
        (opcode::BALANCE, balance),
        (opcode::SELFBALANCE, self_balance),
        (opcode::CALL, call::<{ opcode::CALL }, D>),
        (opcode::CALLCODE, call::<{ opcode::CALLCODE }, D>),
        (opcode::CREATE, create::<false, D>),
        (opcode::CREATE2, create::<true, D>),
        (opcode::SELFDESTRUCT, self_destruct),
    ];
    for (opcode, instruction) in table {
        let gas = instructions.gas_table()[opcode as usize];
        instructions.insert_instruction(opcode, Instruction::new(instruction), gas);
    }
    instructions
}

fn look<D: EvmDatabase>(host: &mut ActorContext<D>, address: Address, look: Look) -> InstructionExecResult {
    let journal = &mut host.journaled_state;
    let Some(account) = journal.inner.state.get_mut(&address) else { return Ok(()) };
    match journal.database.look_at(address, account, look) {
        Ok(None) => Ok(()),
        Ok(Some(raise)) => {
            // The journal's entries say what was moved, and hold for either balance.
            account.info.balance = account.info.balance.wrapping_add(raise);
            let original = account.original_info_mut();
            original.balance = original.balance.wrapping_add(raise);
            Ok(())
        }
        Err(error) => {
            host.error = Err(ContextError::Db(error));
            Err(InstructionResult::FatalExternalError)
        }
    }
}

/// The executing account pays.
fn pay<D: EvmDatabase>(context: &mut Context<'_, D>, value: Option<U256>) -> InstructionExecResult {
    match value {
        Some(value) if !value.is_zero() => {
            let payer = context.interpreter.input.target_address();
            look(context.host, payer, Look::Enough(value))
        }
        // Nothing moves, or revm finds out what is missing.
        _ => Ok(()),
    }
}

fn call<const KIND: u8, D: EvmDatabase>(mut context: Context<'_, D>) -> InstructionExecResult {
    let value = match context.interpreter.stack.data().as_slice() {
        [.., value, _to, _gas] => Some(*value),
        _ => None,
    };
    pay(&mut context, value)?;
    contract::call::<KIND, _, _>(context)
}

fn create<const IS_CREATE2: bool, D: EvmDatabase>(mut context: Context<'_, D>) -> InstructionExecResult {
    let value = context.interpreter.stack.data().last().copied();
    pay(&mut context, value)?;
    contract::create::<IS_CREATE2, _, _>(context)
}

fn balance<D: EvmDatabase>(context: Context<'_, D>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    if let Some(word) = interpreter.stack.data().last() {
        look(host, Address::from_word((*word).into()), Look::Exactly)?;
    }
    host.journaled_state.database.observes(true);
    let result = host::balance(InstructionContext { interpreter, host: &mut *host });
    host.journaled_state.database.observes(false);
    result
}

fn self_balance<D: EvmDatabase>(context: Context<'_, D>) -> InstructionExecResult {
    look(context.host, context.interpreter.input.target_address(), Look::Exactly)?;
    host::selfbalance(context)
}

fn self_destruct<D: EvmDatabase>(mut context: Context<'_, D>) -> InstructionExecResult {
    let address = context.interpreter.input.target_address();
    look(context.host, address, Look::Exactly)?;
    // It pays all that it has.
    let account = context.host.journaled_state.inner.state.get(&address);
    let held = account.map(|account| account.info.balance);
    pay(&mut context, held)?;
    host::selfdestruct(context)
}
