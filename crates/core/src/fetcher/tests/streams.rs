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

#[test]
fn no_request_asks_for_a_longer_answer_than_is_read() {
    let account = Account::new(10_000, None);
    let mut world = World::of(FetcherSettings { max_bytes: 1_500, ..Default::default() }, of(&account));
    world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    assert_eq!(fetch.request.max_bytes, 1_000, "the partition's");
    world.add(1, 1, Place::Offset(0));
    world.add(2, 1, Place::Offset(0));
    world.answer(&fetch, vec![row(0)]);
    assert_eq!(world.fetch().request.max_bytes, 1_500);
}

/// Partitions take turns where there is less than a byte for each.
#[test]
fn a_budget_of_fewer_bytes_than_partitions_is_used() {
    let account = Account::new(2, None);
    let mut world = World::of(FetcherSettings::default(), of(&account));
    for index in 0..3 {
        world.add(index, 1, Place::Offset(0));
    }
    let fetch = world.fetch();
    world.answer(&fetch, vec![row(0)]);
    let fetch = world.fetch();
    assert_eq!(asked(&fetch.request), [(1, 0), (2, 0)].into());
    assert_eq!(forgotten(&fetch.request), Vec::<i32>::new());
}

/// How much the rows of a request may bring.
fn sizes(fetch: &FetchOut) -> BTreeMap<i32, i32> {
    partitions(&fetch.request).map(|it| (it.partition, it.partition_max_bytes)).collect()
}

/// A stream with little room, whose first request is under way, beside one with much, which has no partition yet; and what they may hold.
fn small_and_large(settings: FetcherSettings) -> (World, FetchOut, [Account; 2]) {
    let accounts = [20_000, 50 << 20].map(|budget| Account::new(budget, None));
    let stream = |account: &Account| StreamSettings { account: account.clone(), ..Default::default() };
    let mut world = World::of(settings, stream(&accounts[0]));
    world.fetcher.open(world.now, OTHER, stream(&accounts[1]));
    world.add(0, 1, Place::Offset(0));
    let opening = world.fetch();
    (world, opening, accounts)
}

/// F1: the limit of a request that streams share is that of all of them together: what is asked of the partitions of one with
/// little room is no more than that. (A whole answer is charged to one stream, so what is around the records counts, too.)
#[test]
fn a_small_stream_beside_a_large_one_keeps_to_its_own_budget() {
    let settings = FetcherSettings { min_bytes: 5_000, ..Default::default() };
    let (mut world, opening, _accounts) = small_and_large(settings);
    assert_eq!((opening.request.max_bytes, sizes(&opening)), (10_000, [(0, 1 << 20)].into()), "it is alone");
    world.add_to(OTHER, 1, 1, Place::Offset(0));
    world.answer(&opening, vec![row(0)]);
    // A broker with a long log sends what it may, of both.
    let (mut next, mut may_bring, mut most, mut answers) = ([0, 0], BTreeMap::new(), 0, 0);
    for _ in 0..200 {
        let Some(fetch) = world.fetches.pop() else { break };
        may_bring.retain(|index, _| !forgotten(&fetch.request).contains(index));
        may_bring.extend(sizes(&fetch));
        let least = may_bring.values().fold(5_000, |least, size| least.min(*size));
        assert!(fetch.request.min_bytes <= least, "no more is waited for than may come");
        let rows = may_bring.iter().map(|(index, size)| {
            let at = &mut next[usize::try_from(*index).unwrap()];
            *at += 10;
            records(*index, batch(*at - 10..*at, 1, usize::try_from(*size).unwrap()))
        });
        let rows: Vec<PartitionData> = rows.collect();
        answers += usize::from(rows.iter().any(|row| row.partition_index == 0));
        world.answer(&fetch, rows);
        most = most.max(world.fetcher.held_by(STREAM));
        // The small one is slow.
        if world.fetches.is_empty() || answers % 3 == 0 {
            world.release();
        }
    }
    assert!(most > 10_000 && most <= 20_100, "{most} in {answers} answers");
    assert!(answers > 50, "{answers}");
}

/// Trap C7: what a session has is not named again because a stream has room for more, or for a little less; what would bring too
/// much is, and what would bring nothing.
#[test]
fn partitions_are_named_again_where_room_matters() {
    let settings = FetcherSettings { min_bytes: 5_000, ..Default::default() };
    let (mut world, opening, accounts) = small_and_large(settings);
    let slow = world.add(2, 1, Place::Offset(0));
    world.add_to(OTHER, 1, 1, Place::Offset(0));
    world.answer(&opening, vec![row(0)]);
    let fetch = world.fetch();
    assert_eq!(sizes(&fetch), [(0, 8_192), (1, 1 << 20), (2, 8_192)].into(), "10,000 are free");
    world.answer(&fetch, vec![records(2, batch(0..10, 1, 9_000))]);
    let fetch = world.fetch();
    assert_eq!((sizes(&fetch), accounts[0].used()), ([(2, 8_192)].into(), 9_100 + 10_000));
    world.answer(&fetch, vec![records(2, batch(10..20, 1, 6_000))]);
    let fetch = world.fetch();
    assert_eq!(
        (sizes(&fetch), accounts[0].used()),
        ([(0, 4_096)].into(), 20_000),
        "4,800 are free, and 2 has enough"
    );
    assert_eq!(forgotten(&fetch.request), [2]);
    read(&mut world, slow);
    world.answer(&fetch, vec![]);
    let fetch = world.fetch();
    assert_eq!(sizes(&fetch), [(2, 8_192)].into(), "0 may bring less than there is room for");
    assert_eq!(fetch.request.min_bytes, 4_096, "and may be the only one that has something");
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 6_000).slice(..4_096))]);
    let fetch = world.fetch();
    assert_eq!(sizes(&fetch), [(0, 8_192)].into(), "a batch that was cut off");
    world.answer(&fetch, vec![records(0, batch(0..10, 1, 12_000).slice(..8_192))]);
    assert_eq!(sizes(&world.fetch()), [(0, 12_000)].into(), "it would not come otherwise");
}

/// Of a stream that is alone again the request's own limit is enough.
#[test]
fn what_was_asked_for_less_is_asked_for_in_full_once_a_stream_is_alone() {
    let (mut world, opening, _accounts) = small_and_large(FetcherSettings::default());
    world.add_to(OTHER, 1, 1, Place::Offset(0));
    world.answer(&opening, vec![row(0)]);
    let fetch = world.fetch();
    assert_eq!(sizes(&fetch), [(0, 8_192), (1, 1 << 20)].into());
    world.fetcher.close(world.now, OTHER);
    world.answer(&fetch, vec![]);
    let fetch = world.fetch();
    assert_eq!((sizes(&fetch), forgotten(&fetch.request)), ([(0, 1 << 20)].into(), vec![1]));
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

/// F1: batches that are larger than a stream's part of a pool come all the same, one after another: each stream that nobody
/// reads holds one of them, whatever the others hold, and no more is asked for.
#[test]
fn each_stream_of_a_pool_may_hold_one_answer_larger_than_its_part() {
    let pool = Pool::new(4_000);
    let (mut world, _, _accounts) = two([9_000, 9_000], Some(&pool));
    let first = world.fetch();
    world.fetcher.open(world.now, StreamId(3), of(&Account::new(9_000, Some(&pool))));
    world.add_to(StreamId(3), 2, 1, Place::Offset(0));
    world.answer(&first, vec![records(0, batch(0..10, 1, 3_000))]);
    for index in 1..3 {
        let fetch = world.fetch();
        world.answer(&fetch, vec![records(index, batch(0..10, 1, 3_000))]);
    }
    assert_eq!((pool.used(), world.fetches.len()), (3 * 3_100, 0));
    world.release();
    assert_eq!((world.fetcher.held(), world.fetches.len()), (0, 1));
}
