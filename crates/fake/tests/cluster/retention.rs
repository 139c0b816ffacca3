//! What time and size take away, and settings that change while a topic is there.

use std::time::Duration;

use ottla_fake::FakeCluster;
use ottla_wire::ErrorCode;

use crate::support::{World, idempotent, plain};

fn start(world: &World) -> i64 {
    world.cluster.partition("t", 0).unwrap().log().start()
}

fn set(world: &mut World, name: &str, value: Option<&str>) {
    world.cluster.set_config(world.now, "t", name, value).unwrap();
}

#[test]
fn what_is_too_old_goes_when_retention_is_applied() {
    let (mut world, conn) = World::one_node();
    set(&mut world, "retention.ms", Some("1000"));
    world.produce(conn, 1, plain(&["a", "b"]));
    world.pass(Duration::from_millis(1_000));
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 0);
    world.pass(Duration::from_millis(1));
    assert_eq!(start(&world), 0, "nothing goes by itself");
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 2);
}

#[test]
fn what_is_too_much_goes_batch_by_batch() {
    let (mut world, conn) = World::one_node();
    for _ in 0..5 {
        world.produce(conn, 1, plain(&["a"]));
    }
    let size = world.cluster.partition("t", 0).unwrap().log().batches().next().unwrap().bytes.len();
    set(&mut world, "retention.bytes", Some(&(2 * size + 1).to_string()));
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 2, "less than what is to be kept does not stay");
}

#[test]
fn what_is_not_replicated_or_compacted_only_stays() {
    let (mut world, conn) = World::one_node();
    set(&mut world, "retention.bytes", Some("0"));
    world.cluster.hold_high_watermark(world.now, "t", 0).unwrap();
    world.produce(conn, 1, plain(&["a"]));
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 0);
    world.cluster.release_high_watermark(world.now, "t", 0).unwrap();
    set(&mut world, "cleanup.policy", Some("compact"));
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 0);
    set(&mut world, "cleanup.policy", None);
    world.cluster.apply_retention(world.now);
    assert_eq!(start(&world), 1);
}

/// Trap P5: a broker keeps what it knows of a producer longer than the producer's records.
#[test]
fn a_producer_is_known_longer_than_its_records() {
    let (mut world, conn) = World::one_node();
    assert_eq!(world.sequence(conn, (7, 0), 0, 3), (0, 0));
    set(&mut world, "retention.bytes", Some("0"));
    world.cluster.apply_retention(world.now);
    let row = world.produce(conn, -1, idempotent((7, 0), 9, 1));
    assert_eq!((row.error_code, row.log_start_offset), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 3));
    world.cluster.forget_producer(world.now, "t", 0, 7).unwrap();
    assert_eq!(world.sequence(conn, (7, 0), 9, 1), (0, 3));
}

#[test]
fn a_setting_changes_at_once_and_a_wrong_one_not_at_all() {
    let mut world = World::new(FakeCluster::builder());
    world.topic("t", 1, 1);
    let conn = world.connect(1);
    set(&mut world, "max.message.bytes", Some("70"));
    assert_eq!(world.produce(conn, 1, plain(&["a", "b"])).error_code, ErrorCode::MESSAGE_TOO_LARGE);
    for (name, value) in [("max.message.bytes", "many"), ("no.such", "1")] {
        assert!(world.cluster.set_config(world.now, "t", name, Some(value)).is_err());
    }
    assert_eq!(world.produce(conn, 1, plain(&["a", "b"])).error_code, ErrorCode::MESSAGE_TOO_LARGE);
    set(&mut world, "max.message.bytes", None);
    assert!(world.produce(conn, 1, plain(&["a", "b"])).error_code.is_none());
}
