//! Contracts that stand in every random block: each does one thing that its call data steers.

use alloy_primitives::{Address, Bytes};
use revm::{
    bytecode::opcode::*,
    primitives::hardfork::{SpecId, SpecId::*},
};

use crate::asm::Asm;

/// The slot that children never write: only a pre-state or an earlier life can have left something there.
pub(super) const UNWRITTEN: u64 = 3;

/// What factories deploy. With call data it destroys itself in favour of the address in it; without, it counts
/// calls in slot 0, adds what [`UNWRITTEN`] holds into slot 5, and returns the count.
pub(super) fn child() -> Bytes {
    let mut asm = Asm::new();
    asm.ops(&[CALLDATASIZE]).when(|asm| {
        asm.argument(0).ops(&[SELFDESTRUCT]);
    });
    asm.increment(0, 1);
    asm.load(UNWRITTEN).load(0).ops(&[ADD]).load(5).ops(&[ADD]).store(5);
    asm.load(0).return_word().build()
}

/// The child's init code: its constructor reads before it writes.
pub(super) fn child_init() -> Bytes {
    let mut asm = Asm::new();
    asm.load(0).num(10).ops(&[ADD]).store(0);
    asm.load(4).store(6);
    asm.ops(&[CALLVALUE]).store(2);
    asm.deploying(&child())
}

/// A call with `input` bytes of memory from 0 as call data. Takes the target from `target`, leaves the success.
pub(super) fn call(asm: &mut Asm, input: u64, value: &[u8], gas: u64, target: impl FnOnce(&mut Asm)) {
    asm.num(32).num(0).num(input).num(0).ops(value);
    target(asm);
    asm.num(gas).ops(&[CALL]);
}

/// Counts in slot 0, and in the slot that the call data names, if any.
pub(super) fn counter() -> Bytes {
    let mut asm = Asm::new();
    asm.increment(0, 1).ops(&[CALLDATASIZE]).when(|asm| {
        asm.argument(0).ops(&[SLOAD]).num(1).ops(&[ADD]).argument(0).ops(&[SSTORE]);
    });
    asm.load(0).return_word().build()
}

/// Creates a child, passing on the value; keeps its address in slot 0 and calls it if there is call data.
pub(super) fn factory() -> Bytes {
    let init = child_init();
    let mut asm = Asm::new();
    asm.memory(&init).num(init.len() as u64).num(0).ops(&[CALLVALUE, CREATE]).store(0);
    asm.increment(1, 1).ops(&[CALLDATASIZE]).when(|asm| {
        call(asm, 0, &[PUSH1, 0], 60_000, |asm| {
            asm.load(0);
        });
        asm.store(2).num(0).ops(&[MLOAD]).store(3);
    });
    asm.load(0).return_word().build()
}

/// Creates a child at the address of the salt in word 0. Word 1 says what then happens to it: bit 0 calls it,
/// bit 1 makes it destroy itself in favour of word 2.
pub(super) fn factory2() -> Bytes {
    let init = child_init();
    let mut asm = Asm::new();
    asm.memory(&init).argument(0).num(init.len() as u64).num(0).ops(&[CALLVALUE, CREATE2]).store(0);
    asm.increment(1, 1);
    asm.argument(1).num(1).ops(&[AND]).when(|asm| {
        call(asm, 0, &[PUSH1, 0], 60_000, |asm| {
            asm.load(0);
        });
        asm.store(2).num(0).ops(&[MLOAD]).store(3);
    });
    asm.argument(1).num(2).ops(&[AND]).when(|asm| {
        asm.argument(2).num(0).ops(&[MSTORE]);
        call(asm, 32, &[PUSH1, 0], 60_000, |asm| {
            asm.load(0);
        });
        asm.store(4).load(0).ops(&[EXTCODESIZE]).store(5);
    });
    asm.load(0).return_word().build()
}

/// Passes its value on to the address in word 0, and keeps whether that worked and the balance after.
pub(super) fn forwarder() -> Bytes {
    let mut asm = Asm::new();
    call(&mut asm, 0, &[CALLVALUE], 60_000, |asm| {
        asm.argument(0);
    });
    asm.store(0).argument(0).ops(&[BALANCE]).store(1).increment(2, 1).build()
}

/// Keeps what can be seen of the account in word 0, of the beneficiary and of itself.
pub(super) fn observer(spec: SpecId) -> Bytes {
    let mut asm = Asm::new();
    asm.argument(0).ops(&[BALANCE]).store(0);
    asm.argument(0).ops(&[EXTCODESIZE]).store(1);
    asm.ops(&[COINBASE, BALANCE]).store(2);
    if spec.is_enabled_in(PETERSBURG) {
        asm.argument(0).ops(&[EXTCODEHASH]).store(3);
    }
    if spec.is_enabled_in(ISTANBUL) {
        asm.ops(&[SELFBALANCE]).store(4);
    }
    asm.ops(&[GAS]).store(5).build()
}

/// Destroys itself in favour of word 0; without call data it only counts.
pub(super) fn suicide() -> Bytes {
    let mut asm = Asm::new();
    asm.ops(&[CALLDATASIZE]).when(|asm| {
        asm.argument(0).ops(&[SELFDESTRUCT]);
    });
    asm.increment(0, 1).load(1).load(2).ops(&[ADD]).store(3).build()
}

/// Calls itself as deep as word 0 says. Word 1 is what happens at the bottom: 0 nothing, 1 INVALID, else REVERT.
pub(super) fn recursor(address: Address) -> Bytes {
    let mut asm = Asm::new();
    asm.argument(0).when(|asm| {
        asm.num(1).argument(0).ops(&[SUB]).num(0).ops(&[MSTORE]);
        asm.argument(1).num(32).ops(&[MSTORE]);
        asm.num(0).num(0).num(64).num(0).num(0).address(address);
        // Enough stays for what comes after the call.
        asm.num(30_000).ops(&[GAS, SUB, CALL]).load(1).ops(&[ADD]).store(1);
    });
    asm.increment(0, 1).argument(0).ops(&[ISZERO]).when(|asm| {
        asm.argument(1).num(1).ops(&[EQ]).when(|asm| {
            asm.ops(&[INVALID]);
        });
        asm.argument(1).when(|asm| {
            asm.num(0).num(0).ops(&[REVERT]);
        });
    });
    asm.build()
}
