//! [`Writer`]: the protocol's primitives, into one head and the record chunks it refers to.
//!
//! Like the reader it keeps its first error, so that encoding a struct is a list of calls. Bytes are collected in one
//! growing buffer; record chunks above a kilobyte are not copied into it but remembered with their place.

use std::fmt;

use bytes::Bytes;

use crate::error::{EncodeError, EncodeErrorKind};
use crate::primitives::Wire;
use crate::{Encoded, RecordSet, UnknownTags, Uuid};

/// Writes big-endian primitives, keeping the first error.
pub struct Writer {
    head: Vec<u8>,
    /// Chunks, each with the length the head had when it came.
    chunks: Vec<(usize, Bytes)>,
    chunk_bytes: usize,
    flexible: bool,
    /// `Struct.field` of what is being written.
    field: &'static &'static str,
    error: Option<(&'static str, EncodeErrorKind)>,
}

/// Without the bytes, which may be secrets.
impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.head.len() + self.chunk_bytes;
        f.debug_struct("Writer").field("len", &len).field("field", self.field).finish_non_exhaustive()
    }
}

impl Writer {
    /// An empty writer for a version that is, or is not, flexible (KIP-482).
    pub fn new(flexible: bool) -> Self {
        Self {
            head: Vec::with_capacity(256),
            chunks: Vec::new(),
            chunk_bytes: 0,
            flexible,
            field: &"",
            error: None,
        }
    }

    /// Whether lengths are compact and structs end in tagged fields.
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// What was written, or the first error of writing `message` in `version`.
    pub fn finish(self, message: &'static str, version: i16) -> Result<Encoded, EncodeError> {
        if let Some((field, kind)) = self.error {
            return Err(EncodeError { message, version, field, kind });
        }
        let len = self.head.len() + self.chunk_bytes;
        let head = Bytes::from(self.head);
        let mut pieces = Vec::with_capacity(2 * self.chunks.len() + 1);
        let mut done = 0;
        for (end, chunk) in self.chunks {
            if end > done {
                pieces.push(head.slice(done..end));
            }
            pieces.push(chunk);
            done = end;
        }
        if head.len() > done {
            pieces.push(head.slice(done..));
        }
        Ok(Encoded { chunks: pieces, len })
    }

    /// Puts the size of all that follows them into the first four bytes, which the caller has left for it.
    pub(crate) fn write_frame_size(&mut self) {
        self.at(&"");
        let size = (self.head.len() + self.chunk_bytes).saturating_sub(4);
        let size = self.checked_i32(size);
        if let Some(prefix) = self.head.first_chunk_mut::<4>() {
            *prefix = size.to_be_bytes();
        }
    }

    /// Tells what is written next; stays in force until told otherwise.
    #[inline]
    pub fn at(&mut self, field: &'static &'static str) {
        self.field = field;
    }

    /// Keeps `kind` if it is the first error.
    #[cold]
    pub fn fail(&mut self, kind: EncodeErrorKind) {
        self.error.get_or_insert((*self.field, kind));
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.head.extend_from_slice(&bytes);
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.fixed(value.to_be_bytes());
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.fixed(value.to_be_bytes());
    }

    /// Two bytes, unsigned.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.fixed(value.to_be_bytes());
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.fixed(value.to_be_bytes());
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.fixed(value.to_be_bytes());
    }

    /// Eight bytes, IEEE 754.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.fixed(value.to_be_bytes());
    }

    /// One byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.i8(value.into());
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, value: &Uuid) {
        self.fixed(*value.as_bytes());
    }

    /// An unsigned varint.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        if value < 0x80 {
            return self.head.push(value as u8);
        }
        let (bytes, len) = uvarint(value);
        self.head.extend_from_slice(&bytes[..len]);
    }

    /// The length of bytes, records or an array; none is null.
    #[inline]
    pub fn length(&mut self, length: Option<usize>) {
        let length = length.map_or(-1, |length| self.checked_i32(length));
        if self.flexible {
            self.uvarint((length + 1).unsigned_abs());
        } else {
            self.i32(length);
        }
    }

    /// One less than what 32 bits hold, because a compact length is the length plus one.
    fn checked_i32(&mut self, length: usize) -> i32 {
        match i32::try_from(length) {
            Ok(length) if length < i32::MAX => length,
            _ => {
                self.fail(EncodeErrorKind::TooLong { length });
                0
            }
        }
    }

    /// Bytes; none is null.
    pub fn bytes(&mut self, value: Option<&[u8]>) {
        self.length(value.map(<[u8]>::len));
        self.head.extend_from_slice(value.unwrap_or_default());
    }

    /// A string; none is null. At most 32,767 bytes, in every version.
    pub fn string(&mut self, value: Option<&str>) {
        if self.flexible {
            let length = value.map_or(-1, |text| self.string_length(text));
            self.uvarint((i32::from(length) + 1).unsigned_abs());
            self.head.extend_from_slice(value.unwrap_or_default().as_bytes());
        } else {
            self.plain_string(value);
        }
    }

    /// A string whose length stays two bytes in flexible versions too: the request header's client id.
    pub(crate) fn plain_string(&mut self, value: Option<&str>) {
        let length = value.map_or(-1, |text| self.string_length(text));
        self.i16(length);
        self.head.extend_from_slice(value.unwrap_or_default().as_bytes());
    }

    fn string_length(&mut self, text: &str) -> i16 {
        match i16::try_from(text.len()) {
            Ok(length) => length,
            Err(_) => {
                self.fail(EncodeErrorKind::TooLong { length: text.len() });
                0
            }
        }
    }

    /// Records; none is null. Chunks above a kilobyte are referenced, smaller ones are copied.
    pub fn records(&mut self, value: Option<&RecordSet>) {
        self.length(value.map(RecordSet::len));
        for chunk in value.map_or(&[][..], RecordSet::chunks) {
            if chunk.len() > COPY_LIMIT {
                self.chunks.push((self.head.len(), chunk.clone()));
                self.chunk_bytes += chunk.len();
            } else {
                self.head.extend_from_slice(chunk);
            }
        }
    }

    /// An array; none is null.
    pub fn array<T: Wire>(&mut self, value: Option<&[T]>, version: i16) {
        self.length(value.map(<[T]>::len));
        for element in value.unwrap_or_default() {
            element.write(self, version);
        }
    }

    /// How many tagged fields end the struct that is being written; `place` is what its unknown ones are called in errors.
    /// False, and an error if there are unknown ones, in versions that have none.
    pub fn tag_count(&mut self, known: usize, unknown: &UnknownTags, place: &'static &'static str) -> bool {
        self.at(place);
        if self.flexible {
            let count = self.checked_i32(known + unknown.as_slice().len());
            self.uvarint(count.unsigned_abs());
        } else if !unknown.is_empty() {
            self.fail(EncodeErrorKind::NotInVersion);
        }
        self.flexible
    }

    /// Number, size and value of a tagged field, behind those of the unknown ones whose numbers are lower.
    pub fn tagged<T: Wire>(&mut self, tag: u32, value: &T, version: i16, unknown: &mut &[crate::UnknownTag]) {
        self.unknown_tags(Some(tag), unknown);
        self.uvarint(tag);
        let start = self.head.len();
        value.write_tagged(self, version);
        let size = self.checked_i32(self.head.len() - start);
        let (bytes, len) = uvarint(size.unsigned_abs());
        // The size goes in front of the value, whose length is only known now; tagged fields are small and rare.
        self.head.splice(start..start, bytes[..len].iter().copied());
    }

    /// Writes and drops those of `unknown` whose numbers are below `end`; without one all of them, since all were counted.
    pub fn unknown_tags(&mut self, end: Option<u32>, unknown: &mut &[crate::UnknownTag]) {
        let is_due = |tag: u32| end.is_none_or(|end| tag < end);
        while let Some((first, rest)) = unknown.split_first().filter(|(first, _)| is_due(first.tag)) {
            self.uvarint(first.tag);
            let size = self.checked_i32(first.value.len());
            self.uvarint(size.unsigned_abs());
            self.head.extend_from_slice(&first.value);
            *unknown = rest;
        }
    }
}

fn uvarint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    while value > 0x7f {
        bytes[len] = (value & 0x7f) as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// Record chunks up to this size are copied into the head: a piece of their own in a vectored write costs more.
pub(crate) const COPY_LIMIT: usize = 1024;
