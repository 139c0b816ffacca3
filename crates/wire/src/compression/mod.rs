//! The codecs of record batches: gzip, snappy, lz4 and zstd, each behind the feature of its name.
//!
//! ```text
//! Compressor    pieces of records --compress--> one slice of its scratch      (levels checked by Codec::check)
//! Decompressor  a batch's body --decompress--> Bytes                          (limits checked before memory is taken)
//! ```
//!
//! A codec that is left out of the build is an error that names its feature, never other behaviour. What a batch is,
//! and when it is compressed, is not known here. Sources: the documentation's chapter "Message Format", KIP-57 for the
//! frames of lz4, KIP-110 for zstd, KIP-390 for levels.

mod codec;
mod compressor;
mod decompressor;
mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
mod output;
mod pieces;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "lz4")]
mod xxh32;
#[cfg(feature = "zstd")]
mod zstd;

pub use codec::{Codec, Compression};
pub use compressor::Compressor;
pub use decompressor::{Decompressor, Limits};
pub use error::CompressionError;
