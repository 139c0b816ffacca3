//! [`batches`]: the batches of a response or request, one after another, each a checked view over its bytes.

use std::fmt;

use bytes::Bytes;

use super::crc::crc32c;
use super::header::{CRC_END, LENGTH_END, MAGIC, MAGIC_AT, whole_len};
use super::{BATCH_HEADER_LEN, BatchError, BatchErrorKind, BatchHeader, DecodedBatch, Decoder};
use crate::compression::Compression;

/// Goes through the batches in `records`.
///
/// A last batch that is cut off ends the iteration without an error: a broker cuts a fetch response at the size that
/// was asked for, wherever that is. Whoever may not lose it (a broker reading a Produce request, a fetch whose first
/// batch is cut) looks at [`BatchIter::remaining`].
pub fn batches(records: Bytes) -> BatchIter {
    BatchIter { rest: records, failed: false }
}

/// Iterates over batches; made by [`batches`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct BatchIter {
    rest: Bytes,
    failed: bool,
}

impl BatchIter {
    /// The bytes that were not read yet: after the last batch those of one that is cut off, or nothing.
    pub fn remaining(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for BatchIter {
    type Item = Result<RecordBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = match batch_len(&self.rest) {
            Ok(Some(len)) => RecordBatch::parse(self.rest.split_to(len)),
            Ok(None) => return None,
            Err(error) => Err(error),
        };
        self.failed = batch.is_err();
        Some(batch)
    }
}

impl std::iter::FusedIterator for BatchIter {}

/// The length of the first batch, or `None` if it is cut off. Never more than there is.
fn batch_len(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some((base_offset, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((batch_length, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let error = |kind| BatchError { base_offset: i64::from_be_bytes(*base_offset), kind };
    let batch_length = i32::from_be_bytes(*batch_length);
    if let Some(&magic) = bytes.get(MAGIC_AT).filter(|&&magic| magic as i8 != MAGIC) {
        return Err(error(BatchErrorKind::Magic(magic as i8)));
    }
    match whole_len(batch_length) {
        Some(len) => Ok((len <= bytes.len()).then_some(len)),
        None => Err(error(BatchErrorKind::Length { batch_length, available: rest.len() })),
    }
}

/// One batch: its header, read and checked, and its bytes. Cloning copies nothing.
///
/// The records are not looked at before [`RecordBatch::decode`].
#[derive(Clone, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    next_offset: i64,
    bytes: Bytes,
}

impl RecordBatch {
    /// A batch from exactly its bytes.
    ///
    /// # Errors
    /// Another message format, a length that is not the one of `bytes`, a header field that cannot be.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let error = |base_offset, kind| Err(BatchError { base_offset, kind });
        let Some(head) = bytes.first_chunk::<BATCH_HEADER_LEN>() else {
            return error(-1, BatchErrorKind::Short { bytes: bytes.len() });
        };
        let header = BatchHeader::read(head);
        let base_offset = header.base_offset;
        if header.magic != MAGIC {
            return error(base_offset, BatchErrorKind::Magic(header.magic));
        }
        let available = bytes.len() - LENGTH_END;
        if usize::try_from(header.batch_length) != Ok(available) {
            return error(
                base_offset,
                BatchErrorKind::Length { batch_length: header.batch_length, available },
            );
        }
        for (field, value) in [
            ("base offset", base_offset),
            ("last offset delta", header.last_offset_delta.into()),
            ("records count", header.records_count.into()),
        ] {
            if value < 0 {
                return error(base_offset, BatchErrorKind::Header { field, value });
            }
        }
        let Some(next_offset) = header.next_offset() else {
            let value = header.last_offset_delta.into();
            return error(base_offset, BatchErrorKind::Header { field: "last offset delta", value });
        };
        Ok(Self { header, next_offset, bytes })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The offset behind the batch, the next one to ask for: base offset + last offset delta + 1.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The codec.
    ///
    /// # Errors
    /// A codec number that is not known.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.header.attributes.compression().map_err(|error| self.error(BatchErrorKind::Compression(error)))
    }

    /// Compares the CRC with the bytes'.
    ///
    /// # Errors
    /// They differ.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let stored = self.header.crc;
        let computed = crc32c([&self.bytes[CRC_END..]]);
        if computed == stored { Ok(()) } else { Err(self.error(BatchErrorKind::Crc { stored, computed })) }
    }

    /// Makes the records readable, decompressing them if they are compressed. Does not look at the CRC.
    ///
    /// # Errors
    /// An unknown codec, one whose feature is off, bytes that do not decompress, more of them than the decoder's
    /// [`super::Limits`] allow.
    pub fn decode(&self, decoder: &mut Decoder) -> Result<DecodedBatch, BatchError> {
        let compression = self.compression()?;
        let body = self.bytes.slice(BATCH_HEADER_LEN..);
        let records = match compression {
            Compression::None => body,
            codec => decoder
                .decompress(codec, &body)
                .map_err(|error| self.error(BatchErrorKind::Compression(error)))?,
        };
        Ok(DecodedBatch::new(self.header, records))
    }

    fn error(&self, kind: BatchErrorKind) -> BatchError {
        BatchError { base_offset: self.header.base_offset, kind }
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch").field("header", &self.header).finish_non_exhaustive()
    }
}
