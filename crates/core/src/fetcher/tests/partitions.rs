//! Positions, seeks, leaders, and one partition's trouble.

use super::*;

/// The next fetch starts behind the last header, whatever records there are.
/// Trap W8: the next offset is base + last_offset_delta + 1.
#[test]
fn the_next_fetch_starts_behind_the_last_header() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(12));
    let fetch = world.fetch();
    let mut bytes = batch(10..20, 1, 100).to_vec();
    bytes.extend_from_slice(&batch(30..31, 1, 80));
    bytes.extend_from_slice(&batch(31..99, 1, 200)[..70]);
    world.answer(&fetch, vec![records(0, bytes.into())]);
    assert_eq!(world.loads(), [(id, 0, 12, 31)], "a batch that is cut off comes again");
    assert_eq!(asked(&world.fetch().request), [(0, 31)].into());
}

/// Trap C2: what was asked for before a seek does not count after it.
#[test]
fn a_seek_undoes_a_pending_fetch() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.seek(id, Place::Offset(50), 1);
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]);
    assert_eq!(world.loads(), []);
    let fetch = world.fetch();
    assert_eq!(asked(&fetch.request), [(0, 50)].into());
    // To the same offset, too.
    world.seek(id, Place::Offset(50), 2);
    world.answer(&fetch, vec![records(0, batch(50..60, 1, 100))]);
    assert_eq!(world.loads(), []);
}

/// Trap C3: pausing throws nothing away, and the others go on.
#[test]
fn a_pause_leaves_out_one_partition_and_keeps_what_comes() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    world.add(1, 1, Place::Offset(10));
    world.fetcher.pause(world.now, id);
    world.answer(&first, vec![records(0, batch(10..20, 1, 100))]);
    assert_eq!(world.loads(), [(id, 0, 10, 20)]);
    let second = world.fetch();
    assert_eq!((asked(&second.request), forgotten(&second.request)), ([(1, 10)].into(), vec![0]));
    world.fetcher.resume(world.now, id);
    world.answer(&second, vec![]);
    assert_eq!(asked(&world.fetch().request), [(0, 20)].into());
}

/// Trap C3: one partition's error pauses that partition, and no other.
#[test]
fn an_error_concerns_its_partition_alone() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    let other = world.add(1, 1, Place::Offset(10));
    world.answer(&first, vec![row(0)]);
    let second = world.fetch();
    world.answer(
        &second,
        vec![refusal(0, ErrorCode::NOT_LEADER_OR_FOLLOWER), records(1, batch(10..20, 1, 100))],
    );
    assert_eq!((world.loads(), world.refreshes), (vec![(other, 0, 10, 20)], 1));
    let third = world.fetch();
    assert_eq!((asked(&third.request), forgotten(&third.request)), ([(1, 20)].into(), vec![0]));
    world.answer(&third, vec![]);
    world.fetch();
}

/// Trap C3: a partition goes to its new leader while the old one still waits; what that one answers is ignored.
#[test]
fn a_move_does_not_wait_for_the_old_leader() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let old = world.fetch();
    world.lead(id, 2, 2);
    let new = world.fetch();
    assert_eq!((new.broker_id, asked(&new.request)), (2, [(0, 10)].into()));
    assert_eq!(partitions(&new.request).next().unwrap().current_leader_epoch, 2);
    world.answer(&old, vec![records(0, batch(10..20, 1, 100))]);
    world.answer(&new, vec![records(0, batch(10..30, 2, 100))]);
    assert_eq!(world.loads(), [(id, 0, 10, 30)]);
}

/// Trap M3: a topic that was created again is another topic.
#[test]
fn a_topic_created_again_ends_its_partitions() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    world.fetch();
    world.fetcher.handle_topic_id(world.now, &orders(), Uuid::NIL);
    world.fetcher.handle_topic_id(world.now, &orders(), Uuid::from_bytes([9; 16]));
    world.run();
    assert!(matches!(world.failures()[..], [FetchFailure::Recreated { old, .. }] if old == topic_id()));
}

/// Trap M4: a topic that brokers do not know is asked for again for a while, and not for ever.
#[test]
fn an_unknown_topic_is_asked_for_until_its_time_is_over() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let start = world.now;
    while world.told.is_empty() {
        let fetch = world.fetch();
        world.answer(&fetch, vec![refusal(0, ErrorCode::UNKNOWN_TOPIC_ID)]);
        world.sleep(Duration::from_millis(1_000));
    }
    let waited = world.now - start;
    assert!(waited > Duration::from_secs(29) && waited < Duration::from_secs(33), "{waited:?}");
    assert!(matches!(world.failures()[..], [FetchFailure::Unknown { .. }]));
}

#[test]
fn what_cannot_pass_is_a_failure() {
    for code in [
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
    ] {
        let mut world = World::new();
        world.add(0, 1, Place::Offset(10));
        let fetch = world.fetch();
        world.answer(&fetch, vec![refusal(0, code)]);
        assert!(
            matches!(world.failures()[..], [FetchFailure::Refused { broker_id: 1, code: it, offset: 10 }] if it == code)
        );
        world.sleep(Duration::from_secs(9));
        assert!(world.fetches.is_empty());
    }
}

/// A damaged batch is handed over with what comes before it: whoever reads it reports it. Nothing is fetched behind it,
/// since nobody can say where that is.
#[test]
fn nothing_is_fetched_behind_a_damaged_batch() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    let mut bytes = batch(10..20, 1, 100).to_vec();
    bytes.extend_from_slice(&[0xff; 100]);
    world.answer(&fetch, vec![records(0, bytes.into())]);
    assert_eq!(world.loads(), [(id, 0, 10, 20)]);
    world.sleep(Duration::from_secs(9));
    assert!(world.fetches.is_empty());
    world.seek(id, Place::Offset(25), 1);
    assert_eq!(asked(&world.fetch().request), [(0, 25)].into());
}

/// A broker that sends batches twice is read once, up to there.
#[test]
fn what_comes_again_in_an_answer_is_passed_over() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(12));
    let fetch = world.fetch();
    let sent = [batch(10..15, 1, 100), batch(15..20, 1, 100), batch(10..15, 1, 100), batch(20..25, 1, 100)];
    world.answer(&fetch, vec![records(0, sent.concat().into())]);
    assert_eq!(world.loads(), [(id, 0, 12, 20)]);
    assert_eq!(asked(&world.fetch().request), [(0, 20)].into());
}

/// Trap C6: batches without a record to show move the position all the same; those that move nothing need a pause.
#[test]
fn an_answer_that_moves_nothing_is_no_hot_loop() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(5..9, 1, 100))]);
    assert!(world.fetches.is_empty());
    world.sleep(Duration::from_millis(150));
    let fetch = world.fetch();
    assert_eq!((asked(&fetch.request), forgotten(&fetch.request)), ([].into(), vec![]), "the session has it");
}

/// A partition is there once: two would be one to a broker.
#[test]
fn the_same_partition_is_not_added_twice() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    assert!(!world.fetcher.add(
        world.now,
        (STREAM, PartitionId(9)),
        (&orders(), topic_id()),
        0,
        None,
        Place::Earliest
    ));
}

/// Trap C3: without a leader there is nobody to ask; the metadata is, now and then.
#[test]
fn a_partition_without_a_leader_asks_for_metadata_now_and_then() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.fetcher.handle_leader(world.now, id, None);
    world.answer(&fetch, vec![]);
    world.sleep(Duration::from_secs(10));
    assert!((10..20).contains(&world.refreshes), "{}", world.refreshes);
    world.lead(id, 2, 2);
    assert_eq!(world.fetches.last().map(|fetch| fetch.broker_id), Some(2));
}
