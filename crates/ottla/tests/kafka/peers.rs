//! The other clients understand each other: what they tell about ottla's records can be trusted.

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::peer::{PeerRead, PeerRecord};
use crate::support::python::librdkafka;
use crate::support::topic;

/// Every corner that the protocol between test and peer has to carry.
fn records() -> Vec<PeerRecord> {
    let now = 1_700_000_000_000;
    let binary = vec![0, 9, 10, 58, 61, 44, 255];
    vec![
        PeerRecord { timestamp: Some(now), ..PeerRecord::new("key", "value") },
        PeerRecord { key: None, value: Some(Vec::new()), timestamp: Some(now + 1), headers: Vec::new() },
        PeerRecord {
            key: Some(binary.clone()),
            value: None,
            timestamp: Some(now - 5),
            headers: vec![
                ("twice".to_owned(), Some(binary)),
                ("twice".to_owned(), None),
                ("empty".to_owned(), Some(Vec::new())),
            ],
        },
    ]
}

fn as_written(read: &[PeerRead]) -> Vec<PeerRecord> {
    let back = |read: &PeerRead| PeerRecord {
        key: read.key.clone(),
        value: read.value.clone(),
        timestamp: Some(read.timestamp),
        headers: read.headers.clone(),
    };
    read.iter().map(back).collect()
}

#[tokio::test]
async fn the_java_client_and_librdkafka_read_each_others_records() {
    let (java, librdkafka) = (java(&one()), librdkafka(&one()));
    let topic = topic("peers");
    java.create(&topic, 2, 1, &[("retention.ms", "-1")]).await;
    assert_eq!(java.produce(&topic, 0, &[("compression.type", "lz4")], &records()).await, [0, 1, 2]);
    assert_eq!(as_written(&librdkafka.consume(&topic, 0, 0, None, &[]).await), records());
    assert_eq!(librdkafka.produce(&topic, 1, &[("compression.type", "zstd")], &records()).await, [0, 1, 2]);
    assert_eq!(as_written(&java.consume(&topic, 1, 0, Some(3), &[]).await), records());
}

#[tokio::test]
async fn both_readers_hide_what_a_transaction_aborted() {
    let topic = topic("peers-transaction");
    let (java, librdkafka) = (java(&one()), librdkafka(&one()));
    java.create(&topic, 1, 1, &[]).await;
    for (end, value) in [("commit", "seen"), ("abort", "hidden"), ("open", "pending")] {
        let settings = [("transactional.id", topic.as_str()), ("end", end)];
        java.produce(&topic, 0, &settings, &[PeerRecord::new("key", value)]).await;
    }
    let committed = [("isolation.level", "read_committed")];
    for peer in [&java, &librdkafka] {
        let read = peer.consume(&topic, 0, 0, Some(4), &committed).await;
        assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [0]);
    }
    java.produce(&topic, 0, &[("transactional.id", &topic), ("end", "commit")], &[]).await;
    let read = librdkafka.consume(&topic, 0, 0, None, &committed).await;
    assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 4]);
}
