//! Contracts and workloads for Counterpoint: what benchmarks measure and what tests compare.
//!
//! A [`Workload`] is a block with the state before it. It comes from
//!
//! - a [`Mix`] and its [`Knobs`]: transfers, tokens and pools with as much contention as asked for,
//! - [`random_block`]: a small block that mixes everything that parallel execution can get wrong,
//!
//! and the same seed always gives the same block. [`sequential`] executes it with plain revm, which every
//! other way of executing it has to agree with, [`contention`] says which of its transactions depend on which, and
//! [`generate`] writes it as a block file. Nothing here needs Counterpoint's runtime.

pub mod asm;
pub mod contention;
pub mod contracts;
pub mod fork;
pub mod generate;
pub mod random;
pub mod sequential;
pub mod workload;

pub use random::random_block;
pub use workload::{KnobArguments, Knobs, Mix, Workload};
