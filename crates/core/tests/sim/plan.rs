//! What a seed means: the cluster, the client's settings, who writes and reads, and the list of faults.
//!
//! All of it is drawn before the run begins. A fault knows its moment and its victim, so that leaving one out leaves
//! the others as they were.

use std::fmt;
use std::time::Duration;

use ottla_core::partition_queue::Acks;
use ottla_fake::{Release, Stage};
use ottla_wire::compression::Compression;
use ottla_wire::{ApiKey, ErrorCode};

use crate::errands::{self, ErrandPlan};
use crate::expected::names;
use crate::history::History;
use crate::invariants::{Invariant, MACHINES};
use crate::meetings;
use crate::named::Names;
use crate::random::Draw;
use crate::run::{Outcome, Seeded};
use crate::world::World;

/// One run, but for what it draws on its way.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: i32,
    pub(crate) release: Release,
    pub(crate) min_insync: i32,
    /// Until the cluster notices that a node is gone.
    pub(crate) session_timeout: Duration,
    /// How long followers take to fetch; at once when there is none.
    pub(crate) replication_delay: Option<(Duration, Duration)>,
    /// Topics elect whoever is there when nobody in sync is.
    pub(crate) elects_unclean: bool,
    /// Brokers know ApiVersions up to 2 only, and cut the connection (true) or answer in version 0.
    pub(crate) old_api_versions: Option<bool>,
    /// Brokers answer acks = 0 although nobody asked for it.
    pub(crate) answers_without_acks: bool,
    /// Topics refuse larger batches, which are split then.
    pub(crate) max_message_bytes: Option<u64>,
    /// Partitions of each topic; every partition is on all nodes.
    pub(crate) topics: Vec<i32>,
    pub(crate) client: ClientPlan,
    pub(crate) writers: Vec<WriterPlan>,
    pub(crate) readers: Vec<ReaderPlan>,
    pub(crate) errands: Vec<ErrandPlan>,
    pub(crate) faults: Vec<Fault>,
    /// The producer is closed then, whatever is wrong at that moment.
    pub(crate) closes: Option<Duration>,
    /// From when on nothing is wrong any more.
    pub(crate) heal: Duration,
    /// The usual way of a packet, in microseconds.
    pub(crate) latency: (u64, u64),
}

#[derive(Debug, Clone)]
pub(crate) struct ClientPlan {
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) metadata_age: Duration,
    pub(crate) rebootstrap_after: Duration,
    pub(crate) max_batch: usize,
    pub(crate) max_request: usize,
    /// What unresolved records of one partition may take.
    pub(crate) budget: usize,
    /// What all unresolved records may take.
    pub(crate) buffer_memory: usize,
    pub(crate) fetch_lanes: u64,
    pub(crate) admin_lanes: u64,
    /// How many of the nodes are bootstrap addresses.
    pub(crate) bootstrap: i32,
}

#[derive(Debug, Clone)]
pub(crate) struct WriterPlan {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    /// Waits for its records before it appends more.
    pub(crate) is_closed_loop: bool,
    /// Between two turns, in microseconds.
    pub(crate) pause: (u64, u64),
    pub(crate) group: u64,
    pub(crate) record_bytes: (u64, u64),
    pub(crate) acks: Acks,
    pub(crate) compression: Compression,
    pub(crate) request_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) linger: Option<Duration>,
    pub(crate) turns: u64,
    /// Appends what was reported as not written again.
    pub(crate) retries: bool,
    /// After so many turns it waits for its records, so that nothing lingers; 0 for never.
    pub(crate) hurries: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct ReaderPlan {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    pub(crate) max_wait: Duration,
    pub(crate) max_bytes: i32,
    pub(crate) timeout: Duration,
    /// Between two fetches, in microseconds.
    pub(crate) pause: (u64, u64),
    /// So many calls of a hundred are dropped while they are under way.
    pub(crate) drops: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) until: Duration,
    pub(crate) kind: FaultKind,
}

/// What goes wrong. Rules of the fake strike `times` requests at most.
#[derive(Debug, Clone)]
pub(crate) enum FaultKind {
    /// An error code, and nothing is applied.
    Error {
        api: ApiKey,
        code: ErrorCode,
        times: u64,
    },
    /// What the controller is asked to do is done and answered with this code nevertheless.
    Denied {
        api: ApiKey,
        code: ErrorCode,
        times: u64,
    },
    /// A produce is applied and answered with this code nevertheless.
    LateError {
        code: ErrorCode,
        times: u64,
    },
    Delay {
        api: ApiKey,
        stage: Stage,
        time: Duration,
        times: u64,
    },
    Silence {
        api: ApiKey,
        stage: Stage,
    },
    Disconnect {
        api: ApiKey,
        stage: Stage,
        times: u64,
    },
    /// Requests to write to one partition, from the `first` on.
    AtPartition {
        topic: usize,
        partition: i32,
        first: u64,
        times: u64,
        strike: Strike,
    },
    /// One byte of a frame's size or correlation id is inverted.
    CorruptFrame {
        api: ApiKey,
        place: usize,
    },
    /// One byte of fetched records is inverted.
    CorruptRecords {
        times: u64,
    },
    Throttle {
        api: ApiKey,
        time: Duration,
        times: u64,
    },
    /// An answer that lacks a partition, has one twice, or one that nobody asked for.
    Misanswer {
        row: Misrow,
        times: u64,
    },
    /// A metadata answer that leaves something out.
    MetadataGap {
        gap: Gap,
        times: u64,
    },
    /// A metadata answer that gives the topics another id.
    WrongTopicId {
        times: u64,
    },
    /// A node answers metadata as things were.
    MetadataFreeze {
        node: i32,
    },
    Rebootstrap {
        times: u64,
    },
    /// A node does not know ApiVersions above that, and cuts the connection or answers in version 0.
    OldApiVersions {
        cuts: bool,
    },
    Kill {
        node: i32,
    },
    Pause {
        node: i32,
    },
    /// All connections to a node break.
    Cut {
        node: i32,
    },
    /// Nothing passes to and from a node; what was under way arrives afterwards.
    Hole {
        node: i32,
    },
    Slow {
        node: i32,
        latency: Duration,
    },
    /// The client does nothing for a while.
    Stall,
    MoveAddress {
        node: i32,
    },
    /// Another node joins, leads a partition for a while, and is taken out again.
    AddNode {
        node: i32,
        topic: usize,
        partition: i32,
    },
    MoveLeader {
        topic: usize,
        partition: i32,
        node: i32,
    },
    NoLeader {
        topic: usize,
        partition: i32,
    },
    HoldWatermark {
        topic: usize,
        partition: i32,
    },
    /// A replica falls behind, leaves the ISR, and is elected.
    UncleanElection {
        topic: usize,
        partition: i32,
        node: i32,
    },
    ShrinkIsr {
        topic: usize,
        partition: i32,
        node: i32,
    },
    Recreate {
        topic: usize,
    },
    Retention {
        topic: usize,
        partition: i32,
    },
    ForgetProducers {
        topic: usize,
        partition: i32,
    },
    /// Retention takes everything, and with it what the broker knew of those who wrote it.
    Expiry {
        topic: usize,
        partition: i32,
    },
}

/// What a request meets.
#[derive(Debug, Clone)]
pub(crate) enum Strike {
    Error(ErrorCode),
    Delay(Stage, Duration),
    Silence(Stage),
    Disconnect(Stage),
}

/// What an answer to a Produce has instead of a row for each partition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Misrow {
    Missing,
    Twice,
    OfNobody,
}

/// What a metadata answer leaves out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gap {
    Topics,
    Leaders,
    Brokers,
    Partitions,
    /// And partitions, as a broker answers that has just created the topic.
    Ids,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}: {:?}", self.at, self.until, self.kind)
    }
}

impl Seeded for Plan {
    const OF: &'static str = "the machines";
    const INVARIANTS: &[Invariant] = MACHINES;

    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, 0);
        let nodes = draw.between(1, 4) as i32;
        let topics: Vec<i32> = (0..draw.between(1, 2)).map(|_| draw.between(1, 3) as i32).collect();
        let heal = draw.millis(2_000, 8_000);
        let request_timeout = draw.millis(3_000, 8_000);
        let mut client = ClientPlan {
            request_timeout,
            connect_timeout: draw.millis(500, 4_000),
            idle_timeout: draw.pick(&[Duration::from_secs(1), Duration::from_secs(540)]),
            metadata_age: draw.pick(&[Duration::from_secs(2), Duration::from_secs(300)]),
            rebootstrap_after: draw.pick(&[Duration::from_secs(6), Duration::from_secs(300)]),
            max_batch: draw.between(600, 6_000) as usize,
            max_request: draw.pick(&[4_000, 16_000, 1 << 20]),
            budget: draw.between(6_000, 60_000) as usize,
            buffer_memory: 0,
            fetch_lanes: draw.between(1, 8),
            admin_lanes: 0,
            bootstrap: 0,
        };
        // Nobody wants this one any more. Without it the plans that seeds are kept for would be others.
        let _unused = draw.number();
        client.bootstrap = draw.between(1, nodes as u64) as i32;
        let writers = (0..draw.between(1, 4)).map(|_| writer(&mut draw, &topics, &client)).collect();
        let readers = (0..draw.between(0, 3)).map(|_| reader(&mut draw, &topics)).collect();
        let mut plan = Self {
            seed,
            nodes,
            release: draw.pick(&[Release::V3_5, Release::V3_9, Release::V4_0, Release::V4_3, Release::V4_3]),
            min_insync: if nodes >= 3 { draw.between(1, 2) as i32 } else { 1 },
            session_timeout: draw.pick(&[0, 300, 2_000, 6_000]).then_millis(),
            replication_delay: draw
                .pick(&[None, Some((0, 5_000)), Some((1_000, 80_000))])
                .map(|(low, high)| (Duration::from_micros(low), Duration::from_micros(high))),
            elects_unclean: draw.chance(25),
            old_api_versions: draw.pick(&[
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                Some(true),
                Some(false),
            ]),
            answers_without_acks: draw.chance(25),
            max_message_bytes: None,
            topics,
            client,
            writers,
            readers,
            errands: Vec::new(),
            faults: Vec::new(),
            closes: None,
            heal,
            latency: draw.pick(&[(50, 400), (200, 3_000), (2_000, 40_000)]),
        };
        let mut more = Draw::new(seed, 7);
        // A batch of one record is smaller.
        plan.max_message_bytes = more.chance(25).then(|| more.between(700, 2_500));
        for writer in &mut plan.writers {
            writer.hurries = more.pick(&[0, 1, 3]);
        }
        let mut faults = Draw::new(seed, 1);
        let count = faults.pick(&[0, 1, 2, 3, 4, 5, 6, 8, 12]);
        for _ in 0..count {
            let fault = fault(&mut faults, &plan);
            plan.faults.push(fault);
        }
        plan.faults.extend(rare_faults(&mut more, &plan));
        meetings::add(&mut plan);
        plan.faults.extend(new_node(&plan));
        plan.faults.extend(rarer_faults(&plan));
        let mut later = Draw::new(seed, 10);
        let budget = plan.client.budget as u64;
        plan.client.buffer_memory = later.between(budget, 4 * budget) as usize;
        plan.closes = later.chance(10).then(|| later.micros(300_000, plan.heal.as_micros() as u64));
        if later.chance(4) {
            let at = later.micros(500_000, plan.heal.as_micros() as u64 * 9 / 10);
            let until = (at + later.millis(500, 4_000)).min(plan.heal);
            plan.faults.push(Fault { at, until, kind: FaultKind::MetadataGap { gap: Gap::Ids, times: 2 } });
        }
        errands::add(&mut plan);
        plan
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn faults(&self) -> Vec<String> {
        self.faults.iter().map(ToString::to_string).collect()
    }

    fn without(&self, fault: usize) -> Self {
        let mut plan = self.clone();
        plan.faults.remove(fault);
        plan
    }

    fn run(&self, history: &History) -> Outcome {
        World::new(self, history).run()
    }

    fn names() -> Names {
        names()
    }
}

/// In some runs one more node comes and goes.
fn new_node(plan: &Plan) -> Option<Fault> {
    let mut draw = Draw::new(plan.seed, 9);
    if !draw.chance(6) {
        return None;
    }
    let at = draw.micros(0, plan.heal.as_micros() as u64 * 3 / 4);
    let (topic, partition) = place(&mut draw, &plan.topics);
    let kind = FaultKind::AddNode { node: plan.nodes + 1, topic, partition };
    Some(Fault { at, until: (at + draw.millis(200, 4_000)).min(plan.heal), kind })
}

/// What would hardly strike, or strike together, if it were drawn like the others.
fn rare_faults(draw: &mut Draw, plan: &Plan) -> Vec<Fault> {
    let at = draw.micros(0, plan.heal.as_micros() as u64 * 9 / 10);
    let (topic, partition) = place(draw, &plan.topics);
    let soon = at + draw.millis(0, 20);
    let until = |at: Duration| (at + Duration::from_secs(2)).min(plan.heal);
    let error = |at, code, times| {
        let kind = FaultKind::Error { api: ApiKey::PRODUCE, code, times };
        Fault { at, until: until(at), kind }
    };
    let wrong_sequence = draw.pick(&[
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
    ]);
    match draw.below(25) {
        0 => vec![Fault { at, until: at, kind: FaultKind::Expiry { topic, partition } }],
        // Nobody can write from the start.
        1 => {
            let code = code(draw, ApiKey::INIT_PRODUCER_ID);
            let kind = FaultKind::Error { api: ApiKey::INIT_PRODUCER_ID, code, times: 100 };
            vec![Fault { at: Duration::ZERO, until: plan.heal, kind }]
        }
        // What may be in the log is refused.
        2 => {
            let refusal = draw.pick(&[wrong_sequence, ErrorCode::MESSAGE_TOO_LARGE]);
            let (api, stage) = (ApiKey::PRODUCE, Stage::AfterApplying);
            let kind = FaultKind::Disconnect { api, stage, times: 3 };
            vec![Fault { at, until: until(at), kind }, error(soon, refusal, 3)]
        }
        // A new epoch, while others wait for another attempt.
        3 => {
            vec![error(at, wrong_sequence, 1), error(soon, ErrorCode::NOT_ENOUGH_REPLICAS, 3)]
        }
        _ => Vec::new(),
    }
}

/// What hardly any run would meet: answers that only few requests get.
fn rarer_faults(plan: &Plan) -> Option<Fault> {
    let mut draw = Draw::new(plan.seed, 11);
    let (api, code) = match draw.below(40) {
        0 => (ApiKey::PRODUCE, ErrorCode::CORRUPT_MESSAGE),
        // Nobody can write for a while, and is told so at once.
        1 => (ApiKey::INIT_PRODUCER_ID, ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        _ => return None,
    };
    let kind = FaultKind::Error { api, code, times: draw.between(1, 3) };
    Some(Fault { at: Duration::ZERO, until: plan.heal, kind })
}

pub(crate) trait ThenMillis {
    fn then_millis(self) -> Duration;
}

impl ThenMillis for u64 {
    fn then_millis(self) -> Duration {
        Duration::from_millis(self)
    }
}

fn place(draw: &mut Draw, topics: &[i32]) -> (usize, i32) {
    let topic = draw.below(topics.len() as u64) as usize;
    (topic, draw.below(topics[topic] as u64) as i32)
}

fn writer(draw: &mut Draw, topics: &[i32], client: &ClientPlan) -> WriterPlan {
    let (topic, partition) = place(draw, topics);
    let is_closed_loop = draw.chance(50);
    WriterPlan {
        topic,
        partition,
        is_closed_loop,
        pause: draw.pick(&[(1_000, 40_000), (10_000, 150_000), (100_000, 900_000)]),
        group: draw.between(1, 6),
        record_bytes: (10, draw.pick(&[40, 200, 500])),
        acks: draw.pick(&[Acks::All, Acks::All, Acks::All, Acks::All, Acks::All, Acks::Leader, Acks::None]),
        compression: draw.pick(&[
            Compression::None,
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Snappy,
        ]),
        request_timeout: draw.pick(&[
            client.request_timeout,
            Duration::from_secs(2),
            Duration::from_secs(12),
        ]),
        delivery_timeout: draw.millis(1_500, 20_000),
        linger: draw.pick(&[None, None, Some(0), Some(5), Some(60)]).map(Duration::from_millis),
        turns: draw.pick(&[20, 100, 1_000]),
        retries: draw.chance(50),
        hurries: 0,
    }
}

fn reader(draw: &mut Draw, topics: &[i32]) -> ReaderPlan {
    let (topic, partition) = place(draw, topics);
    ReaderPlan {
        topic,
        partition,
        max_wait: draw.pick(&[Duration::ZERO, Duration::from_millis(100), Duration::from_millis(500)]),
        max_bytes: draw.pick(&[1, 2_000, 1 << 20]),
        timeout: draw.millis(2_000, 10_000),
        pause: draw.pick(&[(1_000, 20_000), (20_000, 200_000), (200_000, 900_000)]),
        drops: draw.pick(&[0, 0, 20]),
    }
}

const APIS: [ApiKey; 7] = [
    ApiKey::PRODUCE,
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::METADATA,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::API_VERSIONS,
    ApiKey::LIST_OFFSETS,
];

/// What a broker answers before it has applied anything.
const PRODUCE_CODES: [ErrorCode; 10] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::CORRUPT_MESSAGE,
    ErrorCode::MESSAGE_TOO_LARGE,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode::UNKNOWN_PRODUCER_ID,
    ErrorCode::INVALID_PRODUCER_EPOCH,
];

/// What a broker answers when it has applied a produce and something went wrong then.
const LATE_CODES: [ErrorCode; 3] = [
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
];

fn code(draw: &mut Draw, api: ApiKey) -> ErrorCode {
    match api {
        ApiKey::PRODUCE => draw.pick(&PRODUCE_CODES),
        ApiKey::INIT_PRODUCER_ID => {
            draw.pick(&[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::REQUEST_TIMED_OUT])
        }
        ApiKey::METADATA => {
            draw.pick(&[ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::LEADER_NOT_AVAILABLE])
        }
        _ => draw.pick(&[
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            ErrorCode::KAFKA_STORAGE_ERROR,
        ]),
    }
}

fn fault(draw: &mut Draw, plan: &Plan) -> Fault {
    let at = draw.micros(0, plan.heal.as_micros() as u64 * 9 / 10);
    let span = match draw.chance(50) {
        true => draw.millis(10, 1_000),
        false => draw.millis(500, 8_000),
    };
    let (topic, partition) = place(draw, &plan.topics);
    let node = draw.between(1, plan.nodes as u64) as i32;
    let api = draw.pick(&APIS);
    let stage = draw.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
    let times = draw.pick(&[1, 1, 1, 2, 5]);
    let how = draw.below(4) as usize;
    let time = match draw.chance(70) {
        true => draw.millis(5, 800),
        false => draw.millis(800, 7_000),
    };
    let kind = match draw.below(33) {
        0 | 1 => {
            let api =
                draw.pick(&[ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::METADATA, ApiKey::INIT_PRODUCER_ID]);
            FaultKind::Error { api, code: code(draw, api), times }
        }
        2 => FaultKind::LateError { code: draw.pick(&LATE_CODES), times },
        3 => FaultKind::Delay { api, stage, time, times },
        4 => FaultKind::Silence { api, stage },
        5 | 6 => FaultKind::Disconnect { api, stage, times },
        // The first byte of the size, or the correlation id. A size that is wrong by less is noticed with what comes
        // next, which may be long after the fault.
        7 => FaultKind::CorruptFrame { api, place: draw.pick(&[0, 4, 5, 6, 7]) },
        8 => FaultKind::CorruptRecords { times },
        9 => FaultKind::Throttle { api, time, times },
        10 => {
            FaultKind::Misanswer { row: [Misrow::Missing, Misrow::Twice, Misrow::OfNobody][how % 3], times }
        }
        11 => {
            let gap = [Gap::Topics, Gap::Leaders, Gap::Brokers, Gap::Partitions][how];
            FaultKind::MetadataGap { gap, times: times + 1 }
        }
        12 => FaultKind::WrongTopicId { times: 1 },
        13 => FaultKind::MetadataFreeze { node },
        14 => FaultKind::Rebootstrap { times },
        15 => FaultKind::OldApiVersions { cuts: draw.chance(50) },
        16 | 17 => FaultKind::Kill { node },
        18 | 19 => FaultKind::Pause { node },
        20 => FaultKind::Cut { node },
        21 => FaultKind::Hole { node },
        22 => FaultKind::Slow { node, latency: time },
        23 => FaultKind::Stall,
        24 => FaultKind::MoveAddress { node },
        25 | 26 => FaultKind::MoveLeader { topic, partition, node },
        27 => FaultKind::NoLeader { topic, partition },
        28 => FaultKind::HoldWatermark { topic, partition },
        29 => FaultKind::UncleanElection { topic, partition, node },
        30 => FaultKind::ShrinkIsr { topic, partition, node },
        31 => match draw.below(3) {
            0 => FaultKind::Recreate { topic },
            1 => FaultKind::Retention { topic, partition },
            _ => FaultKind::ForgetProducers { topic, partition },
        },
        _ => FaultKind::Cut { node },
    };
    Fault { at, until: (at + span).min(plan.heal), kind }
}
