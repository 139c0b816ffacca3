//! Streams from a real broker: where they start, what transactions hide, what retention takes, what a session saves.

use std::time::Duration;

use bytes::Bytes;
use ottla::wire::ApiKey;
use ottla::wire::messages::fetch::FetchRequest;
use ottla::wire::{decode_request_body, decode_request_header};
use ottla::{
    Codec, Compression, Error, ErrorCode, IsolationLevel, NewTopic, OffsetAt, OutOfRange, PartitionClient,
    Record, RecordStream, StartOffset, StreamConsumer, StreamConsumerBuilder, Timestamp,
};

use crate::support::cluster::{eventually, one};
use crate::support::java::java;
use crate::support::peer::PeerRecord;
use crate::support::proxy::Proxy;
use crate::support::wall_clock_ms;
use crate::world::{SOON, at, client, client_through, new_topic, partition};

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

async fn offsets(stream: &mut StreamConsumer, count: usize) -> Vec<i64> {
    next(stream, count).await.into_iter().map(|(offset, _)| offset).collect()
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
        assert_eq!(offsets(stream, count).await, (*first..4).collect::<Vec<_>>());
        assert_eq!((stream.position(), stream.lag()), (Some(4), Some(0)));
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
    assert_eq!(next(&mut resetting(&partition, 0, OutOfRange::Earliest), 1).await, [(2, "c".to_owned())]);
    assert_eq!(next(&mut resetting(&partition, 9, OutOfRange::Earliest), 1).await, [(2, "c".to_owned())]);
}

fn resetting(partition: &PartitionClient, start: i64, policy: OutOfRange) -> StreamConsumer {
    let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::At(start));
    builder.with_out_of_range(policy).with_max_wait_ms(100).build().unwrap()
}

/// Trap C10: an offset behind the end of the log, and one before its start, with each policy: reported; the end; the first record
/// that is younger than so long (KIP-1106), which may be before or behind what is left.
#[tokio::test]
async fn an_offset_outside_the_log_follows_the_policy() {
    let partition = partition("stream-outside", &[]).await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let ago = |of: u64, value: &str| at(wall_clock_ms() - 60_000 * i64::try_from(of).unwrap(), value);
    partition.produce(vec![ago(90, "a"), ago(60, "b"), ago(30, "c"), ago(10, "d")]).await.unwrap();
    partition.delete_records(1, 10_000).await.unwrap();
    for start in [0, 100] {
        let mut reporting = resetting(&partition, start, OutOfRange::Report);
        let error = tokio::time::timeout(SOON, reporting.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
        assert!(error.to_string().contains(&format!("offset {start} is not in the log")), "{error}");
        for (ago, first) in [(120, "b"), (45, "c"), (20, "d")] {
            let mut stream = resetting(&partition, start, OutOfRange::Ago(minutes(ago)));
            assert_eq!(next(&mut stream, 1).await[0].1, first, "from {start}, {ago} minutes ago");
            assert_eq!(stream.metrics().resets, 1);
        }
    }
    let mut latest = [0, 100].map(|start| resetting(&partition, start, OutOfRange::Latest));
    let mut youngest = resetting(&partition, 0, OutOfRange::Ago(minutes(1)));
    for stream in latest.iter_mut().chain([&mut youngest]) {
        let wait = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
        assert!(wait.is_err(), "{wait:?}");
        assert_eq!((stream.position(), stream.metrics().resets), (Some(4), 1));
    }
    partition.produce(vec![Record::new("e")]).await.unwrap();
    for stream in latest.iter_mut().chain([&mut youngest]) {
        assert_eq!(next(stream, 1).await, [(4, "e".to_owned())]);
    }
}

/// Trap C10: records are deleted ahead of a reader that is slow: what was fetched before still comes, then what the policy says, and
/// nothing twice.
#[tokio::test]
async fn retention_that_overtakes_a_slow_reader_follows_the_policy() {
    for policy in [OutOfRange::Report, OutOfRange::Earliest, OutOfRange::Latest] {
        let partition = partition("stream-overtaken", &[]).await;
        write_large(&partition, 30, 10_000).await;
        let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
        let builder = builder.with_prefetch_bytes(60_000).with_max_bytes(30_000).with_max_wait_ms(100);
        let mut stream = builder.with_out_of_range(policy).build().unwrap();
        assert_eq!(offsets(&mut stream, 1).await, [0]);
        partition.delete_records(25, 10_000).await.unwrap();
        let overtaken = until_overtaken(&mut stream, policy).await;
        assert!((1..25).contains(&overtaken), "{policy:?}: {overtaken} were fetched before");
        match policy {
            OutOfRange::Report => {
                assert!(stream.next().await.is_none(), "it waits for a seek");
                stream.seek(StartOffset::Earliest).unwrap();
                assert_eq!(offsets(&mut stream, 5).await, (25..30).collect::<Vec<_>>());
            }
            OutOfRange::Latest => {
                let wait = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
                assert!(wait.is_err(), "{wait:?}");
                assert_eq!(stream.position(), Some(30));
            }
            _ => assert_eq!(offsets(&mut stream, 4).await, (26..30).collect::<Vec<_>>()),
        }
        write_large(&partition, 1, 10_000).await;
        assert_eq!(offsets(&mut stream, 1).await, [30]);
        let resets = u64::from(policy != OutOfRange::Report);
        assert_eq!((stream.metrics().resets, stream.lag()), (resets, Some(0)), "{policy:?}");
    }
}

/// Reads what was fetched before. The offset at which there was no more of it; of one that goes on with the first record there is,
/// that record is read.
async fn until_overtaken(stream: &mut StreamConsumer, policy: OutOfRange) -> i64 {
    let mut next = 1;
    loop {
        let read = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        match (policy, read) {
            (OutOfRange::Latest, Err(_)) => return next,
            (OutOfRange::Earliest, Ok(Some(Ok((record, _))))) if record.offset == 25 => return next,
            (OutOfRange::Report, Ok(Some(Err(error)))) => {
                assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
                assert!(error.to_string().contains(&format!("offset {next} is not in the log")), "{error}");
                return next;
            }
            (_, Ok(Some(Ok((record, _))))) if record.offset == next => next += 1,
            (_, other) => panic!("{policy:?}, at {next}: {other:?}"),
        }
    }
}

/// Traps C3 and C10: records are deleted while their partition is paused: the policy is followed when it is resumed, and the
/// partition beside it goes on.
#[tokio::test]
async fn retention_that_overtakes_a_paused_partition_follows_the_policy() {
    let client = client().await;
    let name = crate::support::topic("stream-paused");
    client.controller_client().await.unwrap().create_topic(&name, 2, 1, 10_000).await.unwrap();
    let paused = client.partition_client(&name, 0).await.unwrap();
    let beside = client.partition_client(&name, 1).await.unwrap();
    for policy in [OutOfRange::Earliest, OutOfRange::Latest, OutOfRange::Report] {
        let first = append(&paused, 1).await;
        let stream = client.stream().max_wait(Duration::from_millis(100)).out_of_range(policy);
        let mut stream = stream.build().unwrap();
        stream.add(&name, 0, StartOffset::At(first)).await.unwrap();
        assert_eq!(place(&mut stream).await.unwrap(), (0, first));
        stream.pause(&name, 0).unwrap();
        let start = beside.get_offset(OffsetAt::Latest).await.unwrap();
        stream.add(&name, 1, StartOffset::At(start)).await.unwrap();
        // At the latest the second of them comes with an answer that was asked for after the pause.
        for _ in 0..2 {
            let offset = append(&beside, 1).await;
            assert_eq!(place(&mut stream).await.unwrap(), (1, offset));
        }
        let last = append(&paused, 4).await;
        paused.delete_records(last, 10_000).await.unwrap();
        stream.resume(&name, 0).unwrap();
        match policy {
            OutOfRange::Earliest => assert_eq!(place(&mut stream).await.unwrap(), (0, last)),
            OutOfRange::Latest => {
                let wait = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
                assert!(wait.is_err(), "{wait:?}");
                assert_eq!(stream.position(&name, 0), Some(last + 1));
            }
            _ => {
                let error = place(&mut stream).await.unwrap_err().to_string();
                assert!(error.contains(&format!("offset {} is not in the log", first + 1)), "{error}");
                stream.seek(&name, 0, StartOffset::Earliest).unwrap();
                assert_eq!(place(&mut stream).await.unwrap(), (0, last));
            }
        }
        for (index, partition) in [(1, &beside), (0, &paused)] {
            let offset = append(partition, 1).await;
            assert_eq!(place(&mut stream).await.unwrap(), (index, offset), "{policy:?}");
        }
        assert_eq!(stream.metrics().resets, u64::from(policy != OutOfRange::Report));
    }
}

/// Writes so many records; the offset of the last one.
async fn append(partition: &PartitionClient, count: usize) -> i64 {
    let records = (0..count).map(|_| Record::new("x")).collect();
    *partition.produce(records).await.unwrap().last().unwrap()
}

/// Partition and offset of what comes next.
async fn place(stream: &mut RecordStream) -> Result<(i32, i64), Error> {
    let next = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap()?;
    Ok((next.partition, next.record.offset))
}

/// Trap M3: a topic that was deleted and created again is another one to a stream, too: both ids are named, and nothing of the new
/// one comes before it is added again.
#[tokio::test]
async fn a_stream_of_a_topic_created_again_says_so() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let controller = client.controller_client().await.unwrap();
    let name = new_topic(&client, "stream-again", &[]).await;
    let write = async |value: &str| {
        let partition = crate::world::client().await.partition_client(&name, 0).await.unwrap();
        partition.produce(vec![Record::new(value)]).await.unwrap();
    };
    write("old").await;
    let mut stream = client.stream().max_wait(Duration::from_millis(100)).build().unwrap();
    stream.add(&name, 0, StartOffset::Earliest).await.unwrap();
    let first = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.record.offset, 0);
    assert!(fetches(&proxy).iter().all(|(version, _)| *version >= 13), "topics have ids in these");
    controller.delete_topic(&name, 10_000).await.unwrap();
    eventually("the topic is created again", SOON, async || {
        let new = NewTopic::new(&name).partitions(1).replication_factor(1);
        controller.create(new, 10_000).await.is_ok()
    })
    .await;
    write("new").await;
    let error = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap_err();
    let (old, new) = error.recreated().unwrap_or_else(|| panic!("{error}"));
    assert!(old != new && error.is_fatal(), "{error}");
    stream.remove(&name, 0).unwrap();
    stream.add(&name, 0, StartOffset::Earliest).await.unwrap();
    let again = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((again.record.offset, again.record.value.as_deref()), (0, Some(&b"new"[..])));
}

/// Trap C2: a seek counts from then on, whatever was fetched before it or is under way: the first record is that of the seek.
#[tokio::test]
async fn a_seek_undoes_what_was_fetched_and_what_is_under_way() {
    const COUNT: i64 = 60;
    let partition = partition("stream-seeks", &[]).await;
    let now = wall_clock_ms();
    for offset in 0..COUNT {
        partition.produce(vec![at(now + offset, &offset.to_string())]).await.unwrap();
    }
    // Two batches an answer, several answers ahead.
    let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
    let builder = builder.with_max_bytes(160).with_prefetch_bytes(1_000).with_max_wait_ms(500);
    let mut stream = builder.build().unwrap();
    for turn in 0..100 {
        let to = turn * 37 % COUNT;
        let start =
            if turn % 3 == 0 { StartOffset::Timestamp(Timestamp(now + to)) } else { StartOffset::At(to) };
        stream.seek(start).unwrap();
        assert_eq!(stream.position(), (turn % 3 != 0).then_some(to));
        let count = (COUNT - to).min(turn % 4);
        assert_eq!(
            offsets(&mut stream, usize::try_from(count).unwrap()).await,
            (to..to + count).collect::<Vec<_>>()
        );
    }
    stream.seek(StartOffset::At(COUNT)).unwrap();
    let wait = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;
    assert!(wait.is_err(), "{wait:?}");
    stream.seek(StartOffset::Earliest).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(offsets(&mut stream, 1).await, [0]);
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "what waits at the end of the log does not hold it up for longer"
    );
}

/// Trap C3: partitions come and go while a stream is read: each is read from where it was added, without gap or repeat, and nothing
/// comes of one that was removed. The fetch session outlives it (KIP-227).
#[tokio::test]
async fn partitions_are_added_and_removed_while_a_stream_is_read() {
    const COUNT: usize = 100;
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let name = crate::support::topic("stream-changes");
    client.controller_client().await.unwrap().create_topic(&name, 4, 1, 10_000).await.unwrap();
    let mut partitions = Vec::new();
    for index in 0..4 {
        partitions.push(client.partition_client(&name, index).await.unwrap());
        append(&partitions[partitions.len() - 1], COUNT).await;
    }
    let mut stream = client.stream().max_wait(Duration::from_millis(100)).build().unwrap();
    let mut next = [0; 4];
    // Of each answer one record is read at a time, so that there is always something that was fetched and not read.
    let read = async |stream: &mut RecordStream, next: &mut [i64; 4], count: usize| {
        for _ in 0..count {
            let (partition, offset) = place(stream).await.unwrap();
            let next = &mut next[usize::try_from(partition).unwrap()];
            assert_eq!(offset, *next, "of partition {partition}");
            *next += 1;
        }
    };
    for index in 0..3 {
        stream.add(&name, index, StartOffset::Earliest).await.unwrap();
    }
    read(&mut stream, &mut next, COUNT + 10).await;
    let removed = stream.position(&name, 1).unwrap();
    assert_eq!(removed, next[1]);
    stream.remove(&name, 1).unwrap();
    append(&partitions[1], COUNT).await;
    stream.add(&name, 3, StartOffset::Earliest).await.unwrap();
    append(&partitions[0], COUNT).await;
    let left = 5 * COUNT - usize::try_from(next.iter().sum::<i64>() - next[1]).unwrap() - COUNT;
    read(&mut stream, &mut next, left).await;
    assert_eq!(next[1], removed, "nothing of it came");
    stream.add(&name, 1, StartOffset::At(removed)).await.unwrap();
    read(&mut stream, &mut next, 2 * COUNT - usize::try_from(removed).unwrap()).await;
    assert_eq!(next, [2, 2, 1, 1].map(|times| times * COUNT as i64));

    let fetches = fetches(&proxy);
    let sessions: std::collections::BTreeSet<i32> =
        fetches.iter().map(|(_, fetch)| fetch.session_id).filter(|id| *id != 0).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let epochs: Vec<i32> = fetches.iter().map(|(_, fetch)| fetch.session_epoch).collect();
    assert!(epochs.is_sorted_by(|one, other| one < other), "{epochs:?}");
    let forgotten = fetches.iter().flat_map(|(_, fetch)| &fetch.forgotten_topics_data);
    let forgotten: Vec<i32> = forgotten.flat_map(|topic| topic.partitions.iter().copied()).collect();
    assert_eq!(forgotten, [1]);
}

/// F1: batches larger than all limits come, and a budget smaller than they are does not stop the stream.
#[tokio::test]
async fn batches_larger_than_the_limits_come() {
    let partition = partition("stream-large", &[]).await;
    write_large(&partition, 20, 200_000).await;
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest);
    let mut stream = builder.with_prefetch_bytes(50_000).with_max_bytes(10_000).build().unwrap();
    assert_eq!(offsets(&mut stream, 20).await, (0..20).collect::<Vec<_>>());
}

/// Writes so many batches of one record of so many bytes.
async fn write_large(partition: &PartitionClient, count: usize, bytes: usize) {
    for _ in 0..count {
        let record = Record::new("x".repeat(bytes));
        partition.produce_with(vec![record], Codec::from(Compression::None)).await.unwrap();
    }
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
    let fetches = fetches(&proxy);
    let (_, last) = fetches.last().unwrap();
    println!(
        "{} fetches, the last one of session {} number {}",
        fetches.len(),
        last.session_id,
        last.session_epoch
    );
    assert!(last.session_id > 0 && last.session_epoch > 3);
    assert_eq!((last.topics.len(), last.forgotten_topics_data.len()), (0, 0));
    // Once the partitions have been named there is nothing more to say, and nothing to answer before the wait is over.
    let is_empty = |fetch: &FetchRequest| fetch.topics.is_empty() && fetch.forgotten_topics_data.is_empty();
    let named = fetches.iter().rposition(|(_, fetch)| !is_empty(fetch)).unwrap();
    let idle = fetches.len() - 1 - named;
    assert!((8..=16).contains(&idle), "{idle} requests, one for each wait, of which there were 15");
    client.partition_client(&name, 33).await.unwrap().produce(vec![Record::new("x")]).await.unwrap();
    let record = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((record.partition, record.record.offset), (33, 0));
}

/// The Fetch requests so far, with their versions.
pub(crate) fn fetches(proxy: &Proxy) -> Vec<(i16, FetchRequest)> {
    let seen = proxy.seen().into_iter().filter(|seen| seen.api_key == ApiKey::FETCH.0);
    let decoded = seen.map(|seen| {
        let payload = Bytes::from(seen.frame);
        let (header, body) = decode_request_header(&payload).unwrap();
        (header.version, decode_request_body(&payload.slice(body..), header.version).unwrap())
    });
    decoded.collect()
}
