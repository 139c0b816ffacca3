//! [`Decompressor`]: batches' bodies into buffers that are used again.

use std::fmt;

use bytes::{Bytes, BytesMut};

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

/// Decompresses, reusing buffers and codec state.
#[derive(Default)]
pub struct Decompressor {
    limits: Limits,
    /// Handles of buffers given out, initialised in all their length.
    buffers: Vec<Bytes>,
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
        let result = self.run(compression, input, &mut output);
        let (buffer, filled) = output.finish();
        let buffer = buffer.freeze();
        let decompressed = result.map(|()| buffer.slice(..filled));
        self.keep(buffer);
        decompressed
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "codec state is added behind features")]
    fn run(
        &mut self,
        compression: Compression,
        input: &[u8],
        output: &mut Output,
    ) -> Result<(), CompressionError> {
        match compression {
            Compression::None => {
                output.announce(input.len())?;
                output.spare()[..input.len()].copy_from_slice(input);
                output.advance(input.len());
                Ok(())
            }
            _ => Err(CompressionError::Disabled { compression }),
        }
    }

    fn take_buffer(&mut self) -> BytesMut {
        for i in 0..self.buffers.len() {
            if self.buffers[i].is_unique() {
                if let Ok(buffer) = self.buffers.swap_remove(i).try_into_mut() {
                    return buffer;
                }
            }
        }
        BytesMut::new()
    }

    fn keep(&mut self, buffer: Bytes) {
        if self.buffers.len() == BUFFERS {
            self.buffers.remove(0);
        }
        self.buffers.push(buffer);
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("limits", &self.limits).finish_non_exhaustive()
    }
}
