//! Logs that were cut (KIP-320).

use ottla_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::*;

/// A world that has read up to offset 20 in epoch 1, and whose leader is broker 2 in epoch 3 now.
fn moved() -> (World, PartitionId) {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.answer(&fetch, vec![records(0, batch(10..20, 1, 100))]);
    world.fetch();
    world.told.clear();
    world.lead(id, 2, 3);
    (world, id)
}

fn end(world: &mut World, row: EpochEndOffset) {
    let (token, broker_id, request) = world.checks.remove(0);
    let asked = &request.topics[0].partitions[0];
    assert_eq!((broker_id, asked.current_leader_epoch, asked.leader_epoch), (2, 3, 1));
    let topics =
        vec![OffsetForLeaderTopicResult { topic: orders(), partitions: vec![row], ..Default::default() }];
    let response = OffsetForLeaderEpochResponse { topics, ..Default::default() };
    world.fetcher.handle_epochs(world.now, token, &response);
    world.run();
}

/// Trap C9: under another leader epoch the position is validated before anything is fetched.
#[test]
fn another_leader_epoch_is_validated_first() {
    let (mut world, _) = moved();
    assert!(world.fetches.is_empty());
    end(&mut world, EpochEndOffset { leader_epoch: 1, end_offset: 20, ..Default::default() });
    assert_eq!((asked(&world.fetch().request), world.told.len()), ([(0, 20)].into(), 0));
}

/// Trap C9: what the new leader lacks is reported, with both epochs, and its log is followed.
#[test]
fn a_truncated_log_is_reported_and_followed() {
    let (mut world, id) = moved();
    end(&mut world, EpochEndOffset { leader_epoch: 0, end_offset: 15, ..Default::default() });
    let expected = Truncation { offset: 20, epoch: 1, end_offset: 15, common_epoch: 0, leader_epoch: 3 };
    assert!(
        matches!(world.told[..], [(it, 0, News::Truncated(truncation))] if it == id && truncation == expected)
    );
    assert_eq!(asked(&world.fetch().request), [(0, 15)].into());
}

/// Trap C9: where nothing was read nothing can be lost, although there is no record in the epoch of the leader that named the
/// offset; a log that does not reach there is cut all the same.
#[test]
fn a_start_in_an_epoch_without_records_is_no_loss() {
    for end_offset in [20, 15] {
        let mut world = World::new();
        let id = world.add(0, 1, Place::Latest);
        world.find(&[(0, 20)]);
        world.fetch();
        world.told.clear();
        world.lead(id, 2, 3);
        end(&mut world, EpochEndOffset { leader_epoch: 0, end_offset, ..Default::default() });
        assert_eq!(
            (asked(&world.fetch().request), world.told.len()),
            ([(0, end_offset)].into(), usize::from(end_offset < 20))
        );
    }
}

/// Trap C9: an end that is not known is not a loss.
#[test]
fn an_end_that_is_not_known_is_no_loss() {
    let (mut world, _) = moved();
    end(&mut world, EpochEndOffset { leader_epoch: -1, end_offset: -1, ..Default::default() });
    assert_eq!((asked(&world.fetch().request), world.told.len()), ([(0, 20)].into(), 0));
}

/// Trap C9: a broker that is too old to tell is believed.
#[test]
fn a_broker_that_cannot_validate_is_believed() {
    let (mut world, _) = moved();
    let (token, broker_id, _) = world.checks.remove(0);
    let ours = ottla_wire::VersionRange { min: 2, max: 4 };
    world.fail(token, broker_id, Failure::UnsupportedVersion { ours, theirs: None });
    world.sleep(Duration::from_millis(150));
    assert_eq!(asked(&world.fetch().request), [(0, 20)].into());
}

/// Trap C9: a leader that changes while it is asked is asked again, in its new epoch.
#[test]
fn an_answer_of_a_former_leader_validates_nothing() {
    let (mut world, id) = moved();
    world.lead(id, 2, 4);
    end(&mut world, EpochEndOffset { leader_epoch: 1, end_offset: 20, ..Default::default() });
    assert!(world.fetches.is_empty());
    assert_eq!(world.checks[0].2.topics[0].partitions[0].current_leader_epoch, 4);
}

/// Trap C9: a fenced epoch asks for the new leader, and nothing is lost on the way.
#[test]
fn a_fenced_epoch_waits_for_the_new_leader() {
    let mut world = World::new();
    let id = world.add(0, 1, Place::Offset(10));
    let fetch = world.fetch();
    world.answer(&fetch, vec![refusal(0, ErrorCode::FENCED_LEADER_EPOCH)]);
    assert_eq!(world.refreshes, 1);
    world.lead(id, 1, 2);
    assert_eq!(asked(&world.fetch().request), [(0, 10)].into(), "a new epoch need not wait");
}
