//! [`UnknownTags`]: the tagged fields (KIP-482) that a peer sent and the table does not know.

use bytes::Bytes;

/// Tagged fields of one struct that the table does not know, kept as they came and written back as they are.
///
/// Costs 8 bytes where there are none, which is almost everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownTags(Option<Box<Tags>>);

/// One tagged field whose meaning is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTag {
    /// The field's number.
    pub tag: u32,
    /// Its value, without the size in front.
    pub value: Bytes,
}

/// A box around a vector, because the vector's three words would stand in every struct of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tags(Vec<UnknownTag>);

impl UnknownTags {
    /// The fields, by ascending number if they were decoded from a well-behaved peer.
    pub fn as_slice(&self) -> &[UnknownTag] {
        self.0.as_deref().map_or(&[], |tags| &tags.0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Adds one behind the others.
    pub fn push(&mut self, tag: u32, value: Bytes) {
        self.0.get_or_insert_default().0.push(UnknownTag { tag, value });
    }
}
