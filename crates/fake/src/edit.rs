//! What a test may do to logs: append, begin and end transactions, age, compact, forget.
//!
//! What is appended here comes from nobody: no request, no check, and nothing of it among what was accepted.

use std::time::Instant;

use ottla_wire::records::TimestampType::LogAppendTime;

use crate::batch::{Draft, LOG_APPEND_TIME, NewRecord};
use crate::cluster::FakeCluster;
use crate::control::ControlError;
use crate::log::Marker;

impl FakeCluster {
    /// Appends records without a producer, as one batch, and returns the offset of the first.
    pub fn append(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Result<i64, ControlError> {
        self.append_draft(now, topic, partition, Draft::of(records), None)
    }

    /// Appends records of a transaction, which begins here if none of that producer is open.
    pub fn append_transactional(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        producer: (i64, i16),
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Result<i64, ControlError> {
        let found = self.partition_of(topic, partition)?;
        let known = found.log.producers().producer(producer.0).filter(|known| known.epoch == producer.1);
        let last = known.and_then(|known| known.batches.back()).map(|batch| batch.last_sequence);
        let mut draft = Draft::of(records);
        draft.attributes = TRANSACTIONAL;
        (draft.producer_id, draft.producer_epoch) = producer;
        draft.base_sequence = last.map_or(0, |last| crate::producers::advance(last, 1));
        self.append_draft(now, topic, partition, draft, None)
    }

    /// Appends the marker that ends a transaction.
    pub fn end_transaction(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        producer: (i64, i16),
        marker: Marker,
    ) -> Result<i64, ControlError> {
        let (kind, version, coordinator_epoch) = (i16::from(marker == Marker::Commit), 0_i16, 0_i32);
        let key = [version.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&version.to_be_bytes()[..], &coordinator_epoch.to_be_bytes()].concat();
        let mut draft = Draft::of([NewRecord::new(key, value, self.wall_ms(now))]);
        draft.attributes = TRANSACTIONAL | CONTROL;
        (draft.producer_id, draft.producer_epoch) = producer;
        self.append_draft(now, topic, partition, draft, Some(marker))
    }

    fn append_draft(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        mut draft: Draft,
        marker: Option<Marker>,
    ) -> Result<i64, ControlError> {
        if draft.records.is_empty() {
            return Err(ControlError("a batch needs a record".to_owned()));
        }
        self.advance(now);
        let id = self.id_of(topic)?;
        let wall_ms = self.wall_ms(now);
        let is_stamped = self.topics.by_id(id).is_some_and(|it| it.config.timestamp_type == LogAppendTime);
        let found = self.partition_of(topic, partition)?;
        if is_stamped {
            draft.attributes |= LOG_APPEND_TIME;
            draft.max_timestamp = wall_ms;
        }
        draft.base_offset = found.log.end();
        draft.leader_epoch = found.leader_epoch;
        let (header, bytes) = draft.encode();
        let offset = found.log.append(header, bytes, marker);
        self.replicate(now, id, partition);
        self.changed = true;
        self.settle(now);
        Ok(offset)
    }

    /// Forgets the records below `offset`, as retention does.
    pub fn raise_log_start(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.log.raise_start(offset))
    }

    /// Removes records that later ones replace, and those of aborted transactions, as the log cleaner does, up to the last
    /// batch and the first open transaction.
    pub fn compact(&mut self, now: Instant, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| {
            let limit = p.log.batches().last().map_or(0, |batch| batch.header.base_offset);
            p.log.compact(limit.min(p.last_stable_offset()));
        })
    }

    /// Removes what is too old (`retention.ms`, by the records' timestamps) or too much (`retention.bytes`) in the topics
    /// whose `cleanup.policy` has `delete`. A batch is a segment here: it goes as a whole. Nothing above the high
    /// watermark goes.
    pub fn apply_retention(&mut self, now: Instant) {
        self.advance(now);
        let wall_ms = self.wall_ms(now);
        for topic in self.topics.iter_mut().filter(|topic| topic.config.deleted) {
            for partition in &mut topic.partitions {
                let limit = partition.high_watermark;
                partition.log.retain(&topic.config, wall_ms, limit);
            }
        }
        self.changed = true;
        self.settle(now);
    }

    /// Forgets what a partition remembers of a producer, as when its state expires.
    pub fn forget_producer(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        producer_id: i64,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| {
            p.log.producers_mut().forget(producer_id);
        })
    }
}

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
