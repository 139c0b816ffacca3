//! What can be wrong with bytes that came, and with a message that shall leave.

use std::fmt;

/// Bytes that are not the message they should be. Names the message, the field and the byte where reading stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The message, header or frame that was read.
    pub message: &'static str,
    /// The field that was read, as `Struct.field`; empty where there is none.
    pub field: &'static str,
    /// Where reading stopped, in bytes from the start of what was read (a frame's payload, or a request's body).
    pub offset: usize,
    /// What was wrong.
    pub kind: DecodeErrorKind,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A value needs more bytes than are left.
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count below -1.
    NegativeLength(i32),
    /// An array announces more elements than the bytes that are left can be.
    Count {
        /// Elements announced.
        count: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// What was announced would take more memory than the reader's budget has left.
    Budget {
        /// Bytes of memory asked for.
        needed: usize,
        /// Bytes of memory that are left.
        left: usize,
        /// Bytes of memory that the whole message may take.
        budget: usize,
    },
    /// A varint longer than its type.
    Varint,
    /// A null where this version has none.
    Null,
    /// A string that is not UTF-8.
    Utf8,
    /// A value ended before or behind the size that was announced for it.
    Leftover {
        /// Bytes that were not used.
        unused: usize,
    },
    /// A version this crate has no rows for.
    Version(i16),
    /// A frame whose size is negative or beyond the limit.
    FrameSize {
        /// The size that came.
        size: i32,
        /// The largest size that is accepted.
        limit: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.field.is_empty() {
            write!(f, ", {}", plain(self.field))?;
        }
        write!(f, ", byte {}: {}", self.offset, self.kind)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => write!(f, "needs {needed} bytes, {left} are left"),
            Self::NegativeLength(length) => write!(f, "negative length {length}"),
            Self::Count { count, left } => write!(f, "announces {count} elements, {left} bytes are left"),
            Self::Budget { needed, left, budget } => write!(
                f,
                "would take {needed} bytes of memory, of the {budget} that a frame of this size may take {left} are left"
            ),
            Self::Varint => f.write_str("varint longer than its type"),
            Self::Null => f.write_str("null where this version has none"),
            Self::Utf8 => f.write_str("not utf-8"),
            Self::Leftover { unused } => write!(f, "{unused} bytes left over"),
            Self::Version(version) => write!(f, "version {version} is not known"),
            Self::FrameSize { size, limit } => {
                write!(
                    f,
                    "frame size {size} is not between 0 and {limit}; the peer may not be a kafka broker"
                )
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// A field as users see it: some are called like a keyword of Rust.
fn plain(field: &str) -> String {
    field.replace("r#", "")
}

/// A message that its version cannot express. Names the message and the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    /// The message that was written.
    pub message: &'static str,
    /// The version it was written in.
    pub version: i16,
    /// The field, as `Struct.field`; empty where the whole message is meant.
    pub field: &'static str,
    /// What is wrong with it.
    pub kind: EncodeErrorKind,
}

/// What was wrong with the value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The version lacks the field, and the value is neither its default nor may it be left out.
    NotInVersion,
    /// The field is null, and this version has no null for it.
    Null,
    /// A string, bytes, records, an array or a whole frame, longer than its length field can say.
    TooLong {
        /// Bytes or elements.
        length: usize,
    },
    /// The crate has no rows for this version.
    Version,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, version, kind, .. } = self;
        let field = match self.field {
            "" => "the whole of it".to_owned(),
            field => plain(field),
        };
        match kind {
            EncodeErrorKind::NotInVersion => {
                write!(
                    f,
                    "{message} version {version} cannot carry {field}: leave it at its default, or use another version"
                )
            }
            EncodeErrorKind::Null => write!(f, "{message} version {version} has no null for {field}"),
            EncodeErrorKind::TooLong { length } => {
                write!(f, "{message} version {version}: {field} is too long ({length})")
            }
            EncodeErrorKind::Version => write!(f, "{message} has no version {version}"),
        }
    }
}

impl std::error::Error for EncodeError {}
