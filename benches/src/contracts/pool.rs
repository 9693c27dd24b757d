//! The pool's calls and storage.

use alloy_primitives::{Address, Bytes, U256};
use counterpoint_state::MemorySource;
use revm::state::AccountInfo;

use super::{encode_call, mapping_slot, word};

/// Slot of the first token's address.
pub const TOKEN0: u64 = 0;
/// Slot of the second token's address.
pub const TOKEN1: u64 = 1;
/// Slot that both reserves and the time of their last change share.
pub const RESERVES: u64 = 2;
/// Slot of the first price integrated over time.
pub const PRICE0_CUMULATIVE: u64 = 3;
/// Slot of the second price integrated over time.
pub const PRICE1_CUMULATIVE: u64 = 4;
/// Slot of the number of shares.
pub const TOTAL_SHARES: u64 = 5;
/// Slot of the mapping of shares.
pub const SHARES: u64 = 6;
/// Slot of the lock against reentrancy.
pub const ENTERED: u64 = 7;

/// Gas that suffices for a swap, a deposit or a withdrawal.
pub const GAS_LIMIT: u64 = 300_000;

/// `swap(tokenIn, amountIn, minimumOut, to)`.
pub fn swap(token_in: Address, amount_in: U256, minimum_out: U256, to: Address) -> Bytes {
    let arguments = [word(token_in), amount_in, minimum_out, word(to)];
    encode_call("swap(address,uint256,uint256,address)", &arguments)
}

/// `deposit(most0, most1, to)`.
pub fn deposit(most0: U256, most1: U256, to: Address) -> Bytes {
    encode_call("deposit(uint256,uint256,address)", &[most0, most1, word(to)])
}

/// `withdraw(shares, to)`.
pub fn withdraw(shares: U256, to: Address) -> Bytes {
    encode_call("withdraw(uint256,address)", &[shares, word(to)])
}

/// Slot of an account's shares.
pub fn shares_slot(account: Address) -> U256 {
    mapping_slot(U256::from(SHARES), account)
}

/// A deployed pool as it stands before the block. That it holds its reserves is for the tokens' balances to say.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The two tokens.
    pub tokens: [Address; 2],
    /// The reserves, each below 2^112.
    pub reserves: [u128; 2],
    /// When the reserves last changed.
    pub updated: u32,
    /// The holders of shares and what they hold.
    pub shares: Vec<(Address, U256)>,
}

impl Pool {
    /// Puts the pool at `address`.
    pub fn insert(&self, source: &mut MemorySource, address: Address) {
        let [reserve0, reserve1] = self.reserves.map(U256::from);
        let reserves = U256::from(self.updated) << 224 | reserve1 << 112 | reserve0;
        let total = self.shares.iter().fold(U256::ZERO, |sum, (_, shares)| sum.wrapping_add(*shares));
        let plain = [
            (TOKEN0, word(self.tokens[0])),
            (TOKEN1, word(self.tokens[1])),
            (RESERVES, reserves),
            (TOTAL_SHARES, total),
            (ENTERED, U256::ONE),
        ];
        let storage = plain.map(|(slot, value)| (U256::from(slot), value)).into_iter();
        let shares = self.shares.iter().map(|(account, shares)| (shares_slot(*account), *shares));
        let info = AccountInfo::from_bytecode(super::pool().runtime.clone()).with_nonce(1);
        source.insert_account(address, info, storage.chain(shares));
    }
}
