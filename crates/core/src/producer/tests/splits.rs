//! Batches that are too large for their topic.

use super::*;

impl World {
    /// Does what was asked for: all splits.
    pub(super) fn split(&mut self) {
        while let Some(SplitBatch { partition, token, sealed, codec, .. }) = self.splits.pop() {
            let parts = sealed.split(&codec, &mut self.pool);
            self.producer.handle_split(self.now, partition, token, parts);
            self.run();
        }
    }
}

/// A partition with a batch of eight records that was too large, and that batch's delivery.
fn too_large() -> (World, PartitionId, u32) {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce_quietly(id);
    while world.deliveries == delivery {
        world.produce_quietly(id);
    }
    world.run();
    let (request, sent) = world.one_sent();
    assert_eq!((sent.delivery, sent.records), (delivery, 8));
    world.answer(&request, ErrorCode::MESSAGE_TOO_LARGE, -1);
    world.nothing_sent();
    (world, id, delivery)
}

/// Trap P7: the parts are one delivery, under the sequences that the batch had.
#[test]
fn a_batch_that_is_too_large_is_sent_in_two_parts() {
    let (mut world, _, delivery) = too_large();
    world.split();
    let (request, first) = world.one_sent();
    assert_eq!((first.sequence, first.records), (0, 4));
    world.answer(&request, ErrorCode::NONE, 70);
    assert!(world.parts.is_empty(), "half of it is not all of it");
    let (request, second) = world.one_sent();
    assert_eq!((second.sequence, second.records), (4, 4));
    world.answer(&request, ErrorCode::NONE, 90);
    assert_eq!(world.parts, [(delivery, vec![(0, Some(70)), (4, Some(90))])]);
    let (_, next) = world.one_sent();
    assert_eq!(next.sequence, 8, "what comes behind is not renumbered");
}

/// Trap P7: down to one record, which fails alone.
#[test]
fn a_part_that_is_too_large_is_split_again() {
    let (mut world, _, delivery) = too_large();
    // Sequence and epoch that the broker expects; what it has written counts the offsets.
    let (mut next, mut epoch, mut offset) = (0, 0, 0);
    while world.parts.is_empty() {
        world.split();
        while !world.sent.is_empty() {
            let request = world.sent.remove(0);
            let sent = carried(&request.request)[0];
            if sent.epoch > epoch {
                (next, epoch) = (0, sent.epoch);
            }
            // The very first record is larger than the topic allows, also by itself.
            if sent.records > 1 || sent.delivery == delivery {
                world.answer(&request, ErrorCode::MESSAGE_TOO_LARGE, -1);
            } else if sent.sequence != next {
                world.answer(&request, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            } else {
                (next, offset) = (next + 1, offset + 1);
                world.answer(&request, ErrorCode::NONE, offset);
            }
        }
        world.pass(SECOND);
    }
    let expected = (0..8).map(|index| (index, (index > 0).then_some(index as i64))).collect();
    assert_eq!(world.parts, [(delivery, expected)]);
}

/// Trap P1: what may be in the log as it is must not get there in parts as well.
#[test]
fn a_batch_with_an_unknown_outcome_is_not_split() {
    let mut world = World::new();
    let id = world.open(0, 1);
    let delivery = world.produce(id);
    let (request, _) = world.one_sent();
    world.lose(&request, Outcome::Unknown);
    world.pass(SECOND);
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::MESSAGE_TOO_LARGE, -1);
    assert!(world.splits.is_empty());
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::MayHaveBeenWritten);
}

#[test]
fn the_time_of_a_batch_may_be_over_while_it_is_split() {
    let (mut world, id, delivery) = too_large();
    world.pass(120 * SECOND);
    assert_eq!(world.error(delivery).outcome, DeliveryOutcome::NotWritten);
    world.split();
    assert!(world.parts.is_empty());
    world.produce(id);
    assert!(!world.sent.is_empty(), "the partition goes on");
}

#[test]
fn a_part_that_is_refused_takes_nothing_from_the_other() {
    let (mut world, _, delivery) = too_large();
    world.split();
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::INVALID_RECORD, -1);
    let (request, _) = world.one_sent();
    world.answer(&request, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    world.pass(SECOND);
    let (request, second) = world.one_sent();
    let sent = (second.epoch, second.sequence, second.records);
    assert_eq!(sent, (1, 0, 4), "there is a gap in the old epoch");
    world.answer(&request, ErrorCode::NONE, 7);
    assert_eq!(world.parts, [(delivery, vec![(0, None), (4, Some(7))])]);
}
