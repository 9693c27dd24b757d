//! The one seam between the protocols and their primitives: `std` and `parking_lot` in a normal build, loom's under
//! `--cfg loom`, shuttle's with the feature `shuttle`. Nothing else differs between the builds.

#[cfg(any(loom, feature = "shuttle"))]
mod locks;
#[cfg(not(any(loom, feature = "shuttle")))]
mod normal;
#[cfg(loom)]
mod under_loom;
#[cfg(all(feature = "shuttle", not(loom)))]
mod under_shuttle;

#[cfg(not(any(loom, feature = "shuttle")))]
pub use normal::*;
#[cfg(loom)]
pub use under_loom::*;
#[cfg(all(feature = "shuttle", not(loom)))]
pub use under_shuttle::*;

/// The same in every build: for counters and hints, which hand nothing over and order nothing, so that there is
/// nothing to explore.
pub mod unordered {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

/// Stands for the plain memory that it is a part of: loom notices who looks at it without being ordered after its
/// writing. In other builds there is nothing to it.
#[derive(Debug)]
pub struct Watched(#[cfg(loom)] loom::cell::UnsafeCell<()>);

// SAFETY: nothing is in it.
#[cfg(loom)]
unsafe impl Sync for Watched {}

impl Watched {
    /// Written here and now.
    pub fn new() -> Self {
        #[cfg(loom)]
        {
            let cell = loom::cell::UnsafeCell::new(());
            // Once more: loom dates a cell's creation back to its thread's last access.
            cell.with_mut(|_| ());
            Self(cell)
        }
        #[cfg(not(loom))]
        Self()
    }

    /// Reads it.
    #[inline(always)]
    pub fn look(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a deliberate weakening is switched on, for the child processes of tests that must fail.
#[cfg(any(loom, feature = "shuttle"))]
pub fn mutated(name: &str) -> bool {
    static MUTATIONS: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("COUNTERPOINT_MUTATION").unwrap_or_default());
    MUTATIONS.split(',').any(|mutation| mutation == name)
}

/// The code as it is, and by name a deliberate weakening of it that a model has to notice. The weakening
/// exists under `--cfg loom` and with the feature `shuttle` only.
#[cfg(not(any(loom, feature = "shuttle")))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutation {
    ($name:literal, $weakened:expr, $sound:expr) => {
        $sound
    };
}

/// See above: both are there.
#[cfg(any(loom, feature = "shuttle"))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutation {
    ($name:literal, $weakened:expr, $sound:expr) => {
        if $crate::sync::mutated($name) { $weakened } else { $sound }
    };
}

pub use crate::mutation;
