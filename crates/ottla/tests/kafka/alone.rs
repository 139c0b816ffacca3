//! What takes how long, on one broker and an otherwise idle machine.

use std::time::{Duration, Instant};

use ottla::Record;
use ottla::wire::ApiKey;
use tokio::task::JoinHandle;

use crate::support::cluster::eventually;
use crate::support::proxy::Proxy;
use crate::support::topic;
use crate::world::{SOON, client_through, new_topic};

/// Trap N4: while two polls of two seconds and the creation of a topic wait at the only broker, records and metadata pass
/// at once, and each poll ends in its own time. On one shared connection each would wait for those before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_behind_a_long_poll_or_a_topic_being_created() {
    const WAIT: Duration = Duration::from_secs(2);
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let empty = [new_topic(&client, "poll", &[]).await, new_topic(&client, "poll", &[]).await];
    let polled = [client.partition_client(&empty[0], 0).await, client.partition_client(&empty[1], 0).await];
    let busy = client.partition_client(new_topic(&client, "busy", &[]).await, 0).await.unwrap();
    busy.produce(vec![Record::new("the connection is open")]).await.unwrap();

    let held = proxy.hold(ApiKey::CREATE_TOPICS.0);
    let (controller, slow) = (client.controller_client().await.unwrap(), topic("slow"));
    let created = tokio::spawn(async move { controller.create_topic(slow, 1, 1, 30_000).await });
    let before = proxy.count(ApiKey::FETCH.0);
    let polls: Vec<JoinHandle<Duration>> =
        polled.into_iter().map(|partition| tokio::spawn(poll(partition, WAIT))).collect();
    eventually("both polls and the creation are with the broker", SOON, async || {
        proxy.count(ApiKey::FETCH.0) == before + 2 && proxy.count(ApiKey::CREATE_TOPICS.0) == 4
    })
    .await;

    let (mut produced, mut described) = (Vec::new(), Vec::new());
    while !polls.iter().all(JoinHandle::is_finished) {
        let start = Instant::now();
        busy.produce(vec![Record::new("busy")]).await.unwrap();
        produced.push(start.elapsed());
        let start = Instant::now();
        client.describe_cluster().await.unwrap();
        described.push(start.elapsed());
    }
    assert!(!created.is_finished(), "the creation was held back all the time");
    drop(held);
    created.await.unwrap().unwrap();

    for poll in polls {
        let took = poll.await.unwrap();
        println!("poll of {WAIT:?}: {took:?}");
        assert!(
            (WAIT..WAIT + Duration::from_millis(300)).contains(&took),
            "a poll of {WAIT:?} took {took:?}"
        );
    }
    for (what, times) in [("produce", produced), ("metadata", described)] {
        let (count, p50, p99) = (times.len(), quantile(&times, 50), quantile(&times, 99));
        println!("{what}: {count} calls, p50 {p50:?}, p99 {p99:?}");
        assert!(count >= 100 && p99 < Duration::from_millis(500), "{what}: {count} calls, p99 {p99:?}");
    }
}

async fn poll(partition: ottla::Result<ottla::PartitionClient>, wait: Duration) -> Duration {
    let (partition, start) = (partition.unwrap(), Instant::now());
    let wait = i32::try_from(wait.as_millis()).unwrap();
    let (records, _) = partition.fetch_records(0, 1..1_000_000, wait).await.unwrap();
    assert!(records.is_empty(), "{records:?}");
    start.elapsed()
}

fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
