//! Snappy, in the framing of xerial's snappy-java and without it.
//!
//! Written in the framing, as the Java client and librdkafka do: a header of 16 bytes, then blocks of 32 KiB before
//! compression, each with its compressed size in front. Read both ways: some clients write one raw block. The sizes
//! of all blocks are summed before memory is taken.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::output::Output;
use super::pieces::Pieces;
use super::{Compression, CompressionError};

/// The framing's magic, version 1, compatible with readers of version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC_LEN: usize = 8;
const BLOCK: usize = 32 * 1024;
/// The most a compressed byte becomes: three bytes say "copy 64".
const MAX_RATIO: usize = 22;

/// Appends `input` in the framing.
pub(super) fn compress(
    encoder: &mut Encoder,
    mut input: Pieces<'_>,
    out: &mut Output,
) -> Result<(), CompressionError> {
    out.put(&HEADER)?;
    input.in_blocks(BLOCK, |block| {
        let (_, spare) = out.spare(4 + max_compress_len(block.len()))?;
        let (size, room) = spare.split_at_mut(4);
        let compressed = encoder.compress(block, room).map_err(|error| corrupt(&error))?;
        size.copy_from_slice(&(compressed as u32).to_be_bytes());
        out.advance(4 + compressed);
        Ok(())
    })
}

/// What `input` becomes, in the framing or raw.
pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    if !is_framed(input) {
        let size = announced(input)?;
        return decode(input, size, output);
    }
    let total =
        Blocks(input).try_fold(0usize, |total, block| Ok(total.saturating_add(announced(block?)?)))?;
    output.spare(total)?;
    for block in Blocks(input) {
        let block = block?;
        decode(block, announced(block)?, output)?;
    }
    Ok(())
}

fn is_framed(input: &[u8]) -> bool {
    input.starts_with(&HEADER[..MAGIC_LEN])
}

/// What a raw block says it becomes, if that can be.
fn announced(block: &[u8]) -> Result<usize, CompressionError> {
    if block.is_empty() {
        return Err(corrupt(&"a block is empty"));
    }
    let size = decompress_len(block).map_err(|error| corrupt(&error))?;
    if size / MAX_RATIO > block.len() {
        return Err(corrupt(&format_args!("{} bytes cannot become {size}", block.len())));
    }
    Ok(size)
}

fn decode(block: &[u8], size: usize, output: &mut Output) -> Result<(), CompressionError> {
    let (_, spare) = output.spare(size)?;
    let decoded = Decoder::new().decompress(block, spare).map_err(|error| corrupt(&error))?;
    output.advance(decoded);
    Ok(())
}

/// The blocks of a framed input. A header may stand in front of any block: streams can be appended to each other.
struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    fn take(&mut self) -> Result<Option<&'a [u8]>, CompressionError> {
        if is_framed(self.0) {
            self.0 = self.0.get(HEADER.len()..).ok_or_else(truncated)?;
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let (size, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
        let (block, rest) =
            rest.split_at_checked(u32::from_be_bytes(*size) as usize).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(Some(block))
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<&'a [u8], CompressionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.take();
        if block.is_err() {
            self.0 = &[];
        }
        block.transpose()
    }
}

fn truncated() -> CompressionError {
    corrupt(&"ends inside a block")
}

fn corrupt(what: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt { compression: Compression::Snappy, what: what.to_string() }
}
