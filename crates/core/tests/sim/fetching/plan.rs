//! What a seed means for the fetcher: the cluster, the streams, when users have whims, and the list of faults.
//!
//! A fault knows its moment, its victim and all that it needs, so that leaving one out leaves the others as they were.

use std::fmt;
use std::time::Duration;

use ottla_core::fetcher::{Place, Reset};
use ottla_fake::Stage;
use ottla_wire::{ApiKey, ErrorCode, Str};

use super::expected::{KINDS, STATES};
use super::world::World;
use crate::random::Draw;
use crate::run::{Outcome, Seeded};

/// One run, but for what it draws on its way.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nodes: i32,
    pub(super) partitions: i32,
    /// Of Fetch: by name up to 12, by id from 13 on; no hints before 16.
    pub(super) version: i16,
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
    /// When users do something else than read.
    pub(super) whims: Vec<Duration>,
    /// Partitions that are paused at some time, until everybody else has read everything.
    pub(super) pauses: Vec<(i32, Duration)>,
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
}

impl FaultKind {
    /// The kind as it stands in counts: where it may do several things, which of them it does.
    pub(super) fn name(&self) -> String {
        let debug = format!("{self:?}");
        let kind = debug.split([' ', '{', '(']).next().unwrap_or_default();
        match self {
            Self::Error { api, .. } => format!("{kind}: {api}"),
            Self::WholeError { code, .. } => format!("{kind}: {code}"),
            Self::Delay { stage, .. } | Self::Silence { stage, .. } | Self::Disconnect { stage, .. } => {
                let applied = if *stage == Stage::AfterApplying { "after" } else { "before" };
                format!("{kind} {applied} applying")
            }
            Self::CorruptRecords { is_header, .. } => {
                format!("{kind}: {}", if *is_header { "header" } else { "record" })
            }
            _ => kind.to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}: {:?}", self.at, self.until, self.kind)
    }
}

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

    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, 20);
        let streams = draw.between(1, 3);
        let mut plan = Self {
            seed,
            nodes: draw.between(1, 3) as i32,
            partitions: draw.between(1, 4) as i32,
            version: draw.pick(&[11, 12, 13, 16, 17]),
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
            whims: Vec::new(),
            pauses: Vec::new(),
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

    fn run(&self, keeps_history: bool) -> Outcome {
        World::new(self, keeps_history).run()
    }

    fn expected() -> Vec<(&'static str, &'static str)> {
        KINDS.iter().map(|kind| ("fetcher: fault struck", *kind)).chain(STATES.iter().copied()).collect()
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
