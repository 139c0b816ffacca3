//! Replicas in the consumer's rack (KIP-392).

use std::time::Duration;

use ottla_fake::FakeCluster;
use ottla_wire::ErrorCode;
use ottla_wire::messages::fetch::{FetchRequest, PartitionData};

use crate::support::{World, fetch, only_partition, plain, values};

const DELAY: Duration = Duration::from_millis(20);

/// Three nodes, each in a rack of its own, and the topic `t` on all of them, led by node 1.
fn world() -> World {
    let builder = FakeCluster::builder().nodes(3).racks().near_replicas().replication_delay(DELAY, DELAY);
    let mut world = World::new(builder);
    world.topic("t", 1, 3);
    world
}

/// Replicas fetch what there is, and hear of it that all have it.
fn let_them_follow(world: &mut World) {
    (0..4).for_each(|_| world.pass(DELAY));
}

fn ask(world: &mut World, node: i32, rack: &str, offset: i64) -> PartitionData {
    let conn = world.connect(node);
    let request = FetchRequest { rack_id: rack.into(), ..fetch("t", 0, offset) };
    only_partition(world.call(conn, 12, &request))
}

fn preferred(world: &mut World, offset: i64) -> i32 {
    ask(world, 1, "rack-2", offset).preferred_read_replica
}

#[test]
fn a_replica_is_named_when_the_leader_knows_that_it_has_the_offset() {
    let mut world = world();
    let conn = world.connect(1);
    world.produce(conn, 1, plain(&["a", "b"]));
    assert_eq!((preferred(&mut world, 1), preferred(&mut world, 2)), (-1, -1), "it has nothing so far");
    let_them_follow(&mut world);
    let answer = ask(&mut world, 1, "rack-2", 2);
    assert_eq!((answer.preferred_read_replica, values(&answer)), (2, vec![]));
    assert_eq!(values(&ask(&mut world, 2, "rack-2", 0)).len(), 2);
    assert_eq!(preferred(&mut world, 3), -1);
    world.cluster.raise_log_start(world.now, "t", 0, 1).unwrap();
    assert_eq!((preferred(&mut world, 0), preferred(&mut world, 1)), (-1, 2));
}

#[test]
fn a_replica_that_is_gone_or_not_in_sync_is_not_named() {
    let mut world = world();
    let conn = world.connect(1);
    world.produce(conn, 1, plain(&["a"]));
    let_them_follow(&mut world);
    assert_eq!(preferred(&mut world, 0), 2);
    world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
    world.cluster.shrink_isr(world.now, "t", 0, 2).unwrap();
    assert_eq!(preferred(&mut world, 0), -1);
    world.cluster.release_replica(world.now, "t", 0, 2).unwrap();
    let_them_follow(&mut world);
    assert_eq!(preferred(&mut world, 0), 2);
    world.cluster.kill(world.now, 2);
    assert_eq!(preferred(&mut world, 0), -1);
}

#[test]
fn of_several_in_the_rack_the_one_that_has_most_is_named_and_the_leader_before_all() {
    let mut world = world();
    world.cluster.set_rack(3, Some("rack-2"));
    world.cluster.hold_replica(world.now, "t", 0, 3).unwrap();
    let conn = world.connect(1);
    world.produce(conn, 1, plain(&["a"]));
    let_them_follow(&mut world);
    assert_eq!(preferred(&mut world, 0), 2);
    world.cluster.set_rack(1, Some("rack-2"));
    assert_eq!(preferred(&mut world, 0), -1);
}

#[test]
fn a_replica_that_lags_does_not_have_what_the_leader_has() {
    let mut world = world();
    let_them_follow(&mut world);
    let conn = world.connect(1);
    world.produce(conn, 1, plain(&["a"]));
    assert_eq!(ask(&mut world, 2, "rack-2", 1).error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert!(values(&ask(&mut world, 2, "rack-2", 0)).is_empty());
}
