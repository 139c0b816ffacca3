//! Where a partition starts, and what happens when an offset is not there.

use super::*;

fn timestamps(world: &World) -> Vec<i64> {
    let (_, _, request) = &world.look_ups[0];
    request.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.timestamp).collect()
}

#[test]
fn a_start_is_looked_up_once_for_all_partitions_of_a_broker() {
    let mut world = World::new();
    let first = world.add(0, 1, Place::Earliest);
    world.add(1, 1, Place::Latest);
    world.add(2, 1, Place::Ago(Duration::from_secs(60)));
    assert_eq!(timestamps(&world), [-2]);
    world.find(&[(0, 4)]);
    assert!(matches!(world.told[0], (id, 0, News::Position(4)) if id == first));
    assert_eq!(asked(&world.fetch().request), [(0, 4)].into());
    assert_eq!(timestamps(&world), [-1, WALL_MS - 60_000]);
}

/// Trap C10: no record is that late: reading starts at the end, and not at -1.
#[test]
fn a_time_after_the_last_record_is_the_end() {
    let mut world = World::new();
    world.add(0, 1, Place::Timestamp(5_000));
    assert_eq!(timestamps(&world), [5_000]);
    world.find(&[(0, -1)]);
    assert_eq!((timestamps(&world), world.fetches.len()), (vec![-1], 0));
    world.find(&[(0, 30)]);
    assert_eq!(asked(&world.fetch().request), [(0, 30)].into());
}

/// Trap C10: an offset that is not there follows the policy asked for.
#[test]
fn an_offset_that_is_not_there_follows_the_policy() {
    let places =
        [(Place::Earliest, -2), (Place::Latest, -1), (Place::Ago(Duration::from_secs(1)), WALL_MS - 1_000)];
    for (place, timestamp) in places {
        let stream = StreamSettings { reset: Reset::To(place), ..Default::default() };
        let mut world = World::of(FetcherSettings::default(), stream);
        world.add(0, 1, Place::Offset(10));
        let fetch = world.fetch();
        world.answer(&fetch, vec![refusal(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
        world.sleep(Duration::from_millis(150));
        assert_eq!(timestamps(&world), [timestamp]);
        world.find(&[(0, 42)]);
        assert_eq!(asked(&world.fetch().request), [(0, 42)].into());
        let Some((_, 0, News::Reset { from: 10, to: 42, policy })) = world.told.pop() else {
            panic!("it is told")
        };
        assert_eq!(policy, place);
    }
}

/// Trap C10: without a policy it is reported, with where the log is, and the partition waits for a seek.
#[test]
fn an_offset_that_is_not_there_is_reported() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.answer(
        &fetch,
        vec![PartitionData { log_start_offset: 20, ..refusal(0, ErrorCode::OFFSET_OUT_OF_RANGE) }],
    );
    let failures = world.failures();
    assert!(matches!(failures[..], [FetchFailure::OutOfRange { offset: 10, log_start_offset: 20, .. }]));
    world.sleep(Duration::from_secs(60));
    assert!(world.fetches.is_empty());
    world.seek(id, Place::Offset(20), 1);
    assert_eq!(asked(&world.fetch().request), [(0, 20)].into());
}

/// Trap C2: a look-up that was under way when a seek came is nobody's business.
#[test]
fn a_seek_undoes_a_pending_look_up() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Latest);
    world.seek(id, Place::Offset(3), 1);
    assert_eq!(asked(&world.fetch().request), [(0, 3)].into());
    world.find(&[(0, 900)]);
    assert!(world.told.is_empty());
}

#[test]
fn a_look_up_that_is_refused_or_lost_is_made_again() {
    let mut world = World::new();
    world.add(0, 1, Place::Earliest);
    let (token, broker, _) = world.look_ups.remove(0);
    world.lose(token, broker);
    assert!(world.look_ups.is_empty() && world.refreshes > 0);
    world.sleep(Duration::from_millis(150));
    world.find(&[]);
    world.sleep(Duration::from_millis(150));
    world.find(&[(0, 0)]);
    world.fetch();
}
