//! Chains by name, as test fixtures and transition tools call them: a hard fork, or a change from one to another.

use std::collections::BTreeMap;

use alloy_eips::eip7840::{BLOB_BASE_COST, BlobParams};
use alloy_hardforks::EthereumHardfork as Fork;
use revm::primitives::U256;
use serde::Deserialize;

use super::fixture::Quantity;
use crate::ethereum::Rules;

/// The forks by the names in use. Separators and capitals do not matter.
pub const NAMES: [(&str, Fork); 34] = [
    ("Frontier", Fork::Frontier),
    ("Homestead", Fork::Homestead),
    ("Dao", Fork::Dao),
    ("DAOFork", Fork::Dao),
    ("EIP150", Fork::Tangerine),
    ("Tangerine", Fork::Tangerine),
    ("TangerineWhistle", Fork::Tangerine),
    ("EIP158", Fork::SpuriousDragon),
    ("SpuriousDragon", Fork::SpuriousDragon),
    ("Byzantium", Fork::Byzantium),
    ("Constantinople", Fork::Constantinople),
    ("ConstantinopleFix", Fork::Petersburg),
    ("Petersburg", Fork::Petersburg),
    ("StPetersburg", Fork::Petersburg),
    ("Istanbul", Fork::Istanbul),
    ("MuirGlacier", Fork::MuirGlacier),
    ("Berlin", Fork::Berlin),
    ("London", Fork::London),
    ("ArrowGlacier", Fork::ArrowGlacier),
    ("GrayGlacier", Fork::GrayGlacier),
    ("Merge", Fork::Paris),
    ("Paris", Fork::Paris),
    ("Shanghai", Fork::Shanghai),
    ("Shapella", Fork::Shanghai),
    ("Cancun", Fork::Cancun),
    ("Prague", Fork::Prague),
    ("Osaka", Fork::Osaka),
    ("BPO1", Fork::Bpo1),
    ("BPO2", Fork::Bpo2),
    ("BPO3", Fork::Bpo3),
    ("BPO4", Fork::Bpo4),
    ("BPO5", Fork::Bpo5),
    ("Amsterdam", Fork::Amsterdam),
    ("Glamsterdam", Fork::Amsterdam),
];

/// No block has more blobs, whatever a fixture says.
const MOST_BLOBS: u64 = 1 << 20;

/// Why a case for Constantinople does not count if it fails.
pub(super) const NO_CONSTANTINOPLE: &str = "Constantinople is executed as Petersburg, without EIP-1283, which revm does not have, and that differs here";

/// A name that means no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fork {0:?}")]
pub struct UnknownNetwork(pub String);

/// The fork of this name.
pub fn fork(name: &str) -> Result<Fork, UnknownNetwork> {
    let plain: String = name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).collect();
    NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&plain))
        .map(|(_, fork)| *fork)
        .ok_or_else(|| UnknownNetwork(name.to_owned()))
}

/// What a fixture says of its chain, beside the name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The chain's id.
    #[serde(alias = "chainId")]
    pub chainid: Option<Quantity>,
    /// The chain's name.
    pub network: Option<String>,
    /// Blob parameters by fork.
    pub blob_schedule: BTreeMap<String, BlobSchedule>,
}

/// A fork's blob parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobSchedule {
    /// How many blobs a block should have.
    pub target: Quantity,
    /// How many it may have.
    pub max: Quantity,
    /// How fast the fee changes.
    pub base_fee_update_fraction: Quantity,
}

/// A chain: the fork that it begins with, and perhaps one that it changes to.
#[derive(Clone, Debug)]
pub struct Network {
    first: Fork,
    change: Option<(Switch, Fork)>,
    chain_id: u64,
    blobs: BTreeMap<Fork, BlobParams>,
}

/// When a chain changes to another fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    Number(u64),
    Time(u64),
    /// Of the block before.
    TotalDifficulty(U256),
}

impl Network {
    /// The chain of this name.
    ///
    /// # Errors
    ///
    /// A name that is none.
    pub fn new(name: &str, config: &Config) -> Result<Self, UnknownNetwork> {
        let (first, change) = match transition(name) {
            Some((first, second, switch)) => (fork(first)?, Some((switch, fork(second)?))),
            None => (fork(name)?, None),
        };
        let mut blobs = BTreeMap::new();
        for (name, schedule) in &config.blob_schedule {
            // Other chains' forks do not matter.
            if let Ok(fork) = fork(name) {
                blobs.insert(fork, schedule.params(fork));
            }
        }
        let chain_id = config.chainid.map_or(1, |id| id.0.saturating_to());
        Ok(Self { first, change, chain_id, blobs })
    }

    /// The forks that the chain knows.
    pub fn forks(&self) -> impl Iterator<Item = Fork> {
        [Some(self.first), self.change.map(|(_, fork)| fork)].into_iter().flatten()
    }

    /// The rules at a block.
    pub fn rules(&self, number: u64, timestamp: u64, parent_total_difficulty: U256) -> Rules {
        let reached = |switch| match switch {
            Switch::Number(first) => number >= first,
            Switch::Time(first) => timestamp >= first,
            Switch::TotalDifficulty(least) => parent_total_difficulty >= least,
        };
        let fork = match self.change {
            Some((switch, fork)) if reached(switch) => fork,
            _ => self.first,
        };
        let mut rules = Rules::new(fork, self.chain_id);
        if let Some(blobs) = self.blobs.get(&fork) {
            rules.blobs = Some(*blobs);
        }
        if let Some((Switch::Number(first), Fork::Dao)) = self.change {
            rules.dao_block = Some(first);
        }
        rules
    }
}

impl BlobSchedule {
    /// The parameters under a fork.
    pub(super) fn params(&self, fork: Fork) -> BlobParams {
        // Kept within what can be computed with.
        let max = self.max.0.saturating_to::<u64>().clamp(1, MOST_BLOBS);
        let osaka = fork >= Fork::Osaka;
        BlobParams {
            target_blob_count: self.target.0.saturating_to::<u64>().min(max),
            max_blob_count: max,
            update_fraction: self.base_fee_update_fraction.0.saturating_to::<u64>().max(1).into(),
            max_blobs_per_tx: if osaka { BlobParams::osaka().max_blobs_per_tx } else { max },
            blob_base_cost: if osaka { BLOB_BASE_COST } else { 0 },
            ..BlobParams::cancun()
        }
    }
}

/// The parts of a name such as `BerlinToLondonAt5`, `ParisToShanghaiAtTime15k`, `ArrowGlacierToParisAtDiffC0000`.
fn transition(name: &str) -> Option<(&str, &str, Switch)> {
    let (forks, at) = name.rsplit_once("At")?;
    let (first, second) = forks.split_once("To")?;
    let switch = if let Some(time) = at.strip_prefix("Time") {
        Switch::Time(match time.strip_suffix('k') {
            Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1_000)?,
            None => time.parse().ok()?,
        })
    } else if let Some(difficulty) = at.strip_prefix("Diff") {
        Switch::TotalDifficulty(U256::from_str_radix(difficulty, 16).ok()?)
    } else {
        Switch::Number(at.parse().ok()?)
    };
    Some((first, second, switch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str) -> Network {
        Network::new(name, &Config::default()).unwrap()
    }

    #[test]
    fn forks_are_found_by_all_their_names() {
        for (name, of) in NAMES {
            assert_eq!(fork(name), Ok(of));
            assert_eq!(network(&name.to_uppercase()).rules(0, 0, U256::ZERO).fork, of);
        }
        assert_eq!(fork("ConstantinopleFix"), Ok(Fork::Petersburg));
        assert_eq!(fork("London+3855"), Err(UnknownNetwork("London+3855".to_owned())));
        assert!(Network::new("BerlinToAtlantisAt5", &Config::default()).is_err());
        assert!(Network::new("BerlinToLondonAtTimeX", &Config::default()).is_err());
    }

    #[test]
    fn chains_change_their_fork_by_number_time_and_difficulty() {
        let london = network("BerlinToLondonAt5");
        assert_eq!(london.rules(4, 0, U256::ZERO).fork, Fork::Berlin);
        assert_eq!(london.rules(5, 0, U256::ZERO).fork, Fork::London);
        let shanghai = network("ParisToShanghaiAtTime15k");
        assert_eq!(shanghai.rules(9, 14_999, U256::ZERO).fork, Fork::Paris);
        assert_eq!(shanghai.rules(1, 15_000, U256::ZERO).fork, Fork::Shanghai);
        let paris = network("ArrowGlacierToParisAtDiffC0000");
        assert_eq!(paris.rules(9, 0, U256::from(0xbffff)).fork, Fork::ArrowGlacier);
        assert_eq!(paris.rules(9, 0, U256::from(0xc0000)).fork, Fork::Paris);
        assert_eq!(network("HomesteadToDaoAt5").rules(4, 0, U256::ZERO).dao_block, Some(5));
        assert_eq!(network("Homestead").rules(4, 0, U256::ZERO).dao_block, None);
    }

    #[test]
    fn a_blob_schedule_counts_for_its_fork() {
        let config: Config = serde_json::from_str(
            r#"{"chainid": "0x05", "blobSchedule": {"BPO1": {"target": "0x09", "max": "0x0e", "baseFeeUpdateFraction": "0x10"}}}"#,
        )
        .unwrap();
        let network = Network::new("OsakaToBPO1AtTime15k", &config).unwrap();
        let osaka = network.rules(1, 0, U256::ZERO);
        assert_eq!((osaka.chain_id, osaka.blobs), (5, Some(BlobParams::osaka())));
        let blobs = network.rules(1, 15_000, U256::ZERO).blobs.unwrap();
        assert_eq!((blobs.target_blob_count, blobs.max_blob_count, blobs.max_blobs_per_tx), (9, 14, 6));
        assert_eq!((blobs.update_fraction, blobs.blob_base_cost), (16, BLOB_BASE_COST));
    }
}
