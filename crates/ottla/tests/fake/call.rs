//! Requests of the caller's own: where they go, when they are sent again, and which are refused.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use ottla::{Client, Error, ErrorCode};
use ottla_fake::{Answer, FakeCluster, Reaction, Rule, Stage};
use ottla_wire::messages::api_versions::ApiVersionsRequest;
use ottla_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::messages::describe_cluster::DescribeClusterRequest;
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::messages::describe_groups::DescribeGroupsRequest;
use ottla_wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::messages::sasl_handshake::SaslHandshakeRequest;
use ottla_wire::messages::{self, Visitor};
use ottla_wire::{ApiKey, Request, Str};

use crate::support::{PipeTransport, cluster, millis, pass, polled, secs, timed, world};

/// The ends of these partitions of `t`.
fn ends(partitions: &[i32]) -> ListOffsetsRequest {
    let partition =
        |index: &i32| ListOffsetsPartition { partition_index: *index, timestamp: -1, ..Default::default() };
    let partitions = partitions.iter().map(partition).collect();
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions, ..Default::default() }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

fn producer(id: Option<&str>) -> InitProducerIdRequest {
    let transactional_id = id.map(Str::from);
    InitProducerIdRequest { transactional_id, transaction_timeout_ms: 60_000, ..Default::default() }
}

fn groups(ids: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: ids.iter().map(|id| Str::from(*id)).collect(), ..Default::default() }
}

/// The nodes that requests of an API come to from now on, in order, with the version.
fn arrivals(pipes: &PipeTransport, api: ApiKey) -> Arc<Mutex<Vec<(i32, i16)>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let watch = Rule::new(Reaction::Error(ErrorCode::NONE)).api(api).when(move |arrival| {
        note.lock().unwrap().push((arrival.node, arrival.version));
        false
    });
    pipes.rule(watch);
    seen
}

fn nodes(seen: &Mutex<Vec<(i32, i16)>>) -> Vec<i32> {
    seen.lock().unwrap().iter().map(|(node, _)| *node).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_the_leader_of_its_partitions() {
    let (client, pipes) = world(3, 3).await;
    pipes.append("t", 1, &["a", "b"]);
    pipes.control(|cluster, now| {
        for partition in 0..2 {
            cluster.move_leader(now, "t", partition, 2).unwrap();
        }
        cluster.move_leader(now, "t", 2, 3).unwrap();
    });
    let seen = arrivals(&pipes, ApiKey::LIST_OFFSETS);
    let response = client.call(ends(&[0, 1])).await.unwrap();
    let offsets: Vec<i64> = response.topics[0].partitions.iter().map(|partition| partition.offset).collect();
    assert_eq!((nodes(&seen), offsets), (vec![2], vec![0, 2]));

    let error = client.call(ends(&[0, 1, 2])).await.unwrap_err();
    assert!(matches!(error, Error::Request { api: ApiKey::LIST_OFFSETS, .. }), "{error}");
    for part in ["ListOffsets", "broker 2 leads t/0, t/1", "broker 3 leads t/2", "a request for each"] {
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
    }
    assert!(!error.is_retriable() && nodes(&seen) == [2], "nothing was sent");
}

/// Two partitions with a leader each.
async fn apart() -> (Client, PipeTransport) {
    let (client, pipes) = world(2, 2).await;
    pipes.control(|cluster, now| {
        cluster.move_leader(now, "t", 0, 1).unwrap();
        cluster.move_leader(now, "t", 1, 2).unwrap();
    });
    (client, pipes)
}

/// What the client believed of the leaders may be old: it looks again before it refuses.
#[tokio::test(start_paused = true)]
async fn different_leaders_are_believed_after_a_second_look() {
    let (client, pipes) = apart().await;
    client.call(ends(&[0, 1])).await.unwrap_err();
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 1, 1).unwrap());
    client.call(ends(&[0, 1])).await.unwrap();
}

/// A change of the metadata is no second look: not a round in which nobody answered, not an answer to a question from before,
/// not what another answer said in passing.
#[tokio::test(start_paused = true)]
async fn only_an_answer_to_a_later_question_is_a_second_look() {
    let (client, pipes) = apart().await;
    client.call(ends(&[0, 1])).await.unwrap_err();

    // Nobody answers for a while, and then the leaders are the same.
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 1, 1).unwrap());
    let cut = Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::METADATA).times(6);
    let rule = pipes.rule(cut);
    client.call(ends(&[0, 1])).await.unwrap();
    assert_eq!(pipes.struck(rule), 6, "rounds have failed in between");

    // Nor does anybody before the end: what is known of the leaders is not the reason.
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 1, 2).unwrap());
    client.call(ends(&[1])).await.unwrap();
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::METADATA));
    let (result, took) = timed(client.call(ends(&[0, 1]))).await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!((secs(30)..secs(31)).contains(&took), "{took:?}");
}

/// Trap N5: a throttle time holds back the connection that it came on, as the broker does, and no other one of the lanes.
#[tokio::test(start_paused = true)]
async fn a_throttled_call_holds_back_its_own_connection() {
    let (client, pipes) = world(1, 1).await;
    let lenient = Reaction::alter(|answer| {
        if let Answer::InitProducerId(answer) = answer {
            answer.throttle_time_ms = 2_000;
        }
    });
    for reaction in [Reaction::Throttle(secs(2)), lenient] {
        let throttle = || pipes.rule(Rule::new(reaction.clone()).api(ApiKey::INIT_PRODUCER_ID).times(1));
        let call = || timed(client.call(producer(None)));
        throttle();
        let (response, took) = call().await;
        assert_eq!(response.unwrap().throttle_time_ms, 2_000, "the answer counts");
        assert!(took < millis(10), "{took:?}");
        let (response, took) = call().await;
        response.unwrap();
        assert!((millis(1_990)..millis(2_100)).contains(&took), "{took:?}");

        throttle();
        call().await.0.unwrap();
        let ((one, first), (other, second)) = tokio::join!(call(), call());
        one.unwrap();
        other.unwrap();
        assert!((millis(1_990)..millis(2_100)).contains(&first), "{first:?}");
        assert!(second < millis(10), "{second:?}");
        pass(secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moved_is_followed_when_no_part_was_answered() {
    let (client, pipes) = world(2, 1).await;
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 1).unwrap());
    client.call(ends(&[0])).await.unwrap();
    let seen = arrivals(&pipes, ApiKey::LIST_OFFSETS);
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 2).unwrap());
    let response = client.call(ends(&[0])).await.unwrap();
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let asked = nodes(&seen);
    assert_eq!((asked[0], asked[asked.len() - 1]), (1, 2), "{asked:?}");
}

/// What is wrong with one of several parts is for the caller to read.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_good_in_part_comes_back_as_it_is() {
    let (client, pipes) = world(1, 2).await;
    let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    pipes.rule(Rule::new(Reaction::Error(code)).api(ApiKey::LIST_OFFSETS).partition(1));
    let response = client.call(ends(&[0, 1])).await.unwrap();
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|part| part.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, code]);
    assert_eq!(pipes.requests(ApiKey::LIST_OFFSETS), 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_is_found_and_remembered() {
    let (client, pipes) = world(3, 1).await;
    let seen = arrivals(&pipes, ApiKey::INIT_PRODUCER_ID);
    let first = client.call(producer(Some("tx"))).await.unwrap();
    let second = client.call(producer(Some("tx"))).await.unwrap();
    assert_eq!((first.producer_id, first.producer_epoch), (second.producer_id, second.producer_epoch - 1));
    assert_eq!(pipes.requests(ApiKey::FIND_COORDINATOR), 1);
    assert_eq!(nodes(&seen).len(), 2, "nobody else was asked");
    client.call(producer(None)).await.unwrap();
    assert_eq!(pipes.requests(ApiKey::FIND_COORDINATOR), 1, "without an id any broker will do");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moved_is_found_again() {
    let (client, pipes) = world(3, 1).await;
    let seen = arrivals(&pipes, ApiKey::DESCRIBE_GROUPS);
    client.call(groups(&["g"])).await.unwrap();
    let first = nodes(&seen)[0];
    // With a node less the coordinators are others; the old one is well and says so.
    let gone = (1..=3).find(|node| *node != first).unwrap();
    pipes.control(|cluster, now| cluster.kill(now, gone));
    let mut ids = (0..).map(|n| format!("g{n}"));
    let moved = loop {
        let id = ids.next().unwrap();
        client.call(groups(&[&id])).await.unwrap();
        let before = nodes(&seen).len();
        pipes.control(|cluster, now| cluster.restart(now, gone));
        pass(secs(1)).await;
        client.call(groups(&[&id])).await.unwrap();
        let asked = nodes(&seen)[before..].to_vec();
        pipes.control(|cluster, now| cluster.kill(now, gone));
        if asked.len() == 2 {
            break asked;
        }
    };
    assert_ne!(moved[0], moved[1]);
    assert!(pipes.requests(ApiKey::FIND_COORDINATOR) > 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_gone_is_replaced() {
    for known_to_be_gone in [false, true] {
        let (client, pipes) = world(3, 1).await;
        let seen = arrivals(&pipes, ApiKey::DESCRIBE_GROUPS);
        client.call(groups(&["g"])).await.unwrap();
        let first = nodes(&seen)[0];
        pipes.control(|cluster, now| cluster.kill(now, first));
        if known_to_be_gone {
            // The metadata does not list it any more when it is wanted next.
            pipes.control(|cluster, now| cluster.remove_node(now, first));
            client.call(producer(None)).await.unwrap();
            client.partition("missing", 0).timeout(secs(1)).build().await.unwrap_err();
        }
        let (response, took) = timed(client.call(groups(&["g"]))).await;
        response.unwrap();
        assert!(took < secs(5) && nodes(&seen).last() != Some(&first), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_not_ready_is_waited_for() {
    for code in [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
    ] {
        for api in [ApiKey::DESCRIBE_GROUPS, ApiKey::FIND_COORDINATOR] {
            let (client, pipes) = world(1, 1).await;
            let rule = pipes.rule(Rule::new(Reaction::Error(code)).api(api).times(3));
            let (response, took) = timed(client.call(groups(&["g"]))).await;
            assert_eq!(response.unwrap().groups[0].group_state, "Dead");
            assert!((millis(300)..secs(3)).contains(&took), "{api} {code}: {took:?}");
            assert_eq!(pipes.struck(rule), 3);
        }
    }
}

/// A coordinator that keeps its sockets open and says nothing is left when another broker has taken over.
#[tokio::test(start_paused = true)]
async fn a_silent_coordinator_is_left_when_there_is_another() {
    let (client, pipes) = world(2, 1).await;
    let seen = arrivals(&pipes, ApiKey::DESCRIBE_GROUPS);
    client.call(groups(&["g"])).await.unwrap();
    let asked = nodes(&seen)[0];
    let silence =
        Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::DESCRIBE_GROUPS).node(asked);
    pipes.rule(silence);
    let other = 3 - asked;
    let elsewhere = Reaction::alter(move |answer| {
        if let Answer::FindCoordinator(answer) = answer {
            answer.coordinators[0].node_id = other;
        }
    });
    pipes.rule(Rule::new(elsewhere).api(ApiKey::FIND_COORDINATOR));
    pipes.rule(
        Rule::new(Reaction::alter(|answer| {
            if let Answer::DescribeGroups(answer) = answer {
                answer.groups[0].error_code = ErrorCode::NONE;
            }
        }))
        .api(ApiKey::DESCRIBE_GROUPS)
        .node(other),
    );
    let (response, took) = timed(client.call(groups(&["g"]))).await;
    response.unwrap();
    assert_eq!(nodes(&seen), [asked, asked, other]);
    assert!((secs(2)..secs(6)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn groups_with_different_coordinators_are_named() {
    let (client, _pipes) = world(3, 1).await;
    let ids: Vec<String> = (0..20).map(|n| format!("g{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let error = client.call(groups(&ids)).await.unwrap_err();
    for part in ["DescribeGroups", "different coordinators", "\"g0\" has broker", "a request for each"] {
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
    }
    let error = client.call(groups(&[])).await.unwrap_err();
    assert!(error.to_string().contains("names no group"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_may_not_be_found_ends_the_call() {
    let (client, pipes) = world(1, 1).await;
    let code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    pipes.rule(Rule::new(Reaction::Error(code)).api(ApiKey::FIND_COORDINATOR));
    let error = client.call(groups(&["g"])).await.unwrap_err();
    assert_eq!(error.code(), Some(code));
    assert!(error.to_string().contains("DescribeGroups to the coordinator of group \"g\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_controller_is_asked_again_only_if_nothing_was_done() {
    let (client, pipes) = world(2, 1).await;
    let topic = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic("a"), topic("t")], timeout_ms: 5_000, ..Default::default() };
    let code = ErrorCode::NOT_CONTROLLER;
    pipes.rule(Rule::new(Reaction::Error(code)).api(ApiKey::CREATE_TOPICS).times(1));
    let response = client.call(request).await.unwrap();
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::TOPIC_ALREADY_EXISTS]);
    assert_eq!(pipes.requests(ApiKey::CREATE_TOPICS), 2);
}

/// The newest version is not always the one that can say it.
#[tokio::test(start_paused = true)]
async fn the_version_is_the_newest_that_can_express_the_request() {
    let (client, pipes) = world(1, 1).await;
    let seen = arrivals(&pipes, ApiKey::DELETE_TOPICS);
    let versions = || seen.lock().unwrap().iter().map(|(_, version)| *version).collect::<Vec<_>>();
    pipes.create("u", 1, 1);
    let old = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1_000, ..Default::default() };
    client.call(old).await.unwrap();
    let by_name = DeleteTopicState { name: Some("u".into()), ..Default::default() };
    let new = DeleteTopicsRequest { topics: vec![by_name], timeout_ms: 1_000, ..Default::default() };
    client.call(new).await.unwrap();
    assert_eq!(versions(), [5, 6]);
    let neither = FindCoordinatorRequest {
        key: "old".into(),
        coordinator_keys: vec!["new".into()],
        ..Default::default()
    };
    let error = client.call(neither).await.unwrap_err();
    assert!(error.to_string().contains("FindCoordinatorRequest.key"), "{error}");

    pipes.control(|cluster, _| {
        cluster.set_versions(ApiKey::DELETE_TOPICS, Some(ottla_wire::VersionRange { min: 6, max: 6 }));
    });
    let late = pipes.client().await;
    let by_list = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    let error = late.call(by_list).await.unwrap_err();
    assert!(error.is_unsupported(), "{error}");
}

/// Versions that Kafka calls unstable are spoken by a client that asks for them, and by no other.
#[tokio::test(start_paused = true)]
async fn an_unstable_version_is_spoken_only_when_asked_for() {
    let pipes = cluster(1, 1);
    let offer = |max| {
        let range = ottla_wire::VersionRange { min: 0, max };
        pipes.control(|cluster, _| cluster.set_versions(ApiKey::INIT_PRODUCER_ID, Some(range)));
    };
    let seen = arrivals(&pipes, ApiKey::INIT_PRODUCER_ID);
    let two_phase = || InitProducerIdRequest { enable2_pc: true, ..producer(Some("tx")) };

    offer(6);
    let usual = pipes.client().await;
    usual.call(producer(Some("tx"))).await.unwrap();
    let error = usual.call(two_phase()).await.unwrap_err();
    assert!(error.to_string().contains("InitProducerIdRequest.enable2_pc"), "{error}");

    let curious = || pipes.builder().unstable_versions(true);
    let client = curious().build().await.unwrap();
    client.call(producer(Some("tx"))).await.unwrap();
    client.call(two_phase()).await.unwrap();

    offer(5);
    let client = curious().build().await.unwrap();
    client.call(producer(Some("tx"))).await.unwrap();
    let error = client.call(two_phase()).await.unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(seen.lock().unwrap().iter().map(|(_, version)| *version).collect::<Vec<_>>(), [5, 6, 6, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_whole_answer_is_the_calls() {
    let (client, pipes) = world(1, 1).await;
    let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    let rule = pipes.rule(Rule::new(Reaction::Error(code)).api(ApiKey::INIT_PRODUCER_ID));
    let error = client.call(producer(Some("tx"))).await.unwrap_err();
    assert_eq!(error.code(), Some(code));
    assert_eq!(pipes.struck(rule), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_costs_an_attempt() {
    let (client, pipes) = world(2, 1).await;
    for stage in [Stage::BeforeApplying, Stage::AfterApplying] {
        let cut = Rule::new(Reaction::Disconnect(stage)).api(ApiKey::INIT_PRODUCER_ID).times(1);
        let cut = pipes.rule(cut);
        client.call(producer(None)).await.unwrap();
        assert_eq!(pipes.struck(cut), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_ends_with_the_time_out() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().request_timeout(secs(5)).build().await.unwrap();
    let silent = pipes.rule(Rule::new(Reaction::Silence(Stage::AfterApplying)).api(ApiKey::CREATE_TOPICS));
    let request = CreateTopicsRequest { timeout_ms: 3_000, ..Default::default() };
    let (result, took) = timed(client.call(request)).await;
    let error = result.unwrap_err();
    assert_eq!(took, secs(8), "the request's own time comes on top");
    assert!(error.may_have_happened() && error.is_retriable(), "{error}");
    assert_eq!(pipes.struck(silent), 1);
}

/// A call that is dropped before it has left is not carried out later: what its caller does then may contradict it.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_it_left_is_not_sent() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().admin_connections(1).build().await.unwrap();
    let throttle = Rule::new(Reaction::Throttle(secs(3))).api(ApiKey::INIT_PRODUCER_ID).times(1);
    let throttle = pipes.rule(throttle);
    client.call(producer(None)).await.unwrap();
    assert_eq!(pipes.struck(throttle), 1);
    let dropped = tokio::time::timeout(secs(1), client.call(producer(None))).await;
    assert!(dropped.is_err(), "the connection is held back");
    pass(secs(10)).await;
    assert_eq!(pipes.requests(ApiKey::INIT_PRODUCER_ID), 1);
    client.call(producer(None)).await.unwrap();
}

/// The lane of a call that was dropped is free again once its answer has come.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_nothing_behind() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().admin_connections(1).build().await.unwrap();
    let slow = Reaction::Delay(Stage::AfterApplying, secs(3));
    pipes.rule(Rule::new(slow).api(ApiKey::INIT_PRODUCER_ID).times(1));
    assert!(polled(4, client.call(producer(None))).await.is_none());
    pass(millis(100)).await;
    let (next, took) = timed(client.call(producer(None))).await;
    assert_eq!(next.unwrap().producer_id, 1, "the first one was carried out");
    assert!(took <= secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_this_way_is_refused_and_nothing_is_sent() {
    let (client, pipes) = world(1, 1).await;
    let way_out = [
        (client.call(ProduceRequest::default()).await.unwrap_err(), "PartitionClient::produce"),
        (client.call(FetchRequest::default()).await.unwrap_err(), "PartitionClient::fetch_records"),
        (client.call_broker(1, FetchRequest::default()).await.unwrap_err(), "fetch_records"),
        (client.call(ConsumerGroupHeartbeatRequest::default()).await.unwrap_err(), "a member's"),
        (client.call(SaslHandshakeRequest::default()).await.unwrap_err(), "the connection"),
        (client.call(DescribeLogDirsRequest::default()).await.unwrap_err(), "call_broker"),
        (client.call(ListOffsetsRequest::default()).await.unwrap_err(), "names no partition"),
    ];
    for (error, part) in way_out {
        assert!(matches!(error, Error::Request { .. }), "{error}");
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
    }
    assert_eq!(pipes.requests(ApiKey::PRODUCE) + pipes.requests(ApiKey::FETCH), 0);
}

/// Of every API of the table: what is not sent again by somebody who does not know what it means, and what belongs to a
/// connection or to one broker. Everything else goes this way.
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_a_list() {
    struct Sent<'a>(&'a Client);

    impl<'a> Visitor for Sent<'a> {
        type Output = Pin<Box<dyn Future<Output = [Option<Error>; 2]> + 'a>>;

        fn visit<R: Request>(self) -> Self::Output {
            Box::pin(async {
                let call = self.0.call(R::default()).await.err();
                [call, self.0.call_broker(1, R::default()).await.err()]
            })
        }
    }

    let (client, _pipes) = world(1, 1).await;
    let (mut never, mut to_one_broker) = (Vec::new(), Vec::new());
    for &key in messages::KEYS {
        let outcomes = messages::visit(key, Sent(&client)).unwrap().await;
        let says = |outcome: &Option<Error>, what: &str| {
            outcome.as_ref().is_some_and(|error| error.to_string().contains(what))
        };
        if outcomes.iter().all(|outcome| says(outcome, "is not sent by call")) {
            never.push(key);
        } else {
            assert!(!outcomes.iter().any(|outcome| says(outcome, "is not sent by call")), "{outcomes:?}");
            assert!(!says(&outcomes[1], "call_broker"), "{outcomes:?}");
            to_one_broker.extend(says(&outcomes[0], "call_broker").then_some(key));
        }
    }
    let mut refused = vec![
        ApiKey::PRODUCE,
        ApiKey::FETCH,
        ApiKey::SASL_HANDSHAKE,
        ApiKey::SASL_AUTHENTICATE,
        // What the members of groups send.
        ApiKey::JOIN_GROUP,
        ApiKey::HEARTBEAT,
        ApiKey::LEAVE_GROUP,
        ApiKey::SYNC_GROUP,
        ApiKey::CONSUMER_GROUP_HEARTBEAT,
        ApiKey::SHARE_GROUP_HEARTBEAT,
        ApiKey::SHARE_FETCH,
        ApiKey::SHARE_ACKNOWLEDGE,
        ApiKey::STREAMS_GROUP_HEARTBEAT,
    ];
    refused.sort_unstable();
    assert_eq!(never, refused);
    let named = [
        ApiKey::LIST_GROUPS,
        ApiKey::API_VERSIONS,
        ApiKey::ALTER_REPLICA_LOG_DIRS,
        ApiKey::DESCRIBE_LOG_DIRS,
        ApiKey::LIST_TRANSACTIONS,
    ];
    assert_eq!(to_one_broker, named);
}

#[tokio::test(start_paused = true)]
async fn a_named_broker_is_asked_and_no_other() {
    let (client, pipes) = world(3, 1).await;
    let seen = arrivals(&pipes, ApiKey::DESCRIBE_CONFIGS);
    let resource = |id: &str| DescribeConfigsResource {
        resource_type: 4,
        resource_name: id.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let ask = |id: i32| {
        let resources = vec![resource(&id.to_string())];
        client.call_broker(id, DescribeConfigsRequest { resources, ..Default::default() })
    };
    for id in [3, 1] {
        ask(id).await.unwrap();
    }
    assert_eq!(nodes(&seen), [3, 1]);
    client.call_broker(2, ends(&[0])).await.unwrap();
    let versions = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    assert!(!client.call_broker(2, versions).await.unwrap().api_keys.is_empty());

    let (result, took) = timed(ask(9)).await;
    let error = result.unwrap_err();
    assert_eq!(took, secs(30));
    for part in ["DescribeConfigs to broker 9", "not among those known"] {
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
    }
}

/// What a broker tells of itself is asked of that broker; topics and what holds for all brokers of anybody.
#[tokio::test(start_paused = true)]
async fn settings_of_a_broker_are_asked_of_that_broker() {
    let (client, pipes) = world(3, 1).await;
    let seen = arrivals(&pipes, ApiKey::DESCRIBE_CONFIGS);
    let ask = |resources: &[(i8, &str)]| {
        let resource = |(resource_type, name): &(i8, &str)| DescribeConfigsResource {
            resource_type: *resource_type,
            resource_name: (*name).into(),
            configuration_keys: None,
            ..Default::default()
        };
        let resources = resources.iter().map(resource).collect();
        client.call(DescribeConfigsRequest { resources, ..Default::default() })
    };
    for id in [3, 1, 2, 3] {
        let response = ask(&[(2, "t"), (4, &id.to_string())]).await.unwrap();
        let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [ErrorCode::NONE; 2], "{:?}", response.results);
    }
    // The fake has no loggers; what counts is who is asked.
    ask(&[(8, "2"), (4, "2")]).await.unwrap();
    assert_eq!(nodes(&seen), [3, 1, 2, 3, 2]);
    ask(&[(2, "t"), (4, "")]).await.unwrap();
    assert_eq!(nodes(&seen).len(), 6);

    let error = ask(&[(4, "3"), (2, "t"), (8, "1"), (4, "1")]).await.unwrap_err();
    assert!(matches!(error, Error::Request { api: ApiKey::DESCRIBE_CONFIGS, .. }), "{error}");
    for part in ["DescribeConfigs", "broker 1, broker 3;", "a request for each"] {
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
    }
    assert_eq!(nodes(&seen).len(), 6, "nothing was sent");
}

/// A named broker that is not the right one says so, and is believed at once.
#[tokio::test(start_paused = true)]
async fn a_named_broker_that_is_the_wrong_one_is_not_asked_again() {
    let (client, pipes) = world(3, 1).await;
    let rule = Rule::new(Reaction::Error(ErrorCode::NOT_COORDINATOR)).api(ApiKey::INIT_PRODUCER_ID);
    let rule = pipes.rule(rule);
    let error = client.call_broker(1, producer(Some("tx"))).await.unwrap_err();
    assert_eq!((error.code(), pipes.struck(rule)), (Some(ErrorCode::NOT_COORDINATOR), 1));
    let response = client.call_broker(1, groups(&["a", "b", "c", "d"])).await.unwrap();
    assert_eq!(response.groups.len(), 4, "with the codes of each");
}

/// D8: a broker that does not know the API is an error that says so.
#[tokio::test(start_paused = true)]
async fn an_api_that_the_broker_does_not_know_is_unsupported() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    let client = pipes.client().await;
    let error = client.call(DescribeClusterRequest::default()).await.unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("does not offer"), "{error}");
    client.call(MetadataRequest::default()).await.unwrap();
}
