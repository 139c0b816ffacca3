//! What the included files find around them in the client's `driver`.

pub mod engine;

pub(crate) use sync::lock;

#[path = "../../crates/ottla/src/driver/turns.rs"]
pub(crate) mod turns;

/// The client's `sync.rs`, with other locks.
pub(crate) mod sync {
    pub(crate) use std::sync::TryLockError;

    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// No time passes.
pub(crate) mod alarm {
    use std::task::{Context, Poll};
    use std::time::Instant;

    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn set(&mut self, due: Option<Instant>) {
            assert_eq!(due, None, "nothing is due");
        }

        pub(crate) fn poll_ring(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
}

/// The metadata does not change.
pub(crate) mod changes {
    #[derive(Debug)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) async fn changed(&mut self) {
            std::future::pending().await
        }
    }
}
