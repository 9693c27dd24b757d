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
            atomic::{Ordering, fence},
        },
    };
    pub use std::cell::UnsafeCell;

    /// Wraps one of loom's atomics so that every two accesses to it are tried in both orders.
    ///
    /// loom keeps only the last access to an atomic: a load before a write by the same thread hides the loads
    /// of other threads before it, and the order in which the write comes first is never tried
    /// (<https://github.com/tokio-rs/loom/issues/392>). A condition variable that nobody waits for is a
    /// place to switch threads at that depends on all others like it, and that orders no memory.
    macro_rules! atomic {
        ($name:ident $(<$parameter:ident>)?, $value:ty, $($add:ident)*) => {
            /// loom's atomic, behind a point at which all accesses to it are reordered.
            #[derive(Debug)]
            pub struct $name $(<$parameter>)? {
                turn: loom::sync::Condvar,
                atomic: loom::sync::atomic::$name $(<$parameter>)?,
            }

            #[allow(missing_docs, reason = "as in `std::sync::atomic`")]
            impl $(<$parameter>)? $name $(<$parameter>)? {
                #[track_caller]
                pub fn new(value: $value) -> Self {
                    let atomic = loom::sync::atomic::$name::new(value);
                    Self { turn: loom::sync::Condvar::new(), atomic }
                }

                #[track_caller]
                pub fn load(&self, order: Ordering) -> $value {
                    self.turn.notify_one();
                    self.atomic.load(order)
                }

                #[track_caller]
                pub fn store(&self, value: $value, order: Ordering) {
                    self.turn.notify_one();
                    self.atomic.store(value, order);
                }

                #[track_caller]
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.turn.notify_one();
                    self.atomic.swap(value, order)
                }

                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.turn.notify_one();
                    self.atomic.compare_exchange(current, new, success, failure)
                }

                #[track_caller]
                pub fn compare_exchange_weak(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(current, new, success, failure)
                }

                $(
                    #[track_caller]
                    pub fn $add(&self, value: $value, order: Ordering) -> $value {
                        self.turn.notify_one();
                        self.atomic.$add(value, order)
                    }
                )*
            }
        };
    }

    atomic!(AtomicBool, bool,);
    atomic!(AtomicPtr<T>, *mut T,);
    atomic!(AtomicU32, u32, fetch_add fetch_sub);
    atomic!(AtomicU64, u64, fetch_add fetch_sub);

    impl<T> Default for AtomicPtr<T> {
        fn default() -> Self {
            Self::new(std::ptr::null_mut())
        }
    }

    impl Default for AtomicBool {
        fn default() -> Self {
            Self::new(false)
        }
    }

    impl Default for AtomicU32 {
        fn default() -> Self {
            Self::new(0)
        }
    }

    impl Default for AtomicU64 {
        fn default() -> Self {
            Self::new(0)
        }
    }

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
