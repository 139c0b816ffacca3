//! [`BatchBuilder`]: an open batch. Records are written once, in their final form, into the chunks of a pool.
//!
//! What is written does not depend on producer id, sequence or offset: those are in the header, which a
//! [`SealedBatch`] makes for each attempt. Codecs, when one is asked for, run over the finished records in
//! [`BatchBuilder::seal`].

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Attributes, BATCH_HEADER_LEN, ChunkPool, MAX_HEADERS, SealedBatch};
use crate::compression::{Codec, Compression, CompressionError};
use crate::varint::{MAX_VARINT_LEN, Small, uvarlong_len, varint_len, varlong_len};

/// Bytes of a key, value or header.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Borrowed bytes, which are copied into the batch.
    Borrowed(&'a [u8]),
    /// Shared bytes. Small ones are copied too; those of 8 KiB and more are referenced.
    Shared(&'a Bytes),
}

impl<'a> Payload<'a> {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &'a [u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a Bytes> for Payload<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// A record to append.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewRecord<'a> {
    /// The key; `None` is null.
    pub key: Option<Payload<'a>>,
    /// The value; `None` is null.
    pub value: Option<Payload<'a>>,
    /// Keys and values of the headers; order and duplicates are kept.
    pub headers: &'a [(Payload<'a>, Option<Payload<'a>>)],
    /// In ms since the epoch.
    pub timestamp: i64,
}

/// Why a record does not fit the batch. The batch is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Records and header together exceed what the batch's 31-bit length can say.
    TooLong {
        /// What the batch would have taken, or more.
        size: usize,
    },
    /// The batch has no offset delta left.
    Full,
    /// The record has more headers than [`MAX_HEADERS`], and nobody could read it.
    Headers {
        /// How many.
        count: usize,
    },
    /// The timestamp is further from the batch's first one than 64 bits can say.
    Timestamp {
        /// The batch's.
        base: i64,
        /// The record's.
        timestamp: i64,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { size } => {
                write!(f, "a batch of {size} bytes is longer than the protocol can say")
            }
            Self::Full => write!(f, "a batch cannot have more than {} offsets", i32::MAX),
            Self::Headers { count } => write!(f, "{count} headers, a record may have {MAX_HEADERS}"),
            Self::Timestamp { base, timestamp } => {
                write!(
                    f,
                    "timestamp {timestamp} is too far from {base}, the batch's first; use a batch of its own"
                )
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// Shared payloads from this size on are referenced, because another piece of a vectored write costs less than a copy.
const REFERENCE: usize = 8 * 1024;

/// An open batch.
///
/// An append of 100 bytes costs about 10 ns and no allocation but that of a chunk when the pool has none.
#[derive(Debug)]
pub struct BatchBuilder {
    /// What is being filled; its contents come behind `pieces`.
    chunk: BytesMut,
    pieces: Vec<Bytes>,
    /// Bytes of `pieces` and `chunk`.
    records_len: usize,
    count: i32,
    next_delta: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

/// What stands in front of a record's payloads, and how long all of it is.
struct Layout {
    timestamp_delta: i64,
    body_len: i32,
    record_len: usize,
}

impl BatchBuilder {
    /// An empty batch. Takes no memory before its first record.
    pub fn new() -> Self {
        Self {
            chunk: BytesMut::new(),
            pieces: Vec::new(),
            records_len: 0,
            count: 0,
            next_delta: 0,
            base_timestamp: None,
            max_timestamp: -1,
        }
    }

    /// An empty batch whose timestamps count from `base_timestamp` instead of the first record's.
    pub fn with_base_timestamp(base_timestamp: i64) -> Self {
        Self { base_timestamp: Some(base_timestamp), ..Self::new() }
    }

    /// Appends a record and returns its offset delta, which is its index unless there are gaps.
    ///
    /// # Errors
    /// The batch is too long or full, the timestamp too far off, the headers too many; nothing was appended then.
    #[inline]
    pub fn append(&mut self, pool: &mut ChunkPool, record: &NewRecord<'_>) -> Result<usize, RecordError> {
        let layout = self.layout(record)?;
        self.write(pool, record, &layout)
    }

    /// Appends a record if the batch is at most `limit` bytes long then, header included, before compression. `None`: it would be
    /// longer, or [`append`](Self::append) says why not.
    #[inline(always)]
    pub fn append_within(
        &mut self,
        pool: &mut ChunkPool,
        record: &NewRecord<'_>,
        limit: usize,
    ) -> Option<usize> {
        let layout = self.layout(record).ok()?;
        if self.encoded_len() + layout.record_len > limit {
            return None;
        }
        self.write(pool, record, &layout).ok()
    }

    #[inline(always)]
    fn write(
        &mut self,
        pool: &mut ChunkPool,
        record: &NewRecord<'_>,
        layout: &Layout,
    ) -> Result<usize, RecordError> {
        let offset_delta = self.next_delta;
        let next_delta = offset_delta.checked_add(1).ok_or(RecordError::Full)?;

        if layout.record_len < REFERENCE && layout.record_len + Small::CAPACITY <= self.room() {
            write_record(&mut self.chunk, record, layout, offset_delta);
        } else {
            self.write_pieces(pool, record, layout, offset_delta);
        }

        self.records_len += layout.record_len;
        self.count += 1;
        self.next_delta = next_delta;
        self.base_timestamp = Some(record.timestamp.wrapping_sub(layout.timestamp_delta));
        self.max_timestamp =
            if self.count == 1 { record.timestamp } else { self.max_timestamp.max(record.timestamp) };
        Ok(offset_delta as usize)
    }

    /// Writes a record that the chunk has no room for, or that has payloads which may be referenced.
    #[inline(never)]
    fn write_pieces(
        &mut self,
        pool: &mut ChunkPool,
        record: &NewRecord<'_>,
        layout: &Layout,
        offset_delta: i32,
    ) {
        write_record(&mut Pieces { builder: self, pool }, record, layout, offset_delta);
    }

    /// Leaves `offsets` without a record, as compaction does: a broker's need, and that of tests.
    ///
    /// # Errors
    /// The batch has not that many offsets left.
    pub fn leave_gap(&mut self, offsets: u32) -> Result<(), RecordError> {
        self.next_delta = self.next_delta.checked_add_unsigned(offsets).ok_or(RecordError::Full)?;
        Ok(())
    }

    /// The batch's size in bytes, header included, before compression.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        BATCH_HEADER_LEN + self.records_len
    }

    /// The size after `record` was appended, exactly.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::append`].
    #[inline]
    pub fn len_with(&self, record: &NewRecord<'_>) -> Result<usize, RecordError> {
        Ok(self.encoded_len() + self.layout(record)?.record_len)
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The timestamp the others count from, which is the first record's; -1 if there is none.
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp.unwrap_or(-1)
    }

    /// The largest timestamp; -1 if there is none.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Closes the batch, compressing its records if `codec` says so.
    ///
    /// Compression takes time in proportion: some 10 us for 16 KiB with the fastest codecs, ten times that with gzip.
    /// Any pool will do, not only the one the records were appended with.
    ///
    /// # Errors
    /// A level the codec does not have, a codec whose feature is off.
    pub fn seal(mut self, codec: &Codec, pool: &mut ChunkPool) -> Result<SealedBatch, CompressionError> {
        codec.check()?;
        self.end_piece();
        let mut pieces = self.pieces;
        if codec.compression != Compression::None {
            pieces = compress(&pieces, codec, pool)?;
        }
        Ok(SealedBatch::new(super::sealed::Sealed {
            records_len: pieces.iter().map(Bytes::len).sum(),
            chunks: pieces,
            count: self.count,
            // A batch without records and offsets still has to have an offset.
            last_offset_delta: self.next_delta.saturating_sub(1).max(0),
            attributes: Attributes::default().with_compression(codec.compression),
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: self.max_timestamp,
        }))
    }

    /// The sizes `record` would have, and whether it fits.
    #[inline(always)]
    fn layout(&self, record: &NewRecord<'_>) -> Result<Layout, RecordError> {
        if record.headers.len() > MAX_HEADERS {
            return Err(RecordError::Headers { count: record.headers.len() });
        }
        let base = self.base_timestamp.unwrap_or(record.timestamp);
        let timestamp_delta = record
            .timestamp
            .checked_sub(base)
            .ok_or(RecordError::Timestamp { base, timestamp: record.timestamp })?;
        let body_len = 1
            + varlong_len(timestamp_delta)
            + varint_len(self.next_delta)
            + payload_len(record.key.as_ref())
            + payload_len(record.value.as_ref())
            + headers_len(record.headers);
        let record_len = length_len(body_len) + body_len;
        let size = self.encoded_len() + record_len;
        if size > i32::MAX as usize {
            return Err(RecordError::TooLong { size });
        }
        Ok(Layout { timestamp_delta, body_len: body_len as i32, record_len })
    }

    #[inline]
    fn room(&self) -> usize {
        self.chunk.capacity() - self.chunk.len()
    }

    fn end_piece(&mut self) {
        if !self.chunk.is_empty() {
            if self.pieces.is_empty() {
                self.pieces.reserve(8);
            }
            self.pieces.push(self.chunk.split().freeze());
        }
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A length that no batch can have; longer ones count as this, so that sums of a few of them stay in range.
const TOO_LONG: usize = 1 << 31;

/// The bytes of a length and what it is the length of.
#[inline(always)]
fn payload_len(payload: Option<&Payload<'_>>) -> usize {
    payload.map_or(1, |payload| {
        let len = payload.as_slice().len().min(TOO_LONG);
        length_len(len) + len
    })
}

#[inline]
fn headers_len(headers: &[(Payload<'_>, Option<Payload<'_>>)]) -> usize {
    let len = headers.iter().fold(0usize, |len, (key, value)| {
        len.saturating_add(payload_len(Some(key)) + payload_len(value.as_ref()))
    });
    length_len(headers.len()) + len.min(TOO_LONG)
}

/// The bytes of a length's varint.
#[inline]
fn length_len(len: usize) -> usize {
    uvarlong_len((len as u64) << 1)
}

/// Where a record is written to.
trait Sink {
    fn small(&mut self, small: &Small);
    fn payload(&mut self, payload: &Payload<'_>);
}

/// A chunk that has room for all of the record, and [`Small::CAPACITY`] bytes more.
impl Sink for BytesMut {
    #[inline(always)]
    fn small(&mut self, small: &Small) {
        small.write_to(self);
    }

    #[inline(always)]
    fn payload(&mut self, payload: &Payload<'_>) {
        self.put_slice(payload.as_slice());
    }
}

/// Chunk after chunk, with large shared payloads in between.
struct Pieces<'a> {
    builder: &'a mut BatchBuilder,
    pool: &'a mut ChunkPool,
}

impl Pieces<'_> {
    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.builder.room() == 0 {
                self.builder.end_piece();
                self.builder.chunk = self.pool.take();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.builder.room()));
            self.builder.chunk.put_slice(now);
            bytes = later;
        }
    }
}

impl Sink for Pieces<'_> {
    fn small(&mut self, small: &Small) {
        let (bytes, len) = small.to_bytes();
        self.copy(&bytes[..len]);
    }

    fn payload(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::Shared(bytes) if bytes.len() >= REFERENCE => {
                self.builder.end_piece();
                self.builder.pieces.push((*bytes).clone());
            }
            payload => self.copy(payload.as_slice()),
        }
    }
}

#[inline(always)]
fn write_record(sink: &mut impl Sink, record: &NewRecord<'_>, layout: &Layout, offset_delta: i32) {
    let mut small = Small::default();
    small.varint(layout.body_len);
    small.byte(0);
    small.varlong(layout.timestamp_delta);
    write_varint(sink, &mut small, offset_delta);
    write_payload(sink, &mut small, record.key.as_ref());
    write_payload(sink, &mut small, record.value.as_ref());
    // Fits, as all lengths that come here do: the layout was made before.
    write_varint(sink, &mut small, record.headers.len() as i32);
    for (key, value) in record.headers {
        write_payload(sink, &mut small, Some(key));
        write_payload(sink, &mut small, value.as_ref());
    }
    sink.small(&small);
}

/// The payload's length, behind what `small` still holds, and the payload.
#[inline(always)]
fn write_payload(sink: &mut impl Sink, small: &mut Small, payload: Option<&Payload<'_>>) {
    let Some(payload) = payload else {
        return write_varint(sink, small, -1);
    };
    write_varint(sink, small, payload.as_slice().len() as i32);
    sink.small(small);
    *small = Small::default();
    sink.payload(payload);
}

#[inline(always)]
fn write_varint(sink: &mut impl Sink, small: &mut Small, value: i32) {
    make_room(sink, small);
    small.varint(value);
}

/// Makes room for a varint.
#[inline(always)]
fn make_room(sink: &mut impl Sink, small: &mut Small) {
    if !small.has_room(MAX_VARINT_LEN) {
        sink.small(small);
        *small = Small::default();
    }
}

/// The pieces' contents compressed, in chunks of the pool.
fn compress(pieces: &[Bytes], codec: &Codec, pool: &mut ChunkPool) -> Result<Vec<Bytes>, CompressionError> {
    // Taken out, so that the pool can give chunks while the compressor's output is read.
    let mut compressor = std::mem::take(pool.compressor());
    let chunks = compressor.compress(codec, pieces).map(|mut rest| {
        let mut chunks = Vec::with_capacity(rest.len() / pool.chunk_size() + 1);
        while !rest.is_empty() {
            let mut chunk = pool.take();
            let (now, later) = rest.split_at(rest.len().min(chunk.capacity()));
            chunk.put_slice(now);
            chunks.push(chunk.freeze());
            rest = later;
        }
        chunks
    });
    *pool.compressor() = compressor;
    chunks
}
