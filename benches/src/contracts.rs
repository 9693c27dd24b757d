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

macro_rules! artifacts {
    ($($(#[$doc:meta])* $name:ident $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> &'static Artifact {
                static ARTIFACT: LazyLock<Artifact> = LazyLock::new(|| {
                    Artifact::parse(include_str!(concat!("../contracts/artifacts/", $file, ".json")))
                });
                &ARTIFACT
            }
        )*

        /// All of them, by name.
        pub fn all() -> Vec<(&'static str, &'static Artifact)> {
            vec![$(($file, $name()),)*]
        }
    };
}

artifacts! {
    /// A token airdrop by Merkle proofs.
    airdrop "Airdrop";
    /// Trades around three pools with a flash loan.
    arbitrage "Arbitrage";
    /// A rollup's inbox.
    bridge_inbox "BridgeInbox";
    /// An ERC-721 collection.
    collectible "Collectible";
    /// A pool with liquidity between prices.
    concentrated_pool "ConcentratedPool";
    /// A breeding game.
    creatures "Creatures";
    /// Staking with a reward-per-unit index.
    farm "Farm";
    /// An ERC-20 with a fee on transfer and a global counter.
    fee_token "FeeToken";
    /// A flash lender.
    flash_vault "FlashVault";
    /// Votes on proposals.
    governor "Governor";
    /// A lending market.
    lending_market "LendingMarket";
    /// Payments to many at once.
    multisend "Multisend";
    /// A price oracle.
    oracle "Oracle";
    /// An exchange with an order book.
    order_book "OrderBook";
    /// The constant-product pool.
    pool "Pool";
    /// Swaps along paths of pools.
    router "Router";
    /// A pool of tokens of the same price.
    stable_pool "StablePool";
    /// The ERC-20 token.
    token "Token";
    /// A supply-chain tracker.
    tracker "Tracker";
}

/// One argument or one stored value as a 32-byte word.
pub(crate) fn word(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// The call data of a function whose arguments are all one word long.
pub fn encode_call(signature: &str, arguments: &[U256]) -> Bytes {
    let arguments: Vec<_> = arguments.iter().copied().map(Argument::Word).collect();
    call(signature, &arguments)
}

/// An argument of a call or a constructor.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Anything that takes one word.
    Word(U256),
    /// An array of anything that takes one word.
    Array(Vec<U256>),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<U256> for Argument {
    fn from(value: U256) -> Self {
        Self::Word(value)
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self::Word(U256::from(value))
    }
}

impl From<Address> for Argument {
    fn from(value: Address) -> Self {
        Self::Word(word(value))
    }
}

impl From<B256> for Argument {
    fn from(value: B256) -> Self {
        Self::Word(value.into())
    }
}

impl From<Vec<Address>> for Argument {
    fn from(values: Vec<Address>) -> Self {
        Self::Array(values.into_iter().map(word).collect())
    }
}

impl From<Vec<U256>> for Argument {
    fn from(values: Vec<U256>) -> Self {
        Self::Array(values)
    }
}

/// The call data of a function.
pub fn call(signature: &str, arguments: &[Argument]) -> Bytes {
    let mut data = keccak256(signature)[..4].to_vec();
    data.extend(encode(arguments));
    data.into()
}

/// Arguments as Solidity encodes them: words first, and what is longer behind them.
pub fn encode(arguments: &[Argument]) -> Vec<u8> {
    let word = |value: usize| U256::from(value).to_be_bytes::<32>();
    let mut head = Vec::with_capacity(32 * arguments.len());
    let mut tail = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Word(value) => {
                head.extend(value.to_be_bytes::<32>());
                continue;
            }
            _ => head.extend(word(32 * arguments.len() + tail.len())),
        }
        match argument {
            Argument::Word(_) => {}
            Argument::Array(values) => {
                tail.extend(word(values.len()));
                tail.extend(values.iter().flat_map(|value| value.to_be_bytes::<32>()));
            }
            Argument::Bytes(bytes) => {
                tail.extend(word(bytes.len()));
                tail.extend(bytes);
                tail.resize(tail.len().next_multiple_of(32), 0);
            }
        }
    }
    head.extend(tail);
    head
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
    fn every_contract_fits_into_a_block() {
        for (name, artifact) in all() {
            let length = artifact.runtime.original_bytes().len();
            assert!((500..24_576).contains(&length), "{name}: {length}");
            assert!(artifact.creation.len() > length, "{name}");
        }
    }

    #[test]
    fn long_arguments_come_behind_the_words() {
        let arguments = [Argument::Array(vec![U256::from(7)]), 9_u64.into(), Argument::Bytes(vec![1; 33])];
        let data = encode(&arguments);
        let words: Vec<U256> = data.chunks(32).map(U256::from_be_slice).collect();
        let numbers = [96, 9, 160, 1, 7, 33];
        assert_eq!(words[..6], numbers.map(U256::from));
        assert_eq!(words.len(), 8);
    }

    #[test]
    fn selectors_are_the_known_ones() {
        assert_eq!(encode_call("transfer(address,uint256)", &[])[..], [0xa9, 0x05, 0x9c, 0xbb]);
    }
}
