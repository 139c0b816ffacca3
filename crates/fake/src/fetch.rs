//! Fetch: reads, size limits, isolation, epochs, and the wait for data.
//!
//! It owns the order of a read's checks and how its limits are shared between partitions (KIP-74). What a request leaves
//! out because its session has it is put in before (`fetch_sessions.rs`).

use std::time::{Duration, Instant};

use ottla_wire::compression::Compression;
use ottla_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
    NodeEndpoint, PartitionData,
};
use ottla_wire::{ErrorCode, RecordSet};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::connection::Waiting;
use crate::fetch_sessions::InSession;
use crate::partition::Partition;
use crate::serve::{Context, Served, injected, throttle_of};
use crate::topics::Topic;
use crate::versions::Release;

/// A Fetch that waits for enough bytes.
#[derive(Debug)]
pub(crate) struct WaitingFetch {
    request: FetchRequest,
    session: InSession,
    pub(crate) deadline: Instant,
}

/// What one look at all partitions found.
struct Look {
    answer: FetchResponse,
    bytes: usize,
    /// Some partition has something to say besides records: an error, a diverging epoch, another replica.
    urgent: bool,
}

/// What is left of a response's size limit.
struct Room {
    bytes: usize,
    /// No records were found yet: the first batch comes whole.
    first: bool,
}

impl FakeCluster {
    pub(crate) fn fetch(&mut self, context: &Context<'_>, mut request: FetchRequest) -> Served {
        let session = match self.fetch_sessions.begin(context, &mut request) {
            Ok(session) => session,
            Err(error_code) => {
                return Served::Answer(Answer::Fetch(FetchResponse { error_code, ..Default::default() }));
            }
        };
        if !throttle_of(context.struck).is_zero() {
            // A throttled fetch is answered at once and without records; it counts as one of its session.
            let session_id = if let InSession::Continues(id) = session { id } else { 0 };
            return Served::Answer(Answer::Fetch(FetchResponse { session_id, ..Default::default() }));
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
        let deadline = context.now + wait;
        self.retry_fetch(context, WaitingFetch { request, session, deadline }, wait.is_zero())
    }

    pub(crate) fn retry_fetch(&mut self, context: &Context<'_>, waiting: WaitingFetch, over: bool) -> Served {
        let mut look = self.look(context, &waiting.request);
        let wanted = usize::try_from(waiting.request.min_bytes).unwrap_or_default();
        let asks_nothing = waiting.request.topics.iter().all(|topic| topic.partitions.is_empty());
        if over || look.urgent || asks_nothing || look.bytes >= wanted {
            let WaitingFetch { request, session, .. } = waiting;
            self.fetch_sessions.finish(context, &request, session, &mut look.answer);
            return Served::Answer(Answer::Fetch(look.answer));
        }
        Served::Wait(Waiting::Fetch(waiting))
    }

    fn look(&self, context: &Context<'_>, request: &FetchRequest) -> Look {
        let mut look = Look { answer: FetchResponse::default(), bytes: 0, urgent: false };
        let mut room = Room { bytes: usize::try_from(request.max_bytes).unwrap_or_default(), first: true };
        let mut leaders = Vec::new();
        for topic in &request.topics {
            let found = match context.version {
                13.. => self.topics.by_id(topic.topic_id),
                _ => self.topics.by_name(&topic.topic),
            };
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let partition = found.and_then(|topic| topic.partition(asked.partition));
                let refused = found.and_then(|topic| injected(context, &topic.name, asked.partition));
                let outcome = match (refused, partition) {
                    (Some(code), _) => Err(code),
                    (None, Some(_)) if found.is_some_and(|topic| self.keeps_zstd_back(context, topic)) => {
                        Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)
                    }
                    (None, Some(partition)) => match self.near(context, request, asked, partition) {
                        Some(node) => send_on(context, asked, partition, node),
                        None => read(context, request, asked, partition, &mut room),
                    },
                    (None, None) if found.is_none() && context.version >= 13 => {
                        Err(ErrorCode::UNKNOWN_TOPIC_ID)
                    }
                    (None, None) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                };
                let mut row = outcome.unwrap_or_else(refusal);
                row.partition_index = asked.partition;
                look.bytes += row.records.as_ref().map_or(0, RecordSet::len);
                look.urgent |= !row.error_code.is_none() || row.diverging_epoch.epoch >= 0;
                look.urgent |= row.preferred_read_replica >= 0;
                if let Some(partition) = partition.filter(|_| wants_hint(context.version, row.error_code)) {
                    row.current_leader.leader_id = partition.leader;
                    row.current_leader.leader_epoch = partition.leader_epoch;
                    leaders.push(partition.leader);
                }
                partitions.push(row);
            }
            let (topic, topic_id) = (topic.topic.clone(), topic.topic_id);
            let result = FetchableTopicResponse { topic, topic_id, partitions, ..Default::default() };
            look.answer.responses.push(result);
        }
        look.answer.node_endpoints = self
            .endpoints(leaders)
            .map(|(node_id, node)| NodeEndpoint {
                node_id,
                host: node.host.clone(),
                port: i32::from(node.port),
                rack: node.rack.clone(),
                ..Default::default()
            })
            .collect();
        look
    }

    /// Before 4.0 brokers keep topics that are set to zstd from those who ask in a version below 10 (KIP-110), whatever is
    /// in the log; what was compressed by its producer in other topics they send in every version.
    fn keeps_zstd_back(&self, context: &Context<'_>, topic: &Topic) -> bool {
        self.versions.release < Release::V4_0
            && context.version < 10
            && topic.config.compression == Some(Compression::Zstd)
    }

    /// The replica that the leader sends a consumer to, if it is not itself: in the consumer's rack, in sync, with the offset
    /// as far as the leader knows, and of those the one that has most.
    fn near(
        &self,
        context: &Context<'_>,
        request: &FetchRequest,
        asked: &FetchPartition,
        partition: &Partition,
    ) -> Option<i32> {
        let is_asked = self.settings.prefers_near_replicas && !request.rack_id.is_empty();
        if !is_asked || context.version < 11 || partition.leader != context.node {
            return None;
        }
        let is_near = |node: &i32| {
            let node = self.nodes.get(node);
            node.is_some_and(|it| !it.fenced && it.rack.as_ref() == Some(&request.rack_id))
        };
        if is_near(&partition.leader) {
            return None;
        }
        let (start, from) = (partition.log.start(), asked.fetch_offset);
        let ends = partition.replicas.iter().filter(|node| is_near(node));
        let ends = ends.filter_map(|node| Some((partition.known_end_of(*node)?, *node)));
        ends.filter(|(end, _)| (start..=*end).contains(&from)).max().map(|(_, node)| node)
    }
}

/// The answer that names another replica, without records; the offset was looked at already, as far as that goes.
fn send_on(
    context: &Context<'_>,
    asked: &FetchPartition,
    partition: &Partition,
    node: i32,
) -> Result<PartitionData, ErrorCode> {
    check_leader(context.node, asked.current_leader_epoch, partition)?;
    Ok(PartitionData {
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.last_stable_offset(),
        log_start_offset: partition.log.start(),
        preferred_read_replica: node,
        aborted_transactions: None,
        records: Some(RecordSet::default()),
        ..Default::default()
    })
}

/// Brokers name the leader from version 16 on, although the field exists since 12 (KIP-951).
fn wants_hint(version: i16, code: ErrorCode) -> bool {
    version >= 16 && matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
}

/// A partition's part of the answer when it has an error; that of an unknown one has an empty list.
fn refusal(code: ErrorCode) -> PartitionData {
    let unknown = matches!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID);
    PartitionData {
        error_code: code,
        high_watermark: -1,
        aborted_transactions: unknown.then(Vec::new),
        records: Some(RecordSet::default()),
        ..Default::default()
    }
}

/// Whether a request with this leader epoch may be served by `node`, the leader: epochs are compared first (KIP-320).
pub(crate) fn check_leader(node: i32, leader_epoch: i32, partition: &Partition) -> Result<(), ErrorCode> {
    check_epoch(leader_epoch, partition)?;
    match partition.leader == node {
        true => Ok(()),
        false => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
    }
}

fn check_epoch(leader_epoch: i32, partition: &Partition) -> Result<(), ErrorCode> {
    match leader_epoch {
        0.. if leader_epoch < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        0.. if leader_epoch > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// From version 11 on any replica serves a consumer, up to what it has (KIP-392).
fn check_replica(context: &Context<'_>, leader_epoch: i32, partition: &Partition) -> Result<i64, ErrorCode> {
    if context.version < 11 {
        check_leader(context.node, leader_epoch, partition)?;
    }
    check_epoch(leader_epoch, partition)?;
    partition.log_end_of(context.node).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

fn read(
    context: &Context<'_>,
    request: &FetchRequest,
    asked: &FetchPartition,
    partition: &Partition,
    room: &mut Room,
) -> Result<PartitionData, ErrorCode> {
    let end = check_replica(context, asked.current_leader_epoch, partition)?;
    let committed = request.isolation_level == 1;
    let (log, from) = (&partition.log, asked.fetch_offset);
    let visible = partition.high_watermark_of(context.node).min(end);
    let mut row = PartitionData {
        high_watermark: visible,
        last_stable_offset: partition.last_stable_offset().min(visible),
        log_start_offset: log.start(),
        aborted_transactions: None,
        records: Some(RecordSet::default()),
        ..Default::default()
    };
    if asked.last_fetched_epoch >= 0 {
        let (epoch, end_offset) = log.end_of_epoch(asked.last_fetched_epoch);
        if epoch < 0 {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        // Where the reader's log and this one part, if they do (KIP-595).
        if epoch < asked.last_fetched_epoch || end_offset < from {
            row.diverging_epoch = EpochEndOffset { epoch, end_offset, ..Default::default() };
            return Ok(row);
        }
    }
    if from < log.start() || from > end {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let limit = if committed { row.last_stable_offset } else { row.high_watermark };
    let most = usize::try_from(asked.partition_max_bytes).unwrap_or_default().min(room.bytes);
    let found = log.read(from, limit, most, room.first);
    if found.bytes > 0 {
        room.first = false;
    }
    room.bytes = room.bytes.saturating_sub(found.bytes);
    if committed {
        let listed = |t: crate::log::AbortedTransaction| AbortedTransaction {
            producer_id: t.producer_id,
            first_offset: t.first_offset,
            ..Default::default()
        };
        let aborted = log.aborted_between(from, found.upto);
        row.aborted_transactions = Some(aborted.into_iter().map(listed).collect());
    }
    row.records = Some(RecordSet::from(found.chunks));
    Ok(row)
}
