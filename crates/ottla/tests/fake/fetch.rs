//! Fetching: long polls, limits, transactions, holes, damage.

use bytes::{Bytes, BytesMut};
use ottla::{
    Compression, Error, ErrorCode, IsolationLevel, Record, StartOffset, StreamConsumerBuilder, Timestamp,
};
use ottla_fake::{Answer, FakeCluster, Marker, NewRecord, Reaction, Release, Rule, Stage};
use ottla_wire::{ApiKey, RecordSet, VersionRange};

use crate::support::{
    PipeTransport, cluster, millis, one, pass, read_all, records, secs, texts, timed, world,
};

/// B5: a poll ends when records arrive, not when its wait is over.
#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_records_arrive() {
    let (partition, _client, pipes) = one().await;
    let poll = tokio::spawn(async move { timed(partition.fetch_records(0, 1..1_000, 10_000)).await });
    pass(secs(3)).await;
    pipes.append("t", 0, &["a"]);
    let (result, took) = poll.await.unwrap();
    let (records, high_watermark) = result.unwrap();
    assert_eq!((texts(&records), high_watermark), (vec!["a".to_owned()], 1));
    assert!((secs(3)..millis(3_100)).contains(&took), "{took:?}");
}

/// B5: with nothing to read the answer is empty, and comes when the wait is over.
#[tokio::test(start_paused = true)]
async fn an_empty_log_is_waited_at_and_then_empty() {
    let (partition, _client, _pipes) = one().await;
    for wait in [0, 700] {
        let (result, took) = timed(partition.fetch_records(0, 1..1_000, wait)).await;
        assert_eq!(result.unwrap(), (vec![], 0));
        let wait = millis(u64::try_from(wait).unwrap());
        assert!((wait..wait + millis(100)).contains(&took), "{took:?}");
    }
}

/// B5: the least number of bytes is waited for, and what is there comes when the wait is over.
#[tokio::test(start_paused = true)]
async fn fewer_bytes_than_asked_for_are_waited_with() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let (result, took) = timed(partition.fetch_records(0, 500..10_000, 1_000)).await;
    assert_eq!(texts(&result.unwrap().0), ["a"]);
    assert!((secs(1)..millis(1_100)).contains(&took), "{took:?}");
    let poll = tokio::spawn(async move { timed(partition.fetch_records(0, 500..10_000, 10_000)).await });
    pass(secs(2)).await;
    pipes.append("t", 0, &[&"b".repeat(500)]);
    let (result, took) = poll.await.unwrap();
    assert_eq!(result.unwrap().0.len(), 2);
    assert!((secs(2)..millis(2_100)).contains(&took), "{took:?}");
}

/// B5, Trap W3: the most bytes limit the answer, whose last batch may be cut; a batch that is larger comes whole all
/// the same.
#[tokio::test(start_paused = true)]
async fn the_most_bytes_limit_an_answer_but_not_its_first_batch() {
    let (partition, _client, pipes) = one().await;
    let value = "x".repeat(1_000);
    for _ in 0..5 {
        pipes.append("t", 0, &[&value]);
    }
    for (most, expected) in [(1, 1), (1_000, 1), (2_000, 1), (2_500, 2), (100_000, 5)] {
        let (records, high_watermark) = partition.fetch_records(0, 1..most, 0).await.unwrap();
        assert_eq!((records.len(), high_watermark), (expected, 5), "{most}");
    }
    let mut position = 0;
    while position < 5 {
        let (records, _) = partition.fetch_records(position, 1..1_500, 0).await.unwrap();
        assert_eq!(records[0].offset, position, "nothing is skipped after a batch that was cut");
        position = records.last().unwrap().offset + 1;
    }
}

/// B5: a broker sends whole batches; what lies before the offset asked for is left out.
#[tokio::test(start_paused = true)]
async fn records_before_the_offset_are_left_out() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0", "1", "2", "3"]);
    pipes.append("t", 0, &["4"]);
    assert_eq!(read_all(&partition, 2).await, ["2", "3", "4"]);
    assert_eq!(read_all(&partition, 4).await, ["4"]);
    assert_eq!(read_all(&partition, 5).await, [""; 0]);
}

/// Trap C6: committed reading shows neither aborted records nor markers, and stops at what is still open.
#[tokio::test(start_paused = true)]
async fn committed_reading_hides_what_is_aborted_or_open() {
    let (uncommitted, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    let written = |producer: i64, value: &str| {
        pipes.control(|cluster, now| {
            let stamp = cluster.wall_ms(now);
            let record = NewRecord::new("k", value.to_owned(), stamp);
            cluster.append_transactional(now, "t", 0, (producer, 0), [record]).unwrap()
        })
    };
    let ended = |producer: i64, marker| {
        pipes.control(|cluster, now| cluster.end_transaction(now, "t", 0, (producer, 0), marker)).unwrap()
    };
    written(1, "aborted 1"); // 0
    written(2, "committed 2"); // 1
    pipes.append("t", 0, &["plain"]); // 2
    written(1, "aborted 1 too"); // 3
    ended(1, Marker::Abort); // 4
    ended(2, Marker::Commit); // 5
    written(1, "committed 1"); // 6
    ended(1, Marker::Commit); // 7
    written(3, "aborted 3"); // 8
    ended(3, Marker::Abort); // 9
    pipes.append("t", 0, &["last"]); // 10
    written(4, "open"); // 11
    pipes.append("t", 0, &["behind"]); // 12
    let (shown, high_watermark) = committed.fetch_records(0, 1..1_000_000, 0).await.unwrap();
    assert_eq!(texts(&shown), ["committed 2", "plain", "committed 1", "last"]);
    assert_eq!(high_watermark, 13);
    assert_eq!(shown.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 6, 10]);
    let all = [
        "aborted 1",
        "committed 2",
        "plain",
        "aborted 1 too",
        "committed 1",
        "aborted 3",
        "last",
        "open",
        "behind",
    ];
    assert_eq!(read_all(&uncommitted, 0).await, all, "no markers here either");
    assert_eq!(read_all(&committed, 3).await, ["committed 1", "last"], "from inside an aborted transaction");
    ended(4, Marker::Commit);
    assert_eq!(read_all(&committed, 10).await, ["last", "open", "behind"]);
}

/// Trap C6: the list of aborted transactions is sorted here; brokers do not promise an order.
#[tokio::test(start_paused = true)]
async fn aborted_transactions_come_in_any_order() {
    let (_partition, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    for producer in 1..=3 {
        pipes.control(|cluster, now| {
            let record = NewRecord::new("k", format!("{producer}"), 1_000);
            cluster.append_transactional(now, "t", 0, (producer, 0), [record]).unwrap();
            cluster.end_transaction(now, "t", 0, (producer, 0), Marker::Abort).unwrap();
        });
    }
    pipes.append("t", 0, &["shown"]);
    let backwards = Reaction::alter(|answer| {
        let Answer::Fetch(answer) = answer else { return };
        answer.responses[0].partitions[0].aborted_transactions.as_mut().unwrap().reverse();
    });
    pipes.rule(Rule::new(backwards).api(ApiKey::FETCH));
    assert_eq!(read_all(&committed, 0).await, ["shown"]);
}

/// Trap C6: an answer that holds nothing to show moves the position all the same, within the call and its wait.
#[tokio::test(start_paused = true)]
async fn a_call_reads_on_behind_what_is_hidden() {
    let (_partition, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    pipes.control(|cluster, now| {
        let record = NewRecord::new("k", "hidden", 1_000);
        cluster.append_transactional(now, "t", 0, (1, 0), [record]).unwrap();
        cluster.end_transaction(now, "t", 0, (1, 0), Marker::Abort).unwrap();
    });
    let asked = pipes.requests(ApiKey::FETCH);
    let (result, took) = timed(committed.fetch_records(0, 1..1_000, 500)).await;
    assert_eq!(result.unwrap(), (vec![], 2));
    assert!((millis(500)..millis(600)).contains(&took), "{took:?}");
    assert!(pipes.requests(ApiKey::FETCH) - asked <= 3, "no hot loop");
    let poll = tokio::spawn(async move { timed(committed.fetch_records(0, 1..1_000, 10_000)).await });
    pass(secs(1)).await;
    pipes.append("t", 0, &["shown"]);
    let (result, took) = poll.await.unwrap();
    assert_eq!(texts(&result.unwrap().0), ["shown"]);
    assert!((secs(1)..millis(1_100)).contains(&took), "{took:?}");
}

/// Trap C6, Trap W8: a caller that does not wait gets past hidden records as well, however many answers they fill.
#[tokio::test(start_paused = true)]
async fn a_call_without_a_wait_gets_past_what_is_hidden() {
    let (_partition, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    pipes.control(|cluster, now| {
        for _ in 0..5 {
            let record = NewRecord::new("k", "hidden", 1_000);
            cluster.append_transactional(now, "t", 0, (1, 0), [record]).unwrap();
        }
        cluster.end_transaction(now, "t", 0, (1, 0), Marker::Abort).unwrap();
    });
    pipes.append("t", 0, &["shown"]);
    // Each answer has room for one batch.
    let (records, _) = committed.fetch_records(0, 0..1, 0).await.unwrap();
    assert_eq!(texts(&records), ["shown"]);
}

/// Trap W8: a compacted log has holes, and batches that have lost their last record.
#[tokio::test(start_paused = true)]
async fn holes_of_compaction_are_passed_over() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    pipes.create_with("t", 1, 1, &[("cleanup.policy", "compact")]);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let batch =
        |keys: &[&'static str]| keys.iter().map(|key| Record::new(*key).key(*key)).collect::<Vec<_>>();
    partition.produce(batch(&["a", "b", "c"])).await.unwrap(); // 0 1 2
    partition.produce(batch(&["b", "c"])).await.unwrap(); // 3 4
    partition.produce(batch(&["c"])).await.unwrap(); // 5
    partition.produce(batch(&["end"])).await.unwrap(); // 6
    pipes.control(|cluster, now| cluster.compact(now, "t", 0)).unwrap();
    let offsets = |records: Vec<ottla::RecordAndOffset>| records.iter().map(|r| r.offset).collect::<Vec<_>>();
    for (from, expected) in [(0, vec![0, 3, 5, 6]), (1, vec![3, 5, 6]), (2, vec![3, 5, 6]), (4, vec![5, 6])] {
        let (records, _) = partition.fetch_records(from, 1..1_000_000, 100).await.unwrap();
        assert_eq!(offsets(records), expected, "from {from}");
    }
    // One batch at a time, so that an answer may hold no record at or after the offset.
    let (records, _) = partition.fetch_records(1, 1..1, 1_000).await.unwrap();
    assert_eq!(records.first().map(|record| record.offset), Some(3));
}

/// Trap C10: the error names the offset and the way out.
#[tokio::test(start_paused = true)]
async fn an_offset_that_is_not_in_the_log_is_named() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0", "1"]);
    pipes.append("t", 0, &["2", "3"]);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 2)).unwrap();
    for offset in [1, 99] {
        let (result, took) = timed(partition.fetch_records(offset, 1..1_000, 1_000)).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
        let text = error.to_string();
        assert!(text.contains(&format!("offset {offset}")) && text.contains("get_offset"), "{text}");
        assert!(took < millis(100), "{took:?}");
    }
    assert_eq!(read_all(&partition, 2).await, ["2", "3"]);
}

fn altered(alter: impl Fn(&mut BytesMut) + Send + Sync + 'static) -> Rule {
    let answer = Reaction::alter(move |answer| {
        let Answer::Fetch(answer) = answer else { return };
        let data = &mut answer.responses[0].partitions[0];
        let mut bytes = BytesMut::from(&data.records.as_ref().unwrap().to_bytes()[..]);
        alter(&mut bytes);
        data.records = Some(RecordSet::from(bytes.freeze()));
    });
    Rule::new(answer).api(ApiKey::FETCH)
}

/// E8: a damaged batch is an error that names topic, partition and offset; the client goes on.
#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_named() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0", "1"]);
    pipes.rule(altered(|bytes| *bytes.last_mut().unwrap() ^= 1).times(1));
    let error = partition.fetch_records(1, 1..1_000, 100).await.unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { topic, partition: 0, offset: 1, .. } if &**topic == "t"),
        "{error}"
    );
    assert!(error.to_string().contains("t/0") && !error.is_retriable(), "{error}");
    assert_eq!(read_all(&partition, 0).await, ["0", "1"]);
}

/// E8: damage hides nothing that came before it.
#[tokio::test(start_paused = true)]
async fn records_before_a_damaged_batch_are_handed_over() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0", "1"]);
    pipes.append("t", 0, &["2"]);
    let damage = pipes.rule(altered(|bytes| *bytes.last_mut().unwrap() ^= 1));
    let (records, _) = partition.fetch_records(0, 1..1_000, 100).await.unwrap();
    assert_eq!(records.len(), 2);
    let error = partition.fetch_records(2, 1..1_000, 100).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset: 2, .. }), "{error}");
    pipes.control(|cluster, now| cluster.remove_rule(now, damage));
    assert_eq!(read_all(&partition, 2).await, ["2"]);
}

/// F1, Traps C4 and W5: what compressed batches become is bounded per call, and nothing is skipped.
#[tokio::test(start_paused = true)]
async fn a_call_holds_no_more_than_its_bound_of_decompressed_records() {
    let (partition, _client, _pipes) = one().await;
    let zeros = vec![0; 950_000];
    for _ in 0..90 {
        partition.produce_with(vec![Record::new(&zeros)], Compression::Zstd).await.unwrap();
    }
    let (first, _) = partition.fetch_records(0, 1..1_000_000, 100).await.unwrap();
    assert!(first.len() < 90 && first.len() * zeros.len() >= 64 << 20, "{} records", first.len());
    let next = first.len() as i64;
    let (rest, _) = partition.fetch_records(next, 1..1_000_000, 100).await.unwrap();
    assert_eq!((rest[0].offset, first.len() + rest.len()), (next, 90));
}

/// E8: whichever byte is damaged, nothing panics, and no call outlives its time.
#[tokio::test(start_paused = true)]
async fn no_damaged_byte_makes_a_panic() {
    let (partition, _client, pipes) = one().await;
    partition
        .produce_with(vec![Record::new("value").key("key").header("h", "v"); 3], Compression::Lz4)
        .await
        .unwrap();
    let len = pipes.control(|cluster, _| cluster.partition("t", 0).unwrap().log().bytes().len());
    let mut damaged = 0;
    for place in 0..len {
        for bit in [0x01, 0x80] {
            let rule = pipes.rule(altered(move |bytes| bytes[place] ^= bit));
            let (result, took) = timed(partition.fetch_records(0, 1..1_000, 10)).await;
            damaged += usize::from(matches!(result, Err(Error::Corrupt { .. })));
            assert!(took < secs(1), "{place}: {took:?}");
            pipes.control(|cluster, now| cluster.remove_rule(now, rule));
        }
    }
    assert!(damaged > len, "the CRC covers most of it: {damaged} of {}", 2 * len);
    assert_eq!(read_all(&partition, 0).await.len(), 3);
}

/// Trap W3: an answer that ends inside its only batch holds nothing yet, and is no error.
#[tokio::test(start_paused = true)]
async fn an_answer_cut_short_is_no_damage() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0"]);
    let len = pipes.control(|cluster, _| cluster.partition("t", 0).unwrap().log().bytes().len());
    for cut in 1..len {
        let rule = pipes.rule(altered(move |bytes| bytes.truncate(cut)));
        assert_eq!(partition.fetch_records(0, 1..1_000, 0).await.unwrap(), (vec![], 1), "{cut}");
        pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    }
}

/// Trap W7: where the topic says so, records have the time at which they were appended.
#[tokio::test(start_paused = true)]
async fn log_append_time_replaces_the_records_own() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    pipes.create_with("t", 1, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    pass(secs(1_000)).await;
    let appended = Timestamp(pipes.control(|cluster, now| cluster.wall_ms(now)));
    let made = |ms| Record::new("x").timestamp(Timestamp(ms));
    partition.produce(vec![made(5), made(1), made(9)]).await.unwrap();
    let (records, _) = partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [appended; 3]);
}

/// Every codec is read back, small batches and large ones.
#[tokio::test(start_paused = true)]
async fn every_codec_is_read_back() {
    let (partition, _client, _pipes) = one().await;
    let large = "compressible ".repeat(5_000);
    let mut offset = 0;
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        partition.produce_with(vec![Record::new("small"), Record::new(&large)], codec).await.unwrap();
        assert_eq!(read_all(&partition, offset).await, ["small", &large], "{codec:?}");
        offset += 2;
    }
}

/// Trap C11: brokers before 4.0 keep topics that are set to zstd from versions of Fetch below 10. That is an error at once
/// that says so, not a retry, for calls and for streams; brokers of 4.x send zstd in every version.
#[tokio::test(start_paused = true)]
async fn a_codec_that_the_version_cannot_carry_is_an_error_at_once() {
    for (release, newest, is_refused) in
        [(Release::V3_9, 9, true), (Release::V3_9, 10, false), (Release::V4_3, 9, false)]
    {
        let pipes = PipeTransport::start(FakeCluster::builder().release(release));
        pipes.create_with("t", 1, 1, &[("compression.type", "zstd")]);
        let range = VersionRange { min: 4, max: newest };
        pipes.control(|cluster, _| cluster.set_versions(ApiKey::FETCH, Some(range)));
        let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
        partition.produce_with(records(&["a"]), Compression::Zstd).await.unwrap();
        let (result, took) = timed(partition.fetch_records(0, 1..1_000, 500)).await;
        assert!(took < millis(100), "{took:?}");
        let mut stream =
            StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest).build().unwrap();
        let (streamed, took) = timed(stream.next()).await;
        assert!(took < millis(100), "{took:?}");
        let streamed = streamed.unwrap();
        if is_refused {
            let (error, stopped) = (result.unwrap_err(), streamed.unwrap_err());
            let clear = "compression.type is zstd in Fetch version 10 and later only";
            assert!(error.to_string().contains(clear) && error.to_string().contains("version 9"), "{error}");
            assert!(stopped.to_string().contains(clear), "{stopped}");
            assert_eq!(error.code(), Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
            assert_eq!(stopped.code(), Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
            assert!(!error.is_retriable());
        } else {
            assert_eq!(texts(&result.unwrap().0), ["a"], "{release:?}");
            assert_eq!(streamed.unwrap().0.value.as_deref(), Some(&b"a"[..]));
        }
    }
}

/// Trap N5: a broker that throttles a Fetch answers at once and without records. The call asks again when the pause is
/// over.
#[tokio::test(start_paused = true)]
async fn a_throttled_fetch_is_asked_again() {
    let (partition, client, pipes) = one().await;
    pipes.append("t", 0, &["0"]);
    pipes.rule(Rule::new(Reaction::Throttle(secs(2))).api(ApiKey::FETCH).times(1));
    let poll = tokio::spawn(async move { timed(partition.fetch_records(0, 1..1_000, 500)).await });
    pass(millis(10)).await;
    let (topics, took) = timed(client.list_topics()).await;
    topics.unwrap();
    assert!(took < millis(100), "another connection is not muted: {took:?}");
    let (result, took) = poll.await.unwrap();
    assert_eq!(texts(&result.unwrap().0), ["0"]);
    assert!((secs(2)..millis(2_500)).contains(&took), "{took:?}");
}

/// A poll follows the leader, and still ends when records arrive.
#[tokio::test(start_paused = true)]
async fn a_poll_follows_the_leader() {
    let pipes = cluster(3, 1);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let poll = tokio::spawn(async move { timed(partition.fetch_records(0, 1..1_000, 10_000)).await });
    pass(secs(1)).await;
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 2)).unwrap();
    pass(secs(1)).await;
    pipes.append("t", 0, &["a"]);
    let (result, took) = poll.await.unwrap();
    assert_eq!(texts(&result.unwrap().0), ["a"]);
    assert!((secs(2)..millis(2_500)).contains(&took), "{took:?}");
}

/// A broker that dies under a poll is replaced by its successor.
#[tokio::test(start_paused = true)]
async fn a_poll_outlives_its_broker() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(3).session_timeout(secs(2)));
    pipes.create("t", 3, 3);
    let partition = pipes.client().await.partition_client("t", 1).await.unwrap();
    pipes.append("t", 1, &["a"]);
    let poll = tokio::spawn(async move { timed(partition.fetch_records(1, 1..1_000, 10_000)).await });
    pass(secs(1)).await;
    pipes.control(|cluster, now| cluster.kill(now, 2));
    pass(secs(4)).await;
    pipes.append("t", 1, &["b"]);
    let (result, took) = poll.await.unwrap();
    assert_eq!(texts(&result.unwrap().0), ["b"]);
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
}

/// Trap N13: a poll leaves a paused broker two seconds after its own wait is over, not at the request time-out; and
/// after two seconds when the broker lets nobody in.
#[tokio::test(start_paused = true)]
async fn a_poll_leaves_a_paused_broker() {
    for (connected, leaves_after) in [(true, secs(3)), (false, secs(2))] {
        let pipes = PipeTransport::start(FakeCluster::builder().nodes(3));
        pipes.create("t", 3, 3);
        pipes.append("t", 1, &["a"]);
        let client = pipes.client().await;
        let partition = client.partition_client("t", 1).await.unwrap();
        if connected {
            read_all(&partition, 0).await;
        }
        pipes.control(|cluster, now| cluster.pause(now, 2));
        let (result, took) = timed(partition.fetch_records(0, 1..1_000, 1_000)).await;
        assert_eq!(texts(&result.unwrap().0), ["a"]);
        assert!((leaves_after..leaves_after + millis(1_500)).contains(&took), "{connected}: {took:?}");
        assert_eq!(read_all(&partition, 0).await, ["a"]);
    }
}

/// D1: polls wait side by side, each on a connection of its own; those that find none free wait for their turn.
#[tokio::test(start_paused = true)]
async fn polls_wait_side_by_side_within_the_pool() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().fetch_connections(8).build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    let before = pipes.connections_open();
    let started = tokio::time::Instant::now();
    let polls: Vec<_> = (0..16)
        .map(|_| {
            let partition = partition.clone();
            tokio::spawn(async move {
                partition.fetch_records(0, 1..1_000, 1_000).await.unwrap();
                tokio::time::Instant::now()
            })
        })
        .collect();
    let mut ended = Vec::new();
    for poll in polls {
        ended.push(poll.await.unwrap() - started);
    }
    ended.sort_unstable();
    assert!(ended[7] < millis(1_100) && ended[8] >= secs(2) && ended[15] < millis(2_200), "{ended:?}");
    assert_eq!(pipes.connections_open() - before, 8);
}

/// An answer without the partition asked about is an error that says so.
#[tokio::test(start_paused = true)]
async fn an_answer_without_the_partition_is_an_error() {
    let (partition, _client, pipes) = one().await;
    let empty = Reaction::alter(|answer| {
        if let Answer::Fetch(answer) = answer {
            answer.responses.clear();
        }
    });
    pipes.rule(Rule::new(empty).api(ApiKey::FETCH).times(1));
    let error = partition.fetch_records(0, 1..1_000, 0).await.unwrap_err();
    assert!(error.to_string().contains("does not mention t/0"), "{error}");
}

/// A record keeps its bytes when everything else of its answer is gone.
#[tokio::test(start_paused = true)]
async fn records_outlive_the_client() {
    let (partition, client, pipes) = one().await;
    pipes.append("t", 0, &["kept"]);
    let (mut records, _) = partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    let value: Bytes = records.remove(0).value.unwrap();
    drop((partition, client, records, pipes));
    assert_eq!(value, "kept");
}

/// A delay at the broker is no reason to ask twice.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["0"]);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(20))).api(ApiKey::FETCH));
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 0)).await;
    assert_eq!(texts(&result.unwrap().0), ["0"]);
    assert!((secs(20)..secs(21)).contains(&took), "{took:?}");
    assert_eq!(pipes.requests(ApiKey::FETCH), 1);
}

/// Records of several batches come in order from one call.
#[tokio::test(start_paused = true)]
async fn batches_come_in_order() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    for turn in 0..20 {
        partition.produce(vec![Record::new(format!("{turn}")), Record::new("-")]).await.unwrap();
    }
    let (records, _) = partition.fetch_records(0, 1..1_000_000, 0).await.unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    assert_eq!(texts(&records), pipes.values("t", 0));
    drop(records);
    assert_eq!(partition.produce(self::records(&["x"])).await.unwrap(), [40]);
}
