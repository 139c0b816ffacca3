//! What producing allocates: counted exactly, by an allocator that counts what this thread does.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ottla::{ClientBuilder, Compression, Payload, Producer, Record, TopicProducer, partition_of};
use ottla_fake::net::Server;
use tokio::runtime::Builder;

/// Chunks of 16 KiB that so many records of 100 B fill, with what is around them.
const fn chunks(records: u64) -> u64 {
    records * 110 / (16 * 1024) + 1
}

/// What handing over comes to where there is room. After every MiB it lets others go first, once.
fn handed_over<F: Future>(enqueue: F) -> F::Output {
    let (mut enqueue, mut context) = (pin!(enqueue), Context::from_waker(Waker::noop()));
    let outcome = (0..2).find_map(|_| match enqueue.as_mut().poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    });
    outcome.expect("there is room")
}

/// Allocations of handing over so many records, which all fit into one batch.
fn allocations(topic: &TopicProducer, value: &Payload<'_>, records: u64) -> u64 {
    let counted = allocation_counter::measure(|| {
        for number in 0..records {
            let record = Record { value: Some(value.clone()), ..Record::default() };
            if number % 2 == 0 {
                drop(topic.try_enqueue(record).unwrap());
                continue;
            }
            drop(handed_over(topic.enqueue(record)).unwrap());
        }
    });
    counted.count_total
}

/// The same of handing over 64 at once.
fn allocations_at_once(topic: &TopicProducer, value: &Payload<'_>, records: u64) -> u64 {
    let counted = allocation_counter::measure(|| {
        for _ in 0..records / 64 {
            let values = (0..64).map(|_| Record { value: Some(value.clone()), ..Record::default() });
            let deliveries = handed_over(topic.enqueue_all(values));
            assert!(deliveries.len() == 64 && deliveries.iter().all(Result::is_ok));
        }
    });
    counted.count_total
}

/// Nothing for a record: what is allocated is for the batch, and for its chunks.
#[test]
fn a_record_that_is_handed_over_costs_no_allocation() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fake = Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
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
                topic.send(Record::new("warm")).await.unwrap();
                let counted = allocations_at_once(&topic, &value, records);
                // The list of what was handed over, and that of what comes back.
                let most = most + 2 * (records / 64);
                assert!(
                    counted <= most,
                    "{counted} allocations for {records} records, 64 at once, not {most}"
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

/// So many rounds are counted, and then twice as many, each with a batch for every partition.
const ROUNDS: u64 = 32;

/// What a batch costs from hand-over to acknowledgement, its request, the answer and a flush included, and where it shares a
/// request, less; nothing of it is for a record.
const FOR_A_BATCH: u64 = 25;

/// Longer batches are compressed in another thread, which is not counted.
const BATCH: usize = 15_000;

const PARTITIONS: i32 = 12;

struct Producing {
    producer: Producer,
    topic: TopicProducer,
}

impl Producing {
    async fn new(fake: &Server, topic: &str, compression: Compression) -> Self {
        let client = ClientBuilder::new(fake.bootstrap()).build().await.unwrap();
        let builder = client.producer().linger(Duration::from_secs(60)).batch_size(BATCH);
        let producer = builder.compression(compression).build().await.unwrap();
        let topic = producer.topic(topic).await.unwrap();
        Self { producer, topic }
    }

    /// Hands over a batch of so many records for each key, and waits until all are acknowledged; so many times.
    async fn rounds(&self, keys: &[Option<Payload<'_>>], value: &Payload<'_>, records: usize, rounds: u64) {
        for _ in 0..rounds {
            for key in keys {
                for _ in 0..records {
                    let record = Record { key: key.clone(), value: Some(value.clone()), ..Record::default() };
                    drop(self.topic.enqueue(record).await.unwrap());
                }
            }
            self.producer.flush().await;
        }
    }
}

/// Nothing for a record, whoever owns it; and for a batch the same, however many there were and whatever it has in it.
#[test]
fn an_acknowledged_batch_costs_a_few_allocations_and_its_records_none() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake = {
        let _inside = servers.enter();
        Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap()
    };
    for (topic, partitions) in [("one", 1), ("keyed", PARTITIONS)] {
        fake.control(|cluster, now| cluster.create_topic(now, topic, partitions, 1)).unwrap();
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();

    let numbers: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let key_of = |partition| numbers.iter().find(|it| partition_of(it.as_bytes(), PARTITIONS) == partition);
    let keys: Vec<_> =
        (0..PARTITIONS).map(|it| Some(Payload::Borrowed(key_of(it).unwrap().as_bytes()))).collect();
    let values = [100, 1_024].map(|size| Bytes::from(vec![7; size]));
    let borrowed: fn(&Bytes) -> Payload<'_> = |value| Payload::Borrowed(value);
    let shared: fn(&Bytes) -> Payload<'_> = |value| Payload::Shared(value.clone());
    // And what a codec allocates for a batch, which is not for its records either.
    let cases: &[(_, _, _, u64, &[_])] = &[
        ("one", borrowed, Compression::None, 0, &[None]),
        ("one", shared, Compression::None, 0, &[None]),
        ("keyed", borrowed, Compression::None, 0, &keys),
        #[cfg(feature = "gzip")]
        ("one", borrowed, Compression::Gzip, 2, &[None]),
        #[cfg(feature = "snappy")]
        ("one", borrowed, Compression::Snappy, 2, &[None]),
        #[cfg(feature = "lz4")]
        ("one", borrowed, Compression::Lz4, 2, &[None]),
        #[cfg(feature = "zstd")]
        ("one", borrowed, Compression::Zstd, 23, &[None]),
    ];
    for &(topic, payload, compression, of_codec, keys) in cases {
        let batches = ROUNDS * keys.len() as u64;
        let counted = values.each_ref().map(|value| {
            // As many as fit; one more, and the batch would leave before the others.
            let records = (BATCH - 100) / (value.len() + 15);
            let producing = runtime.block_on(Producing::new(&fake, topic, compression));
            let sent = fake.control(|cluster, _| cluster.accepted().len());
            let run = |rounds| runtime.block_on(producing.rounds(keys, &payload(value), records, rounds));
            run(ROUNDS);
            let once = allocation_counter::measure(|| run(ROUNDS)).count_total;
            let twice = allocation_counter::measure(|| run(2 * ROUNDS)).count_total;
            let sent = fake.control(|cluster, _| cluster.accepted().len()) - sent;
            assert_eq!(sent as u64, 4 * batches, "{topic}, {compression}: a batch for each key and round");
            assert!(
                once <= (FOR_A_BATCH + of_codec) * batches + 1 && twice <= 2 * once,
                "{topic}, {compression}, {} bytes: {once} and {twice} allocations for {batches} and twice as many batches",
                value.len()
            );
            once
        });
        let [many, few] = counted;
        // A batch may take one chunk more.
        assert!(
            many.abs_diff(few) <= batches * of_codec.max(1),
            "{topic}, {compression}: {many} and {few} allocations for {batches} batches of many and of few records"
        );
    }
}
