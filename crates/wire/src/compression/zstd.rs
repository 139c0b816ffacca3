//! Zstandard (RFC 8878) through `zrip`.
//!
//! Frames are written with their content size and without the content checksum: the batch has its CRC. What other
//! clients write has no content size.

use zrip::{CompressContext, DecompressContext, DecompressError, compress_bound};

use super::output::Output;
use super::{Compression, CompressionError};

/// Appends `input` as one frame.
pub(super) fn compress(
    context: &mut CompressContext,
    input: &[u8],
    out: &mut Output,
) -> Result<(), CompressionError> {
    let (_, spare) = out.spare(compress_bound(input.len()))?;
    let compressed = context.compress_into(input, spare).map_err(|error| corrupt(&error))?;
    out.advance(compressed);
    Ok(())
}

/// A context for `level`.
pub(super) fn context(level: i32) -> Result<CompressContext, CompressionError> {
    let mut context = CompressContext::new(level)
        .map_err(|_| CompressionError::Level { compression: Compression::Zstd, level })?;
    context.set_content_checksum(false);
    Ok(context)
}

/// What all frames of `input` become.
pub(super) fn decompress(
    context: &mut DecompressContext,
    input: &[u8],
    output: &mut Output,
) -> Result<(), CompressionError> {
    if input.is_empty() {
        return Err(corrupt(&"there is no frame"));
    }
    let allowed = output.allowed();
    let result =
        output.append(output.guess(), |out| context.decompress_into_with_limit(input, out, allowed))?;
    match result {
        Ok(_) => Ok(()),
        Err(DecompressError::OutputTooSmall) => Err(output.too_large()),
        Err(DecompressError::DictRequired | DecompressError::DictMismatch { .. }) => {
            Err(CompressionError::Unsupported { compression: Compression::Zstd, what: "a dictionary" })
        }
        Err(error) => Err(corrupt(&error)),
    }
}

fn corrupt(what: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt { compression: Compression::Zstd, what: what.to_string() }
}
