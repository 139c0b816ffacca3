//! Why a partition is not fetched any more, and what else its reader has to know.

use std::fmt;

use ottla_wire::{ErrorCode, Uuid};

use crate::error::RequestError;

/// What UNSUPPORTED_COMPRESSION_TYPE means in an answer to Fetch (KIP-110). Kafka before 4.0 refuses by the setting of
/// the topic, not by what is in its log; Kafka from 4.0 on never does.
pub const ZSTD_NEEDS_FETCH_10: &str =
    "it sends topics whose compression.type is zstd in Fetch version 10 and later only";

/// Why a partition is not fetched any more. A seek starts it anew.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FetchFailure {
    /// The broker does not have the offset.
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// Where the log starts, as far as known; -1 otherwise.
        log_start_offset: i64,
        /// Where it ends, as far as known; -1 otherwise.
        high_watermark: i64,
    },
    /// The broker answered with an error that does not pass.
    Refused {
        /// Who was asked.
        broker_id: i32,
        /// The error.
        code: ErrorCode,
        /// What was asked for; -1 before it was known.
        offset: i64,
    },
    /// Nobody has known the topic for a long time.
    Unknown {
        /// What brokers say.
        code: ErrorCode,
    },
    /// The topic was deleted and created again.
    Recreated {
        /// The id it had.
        old: Uuid,
        /// The id it has.
        new: Uuid,
    },
    /// A batch never came whole.
    Incomplete {
        /// Who was asked.
        broker_id: i32,
        /// What was asked for.
        offset: i64,
        /// How many bytes the batch says it has.
        size: i32,
    },
    /// The answer has more bytes than are accepted: a batch comes whole.
    TooLong {
        /// Who was asked.
        broker_id: i32,
        /// What was asked for.
        offset: i64,
        /// How many bytes the answer has.
        size: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// The request cannot be sent.
    Request(RequestError),
}

impl FetchFailure {
    /// The broker's error code, if it answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::OutOfRange { .. } => Some(ErrorCode::OFFSET_OUT_OF_RANGE),
            Self::Refused { code, .. } | Self::Unknown { code } => Some(*code),
            Self::Recreated { .. } | Self::Incomplete { .. } | Self::TooLong { .. } | Self::Request(_) => {
                None
            }
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { offset, log_start_offset, high_watermark } => {
                write!(f, "offset {offset} is not in the log ({})", ErrorCode::OFFSET_OUT_OF_RANGE)?;
                if *log_start_offset >= 0 && *high_watermark >= 0 {
                    write!(f, ", which goes from {log_start_offset} to {high_watermark}")?;
                }
                f.write_str("; seek to go on, or choose with `out_of_range` where to go on when that happens")
            }
            Self::Refused { broker_id, code, offset: -1 } => write!(f, "broker {broker_id} answered {code}"),
            Self::Refused { broker_id, code: code @ ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, .. } => {
                write!(f, "broker {broker_id} answered {code}: {ZSTD_NEEDS_FETCH_10}")
            }
            Self::Refused { broker_id, code, offset } => {
                write!(f, "broker {broker_id} answered {code} for offset {offset}; seek past it to go on")
            }
            Self::Unknown { code } => write!(f, "no broker knows the topic any more: {code}"),
            Self::Recreated { old, new } => write!(
                f,
                "the topic was deleted and created again (its id was {old}, now it is {new}); remove it and add it again"
            ),
            Self::Incomplete { broker_id, offset, size } => write!(
                f,
                "the batch at offset {offset} says that it has {size} bytes, and broker {broker_id} sends only a part of it, \
                 however much is asked for; if it is damaged, seek to an offset behind all of the batch"
            ),
            Self::TooLong { broker_id, offset, size, limit } => write!(
                f,
                "broker {broker_id} answers offset {offset} with {size} bytes, since a batch comes whole, and max_response_bytes are \
                 {limit}: allow more of them, or seek to an offset behind all of the batch"
            ),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FetchFailure {}

/// Records that were read before are not in the log any more: a leader was elected that lacked them (KIP-320). What it
/// has instead comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// How far the log was read.
    pub offset: i64,
    /// The leader epoch of the last record that was read.
    pub epoch: i32,
    /// Where the new log parts from the one that was read, as far as can be told: reading goes on here.
    pub end_offset: i64,
    /// The newest epoch that the two have in common.
    pub common_epoch: i32,
    /// The epoch of the leader that was elected.
    pub leader_epoch: i32,
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, epoch, end_offset, common_epoch, leader_epoch } = self;
        write!(
            f,
            "the log was truncated: it was read up to offset {offset} in leader epoch {epoch}, and the leader elected in \
             epoch {leader_epoch} has it up to offset {end_offset} of epoch {common_epoch}; reading goes on there"
        )
    }
}
