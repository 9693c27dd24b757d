//! The one seam between the protocols and their primitives: `std` and `parking_lot`, or loom's under
//! `--cfg loom`. Nothing else differs between the two builds.

#[cfg(not(loom))]
mod imp {
    pub use parking_lot::{Condvar, Mutex, MutexGuard};
    pub use std::{
        cell::UnsafeCell,
        hint::spin_loop,
        sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
    };
}

#[cfg(loom)]
mod imp {
    pub use loom::{
        hint::spin_loop,
        sync::{
            MutexGuard,
            atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
        },
    };
    pub use std::cell::UnsafeCell;

    /// loom's mutex with parking_lot's interface.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Locks.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("loom mutexes are not poisoned")
        }
    }

    /// loom's condition variable with parking_lot's interface.
    #[derive(Debug, Default)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        /// A condition variable.
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// Waits, giving up the lock meanwhile.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            // SAFETY: the guard is moved out and a guard of the same mutex is written back before anyone can
            // see the gap; loom's `wait` does not unwind with the guard lost except to abort the model.
            unsafe {
                let owned = std::ptr::read(guard);
                let owned = self.0.wait(owned).expect("loom mutexes are not poisoned");
                std::ptr::write(guard, owned);
            }
        }

        /// Wakes everybody.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

pub use imp::*;

/// Whether a deliberate weakening is switched on, for the child processes of `loom-tests`.
#[cfg(loom)]
pub fn mutated(name: &str) -> bool {
    static MUTATION: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("COUNTERPOINT_MUTATION").ok());
    MUTATION.as_deref() == Some(name)
}

/// The code as it is, and by name a deliberate weakening of it that a model has to notice. The weakening
/// exists under `--cfg loom` only.
#[cfg(not(loom))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutation {
    ($name:literal, $weakened:expr, $sound:expr) => {
        $sound
    };
}

/// See above: under loom, both are there.
#[cfg(loom)]
#[doc(hidden)]
#[macro_export]
macro_rules! mutation {
    ($name:literal, $weakened:expr, $sound:expr) => {
        if $crate::sync::mutated($name) { $weakened } else { $sound }
    };
}

pub use crate::mutation;
