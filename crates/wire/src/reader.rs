//! [`Reader`]: the protocol's primitives, out of one frame.
//!
//! Every call yields a value; the first thing that is wrong is kept, everything after it reads as empty, and whoever
//! made the reader asks once at the end ([`Reader::finish`]). So decoding a struct is a list of calls without a
//! branch between them. Lengths that lie size no allocation: see [`Reader::array`].

use std::fmt;

use bytes::Bytes;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitives::Wire;
use crate::{Str, UnknownTags, Uuid};

/// Reads big-endian primitives from a frame, keeping the first error and the place where it happened.
pub struct Reader<'a> {
    frame: &'a Bytes,
    position: usize,
    end: usize,
    flexible: bool,
    budget: usize,
    /// `Struct.field` of what is being read. A reference, so that telling the reader is one store.
    field: &'static &'static str,
    error: Option<Box<DecodeError>>,
}

/// Without the bytes, which may be secrets.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("position", &self.position)
            .field("end", &self.end)
            .field("field", self.field)
            .finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// A reader over a whole frame, for a version that is not flexible, with the default memory budget: 4 KiB and 32
    /// bytes for each byte of the frame. (The dearest honest element takes about 20: an empty compact string is one
    /// byte on the wire and 32 in memory.)
    pub fn new(frame: &'a Bytes) -> Self {
        let budget = frame.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_FLOOR);
        Self { frame, position: 0, end: frame.len(), flexible: false, budget, field: &"", error: None }
    }

    /// Whether the version is flexible (KIP-482): compact lengths, tagged fields.
    pub fn with_flexible(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }

    /// Another limit, in bytes, for the memory that collections may take.
    pub fn with_budget(self, budget: usize) -> Self {
        Self { budget, ..self }
    }

    /// Starts at `position` instead of 0; offsets in errors stay those of the frame.
    pub fn with_position(self, position: usize) -> Self {
        Self { position: position.min(self.end), ..self }
    }

    /// Where the next byte comes from, counted from the start of the frame.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// The first error of reading `message`, or one that says how many bytes nobody wanted.
    pub fn finish(mut self, message: &'static str) -> Result<(), DecodeError> {
        if self.remaining() > 0 {
            self.field = &"";
            self.fail(DecodeErrorKind::Leftover { unused: self.remaining() });
        }
        self.into_error().map_or(Ok(()), |error| Err(DecodeError { message, ..error }))
    }

    /// The first error, for those who do not want all bytes used.
    pub(crate) fn into_error(self) -> Option<DecodeError> {
        self.error.map(|error| *error)
    }

    /// Tells what is read next; stays in force until told otherwise.
    #[inline]
    pub fn at(&mut self, field: &'static &'static str) {
        self.field = field;
    }

    /// Keeps `kind` if it is the first error, and lets everything after it read as empty.
    #[cold]
    pub fn fail(&mut self, kind: DecodeErrorKind) {
        let (field, offset) = (*self.field, self.position);
        self.error.get_or_insert_with(|| Box::new(DecodeError { message: "", field, offset, kind }));
        self.position = self.end;
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let left = self.frame.get(self.position..self.end).unwrap_or_default();
        if let Some(bytes) = left.first_chunk::<N>() {
            self.position += N;
            *bytes
        } else {
            self.fail(DecodeErrorKind::Truncated { needed: N, left: left.len() });
            [0; N]
        }
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    /// Two bytes, unsigned.
    #[inline]
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.fixed())
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    /// Eight bytes, IEEE 754.
    #[inline]
    pub fn f64(&mut self) -> f64 {
        f64::from_be_bytes(self.fixed())
    }

    /// One byte; anything but 0 is true.
    #[inline]
    pub fn bool(&mut self) -> bool {
        self.i8() != 0
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.fixed())
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> u32 {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.fixed();
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        let [byte] = self.fixed();
        if byte > 0x0f {
            self.fail(DecodeErrorKind::Varint);
            return 0;
        }
        value | u32::from(byte) << 28
    }

    /// The length of bytes, records or an array; none is null.
    #[inline]
    pub fn length(&mut self) -> Option<usize> {
        if self.flexible {
            return self.uvarint().checked_sub(1).map(|n| n as usize);
        }
        let length = self.i32();
        self.signed_length(length)
    }

    #[inline]
    fn string_length(&mut self) -> Option<usize> {
        if self.flexible {
            return self.uvarint().checked_sub(1).map(|n| n as usize);
        }
        let length = self.i16();
        self.signed_length(length.into())
    }

    #[inline]
    fn signed_length(&mut self, length: i32) -> Option<usize> {
        match usize::try_from(length) {
            Ok(length) => Some(length),
            Err(_) if length == -1 => None,
            Err(_) => {
                self.fail(DecodeErrorKind::NegativeLength(length));
                None
            }
        }
    }

    /// A slice of the frame; empty slices do not keep it alive.
    fn slice(&mut self, length: usize) -> Bytes {
        let left = self.remaining();
        if length > left {
            self.fail(DecodeErrorKind::Truncated { needed: length, left });
            return Bytes::new();
        }
        if length == 0 {
            return Bytes::new();
        }
        let start = self.position;
        self.position += length;
        self.frame.slice(start..self.position)
    }

    /// Bytes or records; none is null.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let length = self.length()?;
        Some(self.slice(length))
    }

    /// A string; none is null.
    pub fn string(&mut self) -> Option<Str> {
        let length = self.string_length()?;
        self.string_of(length)
    }

    /// A string whose length stays two bytes in flexible versions too: the request header's client id.
    pub(crate) fn plain_string(&mut self) -> Option<Str> {
        let length = self.i16();
        let length = self.signed_length(length.into())?;
        self.string_of(length)
    }

    fn string_of(&mut self, length: usize) -> Option<Str> {
        let start = self.position;
        let bytes = self.slice(length);
        match Str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(_) => {
                self.position = start;
                self.fail(DecodeErrorKind::Utf8);
                None
            }
        }
    }

    /// Takes the value of a place that has no null.
    #[inline]
    pub(crate) fn not_null<T: Default>(&mut self, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.fail(DecodeErrorKind::Null);
            T::default()
        })
    }

    /// An array; none is null.
    ///
    /// The count from the wire is first held against the bytes that are left and against the memory budget. The first
    /// allocation is at most four times the bytes that are left; more comes only as elements really do.
    pub fn array<T: Wire>(&mut self, version: i16) -> Option<Vec<T>> {
        let (count, capacity) = self.count_and_capacity(size_of::<T>().max(1))?;
        let mut elements = Vec::with_capacity(capacity);
        for _ in 0..count {
            elements.push(T::read(self, version));
            if self.error.is_some() {
                break;
            }
        }
        Some(elements)
    }

    /// How many elements of `size` bytes of memory come, and room for how many is made at first. Not generic: there are
    /// hundreds of types of elements.
    fn count_and_capacity(&mut self, size: usize) -> Option<(usize, usize)> {
        let count = self.length()?;
        if count > self.remaining() {
            self.fail(DecodeErrorKind::Count { count, left: self.remaining() });
            return Some((0, 0));
        }
        self.charge(count.saturating_mul(size));
        if self.error.is_some() {
            return Some((0, 0));
        }
        Some((count, count.min(self.remaining().saturating_mul(4) / size + 1)))
    }

    fn charge(&mut self, needed: usize) {
        match self.budget.checked_sub(needed) {
            Some(left) => self.budget = left,
            None => self.fail(DecodeErrorKind::Budget { needed, left: self.budget }),
        }
    }

    /// How many tagged fields end the struct that is being read: none in versions that are not flexible.
    #[inline]
    pub fn tag_count(&mut self) -> u32 {
        if self.flexible { self.uvarint() } else { 0 }
    }

    /// Number and size of the next of `left` tagged fields.
    pub fn next_tag(&mut self, left: &mut u32) -> Option<(u32, usize)> {
        *left = left.checked_sub(1)?;
        let tag = self.uvarint();
        let size = self.uvarint() as usize;
        if size > self.remaining() {
            self.fail(DecodeErrorKind::Truncated { needed: size, left: self.remaining() });
        }
        self.error.is_none().then_some((tag, size))
    }

    /// The value of a tagged field, which must be `size` bytes long.
    pub fn tagged<T: Wire>(&mut self, size: usize, version: i16) -> T {
        let outer = self.end;
        self.end = outer.min(self.position + size);
        let value = T::read(self, version);
        if self.remaining() > 0 {
            self.fail(DecodeErrorKind::Leftover { unused: self.remaining() });
        }
        self.end = outer;
        if self.error.is_some() {
            self.position = outer;
        }
        value
    }

    /// Keeps a tagged field whose meaning is not known.
    pub fn unknown_tag(&mut self, tags: &mut UnknownTags, tag: u32, size: usize) {
        self.charge(size_of::<crate::UnknownTag>());
        let value = self.slice(size);
        if self.error.is_none() {
            tags.push(tag, value);
        }
    }
}

const BUDGET_PER_BYTE: usize = 32;
const BUDGET_FLOOR: usize = 4096;
