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
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            Ok(u32::from(byte))
        }
        _ => u32::try_from(read_long(input, MAX_VARINT_LEN)?).map_err(|_| VarintError::TooLong),
    }
}

/// Takes an unsigned 64-bit varint off the front of `input`.
#[inline]
pub fn read_uvarlong(input: &mut &[u8]) -> Result<u64, VarintError> {
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            Ok(u64::from(byte))
        }
        _ => read_long(input, MAX_VARLONG_LEN),
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

/// How many bytes [`write_uvarint`] writes.
#[inline]
pub const fn uvarint_len(value: u32) -> usize {
    uvarlong_len(value as u64)
}

/// How many bytes [`write_uvarlong`] writes.
#[inline]
pub const fn uvarlong_len(value: u64) -> usize {
    // A byte for every seven significant bits, at least one: (bits + 6) / 7, with the division as a multiplication.
    let bits = 64 - (value | 1).leading_zeros();
    ((bits * 9 + 64) / 64) as usize
}

/// How many bytes the signed varint of `value` takes.
#[inline]
pub const fn varint_len(value: i32) -> usize {
    uvarint_len(zigzag32(value))
}

/// How many bytes the signed varlong of `value` takes.
#[inline]
pub const fn varlong_len(value: i64) -> usize {
    uvarlong_len(zigzag64(value))
}

/// Appends the unsigned varint of `value`.
pub fn write_uvarint(out: &mut Vec<u8>, value: u32) {
    write_uvarlong(out, u64::from(value));
}

/// Appends the unsigned varlong of `value`.
pub fn write_uvarlong(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Varints and single bytes on the stack, up to 32 bytes: what stands in front of a record's key, and the like.
///
/// Bytes beyond the 32nd would overwrite the first ones; the writer of a record never comes near.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Small {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl Small {
    pub(crate) const CAPACITY: usize = 32;

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes[self.len % Self::CAPACITY] = byte;
        self.len += 1;
    }

    #[inline]
    fn uvarlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: i32) {
        self.uvarlong(u64::from(zigzag32(value)));
    }

    #[inline]
    pub(crate) fn varlong(&mut self, value: i64) {
        self.uvarlong(zigzag64(value));
    }

    /// Appends to `out`. With [`Small::CAPACITY`] bytes of room this is one copy of a fixed size.
    #[inline]
    pub(crate) fn write_to(&self, out: &mut BytesMut) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len.min(Self::CAPACITY)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            assert_eq!(small.as_slice(), bytes);
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
            let mut bytes = Vec::new();
            write_uvarlong(&mut bytes, value);
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
            prop_assert_eq!(small.as_slice().len(), varlong_len(value));
            prop_assert_eq!(read_varlong(&mut small.as_slice()), Ok(value));
            let value = value as i32;
            let mut small = Small::default();
            small.varint(value);
            prop_assert_eq!(small.as_slice().len(), varint_len(value));
            prop_assert_eq!(read_varint(&mut small.as_slice()), Ok(value));
        }
    }
}
