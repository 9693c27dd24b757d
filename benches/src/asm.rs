//! A tiny assembler for the contracts that no compiler would write.

use alloy_primitives::{Address, Bytes, U256};
use revm::bytecode::opcode;

/// Code in the making. Nothing in it needs a fork later than Frontier unless an opcode put in does.
#[derive(Clone, Debug, Default)]
pub struct Asm {
    code: Vec<u8>,
}

impl Asm {
    /// No code.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends opcodes.
    pub fn ops(&mut self, ops: &[u8]) -> &mut Self {
        self.code.extend_from_slice(ops);
        self
    }

    /// Pushes a number with the shortest PUSH that holds it.
    pub fn push(&mut self, value: U256) -> &mut Self {
        let length = value.byte_len().max(1);
        self.code.push(opcode::PUSH0 + length as u8);
        self.code.extend_from_slice(&value.to_be_bytes::<32>()[32 - length..]);
        self
    }

    /// Pushes a small number.
    pub fn num(&mut self, value: u64) -> &mut Self {
        self.push(U256::from(value))
    }

    /// Pushes an address.
    pub fn address(&mut self, address: Address) -> &mut Self {
        self.push(U256::from_be_slice(address.as_slice()))
    }

    /// Pushes the call data's word with this number.
    pub fn argument(&mut self, index: u64) -> &mut Self {
        self.num(32 * index).ops(&[opcode::CALLDATALOAD])
    }

    /// Stores the top of the stack in a slot.
    pub fn store(&mut self, slot: u64) -> &mut Self {
        self.num(slot).ops(&[opcode::SSTORE])
    }

    /// Pushes what a slot holds.
    pub fn load(&mut self, slot: u64) -> &mut Self {
        self.num(slot).ops(&[opcode::SLOAD])
    }

    /// Adds to a slot.
    pub fn increment(&mut self, slot: u64, by: u64) -> &mut Self {
        self.load(slot).num(by).ops(&[opcode::ADD]).store(slot)
    }

    /// Writes bytes to memory from offset 0.
    pub fn memory(&mut self, bytes: &[u8]) -> &mut Self {
        for (index, chunk) in bytes.chunks(32).enumerate() {
            let mut word = [0; 32];
            word[..chunk.len()].copy_from_slice(chunk);
            self.push(U256::from_be_bytes(word)).num(32 * index as u64).ops(&[opcode::MSTORE]);
        }
        self
    }

    /// Pops the top of the stack and runs `body` unless it was zero. The body leaves the stack as it was.
    pub fn when(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.ops(&[opcode::ISZERO, opcode::PUSH2, 0, 0, opcode::JUMPI]);
        let hole = self.code.len() - 3;
        body(self);
        let target = self.code.len() as u16;
        self.code[hole..hole + 2].copy_from_slice(&target.to_be_bytes());
        self.ops(&[opcode::JUMPDEST])
    }

    /// Runs `body` so many times, at least once. The body leaves the stack as it was.
    pub fn repeat(&mut self, rounds: u64, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.num(rounds).ops(&[opcode::JUMPDEST]);
        let [high, low] = (self.code.len() as u16 - 1).to_be_bytes();
        body(self);
        self.num(1).ops(&[opcode::SWAP1, opcode::SUB, opcode::DUP1]);
        self.ops(&[opcode::PUSH2, high, low, opcode::JUMPI, opcode::POP])
    }

    /// Ends with the top of the stack as the output.
    pub fn return_word(&mut self) -> &mut Self {
        self.num(0).ops(&[opcode::MSTORE]).num(32).num(0).ops(&[opcode::RETURN])
    }

    /// The code.
    pub fn build(&self) -> Bytes {
        Bytes::copy_from_slice(&self.code)
    }

    /// Init code that runs what was assembled and then deploys `runtime`.
    pub fn deploying(&self, runtime: &[u8]) -> Bytes {
        let mut init = self.clone();
        let length = runtime.len() as u64;
        // PUSH2 PUSH2 PUSH1 CODECOPY PUSH2 PUSH1 RETURN
        let start = (init.code.len() + 15) as u64;
        let word = |value: u64| (value as u16).to_be_bytes();
        let ([l0, l1], [s0, s1]) = (word(length), word(start));
        use opcode::{CODECOPY, PUSH1, PUSH2, RETURN};
        init.ops(&[PUSH2, l0, l1, PUSH2, s0, s1, PUSH1, 0, CODECOPY, PUSH2, l0, l1, PUSH1, 0, RETURN]);
        init.ops(runtime);
        init.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Workload, fork, sequential};
    use alloy_primitives::TxKind;
    use counterpoint_state::MemorySource;
    use revm::{
        context::TxEnv,
        primitives::hardfork::SpecId,
        state::{AccountInfo, Bytecode},
    };

    /// The output of a transaction that creates a contract, then of one that calls it, at the first fork.
    fn deploy_and_call(init: Bytes) -> Bytes {
        let sender = Address::repeat_byte(9);
        let mut source = MemorySource::new();
        source.insert_account(sender, AccountInfo::from_balance(U256::from(1)), []);
        let create = TxEnv { caller: sender, kind: TxKind::Create, data: init, ..TxEnv::default() };
        let call =
            TxEnv { kind: TxKind::Call(sender.create(0)), data: Bytes::new(), nonce: 1, ..create.clone() };
        let workload = Workload {
            env: fork::block_env(SpecId::FRONTIER, Address::ZERO, 100_000_000, 0),
            cfg: fork::cfg_env(SpecId::FRONTIER),
            transactions: vec![create, call],
            source,
        };
        let results = sequential::execute(&workload).results;
        results[1].as_ref().unwrap().output().cloned().unwrap_or_default()
    }

    #[test]
    fn constructor_branches_and_output_work() {
        let mut runtime = Asm::new();
        runtime.load(7).when(|asm| {
            asm.increment(7, 2);
        });
        runtime.num(0).when(|asm| {
            asm.increment(7, 100);
        });
        runtime.repeat(3, |asm| {
            asm.increment(8, 5);
        });
        runtime.load(7).load(8).ops(&[opcode::ADD]).return_word();
        let mut constructor = Asm::new();
        constructor.num(40).store(7);
        let output = deploy_and_call(constructor.deploying(&runtime.build()));
        assert_eq!(U256::from_be_slice(&output), U256::from(42 + 15));
    }

    #[test]
    fn memory_is_laid_out_from_zero() {
        let mut asm = Asm::new();
        asm.memory(&[1; 40]).num(32).ops(&[opcode::MLOAD]).return_word();
        let output = deploy_and_call(Asm::new().deploying(&asm.build()));
        assert_eq!(output[..9], [1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert!(Bytecode::new_legacy(asm.build()).len() > 64);
    }
}
