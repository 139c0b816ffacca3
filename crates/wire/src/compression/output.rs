//! [`Output`]: a buffer that grows as a codec needs it, never beyond its limit.

use super::{Compression, CompressionError};

/// What comes out of a codec, at the front of a buffer.
///
/// Codecs that write into a slice find initialised bytes behind them, left from the last use where there was one, so
/// that a warm buffer costs no zeroing. Codecs that append get the vector.
pub(super) struct Output {
    buffer: Vec<u8>,
    filled: usize,
    compression: Compression,
    compressed: usize,
    limit: usize,
}

#[cfg_attr(
    not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    allow(dead_code, reason = "each codec uses a part of it")
)]
impl Output {
    /// An empty output that uses `buffer`'s memory, for what `compressed` bytes become: at most `limit`.
    pub(super) fn new(buffer: Vec<u8>, compression: Compression, compressed: usize, limit: usize) -> Self {
        Self { buffer, filled: 0, compression, compressed, limit }
    }

    /// The buffer and how much of it is filled.
    pub(super) fn finish(self) -> (Vec<u8>, usize) {
        (self.buffer, self.filled)
    }

    /// What came out so far.
    pub(super) fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// How many bytes may still come.
    pub(super) fn allowed(&self) -> usize {
        self.limit - self.filled
    }

    /// What is filled, and `bytes` initialised ones to write to; an error if they are more than allowed.
    pub(super) fn spare(&mut self, bytes: usize) -> Result<(&[u8], &mut [u8]), CompressionError> {
        if bytes > self.allowed() {
            return Err(self.too_large());
        }
        let end = self.filled + bytes;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let (filled, spare) = self.buffer[..end].split_at_mut(self.filled);
        Ok((filled, spare))
    }

    /// Appends these.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), CompressionError> {
        self.spare(bytes.len())?.1.copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// Says that the first `bytes` of what [`Output::spare`] gave are filled.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    /// Lets `append` append to the vector, which has room for `bytes` more, or as many as are allowed.
    pub(super) fn append<T>(
        &mut self,
        bytes: usize,
        append: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, CompressionError> {
        let bytes = bytes.min(self.allowed());
        self.buffer.truncate(self.filled);
        self.buffer.reserve(bytes);
        let result = append(&mut self.buffer);
        // The vector may have had more room than the limit allows.
        if self.buffer.len() > self.limit {
            return Err(self.too_large());
        }
        self.filled = self.buffer.len();
        Ok(result)
    }

    /// How much room to make where nothing says how much will come: four times the input, then the double.
    pub(super) fn guess(&self) -> usize {
        self.filled.max(self.compressed.saturating_mul(4)).max(1024)
    }

    /// More would come out than the limit allows.
    pub(super) fn too_large(&self) -> CompressionError {
        let Self { compression, compressed, limit, .. } = *self;
        CompressionError::TooLarge { compression, compressed, limit }
    }
}
