//! Locks. Who shares state with other threads takes them from here: `schedules/` puts others in their place, which try one
//! order of steps after another.

use std::sync::{MutexGuard, PoisonError};

pub(crate) use std::sync::{Mutex, TryLockError};

/// Locks, whatever happened to whoever held the lock before: what is guarded is changed in single steps, and a
/// panicked task's waiters must still be told.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
