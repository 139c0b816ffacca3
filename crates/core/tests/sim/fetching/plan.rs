//! What a seed means for the fetcher: the cluster, the streams, when users have whims, and the list of faults.
//!
//! A fault knows its moment, its victim and all that it needs, so that leaving one out leaves the others as they were.

use std::fmt;
use std::time::Duration;

use ottla_core::fetcher::{Place, Reset};
use ottla_fake::{Release, Stage};
use ottla_wire::{ApiKey, ErrorCode, Str};

use super::expected::names;
use super::world::World;
use crate::history::History;
use crate::invariants::{FETCHER, Invariant};
use crate::named::Names;
use crate::random::Draw;
use crate::run::{Outcome, Seeded};

/// One run, but for what it draws on its way.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nodes: i32,
    pub(super) partitions: i32,
    /// What the nodes are, and so in which version they are asked: Fetch by name up to 12, by id from 13 on; no hints before 16.
    pub(super) release: Release,
    /// How long an answer is waited for.
    pub(super) patience: Duration,
    /// The way of a packet, in microseconds.
    pub(super) latency: (u64, u64),
    /// How long followers take to fetch, in microseconds.
    pub(super) replication: (u64, u64),
    pub(super) max_wait: Duration,
    pub(super) rack: Option<Str>,
    pub(super) sessions: usize,
    pub(super) budgets: Vec<usize>,
    pub(super) pool: Option<usize>,
    pub(super) partition_max_bytes: i32,
    pub(super) reset: Reset,
    /// Some of what is written is of transactions, which end one way or the other.
    pub(super) has_transactions: bool,
    /// Of each partition: hardly anything is written to it, so that leaders come and go without a record.
    pub(super) is_quiet: Vec<bool>,
    pub(super) read_committed: bool,
    /// Records have so many keys, and the log is compacted; with 0 all have the same, and it is not.
    pub(super) keys: u64,
    /// Records have times of their own, by which some streams begin.
    pub(super) has_times: bool,
    /// Those are the broker's (`message.timestamp.type`).
    pub(super) has_append_time: bool,
    /// The topic is set to zstd.
    pub(super) has_zstd: bool,
    /// When users do something else than read.
    pub(super) whims: Vec<Duration>,
    /// Partitions that are paused at some time, until everybody else has read everything.
    pub(super) pauses: Vec<(i32, Duration)>,
    /// Those are paused when they hold something, so that it stays where there is room for little.
    pub(super) pauses_full: bool,
    /// The last partition is of the second stream, the others are of the first, of which nobody reads at first. When it is
    /// read from the start of its log, the second one is read no more, and later the first is not either.
    pub(super) shared: Option<[Duration; 2]>,
    pub(super) faults: Vec<Fault>,
    /// From when on nothing is wrong any more, and nobody seeks.
    pub(super) heal: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) at: Duration,
    pub(super) until: Duration,
    pub(super) kind: FaultKind,
}

/// What goes wrong. Rules of the fake strike `times` requests at most.
#[derive(Debug, Clone)]
pub(super) enum FaultKind {
    MoveLeader {
        partition: i32,
        node: i32,
    },
    /// A replica falls behind and leads later: what it lacks is gone.
    UncleanElection {
        partition: i32,
        node: i32,
    },
    NoLeader {
        partition: i32,
    },
    /// Metadata tells who led when it began.
    OldMetadata,
    Kill {
        node: i32,
    },
    Pause {
        node: i32,
    },
    CutAll,
    LoseSessions {
        node: i32,
    },
    /// So much of a thousand of what is there goes.
    Retention {
        partition: i32,
        part: u64,
    },
    LoseRack {
        node: i32,
    },
    /// What a broker says of a partition, or of each, and that passes.
    Error {
        api: ApiKey,
        code: ErrorCode,
        partition: Option<i32>,
        times: u64,
    },
    /// What a broker says of a Fetch as a whole.
    WholeError {
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
    Throttle {
        time: Duration,
        times: u64,
    },
    /// A leader does not know where an epoch ended.
    ForgetEpochs {
        times: u64,
    },
    /// The first batch of an answer is no batch any more, or has another checksum.
    CorruptRecords {
        is_header: bool,
        times: u64,
    },
    /// Records go that later ones replace.
    Compact {
        partition: i32,
    },
    /// The topic is deleted when it begins, and created again, with another id, when it ends.
    Recreate,
    /// What a Fetch brings of a partition is there so many times over: more than was asked for.
    SendAgain {
        copies: usize,
        times: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}: {:?}", self.at, self.until, self.kind)
    }
}

/// One for each version of Fetch that differs in what matters here; others are drawn later.
const RELEASES: [Release; 5] = [Release::V2_3, Release::V2_7, Release::V3_1, Release::V3_7, Release::V4_0];

/// What a broker may say of one partition that passes.
const CODES: [ErrorCode; 6] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::FENCED_LEADER_EPOCH,
    ErrorCode::UNKNOWN_LEADER_EPOCH,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::UNKNOWN_TOPIC_ID,
];

/// What it may say of all of a request.
const WHOLE_CODES: [ErrorCode; 4] = [
    ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
    ErrorCode::INVALID_FETCH_SESSION_EPOCH,
    ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    ErrorCode::UNKNOWN_SERVER_ERROR,
];

impl Seeded for Plan {
    const OF: &'static str = "the fetcher";
    const INVARIANTS: &[Invariant] = FETCHER;

    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, 20);
        let streams = draw.between(1, 3);
        let mut plan = Self {
            seed,
            nodes: draw.between(1, 3) as i32,
            partitions: draw.between(1, 4) as i32,
            release: draw.pick(&RELEASES),
            patience: draw.millis(1_500, 4_000),
            latency: draw.pick(&[(50, 400), (500, 5_000), (2_000, 40_000)]),
            replication: draw.pick(&[(0, 2_000), (1_000, 60_000)]),
            max_wait: draw.pick(&[Duration::from_millis(100), Duration::from_millis(500)]),
            rack: draw.pick(&[None, Some("rack-1"), Some("rack-2")]).map(Str::from),
            sessions: draw.pick(&[0, 1, 1_000, 1_000]),
            budgets: (0..streams).map(|_| draw.pick(&[600, 3_000, 20_000, 1 << 20])).collect(),
            pool: draw.pick(&[None, None, Some(2_000), Some(30_000)]),
            partition_max_bytes: draw.pick(&[1, 500, 4_000]),
            reset: Reset::To(draw.pick(&[Place::Earliest, Place::Earliest, Place::Latest])),
            has_transactions: draw.chance(40),
            is_quiet: Vec::new(),
            read_committed: draw.chance(50),
            keys: 0,
            has_times: false,
            has_append_time: false,
            has_zstd: false,
            whims: Vec::new(),
            pauses: Vec::new(),
            pauses_full: false,
            shared: None,
            faults: Vec::new(),
            heal: draw.millis(2_000, 8_000),
        };
        plan.is_quiet = (0..plan.partitions).map(|_| draw.chance(30)).collect();
        let mut whims = Draw::new(seed, 21);
        let end = plan.heal.as_micros() as u64;
        plan.whims = (0..whims.pick(&[0, 2, 6, 15])).map(|_| whims.micros(0, end)).collect();
        if whims.chance(30) {
            let drawn: Vec<_> =
                (0..plan.partitions).map(|it| (it, whims.chance(40), whims.micros(0, end))).collect();
            plan.pauses = drawn.into_iter().filter(|it| it.1).map(|(it, _, at)| (it, at)).collect();
        }
        let mut faults = Draw::new(seed, 22);
        for _ in 0..faults.pick(&[0, 1, 2, 4, 8, 15]) {
            let fault = fault(&mut faults, &plan);
            plan.faults.push(fault);
        }
        plan.draw_later(&mut Draw::new(seed, 25));
        plan.draw_logs(&mut Draw::new(seed, 26));
        let mut draw = Draw::new(seed, 27);
        if draw.chance(3) {
            plan.share(&mut draw);
        }
        let mut draw = Draw::new(seed, 28);
        if draw.chance(10) && plan.shared.is_none() {
            let (at, until) = (draw.micros(0, end), plan.heal);
            let kind =
                FaultKind::SendAgain { copies: draw.between(2, 30) as usize, times: draw.between(1, 20) };
            plan.faults.push(Fault { at, until, kind });
        }
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

impl Plan {
    /// What came to the plans later, from a stream of its own: most seeds mean what they meant before.
    fn draw_later(&mut self, draw: &mut Draw) {
        // Requests of these kinds are few: a fault at any time meets hardly one of them.
        if draw.chance(30) {
            let api = draw.pick(&[ApiKey::LIST_OFFSETS, ApiKey::OFFSET_FOR_LEADER_EPOCH]);
            let (code, times) = (draw.pick(&CODES), draw.between(1, 3));
            let kind = FaultKind::Error { api, code, partition: None, times };
            self.faults.push(Fault { at: Duration::ZERO, until: self.heal, kind });
        }
        if draw.chance(20) {
            self.reset = Reset::Report;
        }
        // A stream of several brokers with room for little, which is full of what is not read for long.
        if draw.chance(25) && self.nodes > 1 && self.partitions > 2 {
            (self.budgets, self.pauses_full) = (vec![300], true);
            let end = self.heal.as_micros() as u64 / 2;
            self.pauses = (2..self.partitions).map(|it| (it, draw.micros(0, end))).collect();
        }
    }

    /// Nothing goes wrong, and a stream with room for much shares a large answer with one that has room for little, and keeps
    /// what it has of it, so that it has to pay for all of it.
    fn share(&mut self, draw: &mut Draw) {
        // Until there is much to be read.
        self.heal = draw.millis(15_000, 25_000);
        let again = draw.millis(8_000, 12_000);
        (self.nodes, self.partitions, self.is_quiet) = (1, 4, vec![false; 4]);
        (self.budgets, self.pool, self.partition_max_bytes) = (vec![20_000, 3_000], None, 4_000);
        (self.whims, self.faults, self.pauses, self.keys) = (Vec::new(), Vec::new(), Vec::new(), 0);
        self.shared = Some([again, again + draw.millis(100, 1_000)]);
    }

    /// What is special about the topic, and who serves it, from a stream of its own as well.
    fn draw_logs(&mut self, draw: &mut Draw) {
        let end = self.heal.as_micros() as u64;
        if draw.chance(20) {
            self.keys = draw.pick(&[1, 4, 20]);
            for _ in 0..draw.between(1, 6) {
                let partition = draw.below(self.partitions.unsigned_abs().into()) as i32;
                let at = draw.micros(end / 10, end);
                self.faults.push(Fault { at, until: at, kind: FaultKind::Compact { partition } });
            }
        }
        if draw.chance(25) {
            (self.has_times, self.has_append_time) = (true, draw.chance(50));
            if draw.chance(50) {
                let ago = draw.pick(&[0, 50, 500, 2_000, 3_600_000]);
                self.reset = Reset::To(Place::Ago(Duration::from_millis(ago)));
            }
        }
        if draw.chance(10) {
            for _ in 0..draw.between(1, 2) {
                let at = draw.micros(0, end * 9 / 10);
                let until = (at + draw.millis(0, 1_500)).min(self.heal);
                self.faults.push(Fault { at, until, kind: FaultKind::Recreate });
            }
        }
        if draw.chance(15) {
            self.release = draw.pick(&[Release::V2_1, Release::V4_3]);
        }
        self.has_zstd = draw.chance(20);
    }

    /// Whether the topic may become another one.
    pub(super) fn recreates(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Recreate))
    }
}

fn fault(draw: &mut Draw, plan: &Plan) -> Fault {
    let at = draw.micros(0, plan.heal.as_micros() as u64 * 9 / 10);
    let span = if draw.chance(60) { draw.millis(10, 1_500) } else { draw.millis(500, 6_000) };
    let node = draw.between(1, plan.nodes.unsigned_abs().into()) as i32;
    let partition = draw.below(plan.partitions.unsigned_abs().into()) as i32;
    let api = draw.pick(&[
        ApiKey::FETCH,
        ApiKey::FETCH,
        ApiKey::FETCH,
        ApiKey::LIST_OFFSETS,
        ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ]);
    let stage = draw.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
    let (time, times) = (draw.millis(5, 900), draw.between(1, 3));
    let kind = match draw.below(26) {
        0..3 => FaultKind::MoveLeader { partition, node },
        3..7 => FaultKind::UncleanElection { partition, node },
        7 => FaultKind::NoLeader { partition },
        8 => FaultKind::OldMetadata,
        9 => FaultKind::Kill { node },
        10 => FaultKind::Pause { node },
        11 => FaultKind::CutAll,
        12 => FaultKind::LoseSessions { node },
        13 | 14 => FaultKind::Retention { partition, part: draw.between(0, 1_000) },
        15 => FaultKind::LoseRack { node },
        16 | 17 => {
            let partition = draw.chance(60).then_some(partition);
            FaultKind::Error { api, code: draw.pick(&CODES), partition, times }
        }
        18 => FaultKind::WholeError { code: draw.pick(&WHOLE_CODES), times },
        19 => FaultKind::Delay { api, stage, time, times },
        20 => FaultKind::Silence { api, stage },
        21 => FaultKind::Disconnect { api, stage, times },
        22 => FaultKind::Throttle { time, times },
        23 | 24 => FaultKind::ForgetEpochs { times },
        _ => FaultKind::CorruptRecords { is_header: draw.chance(50), times },
    };
    Fault { at, until: (at + span).min(plan.heal), kind }
}
