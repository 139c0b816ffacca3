//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords, DescribeConfigs.

use ottla_fake::{ConnId, FakeCluster};
use ottla_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
    CreateTopicsRequest,
};
use ottla_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::{ErrorCode, Uuid};

use crate::support::{World, plain, values};

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

fn create(
    world: &mut World,
    conn: ConnId,
    version: i16,
    topics: Vec<CreatableTopic>,
) -> Vec<CreatableTopicResult> {
    world.call(conn, version, &CreateTopicsRequest { topics, ..Default::default() }).topics
}

#[test]
fn a_created_topic_is_there_with_its_id() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let conn = world.connect(2);
    let mut made = topic("t", 3, 2);
    made.configs.push(CreatableTopicConfig {
        name: "max.message.bytes".into(),
        value: Some("5000".into()),
        ..Default::default()
    });
    let result = create(&mut world, conn, 7, vec![made]).remove(0);
    assert_eq!(
        (result.error_code, result.num_partitions, result.replication_factor),
        (ErrorCode::NONE, 3, 2)
    );
    let found = world.cluster.topic("t").unwrap();
    assert_eq!((found.id(), found.partitions().len()), (result.topic_id, 3));
    let configs = result.configs.unwrap();
    let config = configs.iter().find(|c| &*c.name == "max.message.bytes").unwrap();
    assert_eq!((config.value.as_deref(), config.config_source), (Some("5000"), 1));
}

#[test]
fn what_cannot_be_created_says_why() {
    let cases = [
        (topic("bad name", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic(&"x".repeat(250), 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("t", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("new", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("new", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("new", 1, 2), ErrorCode::INVALID_REPLICATION_FACTOR),
        (
            CreatableTopic {
                configs: vec![CreatableTopicConfig { name: "no.such".into(), ..Default::default() }],
                ..topic("new", 1, 1)
            },
            ErrorCode::INVALID_CONFIG,
        ),
        (
            CreatableTopic {
                assignments: vec![CreatableReplicaAssignment { broker_ids: vec![9], ..Default::default() }],
                ..topic("new", -1, -1)
            },
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ),
    ];
    let (mut world, conn) = World::one_node();
    for (asked, expected) in cases {
        let result = create(&mut world, conn, 7, vec![asked]).remove(0);
        assert_eq!(result.error_code, expected, "{}", result.name);
        assert!(result.error_message.is_some());
    }
    assert_eq!(world.cluster.topics().count(), 1);
}

#[test]
fn a_topic_named_twice_in_a_request_is_invalid() {
    let (mut world, conn) = World::one_node();
    let results =
        create(&mut world, conn, 7, vec![topic("new", 1, 1), topic("new", 1, 1), topic("other", 1, 1)]);
    let found: Vec<_> = results.iter().map(|r| (&*r.name, r.error_code)).collect();
    assert_eq!(found, [("new", ErrorCode::INVALID_REQUEST), ("other", ErrorCode::NONE)]);
}

#[test]
fn defaults_may_be_asked_for() {
    let mut world =
        World::new(FakeCluster::builder().nodes(2).default_partitions(4).default_replication_factor(2));
    let conn = world.connect(1);
    assert!(create(&mut world, conn, 4, vec![topic("new", -1, -1)])[0].error_code.is_none());
    let found = world.cluster.topic("new").unwrap();
    assert_eq!((found.partitions().len(), found.partitions()[1].replicas()), (4, &[2, 1][..]));
}

#[test]
fn validate_only_creates_nothing() {
    let (mut world, conn) = World::one_node();
    let request =
        CreateTopicsRequest { topics: vec![topic("new", 1, 1)], validate_only: true, ..Default::default() };
    let result = world.call(conn, 7, &request).topics.remove(0);
    assert_eq!((result.error_code, result.error_message), (ErrorCode::NONE, None));
    assert!(world.cluster.topic("new").is_none());
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let (mut world, conn) = World::one_node();
    let id = world.topic("u", 1, 1);
    let named = |name: &str| DeleteTopicState { name: Some(name.into()), ..Default::default() };
    let by_id = |topic_id| DeleteTopicState { name: None, topic_id, ..Default::default() };
    let both = DeleteTopicState { topic_id: id, ..named("u") };
    let topics = vec![both, named("t"), by_id(id), named("unknown"), by_id(Uuid::from_bytes([9; 16]))];
    let answer =
        world.call(conn, 6, &DeleteTopicsRequest { topics, timeout_ms: 1_000, ..Default::default() });
    let codes: Vec<_> = answer.responses.iter().map(|r| r.error_code).collect();
    let expected = [
        ErrorCode::INVALID_REQUEST,
        ErrorCode::NONE,
        ErrorCode::NONE,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
    ];
    assert_eq!(codes, expected);
    assert_eq!(answer.responses[2].name.as_deref(), Some("u"));
    assert_eq!(world.cluster.topics().count(), 0);
    world.topic("t", 1, 1);
    let old = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1_000, ..Default::default() };
    assert!(world.call(conn, 5, &old).responses[0].error_code.is_none());
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut world = World::new(FakeCluster::builder().nodes(3));
    world.topic("t", 2, 1);
    let conn = world.connect(1);
    let mut grow = |name: &str, count| {
        let topic =
            CreatePartitionsTopic { name: name.into(), count, assignments: None, ..Default::default() };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
        world.call(conn, 3, &request).results.remove(0).error_code
    };
    assert_eq!(grow("t", 2), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(grow("t", 1), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(grow("unknown", 3), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(grow("t", 4), ErrorCode::NONE);
    let leaders: Vec<i32> =
        world.cluster.topic("t").unwrap().partitions().iter().map(ottla_fake::Partition::leader).collect();
    assert_eq!(leaders, [1, 2, 3, 1]);
}

#[test]
fn deleted_records_raise_the_start_of_the_log() {
    let (mut world, conn) = World::one_node();
    world.produce(conn, 1, plain(&["a", "b", "c"]));
    world.produce(conn, 1, plain(&["d"]));
    let mut delete = |offset| {
        let asked = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![asked], ..Default::default() };
        let answer = world.call(conn, 2, &DeleteRecordsRequest { topics: vec![topic], ..Default::default() });
        let row = &answer.topics[0].partitions[0];
        (row.error_code, row.low_watermark)
    };
    assert_eq!(delete(1), (ErrorCode::NONE, 1));
    assert_eq!(delete(0), (ErrorCode::NONE, 1), "below the start nothing happens");
    assert_eq!(delete(5), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(-2), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(values(&world.fetch(conn, 1)).len(), 4, "a batch that reaches over the start stays whole");
    let mut delete = |offset| {
        let asked = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![asked], ..Default::default() };
        world.call(conn, 2, &DeleteRecordsRequest { topics: vec![topic], ..Default::default() });
    };
    delete(-1);
    assert_eq!(world.cluster.partition("t", 0).unwrap().log().start(), 4);
}

#[test]
fn a_topics_settings_are_described_with_their_source() {
    let mut world = World::new(FakeCluster::builder().nodes(9).min_insync_replicas(2));
    world.cluster.create_topic_with(world.now, "t", 1, 1, &[("retention.ms", "1000")]).unwrap();
    let conn = world.connect(1);
    let mut describe = |resource_type, name: &str, keys: Option<Vec<ottla_wire::Str>>| {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys,
            ..Default::default()
        };
        world
            .call(conn, 4, &DescribeConfigsRequest { resources: vec![resource], ..Default::default() })
            .results
            .remove(0)
    };
    let all = describe(2, "t", None);
    let found: Vec<_> =
        all.configs.iter().filter(|c| c.config_source == 1).map(|c| (&*c.name, c.value.as_deref())).collect();
    assert_eq!(found, [("retention.ms", Some("1000"))]);
    assert!(all.configs.len() > 20);
    assert_eq!(describe(2, "t", Some(vec!["cleanup.policy".into()])).configs.len(), 1);
    assert_eq!(describe(2, "unknown", None).error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(describe(4, "1", None).error_code.is_none());
    assert_eq!(describe(2, "t", None).configs.iter().filter(|c| c.config_source == 3).count(), 1);
    assert_eq!(describe(4, "9", None).error_code, ErrorCode::INVALID_REQUEST);
}
