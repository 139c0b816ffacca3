//! How deliveries end: what is certain, what is unknown, and what is said of it.

use super::*;

/// Trap P1: an outcome that is unknown stays under its sequence until the answer is definite.
#[test]
fn unknown_outcomes_are_sent_again_under_the_same_sequence() {
    for code in [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ] {
        let mut world = World::new();
        let id = world.open(0, 1);
        let delivery = world.produce(id);
        let (request, first) = world.one_sent();
        // More records arrive: they must not slip into the batch.
        world.produce(id);
        world.answer(&request, code, -1);
        world.pass(SECOND);
        let (request, second) = world.one_sent();
        assert_eq!(second, first, "{code}");
        world.answer(&request, ErrorCode::NONE, 3);
        assert_eq!(world.offset(delivery), Some(3));
    }
}

/// Trap P1: a closed connection says nothing about what was written to it.
#[test]
fn a_closed_connection_is_an_unknown_outcome() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let (request, first) = world.one_sent();
    world.lose(&request, Outcome::Unknown);
    world.pass(SECOND);
    assert_eq!(world.one_sent().1, first);
    world.pass(200 * SECOND);
    let error = world.error(delivery);
    assert_eq!((error.outcome, error.attempts), (DeliveryOutcome::MayHaveBeenWritten, 2));
}

/// Trap P1: the user learns that the records may be there, and the sequence is not used for others.
#[test]
fn a_batch_that_times_out_in_flight_holds_its_partition_until_the_answer() {
    let mut world = World::new();
    world.settings.delivery_timeout = 5 * SECOND;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.pass(6 * SECOND);
    let error = world.error(delivery);
    assert_eq!(error.outcome, DeliveryOutcome::MayHaveBeenWritten);
    assert!(matches!(error.cause, DeliveryCause::TimedOut { last: None }));
    let next = world.produce(id);
    world.nothing_sent();
    // It was written after all: what follows goes on behind it.
    world.answer(&request, ErrorCode::NONE, 0);
    let (request, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (0, 1));
    world.answer(&request, ErrorCode::NONE, 1);
    assert_eq!(world.offset(next), Some(1));
}

/// Trap P1: without a definite answer the epoch is raised before anything new goes out.
#[test]
fn after_an_unknown_outcome_that_timed_out_the_partition_restarts_in_the_next_epoch() {
    let mut world = World::new();
    world.settings.delivery_timeout = 5 * SECOND;
    let id = world.open(0, 1);
    world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 0);
    let delivery = world.produce(id);
    let (request, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (0, 1));
    world.pass(6 * SECOND);
    let next = world.produce(id);
    world.lose(&request, Outcome::Unknown);
    let (request, sent) = world.one_sent();
    assert_eq!((sent.id, sent.epoch, sent.sequence), (1_000, 1, 0));
    world.answer(&request, ErrorCode::NONE, 2);
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten);
    assert_eq!(world.offset(next), Some(2));
    assert_eq!(world.ids_asked, 1);
}

#[test]
fn a_batch_that_times_out_between_attempts_says_what_the_last_one_met() {
    let mut world = World::new();
    world.settings.delivery_timeout = SECOND;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.pass(SECOND - Duration::from_millis(50));
    world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    world.pass(SECOND);
    let error = world.error(delivery);
    assert_eq!(error.outcome, DeliveryOutcome::NotWritten);
    assert_eq!(
        error.to_string(),
        "Produce to orders/0: not written after 1 attempt: delivery time-out passed; \
         last: broker 1 answered NOT_ENOUGH_REPLICAS (19)"
    );
}

#[test]
fn a_batch_that_never_left_was_not_written() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    while world.is_open(delivery) {
        if let Some(request) = world.sent.pop() {
            world.lose(&request, Outcome::NotSent);
        }
        world.pass(SECOND / 100);
    }
    let error = world.error(delivery);
    assert_eq!(error.outcome, DeliveryOutcome::NotWritten);
    assert!(error.attempts > 10);
    // Its sequence is free again.
    world.produce(id);
    world.pass(SECOND);
    let (_, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (0, 0));
}

#[test]
fn a_definite_answer_after_an_unknown_one_is_still_not_certain() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.lose(&request, Outcome::Unknown);
    world.pass(SECOND);
    let request = world.one();
    world.answer(&request, ErrorCode::MESSAGE_TOO_LARGE, -1);
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten);
    world.produce(id);
    let (_, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
}

#[test]
fn a_refused_batch_fails_at_once_and_its_sequence_goes_to_the_next() {
    for code in [
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::INVALID_RECORD,
        ErrorCode::INVALID_TIMESTAMP,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::INVALID_REQUIRED_ACKS,
    ] {
        let mut world = World::new();
        let id = world.open(0, 1);
        let delivery = world.produce(id);
        let request = world.one();
        let message = Some(Str::from("no"));
        let refusal = PartitionProduceResponse { error_message: message, ..answer(0, code, -1) };
        world.answer_with(&request, vec![refusal]);
        let error = world.error(delivery);
        assert_eq!((error.outcome, error.cause.code()), (DeliveryOutcome::NotWritten, Some(code)));
        assert!(error.to_string().ends_with(": no"), "{error}");
        world.produce(id);
        let (_, sent) = world.one_sent();
        assert_eq!((sent.epoch, sent.sequence), (0, 0));
    }
}

#[test]
fn an_unknown_error_code_fails_the_batch_without_claiming_anything() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode(9_999), -1);
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten);
    world.produce(id);
    let (_, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
}

/// Trap M4: a broker that does not know the topic may only lag behind; the records are kept, for a bounded time.
#[test]
fn an_unknown_topic_is_retried_until_the_delivery_time_out() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let mut attempts = 0;
    while world.is_open(delivery) {
        if let Some(request) = world.sent.pop() {
            attempts += 1;
            world.answer(&request, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1);
        }
        world.pass(SECOND / 10);
    }
    assert!((50..300).contains(&attempts), "{attempts}");
    assert!(world.now - world.start <= 121 * SECOND);
    assert_eq!(world.error(delivery).cause.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(world.refreshes.contains(&(RefreshReason::Answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), None)));
}

#[test]
fn records_behind_a_held_partition_time_out_as_not_written() {
    let mut world = World::new();
    world.settings.delivery_timeout = 5 * SECOND;
    let id = world.open(0, 1);
    world.produce(id);
    world.pass(SECOND);
    let waiting: Vec<_> = (0..25).map(|_| world.produce(id)).collect();
    world.pass(5 * SECOND);
    for delivery in waiting {
        assert_eq!(world.error(delivery).outcome, DeliveryOutcome::NotWritten);
    }
    assert_eq!(world.queues[&id].memory(), 0);
    world.one();
}

/// Trap P5: a duplicate is in the log.
#[test]
fn a_duplicate_sequence_is_success() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
    assert_eq!(world.offset(delivery), None);
    world.produce(id);
    let (_, sent) = world.one_sent();
    assert_eq!(sent.sequence, 1);
}

/// Trap P9: what was asked for is expected, also when nobody is left who asked.
#[test]
fn the_answer_for_a_partition_of_a_topic_that_is_gone_is_no_surprise() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let silent = world.one();
    world.pass(3 * SECOND);
    world.lead(id, 2, 2);
    let again = world.one();
    assert_eq!(again.broker_id, 2);
    world.producer.handle_topic_id(world.now, &orders(), Uuid::from_bytes([2; 16]));
    world.answer(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    assert!(!world.is_open(delivery) && world.producer.is_idle());
    let late = vec![answer(0, ErrorCode::NONE, 7)];
    assert_eq!(world.answer_with(&silent, late), Mismatch::default());
}

/// Trap M3: the topic was deleted and created again; nothing is carried over, and the user is told.
#[test]
fn a_topic_created_again_fails_its_batches_with_both_ids() {
    let mut world = World::new();
    let (id, waiting) = (world.open(0, 1), world.open(1, 1));
    let in_flight = world.produce(id);
    let request = world.one();
    let queued = world.produce(waiting);
    world.answer(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    world.sent.clear();
    let new = Uuid::from_bytes([2; 16]);
    world.producer.handle_topic_id(world.now, &orders(), new);
    world.run();
    assert_eq!(world.closed, [id, waiting]);
    let error = world.error(in_flight).clone();
    assert!(error.to_string().contains(&new.to_string()), "{error}");
    assert!(error.to_string().contains(&topic_id().to_string()), "{error}");
    // The request that carried the other one is still out: its answer counts.
    assert!(world.is_open(queued));
    world.pass(200 * SECOND);
    assert_eq!(world.error(queued).outcome, DeliveryOutcome::MayHaveBeenWritten);
    // Opened again it is another partition, from sequence 0.
    let reopened = world.producer.open(world.now, &orders(), new, 0);
    assert_ne!(reopened, id);
}

#[test]
fn an_older_broker_that_hides_the_topic_id_does_not_restart_the_sequences() {
    let mut world = World::new();
    let id = world.open(0, 1);
    assert_eq!(world.producer.open(world.now, &orders(), Uuid::NIL, 0), id);
    let other = Str::from("payments");
    let nameless = world.producer.open(world.now, &other, Uuid::NIL, 0);
    assert_eq!(world.producer.open(world.now, &other, Uuid::from_bytes([3; 16]), 0), nameless);
    world.run();
    assert_eq!(world.closed, []);
}
