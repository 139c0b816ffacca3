//! Where users' code is called: panics are caught, and it is known whose code it is, so that it is told when it calls
//! back instead of waiting for itself.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use super::AggregatorFailure;

/// A batch producer, told from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u64);

thread_local! {
    /// The batch producers whose code runs on this thread now, one inside the other.
    static INSIDE: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

impl Id {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Calls users' code that belongs to this batch producer.
    pub(super) fn call<T>(
        self,
        method: &'static str,
        code: impl FnOnce() -> T,
    ) -> Result<T, AggregatorFailure> {
        INSIDE.with_borrow_mut(|inside| inside.push(self));
        let _left = Left;
        // What the panic left of the aggregator is used on, as its documentation says.
        catch_unwind(AssertUnwindSafe(code)).map_err(|panic| AggregatorFailure::panicked(method, &*panic))
    }

    /// Whether whoever asks is called by this batch producer.
    pub(super) fn is_inside(self) -> bool {
        INSIDE.with_borrow(|inside| inside.contains(&self))
    }
}

struct Left;

impl Drop for Left {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(Vec::pop);
    }
}
