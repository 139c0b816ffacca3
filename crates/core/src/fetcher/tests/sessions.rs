//! Fetch sessions (KIP-227).

use super::*;

fn session(fetch: &FetchOut) -> (i32, i32) {
    (fetch.request.session_id, fetch.request.session_epoch)
}

/// Trap C7: a session's requests carry what has changed, and nothing else.
#[test]
fn a_session_asks_for_what_has_changed() {
    let mut world = World::new();
    let ids = [0, 1, 2].map(|index| world.add(index, 1, Place::Offset(10)));
    let first = world.fetch();
    assert_eq!(
        (session(&first), asked(&first.request)),
        ((0, 0), [(0, 10)].into()),
        "its leader was known first"
    );
    world.answer(&first, vec![row(0)]);
    let second = world.fetch();
    assert_eq!((session(&second), asked(&second.request)), ((7, 1), [(1, 10), (2, 10)].into()));
    world.answer(&second, vec![records(1, batch(10..20, 1, 100))]);
    let third = world.fetch();
    assert_eq!((session(&third), asked(&third.request)), ((7, 2), [(1, 20)].into()));
    world.fetcher.remove(world.now, ids[2]);
    world.answer(&third, vec![]);
    let fourth = world.fetch();
    assert_eq!(
        (session(&fourth), asked(&fourth.request).len(), forgotten(&fourth.request)),
        ((7, 3), 0, vec![2])
    );
    world.answer(&fourth, vec![]);
    assert_eq!(world.fetch().request.forgotten_topics_data, [], "it is forgotten once");
}

/// Trap C7: what a lost request would have changed is asked again, with everything else, and the old session is closed.
#[test]
fn a_lost_request_changes_nothing() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    world.answer(&first, vec![records(0, batch(10..20, 1, 100))]);
    let second = world.fetch();
    world.add(1, 1, Place::Offset(5));
    world.lose(second.token, 1);
    assert!(world.fetches.is_empty(), "a broker that cut the connection is left alone for a while");
    world.sleep(Duration::from_millis(150));
    let third = world.fetch();
    assert_eq!((session(&third), asked(&third.request)), ((7, 0), [(0, 20), (1, 5)].into()));
}

/// A6: for the log, a request is about what it names and what the broker knows from earlier ones, and not about what it forgets
/// or what came up since.
#[test]
fn a_request_is_about_what_its_session_knows() {
    let about = |world: &World, fetch: &FetchOut| -> Vec<(i32, u32)> {
        let carried = world.fetcher.carried(fetch.token).inspect(|(topic, ..)| assert_eq!(**topic, orders()));
        carried.map(|(_, index, attempt)| (index, attempt)).collect()
    };
    let mut world = World::new();
    let ids = [0, 1].map(|index| world.add(index, 1, Place::Offset(10)));
    let first = world.fetch();
    assert_eq!(about(&world, &first), [(0, 1)]);
    world.answer(&first, vec![row(0)]);
    let second = world.fetch();
    assert_eq!((asked(&second.request).len(), about(&world, &second)), (1, vec![(0, 1), (1, 1)]));
    world.answer(&second, vec![]);
    let third = world.fetch();
    world.add(2, 1, Place::Offset(10));
    assert_eq!((asked(&third.request).len(), about(&world, &third)), (0, vec![(0, 1), (1, 1)]));
    world.fetcher.pause(world.now, ids[0]);
    world.answer(&third, vec![]);
    let fourth = world.fetch();
    assert_eq!(about(&world, &fourth), [(1, 1), (2, 1)]);
    world.lose(fourth.token, 1);
    assert_eq!(about(&world, &fourth), [], "it is not out any more");
    world.sleep(Duration::from_millis(150));
    let fifth = world.fetch();
    assert_eq!(about(&world, &fifth), [(1, 2), (2, 2)]);
}

/// Trap C7: a session that the broker does not know any more is opened again at once; if that fails too, after a pause.
#[test]
fn an_evicted_session_is_opened_anew_without_a_storm() {
    let codes = [
        (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0),
        (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 7),
        (ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, 7),
    ];
    for (error_code, session_id) in codes {
        let mut world = World::new();
        world.add(0, 1, Place::Offset(10));
        let first = world.fetch();
        world.answer(&first, vec![row(0)]);
        let second = world.fetch();
        world.respond(&second, FetchResponse { error_code, ..Default::default() });
        let third = world.fetch();
        assert_eq!(
            (session(&third), asked(&third.request)),
            ((session_id, 0), [(0, 10)].into()),
            "{error_code}"
        );
        world.respond(&third, FetchResponse { error_code, ..Default::default() });
        assert!(world.fetches.is_empty(), "{error_code}: the second time in a row it waits");
        world.sleep(Duration::from_millis(150));
        assert_eq!(session(&world.fetch()).1, 0);
    }
}

/// Trap C7: a broker that gives no session is asked for everything each time.
#[test]
fn without_a_session_every_request_is_whole() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    world.respond(&first, answer(0, vec![records(0, batch(10..20, 1, 100))]));
    let second = world.fetch();
    assert_eq!((session(&second), asked(&second.request)), ((0, 0), [(0, 20)].into()));
    assert_eq!(world.loads().len(), 1, "what it brought counts");
}

/// A broker fills its answer in the order of the request, and one deep backlog may fill it alone.
#[test]
fn without_a_session_partitions_take_turns_at_being_first() {
    let mut world = World::new();
    for index in 0..3 {
        world.add(index, 1, Place::Offset(10));
    }
    let mut orders = Vec::new();
    for _ in 0..4 {
        let fetch = world.fetch();
        let topic = &fetch.request.topics[0];
        orders.push(topic.partitions.iter().map(|it| it.partition).collect::<Vec<_>>());
        world.respond(&fetch, answer(0, vec![row(0), row(1), row(2)]));
    }
    // The first one was added before the others.
    assert_eq!(orders[1..], [[1, 2, 0], [2, 0, 1], [0, 1, 2]].map(Vec::from));
}

/// Trap C7, Trap N5: an answer that only throttles is no answer about partitions, and the broker is left alone.
#[test]
fn an_answer_that_throttles_is_empty() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    let throttled = FetchResponse { throttle_time_ms: 400, ..Default::default() };
    assert!(world.respond(&first, throttled).is_empty());
    world.sleep(Duration::from_millis(399));
    assert!(world.fetches.is_empty());
    world.sleep(Duration::from_millis(1));
    assert_eq!(session(&world.fetch()), (0, 0));
}

/// Trap C7: a partition that is removed and added again in between is not forgotten by the request that adds it.
#[test]
fn a_partition_that_is_added_again_is_not_forgotten() {
    let mut world = World::new();
    let old = world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    world.fetcher.remove(world.now, old);
    world.add(0, 1, Place::Offset(3));
    world.answer(&first, vec![records(0, batch(10..20, 1, 100))]);
    let second = world.fetch();
    assert_eq!((asked(&second.request), forgotten(&second.request)), ([(0, 3)].into(), vec![]));
    assert_eq!(world.loads(), [], "what was asked for the old one is not the new one's");
}

/// Trap C7: a partition of a topic that was created again comes with a new session: by its name a broker could not tell it from
/// the one that is to be forgotten.
#[test]
fn a_partition_of_a_topic_created_again_opens_another_session() {
    let mut world = World::new();
    let old = world.add(0, 1, Place::Offset(10));
    world.add(1, 1, Place::Offset(20));
    let first = world.fetch();
    world.answer(&first, vec![row(0)]);
    let second = world.fetch();
    let (session_id, _) = session(&second);
    world.fetcher.remove(world.now, old);
    let (new, leader) = (PartitionId(99), Some(Leader { broker_id: 1, epoch: 0 }));
    let other = Uuid::from_bytes([9; 16]);
    assert!(world.fetcher.add(world.now, (STREAM, new), (&orders(), other), 0, leader, Place::Offset(3)));
    world.answer(&second, vec![row(1)]);
    let third = world.fetch();
    assert_eq!(session(&third), (session_id, 0), "it closes the old one");
    assert_eq!((asked(&third.request), forgotten(&third.request)), ([(0, 3), (1, 20)].into(), vec![]));
    let ids: Vec<Uuid> = third.request.topics.iter().map(|topic| topic.topic_id).collect();
    assert!(ids.contains(&other) && ids.contains(&topic_id()), "{ids:?}");
}

/// Trap C7: an answer to everything that leaves partitions out, or has others, is noticed, and asked again after a pause.
#[test]
fn an_answer_that_leaves_partitions_out_is_noticed() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    assert_eq!(world.answer(&first, vec![row(9)]), Mismatch { unexpected: 1, missing: 1 });
    assert!(world.fetches.is_empty());
    world.sleep(Duration::from_millis(150));
    world.fetch();
}

/// Trap C12: a session has one request in flight.
#[test]
fn a_session_has_one_request_in_flight() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    world.add(1, 1, Place::Offset(10));
    world.seek(id, Place::Offset(50), 1);
    world.sleep(Duration::from_secs(60));
    world.fetch();
}

/// A session that names topics by id may not go on without.
#[test]
fn topics_without_ids_decide_the_version() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let first = world.fetch();
    assert!(first.has_ids);
    let leader = Some(Leader { broker_id: 1, epoch: -1 });
    let old = (&Str::from("old"), Uuid::NIL);
    assert!(world.fetcher.add(world.now, (STREAM, PartitionId(90)), old, 0, leader, Place::Offset(0)));
    world.answer(&first, vec![row(0)]);
    assert!(!world.fetch().has_ids);
}

/// Trap N7: a request that is refused as a whole is sent again after pauses that grow; where that will not help, the user hears.
#[test]
fn a_whole_request_that_is_refused_again_and_again_is_sent_less_and_less() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(10));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let fetch = world.fetch();
        let error_code = ErrorCode::UNKNOWN_SERVER_ERROR;
        world.respond(&fetch, FetchResponse { error_code, ..Default::default() });
        let mut pause = 0;
        while world.fetches.is_empty() {
            world.sleep(Duration::from_millis(10));
            pause += 10;
        }
        pauses.push(pause);
    }
    assert!(pauses[3] > 2 * pauses[0], "{pauses:?}");
    assert!(world.failures().is_empty());

    let fetch = world.fetch();
    let error_code = ErrorCode::INVALID_REQUEST;
    world.respond(&fetch, FetchResponse { error_code, ..Default::default() });
    assert!(
        matches!(world.failures()[..], [FetchFailure::Refused { broker_id: 1, code, .. }] if code == error_code)
    );
    world.sleep(Duration::from_secs(60));
    assert!(world.fetches.is_empty(), "it is not asked any more before it is sought");
}

/// Trap C1: a batch that makes an answer longer than is accepted is an error of its partition; the others go on. Whose it is, is found by
/// naming half as many, in as many requests as that takes.
#[test]
fn an_answer_that_is_too_long_is_an_error_of_one_partition() {
    for culprit in 0..11 {
        let mut world = World::new();
        let ids: Vec<_> = (0..11).map(|index| world.add(index, 1, Place::Offset(10))).collect();
        let opening = world.fetch();
        world.answer(&opening, vec![row(0)]);
        let mut requests = 0;
        let failures = loop {
            let fetch = world.fetch();
            requests += 1;
            let is_search = requests > 1 + usize::from(culprit != 0);
            assert!(!is_search || fetch.max_wait <= Duration::from_millis(10), "{fetch:?}");
            let is_in_it = if is_search {
                asked(&fetch.request).contains_key(&culprit)
            } else {
                requests > 1 || culprit == 0
            };
            if is_in_it {
                let reason = CloseReason::TooLong { size: 2_000, limit: 1_000 };
                world.fail(fetch.token, 1, Failure::Closed(reason));
            } else {
                let rows = if session(&fetch).1 == 0 {
                    asked(&fetch.request).keys().map(|index| row(*index)).collect()
                } else {
                    vec![]
                };
                world.answer(&fetch, rows);
            }
            let failed = world.told.iter().filter(|(_, _, news)| matches!(news, News::Failed(_)));
            let failed: Vec<_> = failed.map(|(id, ..)| *id).collect();
            if !failed.is_empty() {
                break failed;
            }
            world.sleep(Duration::from_secs(2));
        };
        assert_eq!(failures, [ids[usize::try_from(culprit).unwrap()]]);
        assert!(requests <= 12, "{requests} requests for {culprit}");
        let [failure] = &world.failures()[..] else { panic!("more than one") };
        assert_eq!(
            failure.to_string(),
            "broker 1 answers offset 10 with 2000 bytes, since a batch comes whole, and max_response_bytes are 1000: allow more of \
             them, or seek to an offset behind all of the batch"
        );
        world.sleep(Duration::from_secs(2));
        let all = world.fetch();
        assert_eq!((asked(&all.request).len(), asked(&all.request).contains_key(&culprit)), (10, false));
        assert_eq!(all.max_wait, Duration::from_millis(500));
        world.answer(&all, (0..11).filter(|index| *index != culprit).map(row).collect());
        assert_eq!(asked(&world.fetch().request), [].into(), "the session is as it was before");
    }
}

/// Trap C7: what was too large may be gone before it is found: then all is as before.
#[test]
fn a_search_for_what_is_too_large_ends_although_it_is_gone() {
    let mut world = World::new();
    for index in 0..11 {
        world.add(index, 1, Place::Offset(10));
    }
    let opening = world.fetch();
    world.answer(&opening, vec![row(0)]);
    let fetch = world.fetch();
    world.fail(fetch.token, 1, Failure::Closed(CloseReason::TooLong { size: 2_000, limit: 1_000 }));
    world.sleep(Duration::from_secs(2));
    let mut named = Vec::new();
    for _ in 0..5 {
        let fetch = world.fetch();
        named.push(asked(&fetch.request).len());
        world.answer(&fetch, asked(&fetch.request).keys().map(|index| row(*index)).collect());
    }
    assert_eq!(named, [6, 3, 1, 1, 11]);
    assert_eq!(session(&world.fetch()).1, 1);
    assert_eq!(world.failures().len(), 0);
}
