//! What the machine counts.

use super::*;

#[test]
fn what_was_done_is_counted() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let (request, _) = world.one_sent();
    let metrics = world.producer.metrics();
    assert_eq!((metrics.in_flight, metrics.buffered_records), (1, 1));
    world.now += SECOND;
    world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    world.pass(SECOND);
    let (request, _) = world.one_sent();
    world.now += SECOND / 10;
    let mut response = ProduceResponse { throttle_time_ms: 250, ..ProduceResponse::default() };
    response.responses.push(TopicProduceResponse {
        topic_id: topic_id(),
        partition_responses: vec![answer(0, ErrorCode::NONE, 0)],
        ..TopicProduceResponse::default()
    });
    world.producer.handle_answer(world.now, request.token, VERSION, &response);
    world.run();

    let metrics = world.producer.metrics();
    assert_eq!((metrics.records_written, metrics.records_failed, metrics.batches), (1, 0, 1));
    assert_eq!((metrics.requests, metrics.retries, metrics.in_flight), (2, 1, 0));
    assert_eq!(metrics.buffered_records, 0);
    assert_eq!(metrics.bytes, metrics.compressed_bytes);
    assert_eq!(metrics.throttled, SECOND / 4);
    assert_eq!((metrics.latency.count(), metrics.latency.max()), (2, SECOND));

    world.produce(id);
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::INVALID_RECORD, -1);
    assert_eq!(world.producer.metrics().records_failed, 1);
}

/// Trap P7: each record counts once, whatever parts its batch was sent in.
#[test]
fn records_of_split_batches_count_once() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.settings.codec = Compression::Lz4.into();
    while world.deliveries < 2 {
        world.produce_quietly(id);
    }
    world.run();
    let (request, sent) = world.one_sent();
    world.answer(&request, ErrorCode::MESSAGE_TOO_LARGE, -1);
    world.split();
    while let Some(request) = world.sent.pop() {
        world.answer(&request, ErrorCode::NONE, 1);
    }
    let metrics = world.producer.metrics();
    assert_eq!((metrics.splits, metrics.records_written), (1, sent.records as u64 + 1));
    assert!(metrics.compression_ratio() > 2.0, "{metrics:?}");
}
