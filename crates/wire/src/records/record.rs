//! [`RecordIter`]: the records of a decoded batch, borrowed, without an allocation.

use bytes::Bytes;

use super::{BatchError, BatchErrorKind, BatchHeader, RecordFault, TimestampType};
use crate::varint::{read_varint, read_varlong};

/// The most headers a record may have. On its own it has 64 bytes of memory for each, which on the wire takes two: with
/// this limit 16 MiB, however large its batch is.
pub const MAX_HEADERS: usize = 256 * 1024;

/// A record as it lies in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in ms since the epoch: the producer's, or with LogAppendTime the broker's. -1 for none.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    headers: HeadersView<'a>,
}

impl<'a> RecordView<'a> {
    /// The headers, in order, duplicates included.
    pub fn headers(&self) -> HeadersView<'a> {
        self.headers
    }
}

/// The headers of a record. Keys are bytes: nothing makes sure that they are UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersView<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> HeadersView<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Keys and values; a `None` value is null.
    pub fn iter(self) -> HeaderIter<'a> {
        HeaderIter(self)
    }
}

impl<'a> IntoIterator for HeadersView<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over a record's headers.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a>(HeadersView<'a>);

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.count = self.0.count.checked_sub(1)?;
        // Read once before, when the record was: there is no error left to find.
        let key = read_bytes(&mut self.0.bytes).ok()??;
        Some((key, read_bytes(&mut self.0.bytes).ok()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.count, Some(self.0.count))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// Iterates over the records of a batch; made by [`super::DecodedBatch::iter`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: i32,
    header: BatchHeader,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(header: BatchHeader, records: &'a [u8]) -> Self {
        Self { rest: records, left: header.records_count, header }
    }

    /// One that goes on where another one was: before `rest`, with so many records left.
    pub(super) fn resume(header: BatchHeader, rest: &'a [u8], left: i32) -> Self {
        Self { rest, left, header }
    }

    /// Where it is: the bytes and records that are left.
    pub(super) fn left(&self) -> (usize, i32) {
        (self.rest.len(), self.left)
    }

    #[cold]
    fn fail(&mut self, kind: BatchErrorKind) -> BatchError {
        self.left = 0;
        self.rest = &[];
        BatchError { base_offset: self.header.base_offset, kind }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let bytes = self.rest.len();
            return (bytes > 0).then(|| Err(self.fail(BatchErrorKind::Leftover { bytes })));
        }
        match read_record(&mut self.rest, &self.header) {
            Ok(record) => {
                self.left -= 1;
                Some(Ok(record))
            }
            Err(fault) => {
                let index = self.header.records_count - self.left;
                Some(Err(self.fail(BatchErrorKind::Record { index, fault })))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A count is only a claim: each record has at least seven bytes. One more is the error that may end it.
        let claimed = usize::try_from(self.left).unwrap_or_default();
        (0, Some(claimed.min(self.rest.len() / 7) + 1))
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

#[inline]
fn read_record<'a>(rest: &mut &'a [u8], header: &BatchHeader) -> Result<RecordView<'a>, RecordFault> {
    let length = read_varint(rest)?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Negative(length))?;
    let (mut body, behind) = rest.split_at_checked(length).ok_or(RecordFault::Truncated)?;
    *rest = behind;

    // The attributes of a record have no meaning yet.
    body = body.get(1..).ok_or(RecordFault::Truncated)?;
    let timestamp_delta = read_varlong(&mut body)?;
    let offset_delta = read_varint(&mut body)?;
    if !(0..=header.last_offset_delta).contains(&offset_delta) {
        return Err(RecordFault::OffsetDelta(offset_delta));
    }
    let key = read_bytes(&mut body)?;
    let value = read_bytes(&mut body)?;
    let headers = read_headers(&mut body)?;
    if !body.is_empty() {
        return Err(RecordFault::Leftover(body.len()));
    }
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header
            .base_timestamp
            .checked_add(timestamp_delta)
            .ok_or(RecordFault::TimestampDelta(timestamp_delta))?,
    };
    // Within the batch, whose end was found not to overflow.
    let offset = header.base_offset.wrapping_add(i64::from(offset_delta));
    Ok(RecordView { offset, timestamp, key, value, headers })
}

/// A length and as many bytes; -1 is null.
#[inline]
fn read_bytes<'a>(body: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let length = read_varint(body)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| RecordFault::Negative(length))?;
    let (bytes, rest) = body.split_at_checked(length).ok_or(RecordFault::Truncated)?;
    *body = rest;
    Ok(Some(bytes))
}

#[inline]
fn read_headers<'a>(body: &mut &'a [u8]) -> Result<HeadersView<'a>, RecordFault> {
    let count = read_varint(body)?;
    if count == 0 { Ok(HeadersView { count: 0, bytes: &[] }) } else { check_headers(body, count) }
}

fn check_headers<'a>(body: &mut &'a [u8], count: i32) -> Result<HeadersView<'a>, RecordFault> {
    let bytes = *body;
    let headers = usize::try_from(count).map_err(|_| RecordFault::Negative(count))?;
    // A header has at least the two bytes of its lengths.
    if headers > bytes.len() / 2 {
        return Err(RecordFault::HeaderCount(count));
    }
    if headers > MAX_HEADERS {
        return Err(RecordFault::TooManyHeaders(count));
    }
    for _ in 0..headers {
        read_bytes(body)?.ok_or(RecordFault::Negative(-1))?;
        read_bytes(body)?;
    }
    Ok(HeadersView { count: headers, bytes: &bytes[..bytes.len() - body.len()] })
}

/// A record on its own; made by [`super::DecodedBatch::owned`].
///
/// Its payloads are slices of the frame or the decompressed buffer, and keep the whole of it alive.
/// [`OwnedRecord::detach`] copies them out of it. Its headers are a vector, of at most [`MAX_HEADERS`] elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in ms since the epoch; -1 for none.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
    /// Keys and values of the headers, in order, duplicates included.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl OwnedRecord {
    /// `view` with its payloads as slices of `records`, which it must lie in; payloads from elsewhere are copied.
    #[inline]
    pub(super) fn of(view: &RecordView<'_>, records: &Bytes) -> Self {
        let own = |payload: &[u8]| slice_of(records, payload);
        Self {
            offset: view.offset,
            timestamp: view.timestamp,
            key: view.key.map(own),
            value: view.value.map(own),
            headers: match view.headers.is_empty() {
                true => Vec::new(),
                false => own_headers(view.headers, records),
            },
        }
    }

    /// The same record in memory of its own, so that keeping it does not keep a whole fetch response alive.
    #[must_use]
    pub fn detach(&self) -> Self {
        let copy = |payload: &Bytes| Bytes::copy_from_slice(payload);
        Self {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_ref().map(copy),
            value: self.value.as_ref().map(copy),
            headers: self.headers.iter().map(|(key, value)| (copy(key), value.as_ref().map(copy))).collect(),
        }
    }
}

/// Apart from what all records need, which is inlined.
#[inline(never)]
fn own_headers(headers: HeadersView<'_>, records: &Bytes) -> Vec<(Bytes, Option<Bytes>)> {
    let own = |payload: &[u8]| slice_of(records, payload);
    headers.iter().map(|(key, value)| (own(key), value.map(own))).collect()
}

/// The part of `whole` that `part` is. `Bytes::slice_ref` would panic if it were not one.
#[inline]
fn slice_of(whole: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => whole.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}
