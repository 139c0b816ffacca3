//! LZ4 frames over the block codec of `lz4_flex`.
//!
//! Written as the Java client writes them: independent blocks of 64 KiB, no checksums beyond the header's (the batch
//! has its CRC), no content size. Read: any frame of the current format - linked blocks, content size, block and
//! content checksums, all block sizes, skippable frames, several frames in a row - but dictionaries and the legacy
//! format of before 2014, which no Kafka client writes into this batch format. Nor does one write the wrong header
//! checksum that early Kafka clients had: that was in message formats 0 and 1.
//!
//! The source is the LZ4 frame format description, 1.6.

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::output::Output;
use super::pieces::Pieces;
use super::xxh32::xxh32;
use super::{Compression, CompressionError};

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;

const VERSION: u8 = 0b01 << 6;
const VERSION_MASK: u8 = 0b11 << 6;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const DICTIONARY: u8 = 1;

const BLOCKS_OF_64_KIB: u8 = 4 << 4;
/// The high bit of a block's size says that the block is stored.
const STORED: u32 = 1 << 31;
/// How far back a match may reach.
const WINDOW: usize = 64 * 1024;
/// A byte of a block becomes at most so many.
const MAX_RATIO: usize = 255;

/// What we put into a block: a little less than 64 KiB, so that 16-bit positions will do and the table is 8 KiB.
const BLOCK: usize = u16::MAX as usize - 1;

/// Appends `input` as one frame.
pub(super) fn compress(
    table: &mut CompressTable,
    mut input: Pieces<'_>,
    out: &mut Output,
) -> Result<(), CompressionError> {
    let descriptor = [VERSION | INDEPENDENT, BLOCKS_OF_64_KIB];
    out.put(&MAGIC.to_le_bytes())?;
    out.put(&descriptor)?;
    out.put(&[header_checksum(&descriptor)])?;
    input.in_blocks(BLOCK, |block| {
        let (_, spare) = out.spare(4 + get_maximum_output_size(block.len()))?;
        let (size, room) = spare.split_at_mut(4);
        let compressed = compress_into_with_table(block, room, table).map_err(|error| corrupt(&error))?;
        if compressed < block.len() {
            size.copy_from_slice(&(compressed as u32).to_le_bytes());
            out.advance(4 + compressed);
        } else {
            size.copy_from_slice(&(block.len() as u32 | STORED).to_le_bytes());
            room[..block.len()].copy_from_slice(block);
            out.advance(4 + block.len());
        }
        Ok(())
    })?;
    out.put(&0u32.to_le_bytes())
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

/// What all frames of `input` become.
pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    let mut rest = Input(input);
    loop {
        match rest.u32()? {
            MAGIC => frame(&mut rest, output)?,
            magic if SKIPPABLE.contains(&magic) => {
                let size = rest.u32()?;
                rest.take(size as usize)?;
            }
            magic => return Err(corrupt(&format_args!("no frame starts with {magic:#010x}"))),
        }
        if rest.0.is_empty() {
            return Ok(());
        }
    }
}

fn frame(input: &mut Input<'_>, output: &mut Output) -> Result<(), CompressionError> {
    let header = Header::read(input)?;
    let start = output.filled().len();
    if let Some(size) = header.content_size {
        // Makes the room at once, unless the frame says more than its bytes can become.
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size / MAX_RATIO > input.0.len() {
            return Err(corrupt(&format_args!("{} bytes cannot become {size}", input.0.len())));
        }
        output.spare(size)?;
    }
    loop {
        let size = input.u32()?;
        if size == 0 {
            break;
        }
        let block = input.take((size & !STORED) as usize)?;
        if header.has_block_checksums && input.u32()? != xxh32(block) {
            return Err(corrupt(&"a block's checksum does not match"));
        }
        if size & STORED != 0 {
            store(block, header.block_size, output)?;
        } else {
            decode(block, &header, start, output)?;
        }
    }
    let content = &output.filled()[start..];
    if header.has_content_checksum && input.u32()? != xxh32(content) {
        return Err(corrupt(&"the content's checksum does not match"));
    }
    match header.content_size {
        Some(size) if size != content.len() as u64 => {
            Err(corrupt(&format_args!("{} bytes came out, the frame says {size}", content.len())))
        }
        _ => Ok(()),
    }
}

fn store(block: &[u8], block_size: usize, output: &mut Output) -> Result<(), CompressionError> {
    if block.len() > block_size {
        return Err(corrupt(&"a block is larger than the frame allows"));
    }
    output.put(block)
}

fn decode(block: &[u8], header: &Header, start: usize, output: &mut Output) -> Result<(), CompressionError> {
    let most = block.len().saturating_mul(MAX_RATIO).min(header.block_size);
    let room = most.min(output.allowed());
    let (filled, spare) = output.spare(room)?;
    let decoded = if header.is_independent {
        decompress_into(block, spare)
    } else {
        let window = filled.len().saturating_sub(WINDOW).max(start);
        decompress_into_with_dict(block, spare, &filled[window..])
    };
    match decoded {
        Ok(bytes) => {
            output.advance(bytes);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if room < most => Err(output.too_large()),
        Err(DecompressError::OutputTooSmall { .. }) => {
            Err(corrupt(&"a block is larger than the frame allows"))
        }
        Err(error) => Err(corrupt(&error)),
    }
}

/// What a frame's header says.
struct Header {
    is_independent: bool,
    has_block_checksums: bool,
    has_content_checksum: bool,
    block_size: usize,
    content_size: Option<u64>,
}

impl Header {
    fn read(input: &mut Input<'_>) -> Result<Self, CompressionError> {
        let before = input.0;
        let [flags, block_sizes] = input.array()?;
        if flags & VERSION_MASK != VERSION {
            return Err(corrupt(&format_args!("frame version {}", flags >> 6)));
        }
        let content_size =
            if flags & CONTENT_SIZE == 0 { None } else { Some(u64::from_le_bytes(input.array()?)) };
        if flags & DICTIONARY != 0 {
            return Err(CompressionError::Unsupported {
                compression: Compression::Lz4,
                what: "a dictionary",
            });
        }
        let descriptor = &before[..before.len() - input.0.len()];
        let [checksum] = input.array()?;
        if checksum != header_checksum(descriptor) {
            return Err(corrupt(&"the header's checksum does not match"));
        }
        let block_size = match block_sizes {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            other => return Err(corrupt(&format_args!("block size {other:#04x}"))),
        };
        if flags & RESERVED != 0 {
            return Err(corrupt(&"a reserved flag is set"));
        }
        Ok(Self {
            is_independent: flags & INDEPENDENT != 0,
            has_block_checksums: flags & BLOCK_CHECKSUM != 0,
            has_content_checksum: flags & CONTENT_CHECKSUM != 0,
            block_size,
            content_size,
        })
    }
}

/// Bytes that are taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], CompressionError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CompressionError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, CompressionError> {
        self.array().map(u32::from_le_bytes)
    }
}

fn truncated() -> CompressionError {
    corrupt(&"ends inside a frame")
}

fn corrupt(what: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt { compression: Compression::Lz4, what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn decompressed(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut output = Output::new(Vec::new(), Compression::Lz4, input.len(), 1 << 20);
        decompress(input, &mut output)?;
        Ok(output.filled().to_vec())
    }

    /// A frame of these blocks, each with its size, with all the checksums that `flags` ask for.
    fn frame_of(flags: u8, content: &[u8], blocks: &[&[u8]]) -> Vec<u8> {
        let mut descriptor = vec![VERSION | flags, BLOCKS_OF_64_KIB];
        if flags & CONTENT_SIZE != 0 {
            descriptor.extend_from_slice(&(content.len() as u64).to_le_bytes());
        }
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend_from_slice(&descriptor);
        frame.push(header_checksum(&descriptor));
        for block in blocks {
            frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
            frame.extend_from_slice(block);
            if flags & BLOCK_CHECKSUM != 0 {
                frame.extend_from_slice(&xxh32(block).to_le_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        if flags & CONTENT_CHECKSUM != 0 {
            frame.extend_from_slice(&xxh32(content).to_le_bytes());
        }
        frame
    }

    /// A block whose only match reaches 20 bytes back, into the block before.
    const LINKED: &[u8] = &[0x15, b'x', 21, 0, 0x50, b'1', b'2', b'3', b'4', b'5'];

    #[test]
    fn linked_blocks_reach_into_the_block_before() {
        let first = b"abcdefghijklmnopqrst";
        let mut literal = vec![0xf0, first.len() as u8 - 15];
        literal.extend_from_slice(first);
        let content = b"abcdefghijklmnopqrstxabcdefghi12345";
        let linked = frame_of(0, content, &[&literal, LINKED]);
        assert_eq!(decompressed(&linked).as_deref(), Ok(&content[..]));
        let independent = frame_of(INDEPENDENT, content, &[&literal, LINKED]);
        assert!(decompressed(&independent).is_err());
        let mut two_frames = frame_of(0, first, &[&literal]);
        two_frames.extend(frame_of(0, content, &[LINKED]));
        assert!(decompressed(&two_frames).is_err(), "a frame does not reach into the one before");
    }

    #[test]
    fn all_checksums_and_sizes_are_checked() {
        let content = b"0123456789";
        let mut block = vec![0xa0];
        block.extend_from_slice(content);
        let flags = INDEPENDENT | BLOCK_CHECKSUM | CONTENT_SIZE | CONTENT_CHECKSUM;
        let frame = frame_of(flags, content, &[&block]);
        assert_eq!(decompressed(&frame).as_deref(), Ok(&content[..]));
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decompressed(&flipped).is_err(), "bit {bit} flipped");
        }
        for len in 0..frame.len() {
            assert!(decompressed(&frame[..len]).is_err(), "cut off after {len} bytes");
        }
    }

    #[test]
    fn frames_follow_each_other_and_skippable_ones_are_skipped() {
        let frame = |text: &'static [u8]| {
            let mut out = Output::new(Vec::new(), Compression::Lz4, text.len(), usize::MAX);
            let pieces = [Bytes::from_static(text)];
            compress(&mut CompressTable::small(), Pieces::new(&pieces, &mut Vec::new()), &mut out)
                .expect("compresses");
            out.filled().to_vec()
        };
        let mut input = frame(b"one, one, one, one, one");
        input.extend_from_slice(&0x184d_2a53u32.to_le_bytes());
        input.extend_from_slice(&3u32.to_le_bytes());
        input.extend_from_slice(b"abc");
        input.extend(frame(b", two"));
        assert_eq!(decompressed(&input).as_deref(), Ok(&b"one, one, one, one, one, two"[..]));
    }

    #[test]
    fn stored_block_beyond_the_block_size_is_refused() {
        let stored = vec![7u8; WINDOW + 1];
        let mut frame = MAGIC.to_le_bytes().to_vec();
        let descriptor = [VERSION | INDEPENDENT, BLOCKS_OF_64_KIB];
        frame.extend_from_slice(&descriptor);
        frame.push(header_checksum(&descriptor));
        frame.extend_from_slice(&(stored.len() as u32 | STORED).to_le_bytes());
        frame.extend_from_slice(&stored);
        frame.extend_from_slice(&[0; 4]);
        assert!(decompressed(&frame).is_err());
    }
}
