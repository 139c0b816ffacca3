//! Transactions that the Java client wrote, read committed and uncommitted.

use ottla::{Client, IsolationLevel, OffsetAt, PartitionClient, Record};

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::peer::PeerRecord;
use crate::world::{client, new_topic, offsets, read, value};

/// Traps C6 and W1: aborted records and control records are hidden, an open transaction ends what can be read, and a
/// position moves over all of them.
#[tokio::test]
async fn committed_records_are_read_and_aborted_ones_hidden() {
    let World { topic, committed, uncommitted, .. } = World::new("transactions").await;
    transaction(&topic, "a", "commit", &["c0", "c1"]).await;
    transaction(&topic, "a", "abort", &["a3", "a4"]).await;
    uncommitted.produce(vec![Record::new("p6")]).await.unwrap();
    transaction(&topic, "b", "open", &["o7"]).await;
    uncommitted.produce(vec![Record::new("p8")]).await.unwrap();

    let seen = read(&uncommitted, 0).await;
    assert_eq!(seen.iter().map(value).collect::<Vec<_>>(), ["c0", "c1", "a3", "a4", "p6", "o7", "p8"]);
    assert_eq!(
        seen.iter().map(|r| r.offset).collect::<Vec<_>>(),
        [0, 1, 3, 4, 6, 7, 8],
        "markers are no records"
    );
    assert_eq!(read(&committed, 0).await.iter().map(value).collect::<Vec<_>>(), ["c0", "c1", "p6"]);
    assert_eq!(uncommitted.get_offset(OffsetAt::Latest).await.unwrap(), 9);
    assert_eq!(committed.get_offset(OffsetAt::Latest).await.unwrap(), 7, "the last stable offset");
    let (blocked, high_watermark) = committed.fetch_records(7, 1..1_000_000, 100).await.unwrap();
    assert_eq!((blocked.len(), high_watermark), (0, 9));

    transaction(&topic, "b", "commit", &[]).await;
    assert_eq!(offsets(&committed, 0).await, [0, 1, 6, 7, 8]);
    assert_eq!(offsets(&committed, 2).await, [6, 7, 8], "from a marker's own offset");
    assert_eq!(offsets(&committed, 3).await, [6, 7, 8], "from within an aborted transaction");
}

/// Trap C6: which transaction a record belongs to is told by its producer id, not by its place.
#[tokio::test]
async fn transactions_that_interleave_are_told_apart() {
    let World { topic, committed, uncommitted, .. } = World::new("interleaved").await;
    transaction(&topic, "a", "open", &["a0"]).await;
    transaction(&topic, "b", "open", &["b1"]).await;
    transaction(&topic, "a", "open", &["a2"]).await;
    transaction(&topic, "b", "commit", &["b3"]).await;
    transaction(&topic, "a", "abort", &["a5"]).await;
    transaction(&topic, "a", "commit", &["a7"]).await;
    assert_eq!(read(&committed, 0).await.iter().map(value).collect::<Vec<_>>(), ["b1", "b3", "a7"]);
    let all = ["a0", "b1", "a2", "b3", "a5", "a7"];
    assert_eq!(read(&uncommitted, 0).await.iter().map(value).collect::<Vec<_>>(), all);
}

/// Trap C6: an answer with nothing to deliver still moves the position: one call comes past an aborted transaction of
/// many answers.
#[tokio::test]
async fn one_call_reads_past_an_aborted_transaction_larger_than_an_answer() {
    let World { topic, committed, .. } = World::new("long-abort").await;
    let large = "x".repeat(20_000);
    transaction(&topic, "a", "abort", &[&*large; 12]).await;
    committed.produce(vec![Record::new("behind")]).await.unwrap();
    let (records, _) = committed.fetch_records(0, 1..20_000, 20_000).await.unwrap();
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), ["behind"]);
}

/// A topic of one partition, read in both ways.
struct World {
    topic: String,
    committed: PartitionClient,
    uncommitted: PartitionClient,
    _client: Client,
}

impl World {
    async fn new(purpose: &str) -> Self {
        let client = client().await;
        let topic = new_topic(&client, purpose, &[]).await;
        let read = |isolation| client.partition(&topic, 0).isolation(isolation).build();
        let committed = read(IsolationLevel::ReadCommitted).await.unwrap();
        let uncommitted = read(IsolationLevel::ReadUncommitted).await.unwrap();
        Self { topic, committed, uncommitted, _client: client }
    }
}

/// One step of a transaction of the Java client's; `id` is the topic's own.
async fn transaction(topic: &str, id: &str, end: &str, values: &[&str]) {
    let id = format!("{topic}-{id}");
    let records: Vec<PeerRecord> = values.iter().map(|value| PeerRecord::new("key", value)).collect();
    java(&one()).produce(topic, 0, &[("transactional.id", &id), ("end", end)], &records).await;
}
