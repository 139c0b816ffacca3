//! Streams of one client: what they share, and what is each one's own.

use ottla::{Client, OutOfRange, RecordStream, StartOffset, StreamConsumerBuilder};
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, cluster, millis, pass, polled, secs, world};

async fn over(client: &Client, partitions: impl IntoIterator<Item = i32>) -> RecordStream {
    let mut stream = client.stream().max_wait(millis(100)).build().unwrap();
    for partition in partitions {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    stream
}

async fn next(stream: &mut RecordStream) -> String {
    String::from_utf8(stream.next().await.unwrap().unwrap().record.value.unwrap().to_vec()).unwrap()
}

fn fill(pipes: &PipeTransport, partition: i32, count: usize, size: usize) {
    for number in 0..count {
        pipes.append("t", partition, &[&format!("{number:0size$}")]);
    }
}

/// N4, F1: streams with equal settings share a connection, a session and the one request that is in flight; others have their
/// own.
#[tokio::test(start_paused = true)]
async fn streams_with_equal_settings_share_a_request() {
    let (client, pipes) = world(1, 3).await;
    let mut first = over(&client, [0]).await;
    pass(secs(1)).await;
    let open = pipes.connections_open();
    let mut second = client.stream().max_wait(millis(100)).prefetch_bytes(1 << 20).build().unwrap();
    second.add("t", 1, StartOffset::Earliest).await.unwrap();
    pass(secs(1)).await;
    let asked = pipes.requests(ApiKey::FETCH);
    pass(secs(10)).await;
    let asked = pipes.requests(ApiKey::FETCH) - asked;
    assert!((95..=102).contains(&asked), "{asked} requests in 100 waits");
    assert_eq!(pipes.connections_open(), open);
    for (partition, value) in [(0, "a"), (1, "b")] {
        pipes.append("t", partition, &[value]);
    }
    assert_eq!((next(&mut first).await, next(&mut second).await), ("a".to_owned(), "b".to_owned()));
    assert_eq!(first.metrics().fetches, second.metrics().fetches, "they are the same requests");
    assert_eq!((first.metrics().records, first.metrics().partitions.len()), (1, 1));

    let mut other = client.stream().max_wait(millis(200)).build().unwrap();
    other.add("t", 2, StartOffset::Earliest).await.unwrap();
    pass(secs(1)).await;
    assert_eq!(pipes.connections_open(), open + 1, "another wait needs another request");
}

/// A broker is asked for one offset of a partition in a session, so who reads it as well has a fetcher for that.
#[tokio::test(start_paused = true)]
async fn streams_of_the_same_partition_do_not_disturb_each_other() {
    let (client, pipes) = world(1, 2).await;
    (0..2).for_each(|partition| fill(&pipes, partition, 5, 3));
    let mut first = over(&client, [0, 1]).await;
    let mut second = over(&client, [1, 0]).await;
    for stream in [&mut first, &mut second] {
        for _ in 0..10 {
            next(stream).await;
        }
        assert_eq!((stream.position("t", 0), stream.position("t", 1)), (Some(5), Some(5)));
    }
    second.remove("t", 0).unwrap();
    first.remove("t", 0).unwrap();
    pipes.append("t", 0, &["later"]);
    second.add("t", 0, StartOffset::At(5)).await.unwrap();
    assert_eq!(next(&mut second).await, "later");
    drop(second);
    pipes.append("t", 1, &["last"]);
    assert_eq!(next(&mut first).await, "last");
}

/// Trap C12: a stream that nobody reads holds no other up that shares its fetcher.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_holds_no_other_up() {
    let (client, pipes) = world(1, 2).await;
    fill(&pipes, 0, 100, 1_000);
    let mut slow = client.stream().max_wait(millis(100)).prefetch_bytes(10_000).build().unwrap();
    slow.add("t", 0, StartOffset::Earliest).await.unwrap();
    pass(secs(1)).await;
    let held = slow.metrics().buffered;
    assert!((5_000..=12_000).contains(&held), "{held}");
    let mut quick = over(&client, [1]).await;
    for number in 0..50 {
        fill(&pipes, 1, 1, 2_000);
        assert!(polled(200, quick.next()).await.is_some(), "record {number}");
    }
    assert!(slow.metrics().buffered <= held + 2_500, "{:?}", slow.metrics());
    for number in 0..100 {
        assert_eq!(next(&mut slow).await, format!("{number:01000}"));
    }
}

/// F1: one budget over all streams of a client is kept, whatever the brokers have, and all of them go on.
#[tokio::test(start_paused = true)]
async fn a_budget_over_all_streams_is_kept() {
    const BUDGET: usize = 60_000;
    let pipes = cluster(3, 9);
    let client = pipes.builder().prefetch_bytes(BUDGET).build().await.unwrap();
    (0..9).for_each(|partition| fill(&pipes, partition, 60, 1_000));
    // The third has a fetcher of its own.
    let mut streams = vec![over(&client, 0..3).await, over(&client, 3..6).await];
    let mut third = client.stream().max_wait(millis(300)).build().unwrap();
    for partition in 6..9 {
        third.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    streams.push(third);
    let held = |streams: &[RecordStream]| -> u64 { streams.iter().map(|it| it.metrics().buffered).sum() };
    // What is around the records of an answer is counted, and cannot be asked for: an answer of each broker is beyond.
    let most = BUDGET as u64 + 3 * 5_000;
    let mut largest = 0;
    for _ in 0..180 {
        pass(millis(50)).await;
        largest = largest.max(held(&streams));
        assert!(largest <= most, "{largest} bytes are held");
        for stream in &mut streams {
            next(stream).await;
        }
    }
    assert!(largest > BUDGET as u64 / 2, "{largest}: prefetching uses what it may");
    for stream in &mut streams {
        assert!(polled(1, stream.next()).await.is_none(), "that was all");
    }
    assert_eq!(held(&streams), 0);
}

/// A4, F1: what a dropped stream held is the others' to use, and its partitions may be read by them.
#[tokio::test(start_paused = true)]
async fn a_dropped_stream_gives_its_bytes_and_partitions_back() {
    let pipes = cluster(1, 2);
    let client = pipes.builder().prefetch_bytes(40_000).build().await.unwrap();
    (0..2).for_each(|partition| fill(&pipes, partition, 100, 1_000));
    let lazy = over(&client, [0]).await;
    let other = over(&client, [1]).await;
    pass(secs(2)).await;
    let before = other.metrics().buffered;
    assert!(before <= 20_500 && lazy.metrics().buffered <= 40_500, "{before}");
    let connections = pipes.connections_open();
    drop(lazy);
    pass(secs(2)).await;
    assert!(other.metrics().buffered > 30_000, "{} after {before}", other.metrics().buffered);
    let mut again = over(&client, [0]).await;
    assert_eq!(next(&mut again).await, format!("{:01000}", 0));
    assert_eq!(pipes.connections_open(), connections, "one fetcher has both");
    drop((other, again));
    pass(secs(6)).await;
    assert_eq!(pipes.connections_open(), connections - 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_does_is_counted() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.append("t", 0, &["a", "b", "c"]);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 1)).unwrap();
    let builder = StreamConsumerBuilder::new(partition, StartOffset::At(0));
    let mut stream = builder.with_out_of_range(OutOfRange::Earliest).build().unwrap();
    assert_eq!(stream.next_batch().await.unwrap().unwrap().iter().count(), 2);
    let metrics = stream.metrics();
    assert_eq!((metrics.records, metrics.resets, metrics.truncations, metrics.lag()), (2, 1, 0, 0));
    pipes.append("t", 0, &["d", "e", "f"]);
    stream.next().await.unwrap().unwrap();
    assert_eq!(stream.next_batch().await.unwrap().unwrap().iter().count(), 2, "what is left of the batch");
    let metrics = stream.metrics();
    let log = pipes.control(|cluster, _| {
        let partition = cluster.partition("t", 0).unwrap();
        partition.log().batches().map(|batch| batch.bytes.len() as u64).sum::<u64>()
    });
    assert_eq!((metrics.records, metrics.bytes, metrics.lag()), (5, log, 0));
    assert!(metrics.fetches.requests >= 3 && metrics.fetches.bytes > log, "{metrics:?}");
    pass(secs(1)).await;
    let metrics = stream.metrics();
    assert_eq!(metrics.fetches.in_flight, 1);
    assert!(metrics.fetches.latency.count() >= 3 && metrics.fetches.latency.max() >= millis(499));
}
