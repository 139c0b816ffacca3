//! Looking topics up: unknown ones, new ones, and those that brokers lose sight of.

use ottla::{Error, ErrorCode, Record, UnknownTopic};
use ottla_fake::{Answer, FakeCluster, Reaction, Rule};
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, cluster, millis, pass, records, secs, timed, world};

/// B3: an unknown topic is asked for until the time-out is over, and not longer.
#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_asked_for_until_the_time_out() {
    let (client, pipes) = world(1, 1).await;
    let asked = pipes.requests(ApiKey::METADATA);
    let (result, took) = timed(client.partition("missing", 0).timeout(secs(5)).build()).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::Topic { topic, code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } if &**topic == "missing"),
        "{error}"
    );
    assert!(error.is_retriable());
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
    let asked = pipes.requests(ApiKey::METADATA) - asked;
    assert!((4..=12).contains(&asked), "with growing pauses in between, not {asked} times");
}

/// B3: the other handling fails at the first answer.
#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_refused_at_once_when_asked_to() {
    let (client, _pipes) = world(1, 1).await;
    let (result, took) =
        timed(client.partition("missing", 0).unknown_topic(UnknownTopic::Error).build()).await;
    assert_eq!(result.unwrap_err().code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(took < millis(500), "{took:?}");
}

/// B3: "at the first answer" means an answer to this call, not one from a time when the topic was not there yet.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_remembered() {
    let (client, pipes) = world(1, 1).await;
    let look_up = || client.partition("late", 0).unknown_topic(UnknownTopic::Error).build();
    look_up().await.unwrap_err();
    pipes.create("late", 1, 1);
    look_up().await.unwrap();
    let look_up = || client.partition("late", 1).unknown_topic(UnknownTopic::Error).build();
    look_up().await.unwrap_err();
    let controller = client.controller_client().await.unwrap();
    controller.create_partitions("late", 2, 5_000).await.unwrap();
    look_up().await.unwrap();
}

/// Trap M3: nor is the id of a topic that was deleted. That of the new one is asked for twice, and nobody is told that it is not
/// there.
#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_and_created_again_is_found() {
    let (client, pipes) = world(1, 1).await;
    let look_up = || client.partition("t", 0).unknown_topic(UnknownTopic::Error).build();
    look_up().await.unwrap();
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    while look_up().await.is_ok() {
        pass(millis(200)).await;
    }
    pipes.create("t", 1, 1);
    look_up().await.unwrap();
}

/// One such name in a request for metadata would spoil it for all topics.
#[tokio::test(start_paused = true)]
async fn a_name_that_no_topic_can_have_is_refused_and_spoils_nothing() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().build().await.unwrap();
    let long = "x".repeat(40_000);
    for name in ["", ".", "..", "a b", "größe", &long[..250], &long] {
        let asked = pipes.requests(ApiKey::METADATA);
        let refused = [
            client.partition_client(name, 0).await.map(drop).unwrap_err(),
            producer.send(name, Record::new("a")).await.map(drop).unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(&error, Error::Config { setting: "topic", .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("1 to 249 characters") && text.len() < 250, "{text}");
        }
        assert_eq!(pipes.requests(ApiKey::METADATA), asked);
    }
    pipes.create(&long[..249], 1, 1);
    client.partition_client(&long[..249], 0).await.unwrap();
}

/// Late metadata is taken as well: brokers that need three seconds for it are not asked in vain, one after the other.
#[tokio::test(start_paused = true)]
async fn metadata_that_comes_late_is_taken() {
    let (client, pipes) = world(3, 1).await;
    pipes.create("late", 1, 1);
    let slow = Reaction::Delay(ottla_fake::Stage::BeforeApplying, secs(3));
    pipes.rule(Rule::new(slow).api(ApiKey::METADATA));
    let (found, took) = timed(client.partition_client("late", 0)).await;
    found.unwrap();
    assert!(took < secs(4), "{took:?}");
}

/// Trap N5: a throttle time in an answer to Metadata holds its connection back, too.
#[tokio::test(start_paused = true)]
async fn throttled_metadata_holds_the_next_one_back() {
    let (client, pipes) = world(1, 1).await;
    pipes.create("first", 1, 1);
    pipes.create("second", 1, 1);
    pipes.rule(Rule::new(Reaction::Throttle(secs(4))).api(ApiKey::METADATA).times(1));
    client.partition_client("first", 0).await.unwrap();
    let asked = pipes.requests(ApiKey::METADATA);
    let waiting = tokio::spawn(async move { client.partition_client("second", 0).await });
    // After two seconds another address of the same broker is asked.
    pass(millis(1_900)).await;
    assert_eq!(pipes.requests(ApiKey::METADATA), asked);
    waiting.await.unwrap().unwrap();
}

/// B3: a topic that is created while somebody waits for it is found.
#[tokio::test(start_paused = true)]
async fn a_topic_created_meanwhile_is_found() {
    let (client, pipes) = world(1, 1).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { timed(client.partition_client("late", 0)).await }
    });
    pass(secs(3)).await;
    pipes.create("late", 1, 1);
    let (result, took) = waiting.await.unwrap();
    assert_eq!(result.unwrap().produce(records(&["x"])).await.unwrap(), [0]);
    assert!((secs(3)..secs(5)).contains(&took), "{took:?}");
}

/// Trap M5: looking a topic up does not create it, however willing the broker.
#[tokio::test(start_paused = true)]
async fn looking_up_never_creates() {
    let pipes = PipeTransport::start(FakeCluster::builder().auto_create_topics(true));
    let client = pipes.client().await;
    client.partition("missing", 0).timeout(secs(3)).build().await.unwrap_err();
    client.partition("missing", 0).unknown_topic(UnknownTopic::Error).build().await.unwrap_err();
    assert_eq!(client.list_topics().await.unwrap(), []);
    assert!(pipes.control(|cluster, _| cluster.topic("missing").is_none()));
}

/// B3: what there is, is in the error.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_missing_is_named_with_how_many_there_are() {
    let (client, _pipes) = world(1, 2).await;
    let (result, took) = timed(client.partition("t", 7).unknown_topic(UnknownTopic::Error).build()).await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Partition { partition: 7, partitions: 2, .. }), "{error}");
    assert!(took < secs(1), "{took:?}");
    let (result, took) = timed(client.partition("t", 7).timeout(secs(2)).build()).await;
    assert!(matches!(result.unwrap_err(), Error::Partition { partition: 7, partitions: 2, .. }));
    assert!((secs(2)..secs(3)).contains(&took), "{took:?}");
}

/// B3: an answer that will not change by itself fails at once, with either handling.
#[tokio::test(start_paused = true)]
async fn a_topic_that_may_not_be_read_is_refused_at_once() {
    let (client, pipes) = world(1, 1).await;
    pipes.create("secret", 1, 1);
    let refused = Reaction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    pipes.rule(Rule::new(refused).api(ApiKey::METADATA).topic("secret"));
    let (result, took) = timed(client.partition_client("secret", 0)).await;
    assert_eq!(result.unwrap_err().code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert!(took < secs(1), "{took:?}");
}

/// Trap M4: a broker that lags leaves the topic out of its answers altogether. It is asked for again.
#[tokio::test(start_paused = true)]
async fn a_topic_left_out_of_an_answer_is_asked_for_again() {
    let (client, pipes) = world(1, 1).await;
    let forgetful = Reaction::alter(|answer| {
        if let Answer::Metadata(answer) = answer {
            answer.topics.clear();
        }
    });
    let rule = pipes.rule(Rule::new(forgetful).api(ApiKey::METADATA).times(3));
    let (result, took) = timed(client.partition_client("t", 0)).await;
    result.unwrap();
    assert_eq!(pipes.struck(rule), 3);
    assert!(took < secs(2), "{took:?}");
}

/// Trap M4: of a topic without a leader, brokers may tell no partitions. It is looked up again, by whoever sends to it by name,
/// too; and when that lasts, the error says so, and may pass.
#[tokio::test(start_paused = true)]
async fn a_topic_without_partitions_is_asked_for_again() {
    let (client, pipes) = world(1, 1).await;
    for code in [ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::NONE] {
        let producer = client.producer().request_timeout(secs(5)).build().await.unwrap();
        let name = format!("late-{}", code.0);
        pipes.create(&name, 1, 1);
        let leaderless = Reaction::alter(move |answer| {
            let Answer::Metadata(answer) = answer else { return };
            answer.topics.iter_mut().for_each(|topic| {
                topic.error_code = code;
                topic.partitions.clear();
            });
        });
        let rule = pipes.rule(Rule::new(leaderless).api(ApiKey::METADATA).topic(name.as_str()));
        let (result, took) = timed(producer.enqueue(&name, Record::new("a"))).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::LEADER_NOT_AVAILABLE), "{error}");
        assert!(error.is_retriable());
        assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
        let at_once = client.partition(&name, 0).unknown_topic(UnknownTopic::Error).build().await;
        assert_eq!(at_once.unwrap_err().code(), Some(ErrorCode::LEADER_NOT_AVAILABLE));
        let waiting = tokio::spawn({
            let (producer, name) = (producer.clone(), name.clone());
            async move { producer.send(&name, Record::new("b")).await }
        });
        pass(secs(2)).await;
        pipes.control(|cluster, now| cluster.remove_rule(now, rule));
        assert_eq!(waiting.await.unwrap().unwrap().offset, Some(0));
    }
}

/// Trap M4: answers without the topic, without its partition, and without any leader keep nothing from being sent in
/// the end, exactly once.
#[tokio::test(start_paused = true)]
async fn records_outlive_metadata_that_is_lost_for_a_while() {
    let pipes = cluster(2, 2);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0]);
    for lost in 0..3 {
        let (changed, now_answers) = (format!("b{lost}"), lost);
        let forgetful = Reaction::alter(move |answer| {
            let Answer::Metadata(answer) = answer else { return };
            match now_answers {
                0 => answer.topics.iter_mut().for_each(|topic| {
                    topic.error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                    topic.partitions.clear();
                }),
                1 => answer.topics.iter_mut().for_each(|topic| topic.partitions.clear()),
                _ => answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(|partition| {
                    partition.error_code = ErrorCode::LEADER_NOT_AVAILABLE;
                    partition.leader_id = -1;
                }),
            }
        });
        let rule = pipes.rule(Rule::new(forgetful).api(ApiKey::METADATA).times(6));
        let other = pipes.control(|cluster, now| {
            let other = 3 - cluster.partition("t", 0).unwrap().leader();
            cluster.move_leader(now, "t", 0, other).unwrap();
            other
        });
        let (result, took) = timed(partition.produce(vec![Record::new(changed.clone())])).await;
        assert_eq!(result.unwrap(), [i64::from(lost) + 1], "leader {other}");
        assert!(took < secs(10), "{took:?}");
        assert!(pipes.values("t", 0).ends_with(&[changed]));
        pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    }
}

/// Trap M3: a topic that was deleted and created again is another topic, and whoever holds the old one is told both
/// ids, at every call.
#[tokio::test(start_paused = true)]
async fn a_topic_created_again_is_told_apart_by_its_id() {
    let (client, pipes) = world(1, 1).await;
    let old = client.partition_client("t", 0).await.unwrap();
    old.produce(records(&["old"])).await.unwrap();
    let before = pipes.control(|cluster, _| cluster.topic("t").unwrap().id());
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    pipes.create("t", 1, 1);
    let after = pipes.control(|cluster, _| cluster.topic("t").unwrap().id());
    for error in [
        old.produce(records(&["new"])).await.unwrap_err(),
        old.fetch_records(0, 1..1_000, 100).await.unwrap_err(),
    ] {
        assert_eq!(error.recreated(), Some((before, after)), "{error}");
        assert!(error.is_fatal());
        let text = error.to_string();
        assert!(text.contains(&before.to_string()) && text.contains(&after.to_string()), "{text}");
    }
    assert_eq!(pipes.values("t", 0), [""; 0]);
    let new = client.partition_client("t", 0).await.unwrap();
    assert_eq!(new.produce(records(&["new"])).await.unwrap(), [0]);
    assert_eq!(pipes.values("t", 0), ["new"]);
}

/// Trap M6: many look-ups share the refreshes there are, and one that is known costs no request.
#[tokio::test(start_paused = true)]
async fn looking_up_what_is_known_asks_nobody() {
    let (client, pipes) = world(1, 50).await;
    client.partition_client("t", 0).await.unwrap();
    let asked = pipes.requests(ApiKey::METADATA);
    for index in 0..50 {
        client.partition_client("t", index).await.unwrap();
    }
    assert_eq!(pipes.requests(ApiKey::METADATA), asked);
}

/// Trap M6: a hundred calls that want news at the same time cause a handful of requests, not a hundred.
#[tokio::test(start_paused = true)]
async fn callers_that_want_news_share_a_refresh() {
    let (client, pipes) = world(1, 1).await;
    let asked = pipes.requests(ApiKey::METADATA);
    let calls: Vec<_> = (0..100)
        .map(|index| {
            let client = client.clone();
            tokio::spawn(async move { client.partition_client(format!("t{index}"), 0).await })
        })
        .collect();
    pass(millis(50)).await;
    (0..100).for_each(|index| pipes.create(&format!("t{index}"), 1, 1));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let asked = pipes.requests(ApiKey::METADATA) - asked;
    assert!(asked <= 10, "{asked}");
}
