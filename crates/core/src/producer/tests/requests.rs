//! What shares a request, and when it leaves.

use ottla_wire::compression::Codec;
use ottla_wire::records::batches;
use ottla_wire::{decode_request_body, decode_request_header, encode_request};

use super::*;

/// Trap P13: separate requests on one connection are served one after another.
#[test]
fn ready_partitions_of_a_broker_share_a_request() {
    let mut world = World::new();
    let ids = [world.open(0, 1), world.open(1, 1), world.open(2, 2)];
    for id in ids {
        world.produce_quietly(id);
    }
    world.run();
    let merged: Vec<_> =
        world.sent.iter().map(|sent| (sent.broker_id, carried(&sent.request).len())).collect();
    assert_eq!(merged, [(1, 2), (2, 1)]);
}

/// Trap W2: a batch that cannot be had leaves nothing of itself in the request that its neighbours share.
#[test]
fn a_batch_that_cannot_be_sealed_is_not_in_the_request_of_its_neighbours() {
    for bad in 0..2 {
        let mut world = World::new();
        let ids = [world.open(0, 1), world.open(1, 1)];
        let deliveries = [0, 1].map(|index| {
            let level = (index == bad).then_some(99);
            world.settings.codec = Codec { compression: Compression::Gzip, level };
            world.produce_quietly(ids[index])
        });
        world.run();
        assert_eq!(world.unsealed, [deliveries[bad]]);
        let good = 1 - bad;
        let request = world.one();
        let frame = encode_request(&request.request, VERSION, 7, None).unwrap().into_bytes().slice(4..);
        let (_, body) = decode_request_header(&frame).unwrap();
        let read: ProduceRequest = decode_request_body(&frame.slice(body..), VERSION).unwrap();
        assert_eq!(read.topic_data[0].partition_data, request.request.topic_data[0].partition_data);
        let partitions: Vec<_> = read.topic_data.iter().flat_map(|topic| &topic.partition_data).collect();
        assert_eq!(partitions.iter().map(|it| it.index as usize).collect::<Vec<_>>(), [good]);
        let mut held = batches(partitions[0].records.as_ref().unwrap().to_bytes());
        held.next().unwrap().unwrap().check_crc().unwrap();
        assert!(held.next().is_none());

        world.answer_with(&request, vec![answer(good as i32, ErrorCode::NONE, 5)]);
        assert_eq!(world.offset(deliveries[good]), Some(5));
        assert!(world.producer.is_idle());
        // The partition goes on with its first sequence.
        world.settings.codec = Compression::None.into();
        world.produce(ids[bad]);
        let (_, sent) = world.one_sent();
        assert_eq!((sent.partition as usize, sent.sequence), (bad, 0));
    }
}

#[test]
fn partitions_of_a_topic_stand_under_one_entry_of_the_request() {
    let mut world = World::new();
    let other = world.producer.open(world.now, &Str::from("payments"), Uuid::from_bytes([2; 16]), 0);
    world.queues.insert(other, PartitionQueue::new(1_000));
    world.lead(other, 1, 1);
    let ids = [world.open(3, 1), other, world.open(1, 1)];
    for id in ids {
        world.produce_quietly(id);
    }
    world.run();
    let request = world.one().request;
    let topics: Vec<_> =
        request.topic_data.iter().map(|topic| (&*topic.name, topic.partition_data.len())).collect();
    assert_eq!(topics, [("payments", 1), ("orders", 2)]);
    assert_eq!(request.topic_data[1].topic_id, topic_id());
}

#[test]
fn what_is_ready_gathers_until_the_answer_arrives() {
    let mut world = World::new();
    let ids = [0, 1, 2].map(|index| world.open(index, 1));
    world.produce(ids[0]);
    let first = world.one();
    for id in ids {
        world.produce(id);
        world.produce(id);
    }
    world.nothing_sent();
    world.answer(&first, ErrorCode::NONE, 0);
    let records: Vec<_> = carried(&world.one().request).iter().map(|sent| sent.records).collect();
    assert_eq!(records, [2, 2, 2]);
}

#[test]
fn a_full_batch_takes_what_has_gathered_along_without_waiting_for_the_answer() {
    let mut world = World::new();
    let (first, second, third) = (world.open(0, 1), world.open(1, 1), world.open(2, 1));
    world.produce(first);
    world.one();
    world.produce(second);
    world.nothing_sent();
    while world.sent.is_empty() {
        world.produce(third);
    }
    let partitions: Vec<_> = carried(&world.one().request).iter().map(|sent| sent.partition).collect();
    assert_eq!(partitions, [1, 2]);
}

#[test]
fn a_broker_never_has_more_than_its_window_in_flight() {
    let mut world = World::with(ProducerSettings { max_in_flight: 2, ..ProducerSettings::default() });
    let ids = [0, 1, 2].map(|index| world.open(index, 1));
    for id in ids {
        for _ in 0..10 {
            world.produce(id);
        }
    }
    assert_eq!(world.sent.len(), 2);
}

/// A batch with other acks or another request time-out never changes what a request means for its neighbours.
#[test]
fn batches_with_other_acks_or_time_outs_go_in_requests_of_their_own() {
    let mut world = World::new();
    let ids = [0, 1, 2].map(|index| world.open(index, 1));
    world.produce_quietly(ids[0]);
    world.settings.acks = Acks::Leader;
    world.produce_quietly(ids[1]);
    world.settings.request_timeout = 5 * SECOND;
    world.produce_quietly(ids[2]);
    world.run();
    for expected in [(-1, 30_000), (1, 30_000), (1, 5_000)] {
        let request = world.one();
        assert_eq!((request.request.acks, request.request.timeout_ms), expected);
        assert_eq!(carried(&request.request).len(), 1);
        world.answer(&request, ErrorCode::NONE, 0);
    }
}

#[test]
fn a_request_is_bounded_in_size_and_every_partition_gets_its_turn() {
    let mut world = World::with(ProducerSettings { max_request_size: 500, ..ProducerSettings::default() });
    let ids = [0, 1, 2, 3, 4].map(|index| world.open(index, 1));
    for id in ids {
        world.produce_quietly(id);
    }
    world.run();
    let mut turns = Vec::new();
    for _ in 0..5 {
        let request = world.one();
        turns.push(carried(&request.request).iter().map(|sent| sent.partition).collect::<Vec<_>>());
        // Whoever was served has something new at once.
        for partition in turns.last().unwrap().clone() {
            world.produce_quietly(ids[usize::try_from(partition).unwrap()]);
        }
        world.answer(&request, ErrorCode::NONE, 0);
    }
    assert_eq!(turns, [[0, 1], [2, 3], [0, 4], [1, 2], [0, 3]]);
}

#[test]
fn a_batch_larger_than_a_request_goes_alone() {
    let mut world = World::with(ProducerSettings { max_request_size: 10, ..ProducerSettings::default() });
    let ids = [world.open(0, 1), world.open(1, 1)];
    world.produce_quietly(ids[0]);
    world.produce_quietly(ids[1]);
    world.run();
    world.one_sent();
}

/// Trap P6: trouble with one partition is its own.
#[test]
fn one_refused_partition_does_not_hold_up_the_others() {
    let mut world = World::new();
    let (bad, good) = (world.open(0, 1), world.open(1, 1));
    world.produce_quietly(bad);
    world.produce_quietly(good);
    world.run();
    let request = world.one();
    let answers = vec![answer(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1), answer(1, ErrorCode::NONE, 5)];
    world.answer_with(&request, answers);
    world.produce(good);
    let (_, sent) = world.one_sent();
    assert_eq!((sent.partition, sent.sequence), (1, 1));
}

/// Trap P9: the answer is matched, not indexed.
#[test]
fn partitions_answered_twice_or_unasked_are_ignored_and_missing_ones_are_unknown() {
    let mut world = World::new();
    let ids = [world.open(0, 1), world.open(1, 1)];
    let deliveries = ids.map(|id| world.produce_quietly(id));
    world.run();
    let request = world.one();
    let answers = vec![
        answer(0, ErrorCode::NONE, 10),
        answer(0, ErrorCode::MESSAGE_TOO_LARGE, -1),
        answer(7, ErrorCode::NONE, 3),
        answer(i32::MIN, ErrorCode::NONE, 3),
    ];
    let mismatch = world.answer_with(&request, answers);
    assert_eq!(mismatch, Mismatch { unexpected: 2, duplicated: 1, missing: 1 });
    assert_eq!(world.offset(deliveries[0]), Some(10));
    assert!(world.is_open(deliveries[1]));
    world.pass(SECOND);
    let (_, again) = world.one_sent();
    assert_eq!((again.partition, again.sequence), (1, 0));
}

/// Trap P9: an answer for another topic of the same partition number is not ours.
#[test]
fn an_answer_for_another_topic_does_not_count() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    let topic = TopicProduceResponse {
        topic_id: Uuid::from_bytes([9; 16]),
        partition_responses: vec![answer(0, ErrorCode::NONE, 1)],
        ..TopicProduceResponse::default()
    };
    let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
    let mismatch = world.producer.handle_answer(world.now, request.token, VERSION, &response);
    assert_eq!((mismatch.unexpected, mismatch.missing), (1, 1));
    assert!(world.is_open(delivery));
}

#[test]
fn before_version_13_answers_are_matched_by_topic_name() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    let topic = TopicProduceResponse {
        name: orders(),
        partition_responses: vec![answer(0, ErrorCode::NONE, 1)],
        ..TopicProduceResponse::default()
    };
    let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
    assert!(world.producer.handle_answer(world.now, request.token, 12, &response).is_empty());
    world.run();
    assert_eq!(world.offset(delivery), Some(1));
}

#[test]
fn an_answer_to_an_unknown_request_is_ignored() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 0);
    world.answer(&request, ErrorCode::NONE, 0);
    assert_eq!(world.resolved.len(), 1);
}

#[test]
fn the_time_of_the_log_is_handed_on_where_the_broker_sets_it() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    let stamped = PartitionProduceResponse { log_append_time_ms: 77, ..answer(0, ErrorCode::NONE, 4) };
    world.answer_with(&request, vec![stamped]);
    let expected = Written { base_offset: Some(4), log_append_time: Some(77) };
    assert_eq!(*world.result(delivery).as_ref().unwrap(), expected);
}

/// Trap P1: a broker that has the batch already tells the time of its newest record, which is none of the log's.
#[test]
fn the_time_of_a_duplicate_is_not_taken_for_the_logs() {
    for (time, expected) in [(0, None), (77, Some(77))] {
        let mut world = World::new();
        let id = world.open(0, 1);
        let delivery = world.produce(id);
        let first = world.one();
        world.lose(&first, Outcome::Unknown);
        world.pass(SECOND);
        let second = world.one();
        let known = PartitionProduceResponse { log_append_time_ms: time, ..answer(0, ErrorCode::NONE, 4) };
        world.answer_with(&second, vec![known]);
        assert_eq!(world.result(delivery).as_ref().unwrap().log_append_time, expected);
    }
}

#[test]
fn with_acks_0_a_batch_is_done_when_it_is_written_to_the_connection() {
    let mut world = World::new();
    world.settings.acks = Acks::None;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let (request, sent) = world.one_sent();
    assert_eq!((request.acks, request.request.acks), (Acks::None, 0));
    assert_eq!((sent.id, sent.epoch, sent.sequence), (-1, -1, -1));
    world.producer.handle_written(world.now, request.token);
    world.run();
    assert_eq!(world.offset(delivery), None);
    assert_eq!(world.ids_asked, 0);
}

#[test]
fn with_acks_0_a_lost_connection_is_reported_and_nothing_is_written_twice() {
    let mut world = World::new();
    world.settings.acks = Acks::None;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.lose(&request, Outcome::Unknown);
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten);
    world.pass(5 * SECOND);
    world.nothing_sent();
}

#[test]
fn with_acks_0_a_batch_on_its_way_to_the_old_leader_is_not_sent_to_the_new_one() {
    let mut world = World::new();
    world.settings.acks = Acks::None;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.pass(3 * SECOND);
    world.lead(id, 2, 2);
    world.pass(3 * SECOND);
    world.nothing_sent();
    world.producer.handle_written(world.now, request.token);
    world.run();
    assert_eq!(world.offset(delivery), None);
}

#[test]
fn with_acks_1_a_batch_carries_no_producer_id_and_is_sent_again() {
    let mut world = World::new();
    world.settings.acks = Acks::Leader;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let (request, sent) = world.one_sent();
    assert_eq!((request.request.acks, sent.id, sent.sequence), (1, -1, -1));
    world.lose(&request, Outcome::Unknown);
    world.pass(SECOND);
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 6);
    assert_eq!(world.offset(delivery), Some(6));
    assert_eq!(world.ids_asked, 0);
}

#[test]
fn a_throttled_produce_was_applied() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    let topic = TopicProduceResponse {
        topic_id: topic_id(),
        partition_responses: vec![answer(0, ErrorCode::NONE, 1)],
        ..TopicProduceResponse::default()
    };
    let response =
        ProduceResponse { responses: vec![topic], throttle_time_ms: 5_000, ..ProduceResponse::default() };
    world.producer.handle_answer(world.now, request.token, VERSION, &response);
    world.run();
    assert_eq!(world.offset(delivery), Some(1));
    // The next request waits in its connection: it is not the broker that is silent.
    world.produce(id);
    world.one();
    world.pass(6 * SECOND);
    assert_eq!(world.refreshes, []);
    world.pass(2 * SECOND);
    assert_eq!(world.refreshes[0], (RefreshReason::Overdue, Some(1)));
}

/// Trap N5: what is out when a broker asks for a pause is late only after it.
#[test]
fn what_is_out_during_a_pause_is_not_late() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 0);
    world.fill(id, 2);
    assert_eq!(world.sent.len(), 2);
    let topic = TopicProduceResponse {
        topic_id: topic_id(),
        partition_responses: vec![answer(0, ErrorCode::NONE, 1)],
        ..TopicProduceResponse::default()
    };
    let response =
        ProduceResponse { responses: vec![topic], throttle_time_ms: 5_000, ..ProduceResponse::default() };
    let token = world.sent[0].token;
    world.producer.handle_answer(world.now, token, VERSION, &response);
    world.run();
    world.pass(6 * SECOND);
    assert_eq!(world.refreshes, []);
    world.pass(2 * SECOND);
    assert_eq!(world.refreshes[0], (RefreshReason::Overdue, Some(1)));
}

#[test]
fn an_idle_machine_has_nothing_to_do_and_no_timer() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    assert!(!world.producer.is_idle());
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 0);
    assert!(world.producer.is_idle());
    assert_eq!(world.producer.poll_timeout(), None);
    assert_eq!(world.queues[&id].memory(), 0);
}
