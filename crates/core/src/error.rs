//! What can go wrong between a request and its answer, as values that name the broker, the API and what is known.
//!
//! Error codes inside an answer are not here: they belong to whoever understands the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{ApiKey, DecodeError, EncodeError, VersionRange};

use crate::HostPort;

/// The other end of a connection: a broker by id, or a bootstrap address whose id is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The broker's id; `None` for a bootstrap address.
    pub broker_id: Option<i32>,
    /// Where it is dialled: for a broker, its advertised listener.
    pub address: HostPort,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.broker_id {
            Some(id) => write!(f, "broker {id} ({})", self.address),
            None => write!(f, "bootstrap server {}", self.address),
        }
    }
}

/// A request that got no answer: who was asked for what, and whether the broker may have acted on it.
#[derive(Debug, Clone)]
pub struct RequestError {
    /// Who was asked.
    pub peer: Arc<Peer>,
    /// What was asked.
    pub api: ApiKey,
    /// Whether any byte of the request may have reached the broker.
    pub outcome: Outcome,
    /// Why there is no answer.
    pub reason: Failure,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", self.api, self.peer, self.reason)?;
        match self.outcome {
            Outcome::NotSent => Ok(()),
            Outcome::Unknown => f.write_str(" (the broker may have acted on it)"),
        }
    }
}

impl std::error::Error for RequestError {}

/// A time for people: to the millisecond, since nothing here is meant more exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounded(pub Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = self.0.saturating_add(Duration::from_micros(500));
        match u64::try_from(rounded.as_millis()) {
            Ok(0) => f.write_str("less than 1ms"),
            Ok(ms) => write!(f, "{:?}", Duration::from_millis(ms)),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

/// What is known of a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was written: sending it again cannot do its work twice.
    NotSent,
    /// It was written, at least in part: the broker may have acted on it.
    Unknown,
}

/// Why a request got no answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Failure {
    /// The connection could not be opened.
    Connect(Arc<str>),
    /// The connection ended first.
    Closed(CloseReason),
    /// The request's own time-out passed; it covers queueing, connecting, writing and waiting.
    TimedOut(Duration),
    /// The broker and this client have no version of the API in common.
    UnsupportedVersion {
        /// What this client can speak.
        ours: VersionRange,
        /// What the broker offers; `None` when it does not know the API at all.
        theirs: Option<VersionRange>,
    },
    /// The request cannot be expressed in the version agreed on.
    Encode(EncodeError),
    /// The answer is not what the protocol says.
    Decode(DecodeError),
}

impl Failure {
    /// Whether the request itself cannot be put to this broker.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Self::UnsupportedVersion { .. } | Self::Encode(_))
    }

    /// Whether trying again, here or elsewhere, can help.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::TimedOut(_) => true,
            Self::Closed(reason) => reason.is_retriable(),
            Self::UnsupportedVersion { .. } | Self::Encode(_) | Self::Decode(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "cannot connect: {cause}"),
            Self::Closed(reason) => write!(f, "the connection ended: {reason}"),
            Self::TimedOut(after) => write!(f, "no answer within {}", Rounded(*after)),
            Self::UnsupportedVersion { ours, theirs: Some(theirs) } => {
                write!(f, "no common version: this client speaks {ours}, the broker {theirs}")
            }
            Self::UnsupportedVersion { ours, theirs: None } => {
                write!(f, "the broker does not offer this API (this client speaks {ours})")
            }
            Self::Encode(error) => write!(f, "the request cannot be written: {error}"),
            Self::Decode(error) => write!(f, "malformed answer: {error}"),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nobody used it for the idle time-out.
    Idle,
    /// Its owner let go of it, or its runtime has shut down.
    Released,
    /// The broker closed it.
    ByPeer,
    /// The broker has another address by now.
    Moved,
    /// Reading or writing went wrong.
    Io(Arc<str>),
    /// The oldest request stayed without an answer for longer than its own wait and the request time-out.
    Silent(Duration),
    /// The peer does not speak the Kafka protocol, or not correctly.
    Protocol(Arc<str>),
    /// An answer was announced that is longer than is accepted; it was not read.
    TooLong {
        /// How many bytes it would have had.
        size: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// The answer to an earlier request on the same connection was [too long](Self::TooLong) to be read.
    BehindTooLong,
    /// The task that drove it panicked.
    Panicked,
}

impl CloseReason {
    /// Whether a new connection can be expected to fare better.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Protocol(_) | Self::TooLong { .. } | Self::Panicked)
    }

    /// For simulations: what ended connections are called.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::Idle => "closed: idle",
            Self::Released => "closed: released",
            Self::ByPeer => "closed: by the peer",
            Self::Moved => "closed: moved",
            Self::Io(_) => "closed: not to be reached",
            Self::Silent(_) => "closed: silent",
            Self::Protocol(_) => "closed: not understood",
            Self::TooLong { .. } => "closed: too long an answer",
            Self::BehindTooLong => "closed: behind too long an answer",
            Self::Panicked => "closed: panicked",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Released => f.write_str("its owner or its runtime is gone"),
            Self::ByPeer => f.write_str("closed by the peer"),
            Self::Moved => f.write_str("the broker has another address by now"),
            Self::Io(cause) => f.write_str(cause),
            Self::Silent(after) => write!(f, "the peer has been silent for {}", Rounded(*after)),
            Self::Protocol(what) => write!(f, "protocol error: {what}"),
            Self::TooLong { size, limit } => {
                write!(f, "an answer of {size} bytes is longer than max_response_bytes, which are {limit}")
            }
            Self::BehindTooLong => f.write_str(
                "the answer to an earlier request was too long to be read, which ended the connection",
            ),
            Self::Panicked => f.write_str("the connection's task panicked; this is a bug in ottla"),
        }
    }
}
