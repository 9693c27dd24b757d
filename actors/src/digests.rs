//! Keccak-256 of what contracts hash again and again: the slots of mappings, 64 bytes each.
//!
//! About half of what a block hashes was hashed in it before: a token's balances are looked up, checked and written, and
//! looked up again by the next one. What is remembered is compared in full, and forgotten with the block.

use std::fmt;

use revm::{
    bytecode::opcode,
    context_interface::Host,
    interpreter::{
        Instruction, InstructionContext, InstructionExecResult, InstructionResult, instructions::system,
        interpreter::EthInterpreter, interpreter_types::MemoryTr,
    },
    primitives::U256,
};

use crate::evm::{ActorContext, EvmDatabase, Instructions};

/// How long an input is that is remembered: a key and a mapping's slot.
const LENGTH: usize = 64;

/// So many are remembered, as a power of two: more than most blocks have.
const ENTRIES: u32 = 12;

type Words = [u64; LENGTH / size_of::<u64>()];

#[derive(Clone, Default)]
#[repr(align(32))]
struct Entry {
    input: Words,
    digest: U256,
}

/// Digests of a block, as one worker has met them.
pub(crate) struct Digests {
    /// Nothing until the first one.
    entries: Box<[Entry]>,
    /// Of each entry: in which generation it was entered, and a part of its hash. They fit into the nearest cache, so that
    /// who finds nothing has not waited for an entry.
    marks: Box<[u64]>,
    generation: u32,
}

impl Digests {
    /// Forgets all.
    pub(crate) fn forget(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.marks.fill(0);
            self.generation = 1;
        }
    }

    /// The digest, if it is remembered.
    fn get(&self, input: &Words) -> Option<U256> {
        let (place, mark) = self.place(input);
        if *self.marks.get(place)? != mark {
            return None;
        }
        let entry = &self.entries[place];
        (entry.input == *input).then_some(entry.digest)
    }

    fn remember(&mut self, input: &Words, digest: U256) {
        if self.entries.is_empty() {
            self.entries = vec![Entry::default(); 1 << ENTRIES].into();
            self.marks = vec![0; 1 << ENTRIES].into();
        }
        let (place, mark) = self.place(input);
        self.marks[place] = mark;
        self.entries[place] = Entry { input: *input, digest };
    }

    /// Where an input is remembered, and its mark. Whoever chooses inputs to share a place gets what revm does.
    fn place(&self, input: &Words) -> (usize, u64) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = input.iter().fold(0_u64, |sum, word| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR));
        let mark = u64::from(self.generation) << u32::BITS | mixed & u64::from(u32::MAX);
        ((mixed >> (u64::BITS - ENTRIES)) as usize, mark)
    }
}

fn words(input: &[u8]) -> Option<Words> {
    let input: &[u8; LENGTH] = input.try_into().ok()?;
    let mut words = Words::default();
    for (word, bytes) in words.iter_mut().zip(input.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    Some(words)
}

impl Default for Digests {
    fn default() -> Self {
        Self { entries: Box::default(), marks: Box::default(), generation: 1 }
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Has KECCAK256 look at what is remembered.
pub(crate) fn remembering<D: EvmDatabase>(mut instructions: Instructions<D>) -> Instructions<D> {
    let gas = instructions.gas_table()[opcode::KECCAK256 as usize];
    instructions.insert_instruction(opcode::KECCAK256, Instruction::new(keccak256), gas);
    instructions
}

/// KECCAK256 (yellow paper, appendix H): revm's own, but for an input that is remembered.
fn keccak256<D: EvmDatabase>(
    context: InstructionContext<'_, ActorContext<D>, EthInterpreter>,
) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    let Some(input) = (match interpreter.stack.data().as_slice() {
        [.., length, offset] if *length == U256::from(LENGTH) => {
            // Beyond the memory's end it has to grow, and to be paid for.
            let offset = usize::try_from(*offset).ok();
            let offset = offset.filter(|offset| {
                offset.checked_add(LENGTH).is_some_and(|end| end <= interpreter.memory.size())
            });
            offset.and_then(|offset| words(&interpreter.memory.slice_len(offset, LENGTH)))
        }
        _ => None,
    }) else {
        return system::keccak256(InstructionContext { interpreter, host });
    };
    if let Some(digest) = host.journaled_state.database.digests(|digests| digests.get(&input)) {
        if !interpreter.gas.record_regular_cost(host.gas_params().keccak256_cost(LENGTH)) {
            return Err(InstructionResult::OutOfGas);
        }
        // Both were there.
        interpreter.stack.pop()?;
        return interpreter.stack.set(0, digest);
    }
    system::keccak256(InstructionContext { interpreter: &mut *interpreter, host: &mut *host })?;
    if let Some(digest) = interpreter.stack.data().last() {
        host.journaled_state.database.digests(|digests| digests.remember(&input, *digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_found_until_it_is_forgotten() {
        let input = |byte: u8| words(&[byte; LENGTH]).expect("it is as long");
        let mut digests = Digests::default();
        assert_eq!(digests.get(&input(0)), None, "also of zeroes");
        for byte in 0..10 {
            digests.remember(&input(byte), U256::from(byte));
            assert_eq!(digests.get(&input(byte)), Some(U256::from(byte)));
        }
        let mut close = input(9);
        close[7] ^= 1;
        assert_eq!(digests.get(&close), None);
        // One in the same place takes it.
        let known = (0..10).filter(|byte| digests.get(&input(*byte)).is_some()).count();
        assert!(known > 5, "{known}");
        digests.forget();
        assert!((0..10).all(|byte| digests.get(&input(byte)).is_none()));
    }

    #[test]
    fn every_byte_counts_for_the_place() {
        let places: std::collections::BTreeSet<_> = (0..LENGTH)
            .map(|at| {
                let mut input = [0; LENGTH];
                input[at] = 1;
                Digests::default().place(&words(&input).expect("it is as long")).0
            })
            .collect();
        assert!(places.len() > LENGTH / 2, "{}", places.len());
    }
}
