//! One run of the fetcher: virtual time and what happens in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::backoff::Backoff;
use ottla_core::fetcher::{
    Account, Action, Fetcher, FetcherSettings, PartitionId, Place, Pool, StreamId, StreamSettings,
};
use ottla_core::metadata::Leader;
use ottla_fake::{ConnId, FakeCluster, Marker, NewRecord};
use ottla_wire::Uuid;
use ottla_wire::messages::fetch::FetchResponse;

use super::chaos::Chaos;
use super::plan::Plan;
use super::readers::{Reader, Stream};
use super::truth::Truth;
use super::wire::{Out, Wire};
use crate::history::{Coverage, History};
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
    /// Who leads, as it was when it was asked.
    Metadata {
        leaders: Vec<Option<Leader>>,
    },
    Append {
        partition: i32,
    },
    Seek {
        id: PartitionId,
        place: Place,
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
    FaultBegins {
        fault: usize,
    },
    FaultEnds {
        fault: usize,
    },
    Heal,
}

pub(super) struct World {
    pub(super) plan: Plan,
    start: Instant,
    pub(super) now: Instant,
    pub(super) cluster: FakeCluster,
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
}

impl World {
    pub(super) fn new(plan: &Plan, keeps_history: bool) -> Self {
        let (plan, seed, now) = (plan.clone(), plan.seed, Instant::now());
        let partitions = plan.partitions.unsigned_abs();
        let builder = FakeCluster::builder().nodes(plan.nodes).racks().near_replicas().seed(seed);
        let builder = builder.fetch_sessions(plan.sessions);
        let (low, high) = plan.replication;
        let builder = builder.replication_delay(Duration::from_micros(low), Duration::from_micros(high));
        let mut cluster = builder.build(now, WALL_MS);
        let settings = [("unclean.leader.election.enable", "true")];
        let replicas = plan.nodes as i16;
        let topic_id = cluster.create_topic_with(now, TOPIC, plan.partitions, replicas, &settings);
        let topic_id = topic_id.expect("the plan asks for a topic that can be");
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
            topic_id,
            fetcher: Fetcher::new(now, settings, seed),
            pool: plan.pool.map(Pool::new),
            streams: BTreeMap::new(),
            readers: Vec::new(),
            wire: Wire::new(seed),
            truth: Truth::new(plan.partitions),
            violation: None,
            history: History::new(keeps_history),
            coverage: Coverage::default(),
            chaos: Chaos::default(),
            draws: Draws {
                metadata: Draw::new(seed, 23),
                streams: Draw::new(seed, 24),
                appends: (0..partitions).map(|it| Draw::new(seed, 50 + u64::from(it))).collect(),
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
        let streams: Vec<StreamId> = (0..streams).map(|_| self.open_stream(&mut draw)).collect();
        for partition in 0..self.plan.partitions {
            let stream = draw.pick(&streams);
            self.add_reader(stream, partition, &mut draw);
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
                self.violate("it goes on when faults are over", || "nothing will happen any more".to_owned());
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
        Outcome { violation: self.violation, coverage: self.coverage, history: self.history, took }
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
            self.violate("no hot loop", || "time stands still while everybody is busy".to_owned());
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
            Event::Metadata { leaders } => self.take_metadata(&leaders),
            Event::Append { partition } => self.append(partition),
            Event::Seek { id, place, generation } => self.hears_of_seek(id, place, generation),
            Event::LastWords => (0..self.plan.partitions).for_each(|partition| self.last_words(partition)),
            Event::Turn { reader } => self.turn(reader),
            Event::Whim { number } => self.whim(number),
            Event::Pause { partition } => self.pause_for_long(partition),
            Event::FaultBegins { fault } => self.fault_begins(fault),
            Event::FaultEnds { fault } => self.fault_ends(fault),
            Event::Heal => self.heal(),
        }
    }

    /// Does what the machine says, until it says nothing.
    pub(super) fn settle(&mut self) {
        self.carry();
        while let Some(action) = self.fetcher.poll_action() {
            self.steps_at_once += 1;
            if self.steps_at_once > MOST_STEPS_AT_ONCE || self.violation.is_some() {
                return self.violate("no hot loop", || format!("{action:?} and so on for ever"));
            }
            match action {
                Action::Fetch(fetch) => self.send_fetch(fetch),
                Action::ListOffsets { token, broker_id, look_up } => {
                    self.send_look_up(token, broker_id, &look_up.request(WALL_MS));
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

    fn hears_of_seek(&mut self, id: PartitionId, place: Place, generation: u64) {
        if let Some(it) = self.readers.iter_mut().find(|it| it.id == id) {
            it.heard = generation;
        }
        self.fetcher.seek(self.now, id, place, generation);
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.is_refreshing, true) {
            return;
        }
        self.requests += 1;
        let mut leaders = self.leaders();
        if let Some((fault, old)) = self.chaos.old_leaders.clone() {
            self.count_strikes(fault, old != leaders);
            leaders = old;
        }
        let at = self.now + self.draws.metadata.millis(1, 140);
        self.at(at, Event::Metadata { leaders });
    }

    pub(super) fn leaders(&self) -> Vec<Option<Leader>> {
        let leader = |index| {
            let partition = self.cluster.partition(TOPIC, index).filter(|it| it.leader() >= 0)?;
            Some(Leader { broker_id: partition.leader(), epoch: partition.leader_epoch() })
        };
        (0..self.plan.partitions).map(leader).collect()
    }

    /// What is older than what is known is passed over.
    fn take_metadata(&mut self, leaders: &[Option<Leader>]) {
        self.is_refreshing = false;
        self.note(|| format!("metadata: {leaders:?}"));
        for (index, leader) in leaders.iter().enumerate() {
            let Some(leader) = leader else { continue };
            self.take_leader(index as i32, *leader);
        }
    }

    pub(super) fn take_leader(&mut self, partition: i32, leader: Leader) {
        if !self.truth.is_news(partition, leader) {
            return;
        }
        let ids: Vec<_> =
            self.readers.iter().filter(|it| it.partition == partition).map(|it| it.id).collect();
        for id in ids {
            self.fetcher.handle_leader(self.now, id, Some(leader));
        }
    }

    pub(super) fn open_stream(&mut self, draw: &mut Draw) -> StreamId {
        self.last_number += 1;
        let stream = StreamId(self.last_number);
        let budget = draw.pick(&self.plan.budgets);
        let account = Account::new(budget, self.pool.as_ref());
        let settings = StreamSettings {
            account: account.clone(),
            max_bytes: draw.pick(&[1, 2_000, 50 << 20]),
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
        let records: Vec<NewRecord> = (0..count)
            .map(|_| {
                let number = self.truth.next_number();
                let mut value = number.to_be_bytes().to_vec();
                value.resize(draw.between(8, 200) as usize, 7);
                NewRecord::new("k", value, WALL_MS)
            })
            .collect();
        let (producer, now) = (producer_of(partition), self.now);
        let is_open = self.is_in_transaction(partition);
        let what = if self.plan.has_transactions && !self.is_healed { draw.below(100) } else { 0 };
        // Nobody leads now and then.
        let appended = match (is_open, what) {
            (true, 60..80) => self.cluster.end_transaction(now, TOPIC, partition, producer, Marker::Commit),
            (true, 80..) => self.cluster.end_transaction(now, TOPIC, partition, producer, Marker::Abort),
            (true, 30..) | (false, 80..) => {
                self.cluster.append_transactional(now, TOPIC, partition, producer, records)
            }
            _ => self.cluster.append(now, TOPIC, partition, records),
        };
        if appended.is_ok() {
            self.work += count;
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

    fn is_in_transaction(&self, partition: i32) -> bool {
        let found = self.cluster.partition(TOPIC, partition);
        found.is_some_and(|it| it.log().first_unstable_offset().is_some())
    }

    /// What was open is decided, and one more record is there for everybody.
    fn last_words(&mut self, partition: i32) {
        if self.is_in_transaction(partition) {
            let (producer, marker) = (producer_of(partition), Marker::Commit);
            let _decided = self.cluster.end_transaction(self.now, TOPIC, partition, producer, marker);
        }
        self.append(partition);
    }

    pub(super) fn fetched(&mut self, out: Out, frame_bytes: usize, response: FetchResponse) {
        self.look_at_answer(&out, frame_bytes, &response);
        for row in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let hint =
                Leader { broker_id: row.current_leader.leader_id, epoch: row.current_leader.leader_epoch };
            if hint.broker_id >= 0 {
                self.take_leader(row.partition_index, hint);
            }
        }
        self.owe(&out, &response);
        self.truth.answer(out.token, frame_bytes);
        let mismatch =
            self.fetcher.handle_fetched(self.now, out.token, self.plan.version, frame_bytes, response);
        if !mismatch.is_empty() {
            self.violate("an answer fits its request", || format!("{mismatch:?} of {:?}", out.token));
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
                self.violate("no hot loop", || format!("{requests} requests in {seconds:.1} s for {work}"));
            }
            (self.looked_at, self.requests, self.work) = (self.now, 0, 0);
        }
        if self.is_healed && self.others_have_all() {
            self.everybody_reads();
        }
        if self.is_healed && self.now > self.start + self.plan.heal + Duration::from_secs(90) {
            let behind: Vec<String> = self.behind();
            self.violate("it goes on when faults are over", || format!("{behind:?}"));
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

    pub(super) fn violate(&mut self, invariant: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.note(|| format!("VIOLATION of '{invariant}': {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }
}

/// Who writes transactions to a partition.
fn producer_of(partition: i32) -> (i64, i16) {
    (1_000 + i64::from(partition), 0)
}
