//! Fault rules: whom they strike, and what each reaction does.

use std::time::Duration;

use ottla_fake::{Answer, FakeCluster, Reaction, Rule, Stage};
use ottla_wire::messages::api_versions::ApiVersionsRequest;
use ottla_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::{ApiKey, ErrorCode, correlation_id};

use crate::support::{World, plain, produce};

fn end_of_log(world: &World) -> i64 {
    world.cluster.partition("t", 0).unwrap().log().end()
}

#[test]
fn an_error_strikes_only_what_meets_the_conditions() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    world.topic("t", 1, 1);
    world.topic("u", 4, 1);
    let conn = world.connect(1);
    let rule = Rule::new(Reaction::Error(ErrorCode::KAFKA_STORAGE_ERROR))
        .api(ApiKey::PRODUCE)
        .topic("u")
        .partition(0);
    let rule = world.cluster.add_rule(rule);
    let mut request = produce("u", 0, -1, plain(&["a"]));
    let more = produce("u", 2, -1, plain(&["a"])).topic_data.remove(0).partition_data.remove(0);
    request.topic_data[0].partition_data.push(more);
    let answer = world.call(conn, 9, &request);
    let codes: Vec<_> = answer.responses[0].partition_responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [ErrorCode::KAFKA_STORAGE_ERROR, ErrorCode::NONE]);
    assert!(world.produce(conn, -1, plain(&["a"])).error_code.is_none());
    assert_eq!(world.cluster.struck(rule), 1);
    assert_eq!(world.cluster.partition("u", 0).unwrap().log().end(), 0, "nothing of it was applied");
}

#[test]
fn a_rule_strikes_the_nth_time_or_so_many_times() {
    let (mut world, conn) = World::one_node();
    let error = Reaction::Error(ErrorCode::UNKNOWN_SERVER_ERROR);
    world.cluster.add_rule(Rule::new(error.clone()).api(ApiKey::PRODUCE).nth(2));
    world.cluster.add_rule(Rule::new(error).api(ApiKey::PRODUCE).topic("t").nth(4).times(2));
    let struck: Vec<bool> =
        (0..6).map(|_| world.produce(conn, 1, plain(&["a"])).error_code.is_err()).collect();
    assert_eq!(struck, [false, true, false, true, true, false]);
}

#[test]
fn a_rule_may_ask_for_node_and_anything_else() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let (one, two) = (world.connect(1), world.connect(2));
    let rule = Rule::new(Reaction::Disconnect(Stage::BeforeApplying))
        .node(2)
        .when(|arrival| arrival.version == 9 && arrival.client_id == Some("test"));
    world.cluster.add_rule(rule);
    world.call(one, 9, &MetadataRequest::default());
    world.call(two, 8, &MetadataRequest::default());
    world.send(two, 9, &MetadataRequest::default());
    assert!(world.cluster.is_open(one) && !world.cluster.is_open(two));
}

/// Trap P1: whether a batch was written cannot be seen from a closed connection.
#[test]
fn a_disconnect_comes_before_or_after_applying() {
    for (stage, written) in [(Stage::BeforeApplying, 0), (Stage::AfterApplying, 1)] {
        let (mut world, conn) = World::one_node();
        world.cluster.add_rule(Rule::new(Reaction::Disconnect(stage)).api(ApiKey::PRODUCE));
        world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
        assert!(!world.cluster.is_open(conn));
        assert_eq!(end_of_log(&world), written, "{stage:?}");
    }
}

#[test]
fn a_delay_comes_before_or_after_applying() {
    for (stage, written) in [(Stage::BeforeApplying, 0), (Stage::AfterApplying, 1)] {
        let (mut world, conn) = World::one_node();
        let delay = Reaction::Delay(stage, Duration::from_millis(50));
        world.cluster.add_rule(Rule::new(delay).api(ApiKey::PRODUCE));
        world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
        world.send(conn, 9, &MetadataRequest::default());
        world.pass(Duration::from_millis(49));
        assert!(world.frame(conn).is_none());
        assert_eq!(end_of_log(&world), written, "{stage:?}");
        world.pass(Duration::from_millis(1));
        assert!(world.answer::<ProduceRequest>(conn, 9).is_some());
        assert!(world.answer::<MetadataRequest>(conn, 9).is_some());
    }
}

/// A node that is slow anyway is slower while something else delays it, whichever rule came first.
#[test]
fn delays_of_two_rules_add_up() {
    for (first, second) in [(50, 20), (20, 50), (0, 70)] {
        let (mut world, conn) = World::one_node();
        let rules = [first, second].map(|time| {
            let delay = Reaction::Delay(Stage::AfterApplying, Duration::from_millis(time));
            world.cluster.add_rule(Rule::new(delay).api(ApiKey::PRODUCE))
        });
        world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
        world.pass(Duration::from_millis(69));
        assert!(world.frame(conn).is_none(), "{first}, {second}");
        world.pass(Duration::from_millis(1));
        assert!(world.answer::<ProduceRequest>(conn, 9).is_some(), "{first}, {second}");
        assert_eq!(rules.map(|rule| world.cluster.delayed(rule)), [1, 1]);
    }
}

#[test]
fn a_delay_behind_which_the_connection_is_cut_is_no_delay() {
    let (mut world, conn) = World::one_node();
    let delay = Reaction::Delay(Stage::AfterApplying, Duration::from_millis(50));
    let delay = world.cluster.add_rule(Rule::new(delay).api(ApiKey::PRODUCE));
    world.cluster.add_rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::PRODUCE));
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    assert!(!world.cluster.is_open(conn));
    assert_eq!((world.cluster.struck(delay), world.cluster.delayed(delay)), (1, 0));
}

#[test]
fn silence_keeps_the_connection_open_for_ever() {
    let (mut world, conn) = World::one_node();
    world.cluster.add_rule(Rule::new(Reaction::Silence(Stage::AfterApplying)).api(ApiKey::PRODUCE));
    world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    world.send(conn, 9, &MetadataRequest::default());
    world.pass(Duration::from_secs(3_600));
    assert!(world.frame(conn).is_none() && world.cluster.is_open(conn));
    assert_eq!((end_of_log(&world), world.cluster.poll_timeout()), (1, None));
}

#[test]
fn what_is_held_goes_on_when_it_is_released() {
    for (stage, written) in [(Stage::BeforeApplying, 0), (Stage::AfterApplying, 1)] {
        let (mut world, conn) = World::one_node();
        let rule = world.cluster.add_rule(Rule::new(Reaction::Hold(stage)).api(ApiKey::PRODUCE));
        world.send(conn, 9, &produce("t", 0, -1, plain(&["a"])));
        world.pass(Duration::from_secs(3_600));
        assert!(world.frame(conn).is_none());
        assert_eq!(end_of_log(&world), written, "{stage:?}");
        world.cluster.release(world.now, rule);
        assert!(world.answer::<ProduceRequest>(conn, 9).is_some());
    }
}

#[test]
fn a_corrupt_answer_has_one_byte_inverted() {
    let (mut world, conn) = World::one_node();
    world.cluster.add_rule(Rule::new(Reaction::Corrupt(7)).api(ApiKey::METADATA).nth(1));
    let sent = world.send(conn, 9, &MetadataRequest::default());
    let frame = world.frame(conn).unwrap();
    assert_eq!(correlation_id(&frame[4..]), Some(sent ^ 0xff));
    assert!(world.send(conn, 9, &MetadataRequest::default()) > sent);
    assert!(world.answer::<MetadataRequest>(conn, 9).is_some());
}

/// Trap N5: what is throttled was applied.
#[test]
fn a_throttled_produce_is_applied_and_answered_at_once() {
    let (mut world, conn) = World::one_node();
    let throttle = Reaction::Throttle(Duration::from_millis(100));
    world.cluster.add_rule(Rule::new(throttle).api(ApiKey::PRODUCE).nth(1));
    let answer = world.call(conn, 9, &produce("t", 0, -1, plain(&["a"])));
    assert_eq!((answer.throttle_time_ms, end_of_log(&world)), (100, 1));
    world.send(conn, 9, &MetadataRequest::default());
    assert!(world.frame(conn).is_none(), "the connection is muted");
    world.pass(Duration::from_millis(100));
    assert!(world.answer::<MetadataRequest>(conn, 9).is_some());
}

/// Trap P9: rows may be missing, twice, or of partitions nobody asked for.
#[test]
fn an_answer_may_be_altered() {
    let (mut world, conn) = World::one_node();
    let twice = Reaction::alter(|answer| {
        if let Answer::Produce(answer) = answer {
            answer.responses.push(answer.responses[0].clone());
        }
    });
    world.cluster.add_rule(Rule::new(twice).api(ApiKey::PRODUCE));
    assert_eq!(world.call(conn, 9, &produce("t", 0, -1, plain(&["a"]))).responses.len(), 2);
}

#[test]
fn an_error_without_partitions_is_the_whole_answers() {
    let (mut world, conn) = World::one_node();
    let rule = world.cluster.add_rule(Rule::new(Reaction::Error(ErrorCode::UNKNOWN_SERVER_ERROR)));
    let request = ApiVersionsRequest {
        client_software_name: "a".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    assert_eq!(world.call(conn, 3, &request).error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
    world.cluster.remove_rule(world.now, rule);
    assert!(world.call(conn, 3, &request).error_code.is_none());
}

fn luck(seed: u64, rules_before: usize, own: Option<u64>) -> Vec<bool> {
    let mut world = World::new(FakeCluster::builder().seed(seed));
    world.topic("t", 1, 1);
    let conn = world.connect(1);
    for _ in 0..rules_before {
        world.cluster.add_rule(Rule::new(Reaction::CorruptAnywhere).node(99));
    }
    let error = Rule::new(Reaction::Error(ErrorCode::UNKNOWN_SERVER_ERROR)).probability(0.3);
    let error = if let Some(seed) = own { error.seed(seed) } else { error };
    world.cluster.add_rule(error.api(ApiKey::PRODUCE));
    (0..200).map(|_| world.produce(conn, 1, plain(&["a"])).error_code.is_err()).collect()
}

#[test]
fn the_luck_of_a_rule_follows_from_the_seed() {
    let often = |struck: &[bool]| struck.iter().filter(|struck| **struck).count();
    assert!((40..80).contains(&often(&luck(1, 0, None))), "{}", often(&luck(1, 0, None)));
    assert_eq!(luck(1, 0, None), luck(1, 0, None));
    assert_ne!(luck(1, 0, None), luck(2, 0, None));
}

#[test]
fn a_rule_with_a_seed_of_its_own_does_not_care_for_others() {
    assert_ne!(luck(1, 0, None), luck(1, 1, None));
    assert_eq!(luck(1, 0, Some(5)), luck(1, 3, Some(5)));
}

#[test]
fn a_byte_behind_the_size_is_inverted_somewhere() {
    let (mut world, conn) = World::one_node();
    world.send(conn, 9, &MetadataRequest::default());
    let sound = world.frame(conn).unwrap();
    world.cluster.add_rule(Rule::new(Reaction::CorruptAnywhere));
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..50 {
        world.send(conn, 9, &MetadataRequest::default());
        let frame = world.frame(conn).unwrap();
        assert_eq!((frame.len(), &frame[..4]), (sound.len(), &sound[..4]));
        let differ = (8..frame.len()).filter(|place| frame[*place] != sound[*place]);
        places.extend(differ);
    }
    assert!(places.len() > 10, "{places:?}");
}

/// Trap P1: an error may be answered for what was written.
#[test]
fn an_error_after_applying_denies_what_was_done() {
    let (mut world, conn) = World::one_node();
    let late = Reaction::ErrorAfterApplying(ErrorCode::REQUEST_TIMED_OUT);
    world.cluster.add_rule(Rule::new(late.clone()).api(ApiKey::PRODUCE).topic("t").nth(1));
    world.cluster.add_rule(Rule::new(late).api(ApiKey::CREATE_TOPICS));
    let row = world.produce(conn, -1, plain(&["a"]));
    assert_eq!((row.error_code, row.base_offset), (ErrorCode::REQUEST_TIMED_OUT, -1));
    assert_eq!((end_of_log(&world), world.cluster.accepted().len()), (1, 1));
    assert!(world.produce(conn, -1, plain(&["a"])).error_code.is_none());
    let topic =
        CreatableTopic { name: "new".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    assert_eq!(world.call(conn, 7, &request).topics[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert!(world.cluster.topic("new").is_some());
}
