//! What is not supposed to happen: panics inside the client's tasks, and a runtime that is gone.

use std::time::Duration;

use ottla::{Error, OffsetAt};

use crate::support::{Oddity, cluster, millis, pass, records, secs, timed, world};

/// Trap N11: a panic in a connection's task is an error for whoever waits on it, not a hang.
#[tokio::test(start_paused = true)]
async fn a_panic_while_dialling_is_an_error() {
    for oddity in [Oddity::Panics, Oddity::SocketPanics, Oddity::WritePanics] {
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
    for oddity in [Oddity::Panics, Oddity::SocketPanics] {
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
