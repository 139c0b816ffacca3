//! [`Decoder`]: makes the records of a batch readable, with limits on what comes out of a codec.

use bytes::Bytes;

use super::{BatchError, BatchHeader, OwnedRecord, RecordIter, RecordView};
use crate::compression::{Compression, CompressionError, Decompressor};

pub use crate::compression::Limits;

/// Decompresses batches into buffers that it uses again when nobody holds their records any more.
///
/// One decoder serves any number of batches, one after another. Memory: up to two buffers as large as the batches lately
/// decoded, of at most 8 MiB each, and what the codecs work with; none of it for batches that are not compressed. A batch
/// that is larger has its buffer until its records are gone.
#[derive(Debug, Default)]
pub struct Decoder {
    decompressor: Decompressor,
}

impl Decoder {
    /// A decoder with other limits than the default ones.
    pub fn new(limits: Limits) -> Self {
        Self { decompressor: Decompressor::new(limits) }
    }

    pub(super) fn decompress(&mut self, codec: Compression, body: &Bytes) -> Result<Bytes, CompressionError> {
        self.decompressor.decompress(codec, body)
    }
}

/// A batch whose records can be read: those of the frame itself, or decompressed. Cloning copies nothing.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    header: BatchHeader,
    records: Bytes,
}

impl DecodedBatch {
    pub(super) fn new(header: BatchHeader, records: Bytes) -> Self {
        Self { header, records }
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes, decompressed.
    pub fn records(&self) -> &Bytes {
        &self.records
    }

    /// The records, borrowed.
    #[inline]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(self.header, &self.records)
    }

    /// A record of this batch on its own, as slices of the batch's buffer. One allocation if it has headers.
    #[inline]
    pub fn owned(&self, view: &RecordView<'_>) -> OwnedRecord {
        OwnedRecord::of(view, &self.records)
    }
}

impl IntoIterator for DecodedBatch {
    type Item = Result<OwnedRecord, BatchError>;
    type IntoIter = OwnedRecords;

    fn into_iter(self) -> OwnedRecords {
        OwnedRecords { at: 0, left: self.header.records_count, batch: self }
    }
}

/// The records of a batch, each on its own; made by [`DecodedBatch::into_iter`]. Keeps the batch, and its place in it, so that
/// it can be put aside in between. Ends after the first error.
#[derive(Debug, Clone)]
pub struct OwnedRecords {
    batch: DecodedBatch,
    at: usize,
    left: i32,
}

impl OwnedRecords {
    /// The batch.
    pub fn batch(&self) -> &DecodedBatch {
        &self.batch
    }

    /// The records that are left, borrowed. They stay left.
    #[inline]
    pub fn iter(&self) -> RecordIter<'_> {
        let rest = self.batch.records.get(self.at..).unwrap_or_default();
        RecordIter::resume(self.batch.header, rest, self.left)
    }
}

impl Iterator for OwnedRecords {
    type Item = Result<OwnedRecord, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut records = self.iter();
        let record = records.next()?.map(|view| self.batch.owned(&view));
        let (bytes, left) = records.left();
        (self.at, self.left) = (self.batch.records.len() - bytes, left);
        Some(record)
    }
}

impl<'a> IntoIterator for &'a OwnedRecords {
    type Item = <RecordIter<'a> as Iterator>::Item;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a DecodedBatch {
    type Item = <RecordIter<'a> as Iterator>::Item;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}
