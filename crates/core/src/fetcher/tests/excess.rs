//! What brokers send beyond reason: nothing of it grows without bound.

use ottla_wire::UnknownTags;
use ottla_wire::messages::fetch::AbortedTransaction;

use super::*;

/// Trap C13: of many rows of one partition one is read, and what is told of it is told once.
#[test]
fn a_partition_is_answered_once() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    let watermarks = |high_watermark| PartitionData { high_watermark, ..row(0) };
    let mismatch = world.answer(&fetch, (0..1_000).map(watermarks).collect());
    assert_eq!((mismatch, world.told.len()), (Mismatch { unexpected: 999, missing: 0 }, 1));
    let fetch = world.fetch();
    assert!(
        world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]).is_empty(),
        "the next answer counts"
    );
    assert_eq!(world.loads().len(), 1);
}

/// Trap C13: of an aborted transaction nothing is held but what is counted.
#[test]
fn unknown_tags_of_transactions_are_not_held() {
    let mut world = World::with(FetcherSettings { read_committed: true, ..Default::default() });
    world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    let mut unknown_tags = UnknownTags::default();
    (0..1_000).for_each(|tag| unknown_tags.push(tag, Bytes::new()));
    let aborted = AbortedTransaction { producer_id: 1, first_offset: 10, unknown_tags };
    let aborted_transactions = Some(vec![aborted]);
    world.answer(&fetch, vec![PartitionData { aborted_transactions, ..records(0, batch(10..20, 1, 100)) }]);
    let Some((_, _, News::Records(load))) = world.told.pop() else { panic!("no records") };
    assert!(load.aborted[0].unknown_tags.is_empty());
}

/// Trap C8: followers that are not there are tried, and leave nothing behind.
#[test]
fn followers_that_are_not_there_are_forgotten() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    for follower in 100..150 {
        let fetch = world.fetch();
        world.answer(&fetch, vec![PartitionData { preferred_read_replica: follower, ..row(0) }]);
        let fetch = world.fetch();
        assert_eq!(fetch.broker_id, follower);
        world.fail(fetch.token, follower, Failure::Connect("the broker is not among those known".into()));
        world.sleep(Duration::from_secs(5));
    }
    assert_eq!(world.fetcher.brokers.keys().copied().collect::<Vec<_>>(), [1]);
}

/// Trap C10: a log that has nothing of what it says it has is not reset in a hurry, and less and less often.
#[test]
fn resets_that_bring_nothing_pause_longer_each_time() {
    let stream = StreamSettings { reset: Reset::To(Place::Earliest), ..Default::default() };
    let mut world = World::of(FetcherSettings::default(), stream);
    world.add(0, 1, Place::Offset(10));
    let mut resets = 0;
    let end = world.now + Duration::from_secs(60);
    while world.now < end {
        if let Some(fetch) = world.fetches.pop() {
            world.answer(&fetch, vec![refusal(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
        }
        if !world.look_ups.is_empty() {
            world.find(&[(0, 42)]);
            resets += 1;
        }
        world.sleep(Duration::from_millis(10));
    }
    // With a pause of 100 ms there were ten a second.
    assert!((30..=120).contains(&resets), "{resets} resets in a minute");
    world.sleep(Duration::from_secs(2));
    if !world.look_ups.is_empty() {
        world.find(&[(0, 42)]);
    }
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(42..50, 1, 100))]);
    assert_eq!(world.loads().len(), 1);
}
