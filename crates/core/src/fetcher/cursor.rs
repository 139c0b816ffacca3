//! One partition of a fetcher: where it is, what has to be found out before it can be fetched, and whom to ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::{Str, Uuid};

use super::session::Entry;
use super::{PartitionId, RequestToken, StreamId, Watermarks};
use crate::metadata::Leader;

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This offset, whether it exists or not.
    Offset(i64),
    /// The first offset there is.
    Earliest,
    /// The end: what is written from now on.
    Latest,
    /// The first record at or after this time, in ms since the epoch; the end if there is none.
    Timestamp(i64),
    /// The first record that is younger than this (KIP-1106); the end if there is none.
    Ago(Duration),
}

/// What to do when the broker does not have the offset that is asked for: retention has overtaken the reader, or it was
/// never there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// It is an error, and the partition waits for a seek.
    Report,
    /// Go on there.
    To(Place),
}

/// A topic as it was when a partition of it was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TopicRef {
    pub(super) name: Str,
    /// Nil where the cluster has none.
    pub(super) id: Uuid,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) stream: StreamId,
    pub(super) id: PartitionId,
    pub(super) topic: Arc<TopicRef>,
    pub(super) index: i32,
    /// How often it was sought or went back. What is from before is nobody's business any more.
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// The offset that was not in the log, while it is looked up where to go on.
    pub(super) reset_from: Option<i64>,
    pub(super) is_paused: bool,
    pub(super) leader: Option<Leader>,
    /// A follower that the leader sent us to (KIP-392), and until when.
    pub(super) replica: Option<(i32, Instant)>,
    pub(super) watermarks: Option<Watermarks>,
    /// Bytes of records that were handed out and not released.
    pub(super) held: usize,
    /// All of them were asked back, because it is paused and others have no room.
    pub(super) is_recalled: bool,
    /// Its stream has no room for more.
    pub(super) is_left_out: bool,
    pub(super) max_bytes: i32,
    /// What it asks for unless a batch is larger.
    usual_bytes: i32,
    /// The size of a batch that was cut off: less would not bring it.
    pub(super) least_bytes: i32,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Since when brokers do not know the topic.
    pub(super) unknown_since: Option<Instant>,
    /// With which broker it is listed, and for what.
    pub(super) listed: Option<(i32, Question)>,
    /// The answer that had something for it last.
    pub(super) answered_in: Option<RequestToken>,
    /// Since when a batch comes in part, however much is asked for.
    pub(super) cut_since: Option<Instant>,
    /// Its entry among the timers.
    pub(super) timer: Option<Instant>,
}

/// What comes next for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its offset has to be looked up.
    LookUp(Place),
    /// There is another leader: whether its log is the one that was read so far (KIP-320).
    Validate(Position),
    /// Records.
    Fetch(Position),
    /// Nothing, before the next seek.
    Failed,
}

/// How far a partition was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The offset that comes next.
    pub offset: i64,
    /// The leader epoch of the record before, or of the leader that named the offset; -1 if not known.
    pub(super) last_epoch: i32,
    /// That record was read. Else there may be none in that epoch, and no other log that differs from it.
    pub(super) was_read: bool,
    /// The newest leader epoch under which that is known to be right; -1 at first.
    pub(super) valid_in: i32,
}

/// What a broker is asked about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Offset,
    Epoch,
    Records,
    /// Records, but it holds enough of them for now, or its stream does.
    HeldBack,
}

/// What a partition needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Nothing,
    Leader,
    Ask(i32, Question),
}

impl Cursor {
    pub(super) fn new(
        (stream, id): (StreamId, PartitionId),
        topic: Arc<TopicRef>,
        index: i32,
        start: Place,
        max_bytes: i32,
    ) -> Self {
        Self {
            stream,
            id,
            topic,
            index,
            generation: 0,
            phase: Phase::at(start),
            reset_from: None,
            is_paused: false,
            leader: None,
            replica: None,
            watermarks: None,
            held: 0,
            is_recalled: false,
            is_left_out: false,
            max_bytes,
            usual_bytes: max_bytes,
            least_bytes: 0,
            failures: 0,
            retry_at: None,
            unknown_since: None,
            answered_in: None,
            cut_since: None,
            listed: None,
            timer: None,
        }
    }

    /// What it needs, if it may hold `share` bytes.
    pub(super) fn want(&self, now: Instant, share: usize) -> Want {
        if self.phase == Phase::Failed || self.retry_at.is_some_and(|at| now < at) {
            return Want::Nothing;
        }
        let Some(leader) = self.leader else { return Want::Leader };
        match self.phase {
            Phase::Failed => Want::Nothing,
            Phase::LookUp(_) => Want::Ask(leader.broker_id, Question::Offset),
            Phase::Validate(_) => Want::Ask(leader.broker_id, Question::Epoch),
            Phase::Fetch(_) if self.is_paused => Want::Nothing,
            Phase::Fetch(_) => {
                let has_enough = self.is_left_out || self.held >= share;
                let question = if has_enough { Question::HeldBack } else { Question::Records };
                Want::Ask(self.broker().unwrap_or(leader.broker_id), question)
            }
        }
    }

    /// For simulations.
    pub(super) fn state(&self) -> &'static str {
        match self.phase {
            Phase::LookUp(_) if self.reset_from.is_some() => "looks up where to go on",
            Phase::LookUp(Place::Offset(_)) => "looks an offset up",
            Phase::LookUp(Place::Earliest) => "looks the start up",
            Phase::LookUp(Place::Latest) => "looks the end up",
            Phase::LookUp(Place::Timestamp(_)) => "looks a time up",
            Phase::LookUp(Place::Ago(_)) => "looks an age up",
            Phase::Validate(_) => "compares another leader's log",
            Phase::Fetch(_) if self.is_paused => "paused",
            Phase::Fetch(_) if self.replica.is_some() => "fetches from a follower",
            Phase::Fetch(_) => "fetches from the leader",
            Phase::Failed => "failed",
        }
    }

    /// Who is asked for records.
    pub(super) fn broker(&self) -> Option<i32> {
        self.replica.map(|(id, _)| id).or(self.leader.map(|leader| leader.broker_id))
    }

    /// How a session asks for it.
    pub(super) fn entry(&self) -> Option<Entry> {
        let Phase::Fetch(position) = self.phase else { return None };
        Some(Entry {
            stream: self.stream,
            topic: self.topic.clone(),
            index: self.index,
            generation: self.generation,
            offset: position.offset,
            leader_epoch: self.leader.map_or(-1, |leader| leader.epoch),
            max_bytes: self.max_bytes,
            least_bytes: self.least_bytes,
        })
    }

    /// A leader in another epoch may have another log behind what was read. What was read in its own epoch, it has.
    pub(super) fn lead(&mut self, leader: Option<Leader>) {
        let before = std::mem::replace(&mut self.leader, leader);
        let Some(leader) = leader else { return };
        self.retry_at = None;
        if before.is_none_or(|before| before.epoch != leader.epoch || before.broker_id != leader.broker_id) {
            self.replica = None;
        }
        if let Phase::Fetch(position) | Phase::Validate(position) = self.phase {
            self.phase = position.under(leader);
        }
    }

    /// It goes on elsewhere. What the batch that was to come needed is nothing that the next one needs.
    pub(super) fn go_to(&mut self, phase: Phase) {
        self.phase = phase;
        (self.max_bytes, self.least_bytes, self.cut_since) = (self.usual_bytes, 0, None);
    }

    /// It goes on there after a seek: what went wrong before does not count.
    pub(super) fn seek(&mut self, phase: Phase, generation: u64) {
        self.generation = generation;
        self.go_to(phase);
        (self.failures, self.retry_at, self.unknown_since) = (0, None, None);
        (self.reset_from, self.is_recalled) = (None, false);
    }

    /// Whether it is to be fetched, and not paused.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.phase, Phase::Fetch(_)) && !self.is_paused
    }

    /// Back to the leader. Whether it was elsewhere.
    pub(super) fn leave_replica(&mut self) -> bool {
        self.replica.take().is_some()
    }

    /// When something becomes due by itself.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let expires = self.replica.map(|(_, until)| until);
        [self.retry_at, expires].into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl Phase {
    pub(super) fn at(place: Place) -> Self {
        match place {
            Place::Offset(offset) => {
                Self::Fetch(Position { offset, last_epoch: -1, was_read: false, valid_in: -1 })
            }
            place => Self::LookUp(place),
        }
    }
}

impl Position {
    /// Further on, behind a batch or a part of one that was written in `epoch`.
    pub fn behind(self, offset: i64, epoch: i32) -> Self {
        Self { offset, last_epoch: epoch, was_read: true, ..self }
    }

    /// What comes next under this leader.
    pub(super) fn under(self, leader: Leader) -> Phase {
        let is_known = self.last_epoch < 0 || leader.epoch < 0;
        match is_known || leader.epoch <= self.valid_in || leader.epoch <= self.last_epoch {
            true => Phase::Fetch(self),
            false => Phase::Validate(self),
        }
    }
}
