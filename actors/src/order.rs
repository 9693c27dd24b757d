//! The orders that hash maps give: any in a normal build, always the same with the feature `shuttle`, where a seed has
//! to repeat its schedule.

use foldhash::quality::SeedableRandomState;

/// A hasher keyed at random: whoever writes transactions chooses what is hashed.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn hasher() -> SeedableRandomState {
    SeedableRandomState::random()
}

/// A hasher with always the same keys.
#[cfg(feature = "shuttle")]
pub(crate) fn hasher() -> SeedableRandomState {
    SeedableRandomState::fixed()
}

/// A map's entries as they come.
#[cfg(not(feature = "shuttle"))]
#[inline(always)]
pub(crate) fn entries<K, V>(entries: impl Iterator<Item = (K, V)>) -> impl Iterator<Item = (K, V)> {
    entries
}

/// A map's entries in the order of their keys.
#[cfg(feature = "shuttle")]
pub(crate) fn entries<K: Ord + Copy, V>(
    entries: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, V)> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}
