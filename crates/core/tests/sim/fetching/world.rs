//! One run of the fetcher: virtual time and what happens in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::backoff::Backoff;
use ottla_core::fetcher::{
    Account, Action, Fetcher, FetcherSettings, PartitionId, Place, Pool, Position, StreamId, StreamSettings,
};
use ottla_core::metadata::Leader;
use ottla_fake::{ConnId, ControlError, FakeCluster, Marker, NewRecord, Topic};
use ottla_wire::messages::fetch::{FetchResponse, LeaderIdAndEpoch};
use ottla_wire::{Str, Uuid};

use super::chaos::Chaos;
use super::plan::Plan;
use super::readers::{Reader, Stream};
use super::truth::Truth;
use super::wire::{Out, Spoken, Wire};
use super::written::Record;
use crate::history::{Coverage, History};
use crate::invariants::{ANSWER_FITS, GOES_ON, Invariant, NO_HOT_LOOP};
use crate::random::Draw;
use crate::run::Outcome;
use crate::truth::Violation;

pub(super) const TOPIC: &str = "t";
pub(super) const WALL_MS: i64 = 1_700_000_000_000;

/// So much happens at one moment only if something turns in circles.
const MOST_STEPS_AT_ONCE: u64 = 5_000;

/// More requests than this a second, plus some for each record and fault, are a hot loop.
const FOR_NOTHING: u64 = 120;
const FOR_WORK: u64 = 6;

/// What happens at a moment that was fixed before.
#[derive(Debug)]
pub(super) enum Event {
    /// A request reaches its node.
    Arrives {
        conn: ConnId,
        out: Out,
        frame: Bytes,
    },
    Answered {
        out: Out,
        frame: Bytes,
    },
    Lost {
        out: Out,
        was_sent: bool,
    },
    GivenUp {
        conn: ConnId,
        token: ottla_core::fetcher::RequestToken,
    },
    /// What metadata told when it was asked.
    Metadata {
        metadata: Metadata,
    },
    /// The client asks for metadata now and then.
    Refresh,
    Append {
        partition: i32,
    },
    Seek {
        id: PartitionId,
        place: Place,
        generation: u64,
    },
    GoBack {
        id: PartitionId,
        to: Position,
        generation: u64,
    },
    LastWords,
    /// A reader takes what has come for it.
    Turn {
        reader: usize,
    },
    /// A user does something else.
    Whim {
        number: u64,
    },
    /// It is not read for long.
    Pause {
        partition: i32,
    },
    /// Nobody takes anything of what has come for it.
    Rest {
        stream: StreamId,
    },
    /// Nor what has come for one stream, and another one is read again from the start.
    Change {
        from: StreamId,
        to: StreamId,
    },
    FaultBegins {
        fault: usize,
    },
    FaultEnds {
        fault: usize,
    },
    Heal,
}

/// What is said of the topic: its id, if it is there, and who leads its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    topic: Option<Uuid>,
    leaders: Vec<Option<Leader>>,
}

/// How often the client asks for metadata of its own, where a topic may become another one.
const REFRESH: Duration = Duration::from_secs(1);

pub(super) struct World {
    pub(super) plan: Plan,
    start: Instant,
    pub(super) now: Instant,
    pub(super) cluster: FakeCluster,
    pub(super) spoken: Spoken,
    /// The ids that the topic had, one after the other.
    topics: Vec<Uuid>,
    /// The one that the client knows.
    pub(super) topic_id: Uuid,
    pub(super) fetcher: Fetcher,
    pub(super) pool: Option<Pool>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) readers: Vec<Reader>,
    pub(super) wire: Wire,
    pub(super) truth: Truth,
    pub(super) violation: Option<Violation>,
    pub(super) history: History,
    pub(super) coverage: Coverage,
    pub(super) chaos: Chaos,
    draws: Draws,
    pub(super) is_healed: bool,
    pub(super) last_number: u64,
    /// Requests, and what there was to do, since the last look.
    pub(super) requests: u64,
    pub(super) work: u64,
    looked_at: Instant,
    is_refreshing: bool,
    queue: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    steps_at_once: u64,
}

/// Each concern has a stream of its own, so that a fault that is left out leaves the others as they were.
struct Draws {
    metadata: Draw,
    streams: Draw,
    /// Of each partition.
    appends: Vec<Draw>,
    /// The keys and times of its records.
    records: Vec<Draw>,
}

impl World {
    pub(super) fn new(plan: &Plan, history: &History) -> Self {
        let (plan, seed, now) = (plan.clone(), plan.seed, Instant::now());
        let partitions = plan.partitions.unsigned_abs();
        let builder = FakeCluster::builder().nodes(plan.nodes).racks().near_replicas().seed(seed);
        let builder = builder.fetch_sessions(plan.sessions).release(plan.release);
        let (low, high) = plan.replication;
        let builder = builder.replication_delay(Duration::from_micros(low), Duration::from_micros(high));
        let mut cluster = builder.build(now, WALL_MS);
        let topic_id = topic_of(&plan, &mut cluster, now).expect("the plan asks for a topic that can be");
        let spoken = Spoken::by(&mut cluster, now);
        let settings = FetcherSettings {
            backoff: Backoff::RETRY,
            rack: plan.rack.clone(),
            max_wait: plan.max_wait,
            read_committed: plan.read_committed,
            replica_max_age: Duration::from_secs(5),
            ..FetcherSettings::default()
        };
        let mut world = Self {
            start: now,
            now,
            cluster,
            spoken,
            topics: vec![topic_id],
            topic_id,
            fetcher: Fetcher::new(now, settings, seed),
            pool: plan.pool.map(Pool::new),
            streams: BTreeMap::new(),
            readers: Vec::new(),
            wire: Wire::new(seed),
            truth: Truth::new(plan.partitions),
            violation: None,
            history: history.clone(),
            coverage: Coverage::default(),
            chaos: Chaos::default(),
            draws: Draws {
                metadata: Draw::new(seed, 23),
                streams: Draw::new(seed, 24),
                appends: (0..partitions).map(|it| Draw::new(seed, 50 + u64::from(it))).collect(),
                records: (0..partitions).map(|it| Draw::new(seed, 60 + u64::from(it))).collect(),
            },
            is_healed: false,
            last_number: 0,
            requests: 0,
            work: 0,
            looked_at: now,
            is_refreshing: false,
            queue: BTreeMap::new(),
            next_event: 0,
            steps_at_once: 0,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for partition in 0..self.plan.partitions {
            let at = self.now + self.draw_append(partition).millis(0, 300);
            self.at(at, Event::Append { partition });
        }
        let mut draw = self.draws.streams.clone();
        let streams = self.plan.budgets.len();
        let streams: Vec<StreamId> = match self.plan.shared {
            Some(_) => self.plan.budgets.clone().into_iter().map(|it| self.open(it, 50 << 20)).collect(),
            None => (0..streams).map(|_| self.open_stream(&mut draw)).collect(),
        };
        for partition in 0..self.plan.partitions {
            let stream = match self.plan.shared {
                Some(_) => streams[usize::from(partition + 1 == self.plan.partitions)],
                None => draw.pick(&streams),
            };
            self.add_reader(stream, partition, &mut draw);
        }
        if let Some([again, over]) = self.plan.shared {
            self.rest(streams[0]);
            self.at(self.start + again, Event::Change { from: streams[1], to: streams[0] });
            self.at(self.start + over, Event::Rest { stream: streams[0] });
        }
        for (fault, what) in self.plan.faults.clone().iter().enumerate() {
            self.at(self.start + what.at, Event::FaultBegins { fault });
            self.at(self.start + what.until, Event::FaultEnds { fault });
        }
        for (number, at) in (0..).zip(self.plan.whims.clone()) {
            self.at(self.start + at, Event::Whim { number });
        }
        for (partition, at) in self.plan.pauses.clone() {
            self.at(self.start + at, Event::Pause { partition });
        }
        self.at(self.start + self.plan.heal, Event::Heal);
        if self.plan.recreates() {
            self.at(self.start + REFRESH, Event::Refresh);
        }
    }

    /// Unless it is there. If not enough nodes are, it has to wait for them.
    pub(super) fn create_topic(&mut self) {
        if self.cluster.topic(TOPIC).is_some() {
            return;
        }
        let created = topic_of(&self.plan, &mut self.cluster, self.now);
        self.chaos.is_topic_due = created.is_err();
        if let Ok(id) = created {
            self.topics.push(id);
            self.note(|| format!("the topic is created again: {id}"));
        }
    }

    fn draw_append(&mut self, partition: i32) -> &mut Draw {
        &mut self.draws.appends[partition.unsigned_abs() as usize]
    }

    /// Until every reader has read everything, or something does not hold.
    pub(super) fn run(mut self) -> Outcome {
        self.settle();
        while self.violation.is_none() && !self.is_over() {
            let timers = [self.cluster.poll_timeout(), self.fetcher.poll_timeout()];
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let Some(next) = timers.into_iter().flatten().chain(queued).min() else {
                self.violate(GOES_ON, || "nothing will happen any more".to_owned());
                break;
            };
            self.move_to(next);
            self.step();
            self.settle();
            self.check();
        }
        if self.violation.is_none() {
            self.check_end();
        }
        self.count_faults();
        let took = self.now - self.start;
        Outcome { violation: self.violation, coverage: self.coverage, took }
    }

    fn is_over(&self) -> bool {
        // By then they have heard of the last election, and of what it took.
        let is_quiet = self.now > self.start + self.plan.heal + Duration::from_secs(5);
        self.is_healed && is_quiet && self.readers.iter().all(|reader| self.has_all(reader))
    }

    fn move_to(&mut self, next: Instant) {
        if next > self.now {
            (self.now, self.steps_at_once) = (next, 0);
        }
        self.steps_at_once += 1;
        if self.steps_at_once > MOST_STEPS_AT_ONCE {
            self.violate(NO_HOT_LOOP, || "time stands still while everybody is busy".to_owned());
        }
    }

    fn step(&mut self) {
        if let Some((at, order)) = self.queue.keys().next().copied().filter(|(at, _)| *at <= self.now)
            && let Some(event) = self.queue.remove(&(at, order))
        {
            return self.handle(event);
        }
        self.cluster.handle_timeout(self.now);
        self.fetcher.handle_timeout(self.now);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives { conn, out, frame } => self.arrives(conn, out, &frame),
            Event::Answered { out, frame } => self.answered(out, &frame),
            Event::Lost { out, was_sent } => self.lost(out, was_sent),
            Event::GivenUp { conn, token } => self.given_up(conn, token),
            Event::Metadata { metadata } => self.take_metadata(&metadata),
            Event::Refresh => {
                self.refresh();
                self.at(self.now + REFRESH, Event::Refresh);
            }
            Event::Append { partition } => self.append(partition),
            Event::Seek { id, place, generation } => {
                self.hears(id, generation);
                self.fetcher.seek(self.now, id, place, generation);
            }
            Event::GoBack { id, to, generation } => {
                self.hears(id, generation);
                self.fetcher.go_back(self.now, id, to, generation);
            }
            Event::LastWords => (0..self.plan.partitions).for_each(|partition| self.last_words(partition)),
            Event::Turn { reader } => self.turn(reader),
            Event::Whim { number } => self.whim(number),
            Event::Pause { partition } => self.pause_for_long(partition),
            Event::Rest { stream } => self.rest(stream),
            Event::Change { from, to } => self.change(from, to),
            Event::FaultBegins { fault } => self.fault_begins(fault),
            Event::FaultEnds { fault } => self.fault_ends(fault),
            Event::Heal => self.heal(),
        }
    }

    /// Does what the machine says, until it says nothing.
    pub(super) fn settle(&mut self) {
        self.look_at_ends();
        self.look_at_states();
        self.carry();
        while let Some(action) = self.fetcher.poll_action() {
            self.steps_at_once += 1;
            if self.steps_at_once > MOST_STEPS_AT_ONCE || self.violation.is_some() {
                return self.violate(NO_HOT_LOOP, || format!("{action:?} and so on for ever"));
            }
            match action {
                Action::Fetch(fetch) => self.send_fetch(fetch),
                Action::ListOffsets { token, broker_id, look_up } => {
                    let wall_ms = self.cluster.wall_ms(self.now);
                    self.send_look_up(token, broker_id, &look_up.request(wall_ms));
                }
                Action::EpochEnds { token, broker_id, request } => {
                    self.send_check(token, broker_id, &request);
                }
                Action::RefreshMetadata { avoid } => {
                    let what = if avoid.is_some() { "of another broker" } else { "of any broker" };
                    self.coverage.hit("fetcher: metadata is asked for", what);
                    self.refresh();
                }
                Action::Tell { partition, generation, news, .. } => self.told(partition, generation, news),
            }
        }
        self.check_told();
        self.carry();
    }

    /// Counts the states to which partitions have come since the last look.
    fn look_at_states(&mut self) {
        for reader in &mut self.readers {
            if let Some(state) = self.fetcher.partition_state(reader.id)
                && std::mem::replace(&mut reader.state, state) != state
            {
                self.coverage.hit("fetcher: state", state);
            }
        }
    }

    fn hears(&mut self, id: PartitionId, generation: u64) {
        if let Some(it) = self.readers.iter_mut().find(|it| it.id == id) {
            it.heard = generation;
        }
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.is_refreshing, true) {
            return;
        }
        self.requests += 1;
        let mut metadata = self.metadata();
        if let Some((fault, old)) = self.chaos.old_metadata.clone() {
            self.count_strikes(fault, old != metadata);
            metadata = old;
        }
        let at = self.now + self.draws.metadata.millis(1, 140);
        self.at(at, Event::Metadata { metadata });
    }

    pub(super) fn metadata(&self) -> Metadata {
        let topic = self.cluster.topic(TOPIC).map(Topic::id);
        Metadata { topic, leaders: self.leaders() }
    }

    fn leaders(&self) -> Vec<Option<Leader>> {
        let leader = |index| {
            let partition = self.cluster.partition(TOPIC, index).filter(|it| it.leader() >= 0)?;
            Some(Leader { broker_id: partition.leader(), epoch: partition.leader_epoch() })
        };
        (0..self.plan.partitions).map(leader).collect()
    }

    /// What is older than what is known is passed over, and so is that a topic is gone: nodes will say.
    fn take_metadata(&mut self, metadata: &Metadata) {
        self.is_refreshing = false;
        self.note(|| format!("metadata: {metadata:?}"));
        let Some(topic) = metadata.topic else { return };
        let number = |id| self.topics.iter().position(|it| *it == id);
        if number(topic) < number(self.topic_id) {
            return;
        }
        if std::mem::replace(&mut self.topic_id, topic) != topic {
            self.truth.forget_leaders();
        }
        self.fetcher.handle_topic_id(self.now, &Str::from(TOPIC), topic);
        for (index, leader) in metadata.leaders.iter().enumerate() {
            let Some(leader) = leader else { continue };
            self.take_leader(index as i32, *leader);
        }
    }

    /// Whether that is news.
    pub(super) fn take_leader(&mut self, partition: i32, leader: Leader) -> bool {
        if !self.truth.is_news(partition, leader) {
            return false;
        }
        let ids: Vec<_> =
            self.readers.iter().filter(|it| it.partition == partition).map(|it| it.id).collect();
        for id in ids {
            self.fetcher.handle_leader(self.now, id, Some(leader));
        }
        true
    }

    pub(super) fn open_stream(&mut self, draw: &mut Draw) -> StreamId {
        let budget = draw.pick(&self.plan.budgets);
        self.open(budget, draw.pick(&[1, 2_000, 50 << 20]))
    }

    fn open(&mut self, budget: usize, max_bytes: i32) -> StreamId {
        self.last_number += 1;
        let stream = StreamId(self.last_number);
        let account = Account::new(budget, self.pool.as_ref());
        let settings = StreamSettings {
            account: account.clone(),
            max_bytes,
            partition_max_bytes: self.plan.partition_max_bytes,
            reset: self.plan.reset,
        };
        self.fetcher.open(self.now, stream, settings);
        self.streams.insert(stream, Stream { account, budget });
        stream
    }

    fn append(&mut self, partition: i32) {
        let mut draw = self.draw_append(partition).clone();
        let count = draw.between(1, 5);
        let numbers: Vec<u64> = (0..count).map(|_| self.truth.next_number()).collect();
        let records: Vec<NewRecord> = numbers
            .iter()
            .map(|number| {
                let mut value = number.to_be_bytes().to_vec();
                value.resize(draw.between(8, 200) as usize, 7);
                let (key, time) = self.draw_key_and_time(partition);
                NewRecord::new(key, value, time)
            })
            .collect();
        let times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
        let (producer, now) = (producer_of(partition), self.now);
        let is_open = self.is_in_transaction(partition);
        let what = if self.plan.has_transactions && !self.is_healed { draw.below(100) } else { 0 };
        // Nobody leads now and then.
        let appended = match (is_open, what) {
            (true, 60..80) => return self.go_on_appending(partition, draw, Some(Marker::Commit)),
            (true, 80..) => return self.go_on_appending(partition, draw, Some(Marker::Abort)),
            (true, 30..) | (false, 80..) => {
                self.cluster.append_transactional(now, TOPIC, partition, producer, records)
            }
            _ => self.cluster.append(now, TOPIC, partition, records),
        };
        if let Ok(offset) = appended {
            self.work += count;
            for ((offset, number), time) in (offset..).zip(numbers).zip(times) {
                self.was_written(partition, offset, Some(number), time);
            }
        }
        self.go_on_appending(partition, draw, None);
    }

    /// After the end of a transaction, if there is one to be ended.
    fn go_on_appending(&mut self, partition: i32, mut draw: Draw, marker: Option<Marker>) {
        if let Some(marker) = marker {
            self.end_transaction(partition, marker);
        }
        if !self.is_healed {
            let is_quiet = self.plan.is_quiet[partition.unsigned_abs() as usize];
            let paces = if is_quiet { [(300, 3_000); 3] } else { [(1, 30), (1, 30), (50, 800)] };
            let (low, high) = draw.pick(&paces);
            let at = self.now + draw.millis(low, high);
            self.at(at, Event::Append { partition });
        }
        *self.draw_append(partition) = draw;
    }

    fn end_transaction(&mut self, partition: i32, marker: Marker) {
        let (producer, now) = (producer_of(partition), self.now);
        let decided = self.cluster.end_transaction(now, TOPIC, partition, producer, marker);
        if let Ok(offset) = decided {
            self.work += 1;
            self.was_written(partition, offset, None, self.cluster.wall_ms(now));
        }
    }

    /// Of what is written next: records are a little older than their log has them, and not in order.
    fn draw_key_and_time(&mut self, partition: i32) -> (String, i64) {
        let (keys, has_times, now) = (self.plan.keys, self.plan.has_times, self.cluster.wall_ms(self.now));
        let draw = &mut self.draws.records[partition.unsigned_abs() as usize];
        let key = if keys > 0 { format!("k{}", draw.below(keys)) } else { "k".to_owned() };
        (key, if has_times { now - draw.below(300) as i64 } else { WALL_MS })
    }

    fn was_written(&mut self, partition: i32, offset: i64, number: Option<u64>, time: i64) {
        let Some(topic) = self.cluster.topic(TOPIC).map(Topic::id) else { return };
        let time = if self.plan.has_append_time { self.cluster.wall_ms(self.now) } else { time };
        self.truth.written.write(self.now, offset, number, Record { topic, partition, time });
    }

    fn is_in_transaction(&self, partition: i32) -> bool {
        let found = self.cluster.partition(TOPIC, partition);
        found.is_some_and(|it| it.log().first_unstable_offset().is_some())
    }

    /// What was open is decided, and one more record is there for everybody.
    fn last_words(&mut self, partition: i32) {
        if self.is_in_transaction(partition) {
            self.end_transaction(partition, Marker::Commit);
        }
        self.append(partition);
    }

    pub(super) fn fetched(&mut self, out: Out, frame_bytes: usize, response: FetchResponse) {
        // Buffers may be longer than what lies in them.
        let memory = frame_bytes + frame_bytes / 4 * usize::from(out.token.0.is_multiple_of(3));
        self.look_at_answer(&out, memory, &response);
        // Those that have hints go by ids.
        let known = response.responses.iter().filter(|topic| topic.topic_id == self.topic_id);
        let rows = known.flat_map(|topic| &topic.partitions).filter(|row| row.current_leader.leader_id >= 0);
        let hint = |of: &LeaderIdAndEpoch| Leader { broker_id: of.leader_id, epoch: of.leader_epoch };
        let hints: Vec<_> = rows.map(|row| (row.partition_index, hint(&row.current_leader))).collect();
        for (partition, hint) in hints {
            let is_news = self.take_leader(partition, hint);
            self.coverage.add("fetcher", "a broker named another leader", u64::from(is_news));
        }
        self.owe(&out, &response);
        self.truth.answer(out.token, memory);
        let (now, version) = (self.now, self.spoken.fetch);
        let mismatch = self.fetcher.handle_fetched(now, out.token, version, frame_bytes, memory, response);
        if !mismatch.is_empty() {
            self.violate(ANSWER_FITS, || format!("{mismatch:?} of {:?}", out.token));
        }
    }

    // What must hold at any moment

    fn check(&mut self) {
        self.check_memory();
        self.coverage.add("fetcher", "a stream waits for room", u64::from(self.fetcher.is_starved()));
        if self.now >= self.looked_at + Duration::from_secs(1) {
            let seconds = (self.now - self.looked_at).as_secs_f64();
            let allowed = FOR_NOTHING as f64 * seconds + (FOR_WORK * self.work) as f64;
            let (requests, work) = (self.requests, self.work);
            if requests as f64 > allowed {
                self.violate(NO_HOT_LOOP, || format!("{requests} requests in {seconds:.1} s for {work}"));
            }
            (self.looked_at, self.requests, self.work) = (self.now, 0, 0);
        }
        if self.is_healed && self.others_have_all() {
            self.everybody_reads();
        }
        if self.is_healed && self.now > self.start + self.plan.heal + Duration::from_secs(90) {
            let behind: Vec<String> = self.behind();
            self.violate(GOES_ON, || format!("{behind:?}"));
        }
    }

    // Time

    pub(super) fn at(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.history.note(self.now - self.start, line);
    }

    pub(super) fn violate(&mut self, invariant: Invariant, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.note(|| format!("VIOLATION of '{invariant}': {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }
}

/// The topic as the plan has it.
fn topic_of(plan: &Plan, cluster: &mut FakeCluster, now: Instant) -> Result<Uuid, ControlError> {
    let mut settings = vec![("unclean.leader.election.enable", "true")];
    if plan.has_append_time {
        settings.push(("message.timestamp.type", "LogAppendTime"));
    }
    if plan.has_zstd {
        settings.push(("compression.type", "zstd"));
    }
    cluster.create_topic_with(now, TOPIC, plan.partitions, plan.nodes as i16, &settings)
}

/// Who writes transactions to a partition.
fn producer_of(partition: i32) -> (i64, i16) {
    (1_000 + i64::from(partition), 0)
}
