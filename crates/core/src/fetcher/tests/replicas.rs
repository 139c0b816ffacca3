//! Followers nearby (KIP-392).

use super::*;

/// A world whose partition was sent on to broker 3 by its leader.
fn sent_on() -> (World, PartitionId, FetchOut) {
    let mut world = World::with(FetcherSettings { rack: Some("a".into()), ..Default::default() });
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    assert_eq!(fetch.request.rack_id, "a");
    world.answer(&fetch, vec![PartitionData { preferred_read_replica: 3, ..row(0) }]);
    let fetch = world.fetch();
    assert_eq!((fetch.broker_id, asked(&fetch.request)), (3, [(0, 10)].into()));
    (world, id, fetch)
}

/// Trap C8: a follower that does not have the offset says nothing about the log; the leader is asked.
#[test]
fn a_follower_without_the_offset_sends_back_to_the_leader() {
    for code in
        [ErrorCode::OFFSET_OUT_OF_RANGE, ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::UNKNOWN_TOPIC_ID]
    {
        let (mut world, _, fetch) = sent_on();
        world.answer(&fetch, vec![refusal(0, code)]);
        world.sleep(Duration::from_millis(150));
        let fetch = world.fetch();
        // Its session has the partition still.
        assert_eq!((fetch.broker_id, forgotten(&fetch.request), world.failures().len()), (1, vec![], 0));
        world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]);
        assert_eq!(world.loads().len(), 1, "{code}");
    }
}

/// Trap C8: a follower that is gone, or was never known, does not strand the partition.
#[test]
fn a_follower_that_is_gone_sends_back_to_the_leader() {
    let (mut world, _, fetch) = sent_on();
    world.fail(fetch.token, 3, Failure::Connect("the broker is not among those known".into()));
    world.sleep(Duration::from_millis(150));
    assert_eq!(world.fetch().broker_id, 1);
}

/// Trap C8: going back and forth repeats nothing and leaves nothing out.
#[test]
fn a_follower_is_read_without_duplicates() {
    let (mut world, id, fetch) = sent_on();
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]);
    let fetch = world.fetch();
    world.answer(&fetch, vec![refusal(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    let fetch = world.fetch();
    assert_eq!((fetch.broker_id, asked(&fetch.request)), (1, [(0, 20)].into()));
    assert_eq!(world.loads(), [(id, 0, 10, 20)]);
}

/// Trap C8: after a while the leader is asked again who should be read from.
#[test]
fn a_follower_is_not_for_ever() {
    let (mut world, _, fetch) = sent_on();
    world.sleep(Duration::from_secs(5 * 60));
    assert_eq!(world.fetch().broker_id, 1);
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]);
    assert_eq!(world.loads(), [], "the follower's late answer is the leader's to give");
}

/// Trap C8: with a new leader the choice is its.
#[test]
fn a_new_leader_is_asked_itself() {
    let (mut world, id, _) = sent_on();
    world.lead(id, 2, 2);
    assert_eq!(world.fetch().broker_id, 2);
}
