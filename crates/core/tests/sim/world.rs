//! One run: virtual time, the events in it, and the order of everything.
//!
//! ```text
//! queue of events (packets, turns, faults) --+
//! timers of the cluster and the machines ----+--> step: time moves to the next of them
//!                                                 settle: machines and cluster do what they can, until nothing moves
//! ```
//!
//! It owns the clock and the queue. The wires are in `net`, the machines' driver in `client`, `calls` and `produce`,
//! the users in `apps` and `admins`, what goes wrong in `chaos`, what must hold in `truth`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ottla_core::producer::{PartitionId, Place};
use ottla_fake::{FakeCluster, Release};
use ottla_wire::records::Decoder;

use crate::admins::Admin;
use crate::apps::{Reader, Writer};
use crate::calls::Calls;
use crate::chaos::{Chaos, age};
use crate::client::Client;
use crate::history::{Coverage, History};
use crate::invariants::{Invariant, NO_HOT_LOOP, NOTHING_WAITS};
use crate::net::Net;
use crate::plan::Plan;
use crate::produce::{Produce, Sealed};
use crate::random::Draw;
use crate::run::Outcome;
use crate::truth::{Truth, Violation};

/// What the wall clock shows when a run begins.
const WALL_MS: i64 = 1_700_000_000_000;

/// So much happens at one moment only if something turns in circles.
const MOST_STEPS_AT_ONCE: u64 = 20_000;

/// Everything there is in a run.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) cluster: FakeCluster,
    pub(crate) net: Net,
    pub(crate) client: Client,
    pub(crate) calls: Calls,
    pub(crate) produce: Produce,
    pub(crate) writers: Vec<Writer>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) admins: Vec<Admin>,
    pub(crate) chaos: Chaos,
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    pub(crate) decoder: Decoder,
    pub(crate) phase: Phase,
    queue: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    steps_at_once: u64,
    /// The client does nothing before.
    pub(crate) stalled_until: Option<Instant>,
    /// How often something had to wait for it.
    pub(crate) held_up: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// With faults.
    Rough,
    /// Nothing is wrong any more; every partition gets a last record, which must be acknowledged.
    Healed,
    /// Writers are done; readers read to the end.
    Draining,
    /// Everybody has let go.
    Closing,
}

/// What happens at a moment that was fixed before.
#[derive(Debug)]
pub(crate) enum Event {
    /// The client begins to dial.
    Dial {
        channel: u64,
    },
    /// The opening packet reaches the node.
    Knock {
        link: u64,
    },
    Connected {
        link: u64,
    },
    Refused {
        link: u64,
    },
    Up {
        link: u64,
        bytes: Vec<u8>,
    },
    UpClose {
        link: u64,
    },
    Down {
        link: u64,
        bytes: bytes::Bytes,
    },
    DownClose {
        link: u64,
    },
    /// What a channel wrote has left the socket's buffer.
    Flushed {
        channel: u64,
    },
    Sealed {
        place: Place,
        batch: Box<Sealed>,
    },
    /// Who was expected to append did not.
    GoWithout,
    WriterTurn {
        writer: usize,
    },
    ReaderTurn {
        reader: usize,
    },
    AdminTurn {
        admin: usize,
    },
    /// A reader loses patience with the call it has under way.
    ReaderDrop {
        reader: usize,
        call: u64,
    },
    FaultBegins {
        fault: usize,
    },
    FaultEnds {
        fault: usize,
    },
    /// The producer is closed.
    Close,
    Heal,
    LastWords,
}

impl Event {
    /// Whether the client has to be awake for it.
    fn is_clients(&self) -> bool {
        matches!(
            self,
            Self::Dial { .. }
                | Self::Connected { .. }
                | Self::Refused { .. }
                | Self::Down { .. }
                | Self::DownClose { .. }
                | Self::Flushed { .. }
                | Self::Sealed { .. }
                | Self::GoWithout
        )
    }
}

impl World {
    pub(crate) fn new(plan: &Plan, history: &History) -> Self {
        let start = Instant::now();
        let mut cluster = FakeCluster::builder()
            .nodes(plan.nodes)
            .release(plan.release)
            .min_insync_replicas(plan.min_insync)
            .session_timeout(plan.session_timeout)
            .auto_create_topics(true)
            .seed(plan.seed);
        if plan.answers_without_acks {
            cluster = cluster.answers_without_acks();
        }
        if let Some((shortest, longest)) = plan.replication_delay {
            cluster = cluster.replication_delay(shortest, longest);
        }
        let mut cluster = cluster.build(start, WALL_MS);
        if let Some(cuts) = plan.old_api_versions {
            age(&mut cluster, cuts);
        }
        let mut truth = Truth::default();
        truth.by_name = plan.release < Release::V4_3;
        for topic in 0..plan.topics.len() {
            let is_created = create_topic(&mut cluster, start, plan, topic);
            assert!(is_created, "the plan asks for topics that can be");
        }
        truth.look(&cluster);
        let mut world = Self {
            start,
            now: start,
            net: Net::new(plan),
            client: Client::new(start, plan),
            calls: Calls::default(),
            produce: Produce::new(start, plan),
            writers: plan.writers.iter().map(Writer::new).collect(),
            readers: plan.readers.iter().map(Reader::new).collect(),
            admins: plan.errands.iter().map(Admin::new).collect(),
            chaos: Chaos::new(plan),
            cluster,
            truth,
            history: history.clone(),
            coverage: Coverage::default(),
            decoder: Decoder::default(),
            phase: Phase::Rough,
            queue: BTreeMap::new(),
            next_event: 0,
            steps_at_once: 0,
            stalled_until: None,
            held_up: 0,
            plan: plan.clone(),
        };
        world.schedule_all();
        world
    }

    fn schedule_all(&mut self) {
        let mut draw = Draw::new(self.plan.seed, 2);
        for writer in 0..self.writers.len() {
            self.at(self.start + draw.millis(0, 500), Event::WriterTurn { writer });
        }
        for reader in 0..self.readers.len() {
            self.at(self.start + draw.millis(0, 2_000), Event::ReaderTurn { reader });
        }
        for (fault, what) in self.plan.faults.clone().iter().enumerate() {
            self.at(self.start + what.at, Event::FaultBegins { fault });
            self.at(self.start + what.until, Event::FaultEnds { fault });
        }
        if let Some(closes) = self.plan.closes {
            self.at(self.start + closes, Event::Close);
        }
        self.at(self.start + self.plan.heal, Event::Heal);
        for admin in 0..self.admins.len() {
            self.at(self.start + self.plan.errands[admin].begin, Event::AdminTurn { admin });
        }
    }

    /// Until it is over or something does not hold.
    pub(crate) fn run(mut self) -> Outcome {
        self.settle();
        while self.truth.violation.is_none() && self.phase != Phase::Closing {
            let Some(next) = self.next_due() else {
                self.violate(NOTHING_WAITS, || "there is nothing left that could happen".to_owned());
                break;
            };
            self.move_to(next);
            self.step();
            self.settle();
            self.check_running();
        }
        if self.truth.violation.is_none() {
            self.check_end();
        }
        self.count_faults();
        let took = self.now - self.start;
        Outcome { violation: self.truth.violation, coverage: self.coverage, took }
    }

    /// One more step after the end; false when nothing is left to happen.
    pub(crate) fn advance(&mut self) -> bool {
        self.settle();
        let Some(next) = self.next_due() else { return false };
        self.move_to(next);
        self.step();
        self.settle();
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.open_channels() == 0
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.history.note(self.now - self.start, line);
    }

    pub(crate) fn violate(&mut self, invariant: Invariant, what: impl FnOnce() -> String) {
        if self.truth.violation.is_none() {
            let what = what();
            self.note(|| format!("VIOLATION of '{invariant}': {what}"));
            self.truth.violation = Some(Violation { invariant, what });
        }
    }

    pub(crate) fn at(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    /// Puts back what could not happen yet, at its place among its equals.
    pub(crate) fn postpone(&mut self, until: Instant, order: u64, event: Event) {
        self.queue.insert((until, order), event);
    }

    fn move_to(&mut self, next: Instant) {
        if next > self.now {
            self.now = next;
            self.steps_at_once = 0;
        }
        self.steps_at_once += 1;
        if self.steps_at_once > MOST_STEPS_AT_ONCE {
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
            let busy = format!(
                "time stands still while everybody is busy; due at once: cluster {}, connections {}, calls {}, producer {}",
                due(self.cluster.poll_timeout()),
                due(self.client.poll_timeout()),
                due(self.calls.poll_timeout(self.now)),
                due(self.produce.poll_timeout())
            );
            self.violate(NO_HOT_LOOP, || busy);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let timers =
            [self.client.poll_timeout(), self.calls.poll_timeout(self.now), self.produce.poll_timeout()];
        let clients = timers.into_iter().flatten().min();
        let clients = clients.map(|due| self.stalled_until.map_or(due, |until| due.max(until)));
        let first = self.queue.keys().next().map(|(at, _)| *at);
        [first, self.cluster.poll_timeout(), clients].into_iter().flatten().min()
    }

    /// The next event, or what time has made due.
    fn step(&mut self) {
        if self.stalled_until.is_some_and(|until| until <= self.now) {
            self.stalled_until = None;
        }
        let first = self.queue.first_key_value().map(|(key, _)| *key);
        if let Some((at, order)) = first.filter(|(at, _)| *at <= self.now) {
            let Some(event) = self.queue.remove(&(at, order)) else { return };
            if let Some(until) = self.stalled_until.filter(|_| event.is_clients()) {
                self.held_up += 1;
                return self.postpone(until, order, event);
            }
            return self.handle(order, event);
        }
        if self.cluster.poll_timeout().is_some_and(|due| due <= self.now) {
            self.cluster.handle_timeout(self.now);
        }
        if self.stalled_until.is_none() {
            self.client_timeouts();
            self.call_timeouts();
            self.produce_timeouts();
        }
    }

    fn handle(&mut self, order: u64, event: Event) {
        match event {
            Event::Dial { channel } => self.dial(channel),
            Event::Knock { .. }
            | Event::Connected { .. }
            | Event::Refused { .. }
            | Event::Up { .. }
            | Event::UpClose { .. }
            | Event::Down { .. }
            | Event::DownClose { .. } => self.deliver(order, event),
            Event::Flushed { channel } => self.flushed(channel),
            Event::Sealed { place, batch } => self.sealed(place, *batch),
            Event::GoWithout => self.produce.go_without(),
            Event::WriterTurn { writer } => self.writer_turn(writer),
            Event::ReaderTurn { reader } => self.reader_turn(reader),
            Event::AdminTurn { admin } => self.admin_turn(admin),
            Event::ReaderDrop { reader, call } => self.reader_drop(reader, call),
            Event::FaultBegins { fault } => self.fault_begins(fault),
            Event::FaultEnds { fault } => self.fault_ends(fault),
            Event::Close => self.close_producer(),
            Event::Heal => self.heal(),
            Event::LastWords => self.last_words(),
        }
    }

    /// Everybody does what can be done at this moment.
    fn settle(&mut self) {
        loop {
            let mut moved = self.carry_outputs();
            if self.stalled_until.is_none() {
                moved |= self.client_step();
                moved |= self.call_step();
                moved |= self.produce_step();
            }
            if !moved {
                break;
            }
            self.steps_at_once += 1;
            if self.steps_at_once > MOST_STEPS_AT_ONCE {
                return self.violate(NO_HOT_LOOP, || "the machines find something to do for ever".to_owned());
            }
            if self.truth.violation.is_some() {
                return;
            }
        }
        self.truth.look(&self.cluster);
        if let Some(violation) = self.truth.violation.take() {
            self.violate(violation.invariant, || violation.what);
        }
    }

    /// The partitions that writers have open, by topic and partition.
    pub(crate) fn written_partitions(&self) -> BTreeSet<(usize, i32)> {
        self.writers.iter().map(|writer| (writer.plan.topic, writer.plan.partition)).collect()
    }

    pub(crate) fn queue_of(&self, topic: usize, partition: i32) -> Option<PartitionId> {
        self.produce.open_at(topic, partition)
    }
}

/// Creates a topic with what the plan says of topics.
pub(crate) fn create_topic(cluster: &mut FakeCluster, now: Instant, plan: &Plan, topic: usize) -> bool {
    let limit = plan.max_message_bytes.map(|bytes| bytes.to_string());
    let limit = limit.as_deref().map(|bytes| ("max.message.bytes", bytes));
    let unclean = plan.elects_unclean.then_some(("unclean.leader.election.enable", "true"));
    let settings: Vec<_> = unclean.into_iter().chain(limit).collect();
    let (partitions, replicas) = (plan.topics[topic], plan.nodes.min(3) as i16);
    cluster.create_topic_with(now, topic_name(topic), partitions, replicas, &settings).is_ok()
}

/// Plans have two at most.
pub(crate) fn topic_name(topic: usize) -> &'static str {
    ["topic-0", "topic-1"][topic]
}
