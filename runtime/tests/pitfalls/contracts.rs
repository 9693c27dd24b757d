//! Contracts that do what pitfalls are made of, small enough to be written in assembly.

use counterpoint_benches::asm::Asm;
use revm::{
    bytecode::opcode,
    primitives::{Address, B256, Bytes, U256, keccak256},
};

use crate::common::word;

/// What to ask a [`store`] for.
pub(crate) const READ: u64 = 0;
pub(crate) const WRITE: u64 = 1;
pub(crate) const DESTROY: u64 = 2;
pub(crate) const ADD: u64 = 3;
pub(crate) const FAIL: u64 = 4;

/// Runs `body` if the first argument is `function`.
fn on(asm: &mut Asm, function: u64, body: impl FnOnce(&mut Asm)) {
    asm.argument(0).num(function).ops(&[opcode::EQ]).when(body);
}

/// Storage that anybody may read (slot), write (slot, value), add one to (slot), destroy (heir), or write and
/// then revert (slot, value). Without call data it takes money.
pub(crate) fn store() -> Bytes {
    let mut asm = Asm::new();
    asm.ops(&[opcode::CALLDATASIZE, opcode::ISZERO]).when(|asm| {
        asm.ops(&[opcode::STOP]);
    });
    on(&mut asm, READ, |asm| {
        asm.argument(1).ops(&[opcode::SLOAD]).return_word();
    });
    on(&mut asm, WRITE, |asm| {
        asm.argument(2).argument(1).ops(&[opcode::SSTORE, opcode::STOP]);
    });
    on(&mut asm, DESTROY, |asm| {
        asm.argument(1).ops(&[opcode::SELFDESTRUCT]);
    });
    on(&mut asm, ADD, |asm| {
        asm.argument(1).ops(&[opcode::SLOAD]).num(1).ops(&[opcode::ADD]).argument(1);
        asm.ops(&[opcode::SSTORE]).argument(1).ops(&[opcode::SLOAD]).return_word();
    });
    on(&mut asm, FAIL, |asm| {
        asm.argument(2).argument(1).ops(&[opcode::SSTORE]).num(0).num(0).ops(&[opcode::REVERT]);
    });
    asm.ops(&[opcode::STOP]).build()
}

/// The slot that a [`store`]'s constructor sets, and to what.
pub(crate) const BORN_SLOT: u64 = 5;
pub(crate) const BORN_VALUE: u64 = 55;

/// Init code of a [`store`].
pub(crate) fn store_init() -> Bytes {
    Asm::new().num(BORN_VALUE).store(BORN_SLOT).deploying(&store())
}

/// Creates a [`store`] by CREATE2 with the first argument as salt and the call's value; returns its address.
pub(crate) fn factory() -> Bytes {
    let init = store_init();
    let mut asm = Asm::new();
    asm.memory(&init).argument(0).num(init.len() as u64).num(0);
    asm.ops(&[opcode::CALLVALUE, opcode::CREATE2]).return_word().build()
}

/// Where a factory's store with this salt goes.
pub(crate) fn factory_address(factory: Address, salt: u64) -> Address {
    factory.create2(B256::from(U256::from(salt)), keccak256(store_init()))
}

/// One call of a [`script`].
pub(crate) struct Step {
    pub(crate) to: Address,
    pub(crate) value: u64,
    pub(crate) data: Vec<U256>,
}

/// A step of a script.
pub(crate) fn step(to: Address, value: u64, data: &[U256]) -> Step {
    Step { to, value, data: data.to_vec() }
}

/// Makes the calls one after the other, whatever their outcome, and returns the last one's output word.
pub(crate) fn script(steps: &[Step]) -> Bytes {
    let mut asm = Asm::new();
    for step in steps {
        for (index, argument) in step.data.iter().enumerate() {
            asm.push(*argument).num(32 * index as u64).ops(&[opcode::MSTORE]);
        }
        asm.num(32).num(0x400).num(32 * step.data.len() as u64).num(0).num(step.value).address(step.to);
        asm.num(150_000).ops(&[opcode::CALL, opcode::POP]);
    }
    asm.num(0x400).ops(&[opcode::MLOAD]).return_word().build()
}

/// Calls the first argument with the second as value and the rest as data; returns the output's first word.
pub(crate) fn forwarder() -> Bytes {
    use opcode::{CALL, CALLDATACOPY, CALLDATASIZE, MLOAD, POP, SUB};
    let mut asm = Asm::new();
    asm.num(64).ops(&[CALLDATASIZE, SUB]).num(64).num(0).ops(&[CALLDATACOPY]);
    asm.num(32).num(0x400).num(64).ops(&[CALLDATASIZE, SUB]).num(0).argument(1).argument(0);
    asm.num(150_000).ops(&[CALL, POP]).num(0x400).ops(&[MLOAD]).return_word().build()
}

/// Returns balance, code size and code hash of the first argument. Constantinople or later.
pub(crate) fn probe() -> Bytes {
    use opcode::{BALANCE, EXTCODEHASH, EXTCODESIZE, MSTORE, RETURN};
    let mut asm = Asm::new();
    for (index, op) in [BALANCE, EXTCODESIZE, EXTCODEHASH].into_iter().enumerate() {
        asm.argument(0).ops(&[op]).num(32 * index as u64).ops(&[MSTORE]);
    }
    asm.num(96).num(0).ops(&[RETURN]).build()
}

/// Returns the balance of the first argument.
pub(crate) fn balance_of() -> Bytes {
    Asm::new().argument(0).ops(&[opcode::BALANCE]).return_word().build()
}

/// Adds one to slot 0 and returns what it was.
pub(crate) fn counter() -> Bytes {
    Asm::new().load(0).load(0).num(1).ops(&[opcode::ADD]).store(0).return_word().build()
}

/// Call data that asks a [`store`].
pub(crate) fn ask(function: u64, first: u64) -> [U256; 2] {
    [word(function), word(first)]
}

/// Call data that writes to a [`store`].
pub(crate) fn write(slot: u64, value: u64) -> [U256; 3] {
    [word(WRITE), word(slot), word(value)]
}

/// Call data that destroys a [`store`].
pub(crate) fn destroy(heir: Address) -> [U256; 2] {
    [word(DESTROY), word(heir)]
}
