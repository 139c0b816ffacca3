//! Producer ids, epochs and sequences.

use super::*;

/// Makes the partition's only batch in flight end in an epoch bump: it is lost after its delivery time-out.
fn bump(world: &mut World, id: PartitionId) {
    let timeout = std::mem::replace(&mut world.settings.delivery_timeout, SECOND);
    world.produce(id);
    let request = world.one();
    world.pass(SECOND);
    world.settings.delivery_timeout = timeout;
    world.lose(&request, Outcome::Unknown);
}

fn written(world: &mut World, id: PartitionId, base_offset: i64) -> Sent {
    world.produce(id);
    let (request, sent) = world.one_sent();
    world.answer(&request, ErrorCode::NONE, base_offset);
    sent
}

#[test]
fn the_first_batch_waits_for_a_producer_id_that_is_asked_for_once() {
    let mut world = World::new();
    world.grants_ids = false;
    for index in 0..3 {
        let id = world.open(index, 1);
        world.produce(id);
    }
    world.nothing_sent();
    assert_eq!(world.ids_asked, 1);
    world.producer.handle_producer_id(world.now, Ok((42, 5)));
    world.run();
    let ids: Vec<_> =
        carried(&world.one().request).iter().map(|sent| (sent.id, sent.epoch, sent.sequence)).collect();
    assert_eq!(ids, [(42, 5, 0); 3]);
}

#[test]
fn batches_without_idempotence_do_not_wait_for_a_producer_id() {
    let mut world = World::new();
    world.grants_ids = false;
    let (all, leader) = (world.open(0, 1), world.open(1, 1));
    world.produce(all);
    world.settings.acks = Acks::Leader;
    world.produce(leader);
    assert_eq!(world.one_sent().1.partition, 1);
}

#[test]
fn a_producer_id_that_cannot_be_had_yet_is_asked_for_again_until_the_time_out() {
    let mut world = World::new();
    world.grants_ids = false;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let refusal = || Err(ProducerIdFailure::Refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    for asked in 1..=20 {
        assert_eq!(world.ids_asked, asked);
        world.producer.handle_producer_id(world.now, refusal());
        world.run();
        assert_eq!(world.ids_asked, asked, "no hot loop");
        world.pass(SECOND);
    }
    world.pass(120 * SECOND);
    let error = world.error(delivery);
    assert_eq!(error.outcome, DeliveryOutcome::NotWritten);
    assert_eq!(error.cause.code(), Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    let asked = world.ids_asked;
    world.producer.handle_producer_id(world.now, refusal());
    world.pass(120 * SECOND);
    assert_eq!(world.ids_asked, asked, "nobody waits for one any more");
    world.produce(id);
    assert_eq!(world.ids_asked, asked + 1);
    world.producer.handle_producer_id(world.now, refusal());
    world.pass(Duration::from_millis(121));
    assert_eq!(world.ids_asked, asked + 2, "refusals of old do not hold it up");
}

/// Trap N7: what cannot get better is not tried for ever.
#[test]
fn a_refused_producer_id_fails_what_waits_for_it() {
    let mut world = World::new();
    world.grants_ids = false;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let refusal = ProducerIdFailure::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    world.producer.handle_producer_id(world.now, Err(refusal));
    world.run();
    assert_eq!(world.error(delivery).cause.code(), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    // Permissions may change: the next batch asks again.
    world.produce(id);
    assert_eq!(world.ids_asked, 2);
}

#[test]
fn a_negative_producer_id_is_not_used() {
    let mut world = World::new();
    world.grants_ids = false;
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    world.producer.handle_producer_id(world.now, Ok((-1, 0)));
    world.run();
    assert!(world.error(delivery).to_string().contains("id -1"));
}

/// Trap P3: after a bump every partition restarts at 0, each with its next new batch.
#[test]
fn all_partitions_restart_at_zero_after_an_epoch_bump() {
    let mut world = World::new();
    let (first, second) = (world.open(0, 1), world.open(1, 2));
    for offset in 0..3 {
        assert_eq!(written(&mut world, second, offset).sequence, offset as i32);
    }
    bump(&mut world, first);
    let sent = written(&mut world, second, 3);
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
    let sent = written(&mut world, first, 0);
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
}

/// Trap P3: sequences go from 2^31-1 to 0, within a batch too.
#[test]
fn the_batch_behind_one_that_wraps_starts_above_zero() {
    let mut world = World::new();
    let id = world.open(0, 1);
    written(&mut world, id, 0);
    // As after two thousand million records.
    world.producer.partitions.get_mut(&id).unwrap().next_sequence = i32::MAX - 1;
    for _ in 0..4 {
        world.produce_quietly(id);
    }
    world.run();
    let (request, wrapping) = world.one_sent();
    assert_eq!((wrapping.sequence, wrapping.records), (i32::MAX - 1, 4));
    world.lose(&request, Outcome::Unknown);
    world.pass(SECOND);
    let (request, again) = world.one_sent();
    assert_eq!(again, wrapping);
    world.answer(&request, ErrorCode::NONE, 1);
    let sent = written(&mut world, id, 5);
    assert_eq!((sent.id, sent.epoch, sent.sequence), (wrapping.id, wrapping.epoch, 2));
}

/// Trap P3: id, epoch and sequence are one snapshot; a retry keeps it whatever the others do meanwhile.
#[test]
fn a_retry_keeps_its_stamp_through_an_epoch_bump() {
    let mut world = World::new();
    let (first, second) = (world.open(0, 1), world.open(1, 2));
    written(&mut world, second, 0);
    world.produce(second);
    let (request, sent) = world.one_sent();
    bump(&mut world, first);
    world.answer(&request, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
    world.pass(SECOND);
    let (request, again) = world.one_sent();
    assert_eq!(again, sent);
    assert_eq!((again.epoch, again.sequence), (0, 1));
    world.answer(&request, ErrorCode::NONE, 1);
    // Only now, with nothing of its own under the old epoch, it goes over.
    let sent = written(&mut world, second, 2);
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
}

#[test]
fn two_partitions_that_fail_under_one_epoch_raise_it_once() {
    let mut world = World::new();
    world.settings.delivery_timeout = SECOND;
    let ids = [world.open(0, 1), world.open(1, 2)];
    world.produce(ids[0]);
    world.produce(ids[1]);
    let requests = std::mem::take(&mut world.sent);
    world.pass(SECOND);
    for request in &requests {
        world.lose(request, Outcome::Unknown);
    }
    assert_eq!(world.producer.identity(), Some(ProducerIdentity { id: 1_000, epoch: 1 }));
}

#[test]
fn a_fresh_producer_id_follows_the_last_epoch() {
    let mut world = World::new();
    world.grants_ids = false;
    let id = world.open(0, 1);
    world.produce(id);
    world.producer.handle_producer_id(world.now, Ok((42, i16::MAX)));
    world.run();
    let request = world.one();
    world.answer(&request, ErrorCode::NONE, 0);
    world.grants_ids = true;
    bump(&mut world, id);
    let sent = written(&mut world, id, 1);
    assert_eq!((sent.id, sent.epoch, sent.sequence), (1_001, 0, 0));
}

/// Trap P3: a partition goes over to a new epoch once nothing of its own is in flight under the old one, also with a
/// batch that waited for its turn when another partition raised the epoch.
#[test]
fn a_gathered_batch_waits_for_what_is_in_flight_under_the_epoch_left_behind() {
    let mut world = World::with(ProducerSettings { max_in_flight: 3, ..ProducerSettings::default() });
    let (first, second, third) = (world.open(0, 1), world.open(1, 1), world.open(2, 1));
    for id in [first, second, third] {
        written(&mut world, id, 0);
    }
    world.produce(first);
    let (failing, _) = world.one_sent();
    world.fill(second, 1);
    let (old, _) = world.one_sent();
    // Both are taken for the last request there is room for, and do not fit together.
    world.settings.request_timeout = SECOND;
    for _ in 0..9 {
        world.produce_quietly(third);
    }
    world.settings.request_timeout = 30 * SECOND;
    world.fill(second, 1);
    let (_, other) = world.one_sent();
    assert_eq!(other.partition, 2);
    world.answer(&failing, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert_eq!(world.producer.identity(), Some(ProducerIdentity { id: 1_000, epoch: 1 }));
    assert!(world.sent.iter().all(|request| carried(&request.request)[0].partition != 1), "{:?}", world.sent);
    world.sent.clear();
    world.answer(&old, ErrorCode::NONE, 1);
    let (_, sent) = world.one_sent();
    assert_eq!((sent.partition, sent.epoch, sent.sequence), (1, 1, 0));
}

/// Partitions that were listed when the id was used up wait for the fresh one.
#[test]
fn a_gathered_batch_is_not_stamped_with_an_id_that_was_used_up_meanwhile() {
    let mut world = World::new();
    world.grants_ids = false;
    let (first, second, third) = (world.open(0, 1), world.open(1, 1), world.open(2, 1));
    world.settings.delivery_timeout = SECOND;
    world.produce(first);
    world.settings.delivery_timeout = 120 * SECOND;
    world.producer.handle_producer_id(world.now, Ok((42, i16::MAX)));
    world.run();
    let doomed = world.one();
    world.produce(second);
    world.produce(third);
    world.pass(SECOND);
    world.lose(&doomed, Outcome::Unknown);
    world.nothing_sent();
    assert_eq!(world.ids_asked, 2);
    world.producer.handle_producer_id(world.now, Ok((43, 0)));
    world.run();
    let stamps: Vec<_> = carried(&world.one().request).iter().map(|sent| (sent.id, sent.sequence)).collect();
    assert_eq!(stamps, [(43, 0), (43, 0)]);
}

/// Trap P5: the log starts past everything acknowledged, so the broker's memory went with the records.
#[test]
fn an_out_of_order_sequence_after_retention_is_not_loss() {
    let mut world = World::new();
    let id = world.open(0, 1);
    written(&mut world, id, 10);
    let delivery = world.produce(id);
    let request = world.one();
    let out_of_order = PartitionProduceResponse {
        log_start_offset: 11,
        ..answer(0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    };
    world.answer_with(&request, vec![out_of_order]);
    assert!(world.resets[0].is_retention());
    world.pass(SECOND);
    let (request, sent) = world.one_sent();
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
    world.answer(&request, ErrorCode::NONE, 11);
    assert_eq!(world.offset(delivery), Some(11));
}

/// Trap P5: acknowledged records are gone; the batch in hand is not.
#[test]
fn an_out_of_order_sequence_without_retention_is_reported_and_survived() {
    for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
        let mut world = World::new();
        let id = world.open(0, 1);
        written(&mut world, id, 10);
        let delivery = world.produce(id);
        let request = world.one();
        let lost = PartitionProduceResponse { log_start_offset: 0, ..answer(0, code, -1) };
        world.answer_with(&request, vec![lost]);
        let reset = &world.resets[0];
        assert_eq!((reset.code, reset.last_acknowledged), (code, Some(10)));
        assert!(!reset.is_retention());
        world.pass(SECOND);
        let (request, sent) = world.one_sent();
        assert_eq!((sent.id, sent.epoch, sent.sequence), (1_000, 1, 0));
        world.answer(&request, ErrorCode::NONE, 5);
        assert_eq!(world.offset(delivery), Some(5));
    }
}

#[test]
fn a_fenced_batch_goes_on_under_a_fresh_producer_id() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let request = world.one();
    world.answer(&request, ErrorCode::INVALID_PRODUCER_EPOCH, -1);
    world.pass(SECOND);
    let (request, sent) = world.one_sent();
    assert_eq!((sent.id, sent.epoch, sent.sequence), (1_001, 0, 0));
    world.answer(&request, ErrorCode::NONE, 0);
    assert_eq!(world.offset(delivery), Some(0));
}

/// Trap P1: under a new identity the broker could not tell a second copy from the first.
#[test]
fn a_batch_with_an_unknown_attempt_is_not_sent_again_under_a_new_identity() {
    for code in [
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
    ] {
        let mut world = World::new();
        let id = world.open(0, 1);
        written(&mut world, id, 0);
        let delivery = world.produce(id);
        let request = world.one();
        world.lose(&request, Outcome::Unknown);
        world.pass(SECOND);
        let request = world.one();
        world.answer(&request, code, -1);
        assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten, "{code}");
        world.pass(SECOND);
        world.nothing_sent();
        assert_eq!(written(&mut world, id, 1).sequence, 0, "{code}");
    }
}

/// Trap M3, Trap P3: a topic that was taken for gone may turn out to be the one that counts. Its broker still knows the
/// sequences used before, and would take a new batch under the same ones for a copy.
#[test]
fn a_partition_that_is_opened_again_starts_under_a_new_epoch() {
    let mut world = World::new();
    let id = world.open(0, 1);
    written(&mut world, id, 0);
    let (name, other) = (orders(), Uuid::from_bytes([9; 16]));
    world.producer.handle_topic_id(world.now, &name, other);
    world.run();
    let again = world.open(0, 1);
    assert_ne!(id, again);
    let sent = written(&mut world, again, 1);
    assert_eq!((sent.epoch, sent.sequence), (1, 0));
}
