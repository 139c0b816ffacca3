//! Streams from a real broker: where they start, what transactions hide, what retention takes, what a session saves.

use std::time::Duration;

use bytes::Bytes;
use ottla::wire::ApiKey;
use ottla::wire::messages::fetch::FetchRequest;
use ottla::wire::{decode_request_body, decode_request_header};
use ottla::{
    Codec, Compression, ErrorCode, IsolationLevel, OutOfRange, PartitionClient, Record, StartOffset,
    StreamConsumer, StreamConsumerBuilder, Timestamp,
};

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::peer::PeerRecord;
use crate::support::proxy::Proxy;
use crate::support::wall_clock_ms;
use crate::world::{SOON, at, client, client_through, corners, from_ottla, new_topic, partition, record};

fn stream(client: &PartitionClient, start: StartOffset) -> StreamConsumer {
    StreamConsumerBuilder::new(client.clone(), start).with_max_wait_ms(100).build().unwrap()
}

/// Offsets and values of the next so many records.
async fn next(stream: &mut StreamConsumer, count: usize) -> Vec<(i64, String)> {
    let mut read = Vec::new();
    while read.len() < count {
        let (record, _) = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
        read.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    read
}

/// B8: a stream starts at the first record, an offset, a time or the end, and goes on with what is written.
#[tokio::test]
async fn a_stream_starts_where_it_is_told() {
    let partition = partition("stream-starts", &[]).await;
    let now = wall_clock_ms();
    partition.produce(vec![at(now - 1_000, "a"), at(now, "b"), at(now + 1_000, "c")]).await.unwrap();
    let starts = [
        (StartOffset::Earliest, 0),
        (StartOffset::At(2), 2),
        (StartOffset::Timestamp(Timestamp(now)), 1),
        (StartOffset::Latest, 3),
        (StartOffset::Timestamp(Timestamp(now + 500_000)), 3),
    ];
    let mut streams = starts.map(|(start, first)| (stream(&partition, start), first));
    // Those that start at the end have looked for it when the last record is written.
    tokio::time::sleep(Duration::from_secs(1)).await;
    partition.produce(vec![at(now + 2_000, "d")]).await.unwrap();
    for (stream, first) in &mut streams {
        let count = usize::try_from(4 - *first).unwrap();
        let offsets: Vec<i64> = next(stream, count).await.into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (*first..4).collect::<Vec<_>>());
        assert_eq!((stream.position(), stream.lag()), (Some(4), Some(0)));
    }
}

/// E4, Trap C11: what the Java client wrote, with every codec, comes as it was written.
#[tokio::test]
async fn every_codec_of_the_java_client_is_streamed() {
    let partition = partition("stream-codecs", &[]).await;
    let corners = corners();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut stream = stream(&partition, StartOffset::Latest);
        tokio::time::sleep(Duration::from_millis(300)).await;
        java(&one()).produce(partition.topic(), 0, &[("compression.type", codec)], &corners).await;
        let mut read = Vec::new();
        while read.len() < corners.len() {
            let batch = tokio::time::timeout(SOON, stream.next_batch()).await.unwrap().unwrap().unwrap();
            read.extend(batch.to_owned());
        }
        assert_eq!(from_ottla(&read), corners, "{codec}");
    }
}

/// Trap C6: a committed stream hides aborted transactions and markers, moves past them, and stops at an open one.
#[tokio::test]
async fn a_committed_stream_follows_transactions() {
    let client = client().await;
    let topic = new_topic(&client, "stream-transactions", &[]).await;
    let committed =
        client.partition(&topic, 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    let transaction = async |id: &str, end: &str, values: &[&str]| {
        let id = format!("{topic}-{id}");
        let records: Vec<PeerRecord> = values.iter().map(|value| PeerRecord::new("key", value)).collect();
        java(&one()).produce(&topic, 0, &[("transactional.id", &id), ("end", end)], &records).await;
    };
    transaction("a", "abort", &["a0", "a1"]).await;
    transaction("a", "commit", &["c3"]).await;
    transaction("b", "open", &["o5"]).await;
    committed.produce(vec![Record::new("p6")]).await.unwrap();
    let mut stream = stream(&committed, StartOffset::Earliest);
    assert_eq!(next(&mut stream, 1).await, [(3, "c3".to_owned())]);
    let wait = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
    assert!(wait.is_err(), "{wait:?}");
    assert_eq!(stream.position(), Some(5), "past the marker, before what is open");
    transaction("b", "abort", &[]).await;
    assert_eq!(next(&mut stream, 1).await, [(6, "p6".to_owned())]);
}

/// Trap C10: records that were deleted under the reader are reported, with where the log starts, or passed over.
#[tokio::test]
async fn deleted_records_follow_the_policy() {
    let partition = partition("stream-deleted", &[]).await;
    partition.produce(vec![Record::new("a"), Record::new("b"), Record::new("c")]).await.unwrap();
    partition.delete_records(2, 10_000).await.unwrap();
    let mut reporting = stream(&partition, StartOffset::At(0));
    let error = tokio::time::timeout(SOON, reporting.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
    assert!(reporting.next().await.is_none());
    reporting.seek(StartOffset::Earliest).unwrap();
    assert_eq!(next(&mut reporting, 1).await, [(2, "c".to_owned())]);
    let builder =
        StreamConsumerBuilder::new(partition, StartOffset::At(0)).with_out_of_range(OutOfRange::Earliest);
    assert_eq!(next(&mut builder.build().unwrap(), 1).await, [(2, "c".to_owned())]);
}

/// F1: batches larger than all limits come, and a budget smaller than they are does not stop the stream.
#[tokio::test]
async fn batches_larger_than_the_limits_come() {
    let partition = partition("stream-large", &[]).await;
    let codec = Codec::from(Compression::None);
    for number in 0..20 {
        let value = format!("{number}").repeat(200_000 / format!("{number}").len());
        partition.produce_with(vec![record(&PeerRecord::new("k", &value))], codec).await.unwrap();
    }
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest);
    let mut stream = builder.with_prefetch_bytes(50_000).with_max_bytes(10_000).build().unwrap();
    let offsets: Vec<i64> = next(&mut stream, 20).await.into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
}

/// Traps C7 and C12: an idle session costs a small request for each wait: it names no partition.
#[tokio::test]
async fn an_idle_session_sends_small_requests() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let name = crate::support::topic("stream-idle");
    client.controller_client().await.unwrap().create_topic(&name, 50, 1, 10_000).await.unwrap();
    let mut stream = client.stream().max_wait(Duration::from_millis(200)).build().unwrap();
    for partition in 0..50 {
        stream.add(&name, partition, StartOffset::Earliest).await.unwrap();
    }
    let wait = tokio::time::timeout(Duration::from_secs(3), stream.next()).await;
    assert!(wait.is_err(), "{wait:?}");
    let fetches: Vec<FetchRequest> = proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.api_key == ApiKey::FETCH.0)
        .map(|seen| {
            let payload = Bytes::from(seen.frame);
            let (header, body) = decode_request_header(&payload).unwrap();
            decode_request_body::<FetchRequest>(&payload.slice(body..), header.version).unwrap()
        })
        .collect();
    let last = fetches.last().unwrap();
    println!(
        "{} fetches, the last one of session {} number {}",
        fetches.len(),
        last.session_id,
        last.session_epoch
    );
    assert!(last.session_id > 0 && last.session_epoch > 3);
    assert_eq!((last.topics.len(), last.forgotten_topics_data.len()), (0, 0));
    assert!(fetches.len() < 100, "one for each broker and wait, of which there were 15");
    client.partition_client(&name, 33).await.unwrap().produce(vec![Record::new("x")]).await.unwrap();
    let record = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((record.partition, record.record.offset), (33, 0));
}
