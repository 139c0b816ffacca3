//! The walk-through, step by step, and what the controller's client does beside it.

use std::time::{Duration, Instant};

use ottla::{ClientBuilder, ErrorCode, Record, Timestamp};

use crate::support::cluster::{eventually, one};
use crate::support::java::java;
use crate::support::{topic, wall_clock_ms};
use crate::world::{SOON, client, new_topic, partition, read, value};

/// A1, B1, B2, B3, B4, B5, E3: each step, and what it returns.
#[tokio::test]
async fn every_step_of_the_walk_through_does_what_it_says() {
    let name = topic("walk");
    let client = ClientBuilder::new(one()).build().await.unwrap();
    let controller = client.controller_client().await.unwrap();
    controller.create_topic(&name, 2, 1, 5_000).await.unwrap();
    let partition = client.partition_client(&name, 1).await.unwrap();
    assert_eq!((partition.topic(), partition.partition()), (&*name, 1));

    let now = wall_clock_ms();
    let full = Record::new("value").key("key").header("h", "1").header("h", "2").timestamp(Timestamp(now));
    let records = vec![full, Record::tombstone("key"), Record::new("no key")];
    assert_eq!(partition.produce(records).await.unwrap(), [0, 1, 2]);

    let (records, high_watermark) = partition.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(high_watermark, 3);
    let [full, tombstone, no_key] = &records[..] else { panic!("{records:?}") };
    assert_eq!((full.offset, full.timestamp), (0, Timestamp(now)));
    assert_eq!((full.key.as_deref(), value(full)), (Some(&b"key"[..]), "value"));
    let headers: Vec<_> = full.headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", Some(b"2"))]);
    assert_eq!((tombstone.offset, tombstone.key.as_deref(), &tombstone.value), (1, Some(&b"key"[..]), &None));
    assert_eq!((no_key.offset, &no_key.key, value(no_key)), (2, &None, "no key"));
    assert!((now..now + 60_000).contains(&no_key.timestamp.0), "{no_key:?}: a record without a time has now");
}

/// B5: the minimum and the wait are the broker's, the maximum holds, and there is always progress.
#[tokio::test]
async fn a_fetch_waits_for_its_minimum_and_stops_at_its_maximum() {
    let partition = partition("fetch", &[]).await;
    let big = "x".repeat(10_000);
    for _ in 0..5 {
        partition.produce(vec![Record::new(&big)]).await.unwrap();
    }
    let (records, _) = partition.fetch_records(0, 1..25_000, 10_000).await.unwrap();
    assert_eq!(records.len(), 2, "the largest number of batches that fits");
    let (records, _) = partition.fetch_records(1, 1..1, 10_000).await.unwrap();
    assert_eq!(
        records.iter().map(|r| r.offset).collect::<Vec<_>>(),
        [1],
        "a batch above the maximum comes whole"
    );

    let asked = Instant::now();
    let (records, high_watermark) = partition.fetch_records(5, 1..1_000_000, 700).await.unwrap();
    assert_eq!((records.len(), high_watermark), (0, 5));
    // A broker's clock counts whole milliseconds.
    let took = asked.elapsed();
    assert!((Duration::from_millis(690)..Duration::from_secs(5)).contains(&took), "{took:?}");

    let poll = partition.fetch_records(5, 1..1_000_000, 20_000);
    let (poll, written) = tokio::join!(poll, partition.produce(vec![Record::new("late")]));
    assert_eq!((written.unwrap(), value(&poll.unwrap().0[0])), (vec![5], "late"));
    assert!(asked.elapsed() < Duration::from_secs(15), "a record ends the wait");
}

/// Trap W6: a header's name need not be text, which is more than other clients can read.
#[tokio::test]
async fn a_header_name_need_not_be_utf8() {
    let partition = partition("header-name", &[]).await;
    let record = Record::new("v").header(&b"\xff\x00"[..], "1").null_header("");
    partition.produce(vec![record]).await.unwrap();
    let records = read(&partition, 0).await;
    let headers: Vec<_> = records[0].headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
    assert_eq!(headers, [(&b"\xff\x00"[..], Some(&b"1"[..])), (b"", None)]);
}

/// A record of a megabyte less a little fits the broker's limit; one above it is refused, and nothing else is.
#[tokio::test]
async fn a_record_above_the_topics_limit_is_refused_and_the_next_is_not() {
    let partition = partition("large", &[("max.message.bytes", "100000")]).await;
    let large = "x".repeat(99_000);
    assert_eq!(partition.produce(vec![Record::new(large)]).await.unwrap(), [0]);
    let error = partition.produce(vec![Record::new("x".repeat(100_001))]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MESSAGE_TOO_LARGE), "{error}");
    assert_eq!(partition.produce(vec![Record::new("small")]).await.unwrap(), [1]);
    assert_eq!(read(&partition, 0).await.len(), 2);
}

/// B2: and what the controller refuses.
#[tokio::test]
async fn a_topic_is_created_with_its_configs_grown_listed_and_deleted() {
    let (client, java) = (client().await, java(&one()));
    let name = new_topic(&client, "life", &[("message.timestamp.type", "LogAppendTime")]).await;
    let controller = client.controller_client().await.unwrap();
    let error = controller.create_topic(&name, 1, 1, 5_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS), "{error}");
    assert!(!error.is_retriable() && error.to_string().contains("broker"), "{error}");

    controller.create_partitions(&name, 3, 5_000).await.unwrap();
    let partition = client.partition_client(&name, 2).await.unwrap();
    assert_eq!(partition.produce(vec![Record::new("v")]).await.unwrap(), [0]);
    assert!(java.consume(&name, 2, 0, None, &[]).await[0].append_time, "the config is the topic's");

    let listed = client.list_topics().await.unwrap();
    let topic = listed.iter().find(|topic| *topic.name == *name).expect("the topic is listed");
    assert_eq!((topic.partitions.len(), topic.is_internal), (3, false));
    assert!(
        topic.partitions.iter().all(|p| p.leader.is_some() && p.in_sync_replicas == p.replicas),
        "{topic:?}"
    );
    assert!(listed.is_sorted_by_key(|topic| topic.name.clone()));

    controller.delete_topic(&name, 5_000).await.unwrap();
    eventually("the topic is gone", SOON, async || {
        client.list_topics().await.unwrap().iter().all(|topic| *topic.name != *name)
    })
    .await;
    let error = controller.delete_topic(&name, 5_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
}

#[tokio::test]
async fn the_cluster_is_described_with_every_broker_and_a_controller() {
    let cluster = client().await.describe_cluster().await.unwrap();
    // Another broker than ours may be reached at one address and give another one.
    assert!(cluster.brokers.iter().all(|broker| broker.address.port() > 0), "{cluster:?}");
    assert!(cluster.brokers.iter().any(|broker| cluster.controller_id == Some(broker.id)), "{cluster:?}");
    assert!(cluster.cluster_id.is_some_and(|id| !id.is_empty()));
}
