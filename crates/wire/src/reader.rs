//! [`Reader`]: the protocol's primitives, out of one frame.
//!
//! Every call yields a value; the first thing that is wrong is kept, everything after it reads as empty, and whoever
//! made the reader asks once at the end ([`Reader::finish`]). So decoding a struct is a list of calls without a
//! branch between them.
//!
//! Lengths that lie size no allocation (see [`Reader::array`]), and everything that is allocated, arrays and tagged
//! fields that are not known, is first charged to a budget. Strings and bytes are slices of the frame and cost nothing.

use std::fmt;

use bytes::Bytes;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitives::Wire;
use crate::{RecordSet, Str, UnknownTags, Uuid};

/// Reads big-endian primitives from a frame, keeping the first error and the place where it happened.
pub struct Reader<'a> {
    frame: &'a Bytes,
    /// What is left of the frame, or of the tagged field that is being read.
    rest: &'a [u8],
    /// Where `rest` ends in the frame.
    end: usize,
    flexible: bool,
    budget: usize,
    /// What is left of the budget.
    memory: usize,
    /// `Struct.field` of what is being read. A reference, so that telling the reader is one store.
    field: &'static &'static str,
    error: Option<DecodeError>,
}

/// Without the bytes, which may be secrets.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("position", &self.position())
            .field("end", &self.end)
            .field("field", self.field)
            .finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// A reader over a whole frame, for a version that is not flexible, with the [default
    /// budget](Reader::default_budget) of memory.
    pub fn new(frame: &'a Bytes) -> Self {
        let budget = Self::default_budget(frame.len());
        Self {
            frame,
            rest: frame,
            end: frame.len(),
            flexible: false,
            budget,
            memory: budget,
            field: &"",
            error: None,
        }
    }

    /// The bytes of memory that decoding a frame of `len` bytes may take, apart from the frame: 4 KiB, and 72 for each
    /// byte. (The dearest honest element, a group in ListGroups version 3, has 45 bytes in memory for each on the wire,
    /// and half as much again while the array grows.)
    pub const fn default_budget(len: usize) -> usize {
        len.saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_FLOOR)
    }

    /// Whether the version is flexible (KIP-482): compact lengths, tagged fields.
    pub fn with_flexible(mut self, flexible: bool) -> Self {
        self.set_flexible(flexible);
        self
    }

    pub(crate) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Another limit, in bytes, for the memory that what is decoded may take; to be set before anything is read.
    pub fn with_budget(self, budget: usize) -> Self {
        Self { budget, memory: budget, ..self }
    }

    /// Starts at `position` instead of 0; offsets in errors stay those of the frame.
    pub fn with_position(self, position: usize) -> Self {
        Self { rest: self.frame.get(position..self.end).unwrap_or_default(), ..self }
    }

    /// Where the next byte comes from, counted from the start of the frame.
    pub fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The first error of reading `message`, or one that says how many bytes nobody wanted.
    #[inline]
    pub fn finish(mut self, message: &'static str) -> Result<(), DecodeError> {
        self.end_of(message).map_or(Ok(()), Err)
    }

    /// What [`Self::finish`] says.
    #[inline]
    pub(crate) fn end_of(&mut self, message: &'static str) -> Option<DecodeError> {
        if self.rest.is_empty() && self.error.is_none() { None } else { self.wrong_end_of(message) }
    }

    #[cold]
    fn wrong_end_of(&mut self, message: &'static str) -> Option<DecodeError> {
        if self.remaining() > 0 {
            self.field = &"";
            self.fail(DecodeErrorKind::Leftover { unused: self.remaining() });
        }
        self.error.take().map(|error| DecodeError { message, ..error })
    }

    /// The first error, for those who do not want all bytes used.
    pub(crate) fn into_error(self) -> Option<DecodeError> {
        self.error
    }

    /// Tells what is read next; stays in force until told otherwise.
    #[inline]
    pub fn at(&mut self, field: &'static &'static str) {
        self.field = field;
    }

    /// Keeps `kind` if it is the first error, and lets everything after it read as empty.
    #[cold]
    pub fn fail(&mut self, kind: DecodeErrorKind) {
        let (field, offset) = (*self.field, self.position());
        self.error.get_or_insert(DecodeError { message: "", field, offset, kind });
        self.rest = &[];
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        if let Some((bytes, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            *bytes
        } else {
            self.fail(DecodeErrorKind::Truncated { needed: N, left: self.rest.len() });
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
        match *self.rest {
            [byte @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                byte.into()
            }
            _ => self.longer_uvarint(),
        }
    }

    /// One of two bytes or more, or none.
    #[inline(never)]
    fn longer_uvarint(&mut self) -> u32 {
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
    #[inline(never)]
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
        let start = self.position();
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.frame.slice(start..start + length)
    }

    /// Bytes; none is null.
    #[inline]
    pub fn bytes(&mut self) -> Option<Bytes> {
        let length = self.length()?;
        Some(self.slice(length))
    }

    /// Records; none is null.
    #[inline]
    pub fn records(&mut self) -> Option<RecordSet> {
        let length = self.length()?;
        Some(RecordSet::Contiguous(self.slice(length)))
    }

    /// A string; none is null.
    #[inline]
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

    #[inline]
    fn string_of(&mut self, length: usize) -> Option<Str> {
        let text = self.rest.get(..length).unwrap_or_default();
        if std::str::from_utf8(text).is_err() {
            self.fail(DecodeErrorKind::Utf8);
            return None;
        }
        Some(Str::of_checked(self.slice(length)))
    }

    /// Takes the value of a place that has no null.
    #[inline]
    pub(crate) fn not_null<T: Default>(&mut self, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.fail(DecodeErrorKind::Null);
            T::default()
        })
    }

    /// The `count` elements of an array, one after another.
    ///
    /// The count from the wire is first held against the bytes that are left and against the memory budget. The first
    /// allocation is at most four times the bytes that are left; more comes only as elements really do.
    pub(crate) fn elements<T: Wire>(&mut self, elements: &mut Vec<T>, count: usize, version: i16) {
        let field = self.field;
        let mut room = self.first_room(count, size_of::<T>());
        while elements.len() < room && self.charge_room(elements.capacity(), room, size_of::<T>()) {
            elements.reserve_exact(room - elements.len());
            while elements.len() < room {
                let done = elements.len();
                elements.extend((done..room.min(done + DEFAULTS_AT_ONCE)).map(|_| T::initial()));
                for element in elements.split_at_mut(done).1 {
                    element.read(self, version);
                    if self.error.is_some() {
                        return;
                    }
                }
            }
            room = count.min(2 * room);
            self.field = field;
        }
    }

    /// For how many of `count` elements with `size` bytes of memory there is room at first; for none after an error.
    /// Like the next not generic, since there are hundreds of types of elements.
    fn first_room(&mut self, count: usize, size: usize) -> usize {
        let left = self.remaining();
        if count > left {
            self.fail(DecodeErrorKind::Count { count, left });
            return 0;
        }
        if !self.affords(count.saturating_mul(size)) {
            return 0;
        }
        let justified = left.saturating_mul(4) / size.max(1) + 1;
        let mut room = count;
        while room > justified {
            room = room.div_ceil(2);
        }
        room
    }

    /// Charges room for `new` elements; the old room counts until the new one has been filled from it.
    fn charge_room(&mut self, old: usize, new: usize, size: usize) -> bool {
        let affords = self.charge(new.saturating_mul(size));
        if affords {
            self.memory += old * size;
        }
        affords
    }

    /// `count` elements of `N` bytes each, in one piece.
    pub(crate) fn fixed_elements<T, const N: usize>(
        &mut self,
        elements: &mut Vec<T>,
        count: usize,
        element: impl Fn([u8; N]) -> T,
    ) {
        let chunks = self.chunks(count, count.saturating_mul(size_of::<T>()));
        *elements = chunks.iter().map(|bytes| element(*bytes)).collect();
    }

    /// The bytes of `count` elements, none after an error. What becomes of them will take `memory`.
    #[inline]
    pub(crate) fn chunks<const N: usize>(&mut self, count: usize, memory: usize) -> &'a [[u8; N]] {
        let Some((bytes, rest)) = count.checked_mul(N).and_then(|len| self.rest.split_at_checked(len)) else {
            self.fail(DecodeErrorKind::Count { count, left: self.rest.len() });
            return &[];
        };
        if !self.charge(memory) {
            return &[];
        }
        self.rest = rest;
        bytes.as_chunks().0
    }

    /// Whether the budget has `needed` bytes left; an error if not.
    fn affords(&mut self, needed: usize) -> bool {
        let Self { memory: left, budget, .. } = *self;
        if needed > left {
            self.fail(DecodeErrorKind::Budget { needed, left, budget });
        }
        needed <= left
    }

    /// Takes memory from the budget, unless it would be too much.
    fn charge(&mut self, needed: usize) -> bool {
        let affords = self.affords(needed);
        if affords {
            self.memory -= needed;
        }
        affords
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

    /// The value of a tagged field, which must be `size` bytes long. One that comes twice counts the second time.
    pub fn tagged<T: Wire>(&mut self, value: &mut T, size: usize, version: i16) {
        *value = T::initial();
        let outer = self.end;
        let (bytes, behind) = self.rest.split_at_checked(size).unwrap_or((self.rest, &[]));
        (self.rest, self.end) = (bytes, outer - behind.len());
        value.read_tagged(self, version);
        if self.remaining() > 0 {
            self.fail(DecodeErrorKind::Leftover { unused: self.remaining() });
        }
        self.end = outer;
        self.rest = if self.error.is_none() { behind } else { &[] };
    }

    /// Keeps a tagged field whose meaning is not known; `left` come behind it.
    pub fn unknown_tag(&mut self, tags: &mut UnknownTags, tag: u32, size: usize, left: u32) {
        let value = self.slice(size);
        if self.error.is_none() && (!tags.is_full() || self.make_room(tags, left)) {
            tags.push(tag, value);
        }
    }

    #[cold]
    fn make_room(&mut self, tags: &mut UnknownTags, left: u32) -> bool {
        let old = tags.memory();
        let room = UnknownTags::room(tags.as_slice().len(), left);
        if !self.charge(UnknownTags::memory_of(room)) {
            return false;
        }
        tags.reserve(room);
        self.memory += old;
        true
    }
}

/// Elements are first defaults, which several in a row are where they are to stay, and one that is pushed is not.
const DEFAULTS_AT_ONCE: usize = 16;
const BUDGET_PER_BYTE: usize = 72;
const BUDGET_FLOOR: usize = 4096;
