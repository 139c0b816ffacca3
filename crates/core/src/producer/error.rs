//! How a delivery ends when it does not end in an offset: what is known of the records, and why.

use std::fmt;
use std::sync::Arc;

use ottla_wire::{ErrorCode, Str, Uuid};

use crate::error::RequestError;

/// A batch that was not acknowledged.
#[derive(Debug, Clone)]
pub struct DeliveryError {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// How often the batch was sent.
    pub attempts: u32,
    /// What is known of the records.
    pub outcome: DeliveryOutcome,
    /// Why it ended like this.
    pub cause: DeliveryCause,
}

/// What is known of records that were not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// They are not in the log and will not appear there: sending them again makes no duplicate.
    NotWritten,
    /// At least one attempt may have reached the log.
    MayHaveBeenWritten,
    /// They are in the log, at an offset that the broker did not tell.
    Written,
}

/// Why a batch was not acknowledged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeliveryCause {
    /// The delivery time-out passed.
    TimedOut {
        /// What the last attempt met, or what kept the first one from leaving; `None` when the batch was just waiting
        /// for its turn.
        last: Option<Box<Self>>,
    },
    /// The broker answered with an error.
    Refused {
        /// Its id.
        broker: i32,
        /// Its error code for the partition.
        code: ErrorCode,
        /// Its words, where it has any (KIP-467).
        message: Option<Str>,
    },
    /// There was no answer.
    Request(RequestError),
    /// The broker's answer did not mention the partition.
    NotAnswered {
        /// Its id.
        broker: i32,
    },
    /// The broker kept silent while the partition got another leader.
    Abandoned {
        /// Its id.
        broker: i32,
    },
    /// The partition has no leader that is known.
    NoLeader,
    /// The buffers were full with records that had not been acknowledged.
    BufferFull {
        /// Bytes of the records.
        size: usize,
        /// Bytes that the buffers hold.
        limit: usize,
        /// Bytes that one partition may have of them.
        partition_limit: usize,
    },
    /// The broker confirmed a duplicate whose offset it had forgotten.
    NoOffset,
    /// No producer id could be had.
    ProducerId(ProducerIdFailure),
    /// The topic was deleted and created again: it is another topic now.
    TopicRecreated {
        /// The id it had.
        old: Uuid,
        /// The id it has.
        new: Uuid,
    },
}

/// Why InitProducerId brought no producer id.
#[derive(Debug, Clone)]
pub enum ProducerIdFailure {
    /// The broker answered with an error.
    Refused(ErrorCode),
    /// There was no usable answer.
    Failed {
        /// What went wrong.
        what: Arc<str>,
        /// Whether asking again can help.
        is_retriable: bool,
    },
    /// The answer held a negative producer id or epoch.
    Malformed {
        /// The id it held.
        id: i64,
        /// The epoch it held.
        epoch: i16,
    },
}

impl DeliveryError {
    /// The broker's error code, where it answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.cause.code()
    }

    /// Whether the same records can be produced again and may succeed, without anybody changing anything but the
    /// cluster's state. Where the outcome is not known they may then be there twice.
    pub fn is_retriable(&self) -> bool {
        self.outcome != DeliveryOutcome::Written && self.cause.is_retriable()
    }

    /// Whether whoever produced must be made anew: its topic is not there any more.
    pub fn is_fatal(&self) -> bool {
        self.recreated().is_some()
    }

    /// The ids, held and found, of a topic that was deleted and created again.
    pub fn recreated(&self) -> Option<(Uuid, Uuid)> {
        match self.cause {
            DeliveryCause::TopicRecreated { old, new } => Some((old, new)),
            _ => None,
        }
    }
}

impl DeliveryCause {
    /// The broker's error code, where it answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TimedOut { last: Some(last) } => last.code(),
            Self::ProducerId(ProducerIdFailure::Refused(code)) => Some(*code),
            _ => None,
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Request(error) => error.reason.is_retriable(),
            Self::ProducerId(failure) => failure.is_retriable(),
            Self::TopicRecreated { .. } | Self::NoOffset => false,
            Self::TimedOut { .. }
            | Self::NotAnswered { .. }
            | Self::Abandoned { .. }
            | Self::NoLeader
            | Self::BufferFull { .. } => true,
        }
    }
}

impl ProducerIdFailure {
    /// Whether asking again can help.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(code) => code.is_retriable(),
            Self::Failed { is_retriable, .. } => *is_retriable,
            Self::Malformed { .. } => false,
        }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, attempts, outcome, cause } = self;
        let attempt = if *attempts == 1 { "attempt" } else { "attempts" };
        write!(f, "Produce to {topic}/{partition}: {outcome} after {attempts} {attempt}: {cause}")
    }
}

impl std::error::Error for DeliveryError {}

impl fmt::Display for DeliveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWritten => "not written",
            Self::MayHaveBeenWritten => "may have been written",
            Self::Written => "written",
        })
    }
}

impl fmt::Display for DeliveryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { last: Some(last) } => write!(f, "delivery time-out passed; last: {last}"),
            Self::TimedOut { last: None } => {
                f.write_str("delivery time-out passed while waiting for its turn")
            }
            Self::Refused { broker, code, message: Some(message) } => {
                write!(f, "broker {broker} answered {code}: {message}")
            }
            Self::Refused { broker, code: code @ ErrorCode::MESSAGE_TOO_LARGE, message: None } => write!(
                f,
                "broker {broker} answered {code}: a record, or a batch that cannot be split any more, is larger than the topic's \
                 `max.message.bytes`; send less in one piece, or raise that"
            ),
            Self::Refused { broker, code, message: None } => write!(f, "broker {broker} answered {code}"),
            Self::Request(error) => error.fmt(f),
            Self::NotAnswered { broker } => write!(f, "broker {broker} answered without this partition"),
            Self::Abandoned { broker } => {
                write!(f, "broker {broker} kept silent and the partition got another leader")
            }
            Self::NoLeader => f.write_str("the partition has no known leader"),
            Self::BufferFull { size, limit, partition_limit } => write!(
                f,
                "no room for {size} bytes within the delivery time-out: what is not acknowledged may take \
                 {partition_limit} bytes a partition and {limit} bytes in all; send less at a time, or raise \
                 `buffer_memory` or `delivery_timeout`"
            ),
            Self::NoOffset => f.write_str("the broker confirmed a duplicate without its offset"),
            Self::ProducerId(failure) => write!(f, "no producer id: {failure}"),
            Self::TopicRecreated { old, new } => write!(
                f,
                "the topic was deleted and created again: it was {old} and is {new} now; \
                 open it again to write to the new one"
            ),
        }
    }
}

impl fmt::Display for ProducerIdFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the broker answered {code}"),
            Self::Failed { what, .. } => f.write_str(what),
            Self::Malformed { id, epoch } => write!(f, "the broker answered with id {id} and epoch {epoch}"),
        }
    }
}
