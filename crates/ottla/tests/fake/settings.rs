//! Settings that cannot work are refused by name, before anything is sent.

use std::time::Duration;

use ottla::{
    Acks, Client, ClientBuilder, Codec, Compression, Error, OffsetAt, PartitionClientBuilder, Timestamp,
};

use crate::support::{cluster, millis, one, pass, secs, world};

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) -> String {
    match result {
        Err(error @ Error::Config { setting, .. }) => {
            assert_eq!(setting, name, "{error}");
            assert!(!error.is_retriable() && error.to_string().contains(name), "{error}");
            error.to_string()
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Trap U3: every setting of a client.
#[tokio::test(start_paused = true)]
async fn odd_settings_of_a_client_are_refused_by_name() {
    type Odd = fn(ClientBuilder) -> ClientBuilder;
    let odd: [(&str, Odd); 26] = [
        ("connect_timeout", |b| b.connect_timeout(Duration::ZERO)),
        ("connect_timeout", |b| b.connect_timeout(Duration::MAX)),
        ("request_timeout", |b| b.request_timeout(Duration::ZERO)),
        ("request_timeout", |b| b.request_timeout(Duration::MAX)),
        ("metadata_max_age", |b| b.metadata_max_age(Duration::ZERO)),
        ("metadata_max_age", |b| b.metadata_max_age(Duration::MAX)),
        ("rebootstrap_after", |b| b.rebootstrap_after(Duration::ZERO)),
        ("idle_timeout", |b| b.idle_timeout(Duration::ZERO)),
        ("idle_timeout", |b| b.idle_timeout(Duration::MAX)),
        ("retry_backoff", |b| b.retry_backoff(Duration::ZERO, secs(1))),
        ("retry_backoff", |b| b.retry_backoff(secs(2), secs(1))),
        ("retry_backoff", |b| b.retry_backoff(secs(2), Duration::MAX)),
        ("reconnect_backoff", |b| b.reconnect_backoff(Duration::ZERO, secs(1))),
        ("reconnect_backoff", |b| b.reconnect_backoff(millis(2), millis(1))),
        ("max_response_bytes", |b| b.max_response_bytes(1_000)),
        ("max_response_bytes", |b| b.max_response_bytes(usize::MAX)),
        ("fetch_connections", |b| b.fetch_connections(0)),
        ("fetch_connections", |b| b.fetch_connections(usize::MAX)),
        ("admin_connections", |b| b.admin_connections(0)),
        ("client_id", |b| b.client_id("x".repeat(40_000))),
        ("software", |b| b.software("", "1")),
        ("software", |b| b.software("my client", "1")),
        ("software", |b| b.software("-x", "1")),
        ("software", |b| b.software("x", "1.")),
        ("software", |b| b.software("x", "1_2")),
        ("software", |b| b.software("x".repeat(300), "1")),
    ];
    let pipes = cluster(1, 1);
    for (name, make) in odd {
        refused(make(pipes.builder()).build().await, name);
    }
    pass(secs(1)).await;
    assert_eq!(pipes.connections_made(), 0);
}

/// Trap U3: and the addresses, each with what is wrong with it.
#[tokio::test(start_paused = true)]
async fn odd_addresses_are_refused_with_what_is_wrong() {
    let odd = [
        (vec![], "empty"),
        (vec!["localhost"], "lacks a port"),
        (vec!["localhost:9092", "::1:9092"], "without brackets"),
        (vec!["kafka://localhost:9092"], "scheme"),
        (vec!["localhost:0"], "1 to 65535"),
        (vec![""], "lacks a port"),
    ];
    for (bootstrap, problem) in odd {
        let bootstrap = bootstrap.into_iter().map(str::to_owned).collect();
        let error = refused(ClientBuilder::new(bootstrap).build().await, "bootstrap");
        assert!(error.contains(problem), "{error}");
    }
}

/// Trap U3: every setting of a partition client.
#[tokio::test(start_paused = true)]
async fn odd_settings_of_a_partition_client_are_refused_by_name() {
    type Odd = fn(PartitionClientBuilder) -> PartitionClientBuilder;
    let odd: [(&str, Odd); 7] = [
        ("acks", |b| b.acks(Acks::None)),
        ("timeout", |b| b.timeout(Duration::ZERO)),
        ("timeout", |b| b.timeout(Duration::MAX)),
        ("delivery_timeout", |b| b.delivery_timeout(Duration::ZERO)),
        ("delivery_timeout", |b| b.delivery_timeout(Duration::MAX)),
        ("delivery_timeout", |b| b.timeout(secs(10)).delivery_timeout(secs(9))),
        ("compression", |b| b.compression(Codec { compression: Compression::Gzip, level: Some(1_000) })),
    ];
    let (client, _pipes) = world(1, 1).await;
    for (name, make) in odd {
        refused(make(client.partition("t", 0)).build().await, name);
    }
    let both = refused(client.partition("t", 0).delivery_timeout(secs(1)).build().await, "delivery_timeout");
    assert!(both.contains("`timeout`"), "the other setting is named too: {both}");
    refused(client.partition_client("", 0).await, "topic");
    refused(client.partition_client("t", -1).await, "partition");
}

/// Trap U3: and the arguments of calls.
#[tokio::test(start_paused = true)]
async fn odd_arguments_are_refused_by_name() {
    let (partition, client, pipes) = one().await;
    let controller = Client::controller_client(&client).await.unwrap();
    let asked = pipes.control(|cluster, _| cluster.counters().all_requests());
    refused(partition.fetch_records(-1, 1..10, 0).await, "offset");
    refused(partition.fetch_records(0, -1..10, 0).await, "bytes");
    refused(partition.fetch_records(0, 0..0, 0).await, "bytes");
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let backwards = 10..1;
    refused(partition.fetch_records(0, backwards, 0).await, "bytes");
    refused(partition.fetch_records(0, 1..10, -1).await, "max_wait_ms");
    refused(partition.get_offset(OffsetAt::Timestamp(Timestamp(-2))).await, "at");
    refused(partition.delete_records(-1, 0).await, "offset");
    refused(partition.delete_records(0, -1).await, "timeout_ms");
    refused(controller.create_topic("x", 1, 1, -1).await, "timeout_ms");
    refused(controller.delete_topic("x", -1).await, "timeout_ms");
    refused(controller.create_partitions("x", 1, -1).await, "timeout_ms");
    let steep = Codec { compression: Compression::Zstd, level: Some(19) };
    let error = refused(partition.produce_with(vec![ottla::Record::new("x")], steep).await, "compression");
    assert!(error.contains("zstd-c"), "{error}");
    assert_eq!(pipes.control(|cluster, _| cluster.counters().all_requests()), asked, "nothing is sent");
}
