//! The log of one partition: its batches, its leader epochs, and what is known of producers and transactions.
//!
//! It owns offsets (start and end), the bytes as they lie on a broker's disk, the index of epochs (KIP-101) and of
//! aborted transactions. It does not know replicas, leaders or the high watermark: those belong to
//! [`Partition`](crate::partition::Partition), which passes the limit up to which a reader may see.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use ottla_wire::records::{BatchHeader, DecodedBatch, Decoder, OwnedRecord, RecordBatch, batches};

use crate::config::TopicConfig;
use crate::producers::{Producers, Written};

/// One batch as it lies in the log, stamped with its offset and leader epoch.
#[derive(Debug, Clone)]
pub struct StoredBatch {
    /// The header as it is stored.
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub bytes: Bytes,
}

impl StoredBatch {
    /// The offset of the last record the batch had when it was written.
    pub fn last_offset(&self) -> i64 {
        self.header.base_offset + i64::from(self.header.last_offset_delta)
    }

    /// The records, decoded.
    ///
    /// # Panics
    /// When the stored bytes are no longer a batch, which the append checked.
    pub fn records(&self) -> Vec<OwnedRecord> {
        self.checked()
            .map(|decoded| decoded.iter().flatten().map(|view| decoded.owned(&view)).collect())
            .unwrap_or_default()
    }

    fn checked(&self) -> Option<DecodedBatch> {
        let batch: RecordBatch = batches(self.bytes.clone()).next()?.ok()?;
        batch.decode(&mut Decoder::default()).ok()
    }

    fn newest(&self) -> Option<Newest> {
        let timestamp = self.header.max_timestamp;
        let (offset, _) = self.stamps().into_iter().find(|(_, stamp)| *stamp == timestamp)?;
        Some(Newest { timestamp, offset, leader_epoch: self.header.partition_leader_epoch })
    }

    /// Offset and timestamp of every record.
    fn stamps(&self) -> Vec<(i64, i64)> {
        self.checked()
            .map(|decoded| decoded.iter().flatten().map(|view| (view.offset, view.timestamp)).collect())
            .unwrap_or_default()
    }
}

/// A transaction that was aborted, as the log's index of aborted transactions has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Where the transaction began.
    pub first_offset: i64,
    /// The offset of its abort marker.
    pub last_offset: i64,
}

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    batches: VecDeque<StoredBatch>,
    start: i64,
    end: i64,
    /// (epoch, first offset written under it), ascending.
    epochs: Vec<(i32, i64)>,
    producers: Producers,
    /// Open transactions: first offset -> producer id.
    ongoing: BTreeMap<i64, i64>,
    aborted: Vec<AbortedTransaction>,
    /// The newest record among those that DeleteRecords took away: brokers still know it.
    deleted: Option<Newest>,
}

/// The newest record of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Slices of stored batches; the last may be cut short by the size limit, as on a broker.
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// The offset after the last byte found.
    pub(crate) upto: i64,
}

impl Log {
    pub(crate) fn new(leader_epoch: i32) -> Self {
        Self {
            batches: VecDeque::new(),
            start: 0,
            end: 0,
            epochs: vec![(leader_epoch, 0)],
            producers: Producers::default(),
            ongoing: BTreeMap::new(),
            aborted: Vec::new(),
            deleted: None,
        }
    }

    /// The first offset that can be read.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The offset the next record gets.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The batches, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter()
    }

    /// What the log remembers of idempotent producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    pub(crate) fn producers_mut(&mut self) -> &mut Producers {
        &mut self.producers
    }

    /// Where the oldest open transaction began.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        self.ongoing.keys().next().copied()
    }

    /// The transactions that ended with an abort marker, in the order of their markers.
    pub fn aborted(&self) -> &[AbortedTransaction] {
        &self.aborted
    }

    /// Appends a checked batch and returns its base offset.
    pub(crate) fn append(&mut self, header: BatchHeader, bytes: Bytes, marker: Option<Marker>) -> i64 {
        let base = header.base_offset;
        debug_assert_eq!(base, self.end, "a batch is stamped with the end of the log");
        self.begin_epoch(header.partition_leader_epoch);
        self.end = base + i64::from(header.last_offset_delta) + 1;
        if header.producer_id >= 0 {
            self.remember(&header, marker);
        }
        self.batches.push_back(StoredBatch { header, bytes });
        base
    }

    fn remember(&mut self, header: &BatchHeader, marker: Option<Marker>) {
        match marker {
            Some(marker) => {
                self.producers.marked(header.producer_id, header.producer_epoch, header.max_timestamp);
                let first =
                    self.ongoing.iter().find(|(_, id)| **id == header.producer_id).map(|(first, _)| *first);
                if let Some(first_offset) = first {
                    self.ongoing.remove(&first_offset);
                    if marker == Marker::Abort {
                        let last_offset = header.base_offset;
                        self.aborted.push(AbortedTransaction {
                            producer_id: header.producer_id,
                            first_offset,
                            last_offset,
                        });
                    }
                }
            }
            None => {
                self.producers.written(header.producer_id, header.producer_epoch, Written::of(header));
                let open = self.ongoing.values().any(|id| *id == header.producer_id);
                if header.attributes.is_transactional() && !open {
                    self.ongoing.insert(header.base_offset, header.producer_id);
                }
            }
        }
    }

    /// Notes that `epoch` begins at the end of the log.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.retain(|(_, start)| *start < self.end);
            self.epochs.push((epoch, self.end));
        }
    }

    /// The epoch under which `offset` was written.
    pub(crate) fn epoch_of(&self, offset: i64) -> Option<i32> {
        self.epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The largest epoch not above `epoch`, and where it ends (KIP-101, KIP-279); (-1, -1) when unknown.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        if epoch < 0 {
            return (-1, -1);
        }
        if self.epochs.last().is_some_and(|(latest, _)| *latest == epoch) {
            return (epoch, self.end);
        }
        let Some((_, end)) = self.epochs.iter().find(|(known, _)| *known > epoch) else { return (-1, -1) };
        let floor = self.epochs.iter().rev().find(|(known, _)| *known <= epoch);
        (floor.map_or(epoch, |(known, _)| *known), *end)
    }

    /// Reads from `from` up to the offset `limit`, at most `max_bytes`; the first batch is whole if `first_whole`.
    pub(crate) fn read(&self, from: i64, limit: i64, max_bytes: usize, first_whole: bool) -> Found {
        let mut found = Found { upto: from, ..Found::default() };
        let begin = self.batches.partition_point(|batch| batch.last_offset() < from);
        let mut room = max_bytes;
        for batch in self.batches.range(begin..) {
            if batch.header.base_offset >= limit || (room == 0 && !(first_whole && found.bytes == 0)) {
                break;
            }
            let size = batch.bytes.len();
            if found.bytes == 0 && size > room {
                if !first_whole {
                    break;
                }
                room = size;
            }
            let taken = size.min(room);
            found.chunks.push(batch.bytes.slice(..taken));
            found.bytes += taken;
            found.upto = batch.last_offset() + 1;
            room -= taken;
        }
        found
    }

    /// The aborted transactions that touch offsets from `from` up to, without, `upto`.
    pub(crate) fn aborted_between(&self, from: i64, upto: i64) -> Vec<AbortedTransaction> {
        self.aborted.iter().filter(|t| t.last_offset >= from && t.first_offset < upto).copied().collect()
    }

    /// The first record whose timestamp is at least `timestamp`: (offset, timestamp).
    pub(crate) fn first_at_or_after(&self, timestamp: i64) -> Option<(i64, i64)> {
        self.batches
            .iter()
            .filter(|batch| batch.header.max_timestamp >= timestamp && batch.last_offset() >= self.start)
            .flat_map(StoredBatch::stamps)
            .find(|(offset, stamp)| *stamp >= timestamp && *offset >= self.start)
    }

    /// The record with the largest timestamp, the first of them when several have it (KIP-734). It may have been deleted.
    pub(crate) fn newest(&self) -> Option<Newest> {
        let batches = || self.batches.iter().filter(|batch| batch.header.records_count > 0);
        let max = batches().map(|batch| batch.header.max_timestamp).max();
        match self.deleted {
            Some(deleted) if max.is_none_or(|max| max <= deleted.timestamp) => Some(deleted),
            _ => batches().find(|batch| Some(batch.header.max_timestamp) == max)?.newest(),
        }
    }

    /// Forgets what lies below `offset`; a batch that reaches over it stays whole.
    pub(crate) fn raise_start(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.end));
        while let Some(batch) = self.batches.front().filter(|batch| batch.last_offset() < self.start) {
            let known = self.deleted.map_or(i64::MIN, |deleted| deleted.timestamp);
            if batch.header.max_timestamp > known {
                self.deleted = batch.newest();
            }
            self.batches.pop_front();
        }
        self.aborted.retain(|transaction| transaction.last_offset >= self.start);
        let current = self.epochs.iter().rposition(|(_, start)| *start <= self.start).unwrap_or(0);
        self.epochs.drain(..current);
        if let Some((_, start)) = self.epochs.first_mut() {
            *start = (*start).max(self.start);
        }
    }

    /// Forgets the oldest batches that are too old or too many, below `limit`.
    pub(crate) fn retain(&mut self, config: &TopicConfig, wall_ms: i64, limit: i64) {
        let mut size: i64 = self.batches.iter().map(|batch| batch.bytes.len() as i64).sum();
        let mut start = self.start;
        for batch in self.batches.iter().take_while(|batch| batch.last_offset() < limit) {
            let age = wall_ms.saturating_sub(batch.header.max_timestamp);
            let rest = size - batch.bytes.len() as i64;
            let too_old = config.retention_ms >= 0 && age > config.retention_ms;
            if !too_old && (config.retention_bytes < 0 || rest < config.retention_bytes) {
                break;
            }
            (size, start) = (rest, batch.last_offset() + 1);
        }
        self.raise_start(start);
        self.deleted = None;
    }

    /// Drops everything from `offset` on, and returns the batches that were lost, oldest first.
    pub(crate) fn truncate(&mut self, offset: i64) -> Vec<StoredBatch> {
        let keep = self.batches.partition_point(|batch| batch.last_offset() < offset);
        let lost: Vec<_> = self.batches.drain(keep..).collect();
        if let Some(first) = lost.first() {
            // The first of them may come after a hole that reaches over `offset`.
            self.end = first.header.base_offset.min(offset.max(self.start));
            self.replay();
        }
        self.start = self.start.min(self.end);
        let end = self.end;
        self.epochs.retain(|(_, start)| *start <= end);
        lost
    }

    /// Removes every record that a later one with the same key replaces, and those of aborted transactions, below the
    /// offset `limit`; batches keep their base and last offset, as after a broker's log cleaner. Batches that were left without
    /// records are dropped, but for the last one of each producer, by which a broker knows its sequence.
    pub(crate) fn compact(&mut self, limit: i64) {
        let (aborted, producers) = (&self.aborted, &self.producers);
        let is_aborted = |batch: &StoredBatch| {
            let (id, base) = (batch.header.producer_id, batch.header.base_offset);
            let has = |t: &AbortedTransaction| (t.first_offset..=t.last_offset).contains(&base);
            batch.header.attributes.is_transactional()
                && aborted.iter().any(|transaction| transaction.producer_id == id && has(transaction))
        };
        let is_last_of_producer = |batch: &StoredBatch| {
            let newest = producers.producer(batch.header.producer_id).and_then(|known| known.batches.back());
            newest.is_some_and(|newest| newest.last_offset == batch.last_offset())
        };
        let mut latest: BTreeMap<Bytes, i64> = BTreeMap::new();
        let counts = self.batches.iter().filter(|batch| !is_aborted(batch));
        for record in counts.flat_map(StoredBatch::records).filter(|r| r.offset < limit) {
            if let Some(key) = record.key {
                latest.insert(key, record.offset);
            }
        }
        let kept = |record: &OwnedRecord| {
            record.offset >= limit
                || record.key.as_ref().is_some_and(|key| latest.get(key) == Some(&record.offset))
        };
        self.batches = self
            .batches
            .drain(..)
            .filter_map(|batch| {
                if batch.last_offset() >= limit || batch.header.attributes.is_control() {
                    return Some(batch);
                }
                let is_aborted = is_aborted(&batch);
                crate::batch::retain(
                    &batch,
                    |record| !is_aborted && kept(record),
                    is_last_of_producer(&batch),
                )
            })
            .collect();
    }

    /// Rebuilds what follows from the batches: producers, open and aborted transactions.
    fn replay(&mut self) {
        let end = self.end;
        let forgotten = self.producers.forget_from(end);
        for StoredBatch { header, .. } in
            self.batches.iter().filter(|b| forgotten.contains(&b.header.producer_id))
        {
            match header.attributes.is_control() {
                true => {
                    self.producers.marked(header.producer_id, header.producer_epoch, header.max_timestamp);
                }
                false => {
                    self.producers.written(header.producer_id, header.producer_epoch, Written::of(header));
                }
            }
        }
        self.aborted.retain(|transaction| transaction.last_offset < end);
        self.ongoing.clear();
        let mut ended: BTreeMap<i64, i64> = BTreeMap::new();
        for batch in self.batches.iter().rev().filter(|b| b.header.producer_id >= 0) {
            let header = &batch.header;
            if header.attributes.is_control() {
                ended.entry(header.producer_id).or_insert(header.base_offset);
            }
        }
        for batch in self.batches.iter().filter(|b| b.header.attributes.is_transactional()) {
            let header = &batch.header;
            let over = ended.get(&header.producer_id).is_some_and(|marker| *marker >= header.base_offset);
            let open = self.ongoing.values().any(|id| *id == header.producer_id);
            if !over && !open && !header.attributes.is_control() {
                self.ongoing.insert(header.base_offset, header.producer_id);
            }
        }
    }

    /// All bytes of the log, as a reader without limits would get them.
    pub fn bytes(&self) -> Bytes {
        let mut all = BytesMut::new();
        for batch in &self.batches {
            all.extend_from_slice(&batch.bytes);
        }
        all.freeze()
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Its records become visible to `read_committed`.
    Commit,
    /// Its records stay hidden from `read_committed`.
    Abort,
}
