//! Produce: batches into logs, each partition for itself, and the wait for the high watermark with acks = all.
//!
//! It owns the checks around a log (topic, leader, acks, replicas in sync) and the answer. What a batch must be is
//! `batch.rs`, what its sequence must be `producers.rs`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use ottla_wire::records::TimestampType;
use ottla_wire::{ErrorCode, RecordSet, Uuid};

use crate::batch::{self, Refusal};
use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::connection::Waiting;
use crate::oracle::Accepted;
use crate::producers::Verdict;
use crate::serve::{Context, Served};

/// A Produce request that waits for its replicas.
#[derive(Debug)]
pub(crate) struct WaitingProduce {
    answer: ProduceResponse,
    /// What waits, and where it stands in the answer.
    parts: Vec<WaitingPart>,
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
struct WaitingPart {
    topic: usize,
    partition: usize,
    topic_id: Uuid,
    /// The high watermark that answers it.
    required: i64,
}

/// Where a batch lies now.
struct Appended {
    base_offset: i64,
    log_append_time: i64,
    log_start: i64,
    /// The high watermark that has to be reached.
    required: i64,
}

impl FakeCluster {
    pub(crate) fn produce(&mut self, context: &Context<'_>, request: &ProduceRequest) -> Served {
        let acks = request.acks;
        let mut answer = ProduceResponse::default();
        let mut parts = Vec::new();
        for topic in &request.topic_data {
            let mut result = TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                ..Default::default()
            };
            let found = match context.version {
                13.. => self.topics.by_id(topic.topic_id),
                _ => self.topics.by_name(&topic.name),
            };
            let found = found.map(|topic| topic.id);
            for data in &topic.partition_data {
                let records = data.records.as_ref().map(RecordSet::to_bytes);
                let outcome = match found {
                    Some(id) => self.produce_one(context, acks, id, data.index, records),
                    None if context.version >= 13 => Err(Refusal::plain(ErrorCode::UNKNOWN_TOPIC_ID)),
                    None => Err(Refusal::plain(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
                };
                if let (Ok(appended), Some(topic_id)) = (&outcome, found) {
                    let (topic, partition) = (answer.responses.len(), result.partition_responses.len());
                    parts.push(WaitingPart { topic, partition, topic_id, required: appended.required });
                }
                result.partition_responses.push(self.row(data.index, found, outcome));
            }
            answer.responses.push(result);
        }
        self.add_produce_hints(context, &mut answer);
        let refused =
            answer.responses.iter().flat_map(|t| &t.partition_responses).any(|p| !p.error_code.is_none());
        match acks {
            0 if self.settings.answers_without_acks => Served::Answer(Answer::Produce(answer)),
            0 if refused => {
                self.counters.rejected += 1;
                Served::Close
            }
            0 => Served::Nothing,
            -1 => {
                let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
                self.retry_produce(
                    context,
                    WaitingProduce { answer, parts, deadline: context.now + wait },
                    false,
                )
            }
            _ => Served::Answer(Answer::Produce(answer)),
        }
    }

    fn produce_one(
        &mut self,
        context: &Context<'_>,
        acks: i16,
        topic_id: Uuid,
        index: i32,
        records: Option<Bytes>,
    ) -> Result<Appended, Refusal> {
        let wall_ms = self.wall_ms(context.now);
        let first_must_be_zero = self.versions.release.has_transactions_v2();
        let unknown = || Refusal::plain(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let topic = self.topics.by_id_mut(topic_id).ok_or_else(unknown)?;
        let name = topic.name.clone();
        if topic.partition(index).is_none() {
            return Err(unknown());
        }
        if let Some(code) = context.struck.error(&name, Some(index)) {
            return Err(Refusal::plain(code));
        }
        let as_it_came = records.clone().unwrap_or_default();
        let batch = batch::only_batch(records, context.version)?;
        if !matches!(acks, -1..=1) {
            return Err(Refusal::plain(ErrorCode::INVALID_REQUIRED_ACKS));
        }
        let config = topic.config.clone();
        let partition = topic.partition_mut(index).ok_or_else(unknown)?;
        if partition.leader != context.node {
            return Err(Refusal::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        if acks == -1 && partition.isr.len() < partition.least_in_sync(config.min_insync_replicas) {
            return Err(Refusal::by_log(ErrorCode::NOT_ENOUGH_REPLICAS));
        }
        let batch = batch::check(&batch, &config, wall_ms)?;
        let header = batch.header();
        let first_must_be_zero = first_must_be_zero && header.attributes.is_transactional();
        let verdict = match header.producer_id {
            0.. => partition.log.producers().check(header, first_must_be_zero),
            _ => Verdict::New,
        };
        let (base_offset, last_offset, log_append_time, duplicate) = match verdict {
            // The coordinator, who is asked before a transaction's first batch is appended, knows the epoch too.
            Verdict::Refused(ErrorCode::INVALID_PRODUCER_EPOCH) if header.attributes.is_transactional() => {
                return Err(Refusal::plain(ErrorCode::INVALID_PRODUCER_EPOCH));
            }
            Verdict::Refused(code) => return Err(Refusal::by_log(code)),
            Verdict::Duplicate(written) => {
                (written.base_offset, written.last_offset, written.timestamp, true)
            }
            Verdict::New => {
                let (stamped, bytes) = batch.stamp(partition.log.end(), partition.leader_epoch);
                let base = partition.log.append(stamped, bytes, None);
                let time = match config.timestamp_type {
                    TimestampType::LogAppendTime => wall_ms,
                    TimestampType::CreateTime => -1,
                };
                (base, base + i64::from(header.last_offset_delta), time, false)
            }
        };
        let log_start = partition.log.start();
        self.replicate(context.now, topic_id, index);
        self.changed = true;
        self.accepted.push(Accepted {
            at: context.now,
            connection: context.connection,
            client_id: context.client_id.cloned(),
            node: context.node,
            topic: name,
            topic_id,
            partition: index,
            base_offset,
            records: header.records_count,
            acks,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            duplicate,
            batch: as_it_came,
        });
        Ok(Appended { base_offset, log_append_time, log_start, required: last_offset + 1 })
    }

    fn row(
        &self,
        index: i32,
        topic: Option<Uuid>,
        outcome: Result<Appended, Refusal>,
    ) -> PartitionProduceResponse {
        let row = PartitionProduceResponse { index, ..Default::default() };
        match outcome {
            Ok(appended) => PartitionProduceResponse {
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time,
                log_start_offset: appended.log_start,
                ..row
            },
            Err(refusal) => {
                let start = topic.and_then(|id| self.topics.partition(id, index)).map(|p| p.log.start());
                let rejected = |(batch_index, message): (i32, String)| BatchIndexAndErrorMessage {
                    batch_index,
                    batch_index_error_message: Some(message.into()),
                    ..Default::default()
                };
                PartitionProduceResponse {
                    error_code: refusal.code,
                    base_offset: -1,
                    log_start_offset: start.filter(|_| refusal.names_log_start).unwrap_or(-1),
                    error_message: refusal.message.map(Into::into),
                    record_errors: refusal.records.into_iter().map(rejected).collect(),
                    ..row
                }
            }
        }
    }

    /// Answers what the high watermark has passed, and what is not led here any more; the rest waits on.
    pub(crate) fn retry_produce(
        &mut self,
        context: &Context<'_>,
        mut waiting: WaitingProduce,
        over: bool,
    ) -> Served {
        let WaitingProduce { answer, parts, deadline } = &mut waiting;
        let over = over || *deadline <= context.now;
        parts.retain(|part| {
            let row = &mut answer.responses[part.topic].partition_responses[part.partition];
            match self.outcome_of(context, part, row.index) {
                None if over => row.error_code = ErrorCode::REQUEST_TIMED_OUT,
                None => return true,
                Some(code) => row.error_code = code,
            }
            false
        });
        if !parts.is_empty() {
            return Served::Wait(Waiting::Produce(waiting));
        }
        self.add_produce_hints(context, &mut waiting.answer);
        Served::Answer(Answer::Produce(waiting.answer))
    }

    fn outcome_of(&self, context: &Context<'_>, part: &WaitingPart, index: i32) -> Option<ErrorCode> {
        let Some(topic) = self.topics.by_id(part.topic_id) else {
            return Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let partition = topic.partition(index)?;
        if partition.leader != context.node {
            return Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let enough = partition.isr.len() >= partition.least_in_sync(topic.config.min_insync_replicas);
        match partition.high_watermark >= part.required {
            false => None,
            true if enough => Some(ErrorCode::NONE),
            true => Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        }
    }

    /// Names the leaders of what is not led here (KIP-951, from version 10 on).
    fn add_produce_hints(&self, context: &Context<'_>, answer: &mut ProduceResponse) {
        if context.version < 10 {
            return;
        }
        let mut leaders = Vec::new();
        for topic in &mut answer.responses {
            let found = self.topics.by_id(topic.topic_id).or_else(|| self.topics.by_name(&topic.name));
            for row in &mut topic.partition_responses {
                let partition = found.and_then(|t| t.partition(row.index));
                if let (ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(partition)) = (row.error_code, partition) {
                    row.current_leader.leader_id = partition.leader;
                    row.current_leader.leader_epoch = partition.leader_epoch;
                    leaders.push(partition.leader);
                }
            }
        }
        answer.node_endpoints = self
            .endpoints(leaders)
            .map(|(node_id, node)| ottla_wire::messages::produce::NodeEndpoint {
                node_id,
                host: node.host.clone(),
                port: i32::from(node.port),
                rack: node.rack.clone(),
                ..Default::default()
            })
            .collect();
    }
}
