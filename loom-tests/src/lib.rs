//! Models of the concurrent protocols, explored by loom: what they share.
//!
//! The models are in `tests/`, one file per protocol, and check the crates' real code, compiled under
//! `--cfg loom`. Without that, this crate is empty. To run them:
//!
//! ```text
//! RUSTFLAGS="--cfg loom --cfg crossbeam_loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release --target-dir target/loom -p counterpoint-loom-tests
//! ```
//!
//! `docs/verification.md` says which invariant each of them covers, and what none does.

#[cfg(loom)]
mod model;
#[cfg(loom)]
mod transaction;

#[cfg(loom)]
pub use {
    model::{Owned, Tracked, caught, explore, explore_large, run},
    transaction::Transaction,
};

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    #[ignore = "the models need loom: RUSTFLAGS=\"--cfg loom --cfg crossbeam_loom\" LOOM_MAX_PREEMPTIONS=2 cargo test --release \
                --target-dir target/loom -p counterpoint-loom-tests"]
    fn models() {}
}
