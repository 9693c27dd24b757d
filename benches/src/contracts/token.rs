//! The token's calls and storage.

use alloy_primitives::{Address, Bytes, U256};
use counterpoint_state::MemorySource;
use revm::state::AccountInfo;

use super::{encode_call, mapping_slot, short_string, word};

/// Slot of the name.
pub const NAME: u64 = 0;
/// Slot of the symbol.
pub const SYMBOL: u64 = 1;
/// Slot that the owner and the decimals share.
pub const OWNER_AND_DECIMALS: u64 = 2;
/// Slot of the total supply.
pub const TOTAL_SUPPLY: u64 = 3;
/// Slot of the mapping of balances.
pub const BALANCES: u64 = 4;
/// Slot of the mapping of allowances.
pub const ALLOWANCES: u64 = 5;

/// Gas that suffices for each of the token's functions.
pub const GAS_LIMIT: u64 = 80_000;

/// `transfer(to, value)`.
pub fn transfer(to: Address, value: U256) -> Bytes {
    encode_call("transfer(address,uint256)", &[word(to), value])
}

/// `transferFrom(from, to, value)`.
pub fn transfer_from(from: Address, to: Address, value: U256) -> Bytes {
    encode_call("transferFrom(address,address,uint256)", &[word(from), word(to), value])
}

/// `approve(spender, value)`.
pub fn approve(spender: Address, value: U256) -> Bytes {
    encode_call("approve(address,uint256)", &[word(spender), value])
}

/// `mint(to, value)`.
pub fn mint(to: Address, value: U256) -> Bytes {
    encode_call("mint(address,uint256)", &[word(to), value])
}

/// `balanceOf(account)`.
pub fn balance_of(account: Address) -> Bytes {
    encode_call("balanceOf(address)", &[word(account)])
}

/// Slot of an account's balance.
pub fn balance_slot(account: Address) -> U256 {
    mapping_slot(U256::from(BALANCES), account)
}

/// Slot of what `spender` may spend of `owner`'s tokens.
pub fn allowance_slot(owner: Address, spender: Address) -> U256 {
    mapping_slot(mapping_slot(U256::from(ALLOWANCES), owner), spender)
}

/// A deployed token as it stands before the block.
#[derive(Clone, Debug, Default)]
pub struct Token {
    /// The name, at most 31 bytes.
    pub name: String,
    /// The symbol, at most 31 bytes.
    pub symbol: String,
    /// Who may mint.
    pub owner: Address,
    /// The holders and what they hold; the total supply is the sum.
    pub balances: Vec<(Address, U256)>,
    /// Owner, spender, and how much.
    pub allowances: Vec<(Address, Address, U256)>,
}

impl Token {
    /// Puts the token at `address`.
    pub fn insert(&self, source: &mut MemorySource, address: Address) {
        let supply = self.balances.iter().fold(U256::ZERO, |sum, (_, balance)| sum.wrapping_add(*balance));
        let plain = [
            (NAME, short_string(&self.name)),
            (SYMBOL, short_string(&self.symbol)),
            (OWNER_AND_DECIMALS, word(self.owner) << 8 | U256::from(18)),
            (TOTAL_SUPPLY, supply),
        ];
        let storage = plain.map(|(slot, value)| (U256::from(slot), value)).into_iter();
        let balances = self.balances.iter().map(|(account, balance)| (balance_slot(*account), *balance));
        let allowances =
            self.allowances.iter().map(|(owner, spender, value)| (allowance_slot(*owner, *spender), *value));
        let info = AccountInfo::from_bytecode(super::token().runtime.clone()).with_nonce(1);
        source.insert_account(address, info, storage.chain(balances).chain(allowances));
    }
}
