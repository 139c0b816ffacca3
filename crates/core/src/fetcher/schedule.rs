//! What each broker is asked next: one request of each kind at a time, so that what is on its way decides nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::{ErrorCode, Str};

use super::answer::{is_of_session, may_pass};
use super::cursor::{Cursor, Question, Want};
use super::session::Session;
use super::{Action, FetchFailure, FetchOut, Fetcher, News, PartitionId, RequestToken, StreamId, Timer};
use crate::error::{CloseReason, Failure, Outcome, RequestError};
use crate::metadata::Leader;
use crate::time::later;

/// How long a Fetch waits that leaves out partitions which hold enough for now; twice as long each time nothing was
/// released meanwhile. Else they would wait as long as the others have no records.
const HURRIED: Duration = Duration::from_millis(10);

/// One broker, as far as this fetcher is concerned.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) session: Session,
    pub(super) look_ups: BTreeSet<PartitionId>,
    pub(super) checks: BTreeSet<PartitionId>,
    held_back: BTreeSet<PartitionId>,
    /// How many partitions of each stream are read from it, those held back included.
    readers: BTreeMap<StreamId, usize>,
    pub(super) fetching: Option<RequestToken>,
    pub(super) looking: Option<RequestToken>,
    pub(super) checking: Option<RequestToken>,
    /// How often in a row a Fetch was hurried in vain.
    hurried: u32,
    pub(super) failures: u32,
    /// Nothing is sent before: it did not answer, or asks to be left alone (KIP-219).
    not_before: Option<Instant>,
    /// Its entry among the timers.
    pub(super) timer: Option<Instant>,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) broker_id: i32,
    pub(super) sent_at: Instant,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Room that its answer may take, by stream.
    Fetch(Vec<(StreamId, usize)>),
    Offsets(Vec<Subject>),
    Epochs(Vec<Subject>),
}

/// A partition that somebody was asked about, and what has to be as it was for the answer to be of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) id: PartitionId,
    generation: u64,
    leader: Option<Leader>,
}

impl Subject {
    pub(super) fn of(cursor: &Cursor) -> Self {
        Self { id: cursor.id, generation: cursor.generation, leader: cursor.leader }
    }

    pub(super) fn is(&self, cursor: &Cursor) -> bool {
        self.generation == cursor.generation && self.leader == cursor.leader
    }
}

impl Broker {
    fn list(&mut self, id: PartitionId, question: Question, cursor: &Cursor) {
        match question {
            Question::Offset => drop(self.look_ups.insert(id)),
            Question::Epoch => drop(self.checks.insert(id)),
            Question::Records => self.session.want(id, cursor.entry()),
            Question::HeldBack => drop(self.held_back.insert(id)),
        }
    }

    fn unlist(&mut self, id: PartitionId, question: Question) {
        match question {
            Question::Offset => drop(self.look_ups.remove(&id)),
            Question::Epoch => drop(self.checks.remove(&id)),
            Question::Records => self.session.want(id, None),
            Question::HeldBack => {
                self.held_back.remove(&id);
                self.hurried = 0;
            }
        }
    }

    /// One partition of a stream more is read from here, or one less.
    fn count(&mut self, stream: StreamId, question: Question, is_more: bool) {
        if !matches!(question, Question::Records | Question::HeldBack) {
            return;
        }
        let count = self.readers.entry(stream).or_default();
        *count = if is_more { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.readers.remove(&stream);
        }
    }

    /// Whether there is nothing to remember it by: followers that leaders send to may be any numbers.
    fn is_unused(&self) -> bool {
        let is_asked = self.fetching.or(self.looking).or(self.checking).is_some();
        let is_listed = !(self.readers.is_empty() && self.look_ups.is_empty() && self.checks.is_empty());
        !is_asked && !is_listed && !self.session.is_open()
    }

    /// How long the next Fetch may wait.
    fn wait(&mut self, max_wait: Duration) -> Duration {
        if self.session.is_searching() {
            return HURRIED.min(max_wait);
        }
        if self.held_back.is_empty() {
            return max_wait;
        }
        let wait = HURRIED.saturating_mul(1 << self.hurried.min(16));
        self.hurried = self.hurried.saturating_add(1);
        wait.min(max_wait)
    }
}

impl Fetcher {
    /// After any change to a partition: lists it where it belongs, moves its timer.
    pub(super) fn settle(&mut self, id: PartitionId) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let partitions = self.streams.get(&cursor.stream).map_or(1, |stream| stream.partitions.len());
        // A stream with more partitions than bytes goes on, one after the other.
        let share = (self.budget.limit(cursor.stream) / partitions.max(1)).max(1);
        let want = cursor.want(self.now, share);
        self.list(id, want);
        if want == Want::Leader {
            // The metadata does not know who leads it: it is asked for now and then.
            self.refresh.get_or_insert(None);
            return self.back_off(id);
        }
        if let Some(cursor) = self.cursors.get_mut(&id) {
            let due = cursor.due(self.now);
            self.timers.set(Timer::Partition(id), &mut cursor.timer, due);
        }
    }

    pub(super) fn list(&mut self, id: PartitionId, want: Want) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let next = if let Want::Ask(broker, question) = want { Some((broker, question)) } else { None };
        let before = std::mem::replace(&mut cursor.listed, next);
        if let Some((broker_id, question)) = before.filter(|_| before != next)
            && let Some(broker) = self.brokers.get_mut(&broker_id)
        {
            broker.unlist(id, question);
            broker.count(cursor.stream, question, false);
            self.active.insert(broker_id);
        }
        if let Some((broker_id, question)) = next {
            let broker = self.brokers.entry(broker_id).or_default();
            broker.list(id, question, cursor);
            if before != next {
                broker.count(cursor.stream, question, true);
            }
            self.active.insert(broker_id);
        }
    }

    /// There may be room in a budget again.
    pub(super) fn wake_starved(&mut self) {
        for stream in std::mem::take(&mut self.starved) {
            let Some(it) = self.streams.get(&stream) else { continue };
            let least = usize::try_from(it.settings.partition_max_bytes).unwrap_or(1);
            if self.room(stream, least).is_none() {
                self.starved.insert(stream);
                self.recall(stream);
                continue;
            }
            self.active.extend(self.brokers.keys());
            let left_out = self.streams.get_mut(&stream).map(|it| std::mem::take(&mut it.left_out));
            for id in left_out.into_iter().flatten() {
                if let Some(cursor) = self.cursors.get_mut(&id) {
                    cursor.is_left_out = false;
                }
                self.settle(id);
            }
        }
    }

    /// How large an answer may be that brings at most so many bytes of a stream.
    fn room(&self, stream: StreamId, bytes: usize) -> Option<usize> {
        let limit = usize::try_from(self.streams.get(&stream)?.settings.max_bytes).unwrap_or(0);
        let brokers = self.brokers.values().filter(|broker| broker.readers.contains_key(&stream)).count();
        self.budget.room(stream, bytes.min(limit), brokers)
    }

    /// Where all that a stream holds is paused, nobody would ever give it back: all of it is asked for, if somebody waits for
    /// room. (An answer is in memory until the last partition that has some of it has let go.)
    fn recall(&mut self, stream: StreamId) {
        let cursor = |id: &PartitionId| self.cursors.get(id);
        let holders = || self.budget.holders(stream).filter_map(|id| cursor(&id));
        if holders().any(|it| !it.is_paused) || holders().all(|it| it.is_recalled) {
            return;
        }
        let mut of_stream = self.streams.get(&stream).into_iter().flat_map(|it| &it.partitions);
        if !of_stream.any(|id| cursor(id).is_some_and(Cursor::is_wanted)) {
            return;
        }
        let paused: Vec<PartitionId> = self.budget.holders(stream).collect();
        for id in paused {
            if let Some(cursor) = self.cursors.get_mut(&id)
                && !std::mem::replace(&mut cursor.is_recalled, true)
            {
                self.tell(id, News::Recalled);
            }
        }
    }

    /// Takes room for an answer of a broker. A stream that has none is left out, so that the others need not wait for its
    /// reader.
    fn take_room(&mut self, broker_id: i32) -> Vec<(StreamId, usize)> {
        let Some(broker) = self.brokers.get(&broker_id) else { return Vec::new() };
        let mut rooms: Vec<(StreamId, usize)> = broker.session.streams().collect();
        let mut starved = Vec::new();
        rooms.retain_mut(|(stream, bytes)| {
            let Some(room) = self.room(*stream, *bytes) else {
                starved.push(*stream);
                return false;
            };
            // At once, so that the next one does not see the same bytes as free.
            self.budget.reserve(*stream, room);
            *bytes = room;
            true
        });
        self.starved.extend(&starved);
        starved.iter().for_each(|stream| self.recall(*stream));
        if !rooms.is_empty() {
            starved.into_iter().for_each(|stream| self.leave_out(broker_id, stream));
        }
        rooms
    }

    fn leave_out(&mut self, broker_id: i32, stream: StreamId) {
        let Some(it) = self.streams.get_mut(&stream) else { return };
        let mut left_out = Vec::new();
        for id in &it.partitions {
            if let Some(cursor) = self.cursors.get_mut(id)
                && cursor.listed == Some((broker_id, Question::Records))
            {
                cursor.is_left_out = true;
                left_out.push(*id);
            }
        }
        it.left_out.extend(&left_out);
        left_out.into_iter().for_each(|id| self.settle(id));
    }

    /// The next request to a broker.
    pub(super) fn act_at(&mut self, broker_id: i32) -> Option<Action> {
        let broker = self.brokers.get_mut(&broker_id)?;
        broker.not_before.take_if(|at| *at <= self.now);
        let not_before = broker.not_before;
        self.timers.set(Timer::Broker(broker_id), &mut broker.timer, not_before);
        if not_before.is_some() {
            return None;
        }
        if broker.looking.is_none() && !broker.look_ups.is_empty() {
            return Some(self.look_up(broker_id));
        }
        if broker.checking.is_none() && !broker.checks.is_empty() {
            return Some(self.check(broker_id));
        }
        if broker.fetching.is_none() && broker.session.is_ready() {
            return self.fetch(broker_id);
        }
        if broker.is_unused() {
            self.brokers.remove(&broker_id);
        }
        None
    }

    fn fetch(&mut self, broker_id: i32) -> Option<Action> {
        let rooms = self.take_room(broker_id);
        if rooms.is_empty() {
            return None;
        }
        let room: usize = rooms.iter().map(|(_, room)| room).sum();
        let broker = self.brokers.get_mut(&broker_id)?;
        let shared = if rooms.len() > 1 { &rooms[..] } else { &[] };
        self.last_token += 1;
        let token = RequestToken(self.last_token);
        let asked = broker.session.next(token, shared);
        broker.fetching = Some(token);
        let max_wait = broker.wait(self.settings.max_wait);
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.settings.min_bytes.min(asked.least.unwrap_or(i32::MAX)),
            max_bytes: i32::try_from(room.min(self.settings.max_bytes)).unwrap_or(i32::MAX),
            isolation_level: i8::from(self.settings.read_committed),
            session_id: asked.session_id,
            session_epoch: asked.session_epoch,
            topics: asked.topics,
            forgotten_topics_data: asked.forgotten,
            rack_id: self.settings.rack.clone().unwrap_or_default(),
            ..FetchRequest::default()
        };
        self.metrics.requests += 1;
        self.requests.insert(token, Flight { broker_id, sent_at: self.now, kind: Kind::Fetch(rooms) });
        Some(Action::Fetch(FetchOut { token, broker_id, request, max_wait, has_ids: asked.has_ids }))
    }

    /// What a request that is out asks about, for the log: topic, partition, and which attempt at its broker this is.
    pub fn carried(&self, token: RequestToken) -> impl Iterator<Item = (&Str, i32, u32)> {
        let flight = self.requests.get(&token);
        let broker = flight.and_then(|flight| self.brokers.get(&flight.broker_id));
        let attempt = broker.map_or(0, |broker| broker.failures).saturating_add(1);
        let ids: Vec<PartitionId> = match flight.map(|flight| &flight.kind) {
            None => Vec::new(),
            Some(Kind::Fetch(_)) => broker.into_iter().flat_map(|broker| broker.session.asked()).collect(),
            Some(Kind::Offsets(asked) | Kind::Epochs(asked)) => asked.iter().map(|it| it.id).collect(),
        };
        ids.into_iter().filter_map(move |id| {
            let cursor = self.cursors.get(&id)?;
            Some((&cursor.topic.name, cursor.index, attempt))
        })
    }

    /// For the log: which attempt at a partition is under way, and whether a follower is asked instead of its leader.
    pub fn attempt(&self, topic: &Str, index: i32) -> Option<(u32, bool)> {
        let cursor = self.cursors.get(self.by_name.get(&(topic.clone(), index))?)?;
        Some((cursor.failures.saturating_add(1), cursor.replica.is_some()))
    }

    /// There is no answer and there will be none.
    pub fn handle_lost(&mut self, now: Instant, token: RequestToken, error: &RequestError) {
        self.advance(now);
        let Some(Flight { broker_id, kind, .. }) = self.finish(token) else { return };
        let is_final = error.reason.is_of_request();
        match kind {
            Kind::Fetch(_) => {
                let Some(broker) = self.brokers.get_mut(&broker_id) else { return };
                if let Failure::Closed(CloseReason::TooLong { size, limit }) = error.reason {
                    if let Some((id, offset)) = broker.session.too_long(token) {
                        self.fail(id, FetchFailure::TooLong { broker_id, offset, size, limit });
                    }
                } else {
                    broker.session.fail(token, None);
                    self.not_served(
                        broker_id,
                        is_final.then(|| FetchFailure::Request(error.clone())).as_ref(),
                    );
                }
            }
            Kind::Offsets(asked) if is_final => {
                for (id, _) in self.still_asked(&asked) {
                    self.fail(id, FetchFailure::Request(error.clone()));
                }
            }
            // Brokers that cannot say are believed.
            Kind::Epochs(asked) if is_final => {
                self.still_asked(&asked).into_iter().for_each(|(id, _)| self.validated(id));
            }
            Kind::Offsets(_) | Kind::Epochs(_) => {}
        }
        self.broker_failed(broker_id, error);
        self.wake_starved();
    }

    /// A broker did not serve what was wanted of it: who can be read elsewhere is, and the others hear of a failure that does
    /// not pass.
    fn not_served(&mut self, broker_id: i32, failure: Option<&FetchFailure>) {
        let Some(broker) = self.brokers.get(&broker_id) else { return };
        let wanted: Vec<PartitionId> = broker.session.wanted().collect();
        for id in wanted {
            let Some(cursor) = self.cursors.get_mut(&id) else { continue };
            if cursor.leave_replica() {
                self.back_off(id);
            } else if let Some(failure) = failure {
                self.fail(id, failure.clone());
            }
        }
    }

    /// A connection that had gone idle costs nothing: the request never left.
    fn broker_failed(&mut self, broker_id: i32, error: &RequestError) {
        let random = self.random.next_u64();
        let Some(broker) = self.brokers.get_mut(&broker_id) else { return };
        broker.failures = broker.failures.saturating_add(1);
        let unsent = error.outcome == Outcome::NotSent && matches!(error.reason, Failure::Closed(_));
        if !unsent || broker.failures > 1 {
            let pause = self.settings.backoff.delay(broker.failures, random);
            broker.not_before = Some(later(self.now, pause));
            self.refresh = Some(Some(broker_id));
        }
        self.active.insert(broker_id);
    }

    /// A broker has answered: it is there. It may ask to be left alone for a while (KIP-219).
    pub(super) fn answered(&mut self, broker_id: i32, throttle_time_ms: i32) {
        if let Some(broker) = self.brokers.get_mut(&broker_id) {
            broker.failures = 0;
        }
        self.throttled(broker_id, throttle_time_ms);
    }

    /// A broker may ask to be left alone, whatever else it answers.
    pub(super) fn throttled(&mut self, broker_id: i32, throttle_time_ms: i32) {
        let Some(broker) = self.brokers.get_mut(&broker_id) else { return };
        if let Some(pause) = crate::connection::throttle_time(throttle_time_ms) {
            broker.not_before = Some(later(self.now, pause));
            self.metrics.throttled = self.metrics.throttled.saturating_add(pause);
        }
        self.active.insert(broker_id);
    }

    /// A broker has answered that it cannot serve the request as a whole. It is asked again after a pause that grows, but by
    /// those who are told that this will not pass.
    pub(super) fn refused_whole(&mut self, broker_id: i32, code: Option<ErrorCode>) {
        let random = self.random.next_u64();
        let passes = |code: ErrorCode| is_of_session(code) || may_pass(code);
        if let Some(code) = code.filter(|code| !passes(*code)) {
            self.not_served(broker_id, Some(&FetchFailure::Refused { broker_id, code, offset: -1 }));
        }
        let Some(broker) = self.brokers.get_mut(&broker_id) else { return };
        broker.failures = broker.failures.saturating_add(1);
        let pause = later(self.now, self.settings.backoff.delay(broker.failures, random));
        broker.not_before = Some(broker.not_before.map_or(pause, |at| at.max(pause)));
        self.active.insert(broker_id);
    }

    /// Takes a request from those on their way.
    pub(super) fn finish(&mut self, token: RequestToken) -> Option<Flight> {
        let flight = self.requests.remove(&token)?;
        if let Some(broker) = self.brokers.get_mut(&flight.broker_id) {
            let place = match &flight.kind {
                Kind::Fetch(_) => &mut broker.fetching,
                Kind::Offsets(_) => &mut broker.looking,
                Kind::Epochs(_) => &mut broker.checking,
            };
            place.take_if(|sent| *sent == token);
            self.active.insert(flight.broker_id);
        }
        if let Kind::Fetch(rooms) = &flight.kind {
            rooms.iter().for_each(|(stream, room)| self.budget.unreserve(*stream, *room));
        }
        Some(flight)
    }
}
