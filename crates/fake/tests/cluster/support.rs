//! A cluster, a clock that only the test moves, and the few lines of a client that raw requests need.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_fake::{Builder, ConnId, FakeCluster, Output};
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use ottla_wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, Stamp, batches};
use ottla_wire::{RecordSet, Request, Uuid, decode_response, encode_request};

/// What the wall clock shows when a world begins.
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) cluster: FakeCluster,
    pub(crate) now: Instant,
    received: BTreeMap<ConnId, VecDeque<Bytes>>,
    correlation_id: i32,
}

impl World {
    pub(crate) fn new(builder: Builder) -> Self {
        let now = Instant::now();
        Self { cluster: builder.build(now, WALL_MS), now, received: BTreeMap::new(), correlation_id: 0 }
    }

    /// One node and the topic `t` with one partition, and a connection.
    pub(crate) fn one_node() -> (Self, ConnId) {
        let mut world = Self::new(FakeCluster::builder());
        world.topic("t", 1, 1);
        let conn = world.connect(1);
        (world, conn)
    }

    /// Three nodes and the topic `t` with one partition on all of them, led by node 1, and a connection to it.
    pub(crate) fn three_nodes() -> (Self, ConnId) {
        let mut world = Self::new(FakeCluster::builder().nodes(3));
        world.topic("t", 1, 3);
        let conn = world.connect(1);
        (world, conn)
    }

    pub(crate) fn topic(&mut self, name: &str, partitions: i32, replicas: i16) -> Uuid {
        self.cluster.create_topic(self.now, name, partitions, replicas).unwrap()
    }

    pub(crate) fn connect(&mut self, node: i32) -> ConnId {
        self.cluster.connect(self.now, node).expect("the node listens")
    }

    /// Sends a request; whatever it leads to is collected.
    pub(crate) fn send<R: Request>(&mut self, conn: ConnId, version: i16, request: &R) -> i32 {
        self.correlation_id += 1;
        let encoded = encode_request(request, version, self.correlation_id, Some("test")).unwrap();
        self.cluster.handle(self.now, conn, &encoded.into_bytes());
        self.correlation_id
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.cluster.handle_timeout(self.now);
    }

    /// The next answer on a connection, if it has come.
    pub(crate) fn answer<R: Request>(&mut self, conn: ConnId, version: i16) -> Option<(i32, R::Response)> {
        let frame = self.frame(conn)?;
        Some(decode_response::<R>(&frame.slice(4..), version).unwrap())
    }

    /// The next frame on a connection, its size included.
    pub(crate) fn frame(&mut self, conn: ConnId) -> Option<Bytes> {
        while let Some((conn, output)) = self.cluster.poll_output() {
            if let Output::Bytes(frame) = output {
                self.received.entry(conn).or_default().push_back(frame);
            }
        }
        self.received.get_mut(&conn)?.pop_front()
    }

    /// Sends a request that is answered at once.
    pub(crate) fn call<R: Request>(&mut self, conn: ConnId, version: i16, request: &R) -> R::Response {
        let sent = self.send(conn, version, request);
        let (answered, response) = self.answer::<R>(conn, version).expect("an answer at once");
        assert_eq!(answered, sent, "answers come in order");
        response
    }

    /// Produces one record set to partition 0 of `t`.
    pub(crate) fn produce(
        &mut self,
        conn: ConnId,
        acks: i16,
        records: RecordSet,
    ) -> PartitionProduceResponse {
        let response = self.call(conn, 9, &produce("t", 0, acks, records));
        only_row(response)
    }

    /// Produces a batch of an idempotent producer to partition 0 of `t`: error name and offset.
    pub(crate) fn sequence(
        &mut self,
        conn: ConnId,
        producer: (i64, i16),
        sequence: i32,
        count: usize,
    ) -> (i16, i64) {
        let row = self.produce(conn, -1, idempotent(producer, sequence, count));
        (row.error_code.0, row.base_offset)
    }

    /// Fetches partition 0 of `t` without waiting.
    pub(crate) fn fetch(&mut self, conn: ConnId, offset: i64) -> PartitionData {
        let response = self.call(conn, 12, &fetch("t", 0, offset));
        only_partition(response)
    }
}

pub(crate) fn produce(topic: &str, partition: i32, acks: i16, records: RecordSet) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(records), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() }
}

pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}

pub(crate) fn only_row(response: ProduceResponse) -> PartitionProduceResponse {
    let [topic] = <[_; 1]>::try_from(response.responses).unwrap();
    let [row] = <[_; 1]>::try_from(topic.partition_responses).unwrap();
    row
}

pub(crate) fn only_partition(response: FetchResponse) -> PartitionData {
    assert!(response.error_code.is_none(), "{}", response.error_code);
    let [topic] = <[_; 1]>::try_from(response.responses).unwrap();
    let [row] = <[_; 1]>::try_from(topic.partitions).unwrap();
    row
}

/// Values of the records in a fetched partition, control batches left out.
pub(crate) fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches(data.records.as_ref().unwrap().to_bytes()) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        if batch.header().attributes.is_control() {
            continue;
        }
        let decoded = batch.decode(&mut ottla_wire::records::Decoder::default()).unwrap();
        for record in &decoded {
            let record = record.unwrap();
            found.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    found
}

/// One batch of those values, all with the same timestamp.
pub(crate) fn batch(values: &[&str], timestamp: i64, compression: Compression, stamp: &Stamp) -> RecordSet {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    for value in values {
        let record = NewRecord {
            key: None,
            value: Some(Payload::Borrowed(value.as_bytes())),
            headers: &[],
            timestamp,
        };
        builder.append(&mut pool, &record).unwrap();
    }
    builder.seal(&Codec::from(compression), &mut pool).unwrap().record_set(stamp)
}

/// One uncompressed batch without a producer.
pub(crate) fn plain(values: &[&str]) -> RecordSet {
    batch(values, WALL_MS, Compression::None, &Stamp::default())
}

/// One batch of an idempotent producer.
pub(crate) fn idempotent(
    (producer_id, producer_epoch): (i64, i16),
    sequence: i32,
    count: usize,
) -> RecordSet {
    let stamp = Stamp { producer_id, producer_epoch, base_sequence: sequence, ..Default::default() };
    batch(&vec!["v"; count], WALL_MS, Compression::None, &stamp)
}

/// The batch with one byte changed by `with`.
pub(crate) fn altered(records: &RecordSet, with: impl FnOnce(&mut Vec<u8>)) -> RecordSet {
    let mut bytes = records.to_bytes().to_vec();
    with(&mut bytes);
    RecordSet::from(Bytes::from(bytes))
}
