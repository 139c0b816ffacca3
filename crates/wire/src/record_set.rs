//! [`RecordSet`]: the record batches of one partition inside a Produce request or a Fetch response.

use bytes::{Bytes, BytesMut};

/// Record batches as they are on the wire, not looked into. [`crate::records::batches`] reads them.
///
/// Decoding yields one slice of the frame. A producer hands in a batch as the chunks it consists of, and they leave
/// without being joined. Two sets are equal when their bytes are, however they are cut.
#[derive(Debug, Clone)]
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
