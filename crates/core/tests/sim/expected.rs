//! What has to come about in many runs of the machines, by the names in their counts: a simulation that never gets there finds
//! nothing there. What comes about and stands nowhere here is a mistake as well.

use ottla_core::calls::End;
use ottla_core::producer::RefreshReason;
use ottla_fake::Stage;
use ottla_wire::ApiKey;

use crate::named::{Names, Row, named};
use crate::plan::{FaultKind, Gap, Misrow, Strike};

named! {
    /// A kind of fault: where it may do several things, which of them it does.
    fn fault_name(FaultKind) in FAULTS {
        FaultKind::AddNode { .. } => "AddNode",
        FaultKind::AtPartition { strike: Strike::Delay(..), .. } => "AtPartition: delay",
        FaultKind::AtPartition { strike: Strike::Disconnect(_), .. } => "AtPartition: disconnect",
        FaultKind::AtPartition { strike: Strike::Error(_), .. } => "AtPartition: error",
        FaultKind::AtPartition { strike: Strike::Silence(_), .. } => "AtPartition: silence",
        FaultKind::CorruptFrame { .. } => "CorruptFrame",
        FaultKind::CorruptRecords { .. } => "CorruptRecords",
        FaultKind::Cut { .. } => "Cut",
        FaultKind::Delay { stage: Stage::AfterApplying, .. } => "Delay after applying",
        FaultKind::Delay { stage: Stage::BeforeApplying, .. } => "Delay before applying",
        FaultKind::Denied { .. } => "Denied",
        FaultKind::Disconnect { stage: Stage::AfterApplying, .. } => "Disconnect after applying",
        FaultKind::Disconnect { stage: Stage::BeforeApplying, .. } => "Disconnect before applying",
        FaultKind::Error { api: ApiKey::DESCRIBE_GROUPS, .. } => "Error: DescribeGroups",
        FaultKind::Error { api: ApiKey::FETCH, .. } => "Error: Fetch",
        FaultKind::Error { api: ApiKey::FIND_COORDINATOR, .. } => "Error: FindCoordinator",
        FaultKind::Error { api: ApiKey::INIT_PRODUCER_ID, .. } => "Error: InitProducerId",
        FaultKind::Error { api: ApiKey::METADATA, .. } => "Error: Metadata",
        FaultKind::Error { api: ApiKey::PRODUCE, .. } => "Error: Produce",
        FaultKind::Error {
            api: ApiKey::CREATE_TOPICS | ApiKey::DELETE_TOPICS | ApiKey::CREATE_PARTITIONS, ..
        } => "Error: of the controller",
        FaultKind::Error { .. } => rare "Error: of another request",
        FaultKind::Expiry { .. } => "Expiry",
        FaultKind::ForgetProducers { .. } => "ForgetProducers",
        FaultKind::HoldWatermark { .. } => "HoldWatermark",
        FaultKind::Hole { .. } => "Hole",
        FaultKind::Kill { .. } => "Kill",
        FaultKind::LateError { .. } => "LateError",
        FaultKind::MetadataFreeze { .. } => "MetadataFreeze",
        FaultKind::MetadataGap { gap: Gap::Brokers, .. } => "MetadataGap: brokers",
        FaultKind::MetadataGap { gap: Gap::Ids, .. } => "MetadataGap: ids",
        FaultKind::MetadataGap { gap: Gap::Leaders, .. } => "MetadataGap: leaders",
        FaultKind::MetadataGap { gap: Gap::Partitions, .. } => "MetadataGap: partitions",
        FaultKind::MetadataGap { gap: Gap::Topics, .. } => "MetadataGap: topics",
        FaultKind::Misanswer { row: Misrow::Missing, .. } => "Misanswer: a row is missing",
        FaultKind::Misanswer { row: Misrow::OfNobody, .. } => "Misanswer: a row of nobody",
        FaultKind::Misanswer { row: Misrow::Twice, .. } => "Misanswer: a row twice",
        FaultKind::MoveAddress { .. } => "MoveAddress",
        FaultKind::MoveLeader { .. } => "MoveLeader",
        FaultKind::NoLeader { .. } => "NoLeader",
        FaultKind::OldApiVersions { cuts: true } => "OldApiVersions: cuts",
        FaultKind::OldApiVersions { cuts: false } => "OldApiVersions: refuses",
        FaultKind::Pause { .. } => "Pause",
        FaultKind::Rebootstrap { .. } => "Rebootstrap",
        FaultKind::Recreate { .. } => "Recreate",
        FaultKind::Retention { .. } => "Retention",
        FaultKind::ShrinkIsr { .. } => "ShrinkIsr",
        FaultKind::Silence { stage: Stage::AfterApplying, .. } => "Silence after applying",
        FaultKind::Silence { stage: Stage::BeforeApplying, .. } => "Silence before applying",
        FaultKind::Slow { .. } => "Slow",
        FaultKind::Stall => "Stall",
        FaultKind::Throttle { .. } => "Throttle",
        FaultKind::UncleanElection { .. } => "UncleanElection",
        FaultKind::WrongTopicId { .. } => "WrongTopicId",
    }
}

named! {
    /// How a call ended without success.
    fn end_name(End) in ENDS {
        End::TimedOut(_) => "given up: TimedOut",
        End::Permanent => "given up: Permanent",
        End::Recreated { .. } => "given up: Recreated",
    }
}

named! {
    /// Why the producer wants to know who leads.
    fn reason_name(RefreshReason) in REASONS {
        RefreshReason::NoLeader => "refresh: NoLeader",
        RefreshReason::Answer(_) => "refresh: Answer",
        RefreshReason::Lost => "refresh: Lost",
        RefreshReason::Overdue => "refresh: Overdue",
    }
}

/// Of calls, but for their ends.
const CALLS: &[Row] = &[
    ("answered with CLUSTER_AUTHORIZATION_FAILED (31)", false),
    ("answered with COORDINATOR_LOAD_IN_PROGRESS (14)", true),
    ("answered with COORDINATOR_NOT_AVAILABLE (15)", true),
    ("answered with FENCED_LEADER_EPOCH (74)", true),
    ("answered with KAFKA_STORAGE_ERROR (56)", true),
    ("answered with GROUP_AUTHORIZATION_FAILED (30)", true),
    ("answered with INVALID_PARTITIONS (37)", true),
    ("answered with LEADER_NOT_AVAILABLE (5)", false),
    ("answered with NOT_CONTROLLER (41)", true),
    ("answered with NOT_COORDINATOR (16)", true),
    ("answered with NOT_LEADER_OR_FOLLOWER (6)", true),
    ("answered with OFFSET_NOT_AVAILABLE (78)", false),
    ("answered with OFFSET_OUT_OF_RANGE (1)", true),
    ("answered with POLICY_VIOLATION (44)", false),
    ("answered with REQUEST_TIMED_OUT (7)", true),
    ("answered with THROTTLING_QUOTA_EXCEEDED (89)", true),
    ("answered with TOPIC_ALREADY_EXISTS (36)", true),
    ("answered with UNKNOWN_LEADER_EPOCH (75)", true),
    ("answered with UNKNOWN_SERVER_ERROR (-1)", true),
    ("answered with UNKNOWN_TOPIC_ID (100)", true),
    ("answered with UNKNOWN_TOPIC_OR_PARTITION (3)", true),
    ("done", true),
    ("knows its coordinator", true),
    ("looks its coordinator up", true),
    ("looks up who coordinates instead of a silent one", true),
    ("moved", true),
    ("moved to another controller", true),
    ("moved to another coordinator", true),
    ("sent", true),
    ("waits", true),
    ("waits for a lane", true),
];

/// Of calls, as the machine names their states.
const CALL_STATES: &[Row] = &[
    ("an error, and has not happened", true),
    ("an error, and may have happened", true),
    ("has left a broker, and may have happened", true),
    ("is to be given up", true),
    ("no answer, and has not happened", true),
    ("no answer, and may have happened", true),
    ("no coordinator was found", true),
    ("nobody was asked", true),
    ("somebody was asked", true),
    ("wants a coordinator", true),
];

/// Of connections.
const CONNECTIONS: &[Row] = &[("overdue", true), ("throttled", true)];

/// Of connections, as the machine names their states. No fault makes a frame longer than its reader takes.
const CONNECTION_STATES: &[Row] = &[
    ("asks for versions", true),
    ("asks for versions by a lower ApiVersions", true),
    ("closed: by the peer", true),
    ("closed: idle", true),
    ("closed: moved", true),
    ("closed: not to be reached", true),
    ("closed: not understood", true),
    ("closed: released", true),
    ("closed: silent", true),
    ("closed: too long an answer", false),
    ("is dialled", true),
    ("is dialled for a lower ApiVersions", true),
    ("reads what it is owed, and is needed no more", true),
    ("ready, asked to be quiet", true),
    ("ready, nothing is owed", true),
    ("ready, nothing to do", true),
    ("ready, requests under way", true),
];

/// Of logs.
const LOGS: &[Row] = &[("records lost", true)];

/// Of metadata; what has `refresh`, `topic` or `partition` in front is as the machine names its states. Brokers that say six
/// times in a row what is older, and topics that nobody wants for twice the metadata's age, are so rare that the machine's own
/// tests are for them.
const METADATA: &[Row] = &[
    ("a bootstrap address is asked again", true),
    ("answered", true),
    ("late answer", true),
    ("leader hint taken", true),
    ("no answer", true),
    ("partition: an older epoch is believed", false),
    ("partition: an older epoch was passed over", true),
    ("partition: has a leader", true),
    ("partition: has no leader", true),
    ("refresh: asks a bootstrap address", true),
    ("refresh: asks a broker", true),
    ("refresh: begins", true),
    ("refresh: goes on after a failure", true),
    ("refresh: idle", true),
    ("topic: forgotten", false),
    ("topic: forgotten, and another id was heard of", true),
    ("topic: known", true),
    ("topic: known, and another id was heard of", true),
    ("topic: known, and refused by the last answer", true),
    ("topic: nothing is known", true),
    ("topic: refused", true),
];

/// Of the producer, and of batches: their outcome, and the variant of `DeliveryCause`.
const PRODUCER: &[Row] = &[
    ("MayHaveBeenWritten: Refused", true),
    ("MayHaveBeenWritten: Request", true),
    ("MayHaveBeenWritten: TimedOut", true),
    ("MayHaveBeenWritten: TopicRecreated", true),
    ("NotWritten: ProducerId", true),
    ("NotWritten: Refused", false),
    ("NotWritten: Request", false),
    ("NotWritten: TimedOut", true),
    ("NotWritten: TopicRecreated", true),
    ("an answer that does not match", true),
    ("answered with CORRUPT_MESSAGE (2)", true),
    ("answered with INVALID_PRODUCER_EPOCH (47)", false),
    ("answered with INVALID_RECORD (87)", false),
    ("answered with KAFKA_STORAGE_ERROR (56)", false),
    ("answered with MESSAGE_TOO_LARGE (10)", true),
    ("answered with NOT_ENOUGH_REPLICAS (19)", true),
    ("answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND (20)", true),
    ("answered with NOT_LEADER_OR_FOLLOWER (6)", true),
    ("answered with OUT_OF_ORDER_SEQUENCE_NUMBER (45)", true),
    ("answered with REQUEST_TIMED_OUT (7)", true),
    ("answered with UNKNOWN_PRODUCER_ID (59)", true),
    ("answered with UNKNOWN_TOPIC_ID (100)", true),
    ("answered with UNKNOWN_TOPIC_OR_PARTITION (3)", true),
    ("as many requests are out as are allowed", true),
    ("asks for a producer id", true),
    ("has a producer id", true),
    ("held for company", true),
    ("leader is not among the brokers", true),
    ("no producer id", true),
    ("seals several batches of a partition", true),
    ("sends", true),
    ("sequence reset: records may be lost", true),
    ("sequence reset: retention", true),
    ("split", true),
    ("took nothing", false),
    ("what a silent broker was sent goes to another", true),
    ("topic created again", true),
    ("written", true),
    ("written, no offset", true),
];

/// Of the producer's identity, as the machine names its states, and when it is another one.
const IDENTITY: &[Row] = &[
    ("absent", true),
    ("another producer id", true),
    ("asked for", true),
    ("asked for again after a pause", true),
    ("its epoch is raised", true),
    ("known", true),
];

/// Of the producer's partitions, as the machine names them. No sealed batch lingers; what is past its time is taken as soon as
/// that is noticed, so hardly ever is it still to be taken when somebody looks.
const PARTITIONS: &[Row] = &[
    ("idle", true),
    ("needs a leader", true),
    ("needs a producer id", true),
    ("pauses after a failure", true),
    ("splits", true),
    ("takes what is past its time", false),
    ("waits", true),
    ("would send what is awaited", true),
    ("would send what is full", true),
    ("would send what lingers", false),
    ("would take what is awaited", true),
    ("would take what is full", true),
    ("would take what lingers", true),
];

/// Of the queues of partitions, as they name their states. None is closed before there is another one but by groups of records
/// that belong together.
const QUEUES: &[Row] = &[
    ("all is taken, and not released", true),
    ("closed", false),
    ("closed, with an open one behind", true),
    ("empty", true),
    ("open, and awaited", true),
    ("open, and lingers", true),
];

/// What answers and losses mean for batches, as the machine names it.
const VERDICTS: &[Row] = &[
    ("fenced", true),
    ("lost", true),
    ("not now", true),
    ("out of sequence", true),
    ("refused", true),
    ("too large", true),
    ("unknown", true),
    ("written", true),
];

/// Of requests: their outcome, and the variants of `Failure` and `CloseReason`.
const REQUESTS: &[Row] = &[
    ("NotSent: Closed(ByPeer)", true),
    ("NotSent: Closed(Moved)", true),
    ("NotSent: Closed(Protocol)", true),
    ("NotSent: Closed(Released)", false),
    ("NotSent: Closed(Silent)", false),
    ("NotSent: Connect", true),
    ("NotSent: TimedOut", true),
    ("Unknown: Closed(ByPeer)", true),
    ("Unknown: Closed(Moved)", false),
    ("Unknown: Closed(Protocol)", true),
    ("Unknown: Closed(Released)", false),
    ("Unknown: Closed(Silent)", true),
    ("Unknown: TimedOut", true),
    ("answered", true),
    ("outcome for nobody", true),
    ("sent without an answer", true),
    ("withdrawn", true),
];

/// What users meet.
const USERS: &[Row] = &[
    ("a call in vain", true),
    ("a change may have been made", true),
    ("a change was made", true),
    ("a change was made before", true),
    ("a change was not made", true),
    ("a damaged batch", true),
    ("an errand in vain", true),
    ("closes", true),
    ("closes with records under way", true),
    ("drops a call", true),
    ("log truncated, read again from its start", false),
    ("overtaken by retention", true),
    ("told of a truncation", true),
    ("waits for room", true),
    ("waits for what lingers", true),
];

/// All names of the machines.
pub(crate) fn names() -> Names {
    let all = [
        ("fault struck", FAULTS),
        ("call", ENDS),
        ("producer", REASONS),
        ("call", CALLS),
        ("call: state", CALL_STATES),
        ("connection", CONNECTIONS),
        ("connection: state", CONNECTION_STATES),
        ("log", LOGS),
        ("metadata", METADATA),
        ("producer", PRODUCER),
        ("producer: identity", IDENTITY),
        ("producer: partition", PARTITIONS),
        ("producer: queue", QUEUES),
        ("producer: verdict", VERDICTS),
        ("request", REQUESTS),
        ("user", USERS),
    ];
    all.into_iter().fold(Names::default(), |names, (group, rows)| names.with(group, rows))
}
