//! Bounded pools of connections for requests that may wait long: each has a connection for itself while it waits,
//! since a broker serves one request of a connection at a time.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock;

/// The lanes to one broker for one purpose.
#[derive(Debug)]
pub(crate) struct Lanes {
    permits: Arc<Semaphore>,
    /// Numbers of free lanes; the one used last is taken first, so that the others grow idle and close.
    free: Mutex<Vec<u64>>,
}

/// The right to one lane. Dropped when the broker is done with the request it was taken for.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u64,
    lanes: Arc<Lanes>,
    _permit: OwnedSemaphorePermit,
}

impl Lanes {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(count)),
            free: Mutex::new((0..count as u64).rev().collect()),
        })
    }

    /// Waits for a free lane. Cancel safe: a waiter that gives up leaves no trace.
    pub(crate) async fn take(self: Arc<Self>) -> Option<Lane> {
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        let number = lock(&self.free).pop()?;
        Some(Lane { number, lanes: self, _permit: permit })
    }
}

impl Lane {
    /// Which one it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        lock(&self.lanes.free).push(self.number);
    }
}
