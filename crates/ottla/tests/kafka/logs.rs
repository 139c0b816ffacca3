//! What a log can look like: compacted, with the broker's own times, with its start moved; and where offsets lie.

use ottla::{Error, ErrorCode, OffsetAt, Record, Timestamp};

use crate::support::cluster::{eventually, one};
use crate::support::java::java;
use crate::support::wall_clock_ms;
use crate::world::{SOON, at, client, from_ottla, from_peer, new_topic, offsets, partition, read, value};

const HOUR: i64 = 3_600_000;

/// Trap W8: batches that lost records in the middle, at their end, or all of them. Each batch here starts a segment,
/// since its records are later than `segment.ms` after those before; the cleaner takes all but the last segment.
#[tokio::test]
async fn a_compacted_topic_is_read_across_its_holes() {
    let configs =
        [("cleanup.policy", "compact"), ("segment.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01")];
    let (client, other) = (client().await, client().await);
    let topic = new_topic(&client, "compacted", &configs).await;
    let partition = client.partition_client(&topic, 0).await.unwrap();
    // Its own producer id: the cleaner keeps the last batch of each producer, empty if it must.
    let visitor = other.partition_client(&topic, 0).await.unwrap();
    let start = wall_clock_ms() - 10 * HOUR;
    let key = |key: &'static str, hour: i64, value: &str| at(start + hour * HOUR, value).key(key);

    partition.produce(vec![key("a", 0, "0"), key("b", 0, "1"), key("c", 0, "2")]).await.unwrap();
    let tombstone = Record::tombstone("t").timestamp(Timestamp(start + HOUR));
    partition.produce(vec![tombstone, key("a", 1, "4"), key("b", 1, "5")]).await.unwrap();
    visitor.produce(vec![key("x", 2, "6")]).await.unwrap();
    partition.produce(vec![key("b", 3, "7"), key("c", 3, "8"), key("x", 3, "9")]).await.unwrap();
    partition.produce(vec![key("tail", 4, "10")]).await.unwrap();

    let kept = [3, 4, 7, 8, 9, 10];
    eventually("the cleaner has run", 2 * SOON, async || offsets(&partition, 0).await == kept).await;
    for from in 0..=10 {
        let first = kept.into_iter().find(|offset| *offset >= from);
        // Whole, and batch by batch: then an answer may hold nothing but a hole.
        for bytes in [1..1_000_000, 1..1] {
            let (records, high_watermark) = partition.fetch_records(from, bytes, 5_000).await.unwrap();
            assert_eq!((records.first().map(|r| r.offset), high_watermark), (first, 11), "from {from}");
        }
    }
    let ours = read(&partition, 0).await;
    assert_eq!(from_ottla(&ours), from_peer(&java(&one()).consume(&topic, 0, 0, None, &[]).await));
    assert_eq!(ours.iter().map(value).collect::<Vec<_>>(), ["", "4", "7", "8", "9", "10"]);
}

/// Trap W7: the broker's time is every record's, whatever the records say.
#[tokio::test]
async fn records_of_a_log_append_time_topic_have_the_brokers_time() {
    let client = client().await;
    let topic = new_topic(&client, "append-time", &[("message.timestamp.type", "LogAppendTime")]).await;
    let partition = client.partition_client(&topic, 0).await.unwrap();
    let before = wall_clock_ms();
    partition.produce(vec![at(before - 9 * HOUR, "0"), at(before - 5 * HOUR, "1")]).await.unwrap();
    let after = wall_clock_ms();

    let records = read(&partition, 0).await;
    assert_eq!(records.len(), 2);
    for record in &records {
        assert!((before..=after).contains(&record.timestamp.0), "{record:?}: not in {before}..={after}");
        assert_eq!(record.timestamp, records[0].timestamp);
    }
    let seen = java(&one()).consume(&topic, 0, 0, None, &[]).await;
    assert!(seen.iter().all(|seen| seen.append_time && seen.timestamp == records[0].timestamp.0));
}

/// Trap C10: a time past the end is "no such offset", not -1.
#[tokio::test]
async fn offsets_are_found_by_time_and_at_both_ends() {
    let (client, java) = (client().await, java(&one()));
    let topic = new_topic(&client, "offsets", &[]).await;
    let partition = client.partition_client(&topic, 0).await.unwrap();
    let none = partition.get_offset(OffsetAt::MaxTimestamp).await;
    assert!(matches!(none, Err(Error::NoSuchOffset { .. })), "an empty log has no largest time: {none:?}");
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 0);

    let start = wall_clock_ms() - HOUR;
    for (minutes, value) in [(0, "0"), (30, "1"), (20, "2")] {
        partition.produce(vec![at(start + minutes * 60_000, value)]).await.unwrap();
    }
    for (time, expected) in [(start - 1, 0), (start, 0), (start + 1, 1), (start + 30 * 60_000, 1)] {
        assert_eq!(partition.get_offset(Timestamp(time).into()).await.unwrap(), expected, "{}", time - start);
        assert_eq!(java.offset(&topic, 0, &time.to_string()).await.0, expected);
    }
    let past = partition.get_offset(Timestamp(start + 30 * 60_000 + 1).into()).await;
    assert!(matches!(past, Err(Error::NoSuchOffset { .. })), "{past:?}");
    assert_eq!(partition.get_offset(OffsetAt::MaxTimestamp).await.unwrap(), 1);
    assert_eq!(java.offset(&topic, 0, "max").await.0, 1);
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 3);
}

/// Trap C10: what is not in the log is reported, at once, with the offset.
#[tokio::test]
async fn a_fetch_outside_the_log_is_reported() {
    let partition = partition("outside", &[]).await;
    partition.produce(vec![Record::new("0")]).await.unwrap();
    let error = partition.fetch_records(2, 1..1_000_000, 20_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert!(!error.is_retriable() && error.to_string().contains("offset 2"), "{error}");
    let (records, high_watermark) = partition.fetch_records(1, 1..1_000_000, 50).await.unwrap();
    assert_eq!((records.len(), high_watermark), (0, 1), "the end itself is inside");
}

#[tokio::test]
async fn deleted_records_are_gone_and_the_log_starts_behind_them() {
    let partition = partition("deleted", &[]).await;
    let values = ["0", "1", "2", "3"].map(Record::new);
    partition.produce(values.to_vec()).await.unwrap();
    assert_eq!(partition.delete_records(2, 5_000).await.unwrap(), 2);
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 2);
    assert_eq!(offsets(&partition, 2).await, [2, 3]);
    let error = partition.fetch_records(1, 1..1_000_000, 1_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
    assert_eq!(partition.delete_records(1, 5_000).await.unwrap(), 2, "what is gone stays gone");
    let error = partition.delete_records(5, 5_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
    assert_eq!(partition.delete_records(4, 5_000).await.unwrap(), 4);
    assert_eq!(partition.produce(vec![Record::new("4")]).await.unwrap(), [4]);
}
