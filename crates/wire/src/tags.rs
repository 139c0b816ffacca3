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

    /// Whether the next one needs more room.
    pub(crate) fn is_full(&self) -> bool {
        self.0.as_deref().is_none_or(|tags| tags.0.len() == tags.0.capacity())
    }

    /// Room for one more and for some of the `left` that are announced behind it: twice as much, or what is needed.
    pub(crate) fn room(len: usize, left: u32) -> usize {
        let announced = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
        len + announced.min(len.max(4))
    }

    /// Makes room for exactly `room` in all.
    pub(crate) fn reserve(&mut self, room: usize) {
        let tags = &mut self.0.get_or_insert_default().0;
        tags.reserve_exact(room.saturating_sub(tags.len()));
    }

    /// The bytes of memory it takes, apart from the frame that the values are slices of.
    pub(crate) fn memory(&self) -> usize {
        self.0.as_deref().map_or(0, |tags| Self::memory_of(tags.0.capacity()))
    }

    /// What room for that many takes.
    pub(crate) fn memory_of(room: usize) -> usize {
        size_of::<Tags>() + room.saturating_mul(size_of::<UnknownTag>())
    }

    /// Adds one behind the others. Their numbers must ascend, and none may be of a field that the table has: they are
    /// written as they stand here, and peers refuse tagged fields in another order, or twice.
    pub fn push(&mut self, tag: u32, value: Bytes) {
        self.0.get_or_insert_default().0.push(UnknownTag { tag, value });
    }
}

/// Almost everywhere there are none, and every struct of the table asks: the question is inline, the rest is not.
impl Drop for UnknownTags {
    #[inline]
    fn drop(&mut self) {
        if let Some(tags) = self.0.take() {
            drop_tags(tags);
        }
    }
}

#[cold]
fn drop_tags(tags: Box<Tags>) {
    drop(tags);
}
