//! Metadata, ListOffsets, OffsetForLeaderEpoch, FindCoordinator.

use ottla_fake::{ConnId, FakeCluster, Marker, NewRecord, Reaction, Rule};
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::{ApiKey, ErrorCode, Uuid};

use crate::support::{World, plain};

fn named(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let topics = Some(names.iter().map(topic).collect());
    MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() }
}

fn names(response: &MetadataResponse) -> Vec<(String, ErrorCode)> {
    let name = |topic: &ottla_wire::messages::metadata::MetadataResponseTopic| {
        (topic.name.clone().map(String::from).unwrap_or_default(), topic.error_code)
    };
    response.topics.iter().map(name).collect()
}

/// Trap W11: from version 1 on no list is all topics, and an empty list none.
#[test]
fn no_list_is_all_topics_and_an_empty_list_none() {
    let (mut world, conn) = World::one_node();
    world.topic("u", 2, 1);
    let all = [("t".to_owned(), ErrorCode::NONE), ("u".to_owned(), ErrorCode::NONE)];
    let null = MetadataRequest { topics: None, ..Default::default() };
    for version in [1, 4, 9, 12, 13] {
        assert_eq!(names(&world.call(conn, version, &null)), all, "version {version}");
        assert_eq!(
            names(&world.call(conn, version, &MetadataRequest { topics: Some(Vec::new()), ..null.clone() })),
            []
        );
    }
    assert_eq!(names(&world.call(conn, 0, &MetadataRequest::default())), all);
}

#[test]
fn brokers_leaders_and_replicas_are_listed() {
    let mut world = World::new(FakeCluster::builder().nodes(3).racks());
    let id = world.topic("t", 4, 2);
    let conn = world.connect(2);
    let answer = world.call(conn, 12, &named(&["t"]));
    assert_eq!(answer.controller_id, 1);
    assert_eq!(answer.cluster_id.as_ref(), Some(world.cluster.cluster_id()));
    let brokers: Vec<_> = answer.brokers.iter().map(|b| (b.node_id, b.host.to_string(), b.port)).collect();
    assert_eq!(brokers, [1, 2, 3].map(|n| (n, format!("node-{n}"), 9092)));
    assert_eq!(answer.brokers[2].rack.as_deref(), Some("rack-3"));
    assert_eq!(answer.topics[0].topic_id, id);
    let leaders: Vec<_> =
        answer.topics[0].partitions.iter().map(|p| (p.leader_id, p.replica_nodes.to_vec())).collect();
    assert_eq!(leaders, [(1, vec![1, 2]), (2, vec![2, 3]), (3, vec![3, 1]), (1, vec![1, 2])]);
}

#[test]
fn an_unknown_topic_is_an_error_of_its_own() {
    let (mut world, conn) = World::one_node();
    let answer = world.call(conn, 9, &named(&["unknown", "bad name", "t"]));
    let expected = [
        ("t".to_owned(), ErrorCode::NONE),
        ("unknown".to_owned(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("bad name".to_owned(), ErrorCode::INVALID_TOPIC_EXCEPTION),
    ];
    assert_eq!(names(&answer), expected);
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let (mut world, conn) = World::one_node();
    let id = world.cluster.topic("t").unwrap().id();
    let by_id = |topic_id| {
        let topic = MetadataRequestTopic { topic_id, name: None, ..Default::default() };
        MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
    };
    assert_eq!(names(&world.call(conn, 12, &by_id(id))), [("t".to_owned(), ErrorCode::NONE)]);
    let unknown = world.call(conn, 12, &by_id(Uuid::from_bytes([1; 16])));
    assert_eq!((unknown.topics[0].error_code, &unknown.topics[0].name), (ErrorCode::UNKNOWN_TOPIC_ID, &None));
    let mut early = by_id(id);
    early.topics.as_mut().unwrap()[0].name = Some("t".into());
    let refused = world.call(conn, 10, &early);
    assert_eq!((refused.topics[0].error_code, refused.brokers.len()), (ErrorCode::INVALID_REQUEST, 0));
}

/// Trap M5: a look-up creates only when it allows that, and the cluster does too.
#[test]
fn a_look_up_creates_a_topic_when_both_sides_allow_it() {
    for (cluster, request, created) in [(false, true, false), (true, false, false), (true, true, true)] {
        let mut world = World::new(FakeCluster::builder().auto_create_topics(cluster).default_partitions(3));
        let conn = world.connect(1);
        let ask = MetadataRequest { allow_auto_topic_creation: request, ..named(&["new"]) };
        let first = world.call(conn, 9, &ask);
        assert_eq!(first.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let again = world.call(conn, 9, &named(&["new"]));
        assert_eq!(again.topics[0].error_code.is_none(), created);
        assert_eq!(again.topics[0].partitions.len(), if created { 3 } else { 0 });
    }
}

/// Trap M4: a broker that lags knows an older cluster.
#[test]
fn a_node_that_lags_answers_as_the_cluster_was() {
    let (mut world, _) = World::three_nodes();
    let (lagging, other) = (world.connect(2), world.connect(3));
    world.cluster.freeze_metadata(2);
    world.topic("new", 1, 1);
    world.cluster.move_leader(world.now, "t", 0, 3).unwrap();
    let seen = |answer: &MetadataResponse| {
        let known = answer.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).unwrap();
        (known.partitions[0].leader_epoch, answer.topics.iter().all(|topic| topic.error_code.is_none()))
    };
    let both = named(&["t", "new"]);
    assert_eq!(seen(&world.call(lagging, 9, &both)), (0, false));
    assert_eq!(world.call(lagging, 9, &MetadataRequest { topics: None, ..named(&[]) }).topics.len(), 1);
    assert_eq!(seen(&world.call(other, 9, &both)), (1, true));
    world.cluster.thaw_metadata(2);
    assert_eq!(seen(&world.call(lagging, 9, &both)), (1, true));
}

/// Trap N8: the answer as a whole says to begin anew, from version 13 on.
#[test]
fn a_rule_may_ask_for_a_rebootstrap() {
    let (mut world, conn) = World::one_node();
    let rule = Rule::new(Reaction::Error(ErrorCode::REBOOTSTRAP_REQUIRED)).api(ApiKey::METADATA);
    world.cluster.add_rule(rule);
    let answer = world.call(conn, 13, &named(&["t"]));
    assert_eq!(
        (answer.error_code, answer.topics[0].error_code),
        (ErrorCode::REBOOTSTRAP_REQUIRED, ErrorCode::NONE)
    );
}

/// Trap M3: the same name, another topic.
#[test]
fn a_topic_created_again_has_another_id() {
    let (mut world, conn) = World::one_node();
    let first = world.call(conn, 12, &named(&["t"])).topics[0].topic_id;
    world.cluster.delete_topic(world.now, "t").unwrap();
    world.topic("t", 1, 1);
    assert_ne!(world.call(conn, 12, &named(&["t"])).topics[0].topic_id, first);
}

fn list(
    world: &mut World,
    conn: ConnId,
    version: i16,
    isolation: i8,
    timestamp: i64,
) -> (ErrorCode, i64, i64, i32) {
    let asked = ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp,
        ..Default::default()
    };
    let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![asked], ..Default::default() };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation,
        topics: vec![topic],
        ..Default::default()
    };
    let row = world.call(conn, version, &request).topics.remove(0).partitions.remove(0);
    (row.error_code, row.offset, row.timestamp, row.leader_epoch)
}

fn at(timestamp: i64) -> NewRecord {
    NewRecord::new("k", "v", timestamp)
}

#[test]
fn offsets_are_found_by_time() {
    let (mut world, conn) = World::one_node();
    let now = world.now;
    world.cluster.append(now, "t", 0, [at(100), at(300)]).unwrap();
    world.cluster.append(now, "t", 0, [at(200), at(300), at(250)]).unwrap();
    let ok = |offset, timestamp, epoch| (ErrorCode::NONE, offset, timestamp, epoch);
    for (timestamp, expected) in [
        (-1, ok(5, -1, 0)),
        (-2, ok(0, -1, 0)),
        (-3, ok(1, 300, 0)),
        (-4, ok(0, -1, 0)),
        (-5, ok(-1, -1, -1)),
        (0, ok(0, 100, 0)),
        (100, ok(0, 100, 0)),
        (101, ok(1, 300, 0)),
        (301, ok(-1, -1, -1)),
    ] {
        assert_eq!(list(&mut world, conn, 9, 0, timestamp), expected, "timestamp {timestamp}");
    }
    world.cluster.raise_log_start(now, "t", 0, 3).unwrap();
    assert_eq!(list(&mut world, conn, 9, 0, -2), ok(3, -1, 0));
    assert_eq!(list(&mut world, conn, 9, 0, 100), ok(3, 300, 0));
}

#[test]
fn an_empty_log_has_no_timestamps() {
    let (mut world, conn) = World::one_node();
    for timestamp in [-3, 0] {
        assert_eq!(list(&mut world, conn, 9, 0, timestamp), (ErrorCode::NONE, -1, -1, -1));
    }
    assert_eq!(list(&mut world, conn, 9, 0, -1), (ErrorCode::NONE, 0, -1, 0));
    assert_eq!(list(&mut world, conn, 3, 0, -1), (ErrorCode::NONE, 0, -1, -1), "no epoch before version 4");
}

#[test]
fn special_timestamps_need_their_versions() {
    let (mut world, conn) = World::one_node();
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6), (11, -7)] {
        assert_eq!(
            list(&mut world, conn, version, 0, timestamp).0,
            ErrorCode::UNSUPPORTED_VERSION,
            "{timestamp}"
        );
    }
}

#[test]
fn the_end_is_the_high_watermark_or_the_last_stable_offset() {
    let (mut world, conn) = World::one_node();
    let now = world.now;
    world.cluster.append(now, "t", 0, [at(1)]).unwrap();
    world.cluster.append_transactional(now, "t", 0, (1, 0), [at(2)]).unwrap();
    world.cluster.append(now, "t", 0, [at(3)]).unwrap();
    assert_eq!(list(&mut world, conn, 9, 0, -1).1, 3);
    assert_eq!(list(&mut world, conn, 9, 1, -1).1, 1);
    assert_eq!(list(&mut world, conn, 9, 1, 3).1, -1, "not visible yet");
    world.cluster.end_transaction(now, "t", 0, (1, 0), Marker::Commit).unwrap();
    assert_eq!(list(&mut world, conn, 9, 1, -1).1, 4);
}

#[test]
fn a_new_leader_does_not_know_the_end_before_its_followers_do() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.hold_replica(world.now, "t", 0, 3).unwrap();
    world.produce(conn, 1, plain(&["a"]));
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    let leader = world.connect(2);
    assert_eq!(list(&mut world, leader, 5, 0, -1).0, ErrorCode::OFFSET_NOT_AVAILABLE);
    assert_eq!(list(&mut world, leader, 4, 0, -1).0, ErrorCode::LEADER_NOT_AVAILABLE);
    world.cluster.release_replica(world.now, "t", 0, 3).unwrap();
    assert_eq!(list(&mut world, leader, 5, 0, -1).1, 1);
}

#[test]
fn a_follower_does_not_list_offsets() {
    let (mut world, _) = World::three_nodes();
    let follower = world.connect(2);
    assert_eq!(list(&mut world, follower, 9, 0, -1), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1, -1, -1));
}

/// Trap C9: epochs end where the next began, and an unknown one has no end.
#[test]
fn epochs_end_where_the_next_one_began() {
    let (mut world, conn) = World::three_nodes();
    world.produce(conn, 1, plain(&["a", "b"]));
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    world.cluster.move_leader(world.now, "t", 0, 3).unwrap();
    let leader = world.connect(3);
    world.produce(leader, 1, plain(&["c"]));
    let mut ask = |current_leader_epoch, leader_epoch| {
        let asked = OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch,
            leader_epoch,
            ..Default::default()
        };
        let topic = OffsetForLeaderTopic { topic: "t".into(), partitions: vec![asked], ..Default::default() };
        let request =
            OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let row = world.call(leader, 4, &request).topics.remove(0).partitions.remove(0);
        (row.error_code, row.leader_epoch, row.end_offset)
    };
    assert_eq!(ask(2, 0), (ErrorCode::NONE, 0, 2));
    assert_eq!(ask(2, 1), (ErrorCode::NONE, 0, 2), "nothing was written under epoch 1");
    assert_eq!(ask(-1, 2), (ErrorCode::NONE, 2, 3));
    assert_eq!(ask(2, 3), (ErrorCode::NONE, -1, -1));
    assert_eq!(ask(2, -1), (ErrorCode::NONE, -1, -1));
    assert_eq!(ask(1, 0).0, ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(ask(3, 0).0, ErrorCode::UNKNOWN_LEADER_EPOCH);
}

#[test]
fn every_node_names_the_same_coordinator() {
    let mut world = World::new(FakeCluster::builder().nodes(3));
    let conns = [1, 2, 3].map(|node| world.connect(node));
    let old = FindCoordinatorRequest { key: "group".into(), key_type: 0, ..Default::default() };
    let new = FindCoordinatorRequest { coordinator_keys: vec!["group".into()], ..Default::default() };
    let found: Vec<_> = conns.iter().map(|conn| world.call(*conn, 3, &old).node_id).collect();
    assert!(found.iter().all(|node| *node == found[0] && *node > 0), "{found:?}");
    let listed = world.call(conns[0], 4, &new).coordinators.remove(0);
    assert_eq!((listed.node_id, listed.port, &*listed.key), (found[0], 9092, "group"));
}
