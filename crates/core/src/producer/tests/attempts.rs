//! Attempts: back-off, leaders that move or are missing, brokers that keep silent.

use super::*;

#[test]
fn attempts_are_spaced_by_a_growing_back_off() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let request = world.one();
        world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
        world.nothing_sent();
        let since = world.now;
        while world.sent.is_empty() {
            world.pass(Duration::from_millis(1));
        }
        waits.push((world.now - since).as_millis());
    }
    for (wait, middle) in waits.iter().zip([100, 200, 400, 800, 1_000, 1_000]) {
        assert!((middle * 4 / 5..=(middle * 6 / 5).min(1_001)).contains(wait), "{waits:?}");
    }
}

#[test]
fn partitions_that_failed_together_come_back_together() {
    let mut world = World::new();
    let ids = [0, 1, 2, 3].map(|index| world.open(index, 1));
    for id in ids {
        world.produce_quietly(id);
    }
    world.run();
    for _ in 0..3 {
        let request = world.one();
        assert_eq!(carried(&request.request).len(), 4);
        world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
        world.pass(SECOND);
    }
}

#[test]
fn a_success_forgets_earlier_failures() {
    let mut world = World::new();
    let id = world.open(0, 1);
    for _ in 0..5 {
        world.produce(id);
        let request = world.one();
        world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
        world.pass(Duration::from_millis(130));
        let request = world.one();
        world.answer(&request, ErrorCode::NONE, 0);
    }
}

#[test]
fn failures_of_what_was_given_up_do_not_hold_up_what_comes_later() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let given_up = world.produce(id);
    while world.is_open(given_up) {
        let request = world.one();
        world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
        world.pass(SECOND);
    }
    let last = world.one();
    world.answer(&last, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    world.nothing_sent();
    world.pass(Duration::from_millis(121));
    world.one();
}

#[test]
fn a_moved_leader_ends_the_back_off() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let (request, sent) = world.one_sent();
    world.answer(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    assert_eq!(world.refreshes, [(RefreshReason::Answer(ErrorCode::NOT_LEADER_OR_FOLLOWER), None)]);
    world.nothing_sent();
    world.lead(id, 2, 2);
    let (request, again) = world.one_sent();
    assert_eq!((request.broker_id, again), (2, sent));
}

#[test]
fn a_lost_request_asks_another_broker_for_metadata() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let request = world.one();
    world.lose(&request, Outcome::NotSent);
    assert_eq!(world.refreshes, [(RefreshReason::Lost, Some(1))]);
}

/// Trap P2: the new leader might take any first sequence, so the old one has the word first.
#[test]
fn nothing_new_goes_to_a_new_leader_before_the_old_one_answered() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let request = world.one();
    let next = world.produce(id);
    world.lead(id, 2, 2);
    world.pass(SECOND);
    world.nothing_sent();
    world.answer(&request, ErrorCode::NONE, 0);
    let (request, sent) = world.one_sent();
    assert_eq!((request.broker_id, sent.sequence), (2, 1));
    world.answer(&request, ErrorCode::NONE, 1);
    assert_eq!(world.offset(next), Some(1));
}

/// Trap N13, Trap P2: a broker that was paused keeps its sockets open; the batch goes on under its sequence, and what the
/// old broker still says of it is known by its attempt.
#[test]
fn a_silent_broker_is_left_for_the_new_leader_and_its_late_answer_ignored() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let (old, sent) = world.one_sent();
    world.pass(2 * SECOND - Duration::from_millis(1));
    assert_eq!(world.refreshes, []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.refreshes, [(RefreshReason::Overdue, Some(1))]);
    world.lead(id, 2, 2);
    let (request, again) = world.one_sent();
    assert_eq!((request.broker_id, again), (2, sent));
    world.answer(&old, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    assert!(world.is_open(delivery));
    world.nothing_sent();
    world.answer(&request, ErrorCode::NONE, 8);
    assert_eq!(world.offset(delivery), Some(8));
}

/// Trap N13: the news of the move may come before the request is old enough.
#[test]
fn a_leader_that_moved_early_is_followed_once_the_old_broker_is_overdue() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    world.one();
    world.pass(SECOND);
    world.lead(id, 2, 2);
    world.nothing_sent();
    world.pass(SECOND);
    assert_eq!(world.one().broker_id, 2);
}

#[test]
fn an_overdue_broker_makes_for_a_question_every_half_second() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    world.pass(4 * SECOND);
    assert_eq!(world.refreshes.len(), 5);
}

#[test]
fn what_waits_for_a_silent_broker_goes_to_the_new_leader_too() {
    let mut world = World::new();
    let (first, second) = (world.open(0, 1), world.open(1, 1));
    world.produce(first);
    world.one();
    world.produce(second);
    world.nothing_sent();
    world.lead(second, 2, 2);
    assert_eq!(world.one_sent().1.partition, 1);
}

/// An overdue batch that nobody waits for any more is not sent to the new leader: its epoch is over.
#[test]
fn an_abandoned_batch_past_its_time_out_is_dropped_and_the_epoch_raised() {
    let mut world = World::new();
    world.settings.delivery_timeout = SECOND;
    let id = world.open(0, 1);
    world.produce(id);
    world.one();
    world.pass(3 * SECOND);
    world.lead(id, 2, 2);
    world.nothing_sent();
    world.produce(id);
    let (request, sent) = world.one_sent();
    assert_eq!((request.broker_id, sent.epoch, sent.sequence), (2, 1, 0));
}

/// Trap M4: no leader is a passing state, bounded by the delivery time-out.
#[test]
fn a_partition_without_a_leader_waits_and_asks_with_a_back_off() {
    let mut world = World::new();
    let id = world.producer.open(world.now, &orders(), topic_id(), 0);
    world.queues.insert(id, PartitionQueue::new(1_000));
    let delivery = world.produce(id);
    world.pass(10 * SECOND);
    world.nothing_sent();
    assert!((8..20).contains(&world.refreshes.len()), "{:?}", world.refreshes);
    assert!(world.refreshes.iter().all(|refresh| *refresh == (RefreshReason::NoLeader, None)));
    world.lead(id, 1, 1);
    world.one();
    world.producer.handle_leader(world.now, id, None);
    world.pass(5 * SECOND);
    assert!(world.is_open(delivery));
}

#[test]
fn a_partition_that_never_had_a_leader_fails_as_not_written() {
    let mut world = World::new();
    let id = world.producer.open(world.now, &orders(), topic_id(), 0);
    world.queues.insert(id, PartitionQueue::new(1_000));
    let delivery = world.produce(id);
    world.pass(121 * SECOND);
    let error = world.error(delivery);
    assert_eq!((error.outcome, error.attempts), (DeliveryOutcome::NotWritten, 0));
    assert!(error.to_string().contains("no known leader"), "{error}");
}

/// Trap P10: a batch is compressed once; every attempt sends the very same memory behind its header.
#[test]
fn a_retry_sends_what_was_compressed_before() {
    let mut world = World::new();
    world.settings.codec = Compression::Lz4.into();
    let id = world.open(0, 1);
    world.queues.insert(id, PartitionQueue::new(10_000));
    // What is small is copied into the request.
    let large: Vec<u8> = (0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    world.append_value(id, &large);
    world.producer.handle_ready(world.now, id, world.queues[&id].ready());
    world.run();
    let first = world.one();
    world.lose(&first, Outcome::Unknown);
    world.pass(SECOND);
    let second = world.one();
    let compressed = |request: &SendRequest| {
        let records = request.request.topic_data[0].partition_data[0].records.clone().unwrap();
        let chunks = records.chunks()[1..].iter();
        chunks.map(|chunk| (chunk.as_ptr(), chunk.len())).collect::<Vec<_>>()
    };
    assert!(!compressed(&first).is_empty());
    assert_eq!(compressed(&second), compressed(&first));
}
