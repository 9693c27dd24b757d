//! loom's and shuttle's locks with parking_lot's interface.

#[cfg(loom)]
use loom::sync;
#[cfg(all(feature = "shuttle", not(loom)))]
use shuttle::sync;

pub use sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// No thread of a model panics with a lock and lets the others go on.
const POISONED: &str = "a lock of a model is not poisoned";

/// A mutex.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Locks.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(POISONED)
    }

    /// Locks, unless another thread has.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// A condition variable.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// A condition variable.
    pub fn new() -> Self {
        Self(sync::Condvar::new())
    }

    /// Waits, giving up the lock meanwhile.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        // SAFETY: the guard is moved out and a guard of the same mutex is written back before anyone can
        // see the gap; `wait` does not unwind with the guard lost except to abort the model.
        unsafe {
            let owned = std::ptr::read(guard);
            let owned = self.0.wait(owned).expect(POISONED);
            std::ptr::write(guard, owned);
        }
    }

    /// Wakes everybody.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock for many readers or one writer.
#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    /// Locks for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect(POISONED)
    }

    /// Locks for writing.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect(POISONED)
    }
}
