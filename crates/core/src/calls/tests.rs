//! The retry loop in virtual time.

use super::*;
use crate::HostPort;
use crate::backoff::Backoff;
use crate::error::CloseReason;
use crate::metadata::{MetadataSettings, broker};
use ottla_wire::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::{Str, VersionRange};

const SECOND: Duration = Duration::from_secs(1);
const ID: Uuid = Uuid::from_bytes([1; 16]);

struct Rig {
    now: Instant,
    metadata: Metadata,
    call: Call,
}

fn picture(topic_id: Uuid, leader_id: i32, leader_epoch: i32) -> MetadataResponse {
    let broker =
        |node_id| MetadataResponseBroker { node_id, host: Str::from("b"), port: 9092, ..Default::default() };
    MetadataResponse {
        brokers: vec![broker(1), broker(2)],
        controller_id: 1,
        topics: vec![MetadataResponseTopic {
            name: Some(Str::from("t")),
            topic_id,
            partitions: vec![MetadataResponsePartition { leader_id, leader_epoch, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

impl Rig {
    fn new(target: Target) -> Self {
        Self::of(ApiKey::LIST_OFFSETS, target)
    }

    fn of(api: ApiKey, target: Target) -> Self {
        let now = Instant::now();
        let mut metadata = Metadata::new(now, MetadataSettings::default(), vec![HostPort::new("boot", 1)], 0);
        metadata.want_topic(now, "t");
        metadata.handle_response(now, 0, &picture(ID, 1, 5));
        let pauses = Pauses::new(Backoff::RETRY, 0);
        let call = Call::new(now, api, target, 10 * SECOND, Duration::ZERO, pauses);
        Self { now, metadata, call }
    }

    fn at_leader() -> Self {
        Self::new(Target::Leader { topic: "t".into(), topic_id: ID, partition: 0 })
    }

    fn hears(&mut self, picture: &MetadataResponse) {
        self.metadata.handle_response(self.now, 0, picture);
    }

    fn step(&mut self) -> Step {
        self.call.poll_step(self.now, &mut self.metadata)
    }

    #[track_caller]
    fn sends(&mut self) -> i32 {
        match self.step() {
            Step::Send { to: Destination::Broker(id), .. } => id,
            other => panic!("expected a send, got {other:?}"),
        }
    }

    #[track_caller]
    fn waits(&mut self) -> Duration {
        match self.step() {
            Step::Wait(until) => until - self.now,
            other => panic!("expected a wait, got {other:?}"),
        }
    }

    #[track_caller]
    fn gives_up(&mut self) -> CallError {
        match self.step() {
            Step::GiveUp(error) => error,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    fn fails(&mut self, outcome: Outcome, reason: Failure) {
        let error = RequestError { peer: peer(1), api: ApiKey::LIST_OFFSETS, outcome, reason };
        self.call.handle_error(self.now, error, &mut self.metadata);
    }

    fn answers(&mut self, code: ErrorCode) {
        self.call.handle_code(self.now, peer(1), code, Some("said the broker"), &mut self.metadata);
    }
}

fn peer(id: i32) -> Arc<Peer> {
    Arc::new(Peer { broker_id: Some(id), address: HostPort::new("b", 9092) })
}

#[test]
fn a_retriable_code_is_tried_again_after_a_pause() {
    let mut rig = Rig::at_leader();
    assert_eq!(rig.sends(), 1);
    rig.answers(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let pause = rig.waits();
    assert!(pause >= Duration::from_millis(80) && pause <= Duration::from_millis(120), "{pause:?}");
    rig.now += pause;
    assert_eq!(rig.sends(), 1);
    assert_eq!(rig.call.attempt(), 2);
}

#[test]
fn a_new_leader_is_asked_without_a_pause() {
    let mut rig = Rig::at_leader();
    rig.sends();
    rig.answers(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    rig.waits();
    rig.hears(&picture(ID, 2, 6));
    assert_eq!(rig.sends(), 2);
}

/// Trap N7: what cannot pass ends the call at once, and the error says who said what.
#[test]
fn a_permanent_code_ends_the_call_at_once() {
    let mut rig = Rig::at_leader();
    rig.sends();
    rig.answers(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let error = rig.gives_up().to_string();
    for part in
        ["ListOffsets", "t/0", "broker 1", "TOPIC_AUTHORIZATION_FAILED", "said the broker", "attempts: 1"]
    {
        assert!(error.contains(part), "{part:?} is missing in {error:?}");
    }
}

/// A6: nobody to ask is an error that says who was missing.
#[test]
fn an_error_says_who_was_missing() {
    let mut rig = Rig::at_leader();
    rig.hears(&picture(ID, -1, 6));
    rig.waits();
    rig.now += 11 * SECOND;
    let error = rig.gives_up();
    assert_eq!(
        error.to_string(),
        "ListOffsets to the leader of t/0 was not sent within 10s: no leader is known (its topic may be gone, or no replica be well)"
    );
    let mut rig = Rig::new(Target::Controller);
    rig.hears(&MetadataResponse { controller_id: -1, ..picture(ID, 1, 5) });
    rig.waits();
    rig.now += 11 * SECOND;
    let error = rig.gives_up().to_string();
    assert!(error.ends_with("within 10s: no broker speaks for the controller yet"), "{error}");
}

/// A6: what comes next is known when an attempt was in vain.
#[test]
fn a_call_says_what_it_does_next() {
    let mut rig = Rig::at_leader();
    rig.sends();
    rig.answers(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let pause = rig.waits();
    assert_eq!(rig.call.next(rig.now), Next::Again { after: pause });
    rig.now += 10 * SECOND - Duration::from_millis(1);
    rig.sends();
    rig.answers(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(rig.call.next(rig.now), Next::GiveUp);
    assert_eq!(Next::Again { after: Duration::from_nanos(3_499_998_949) }.to_string(), "again in 3.5s");
}

/// Trap N7: a missing API is an error at once.
#[test]
fn a_request_the_broker_cannot_serve_ends_the_call_at_once() {
    let mut rig = Rig::at_leader();
    rig.sends();
    let ours = VersionRange { min: 1, max: 11 };
    rig.fails(Outcome::NotSent, Failure::UnsupportedVersion { ours, theirs: None });
    assert_eq!(rig.gives_up().end, End::Permanent);
}

/// Trap N7: retries end by the clock.
#[test]
fn retries_end_with_the_time() {
    let mut rig = Rig::at_leader();
    let end = rig.now + 10 * SECOND;
    let error = loop {
        match rig.step() {
            Step::Send { .. } => rig.fails(Outcome::Unknown, Failure::Closed(CloseReason::ByPeer)),
            Step::Wait(until) => rig.now = until,
            Step::FindCoordinator { .. } => panic!("a leader has no coordinator"),
            Step::GiveUp(error) => break error,
        }
    };
    assert_eq!(rig.now, end);
    assert!(error.attempts >= 10 && error.attempts <= 20, "{error}");
    assert!(error.may_have_happened);
}

/// Trap N9: a connection that had gone idle costs no pause, once.
#[test]
fn a_request_that_never_left_is_sent_again_at_once() {
    let mut rig = Rig::at_leader();
    rig.sends();
    rig.fails(Outcome::NotSent, Failure::Closed(CloseReason::ByPeer));
    rig.sends();
    rig.fails(Outcome::NotSent, Failure::Closed(CloseReason::ByPeer));
    rig.waits();
}

/// Trap N13: an answer that is out at a broker that leads no more is not waited for.
#[test]
fn a_call_moves_with_the_leader() {
    let mut rig = Rig::at_leader();
    rig.sends();
    assert!(!rig.call.has_moved(rig.now, &rig.metadata));
    rig.hears(&picture(ID, 2, 6));
    assert!(rig.call.has_moved(rig.now, &rig.metadata));
    assert_eq!(rig.sends(), 2);
}

/// Trap N13: any other broker stands in for one that is silent.
#[test]
fn a_call_to_any_broker_leaves_a_silent_one() {
    let mut rig = Rig::new(Target::AnyBroker);
    let first = rig.sends();
    assert!(!rig.call.has_moved(rig.now, &rig.metadata));
    rig.now += OVERDUE_AFTER;
    assert!(rig.call.has_moved(rig.now, &rig.metadata));
    assert_ne!(rig.sends(), first);
}

/// A change that any broker takes is not asked for twice because the first one is slow.
#[test]
fn a_change_is_left_with_the_broker_that_was_asked() {
    let mut rig = Rig::of(ApiKey::CREATE_DELEGATION_TOKEN, Target::AnyBroker);
    rig.sends();
    assert_eq!(rig.call.poll_timeout(), None);
    rig.now += 3 * OVERDUE_AFTER;
    assert!(!rig.call.has_moved(rig.now, &rig.metadata));
}

/// A broker that says that its time was over may be at it yet.
#[test]
fn a_code_that_leaves_open_what_was_done_is_remembered() {
    for (code, may_have_happened) in
        [(ErrorCode::REQUEST_TIMED_OUT, true), (ErrorCode::LEADER_NOT_AVAILABLE, false)]
    {
        let mut rig = Rig::at_leader();
        rig.sends();
        rig.answers(code);
        rig.now += SECOND;
        rig.sends();
        rig.answers(ErrorCode::INVALID_REQUEST);
        assert_eq!(rig.gives_up().may_have_happened, may_have_happened, "{code}");
    }
}

/// Trap M3: a topic created again is another topic, and the error names both ids.
#[test]
fn a_recreated_topic_ends_the_call() {
    let mut rig = Rig::at_leader();
    let new_id = Uuid::from_bytes([2; 16]);
    // One broker alone is believed after a while.
    rig.hears(&picture(new_id, 2, 0));
    rig.now += 5 * SECOND;
    rig.hears(&picture(new_id, 2, 0));
    let error = rig.gives_up();
    assert_eq!(error.end, End::Recreated { held: ID, found: new_id });
    assert!(error.to_string().contains(&new_id.to_string()));
}

/// Trap M4: a partition without a leader is waited for, within the time.
#[test]
fn a_missing_leader_is_waited_for() {
    let mut rig = Rig::at_leader();
    rig.hears(&picture(ID, -1, 6));
    rig.waits();
    rig.hears(&picture(ID, 2, 7));
    assert_eq!(rig.sends(), 2);
}

/// Each answer of a KRaft cluster names another broker, and what the first one was asked for would be done twice.
#[test]
fn a_call_leaves_the_controller_only_when_it_is_silent() {
    let mut rig = Rig::new(Target::Controller);
    assert_eq!(rig.sends(), 1);
    rig.hears(&MetadataResponse { controller_id: 2, ..picture(ID, 1, 5) });
    assert!(!rig.call.has_moved(rig.now, &rig.metadata));
    rig.now = rig.call.poll_timeout().unwrap();
    assert!(rig.call.has_moved(rig.now, &rig.metadata));
    assert_eq!(rig.sends(), 2);
    assert!(broker(2, "b", 9092, None).is_some());
}

#[test]
fn an_attempt_that_may_have_been_carried_out_is_not_forgotten() {
    let mut rig = Rig::at_leader();
    rig.sends();
    rig.fails(Outcome::Unknown, Failure::Closed(CloseReason::ByPeer));
    rig.now += SECOND;
    rig.sends();
    rig.answers(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let error = rig.gives_up();
    assert!(error.may_have_happened && error.to_string().contains("may have been carried out"), "{error}");
}

#[test]
fn brokers_that_gave_no_answer_are_asked_again_once_all_have_been_tried() {
    let mut rig = Rig::new(Target::AnyBroker);
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(rig.sends());
        rig.fails(Outcome::NotSent, Failure::Connect("refused".into()));
        rig.now += SECOND;
    }
    assert!(asked[0] != asked[1] && asked[1] != asked[2] && asked[2] != asked[3], "{asked:?}");
}

fn at_coordinator() -> Rig {
    let keys = Arc::from([Arc::from("g")]);
    Rig::new(Target::Coordinator { kind: CoordinatorKind::Group, keys })
}

impl Rig {
    #[track_caller]
    fn looks_up(&mut self) -> Option<i32> {
        match self.step() {
            Step::FindCoordinator { kind: CoordinatorKind::Group, stale, .. } => stale,
            other => panic!("expected a look-up, got {other:?}"),
        }
    }
}

#[test]
fn a_coordinator_is_looked_up_first_and_again_when_it_is_not_the_one() {
    let mut rig = at_coordinator();
    assert_eq!(rig.looks_up(), None);
    rig.call.handle_coordinator(1);
    assert_eq!(rig.sends(), 1);
    rig.answers(ErrorCode::NOT_COORDINATOR);
    let pause = rig.waits();
    rig.now += pause;
    assert_eq!(rig.looks_up(), Some(1));
    rig.call.handle_coordinator(2);
    assert_eq!(rig.sends(), 2);
    rig.answers(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    let pause = rig.waits();
    rig.now += pause;
    assert_eq!(rig.sends(), 2, "it is the one, and not ready");
    rig.answers(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    assert_eq!(rig.gives_up().attempts, 3);
}

#[test]
fn a_coordinator_that_is_lost_is_looked_up_again_but_not_for_an_idle_connection() {
    let mut rig = at_coordinator();
    rig.looks_up();
    rig.call.handle_coordinator(1);
    rig.sends();
    rig.fails(Outcome::NotSent, Failure::Closed(CloseReason::ByPeer));
    assert_eq!(rig.sends(), 1, "at once, on a new connection");
    rig.fails(Outcome::Unknown, Failure::Closed(CloseReason::ByPeer));
    let pause = rig.waits();
    rig.now += pause;
    assert_eq!(rig.looks_up(), Some(1));
}

#[test]
fn a_coordinator_that_is_no_broker_any_more_is_looked_up_again() {
    let mut rig = at_coordinator();
    rig.looks_up();
    rig.call.handle_coordinator(3);
    let pause = rig.waits();
    rig.now += pause;
    assert_eq!(rig.looks_up(), Some(3));
    rig.call.handle_coordinator(2);
    assert_eq!(rig.sends(), 2);
}

#[test]
fn a_silent_coordinator_is_left_for_another_one_only() {
    let mut rig = at_coordinator();
    rig.looks_up();
    rig.call.handle_coordinator(1);
    rig.sends();
    assert_eq!(rig.call.poll_timeout(), Some(rig.now + OVERDUE_AFTER));
    assert!(!rig.call.has_moved(rig.now + 9 * SECOND, &rig.metadata), "the metadata does not tell");
    assert!(!rig.call.has_moved_to(rig.now, 1));
    assert!(rig.call.has_moved_to(rig.now, 2));
    assert_eq!(rig.sends(), 2);
    rig.answers(ErrorCode::INVALID_GROUP_ID);
    assert!(rig.gives_up().may_have_happened, "by the one that was left");
}

#[test]
fn a_call_whose_coordinator_is_not_found_says_why() {
    let mut rig = at_coordinator();
    rig.looks_up();
    let mut look_up = Rig::new(Target::AnyBroker);
    look_up.sends();
    look_up.answers(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    let error = rig.call.handle_no_coordinator(&look_up.gives_up());
    assert_eq!((error.attempts, error.end.clone()), (0, End::Permanent));
    let text = error.to_string();
    for part in ["ListOffsets to the coordinator of group \"g\"", "GROUP_AUTHORIZATION_FAILED", "broker 1"] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

/// A broker that the caller has chosen is not asked again because it is the wrong one.
#[test]
fn a_named_broker_that_is_the_wrong_one_ends_the_call() {
    for (code, again) in [
        (ErrorCode::NOT_COORDINATOR, false),
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, false),
        (ErrorCode::NOT_CONTROLLER, false),
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, true),
        (ErrorCode::REQUEST_TIMED_OUT, true),
    ] {
        let mut rig = Rig::new(Target::Broker(2));
        assert_eq!(rig.sends(), 2);
        rig.answers(code);
        assert_eq!(matches!(rig.step(), Step::Wait(_)), again, "{code}");
    }
}
