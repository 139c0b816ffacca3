//! [`Compression`] and [`Codec`]: which codec, at which level.

use std::fmt;
use std::str::FromStr;

use super::CompressionError;

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952: small and slow.
    Gzip,
    /// Snappy, written in the framing of xerial's snappy-java as other clients do; read with it and without.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878: as small as gzip, several times faster. Brokers from 2.1 on (KIP-110).
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of a number in a batch's attributes.
    ///
    /// # Errors
    /// No codec has that number.
    pub fn from_id(id: u8) -> Result<Self, CompressionError> {
        Self::ALL.get(usize::from(id)).copied().ok_or(CompressionError::UnknownCodec(id))
    }

    /// The name, as in a topic's `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The lowest and highest level, if it has levels.
    pub const fn levels(self) -> Option<(i32, i32)> {
        match self {
            Self::None | Self::Snappy | Self::Lz4 => None,
            Self::Gzip => Some((1, 9)),
            Self::Zstd => Some((-7, 4)),
        }
    }

    /// Whether this build has it.
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCompressionError(String);

impl fmt::Display for ParseCompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown codec {:?}; there are none, gzip, snappy, lz4 and zstd", self.0)
    }
}

impl std::error::Error for ParseCompressionError {}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(name: &str) -> Result<Self, ParseCompressionError> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| ParseCompressionError(name.to_owned()))
    }
}

/// A codec and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Codec {
    /// The codec.
    pub compression: Compression,
    /// The level; `None` is the codec's usual one: 6 for gzip, 3 for zstd, for which level 0 is the same. LZ4 and snappy
    /// have no levels.
    pub level: Option<i32>,
}

impl Codec {
    /// A codec at a level.
    pub const fn with_level(compression: Compression, level: i32) -> Self {
        Self { compression, level: Some(level) }
    }

    /// Whether batches can be written with it.
    ///
    /// # Errors
    /// The codec is not part of this build, or does not have the level.
    pub fn check(&self) -> Result<(), CompressionError> {
        let Self { compression, level } = *self;
        if !compression.is_enabled() {
            return Err(CompressionError::Disabled { compression });
        }
        match (level, compression.levels()) {
            (None, _) => Ok(()),
            (Some(level), Some((min, max))) if (min..=max).contains(&level) => Ok(()),
            (Some(level), _) => Err(CompressionError::Level { compression, level }),
        }
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for codec in Compression::ALL {
            assert_eq!(Compression::from_id(codec.id()), Ok(codec));
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!(Compression::from_id(5), Err(CompressionError::UnknownCodec(5)));
        assert!("GZIP".parse::<Compression>().is_err());
    }

    #[test]
    fn levels_are_checked_with_the_way_out() {
        for (compression, level, expected) in [
            (Compression::Gzip, 9, Ok(())),
            (Compression::Zstd, 4, Ok(())),
            (Compression::Zstd, -7, Ok(())),
            (Compression::Zstd, 5, Err("`zstd-c`")),
            (Compression::Gzip, 0, Err("gzip level 0 is outside 1..=9")),
            (Compression::Lz4, 3, Err("lz4 has no levels; leave out level 3")),
            (Compression::None, 1, Err("none has no levels; leave out level 1")),
        ] {
            let checked = Codec::with_level(compression, level).check();
            let message = checked.clone().err().map(|error| error.to_string());
            match (compression.is_enabled(), expected) {
                (true, Ok(())) => assert_eq!(checked, Ok(())),
                (true, Err(text)) => assert!(message.is_some_and(|message| message.contains(text)), "{text}"),
                (false, _) => assert_eq!(checked, Err(CompressionError::Disabled { compression })),
            }
        }
    }
}
