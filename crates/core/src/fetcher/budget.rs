//! The bytes that a fetcher holds and has asked for, and how much it may ask for next.
//!
//! Counted are whole answers: as long as the records of one partition are not handed over, all of the answer is in
//! memory. So never more is held than the budget and one answer of each broker, whose first batch may be larger than
//! asked for.

use std::collections::BTreeMap;

use super::{PartitionId, RequestToken};

/// Less than this part of the budget is not asked for, as long as more will be free soon.
const LEAST_PART: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    held: usize,
    /// What the answers on their way may bring.
    reserved: usize,
    answers: BTreeMap<RequestToken, Held>,
    /// Somebody was refused: what becomes free is worth a look.
    pub(super) is_wanted: bool,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    /// Whose records are not handed over; as often as there are records of theirs.
    partitions: Vec<PartitionId>,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: 0, reserved: 0, answers: BTreeMap::new(), is_wanted: false }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes room for an answer with at most `most` bytes, for one of `brokers` that are fetched from. Two answers of
    /// each fit at once, so that one is on its way while the other one is read. `None`: not now.
    pub(super) fn reserve(
        &mut self,
        most: usize,
        brokers: usize,
        is_paused: impl Fn(PartitionId) -> bool,
    ) -> Option<usize> {
        let share = (self.limit / 2 / brokers.max(1)).max(1);
        let most = most.min(share);
        let least = most.min(self.limit / LEAST_PART / brokers.max(1)).max(1);
        let left = self.limit.saturating_sub(self.held + self.reserved);
        let room = match left {
            left if left >= least => most.min(left),
            // Nobody hands over what is paused, and the others need not wait for it.
            _ if self.reserved == 0 && self.waits_for_nobody(is_paused) => least,
            _ => {
                self.is_wanted = true;
                return None;
            }
        };
        self.reserved += room;
        Some(room)
    }

    /// An answer has come, or will not.
    pub(super) fn unreserve(&mut self, room: usize) {
        self.reserved = self.reserved.saturating_sub(room);
    }

    /// An answer of so many bytes is held for these partitions.
    pub(super) fn hold(&mut self, answer: RequestToken, bytes: usize, partitions: Vec<PartitionId>) {
        if !partitions.is_empty() {
            self.held += bytes;
            self.answers.insert(answer, Held { bytes, partitions });
        }
    }

    /// What an answer had for this partition is not held any more.
    pub(super) fn release(&mut self, answer: RequestToken, partition: PartitionId) {
        let Some(held) = self.answers.get_mut(&answer) else { return };
        if let Some(at) = held.partitions.iter().position(|it| *it == partition) {
            held.partitions.swap_remove(at);
        }
        if held.partitions.is_empty() {
            self.held -= held.bytes;
            self.answers.remove(&answer);
        }
    }

    fn waits_for_nobody(&self, is_paused: impl Fn(PartitionId) -> bool) -> bool {
        self.answers.values().all(|held| held.partitions.iter().all(|partition| is_paused(*partition)))
    }
}
