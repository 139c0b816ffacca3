//! [`BatchError`]: why bytes are not the record batch they should be.

use std::fmt;

use super::{BATCH_HEADER_LEN, MAX_HEADERS};
use crate::compression::CompressionError;
use crate::varint::VarintError;

/// Bytes that are not a record batch, or a batch that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError {
    /// The batch's base offset, as far as it can be trusted; -1 where it is not known.
    pub base_offset: i64,
    /// What was wrong.
    pub kind: BatchErrorKind,
}

/// What was wrong with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchErrorKind {
    /// A message format this crate does not read.
    Magic(i8),
    /// Fewer bytes than a header has.
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The batch length cannot be: shorter than a header, or other than the bytes that are there.
    Length {
        /// The length field.
        batch_length: i32,
        /// The bytes behind the length field.
        available: usize,
    },
    /// A header field that cannot be.
    Header {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// The CRC-32C over attributes to last record is another one.
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes have.
        computed: u32,
    },
    /// Decompression.
    Compression(CompressionError),
    /// A record.
    Record {
        /// Which one, counted from 0.
        index: i32,
        /// What was wrong with it.
        fault: RecordFault,
    },
    /// Bytes behind the last record.
    Leftover {
        /// How many.
        bytes: usize,
    },
    /// The key or value of a control record.
    Control {
        /// Which part, and what was wrong.
        what: &'static str,
    },
}

/// What was wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFault {
    /// The batch's bytes ended inside the record, or the record's inside a field.
    Truncated,
    /// A varint longer than its type.
    Varint,
    /// A length or count that is negative where it may not be.
    Negative(i32),
    /// More headers than there are bytes for.
    HeaderCount(i32),
    /// More headers than [`MAX_HEADERS`].
    TooManyHeaders(i32),
    /// The record's length says more bytes than its fields take.
    Leftover(usize),
    /// The offset delta is negative or beyond the batch's last one.
    OffsetDelta(i32),
    /// Base timestamp and delta together exceed 64 bits.
    TimestampDelta(i64),
}

impl From<VarintError> for RecordFault {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Truncated => Self::Truncated,
            VarintError::TooLong => Self::Varint,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base_offset {
            -1 => write!(f, "record batch: {}", self.kind),
            offset => write!(f, "record batch at offset {offset}: {}", self.kind),
        }
    }
}

impl fmt::Display for BatchErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic @ 0..=1) => write!(
                f,
                "message format {magic} is not read: clients from before kafka 0.11 wrote it; have the records written again by a newer one"
            ),
            Self::Magic(magic) => write!(f, "unknown message format {magic}"),
            Self::Short { bytes } => write!(f, "{bytes} bytes are no batch: a header has {BATCH_HEADER_LEN}"),
            Self::Length { batch_length, available } => {
                write!(f, "batch length {batch_length} does not fit the {available} bytes behind it")
            }
            Self::Header { field, value } => write!(f, "{field} cannot be {value}"),
            Self::Crc { stored, computed } => {
                write!(f, "crc is {computed:#010x}, the header says {stored:#010x}: the batch was damaged")
            }
            Self::Compression(error) => write!(f, "{error}"),
            Self::Record { index, fault } => write!(f, "record {index}: {fault}"),
            Self::Leftover { bytes } => write!(f, "{bytes} bytes behind the last record"),
            Self::Control { what } => write!(f, "control record: {what}"),
        }
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("ends inside a field"),
            Self::Varint => f.write_str("varint longer than its type"),
            Self::Negative(length) => write!(f, "negative length {length}"),
            Self::HeaderCount(count) => write!(f, "announces {count} headers, more than its bytes can hold"),
            Self::TooManyHeaders(count) => {
                write!(f, "has {count} headers, {MAX_HEADERS} is the most that is read")
            }
            Self::Leftover(bytes) => write!(f, "{bytes} bytes behind its last field"),
            Self::OffsetDelta(delta) => write!(f, "offset delta {delta} is outside the batch"),
            Self::TimestampDelta(delta) => write!(f, "timestamp delta {delta} leaves 64 bits"),
        }
    }
}

impl std::error::Error for BatchError {}
