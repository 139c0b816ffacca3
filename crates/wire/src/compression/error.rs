//! [`CompressionError`]: why something could not be compressed or decompressed.

use std::fmt;

use super::Compression;

/// Why something could not be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionError {
    /// A codec number that is not known.
    UnknownCodec(u8),
    /// The codec is not part of this build.
    Disabled {
        /// The codec, whose name is that of the feature.
        compression: Compression,
    },
    /// A level the codec does not have.
    Level {
        /// The codec.
        compression: Compression,
        /// The level that was asked for.
        level: i32,
    },
    /// Bytes that are not what the codec writes.
    Corrupt {
        /// The codec.
        compression: Compression,
        /// What is wrong with them.
        what: String,
    },
    /// More would come out than the limits allow.
    TooLarge {
        /// The codec.
        compression: Compression,
        /// The bytes that were compressed.
        compressed: usize,
        /// The bytes that may come out of them.
        limit: usize,
    },
    /// More came out of compressing than a batch can have.
    TooLong {
        /// The codec.
        compression: Compression,
        /// The bytes that came out.
        length: usize,
    },
    /// A frame asks for a feature of its format that is not supported.
    Unsupported {
        /// The codec.
        compression: Compression,
        /// The feature.
        what: &'static str,
    },
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCodec(id) => write!(f, "unknown compression codec {id}"),
            Self::Disabled { compression } => {
                write!(f, "{compression} is not part of this build; turn the feature `{compression}` on")
            }
            Self::Level { compression: Compression::Zstd, level } => write!(
                f,
                "zstd level {level} is outside -7..=4; higher levels need the C library behind `zstd-c`, a feature that this version does not have yet: ask for 4 at most, or for gzip"
            ),
            Self::Level { compression, level } => match compression.levels() {
                Some((min, max)) => write!(f, "{compression} level {level} is outside {min}..={max}"),
                None => write!(f, "{compression} has no levels; leave out level {level}"),
            },
            Self::Corrupt { compression, what } => write!(f, "damaged {compression} data: {what}"),
            Self::TooLarge { compression, compressed, limit } => write!(
                f,
                "{compressed} bytes of {compression} become more than {limit}; raise the limits if the sender is trusted"
            ),
            Self::TooLong { compression, length } => {
                write!(f, "{length} bytes of {compression} are more than a batch can have; make it smaller")
            }
            Self::Unsupported { compression, what } => {
                write!(f, "{compression} with {what} is not supported")
            }
        }
    }
}

impl std::error::Error for CompressionError {}
