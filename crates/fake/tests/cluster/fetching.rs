//! Fetch: limits, waits, isolation, epochs, hints.

use std::time::Duration;

use bytes::Bytes;
use ottla_fake::{FakeCluster, Marker, NewRecord, Reaction, Release, Rule};
use ottla_wire::compression::Compression;
use ottla_wire::messages::fetch::{FetchRequest, FetchResponse};
use ottla_wire::records::{BatchHeader, Stamp, TimestampType, batches};
use ottla_wire::{ApiKey, ErrorCode, RecordSet, Uuid};

use crate::support::{WALL_MS, World, batch, fetch, only_partition, plain, produce, values};

fn sizes(response: &FetchResponse) -> Vec<usize> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| p.records.as_ref().map_or(0, RecordSet::len)).collect()
}

#[test]
fn a_long_poll_ends_when_enough_bytes_are_there() {
    let (mut world, conn) = World::one_node();
    let (reader, one) = (world.connect(1), plain(&["a"]).len());
    let poll =
        FetchRequest { max_wait_ms: 500, min_bytes: i32::try_from(one).unwrap() + 1, ..fetch("t", 0, 0) };
    world.send(reader, 12, &poll);
    world.produce(conn, 1, plain(&["a"]));
    assert!(world.frame(reader).is_none(), "one byte is missing");
    world.produce(conn, 1, plain(&["b"]));
    let (_, answer) = world.answer::<FetchRequest>(reader, 12).unwrap();
    assert_eq!(values(&only_partition(answer)).len(), 2);
}

#[test]
fn a_long_poll_ends_with_what_there_is_when_its_time_is_over() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a"]));
    let poll = FetchRequest { max_wait_ms: 500, min_bytes: 1_000_000, ..fetch("t", 0, 0) };
    world.send(conn, 12, &poll);
    assert_eq!(world.cluster.poll_timeout(), Some(world.now + Duration::from_millis(500)));
    world.pass(Duration::from_millis(500));
    let (_, answer) = world.answer::<FetchRequest>(conn, 12).unwrap();
    assert_eq!(values(&only_partition(answer)).len(), 1);
    assert_eq!(world.cluster.poll_timeout(), None);
}

#[test]
fn a_poll_that_asks_for_no_bytes_does_not_wait() {
    let (mut world, conn) = World::one_node();
    let poll = FetchRequest { max_wait_ms: 500, min_bytes: 0, ..fetch("t", 0, 0) };
    assert!(values(&only_partition(world.call(conn, 12, &poll))).is_empty());
}

#[test]
fn a_long_poll_ends_when_the_leader_moves() {
    let (mut world, conn) = World::three_nodes();
    world.send(conn, 10, &FetchRequest { max_wait_ms: 500, ..fetch("t", 0, 0) });
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    let (_, answer) = world.answer::<FetchRequest>(conn, 10).unwrap();
    assert_eq!(only_partition(answer).error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_follower_serves_consumers_from_version_11_on() {
    let (mut world, conn) = World::three_nodes();
    let follower = world.connect(2);
    world.produce(conn, 1, plain(&["a"]));
    world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
    world.cluster.shrink_isr(world.now, "t", 0, 2).unwrap();
    world.produce(conn, 1, plain(&["b"]));
    let early = only_partition(world.call(follower, 10, &fetch("t", 0, 0)));
    assert_eq!(early.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let lagging = only_partition(world.call(follower, 11, &fetch("t", 0, 0)));
    assert_eq!((values(&lagging).len(), lagging.high_watermark), (1, 1));
    let beyond = only_partition(world.call(follower, 11, &fetch("t", 0, 2)));
    assert_eq!(beyond.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    world.cluster.release_replica(world.now, "t", 0, 2).unwrap();
    assert_eq!(values(&only_partition(world.call(follower, 11, &fetch("t", 0, 0)))).len(), 2);
}

#[test]
fn the_first_batch_comes_whole_and_a_later_one_may_be_cut() {
    let (mut world, conn) = World::one_node();
    let text = "x".repeat(1_000);
    for _ in 0..3 {
        world.produce(conn, 1, plain(&[&text]));
    }
    let one = plain(&[&text]).len();
    let limited = |partition_max: usize, max: usize| {
        let mut request = fetch("t", 0, 0);
        request.max_bytes = i32::try_from(max).unwrap();
        request.topics[0].partitions[0].partition_max_bytes = i32::try_from(partition_max).unwrap();
        request
    };
    assert_eq!(sizes(&world.call(conn, 12, &limited(1, 1 << 20))), [one]);
    assert_eq!(sizes(&world.call(conn, 12, &limited(1 << 20, 1))), [one]);
    assert_eq!(sizes(&world.call(conn, 12, &limited(0, 0))), [one]);
    assert_eq!(sizes(&world.call(conn, 12, &limited(one, 1 << 20))), [one]);
    let cut = world.call(conn, 12, &limited(one + 100, 1 << 20));
    assert_eq!(sizes(&cut), [one + 100]);
    assert_eq!(values(&only_partition(cut)).len(), 1, "a reader ignores the cut batch");
}

#[test]
fn only_the_first_partition_with_records_exceeds_the_limits() {
    let mut world = World::new(FakeCluster::builder());
    world.topic("t", 2, 1);
    let conn = world.connect(1);
    let text = Bytes::from(vec![b'x'; 1_000]);
    for partition in [0, 1] {
        world
            .cluster
            .append(world.now, "t", partition, [NewRecord::new("k", text.clone(), WALL_MS)])
            .unwrap();
    }
    let mut request = fetch("t", 0, 0);
    let second = fetch("t", 1, 0).topics.remove(0).partitions.remove(0);
    request.topics[0].partitions.push(second);
    request.max_bytes = 10;
    let found = sizes(&world.call(conn, 12, &request));
    assert!(found[0] > 1_000 && found[1] == 0, "{found:?}");
    request.max_bytes = 1 << 20;
    request.topics[0].partitions[1].partition_max_bytes = 10;
    let found = sizes(&world.call(conn, 12, &request));
    assert!(found[0] > 1_000 && found[1] == 0, "{found:?}");
}

#[test]
fn an_offset_within_a_batch_gets_the_whole_batch() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a", "b", "c"]));
    let data = world.fetch(conn, 2);
    assert_eq!(values(&data).first().unwrap().0, 0);
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a", "b"]));
    world.produce(conn, 1, plain(&["c"]));
    world.cluster.raise_log_start(world.now, "t", 0, 1).unwrap();
    for (offset, code) in [
        (0, ErrorCode::OFFSET_OUT_OF_RANGE),
        (-1, ErrorCode::OFFSET_OUT_OF_RANGE),
        (1, ErrorCode::NONE),
        (3, ErrorCode::NONE),
        (4, ErrorCode::OFFSET_OUT_OF_RANGE),
    ] {
        let data = world.fetch(conn, offset);
        assert_eq!(data.error_code, code, "{offset}");
        if !code.is_none() {
            assert_eq!((data.high_watermark, data.log_start_offset), (-1, -1));
        }
    }
    assert_eq!(world.fetch(conn, 1).log_start_offset, 1);
}

#[test]
fn leader_epochs_are_compared_before_anything_else() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    world.cluster.move_leader(world.now, "t", 0, 1).unwrap();
    let follower = world.connect(3);
    let with_epoch = |epoch| {
        let mut request = fetch("t", 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request
    };
    for (epoch, at_leader, at_follower) in [
        (1, ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::FENCED_LEADER_EPOCH),
        (2, ErrorCode::NONE, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (3, ErrorCode::UNKNOWN_LEADER_EPOCH, ErrorCode::UNKNOWN_LEADER_EPOCH),
        (-1, ErrorCode::NONE, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    ] {
        assert_eq!(only_partition(world.call(conn, 10, &with_epoch(epoch))).error_code, at_leader, "{epoch}");
        assert_eq!(
            only_partition(world.call(follower, 10, &with_epoch(epoch))).error_code,
            at_follower,
            "{epoch}"
        );
    }
}

#[test]
fn the_leader_is_named_from_version_16_on() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let id = world.topic("t", 1, 1);
    let elsewhere = world.connect(2);
    let mut request = fetch("t", 0, 0);
    request.topics[0].topic_id = id;
    let answer = world.call(elsewhere, 16, &request);
    assert_eq!(
        answer.node_endpoints.iter().map(|e| (e.node_id, &*e.host)).collect::<Vec<_>>(),
        [(1, "node-1")]
    );
    assert_eq!(only_partition(answer).current_leader.leader_id, 1);
    let answer = world.call(elsewhere, 15, &request);
    assert_eq!(only_partition(answer).current_leader.leader_id, -1);
}

/// Trap C11: by the topic's setting, and before 4.0 only; what Kafka 4.3.1 and 3.9.1 answer.
#[test]
fn topics_that_are_set_to_zstd_need_fetch_version_10_before_4_0() {
    for (release, compression, version, code) in [
        (Release::V3_9, "zstd", 4, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (Release::V3_9, "zstd", 9, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (Release::V3_9, "zstd", 10, ErrorCode::NONE),
        (Release::V3_9, "producer", 9, ErrorCode::NONE),
        (Release::V4_3, "zstd", 4, ErrorCode::NONE),
    ] {
        let mut world = World::new(FakeCluster::builder().release(release));
        let setting = [("compression.type", compression)];
        world.cluster.create_topic_with(world.now, "t", 1, 1, &setting).unwrap();
        let conn = world.connect(1);
        let zstd = produce("t", 0, -1, batch(&["a"], WALL_MS, Compression::Zstd, &Stamp::default()));
        world.call(conn, 9, &zstd);
        let row = only_partition(world.call(conn, version, &fetch("t", 0, 0)));
        assert_eq!(row.error_code, code, "{release:?}, {compression}, version {version}");
        let bytes = row.records.map_or(0, |records| records.len());
        assert_eq!(bytes > 0, code.is_none(), "{release:?}, {compression}, version {version}");
    }
}

#[test]
fn topic_ids_are_resolved_from_version_13_on() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a"]));
    let mut request = fetch("t", 0, 0);
    request.topics[0].topic_id = world.cluster.topic("t").unwrap().id();
    let answer = world.call(conn, 18, &request);
    assert_eq!(answer.responses[0].topic_id, request.topics[0].topic_id);
    assert_eq!(values(&only_partition(answer)).len(), 1);
    request.topics[0].topic_id = Uuid::from_bytes([7; 16]);
    assert_eq!(only_partition(world.call(conn, 18, &request)).error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn a_reader_that_parted_is_told_where() {
    let (mut world, conn) = World::three_nodes();
    world.produce(conn, 1, plain(&["a", "b"]));
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    let leader = world.connect(2);
    world.produce(leader, 1, plain(&["c"]));
    let with_fetched = |offset, epoch| {
        let mut request = fetch("t", 0, offset);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        request
    };
    let same = only_partition(world.call(leader, 12, &with_fetched(2, 0)));
    assert_eq!((same.diverging_epoch.epoch, values(&same).len()), (-1, 1));
    let unknown = only_partition(world.call(leader, 12, &with_fetched(2, 9)));
    assert_eq!(unknown.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    let parted = only_partition(world.call(leader, 12, &with_fetched(3, 0)));
    assert_eq!((parted.error_code, parted.diverging_epoch.epoch), (ErrorCode::NONE, 0));
    assert_eq!((parted.diverging_epoch.end_offset, parted.records.unwrap().len()), (2, 0));
}

/// Trap W1, Trap C6: markers are control batches, and the aborted transactions are listed.
#[test]
fn read_committed_ends_at_the_first_open_transaction_and_lists_the_aborted() {
    let (mut world, conn) = World::one_node();
    let record = |value: &'static str| [NewRecord::new("k", value, WALL_MS)];
    let (now, aborter, open) = (world.now, (1, 0), (2, 0));
    world.cluster.append_transactional(now, "t", 0, aborter, record("aborted")).unwrap();
    world.cluster.append(now, "t", 0, record("plain")).unwrap();
    world.cluster.end_transaction(now, "t", 0, aborter, Marker::Abort).unwrap();
    world.cluster.append_transactional(now, "t", 0, open, record("open")).unwrap();
    world.cluster.append(now, "t", 0, record("after")).unwrap();

    let mut request = fetch("t", 0, 0);
    let all = only_partition(world.call(conn, 12, &request));
    assert_eq!((values(&all).len(), all.aborted_transactions.clone()), (4, None));
    assert_eq!((all.high_watermark, all.last_stable_offset), (5, 3));

    request.isolation_level = 1;
    let committed = only_partition(world.call(conn, 12, &request));
    assert_eq!(values(&committed), [(0, "aborted".to_owned()), (1, "plain".to_owned())]);
    let listed = committed.aborted_transactions.unwrap();
    assert_eq!(listed.iter().map(|t| (t.producer_id, t.first_offset)).collect::<Vec<_>>(), [(1, 0)]);

    world.cluster.end_transaction(now, "t", 0, open, Marker::Commit).unwrap();
    request.topics[0].partitions[0].fetch_offset = 3;
    let rest = only_partition(world.call(conn, 12, &request));
    assert_eq!((values(&rest).len(), rest.last_stable_offset), (2, 6));
    assert_eq!(rest.aborted_transactions, Some(Vec::new()));
}

#[test]
fn a_marker_is_a_record_whose_key_says_what_it_is() {
    let (mut world, _) = World::one_node();
    let now = world.now;
    world.cluster.append_transactional(now, "t", 0, (1, 0), [NewRecord::new("k", "v", WALL_MS)]).unwrap();
    world.cluster.end_transaction(now, "t", 0, (1, 0), Marker::Commit).unwrap();
    let log = world.cluster.partition("t", 0).unwrap().log();
    let marker = batches(log.bytes()).nth(1).unwrap().unwrap();
    assert!(marker.header().attributes.is_control() && marker.header().attributes.is_transactional());
    let stored = log.batches().nth(1).unwrap();
    assert_eq!(stored.records()[0].key.as_deref(), Some(&[0, 0, 0, 1][..]));
}

/// Trap W8: a compacted batch keeps its range of offsets.
#[test]
fn compaction_leaves_holes() {
    let mut world = World::new(FakeCluster::builder());
    world.cluster.create_topic_with(world.now, "t", 1, 1, &[("cleanup.policy", "compact")]).unwrap();
    let conn = world.connect(1);
    let keyed =
        |keys: &[&'static str]| keys.iter().map(|k| NewRecord::new(*k, *k, WALL_MS)).collect::<Vec<_>>();
    for keys in [&["a", "b", "a"][..], &["c", "b"], &["end"]] {
        world.cluster.append(world.now, "t", 0, keyed(keys)).unwrap();
    }
    world.cluster.compact(world.now, "t", 0).unwrap();
    let offsets: Vec<i64> = values(&world.fetch(conn, 0)).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [2, 3, 4, 5]);
    let first = world.cluster.partition("t", 0).unwrap().log().batches().next().unwrap().clone();
    assert_eq!(
        (first.header.base_offset, first.header.last_offset_delta, first.header.records_count),
        (0, 2, 1)
    );
}

/// By its last batch a broker knows what a producer has written: it stays, if need be without records. Of an aborted transaction
/// nothing stays, and it replaces nothing; what is not decided is left alone.
#[test]
fn compaction_keeps_the_last_batch_of_a_producer_and_nothing_that_was_aborted() {
    let (mut world, conn) = World::one_node();
    let (now, one) = (world.now, |key: &'static str| [NewRecord::new(key, key, WALL_MS)]);
    let (aborts, commits, open) = ((1, 0), (2, 0), (3, 0));
    world.cluster.append(now, "t", 0, one("a")).unwrap();
    world.cluster.append_transactional(now, "t", 0, aborts, one("a")).unwrap();
    world.cluster.append_transactional(now, "t", 0, aborts, one("b")).unwrap();
    world.cluster.end_transaction(now, "t", 0, aborts, Marker::Abort).unwrap();
    world.cluster.append_transactional(now, "t", 0, commits, one("c")).unwrap();
    world.cluster.end_transaction(now, "t", 0, commits, Marker::Commit).unwrap();
    world.cluster.append(now, "t", 0, one("c")).unwrap();
    world.cluster.append_transactional(now, "t", 0, open, one("a")).unwrap();
    world.cluster.append(now, "t", 0, one("end")).unwrap();
    world.cluster.compact(now, "t", 0).unwrap();
    let found = world.fetch(conn, 0);
    let offsets: Vec<i64> = values(&found).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 6, 7, 8]);
    let headers = batches(found.records.unwrap().to_bytes()).map(|batch| *batch.unwrap().header());
    let empty: Vec<_> = headers.filter(|header| header.records_count == 0).collect();
    let of = |header: &BatchHeader| (header.base_offset, header.producer_id, header.base_sequence);
    assert_eq!(empty.iter().map(of).collect::<Vec<_>>(), [(2, 1, 1), (4, 2, 0)]);
}

/// A follower's log may end where the leader's has a hole.
#[test]
fn a_log_is_truncated_in_a_hole() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let now = world.now;
    world.cluster.create_topic(now, "t", 1, 2).unwrap();
    let one = |key: &'static str| [NewRecord::new(key, key, WALL_MS)];
    world.cluster.append(now, "t", 0, one("a")).unwrap();
    world.cluster.append(now, "t", 0, one("b")).unwrap();
    world.cluster.hold_replica(now, "t", 0, 2).unwrap();
    world.cluster.shrink_isr(now, "t", 0, 2).unwrap();
    for key in ["b", "b", "c"] {
        world.cluster.append(now, "t", 0, one(key)).unwrap();
    }
    world.cluster.compact(now, "t", 0).unwrap();
    world.cluster.move_leader(now, "t", 0, 2).unwrap();
    let partition = world.cluster.partition("t", 0).unwrap();
    assert_eq!((partition.log().end(), partition.high_watermark()), (2, 2));
}

/// What the cluster's owner appends has the broker's time in a topic that is set so.
#[test]
fn what_is_appended_has_the_time_of_the_broker_where_the_topic_says_so() {
    let mut world = World::new(FakeCluster::builder());
    let settings = [("message.timestamp.type", "LogAppendTime")];
    world.cluster.create_topic_with(world.now, "t", 1, 1, &settings).unwrap();
    let now = world.now + Duration::from_secs(3);
    world.cluster.append(now, "t", 0, [NewRecord::new("k", "v", 5)]).unwrap();
    let log = world.cluster.partition("t", 0).unwrap().log();
    let stored = log.batches().next().unwrap();
    assert_eq!(stored.records()[0].timestamp, WALL_MS + 3_000);
    let batch = batches(log.bytes()).next().unwrap().unwrap();
    assert!(batch.check_crc().is_ok());
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
}

/// Trap C7: a session's requests leave out what has not changed, and its answers what there is nothing to say of.
#[test]
fn a_fetch_session_remembers_what_was_asked() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a"]));
    let opened = world.call(conn, 12, &FetchRequest { session_epoch: 0, ..fetch("t", 0, 1) });
    let session_id = opened.session_id;
    assert!(opened.error_code.is_none() && session_id > 0);
    assert_eq!(only_partition(opened).high_watermark, 1, "the first answer has everything");
    let next = |session_epoch| FetchRequest { session_id, session_epoch, ..FetchRequest::default() };
    let idle = world.call(conn, 12, &next(1));
    assert_eq!((idle.session_id, idle.responses.len()), (session_id, 0));
    world.produce(conn, 1, plain(&["b"]));
    assert_eq!(values(&only_partition(world.call(conn, 12, &next(2)))).len(), 1);
    assert_eq!(world.call(conn, 12, &next(2)).error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!(world.call(conn, 13, &next(3)).error_code, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    world.cluster.evict_fetch_sessions(1);
    assert_eq!(world.call(conn, 12, &next(3)).error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

/// Trap N5: the answer comes at once, and the next request waits.
#[test]
fn a_throttled_fetch_is_answered_without_records() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a"]));
    let throttle = Rule::new(Reaction::Throttle(Duration::from_millis(300))).api(ApiKey::FETCH).nth(1);
    world.cluster.add_rule(throttle);
    let answer = world.call(conn, 12, &fetch("t", 0, 0));
    assert_eq!((answer.throttle_time_ms, answer.responses.len()), (300, 0));
    world.send(conn, 12, &fetch("t", 0, 0));
    world.pass(Duration::from_millis(299));
    assert!(world.frame(conn).is_none());
    world.pass(Duration::from_millis(1));
    let (_, answer) = world.answer::<FetchRequest>(conn, 12).unwrap();
    assert_eq!(values(&only_partition(answer)).len(), 1);
}
