//! One client's connection to one node: its unserved bytes, and what the request in service waits for.
//!
//! A broker looks at the next request of a connection only after the last was answered, waiting and throttling
//! included; [`Phase`] is that rule. The cluster (`serve.rs`) moves a connection from phase to phase.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::Str;

use crate::call::{Answer, Request};
use crate::faults::{RuleId, Struck};
use crate::fetch::WaitingFetch;
use crate::produce::WaitingProduce;

/// Names a connection; never used twice in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: i32,
    partial: BytesMut,
    frames: VecDeque<Bytes>,
    backlog: usize,
    pub(crate) phase: Phase,
    /// The client has closed it: what it had sent is served, and nobody reads the answers.
    pub(crate) is_gone: bool,
}

/// The header of the request in service, and the rules that struck it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<Str>,
    pub(crate) struck: Struck,
}

/// What a delayed or held request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Time(Instant),
    Released(RuleId),
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// The next request may be served.
    Idle,
    /// A rule holds the request back before it is applied.
    Before { call: Call, request: Request, until: Until },
    /// The request waits in purgatory.
    Purgatory { call: Call, waiting: Waiting },
    /// A rule holds the answer back. `None` for a request that has no answer.
    After { call: Call, answer: Option<Answer>, until: Until },
    /// Throttled: the answer has left, the next request waits.
    Muted { until: Instant },
    /// A rule silenced the connection for good.
    Silent,
}

/// A request in purgatory.
#[derive(Debug)]
pub(crate) enum Waiting {
    Fetch(WaitingFetch),
    Produce(WaitingProduce),
}

impl Waiting {
    pub(crate) fn deadline(&self) -> Instant {
        match self {
            Self::Fetch(fetch) => fetch.deadline,
            Self::Produce(produce) => produce.deadline,
        }
    }
}

impl Connection {
    pub(crate) fn new(node: i32) -> Self {
        Self {
            node,
            partial: BytesMut::new(),
            frames: VecDeque::new(),
            backlog: 0,
            phase: Phase::Idle,
            is_gone: false,
        }
    }

    /// Takes bytes of the client's stream, cut anywhere. An impossible frame size is an error.
    pub(crate) fn receive(&mut self, bytes: &[u8], largest: usize) -> Result<(), ImpossibleFrame> {
        self.partial.extend_from_slice(bytes);
        while let Some(prefix) = self.partial.first_chunk::<4>() {
            let size = i32::from_be_bytes(*prefix);
            let len =
                usize::try_from(size).ok().filter(|len| *len <= largest).ok_or(ImpossibleFrame(size))?;
            if self.partial.len() < 4 + len {
                break;
            }
            self.partial.advance(4);
            self.frames.push_back(self.partial.split_to(len).freeze());
            self.backlog += len;
        }
        Ok(())
    }

    pub(crate) fn next_frame(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.backlog -= frame.len();
        Some(frame)
    }

    /// Bytes of whole requests that were received and not looked at yet.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog
    }

    /// When this connection has something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Before { until: Until::Time(at), .. } | Phase::After { until: Until::Time(at), .. } => {
                Some(*at)
            }
            Phase::Purgatory { waiting, .. } => Some(waiting.deadline()),
            Phase::Muted { until } => Some(*until),
            _ => None,
        }
    }

    /// Whether it ends for the cluster, too, now that its client has closed it.
    pub(crate) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Muted { .. } => self.is_gone && self.frames.is_empty(),
            Phase::Silent => self.is_gone,
            _ => false,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.frames.is_empty()
    }
}

/// A frame size that no request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImpossibleFrame(pub(crate) i32);
