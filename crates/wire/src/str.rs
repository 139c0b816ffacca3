//! [`Str`]: a string that is a slice of the frame it came in.
//!
//! Decoding checks it once and copies nothing. A `Str` keeps its whole frame alive; `String::from` lets go of it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// An immutable, cheaply cloned UTF-8 string: a checked slice of a frame, a static string, or one owned buffer.
///
/// Costs 32 bytes, and a reference count for each clone. It compares, orders and hashes as `str` does.
#[derive(Clone, Default)]
pub struct Str(Bytes);

impl Str {
    /// A string that lives as long as the program; allocates nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that must be UTF-8, without copying them.
    ///
    /// # Errors
    /// They are not UTF-8: where they stop being so.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that have been checked already.
    pub(crate) fn of_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Every constructor has checked the bytes, so the empty string never stands in for anything. Checking again is
        // the price of doing without `unsafe`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the text, which share the frame's memory.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy that no longer keeps the frame alive.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

/// A map with `Str` keys can be asked with a `&str`.
impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By bytes, which for UTF-8 is by code point.
impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_map_of_str_is_asked_with_a_borrowed_str() {
        let map = HashMap::from([(Str::from("orders"), 1)]);
        assert_eq!(map.get("orders"), Some(&1));
        assert_eq!(map.get("other"), None);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert!(Str::from_utf8(Bytes::from_static(b"\xff")).is_err());
        assert_eq!(Str::from_utf8(Bytes::from_static("\u{e9}".as_bytes())).unwrap(), "\u{e9}");
    }

    #[test]
    fn a_detached_copy_has_memory_of_its_own() {
        let frame = Bytes::from("xxordersxx".to_owned());
        let slice = Str::from_utf8(frame.slice(2..8)).unwrap();
        assert_eq!(slice.as_bytes().as_ptr(), frame[2..].as_ptr());
        let copy = slice.detached();
        assert_eq!(copy, slice);
        assert_ne!(copy.as_bytes().as_ptr(), slice.as_bytes().as_ptr());
    }

    #[test]
    fn padding_and_debug_are_those_of_str() {
        let text = Str::from_static("a\"b");
        assert_eq!(format!("{text:>5}|{text:?}"), "  a\"b|\"a\\\"b\"");
    }
}
