//! That something has changed, told to all who watch, in the order in which they began to wait. (tokio's `watch` wakes
//! them in an order of chance, and then no run could be repeated.)

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The end that tells.
#[derive(Debug, Default)]
pub(crate) struct Changes(Arc<State>);

/// An end that watches.
#[derive(Debug)]
pub(crate) struct Watch {
    state: Arc<State>,
    seen: u64,
}

#[derive(Debug, Default)]
struct State {
    count: AtomicU64,
    notify: Notify,
}

impl Changes {
    /// Tells all.
    pub(crate) fn tell(&self) {
        self.0.count.fetch_add(1, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// An end that hears of every change from now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch { seen: self.0.count.load(Ordering::Acquire), state: self.0.clone() }
    }
}

impl Watch {
    /// Waits for a change since the last one that was heard of. Cancel safe: dropped, nothing was heard.
    pub(crate) async fn changed(&mut self) {
        loop {
            // From here on nothing is missed.
            let mut notified = pin!(self.state.notify.notified());
            notified.as_mut().enable();
            let count = self.state.count.load(Ordering::Acquire);
            if count != self.seen {
                self.seen = count;
                return;
            }
            notified.await;
        }
    }

    /// What changed so far has been heard of.
    pub(crate) fn mark_unchanged(&mut self) {
        self.seen = self.state.count.load(Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{Either, race};

    #[tokio::test]
    async fn each_change_is_heard_of_once_by_each() {
        let changes = Changes::default();
        changes.tell();
        let (mut one, mut other) = (changes.watch(), changes.watch());
        changes.tell();
        one.changed().await;
        other.mark_unchanged();
        for watch in [&mut one, &mut other] {
            assert!(matches!(race(watch.changed(), std::future::ready(())).await, Either::Second(())));
        }
        changes.tell();
        one.changed().await;
        other.changed().await;
    }
}
