//! Codecs: round trips of everything, limits on what comes out, and damage.

use bytes::Bytes;
use ottla_wire::compression::{Codec, Compression, CompressionError, Compressor, Decompressor, Limits};
use proptest::prelude::*;

fn enabled() -> Vec<Compression> {
    Compression::ALL.into_iter().filter(|&codec| codec != Compression::None && codec.is_enabled()).collect()
}

fn compressed(codec: impl Into<Codec>, input: &[u8]) -> Bytes {
    let codec = codec.into();
    let mut compressor = Compressor::default();
    let output = compressor.compress(&codec, &[Bytes::copy_from_slice(input)]).expect("compresses");
    Bytes::copy_from_slice(output)
}

/// Text that compresses, with noise in it, of `len` bytes.
fn text(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        format!("{{\"id\":{},\"name\":\"someone\"}}", state % 5000).into_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

#[test]
fn sizes_around_every_codecs_blocks_round_trip() {
    let mut compressor = Compressor::default();
    let mut decompressor = Decompressor::default();
    let input = Bytes::from(text(300_000, 7));
    for codec in enabled() {
        for around in [0usize, 1, 13, 32 * 1024, 65_534, 65_536, 128 * 1024, 256 * 1024] {
            for len in [around, around + 1, around.saturating_sub(1)] {
                let pieces = [input.slice(..len / 3), input.slice(len / 3..len)];
                let output = compressor.compress(&codec.into(), &pieces).expect("compresses");
                let output = Bytes::copy_from_slice(output);
                let back = decompressor.decompress(codec, &output).expect("decompresses");
                assert!(back == input[..len], "{codec}, {len} bytes");
            }
        }
    }
}

#[test]
fn every_level_round_trips() {
    let input = text(100_000, 3);
    for codec in enabled() {
        let Some((min, max)) = codec.levels() else { continue };
        let mut compressor = Compressor::default();
        let mut decompressor = Decompressor::default();
        let mut sizes = Vec::new();
        for level in min..=max {
            let codec = Codec::with_level(codec, level);
            let output = compressor.compress(&codec, &[Bytes::copy_from_slice(&input)]).expect("compresses");
            sizes.push(output.len());
            let output = Bytes::copy_from_slice(output);
            assert!(decompressor.decompress(codec.compression, &output).expect("decompresses") == input[..]);
        }
        assert!(sizes.first() > sizes.last(), "{codec}: a level means something ({sizes:?})");
    }
}

/// So many cases; a failure prints its input, which becomes a test of its own.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(128))]

    /// E1: everything that was compressed comes back.
    #[test]
    fn anything_round_trips(
        noise in prop::collection::vec(any::<u8>(), 0..2000), len in 0usize..20_000, seed: u32,
        codec in prop::sample::select(enabled()),
    ) {
        let input = [noise, text(len, seed)].concat();
        let output = compressed(codec, &input);
        let back = Decompressor::default().decompress(codec, &output).expect("decompresses");
        prop_assert!(back == input);
    }

    /// E8: bytes nobody compressed.
    #[test]
    fn anything_is_bytes_or_an_error(
        input in prop::collection::vec(any::<u8>(), 0..500), codec in prop::sample::select(enabled()),
    ) {
        let _ = Decompressor::default().decompress(codec, &input);
    }

    /// E8: what was compressed, with a byte changed.
    #[test]
    fn damage_is_bytes_or_an_error(
        at: prop::sample::Index, byte: u8, len in 0usize..3000, codec in prop::sample::select(enabled()),
    ) {
        let mut output = compressed(codec, &text(len, 1)).to_vec();
        let at = at.index(output.len());
        output[at] = byte;
        let _ = Decompressor::default().decompress(codec, &output);
    }
}

/// Trap W3: what is cut off is damaged, not shorter.
#[test]
fn cut_off_input_is_an_error() {
    for codec in enabled() {
        let input = text(70_000, 5);
        let output = compressed(codec, &input);
        let mut decompressor = Decompressor::default();
        for len in (0..output.len()).step_by(97).chain(output.len() - 40..output.len()) {
            let result = decompressor.decompress(codec, &output[..len]);
            match result {
                // Xerial's framing has no end: a cut between its blocks shows in the records only.
                Ok(bytes) => {
                    assert!(codec == Compression::Snappy && bytes.len() % (32 * 1024) == 0, "{codec} {len}");
                }
                Err(error) => assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_are_an_error() {
    for codec in enabled() {
        let output = [&compressed(codec, b"some text")[..], b"junk"].concat();
        assert!(Decompressor::default().decompress(codec, &output).is_err(), "{codec}");
    }
}

/// E7, Trap W5: a decompression bomb hits the limit, and the memory was not taken before.
#[test]
fn bomb_hits_the_limit_before_memory_is_taken() {
    const SIZE: usize = 64 << 20;
    for codec in enabled() {
        let bomb = compressed(codec, &vec![0; SIZE]);
        let limits = Limits { max_batch_bytes: 1 << 20, ..Limits::default() };
        let mut error = None;
        let allocated = allocation_counter::measure(|| {
            error = Decompressor::new(limits).decompress(codec, &bomb).err();
        });
        let expected =
            CompressionError::TooLarge { compression: codec, compressed: bomb.len(), limit: 1 << 20 };
        assert_eq!(error, Some(expected));
        assert!(allocated.bytes_max < 3 << 20, "{codec} took {} bytes", allocated.bytes_max);

        let back = Decompressor::new(Limits { max_batch_bytes: SIZE, max_ratio: usize::MAX });
        let back = { back }.decompress(codec, &bomb).expect("exactly the limit");
        assert_eq!(back.len(), SIZE);
    }
}

/// Trap W5: what becomes many times larger is refused too, whatever the limit in bytes.
#[test]
fn ratio_is_limited_above_4_mib() {
    for codec in enabled() {
        let limits = Limits { max_ratio: 10, ..Limits::default() };
        let repeated = compressed(codec, &vec![b'x'; 4 << 20]);
        assert!(
            Decompressor::new(limits).decompress(codec, &repeated).is_ok(),
            "{codec}: 4 MiB are no suspicion"
        );
        let repeated = compressed(codec, &vec![b'x'; (4 << 20) + 1]);
        let error = Decompressor::new(limits).decompress(codec, &repeated).expect_err("more than ten times");
        assert!(matches!(error, CompressionError::TooLarge { .. }), "{codec}: {error}");
    }
}

/// E7: sizes that frames announce are checked against what their bytes can become.
#[test]
fn announced_size_that_lies_sizes_no_allocation() {
    let mut lies: Vec<(Compression, Vec<u8>)> = Vec::new();
    if Compression::Snappy.is_enabled() {
        lies.push((Compression::Snappy, vec![0x80, 0x80, 0x80, 0x01, 0, b'x']));
        let mut framed = compressed(Compression::Snappy, b"text").to_vec();
        framed.splice(20.., [0x80, 0x80, 0x80, 0x01, 0, b'x']);
        framed[19] = 6;
        lies.push((Compression::Snappy, framed));
    }
    if Compression::Gzip.is_enabled() {
        let mut gzip = compressed(Compression::Gzip, b"text").to_vec();
        let end = gzip.len();
        gzip[end - 4..].copy_from_slice(&(2u32 << 20).to_le_bytes());
        lies.push((Compression::Gzip, gzip));
    }
    if Compression::Lz4.is_enabled() {
        // Version 1, independent blocks, a content size of 2 MiB; the header's checksum is the one it has.
        let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 0, 0, 0x20, 0, 0, 0, 0, 0];
        lz4.push(0x96);
        lz4.extend_from_slice(&[1, 0, 0, 0x80, b'x', 0, 0, 0, 0]);
        lies.push((Compression::Lz4, lz4));
    }
    for (codec, lie) in lies {
        let mut error = None;
        let allocated =
            allocation_counter::measure(|| error = Decompressor::default().decompress(codec, &lie).err());
        assert!(matches!(error, Some(CompressionError::Corrupt { .. })), "{codec}: {error:?}");
        assert!(allocated.bytes_max < 1 << 20, "{codec} took {} bytes", allocated.bytes_max);
    }
}

/// Trap W5: gzip may hold several members.
#[test]
fn gzip_members_follow_each_other() {
    if !Compression::Gzip.is_enabled() {
        return;
    }
    // Extra field, name, comment and header checksum, as `gzip` and others write them, around stored text.
    let with_everything = [
        &[0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 3, 2, 0, 0xaa, 0xbb][..],
        b"name\0comment\0",
        &0x06a7u16.to_le_bytes(),
        &[1, 5, 0, 0xfa, 0xff],
        b"three",
        &0x46c5_d8f5u32.to_le_bytes(),
        &[5, 0, 0, 0],
    ]
    .concat();
    let members = [compressed(Compression::Gzip, b"one "), compressed(Compression::Gzip, b"two ")];
    let input = [&members[0][..], &members[1][..], &with_everything[..]].concat();
    let output = Decompressor::default().decompress(Compression::Gzip, &input);
    assert_eq!(output.as_deref(), Ok(&b"one two three"[..]));
    // Five bits behind a stored block's header are padding.
    let padding = 29 * 8 + 3..30 * 8;
    for bit in (0..with_everything.len() * 8).filter(|bit| !padding.contains(bit)) {
        let mut flipped = with_everything.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Decompressor::default().decompress(Compression::Gzip, &flipped).is_err(), "bit {bit}");
    }
}

/// Trap W5: snappy comes raw, in xerial's framing, and in several such streams in a row.
#[test]
fn snappy_is_read_raw_and_framed() {
    if !Compression::Snappy.is_enabled() {
        return;
    }
    let raw = [10, 9 << 2, b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9'];
    let mut decompressor = Decompressor::default();
    assert_eq!(decompressor.decompress(Compression::Snappy, &raw).as_deref(), Ok(&b"0123456789"[..]));
    let framed = compressed(Compression::Snappy, b"abc");
    assert_eq!(&framed[..8], b"\x82SNAPPY\0");
    let twice = [&framed[..], &framed[..]].concat();
    assert_eq!(decompressor.decompress(Compression::Snappy, &twice).as_deref(), Ok(&b"abcabc"[..]));
}

#[test]
fn buffer_is_used_again_once_nobody_holds_it() {
    for codec in enabled() {
        let input = compressed(codec, &text(50_000, 9));
        let mut decompressor = Decompressor::default();
        let first = decompressor.decompress(codec, &input).expect("decompresses");
        let second = decompressor.decompress(codec, &input).expect("decompresses");
        assert_eq!(first, second);
        assert_ne!(first.as_ptr(), second.as_ptr(), "the first one is still held");
        let address = first.as_ptr();
        drop(first);
        let mut third = Bytes::new();
        let allocated = allocation_counter::measure(|| {
            third = decompressor.decompress(codec, &input).expect("decompresses");
        });
        assert_eq!((third.as_ptr(), &third), (address, &second));
        assert!(allocated.bytes_total < 50_000, "{codec} took {} bytes", allocated.bytes_total);
    }
}

#[test]
fn codec_that_is_left_out_names_its_feature() {
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_enabled()) {
        let error = Decompressor::default().decompress(codec, b"x").expect_err("it is left out");
        assert_eq!(error, CompressionError::Disabled { compression: codec });
        assert!(error.to_string().contains(&format!("turn the feature `{codec}` on")));
        assert_eq!(Codec::from(codec).check(), Err(error));
    }
}
