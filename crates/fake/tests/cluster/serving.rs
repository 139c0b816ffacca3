//! Connections: versions, order, one request at a time, frames.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_fake::{Accepted, FakeCluster, Reaction, Release, Rule, Stage};
use ottla_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::{
    create_partitions::CreatePartitionsRequest,
    create_topics::CreateTopicsRequest,
    delete_records::{DeleteRecordsRequest, DeleteRecordsTopic},
    delete_topics::DeleteTopicsRequest,
    describe_configs::{DescribeConfigsRequest, DescribeConfigsResource},
    describe_groups::DescribeGroupsRequest,
    find_coordinator::FindCoordinatorRequest,
    init_producer_id::InitProducerIdRequest,
    list_offsets::{ListOffsetsRequest, ListOffsetsTopic},
    offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderTopic},
};
use ottla_wire::{ApiKey, ErrorCode, Request, VersionRange, encode_request};

use crate::support::{World, fetch, plain, produce};

fn hello() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "ottla".into(),
        client_software_version: "0.1.0".into(),
        ..Default::default()
    }
}

fn range(response: &ApiVersionsResponse, key: ApiKey) -> Option<(i16, i16)> {
    response.api_keys.iter().find(|row| row.api_key == key.0).map(|row| (row.min_version, row.max_version))
}

#[test]
fn each_release_advertises_its_own_ranges() {
    let table = [
        (Release::V2_1, (0, 7), (0, 10), (0, 2)),
        (Release::V2_2, (0, 7), (0, 10), (0, 2)),
        (Release::V2_3, (0, 7), (0, 11), (0, 2)),
        (Release::V2_6, (0, 8), (0, 11), (0, 3)),
        (Release::V2_7, (0, 8), (0, 12), (0, 3)),
        (Release::V2_8, (0, 9), (0, 12), (0, 3)),
        (Release::V3_1, (0, 9), (0, 13), (0, 3)),
        (Release::V3_4, (0, 9), (0, 13), (0, 3)),
        (Release::V3_5, (0, 9), (0, 15), (0, 3)),
        (Release::V3_7, (0, 10), (0, 16), (0, 3)),
        (Release::V3_9, (0, 11), (0, 17), (0, 4)),
        (Release::V4_0, (0, 12), (4, 17), (0, 4)),
        (Release::V4_1, (0, 13), (4, 18), (0, 4)),
        (Release::V4_3, (0, 13), (4, 18), (0, 4)),
    ];
    for (release, produce, fetch, api_versions) in table {
        let mut world = World::new(FakeCluster::builder().release(release));
        let conn = world.connect(1);
        let answer = world.call(conn, api_versions.1.min(3), &hello());
        assert_eq!(range(&answer, ApiKey::PRODUCE), Some(produce), "{release:?}");
        assert_eq!(range(&answer, ApiKey::FETCH), Some(fetch), "{release:?}");
        assert_eq!(range(&answer, ApiKey::API_VERSIONS), Some(api_versions), "{release:?}");
    }
}

/// A client may count on it: what a release speaks, its successors speak, but for what 4.0 has given up (KIP-896).
#[test]
fn no_release_speaks_less_than_the_one_before() {
    assert!(Release::ALL.is_sorted());
    let mut before: BTreeMap<i16, (i16, i16)> = BTreeMap::new();
    for release in Release::ALL {
        let mut world = World::new(FakeCluster::builder().release(release));
        let conn = world.connect(1);
        let answer = world.call(conn, 0, &hello());
        for row in &answer.api_keys {
            let (min, max) =
                before.insert(row.api_key, (row.min_version, row.max_version)).unwrap_or_default();
            assert!(row.max_version >= max, "{release:?} {}", ApiKey(row.api_key));
            assert!(
                row.min_version == min || release == Release::V4_0,
                "{release:?} {}",
                ApiKey(row.api_key)
            );
        }
        assert_eq!(answer.api_keys.len(), 14, "{release:?}");
    }
}

#[test]
fn an_override_changes_one_api_or_takes_it_away() {
    let (mut world, conn) = World::one_node();
    world.cluster.set_versions(ApiKey::FETCH, Some(VersionRange { min: 4, max: 11 }));
    world.cluster.set_versions(ApiKey::DELETE_RECORDS, None);
    let answer = world.call(conn, 3, &hello());
    assert_eq!(range(&answer, ApiKey::FETCH), Some((4, 11)));
    assert_eq!(range(&answer, ApiKey::DELETE_RECORDS), None);
    assert_eq!(range(&answer, ApiKey::PRODUCE), Some((0, 13)));
}

/// Of every release, but for what Kafka 4 has given up.
#[test]
fn every_version_of_every_api_is_answered() {
    fn each<R: Request>(request: &R) {
        for release in Release::ALL {
            let mut world = World::new(FakeCluster::builder().release(release));
            world.topic("t", 1, 1);
            let conn = world.connect(1);
            let offered = range(&world.call(conn, 0, &hello()), R::KEY);
            let (min, max) = offered.unwrap_or_else(|| panic!("{release:?} has no {}", R::NAME));
            assert!(max <= R::VERSIONS.max, "{release:?}: {} {max}", R::NAME);
            for version in min.max(R::VERSIONS.min)..=max {
                world.send(conn, version, request);
                let answer = world.answer::<R>(conn, version);
                assert!(answer.is_some(), "{release:?}: {} version {version}", R::NAME);
            }
        }
    }
    each(&hello());
    each(&MetadataRequest { topics: Some(vec![Default::default()]), ..Default::default() });
    each(&produce("t", 0, 1, plain(&["a"])));
    each(&fetch("t", 0, 0));
    each(&fetch("t", 0, 9));
    each(&ListOffsetsRequest { topics: vec![topic_of("t"), topic_of("u")], ..Default::default() });
    let epoch = OffsetForLeaderTopic {
        topic: "t".into(),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    each(&OffsetForLeaderEpochRequest { topics: vec![epoch], ..Default::default() });
    each(&CreateTopicsRequest { topics: vec![Default::default()], ..Default::default() });
    each(&DeleteTopicsRequest::default());
    each(&CreatePartitionsRequest { topics: vec![Default::default()], ..Default::default() });
    let delete =
        DeleteRecordsTopic { name: "t".into(), partitions: vec![Default::default()], ..Default::default() };
    each(&DeleteRecordsRequest { topics: vec![delete], ..Default::default() });
    let config =
        DescribeConfigsResource { resource_type: 2, resource_name: "t".into(), ..Default::default() };
    each(&DescribeConfigsRequest { resources: vec![config], ..Default::default() });
    each(&FindCoordinatorRequest::default());
    each(&InitProducerIdRequest { transactional_id: None, ..Default::default() });
    each(&DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() });
}

fn topic_of(name: &str) -> ListOffsetsTopic {
    ListOffsetsTopic { name: name.into(), partitions: vec![Default::default()], ..Default::default() }
}

/// Trap W9: the answer is version 0, whatever was asked, and names ApiVersions only.
#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut world = World::new(FakeCluster::builder().release(Release::V3_5));
    let conn = world.connect(1);
    world.send(conn, 4, &hello());
    let (_, answer) = world.answer::<ApiVersionsRequest>(conn, 0).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(answer.api_keys.len(), 1);
    assert_eq!(range(&answer, ApiKey::API_VERSIONS), Some((0, 3)));
    let again = world.call(conn, 3, &hello());
    assert!(again.error_code.is_none(), "the connection lives on");
}

#[test]
fn a_software_name_with_spaces_is_an_invalid_request() {
    let (mut world, conn) = World::one_node();
    let request = ApiVersionsRequest { client_software_name: "my client".into(), ..hello() };
    assert_eq!(world.call(conn, 3, &request).error_code, ErrorCode::INVALID_REQUEST);
}

#[test]
fn an_unsupported_version_of_anything_else_closes_the_connection() {
    let (mut world, conn) = World::one_node();
    world.cluster.set_versions(ApiKey::METADATA, Some(VersionRange { min: 0, max: 9 }));
    world.send(conn, 12, &MetadataRequest::default());
    assert!(!world.cluster.is_open(conn));
    assert_eq!(world.cluster.counters().rejected, 1);
}

#[test]
fn bytes_that_are_no_request_close_the_connection() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02hi", b"GET / HTTP/1.1\r\n\r\n"] {
        let (mut world, conn) = World::one_node();
        world.cluster.handle(world.now, conn, bytes);
        assert!(!world.cluster.is_open(conn), "{bytes:?}");
    }
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let (mut world, conn) = World::one_node();
    let encoded = encode_request(&hello(), 3, 7, None).unwrap().into_bytes();
    for byte in encoded {
        assert!(world.frame(conn).is_none());
        world.cluster.handle(world.now, conn, &[byte]);
    }
    assert_eq!(world.answer::<ApiVersionsRequest>(conn, 3).unwrap().0, 7);
}

/// Trap N4: what follows a long poll on its connection waits for it, and nothing else does.
#[test]
fn a_connection_is_served_one_request_at_a_time() {
    let (mut world, conn) = World::one_node();
    let poll = FetchRequest { max_wait_ms: 1_000, ..fetch("t", 0, 0) };
    world.send(conn, 12, &poll);
    world.send(conn, 12, &poll);
    world.send(conn, 9, &MetadataRequest::default());
    let other = world.connect(1);
    world.call(other, 9, &MetadataRequest::default());
    for _ in 0..2 {
        assert!(world.frame(conn).is_none());
        world.pass(Duration::from_millis(999));
        assert!(world.frame(conn).is_none());
        world.pass(Duration::from_millis(1));
        assert!(world.answer::<FetchRequest>(conn, 12).is_some());
    }
    assert!(world.answer::<MetadataRequest>(conn, 9).is_some());
}

#[test]
fn counters_know_requests_connections_and_bytes() {
    let mut world = World::new(FakeCluster::builder().nodes(2));
    let (first, second) = (world.connect(1), world.connect(2));
    world.call(first, 3, &hello());
    world.call(second, 3, &hello());
    world.call(second, 9, &MetadataRequest::default());
    let counters = world.cluster.counters();
    assert_eq!(counters.requests(ApiKey::API_VERSIONS), 2);
    assert_eq!(counters.requests_to(2, MetadataRequest::KEY), 1);
    assert_eq!((counters.all_requests(), counters.connections(), counters.connections_to(2)), (3, 2, 1));
    let asked = encode_request(&hello(), 3, 1, Some("test")).unwrap().into_bytes().len() as u64;
    let metadata =
        encode_request(&MetadataRequest::default(), 9, 1, Some("test")).unwrap().into_bytes().len() as u64;
    assert_eq!(counters.received, 2 * asked + metadata);
    assert!(counters.sent > 100);
}

/// Trap P1: who closes a connection does not take back what it has sent on it.
#[test]
fn what_came_before_a_client_closed_is_served() {
    let (mut world, conn) = World::three_nodes();
    world.cluster.pause(world.now, 1);
    world.send(conn, 9, &produce("t", 0, 1, plain(&["a"])));
    world.send(conn, 9, &produce("t", 0, 1, plain(&["b"])));
    world.cluster.handle_disconnect(world.now, conn);
    assert!(!world.cluster.is_open(conn) && world.cluster.connections().next().is_none());
    world.cluster.move_leader(world.now, "t", 0, 2).unwrap();
    world.cluster.resume(world.now, 1);
    world.cluster.move_leader(world.now, "t", 0, 1).unwrap();
    assert_eq!(world.cluster.accepted().len(), 0, "it was not the leader when it looked at them");

    let conn = world.connect(1);
    world.cluster.pause(world.now, 2);
    let delay = Reaction::Delay(Stage::BeforeApplying, Duration::from_millis(10));
    world.cluster.add_rule(Rule::new(delay).api(ApiKey::PRODUCE).nth(1));
    world.send(conn, 9, &produce("t", 0, 1, plain(&["a"])));
    world.send(conn, 9, &produce("t", 0, 1, plain(&["b", "c"])));
    world.cluster.handle_disconnect(world.now, conn);
    assert!(world.cluster.accepted().is_empty());
    world.pass(Duration::from_millis(10));
    assert!(world.frame(conn).is_none());
    let values: Vec<_> = world.cluster.accepted().iter().flat_map(Accepted::decoded).collect();
    let values: Vec<_> = values.into_iter().map(|r| (r.offset, r.value.unwrap())).collect();
    assert_eq!(values, [(0, "a".into()), (1, "b".into()), (2, "c".into())]);
    assert_eq!(world.cluster.poll_timeout(), None);
}
