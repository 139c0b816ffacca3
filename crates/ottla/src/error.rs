//! The one error type of the crate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::{CallError, Cause, End};
use ottla_core::error::{Failure, RequestError, Rounded};
use ottla_core::fetcher::{FetchFailure, Truncation};
use ottla_core::producer::{DeliveryCause, DeliveryError, DeliveryOutcome};
use ottla_wire::records::BatchError;
use ottla_wire::{ApiKey, ErrorCode, Uuid};

use crate::producer::AggregatorError;

/// What an operation of this crate comes back with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not do what was asked. Says who was asked, for what, how often, and what can be done.
///
/// ```
/// # fn handle(error: ottla::Error) {
/// if error.code() == Some(ottla::ErrorCode::TOPIC_ALREADY_EXISTS) {
///     // somebody else was faster
/// } else if error.is_retriable() {
///     // the same call may succeed later
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that cannot work, alone or beside another.
    Config {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// No broker gave the first answer.
    Unreachable {
        /// How long was tried; `None` when what went wrong cannot pass.
        after: Option<Duration>,
        /// What went wrong last.
        last: Option<RequestError>,
    },
    /// The cluster does not give out the topic.
    Topic {
        /// Its name.
        topic: Arc<str>,
        /// What brokers say about it.
        code: ErrorCode,
    },
    /// The topic has no such partition.
    Partition {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        partitions: usize,
    },
    /// A request cannot be sent as it is, or not in this way; see [`Client::call`](crate::Client::call).
    Request {
        /// What is asked.
        api: ApiKey,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A request ended without success.
    Call(Arc<CallError>),
    /// A record was not acknowledged.
    Delivery(Arc<DeliveryError>),
    /// Records cannot be sent as they are: too large, a codec that is not there.
    Record {
        /// Where they were to go.
        topic: Arc<str>,
        /// Where they were to go.
        partition: i32,
        /// What is wrong with them.
        problem: String,
    },
    /// The code of an aggregator, a user's own perhaps, did not do its part.
    Aggregator(Arc<AggregatorError>),
    /// There is no room for the record now.
    Full {
        /// Where it was to go.
        topic: Arc<str>,
        /// Where it was to go.
        partition: i32,
        /// Bytes that all records of the producer may take.
        buffer: usize,
        /// Bytes that those of one partition may take.
        partition_buffer: usize,
    },
    /// A record was to be sent to a topic by name and without waiting, before the topic was looked up.
    NotLookedUp {
        /// The topic's name.
        topic: Arc<str>,
    },
    /// A record batch from a broker is damaged.
    Corrupt {
        /// Where it is.
        topic: Arc<str>,
        /// Where it is.
        partition: i32,
        /// How far records were read before it.
        offset: i64,
        /// The offset behind it, where to go on: as the batch that follows says, or else its own header. Where neither can
        /// be believed, the next offset, which may lie in the same batch.
        next: i64,
        /// What is wrong with it.
        error: BatchError,
    },
    /// A partition of a stream is not fetched any more, before it is sought.
    Fetch(Arc<FetchError>),
    /// The log of a partition was truncated: records that were read are not in it any more (KIP-320). A stream goes on with
    /// the new log.
    Truncated {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// What was read, and what is there now.
        truncation: Truncation,
    },
    /// The stream does not have this partition.
    NotAssigned {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// There is no record at or after the timestamp.
    NoSuchOffset {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The producer was closed, or the client or the runtime it was built on is gone: make a new one.
    Closed,
}

impl Error {
    /// The broker's error code, where a broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Topic { code, .. } => Some(*code),
            Self::Call(error) => error.last.as_ref().and_then(Cause::code),
            Self::Delivery(error) => error.code(),
            Self::Fetch(error) => error.failure.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything but the cluster's state.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { last, .. } => last.as_ref().is_none_or(|last| last.reason.is_retriable()),
            Self::Topic { code, .. } => code.is_retriable(),
            Self::Call(error) => matches!(error.end, End::TimedOut(_)),
            Self::Delivery(error) => error.is_retriable(),
            Self::NoSuchOffset { .. } | Self::Full { .. } | Self::Truncated { .. } => true,
            Self::Config { .. }
            | Self::Partition { .. }
            | Self::Request { .. }
            | Self::Record { .. }
            | Self::Aggregator(_)
            | Self::Corrupt { .. }
            | Self::Fetch(_)
            | Self::NotAssigned { .. }
            | Self::NotLookedUp { .. }
            | Self::Closed => false,
        }
    }

    /// Whether the broker does not offer what was asked of it, or in no version that this client speaks. Other brokers
    /// may.
    pub fn is_unsupported(&self) -> bool {
        let unsupported = |error: &RequestError| matches!(error.reason, Failure::UnsupportedVersion { .. });
        match self {
            Self::Unreachable { last, .. } => last.as_ref().is_some_and(unsupported),
            Self::Call(error) => match &error.last {
                Some(Cause::Request(error)) => unsupported(error),
                Some(Cause::Code { code, .. }) => *code == ErrorCode::UNSUPPORTED_VERSION,
                None => false,
            },
            Self::Delivery(error) => match &error.cause {
                DeliveryCause::Request(error) => unsupported(error),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the object it came from is of no more use: a new one has to be made.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Call(error) => matches!(error.end, End::Recreated { .. }),
            Self::Fetch(error) => matches!(error.failure, FetchFailure::Recreated { .. }),
            Self::Delivery(error) => error.is_fatal(),
            _ => false,
        }
    }

    /// Whether a broker may have done what was asked although the answer is an error: the request, or an earlier attempt
    /// of it, was sent and got no answer.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_happened,
            Self::Delivery(error) => error.outcome != DeliveryOutcome::NotWritten,
            Self::Aggregator(error) => error.outcome != DeliveryOutcome::NotWritten,
            _ => false,
        }
    }

    /// A topic that was deleted and created again: the ids that were known, and found.
    pub fn recreated(&self) -> Option<(Uuid, Uuid)> {
        match self {
            Self::Call(error) => match error.end {
                End::Recreated { held, found } => Some((held, found)),
                _ => None,
            },
            Self::Delivery(error) => error.recreated(),
            Self::Fetch(error) => match error.failure {
                FetchFailure::Recreated { old, new } => Some((old, new)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn config(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Config { setting, problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { setting, problem } => write!(f, "setting `{setting}` {problem}"),
            Self::Unreachable { after, last } => {
                f.write_str("no broker gave an answer")?;
                if let Some(after) = after {
                    write!(f, " within {}", Rounded(*after))?;
                }
                let Some(last) = last else { return Ok(()) };
                write!(f, ", last: {last}")?;
                match (&last.reason, last.peer.broker_id) {
                    (Failure::Connect(_), None) => {
                        f.write_str("; check that brokers run, and the hosts and ports")
                    }
                    _ => Ok(()),
                }
            }
            Self::Topic { topic, code } if *code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                write!(
                    f,
                    "topic {topic:?} does not exist, or may not be seen (Metadata is answered with {code}): check its name and the \
                     right to describe it, or create it with `ControllerClient::create_topic`; looking it up does not"
                )
            }
            Self::Topic { topic, code } => write!(f, "topic {topic:?} cannot be looked up: Metadata is answered with {code}"),
            Self::Partition { topic, partition, partitions } => {
                write!(f, "topic {topic:?} has no partition {partition}: there are {partitions}, from 0 on")
            }
            Self::Request { api, problem } => write!(f, "{api}: {problem}"),
            Self::Call(error) => error.fmt(f),
            Self::Delivery(error) => error.fmt(f),
            Self::Record { topic, partition, problem } => {
                write!(f, "records for {topic}/{partition}: {problem}")
            }
            Self::Aggregator(error) => error.fmt(f),
            Self::Full { topic, partition, buffer, partition_buffer } => write!(
                f,
                "no room for a record for {topic}/{partition}: what is not acknowledged may take {partition_buffer} \
                 bytes a partition and {buffer} bytes in all; wait for deliveries, or raise `buffer_memory`"
            ),
            Self::Corrupt { topic, partition, offset, next, error } => {
                write!(
                    f,
                    "{topic}/{partition} holds a damaged batch at or after offset {offset}: {error}; to go on, read from \
                     offset {next} on"
                )
            }
            Self::Fetch(error) => error.fmt(f),
            Self::Truncated { topic, partition, truncation } => {
                write!(f, "{topic}/{partition}: {truncation}")
            }
            Self::NotLookedUp { topic } => write!(
                f,
                "{topic} was not looked up yet, and `try_enqueue` does not wait for that; send it a first record with `enqueue`, or use the \
                 handle that `Producer::topic` gives"
            ),
            Self::NotAssigned { topic, partition } => {
                write!(f, "{topic}/{partition} is not in this stream: add it first")
            }
            Self::NoSuchOffset { topic, partition } => {
                write!(
                    f,
                    "{topic}/{partition} has no such record yet: it is empty, or all its records are older"
                )
            }
            Self::Closed => {
                f.write_str("the producer was closed, or the client or the runtime it was built on is gone: make a new one")
            }
        }
    }
}

/// Why a partition is not fetched any more.
#[derive(Debug, Clone)]
pub struct FetchError {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub failure: FetchFailure,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetch of {}/{}: {}", self.topic, self.partition, self.failure)
    }
}

/// What is inside an error is part of its message already, so that no chain of messages says it twice: there is no
/// source. Match on it to take it apart.
impl std::error::Error for Error {}
