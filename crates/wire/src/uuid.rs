//! [`Uuid`]: topic ids, directory ids and member ids, in Kafka's own spelling (KIP-516).

use std::fmt;
use std::str::FromStr;

/// A 128-bit id. Its text is Kafka's: url-safe base64 without padding, always 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// All zero: "no id" everywhere in the protocol.
    pub const NIL: Self = Self([0; 16]);

    /// An id from its bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is [`Uuid::NIL`].
    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(TEXT_LEN);
        for digit in 0..TEXT_LEN {
            // 21 digits of six bits each; the last one holds the remaining two, and four bits of padding.
            let six = if digit < 21 { bits >> (122 - 6 * digit) } else { bits << 4 };
            text.push(char::from(ALPHABET[(six & 63) as usize]));
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`Uuid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseUuidError(());

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a uuid is 22 characters of url-safe base64 (A-Z a-z 0-9 - _), the last of them A, Q, g or w",
        )
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != TEXT_LEN {
            return Err(ParseUuidError(()));
        }
        let mut bits = 0u128;
        for (i, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&a| a == byte).ok_or(ParseUuidError(()))? as u128;
            if i + 1 < TEXT_LEN {
                bits = bits << 6 | digit;
            } else if digit & 15 == 0 {
                bits = bits << 2 | digit >> 4;
            } else {
                return Err(ParseUuidError(()));
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// 16 bytes in base64 without padding.
const TEXT_LEN: usize = 22;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_kafka_prints() {
        // Printed by org.apache.kafka.common.Uuid 4.3.1.
        let id = Uuid::from_bytes(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes());
        assert_eq!(id.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(Uuid::NIL.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!("ASNFZ4mrze_-3LqYdlQyEA".parse(), Ok(id));
    }

    #[test]
    fn text_that_is_no_uuid_is_refused() {
        for text in [
            "",
            "ASNFZ4mrze",
            "ASNFZ4mrze_-3LqYdlQyEB",
            "ASNFZ4mrze+-3LqYdlQyEA",
            "ASNFZ4mrze_-3LqYdlQy\u{e9}",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text:?} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 16]) {
            let id = Uuid::from_bytes(bytes);
            proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
