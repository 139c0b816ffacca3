//! Streams that share a fetcher: their requests, and nothing else.

use super::*;

const OTHER: StreamId = StreamId(2);

fn of(account: &Account) -> StreamSettings {
    StreamSettings { account: account.clone(), partition_max_bytes: 1_000, ..Default::default() }
}

/// Two streams, of which each reads one partition of broker 1, and what they may hold.
fn two(budgets: [usize; 2], pool: Option<&Pool>) -> (World, [PartitionId; 2], [Account; 2]) {
    let accounts = budgets.map(|budget| Account::new(budget, pool));
    let mut world = World::of(FetcherSettings::default(), of(&accounts[0]));
    world.fetcher.open(world.now, OTHER, of(&accounts[1]));
    let first = world.add(0, 1, Place::Offset(0));
    let opening = world.fetch();
    let second = world.add_to(OTHER, 1, 1, Place::Offset(0));
    world.answer(&opening, vec![row(0)]);
    (world, [first, second], accounts)
}

/// What was told of this partition was read.
fn read(world: &mut World, id: PartitionId) {
    for (of, _, news) in std::mem::take(&mut world.told) {
        match news {
            News::Records(load) if of == id => world.fetcher.release(world.now, id, load.hold),
            news => world.told.push((of, 0, news)),
        }
    }
    world.run();
}

#[test]
fn streams_share_a_request_and_each_has_its_room_in_it() {
    let (mut world, ids, accounts) = two([2_000, 10_000], None);
    let fetch = world.fetch();
    assert_eq!(asked(&fetch.request), [(1, 0)].into(), "the session has the other");
    assert_eq!(fetch.request.max_bytes, 2_000, "a thousand of each");
    assert_eq!(accounts.each_ref().map(Account::used), [1_000, 1_000]);
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 300)), records(1, batch(0..10, 1, 600))]);
    assert_eq!(world.loads(), [(ids[0], 0, 0, 10), (ids[1], 0, 0, 10)]);
    assert_eq!((world.fetcher.held_by(STREAM), world.fetcher.held_by(OTHER)), (400, 600));
}

/// Trap C12: a stream that nobody reads is left out of requests; the other goes on, with its own room.
#[test]
fn a_stream_that_is_not_read_does_not_hold_the_other_up() {
    let (mut world, ids, accounts) = two([2_000, 2_000], None);
    let fetch = world.fetch();
    // More than it has room for.
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 3_000)), row(1)]);
    let mut next = 0;
    for round in 0..20 {
        let fetch = world.fetch();
        assert_eq!((round > 0).then(|| forgotten(&fetch.request)), (round > 0).then(Vec::new));
        assert!(!asked(&fetch.request).contains_key(&0), "round {round}");
        let to = next + 10;
        world.answer(&fetch, vec![records(1, batch(next..to, 1, 900))]);
        assert!(world.fetcher.held() <= 3_100 + 2_000, "{}", world.fetcher.held());
        read(&mut world, ids[1]);
        next = to;
    }
    assert_eq!(accounts[0].used(), 3_100);
    let last = world.fetch();
    read(&mut world, ids[0]);
    world.answer(&last, vec![row(1)]);
    assert_eq!(asked(&world.fetch().request), [(0, 10)].into(), "it was read, and is asked for again");
}

/// F1: each byte is charged to one stream: to the last that keeps the answer in memory.
#[test]
fn the_last_that_holds_some_of_an_answer_is_charged_with_all_of_it() {
    let (mut world, ids, accounts) = two([9_000, 9_000], None);
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 300)), records(1, batch(0..10, 1, 600))]);
    let fetch = world.fetch();
    world.answer(&fetch, vec![]);
    let by =
        |world: &World| (world.fetcher.held_by(STREAM), world.fetcher.held_by(OTHER), world.fetcher.held());
    assert_eq!(by(&world), (400, 600, 1_000));
    read(&mut world, ids[0]);
    assert_eq!(by(&world), (0, 1_000, 1_000), "all of it is in memory");
    read(&mut world, ids[1]);
    assert_eq!(by(&world), (0, 0, 0));
    let (fetch, reserved) = (world.fetch(), accounts.each_ref().map(Account::used));
    assert_eq!(reserved, [1_000, 1_000], "what is on its way");
    world.lose(fetch.token, 1);
    assert_eq!(accounts.each_ref().map(Account::used), [0, 0]);
}

/// F1: a stream that is dropped gives its partitions and its bytes back, those on their way included.
#[test]
fn a_stream_that_is_gone_gives_everything_back() {
    let pool = Pool::new(100_000);
    let (mut world, _, accounts) = two([9_000, 9_000], Some(&pool));
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 300)), records(1, batch(0..10, 1, 600))]);
    let fetch = world.fetch();
    world.fetcher.close(world.now, STREAM);
    assert_eq!((world.fetcher.held(), world.fetcher.held_by(OTHER), world.fetcher.len()), (1_000, 1_000, 1));
    world.fetcher.close(world.now, OTHER);
    assert_eq!((world.fetcher.held(), world.fetcher.len(), pool.used()), (0, 0, 0));
    assert_eq!(accounts.each_ref().map(Account::used), [0, 0]);
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 300))]);
    assert_eq!((world.fetcher.held(), pool.used(), world.fetches.len()), (0, 0, 0));
    world.told.clear();
    // The partitions may be somebody else's now.
    world.fetcher.open(world.now, StreamId(3), of(&Account::new(1_000, Some(&pool))));
    world.add_to(StreamId(3), 0, 1, Place::Offset(5));
    assert_eq!(asked(&world.fetch().request), [(0, 5)].into());
}

/// F1: streams share a pool in equal parts; what one gives back is another's, also at another fetcher.
#[test]
fn a_pool_is_kept_and_nobody_starves() {
    let pool = Pool::new(4_000);
    let (mut world, ids, accounts) = two([9_000, 9_000], Some(&pool));
    for round in 0..40 {
        assert!(pool.used() <= 4_000, "round {round}: {}", pool.used());
        assert_eq!(pool.used(), accounts.iter().map(Account::used).sum::<usize>());
        let Some(fetch) = world.fetches.pop() else {
            read(&mut world, ids[round % 2]);
            continue;
        };
        let row = |(index, from): (i32, i64)| records(index, batch(from..from + 1, 1, 450));
        world.answer(&fetch, asked(&fetch.request).into_iter().map(row).collect());
    }
    // Another fetcher, whose stream finds everything taken: one small answer at a time.
    let mut other = World::of(FetcherSettings::default(), of(&Account::new(9_000, Some(&pool))));
    accounts[0].take(4_000);
    other.add(0, 1, Place::Offset(0));
    let fetch = other.fetch();
    assert!(fetch.request.max_bytes <= 4_000 / 3 / 16 + 1, "{}", fetch.request.max_bytes);
    other.answer(&fetch, vec![records(0, batch(0..10, 1, 200))]);
    assert!(other.fetches.is_empty() && other.fetcher.is_starved(), "until it has read that");
    accounts[0].give_back(4_000);
    other.fetcher.handle_room(other.now);
    other.run();
    assert!(other.fetch().request.max_bytes > 100);
}
