//! [`BatchHeader`] and [`Attributes`]: the 61 bytes in front of a batch's records.

use std::fmt;

use crate::compression::{Compression, CompressionError};

/// The length of a batch header.
pub const BATCH_HEADER_LEN: usize = 61;
/// Bytes up to and including the batch length, which does not count them.
pub(super) const LENGTH_END: usize = 12;
/// Where the magic byte stands.
pub(super) const MAGIC_AT: usize = 16;
/// Where the CRC stands.
pub(super) const CRC_AT: usize = 17;
/// The CRC covers everything from here.
pub(super) const CRC_END: usize = 21;
/// The message format of this module.
pub const MAGIC: i8 = 2;

/// Bytes of a batch whose length field says this, its header included. `None`: no batch is that short.
pub fn whole_len(batch_length: i32) -> Option<usize> {
    let len = usize::try_from(batch_length).ok()?.checked_add(LENGTH_END)?;
    Some(len).filter(|len| *len >= BATCH_HEADER_LEN)
}

/// The header of a record batch, field by field in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the batch's first record when it was written; compaction keeps it.
    pub base_offset: i64,
    /// Bytes of the batch behind this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended it; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// The message format, 2.
    pub magic: i8,
    /// CRC-32C from the attributes to the last byte.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// The last offset minus the base offset, whether or not the last record is still there.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from, in ms; the delete horizon if the attributes say so.
    pub base_timestamp: i64,
    /// The largest timestamp in ms, and with LogAppendTime the one of every record. -1 for none.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// The sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// Records that are there; fewer than offsets after compaction, perhaps none.
    pub records_count: i32,
}

impl BatchHeader {
    /// The offset behind the batch: the next one to ask for, whatever records it still has.
    ///
    /// `None` if it exceeds 63 bits, which a [`super::RecordBatch`] never does.
    pub fn next_offset(&self) -> Option<i64> {
        self.base_offset.checked_add(i64::from(self.last_offset_delta))?.checked_add(1)
    }

    /// The last offset, whether or not its record is still there.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The header as it is in `bytes`, unchecked.
    pub fn read(bytes: &[u8; BATCH_HEADER_LEN]) -> Self {
        let mut cursor = Cursor(bytes);
        Self {
            base_offset: i64::from_be_bytes(cursor.take()),
            batch_length: i32::from_be_bytes(cursor.take()),
            partition_leader_epoch: i32::from_be_bytes(cursor.take()),
            magic: i8::from_be_bytes(cursor.take()),
            crc: u32::from_be_bytes(cursor.take()),
            attributes: Attributes(i16::from_be_bytes(cursor.take())),
            last_offset_delta: i32::from_be_bytes(cursor.take()),
            base_timestamp: i64::from_be_bytes(cursor.take()),
            max_timestamp: i64::from_be_bytes(cursor.take()),
            producer_id: i64::from_be_bytes(cursor.take()),
            producer_epoch: i16::from_be_bytes(cursor.take()),
            base_sequence: i32::from_be_bytes(cursor.take()),
            records_count: i32::from_be_bytes(cursor.take()),
        }
    }

    /// The header as bytes, field by field: what it says, not what would be right.
    pub fn write(&self) -> [u8; BATCH_HEADER_LEN] {
        let mut bytes = [0; BATCH_HEADER_LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.partition_leader_epoch.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.0.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.records_count.to_be_bytes());
        bytes
    }
}

/// Fixed-size fields off the front of a header, which has bytes enough for all of them.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *first
    }
}

/// The attributes of a batch. Bits without a meaning are kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec of the records.
    ///
    /// # Errors
    /// A codec number that is not known.
    pub fn compression(self) -> Result<Compression, CompressionError> {
        Compression::from_id((self.0 & Self::CODEC) as u8)
    }

    /// What the timestamps mean.
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// Whether the records are the broker's own: transaction markers and the like, never shown to users.
    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// Whether the base timestamp is the time from which compaction may drop the batch's tombstones (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    /// The same with another codec.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !Self::CODEC | i16::from(compression.id()))
    }

    /// The same with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// The same inside, or outside, of a transaction.
    #[must_use]
    pub fn with_transactional(self, is_transactional: bool) -> Self {
        self.with(Self::TRANSACTIONAL, is_transactional)
    }

    /// The same as a control batch, or not.
    #[must_use]
    pub fn with_control(self, is_control: bool) -> Self {
        self.with(Self::CONTROL, is_control)
    }

    /// The same with a delete horizon as base timestamp, or not.
    #[must_use]
    pub fn with_delete_horizon(self, has_delete_horizon: bool) -> Self {
        self.with(Self::DELETE_HORIZON, has_delete_horizon)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What a record's timestamp means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer set it.
    CreateTime,
    /// The broker set it when it appended the batch.
    LogAppendTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips() {
        let bytes: [u8; BATCH_HEADER_LEN] = std::array::from_fn(|i| i as u8 + 1);
        let header = BatchHeader::read(&bytes);
        assert_eq!(header.base_offset, 0x0102_0304_0506_0708);
        assert_eq!(header.magic, 0x11);
        assert_eq!(header.records_count, 0x3a3b_3c3d);
        assert_eq!(header.write(), bytes);
    }

    #[test]
    fn attributes_are_independent_bits() {
        let all = Attributes::default()
            .with_compression(Compression::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .with_transactional(true)
            .with_control(true)
            .with_delete_horizon(true);
        assert_eq!(all.0, 0b111_1100);
        assert_eq!(all.with_transactional(false).0, 0b110_1100);
        assert_eq!(all.compression(), Ok(Compression::Zstd));
        assert!(Attributes(5).compression().is_err());
        assert_eq!(
            Attributes(0x7f80).with_control(true).with_control(false).0,
            0x7f80,
            "unknown bits are kept"
        );
    }
}
