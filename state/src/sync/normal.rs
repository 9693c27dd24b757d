//! The seam in a normal build.

pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
    thread,
};

/// How often a worker looks for work before it sleeps. A look takes tens of nanoseconds.
pub const SPINS: u32 = 200;
