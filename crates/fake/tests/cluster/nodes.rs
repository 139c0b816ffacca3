//! Nodes that die, stop, come back, come new, and move.

use std::time::Duration;

use ottla_fake::{FakeCluster, NodeState};
use ottla_wire::ErrorCode;
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::produce::ProduceRequest;

use crate::support::{World, only_row, plain, produce, values};

fn leader(world: &World) -> (i32, i32, Vec<i32>) {
    let partition = world.cluster.partition("t", 0).unwrap();
    (partition.leader(), partition.leader_epoch(), partition.isr().to_vec())
}

#[test]
fn a_killed_node_is_gone_at_once_and_its_partitions_after_the_session_timeout() {
    let mut world = World::new(FakeCluster::builder().nodes(3).session_timeout(Duration::from_secs(2)));
    world.topic("t", 1, 3);
    let (dying, other) = (world.connect(1), world.connect(2));
    world.cluster.kill(world.now, 1);
    assert!(!world.cluster.is_open(dying) && world.cluster.connect(world.now, 1).is_none());
    assert_eq!(leader(&world), (1, 0, vec![1, 2, 3]), "nobody has noticed yet");
    assert_eq!(world.call(other, 9, &MetadataRequest::default()).brokers.len(), 3);
    world.pass(Duration::from_secs(2));
    assert_eq!(leader(&world), (2, 1, vec![2, 3]));
    assert_eq!(world.call(other, 9, &MetadataRequest::default()).brokers.len(), 2);
    assert_eq!(world.produce(other, -1, plain(&["a"])).base_offset, 0);
    world.cluster.restart(world.now, 1);
    assert_eq!(leader(&world), (2, 1, vec![2, 3, 1]));
}

#[test]
fn acks_all_waits_for_a_dead_follower_until_it_leaves_the_isr() {
    let mut world = World::new(FakeCluster::builder().nodes(2).session_timeout(Duration::from_millis(500)));
    world.topic("t", 1, 2);
    let conn = world.connect(1);
    world.cluster.kill(world.now, 2);
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    assert!(world.frame(conn).is_none());
    world.pass(Duration::from_millis(500));
    let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
    assert!(only_row(answer).error_code.is_none());
}

/// Trap N13: its sockets stay open, it takes what is sent, and answers when it goes on.
#[test]
fn a_paused_node_says_nothing_until_it_is_resumed() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.pause(world.now, 1);
    assert_eq!(world.cluster.node_state(1), Some(NodeState::Paused));
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    world.pass(Duration::from_secs(60));
    assert!(world.frame(conn).is_none() && world.cluster.is_open(conn));
    assert_eq!(leader(&world).0, 2);
    world.cluster.resume(world.now, 1);
    let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
    assert_eq!(only_row(answer).error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

/// Trap M4: a partition may have no leader.
#[test]
fn a_partition_whose_only_replica_is_down_has_no_leader() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    world.topic("t", 1, 1);
    let (conn, other) = (world.connect(1), world.connect(2));
    world.produce(conn, -1, plain(&["a"]));
    world.cluster.kill(world.now, 1);
    let all = MetadataRequest { topics: None, ..Default::default() };
    let partition = world.call(other, 9, &all).topics.remove(0).partitions.remove(0);
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    assert_eq!(partition.offline_replicas, [1]);
    world.cluster.restart(world.now, 1);
    let conn = world.connect(1);
    assert_eq!(values(&world.fetch(conn, 0)).len(), 1);
    assert_eq!(leader(&world), (1, 2, vec![1]));
}

#[test]
fn an_unclean_election_loses_what_was_not_replicated() {
    let (mut world, conn) = World::three_nodes();
    world.produce(conn, -1, plain(&["kept"]));
    for node in [2, 3] {
        world.cluster.hold_replica(world.now, "t", 0, node).unwrap();
    }
    world.produce(conn, 1, plain(&["lost"]));
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    let conn = world.connect(2);
    assert_eq!(world.produce(conn, 1, plain(&["new"])).base_offset, 1);
    let lost: Vec<_> = world.cluster.lost().iter().map(|b| (b.base_offset, b.last_offset)).collect();
    assert_eq!(lost, [(1, 1)]);
    for node in [2, 3] {
        world.cluster.release_replica(world.now, "t", 0, node).unwrap();
    }
    let values: Vec<String> = values(&world.fetch(conn, 0)).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["kept", "new"]);
}

#[test]
fn a_node_that_is_added_again_follows_again() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    world.topic("t", 1, 2);
    let conn = world.connect(1);
    world.cluster.remove_node(world.now, 2);
    world.produce(conn, 1, plain(&["a"]));
    world.cluster.add_node(world.now, 2);
    world.pass(Duration::from_secs(1));
    let partition = world.cluster.partition("t", 0).unwrap();
    assert_eq!((partition.isr(), partition.high_watermark()), (&[1, 2][..], 1));
}

#[test]
fn a_node_that_is_added_again_leads_what_nobody_else_has() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    world.topic("t", 2, 1);
    let leaders = |world: &World| [0, 1].map(|at| world.cluster.partition("t", at).unwrap().leader());
    let before = leaders(&world);
    assert!(before.contains(&2), "{before:?}");
    world.cluster.remove_node(world.now, 2);
    assert_eq!(leaders(&world), before.map(|leader| if leader == 2 { -1 } else { leader }));
    world.cluster.add_node(world.now, 2);
    assert_eq!(leaders(&world), before);
}

#[test]
fn nodes_come_go_and_move() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let conn = world.connect(1);
    world.cluster.add_node(world.now, 5);
    world.cluster.remove_node(world.now, 2);
    world.cluster.set_address(5, "elsewhere", 1234);
    world.cluster.set_rack(5, Some("attic"));
    let answer = world.call(conn, 9, &MetadataRequest::default());
    let brokers: Vec<_> = answer.brokers.iter().map(|b| (b.node_id, &*b.host, b.port)).collect();
    assert_eq!(brokers, [(1, "node-1", 9092), (5, "elsewhere", 1234)]);
    assert_eq!(answer.brokers[1].rack.as_deref(), Some("attic"));
    world.topic("t", 1, 2);
    assert_eq!(world.cluster.partition("t", 0).unwrap().replicas(), [1, 5]);
}
