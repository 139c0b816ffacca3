//! What reading allocates: counted exactly, by an allocator that counts what this thread does. The cluster is in another one.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use ottla::{Client, ClientBuilder, PartitionClient, Record, StartOffset, StreamConsumerBuilder};
use ottla_fake::FakeCluster;
use ottla_fake::net::Server;
use tokio::runtime::{Builder, Runtime};

/// So many answers are counted, with a batch each.
const ANSWERS: u64 = 64;

/// What an answer costs on its way from the socket to the user, the request for it included; nothing of it is for a record.
const FOR_AN_ANSWER: u64 = 22;

async fn filled(client: &Client, topic: &str, records: usize) -> PartitionClient {
    let partition = client.partition_client(topic, 0).await.unwrap();
    for _ in 0..2 * ANSWERS {
        let batch = (0..records).map(|_| Record::new(&[7_u8; 50][..]).key("key")).collect();
        partition.produce(batch).await.unwrap();
    }
    partition
}

/// Allocations of reading so many answers of one batch each, borrowed, after as many others.
fn allocations(runtime: &Runtime, partition: PartitionClient, records: usize) -> u64 {
    // The first batch comes whole, and nothing besides.
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest).with_max_bytes(1);
    let mut stream = runtime.block_on(async { builder.build().unwrap() });
    let mut read = |count: u64| {
        runtime.block_on(async {
            let mut bytes = 0;
            for _ in 0..count {
                let batch = stream.next_batch().await.unwrap().unwrap();
                bytes += batch.iter().map(|record| record.value.unwrap().len()).sum::<usize>();
            }
            assert_eq!(bytes as u64, count * records as u64 * 50);
        });
    };
    read(ANSWERS);
    allocation_counter::measure(|| read(ANSWERS)).count_total
}

/// Nothing for a record: what is allocated is for the answer.
#[test]
fn a_borrowed_record_costs_no_allocation_and_an_answer_a_few() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = {
        let _inside = servers.enter();
        Server::start(FakeCluster::builder().build_now()).unwrap()
    };
    for topic in ["few", "many"] {
        server.control(|cluster, now| cluster.create_topic(now, topic, 1, 1)).unwrap();
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(ClientBuilder::new(server.bootstrap()).build()).unwrap();
    let counted = [("few", 2), ("many", 200)].map(|(topic, records)| {
        let partition = runtime.block_on(filled(&client, topic, records));
        allocations(&runtime, partition, records)
    });
    assert_eq!(
        counted,
        [ANSWERS * FOR_AN_ANSWER; 2],
        "for {ANSWERS} answers with 2 and with 200 records each"
    );
    drop(client);
    drop(server);
}
