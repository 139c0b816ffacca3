//! [`SealedBatch`]: records that never change again, and the header that each attempt to send them gets.
//!
//! ```text
//! SealedBatch --stamp(&Stamp)--> 61 bytes: producer id, epoch and sequence of this attempt; CRC over them and the records
//! ```
//!
//! [`restamp`] is the broker's side: the offsets it gives, and its clock.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::crc::crc32c;
use super::header::{CRC_AT, CRC_END, LENGTH_END, MAGIC};
use super::{Attributes, BATCH_HEADER_LEN, BatchHeader, RecordBatch, TimestampType};
use crate::RecordSet;
use crate::writer::COPY_LIMIT;

/// A batch without its header. A clone is a reference.
#[derive(Clone)]
pub struct SealedBatch(Arc<Sealed>);

pub(super) struct Sealed {
    pub(super) chunks: Vec<Bytes>,
    pub(super) records_len: usize,
    pub(super) count: i32,
    pub(super) last_offset_delta: i32,
    pub(super) attributes: Attributes,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
}

impl SealedBatch {
    pub(super) fn new(sealed: Sealed) -> Self {
        Self(Arc::new(sealed))
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.0.count as usize
    }

    /// Bytes on the wire: the header and the records, compressed if they are.
    pub fn len(&self) -> usize {
        BATCH_HEADER_LEN + self.0.records_len
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// The codec; the other attributes come with the [`Stamp`].
    pub fn attributes(&self) -> Attributes {
        self.0.attributes
    }

    /// What the records' timestamps count from, in ms.
    pub fn base_timestamp(&self) -> i64 {
        self.0.base_timestamp
    }

    /// The largest timestamp in ms; -1 without records.
    pub fn max_timestamp(&self) -> i64 {
        self.0.max_timestamp
    }

    /// The bytes behind the header.
    pub fn chunks(&self) -> &[Bytes] {
        &self.0.chunks
    }

    /// The header for one attempt. Reads all records once, for the CRC: about 1 us for 64 KiB.
    pub fn stamp(&self, stamp: &Stamp) -> [u8; BATCH_HEADER_LEN] {
        let mut header = BatchHeader {
            base_offset: stamp.base_offset,
            // The builder refuses what would not fit, and the compressor what came out too long.
            batch_length: i32::try_from(self.len() - LENGTH_END).unwrap_or(i32::MAX),
            partition_leader_epoch: stamp.partition_leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: self
                .0
                .attributes
                .with_transactional(stamp.is_transactional)
                .with_control(stamp.is_control)
                .with_delete_horizon(stamp.has_delete_horizon),
            last_offset_delta: self.0.last_offset_delta,
            base_timestamp: self.0.base_timestamp,
            max_timestamp: self.0.max_timestamp,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            base_sequence: stamp.base_sequence,
            records_count: self.0.count,
        };
        if let Some(time) = stamp.log_append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = time;
        }
        let mut bytes = header.write();
        let crc =
            crc32c(std::iter::once(&bytes[CRC_END..]).chain(self.0.chunks.iter().map(|chunk| &chunk[..])));
        bytes[CRC_AT..CRC_END].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The stamped batch: the header and the chunks, which are referenced, or all of it in one piece where it is small enough to be copied
    /// into a request.
    pub fn record_set(&self, stamp: &Stamp) -> RecordSet {
        if self.len() <= COPY_LIMIT {
            let mut whole = BytesMut::with_capacity(self.len());
            whole.extend_from_slice(&self.stamp(stamp));
            self.0.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
            return RecordSet::Contiguous(whole.freeze());
        }
        let mut chunks = Vec::with_capacity(self.0.chunks.len() + 1);
        chunks.push(Bytes::copy_from_slice(&self.stamp(stamp)));
        chunks.extend_from_slice(&self.0.chunks);
        RecordSet::Chunks(chunks)
    }
}

impl fmt::Debug for SealedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBatch")
            .field("count", &self.count())
            .field("len", &self.len())
            .field("attributes", &self.0.attributes)
            .finish_non_exhaustive()
    }
}

/// What a header says beyond the records: one snapshot of the producer's state, and for logs the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// The sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// Whether it is the broker's own.
    pub is_control: bool,
    /// Whether the base timestamp is a delete horizon.
    pub has_delete_horizon: bool,
    /// With LogAppendTime the time of all records, in ms.
    pub log_append_time: Option<i64>,
    /// 0 from a producer.
    pub base_offset: i64,
    /// -1 from a producer.
    pub partition_leader_epoch: i32,
}

impl Default for Stamp {
    /// A producer without idempotence.
    fn default() -> Self {
        Self {
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            is_transactional: false,
            is_control: false,
            has_delete_horizon: false,
            log_append_time: None,
            base_offset: 0,
            partition_leader_epoch: -1,
        }
    }
}

/// What a broker sets when it appends a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restamp {
    /// The offset of the batch's first record.
    pub base_offset: i64,
    /// The leader's epoch.
    pub partition_leader_epoch: i32,
    /// With LogAppendTime the broker's clock, in ms; `None` keeps the timestamps as they are.
    pub log_append_time: Option<i64>,
}

/// `batch` as a broker would append it. Copies it once; the CRC is computed anew, and only then, when the timestamps
/// change: offset and epoch are not covered by it.
pub fn restamp(batch: &RecordBatch, restamp: &Restamp) -> Bytes {
    let (_, records) = batch.bytes().split_at(BATCH_HEADER_LEN);
    let mut header = BatchHeader {
        base_offset: restamp.base_offset,
        partition_leader_epoch: restamp.partition_leader_epoch,
        ..*batch.header()
    };
    let mut head = header.write();
    if let Some(time) = restamp.log_append_time {
        header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        header.max_timestamp = time;
        head = header.write();
        let crc = crc32c([&head[CRC_END..], records]);
        head[CRC_AT..CRC_END].copy_from_slice(&crc.to_be_bytes());
    }
    let mut bytes = BytesMut::with_capacity(batch.bytes().len());
    bytes.put_slice(&head);
    bytes.put_slice(records);
    bytes.freeze()
}
