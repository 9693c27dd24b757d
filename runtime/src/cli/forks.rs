//! Hard forks: mainnet's schedule, their names, and the configuration that each means.

use std::str::FromStr;

use alloy_eips::eip7840::BlobParams;
use revm::{context::CfgEnv, primitives::hardfork::SpecId};

/// First blocks of the forks that mainnet scheduled by number.
const BY_NUMBER: [(u64, SpecId); 9] = [
    (1_150_000, SpecId::HOMESTEAD),
    (2_463_000, SpecId::TANGERINE),
    (2_675_000, SpecId::SPURIOUS_DRAGON),
    (4_370_000, SpecId::BYZANTIUM),
    (7_280_000, SpecId::PETERSBURG),
    (9_069_000, SpecId::ISTANBUL),
    (12_244_000, SpecId::BERLIN),
    (12_965_000, SpecId::LONDON),
    (MERGE, SpecId::MERGE),
];

/// The first block after the merge.
const MERGE: u64 = 15_537_394;

/// First timestamps of the forks that mainnet scheduled by time.
const BY_TIME: [(u64, SpecId); 4] = [
    (1_681_338_455, SpecId::SHANGHAI),
    (1_710_338_135, SpecId::CANCUN),
    (1_746_612_311, SpecId::PRAGUE),
    (1_764_798_551, SpecId::OSAKA),
];

/// Mainnet's first timestamp under the first fork that changed only blob parameters.
const BPO1: u64 = 1_765_290_071;
/// And under the second.
const BPO2: u64 = 1_767_747_671;

/// The forks by the names that this command line prints, in order.
const NAMES: [(&str, SpecId); 14] = [
    ("frontier", SpecId::FRONTIER),
    ("homestead", SpecId::HOMESTEAD),
    ("tangerine", SpecId::TANGERINE),
    ("spurious", SpecId::SPURIOUS_DRAGON),
    ("byzantium", SpecId::BYZANTIUM),
    ("petersburg", SpecId::PETERSBURG),
    ("istanbul", SpecId::ISTANBUL),
    ("berlin", SpecId::BERLIN),
    ("london", SpecId::LONDON),
    ("merge", SpecId::MERGE),
    ("shanghai", SpecId::SHANGHAI),
    ("cancun", SpecId::CANCUN),
    ("prague", SpecId::PRAGUE),
    ("osaka", SpecId::OSAKA),
];

/// Other names in use, without separators. Forks that changed nothing for transactions are the fork before.
const ALIASES: [(&str, SpecId); 15] = [
    ("dao", SpecId::HOMESTEAD),
    ("daofork", SpecId::HOMESTEAD),
    ("tangerinewhistle", SpecId::TANGERINE),
    ("eip150", SpecId::TANGERINE),
    ("spuriousdragon", SpecId::SPURIOUS_DRAGON),
    ("eip158", SpecId::SPURIOUS_DRAGON),
    ("constantinoplefix", SpecId::PETERSBURG),
    ("muirglacier", SpecId::ISTANBUL),
    ("arrowglacier", SpecId::LONDON),
    ("grayglacier", SpecId::LONDON),
    ("paris", SpecId::MERGE),
    ("shapella", SpecId::SHANGHAI),
    ("dencun", SpecId::CANCUN),
    ("pectra", SpecId::PRAGUE),
    ("fusaka", SpecId::OSAKA),
];

/// A hard fork that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported hard fork {0:?}: expected one of {names}", names = NAMES.map(|(name, _)| name).join(", "))]
pub struct UnknownFork(pub String);

/// The fork that mainnet executed, or would execute, a block under.
pub fn mainnet(number: u64, timestamp: u64) -> SpecId {
    let reached = |schedule: &[(u64, SpecId)], at: u64| {
        schedule.iter().rev().find(|(first, _)| *first <= at).map(|(_, spec)| *spec)
    };
    let by_time = if number >= MERGE { reached(&BY_TIME, timestamp) } else { None };
    by_time.or_else(|| reached(&BY_NUMBER, number)).unwrap_or(SpecId::FRONTIER)
}

/// The fork of this name, whatever its case and separators.
pub fn parse(name: &str) -> Result<SpecId, UnknownFork> {
    let plain: String =
        name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).flat_map(char::to_lowercase).collect();
    NAMES
        .iter()
        .chain(&ALIASES)
        .find(|(known, _)| *known == plain)
        .map(|(_, spec)| *spec)
        .ok_or_else(|| UnknownFork(name.to_owned()))
}

/// A fork given by name, as a command-line argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkName(pub SpecId);

impl FromStr for ForkName {
    type Err = UnknownFork;

    fn from_str(name: &str) -> Result<Self, UnknownFork> {
        parse(name).map(Self)
    }
}

/// Mainnet's blob parameters, from Cancun on. The forks that changed only these go by time.
pub fn blob_params(spec: SpecId, timestamp: u64) -> Option<BlobParams> {
    match spec {
        _ if !spec.is_enabled_in(SpecId::CANCUN) => None,
        SpecId::CANCUN => Some(BlobParams::cancun()),
        SpecId::PRAGUE => Some(BlobParams::prague()),
        _ if timestamp >= BPO2 => Some(BlobParams::bpo2()),
        _ if timestamp >= BPO1 => Some(BlobParams::bpo1()),
        _ => Some(BlobParams::osaka()),
    }
}

/// The rules for a block at `timestamp` under `spec`.
pub fn configuration(spec: SpecId, timestamp: u64, chain_id: u64) -> CfgEnv {
    let mut cfg = CfgEnv::new().with_spec_and_mainnet_gas_params(spec).with_chain_id(chain_id);
    if let Some(blobs) = blob_params(spec, timestamp) {
        cfg.max_blobs_per_tx = Some(blobs.max_blobs_per_tx);
        cfg.blob_base_fee_update_fraction = u64::try_from(blobs.update_fraction).ok();
    }
    cfg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_begin_at_their_first_block_or_second() {
        assert_eq!(mainnet(0, 0), SpecId::FRONTIER);
        assert_eq!(mainnet(1_149_999, 1), SpecId::FRONTIER);
        assert_eq!(mainnet(1_150_000, 1), SpecId::HOMESTEAD);
        assert_eq!(mainnet(7_279_999, 1_551_383_501), SpecId::BYZANTIUM);
        assert_eq!(mainnet(MERGE - 1, 1_663_224_162), SpecId::LONDON);
        assert_eq!(mainnet(MERGE, 1_663_224_179), SpecId::MERGE);
        assert_eq!(mainnet(17_034_869, 1_681_338_443), SpecId::MERGE);
        assert_eq!(mainnet(17_034_870, 1_681_338_455), SpecId::SHANGHAI);
        assert_eq!(mainnet(19_426_587, 1_710_338_135), SpecId::CANCUN);
        assert_eq!(mainnet(22_431_084, 1_746_612_311), SpecId::PRAGUE);
        assert_eq!(mainnet(23_935_694, 1_764_798_551), SpecId::OSAKA);
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        for (name, spec) in NAMES.iter().chain(&ALIASES) {
            assert_eq!(parse(name), Ok(*spec));
            assert_eq!(parse(&name.to_uppercase()), Ok(*spec));
        }
        assert_eq!(parse("Spurious Dragon"), Ok(SpecId::SPURIOUS_DRAGON));
        assert_eq!(parse("tangerine_whistle"), Ok(SpecId::TANGERINE));
        for (_, spec) in NAMES {
            assert_eq!(parse(spec.into()), Ok(spec), "revm's own name");
        }
        let error = parse("atlantis").unwrap_err().to_string();
        assert!(error.contains("\"atlantis\"") && error.contains("frontier, homestead"), "{error}");
    }

    #[test]
    fn blob_parameters_follow_fork_and_time() {
        let of = |spec, timestamp| {
            let cfg = configuration(spec, timestamp, 1);
            (cfg.max_blobs_per_tx, cfg.blob_base_fee_update_fraction)
        };
        assert_eq!(of(SpecId::SHANGHAI, BPO2), (None, None));
        assert_eq!(of(SpecId::CANCUN, 1_710_338_135), (Some(6), Some(3_338_477)));
        assert_eq!(of(SpecId::PRAGUE, 1_746_612_311), (Some(9), Some(5_007_716)));
        assert_eq!(of(SpecId::OSAKA, 1_764_798_551), (Some(6), Some(5_007_716)));
        assert_eq!(of(SpecId::OSAKA, BPO1), (Some(6), Some(8_346_193)));
        assert_eq!(of(SpecId::OSAKA, BPO2), (Some(6), Some(11_684_671)));
    }
}
