//! Three nodes, all of them well: where records go, and how leaders move when somebody wants them to.

pub(crate) mod near;
mod routes;

use std::time::Duration;

use ottla::wire::ApiKey;
use ottla::wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla::wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use ottla::wire::messages::init_producer_id::InitProducerIdRequest;
use ottla::wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla::wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla::{Client, ClientBuilder, ErrorCode, Record, StartOffset};
use tokio::task::JoinSet;

use crate::support::cluster::three;
use crate::support::java::java;
use crate::support::proxy::{Proxy, Seen};
use crate::support::topic;
use crate::world::{offsets, read, value};

/// B1, Trap N8: all brokers are found through one of them, with their racks.
#[tokio::test]
async fn one_address_is_enough_to_find_all_brokers() {
    let client = ClientBuilder::new(three()[2..].to_vec()).build().await.unwrap();
    let cluster = client.describe_cluster().await.unwrap();
    let addresses: Vec<String> = cluster.brokers.iter().map(|broker| broker.address.to_string()).collect();
    assert_eq!(addresses, three());
    let racks: Vec<_> = cluster.brokers.iter().map(|broker| broker.rack.as_deref()).collect();
    assert_eq!(racks, [Some("rack-1"), Some("rack-2"), Some("rack-3")]);
    assert!(cluster.brokers.iter().any(|broker| cluster.controller_id == Some(broker.id)));
}

/// D1, Trap P13: 24 partitions that produce at the same time need few requests, and one connection to each broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_a_broker_share_its_requests() {
    const EACH: usize = 40;
    let proxy = Proxy::new();
    let (client, name) = world(&proxy, "merged", 24).await;
    let mut writers = JoinSet::new();
    for index in 0..24 {
        let partition = client.partition_client(&name, index).await.unwrap();
        writers.spawn(async move {
            for n in 0..EACH {
                let offset = partition.produce(vec![Record::new(n.to_string())]).await.unwrap();
                assert_eq!(offset, [i64::try_from(n).unwrap()]);
            }
        });
    }
    writers.join_all().await;
    let produced: Vec<Seen> =
        proxy.seen().into_iter().filter(|seen| seen.api_key == ApiKey::PRODUCE.0).collect();
    let mut connections: Vec<usize> = produced.iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    println!("{} appends in {} requests", 24 * EACH, produced.len());
    assert_eq!(connections.len(), 3, "one to each broker");
    assert!(produced.len() * 3 <= 24 * EACH, "{} requests for {} appends", produced.len(), 24 * EACH);
}

/// Traps M2 and P2: a leader that moves away, and back, while records are written and read: each is there once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_may_move_while_records_are_written() {
    let proxy = Proxy::new();
    let (client, name) = world(&proxy, "moved", 1).await;
    let java = java(&three());
    let partition = client.partition_client(&name, 0).await.unwrap();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn({
        let partition = partition.clone();
        async move {
            let mut written = 0;
            while !*stopped.borrow_and_update() {
                assert_eq!(
                    partition.produce(vec![Record::new(written.to_string())]).await.unwrap(),
                    [written]
                );
                written += 1;
            }
            written
        }
    });
    for leader in [1, 2, 3, 1] {
        let others: Vec<i32> = (1..=3).filter(|node| *node != leader).collect();
        java.move_to(&name, 0, &[&[leader], &others[..]].concat()).await;
        assert_eq!(java.leader(&name, 0).await, leader);
    }
    stop.send(true).unwrap();
    let written = writer.await.unwrap();
    let expected: Vec<String> = (0..written).map(|n| n.to_string()).collect();
    assert_eq!(read(&partition, 0).await.iter().map(value).collect::<Vec<_>>(), expected);
    assert_eq!(offsets(&partition, written - 1).await, [written - 1]);
    println!("{written} records over four moves");
}

/// Traps C3, C7 and C9: 12 partitions of three nodes are read while they are written to and their leaders move: each record comes
/// once, and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_follows_leaders_that_move() {
    const EACH: i64 = 60;
    let (client, name) = world(&Proxy::new(), "streamed", 12).await;
    let java = java(&three());
    let mut stream = client.stream().max_wait(Duration::from_millis(100)).build().unwrap();
    let mut writers = JoinSet::new();
    for index in 0..12 {
        stream.add(&name, index, StartOffset::Earliest).await.unwrap();
        let partition = client.partition_client(&name, index).await.unwrap();
        writers.spawn(async move {
            for n in 0..EACH {
                partition.produce(vec![Record::new(n.to_string())]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    let mover = tokio::spawn({
        let name = name.clone();
        async move {
            for (index, leader) in [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)] {
                let others: Vec<i32> = (1..=3).filter(|node| *node != leader).collect();
                java.move_to(&name, index, &[&[leader], &others[..]].concat()).await;
            }
        }
    });
    let mut read = [0; 12];
    while read.iter().any(|count| *count < EACH) {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing comes any more: {read:?}"));
        let item = next.unwrap().unwrap();
        let count = &mut read[usize::try_from(item.partition).unwrap()];
        assert_eq!((item.record.offset, value(&item.record)), (*count, &*count.to_string()));
        *count += 1;
    }
    writers.join_all().await;
    mover.await.unwrap();
}

/// Requests of the caller's own: partitions at their leaders, groups and transactional ids at their coordinators, what a
/// broker knows of itself at that broker.
#[tokio::test]
async fn requests_of_the_callers_own_find_their_broker() {
    let (client, name) = world(&Proxy::new(), "calls", 3).await;
    let committed = |group: &str, partition: i32| {
        let partition = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: 7,
            committed_leader_epoch: -1,
            committed_metadata: Some("by hand".into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: name.as_str().into(),
            partitions: vec![partition],
            ..Default::default()
        };
        OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        }
    };
    for partition in 0..3 {
        let end = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: name.as_str().into(), partitions: vec![end], ..Default::default() };
        let ends = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let ends = client.call(ends).await.unwrap();
        assert_eq!(
            (ends.topics[0].partitions[0].error_code, ends.topics[0].partitions[0].offset),
            (ErrorCode::NONE, 0)
        );
    }
    for n in 0..6 {
        let group = format!("{name}-{n}");
        let response = client.call(committed(&group, n % 3)).await.unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
        let asked =
            OffsetFetchRequestGroup { group_id: group.as_str().into(), topics: None, ..Default::default() };
        let response =
            client.call(OffsetFetchRequest { groups: vec![asked], ..Default::default() }).await.unwrap();
        let offsets: Vec<i64> =
            response.groups[0].topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!(offsets, [7], "{response:?}");
        let transactional_id = Some(group.as_str().into());
        let first =
            InitProducerIdRequest { transactional_id, transaction_timeout_ms: 60_000, ..Default::default() };
        assert!(client.call(first).await.unwrap().producer_id >= 0);
    }
    for id in 1..=3 {
        let response = client.call_broker(id, DescribeLogDirsRequest { topics: None, ..Default::default() });
        let response = response.await.unwrap();
        assert!(response.results[0].log_dir.contains(&format!("node-{id}")), "{response:?}");
        // Any other broker answers INVALID_REQUEST.
        let resource = DescribeConfigsResource {
            resource_type: 4,
            resource_name: id.to_string().into(),
            configuration_keys: Some(vec!["node.id".into()]),
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = client.call(request).await.unwrap();
        let result = &response.results[0];
        assert_eq!(result.error_code, ErrorCode::NONE, "{response:?}");
        assert_eq!(result.configs[0].value.as_deref(), Some(id.to_string().as_str()), "{response:?}");
    }
}

async fn world(proxy: &Proxy, purpose: &str, partitions: i32) -> (Client, String) {
    let client = ClientBuilder::new(three()).transport(proxy.transport()).build().await.unwrap();
    let name = topic(purpose);
    client.controller_client().await.unwrap().create_topic(&name, partitions, 3, 10_000).await.unwrap();
    (client, name)
}
