//! The seam under `--cfg loom`: loom's atomics, so wrapped that it explores every order of accesses.

pub use loom::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
    thread,
};

pub use super::locks::*;

/// As in a normal build; a model has its own loops.
pub const SPINS: u32 = 1;

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
