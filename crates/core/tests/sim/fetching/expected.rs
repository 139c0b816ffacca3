//! What has to come about in many runs of the fetcher, by the names in their counts. What comes about and stands nowhere here is a
//! mistake as well.

use ottla_fake::Stage;
use ottla_wire::{ApiKey, ErrorCode};

use super::plan::FaultKind;
use crate::named::{Names, Row, named};

named! {
    /// A kind of fault: where it may do several things, which of them it does.
    fn fault_name(FaultKind) in FAULTS {
        FaultKind::Compact { .. } => "Compact",
        FaultKind::CorruptRecords { is_header: true, .. } => "CorruptRecords: header",
        FaultKind::CorruptRecords { is_header: false, .. } => "CorruptRecords: record",
        FaultKind::CutAll => "CutAll",
        FaultKind::Delay { stage: Stage::AfterApplying, .. } => "Delay after applying",
        FaultKind::Delay { stage: Stage::BeforeApplying, .. } => "Delay before applying",
        FaultKind::Disconnect { stage: Stage::AfterApplying, .. } => "Disconnect after applying",
        FaultKind::Disconnect { stage: Stage::BeforeApplying, .. } => "Disconnect before applying",
        FaultKind::Error { api: ApiKey::FETCH, .. } => "Error: Fetch",
        FaultKind::Error { api: ApiKey::LIST_OFFSETS, .. } => "Error: ListOffsets",
        FaultKind::Error { api: ApiKey::OFFSET_FOR_LEADER_EPOCH, .. } => "Error: OffsetForLeaderEpoch",
        FaultKind::Error { .. } => rare "Error: of another request",
        FaultKind::ForgetEpochs { .. } => "ForgetEpochs",
        FaultKind::Kill { .. } => "Kill",
        FaultKind::LoseRack { .. } => "LoseRack",
        FaultKind::LoseSessions { .. } => "LoseSessions",
        FaultKind::MoveLeader { .. } => "MoveLeader",
        FaultKind::NoLeader { .. } => "NoLeader",
        FaultKind::OldMetadata => "OldMetadata",
        FaultKind::Pause { .. } => "Pause",
        FaultKind::Recreate => "Recreate",
        FaultKind::Retention { .. } => "Retention",
        FaultKind::SendAgain { .. } => "SendAgain",
        FaultKind::Silence { stage: Stage::AfterApplying, .. } => "Silence after applying",
        FaultKind::Silence { stage: Stage::BeforeApplying, .. } => "Silence before applying",
        FaultKind::Throttle { .. } => "Throttle",
        FaultKind::UncleanElection { .. } => "UncleanElection",
        FaultKind::WholeError { code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND, .. } => "WholeError: unknown session",
        FaultKind::WholeError { code: ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, .. } => "WholeError: ids in the session",
        FaultKind::WholeError { code: ErrorCode::INVALID_FETCH_SESSION_EPOCH, .. } => "WholeError: epoch of the session",
        FaultKind::WholeError { .. } => "WholeError: of no session",
    }
}

/// Of the fetcher, and what users meet.
const FETCHER: &[Row] = &[
    ("a batch without records", true),
    ("a broker named another leader", true),
    ("a control batch", true),
    ("a damaged batch", true),
    ("a hole at the end of a load", true),
    ("a hole before a record", true),
    ("a load without records", true),
    ("a load from before a seek", true),
    ("a partition was added", true),
    ("a partition was removed", true),
    ("a request was lost", true),
    ("a request was not sent", true),
    ("a seek while a load was under way", true),
    ("a start by age is at the end", true),
    ("a start by age is at a record", true),
    ("a start by time is at a record", true),
    ("a start by time is at the end", true),
    ("a start that is not in the log", true),
    ("a stream waits for room", true),
    ("a stream was opened again", true),
    ("an aborted transaction", true),
    ("fetched from a follower", true),
    ("fetched from a topic that is set to zstd, before 4.0", true),
    ("fetched in version 10", true),
    ("fetched in version 11", true),
    ("fetched in version 12", true),
    ("fetched in version 13", true),
    ("fetched in version 16", true),
    ("fetched in version 17", true),
    ("fetched in version 18", true),
    ("gone back", true),
    ("gone back to the rest of a load", true),
    ("nobody reads", true),
    ("nobody reads a stream", true),
    ("paused", true),
    ("paused for long", true),
    ("reset by age to a record", true),
    ("reset by age to the end", true),
    ("reset by policy", true),
    ("resumed", true),
    ("resumed before it was asked back", false),
    ("the time of a record is the broker's", true),
    ("the time of a record is the writer's", true),
    ("told that an offset is not in the log", true),
    ("told that the topic was created again", true),
    ("truncated", true),
];

/// Of partitions.
const CURSORS: &[Row] = &[
    ("a fetch is refused with FENCED_LEADER_EPOCH (74)", true),
    ("a fetch is refused with KAFKA_STORAGE_ERROR (56)", true),
    ("a fetch is refused with NOT_LEADER_OR_FOLLOWER (6)", true),
    ("a fetch is refused with OFFSET_OUT_OF_RANGE (1)", true),
    ("a fetch is refused with UNKNOWN_LEADER_EPOCH (75)", true),
    ("a fetch is refused with UNKNOWN_TOPIC_ID (100)", true),
    ("a fetch is refused with UNKNOWN_TOPIC_OR_PARTITION (3)", true),
    ("a look-up finds an offset", true),
    ("a look-up finds nothing", true),
    ("a look-up is refused with FENCED_LEADER_EPOCH (74)", true),
    ("a look-up is refused with KAFKA_STORAGE_ERROR (56)", true),
    ("a look-up is refused with LEADER_NOT_AVAILABLE (5)", false),
    ("a look-up is refused with NOT_LEADER_OR_FOLLOWER (6)", true),
    ("a look-up is refused with OFFSET_NOT_AVAILABLE (78)", false),
    ("a look-up is refused with UNKNOWN_LEADER_EPOCH (75)", true),
    ("a look-up is refused with UNKNOWN_TOPIC_ID (100)", true),
    ("a look-up is refused with UNKNOWN_TOPIC_OR_PARTITION (3)", true),
    ("an epoch has its end", true),
    ("an epoch is refused with FENCED_LEADER_EPOCH (74)", true),
    ("an epoch is refused with KAFKA_STORAGE_ERROR (56)", true),
    ("an epoch is refused with NOT_LEADER_OR_FOLLOWER (6)", true),
    ("an epoch is refused with UNKNOWN_LEADER_EPOCH (75)", true),
    ("an epoch is refused with UNKNOWN_TOPIC_ID (100)", true),
    ("an epoch is refused with UNKNOWN_TOPIC_OR_PARTITION (3)", true),
    ("an epoch's end is not known", true),
    ("another leader's log is compared", true),
    ("held back, as it holds enough", true),
    ("no records come", true),
    ("records come", true),
    ("the end is looked up", true),
    ("the start is looked up", true),
    ("time is looked up", true),
];

/// What comes next for partitions, as the fetcher names it. An offset is not looked up: it is fetched from.
const STATES: &[Row] = &[
    ("compares another leader's log", true),
    ("failed", true),
    ("fetches from a follower", true),
    ("fetches from the leader", true),
    ("looks a time up", true),
    ("looks an age up", true),
    ("looks an offset up", false),
    ("looks the end up", true),
    ("looks the start up", true),
    ("looks up where to go on", true),
    ("paused", true),
];

/// Of metadata.
const METADATA: &[Row] = &[("of another broker", true), ("of any broker", true)];

/// Of sessions.
const SESSIONS: &[Row] = &[
    ("a partition is added or has moved on", true),
    ("a partition is forgotten", true),
    ("closed and opened again", true),
    ("goes on without a change", true),
    ("opened", true),
    ("refused with FETCH_SESSION_ID_NOT_FOUND (70)", true),
    ("refused with FETCH_SESSION_TOPIC_ID_ERROR (106)", true),
    ("refused with INVALID_FETCH_SESSION_EPOCH (71)", true),
    ("refused with UNKNOWN_SERVER_ERROR (-1)", true),
    ("the broker gives none", true),
    ("the broker has one", true),
];

/// All names of the fetcher.
pub(super) fn names() -> Names {
    let all = [
        ("fetcher: fault struck", FAULTS),
        ("fetcher", FETCHER),
        ("fetcher: cursor", CURSORS),
        ("fetcher: state", STATES),
        ("fetcher: metadata is asked for", METADATA),
        ("fetcher: session", SESSIONS),
    ];
    all.into_iter().fold(Names::default(), |names, (group, rows)| names.with(group, rows))
}
