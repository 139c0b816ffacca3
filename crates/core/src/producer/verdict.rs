//! What an error code in a Produce answer means for the batch: whether it is in the log, and what to do next.
//!
//! An answer that is not certain to mean "not in the log" counts as an unknown outcome. That includes
//! NOT_LEADER_OR_FOLLOWER: with acks=all a leader answers it for records it has appended, when it loses the
//! leadership while they wait for the replicas.

use ottla_wire::ErrorCode;

use crate::error::{Outcome, RequestError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In the log.
    Written,
    /// Not in the log, and sending it again would change nothing.
    Refused,
    /// Not in the log; its records may get there in smaller batches.
    TooLarge,
    /// Not in the log; send it again later.
    NotNow,
    /// Perhaps in the log; send it again under the same sequence.
    Unknown,
    /// Perhaps in the log, and sending it again would change nothing.
    Lost,
    /// Not in the log: the broker's idea of the sequence is another one.
    OutOfSequence,
    /// Not in the log: the broker knows a newer epoch of this producer id.
    Fenced,
}

impl Verdict {
    pub(super) fn of(code: ErrorCode) -> Self {
        match code {
            // A duplicate older than the five batches whose offsets the broker remembers: it is in the log.
            ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Self::Written,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => Self::OutOfSequence,
            ErrorCode::INVALID_PRODUCER_EPOCH => Self::Fenced,
            // Topic ids are looked up before anything is appended.
            ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::THROTTLING_QUOTA_EXCEEDED => Self::NotNow,
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Self::TooLarge,
            ErrorCode::INVALID_RECORD
            | ErrorCode::INVALID_TIMESTAMP
            | ErrorCode::INVALID_TOPIC_EXCEPTION
            | ErrorCode::INVALID_REQUIRED_ACKS
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::POLICY_VIOLATION
            | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
            | ErrorCode::UNSUPPORTED_VERSION => Self::Refused,
            code if code.is_retriable() || code.needs_metadata() => Self::Unknown,
            _ => Self::Lost,
        }
    }

    /// Of a request without an answer.
    pub(super) fn of_loss(error: &RequestError) -> Self {
        match (error.outcome, error.reason.is_retriable()) {
            (Outcome::NotSent, true) => Self::NotNow,
            (Outcome::NotSent, false) => Self::Refused,
            (Outcome::Unknown, true) => Self::Unknown,
            (Outcome::Unknown, false) => Self::Lost,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Refused => "refused",
            Self::TooLarge => "too large",
            Self::NotNow => "not now",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
            Self::OutOfSequence => "out of sequence",
            Self::Fenced => "fenced",
        }
    }
}

/// For simulations, which count where they get to: what an answer with this code means for a batch, by name.
#[doc(hidden)]
pub fn verdict_of_answer(code: ErrorCode) -> &'static str {
    Verdict::of(code).name()
}

/// For simulations: what the loss of a request means for its batches, by name.
#[doc(hidden)]
pub fn verdict_of_loss(error: &RequestError) -> &'static str {
    Verdict::of_loss(error).name()
}
