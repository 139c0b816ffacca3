//! Brokers of other releases, and brokers that misbehave while versions are agreed on.

use ottla::{Compression, IsolationLevel, OffsetAt, Record, Timestamp};
use ottla_fake::{Answer, FakeCluster, Reaction, Release, Rule, Stage};
use ottla_wire::messages::metadata::{MetadataResponseBroker, MetadataResponseTopic};
use ottla_wire::{ApiKey, ErrorCode, VersionRange};

use crate::support::{PipeTransport, cluster, millis, read_all, records, secs, timed};

/// A3, D8, Trap W9: every call works with every release, in whatever versions it speaks.
#[tokio::test(start_paused = true)]
async fn every_call_works_with_every_release() {
    for release in Release::ALL {
        let pipes = PipeTransport::start(FakeCluster::builder().nodes(2).release(release));
        every_call(&pipes, release).await;
        let rejected = pipes.control(|cluster, _| cluster.counters().rejected);
        assert_eq!(rejected, 0, "{release:?}: nothing was sent that the broker does not know");
    }
}

async fn every_call(pipes: &PipeTransport, release: Release) {
    let client = pipes.client().await;
    let controller = client.controller_client().await.unwrap();
    controller.create_topic("my_topic", 1, 2, 5_000).await.unwrap();
    controller.create_partitions("my_topic", 2, 5_000).await.unwrap();
    let partition = client.partition_client("my_topic", 1).await.unwrap();
    let made = |ms| Record::new("x").key("k").header("h", "v").timestamp(Timestamp(ms));
    assert_eq!(partition.produce(vec![made(5), made(9)]).await.unwrap(), [0, 1]);
    assert_eq!(partition.produce_with(vec![made(7)], Compression::Zstd).await.unwrap(), [2]);
    assert_eq!(read_all(&partition, 0).await, ["x", "x", "x"]);
    let committed =
        client.partition("my_topic", 1).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    assert_eq!(read_all(&committed, 1).await, ["x", "x"]);
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 3);
    assert_eq!(partition.get_offset(Timestamp(6).into()).await.unwrap(), 1);
    if release >= Release::V3_0 {
        assert_eq!(partition.get_offset(OffsetAt::MaxTimestamp).await.unwrap(), 1);
    }
    pipes
        .control(|cluster, now| {
            let other = 3 - cluster.partition("my_topic", 1).unwrap().leader();
            cluster.move_leader(now, "my_topic", 1, other)
        })
        .unwrap();
    assert_eq!(partition.produce(vec![made(7)]).await.unwrap(), [3]);
    assert_eq!(partition.delete_records(3, 1_000).await.unwrap(), 3);
    assert_eq!(client.list_topics().await.unwrap().len(), 1);
    assert_eq!(client.describe_cluster().await.unwrap().brokers.len(), 2);
    controller.delete_topic("my_topic", 5_000).await.unwrap();
    assert_eq!(client.list_topics().await.unwrap(), []);
}

/// D9: every version of the APIs above that the table has, one at a time, from the newest down: what the client sends in it
/// is what a broker of that version understands.
#[tokio::test(start_paused = true)]
async fn every_version_of_the_data_path_works() {
    let ranges = [
        (ApiKey::PRODUCE, 3..=13),
        (ApiKey::FETCH, 4..=18),
        (ApiKey::LIST_OFFSETS, 1..=11),
        (ApiKey::METADATA, 4..=13),
        (ApiKey::INIT_PRODUCER_ID, 0..=5),
        (ApiKey::CREATE_TOPICS, 2..=7),
        (ApiKey::DELETE_TOPICS, 1..=6),
        (ApiKey::CREATE_PARTITIONS, 0..=3),
        (ApiKey::DELETE_RECORDS, 0..=2),
    ];
    for (key, versions) in ranges {
        for version in versions.rev() {
            let pipes = PipeTransport::start(FakeCluster::builder().nodes(1));
            pipes.control(|cluster, _| {
                cluster.set_versions(key, Some(VersionRange { min: version, max: version }));
            });
            let client = pipes.client().await;
            let controller = client.controller_client().await.unwrap();
            let version = format!("{key} {version}");
            controller
                .create_topic("v", 1, 1, 5_000)
                .await
                .unwrap_or_else(|error| panic!("{version}: {error}"));
            controller
                .create_partitions("v", 2, 5_000)
                .await
                .unwrap_or_else(|error| panic!("{version}: {error}"));
            let partition =
                client.partition_client("v", 1).await.unwrap_or_else(|error| panic!("{version}: {error}"));
            let offsets = partition.produce(records(&["a", "b"])).await;
            assert_eq!(offsets.unwrap_or_else(|error| panic!("{version}: {error}")), [0, 1], "{version}");
            assert_eq!(read_all(&partition, 0).await, ["a", "b"], "{version}");
            assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 2, "{version}");
            assert_eq!(partition.delete_records(1, 1_000).await.unwrap(), 1, "{version}");
            controller.delete_topic("v", 5_000).await.unwrap_or_else(|error| panic!("{version}: {error}"));
            assert_eq!(pipes.control(|cluster, _| cluster.counters().rejected), 0, "{version}");
        }
    }
}

/// Trap W9: a broker that does not know the version of ApiVersions answers in version 0, listing perhaps only that.
#[tokio::test(start_paused = true)]
async fn an_old_api_versions_is_stepped_down_to() {
    for highest in [0, 1, 2, 3] {
        let pipes = cluster(1, 1);
        pipes.control(|cluster, _| {
            cluster.set_versions(ApiKey::API_VERSIONS, Some(VersionRange { min: 0, max: highest }));
        });
        let (client, took) = timed(pipes.client()).await;
        client.list_topics().await.unwrap();
        assert!(took < millis(50), "{took:?}");
        assert!(pipes.requests(ApiKey::API_VERSIONS) <= 6, "two connections, three tries each at most");
    }
}

/// Trap W9: some cut the connection instead; the tries are bounded and each uses a lower version.
#[tokio::test(start_paused = true)]
async fn a_connection_cut_on_api_versions_is_dialled_again() {
    let pipes = cluster(1, 1);
    let cut = Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::API_VERSIONS);
    pipes.rule(cut.when(|arrival| arrival.version > 0));
    let (client, took) = timed(pipes.client()).await;
    client.list_topics().await.unwrap();
    assert!(took < millis(50), "{took:?}");

    let pipes = cluster(1, 1);
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::API_VERSIONS));
    let (result, took) = timed(pipes.builder().request_timeout(secs(5)).build()).await;
    result.unwrap_err();
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
    let dials = pipes.dials("node-1:9092");
    assert!(dials <= 60, "three a round, with growing pauses between the rounds: {dials}");
}

/// D8: an API that the broker does not offer, or in no version in common, is an error at once that names both ranges.
#[tokio::test(start_paused = true)]
async fn no_common_version_is_an_error_at_once() {
    let pipes = cluster(1, 1);
    pipes.control(|cluster, _| {
        cluster.set_versions(ApiKey::LIST_OFFSETS, Some(VersionRange { min: 90, max: 99 }));
        cluster.set_versions(ApiKey::DELETE_RECORDS, None);
        cluster.set_versions(ApiKey::PRODUCE, Some(VersionRange { min: 90, max: 99 }));
    });
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let (result, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("90..=99") && error.to_string().contains("1..=11"), "{error}");
    assert!(error.to_string().contains("ListOffsets") && !error.is_retriable(), "{error}");
    assert!(took < millis(50), "{took:?}");
    let error = partition.delete_records(0, 0).await.unwrap_err();
    assert!(error.to_string().contains("does not offer"), "{error}");
    let (result, took) = timed(partition.produce(records(&["a"]))).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("90..=99") && error.to_string().contains("not written"), "{error}");
    assert!(took < millis(50), "{took:?}");
}

/// Trap W13: what the version spoken cannot say is an error that names it, not something else.
#[tokio::test(start_paused = true)]
async fn what_a_version_cannot_say_is_named() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    pipes.create("t", 1, 1);
    pipes.control(|cluster, _| {
        cluster.set_versions(ApiKey::LIST_OFFSETS, Some(VersionRange { min: 1, max: 1 }));
    });
    let client = pipes.client().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    let error = committed.get_offset(OffsetAt::Latest).await.unwrap_err().to_string();
    assert!(error.contains("isolation_level") && error.contains("ListOffsets"), "{error}");
}

/// Trap W10: a broker of 4.x lists Produce from 0 on; the client is not misled.
#[tokio::test(start_paused = true)]
async fn produce_is_not_sent_below_its_real_minimum() {
    let pipes = cluster(1, 1);
    pipes.control(|cluster, _| cluster.set_versions(ApiKey::PRODUCE, Some(VersionRange { min: 0, max: 2 })));
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let error = partition.produce(records(&["a"])).await.unwrap_err().to_string();
    assert!(error.contains("0..=2") && error.contains("3..=13"), "{error}");
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 0);
}

/// Trap W12: codes, topics and brokers that make no sense to the client do no harm.
#[tokio::test(start_paused = true)]
async fn an_answer_with_unknown_codes_and_topics_does_no_harm() {
    let pipes = cluster(1, 1);
    let strange = Reaction::alter(|answer| {
        let Answer::Metadata(answer) = answer else { return };
        let name = Some("nobody-asked".into());
        answer
            .topics
            .insert(0, MetadataResponseTopic { error_code: ErrorCode(777), name, ..Default::default() });
        answer.brokers.push(MetadataResponseBroker { node_id: 9, port: -1, ..Default::default() });
    });
    pipes.rule(Rule::new(strange).api(ApiKey::METADATA));
    let client = pipes.client().await;
    client.partition_client("t", 0).await.unwrap().produce(records(&["a"])).await.unwrap();
    assert_eq!(client.describe_cluster().await.unwrap().brokers.len(), 1, "a port of -1 is none");
    assert_eq!(client.list_topics().await.unwrap().len(), 1);
}
