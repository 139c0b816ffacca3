//! Records as users write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_wire::records::OwnedRecord;

/// A record to produce: an optional key, an optional value, headers, a timestamp.
///
/// Payloads are borrowed or shared: `&str`, `&[u8]` and `&Vec<u8>` are borrowed, [`Bytes`], `Vec<u8>` and `String`
/// are taken over. Borrowed bytes are copied once, into the batch; large shared ones are not copied at all.
///
/// ```
/// use ottla::Record;
///
/// let record = Record::new("created").key("order-1").header("trace", "4bf92f35").null_header("flag");
/// let tombstone = Record::tombstone("order-1");
/// assert!(tombstone.value.is_none());
/// # let _ = record;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key, where there is one.
    pub key: Option<Payload<'a>>,
    /// The value; a record without one deletes its key in a compacted topic.
    pub value: Option<Payload<'a>>,
    /// Names and values, in order; names may repeat, and need not be text.
    pub headers: Vec<(Payload<'a>, Option<Payload<'a>>)>,
    /// When it was made; absent means now.
    pub timestamp: Option<Timestamp>,
}

/// Bytes that are borrowed or shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Copied when the record is appended.
    Borrowed(&'a [u8]),
    /// Copied when small, referenced when large.
    Shared(Bytes),
}

/// Milliseconds since 1970-01-01 00:00 UTC, as Kafka counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A record that was read, with its place in the partition. Its bytes are slices of the answer it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAndOffset {
    /// Where it is.
    pub offset: i64,
    /// When it was made, or appended where the topic says LogAppendTime.
    pub timestamp: Timestamp,
    /// The key, where there is one.
    pub key: Option<Bytes>,
    /// The value, where there is one.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl<'a> Record<'a> {
    /// A record with a value.
    pub fn new(value: impl Into<Payload<'a>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with a key and no value.
    pub fn tombstone(key: impl Into<Payload<'a>>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// With this key.
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With one more header, behind those it has.
    pub fn header(mut self, name: impl Into<Payload<'a>>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// With one more header, behind those it has, that has no value.
    pub fn null_header(mut self, name: impl Into<Payload<'a>>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// Made at this time.
    pub fn timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = Some(timestamp.into());
        self
    }
}

impl RecordAndOffset {
    /// The same record in memory of its own, so that keeping it does not keep all that came with it: as it comes, its key
    /// and value are slices of a whole answer, or of a whole decompressed batch.
    #[must_use]
    pub fn detach(&self) -> Self {
        let Self { offset, timestamp: Timestamp(timestamp), key, value, headers } = self.clone();
        OwnedRecord { offset, timestamp, key, value, headers }.detach().into()
    }
}

impl RecordAndOffset {
    /// The bytes it takes apart from those that it is slices of.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.headers.capacity() * size_of::<(Bytes, Option<Bytes>)>()
    }
}

impl From<OwnedRecord> for RecordAndOffset {
    #[inline]
    fn from(record: OwnedRecord) -> Self {
        let OwnedRecord { offset, timestamp, key, value, headers } = record;
        Self { offset, timestamp: Timestamp(timestamp), key, value, headers }
    }
}

impl Payload<'_> {
    /// The bytes, wherever they are.
    pub fn as_slice(&self) -> &[u8] {
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

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a String> for Payload<'a> {
    fn from(text: &'a String) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl Timestamp {
    /// The wall clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    /// Rounds down to milliseconds; times out of range become the nearest that fits.
    fn from(time: SystemTime) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration() + Duration::from_nanos(999_999)),
        })
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_millis(timestamp.0.unsigned_abs());
        let time =
            if timestamp.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_convert_both_ways_and_round_down() {
        for ms in [0, 1, -1, 1_700_000_000_123, -62_135_596_800_000] {
            assert_eq!(Timestamp::from(SystemTime::from(Timestamp(ms))), Timestamp(ms));
        }
        assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_nanos(1_999_999)), Timestamp(1));
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_nanos(1)), Timestamp(-1));
    }

    /// Trap W6: order, duplicates and absent values of headers are kept.
    #[test]
    fn headers_keep_order_and_duplicates() {
        let record = Record::new("v").header("a", "1").null_header("a").header(&b"\xff"[..], "");
        let names: Vec<_> = record.headers.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [&b"a"[..], b"a", b"\xff"]);
        assert_eq!(record.headers[1].1, None);
    }
}
