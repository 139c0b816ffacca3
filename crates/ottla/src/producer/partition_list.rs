//! The outboxes of a topic's partitions, by number: a list that grows with the topic, and that an append reads without
//! a lock.

use std::sync::{Arc, OnceLock};

use super::outbox::Outbox;

/// What was known at first, and behind it what came with each growth of the topic, which happens a few times at most.
#[derive(Debug)]
pub(super) struct PartitionList {
    outboxes: Vec<Arc<Outbox>>,
    more: OnceLock<Box<Self>>,
}

impl PartitionList {
    pub(super) fn new(outboxes: Vec<Arc<Outbox>>) -> Self {
        Self { outboxes, more: OnceLock::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.outboxes.len() + self.more.get().map_or(0, |more| more.len())
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Arc<Outbox>> {
        match at.checked_sub(self.outboxes.len()) {
            None => self.outboxes.get(at),
            Some(at) => self.more.get()?.get(at),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        std::iter::successors(Some(self), |list| list.more.get().map(Box::as_ref))
            .flat_map(|list| &list.outboxes)
    }

    /// Adds what `more` makes of the length, if it makes anything. Of two that grow the list at once one does.
    pub(super) fn grow(&self, more: impl FnOnce(usize) -> Vec<Arc<Outbox>>) {
        let (mut last, mut len) = (self, self.outboxes.len());
        while let Some(next) = last.more.get() {
            len += next.outboxes.len();
            last = next;
        }
        let outboxes = more(len);
        if !outboxes.is_empty() {
            let _raced = last.more.set(Box::new(Self::new(outboxes)));
        }
    }
}
