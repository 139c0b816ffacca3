//! What records without a result take, and the room that there is for more. Room is given as the client gives it, by what the
//! machines say; what there is in truth is counted by what was put in.

use ottla_core::partition_queue::footprint;
use ottla_wire::records::NewRecord;

use super::{PartitionId, Produce, Queue, new_record};
use crate::invariants::{BUDGET, Invariant, MEMORY};
use crate::truth::{RecordId, encode_value};

/// What records take: by their footprints, and in bytes that no batch with them can do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) footprint: usize,
    bytes: usize,
}

impl Size {
    /// Of records as writers make them. Beside its value each has its length, attributes, two deltas, the lengths of key and
    /// value, and the number of headers.
    pub(super) fn of(record: &NewRecord<'_>) -> Self {
        let value = record.value.as_ref().map_or(0, |value| value.as_slice().len());
        Self { footprint: footprint(record), bytes: 7 + value }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.footprint += other.footprint;
        self.bytes += other.bytes;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.footprint -= other.footprint;
        self.bytes -= other.bytes;
    }

    fn most(self) -> usize {
        self.footprint.max(self.bytes)
    }
}

impl Produce {
    /// Whether there is room for a record with a value of so many bytes that nobody has taken so far, in its partition and
    /// in all.
    pub(crate) fn has_room(&self, id: PartitionId, bytes: usize) -> bool {
        let size = size_of(bytes) as i64;
        self.queues.get(&id).is_some_and(|it| size <= it.room) && size <= self.room
    }

    /// Takes room for such a record, if there is enough, as the client does.
    pub(crate) fn admits(&mut self, id: PartitionId, bytes: usize) -> bool {
        let Some(it) = self.queues.get_mut(&id) else { return false };
        let (in_partition, in_all) = (&mut it.room, &mut self.room);
        it.credit.covers(size_of(bytes), |size| {
            let size = size as i64;
            let is_there = size <= *in_partition && size <= *in_all;
            if is_there {
                (*in_partition, *in_all) = (*in_partition - size, *in_all - size);
            }
            is_there
        })
    }

    /// Takes it although there may be none.
    pub(crate) fn insists(&mut self, id: PartitionId, bytes: usize) {
        let Some(it) = self.queues.get_mut(&id) else { return };
        let size = size_of(bytes);
        it.credit.add(size);
        (it.room, self.room) = (it.room - size as i64, self.room - size as i64);
    }

    /// What every queue says it holds is what its unresolved records take, and they are no more than there may be, but for
    /// `more` bytes.
    pub(crate) fn miscounted(&self, more: usize) -> Option<(Invariant, String)> {
        if let Some(wrong) = self.queues.values().find(|it| it.queue.memory() != it.held.footprint) {
            let Queue { topic, partition, queue, held, .. } = wrong;
            let says = queue.memory();
            let what =
                format!("{topic}/{partition} says it holds {says} bytes, and its records take {held:?}");
            return Some((MEMORY, what));
        }
        // By what was put in and has no result; what was admitted, and why, does not count.
        let (mut most, mut all) = (0, Size::default());
        for it in self.queues.values() {
            most = it.held.most().max(most);
            all.add(it.held);
        }
        let (all, budget, buffer_memory) = (all.most(), self.budget, self.buffer_memory);
        (most > budget + more || all > buffer_memory + more).then(|| {
            let what = format!("{most} of {budget} bytes in a partition, {all} of {buffer_memory} in all");
            (BUDGET, what)
        })
    }

    /// Where nothing is under way, all room is back.
    pub(crate) fn missing(&self) -> Option<(Invariant, String)> {
        let (room, all) = (self.room, self.buffer_memory as i64);
        (self.batches.is_empty() && room != all)
            .then(|| (MEMORY, format!("{room} bytes are free of {all}, and nothing is under way")))
    }
}

/// What a record with a value of so many bytes takes of a budget.
fn size_of(bytes: usize) -> usize {
    footprint(&new_record(&encode_value(RecordId(0), 0, bytes), 0))
}
