//! [`Compressor`]: records into compressed bytes, with tables and buffers that are used again.

use std::fmt;

use bytes::Bytes;

use super::{Codec, Compression, CompressionError};

/// Compresses, reusing buffers and codec state.
#[derive(Default)]
pub struct Compressor {
    /// Pieces joined, for codecs want them in one.
    joined: Vec<u8>,
    output: Vec<u8>,
}

impl Compressor {
    /// `pieces` compressed as one. The result is good until the next call.
    ///
    /// # Errors
    /// A level the codec does not have, a codec that is not part of this build.
    pub fn compress(&mut self, codec: &Codec, pieces: &[Bytes]) -> Result<&[u8], CompressionError> {
        codec.check()?;
        let mut joined = std::mem::take(&mut self.joined);
        let input = match pieces {
            [one] => &one[..],
            many => {
                joined.clear();
                many.iter().for_each(|piece| joined.extend_from_slice(piece));
                &joined[..]
            }
        };
        self.output.clear();
        let result = self.run(codec, input);
        self.joined = joined;
        result.map(|()| &self.output[..])
    }

    fn run(&mut self, codec: &Codec, input: &[u8]) -> Result<(), CompressionError> {
        match codec.compression {
            Compression::None => {
                self.output.extend_from_slice(input);
                Ok(())
            }
            compression => Err(CompressionError::Disabled { compression }),
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}
