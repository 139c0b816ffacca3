//! Records on their way from the caller to the machine: batches, room in the buffers, and what is said when there is
//! no offset to return.

use ottla::{Compression, Error, ErrorCode, Record};
use ottla_core::producer::{DeliveryCause, DeliveryOutcome};
use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::ApiKey;
use tokio::task::JoinSet;

use crate::support::{millis, one, records, world};

fn rule(reaction: Reaction) -> Rule {
    Rule::new(reaction).api(ApiKey::PRODUCE)
}

fn delivery(error: &Error) -> (DeliveryOutcome, &DeliveryCause) {
    match error {
        Error::Delivery(error) => (error.outcome, &error.cause),
        other => panic!("{other}"),
    }
}

/// While a batch is on its way, the next one grows.
#[tokio::test(start_paused = true)]
async fn callers_of_a_partition_share_batches() {
    let (orders, _client, pipes) = one().await;
    pipes.rule(rule(Reaction::Delay(Stage::AfterApplying, millis(2))));
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let orders = orders.clone();
        calls.spawn(async move { orders.produce(records(&["v"])).await.unwrap()[0] });
    }
    let mut offsets = calls.join_all().await;
    offsets.sort_unstable();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
    assert!(pipes.requests(ApiKey::PRODUCE) <= 3, "{}", pipes.requests(ApiKey::PRODUCE));
}

#[tokio::test(start_paused = true)]
async fn records_of_one_call_that_take_several_batches_have_their_own_offsets() {
    let (orders, _client, pipes) = one().await;
    let large = vec![7; 400_000];
    let call = (0..5).map(|_| Record::new(&large)).collect::<Vec<_>>();
    assert_eq!(orders.produce(call).await.unwrap(), [0, 1, 2, 3, 4]);
    let batches =
        pipes.control(|cluster, _| cluster.accepted().iter().map(|batch| batch.records).collect::<Vec<_>>());
    assert_eq!(batches, [2, 2, 1]);
}

/// Records of a call that fit into one batch are in the log together, or not at all.
#[tokio::test(start_paused = true)]
async fn records_of_one_call_are_not_spread_over_two_batches_without_need() {
    let (orders, _client, pipes) = one().await;
    pipes.rule(rule(Reaction::Delay(Stage::AfterApplying, millis(2))));
    let large = bytes::Bytes::from(vec![7; 300_000]);
    let mut calls = JoinSet::new();
    for count in [1, 2, 2, 3] {
        let (orders, large) = (orders.clone(), large.clone());
        let call = (0..count).map(move |_| Record::new(large.clone())).collect::<Vec<_>>();
        calls.spawn(async move { orders.produce(call).await.unwrap() });
    }
    calls.join_all().await;
    let batches =
        pipes.control(|cluster, _| cluster.accepted().iter().map(|batch| batch.records).collect::<Vec<_>>());
    assert_eq!(batches, [3, 2, 3]);
}

/// Trap P1: nothing of it is lost, nothing twice, whatever the sequence goes through.
#[tokio::test(start_paused = true)]
async fn errors_that_pass_are_retried() {
    for code in [
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
    ] {
        let (orders, _client, pipes) = one().await;
        assert_eq!(orders.produce(records(&["a"])).await.unwrap(), [0]);
        pipes.rule(rule(Reaction::Error(code)).times(3));
        for (value, offset) in [("b", 1), ("c", 2)] {
            let offsets = orders.produce(records(&[value])).await;
            assert_eq!(offsets.unwrap_or_else(|error| panic!("{code}: {error}")), [offset], "{code}");
        }
        assert_eq!(pipes.values("t", 0), ["a", "b", "c"], "{code}");
    }
}

/// Trap M3: the old client fails with both ids; one made anew writes to the new topic, and neither hinders the other.
#[tokio::test(start_paused = true)]
async fn a_topic_created_again_fails_who_wrote_to_the_old_one_with_both_ids() {
    let (old, client, pipes) = one().await;
    old.produce(records(&["old"])).await.unwrap();
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    let new_id = pipes.control(|cluster, now| cluster.create_topic(now, "t", 1, 1)).unwrap();
    let error = old.produce(records(&["lost"])).await.unwrap_err();
    assert_eq!(error.recreated().map(|(_, new)| new), Some(new_id), "{error}");
    assert_eq!(delivery(&error).0, DeliveryOutcome::NotWritten);
    assert!(error.is_fatal());
    let new = client.partition_client("t", 0).await.unwrap();
    assert_eq!(new.produce(records(&["a"])).await.unwrap(), [0]);
    assert!(old.produce(records(&["lost"])).await.unwrap_err().recreated().is_some());
    assert_eq!(new.produce(records(&["b"])).await.unwrap(), [1]);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
}

/// Also of a partition that was never written to, of which nobody knows but the old handle; and before and after the close.
#[tokio::test(start_paused = true)]
async fn a_handle_of_a_topic_created_again_is_told_so_in_each_partition() {
    let (client, pipes) = world(1, 3).await;
    let producer = client.producer().build().await.unwrap();
    let old = producer.topic("t").await.unwrap();
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    pipes.create("t", 3, 1);
    assert!(old.send_to(0, Record::new("lost")).await.unwrap_err().recreated().is_some());
    let new = producer.topic("t").await.unwrap();
    new.send_to(1, Record::new("a")).await.unwrap();
    assert!(old.send_to(1, Record::new("lost")).await.unwrap_err().recreated().is_some());
    producer.close().await;
    assert!(old.send_to(2, Record::new("late")).await.unwrap_err().recreated().is_some());
    assert!(matches!(new.send_to(2, Record::new("late")).await, Err(Error::Closed)));
}

/// F5, Trap P12: the room of what was resolved is used again, by whoever waits for it.
#[tokio::test(start_paused = true)]
async fn many_times_the_buffer_passes_through_it() {
    let (orders, _client, pipes) = one().await;
    let large = bytes::Bytes::from(vec![7; 900_000]);
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let (orders, large) = (orders.clone(), large.clone());
        calls.spawn(async move { orders.produce(vec![Record::new(large)]).await.unwrap()[0] });
    }
    let mut offsets = calls.join_all().await;
    offsets.sort_unstable();
    assert_eq!(offsets, (0..60).collect::<Vec<_>>());
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 60);
}

/// Trap P5: a duplicate is written, though nobody remembers where.
#[tokio::test(start_paused = true)]
async fn a_confirmation_without_an_offset_is_an_error_that_says_written() {
    let (orders, _client, pipes) = one().await;
    pipes.rule(rule(Reaction::Error(ErrorCode::DUPLICATE_SEQUENCE_NUMBER)).times(1));
    let error = orders.produce(records(&["a"])).await.unwrap_err();
    assert!(matches!(delivery(&error), (DeliveryOutcome::Written, DeliveryCause::NoOffset)), "{error}");
    assert!(!error.is_retriable());
}

/// Small batches are compressed in place, large ones by other threads.
#[tokio::test(start_paused = true)]
async fn batches_of_every_codec_and_size_are_written() {
    let (orders, _client, pipes) = one().await;
    let mut expected = Vec::new();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        for size in [100, 100_000, 200, 900_000] {
            let value = format!("{codec} {}", "7".repeat(size));
            let offset = i64::try_from(expected.len()).unwrap();
            assert_eq!(
                orders.produce_with(vec![Record::new(&value)], codec).await.unwrap(),
                [offset],
                "{codec}"
            );
            expected.push(value);
        }
    }
    assert!(pipes.values("t", 0) == expected);
}
