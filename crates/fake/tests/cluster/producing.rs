//! Produce: acks, checks of a batch, sequences, time stamps, leader hints.

use std::time::Duration;

use ottla_fake::{FakeCluster, NewRecord, Release};
use ottla_wire::compression::Compression;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::produce::{ProduceRequest, TopicProduceData};
use ottla_wire::records::Stamp;
use ottla_wire::{ApiKey, ErrorCode, RecordSet};

use crate::support::{WALL_MS, World, altered, batch, idempotent, only_row, plain, produce, values};

const NONE: i16 = ErrorCode::NONE.0;
const OUT_OF_ORDER: i16 = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0;
const INVALID_EPOCH: i16 = ErrorCode::INVALID_PRODUCER_EPOCH.0;

#[test]
fn produced_records_get_offsets_and_are_fetched() {
    let (mut world, conn) = World::one_node();
    for (acks, expected) in [(-1, 0), (1, 2)] {
        let row = world.produce(conn, acks, plain(&["a", "b"]));
        assert_eq!((row.error_code, row.base_offset), (ErrorCode::NONE, expected));
        assert_eq!((row.log_append_time_ms, row.log_start_offset), (-1, 0));
    }
    let data = world.fetch(conn, 0);
    let expected = [(0, "a"), (1, "b"), (2, "a"), (3, "b")].map(|(o, v)| (o, v.to_owned()));
    assert_eq!(values(&data), expected);
    assert_eq!(data.high_watermark, 4);
}

#[test]
fn every_codec_is_stored_as_it_came() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let (mut world, conn) = World::one_node();
        let row = world.produce(conn, -1, batch(&["one", "two"], WALL_MS, codec, &Stamp::default()));
        assert_eq!(row.error_code, ErrorCode::NONE, "{codec:?}");
        assert_eq!(values(&world.fetch(conn, 0)).len(), 2);
        let stored = world.cluster.partition("t", 0).unwrap().log().batches().next().unwrap().clone();
        assert_eq!(stored.header.attributes.compression().unwrap(), codec);
    }
}

#[test]
fn a_topic_with_a_codec_of_its_own_is_compressed_again() {
    let mut world = World::new(FakeCluster::builder());
    world.cluster.create_topic_with(world.now, "t", 1, 1, &[("compression.type", "gzip")]).unwrap();
    let conn = world.connect(1);
    let stamp = Stamp { producer_id: 1, producer_epoch: 0, base_sequence: 0, ..Default::default() };
    world.produce(conn, -1, batch(&["one", "two"], WALL_MS, Compression::Lz4, &stamp));
    let stored = world.cluster.partition("t", 0).unwrap().log().batches().next().unwrap().clone();
    assert_eq!(stored.header.attributes.compression().unwrap(), Compression::Gzip);
    assert_eq!(stored.header.producer_id, 1);
    assert_eq!(values(&world.fetch(conn, 0)), [(0, "one".to_owned()), (1, "two".to_owned())]);
}

/// Trap N10: nothing comes for acks = 0, and the next request is answered.
#[test]
fn without_acks_there_is_no_answer() {
    let (mut world, conn) = World::one_node();
    world.send(conn, 9, &produce("t", 0, 0, plain(&["a"])));
    assert!(world.frame(conn).is_none());
    world.call(conn, 9, &MetadataRequest::default());
    assert_eq!(values(&world.fetch(conn, 0)).len(), 1);
}

#[test]
fn without_acks_an_error_closes_the_connection() {
    let (mut world, conn) = World::one_node();
    world.send(conn, 9, &produce("unknown", 0, 0, plain(&["a"])));
    assert!(!world.cluster.is_open(conn));
}

/// Trap N10: some brokers answer nevertheless.
#[test]
fn a_cluster_may_answer_without_acks_nevertheless() {
    let mut world = World::new(FakeCluster::builder().answers_without_acks());
    world.topic("t", 1, 1);
    let conn = world.connect(1);
    assert!(world.produce(conn, 0, plain(&["a"])).error_code.is_none());
}

#[test]
fn acks_all_waits_for_the_high_watermark_and_acks_1_does_not() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.hold_high_watermark(world.now, "t", 0).unwrap();
    assert_eq!(world.produce(conn, 1, plain(&["a"])).error_code, ErrorCode::NONE);
    world.send(conn, 9, &produce("t", 0, -1, plain(&["b"])));
    assert!(world.frame(conn).is_none());
    let reader = world.connect(1);
    assert!(values(&world.fetch(reader, 0)).is_empty());
    world.cluster.release_high_watermark(world.now, "t", 0).unwrap();
    let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
    let row = only_row(answer);
    assert_eq!((row.error_code, row.base_offset), (ErrorCode::NONE, 1));
    assert_eq!(values(&world.fetch(reader, 0)).len(), 2);
}

/// Trap P1: what timed out was written.
#[test]
fn acks_all_times_out_with_the_batch_in_the_log() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.hold_high_watermark(world.now, "t", 0).unwrap();
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    world.pass(Duration::from_millis(999));
    assert!(world.frame(conn).is_none());
    world.pass(Duration::from_millis(1));
    let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
    assert_eq!(only_row(answer).error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(world.cluster.partition("t", 0).unwrap().log().end(), 1);
}

#[test]
fn too_few_replicas_in_sync_refuse_acks_all_before_the_append() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    world.cluster.create_topic_with(world.now, "t", 1, 2, &[("min.insync.replicas", "2")]).unwrap();
    let conn = world.connect(1);
    world.cluster.kill(world.now, 2);
    assert_eq!(world.produce(conn, -1, plain(&["a"])).error_code, ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(world.produce(conn, 1, plain(&["a"])).error_code, ErrorCode::NONE);
    world.cluster.restart(world.now, 2);
    assert_eq!(world.produce(conn, -1, plain(&["a"])).base_offset, 1);
}

/// Trap P1: the ISR shrank after the append. From 3.7 on nobody sees such records until enough replicas are in sync.
#[test]
fn too_few_replicas_after_the_append_say_so_or_are_waited_for() {
    let cases = [
        (Release::V3_6, 0, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        (Release::V4_3, 1_000, ErrorCode::REQUEST_TIMED_OUT),
    ];
    for (release, after, code) in cases {
        let mut world = World::new(FakeCluster::builder().nodes(2).release(release));
        world.cluster.create_topic_with(world.now, "t", 1, 2, &[("min.insync.replicas", "2")]).unwrap();
        let conn = world.connect(1);
        world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
        world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
        assert!(world.frame(conn).is_none());
        world.cluster.shrink_isr(world.now, "t", 0, 2).unwrap();
        let begun = world.now;
        while world.cluster.poll_timeout().is_some() {
            world.pass(Duration::from_millis(100));
        }
        assert_eq!(world.now - begun, Duration::from_millis(after), "{release:?}");
        let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
        assert_eq!(only_row(answer).error_code, code);
        assert_eq!(world.cluster.partition("t", 0).unwrap().high_watermark() == 1, after == 0);
        world.cluster.release_replica(world.now, "t", 0, 2).unwrap();
        assert_eq!(world.cluster.partition("t", 0).unwrap().high_watermark(), 1);
    }
}

/// A topic with fewer replicas than have to be in sync takes what all of them have.
#[test]
fn one_replica_is_enough_where_there_is_only_one() {
    let mut world = World::new(FakeCluster::builder().min_insync_replicas(2));
    world.topic("t", 1, 1);
    let conn = world.connect(1);
    assert!(world.produce(conn, -1, plain(&["a"])).error_code.is_none());
    assert_eq!(values(&world.fetch(conn, 0)).len(), 1);
}

#[test]
fn acks_other_than_0_1_and_all_are_refused() {
    let (mut world, conn) = World::one_node();
    assert_eq!(world.produce(conn, 2, plain(&["a"])).error_code, ErrorCode::INVALID_REQUIRED_ACKS);
}

#[test]
fn each_partition_is_answered_for_itself() {
    let (mut world, conn) = World::one_node();
    let mut request = produce("t", 0, -1, plain(&["a"]));
    let unknown = produce("unknown", 0, -1, plain(&["a"])).topic_data.remove(0);
    let beyond = produce("t", 7, -1, plain(&["a"])).topic_data.remove(0).partition_data.remove(0);
    request.topic_data[0].partition_data.push(beyond);
    request.topic_data.push(unknown);
    let answer = world.call(conn, 9, &request);
    let rows =
        |topic: usize| answer.responses[topic].partition_responses.iter().map(|r| (r.index, r.error_code));
    assert_eq!(
        rows(0).collect::<Vec<_>>(),
        [(0, ErrorCode::NONE), (7, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]
    );
    assert_eq!(rows(1).collect::<Vec<_>>(), [(0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
}

#[test]
fn version_13_names_topics_by_id() {
    let (mut world, conn) = World::one_node();
    let id = world.cluster.topic("t").unwrap().id();
    let by_id = |topic_id| {
        let partition_data = produce("t", 0, -1, plain(&["a"])).topic_data.remove(0).partition_data;
        let topic = TopicProduceData { topic_id, partition_data, ..Default::default() };
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() }
    };
    let answer = world.call(conn, 13, &by_id(id));
    assert_eq!(answer.responses[0].topic_id, id);
    assert!(only_row(answer).error_code.is_none());
    world.cluster.delete_topic(world.now, "t").unwrap();
    world.topic("t", 1, 1);
    assert_eq!(only_row(world.call(conn, 13, &by_id(id))).error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn a_follower_names_the_leader_from_version_10_on() {
    let (mut world, _) = World::three_nodes();
    let follower = world.connect(2);
    world.cluster.move_leader(world.now, "t", 0, 3).unwrap();
    let answer = world.call(follower, 10, &produce("t", 0, -1, plain(&["a"])));
    assert_eq!(answer.node_endpoints.len(), 1);
    assert_eq!((answer.node_endpoints[0].node_id, answer.node_endpoints[0].port), (3, 9092));
    let row = only_row(answer);
    assert_eq!(row.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((row.current_leader.leader_id, row.current_leader.leader_epoch), (3, 1));
    let row = only_row(world.call(follower, 9, &produce("t", 0, -1, plain(&["a"]))));
    assert_eq!(row.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_batch_is_checked_before_it_is_written() {
    let large = "x".repeat(1 << 20);
    let none = RecordSet::default();
    let two = RecordSet::from(vec![plain(&["a"]).to_bytes(), plain(&["b"]).to_bytes()]);
    let change = |place: usize, byte: u8| altered(&plain(&["a"]), move |bytes| bytes[place] = byte);
    let crc = |records: RecordSet| {
        altered(&records, |bytes| {
            let crc = crc32c(&bytes[21..]).to_be_bytes();
            bytes[17..21].copy_from_slice(&crc);
        })
    };
    let with_sequence = |sequence| {
        let stamp =
            Stamp { producer_id: 1, producer_epoch: 0, base_sequence: sequence, ..Default::default() };
        batch(&["a"], WALL_MS, Compression::None, &stamp)
    };
    let late = batch(&["a"], WALL_MS + 3_600_001, Compression::None, &Stamp::default());
    let cases = [
        ("no batch", none, ErrorCode::INVALID_RECORD),
        ("two batches", two, ErrorCode::INVALID_RECORD),
        ("an old format", change(16, 1), ErrorCode::INVALID_RECORD),
        ("a changed byte", change(62, 0xff), ErrorCode::CORRUPT_MESSAGE),
        ("a base offset", change(7, 9), ErrorCode::INVALID_RECORD),
        ("too large", plain(&[&large]), ErrorCode::MESSAGE_TOO_LARGE),
        ("a wrong count", crc(change(60, 2)), ErrorCode::INVALID_RECORD),
        ("a control batch", crc(change(22, 0x20)), ErrorCode::INVALID_RECORD),
        ("no sequence", with_sequence(-1), ErrorCode::INVALID_RECORD),
        ("more than an hour ahead", late, ErrorCode::INVALID_TIMESTAMP),
    ];
    for (what, records, expected) in cases {
        let (mut world, conn) = World::one_node();
        let row = world.produce(conn, -1, records);
        assert_eq!(row.error_code, expected, "{what}");
        assert_eq!(row.base_offset, -1, "{what}");
        assert_eq!(world.cluster.partition("t", 0).unwrap().log().end(), 0, "{what}");
        assert!(world.cluster.accepted().is_empty(), "{what}");
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[test]
fn zstd_needs_produce_version_7() {
    let (mut world, conn) = World::one_node();
    let zstd = || produce("t", 0, -1, batch(&["a"], WALL_MS, Compression::Zstd, &Stamp::default()));
    assert_eq!(only_row(world.call(conn, 6, &zstd())).error_code, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(only_row(world.call(conn, 7, &zstd())).error_code, ErrorCode::NONE);
}

#[test]
fn a_compacted_topic_wants_keys_and_names_the_record_without() {
    let mut world = World::new(FakeCluster::builder());
    world.cluster.create_topic_with(world.now, "t", 1, 1, &[("cleanup.policy", "compact")]).unwrap();
    let conn = world.connect(1);
    let row = world.produce(conn, -1, plain(&["a", "b"]));
    assert_eq!(row.error_code, ErrorCode::INVALID_RECORD);
    let indexes: Vec<i32> = row.record_errors.iter().map(|e| e.batch_index).collect();
    assert_eq!(indexes, [0, 1]);
}

/// Trap W7: the broker's time is in the header, and counts for every record.
#[test]
fn a_log_append_time_topic_stamps_batches_itself() {
    let mut world = World::new(FakeCluster::builder());
    world
        .cluster
        .create_topic_with(world.now, "t", 1, 1, &[("message.timestamp.type", "LogAppendTime")])
        .unwrap();
    let conn = world.connect(1);
    world.pass(Duration::from_millis(1_234));
    let row = world.produce(conn, -1, batch(&["a"], 7, Compression::None, &Stamp::default()));
    assert_eq!(row.log_append_time_ms, WALL_MS + 1_234);
    let stored = world.cluster.partition("t", 0).unwrap().log().batches().next().unwrap().clone();
    assert_eq!(stored.records()[0].timestamp, WALL_MS + 1_234);
    assert_eq!(values(&world.fetch(conn, 0)).len(), 1, "its CRC is right");
}

#[test]
fn sequences_go_on_where_they_were() {
    let (mut world, conn) = World::one_node();
    assert_eq!(world.sequence(conn, (7, 0), 0, 3), (NONE, 0));
    assert_eq!(world.sequence(conn, (7, 0), 3, 2), (NONE, 3));
    assert_eq!(world.sequence(conn, (7, 0), 6, 1), (OUT_OF_ORDER, -1));
    assert_eq!(world.sequence(conn, (7, 0), 5, 1), (NONE, 5));
}

#[test]
fn a_duplicate_of_the_last_five_batches_gets_its_old_offset() {
    let (mut world, conn) = World::one_node();
    for sequence in 0..6 {
        assert_eq!(world.sequence(conn, (7, 0), sequence * 2, 2), (NONE, i64::from(sequence) * 2));
    }
    for sequence in 1..6 {
        assert_eq!(world.sequence(conn, (7, 0), sequence * 2, 2), (NONE, i64::from(sequence) * 2));
    }
    assert_eq!(world.cluster.partition("t", 0).unwrap().log().end(), 12, "nothing was written twice");
    assert_eq!(world.cluster.accepted().iter().filter(|batch| batch.duplicate).count(), 5);
    assert_eq!(world.sequence(conn, (7, 0), 0, 2), (OUT_OF_ORDER, -1), "the sixth is forgotten");
    assert_eq!(world.sequence(conn, (7, 0), 2, 1), (OUT_OF_ORDER, -1), "half a batch is no duplicate");
}

/// Trap P2: any first sequence is taken from a producer that is not known, and only 0 under a new epoch.
#[test]
fn an_unknown_producer_begins_anywhere_and_a_new_epoch_at_0() {
    let (mut world, conn) = World::one_node();
    assert_eq!(world.sequence(conn, (7, 3), 41, 1), (NONE, 0));
    assert_eq!(world.sequence(conn, (7, 4), 42, 1), (OUT_OF_ORDER, -1));
    assert_eq!(world.sequence(conn, (7, 4), 0, 1), (NONE, 1));
    assert_eq!(world.sequence(conn, (7, 3), 42, 1), (INVALID_EPOCH, -1));
    assert_eq!(world.sequence(conn, (7, 3), 41, 1), (INVALID_EPOCH, -1), "an old batch of an old epoch too");
}

/// Trap P3: after 2^31-1 comes 0.
#[test]
fn sequences_wrap() {
    let (mut world, conn) = World::one_node();
    assert_eq!(world.sequence(conn, (7, 0), i32::MAX - 1, 2), (NONE, 0));
    assert_eq!(world.sequence(conn, (7, 0), 0, 1), (NONE, 2));
    let (mut world, conn) = World::one_node();
    assert_eq!(world.sequence(conn, (7, 0), i32::MAX, 3), (NONE, 0), "within a batch");
    assert_eq!(world.sequence(conn, (7, 0), i32::MAX, 3), (NONE, 0));
    assert_eq!(world.sequence(conn, (7, 0), 2, 1), (NONE, 3));
}

#[test]
fn producer_state_follows_the_log_over_an_election() {
    let (mut world, conn) = World::three_nodes();
    assert_eq!(world.sequence(conn, (7, 0), 0, 1), (NONE, 0));
    world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
    world.cluster.shrink_isr(world.now, "t", 0, 2).unwrap();
    assert_eq!(world.sequence(conn, (7, 0), 1, 1), (NONE, 1));
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    let lost: Vec<i64> = world.cluster.lost().iter().map(|batch| batch.base_offset).collect();
    assert_eq!(lost, [1]);
    let conn = world.connect(2);
    assert_eq!(world.sequence(conn, (7, 0), 2, 1), (OUT_OF_ORDER, -1));
    assert_eq!(world.sequence(conn, (7, 0), 1, 1), (NONE, 1), "no duplicate: the first is gone");
}

#[test]
fn state_survives_retention_and_may_be_forgotten() {
    let (mut world, conn) = World::one_node();
    world.sequence(conn, (7, 0), 0, 1);
    world.cluster.raise_log_start(world.now, "t", 0, 1).unwrap();
    assert_eq!(world.sequence(conn, (7, 0), 5, 1), (OUT_OF_ORDER, -1));
    world.cluster.forget_producer(world.now, "t", 0, 7).unwrap();
    assert_eq!(world.sequence(conn, (7, 0), 5, 1), (NONE, 1));
}

#[test]
fn each_producer_without_a_transactional_id_gets_a_fresh_id_at_epoch_0() {
    let (mut world, conn) = World::one_node();
    let first = world.call(
        conn,
        4,
        &InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    );
    let named = InitProducerIdRequest {
        transactional_id: None,
        producer_id: first.producer_id,
        producer_epoch: 0,
        ..Default::default()
    };
    let second = world.call(conn, 4, &named);
    assert_eq!((first.error_code, first.producer_epoch, second.producer_epoch), (ErrorCode::NONE, 0, 0));
    assert_ne!(first.producer_id, second.producer_id);
}

#[test]
fn a_transactional_id_keeps_its_producer_id_and_raises_its_epoch() {
    let (mut world, conn) = World::one_node();
    let request = InitProducerIdRequest {
        transactional_id: Some("tx".into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let first = world.call(conn, 4, &request);
    let second = world.call(conn, 4, &request);
    assert_eq!((first.producer_id, first.producer_epoch + 1), (second.producer_id, second.producer_epoch));
    let fenced = InitProducerIdRequest { producer_id: first.producer_id, producer_epoch: 0, ..request };
    assert_eq!(world.call(conn, 4, &fenced).error_code, ErrorCode::PRODUCER_FENCED);
}

#[test]
fn the_oracle_lists_what_was_accepted_in_order() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a", "b"]));
    world.sequence(conn, (7, 0), 0, 1);
    world.sequence(conn, (7, 0), 0, 1);
    world.cluster.append(world.now, "t", 0, [NewRecord::new("k", "v", WALL_MS)]).unwrap();
    let accepted: Vec<_> = world
        .cluster
        .accepted()
        .iter()
        .map(|b| (b.base_offset, b.records, b.producer_id, b.duplicate))
        .collect();
    assert_eq!(accepted, [(0, 2, -1, false), (2, 1, 7, false), (2, 1, 7, true)]);
    assert!(world.cluster.accepted().iter().all(|batch| batch.client_id.as_deref() == Some("test")));
    assert_eq!(world.cluster.counters().requests(ApiKey::PRODUCE), 3);
    assert_eq!(idempotent((7, 0), 0, 1).len(), 69);
}
