//! Batches that are too large for their topic: they are split in two, as often as need be, and are one delivery all the
//! same.
//!
//! The parts take the place of the batch, and have its sequences: the first one starts where the batch started, the
//! second where the first ends. So nothing behind them is renumbered.

use std::time::Instant;

use ottla_wire::compression::Codec;
use ottla_wire::records::{SealedBatch, SplitError, Stamp};

use super::identity::sequence_after;
use super::partition::{Partition, Pending};
use super::{Action, DeliveryError, PartitionId, Producer, RequestToken, Written};

/// A batch to be split.
#[derive(Debug)]
pub struct SplitBatch {
    /// Its partition.
    pub partition: PartitionId,
    /// The request in which it was too large, for [`Producer::handle_split`].
    pub token: RequestToken,
    /// The batch.
    pub sealed: SealedBatch,
    /// How its parts are compressed.
    pub codec: Codec,
    /// Its bytes before compression, about, for [`PartitionQueue::shrink`](crate::partition_queue::PartitionQueue::shrink).
    pub encoded_len: usize,
}

/// What a batch's records are owed.
#[derive(Debug)]
pub(super) enum Owed<D> {
    /// All of what was pushed.
    Whole { delivery: D, memory: usize },
    /// A part of it.
    Part {
        /// Which [`Split`].
        split: RequestToken,
        /// The place of the part's first record in the batch as it was pushed.
        first: usize,
    },
    /// Nothing any more: it was resolved while its last attempt was still in flight.
    Nothing,
}

impl<D> Owed<D> {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A batch whose parts are not all resolved yet. Known by the request in which it was split first.
#[derive(Debug)]
pub(super) struct Split<D> {
    token: RequestToken,
    delivery: D,
    memory: usize,
    /// Parts without a result.
    left: usize,
    parts: Vec<(usize, Result<Written, DeliveryError>)>,
}

impl<D> Producer<D> {
    /// What [`Action::Split`] came to.
    pub fn handle_split(
        &mut self,
        now: Instant,
        partition: PartitionId,
        token: RequestToken,
        parts: Result<(SealedBatch, SealedBatch), SplitError>,
    ) {
        self.advance(now);
        let Some(it) = self.partitions.get_mut(&partition) else { return };
        // It may be gone: its time was over.
        let Some(at) = it.batches.iter().position(|batch| batch.splitting == Some(token)) else { return };
        it.batches[at].splitting = None;
        match parts {
            Ok((first, second)) => it.replace(at, token, first, second),
            Err(_) => {
                let batch = &it.batches[at];
                let (outcome, cause) = (batch.outcome(), batch.cause.clone());
                let action = cause.and_then(|cause| it.fail(at, outcome, cause, &mut self.identity));
                self.actions.extend(action);
                if let Some(it) = self.partitions.get_mut(&partition) {
                    it.restamp();
                }
            }
        }
        self.settle(partition);
    }
}

impl<D> Partition<D> {
    /// Whether a batch that was too large can become two: there are two records, somebody wants them, and no earlier
    /// attempt may have written them as they are.
    pub(super) fn may_split(&self, at: usize) -> bool {
        let batch = &self.batches[at];
        batch.records() > 1 && !batch.unknown && !batch.owed.is_nothing()
    }

    /// Puts the parts of a batch into its place.
    fn replace(&mut self, at: usize, token: RequestToken, first: SealedBatch, second: SealedBatch) {
        let Some(batch) = self.batches.remove(at) else { return };
        let count = first.count();
        let (split, start) = match batch.owed {
            Owed::Part { split, first } => {
                self.splits.iter_mut().filter(|it| it.token == split).for_each(|it| it.left += 1);
                (split, first)
            }
            Owed::Whole { delivery, memory } => {
                self.splits.push(Split { token, delivery, memory, left: 2, parts: Vec::new() });
                (token, 0)
            }
            Owed::Nothing => return,
        };
        let part = |sealed, skipped| Pending {
            sealed,
            settings: batch.settings,
            encoded_len: batch.encoded_len / 2,
            deadline: batch.deadline,
            full: batch.full,
            owed: Owed::Part { split, first: start + skipped },
            stamp: batch
                .stamp
                .map(|stamp| Stamp { base_sequence: sequence_after(stamp.base_sequence, skipped), ..stamp }),
            attempts: batch.attempts,
            unknown: false,
            in_flight: None,
            splitting: None,
            cause: batch.cause.clone(),
        };
        let (first, second) = (part(first, 0), part(second, count));
        self.batches.insert(at, second);
        self.batches.insert(at, first);
    }

    /// Pays what is owed for a batch of so many records; an action when that was all of what was pushed.
    pub(super) fn pay(
        &mut self,
        owed: Owed<D>,
        records: usize,
        result: Result<Written, DeliveryError>,
    ) -> Option<Action<D>> {
        let partition = self.id;
        match &result {
            _ if owed.is_nothing() => {}
            Ok(_) => self.resolved.0 += records as u64,
            Err(_) => self.resolved.1 += records as u64,
        }
        match owed {
            Owed::Nothing => None,
            Owed::Whole { delivery, memory } => Some(Action::Resolve { partition, delivery, memory, result }),
            Owed::Part { split, first } => {
                let at = self.splits.iter().position(|it| it.token == split)?;
                self.splits[at].parts.push((first, result));
                self.splits[at].left -= 1;
                if self.splits[at].left > 0 {
                    return None;
                }
                let Split { delivery, memory, mut parts, .. } = self.splits.swap_remove(at);
                parts.sort_by_key(|(first, _)| *first);
                Some(Action::ResolveParts { partition, delivery, memory, parts })
            }
        }
    }
}
