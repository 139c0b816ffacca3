//! Followers that take their time: the high watermark, the ISR, and what elections lose.

use std::time::Duration;

use ottla_fake::{Builder, FakeCluster};
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::messages::produce::ProduceRequest;

use crate::support::{World, only_row, plain, produce, values};

const DELAY: Duration = Duration::from_millis(20);

fn slow() -> Builder {
    FakeCluster::builder().nodes(3).replication_delay(DELAY, DELAY)
}

fn world(builder: Builder) -> World {
    let mut world = World::new(builder);
    world.topic("t", 1, 3);
    world
}

fn high_watermark(world: &World) -> i64 {
    world.cluster.partition("t", 0).unwrap().high_watermark()
}

fn isr(world: &World) -> Vec<i32> {
    world.cluster.partition("t", 0).unwrap().isr().to_vec()
}

#[test]
fn acks_all_waits_for_the_followers_and_acks_1_does_not() {
    let mut world = world(slow());
    let conn = world.connect(1);
    assert_eq!(world.produce(conn, 1, plain(&["a"])).base_offset, 0);
    assert!(values(&world.fetch(conn, 0)).is_empty(), "nobody sees what is not replicated");
    world.send(conn, 9, &produce("t", 0, -1, plain(&["b"])));
    assert_eq!(world.cluster.poll_timeout(), Some(world.now + DELAY));
    world.pass(DELAY - Duration::from_millis(1));
    assert!(world.frame(conn).is_none());
    world.pass(Duration::from_millis(1));
    let (_, answer) = world.answer::<ProduceRequest>(conn, 9).unwrap();
    assert_eq!(only_row(answer).base_offset, 1);
    assert_eq!(values(&world.fetch(conn, 0)).len(), 2);
}

#[test]
fn a_cluster_whose_replicas_have_all_waits_for_nothing() {
    let mut world = world(slow());
    let conn = world.connect(1);
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    let mut turns = 0;
    while let Some(at) = world.cluster.poll_timeout() {
        world.now = at;
        world.cluster.handle_timeout(at);
        turns += 1;
        assert!(turns < 10, "it goes on for ever");
    }
    assert_eq!((high_watermark(&world), turns), (1, 2));
}

#[test]
fn delays_differ_by_the_seed() {
    let times = |seed: u64| -> Vec<Duration> {
        let builder = FakeCluster::builder().nodes(3).seed(seed);
        let mut world = world(builder.replication_delay(DELAY, 5 * DELAY));
        let conn = world.connect(1);
        let mut times = Vec::new();
        for _ in 0..5 {
            let sent = world.now;
            world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
            while world.frame(conn).is_none() {
                world.now = world.cluster.poll_timeout().unwrap();
                world.cluster.handle_timeout(world.now);
            }
            times.push(world.now - sent);
        }
        times
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
    assert!(times(1).iter().all(|time| (DELAY..5 * DELAY).contains(time)), "{:?}", times(1));
}

/// A new leader does not know the last high watermark of the old one (KIP-207).
#[test]
fn a_new_leader_begins_with_the_high_watermark_it_was_told() {
    let mut world = world(slow());
    let (old, new) = (world.connect(1), world.connect(2));
    world.send(old, 9, &produce("t", 0, -1, plain(&["a"])));
    world.pass(DELAY);
    assert_eq!(high_watermark(&world), 1);
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    assert_eq!(high_watermark(&world), 0);
    let latest = |world: &mut World| {
        let asked = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![asked], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let row = world.call(new, 5, &request).topics.remove(0).partitions.remove(0);
        (row.error_code, row.offset)
    };
    assert_eq!(latest(&mut world), (ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    world.pass(DELAY);
    assert_eq!(latest(&mut world), (ErrorCode::NONE, 1));
    assert!(world.cluster.lost().is_empty());
}

#[test]
fn a_replica_that_is_behind_for_too_long_leaves_the_isr_until_it_caught_up() {
    let patience = Duration::from_secs(1);
    let mut world = world(FakeCluster::builder().nodes(3).replica_lag_time(patience));
    let conn = world.connect(1);
    world.cluster.hold_replica(world.now, "t", 0, 3).unwrap();
    world.pass(10 * patience);
    assert_eq!(isr(&world), [1, 2, 3], "it lacks nothing");
    world.send(conn, 9, &ProduceRequest { timeout_ms: 60_000, ..produce("t", 0, -1, plain(&["a"])) });
    world.pass(patience - Duration::from_millis(1));
    assert!(world.frame(conn).is_none());
    world.pass(Duration::from_millis(1));
    assert_eq!(isr(&world), [1, 2]);
    assert!(world.answer::<ProduceRequest>(conn, 9).is_some());
    world.cluster.release_replica(world.now, "t", 0, 3).unwrap();
    assert_eq!(isr(&world), [1, 2, 3]);
}

#[test]
fn a_replica_that_always_lags_a_little_stays_in_the_isr() {
    let mut world = world(slow().replica_lag_time(2 * DELAY));
    let conn = world.connect(1);
    for _ in 0..100 {
        world.produce(conn, 1, plain(&["a"]));
        world.pass(Duration::from_millis(5));
    }
    assert_eq!(isr(&world), [1, 2, 3]);
}

#[test]
fn without_a_replica_in_sync_one_that_lags_leads_if_the_topic_allows_it() {
    for (allowed, leader) in [("false", -1), ("true", 2)] {
        let mut world = World::new(FakeCluster::builder().nodes(2));
        let settings = [("unclean.leader.election.enable", allowed)];
        world.cluster.create_topic_with(world.now, "t", 1, 2, &settings).unwrap();
        let conn = world.connect(1);
        world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
        world.cluster.shrink_isr(world.now, "t", 0, 2).unwrap();
        world.produce(conn, -1, plain(&["a", "b"]));
        world.cluster.kill(world.now, 1);
        assert_eq!(world.cluster.partition("t", 0).unwrap().leader(), leader);
        let lost: Vec<_> =
            world.cluster.lost().iter().map(|lost| (lost.base_offset, lost.last_offset)).collect();
        assert_eq!(lost, if leader < 0 { vec![] } else { vec![(0, 1)] });
        world.cluster.restart(world.now, 1);
        let conn = world.connect(world.cluster.partition("t", 0).unwrap().leader());
        assert_eq!(values(&world.fetch(conn, 0)).len(), if leader < 0 { 2 } else { 0 });
    }
}

#[test]
fn a_partition_moves_to_other_nodes_with_what_it_has() {
    let mut world = World::new(FakeCluster::builder().nodes(4));
    world.topic("t", 1, 2);
    let conn = world.connect(1);
    world.produce(conn, -1, plain(&["a"]));
    world.cluster.set_replicas(world.now, "t", 0, &[2, 3]).unwrap();
    let partition = world.cluster.partition("t", 0).unwrap();
    assert_eq!((partition.leader(), partition.leader_epoch(), partition.isr()), (2, 1, &[2, 3][..]));
    assert_eq!(world.produce(conn, 1, plain(&["b"])).error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let conn = world.connect(2);
    assert_eq!(world.produce(conn, -1, plain(&["b"])).base_offset, 1);
    world.cluster.set_replicas(world.now, "t", 0, &[3, 2]).unwrap();
    assert_eq!(world.cluster.partition("t", 0).unwrap().leader(), 2, "an order is no election");
    for nodes in [&[3, 3][..], &[9], &[4], &[]] {
        assert!(world.cluster.set_replicas(world.now, "t", 0, nodes).is_err(), "{nodes:?}");
    }
    assert!(world.cluster.lost().is_empty());
}

/// The oracle knows of it, as of any other election.
#[test]
fn a_partition_that_moves_to_a_replica_that_lags_loses_what_that_lacks() {
    let mut world = World::new(FakeCluster::builder().nodes(3));
    world.topic("t", 1, 2);
    let conn = world.connect(1);
    world.produce(conn, -1, plain(&["kept"]));
    world.cluster.hold_replica(world.now, "t", 0, 2).unwrap();
    world.produce(conn, 1, plain(&["lost"]));
    world.cluster.set_replicas(world.now, "t", 0, &[2, 3]).unwrap();
    assert_eq!(world.cluster.partition("t", 0).unwrap().leader(), 2);
    let lost: Vec<_> = world.cluster.lost().iter().map(|b| (b.base_offset, b.last_offset)).collect();
    assert_eq!(lost, [(1, 1)]);
}

/// A node that is down fetches nothing, whatever a test lets go; and what a test holds back stays so when its node comes back.
#[test]
fn what_a_test_holds_and_what_is_down_are_two_things() {
    let mut world = world(slow().replica_lag_time(DELAY * 5));
    let conn = world.connect(1);
    let now = world.now;
    world.cluster.hold_replica(now, "t", 0, 2).unwrap();
    world.cluster.kill(now, 2);
    world.cluster.release_replica(now, "t", 0, 2).unwrap();
    assert_eq!(world.produce(conn, 1, plain(&["a"])).base_offset, 0);
    world.pass(DELAY * 20);
    assert_eq!(isr(&world), [1, 3]);
    assert_eq!(world.cluster.partition("t", 0).unwrap().log_end_of(2), Some(0));

    let now = world.now;
    world.cluster.hold_replica(now, "t", 0, 2).unwrap();
    world.cluster.restart(now, 2);
    world.pass(DELAY * 20);
    assert_eq!(isr(&world), [1, 3], "it is still held");
    let now = world.now;
    world.cluster.release_replica(now, "t", 0, 2).unwrap();
    world.pass(DELAY * 20);
    assert_eq!(isr(&world), [1, 3, 2]);

    let now = world.now;
    world.cluster.kill(now, 3);
    world.cluster.set_replicas(now, "t", 0, &[1, 2]).unwrap();
    world.cluster.set_replicas(now, "t", 0, &[1, 3]).unwrap();
    world.pass(DELAY * 20);
    assert_eq!(isr(&world), [1], "a replica comes to a node that is down");
}
