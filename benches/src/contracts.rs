//! The compiled contracts, and what it takes to call them and to lay them out in a block's pre-state.
//!
//! Sources, build script and compiled artifacts are in `benches/contracts`.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use revm::bytecode::Bytecode;
use serde_json::Value;

pub mod pool;
pub mod token;

/// What the compiler made of one contract.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The contract's interface, as the compiler describes it.
    pub abi: Value,
    /// The code that deploys the contract; the constructor's arguments follow it.
    pub creation: Bytes,
    /// The code of a deployed contract.
    pub runtime: Bytecode,
    /// The state variables with their slots, offsets and types.
    pub storage: Value,
}

impl Artifact {
    fn parse(json: &str) -> Self {
        let mut artifact: Value = serde_json::from_str(json).expect("artifacts are checked in as JSON");
        let code = |key: &str| -> Bytes {
            let hex = artifact[key].as_str().expect("an artifact has code");
            hex.parse().expect("code is hex")
        };
        let (creation, runtime) = (code("creation"), Bytecode::new_legacy(code("runtime")));
        Self { abi: artifact["abi"].take(), creation, runtime, storage: artifact["storage"].take() }
    }

    /// The slot of a state variable.
    pub fn slot(&self, variable: &str) -> Option<u64> {
        let entry = self.storage.as_array()?.iter().find(|entry| entry["label"] == variable)?;
        entry["slot"].as_str()?.parse().ok()
    }
}

/// The ERC-20 token.
pub fn token() -> &'static Artifact {
    static TOKEN: LazyLock<Artifact> =
        LazyLock::new(|| Artifact::parse(include_str!("../contracts/artifacts/Token.json")));
    &TOKEN
}

/// The constant-product pool.
pub fn pool() -> &'static Artifact {
    static POOL: LazyLock<Artifact> =
        LazyLock::new(|| Artifact::parse(include_str!("../contracts/artifacts/Pool.json")));
    &POOL
}

/// One argument or one stored value as a 32-byte word.
pub(crate) fn word(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// The call data of a function whose arguments are all one word long.
pub fn encode_call(signature: &str, arguments: &[U256]) -> Bytes {
    let mut data = Vec::with_capacity(4 + 32 * arguments.len());
    data.extend_from_slice(&keccak256(signature)[..4]);
    for argument in arguments {
        data.extend_from_slice(&argument.to_be_bytes::<32>());
    }
    data.into()
}

/// The slot of `key` in the mapping at `slot`.
pub fn mapping_slot(slot: U256, key: Address) -> U256 {
    let mut preimage = [0; 64];
    preimage[12..32].copy_from_slice(key.as_slice());
    preimage[32..].copy_from_slice(&slot.to_be_bytes::<32>());
    keccak256(preimage).into()
}

/// A string of at most 31 bytes as it is stored.
fn short_string(text: &str) -> U256 {
    assert!(text.len() < 32, "a longer string is stored elsewhere");
    let mut bytes = B256::right_padding_from(text.as_bytes());
    bytes[31] = 2 * text.len() as u8;
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_where_the_compiler_put_them() {
        for (variable, slot) in [
            ("name", token::NAME),
            ("symbol", token::SYMBOL),
            ("decimals", token::OWNER_AND_DECIMALS),
            ("owner", token::OWNER_AND_DECIMALS),
            ("totalSupply", token::TOTAL_SUPPLY),
            ("balanceOf", token::BALANCES),
            ("allowance", token::ALLOWANCES),
        ] {
            assert_eq!(token().slot(variable), Some(slot), "{variable}");
        }
        for (variable, slot) in [
            ("token0", pool::TOKEN0),
            ("token1", pool::TOKEN1),
            ("_reserve0", pool::RESERVES),
            ("_updated", pool::RESERVES),
            ("price0Cumulative", pool::PRICE0_CUMULATIVE),
            ("price1Cumulative", pool::PRICE1_CUMULATIVE),
            ("totalShares", pool::TOTAL_SHARES),
            ("sharesOf", pool::SHARES),
            ("_entered", pool::ENTERED),
        ] {
            assert_eq!(pool().slot(variable), Some(slot), "{variable}");
        }
    }

    #[test]
    fn selectors_are_the_known_ones() {
        assert_eq!(encode_call("transfer(address,uint256)", &[])[..], [0xa9, 0x05, 0x9c, 0xbb]);
    }
}
