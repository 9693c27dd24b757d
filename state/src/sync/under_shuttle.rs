//! The seam with the feature `shuttle`: every access to an atomic and every lock is a point at which shuttle's scheduler
//! may go on with another thread. All of them count as sequentially consistent: orderings are loom's part.

pub use shuttle::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
    thread,
};

pub use super::locks::*;

/// How often a worker looks for work before it sleeps. Few, since each look is a point to switch at.
pub const SPINS: u32 = 3;
