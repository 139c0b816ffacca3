//! [`RecordSet`]: the record batches of one partition inside a Produce request or a Fetch response.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// Record batches as they are on the wire, not looked into. [`crate::records::batches`] reads them.
///
/// Decoding yields one slice of the frame. A producer hands in a batch as the chunks it consists of, and they leave
/// without being joined, unless they are small. Two sets are equal when their bytes are, however they are cut.
#[derive(Clone)]
pub enum RecordSet {
    /// One piece.
    Contiguous(Bytes),
    /// Pieces in order.
    Chunks(Vec<Bytes>),
}

impl RecordSet {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order.
    pub fn chunks(&self) -> &[Bytes] {
        match self {
            Self::Contiguous(bytes) => std::slice::from_ref(bytes),
            Self::Chunks(chunks) => chunks,
        }
    }

    /// All bytes in one piece; copies only what consists of several.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut joined = BytesMut::with_capacity(self.len());
                many.iter().for_each(|chunk| joined.extend_from_slice(chunk));
                joined.freeze()
            }
        }
    }
}

impl Default for RecordSet {
    fn default() -> Self {
        Self::Contiguous(Bytes::new())
    }
}

/// The length only: requests are logged, records are not.
impl fmt::Debug for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordSet({} bytes)", self.len())
    }
}

impl PartialEq for RecordSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for RecordSet {}

impl From<Bytes> for RecordSet {
    fn from(bytes: Bytes) -> Self {
        Self::Contiguous(bytes)
    }
}

impl From<Vec<Bytes>> for RecordSet {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self::Chunks(chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_equal_however_they_are_cut() {
        let whole = RecordSet::from(Bytes::from_static(b"abcdef"));
        let cut = RecordSet::from(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cdef")]);
        assert_eq!(whole, cut);
        assert_eq!((cut.len(), cut.to_bytes().as_ref()), (6, &b"abcdef"[..]));
        assert_ne!(whole, RecordSet::from(Bytes::from_static(b"abcdeg")));
        assert!(RecordSet::from(Vec::new()).is_empty());
    }

    #[test]
    fn the_debug_form_does_not_show_records() {
        assert_eq!(format!("{:?}", RecordSet::from(Bytes::from_static(b"secret"))), "RecordSet(6 bytes)");
    }
}
