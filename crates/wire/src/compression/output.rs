//! [`Output`]: a buffer that grows as a codec needs it, never beyond its limit.

use bytes::BytesMut;

use super::{Compression, CompressionError};

/// Decompressed bytes at the front of a buffer whose rest is ready to be written to.
pub(super) struct Output {
    /// Initialised up to its length, so that a buffer that is used again costs no zeroing.
    buffer: BytesMut,
    filled: usize,
    compression: Compression,
    compressed: usize,
    limit: usize,
}

impl Output {
    pub(super) fn new(buffer: BytesMut, compression: Compression, compressed: usize, limit: usize) -> Self {
        Self { buffer, filled: 0, compression, compressed, limit }
    }

    /// The bytes that may still come.
    pub(super) fn allowed(&self) -> usize {
        self.limit - self.filled
    }

    /// Makes room for `bytes` more, which a frame has announced: exactly that, and an error if it is too much.
    pub(super) fn announce(&mut self, bytes: usize) -> Result<(), CompressionError> {
        if bytes > self.allowed() {
            return Err(self.too_large());
        }
        self.resize(self.filled + bytes);
        Ok(())
    }

    /// Makes room for at least one more byte where nothing was announced: four times the input, then the double.
    pub(super) fn grow(&mut self) -> Result<(), CompressionError> {
        if self.allowed() == 0 {
            return Err(self.too_large());
        }
        let guess = self.compressed.saturating_mul(4).max(1024);
        let wanted =
            if self.filled < self.buffer.len() { 0 } else { self.filled.saturating_mul(2).max(guess) };
        self.resize(wanted.min(self.limit));
        Ok(())
    }

    /// What is filled, and the rest.
    pub(super) fn split(&mut self) -> (&[u8], &mut [u8]) {
        // A buffer from a larger batch may be longer than this one's limit.
        let end = self.buffer.len().min(self.limit);
        let (filled, spare) = self.buffer[..end].split_at_mut(self.filled);
        (filled, spare)
    }

    /// The rest.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.split().1
    }

    /// Says that the first `bytes` of the rest are filled.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    pub(super) fn finish(self) -> (BytesMut, usize) {
        (self.buffer, self.filled)
    }

    pub(super) fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge {
            compression: self.compression,
            compressed: self.compressed,
            limit: self.limit,
        }
    }

    pub(super) fn corrupt(&self, what: impl std::fmt::Display) -> CompressionError {
        CompressionError::corrupt(self.compression, what)
    }

    fn resize(&mut self, len: usize) {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
    }
}
