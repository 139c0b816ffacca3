//! [`Compressor`]: records into compressed bytes, with tables and buffers that are used again.

use std::fmt;

use bytes::Bytes;

use super::output::Output;
use super::pieces::Pieces;
use super::{Codec, Compression, CompressionError};

/// Compresses, reusing buffers and codec state. What a codec needs is made at its first use.
#[derive(Default)]
pub struct Compressor {
    joined: Vec<u8>,
    /// Its bytes are initialised as far as they were ever used.
    output: Vec<u8>,
    codecs: Codecs,
}

#[derive(Default)]
struct Codecs {
    #[cfg(feature = "gzip")]
    gzip: Option<super::gzip::Encoder>,
    #[cfg(feature = "snappy")]
    snappy: Option<Box<snap::raw::Encoder>>,
    #[cfg(feature = "lz4")]
    lz4: Option<lz4_flex::block::CompressTable>,
    #[cfg(feature = "zstd")]
    zstd: Option<Box<zrip::CompressContext>>,
}

impl Compressor {
    /// `pieces` compressed as one. The result is good until the next call.
    ///
    /// # Errors
    /// A level the codec does not have, a codec that is not part of this build, more bytes than a batch can have.
    pub fn compress(&mut self, codec: &Codec, pieces: &[Bytes]) -> Result<&[u8], CompressionError> {
        codec.check()?;
        let length = pieces.iter().map(Bytes::len).sum();
        let mut output = Output::new(std::mem::take(&mut self.output), codec.compression, length, usize::MAX);
        let result = self.codecs.run(codec, Pieces::new(pieces, &mut self.joined), &mut output);
        let filled;
        (self.output, filled) = output.finish();
        result?;
        check_length(codec.compression, filled)?;
        Ok(&self.output[..filled])
    }
}

impl Codecs {
    fn run(
        &mut self,
        codec: &Codec,
        mut input: Pieces<'_>,
        out: &mut Output,
    ) -> Result<(), CompressionError> {
        match codec.compression {
            Compression::None => out.put(input.whole()),
            #[cfg(feature = "gzip")]
            Compression::Gzip => {
                let level = codec.level.map_or(6, i32::unsigned_abs);
                let encoder = self.gzip.take().filter(|encoder| encoder.level() == level);
                let encoder = self.gzip.insert(encoder.unwrap_or_else(|| super::gzip::Encoder::new(level)));
                encoder.compress(input.whole(), out)
            }
            #[cfg(feature = "snappy")]
            Compression::Snappy => {
                let encoder = self.snappy.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
                super::snappy::compress(encoder, input, out)
            }
            #[cfg(feature = "lz4")]
            Compression::Lz4 => super::lz4::compress(self.lz4.get_or_insert_default(), input, out),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                // As in the C library, 0 is the usual level.
                let level = codec.level.filter(|&level| level != 0).unwrap_or(3);
                let context = self.zstd.take().filter(|context| context.level() == level);
                let context = match context {
                    Some(context) => context,
                    None => Box::new(super::zstd::context(level)?),
                };
                super::zstd::compress(self.zstd.insert(context), input.whole(), out)
            }
            #[allow(unreachable_patterns, reason = "which codecs are left depends on the features")]
            compression => Err(CompressionError::Disabled { compression }),
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// What does not compress becomes a little longer, perhaps too long: a batch's length has 31 bits, and counts 49 bytes of its
/// header.
const fn check_length(compression: Compression, length: usize) -> Result<(), CompressionError> {
    if length > i32::MAX as usize - 49 {
        return Err(CompressionError::TooLong { compression, length });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_batch_can_hold_is_refused() {
        let longest = i32::MAX as usize - 49;
        assert_eq!(check_length(Compression::Lz4, longest), Ok(()));
        let error = check_length(Compression::Lz4, longest + 1).expect_err("a byte too many");
        assert_eq!(
            error.to_string(),
            "2147483599 bytes of lz4 are more than a batch can have; make it smaller"
        );
    }
}
