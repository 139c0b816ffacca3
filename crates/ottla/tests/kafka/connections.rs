//! Connections that break, do not come about, or are shared.

use std::time::{Duration, Instant};

use ottla::wire::ApiKey;
use ottla::{ClientBuilder, Error, Record};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::proxy::Proxy;
use crate::support::topic;
use crate::world::{SOON, client_through, new_topic, read, value};

/// Trap N8: bootstrap addresses are tried in turn, in vain where nobody listens.
#[tokio::test]
async fn a_bootstrap_list_may_begin_with_a_dead_address() {
    let dead = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string() };
    let bootstrap = [vec![dead], one()].concat();
    // Which address is tried first is not said: each client begins somewhere.
    for _ in 0..5 {
        let asked = Instant::now();
        let client = ClientBuilder::new(bootstrap.clone()).build().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(client.describe_cluster().await.unwrap().brokers.len(), one().len());
    }
}

/// Traps N3, N8 and N13: so does an address that takes the connection and then says nothing.
#[tokio::test]
async fn a_bootstrap_list_may_begin_with_an_address_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = [vec![silent.local_addr().unwrap().to_string()], one()].concat();
    for _ in 0..3 {
        let asked = Instant::now();
        let builder = ClientBuilder::new(bootstrap.clone()).connect_timeout(Duration::from_secs(1));
        builder.build().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

/// Trap N3: without any broker the call ends with its time-out, and says who was asked.
#[tokio::test]
async fn a_bootstrap_list_of_dead_addresses_is_an_error_in_time() {
    let dead = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string() };
    let (asked, limit) = (Instant::now(), Duration::from_millis(800));
    let built = ClientBuilder::new(vec![dead.clone()]).request_timeout(limit).build().await;
    let error = built.expect_err("nobody is there");
    assert!(matches!(error, Error::Unreachable { after: Some(_), .. }), "{error}");
    assert!(error.to_string().contains(&dead), "{error}");
    assert!((limit..limit + Duration::from_secs(1)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
}

/// Trap P1: the broker wrote the records and the answer was lost with the connection: sent again under the same sequence,
/// they are there once.
#[tokio::test]
async fn records_whose_answer_was_lost_are_there_exactly_once() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let topic = new_topic(&client, "lost-answer", &[]).await;
    let partition = client.partition_client(&topic, 0).await.unwrap();
    for n in 0..10 {
        proxy.lose_next_answer(ApiKey::PRODUCE.0);
        let offsets = partition.produce(vec![Record::new(n.to_string())]).await.unwrap();
        assert_eq!(offsets, [n], "the answer to the repetition names the offset of the first");
    }
    assert!(proxy.count(ApiKey::PRODUCE.0) >= 20, "each was sent twice: {}", proxy.count(ApiKey::PRODUCE.0));
    let expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let seen = java(&one()).consume(&topic, 0, 0, None, &[]).await;
    let values: Vec<_> =
        seen.iter().map(|seen| String::from_utf8(seen.value.clone().unwrap()).unwrap()).collect();
    assert_eq!(values, expected);
}

/// D1, Traps P1 and P4: many writers, and connections that are cut again and again: every record once, each writer's in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_again_and_again_lose_and_repeat_nothing() {
    const PARTITIONS: i32 = 6;
    const EACH: usize = 120;
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let name = topic("cut");
    client.controller_client().await.unwrap().create_topic(&name, PARTITIONS, 1, 10_000).await.unwrap();
    let mut writers = JoinSet::new();
    for index in 0..PARTITIONS {
        let partition = client.partition_client(&name, index).await.unwrap();
        writers.spawn(async move {
            for n in 0..EACH {
                partition.produce(vec![Record::new(n.to_string())]).await.unwrap();
            }
            partition
        });
    }
    let cutter = tokio::spawn({
        let proxy = proxy.clone();
        async move {
            // Every tenth request, wherever it is by then.
            for cut in 1.. {
                crate::support::cluster::eventually("the next ten requests", 2 * SOON, async || {
                    proxy.count(ApiKey::PRODUCE.0) >= cut * 10
                })
                .await;
                proxy.cut();
            }
        }
    });
    let partitions = writers.join_all().await;
    cutter.abort();
    let expected: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
    for partition in partitions {
        let records = read(&partition, 0).await;
        assert_eq!(
            records.iter().map(value).collect::<Vec<_>>(),
            expected,
            "partition {}",
            partition.partition()
        );
    }
    assert!(proxy.connections() > 10, "connections were cut: {}", proxy.connections());
}

/// D1: partitions share their broker's connections; each purpose has its own.
#[tokio::test]
async fn many_partitions_share_one_produce_connection() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let name = topic("shared");
    client.controller_client().await.unwrap().create_topic(&name, 12, 1, 10_000).await.unwrap();
    let mut writers = JoinSet::new();
    for index in 0..12 {
        let partition = client.partition_client(&name, index).await.unwrap();
        writers.spawn(async move { partition.produce(vec![Record::new("v")]).await.unwrap() });
    }
    assert_eq!(writers.join_all().await.concat(), [0; 12]);
    let mut used: Vec<usize> = Vec::new();
    for seen in proxy.seen() {
        if seen.api_key == ApiKey::PRODUCE.0 && !used.contains(&seen.connection) {
            used.push(seen.connection);
        }
    }
    assert_eq!(used.len(), 1, "connections that carried records");
    let others = proxy.seen().iter().filter(|seen| seen.connection == used[0]).count();
    let mine = |seen: &&crate::support::proxy::Seen| {
        [ApiKey::PRODUCE.0, ApiKey::API_VERSIONS.0].contains(&seen.api_key)
    };
    assert_eq!(proxy.seen().iter().filter(|seen| seen.connection == used[0]).filter(mine).count(), others);
}
