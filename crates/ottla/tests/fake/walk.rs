//! The steps of the walk-through, and what its administrative steps answer when they cannot be done.

use ottla::{Error, ErrorCode, NewTopic, Record, Timestamp};
use ottla_fake::{FakeCluster, Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, cluster, millis, pass, secs, timed, world};

/// B1, B2, B3, B4, B5: every step, with what it gives back.
#[tokio::test(start_paused = true)]
async fn a_record_goes_to_the_cluster_and_comes_back() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    let client = pipes.builder().build().await.unwrap();
    let controller_client = client.controller_client().await.unwrap();
    controller_client.create_topic("my_topic", 2, 1, 5_000).await.unwrap();
    let partition_client = client.partition_client("my_topic", 0).await.unwrap();
    let record = Record::new("hello kafka").key("key").header("foo", "bar").null_header("foo");
    let record = record.timestamp(Timestamp(1_337_000));
    let offsets = partition_client.produce(vec![record, Record::tombstone("gone")]).await.unwrap();
    assert_eq!(offsets, [0, 1]);
    let (records, high_watermark) = partition_client.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(high_watermark, 2);
    assert_eq!(records.len(), 2);
    let [first, second] = &records[..] else { panic!("{records:?}") };
    assert_eq!((first.offset, first.timestamp), (0, Timestamp(1_337_000)));
    assert_eq!(first.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(first.value.as_deref(), Some(&b"hello kafka"[..]));
    let headers: Vec<_> = first.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
    assert_eq!(headers, [(&b"foo"[..], Some(&b"bar"[..])), (b"foo", None)]);
    assert_eq!(
        (second.offset, second.key.as_deref(), second.value.as_deref()),
        (1, Some(&b"gone"[..]), None)
    );
}

/// B4: a record without a time gets the present one.
#[tokio::test(start_paused = true)]
async fn a_record_without_a_timestamp_is_made_now() {
    let (client, _pipes) = world(1, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let before = Timestamp::now();
    partition.produce(vec![Record::new("x")]).await.unwrap();
    let (records, _) = partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    assert!((before..=Timestamp::now()).contains(&records[0].timestamp), "{:?}", records[0].timestamp);
}

#[tokio::test(start_paused = true)]
async fn topics_are_listed_by_name_with_their_partitions() {
    let (client, pipes) = world(3, 2).await;
    pipes.create("a", 3, 1);
    let topics = client.list_topics().await.unwrap();
    let listed: Vec<_> = topics.iter().map(|topic| (&*topic.name, topic.partitions.len())).collect();
    assert_eq!(listed, [("a", 3), ("t", 2)]);
    let first = &topics[1].partitions[0];
    assert_eq!((first.leader, first.replicas.len(), first.in_sync_replicas.len()), (Some(1), 3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_described_with_brokers_racks_and_controller() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(3).racks());
    let description = pipes.client().await.describe_cluster().await.unwrap();
    let brokers: Vec<_> = description
        .brokers
        .iter()
        .map(|b| (b.id, b.address.to_string(), b.rack.as_deref().unwrap().to_owned()))
        .collect();
    let expected = [1, 2, 3].map(|id| (id, format!("node-{id}:9092"), format!("rack-{id}")));
    assert_eq!(brokers, expected);
    assert_eq!(description.controller_id, Some(1));
    assert!(description.cluster_id.is_some());
}

/// B2: topics are deleted and grown as well as created.
#[tokio::test(start_paused = true)]
async fn topics_are_created_grown_and_deleted() {
    let (client, pipes) = world(1, 1).await;
    let controller = client.controller_client().await.unwrap();
    controller.create_topic("grows", 1, 1, 5_000).await.unwrap();
    controller.create_partitions("grows", 3, 5_000).await.unwrap();
    let partitions = pipes.control(|cluster, _| cluster.topic("grows").unwrap().partitions().len());
    assert_eq!(partitions, 3);
    assert_eq!(client.partition_client("grows", 2).await.unwrap().partition(), 2);
    controller.delete_topic("grows", 5_000).await.unwrap();
    assert!(pipes.control(|cluster, _| cluster.topic("grows").is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_has_the_configs_it_was_given() {
    let (client, pipes) = world(1, 1).await;
    let controller = client.controller_client().await.unwrap();
    let topic = NewTopic::new("stamped")
        .partitions(1)
        .replication_factor(1)
        .config("message.timestamp.type", "LogAppendTime");
    controller.create(topic, 5_000).await.unwrap();
    let partition = client.partition_client("stamped", 0).await.unwrap();
    partition.produce(vec![Record::new("x").timestamp(Timestamp(1))]).await.unwrap();
    let (records, _) = partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    assert!(records[0].timestamp > Timestamp(1), "the broker's time, not the producer's");
    assert_eq!(pipes.values("stamped", 0), ["x"]);
}

/// A topic made with nothing but a name has as many partitions and replicas as the cluster gives by default.
#[tokio::test(start_paused = true)]
async fn a_new_topic_without_numbers_takes_the_clusters_defaults() {
    let builder = FakeCluster::builder().nodes(2).default_partitions(5).default_replication_factor(2);
    let pipes = PipeTransport::start(builder);
    let client = pipes.client().await;
    client.controller_client().await.unwrap().create(NewTopic::new("plain"), 5_000).await.unwrap();
    let made = pipes.control(|cluster, _| {
        let topic = cluster.topic("plain").unwrap();
        (topic.partitions().len(), topic.partitions()[0].replicas().len())
    });
    assert_eq!(made, (5, 2));
}

/// A6: the broker's code and its words are in the error.
#[tokio::test(start_paused = true)]
async fn a_topic_that_exists_is_refused_with_the_brokers_words() {
    let (client, _pipes) = world(1, 1).await;
    let controller = client.controller_client().await.unwrap();
    let error = controller.create_topic("t", 1, 1, 5_000).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
    let text = error.to_string();
    assert!(text.contains("Topic 't' already exists") && text.contains("broker 1 (node-1:9092)"), "{text}");
    assert!(!error.is_retriable() && !error.is_fatal());
}

#[tokio::test(start_paused = true)]
async fn impossible_topics_are_refused_by_code() {
    let (client, _pipes) = world(1, 2).await;
    let controller = client.controller_client().await.unwrap();
    let code = |result: Result<(), Error>| result.unwrap_err().code();
    assert_eq!(
        code(controller.create_topic("r", 1, 7, 5_000).await),
        Some(ErrorCode::INVALID_REPLICATION_FACTOR)
    );
    assert_eq!(code(controller.create_topic("p", 0, 1, 5_000).await), Some(ErrorCode::INVALID_PARTITIONS));
    assert_eq!(
        code(controller.create_topic("a b", 1, 1, 5_000).await),
        Some(ErrorCode::INVALID_TOPIC_EXCEPTION)
    );
    let odd = NewTopic::new("c").config("no.such.config", "1");
    assert_eq!(code(controller.create(odd, 5_000).await), Some(ErrorCode::INVALID_CONFIG));
    assert_eq!(code(controller.create_partitions("t", 1, 5_000).await), Some(ErrorCode::INVALID_PARTITIONS));
}

/// The controller is never behind: a topic it does not know does not exist, and nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_missing_is_refused_at_once_by_the_controller() {
    let (client, _pipes) = world(1, 1).await;
    let controller = client.controller_client().await.unwrap();
    let (results, took) = timed(async {
        [
            controller.delete_topic("missing", 1_000).await,
            controller.create_partitions("missing", 2, 1_000).await,
        ]
    })
    .await;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert!(error.to_string().contains("\"missing\""), "the topic is named: {error}");
    }
    assert!(took < millis(100), "{took:?}");
}

/// Trap N4: brokers name any of themselves as the one that takes requests for the controller, each time another one.
/// A creation that is on its way is not sent a second time because of that.
#[tokio::test(start_paused = true)]
async fn a_creation_is_sent_once_while_the_controller_changes_its_name() {
    let pipes = cluster(3, 1);
    let client = pipes.client().await;
    let controller = client.controller_client().await.unwrap();
    let hold =
        pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(4))).api(ApiKey::CREATE_TOPICS));
    let creation = tokio::spawn(async move { controller.create_topic("slow", 1, 1, 5_000).await });
    pass(millis(100)).await;
    let elsewhere = Reaction::alter(|answer| {
        if let ottla_fake::Answer::Metadata(answer) = answer {
            answer.controller_id = 3;
        }
    });
    pipes.rule(Rule::new(elsewhere).api(ApiKey::METADATA));
    // A look-up of a topic brings an answer to the client's own picture of the cluster.
    client.partition_client("t", 0).await.unwrap();
    creation.await.unwrap().unwrap();
    assert_eq!(pipes.struck(hold), 1);
}

/// A controller that is really gone is another matter: the call goes on with its successor.
#[tokio::test(start_paused = true)]
async fn a_creation_goes_to_the_successor_of_a_dead_controller() {
    let pipes = cluster(3, 1);
    let client = pipes.client().await;
    let controller = client.controller_client().await.unwrap();
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::CREATE_TOPICS).node(1));
    let creation = tokio::spawn(async move { controller.create_topic("moved", 1, 1, 1_000).await });
    pass(millis(100)).await;
    pipes.control(|cluster, now| cluster.pause(now, 1));
    let (result, took) = timed(creation).await;
    result.unwrap().unwrap();
    assert!(took < secs(5), "{took:?}");
}
