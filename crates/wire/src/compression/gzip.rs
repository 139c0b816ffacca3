//! Gzip members (RFC 1952) around the deflate codec of `flate2`.
//!
//! Header and trailer are read here, so that the codec's state can be used again. Several members in a row become one
//! output, as the RFC says; bytes behind the last one that are not a member are an error.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::output::Output;
use super::{Compression, CompressionError};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// Magic, method, no flags, no time, no hints, unknown system.
const HEADER: [u8; 10] = [MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_LEN: usize = 8;
/// The most a byte of deflate becomes: 258 bytes for two bits, about.
const MAX_RATIO: usize = 1032;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

/// Deflate at one level.
pub(super) struct Encoder {
    level: u32,
    deflate: Compress,
}

impl Encoder {
    pub(super) fn new(level: u32) -> Self {
        Self { level, deflate: Compress::new(flate2::Compression::new(level), false) }
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Appends `input` as one member.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        out.append(HEADER.len() + input.len() / 2, |out| self.member(input, out))?
    }

    fn member(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        let start = out.len();
        loop {
            out.reserve((input.len() / 2).max(1024));
            // Totals count this input only, since the reset.
            let rest = &input[(self.deflate.total_in() as usize).min(input.len())..];
            let status = self
                .deflate
                .compress_vec(rest, out, FlushCompress::Finish)
                .map_err(|error| corrupt(&error))?;
            if status == Status::StreamEnd {
                break;
            }
        }
        debug_assert_eq!(self.deflate.total_out() as usize, out.len() - start);
        out.extend_from_slice(&crc_fast::crc32_iso_hdlc(input).to_le_bytes());
        out.extend_from_slice(&(input.len() as u32).to_le_bytes());
        Ok(())
    }
}

/// Inflate.
pub(super) struct Decoder(Decompress);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// What all members of `input` become.
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
        let mut rest = input;
        loop {
            rest = self.member(rest, output)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads one member, and returns what is behind it.
    fn member<'a>(&mut self, input: &'a [u8], output: &mut Output) -> Result<&'a [u8], CompressionError> {
        let body = skip_header(input)?;
        let start = output.filled().len();
        let mut room = size_hint(body).unwrap_or_else(|| output.guess());
        self.0.reset(false);
        loop {
            let before = (self.0.total_in(), self.0.total_out());
            let rest = &body[(before.0 as usize).min(body.len())..];
            let status = output
                .append(room.max(1), |out| self.0.decompress_vec(rest, out, FlushDecompress::None))?
                .map_err(|error| corrupt(&error))?;
            if status == Status::StreamEnd {
                break;
            }
            let progress = before != (self.0.total_in(), self.0.total_out());
            if output.allowed() == 0 {
                return Err(output.too_large());
            }
            if !progress {
                return Err(truncated());
            }
            room = output.guess();
        }
        let behind = body.get(self.0.total_in() as usize..).ok_or_else(truncated)?;
        let (trailer, behind) = behind.split_first_chunk::<TRAILER_LEN>().ok_or_else(truncated)?;
        let content = &output.filled()[start..];
        let mut expected = [0; TRAILER_LEN];
        expected[..4].copy_from_slice(&crc_fast::crc32_iso_hdlc(content).to_le_bytes());
        expected[4..].copy_from_slice(&(content.len() as u32).to_le_bytes());
        if *trailer == expected { Ok(behind) } else { Err(corrupt(&"checksum or size do not match")) }
    }
}

/// What the last four bytes say, which are the size if there is one member, and if they can be.
fn size_hint(body: &[u8]) -> Option<usize> {
    let size = u32::from_le_bytes(*body.last_chunk()?) as usize;
    (size / MAX_RATIO <= body.len()).then_some(size)
}

/// Checks a member's header, and returns what is behind it.
fn skip_header(input: &[u8]) -> Result<&[u8], CompressionError> {
    let ([magic1, magic2, method, flags, ..], mut rest) =
        input.split_first_chunk::<{ HEADER.len() }>().ok_or_else(truncated)?;
    if [*magic1, *magic2] != MAGIC {
        return Err(corrupt(&"no member starts here"));
    }
    if *method != DEFLATE || flags & 0b1110_0000 != 0 {
        return Err(corrupt(&format_args!("method {method} with flags {flags:#04x}")));
    }
    if flags & EXTRA != 0 {
        let (len, behind) = rest.split_first_chunk().ok_or_else(truncated)?;
        rest = behind.get(usize::from(u16::from_le_bytes(*len))..).ok_or_else(truncated)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or_else(truncated)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = &input[..input.len() - rest.len()];
        let (crc, behind) = rest.split_first_chunk().ok_or_else(truncated)?;
        if u16::from_le_bytes(*crc) != crc_fast::crc32_iso_hdlc(header) as u16 {
            return Err(corrupt(&"the header's checksum does not match"));
        }
        rest = behind;
    }
    Ok(rest)
}

fn truncated() -> CompressionError {
    corrupt(&"ends inside a member")
}

fn corrupt(what: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt { compression: Compression::Gzip, what: what.to_string() }
}
