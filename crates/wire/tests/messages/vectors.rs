//! What the Java client wrote is what we read, and what we write. The bytes are in `tests/data/messages.hex`, which
//! `tools/java/Messages.java` writes.

use bytes::Bytes;
use ottla_wire::messages::api_versions::*;
use ottla_wire::messages::create_partitions::*;
use ottla_wire::messages::find_coordinator::*;
use ottla_wire::messages::init_producer_id::*;
use ottla_wire::messages::metadata::*;
use ottla_wire::messages::{fetch, produce};
use ottla_wire::{
    ErrorCode, Message, RecordSet, Request, Str, Uuid, decode_request_body, decode_request_header,
    decode_response, encode_request, encode_response,
};

fn java(name: &str, version: i16) -> Bytes {
    let wanted = format!("{name} {version} ");
    let lines = include_str!("../data/messages.hex").lines();
    let hex = lines
        .filter_map(|line| line.strip_prefix(&wanted))
        .next()
        .expect("a line for this message and version");
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn request<R: Request>(version: i16, expected: &R) {
    let payload = java(R::NAME, version);
    let (header, body) = decode_request_header(&payload).unwrap();
    assert_eq!((header.key, header.version, header.correlation_id), (R::KEY, version, 7));
    assert_eq!(header.client_id.as_deref(), Some("ottla"));
    assert_eq!(&decode_request_body::<R>(&payload.slice(body..), version).unwrap(), expected);
    assert_eq!(encode_request(expected, version, 7, Some("ottla")).unwrap().into_bytes()[4..], payload);
}

fn response<R: Request>(version: i16, expected: &R::Response) {
    let payload = java(R::Response::NAME, version);
    assert_eq!(&decode_response::<R>(&payload, version).unwrap(), &(7, expected.clone()));
    assert_eq!(encode_response::<R>(expected, version, 7).unwrap().into_bytes()[4..], payload);
}

const ID: Uuid = Uuid::from_bytes(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes());

fn text(text: &str) -> Option<Str> {
    Some(text.into())
}

fn records(bytes: &'static [u8]) -> Option<RecordSet> {
    Some(Bytes::from_static(bytes).into())
}

/// E2: both directions.
#[test]
fn api_versions_is_as_java_writes_it() {
    request(0, &ApiVersionsRequest::default());
    request(
        4,
        &ApiVersionsRequest {
            client_software_name: "ottla".into(),
            client_software_version: "0.1".into(),
            ..Default::default()
        },
    );
    let v0 = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 4, ..Default::default() }],
        ..Default::default()
    };
    response::<ApiVersionsRequest>(0, &v0);
    let feature = FinalizedFeatureKey {
        name: "transaction.version".into(),
        max_version_level: 2,
        min_version_level: 0,
        ..Default::default()
    };
    let v3 = ApiVersionsResponse {
        throttle_time_ms: 5,
        finalized_features_epoch: 9,
        finalized_features: vec![feature],
        ..v0
    };
    response::<ApiVersionsRequest>(3, &v3);
}

/// E2: both directions.
#[test]
fn metadata_is_as_java_writes_it() {
    request(1, &MetadataRequest { topics: None, ..Default::default() });
    let by_id = MetadataRequestTopic { topic_id: ID, name: None, ..Default::default() };
    request(
        13,
        &MetadataRequest {
            topics: Some(vec![by_id]),
            allow_auto_topic_creation: false,
            ..Default::default()
        },
    );

    let broker = MetadataResponseBroker {
        node_id: 2,
        host: "h".into(),
        port: 9092,
        rack: text("r"),
        ..Default::default()
    };
    let partition = MetadataResponsePartition {
        error_code: ErrorCode::REPLICA_NOT_AVAILABLE,
        partition_index: 3,
        leader_id: 2,
        replica_nodes: [2, 1].into(),
        isr_nodes: [2].into(),
        ..Default::default()
    };
    let topic = MetadataResponseTopic { name: text("orders"), ..Default::default() };
    response::<MetadataRequest>(
        1,
        &MetadataResponse {
            brokers: vec![broker.clone()],
            controller_id: 2,
            topics: vec![MetadataResponseTopic { partitions: vec![partition.clone()], ..topic.clone() }],
            ..Default::default()
        },
    );
    let partition = MetadataResponsePartition { leader_epoch: 4, offline_replicas: [1].into(), ..partition };
    response::<MetadataRequest>(
        13,
        &MetadataResponse {
            throttle_time_ms: 5,
            brokers: vec![broker],
            cluster_id: text("c1"),
            controller_id: 2,
            topics: vec![MetadataResponseTopic { topic_id: ID, partitions: vec![partition], ..topic }],
            error_code: ErrorCode::REBOOTSTRAP_REQUIRED,
            ..Default::default()
        },
    );
}

/// E2: both directions.
#[test]
fn produce_is_as_java_writes_it() {
    use produce::*;

    let partition =
        PartitionProduceData { index: 1, records: records(b"\x01\x02\x03"), ..Default::default() };
    let topic = TopicProduceData { partition_data: vec![partition], ..Default::default() };
    let message = ProduceRequest { acks: -1, timeout_ms: 30_000, ..Default::default() };
    let by_name = TopicProduceData { name: "orders".into(), ..topic.clone() };
    request(3, &ProduceRequest { topic_data: vec![by_name], ..message.clone() });
    let by_id = TopicProduceData { topic_id: ID, ..topic };
    request(13, &ProduceRequest { transactional_id: text("tx"), topic_data: vec![by_id], ..message });

    let partition = PartitionProduceResponse {
        index: 1,
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        base_offset: -1,
        record_errors: vec![BatchIndexAndErrorMessage { batch_index: 4, ..Default::default() }],
        error_message: text("moved"),
        current_leader: LeaderIdAndEpoch { leader_id: 2, leader_epoch: 5, ..Default::default() },
        ..Default::default()
    };
    let topic =
        TopicProduceResponse { topic_id: ID, partition_responses: vec![partition], ..Default::default() };
    let node = NodeEndpoint { node_id: 2, host: "h".into(), port: 9092, ..Default::default() };
    response::<ProduceRequest>(
        13,
        &ProduceResponse {
            responses: vec![topic],
            throttle_time_ms: 5,
            node_endpoints: vec![node],
            ..Default::default()
        },
    );
}

/// E2: both directions.
#[test]
fn a_fetch_request_is_as_java_writes_it() {
    use fetch::*;

    let partition = FetchPartition {
        partition: 1,
        current_leader_epoch: 4,
        fetch_offset: 42,
        partition_max_bytes: 1024,
        high_watermark: 50,
        replica_directory_id: ID,
        ..Default::default()
    };
    request(
        18,
        &FetchRequest {
            cluster_id: text("c1"),
            replica_state: ReplicaState { replica_id: 1, replica_epoch: 2, ..Default::default() },
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1_048_576,
            isolation_level: 1,
            session_id: 3,
            session_epoch: 4,
            topics: vec![FetchTopic { topic_id: ID, partitions: vec![partition], ..Default::default() }],
            forgotten_topics_data: vec![ForgottenTopic {
                topic_id: ID,
                partitions: vec![7],
                ..Default::default()
            }],
            rack_id: "r".into(),
            ..Default::default()
        },
    );
}

/// E2: both directions.
#[test]
fn a_fetch_response_is_as_java_writes_it() {
    use fetch::*;

    let partition = PartitionData {
        partition_index: 1,
        high_watermark: 44,
        last_stable_offset: 43,
        ..Default::default()
    };
    let topic = |partition| FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let nulls = PartitionData { aborted_transactions: None, records: None, ..partition.clone() };
    response::<FetchRequest>(
        4,
        &FetchResponse {
            throttle_time_ms: 5,
            responses: vec![FetchableTopicResponse { topic: "orders".into(), ..topic(nulls) }],
            ..Default::default()
        },
    );
    let aborted = AbortedTransaction { producer_id: 8, first_offset: 40, ..Default::default() };
    let full = PartitionData {
        log_start_offset: 0,
        diverging_epoch: EpochEndOffset { epoch: 3, end_offset: 41, ..Default::default() },
        snapshot_id: SnapshotId { end_offset: 1, epoch: 1, ..Default::default() },
        aborted_transactions: Some(vec![aborted]),
        records: records(b"\x09\x08"),
        ..partition
    };
    response::<FetchRequest>(
        18,
        &FetchResponse {
            throttle_time_ms: 5,
            session_id: 3,
            responses: vec![FetchableTopicResponse { topic_id: ID, ..topic(full) }],
            ..Default::default()
        },
    );
}

/// E2: both directions.
#[test]
fn the_others_are_as_java_writes_them() {
    let grow =
        CreatePartitionsTopic { name: "orders".into(), count: 4, assignments: None, ..Default::default() };
    request(
        3,
        &CreatePartitionsRequest {
            topics: vec![grow],
            timeout_ms: 5000,
            validate_only: true,
            ..Default::default()
        },
    );
    response::<FindCoordinatorRequest>(
        2,
        &FindCoordinatorResponse {
            throttle_time_ms: 5,
            error_code: ErrorCode::COORDINATOR_NOT_AVAILABLE,
            error_message: text("none"),
            node_id: -1,
            port: -1,
            ..Default::default()
        },
    );
    request(
        6,
        &InitProducerIdRequest {
            transactional_id: text("tx"),
            transaction_timeout_ms: 60_000,
            enable2_pc: true,
            ..Default::default()
        },
    );
}
