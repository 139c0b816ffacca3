//! A producer of many tasks, while leaders are killed and paused, and partitions move to other brokers and back.
//!
//! Every delivery has to come to success, since none is given up before a fault is over; and the log, as the Java client
//! reads it, has what was acknowledged at the offsets that were told, once, in the order of each task, and nothing else.
//! Beside it is a producer whose deliveries are given up, and must be told what is known: `failing.rs`.
//! `OTTLA_PRODUCING` is for how many seconds faults follow each other: 30 without it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla::wire::Str;
use ottla::wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla::wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use ottla::{Client, ClientBuilder, Compression, Delivery, Record, TopicProducer};
use ottla_core::backoff::Random;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::failing::Failing;
use super::fetching::create;
use crate::support::cluster::{Faults, expect_refused_writes};
use crate::support::java::java;
use crate::support::topic;

const PARTITIONS: i32 = 12;
const TASKS: usize = 8;
/// Records that a task hands over at a time, and how often.
const BURST: usize = 10;
const PACE: Duration = Duration::from_millis(10);
/// How many another task hands over at a time, and how often at most.
const MUCH: u64 = 600;
const MUCH_PACE: Duration = Duration::from_secs(1);
/// Deliveries that a task keeps before it waits for the oldest.
const KEPT: usize = 2_000;

/// Traps P1, P2, P3 and P4: nothing that was acknowledged is lost, doubled or out of order; what is said of what was not is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_lose_nothing_and_say_what_is_known_while_brokers_fail_and_partitions_move() {
    let faults = Faults::begin().await;
    let client =
        ClientBuilder::new(faults.addresses().to_vec()).client_id("producing").build().await.unwrap();
    let name = topic("producing");
    expect_refused_writes(&name);
    // Each broker leads a third.
    let replicas: Vec<_> = (0..PARTITIONS).map(|at| (0..3).map(|nth| 1 + (at + nth) % 3).collect()).collect();
    create(&client, &name, &replicas, &[("max.message.bytes", "30000")]).await;
    faults.ready().await;
    let producer = client.producer().compression(Compression::Lz4).build().await.unwrap();
    let failing = Failing::start(&faults).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let topic = producer.topic(&name).await.unwrap();
        tasks.spawn(produce(topic, task, stop.clone()));
    }
    // Before anything goes wrong: a batch that is too large and may have been written is not split, but an error.
    let much = producer.topic(&name).await.unwrap();
    let mut first = Vec::new();
    for nth in 0..PARTITIONS as u64 {
        first.extend(produce_at_once(&much, TASKS, nth * MUCH).await);
    }
    assert!(producer.metrics().splits > 0, "no batch was too large for the topic");
    tasks.spawn(produce_much(much, TASKS, PARTITIONS as u64 * MUCH, stop.clone()));

    let seconds = std::env::var("OTTLA_PRODUCING").map_or(30, |seconds| seconds.parse().unwrap());
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) || rounds < 3 {
        let victim = 1 + rounds % 3;
        match rounds % 3 {
            0 => drop(faults.kill(victim).await),
            1 => drop(faults.pause(victim).await),
            _ => shuffle(&client, &name, victim).await,
        }
        // For as long as it takes the cluster to notice.
        tokio::time::sleep(Duration::from_secs(4)).await;
        faults.heal().await;
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged: Vec<Vec<(i64, String)>> = vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()];
    for task in std::iter::once(first).chain(tasks.join_all().await) {
        for (partition, offset, value) in task {
            acknowledged[usize::try_from(partition).unwrap()].push((offset, value));
        }
    }
    let metrics = producer.metrics();
    producer.close().await;
    println!("{rounds} rounds in {:?}: {metrics:?}", start.elapsed());
    println!("beside it: {}", failing.finish(&faults).await);
    assert_eq!((metrics.records_failed, metrics.buffered), (0, 0));

    for (partition, mut acknowledged) in (0..).zip(acknowledged) {
        acknowledged.sort();
        let log = java(faults.addresses()).consume(&name, partition, 0, None, &[]).await;
        let log: Vec<_> = log
            .into_iter()
            .map(|seen| (seen.offset, String::from_utf8(seen.value.unwrap()).unwrap()))
            .collect();
        assert!(
            log == acknowledged,
            "partition {partition}: {} in the log, {} told",
            log.len(),
            acknowledged.len()
        );
        let mut last = [None; TASKS + 1];
        for (offset, value) in &log {
            let mut parts = value.split(':');
            let (task, number) = (parts.next().unwrap(), parts.next().unwrap());
            let number: usize = number.parse().unwrap();
            let before = last[task.parse::<usize>().unwrap()].replace(number);
            assert!(
                before < Some(number),
                "partition {partition}, offset {offset}: {value} behind {before:?}"
            );
        }
    }
}

/// Hands over numbered records, to each partition in turn, until it is to stop; partition, offset and value of each come
/// back.
async fn produce(topic: TopicProducer, task: usize, stop: Arc<AtomicBool>) -> Vec<(i32, i64, String)> {
    let (mut kept, mut written) = (VecDeque::new(), Vec::new());
    let mut pace = interval(PACE);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        for _ in 0..BURST {
            let value = format!("{task}:{number}");
            let partition = i32::try_from(number % usize::try_from(PARTITIONS).unwrap()).unwrap();
            kept.push_back((topic.enqueue_to(partition, Record::new(&value)).await.unwrap(), value));
            number += 1;
        }
        while kept.len() > KEPT {
            written.extend(outcome(kept.pop_front()).await);
        }
    }
    while !kept.is_empty() {
        written.extend(outcome(kept.pop_front()).await);
    }
    written
}

/// Hands over many records at once, now and then; as [`produce`] otherwise.
async fn produce_much(
    topic: TopicProducer,
    task: usize,
    mut number: u64,
    stop: Arc<AtomicBool>,
) -> Vec<(i32, i64, String)> {
    let mut written = Vec::new();
    let mut pace = interval(MUCH_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        written.extend(produce_at_once(&topic, task, number).await);
        number += MUCH;
    }
    written
}

/// Many records of about 75 bytes to one partition, numbered from `number` on. They make batches that other threads compress, of
/// which the first ones are too large for the topic.
async fn produce_at_once(topic: &TopicProducer, task: usize, number: u64) -> Vec<(i32, i64, String)> {
    let partition = i32::try_from(number / MUCH % PARTITIONS as u64).unwrap();
    let mut kept = Vec::new();
    for number in number..number + MUCH {
        let noise = [1, 2, 3, 4].map(|nth| format!("{:016x}", Random::new(number << 3 | nth).next_u64()));
        let value = format!("{task}:{number}:{}", noise.concat());
        kept.push((topic.enqueue_to(partition, Record::new(&value)).await.unwrap(), value));
    }
    let mut written = Vec::new();
    for delivery in kept {
        written.extend(outcome(Some(delivery)).await);
    }
    written
}

async fn outcome(kept: Option<(Delivery, String)>) -> Option<(i32, i64, String)> {
    let (delivery, value) = kept?;
    let written = delivery.await.unwrap_or_else(|error| panic!("{value}: {error}"));
    Some((written.partition, written.offset.unwrap(), value))
}

/// Takes a node's replicas of half of the partitions away, gives them back in another order, and has the new preferred
/// leaders elected.
pub(super) async fn shuffle(client: &Client, name: &str, node: i32) {
    let others: Vec<i32> = (1..=3).filter(|other| *other != node).collect();
    for replicas in [others.clone(), vec![others[1], node, others[0]]] {
        let partitions = (0..PARTITIONS).step_by(2).map(|partition_index| ReassignablePartition {
            partition_index,
            replicas: Some(replicas.clone()),
            ..Default::default()
        });
        let topic = ReassignableTopic {
            name: Str::from(name),
            partitions: partitions.collect(),
            ..Default::default()
        };
        let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
        let response = client.call(request).await.unwrap();
        let refused =
            response.responses.iter().flat_map(|topic| &topic.partitions).find(|it| it.error_code.is_err());
        assert!(refused.is_none(), "{refused:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let partitions = (0..PARTITIONS).step_by(2).collect();
    let topic = TopicPartitions { topic: Str::from(name), partitions, ..Default::default() };
    let request =
        ElectLeadersRequest { election_type: 0, topic_partitions: Some(vec![topic]), ..Default::default() };
    client.call(request).await.unwrap();
}
