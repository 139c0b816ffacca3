//! The batch that an aggregator writes: records go once into their final form.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::records::{
    BatchBuilder, BatchError, ChunkPool, Decoder, Limits, NewRecord, RecordBatch, RecordError, Stamp,
};

use super::InputTooLarge;
use crate::producer::outbox::WrittenBatch;
use crate::producer::wire::{wire_headers, wire_record};
use crate::record::{Record, RecordAndOffset, Timestamp};

/// The records of one batch, in the form that they have on the wire: what an [`Aggregator`](super::Aggregator) fills.
///
/// An append copies the record once; shared payloads of 8 KiB and more are referenced. The memory it takes grows with
/// the batch, from a kilobyte on.
#[derive(Debug)]
pub struct BatchWriter {
    builder: BatchBuilder,
    /// Allocates chunks and remembers none: they leave with the batch.
    pool: ChunkPool,
}

impl Default for BatchWriter {
    fn default() -> Self {
        Self { builder: BatchBuilder::new(), pool: ChunkPool::new(FIRST_CHUNK, 0) }
    }
}

/// Chunks become larger with the batch: a small one does not hold much that it has no use for.
pub(in crate::producer) const FIRST_CHUNK: usize = 1024;

impl BatchWriter {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the batch, its header included, before compression. An empty one has 61.
    pub fn encoded_len(&self) -> usize {
        self.builder.encoded_len()
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.builder.count()
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Appends a record; its place in the batch comes back, which is the place of its offset in what
    /// [`deaggregate`](super::StatusDeaggregator::deaggregate) is given.
    ///
    /// # Errors
    /// The batch would be longer than the protocol can say, or the record's time is too far from the first one's. The batch is
    /// as it was then.
    pub fn append(&mut self, record: &Record<'_>) -> Result<usize, RecordError> {
        let headers = wire_headers(record);
        self.write(&wire_record(record, &headers, || Timestamp::now().0))
    }

    /// Appends a record if the batch then has at most `maximum` bytes; `None` when it is too full for it.
    ///
    /// # Errors
    /// The record is too large for any batch of so many bytes. The batch is as it was.
    pub fn append_within(
        &mut self,
        record: &Record<'_>,
        maximum: usize,
    ) -> Result<Option<usize>, InputTooLarge> {
        let headers = wire_headers(record);
        let record = wire_record(record, &headers, || Timestamp::now().0);
        if self.builder.len_with(&record).is_ok_and(|size| size <= maximum)
            && let Ok(index) = self.write(&record)
        {
            return Ok(Some(index));
        }
        match BatchBuilder::new().len_with(&record) {
            Ok(size) if size <= maximum => Ok(None),
            Ok(size) | Err(RecordError::TooLong { size }) => Err(InputTooLarge { size, maximum }),
            // An empty batch has neither offsets nor times that a record could be too far from.
            Err(_) => Ok(None),
        }
    }

    /// The records, read back, with offsets from 0 on: for tests of an aggregator.
    ///
    /// # Errors
    /// The batch cannot be read; there should be no such batch.
    pub fn into_records(mut self) -> Result<Vec<RecordAndOffset>, BatchError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let codec = Codec::from(Compression::None);
        let Ok(sealed) = self.builder.seal(&codec, &mut self.pool) else { return Ok(Vec::new()) };
        let mut bytes = BytesMut::from(&sealed.stamp(&Stamp::default())[..]);
        sealed.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let batch = RecordBatch::parse(Bytes::from(bytes))?;
        let decoded = batch.decode(&mut Decoder::new(Limits::default()))?;
        decoded.into_iter().map(|record| Ok(record?.into())).collect()
    }

    pub(super) fn written(self, since: Instant) -> WrittenBatch {
        let memory = self.builder.encoded_len() + FIRST_CHUNK;
        WrittenBatch { builder: self.builder, memory, since }
    }

    fn write(&mut self, record: &NewRecord<'_>) -> Result<usize, RecordError> {
        let size = self.builder.encoded_len().min(ChunkPool::CHUNK_SIZE);
        if size >= 2 * self.pool.chunk_size() {
            self.pool = ChunkPool::new(size, 0);
        }
        self.builder.append(&mut self.pool, record)
    }
}
