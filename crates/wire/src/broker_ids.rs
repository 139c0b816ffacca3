//! [`BrokerIds`]: the replicas of a partition, without an allocation.
//!
//! A large cluster's metadata has two or three such lists for each of its partitions, and most of the time of decoding
//! it went into allocating and freeing them.

use std::fmt;
use std::ops::Deref;

use crate::{Kind, Reader, Wire, Writer};

/// A list of broker ids, used as the slice it is. Up to five are inside the value; longer ones cost an allocation.
#[derive(Clone)]
pub struct BrokerIds(Ids);

#[derive(Clone)]
enum Ids {
    Few { len: u8, ids: [i32; FEW] },
    Many(Box<[i32]>),
}

/// With so many it is as large as a vector.
const FEW: usize = 5;

impl BrokerIds {
    fn new(ids: impl ExactSizeIterator<Item = i32>) -> Self {
        match u8::try_from(ids.len()) {
            Ok(len) if usize::from(len) <= FEW => {
                let mut few = [0; FEW];
                few.iter_mut().zip(ids).for_each(|(place, id)| *place = id);
                Self(Ids::Few { len, ids: few })
            }
            _ => Self(Ids::Many(ids.collect())),
        }
    }
}

impl Deref for BrokerIds {
    type Target = [i32];

    fn deref(&self) -> &[i32] {
        match &self.0 {
            // The length is never more than there are.
            Ids::Few { len, ids } => ids.get(..usize::from(*len)).unwrap_or(ids),
            Ids::Many(ids) => ids,
        }
    }
}

impl Default for BrokerIds {
    fn default() -> Self {
        Self(Ids::Few { len: 0, ids: [0; FEW] })
    }
}

impl fmt::Debug for BrokerIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for BrokerIds {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for BrokerIds {}

impl<const N: usize> PartialEq<[i32; N]> for BrokerIds {
    fn eq(&self, other: &[i32; N]) -> bool {
        **self == *other
    }
}

impl From<&[i32]> for BrokerIds {
    fn from(ids: &[i32]) -> Self {
        Self::new(ids.iter().copied())
    }
}

impl<const N: usize> From<[i32; N]> for BrokerIds {
    fn from(ids: [i32; N]) -> Self {
        Self::new(ids.into_iter())
    }
}

impl From<Vec<i32>> for BrokerIds {
    fn from(ids: Vec<i32>) -> Self {
        if ids.len() <= FEW { Self::new(ids.into_iter()) } else { Self(Ids::Many(ids.into())) }
    }
}

impl FromIterator<i32> for BrokerIds {
    fn from_iter<I: IntoIterator<Item = i32>>(ids: I) -> Self {
        Vec::from_iter(ids).into()
    }
}

impl<'a> IntoIterator for &'a BrokerIds {
    type Item = &'a i32;
    type IntoIter = std::slice::Iter<'a, i32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An array of int32.
impl Wire for BrokerIds {
    const KIND: Kind = <Vec<i32> as Wire>::KIND;

    fn initial() -> Self {
        Self::default()
    }

    fn read(&mut self, reader: &mut Reader<'_>, _: i16) {
        let count = reader.length();
        let count = reader.not_null(count);
        let memory = if count > FEW { count.saturating_mul(size_of::<i32>()) } else { 0 };
        *self = Self::new(reader.chunks(count, memory).iter().map(|bytes| i32::from_be_bytes(*bytes)));
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        writer.array(Some(self), version);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::DecodeErrorKind;

    fn list(len: usize) -> Vec<i32> {
        (0..).map(|n| n * 1_000_003 - 7).take(len).collect()
    }

    fn wire(value: &impl Wire, flexible: bool) -> Bytes {
        let mut writer = Writer::new(flexible);
        value.write(&mut writer, 0);
        writer.finish("test", 0).unwrap().into_bytes()
    }

    #[test]
    fn lists_of_any_length_are_what_vectors_are() {
        assert_eq!(size_of::<BrokerIds>(), size_of::<Vec<i32>>());
        for len in [0, 1, 3, 5, 6, 7, 255, 256, 1000] {
            let (vec, ids) = (list(len), BrokerIds::from(list(len)));
            assert_eq!((&*ids, format!("{ids:?}")), (&vec[..], format!("{vec:?}")));
            assert_eq!((&ids, &ids), (&vec.iter().copied().collect(), &BrokerIds::from(&vec[..])));
            for flexible in [false, true] {
                let bytes = wire(&ids, flexible);
                assert_eq!(bytes, wire(&vec, flexible));
                let mut reader = Reader::new(&bytes).with_flexible(flexible);
                assert_eq!(read(&mut reader), ids);
                assert_eq!(reader.finish("test"), Ok(()));
            }
        }
        assert_eq!(BrokerIds::default(), []);
        assert_ne!(BrokerIds::from([1, 2]), [1, 0]);
        assert_ne!(BrokerIds::from([0]), BrokerIds::default());
    }

    fn read(reader: &mut Reader<'_>) -> BrokerIds {
        let mut ids = BrokerIds::default();
        ids.read(reader, 0);
        ids
    }

    /// Trap W4: counts that lie are errors, before and after the number that needs no allocation.
    #[test]
    fn counts_that_lie_are_errors() {
        for count in [1u8, 5, 6, 200] {
            let frame = Bytes::from(vec![0, 0, 0, count, 0, 0, 0]);
            let mut reader = Reader::new(&frame);
            assert_eq!(read(&mut reader), []);
            let kind = DecodeErrorKind::Count { count: count.into(), left: 3 };
            assert_eq!(reader.finish("test").unwrap_err().kind, kind);
        }
        let frame = wire(&list(50), false);
        let mut reader = Reader::new(&frame).with_budget(100);
        assert_eq!(read(&mut reader), []);
        let kind = DecodeErrorKind::Budget { needed: 200, left: 100, budget: 100 };
        assert_eq!(reader.finish("test").unwrap_err().kind, kind);
        let frame = Bytes::from_static(b"\xff\xff\xff\xff");
        let mut reader = Reader::new(&frame);
        assert_eq!(read(&mut reader), []);
        assert_eq!(reader.finish("test").unwrap_err().kind, DecodeErrorKind::Null);
    }
}
