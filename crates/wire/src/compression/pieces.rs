//! [`Pieces`]: what is to be compressed, as the codec wants it.

use bytes::Bytes;

use super::CompressionError;

/// The pieces of a batch. Codecs that work block by block get blocks, so that what is joined for one of them is still in the
/// processor's cache when it is compressed; the others get all of it in one.
pub(super) struct Pieces<'a> {
    pieces: &'a [Bytes],
    joined: &'a mut Vec<u8>,
}

#[cfg_attr(
    not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    allow(dead_code, reason = "each codec uses a part of it")
)]
impl<'a> Pieces<'a> {
    /// These, joined in `joined`'s memory where they have to be.
    pub(super) fn new(pieces: &'a [Bytes], joined: &'a mut Vec<u8>) -> Self {
        joined.clear();
        Self { pieces, joined }
    }

    /// All of it.
    pub(super) fn whole(&mut self) -> &[u8] {
        if let [one] = self.pieces {
            return one;
        }
        self.pieces.iter().for_each(|piece| self.joined.extend_from_slice(piece));
        self.joined
    }

    /// All of it in blocks of `size` bytes, the last of which may be shorter.
    pub(super) fn in_blocks(
        &mut self,
        size: usize,
        mut each: impl FnMut(&[u8]) -> Result<(), CompressionError>,
    ) -> Result<(), CompressionError> {
        for piece in self.pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(size - self.joined.len()));
                rest = later;
                if now.len() == size {
                    each(now)?;
                    continue;
                }
                self.joined.extend_from_slice(now);
                if self.joined.len() == size {
                    each(self.joined)?;
                    self.joined.clear();
                }
            }
        }
        if self.joined.is_empty() { Ok(()) } else { each(self.joined) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_the_whole_are_the_pieces_in_their_order() {
        let all: Vec<u8> = (0..100).collect();
        for cuts in [vec![], vec![0, 0, 3, 10, 11, 50, 99, 100], vec![20, 40, 60, 80], vec![1], vec![95]] {
            let ends = cuts.iter().copied().chain([all.len()]);
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let pieces: Vec<Bytes> =
                starts.zip(ends).map(|(start, end)| Bytes::copy_from_slice(&all[start..end])).collect();
            let mut joined = b"from before".to_vec();
            assert_eq!(Pieces::new(&pieces, &mut joined).whole(), all);
            for size in [1, 7, 20, 99, 100, 101] {
                let mut blocks = Vec::new();
                let each = |block: &[u8]| {
                    blocks.push(block.to_vec());
                    Ok(())
                };
                Pieces::new(&pieces, &mut joined).in_blocks(size, each).expect("none refuses");
                assert_eq!(blocks, all.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>(), "{cuts:?}");
            }
        }
        assert_eq!(Pieces::new(&[], &mut Vec::new()).in_blocks(5, |_| panic!("there is none")), Ok(()));
    }
}
