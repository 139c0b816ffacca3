//! The metadata machine in virtual time.

use super::*;
use ottla_wire::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition};

struct Rig {
    now: Instant,
    metadata: Metadata,
}

fn bootstrap(port: u16) -> HostPort {
    HostPort::new("boot", port)
}

fn answer(brokers: &[i32]) -> MetadataResponse {
    let broker = |id: &i32| MetadataResponseBroker {
        node_id: *id,
        host: Str::from("b"),
        port: 9000 + *id,
        ..Default::default()
    };
    MetadataResponse { brokers: brokers.iter().map(broker).collect(), controller_id: 1, ..Default::default() }
}

fn with_topic(
    mut answer: MetadataResponse,
    name: &str,
    leader_id: i32,
    leader_epoch: i32,
) -> MetadataResponse {
    answer.topics.push(MetadataResponseTopic {
        name: Some(Str::from(name)),
        topic_id: Uuid::from_bytes([1; 16]),
        partitions: vec![MetadataResponsePartition { leader_id, leader_epoch, ..Default::default() }],
        ..Default::default()
    });
    answer
}

fn refusing(mut answer: MetadataResponse, name: &str) -> MetadataResponse {
    answer.topics.push(MetadataResponseTopic {
        name: Some(Str::from(name)),
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ..Default::default()
    });
    answer
}

impl Rig {
    fn new(bootstraps: u16) -> Self {
        let now = Instant::now();
        let bootstrap = (1..=bootstraps).map(bootstrap).collect();
        Self { now, metadata: Metadata::new(now, MetadataSettings::default(), bootstrap, 0) }
    }

    /// One that has heard of these brokers.
    fn knowing(brokers: &[i32]) -> Self {
        let mut rig = Self::new(1);
        let query = rig.query();
        rig.answer(query, &answer(brokers));
        rig.pass(Duration::from_secs(1));
        rig
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.metadata.handle_timeout(self.now);
    }

    fn poll(&mut self) -> Option<Query> {
        self.metadata.handle_timeout(self.now);
        self.metadata.poll_action(self.now)
    }

    #[track_caller]
    fn query(&mut self) -> Query {
        self.poll().expect("a query is due")
    }

    #[expect(clippy::needless_pass_by_value, reason = "a query is over with its answer")]
    fn answer(&mut self, query: Query, answer: &MetadataResponse) {
        self.metadata.handle_response(self.now, query.flight, answer);
    }

    /// A second later somebody asks for fresh answers, and gets this one.
    #[track_caller]
    fn asks_again(&mut self, answer: &MetadataResponse) {
        self.pass(Duration::from_secs(1));
        self.metadata.request_refresh(self.now, None);
        let query = self.query();
        self.answer(query, answer);
    }

    /// Answers the query that is due; the id that topic `t` has after that.
    #[track_caller]
    fn hears(&mut self, answer: &MetadataResponse) -> Uuid {
        let query = self.query();
        self.answer(query, answer);
        self.pass(Duration::from_millis(100));
        let Lookup::Known(topic) = self.metadata.topic("t") else { panic!("it is known") };
        topic.id
    }

    #[expect(clippy::needless_pass_by_value, reason = "a query is over with its answer")]
    fn fail(&mut self, query: Query) {
        self.metadata.handle_failure(self.now, query.flight);
    }
}

#[test]
fn one_refresh_is_under_way_at_a_time() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.request_refresh(rig.now, None);
    let query = rig.query();
    for _ in 0..100 {
        rig.metadata.request_refresh(rig.now, None);
    }
    assert!(rig.poll().is_none());
    rig.answer(query, &answer(&[1, 2]));
    assert!(rig.poll().is_none(), "those hundred share one more, after a pause");
    rig.pass(Duration::from_millis(100));
    let query = rig.query();
    rig.answer(query, &answer(&[1, 2]));
    rig.pass(Duration::from_secs(60));
    assert!(rig.poll().is_none());
}

/// A late answer says what it says, and what was asked for since then is still to be answered.
#[test]
fn a_late_answer_leaves_the_newer_question_open() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.request_refresh(rig.now, None);
    let late = rig.query();
    rig.pass(Duration::from_secs(2));
    let newer = rig.query();
    let before = newer.flight;
    rig.answer(late, &answer(&[1, 2, 3]));
    assert!(rig.metadata.broker(3).is_some());
    assert!(rig.metadata.answered() < before);
    rig.fail(newer);
    let next = rig.query();
    rig.answer(next, &answer(&[1, 2]));
    assert!(rig.metadata.answered() > before);
    rig.pass(Duration::from_secs(60));
    assert!(rig.poll().is_none());
}

#[test]
fn answers_are_refreshed_when_they_are_old() {
    let mut rig = Rig::knowing(&[1]);
    let age = MetadataSettings::default().max_age;
    rig.pass(age - Duration::from_secs(2));
    assert!(rig.poll().is_none());
    rig.pass(Duration::from_secs(1));
    rig.query();
}

/// Trap N8: the bootstrap addresses are tried again when no known broker answers (KIP-899).
#[test]
fn bootstrap_addresses_are_asked_when_no_broker_answers() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.request_refresh(rig.now, None);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let query = rig.query();
        asked.push(query.to.clone());
        rig.fail(query);
    }
    assert!(matches!(asked[..2], [Destination::Broker(_), Destination::Broker(_)]) && asked[0] != asked[1]);
    assert_eq!(asked[2], Destination::Bootstrap(bootstrap(1)));
    assert!(rig.poll().is_none(), "a round that failed is followed by a pause");
    rig.pass(Duration::from_secs(1));
    rig.query();
}

/// Trap N7: whoever hears that nobody answers, and asks at once, waits as well; the pauses grow.
#[test]
fn a_round_that_failed_is_followed_by_a_pause_whoever_asks() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.request_refresh(rig.now, None);
    for pause in [80, 160, 320] {
        for _ in 0..2 {
            let query = rig.query();
            rig.fail(query);
        }
        assert!(rig.poll().is_none());
        rig.pass(Duration::from_millis(pause - 1));
        rig.metadata.request_refresh(rig.now, None);
        rig.metadata.request_refresh(rig.now, Some(1));
        rig.metadata.want_topic(rig.now, &format!("topic {pause}"));
        assert!(rig.poll().is_none(), "within {pause} ms");
        rig.pass(Duration::from_millis(pause));
    }
    let query = rig.query();
    rig.answer(query, &answer(&[1]));
    rig.metadata.want_topic(rig.now, "another");
    rig.query();
}

/// However long a user's own pauses are: who waits for an answer would give up before.
#[test]
fn who_asks_waits_for_a_second_at_most() {
    let long = Duration::from_secs(60);
    let settings =
        MetadataSettings { backoff: Backoff { initial: long, max: long }, ..MetadataSettings::default() };
    let now = Instant::now();
    let mut rig = Rig { now, metadata: Metadata::new(now, settings, vec![bootstrap(1)], 0) };
    let query = rig.query();
    rig.fail(query);
    assert!(rig.poll().is_none());
    rig.pass(Duration::from_secs(1));
    assert!(rig.poll().is_none(), "nobody has asked");
    rig.metadata.want_topic(rig.now, "t");
    rig.query();
}

/// Trap N8: a dead address in the bootstrap list is passed over.
#[test]
fn the_next_bootstrap_address_is_asked_at_once() {
    let mut rig = Rig::new(2);
    let first = rig.query();
    let to = first.to.clone();
    rig.fail(first);
    assert_ne!(rig.query().to, to);
}

/// Trap N8: REBOOTSTRAP_REQUIRED forgets the brokers (KIP-1102).
#[test]
fn rebootstrap_required_goes_back_to_the_bootstrap_addresses() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.request_refresh(rig.now, None);
    let query = rig.query();
    rig.answer(
        query,
        &MetadataResponse { error_code: ErrorCode::REBOOTSTRAP_REQUIRED, ..Default::default() },
    );
    assert_eq!(rig.query().to, Destination::Bootstrap(bootstrap(1)));
}

/// Trap N8: brokers that have not answered for the rebootstrap time are forgotten (KIP-1102).
#[test]
fn brokers_silent_for_long_are_forgotten() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.request_refresh(rig.now, None);
    let query = rig.query();
    rig.fail(query);
    rig.pass(MetadataSettings::default().rebootstrap_after);
    assert_eq!(rig.metadata.brokers().count(), 0);
    assert_eq!(rig.query().to, Destination::Bootstrap(bootstrap(1)));
}

#[test]
fn brokers_that_were_not_asked_for_long_are_kept() {
    let mut rig = Rig::knowing(&[1]);
    rig.pass(MetadataSettings::default().rebootstrap_after);
    assert_eq!(rig.query().to, Destination::Broker(1));
}

fn with_id(answer: MetadataResponse, id: u8) -> MetadataResponse {
    let mut answer = with_topic(answer, "t", 1, 5);
    answer.topics[0].topic_id = Uuid::from_bytes([id; 16]);
    answer
}

/// Trap M3, Trap M4: a broker that lags still has the id of a topic that was deleted; one answer alone is not believed.
#[test]
fn another_topic_id_is_believed_when_two_answers_agree() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.want_topic(rig.now, "t");
    let [old, new] = [1, 2].map(|id| Uuid::from_bytes([id; 16]));
    assert_eq!(rig.hears(&with_id(answer(&[1, 2]), 2)), new);
    for _ in 0..3 {
        rig.metadata.request_refresh(rig.now, None);
        assert_eq!(rig.hears(&with_id(answer(&[1, 2]), 1)), new);
        assert_eq!(rig.hears(&with_id(answer(&[1, 2]), 2)), new, "a doubt asks again at once");
    }
    rig.metadata.request_refresh(rig.now, None);
    rig.hears(&with_id(answer(&[1, 2]), 1));
    assert_eq!(rig.hears(&with_id(answer(&[1, 2]), 1)), old);
    let by_id = |id| rig.metadata.topic_by_id(id).map(|topic| topic.id);
    assert_eq!([by_id(old), by_id(new)], [Some(old), None], "the id it had leads nowhere");
}

/// Trap M3: a broker that lags says the same again; where nobody else answers, it is right in the end.
#[test]
fn another_topic_id_that_one_broker_of_several_repeats_is_believed_after_a_while() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.want_topic(rig.now, "t");
    let [old, new] = [1, 2].map(|id| Uuid::from_bytes([id; 16]));
    assert_eq!(rig.hears(&with_id(answer(&[1, 2]), 2)), new);
    for (pause, believed) in [(1, new), (1, new), (3, new), (2, old)] {
        rig.metadata.request_refresh(rig.now, None);
        rig.pass(Duration::from_secs(pause));
        let mut query = rig.query();
        if query.to == Destination::Broker(1) {
            rig.metadata.handle_failure(rig.now, query.flight);
            query = rig.query();
        }
        assert_eq!(query.to, Destination::Broker(2));
        rig.answer(query, &with_id(answer(&[1, 2]), 1));
        assert_eq!(rig.metadata.topic_by_id(believed).map(|topic| topic.id), Some(believed));
    }
}

/// Trap N13: a broker that says nothing is not waited for while there is another.
#[test]
fn a_silent_broker_is_passed_over_after_two_seconds() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.request_refresh(rig.now, None);
    let first = rig.query();
    rig.pass(OVERDUE_AFTER);
    let second = rig.query();
    assert_ne!(first.to, second.to);
    rig.answer(second, &answer(&[1, 2]));
    assert!(rig.metadata.generation() > 1);
}

/// Trap N13: news is asked for elsewhere than at the broker that is silent.
#[test]
fn a_refresh_avoids_the_broker_in_trouble() {
    for avoid in [1, 2] {
        let mut rig = Rig::knowing(&[1, 2]);
        rig.metadata.request_refresh(rig.now, None);
        let mut to = rig.query().to;
        rig.metadata.request_refresh(rig.now, Some(avoid));
        to = rig.poll().map_or(to, |query| query.to);
        assert_ne!(to, Destination::Broker(avoid));
    }
}

/// Trap M1: the leader named in a hint adds to the brokers that are known, and nothing else that is named.
#[test]
fn a_leader_hint_adds_brokers_and_replaces_none() {
    let mut rig = Rig::knowing(&[1, 2]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_topic(answer(&[1, 2]), "t", 1, 5));
    let before = rig.metadata.generation();
    let third = broker(3, "b", 9003, None).unwrap();
    let strangers = (10..20).map(|id| broker(id, "b", 9003, None).unwrap());
    let leader = Leader { broker_id: 3, epoch: 6 };
    assert!(!rig.metadata.handle_leader_hint("other", 0, leader, [third.clone()]), "nobody asked for it");
    assert_eq!(rig.metadata.brokers().count(), 2);
    assert!(rig.metadata.handle_leader_hint("t", 0, leader, strangers.chain([third])));
    assert_eq!(rig.metadata.brokers().map(|b| b.id).collect::<Vec<_>>(), [1, 2, 3]);
    let Lookup::Known(topic) = rig.metadata.topic("t") else { panic!() };
    assert_eq!(topic.leader(0), Some(Leader { broker_id: 3, epoch: 6 }));
    assert!(rig.metadata.generation() > before);
    assert!(
        !rig.metadata.handle_leader_hint("t", 0, Leader { broker_id: 9, epoch: 7 }, []),
        "broker 9 is nowhere"
    );
}

/// Trap M5: a look-up never creates a topic.
#[test]
fn a_look_up_asks_not_to_create() {
    let mut rig = Rig::new(1);
    rig.metadata.want_topic(rig.now, "t");
    assert!(!rig.query().request.allow_auto_topic_creation);
}

/// Trap M4: a lagging broker that does not know a topic does not make it unknown.
#[test]
fn a_known_topic_is_forgotten_only_when_it_is_missing_for_long() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_topic(answer(&[1]), "t", 1, 5));
    for _ in 0..MISSES_IGNORED {
        rig.asks_again(&refusing(answer(&[1]), "t"));
        assert!(matches!(rig.metadata.topic("t"), Lookup::Known(_)));
    }
    rig.asks_again(&refusing(answer(&[1]), "t"));
    assert_eq!(rig.metadata.topic("t"), Lookup::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

/// Trap M3: a topic that was missing for long has another id only when a second answer says so as well.
#[test]
fn a_forgotten_topic_has_to_be_heard_of_twice_under_another_id() {
    for (id, answers) in [(1, 1), (2, 2)] {
        let mut rig = Rig::knowing(&[1]);
        rig.metadata.want_topic(rig.now, "t");
        let query = rig.query();
        rig.answer(query, &with_id(answer(&[1]), 1));
        for _ in 0..=MISSES_IGNORED {
            rig.asks_again(&refusing(answer(&[1]), "t"));
        }
        for _ in 1..answers {
            rig.asks_again(&with_id(answer(&[1]), id));
            assert_eq!(rig.metadata.topic("t"), Lookup::Pending, "nobody says that it is not there");
        }
        rig.asks_again(&with_id(answer(&[1]), id));
        let Lookup::Known(known) = rig.metadata.topic("t") else { panic!("id {id}") };
        assert_eq!(known.id, Uuid::from_bytes([id; 16]));
    }
}

/// Trap M3: a broker that is too old for ids does not take the one that was known.
#[test]
fn an_id_outlives_an_answer_without_one() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_id(answer(&[1]), 1));
    let refusals = (0..=MISSES_IGNORED).map(|_| refusing(answer(&[1]), "t"));
    for reply in refusals.chain([with_id(answer(&[1]), 0), with_id(answer(&[1]), 2)]) {
        rig.asks_again(&reply);
    }
    let Lookup::Known(known) = rig.metadata.topic("t") else { panic!("a broker said that it is there") };
    assert_ne!(known.id, Uuid::from_bytes([2; 16]), "one answer is not enough");
}

/// Trap M3: another id without partitions, as a broker says it that knows no leaders yet, is no topic without partitions.
#[test]
fn a_topic_created_again_has_no_partitions_before_some_are_told() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_id(answer(&[1]), 1));
    let mut without_leaders = with_id(answer(&[1]), 2);
    without_leaders.topics[0].partitions.clear();
    without_leaders.topics[0].error_code = ErrorCode::LEADER_NOT_AVAILABLE;
    for _ in 0..MISSES_IGNORED {
        rig.asks_again(&without_leaders);
        let Lookup::Known(known) = rig.metadata.topic("t") else { panic!("it was known") };
        assert_eq!((known.id, known.partitions.len()), (Uuid::from_bytes([1; 16]), 1));
    }
    rig.asks_again(&without_leaders);
    assert_eq!(rig.metadata.topic("t"), Lookup::Refused(ErrorCode::LEADER_NOT_AVAILABLE));
}

/// Trap M6: an update shares every topic that did not change.
#[test]
fn unchanged_topics_are_not_copied() {
    let mut rig = Rig::knowing(&[1]);
    let both = with_topic(with_topic(answer(&[1]), "a", 1, 5), "b", 1, 5);
    rig.metadata.want_topic(rig.now, "a");
    rig.metadata.want_topic(rig.now, "b");
    let query = rig.query();
    rig.answer(query, &both);
    let Lookup::Known(before) = rig.metadata.topic("b") else { panic!() };
    rig.asks_again(&with_topic(with_topic(answer(&[1]), "a", 1, 6), "b", 1, 5));
    let Lookup::Known(after) = rig.metadata.topic("b") else { panic!() };
    assert!(Arc::ptr_eq(&before, &after));
}

#[test]
fn topics_nobody_wants_any_more_are_dropped() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_topic(answer(&[1]), "t", 1, 5));
    let age = MetadataSettings::default().max_age;
    rig.pass(age);
    let query = rig.query();
    assert_eq!(
        query.request.topics.as_ref().map(Vec::len),
        Some(1),
        "it may be wanted between two refreshes"
    );
    rig.answer(query, &with_topic(answer(&[1]), "t", 1, 5));
    rig.pass(age);
    assert_eq!(rig.query().request.topics, Some(vec![]));
    assert_eq!(rig.metadata.topic("t"), Lookup::Pending);
}

/// Trap M3: after a long sleep one answer with another id is no more to be believed than before.
#[test]
fn topics_are_still_known_after_a_long_sleep() {
    let mut rig = Rig::knowing(&[1]);
    rig.metadata.want_topic(rig.now, "t");
    let query = rig.query();
    rig.answer(query, &with_id(answer(&[1]), 1));
    rig.pass(10 * MetadataSettings::default().max_age);
    let query = rig.query();
    assert_eq!(query.request.topics.as_ref().map(Vec::len), Some(1));
    rig.answer(query, &with_id(answer(&[1]), 2));
    let Lookup::Known(known) = rig.metadata.topic("t") else { panic!("it was known") };
    assert_eq!(known.id, Uuid::from_bytes([1; 16]));
}
