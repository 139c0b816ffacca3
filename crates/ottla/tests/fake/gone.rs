//! What is not supposed to happen: panics inside the client's tasks, and a runtime that is gone.
//!
//! Code of others' that runs there, and that a test can have panic: sockets, what collects the log, and the memory of
//! payloads when it is given back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ottla::{Compression, Error, OffsetAt, Record, StartOffset, StreamConsumerBuilder};
use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::events::panic_at;
use crate::support::{Oddity, cluster, millis, pass, records, secs, timed, world};

/// Trap N11: a panic in a connection's task is an error for whoever waits on it, not a hang.
#[tokio::test(start_paused = true)]
async fn a_panic_while_dialling_is_an_error() {
    for oddity in
        [Oddity::Panics, Oddity::SocketPanics, Oddity::WritePanics, Oddity::FlushPanics, Oddity::ReadPanics]
    {
        let pipes = cluster(1, 1);
        pipes.make_odd("node-1:9092", oddity);
        let (result, took) = timed(pipes.builder().request_timeout(secs(3)).build()).await;
        let error = result.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{oddity:?}: {error}");
        assert!(took <= secs(4), "{oddity:?}: {took:?}");
    }
}

/// Trap N11: calls that meet a panic end in time, and the client goes on afterwards.
#[tokio::test(start_paused = true)]
async fn a_client_outlives_a_panic_of_its_connections() {
    for oddity in
        [Oddity::Panics, Oddity::SocketPanics, Oddity::WritePanics, Oddity::FlushPanics, Oddity::ReadPanics]
    {
        let (client, pipes) = world(1, 1).await;
        let partition =
            client.partition("t", 0).timeout(secs(2)).delivery_timeout(secs(2)).build().await.unwrap();
        pipes.make_odd("node-1:9092", oddity);
        pipes.disconnect_all();
        for (call, (result, took)) in [
            ("produce", timed(async { partition.produce(records(&["x"])).await.map(drop) }).await),
            ("fetch", timed(async { partition.fetch_records(0, 1..1_000, 0).await.map(drop) }).await),
            ("offset", timed(async { partition.get_offset(OffsetAt::Latest).await.map(drop) }).await),
        ] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("panicked"), "{oddity:?}: {call}: {error}");
            assert!(took <= secs(3), "{oddity:?}: {call}: {took:?}");
        }
        pipes.make_normal();
        pass(secs(1)).await;
        assert_eq!(partition.produce(records(&["y"])).await.unwrap(), [0]);
        client.list_topics().await.unwrap();
    }
}

/// A payload that panics when its memory is given back, large enough to be referenced and not copied.
struct Payload(Vec<u8>);

impl Payload {
    fn record() -> Record<'static> {
        Record::new(Bytes::from_owner(Self(vec![b'x'; 100_000])))
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a payload with a fault of its own");
    }
}

/// Trap N11: a panic in the engine of a producer, here with an answer at hand, is an error for everybody who waits for a
/// delivery or for room and for all who come later; other producers of the client do not notice.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_producers_engine_is_an_error_for_every_delivery() {
    let (client, pipes) = world(1, 2).await;
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(50))).api(ApiKey::PRODUCE));
    let producer = client.producer().batch_size(200_000).buffer_memory(300_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send_to(0, Record::new("before")).await.unwrap();
    // The first request has the payload in it; the others wait for it, or for room.
    let mut deliveries = vec![topic.enqueue_to(0, Payload::record()).await.unwrap()];
    deliveries.push(topic.enqueue_to(1, Record::new(vec![b'y'; 100_000])).await.unwrap());
    let waiting_for_room = [0, 1].map(|partition| {
        let topic = topic.clone();
        let record = Record::new(vec![b'z'; 150_000]);
        tokio::spawn(async move { topic.send_to(partition, record).await.map(drop) })
    });
    let flush = tokio::spawn(async move { producer.flush().await });
    let all = async {
        for delivery in deliveries {
            let error = delivery.await.unwrap_err();
            assert!(matches!(error, Error::Closed), "{error}");
        }
        for waiter in waiting_for_room {
            let error = waiter.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Closed), "{error}");
        }
        flush.await.unwrap();
    };
    tokio::time::timeout(secs(1), all).await.expect("nobody waits for what will not come");
    let error = topic.send_to(1, Record::new("late")).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    let another = client.producer().build().await.unwrap();
    another.send("t", Record::new("another")).await.unwrap();
}

/// Trap N11: a panic of a thread that compresses a batch is an error for its records; the producer goes on, and has its
/// memory back.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_batch_is_compressed_fails_that_batch_alone() {
    let (client, pipes) = world(1, 1).await;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let producer = client
            .producer()
            .compression(codec)
            .batch_size(200_000)
            .buffer_memory(300_000)
            .build()
            .await
            .unwrap();
        let topic = producer.topic("t").await.unwrap();
        // More than the buffer holds in all.
        for _ in 0..5 {
            let delivery = topic.enqueue_to(0, Payload::record()).await.unwrap();
            let (result, took) = timed(delivery).await;
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Closed), "{codec:?}: {error}");
            assert!(took < secs(1), "{codec:?}: {took:?}");
            topic.send_to(0, Record::new(vec![b'y'; 100_000])).await.unwrap();
        }
    }
    assert_eq!(pipes.values("t", 0).len(), 20);
}

/// The same with many batches at once: threads go on behind a panic, and what waits for one is not lost.
#[tokio::test(start_paused = true)]
async fn panics_among_batches_that_are_compressed_at_once_fail_those_alone() {
    let (client, pipes) = world(1, 4).await;
    let producer = client.producer().compression(Compression::Lz4).batch_size(200_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..40 {
        let is_bad = number % 3 == 1;
        let record = if is_bad { Payload::record() } else { Record::new(vec![b'y'; 150_000]) };
        deliveries.push((is_bad, topic.enqueue_to(number % 4, record).await.unwrap()));
    }
    for (is_bad, delivery) in deliveries {
        let (result, took) = timed(delivery).await;
        assert_eq!(result.is_err(), is_bad);
        assert!(took < secs(1), "{took:?}");
    }
    assert_eq!((0..4).map(|partition| pipes.values("t", partition).len()).sum::<usize>(), 27);
    // Who waits for a batch is told before its memory is given back.
    let last = producer.clone();
    producer.close().await;
    assert_eq!(last.metrics().buffered, 0);
}

/// Trap N11: a panic in the engine of a stream ends the stream with an error; others are not concerned.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_streams_engine_is_an_error_for_its_reader() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let stream = || StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest).build().unwrap();
    let mut broken = stream();
    let reader =
        tokio::spawn(async move { [broken.next().await.map(drop_ok), broken.next().await.map(drop_ok)] });
    pass(millis(100)).await;
    let (_log, has_panicked) = panic_at("answered with an error", "Fetch");
    let refused = Reaction::Error(ErrorCode::UNKNOWN_LEADER_EPOCH);
    pipes.rule(Rule::new(refused).api(ApiKey::FETCH).times(1));
    let (ends, took) = timed(reader).await;
    let [first, second] = ends.unwrap();
    assert!(has_panicked.load(Ordering::Relaxed));
    assert!(matches!(first, Some(Err(Error::Closed))) && second.is_none());
    assert!(took < secs(2), "{took:?}");
    pipes.append("t", 0, &["a"]);
    assert_eq!(stream().next().await.unwrap().unwrap().0.offset, 0);
}

fn drop_ok<T>(result: ottla::Result<T>) -> ottla::Result<()> {
    result.map(drop)
}

/// Trap N11: a panic in the task that keeps the metadata fresh is an error for everybody who waits for what it would
/// bring, and for all who come later.
#[tokio::test(start_paused = true)]
async fn a_panic_while_metadata_is_refreshed_is_an_error_for_every_waiter() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let waiters = ["missing", "neither"].map(|topic| {
        let client = client.clone();
        tokio::spawn(async move { client.partition_client(topic, 0).await.map(drop) })
    });
    pass(millis(10)).await;
    let (_log, has_panicked) = panic_at("no metadata", "Metadata");
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::METADATA).times(1));
    for waiter in waiters {
        let (result, took) = timed(waiter).await;
        let error = result.unwrap().unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        assert!(took < secs(2), "{took:?}");
    }
    assert!(has_panicked.load(Ordering::Relaxed));
    for error in [
        client.list_topics().await.map(drop).unwrap_err(),
        partition.get_offset(OffsetAt::Latest).await.map(drop).unwrap_err(),
        partition.fetch_records(0, 1..1_000, 0).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Closed), "{error}");
    }
}

/// Trap N11: a panic of the task that asks for a producer id costs an attempt.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_producer_id_is_asked_for_is_another_attempt() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let (_log, has_panicked) = panic_at("answered with an error", "InitProducerId");
    let refused = Reaction::Error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    pipes.rule(Rule::new(refused).api(ApiKey::INIT_PRODUCER_ID).times(1));
    let (offsets, took) = timed(partition.produce(records(&["a"]))).await;
    assert_eq!(offsets.unwrap(), [0]);
    assert!(has_panicked.load(Ordering::Relaxed));
    assert!(took < secs(3), "{took:?}");
}

/// Trap N11: a runtime that is gone is an error for every waiter, at once: nothing that was started on it can end any more.
#[test]
fn a_runtime_that_is_gone_is_an_error_for_every_waiter() {
    let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (make(), make());
    let (client, partition, pipes) = first.block_on(async {
        let (client, pipes) = world(1, 1).await;
        let partition = client.partition_client("t", 0).await.unwrap();
        partition.produce(records(&["a"])).await.unwrap();
        (client, partition, pipes)
    });
    // Nothing moves on the first runtime while nobody runs it: these wait until it is gone.
    second.block_on(async {
        let waiters = [
            tokio::spawn({
                let partition = partition.clone();
                async move { partition.produce(records(&["b"])).await.map(drop) }
            }),
            tokio::spawn({
                let partition = partition.clone();
                async move { partition.fetch_records(0, 1..1_000, 60_000).await.map(drop) }
            }),
            tokio::spawn({
                let client = client.clone();
                async move { client.partition_client("missing", 0).await.map(drop) }
            }),
            tokio::spawn({
                let client = client.clone();
                async move { client.list_topics().await.map(drop) }
            }),
        ];
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        first.shutdown_background();
        let started = std::time::Instant::now();
        for (number, waiter) in waiters.into_iter().enumerate() {
            let error =
                tokio::time::timeout(secs(3), waiter).await.expect("it does not hang").unwrap().unwrap_err();
            assert!(!error.to_string().is_empty(), "{number}: {error}");
        }
        assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
        // And for everybody who comes later.
        let later = async {
            [
                partition.produce(records(&["c"])).await.map(drop).unwrap_err(),
                partition.get_offset(OffsetAt::Latest).await.map(drop).unwrap_err(),
                client.partition_client("t2", 0).await.map(drop).unwrap_err(),
                client.list_topics().await.map(drop).unwrap_err(),
            ]
        };
        for error in tokio::time::timeout(secs(2), later).await.expect("it does not hang") {
            assert!(matches!(error, Error::Closed), "{error}");
            assert!(error.is_fatal());
        }
    });
    drop(pipes);
}

/// The clock of a test that stands still reaches the whole client: half an hour of it costs no time.
#[tokio::test(start_paused = true)]
async fn half_an_hour_of_virtual_time_is_nothing() {
    let started = std::time::Instant::now();
    let (client, _pipes) = world(1, 1).await;
    pass(Duration::from_secs(1_800)).await;
    let (result, took) = timed(client.list_topics()).await;
    result.unwrap();
    assert!(took < millis(50), "{took:?}");
    assert!(started.elapsed() < secs(10));
}
