//! Which of many things is due next: one moment a key, moved and removed by the key and its moment.

use std::collections::BTreeSet;
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { due: BTreeSet::new() }
    }

    /// Moves the timer of `key` from `current`, where its owner keeps it, to `next`.
    pub(crate) fn set(&mut self, key: K, current: &mut Option<Instant>, next: Option<Instant>) {
        if *current == next {
            return;
        }
        if let Some(at) = current.take() {
            self.due.remove(&(at, key));
        }
        if let Some(at) = next {
            self.due.insert((at, key));
        }
        *current = next;
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes and returns a key that is due; its owner's copy of the moment is stale from then on.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }
}
