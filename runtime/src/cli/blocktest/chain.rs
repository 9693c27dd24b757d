//! The blocks that were imported, and the states after the latest of them.

use std::{collections::VecDeque, sync::Arc};

use alloy_consensus::Header;
use counterpoint_state::{MemorySource, StateSource};
use revm::{
    database::BundleState,
    primitives::{B256, B256Map, U256},
};

use crate::{
    cli::network::Network,
    ethereum::{Ancestor, BlockError, Engine, HeaderError, StateTrie, decode_block, import},
};

/// How far back blocks look: at headers of the ommers' family, and no further.
const FAMILY: usize = 8;

/// How many states are kept beside the first: chains may have thousands of blocks. Others are made again.
const KEPT: usize = 16;

/// A tree of blocks.
pub(super) struct Chain {
    network: Network,
    blocks: B256Map<Imported>,
    /// Blocks with a state, the latest last; without the first block, which always has one.
    with_state: VecDeque<B256>,
}

/// A block of the tree.
struct Imported {
    block: Ancestor,
    total_difficulty: U256,
    changes: BundleState,
    after: Option<After>,
}

/// What is there after a block.
#[derive(Clone)]
pub(super) struct After {
    /// Knows the hashes of the block and those before it.
    pub(super) state: Arc<MemorySource>,
    pub(super) trie: StateTrie,
}

impl After {
    /// What is there after one more block.
    fn apply(&mut self, block: &Ancestor, changes: &BundleState) {
        let state = Arc::make_mut(&mut self.state);
        state.apply(changes);
        state.insert_block_hash(block.header.number, block.hash);
        self.trie.apply(changes);
    }
}

impl Chain {
    /// A tree that consists of its first block.
    pub(super) fn new(network: Network, genesis: &[u8], mut state: MemorySource) -> Result<Self, String> {
        let genesis = decode_block(genesis).map_err(|error| format!("genesis block: {error}"))?;
        let trie = StateTrie::new(&state);
        let root = trie.root();
        if root != genesis.header.state_root {
            let expected = genesis.header.state_root;
            return Err(format!("genesis block: state root {root} is not {expected}"));
        }
        let hash = genesis.header.hash_slow();
        state.insert_block_hash(genesis.header.number, hash);
        let imported = Imported {
            total_difficulty: genesis.header.difficulty,
            block: Ancestor { hash, header: genesis.header, ommers: Vec::new() },
            changes: BundleState::default(),
            after: Some(After { state: Arc::new(state), trie }),
        };
        let blocks = std::iter::once((hash, imported)).collect();
        Ok(Self { network, blocks, with_state: VecDeque::new() })
    }

    /// What is there after a block, if that was imported.
    pub(super) fn after(&self, hash: &B256) -> Option<After> {
        let mut block = self.blocks.get(hash)?;
        let mut later = Vec::new();
        let mut after = loop {
            match &block.after {
                Some(after) => break after.clone(),
                None => {
                    later.push(block);
                    block = self.blocks.get(&block.block.header.parent_hash)?;
                }
            }
        };
        for block in later.into_iter().rev() {
            after.apply(&block.block, &block.changes);
        }
        Some(after)
    }

    /// Validates and executes a block on the state after its parent. Returns its hash.
    pub(super) fn import(&mut self, engine: &impl Engine, bytes: &[u8]) -> Result<B256, BlockError> {
        let block = decode_block(bytes)?;
        let header = &block.header;
        let parent = self.blocks.get(&header.parent_hash).zip(self.after(&header.parent_hash));
        let Some((parent, mut after)) = parent else {
            return Err(HeaderError::Parent { expected: B256::ZERO, got: header.parent_hash }.into());
        };
        let rules = self.network.rules(header.number, header.timestamp, parent.total_difficulty);
        let ancestors = self.ancestors(header.parent_hash);
        let source = Arc::clone(&after.state) as Arc<dyn StateSource>;
        // No ommer is of a chain that changes its fork by difficulty: there are none after that.
        let ommer_rules = |ommer: &Header| self.network.rules(ommer.number, ommer.timestamp, U256::ZERO);
        let size = bytes.len();
        let imported = import(engine, &rules, &block, size, &ancestors, &ommer_rules, source, &after.trie)?;

        let hash = header.hash_slow();
        let total_difficulty = parent.total_difficulty.saturating_add(header.difficulty);
        let ommers = block.body.ommers.iter().map(Header::hash_slow).collect();
        let block = Ancestor { hash, header: block.header, ommers };
        let changes = imported.executed.bundle;
        after.apply(&block, &changes);
        self.blocks.insert(hash, Imported { block, total_difficulty, changes, after: Some(after) });
        self.with_state.push_back(hash);
        if self.with_state.len() > KEPT
            && let Some(oldest) = self.with_state.pop_front()
            && let Some(block) = self.blocks.get_mut(&oldest)
        {
            block.after = None;
        }
        Ok(hash)
    }

    /// The block with this hash and those before it.
    fn ancestors(&self, hash: B256) -> Vec<Ancestor> {
        let parent = |block: &&Imported| self.blocks.get(&block.block.header.parent_hash);
        std::iter::successors(self.blocks.get(&hash), parent)
            .take(FAMILY)
            .map(|imported| imported.block.clone())
            .collect()
    }
}
