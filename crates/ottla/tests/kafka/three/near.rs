//! Streams and what brokers say of each other: the replica nearby, and who leads now.

use std::time::Duration;

use ottla::wire::ApiKey;
use ottla::{Client, ClientBuilder, Record, RecordStream, RecordStreamBuilder, StartOffset};

use crate::support::cluster::three;
use crate::support::java::java;
use crate::support::proxy::Proxy;
use crate::support::topic;
use crate::world::{SOON, value};

/// Trap C8: a stream that says its rack is read by the replica there (KIP-392), whoever leads; one that does not, by the leader.
#[tokio::test]
async fn a_stream_reads_from_the_replica_in_its_rack() {
    let (writer, name) = world("near").await;
    let (near, far) = (Proxy::new(), Proxy::new());
    let mut streams = [stream(&near, &name, Some("rack-2")).await, stream(&far, &name, None).await];
    let mut written = 0;
    for leader in [1, 3, 2] {
        let others: Vec<i32> = (1..=3).filter(|node| *node != leader).collect();
        java(&three()).move_to(&name, 0, &[&[leader], &others[..]].concat()).await;
        // The first ones may come from whoever was asked before.
        for is_settled in [false, true] {
            let before = [fetched_by(&near), fetched_by(&far)];
            for _ in 0..5 {
                write(&writer, &name, written).await;
                for stream in &mut streams {
                    expect(stream, written).await;
                }
                written += 1;
            }
            if is_settled {
                let since = |proxy: &Proxy, before: &[String]| fetched_by(proxy).split_off(before.len());
                let (near, far) = (since(&near, &before[0]), since(&far, &before[1]));
                // The first of five may come to whoever had been asked before.
                assert!(
                    near.len() >= 4 && near.iter().all(|broker| *broker == three()[1]),
                    "{leader}: {near:?}"
                );
                let leader = &three()[usize::try_from(leader).unwrap() - 1];
                assert!(far.len() >= 4 && far.iter().all(|broker| broker == leader), "{leader}: {far:?}");
            }
        }
    }
}

/// A leader that is one no more says who it is now (KIP-951): a stream goes there, although nobody answers what it asks for
/// metadata.
#[tokio::test]
async fn a_stream_goes_where_the_old_leader_says() {
    let (writer, name) = world("hinted").await;
    let proxy = Proxy::new();
    let mut stream = stream(&proxy, &name, None).await;
    write(&writer, &name, 0).await;
    expect(&mut stream, 0).await;
    let held = proxy.hold(ApiKey::METADATA.0);
    java(&three()).move_to(&name, 0, &[2, 1, 3]).await;
    write(&writer, &name, 1).await;
    expect(&mut stream, 1).await;
    assert_eq!(fetched_by(&proxy).last(), Some(&three()[1]));
    drop(held);
}

/// A client for writing, and a topic of one partition that all three nodes have and the first one leads.
async fn world(purpose: &str) -> (Client, String) {
    let client = ClientBuilder::new(three()).build().await.unwrap();
    let name = topic(purpose);
    client.controller_client().await.unwrap().create_topic(&name, 1, 3, 10_000).await.unwrap();
    java(&three()).move_to(&name, 0, &[1, 2, 3]).await;
    (client, name)
}

async fn stream(proxy: &Proxy, topic: &str, rack: Option<&str>) -> RecordStream {
    let client = ClientBuilder::new(three()).transport(proxy.transport()).build().await.unwrap();
    let stream = client.stream().max_wait(Duration::from_millis(100));
    let stream = rack.into_iter().fold(stream, RecordStreamBuilder::rack);
    let mut stream = stream.build().unwrap();
    stream.add(topic, 0, StartOffset::Earliest).await.unwrap();
    stream
}

async fn write(writer: &Client, topic: &str, number: i64) {
    let partition = writer.partition_client(topic, 0).await.unwrap();
    assert_eq!(partition.produce(vec![Record::new(number.to_string())]).await.unwrap(), [number]);
}

async fn expect(stream: &mut RecordStream, number: i64) {
    let next = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((next.record.offset, value(&next.record)), (number, &*number.to_string()));
}

/// Who was asked for records, in this order.
pub(crate) fn fetched_by(proxy: &Proxy) -> Vec<String> {
    let seen = proxy.seen().into_iter().filter(|seen| seen.api_key == ApiKey::FETCH.0);
    seen.map(|seen| seen.broker).collect()
}
