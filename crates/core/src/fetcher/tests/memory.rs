//! The budget, and what is asked for because of it.

use super::*;

fn small(budget: usize) -> World {
    World::of(FetcherSettings::default(), of(&Account::new(budget, None)))
}

fn of(account: &Account) -> StreamSettings {
    StreamSettings { account: account.clone(), partition_max_bytes: 1_000, ..Default::default() }
}

/// F1: what is held never exceeds the budget, and reading makes room.
#[test]
fn the_size_asked_for_follows_from_what_is_left() {
    let mut world = small(2_000);
    world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    assert_eq!(fetch.request.max_bytes, 1_000);
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 900))]);
    assert_eq!(world.fetcher.held(), 1_000);
    let fetch = world.fetch();
    assert_eq!(fetch.request.max_bytes, 1_000, "what is read and what is on its way fit side by side");
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 900))]);
    assert_eq!((world.fetcher.held(), world.fetches.len()), (2_000, 0));
    world.release();
    assert_eq!((world.fetcher.held(), world.fetch().request.max_bytes), (0, 1_000));
}

/// Trap C5: several brokers are asked at once, each for its share.
#[test]
fn brokers_share_the_budget() {
    let stream = StreamSettings { account: Account::new(1 << 20, None), ..Default::default() };
    let mut world = World::of(FetcherSettings::default(), stream);
    for broker in 0..4 {
        world.add(broker, broker, Place::Offset(0));
    }
    let sizes: Vec<i32> = world.fetches.iter().map(|fetch| fetch.request.max_bytes).collect();
    assert_eq!(sizes.len(), 4);
    assert!(sizes.iter().sum::<i32>() <= 1 << 20 && sizes[3] >= 1 << 16, "{sizes:?}");
}

/// A batch that is larger than the limits comes with the next fetch.
#[test]
fn a_batch_larger_than_its_share_is_asked_for_whole() {
    let mut world = small(100_000);
    world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 5_000).slice(..1_000))]);
    let fetch = world.fetch();
    assert_eq!(partitions(&fetch.request).next().unwrap().partition_max_bytes, 5_000);
    assert_eq!(fetch.request.max_bytes, 5_000);
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 5_000))]);
    assert_eq!(partitions(&world.fetch().request).next().unwrap().partition_max_bytes, 1_000);
    assert_eq!(world.loads().len(), 1);
}

/// Trap C1: a batch that says it has more bytes than it has never comes whole. It is asked for with growing pauses, and not for ever.
#[test]
fn a_batch_that_never_comes_whole_is_an_error() {
    let mut world = small(100_000);
    let id = world.add(0, 1, Place::Offset(3));
    world.add(1, 1, Place::Offset(0));
    let (mut requests, mut other, start) = (0, 0, world.now);
    let failures = loop {
        let fetch = world.fetch();
        requests += usize::from(asked(&fetch.request).contains_key(&0));
        let rows = [batch(0..10, 1, 5_000).slice(..1_000), batch(other..other + 10, 1, 100)];
        world.answer(&fetch, (0..).zip(rows).map(|(index, batch)| records(index, batch)).collect());
        other += 10;
        let failed = world.told.iter().any(|(_, _, news)| matches!(news, News::Failed(_)));
        if failed {
            break world.failures();
        }
        world.release();
        world.sleep(Duration::from_millis(100));
    };
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(
        failure.to_string(),
        "the batch at offset 3 says that it has 5000 bytes, and broker 1 sends only a part of it, however much is asked for; if \
         it is damaged, seek to an offset behind all of the batch"
    );
    assert!(world.now - start < Duration::from_secs(33), "{:?}", world.now - start);
    assert!(requests < 60, "{requests}");
    // A seek starts it anew.
    world.seek(id, Place::Offset(20), 1);
    let fetch = world.fetch();
    world.answer(&fetch, vec![]);
    let fetch = world.fetch();
    assert_eq!(asked(&fetch.request).get(&0), Some(&20));
    world.answer(&fetch, vec![records(0, batch(20..30, 1, 100))]);
    assert_eq!(world.loads(), [(id, 1, 20, 30)]);
}

/// What such a batch would have needed, and since when, is nothing to one at another offset.
#[test]
fn a_batch_is_forgotten_with_its_offset() {
    let patience = FetcherSettings::default().patience;
    let stream = StreamSettings { reset: Reset::To(Place::Offset(10)), ..Default::default() };
    let usual = stream.partition_max_bytes;
    let mut world = World::of(FetcherSettings::default(), stream);
    world.add(0, 1, Place::Offset(5));
    let (mut at, mut moved, mut is_first, mut size) = (5, world.now, true, 0);
    let failures = loop {
        let failures = world.failures();
        if !failures.is_empty() {
            break failures;
        }
        let fetch = world.fetch();
        // A session names what has changed.
        size = partitions(&fetch.request).next().map_or(size, |row| row.partition_max_bytes);
        let mut answer = records(0, batch(at..at + 1, 1, 4 << 20).slice(..1_000));
        if at == 5 && world.now - moved > patience - Duration::from_secs(5) {
            assert_eq!(size, 4 << 20);
            (at, moved, is_first) = (10, world.now, true);
            answer = refusal(0, ErrorCode::OFFSET_OUT_OF_RANGE);
        } else if std::mem::take(&mut is_first) {
            assert_eq!(size, usual);
        }
        world.answer(&fetch, vec![answer]);
        world.sleep(Duration::from_secs(1));
    };
    assert!(matches!(failures[..], [FetchFailure::Incomplete { offset: 10, .. }]), "{failures:?}");
    let took = world.now - moved;
    assert!((patience..patience + Duration::from_secs(5)).contains(&took), "{took:?}");
}

/// Trap C5, Trap C12: a partition of which enough is held leaves the others their room, and is asked for again soon after it
/// was read, although the others have nothing.
#[test]
fn a_partition_that_is_not_read_leaves_the_others_their_room() {
    let mut world = small(4_000);
    world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    world.add(1, 1, Place::Offset(0));
    assert_eq!(fetch.max_wait, Duration::from_millis(500));
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 2_000))]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let fetch = world.fetch();
        assert!(!asked(&fetch.request).contains_key(&0));
        waits.push(fetch.request.max_wait_ms);
        world.answer(&fetch, vec![row(1)]);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 500, 500], "no hot loop when nobody reads");
    let last = world.fetch();
    world.release();
    world.answer(&last, vec![]);
    let fetch = world.fetch();
    assert_eq!((asked(&fetch.request), fetch.request.max_wait_ms), ([(0, 10)].into(), 500));
}

/// Gives back what was told, and goes back to where its first load was asked for, or behind.
fn go_back(world: &mut World, id: PartitionId, to: impl FnOnce(Position) -> Position) {
    let from = world.told.iter().find_map(|(_, _, news)| match news {
        News::Records(load) => Some(load.from),
        _ => None,
    });
    world.release();
    world.fetcher.go_back(world.now, id, to(from.unwrap()), 1);
    world.run();
}

/// Trap C3, Trap C13: paused partitions that fill the budget do not starve the others, and are not kept beside it: what they hold
/// is asked back, once.
#[test]
fn paused_partitions_that_fill_the_budget_give_it_back() {
    let mut world = small(1_000);
    let ids = [0, 1].map(|index| world.add(index, index, Place::Offset(0)));
    let (first, second) = (world.fetches.remove(0), world.fetches.remove(0));
    world.answer(&first, vec![records(0, batch(0..10, 1, 2_000))]);
    world.pause(ids[0]);
    assert!(world.recalled().is_empty(), "nobody waits for it");
    world.answer(&second, vec![row(1)]);
    assert_eq!((world.recalled(), world.fetches.len()), (vec![ids[0]], 0), "it has not come back");
    assert_eq!(world.fetcher.held(), 2_100);
    go_back(&mut world, ids[0], |from| from);
    let fetch = world.fetch();
    assert_eq!(fetch.broker_id, 1);
    world.answer(&fetch, vec![records(1, batch(0..10, 1, 200))]);
    world.release();
    world.fetch();
    assert!(world.recalled().is_empty() && world.fetches.is_empty(), "it is paused, and holds nothing");
    world.resume(ids[0]);
    assert_eq!(asked(&world.fetch().request), [(0, 0)].into(), "from where it went back to");
}

/// What is resumed before that is read like the rest, and what is paused again is asked for again.
#[test]
fn what_is_resumed_is_not_given_back() {
    let mut world = small(1_000);
    let ids = [0, 1].map(|index| world.add(index, index, Place::Offset(0)));
    let (first, second) = (world.fetches.remove(0), world.fetches.remove(0));
    world.answer(&first, vec![records(0, batch(0..10, 1, 2_000))]);
    world.pause(ids[0]);
    world.answer(&second, vec![row(1)]);
    assert_eq!(world.recalled(), [ids[0]]);
    world.resume(ids[0]);
    assert!(world.fetches.is_empty(), "what is held for a partition that is not paused will be read");
    world.pause(ids[0]);
    assert_eq!(world.recalled(), [ids[0]]);
    // Where nothing is left that would be read, nothing is asked back.
    world.resume(ids[0]);
    world.pause(ids[1]);
    world.pause(ids[0]);
    assert!(world.recalled().is_empty());
}

/// What comes after its partition was asked for what it holds is asked back, too: the reader may have had nothing by then.
#[test]
fn what_comes_later_is_asked_back_as_well() {
    let mut world = small(1_000);
    let paused = world.add(0, 0, Place::Offset(0));
    let fetch = world.fetch();
    // Together with something that nobody asked for.
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 380)), records(7, batch(0..10, 1, 300))]);
    let fetch = world.fetch();
    world.add(1, 1, Place::Offset(0));
    assert!(world.fetches.is_empty(), "there is no room");
    world.pause(paused);
    assert_eq!(world.recalled(), [paused]);
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 2_000))]);
    assert_eq!(world.recalled(), [paused]);
}

/// Trap C9: what is read once more is compared with another leader's log from where it was read to.
#[test]
fn what_went_back_knows_in_which_epoch_it_was_read() {
    let mut world = small(1_000);
    let ids = [0, 1].map(|index| world.add(index, index, Place::Offset(0)));
    let first = world.fetches.remove(0);
    let records_of = [batch(0..10, 1, 500), batch(10..20, 1, 500)].concat();
    world.answer(&first, vec![records(0, records_of.into())]);
    world.pause(ids[0]);
    assert!(world.recalled().is_empty(), "the other one waits for its broker");
    let second = world.fetches.remove(0);
    world.answer(&second, vec![row(1)]);
    assert_eq!(world.recalled(), [ids[0]]);
    go_back(&mut world, ids[0], |from| from.behind(10, 1));
    world.resume(ids[0]);
    world.lead(ids[0], 3, 2);
    let (_, broker, request) = world.checks.remove(0);
    let row = &request.topics[0].partitions[0];
    assert_eq!((broker, row.partition, row.leader_epoch), (3, 0, 1), "the epoch of the batch that was read");
}

/// Trap C5: not even in turn: what is asked of a broker that has nothing keeps nobody from asking the others.
#[test]
fn brokers_do_not_wait_for_each_other_where_there_is_room_for_one() {
    let mut world = small(1);
    for index in 1..3 {
        world.add(index, index, Place::Offset(0));
    }
    for _ in 0..3 {
        let (first, second) = (world.fetches.remove(0), world.fetches.remove(0));
        assert_eq!([first.broker_id, second.broker_id], [1, 2]);
        world.answer(&first, vec![row(1)]);
        world.answer(&second, vec![row(2)]);
    }
}

/// What a removed partition had counts as long as somebody holds it.
#[test]
fn a_removed_partition_counts_until_it_is_released() {
    let mut world = small(10_000);
    let id = world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 2_000))]);
    world.fetcher.remove(world.now, id);
    assert_eq!(world.fetcher.held(), 2_100);
    world.release();
    assert_eq!(world.fetcher.held(), 0);
}
