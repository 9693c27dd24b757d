//! The secret keys of those who send in random blocks, so that the blocks can be signed.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, U256};
use k256::ecdsa::SigningKey;

/// No random block has more senders.
pub const SENDERS: usize = 8;
/// How many keys there are: the last ones are for accounts that no random block knows.
pub const COUNT: usize = 10;

static KEYS: LazyLock<Vec<(Address, B256)>> = LazyLock::new(|| {
    let key = |number: usize| B256::from(U256::from(number));
    let address = |key: &B256| Some(Address::from_private_key(&SigningKey::from_slice(&key[..]).ok()?));
    (1..).filter_map(|number| Some((address(&key(number))?, key(number)))).take(COUNT).collect()
});

/// The accounts that have a key, in order.
pub fn accounts() -> impl Iterator<Item = Address> {
    KEYS.iter().map(|(account, _)| *account)
}

/// The key of the account, if it has one.
pub fn of(account: Address) -> Option<B256> {
    KEYS.iter().find(|(owner, _)| *owner == account).map(|(_, key)| *key)
}
