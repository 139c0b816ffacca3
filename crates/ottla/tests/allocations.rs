//! What an append allocates: counted exactly, by an allocator that counts.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ottla::{ClientBuilder, Payload, Record, TopicProducer};

/// Chunks of 16 KiB that so many records of 100 B fill, with what is around them.
const fn chunks(records: u64) -> u64 {
    records * 110 / (16 * 1024) + 1
}

/// Allocations of handing over so many records, which all fit into one batch.
fn allocations(topic: &TopicProducer, value: &Payload<'_>, records: u64) -> u64 {
    let mut context = Context::from_waker(Waker::noop());
    let counted = allocation_counter::measure(|| {
        for number in 0..records {
            let record = Record { value: Some(value.clone()), ..Record::default() };
            if number % 2 == 0 {
                drop(topic.try_enqueue(record).unwrap());
                continue;
            }
            let mut enqueue = pin!(topic.enqueue(record));
            // After every MiB it lets others go first, once.
            let delivery = (0..2).find_map(|_| match enqueue.as_mut().poll(&mut context) {
                Poll::Ready(delivery) => Some(delivery),
                Poll::Pending => None,
            });
            drop(delivery.expect("there is room").unwrap());
        }
    });
    counted.count_total
}

/// Nothing for a record: what is allocated is for the batch, and for its chunks.
#[test]
fn a_record_that_is_handed_over_costs_no_allocation() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
        fake.control(|cluster, now| cluster.create_topic(now, "t", 1, 1)).unwrap();
        let client = ClientBuilder::new(fake.bootstrap()).build().await.unwrap();
        let producer = client.producer().linger(Duration::from_secs(60)).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        let bytes = Bytes::from(vec![7; 100]);
        for value in [Payload::Borrowed(&bytes), Payload::Shared(bytes.clone())] {
            for records in [1_000, 8_000] {
                topic.send(Record::new("warm")).await.unwrap();
                let counted = allocations(&topic, &value, records);
                // A chunk: its bytes, two counters of holders, and its place in a list now and then.
                let most = 12 + 4 * chunks(records);
                assert!(
                    counted <= most,
                    "{counted} allocations for {records} records of {value:?}, not {most}"
                );
                producer.flush().await;
            }
        }
        // Large ones are referenced: the list of a batch's pieces grows now and then, and that is all.
        let large = Payload::Shared(Bytes::from(vec![7; 10 * 1024]));
        for records in [20, 90] {
            topic.send(Record::new("warm")).await.unwrap();
            let counted = allocations(&topic, &large, records);
            assert!(counted <= 16, "{counted} allocations for {records} records of 10 KiB");
            producer.flush().await;
        }
    });
}
