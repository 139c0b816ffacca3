//! The requests of the scenarios, each for one partition, with the usual values.

use bytes::Bytes;
use ottla_wire::RecordSet;
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, Stamp};

use crate::talk::Topic;

/// A Produce to partition 0, by name and by id.
pub(crate) fn produce(topic: &Topic, acks: i16, records: RecordSet) -> ProduceRequest {
    let data = PartitionProduceData { records: Some(records), ..Default::default() };
    let topic = TopicProduceData {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// A Fetch of partition 0 that does not wait and has no session, by name and by id.
pub(crate) fn fetch(topic: &Topic, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: topic.name.clone(),
        topic_id: topic.id,
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// A Fetch with leader epochs, -1 for none.
pub(crate) fn fetch_with_epochs(topic: &Topic, offset: i64, current: i32, last_fetched: i32) -> FetchRequest {
    let mut request = fetch(topic, offset);
    let partition = &mut request.topics[0].partitions[0];
    (partition.current_leader_epoch, partition.last_fetched_epoch) = (current, last_fetched);
    request
}

/// A look-up of an offset of partition 0.
pub(crate) fn list_offset(topic: &Topic, timestamp: i64) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![asked], ..Default::default() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

/// Where an epoch of partition 0 ends.
pub(crate) fn end_of_epoch(topic: &Topic, current: i32, epoch: i32) -> OffsetForLeaderEpochRequest {
    let asked =
        OffsetForLeaderPartition { current_leader_epoch: current, leader_epoch: epoch, ..Default::default() };
    let topic =
        OffsetForLeaderTopic { topic: topic.name.clone(), partitions: vec![asked], ..Default::default() };
    OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

/// The removal of what lies below `offset` in partition 0.
pub(crate) fn delete_records(topic: &Topic, offset: i64) -> DeleteRecordsRequest {
    let asked = DeleteRecordsPartition { offset, ..Default::default() };
    let topic =
        DeleteRecordsTopic { name: topic.name.clone(), partitions: vec![asked], ..Default::default() };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() }
}

/// One batch; record `n` has the timestamp `stamp + n`.
pub(crate) fn batch(values: &[&str], stamp: i64, compression: Compression, with: &Stamp) -> RecordSet {
    let keyed: Vec<(Option<&str>, &str, i64)> =
        (stamp..).zip(values).map(|(stamp, value)| (None, *value, stamp)).collect();
    keyed_batch(&keyed, compression, with)
}

/// One batch of records with key, value and timestamp.
pub(crate) fn keyed_batch(
    records: &[(Option<&str>, &str, i64)],
    compression: Compression,
    with: &Stamp,
) -> RecordSet {
    let (mut pool, mut builder) = (ChunkPool::default(), BatchBuilder::new());
    for (key, value, timestamp) in records {
        let record = NewRecord {
            key: key.map(|key| Payload::Borrowed(key.as_bytes())),
            value: Some(Payload::Borrowed(value.as_bytes())),
            headers: &[],
            timestamp: *timestamp,
        };
        builder.append(&mut pool, &record).unwrap();
    }
    builder.seal(&Codec::from(compression), &mut pool).unwrap().record_set(with)
}

/// One batch without a producer.
pub(crate) fn plain(values: &[&str], stamp: i64) -> RecordSet {
    batch(values, stamp, Compression::None, &Stamp::default())
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced(producer: (i64, i16), sequence: i32, count: usize, stamp: i64) -> RecordSet {
    let (producer_id, producer_epoch) = producer;
    let with = Stamp { producer_id, producer_epoch, base_sequence: sequence, ..Default::default() };
    batch(&vec!["v"; count], stamp, Compression::None, &with)
}

/// The batch with bytes changed by `with`, and a CRC that fits if `mend`.
pub(crate) fn altered(records: &RecordSet, mend: bool, with: impl FnOnce(&mut Vec<u8>)) -> RecordSet {
    let mut bytes = records.to_bytes().to_vec();
    with(&mut bytes);
    if mend {
        let crc = crc32c(&bytes[21..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
    }
    RecordSet::from(Bytes::from(bytes))
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
