//! What the machine counts.

use super::*;

#[test]
fn what_was_done_is_counted() {
    let mut world = World::new();
    world.add(0, 1, Place::Offset(0));
    let fetch = world.fetch();
    assert_eq!((world.fetcher.metrics().requests, world.fetcher.metrics().in_flight), (1, 1));
    world.now += Duration::from_millis(20);
    let rows = vec![records(0, batch(0..10, 1, 900))];
    world.respond(&fetch, FetchResponse { throttle_time_ms: 250, ..answer(7, rows) });
    let metrics = world.fetcher.metrics();
    assert_eq!((metrics.bytes, metrics.held, metrics.in_flight), (1_000, 1_000, 0));
    assert_eq!(metrics.throttled, Duration::from_millis(250));
    assert_eq!((metrics.latency.count(), metrics.latency.max()), (1, Duration::from_millis(20)));
    world.release();
    world.sleep(Duration::from_millis(250));
    let (second, token) = (world.fetcher.metrics(), world.fetch().token);
    assert_eq!((second.requests, second.held), (2, 0));
    world.lose(token, 1);
    let lost = world.fetcher.metrics();
    assert_eq!((lost.in_flight, lost.latency.count()), (0, 1), "what has no answer has no latency");
    let mut both = metrics;
    both.merge(&lost);
    assert_eq!((both.requests, both.latency.count(), both.bytes), (3, 2, 2_000));
}
