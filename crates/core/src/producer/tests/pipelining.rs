//! Several batches of a partition in flight.

use super::*;

impl World {
    /// Somebody waits for what the partition has.
    fn hurry(&mut self, id: PartitionId) {
        let queue = self.queues.get_mut(&id).unwrap();
        assert!(queue.hurry());
        self.producer.handle_ready(self.now, id, self.queues[&id].ready());
        self.run();
    }

    /// All requests since the last look, each with what it carries for its only partition.
    fn all_sent(&mut self) -> Vec<(SendRequest, Sent)> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter()
            .map(|request| {
                let carried = carried(&request.request);
                assert_eq!(carried.len(), 1, "{carried:?}");
                (request, carried[0])
            })
            .collect()
    }
}

/// A partition that has had its first success, and nothing in flight.
fn proven() -> (World, PartitionId) {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.produce(id);
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::NONE, 0);
    (world, id)
}

fn sequences(sent: &[(SendRequest, Sent)]) -> Vec<(i64, i16, i32)> {
    sent.iter().map(|(_, sent)| (sent.id, sent.epoch, sent.sequence)).collect()
}

/// Compression of one batch keeps no other from being compressed, but for one that is not full: that has company to gain.
#[test]
fn while_a_batch_is_sealed_the_full_ones_behind_it_are_too_and_the_rest_waits() {
    let (mut world, id) = proven();
    world.seals_later = true;
    world.fill(id, 3);
    assert_eq!(world.taken.len(), 3, "three are full");
    for rest in (0..3).rev() {
        let (_, batch) = world.taken.remove(0);
        let batch = batch.seal(&mut world.pool).unwrap();
        world.producer.push(world.now, id, batch, world.queues[&id].ready());
        world.run();
        assert_eq!((world.taken.len(), world.all_sent().len()), (rest, 1));
    }
}

#[test]
fn what_is_lost_with_its_connection_is_one_failure() {
    let (mut world, id) = proven();
    world.fill(id, 5);
    let lost = world.all_sent();
    assert_eq!(lost.len(), 5);
    for (request, _) in &lost {
        world.lose(request, Outcome::Unknown);
    }
    assert!(world.all_sent().is_empty());
    world.pass(Duration::from_millis(121));
    let again = world.all_sent();
    assert_eq!(sequences(&again), sequences(&lost)[..again.len()]);
    assert!(!again.is_empty(), "the first back-off is 100 ms and a fifth");
}

/// A window holds what is being sealed, too.
#[test]
fn no_more_batches_are_sealed_than_may_be_in_flight() {
    let mut world = World::new();
    world.seals_later = true;
    let id = world.open(0, 1);
    world.fill(id, 3);
    assert_eq!(world.taken.len(), 1, "until the leader has taken one");

    let (mut world, id) = proven();
    world.seals_later = true;
    world.fill(id, 9);
    assert_eq!(world.taken.len(), 5);
}

/// Trap P8: what is past its time is told so, and does not wait until those before it are sealed, one after another.
#[test]
fn whatever_is_sealed_what_is_past_its_time_is_taken() {
    let mut world = World::new();
    world.seals_later = true;
    let id = world.open(0, 1);
    world.fill(id, 3);
    assert_eq!(world.taken.len(), 1);
    world.pass(120 * SECOND);
    assert_eq!(world.taken.len(), 4, "three full batches, and a record");

    // What is heard twice is taken once.
    let mut world = World::new();
    world.seals_later = true;
    let id = world.open(0, 1);
    world.fill(id, 2);
    world.now += 120 * SECOND;
    for _ in 0..2 {
        let ready = world.queues[&id].ready();
        world.producer.handle_ready(world.now, id, ready);
    }
    assert!(matches!(world.producer.poll_action(), Some(Action::Take { .. })));
    assert!(
        !matches!(world.producer.poll_action(), Some(Action::Take { .. })),
        "before its queue is heard of again"
    );
}

/// Trap P2: a broker that knows nothing of a producer takes any sequence for the first.
#[test]
fn a_partition_pipelines_after_its_first_success_on_the_leader() {
    let mut world = World::new();
    let id = world.open(0, 1);
    world.fill(id, 3);
    let (first, sent) = world.one_sent();
    assert_eq!(sent.sequence, 0);
    world.answer(&first, ErrorCode::NONE, 0);
    assert_eq!(sequences(&world.all_sent()), [(1_000, 0, 8), (1_000, 0, 16)]);

    let (mut world, id) = proven();
    world.fill(id, 1);
    world.lead(id, 2, 2);
    world.fill(id, 3);
    let old = world.all_sent();
    assert_eq!(old.len(), 1, "nothing new before the old leader has answered");
    world.answer(&old[0].0, ErrorCode::NONE, 1);
    let new = world.all_sent();
    assert_eq!(new.len(), 1, "one batch, until the new leader has taken it");
    assert_eq!(new[0].0.broker_id, 2);
    world.answer(&new[0].0, ErrorCode::NONE, 10);
    assert!(world.all_sent().len() > 1);
}

#[test]
fn five_batches_of_a_partition_are_in_flight_and_no_more() {
    let (mut world, id) = proven();
    world.fill(id, 8);
    let sent = world.all_sent();
    assert_eq!(sequences(&sent), [1, 9, 17, 25, 33].map(|sequence| (1_000, 0, sequence)));
    world.answer(&sent[0].0, ErrorCode::NONE, 1);
    assert_eq!(sequences(&world.all_sent()), [(1_000, 0, 41)]);
}

/// Trap P4: what follows a batch that was not taken goes again behind it, under the same sequences.
#[test]
fn what_follows_a_failed_batch_is_rewound_with_it() {
    let (mut world, id) = proven();
    world.fill(id, 3);
    let sent = world.all_sent();
    world.answer(&sent[0].0, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    for (request, _) in &sent[1..] {
        world.answer(request, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    }
    assert!(world.resets.is_empty(), "the gap was to be expected");
    world.pass(5 * SECOND);
    let mut again = Vec::new();
    while again.len() < sent.len() {
        let sent = world.all_sent();
        for (request, _) in &sent {
            world.answer(request, ErrorCode::NONE, 1);
        }
        again.extend(sent);
    }
    assert_eq!(sequences(&again)[..sent.len()], sequences(&sent));
    let deliveries: Vec<_> = again.iter().map(|(_, sent)| sent.delivery).collect();
    assert!(deliveries.is_sorted(), "{deliveries:?}");
}

/// Trap P4: what follows a batch that is refused for good starts over under the next epoch, once all of it is answered.
#[test]
fn what_follows_a_refused_batch_starts_over_under_the_next_epoch() {
    let (mut world, id) = proven();
    world.fill(id, 3);
    let sent = world.all_sent();
    world.answer(&sent[0].0, ErrorCode::INVALID_RECORD, -1);
    assert_eq!(world.error(sent[0].1.delivery).outcome, DeliveryOutcome::NotWritten);
    world.answer(&sent[1].0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    world.nothing_sent();
    world.answer(&sent[2].0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert!(world.resets.is_empty());
    world.pass(5 * SECOND);
    let (request, first) = world.one_sent();
    assert_eq!((first.delivery, first.id, first.epoch, first.sequence), (sent[1].1.delivery, 1_000, 1, 0));
    world.answer(&request, ErrorCode::NONE, 1);
    let rest = world.all_sent();
    assert_eq!(rest[0].1.delivery, sent[2].1.delivery);
    assert_eq!((rest[0].1.epoch, rest[0].1.sequence), (1, 8));
}

/// Trap P1: with the connection all outcomes are unknown, and nothing is renumbered.
#[test]
fn a_lost_connection_sends_all_that_was_in_flight_again() {
    let (mut world, id) = proven();
    world.fill(id, 3);
    let sent = world.all_sent();
    for (request, _) in &sent {
        world.lose(request, Outcome::Unknown);
    }
    world.pass(5 * SECOND);
    assert_eq!(sequences(&world.all_sent())[..3], sequences(&sent)[..3]);
}

/// Without a producer id a batch that is sent again would come after those behind it.
#[test]
fn with_acks_1_one_batch_is_in_flight_and_with_acks_0_five_are() {
    for (acks, in_flight) in [(Acks::Leader, 1), (Acks::None, 5)] {
        let mut world = World::new();
        world.settings.acks = acks;
        let id = world.open(0, 1);
        world.fill(id, 8);
        assert_eq!(world.all_sent().len(), in_flight);
    }
}

/// A partition whose records linger for 10 ms.
fn lingering() -> (World, PartitionId) {
    let (mut world, id) = proven();
    world.settings.linger = Some(SECOND / 100);
    (world, id)
}

#[test]
fn a_batch_lingers_also_when_nothing_is_in_flight() {
    let (mut world, id) = lingering();
    world.produce(id);
    world.pass(SECOND / 200);
    world.produce(id);
    world.nothing_sent();
    world.pass(SECOND / 200);
    let (_, sent) = world.one_sent();
    assert_eq!(sent.records, 2);
    assert!(world.producer.poll_timeout() > Some(world.now + SECOND), "it lingers no more");
}

#[test]
fn a_batch_that_somebody_waits_for_leaves_at_once_or_with_the_next_answer() {
    let (mut world, id) = lingering();
    world.produce(id);
    world.hurry(id);
    let (request, _) = world.one_sent();
    world.produce(id);
    world.hurry(id);
    world.nothing_sent();
    world.answer(&request, ErrorCode::NONE, 1);
    world.one_sent();
}

#[test]
fn a_batch_that_has_lingered_leaves_beside_what_is_in_flight() {
    let (mut world, id) = lingering();
    world.produce(id);
    world.hurry(id);
    world.one_sent();
    world.produce(id);
    world.pass(SECOND / 100);
    world.one_sent();
}

/// Trap P13: one request for all, whatever made the first of them leave.
#[test]
fn what_lingers_leaves_with_others_of_its_broker() {
    let (mut world, id) = lingering();
    let other = world.open(1, 1);
    let elsewhere = world.open(2, 2);
    for id in [other, elsewhere, id] {
        world.produce(id);
    }
    world.nothing_sent();
    world.hurry(id);
    let request = world.one();
    let carried: Vec<_> = carried(&request.request).iter().map(|sent| sent.partition).collect();
    assert_eq!(carried, [0, 1]);
}

/// Three requests are out, two of which carry what one partition has; behind them it has a batch that did not fit into the
/// third. That batch is past its time, and cannot get its sequence beside the others any more, when one of the requests is lost:
/// it goes when it is looked at, and what is behind it leaves in its place.
#[test]
fn what_is_behind_a_batch_that_goes_while_a_request_is_put_together_leaves_at_once() {
    let mut world = World::with(ProducerSettings { max_in_flight: 3, ..ProducerSettings::default() });
    let [id, given_up, other] = [0, 1, 2].map(|index| world.open(index, 1));
    world.produce(id);
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::NONE, 0);
    let usual = world.settings;
    let brief = |seconds| BatchSettings { delivery_timeout: seconds * SECOND, ..usual };
    let slower = BatchSettings { request_timeout: 60 * SECOND, ..brief(6) };
    let careless = BatchSettings { acks: Acks::None, ..usual };

    world.settings = brief(5);
    world.produce(given_up);
    let lost = world.one();
    // Whatever has other settings closes the batch before it, which need not wait for company then.
    for (id, settings) in [(id, usual), (id, slower)] {
        world.settings = settings;
        world.produce(id);
    }
    world.one();
    for (id, settings) in [(other, usual), (other, careless), (id, careless), (id, usual)] {
        world.settings = settings;
        world.produce_quietly(id);
    }
    world.run();
    assert_eq!(carried(&world.one().request)[0].partition, 2);

    world.pass(5 * SECOND);
    world.nothing_sent();
    world.now += SECOND;
    world.lose(&lost, Outcome::Unknown);
    assert_eq!(world.one().acks, Acks::None);
}
