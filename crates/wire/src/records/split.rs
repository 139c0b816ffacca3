//! A batch that is too large for its topic becomes two ([`SealedBatch::split`]).

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::{
    BATCH_HEADER_LEN, BatchBuilder, BatchError, ChunkPool, Decoder, Limits, NewRecord, Payload, RecordBatch,
    RecordError, SealedBatch, Stamp,
};
use crate::compression::{Codec, CompressionError};

impl SealedBatch {
    /// The same records as two batches of about the same size, compressed with `codec`, which need not be what this one is
    /// compressed with: the first gets what brings it to
    /// half of the bytes, and each has at least one record.
    ///
    /// Takes the time of reading, and of sealing, all records once.
    ///
    /// # Errors
    /// Fewer than two records; what a codec reports.
    pub fn split(&self, codec: &Codec, pool: &mut ChunkPool) -> Result<(Self, Self), SplitError> {
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.put_slice(&self.stamp(&Stamp::default()));
        self.chunks().iter().for_each(|chunk| bytes.put_slice(chunk));
        let limits = Limits { max_batch_bytes: usize::MAX, max_ratio: usize::MAX };
        let batch = RecordBatch::parse(bytes.freeze())?.decode(&mut Decoder::new(limits))?;
        let half = batch.records().len() / 2;
        let [mut first, mut second] = [(); 2].map(|()| BatchBuilder::new());
        for record in &batch {
            let record = record?;
            let headers: Vec<(Payload<'_>, Option<Payload<'_>>)> =
                record.headers().iter().map(|(key, value)| (key.into(), value.map(Payload::from))).collect();
            let record = NewRecord {
                key: record.key.map(Payload::from),
                value: record.value.map(Payload::from),
                headers: &headers,
                timestamp: record.timestamp,
            };
            let is_last = first.count() + 1 == self.count();
            let has_room = first.is_empty() || first.encoded_len() - BATCH_HEADER_LEN < half;
            let builder = if has_room && !is_last { &mut first } else { &mut second };
            builder.append(pool, &record)?;
        }
        if first.is_empty() || second.is_empty() {
            return Err(SplitError::TooFew { records: self.count() });
        }
        Ok((first.seal(codec, pool)?, second.seal(codec, pool)?))
    }
}

/// Why a batch was not split.
#[derive(Debug)]
#[non_exhaustive]
pub enum SplitError {
    /// There are no two records in it.
    TooFew {
        /// How many it has.
        records: usize,
    },
    /// It cannot be read.
    Read(BatchError),
    /// A part of it cannot be written.
    Write(RecordError),
    /// A part of it cannot be compressed.
    Compression(CompressionError),
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { records } => write!(f, "a batch of {records} records cannot be split"),
            Self::Read(_) => f.write_str("a batch to be split cannot be read"),
            Self::Write(_) => f.write_str("a part of a batch cannot be written"),
            Self::Compression(_) => f.write_str("a part of a batch cannot be compressed"),
        }
    }
}

impl std::error::Error for SplitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooFew { .. } => None,
            Self::Read(error) => Some(error),
            Self::Write(error) => Some(error),
            Self::Compression(error) => Some(error),
        }
    }
}

impl From<BatchError> for SplitError {
    fn from(error: BatchError) -> Self {
        Self::Read(error)
    }
}

impl From<RecordError> for SplitError {
    fn from(error: RecordError) -> Self {
        Self::Write(error)
    }
}

impl From<CompressionError> for SplitError {
    fn from(error: CompressionError) -> Self {
        Self::Compression(error)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::compression::Compression;
    use crate::records::OwnedRecord;

    fn sealed(sizes: &[usize], codec: Compression) -> SealedBatch {
        let (mut builder, mut pool) = (BatchBuilder::new(), ChunkPool::new(1024, 8));
        for (at, size) in sizes.iter().enumerate() {
            let value = vec![at as u8; *size];
            let headers =
                [(Payload::from("name"), Some(Payload::from("value"))), (Payload::from("null"), None)];
            let key = (at % 2 == 0).then_some(Payload::from("key"));
            let timestamp = 1_000 - 10 * at as i64;
            let value = Some(Payload::Borrowed(&value));
            let record = NewRecord { key, value, headers: &headers[..at % 3], timestamp };
            builder.append(&mut pool, &record).unwrap();
        }
        builder.seal(&codec.into(), &mut pool).unwrap()
    }

    /// The records, counted on from `offset`.
    fn records(batch: &SealedBatch, offset: i64) -> Vec<OwnedRecord> {
        let mut bytes = batch.stamp(&Stamp { base_offset: offset, ..Stamp::default() }).to_vec();
        batch.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let batch = RecordBatch::parse(Bytes::from(bytes)).unwrap();
        batch.check_crc().unwrap();
        let batch = batch.decode(&mut Decoder::default()).unwrap();
        batch.iter().map(|record| batch.owned(&record.unwrap())).collect()
    }

    /// Trap P7: two parts have what the whole had.
    #[test]
    fn parts_have_all_records_in_order() {
        for codec in [Compression::None, Compression::Lz4] {
            for sizes in [&[10, 10][..], &[5_000, 1], &[1, 5_000], &[100; 50], &[0, 0, 0, 9_000, 0]] {
                let batch = sealed(sizes, codec);
                let (first, second) = batch.split(&codec.into(), &mut ChunkPool::default()).unwrap();
                assert!(!first.is_empty() && !second.is_empty(), "{sizes:?}");
                assert_eq!(first.attributes(), batch.attributes());
                let mut parts = records(&first, 7);
                parts.extend(records(&second, 7 + first.count() as i64));
                assert_eq!(parts, records(&batch, 7), "{sizes:?}");
            }
        }
    }

    #[test]
    fn parts_are_about_equal() {
        let (first, second) = sealed(&[100; 1_000], Compression::None)
            .split(&Compression::None.into(), &mut ChunkPool::default())
            .unwrap();
        assert!(first.len().abs_diff(second.len()) < 400, "{first:?} {second:?}");
    }

    #[test]
    fn one_record_cannot_be_split() {
        let error = sealed(&[9], Compression::None)
            .split(&Compression::None.into(), &mut ChunkPool::default())
            .unwrap_err();
        assert_eq!(error.to_string(), "a batch of 1 records cannot be split");
    }
}
