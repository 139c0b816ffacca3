//! What a test needs before it can act, in one line each: a client, a topic, a partition, records with corners.

use std::time::Duration;

use ottla::{
    Client, ClientBuilder, NewTopic, PartitionClient, Payload, Record, RecordAndOffset, StartOffset,
    StreamConsumerBuilder, Timestamp,
};

use crate::support::cluster::one;
use crate::support::peer::{PeerRead, PeerRecord};
use crate::support::proxy::Proxy;
use crate::support::{topic, wall_clock_ms};

/// A client of the one-node cluster.
pub(crate) async fn client() -> Client {
    ClientBuilder::new(one()).client_id("tests").build().await.unwrap()
}

/// The same, with a proxy on the way.
pub(crate) async fn client_through(proxy: &Proxy) -> Client {
    ClientBuilder::new(one()).client_id("tests").transport(proxy.transport()).build().await.unwrap()
}

/// A client of its own for a new topic with one partition and these configs.
pub(crate) async fn partition(purpose: &str, configs: &[(&str, &str)]) -> PartitionClient {
    let client = client().await;
    let name = new_topic(&client, purpose, configs).await;
    client.partition_client(&name, 0).await.unwrap()
}

/// A new topic with one partition, through ottla.
pub(crate) async fn new_topic(client: &Client, purpose: &str, configs: &[(&str, &str)]) -> String {
    let name = topic(purpose);
    let new = NewTopic::new(&name).partitions(1).replication_factor(1);
    let new = configs.iter().fold(new, |new, (config, value)| new.config(*config, *value));
    client.controller_client().await.unwrap().create(new, 10_000).await.unwrap();
    name
}

/// What is readable from an offset on; ends at the high watermark, or when 300 ms bring nothing.
pub(crate) async fn read(partition: &PartitionClient, from: i64) -> Vec<RecordAndOffset> {
    let mut records = Vec::new();
    let mut position = from;
    loop {
        let (found, high_watermark) = partition.fetch_records(position, 1..1_000_000, 300).await.unwrap();
        let Some(last) = found.last() else { return records };
        position = last.offset + 1;
        records.extend(found);
        if position >= high_watermark {
            return records;
        }
    }
}

/// The next so many records of a stream that starts there, owned; those that another one lends are the same.
pub(crate) async fn streamed(
    partition: &PartitionClient,
    start: StartOffset,
    count: usize,
) -> Vec<RecordAndOffset> {
    let stream =
        || StreamConsumerBuilder::new(partition.clone(), start).with_max_wait_ms(100).build().unwrap();
    let (mut owner, mut lender) = (stream(), stream());
    let (mut owned, mut lent) = (Vec::new(), Vec::new());
    let read = async {
        while owned.len() < count {
            owned.push(owner.next().await.unwrap().unwrap().0);
        }
        while lent.len() < count {
            let batch = lender.next_batch().await.unwrap().unwrap();
            let records: Vec<_> = batch.to_owned();
            let places = batch.iter().map(|record| (record.offset, record.key, record.value));
            assert!(places.eq(records.iter().map(|it| (it.offset, it.key.as_deref(), it.value.as_deref()))));
            lent.extend(records);
        }
    };
    let ended = tokio::time::timeout(SOON, read).await;
    ended.unwrap_or_else(|_| panic!("{} and {} of {count} records came", owned.len(), lent.len()));
    lent.truncate(count);
    assert_eq!(owned, lent);
    owned
}

/// The offsets of what is readable from an offset on.
pub(crate) async fn offsets(partition: &PartitionClient, from: i64) -> Vec<i64> {
    read(partition, from).await.iter().map(|record| record.offset).collect()
}

/// A record with a value and a time.
pub(crate) fn at(timestamp: i64, value: &str) -> Record<'static> {
    Record::new(value.to_owned()).timestamp(Timestamp(timestamp))
}

/// Every corner that all clients can express: absent and empty keys and values, binary bytes, headers that repeat,
/// that are empty, that have no value.
pub(crate) fn corners() -> Vec<PeerRecord> {
    let now = wall_clock_ms();
    let binary: Vec<u8> = (0..=255).collect();
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    vec![
        PeerRecord { timestamp: Some(now), ..PeerRecord::new("key", "value") },
        PeerRecord { value: None, timestamp: Some(now - 5), ..PeerRecord::new("tombstone", "") },
        PeerRecord { key: None, timestamp: Some(now + 1), ..PeerRecord::new("", "no key") },
        PeerRecord { key: None, value: None, timestamp: Some(now), headers: Vec::new() },
        PeerRecord { timestamp: Some(now), ..PeerRecord::new("", "") },
        PeerRecord {
            key: Some(binary.clone()),
            value: Some(binary.repeat(40)),
            timestamp: Some(now + 2),
            headers: vec![
                header("twice", Some(&binary)),
                header("twice", None),
                header("twice", Some(b"")),
                header("", Some(b"a header without a name")),
                header("größe", Some(b"x")),
            ],
        },
    ]
}

/// The peer's record as ottla takes it.
pub(crate) fn record(of: &PeerRecord) -> Record<'_> {
    let payload = |bytes: &'_ Option<Vec<u8>>| bytes.clone().map(Payload::from);
    Record {
        key: payload(&of.key),
        value: payload(&of.value),
        headers: of.headers.iter().map(|(name, value)| (name.into(), payload(value))).collect(),
        timestamp: of.timestamp.map(Timestamp),
    }
}

/// What ottla read, as the peer would have written it.
pub(crate) fn from_ottla(read: &[RecordAndOffset]) -> Vec<PeerRecord> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let back = |read: &RecordAndOffset| PeerRecord {
        key: read.key.as_deref().map(<[u8]>::to_vec),
        value: read.value.as_deref().map(<[u8]>::to_vec),
        timestamp: Some(read.timestamp.0),
        headers: read.headers.iter().map(|(k, v)| (text(k), v.as_deref().map(<[u8]>::to_vec))).collect(),
    };
    read.iter().map(back).collect()
}

/// What a peer read, as a peer would have written it.
pub(crate) fn from_peer(read: &[PeerRead]) -> Vec<PeerRecord> {
    let back = |read: &PeerRead| PeerRecord {
        key: read.key.clone(),
        value: read.value.clone(),
        timestamp: Some(read.timestamp),
        headers: read.headers.clone(),
    };
    read.iter().map(back).collect()
}

/// A record's value as text.
pub(crate) fn value(record: &RecordAndOffset) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap_or_default()).unwrap()
}

/// Long enough for anything that is to happen soon, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);
