//! The forks that both sides know, by the specification's names.

use revm::primitives::hardfork::SpecId;

/// A fork.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) name: &'static str,
    /// Which instructions and transactions it has: what the block's generator knows of it.
    pub(crate) spec: SpecId,
}

impl Fork {
    /// A number of its own, far from the others'.
    pub(crate) fn stream(&self) -> u64 {
        let place = FORKS.iter().position(|fork| fork.name == self.name).unwrap_or_default();
        (place as u64) << 40
    }
}

const fn fork(name: &'static str, spec: SpecId) -> Fork {
    Fork { name, spec }
}

/// In order. The glaciers differ in the difficulty, the last two in the number of blobs.
pub(crate) const FORKS: &[Fork] = &[
    fork("Frontier", SpecId::FRONTIER),
    fork("Homestead", SpecId::HOMESTEAD),
    fork("DaoFork", SpecId::HOMESTEAD),
    fork("TangerineWhistle", SpecId::TANGERINE),
    fork("SpuriousDragon", SpecId::SPURIOUS_DRAGON),
    fork("Byzantium", SpecId::BYZANTIUM),
    fork("ConstantinopleFix", SpecId::PETERSBURG),
    fork("Istanbul", SpecId::ISTANBUL),
    fork("MuirGlacier", SpecId::ISTANBUL),
    fork("Berlin", SpecId::BERLIN),
    fork("London", SpecId::LONDON),
    fork("ArrowGlacier", SpecId::LONDON),
    fork("GrayGlacier", SpecId::LONDON),
    fork("Paris", SpecId::MERGE),
    fork("Shanghai", SpecId::SHANGHAI),
    fork("Cancun", SpecId::CANCUN),
    fork("Prague", SpecId::PRAGUE),
    fork("Osaka", SpecId::OSAKA),
    fork("BPO1", SpecId::OSAKA),
    fork("BPO2", SpecId::OSAKA),
];

/// The fork of this name.
pub(crate) fn by_name(name: &str) -> Result<&'static Fork, String> {
    let names = || FORKS.iter().map(|fork| fork.name).collect::<Vec<_>>().join(", ");
    FORKS
        .iter()
        .find(|fork| fork.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("no fork of this name; there are {}", names()))
}
