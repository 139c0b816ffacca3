//! What reading allocates: counted exactly, by an allocator that counts what this thread does. The cluster is in another one.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::time::Duration;

use bytes::BytesMut;
use ottla::{
    Client, ClientBuilder, Compression, PartitionClient, Record, StartOffset, StreamConsumerBuilder,
};
use ottla_fake::net::Server;
use ottla_fake::{Answer, ApiKey, FakeCluster, Reaction, Rule};
use ottla_wire::RecordSet;
use ottla_wire::records::{BATCH_HEADER_LEN, batches};
use tokio::runtime::{Builder, Runtime};

/// So many answers are counted, with a batch each.
const ANSWERS: u64 = 64;

/// What an answer costs on its way from the socket to the user, the request for it included; nothing of it is for a record.
const FOR_AN_ANSWER: u64 = 19;

/// What lies in a topic: so many records of so many bytes in a batch.
struct Kind {
    topic: &'static str,
    records: usize,
    size: usize,
    codec: Compression,
}

impl Kind {
    async fn fill(&self, client: &Client, partition: i32) -> PartitionClient {
        let partition = client.partition_client(self.topic, partition).await.unwrap();
        for _ in 0..2 * ANSWERS {
            let record = || Record::new(vec![7_u8; self.size]).key("key");
            let batch = (0..self.records).map(|_| record()).collect();
            partition.produce_with(batch, self.codec).await.unwrap();
        }
        partition
    }
}

/// What is copied as it lies there counts no holders: a record that is lent costs no atomic operation.
fn lent<T: Copy>(record: T) -> T {
    record
}

/// Allocations of reading so many answers of one batch each, borrowed, after as many others.
fn allocations(runtime: &Runtime, partition: PartitionClient, kind: &Kind) -> u64 {
    // The first batch comes whole, and nothing besides.
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest).with_max_bytes(1);
    let mut stream = runtime.block_on(async { builder.build().unwrap() });
    let mut read = |count: u64| {
        runtime.block_on(async {
            let mut bytes = 0;
            for _ in 0..count {
                let batch = stream.next_batch().await.unwrap().unwrap();
                bytes += batch.iter().map(|record| lent(record).value.unwrap().len()).sum::<usize>();
            }
            assert_eq!(bytes, usize::try_from(count).unwrap() * kind.records * kind.size);
        });
    };
    read(ANSWERS);
    allocation_counter::measure(|| read(ANSWERS)).count_total
}

/// A cluster in another thread, and a client for this one's runtime.
struct World {
    client: Client,
    server: Server,
    runtime: Runtime,
    _servers: Runtime,
}

impl World {
    fn new() -> Self {
        let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = {
            let _inside = servers.enter();
            Server::start(FakeCluster::builder().build_now()).unwrap()
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(ClientBuilder::new(server.bootstrap()).build()).unwrap();
        Self { client, server, runtime, _servers: servers }
    }

    fn create(&self, topic: &str, partitions: i32) {
        self.server.control(|cluster, now| cluster.create_topic(now, topic, partitions, 1)).unwrap();
    }
}

/// Nothing for a record: what is allocated is for the answer.
#[test]
fn a_borrowed_record_costs_no_allocation_and_an_answer_a_few() {
    let world = World::new();
    let kinds = [
        Kind { topic: "few", records: 2, size: 50, codec: Compression::None },
        Kind { topic: "many", records: 200, size: 50, codec: Compression::None },
        Kind { topic: "large", records: 200, size: 2_000, codec: Compression::None },
        Kind { topic: "lz4-few", records: 2, size: 50, codec: Compression::Lz4 },
        Kind { topic: "lz4-many", records: 200, size: 50, codec: Compression::Lz4 },
    ];
    let counted = kinds.map(|kind| {
        world.create(kind.topic, 1);
        let partition = world.runtime.block_on(kind.fill(&world.client, 0));
        allocations(&world.runtime, partition, &kind)
    });
    let [few, many, large, lz4_few, lz4_many] = counted;
    assert_eq!(
        [few, many],
        [ANSWERS * FOR_AN_ANSWER; 2],
        "for {ANSWERS} answers with 2 and with 200 records each"
    );
    // And the records of a batch, decompressed. Once in a while, on a busy machine, there are three or four more in all.
    assert_eq!([lz4_few, lz4_many].map(|counted| counted / ANSWERS), [FOR_AN_ANSWER + 1; 2]);
    // It has a buffer of its own, which is not made anew for each, but for a few whose forerunner is still held.
    assert_eq!(large / ANSWERS, FOR_AN_ANSWER - 1, "{large} allocations for {ANSWERS} large answers");
}

/// An answer that has parts of several partitions costs one or two more than one that has one, however many they are.
#[test]
fn a_part_of_an_answer_costs_no_allocation_of_its_own() {
    const PARTITIONS: i32 = 4;
    let world = World::new();
    // One for all parts, and one where the buffer grows once on the way.
    for (topic, records, more) in [("few", 2, 1), ("many", 200, 2)] {
        world.create(topic, PARTITIONS);
        let kind = Kind { topic, records, size: 50, codec: Compression::None };
        world.runtime.block_on(async {
            for partition in 0..PARTITIONS {
                kind.fill(&world.client, partition).await;
            }
        });
        let mut stream = world.runtime.block_on(async {
            // As much as a batch of each partition.
            let bytes = i32::try_from(BATCH_HEADER_LEN + records * (kind.size + 12)).unwrap();
            let mut stream = world.client.stream().partition_max_bytes(bytes).build().unwrap();
            for partition in 0..PARTITIONS {
                stream.add(topic, partition, StartOffset::Earliest).await.unwrap();
            }
            stream
        });
        let mut read = || {
            world.runtime.block_on(async {
                for _ in 0..ANSWERS * PARTITIONS as u64 {
                    assert_eq!(stream.next_batch().await.unwrap().unwrap().iter().count(), records);
                }
            });
        };
        let requests = || world.server.control(|cluster, _| cluster.counters().requests(ApiKey::FETCH));
        read();
        let before = requests();
        let counted = allocation_counter::measure(&mut read).count_total;
        // One may have been under way at the beginning, and one is at the end.
        let asked = requests() - before;
        assert!(asked.abs_diff(ANSWERS) <= 2, "{asked} answers of {PARTITIONS} batches");
        // On a busy machine the last of them may be a part of it, or what came before the first.
        let (of_each, spare) = (FOR_AN_ANSWER + more, 2 * FOR_AN_ANSWER);
        let off = counted.abs_diff(ANSWERS * of_each);
        assert!(off <= spare, "{topic}: {counted} allocations for {ANSWERS} answers, not {of_each} each");
    }
}

/// Trap C13: whatever buffers answers lie in, of whatever lengths, also where they have become smaller, and of however many parts: no
/// more memory is taken than the budget, one answer that is larger than what was left of it or a buffer for the next one, a quarter
/// longer, and what the client needs besides.
#[test]
fn the_memory_of_answers_is_what_the_budget_says() {
    const BUDGET: usize = 6 << 20;
    const BESIDES: usize = 128 << 10;
    let world = World::new();
    let sizes = [
        (600 << 10, 320 << 10),
        (200 << 10, 100 << 10),
        (60 << 10, 20 << 10),
        (9 << 10, 7 << 10),
        (1_000, 10),
    ];
    for (large, small, partitions) in
        sizes.map(|(large, small)| (large, small, 1)).into_iter().chain([(10, 10, 64)])
    {
        let topic = format!("of-{large}");
        world.create(&topic, partitions);
        let (first, then) = (BUDGET / (large + 600) + 2, 2 * BUDGET / (small + 600));
        let parts = partitions.unsigned_abs() as usize;
        for partition in 0..partitions {
            let partition = world.runtime.block_on(world.client.partition_client(&topic, partition)).unwrap();
            for len in [vec![large; first / parts], vec![small; then / parts]].concat() {
                world.runtime.block_on(partition.produce(vec![Record::new(vec![7; len])])).unwrap();
            }
        }
        let held = allocation_counter::measure(|| {
            world.runtime.block_on(async {
                // An answer for each batch of one partition, or for one batch of each.
                let bytes = if partitions == 1 { 1 } else { i32::try_from(BATCH_HEADER_LEN + 20).unwrap() };
                let builder = world.client.stream().prefetch_bytes(BUDGET).partition_max_bytes(bytes);
                let mut stream = builder.build().unwrap();
                for partition in 0..partitions {
                    stream.add(&topic, partition, StartOffset::Earliest).await.unwrap();
                }
                // For less than a sixteenth nobody asks, where several may be answered at once.
                let full = if partitions == 1 { BUDGET } else { BUDGET - BUDGET / 16 };
                for _ in 0..first + 4 {
                    let filled = async {
                        while stream.metrics().buffered < full as u64 {
                            tokio::task::yield_now().await;
                        }
                    };
                    let filled = tokio::time::timeout(Duration::from_secs(60), filled).await;
                    assert!(filled.is_ok(), "{} of {full} bytes", stream.metrics().buffered);
                    stream.next_batch().await.unwrap().unwrap();
                }
            });
        });
        let taken = usize::try_from(held.bytes_max).unwrap();
        let most = BUDGET + large + large / 4 + BESIDES;
        assert!(
            (BUDGET / 4 * 3..=most).contains(&taken),
            "{taken} of {most} bytes, {large} and {small} at a time"
        );
    }
}

/// Trap C13: a broker that sends more than it was asked for fills the budget, and beyond it one of its answers. What it sends of
/// partitions that nobody asked for is with its answer, or not kept.
#[test]
fn a_broker_that_sends_more_than_it_was_asked_for_fills_one_answer() {
    const BUDGET: usize = 1 << 20;
    const TIMES: usize = 20;
    let world = World::new();
    for topic in ["more", "beside"] {
        world.create(topic, 1);
    }
    let partition = world.runtime.block_on(world.client.partition_client("more", 0)).unwrap();
    for _ in 0..4 {
        world.runtime.block_on(partition.produce(vec![Record::new(vec![7; 100 << 10])])).unwrap();
    }
    // A row has its batch many times over, each where the one before ends; a CRC does not cover where a batch begins.
    let reaction = Reaction::alter(move |answer| {
        let Answer::Fetch(answer) = answer else { return };
        let Some(topic) = answer.responses.iter_mut().find(|topic| !topic.partitions.is_empty()) else {
            return;
        };
        for row in &mut topic.partitions {
            let Some(batch) = row.records.take().and_then(|records| batches(records.to_bytes()).next())
            else {
                return;
            };
            let batch = batch.unwrap();
            let (base, records) =
                (batch.header().base_offset, batch.next_offset() - batch.header().base_offset);
            let mut bytes = BytesMut::new();
            for time in 0..TIMES as i64 {
                bytes.extend_from_slice(&(base + time * records).to_be_bytes());
                bytes.extend_from_slice(&batch.bytes()[8..]);
            }
            row.records = Some(RecordSet::from(bytes.freeze()));
        }
        let mut of_nobody = topic.partitions[0].clone();
        of_nobody.partition_index = 7;
        topic.partitions.push(of_nobody);
    });
    world.server.control(|cluster, _| cluster.add_rule(Rule::new(reaction).api(ApiKey::FETCH)));
    let answer = 2 * TIMES * (100 << 10);
    let held = allocation_counter::measure(|| {
        world.runtime.block_on(async {
            let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
            let mut stream = builder.with_max_bytes(100 << 10).with_prefetch_bytes(BUDGET).build().unwrap();
            // As often as the tasks of the client might want to run.
            let mut polls = 0;
            while polls < 1_000 {
                tokio::task::yield_now().await;
                polls += usize::from(stream.metrics().buffered > 0);
            }
            let metrics = stream.metrics();
            let buffered = usize::try_from(metrics.buffered).unwrap();
            assert!((BUDGET..BUDGET + answer).contains(&buffered), "{buffered}");
            assert_eq!(metrics.fetches.in_flight, 0, "it has more than its budget");
            for offset in 0..TIMES as i64 {
                assert_eq!(stream.next().await.unwrap().unwrap().0.offset, offset);
            }
        });
    });
    // The buffer of the first answer that is so large grows with what comes, and the old one is there while it is moved.
    let most = 2 * answer;
    assert!(held.bytes_max <= most as u64, "{} of {most} bytes", held.bytes_max);
}

/// Trap C4: however many partitions are paused inside a compressed batch, one is held decompressed.
#[test]
fn a_paused_partition_holds_its_batch_as_it_came() {
    const PARTITIONS: i32 = 16;
    const RECORD: usize = 256 << 10;
    let world = World::new();
    world.create("paused", PARTITIONS);
    for partition in 0..PARTITIONS {
        world.runtime.block_on(async {
            let partition = world.client.partition_client("paused", partition).await.unwrap();
            let records = vec![Record::new(vec![0; RECORD]); 4];
            partition.produce_with(records, Compression::Zstd).await.unwrap();
        });
    }
    let held = allocation_counter::measure(|| {
        world.runtime.block_on(async {
            let mut stream = world.client.stream().build().unwrap();
            for partition in 0..PARTITIONS {
                stream.add("paused", partition, StartOffset::Earliest).await.unwrap();
            }
            for _ in 0..PARTITIONS {
                let first = stream.next().await.unwrap().unwrap();
                assert_eq!(first.record.offset, 0);
                stream.pause("paused", first.partition).unwrap();
            }
            for partition in 0..PARTITIONS {
                stream.resume("paused", partition).unwrap();
                for offset in 1..4 {
                    let item = stream.next().await.unwrap().unwrap();
                    assert_eq!((item.partition, item.record.offset), (partition, offset));
                }
            }
            let metrics = stream.metrics();
            assert_eq!(metrics.records, 4 * PARTITIONS as u64);
        });
    });
    // Besides the open one, the decoder keeps two buffers and a window.
    let most = 6 * 4 * RECORD as u64;
    assert!(held.bytes_max <= most, "{} of {most} bytes", held.bytes_max);
}

/// Trap C13: however many partitions are paused, no more is held of them than the budget says, and an answer: the answers of those
/// that would not fit are given back, and come again when they are resumed.
#[test]
fn paused_partitions_hold_no_more_than_the_budget() {
    const PARTITIONS: i32 = 24;
    const BUDGET: usize = 1 << 20;
    const ANSWER: usize = 400 << 10;
    let world = World::new();
    world.create("full", PARTITIONS);
    for partition in 0..PARTITIONS {
        world.runtime.block_on(async {
            let partition = world.client.partition_client("full", partition).await.unwrap();
            partition.produce(vec![Record::new(vec![7; ANSWER / 4]); 4]).await.unwrap();
        });
    }
    let held = allocation_counter::measure(|| {
        world.runtime.block_on(async {
            let builder = world.client.stream().prefetch_bytes(BUDGET).partition_max_bytes(1);
            let mut stream = builder.build().unwrap();
            for partition in 0..PARTITIONS {
                stream.add("full", partition, StartOffset::Earliest).await.unwrap();
            }
            for offset in [0, 1] {
                for _ in 0..PARTITIONS {
                    let item = stream.next().await.unwrap().unwrap();
                    assert_eq!(item.record.offset, offset, "partition {}", item.partition);
                    stream.pause("full", item.partition).unwrap();
                }
                (0..PARTITIONS).for_each(|partition| stream.resume("full", partition).unwrap());
            }
        });
    });
    // And a buffer for the next answer, which the last one may have left.
    let most = BUDGET + 2 * (ANSWER + ANSWER / 4) + (256 << 10);
    assert!(held.bytes_max <= most as u64, "{} of {most} bytes", held.bytes_max);
}

/// Trap C13: what is held of short answers is their own length, whatever was read beside them.
#[test]
fn short_answers_hold_no_memory_of_others() {
    const LONG: usize = 60 << 10;
    const ROUNDS: usize = 200;
    let world = World::new();
    let held = allocation_counter::measure(|| {
        world.runtime.block_on(async {
            let mut both = Vec::new();
            for topic in ["short", "long"] {
                world.create(topic, 1);
                let partition = world.client.partition_client(topic, 0).await.unwrap();
                let mut stream = world.client.stream().build().unwrap();
                stream.add(topic, 0, StartOffset::Earliest).await.unwrap();
                both.push((partition, stream));
            }
            let [(short, unread), (long, read)] = &mut both[..] else { unreachable!() };
            for round in 1..=ROUNDS {
                short.produce(vec![Record::new(&[7; 100][..])]).await.unwrap();
                while unread.metrics().buffered < 100 * round as u64 {
                    tokio::task::yield_now().await;
                }
                long.produce(vec![Record::new(&[7; LONG][..])]).await.unwrap();
                assert_eq!(read.next().await.unwrap().unwrap().record.offset, round as i64 - 1);
            }
        });
    });
    let most = ROUNDS * 4_000 + 20 * LONG;
    assert!(held.bytes_max <= most as u64, "{} of {most} bytes", held.bytes_max);
}
