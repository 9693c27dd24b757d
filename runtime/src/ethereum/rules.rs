//! The rules that are in force at one block.

use alloy_eips::{eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS, eip7840::BlobParams};
use alloy_evm::{block::calc, eth::spec::EthExecutorSpec};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use revm::{
    context::CfgEnv,
    context_interface::block::BlobExcessGasAndPrice,
    primitives::{Address, hardfork::SpecId},
};

/// The first difficulty bomb's delay, by fork.
const BOMB_DELAYS: [(EthereumHardfork, u64); 6] = [
    (EthereumHardfork::GrayGlacier, 11_400_000),
    (EthereumHardfork::ArrowGlacier, 10_700_000),
    (EthereumHardfork::London, 9_700_000),
    (EthereumHardfork::MuirGlacier, 9_000_000),
    (EthereumHardfork::Constantinople, 5_000_000),
    (EthereumHardfork::Byzantium, 3_000_000),
];

/// The rules that are in force at one block: a hard fork with everything before it.
///
/// Which fork that is, by number, time or total difficulty, is for the chain to say.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The latest fork that is active.
    pub fork: EthereumHardfork,
    /// The chain's id.
    pub chain_id: u64,
    /// How many blobs there may be and what they cost, from Cancun on.
    pub blobs: Option<BlobParams>,
    /// Whose logs are deposits, from Prague on.
    pub deposit_contract: Address,
    /// The block at which the chain takes ether from the DAO, if it does.
    pub dao_block: Option<u64>,
}

impl Rules {
    /// The rules of a fork with mainnet's parameters.
    pub fn new(fork: EthereumHardfork, chain_id: u64) -> Self {
        Self {
            fork,
            chain_id,
            blobs: blob_params(fork),
            deposit_contract: MAINNET_DEPOSIT_CONTRACT_ADDRESS,
            dao_block: None,
        }
    }

    /// Whether this fork or a later one is active.
    pub fn has(&self, fork: EthereumHardfork) -> bool {
        self.fork >= fork
    }

    /// revm's name for the rules.
    pub fn spec_id(&self) -> SpecId {
        use EthereumHardfork as Fork;
        match self.fork {
            Fork::Frontier => SpecId::FRONTIER,
            Fork::Homestead | Fork::Dao => SpecId::HOMESTEAD,
            Fork::Tangerine => SpecId::TANGERINE,
            Fork::SpuriousDragon => SpecId::SPURIOUS_DRAGON,
            Fork::Byzantium => SpecId::BYZANTIUM,
            Fork::Constantinople | Fork::Petersburg => SpecId::PETERSBURG,
            Fork::Istanbul | Fork::MuirGlacier => SpecId::ISTANBUL,
            Fork::Berlin => SpecId::BERLIN,
            Fork::London | Fork::ArrowGlacier | Fork::GrayGlacier => SpecId::LONDON,
            Fork::Paris => SpecId::MERGE,
            Fork::Shanghai => SpecId::SHANGHAI,
            Fork::Cancun => SpecId::CANCUN,
            Fork::Prague => SpecId::PRAGUE,
            Fork::Osaka | Fork::Bpo1 | Fork::Bpo2 | Fork::Bpo3 | Fork::Bpo4 | Fork::Bpo5 => SpecId::OSAKA,
            // Amsterdam, and what revm does not know yet.
            _ => SpecId::AMSTERDAM,
        }
    }

    /// revm's configuration.
    pub fn cfg(&self) -> CfgEnv {
        let mut cfg =
            CfgEnv::new().with_spec_and_mainnet_gas_params(self.spec_id()).with_chain_id(self.chain_id);
        if let Some(blobs) = self.blobs {
            cfg.max_blobs_per_tx = Some(blobs.max_blobs_per_tx);
            cfg.blob_base_fee_update_fraction = u64::try_from(blobs.update_fraction).ok();
        }
        cfg
    }

    /// What the miner of a block gets, without ommers; nobody since the merge.
    pub fn block_reward(&self) -> Option<u128> {
        calc::base_block_reward(self, 0)
    }

    /// What blob gas costs with this excess; nothing of the kind before Cancun.
    pub fn blob_fee(&self, excess_blob_gas: u64) -> Option<BlobExcessGasAndPrice> {
        let blob_gasprice = self.blobs?.calc_blob_fee(excess_blob_gas);
        Some(BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice })
    }

    /// By how many blocks the difficulty bomb is delayed.
    pub(super) fn bomb_delay(&self) -> u64 {
        BOMB_DELAYS.iter().find(|(fork, _)| self.has(*fork)).map_or(0, |(_, delay)| *delay)
    }
}

fn blob_params(fork: EthereumHardfork) -> Option<BlobParams> {
    use EthereumHardfork as Fork;
    match fork {
        fork if fork < Fork::Cancun => None,
        Fork::Cancun => Some(BlobParams::cancun()),
        Fork::Prague => Some(BlobParams::prague()),
        Fork::Osaka => Some(BlobParams::osaka()),
        Fork::Bpo1 => Some(BlobParams::bpo1()),
        // Mainnet has not scheduled others.
        _ => Some(BlobParams::bpo2()),
    }
}

impl EthereumHardforks for Rules {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        // The DAO's ether is taken before the transactions, and not where alloy-evm would do it.
        if fork == EthereumHardfork::Dao || !self.has(fork) {
            ForkCondition::Never
        } else if fork >= EthereumHardfork::Shanghai {
            ForkCondition::ZERO_TIMESTAMP
        } else {
            ForkCondition::ZERO_BLOCK
        }
    }
}

impl EthExecutorSpec for Rules {
    fn deposit_contract_address(&self) -> Option<Address> {
        Some(self.deposit_contract)
    }
}
