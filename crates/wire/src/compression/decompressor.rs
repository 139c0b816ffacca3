//! [`Decompressor`]: batches' bodies into buffers that are used again.

use std::fmt;

use bytes::Bytes;

use super::output::Output;
use super::{Compression, CompressionError};

/// What may come out of a compressed batch.
///
/// A batch is refused, before the memory is taken, if it would become larger than `max_batch_bytes`, or larger than
/// 4 MiB and more than `max_ratio` times what came in: a few kilobytes can be made that become gigabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest batch, in bytes. 128 MiB if not said otherwise.
    pub max_batch_bytes: usize,
    /// How many times larger a batch may become, above 4 MiB. 1,000 if not said otherwise.
    pub max_ratio: usize,
}

impl Limits {
    /// Up to this size no ratio is suspicious: a batch of a million equal bytes is a few dozen of them.
    const ANY_RATIO: usize = 4 * 1024 * 1024;

    /// How many bytes `compressed` of them may become.
    pub fn allowed(&self, compressed: usize) -> usize {
        compressed.saturating_mul(self.max_ratio).max(Self::ANY_RATIO).min(self.max_batch_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_batch_bytes: 128 * 1024 * 1024, max_ratio: 1000 }
    }
}

/// How many buffers are kept: one for the batch that is being read, one for the next.
const BUFFERS: usize = 2;
/// Buffers with more memory than this are not kept.
const KEPT: usize = 8 * 1024 * 1024;

/// Decompresses, reusing buffers and codec state. What a codec needs is made at its first use. Memory: two buffers of at
/// most 8 MiB each, and the codecs' state.
#[derive(Default)]
pub struct Decompressor {
    limits: Limits,
    /// Handles of buffers given out.
    buffers: Vec<Bytes>,
    codecs: Codecs,
}

#[derive(Default)]
struct Codecs {
    #[cfg(feature = "gzip")]
    gzip: Option<super::gzip::Decoder>,
    #[cfg(feature = "zstd")]
    zstd: Option<zrip::DecompressContext>,
}

impl Decompressor {
    /// A decompressor with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// What `input` becomes. The result's buffer is used again when all slices of it are gone.
    ///
    /// # Errors
    /// The codec is not part of this build, `input` is damaged, or becomes larger than the limits allow.
    pub fn decompress(&mut self, compression: Compression, input: &[u8]) -> Result<Bytes, CompressionError> {
        let limit = self.limits.allowed(input.len());
        let mut output = Output::new(self.take_buffer(), compression, input.len(), limit);
        let result = self.codecs.run(compression, input, &mut output);
        let (buffer, filled) = output.finish();
        // What a codec made room for, a size that lied included; how much of it was used does not count.
        let memory = buffer.capacity();
        let buffer = Bytes::from(buffer);
        let decompressed = result.map(|()| buffer.slice(..filled));
        if memory <= KEPT {
            self.keep(buffer);
        }
        decompressed
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let unused = self.buffers.iter().position(Bytes::is_unique);
        // The only holder's bytes become its vector again without a copy.
        unused.map_or_else(Vec::new, |i| self.buffers.swap_remove(i).into())
    }

    fn keep(&mut self, buffer: Bytes) {
        if self.buffers.len() == BUFFERS {
            self.buffers.remove(0);
        }
        self.buffers.push(buffer);
    }
}

impl Codecs {
    fn run(
        &mut self,
        compression: Compression,
        input: &[u8],
        output: &mut Output,
    ) -> Result<(), CompressionError> {
        match compression {
            Compression::None => output.put(input),
            #[cfg(feature = "gzip")]
            Compression::Gzip => {
                self.gzip.get_or_insert_with(super::gzip::Decoder::new).decompress(input, output)
            }
            #[cfg(feature = "snappy")]
            Compression::Snappy => super::snappy::decompress(input, output),
            #[cfg(feature = "lz4")]
            Compression::Lz4 => super::lz4::decompress(input, output),
            #[cfg(feature = "zstd")]
            Compression::Zstd => super::zstd::decompress(self.zstd.get_or_insert_default(), input, output),
            #[allow(unreachable_patterns, reason = "which codecs are left depends on the features")]
            compression => Err(CompressionError::Disabled { compression }),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use super::*;
    use crate::compression::Compressor;

    /// A trailer that lies about the size gets its room once, and not for good.
    #[test]
    fn room_that_a_lie_asked_for_is_not_kept() {
        // Bytes that do not compress: the lie is believed as long as so many bytes could become that.
        let noise = (0..60_000_u64).map(|n| {
            let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((n ^ n >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
        });
        let noise: Vec<u8> = noise.collect();
        let mut compressor = Compressor::default();
        let compressed = compressor.compress(&Compression::Gzip.into(), &[noise.into()]);
        let mut lie = compressed.expect("any bytes can be compressed").to_vec();
        let size = lie.len() - 4;
        assert!(size > 60_000, "the noise was compressed to {size} bytes");
        lie[size..].copy_from_slice(&(4 * KEPT as u32).to_le_bytes());
        let mut decompressor = Decompressor::default();
        decompressor.decompress(Compression::Gzip, &lie).expect_err("the trailer lies");
        let kept = decompressor.take_buffer().capacity();
        assert!(kept <= KEPT, "{kept} bytes are kept");
    }
}
