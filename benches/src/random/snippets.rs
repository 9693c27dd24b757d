//! The parts that random programs are made of.

use alloy_primitives::{Address, U256};
use rand::Rng;
use revm::{
    bytecode::opcode::*,
    primitives::hardfork::{SpecId, SpecId::*},
};

use super::{
    dice::Dice,
    fixed,
    world::{SMALL, World},
};
use crate::asm::Asm;

/// How many slots programs use: few, so that they meet.
const SLOTS: u64 = 6;

/// One thing that a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Count,
    Store,
    Clear,
    Add,
    Indirect,
    NonsenseAddress,
    Balance,
    BeneficiaryBalance,
    OwnBalance,
    CodeHash,
    CodeSize,
    CodeCopy,
    Environment,
    BlockHash,
    Gas,
    Log,
    Branch,
    Call,
    CallValue,
    CallCode,
    DelegateCall,
    StaticCall,
    CallStored,
    Create,
    Create2,
    Precompile,
    Transient,
    MemoryCopy,
    LeadingZeros,
    Push0,
    SelfDestruct,
    Revert,
    Invalid,
    Exhaust,
    Loop,
}

/// Each part with its weight and the fork that brought it.
const PARTS: [(Part, u32, SpecId); 35] = [
    (Part::Count, 12, FRONTIER),
    (Part::Store, 6, FRONTIER),
    (Part::Clear, 4, FRONTIER),
    (Part::Add, 6, FRONTIER),
    (Part::Indirect, 4, FRONTIER),
    (Part::NonsenseAddress, 3, FRONTIER),
    (Part::Balance, 6, FRONTIER),
    (Part::BeneficiaryBalance, 4, FRONTIER),
    (Part::OwnBalance, 4, FRONTIER),
    (Part::CodeHash, 4, PETERSBURG),
    (Part::CodeSize, 3, FRONTIER),
    (Part::CodeCopy, 2, FRONTIER),
    (Part::Environment, 3, FRONTIER),
    (Part::BlockHash, 3, FRONTIER),
    (Part::Gas, 3, FRONTIER),
    (Part::Log, 4, FRONTIER),
    (Part::Branch, 6, FRONTIER),
    (Part::Call, 8, FRONTIER),
    (Part::CallValue, 8, FRONTIER),
    (Part::CallCode, 2, FRONTIER),
    (Part::DelegateCall, 4, HOMESTEAD),
    (Part::StaticCall, 3, BYZANTIUM),
    (Part::CallStored, 4, FRONTIER),
    (Part::Create, 4, FRONTIER),
    (Part::Create2, 4, PETERSBURG),
    (Part::Precompile, 5, FRONTIER),
    (Part::Transient, 4, CANCUN),
    (Part::MemoryCopy, 1, CANCUN),
    (Part::LeadingZeros, 1, OSAKA),
    (Part::Push0, 1, SHANGHAI),
    (Part::SelfDestruct, 4, FRONTIER),
    (Part::Revert, 2, BYZANTIUM),
    (Part::Invalid, 1, FRONTIER),
    (Part::Exhaust, 1, FRONTIER),
    (Part::Loop, 1, FRONTIER),
];

impl Part {
    /// A part that the fork has, or now and then one that it does not know yet.
    pub(super) fn pick(rng: &mut Dice, spec: SpecId) -> Self {
        let early = rng.random_bool(0.01);
        let known = |since: SpecId| early || spec.is_enabled_in(since);
        let total = PARTS.iter().filter(|part| known(part.2)).map(|part| part.1).sum();
        let mut point = rng.random_range(0..total);
        for (part, weight, _) in PARTS.into_iter().filter(|part| known(part.2)) {
            match point.checked_sub(weight) {
                Some(rest) => point = rest,
                None => return part,
            }
        }
        Self::Count
    }
}

/// Appends the part. It leaves the stack as it was.
pub(super) fn emit(asm: &mut Asm, rng: &mut Dice, world: &World, part: Part) {
    let slot = rng.random_range(0..SLOTS);
    let other = rng.random_range(0..SLOTS);
    let any = world.any(rng);
    let gas = rng.random_range(5_000..80_000);
    match part {
        Part::Count => asm.increment(slot, 1),
        Part::Store => asm.num(rng.random_range(0..3)).store(slot),
        Part::Clear => asm.num(0).store(slot),
        Part::Add => asm.load(slot).load(other).ops(&[ADD, CALLDATASIZE, ADD]).store(slot),
        Part::Indirect => asm.load(slot).ops(&[SLOAD]).num(1).ops(&[ADD]).load(other).ops(&[SSTORE]),
        Part::NonsenseAddress => asm.load(slot).ops(&[DUP1, BALANCE, SWAP1, EXTCODESIZE, ADD]).store(other),
        Part::Balance => asm.address(any).ops(&[BALANCE]).store(slot),
        Part::BeneficiaryBalance => asm.ops(&[COINBASE, BALANCE]).store(slot),
        Part::OwnBalance if world.spec.is_enabled_in(ISTANBUL) => asm.ops(&[SELFBALANCE]).store(slot),
        Part::OwnBalance => asm.ops(&[ADDRESS, BALANCE]).store(slot),
        Part::CodeHash => asm.address(any).ops(&[EXTCODEHASH]).store(slot),
        Part::CodeSize => asm.address(any).ops(&[EXTCODESIZE]).store(slot),
        Part::CodeCopy => {
            asm.num(32).num(0).num(0).address(any).ops(&[EXTCODECOPY]).num(0).ops(&[MLOAD]).store(slot)
        }
        Part::Environment => {
            let choice = [CALLER, ORIGIN, GASPRICE, NUMBER, TIMESTAMP, DIFFICULTY, GASLIMIT, CALLVALUE];
            asm.ops(&[choice[rng.random_range(0..choice.len())]]).store(slot)
        }
        Part::BlockHash => {
            let back = rng.random_range(0..260);
            asm.num(back).ops(&[NUMBER, SUB, BLOCKHASH]).store(slot)
        }
        Part::Gas => asm.ops(&[GAS]).store(slot),
        Part::Log => {
            let topics = rng.random_range(0..4_u8);
            asm.load(slot).num(0).ops(&[MSTORE]);
            (0..topics).for_each(|topic| {
                asm.num(u64::from(topic) + 1);
            });
            asm.num(32).num(0).ops(&[LOG0 + topics])
        }
        Part::Branch => {
            let body = Part::pick(rng, world.spec);
            asm.load(slot).num(1).ops(&[AND]).when(|asm| emit(asm, rng, world, body))
        }
        Part::Call => {
            fixed::call(asm, 0, &[PUSH1, 0], gas, |asm| {
                asm.address(any);
            });
            asm.store(slot)
        }
        Part::CallValue => {
            asm.address(world.any(rng)).num(0).ops(&[MSTORE]);
            asm.num(0).num(0).num(if rng.random_bool(0.5) { 32 } else { 0 }).num(0);
            asm.num(rng.random_range(0..SMALL)).address(any).num(gas).ops(&[CALL]).store(slot)
        }
        Part::CallCode => {
            asm.num(0).num(0).num(0).num(0).num(rng.random_range(0..2));
            asm.address(world.contract(rng)).num(gas).ops(&[CALLCODE]).store(slot)
        }
        Part::DelegateCall => {
            let target = world.contract(rng);
            without_value(asm, rng, target, gas, DELEGATECALL).store(slot)
        }
        Part::StaticCall => without_value(asm, rng, any, gas, STATICCALL).store(slot),
        Part::CallStored => {
            fixed::call(asm, 0, &[PUSH1, 0], gas, |asm| {
                asm.load(slot);
            });
            asm.num(0).ops(&[MLOAD, ADD]).store(other)
        }
        Part::Create => create(asm, rng).ops(&[CREATE]).store(slot),
        Part::Create2 => {
            asm.num(rng.random_range(0..2));
            create(asm, rng).ops(&[CREATE2]).store(slot)
        }
        Part::Precompile => precompile(asm, rng).store(slot),
        Part::Transient => {
            asm.num(slot).ops(&[TLOAD]).num(1).ops(&[ADD, DUP1]).num(slot).ops(&[TSTORE]).store(slot)
        }
        Part::MemoryCopy => asm.load(slot).num(0).ops(&[MSTORE]).num(32).num(0).num(7).ops(&[MCOPY]),
        Part::LeadingZeros => asm.load(slot).ops(&[CLZ]).store(slot),
        Part::Push0 => asm.ops(&[PUSH0]).store(slot),
        Part::SelfDestruct => destruct(asm, rng, any),
        Part::Revert => asm.load(slot).num(0).ops(&[MSTORE]).num(32).num(0).ops(&[REVERT]),
        Part::Invalid => asm.ops(&[INVALID]),
        Part::Exhaust => asm.push(U256::from(1) << 40).ops(&[MLOAD, POP]),
        Part::Loop => {
            // Some end on their own, some when the gas does.
            let rounds = if rng.random_bool(0.5) { rng.random_range(2..9) } else { 1 << 20 };
            asm.repeat(rounds, |asm| {
                asm.increment(slot, 1);
            })
        }
    };
}

fn without_value<'a>(asm: &'a mut Asm, rng: &mut Dice, target: Address, gas: u64, call: u8) -> &'a mut Asm {
    let input = if rng.random_bool(0.3) { 32 } else { 0 };
    asm.num(32).num(0).num(input).num(0).address(target).num(gas).ops(&[call])
}

/// Value, offset and length for a creation of the child, or of something that fails.
fn create<'a>(asm: &'a mut Asm, rng: &mut Dice) -> &'a mut Asm {
    let init = match rng.random_range(0..8) {
        0 => vec![INVALID],
        // Deploys nothing.
        1 => vec![STOP],
        // Deploys code that a later fork forbids.
        2 => vec![PUSH1, 0xef, PUSH1, 0, MSTORE8, PUSH1, 1, PUSH1, 0, RETURN],
        // Destroys itself while it is being created.
        3 => vec![PUSH1, 5, PUSH1, 0, SSTORE, CALLER, SELFDESTRUCT],
        _ => fixed::child_init().to_vec(),
    };
    let value = if rng.random_bool(0.7) { 0 } else { rng.random_range(0..SMALL) };
    asm.memory(&init).num(init.len() as u64).num(0).num(value)
}

/// Calls a precompile with input that it accepts, mostly, and leaves its output.
fn precompile<'a>(asm: &'a mut Asm, rng: &mut Dice) -> &'a mut Asm {
    let (address, input) = match rng.random_range(0..6) {
        // A digest that anyone signed, recovered or not.
        0 => (1, [[0x11; 32], word(27), [0x22; 32], [0x33; 32]].concat()),
        1 => (2, vec![7; 40]),
        2 => (3, vec![8; 33]),
        3 => (4, vec![9; 50]),
        // 3 to the 5th modulo 100, one byte each.
        4 => (5, [word(1).to_vec(), word(1).to_vec(), word(1).to_vec(), vec![3, 5, 100]].concat()),
        // (1, 2) + (1, 2) on the curve.
        _ => (6, [word(1), word(2), word(1), word(2)].concat()),
    };
    asm.memory(&input).num(32).num(0).num(input.len() as u64).num(0).num(0).num(address);
    asm.num(20_000).ops(&[CALL]).num(0).ops(&[MLOAD, ADD])
}

fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

/// Destroys itself in favour of itself, the caller, the beneficiary or another, mostly only now and then.
fn destruct<'a>(asm: &'a mut Asm, rng: &mut Dice, any: Address) -> &'a mut Asm {
    let choice = rng.random_range(0..5);
    let body = move |asm: &mut Asm| {
        match choice {
            0 => asm.ops(&[ADDRESS]),
            1 => asm.ops(&[CALLER]),
            2 => asm.ops(&[COINBASE]),
            _ => asm.address(any),
        };
        asm.ops(&[SELFDESTRUCT]);
    };
    if rng.random_bool(0.5) {
        return asm.load(1).num(1).ops(&[AND]).when(body);
    }
    body(asm);
    asm
}
