//! State roots: the accounts of a whole state, sorted as in the trie.

use std::collections::BTreeMap;

use alloy_trie::{
    EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount,
    root::{state_root, storage_root},
};
use counterpoint_state::MemorySource;
use revm::{
    database::{BundleAccount, BundleState},
    primitives::{Address, B256, KECCAK_EMPTY, U256, keccak256},
    state::AccountInfo,
};

/// All accounts of a state, by the hashes of their addresses and slots.
///
/// Roots are computed from all accounts each time; only storage that did not change is not hashed again. That is
/// for tests and small states: a host with a database has a trie of its own.
#[derive(Clone, Debug, Default)]
pub struct StateTrie {
    accounts: BTreeMap<B256, Leaf>,
}

#[derive(Clone, Debug)]
struct Leaf {
    account: TrieAccount,
    storage: BTreeMap<B256, U256>,
}

impl Leaf {
    fn new() -> Self {
        let account = TrieAccount { storage_root: EMPTY_ROOT_HASH, ..TrieAccount::default() };
        Self { account, storage: BTreeMap::new() }
    }

    fn set_info(&mut self, info: &AccountInfo) {
        self.account.nonce = info.nonce;
        self.account.balance = info.balance;
        self.account.code_hash = if info.code_hash.is_zero() { KECCAK_EMPTY } else { info.code_hash };
    }

    fn set_slot(&mut self, slot: U256, value: U256) {
        let key = keccak256(slot.to_be_bytes::<32>());
        if value.is_zero() {
            self.storage.remove(&key);
        } else {
            self.storage.insert(key, value);
        }
    }

    fn hash_storage(&mut self) {
        self.account.storage_root = storage_root(self.storage.iter().map(|(key, value)| (*key, *value)));
    }

    /// The account after a change of it.
    fn changed(before: Option<&Self>, change: &BundleAccount, info: &AccountInfo) -> Self {
        let kept = before.filter(|_| !change.was_destroyed());
        let mut leaf = kept.cloned().unwrap_or_else(Self::new);
        leaf.set_info(info);
        for (slot, value) in &change.storage {
            leaf.set_slot(*slot, value.present_value);
        }
        if !change.storage.is_empty() {
            leaf.hash_storage();
        }
        leaf
    }
}

impl StateTrie {
    /// The trie of a whole state.
    pub fn new(state: &MemorySource) -> Self {
        let leaves = state.accounts().map(|(address, info, storage)| {
            let mut leaf = Leaf::new();
            leaf.set_info(info);
            for (slot, value) in storage {
                leaf.set_slot(*slot, *value);
            }
            leaf.hash_storage();
            (keccak256(address), leaf)
        });
        Self { accounts: leaves.collect() }
    }

    /// The state's root.
    pub fn root(&self) -> B256 {
        state_root(self.accounts.iter().map(|(key, leaf)| (*key, leaf.account)))
    }

    /// The root after a block's changes.
    pub fn root_after(&self, bundle: &BundleState) -> B256 {
        let changes: BTreeMap<B256, Option<Leaf>> = self.changes(bundle).collect();
        let mut builder = HashBuilder::default();
        let mut add = |key: &B256, account: &TrieAccount| {
            builder.add_leaf(Nibbles::unpack(key), &alloy_rlp::encode(account));
        };
        let mut changes = changes.iter().peekable();
        for (key, leaf) in &self.accounts {
            while let Some((new, change)) = changes.next_if(|(changed, _)| *changed < key) {
                if let Some(leaf) = change {
                    add(new, &leaf.account);
                }
            }
            match changes.next_if(|(changed, _)| *changed == key) {
                Some((_, Some(changed))) => add(key, &changed.account),
                Some((_, None)) => {}
                None => add(key, &leaf.account),
            }
        }
        for (new, change) in changes {
            if let Some(leaf) = change {
                add(new, &leaf.account);
            }
        }
        builder.root()
    }

    /// Takes over a block's changes.
    pub fn apply(&mut self, bundle: &BundleState) {
        let changes: Vec<_> = self.changes(bundle).collect();
        for (key, change) in changes {
            match change {
                Some(leaf) => self.accounts.insert(key, leaf),
                None => self.accounts.remove(&key),
            };
        }
    }

    /// The root of an account's storage.
    pub fn storage_root(&self, address: Address) -> B256 {
        self.accounts.get(&keccak256(address)).map_or(EMPTY_ROOT_HASH, |leaf| leaf.account.storage_root)
    }

    fn changes(&self, bundle: &BundleState) -> impl Iterator<Item = (B256, Option<Leaf>)> {
        bundle.state.iter().map(|(address, change)| {
            let key = keccak256(address);
            let leaf = change.info.as_ref().map(|info| Leaf::changed(self.accounts.get(&key), change, info));
            (key, leaf)
        })
    }
}
