//! The machine in virtual time: a world of queues and a hand that plays brokers and metadata.

mod attempts;
mod company;
mod identities;
mod metrics;
mod outcomes;
mod pipelining;
mod requests;
mod splits;
mod storm;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::compression::Compression;
use ottla_wire::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ottla_wire::records::{ChunkPool, NewRecord, Payload};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::*;
use crate::HostPort;
use crate::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use crate::partition_queue::{BatchSettings, PartitionQueue, ReadyBatch, SealError};

const SECOND: Duration = Duration::from_secs(1);
const VERSION: i16 = 13;

/// First records and offsets of a batch's parts.
type Parts = Vec<(usize, Option<i64>)>;

/// A machine, its queues, and what it asked for.
struct World {
    start: Instant,
    now: Instant,
    producer: Producer<u32>,
    queues: BTreeMap<PartitionId, PartitionQueue<u32>>,
    pool: ChunkPool,
    settings: BatchSettings,
    /// Producer ids are handed out at once: 1,000, 1,001, ...
    grants_ids: bool,
    ids_asked: i64,
    deliveries: u32,
    sent: Vec<SendRequest>,
    resolved: Vec<(u32, Result<Written, DeliveryError>)>,
    /// Batches to be split, as long as they are not.
    splits: Vec<SplitBatch>,
    /// Deliveries of batches that were split: offsets of their parts, by first record.
    parts: Vec<(u32, Parts)>,
    refreshes: Vec<(RefreshReason, Option<i32>)>,
    resets: Vec<SequenceReset>,
    closed: Vec<PartitionId>,
    /// Deliveries of batches that could not be compressed.
    unsealed: Vec<u32>,
    /// Sealing takes a while: what was taken waits here.
    seals_later: bool,
    taken: Vec<(PartitionId, ReadyBatch<u32>)>,
}

/// What a request carries for one partition.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Sent {
    partition: i32,
    delivery: u32,
    id: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
}

impl World {
    fn new() -> Self {
        Self::with(ProducerSettings::default())
    }

    fn with(settings: ProducerSettings) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            producer: Producer::new(now, settings, 1),
            queues: BTreeMap::new(),
            pool: ChunkPool::default(),
            settings: BatchSettings {
                codec: Compression::None.into(),
                acks: Acks::All,
                request_timeout: 30 * SECOND,
                delivery_timeout: 120 * SECOND,
                linger: None,
                max_bytes: usize::MAX,
            },
            grants_ids: true,
            ids_asked: 0,
            deliveries: 0,
            sent: Vec::new(),
            resolved: Vec::new(),
            splits: Vec::new(),
            parts: Vec::new(),
            refreshes: Vec::new(),
            resets: Vec::new(),
            closed: Vec::new(),
            unsealed: Vec::new(),
            seals_later: false,
            taken: Vec::new(),
        }
    }

    /// Opens a partition of `orders` led by `broker` in epoch 1.
    fn open(&mut self, index: i32, broker: i32) -> PartitionId {
        let id = self.producer.open(self.now, &orders(), topic_id(), index);
        self.queues.entry(id).or_insert_with(|| PartitionQueue::new(1_000));
        self.lead(id, broker, 1);
        id
    }

    fn lead(&mut self, id: PartitionId, broker_id: i32, epoch: i32) {
        self.producer.handle_leader(self.now, id, Some(Leader { broker_id, epoch }));
        self.run();
    }

    /// Appends a record of 100 bytes without telling the machine, and says whether it should be told. The first
    /// record of a batch holds the number of the batch's delivery.
    fn append(&mut self, id: PartitionId) -> (u32, bool) {
        self.append_value(id, &(self.deliveries + 1).to_be_bytes().repeat(25))
    }

    fn append_value(&mut self, id: PartitionId, value: &[u8]) -> (u32, bool) {
        let value = Some(Payload::Borrowed(value));
        let record = NewRecord { key: None, value, headers: &[], timestamp: 0 };
        let queue = self.queues.get_mut(&id).unwrap();
        let next = self.deliveries + 1;
        let appended = queue.append(self.now, &record, &self.settings, &mut self.pool, || next).unwrap();
        let (delivery, changed) = (*appended.delivery, appended.ready_changed);
        self.deliveries = self.deliveries.max(delivery);
        (delivery, changed)
    }

    fn produce(&mut self, id: PartitionId) -> u32 {
        let delivery = self.produce_quietly(id);
        self.run();
        delivery
    }

    fn produce_quietly(&mut self, id: PartitionId) -> u32 {
        let (delivery, changed) = self.append(id);
        if changed {
            self.producer.handle_ready(self.now, id, self.queues[&id].ready());
        }
        delivery
    }

    /// Appends so many full batches, and one more record, which stays in the queue.
    fn fill(&mut self, id: PartitionId, batches: u32) {
        let last = self.deliveries + batches + 1;
        while self.deliveries < last {
            self.produce_quietly(id);
        }
        self.run();
    }

    /// Does all that the machine asks for, but for answers.
    fn run(&mut self) {
        while let Some(action) = self.producer.poll_action() {
            match action {
                Action::Take { partition } => {
                    let queue = self.queues.get_mut(&partition).unwrap();
                    let batch = queue.take().unwrap();
                    if self.seals_later {
                        self.taken.push((partition, batch));
                        self.producer.handle_ready(self.now, partition, queue.ready());
                        continue;
                    }
                    let sealed = batch.seal(&mut self.pool);
                    match sealed {
                        Ok(batch) => self.producer.push(self.now, partition, batch, queue.ready()),
                        Err(SealError { delivery, memory, .. }) => {
                            queue.release(memory);
                            self.unsealed.push(delivery);
                            self.producer.nothing_to_push(self.now, partition, queue.ready());
                        }
                    }
                }
                Action::Send(request) => self.sent.push(request),
                Action::InitProducerId(request) => {
                    assert_eq!((request.producer_id, request.producer_epoch), (-1, -1));
                    assert_eq!(request.transactional_id, None);
                    self.ids_asked += 1;
                    if self.grants_ids {
                        self.producer.handle_producer_id(self.now, Ok((999 + self.ids_asked, 0)));
                    }
                }
                Action::RefreshMetadata { reason, avoid } => self.refreshes.push((reason, avoid)),
                Action::Resolve { partition, delivery, memory, result } => {
                    self.queues.get_mut(&partition).unwrap().release(memory);
                    assert!(self.resolved.iter().all(|(other, _)| *other != delivery), "{delivery} twice");
                    self.resolved.push((delivery, result));
                }
                Action::Split(split) => self.splits.push(split),
                Action::ResolveParts { partition, delivery, memory, parts } => {
                    self.queues.get_mut(&partition).unwrap().release(memory);
                    let parts = parts
                        .into_iter()
                        .map(|(first, result)| (first, result.ok().and_then(|written| written.base_offset)));
                    self.parts.push((delivery, parts.collect()));
                }
                Action::SequenceReset(reset) => self.resets.push(reset),
                Action::Closed { partition, .. } => self.closed.push(partition),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.producer.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.producer.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    /// The only request sent since the last look.
    fn one(&mut self) -> SendRequest {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent.remove(0)
    }

    fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    /// The next request and what it carries for its only partition.
    fn one_sent(&mut self) -> (SendRequest, Sent) {
        let request = self.one();
        let carried = carried(&request.request);
        assert_eq!(carried.len(), 1, "{carried:?}");
        (request, carried[0])
    }

    /// Answers all partitions of a request with this.
    fn answer(&mut self, request: &SendRequest, code: ErrorCode, base_offset: i64) {
        let answers =
            carried(&request.request).iter().map(|sent| answer(sent.partition, code, base_offset)).collect();
        assert!(self.answer_with(request, answers).is_empty());
    }

    fn answer_with(&mut self, request: &SendRequest, answers: Vec<PartitionProduceResponse>) -> Mismatch {
        let topic = TopicProduceResponse {
            topic_id: topic_id(),
            partition_responses: answers,
            ..TopicProduceResponse::default()
        };
        let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
        let mismatch = self.producer.handle_answer(self.now, request.token, VERSION, &response);
        self.run();
        mismatch
    }

    fn lose(&mut self, request: &SendRequest, outcome: Outcome) {
        let address = HostPort::new("localhost", 9092);
        let peer = Arc::new(Peer { broker_id: Some(request.broker_id), address });
        let reason = Failure::Closed(CloseReason::ByPeer);
        let error = RequestError { peer, api: ottla_wire::ApiKey::PRODUCE, outcome, reason };
        self.producer.handle_lost(self.now, request.token, &error);
        self.run();
    }

    /// The result of a delivery, which must have been resolved.
    fn result(&self, delivery: u32) -> &Result<Written, DeliveryError> {
        &self.resolved.iter().find(|(other, _)| *other == delivery).expect("resolved").1
    }

    fn offset(&self, delivery: u32) -> Option<i64> {
        self.result(delivery).as_ref().expect("written").base_offset
    }

    fn error(&self, delivery: u32) -> &DeliveryError {
        self.result(delivery).as_ref().expect_err("not acknowledged")
    }

    fn is_open(&self, delivery: u32) -> bool {
        self.resolved.iter().all(|(other, _)| *other != delivery)
    }
}

fn orders() -> Str {
    Str::from("orders")
}

fn topic_id() -> Uuid {
    Uuid::from_bytes([1; 16])
}

fn answer(index: i32, error_code: ErrorCode, base_offset: i64) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code, base_offset, ..PartitionProduceResponse::default() }
}

/// What a request carries, by partition; read from the bytes of the batch headers.
fn carried(request: &ProduceRequest) -> Vec<Sent> {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let read = partitions.map(|partition| {
        let bytes = partition.records.as_ref().unwrap().to_bytes();
        Sent {
            partition: partition.index,
            delivery: u32::from_be_bytes(bytes[69..73].try_into().unwrap()),
            id: i64::from_be_bytes(bytes[43..51].try_into().unwrap()),
            epoch: i16::from_be_bytes(bytes[51..53].try_into().unwrap()),
            sequence: i32::from_be_bytes(bytes[53..57].try_into().unwrap()),
            records: i32::from_be_bytes(bytes[57..61].try_into().unwrap()),
        }
    });
    read.collect()
}
