//! What a client costs while nobody wants anything of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::{
    BatchProducer, BatchProducerBuilder, Producer, Record, RecordAggregator, StartOffset, TopicProducer,
};
use ottla_wire::messages;

use crate::support::{PipeTransport, cluster, secs};

/// Nothing of ours wakes up in a minute: no timer that looks whether something is to be done, no request that nobody asked for.
/// What is left is for later, the age of metadata and idle connections. Before, the alarms of the connections and of the two
/// producers ring once more at most, for the time-out of a request that was answered: taking them back would cost each awaited record
/// more than that.
#[test]
fn an_idle_client_wakes_up_for_nothing() {
    let (_, sleeping, _) = wake_ups(Client::None);
    let (_, unused, _) = wake_ups(Client::Unused);
    let (rings, used, connections) = wake_ups(Client::Used);
    assert_eq!((unused, used), (sleeping, sleeping), "as often as a runtime that only sleeps");
    let most = sleeping + connections + 2;
    assert!(rings <= most, "{rings} in the first 35 seconds, not {most}");
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Client {
    None,
    Unused,
    Used,
}

/// How often a runtime goes to sleep while nobody does anything: in the first 35 seconds, and in the minute after them. The
/// runtime's own timers are in it. And how many connections are open meanwhile.
fn wake_ups(client: Client) -> (usize, usize, usize) {
    let slept = Arc::new(AtomicUsize::new(0));
    let count = slept.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let pipes = cluster(3, 6);
        let kept = match client {
            Client::None => None,
            Client::Unused => Some((pipes.client().await, None)),
            Client::Used => {
                let client = pipes.client().await;
                let used = use_once(&client).await;
                Some((client, Some(used)))
            }
        };
        let (start, connections) = (slept.load(Ordering::Relaxed), pipes.connections_open());
        tokio::time::sleep(secs(35)).await;
        let (requests, settled) = (total(&pipes), slept.load(Ordering::Relaxed));
        tokio::time::sleep(secs(60)).await;
        assert_eq!(total(&pipes), requests, "nobody asked for anything");
        drop(kept);
        (settled - start, slept.load(Ordering::Relaxed) - settled, connections)
    })
}

/// Writes and reads a record of each partition, one of them twice. The producers are kept.
async fn use_once(client: &ottla::Client) -> (Producer, TopicProducer, BatchProducer<RecordAggregator>) {
    let producer = client.producer().build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    for partition in 0..6 {
        topic.send_to(partition, Record::new("a")).await.unwrap();
        let mut stream = client.stream().build().unwrap();
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
        stream.next().await.unwrap().unwrap();
    }
    let partition = client.partition_client("t", 0).await.unwrap();
    let batches = BatchProducerBuilder::new(partition).build(RecordAggregator::new(1_000)).unwrap();
    batches.produce(Record::new("b")).await.unwrap();
    (producer, topic, batches)
}

/// All requests that the cluster has had.
fn total(pipes: &PipeTransport) -> u64 {
    messages::KEYS.iter().map(|key| pipes.requests(*key)).sum()
}
