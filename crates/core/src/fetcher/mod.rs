//! The fetcher: which partition is fetched from where, from which offset, and how much of it at a time.
//!
//! ```text
//! open, add, -> ListOffsets -> Fetch -> handle_fetched -> Tell Records -> release
//! seek          (where it      (one a     (headers are     (to whoever      (room for
//!                starts)        broker)    scanned)         reads it)        the next)
//! ```
//!
//! Owns the positions up to which was fetched, sessions (KIP-227), truncation (KIP-320), replicas (KIP-392), what to do
//! when an offset is not there, and the budget of bytes. It owns neither connections nor records that were told, and
//! does not know how far anybody has read: a position here is where the next fetch starts.
//!
//! Partitions belong to streams, which share requests, and nothing else: each has a budget of its own, so that one that is not
//! read holds no other up.
//!
//! | file | owns |
//! |---|---|
//! | `cursor` | a partition: what it needs next, and of whom |
//! | `session` | what a broker remembers of our requests |
//! | `search` | whose batch makes answers too long |
//! | `budget` | bytes held and asked for, by stream |
//! | `schedule` | what each broker is asked next |
//! | `answer`, `lookup` | what comes of Fetch; of ListOffsets and OffsetForLeaderEpoch |
//! | `metrics` | what was done |

mod answer;
mod budget;
mod cursor;
mod error;
mod lookup;
mod metrics;
mod scan;
mod schedule;
mod search;
mod session;

#[cfg(test)]
mod tests;

pub use answer::{Mismatch, is_of_session, may_pass};
pub use budget::{Account, Pool};
pub use cursor::{Place, Position, Reset};
pub use error::{FetchFailure, Truncation, ZSTD_NEEDS_FETCH_10};
pub use lookup::LookUp;
pub use metrics::FetcherMetrics;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::FixedState;
use ottla_wire::messages::fetch::{AbortedTransaction, FetchRequest};
use ottla_wire::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use ottla_wire::{Str, Uuid};

use self::budget::Budget;
use self::cursor::{Cursor, Phase, TopicRef, Want};
use self::schedule::{Broker, Flight, Kind};
use crate::backoff::{Backoff, Random};
use crate::metadata::Leader;
use crate::time::later;
use crate::timers::Timers;

/// Fetches any number of partitions. The cost of an event is logarithmic in the number of partitions it concerns; those
/// that are idle cost nothing but memory.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetcherSettings,
    random: Random,
    /// The latest moment that was passed in.
    now: Instant,
    streams: BTreeMap<StreamId, Stream>,
    /// Those that were refused room: what becomes free is worth a look.
    starved: BTreeSet<StreamId>,
    cursors: HashMap<PartitionId, Cursor, FixedState>,
    by_name: HashMap<(Str, i32), PartitionId, FixedState>,
    by_id: HashMap<(Uuid, i32), PartitionId, FixedState>,
    brokers: BTreeMap<i32, Broker>,
    /// Brokers at which something changed.
    active: BTreeSet<i32>,
    requests: HashMap<RequestToken, Flight, FixedState>,
    budget: Budget,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
    /// Metadata is needed, and who had better not be asked.
    refresh: Option<Option<i32>>,
    last_token: u64,
    metrics: FetcherMetrics,
}

/// How a fetcher asks. Streams with equal settings may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetcherSettings {
    /// Between two attempts for a partition, and at a broker that does not answer.
    pub backoff: Backoff,
    /// How long a broker may wait for `min_bytes`.
    pub max_wait: Duration,
    /// A broker answers as soon as it has so much.
    pub min_bytes: i32,
    /// No more is asked for at once, whatever streams have room for: longer answers are not read.
    pub max_bytes: usize,
    /// Whether only committed records are asked for.
    pub read_committed: bool,
    /// Where the reader is, for followers nearby (KIP-392).
    pub rack: Option<Str>,
    /// How long a follower is fetched from until the leader is asked again.
    pub replica_max_age: Duration,
    /// How long a topic may be unknown to brokers, or a batch come in part, until that is a failure.
    pub patience: Duration,
}

impl Default for FetcherSettings {
    fn default() -> Self {
        Self {
            backoff: Backoff::RETRY,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: usize::MAX,
            read_committed: false,
            rack: None,
            replica_max_age: Duration::from_secs(5 * 60),
            patience: Duration::from_secs(30),
        }
    }
}

/// A stream at a fetcher: some partitions, and what is their reader's alone.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Bytes of answers that are held, and are on their way.
    pub account: Account,
    /// About so much of it comes in one answer at most; a larger batch comes whole.
    pub max_bytes: i32,
    /// About so much of one partition comes in one answer at most; a larger batch comes whole.
    pub partition_max_bytes: i32,
    /// What to do when an offset is not there.
    pub reset: Reset,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            account: Account::new(64 << 20, None),
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            reset: Reset::Report,
        }
    }
}

#[derive(Debug)]
struct Stream {
    settings: StreamSettings,
    partitions: BTreeSet<PartitionId>,
    /// Those that are left out of requests until there is room.
    left_out: BTreeSet<PartitionId>,
}

/// A stream at a fetcher; its owner chooses the numbers and never uses one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A partition at a fetcher; its owner chooses the numbers and never uses one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u64);

/// One request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Partition(PartitionId),
    Broker(i32),
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Send a Fetch, on a connection that is for this fetcher alone; report [`handle_fetched`](Fetcher::handle_fetched)
    /// or [`handle_lost`](Fetcher::handle_lost).
    Fetch(FetchOut),
    /// Look offsets up; report [`handle_offsets`](Fetcher::handle_offsets) or [`handle_lost`](Fetcher::handle_lost).
    ListOffsets {
        /// To be handed back.
        token: RequestToken,
        /// Whom to ask.
        broker_id: i32,
        /// What to ask.
        look_up: LookUp,
    },
    /// Ask where epochs ended; report [`handle_epochs`](Fetcher::handle_epochs) or
    /// [`handle_lost`](Fetcher::handle_lost).
    EpochEnds {
        /// To be handed back.
        token: RequestToken,
        /// Whom to ask.
        broker_id: i32,
        /// What to ask.
        request: OffsetForLeaderEpochRequest,
    },
    /// Ask for fresh metadata, and report every leader with [`handle_leader`](Fetcher::handle_leader).
    RefreshMetadata {
        /// A broker that had better not be asked.
        avoid: Option<i32>,
    },
    /// Something for whoever reads the partition. What is told of one partition is in order.
    Tell {
        /// Whose partition it is.
        stream: StreamId,
        /// The partition.
        partition: PartitionId,
        /// As passed to [`seek`](Fetcher::seek) or [`go_back`](Fetcher::go_back) last; 0 before the first.
        generation: u64,
        /// What there is to know.
        news: News,
    },
}

/// A Fetch and how to send it.
#[derive(Debug)]
pub struct FetchOut {
    /// To be handed back.
    pub token: RequestToken,
    /// Whom to ask.
    pub broker_id: i32,
    /// The request.
    pub request: FetchRequest,
    /// How long the broker may wait before it answers.
    pub max_wait: Duration,
    /// Whether all topics have ids, so that a version may be used that knows them by nothing else.
    pub has_ids: bool,
}

/// What whoever reads a partition has to know.
#[derive(Debug)]
pub enum News {
    /// The offset at which the partition starts.
    Position(i64),
    /// The log does not have the offset that was wanted, and the partition goes on elsewhere.
    Reset {
        /// What was wanted.
        from: i64,
        /// Where it goes on.
        to: i64,
        /// Why there.
        policy: Place,
    },
    /// Records. They count as held until [`Fetcher::release`].
    Records(Load),
    /// Where the log ends, when nothing was read.
    Watermarks(Watermarks),
    /// The partition is paused, and what is held of it is room that others wait for. It is asked back: what was told and not
    /// read is to be released, and the partition to [`go_back`](Fetcher::go_back), unless it is resumed or sought.
    Recalled,
    /// What was read is not the log any more.
    Truncated(Truncation),
    /// Nothing comes any more, before the next seek.
    Failed(FetchFailure),
}

/// The batches of one partition in one answer.
#[derive(Debug)]
pub struct Load {
    /// To be handed back with [`Fetcher::release`].
    pub hold: Hold,
    /// What was asked for: what comes before its offset in the first batch was not.
    pub from: Position,
    /// The offset behind the last batch.
    pub next: i64,
    /// Whole batches, and perhaps something damaged behind them.
    pub records: Bytes,
    /// The transactions among them that were aborted, in no particular order.
    pub aborted: Vec<AbortedTransaction>,
    /// Where the log ends.
    pub watermarks: Watermarks,
}

/// That a load is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    answer: RequestToken,
    bytes: usize,
}

/// Where a partition's log starts and ends, as a broker said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The offset behind the last record that is replicated.
    pub high_watermark: i64,
    /// The offset up to which all transactions are decided; -1 when the broker does not say.
    pub last_stable_offset: i64,
    /// The first offset; -1 when the broker does not say.
    pub log_start_offset: i64,
}

impl Fetcher {
    /// A fetcher without partitions. Equal seeds and equal inputs give equal actions.
    pub fn new(now: Instant, settings: FetcherSettings, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now,
            streams: BTreeMap::new(),
            starved: BTreeSet::new(),
            cursors: HashMap::default(),
            by_name: HashMap::default(),
            by_id: HashMap::default(),
            brokers: BTreeMap::new(),
            active: BTreeSet::new(),
            requests: HashMap::default(),
            budget: Budget::default(),
            timers: Timers::new(),
            actions: VecDeque::new(),
            refresh: None,
            last_token: 0,
            metrics: FetcherMetrics::default(),
            settings,
        }
    }

    /// Bytes of answers of which not everything was released.
    pub fn held(&self) -> usize {
        self.budget.held()
    }

    /// Those that a stream is charged with.
    pub fn held_by(&self, stream: StreamId) -> usize {
        self.budget.held_by(stream)
    }

    /// Whether a stream waits for room. Others may give it some: see [`handle_room`](Self::handle_room).
    pub fn is_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Whether room was given back since this was asked last: other fetchers of a stream or a pool may need it.
    pub fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.budget.has_freed)
    }

    /// What was done so far.
    pub fn metrics(&self) -> FetcherMetrics {
        let fetches = self.requests.values().filter(|flight| matches!(flight.kind, Kind::Fetch(_)));
        let (in_flight, held) = (fetches.count() as u64, self.budget.held() as u64);
        FetcherMetrics { in_flight, held, ..self.metrics.clone() }
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.cursors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// For simulations, which count where they get to: what comes next for a partition, by name; none where it is not here.
    #[doc(hidden)]
    pub fn partition_state(&self, id: PartitionId) -> Option<&'static str> {
        self.cursors.get(&id).map(Cursor::state)
    }

    /// One more stream, without partitions.
    pub fn open(&mut self, now: Instant, stream: StreamId, settings: StreamSettings) {
        self.advance(now);
        self.budget.open(stream, settings.account.clone());
        let (partitions, left_out) = (BTreeSet::new(), BTreeSet::new());
        self.streams.insert(stream, Stream { settings, partitions, left_out });
    }

    /// The stream is gone, with its partitions and with all that was told of them.
    pub fn close(&mut self, now: Instant, stream: StreamId) {
        self.advance(now);
        let partitions = self.streams.get_mut(&stream).map(|it| std::mem::take(&mut it.partitions));
        partitions.into_iter().flatten().for_each(|id| self.forget(id));
        self.streams.remove(&stream);
        self.starved.remove(&stream);
        self.budget.close(stream);
        for flight in self.requests.values_mut() {
            if let Kind::Fetch(rooms) = &mut flight.kind {
                rooms.retain(|(it, _)| *it != stream);
            }
        }
        self.wake_starved();
    }

    /// One more partition of a stream, with its leader if that is known, unless that partition of that topic is here
    /// already: a broker is asked for one offset of it.
    pub fn add(
        &mut self,
        now: Instant,
        (stream, id): (StreamId, PartitionId),
        topic: (&Str, Uuid),
        index: i32,
        leader: Option<Leader>,
        start: Place,
    ) -> bool {
        self.advance(now);
        let (name, topic_id) = topic;
        if self.by_name.contains_key(&(name.clone(), index)) {
            return false;
        }
        let Some(owner) = self.streams.get_mut(&stream) else { return false };
        owner.partitions.insert(id);
        let max_bytes = owner.settings.partition_max_bytes;
        self.by_name.insert((name.clone(), index), id);
        if !topic_id.is_nil() {
            self.by_id.insert((topic_id, index), id);
        }
        let topic = Arc::new(TopicRef { name: name.clone(), id: topic_id });
        let mut cursor = Cursor::new((stream, id), topic, index, start, max_bytes);
        cursor.leader = leader;
        self.cursors.insert(id, cursor);
        self.settle(id);
        true
    }

    /// The partition is not fetched any more. What was told of it stays held until it is released.
    pub fn remove(&mut self, now: Instant, id: PartitionId) {
        self.advance(now);
        self.forget(id);
        self.wake_starved();
    }

    fn forget(&mut self, id: PartitionId) {
        self.list(id, Want::Nothing);
        let Some(mut cursor) = self.cursors.remove(&id) else { return };
        if let Some(stream) = self.streams.get_mut(&cursor.stream) {
            stream.partitions.remove(&id);
            stream.left_out.remove(&id);
        }
        self.timers.set(Timer::Partition(id), &mut cursor.timer, None);
        self.by_name.remove(&(cursor.topic.name.clone(), cursor.index));
        self.by_id.remove(&(cursor.topic.id, cursor.index));
    }

    /// Goes on elsewhere. `generation` is larger than at any earlier seek of this partition; everything that is told
    /// from now on has it.
    pub fn seek(&mut self, now: Instant, id: PartitionId, to: Place, generation: u64) {
        self.advance(now);
        self.leave_for(id, generation, |_| Phase::at(to));
    }

    /// What was told and not read is fetched again, from `to` on; otherwise as [`seek`](Self::seek).
    pub fn go_back(&mut self, now: Instant, id: PartitionId, to: Position, generation: u64) {
        self.advance(now);
        self.leave_for(id, generation, |leader| leader.map_or(Phase::Fetch(to), |leader| to.under(leader)));
    }

    fn leave_for(&mut self, id: PartitionId, generation: u64, to: impl FnOnce(Option<Leader>) -> Phase) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        cursor.seek(to(cursor.leader), generation);
        self.settle(id);
    }

    /// Asks for no records of it until it is resumed. What is on its way still comes, and what it holds may be asked back.
    pub fn pause(&mut self, now: Instant, id: PartitionId) {
        self.set_paused(now, id, true);
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, now: Instant, id: PartitionId) {
        self.set_paused(now, id, false);
    }

    /// What was told is not held any more: it was read, or nobody wants it.
    pub fn release(&mut self, now: Instant, id: PartitionId, hold: Hold) {
        self.advance(now);
        self.budget.release(hold.answer, id);
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.held = cursor.held.saturating_sub(hold.bytes);
        }
        self.settle(id);
        self.wake_starved();
    }

    /// Others have given room back that a stream of theirs shares with one of ours.
    pub fn handle_room(&mut self, now: Instant) {
        self.advance(now);
        self.wake_starved();
    }

    /// Who leads the partition now, if anybody does.
    pub fn handle_leader(&mut self, now: Instant, id: PartitionId, leader: Option<Leader>) {
        self.advance(now);
        let Some(cursor) = self.cursors.get_mut(&id).filter(|it| it.leader != leader) else { return };
        cursor.lead(leader);
        self.settle(id);
    }

    /// The topic of this name has this id. Partitions that were added under another one have failed.
    pub fn handle_topic_id(&mut self, now: Instant, name: &Str, topic_id: Uuid) {
        self.advance(now);
        let other = |it: &&Cursor| it.topic.name == *name && it.topic.id != topic_id && !it.topic.id.is_nil();
        let mut gone: Vec<PartitionId> = self.cursors.values().filter(other).map(|it| it.id).collect();
        gone.sort();
        for id in gone.into_iter().filter(|_| !topic_id.is_nil()) {
            let old = self.cursors.get(&id).map_or(Uuid::NIL, |cursor| cursor.topic.id);
            self.fail(id, FetchFailure::Recreated { old, new: topic_id });
        }
    }

    /// Time has passed: at the latest when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Partition(id) => self.partition_due(id),
                Timer::Broker(id) => {
                    if let Some(broker) = self.brokers.get_mut(&id) {
                        broker.timer = None;
                        self.active.insert(id);
                    }
                }
            }
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if let Some(avoid) = self.refresh.take() {
                return Some(Action::RefreshMetadata { avoid });
            }
            let broker = self.active.first().copied()?;
            if let Some(action) = self.act_at(broker) {
                return Some(action);
            }
            self.active.remove(&broker);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn set_paused(&mut self, now: Instant, id: PartitionId, is_paused: bool) {
        self.advance(now);
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.is_paused = is_paused;
            (cursor.is_recalled, cursor.cut_since) = (false, None);
        }
        self.settle(id);
        self.wake_starved();
    }

    fn tell(&mut self, id: PartitionId, news: News) {
        let Some(cursor) = self.cursors.get(&id) else { return };
        let (stream, generation) = (cursor.stream, cursor.generation);
        self.actions.push_back(Action::Tell { stream, partition: id, generation, news });
    }

    /// Nothing comes of the partition any more.
    fn fail(&mut self, id: PartitionId, failure: FetchFailure) {
        let Some(cursor) = self.cursors.get_mut(&id).filter(|it| it.phase != Phase::Failed) else { return };
        cursor.phase = Phase::Failed;
        self.tell(id, News::Failed(failure));
        self.settle(id);
    }

    /// A partition is asked for again after a pause; the others go on.
    fn back_off(&mut self, id: PartitionId) {
        let random = self.random.next_u64();
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.failures = cursor.failures.saturating_add(1);
            let pause = self.settings.backoff.delay(cursor.failures, random);
            cursor.retry_at = Some(later(self.now, pause));
        }
        self.settle(id);
    }

    fn partition_due(&mut self, id: PartitionId) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.timer = None;
            cursor.retry_at.take_if(|at| *at <= self.now);
            cursor.replica.take_if(|(_, until)| *until <= self.now);
        }
        self.settle(id);
    }
}
