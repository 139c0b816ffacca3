//! Handles: a client is one among its children, and when the last one goes, everything is flushed and closes.

use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{cluster, millis, pass, polled, read_all, records, secs, world};

/// Dropping the client closes nothing that its children use.
#[tokio::test(start_paused = true)]
async fn children_outlive_the_client() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let controller = client.controller_client().await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    drop(client);
    pass(secs(60)).await;
    assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1]);
    assert_eq!(read_all(&partition, 0).await, ["a", "b"]);
    controller.create_topic("new", 1, 1, 1_000).await.unwrap();
    drop(partition);
    pass(secs(6)).await;
    controller.delete_topic("new", 1_000).await.unwrap();
    assert!(pipes.connections_open() > 0);
}

/// When the last handle is dropped, all connections close.
#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_all_connections() {
    let (client, pipes) = world(3, 3).await;
    for index in 0..3 {
        let partition = client.partition_client("t", index).await.unwrap();
        partition.produce(records(&["a"])).await.unwrap();
        partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    }
    assert!(pipes.connections_open() >= 7);
    drop(client);
    pass(millis(100)).await;
    assert_eq!(pipes.connections_open(), 0);
}

/// Also those on which an answer is still awaited: within five seconds.
#[tokio::test(start_paused = true)]
async fn connections_that_wait_close_within_five_seconds() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    assert!(polled(1, partition.fetch_records(0, 1..1_000, 60_000)).await.is_none());
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::METADATA));
    assert!(polled(1, client.list_topics()).await.is_none());
    pass(millis(100)).await;
    drop((client, partition));
    pass(millis(5_100)).await;
    assert_eq!(pipes.connections_open(), 0);
}

/// Trap P8: records that were accepted are written although every handle, and who waited for them, is gone.
#[tokio::test(start_paused = true)]
async fn accepted_records_are_written_after_the_last_handle_is_gone() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.rule(Rule::new(Reaction::Delay(Stage::BeforeApplying, secs(1))).api(ApiKey::PRODUCE));
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::PRODUCE).times(2));
    for value in ["a", "b", "c"] {
        assert!(polled(1, partition.produce(records(&[value]))).await.is_none());
    }
    drop((client, partition));
    pass(secs(15)).await;
    assert_eq!(pipes.values("t", 0), ["a", "b", "c"]);
    assert_eq!(pipes.connections_open(), 0);
}

/// Trap P8: a flush ends with the delivery time-out of what is left.
#[tokio::test(start_paused = true)]
async fn a_flush_that_cannot_end_gives_up_with_the_delivery_time_out() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    let partition =
        client.partition("t", 0).timeout(secs(5)).delivery_timeout(secs(20)).build().await.unwrap();
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    assert!(polled(1, partition.produce(records(&["a"]))).await.is_none());
    drop((client, partition));
    pass(secs(10)).await;
    assert!(pipes.connections_open() > 0, "it is still tried");
    pass(secs(17)).await;
    assert_eq!(pipes.connections_open(), 0);
}

/// A waiter is a handle: a call under way keeps what it needs.
#[tokio::test(start_paused = true)]
async fn a_call_under_way_keeps_its_client() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    drop(client);
    let poll = tokio::spawn(async move { partition.fetch_records(0, 1..1_000, 60_000).await });
    pass(secs(30)).await;
    pipes.append("t", 0, &["late"]);
    assert_eq!(poll.await.unwrap().unwrap().1, 1);
    pass(secs(1)).await;
    assert_eq!(pipes.connections_open(), 0);
}

/// Clients of one cluster have nothing in common.
#[tokio::test(start_paused = true)]
async fn clients_do_not_share_connections() {
    let pipes = cluster(1, 1);
    let (first, second) = (pipes.client().await, pipes.client().await);
    let partition = second.partition_client("t", 0).await.unwrap();
    drop(first);
    pass(secs(6)).await;
    assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0]);
}
