//! ListOffsets and OffsetForLeaderEpoch: where a log begins and ends, by time and by epoch.

use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use ottla_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::fetch::check_leader;
use crate::partition::Partition;
use crate::serve::{Context, Served, injected};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// An offset that was looked up, with its timestamp and leader epoch; -1 where there is none.
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl FakeCluster {
    pub(crate) fn list_offsets(&mut self, context: &Context<'_>, request: &ListOffsetsRequest) -> Served {
        let mut answer = ListOffsetsResponse::default();
        for topic in &request.topics {
            let rows = topic.partitions.iter().map(|asked| {
                let found = self.find_offset(context, request.isolation_level == 1, &topic.name, asked);
                let (error_code, found) = match found {
                    Ok(found) => (ErrorCode::NONE, found),
                    Err(code) => (code, NOTHING),
                };
                ListOffsetsPartitionResponse {
                    partition_index: asked.partition_index,
                    error_code,
                    timestamp: found.timestamp,
                    offset: found.offset,
                    leader_epoch: if context.version >= 4 { found.leader_epoch } else { -1 },
                    ..Default::default()
                }
            });
            let partitions = rows.collect();
            answer.topics.push(ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions,
                ..Default::default()
            });
        }
        Served::Answer(Answer::ListOffsets(answer))
    }

    fn find_offset(
        &self,
        context: &Context<'_>,
        committed: bool,
        topic: &str,
        asked: &ListOffsetsPartition,
    ) -> Result<Found, ErrorCode> {
        let partition = self.topics.by_name(topic).and_then(|topic| topic.partition(asked.partition_index));
        if let Some(code) = injected(context, topic, asked.partition_index) {
            return Err(code);
        }
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let lowest = match asked.timestamp {
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            EARLIEST_PENDING_UPLOAD => 11,
            _ => 0,
        };
        if context.version < lowest || asked.timestamp < EARLIEST_PENDING_UPLOAD {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        check_leader(context.node, asked.current_leader_epoch, partition)?;
        look_up(context.version, partition, asked.timestamp, committed)
    }

    pub(crate) fn offset_for_leader_epoch(
        &mut self,
        context: &Context<'_>,
        request: &OffsetForLeaderEpochRequest,
    ) -> Served {
        let mut answer = OffsetForLeaderEpochResponse::default();
        for topic in &request.topics {
            let rows = topic.partitions.iter().map(|asked| {
                let (error_code, (leader_epoch, end_offset)) =
                    match self.find_end(context, &topic.topic, asked) {
                        Ok(end) => (ErrorCode::NONE, end),
                        Err(code) => (code, (-1, -1)),
                    };
                let partition = asked.partition;
                EpochEndOffset { error_code, partition, leader_epoch, end_offset, ..Default::default() }
            });
            let partitions = rows.collect();
            let topic = topic.topic.clone();
            answer.topics.push(OffsetForLeaderTopicResult { topic, partitions, ..Default::default() });
        }
        Served::Answer(Answer::OffsetForLeaderEpoch(answer))
    }

    fn find_end(
        &self,
        context: &Context<'_>,
        topic: &str,
        asked: &OffsetForLeaderPartition,
    ) -> Result<(i32, i64), ErrorCode> {
        if let Some(code) = injected(context, topic, asked.partition) {
            return Err(code);
        }
        let partition = self.topics.by_name(topic).and_then(|topic| topic.partition(asked.partition));
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        check_leader(context.node, asked.current_leader_epoch, partition)?;
        Ok(partition.log.end_of_epoch(asked.leader_epoch))
    }
}

fn look_up(version: i16, partition: &Partition, timestamp: i64, committed: bool) -> Result<Found, ErrorCode> {
    let log = &partition.log;
    let end = if committed { partition.last_stable_offset() } else { partition.high_watermark };
    let epoch_of = |offset: i64| log.epoch_of(offset).unwrap_or(-1);
    // A new leader does not know yet how far the old one's high watermark was (KIP-207).
    let unsure = match (partition.high_watermark < partition.epoch_start, version) {
        (false, _) => Ok(()),
        (true, 5..) => Err(ErrorCode::OFFSET_NOT_AVAILABLE),
        (true, _) => Err(ErrorCode::LEADER_NOT_AVAILABLE),
    };
    match timestamp {
        LATEST => unsure.map(|()| Found { offset: end, timestamp: -1, leader_epoch: partition.leader_epoch }),
        EARLIEST | EARLIEST_LOCAL => {
            Ok(Found { offset: log.start(), timestamp: -1, leader_epoch: epoch_of(log.start()) })
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NOTHING),
        _ => {
            let found = match timestamp {
                MAX_TIMESTAMP => log.newest().map(|n| Found {
                    offset: n.offset,
                    timestamp: n.timestamp,
                    leader_epoch: n.leader_epoch,
                }),
                _ => log.first_at_or_after(timestamp).map(|(offset, timestamp)| Found {
                    offset,
                    timestamp,
                    leader_epoch: epoch_of(offset),
                }),
            };
            match found {
                Some(found) if found.offset < end => Ok(found),
                _ => unsure.map(|()| NOTHING),
            }
        }
    }
}
