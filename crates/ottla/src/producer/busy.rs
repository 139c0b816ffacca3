//! The outboxes that may have something under way: who waits for all of it, or has it hurry, looks at those alone, however
//! many partitions were written to before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outbox::Outbox;
use crate::driver::lock;
use crate::driver::sync::Mutex;

/// An outbox enters under its own lock, when a batch begins; it leaves when it is found with nothing open. So no outbox is
/// locked while this is.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<Listed>);

/// In the order in which they entered, so that equal runs are equal.
#[derive(Debug, Default)]
struct Listed {
    outboxes: BTreeMap<u64, Arc<Outbox>>,
    last: u64,
}

impl Busy {
    /// The place that it has from now on.
    pub(super) fn enter(&self, outbox: &Arc<Outbox>) -> u64 {
        let mut listed = lock(&self.0);
        listed.last += 1;
        let place = listed.last;
        listed.outboxes.insert(place, outbox.clone());
        place
    }

    pub(super) fn leave(&self, place: u64) {
        lock(&self.0).outboxes.remove(&place);
    }

    /// All that have a batch which is not resolved.
    pub(crate) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        let mut outboxes: Vec<_> = lock(&self.0).outboxes.values().cloned().collect();
        outboxes.retain(|outbox| outbox.is_open_in(self));
        outboxes
    }

    /// How many are in the list.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).outboxes.len()
    }
}
