//! Offsets looked up by place and by time, and records deleted.

use ottla::{Error, ErrorCode, IsolationLevel, OffsetAt, Record, Timestamp};
use ottla_fake::{Marker, NewRecord, Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{cluster, one, pass, read_all, records, secs, timed};

#[tokio::test(start_paused = true)]
async fn earliest_and_latest_are_the_ends_of_the_log() {
    let (partition, _client, pipes) = one().await;
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 0);
    partition.produce(records(&["0", "1", "2"])).await.unwrap();
    pipes.append("t", 0, &["3"]);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 2)).unwrap();
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 2);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 4);
}

/// Trap C10: a time past the end is "no such offset", not -1.
#[tokio::test(start_paused = true)]
async fn a_time_finds_the_first_record_at_or_after_it() {
    let (partition, _client, _pipes) = one().await;
    let made = |ms| Record::new("x").timestamp(Timestamp(ms));
    partition.produce(vec![made(1_000), made(3_000)]).await.unwrap();
    partition.produce(vec![made(2_000), made(4_000)]).await.unwrap();
    for (ms, offset) in [(0, 0), (1_000, 0), (1_001, 1), (3_000, 1), (3_001, 3), (4_000, 3)] {
        assert_eq!(partition.get_offset(Timestamp(ms).into()).await.unwrap(), offset, "{ms}");
    }
    let error = partition.get_offset(Timestamp(4_001).into()).await.unwrap_err();
    assert!(matches!(&error, Error::NoSuchOffset { topic, partition: 0 } if &**topic == "t"), "{error}");
    assert!(error.is_retriable());
}

/// KIP-734: the record with the largest timestamp need not be the last.
#[tokio::test(start_paused = true)]
async fn the_largest_timestamp_is_found() {
    let (partition, _client, _pipes) = one().await;
    let error = partition.get_offset(OffsetAt::MaxTimestamp).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchOffset { .. }), "{error}");
    let made = |ms| Record::new("x").timestamp(Timestamp(ms));
    partition.produce(vec![made(5), made(9), made(7)]).await.unwrap();
    assert_eq!(partition.get_offset(OffsetAt::MaxTimestamp).await.unwrap(), 1);
}

/// For committed reading the log ends where the first open transaction begins.
#[tokio::test(start_paused = true)]
async fn committed_reading_ends_at_what_is_open() {
    let (uncommitted, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    pipes.append("t", 0, &["0"]);
    pipes.control(|cluster, now| {
        cluster.append_transactional(now, "t", 0, (7, 0), [NewRecord::new("k", "open", 1)]).unwrap();
    });
    assert_eq!(committed.get_offset(OffsetAt::Latest).await.unwrap(), 1);
    assert_eq!(uncommitted.get_offset(OffsetAt::Latest).await.unwrap(), 2);
    pipes.control(|cluster, now| cluster.end_transaction(now, "t", 0, (7, 0), Marker::Commit)).unwrap();
    assert_eq!(committed.get_offset(OffsetAt::Latest).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn looking_offsets_up_follows_the_leader() {
    let pipes = cluster(3, 1);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    for leader in [2, 3, 1] {
        pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, leader)).unwrap();
        let (offset, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
        assert_eq!(offset.unwrap(), 1);
        assert!(took < secs(1), "{took:?}");
    }
}

/// KIP-207: a new leader that does not know yet how far it may show its log says so, and is asked again.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_sure_yet_is_asked_again() {
    let (partition, _client, pipes) = one().await;
    let rule = Rule::new(Reaction::Error(ErrorCode::OFFSET_NOT_AVAILABLE)).api(ApiKey::LIST_OFFSETS).times(3);
    pipes.rule(rule);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 0);
    assert_eq!(pipes.requests(ApiKey::LIST_OFFSETS), 4);
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_gone() {
    let (partition, _client, _pipes) = one().await;
    for value in ["0", "1", "2", "3"] {
        partition.produce(records(&[value])).await.unwrap();
    }
    assert_eq!(partition.delete_records(2, 1_000).await.unwrap(), 2);
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 2);
    assert_eq!(read_all(&partition, 2).await, ["2", "3"]);
    let error = partition.fetch_records(0, 1..1_000, 0).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    let error = partition.delete_records(99, 1_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "there are none to delete up to there");
    assert_eq!(partition.delete_records(4, 1_000).await.unwrap(), 4);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 4);
}

/// Trap N4: a deletion that waits for its replicas does not delay a look-up.
#[tokio::test(start_paused = true)]
async fn a_slow_deletion_delays_no_look_up() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0"]);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(5))).api(ApiKey::DELETE_RECORDS));
    let deletion = tokio::spawn({
        let partition = partition.clone();
        async move { partition.delete_records(1, 10_000).await }
    });
    pass(secs(1)).await;
    let (offset, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
    assert_eq!(offset.unwrap(), 1);
    assert!(took < secs(1), "{took:?}");
    assert_eq!(deletion.await.unwrap().unwrap(), 1);
}
