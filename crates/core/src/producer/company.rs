//! Company: for whom a broker's next request is held back.
//!
//! Callers who wait for every acknowledgement append again as soon as they hear of it, one after the other. A request
//! that left with the first of them would make all others wait for a whole round trip. So it is held until those who
//! were expected have appended, or until the driver has had enough. Full batches are never held, and who appends
//! alone, again and again, is not kept waiting: everybody is there.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::FixedState;

use super::{PartitionId, Producer};
use crate::partition_queue::Ready;

/// Who is missing at one broker.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Callers that are expected back, by partition.
    expected: HashMap<PartitionId, usize, FixedState>,
    /// Somebody appended whom nobody expected: there may be more.
    newcomers: bool,
}

impl Company {
    pub(super) fn is_missing(&self) -> bool {
        self.newcomers || !self.expected.is_empty()
    }

    fn arrive(&mut self, id: PartitionId, is_first: bool) {
        match self.expected.get_mut(&id) {
            Some(1) => {
                self.expected.remove(&id);
            }
            Some(callers) => *callers -= 1,
            None => self.newcomers |= is_first && self.expected.is_empty(),
        }
    }

    fn forget(&mut self) {
        self.expected.clear();
        self.newcomers = false;
    }
}

impl<D> Producer<D> {
    /// As many callers are being told that their records were written, and are likely to append to the partition
    /// again.
    pub fn expect_back(&mut self, partition: PartitionId, callers: usize) {
        let leader = self.partitions.get(&partition).and_then(|it| it.leader);
        if let Some(broker) = leader.and_then(|leader| self.brokers.get_mut(&leader.broker_id))
            && callers > 0
        {
            *broker.company.expected.entry(partition).or_default() += callers;
        }
    }

    /// [`handle_ready`](Self::handle_ready), because a caller who waits for the acknowledgement has appended. What is
    /// [held](Self::is_held) for others after this needs [`go_without`](Self::go_without) soon.
    pub fn handle_appended(&mut self, now: Instant, partition: PartitionId, ready: Option<Ready>) {
        let leader = self.partitions.get(&partition).and_then(|it| it.leader);
        if let Some(leader) = leader {
            let broker = self.brokers.entry(leader.broker_id).or_default();
            broker.company.arrive(partition, broker.in_flight == 0);
            // What was held for this caller may have been listed by another.
            self.active.insert(leader.broker_id);
        }
        self.handle_ready(now, partition, ready);
    }

    /// Whether something could be sent but for callers who are expected and have not appended yet.
    pub fn is_held(&self) -> bool {
        self.brokers.values().any(|broker| broker.is_held(self.settings.max_in_flight))
    }

    /// Nobody is waited for any longer.
    pub fn go_without(&mut self) {
        for (id, broker) in &mut self.brokers {
            broker.company.forget();
            self.active.insert(*id);
        }
    }
}
