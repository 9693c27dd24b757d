//! Code that came with accounts, for who asks for it by hash.

use std::collections::VecDeque;

use revm::{
    bytecode::Bytecode,
    primitives::{B256, B256Map},
};

/// So many bytes of code are kept, at most.
const MOST: usize = 64 << 20;

/// The code of the last accounts.
#[derive(Default)]
pub(super) struct Codes {
    codes: B256Map<Bytecode>,
    /// In the order in which they came.
    order: VecDeque<B256>,
    bytes: usize,
}

impl Codes {
    pub(super) fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.codes.get(hash).cloned()
    }

    pub(super) fn add(&mut self, hash: B256, code: Bytecode) {
        let bytes = code.len();
        if self.codes.insert(hash, code).is_some() {
            return;
        }
        self.order.push_back(hash);
        self.bytes += bytes;
        while self.bytes > MOST
            && let Some(first) = self.order.pop_front()
        {
            self.bytes -= self.codes.remove(&first).map_or(0, |code| code.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::Bytes;

    use super::*;

    #[test]
    fn the_first_ones_make_room() {
        const SIZE: usize = 1 << 20;
        let mut codes = Codes::default();
        let hash = |number: usize| B256::from(revm::primitives::U256::from(number));
        for number in 0..100 {
            for _ in 0..2 {
                codes.add(hash(number), Bytecode::new_legacy(Bytes::from(vec![0; SIZE])));
            }
            assert!(codes.bytes <= MOST && codes.get(&hash(number)).is_some());
        }
        assert_eq!(codes.codes.len(), codes.order.len());
        assert!(codes.get(&hash(0)).is_none() && codes.codes.len() >= MOST / SIZE - 1);
    }
}
