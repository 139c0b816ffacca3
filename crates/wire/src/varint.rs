//! Variable-length integers: unsigned, and signed through the zig-zag mapping.
//!
//! Seven bits a byte, least significant first, the high bit set on all but the last byte; as in Protocol Buffers.
//! Records use the signed forms, flexible messages the unsigned ones. A varint that is longer than its type, or that
//! says more than its type holds, is an error. The source is the protocol guide's section on primitive types.

use std::fmt;

use bytes::BytesMut;

/// The bytes an unsigned 32-bit varint takes at most.
pub const MAX_VARINT_LEN: usize = 5;
/// The bytes an unsigned 64-bit varint takes at most.
pub const MAX_VARLONG_LEN: usize = 10;

/// Why bytes are not a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VarintError {
    /// The input ended inside the varint.
    Truncated,
    /// The varint says more than its type can hold.
    TooLong,
}

impl fmt::Display for VarintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "input ends inside a varint",
            Self::TooLong => "varint longer than its type",
        })
    }
}

impl std::error::Error for VarintError {}

/// Takes an unsigned 32-bit varint off the front of `input`.
#[inline]
pub fn read_uvarint(input: &mut &[u8]) -> Result<u32, VarintError> {
    match read_short(input) {
        Some(value) => Ok(value),
        None => u32::try_from(read_long(input, MAX_VARINT_LEN)?).map_err(|_| VarintError::TooLong),
    }
}

/// Takes an unsigned 64-bit varint off the front of `input`.
#[inline]
pub fn read_uvarlong(input: &mut &[u8]) -> Result<u64, VarintError> {
    match read_short(input) {
        Some(value) => Ok(value.into()),
        None => read_long(input, MAX_VARLONG_LEN),
    }
}

/// Takes a signed 32-bit varint off the front of `input`.
#[inline]
pub fn read_varint(input: &mut &[u8]) -> Result<i32, VarintError> {
    read_uvarint(input).map(|zigzag| (zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
}

/// Takes a signed 64-bit varint off the front of `input`.
#[inline]
pub fn read_varlong(input: &mut &[u8]) -> Result<i64, VarintError> {
    read_uvarlong(input).map(|zigzag| (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

/// Varints of one and two bytes, which most are.
#[inline]
fn read_short(input: &mut &[u8]) -> Option<u32> {
    match *input {
        [first @ 0..0x80, rest @ ..] => {
            *input = rest;
            Some(u32::from(*first))
        }
        [first, second @ 0..0x80, rest @ ..] => {
            *input = rest;
            Some(u32::from(*first & 0x7f) | u32::from(*second) << 7)
        }
        _ => None,
    }
}

#[cold]
fn read_long(input: &mut &[u8], max_len: usize) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(max_len).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if i == MAX_VARLONG_LEN - 1 && bits > 1 {
            return Err(VarintError::TooLong);
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() < max_len { VarintError::Truncated } else { VarintError::TooLong })
}

/// The zig-zag mapping of 32 bits: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub const fn zigzag32(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

/// The zig-zag mapping of 64 bits.
#[inline]
pub const fn zigzag64(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// How many bytes the unsigned varlong of `value` takes.
#[inline]
pub const fn uvarlong_len(value: u64) -> usize {
    // A byte for every seven significant bits, at least one: (bits + 6) / 7, with the division as a multiplication.
    let bits = 64 - (value | 1).leading_zeros();
    ((bits * 9 + 64) / 64) as usize
}

/// How many bytes the signed varint of `value` takes.
#[inline]
pub const fn varint_len(value: i32) -> usize {
    uvarlong_len(zigzag32(value) as u64)
}

/// How many bytes the signed varlong of `value` takes.
#[inline]
pub const fn varlong_len(value: i64) -> usize {
    uvarlong_len(zigzag64(value))
}

/// Varints and single bytes in a register, up to 16 of them: what stands in front of a payload.
///
/// Collected here and stored as one word, they cost less than stored one by one; and read back from memory they would
/// cost most of all.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Small {
    /// Little endian; nothing but zeros above `len` bytes.
    bytes: u128,
    len: u32,
}

impl Small {
    /// Bytes it can hold. More are lost, so that whoever adds to it asks [`Small::has_room`].
    pub(crate) const CAPACITY: usize = 16;

    /// Whether `bytes` more fit.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.len as usize + bytes <= Self::CAPACITY
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.push(byte.into(), 1);
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: i32) {
        self.uvarlong(zigzag32(value).into());
    }

    #[inline]
    pub(crate) fn varlong(&mut self, value: i64) {
        self.uvarlong(zigzag64(value));
    }

    #[inline(always)]
    fn uvarlong(&mut self, value: u64) {
        if value < 0x80 {
            self.push(value, 1);
        } else if value < 0x4000 {
            self.push(value & 0x7f | 0x80 | value >> 7 << 8, 2);
        } else {
            *self = self.with_long(value);
        }
    }

    /// By value, so that it stays in registers for the others.
    fn with_long(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.push(value & 0x7f | 0x80, 1);
            value >>= 7;
        }
        self.push(value, 1);
        self
    }

    #[inline(always)]
    fn push(&mut self, bytes: u64, len: u32) {
        let shift = 8 * self.len;
        self.len += len;
        // A shift within the lower half costs a third of one across both.
        if self.len <= 8 {
            self.bytes |= u128::from(bytes.wrapping_shl(shift));
        } else {
            self.bytes |= u128::from(bytes).wrapping_shl(shift);
        }
    }

    /// Appends to `out`. With [`Small::CAPACITY`] bytes of room this is one copy of a fixed size.
    #[inline(always)]
    pub(crate) fn write_to(&self, out: &mut BytesMut) {
        let end = out.len() + self.len as usize;
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }

    /// The bytes, and how many of them count.
    #[inline]
    pub(crate) fn to_bytes(self) -> ([u8; Self::CAPACITY], usize) {
        (self.bytes.to_le_bytes(), (self.len as usize).min(Self::CAPACITY))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(small: Small) -> Vec<u8> {
        let (bytes, len) = small.to_bytes();
        bytes[..len].to_vec()
    }

    #[test]
    fn known_values() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut small = Small::default();
            small.varint(value);
            assert_eq!(written(small), bytes);
            assert_eq!(read_varint(&mut &bytes[..]), Ok(value));
            assert_eq!(read_varlong(&mut &bytes[..]), Ok(i64::from(value)));
        }
    }

    /// Trap W4: a varint longer than its type is an error.
    #[test]
    fn varint_longer_than_its_type_is_an_error() {
        use VarintError::{TooLong, Truncated};
        assert_eq!(read_uvarint(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Ok(u32::MAX));
        assert_eq!(read_uvarint(&mut &[0xff, 0xff, 0xff, 0xff, 0x10][..]), Err(TooLong));
        assert_eq!(read_uvarint(&mut &[0x80; 5][..]), Err(TooLong));
        assert_eq!(read_uvarint(&mut &[0x80; 4][..]), Err(Truncated));
        assert_eq!(read_uvarint(&mut &[][..]), Err(Truncated));
        let mut long = [0xff; 10];
        long[9] = 1;
        assert_eq!(read_uvarlong(&mut &long[..]), Ok(u64::MAX));
        long[9] = 2;
        assert_eq!(read_uvarlong(&mut &long[..]), Err(TooLong));
        assert_eq!(read_uvarlong(&mut &[0x80; 11][..]), Err(TooLong));
        assert_eq!(read_uvarlong(&mut &[0x80; 9][..]), Err(Truncated));
    }

    proptest! {
        #[test]
        fn unsigned_round_trips(value: u64, shift in 0u32..64, rest: Vec<u8>) {
            let value = value >> shift;
            let mut small = Small::default();
            small.uvarlong(value);
            let mut bytes = written(small);
            prop_assert_eq!(bytes.len(), uvarlong_len(value));
            bytes.extend_from_slice(&rest);
            let mut input = &bytes[..];
            prop_assert_eq!(read_uvarlong(&mut input), Ok(value));
            prop_assert_eq!(input, &rest[..]);
            prop_assert_eq!(read_uvarint(&mut &bytes[..]), u32::try_from(value).map_err(|_| VarintError::TooLong));
        }

        #[test]
        fn signed_round_trips(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut small = Small::default();
            small.varlong(value);
            prop_assert_eq!(written(small).len(), varlong_len(value));
            prop_assert_eq!(read_varlong(&mut &written(small)[..]), Ok(value));
            let value = value as i32;
            let mut small = Small::default();
            small.byte(7);
            small.varint(value);
            prop_assert_eq!(written(small).len(), 1 + varint_len(value));
            prop_assert_eq!(read_varint(&mut &written(small)[1..]), Ok(value));
        }
    }
}
