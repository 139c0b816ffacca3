//! Streams that read on while leaders are killed and paused, partitions move, and replicas lead that lack what was read.
//!
//! ```text
//! safe     12 partitions, three replicas, two of them in sync at least: nothing that was read is lost
//! unclean   3 partitions, two replicas, one will do: what an election takes is reported, and the new log followed
//! ```
//!
//! Two streams read both topics, one record by record from leaders, the other one batch by batch from replicas near it. What each
//! has read, without what it was told is gone, is what the Java client finds in the log in the end. `OTTLA_FETCHING` is for how
//! many seconds faults follow each other: 60 without it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ottla::wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use ottla::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponsePartition};
use ottla::{
    Client, ClientBuilder, Compression, Delivery, Error, ErrorCode, OffsetAt, PartitionClient, Record,
    RecordStream, StartOffset, TopicProducer, Truncation,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::producing::shuffle;
use crate::support::cluster::{Faults, eventually, expect_refused_writes, three};
use crate::support::java::java;
use crate::support::proxy::Proxy;
use crate::support::raw::exchange;
use crate::support::topic;
use crate::three::near::fetched_by;
use crate::world::{SOON, read, value};

const SAFE: i32 = 12;
const UNCLEAN: i32 = 3;
const TASKS: usize = 4;
/// Records that a task hands over at a time, and how often.
const BURST: usize = 5;
const PACE: Duration = Duration::from_millis(10);
/// Deliveries that a task keeps before it waits for the oldest.
const KEPT: usize = 1_000;
/// No stream may be silent for longer, although two nodes of three are dead for a while, and one of them looks through its logs
/// before it serves.
const SILENCE: Duration = Duration::from_secs(120);

/// Trap C9: a leader without what was read: the truncation is reported, with the epoch that was read and the one that leads now,
/// and what the new log has instead comes next, from leaders and from followers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclean_election_is_reported_with_both_epochs_and_the_new_log_followed() {
    let faults = Faults::begin().await;
    let client = ClientBuilder::new(faults.addresses().to_vec()).build().await.unwrap();
    let name = topic("truncated");
    expect_refused_writes(&name);
    create(&client, &name, &[vec![1, 2]], &UNCLEANLY).await;
    faults.ready().await;
    let writer = client.partition_client(&name, 0).await.unwrap();
    let mut streams = [client.stream(), client.stream().rack("rack-1"), client.stream().rack("rack-2")]
        .map(|stream| stream.max_wait(Duration::from_millis(100)).build().unwrap());
    for stream in &mut streams {
        stream.add(&name, 0, StartOffset::Earliest).await.unwrap();
    }

    write(&writer, &["both-0", "both-1", "both-2"]).await;
    expect(&mut streams, &[(0, "both-0"), (1, "both-1"), (2, "both-2")]).await;
    faults.kill(2).await;
    let before = wait_for(&client, &name, 0, |row| row.leader_id == 1 && row.isr_nodes == [1]).await;
    write(&writer, &["lost-3", "lost-4"]).await;
    expect(&mut streams, &[(3, "lost-3"), (4, "lost-4")]).await;
    let after = replace(&faults, &client, &name, 0, (1, 2)).await;
    let successor = ClientBuilder::new(faults.addresses().to_vec()).build().await.unwrap();
    write(&successor.partition_client(&name, 0).await.unwrap(), &["new-3"]).await;

    for stream in &mut streams {
        let error = tokio::time::timeout(SILENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
        let Error::Truncated { truncation, .. } = error else { panic!("{error}") };
        println!("{truncation}");
        let epoch = before.leader_epoch;
        let expected = Truncation {
            offset: 5,
            epoch,
            end_offset: 3,
            common_epoch: epoch,
            leader_epoch: after.leader_epoch,
        };
        assert_eq!(truncation, expected);
        assert!(truncation.epoch < truncation.leader_epoch);
        assert_eq!((stream.position(&name, 0), stream.metrics().truncations), (Some(3), 1));
    }
    expect(&mut streams, &[(3, "new-3")]).await;
    faults.heal().await;
    write(&writer, &["new-4"]).await;
    expect(&mut streams, &[(4, "new-4")]).await;
    let log = read(&writer, 0).await;
    assert_eq!(log.iter().map(value).collect::<Vec<_>>(), ["both-0", "both-1", "both-2", "new-3", "new-4"]);
}

/// Trap C8: a replica nearby that dies is left for the leader, and asked again when it is back in sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_near_replica_dies_goes_on_with_the_leader() {
    let faults = Faults::begin().await;
    let (proxy, name) = (Proxy::new(), topic("near"));
    let client = ClientBuilder::new(faults.addresses().to_vec()).build().await.unwrap();
    create(&client, &name, &[vec![1, 2, 3]], &[]).await;
    faults.ready().await;
    let writer = client.partition_client(&name, 0).await.unwrap();
    let client = ClientBuilder::new(faults.addresses().to_vec()).transport(proxy.transport());
    let client = client.build().await.unwrap();
    let stream = client.stream().rack("rack-2").max_wait(Duration::from_millis(100));
    let mut stream = [stream.build().unwrap()];
    stream[0].add(&name, 0, StartOffset::Earliest).await.unwrap();
    let mut written = 0;
    for (step, node) in [("at first", 2), ("killed", 1), ("healed", 2)] {
        match step {
            "killed" => drop(faults.kill(2).await),
            "healed" => faults.heal().await,
            _ => {}
        }
        let (broker, start) = (&faults.addresses()[node - 1], Instant::now());
        let mut asked = None;
        while asked.as_ref() != Some(broker) {
            assert!(start.elapsed() < SOON, "{step}: asks {asked:?}, not {broker}");
            let value = written.to_string();
            write(&writer, &[&value]).await;
            expect(&mut stream, &[(written, &value)]).await;
            written += 1;
            asked = fetched_by(&proxy).pop();
        }
        println!("{step}: node {node} after {:?}", start.elapsed());
    }
}

/// Traps C3, C8, C9 and C10: each record comes once and in order, whatever happens to brokers; only what an unclean election
/// took is missing, and the streams say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_read_every_record_while_brokers_fail_and_partitions_move() {
    let faults = Faults::begin().await;
    let load = Load::start(&faults).await;
    let seconds = std::env::var("OTTLA_FETCHING").map_or(60, |seconds| seconds.parse().unwrap());
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) || rounds < 4 {
        let victim = 1 + (rounds / 4) % 3;
        match rounds % 4 {
            0 => drop(faults.kill(victim).await),
            1 => drop(faults.pause(victim).await),
            2 => shuffle(&load.client, &load.safe, victim).await,
            _ => load.elect_uncleanly(&faults, victim - 1).await,
        }
        // For as long as it takes the cluster to notice.
        tokio::time::sleep(Duration::from_secs(4)).await;
        faults.heal().await;
        load.wait_for_all().await;
        rounds += 1;
    }
    println!("{rounds} rounds in {:?}: {}", start.elapsed(), load.finish(&faults).await);
}

/// Writers of two topics, and two streams that read them.
struct Load {
    client: Client,
    safe: String,
    unclean: String,
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<()>>,
    views: [Arc<View>; 2],
    readers: Vec<JoinHandle<()>>,
    ends: watch::Sender<Option<Ends>>,
}

/// Where the log of each partition ends when nobody writes any more.
type Ends = BTreeMap<(String, i32), usize>;

impl Load {
    async fn start(faults: &Faults) -> Self {
        let client =
            ClientBuilder::new(faults.addresses().to_vec()).client_id("fetching").build().await.unwrap();
        let (safe, unclean) = (topic("fetching-safe"), topic("fetching-unclean"));
        for name in [&safe, &unclean] {
            expect_refused_writes(name);
        }
        client.controller_client().await.unwrap().create_topic(&safe, SAFE, 3, 10_000).await.unwrap();
        create(&client, &unclean, &[vec![1, 2], vec![2, 3], vec![3, 1]], &UNCLEANLY).await;
        faults.ready().await;

        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut writers = Vec::new();
        for (name, partitions) in [(&safe, SAFE), (&unclean, UNCLEAN)] {
            let producer = client.producer().compression(Compression::Lz4).build().await.unwrap();
            for task in 0..TASKS {
                let topic = producer.topic(name).await.unwrap();
                let failed = (*name == unclean).then(|| failed.clone());
                writers.push(tokio::spawn(produce(topic, partitions, task, stop.clone(), failed)));
            }
        }
        let (ends, ended) = watch::channel(None);
        let mut readers = Vec::new();
        let views = [Arc::<View>::default(), Arc::default()];
        let streams = [client.stream(), client.stream().rack("rack-1")];
        for ((stream, view), way) in streams.into_iter().zip(&views).zip([Way::Records, Way::Batches]) {
            let mut stream = stream.max_wait(Duration::from_millis(200)).build().unwrap();
            for (name, partitions) in [(&safe, SAFE), (&unclean, UNCLEAN)] {
                for partition in 0..partitions {
                    stream.add(name, partition, StartOffset::Earliest).await.unwrap();
                }
            }
            readers.push(tokio::spawn(follow(stream, way, view.clone(), ended.clone())));
        }
        Self { client, safe, unclean, stop, failed, writers, views, readers, ends }
    }

    /// Has the follower of a partition lead that lacks what both streams have read, and waits until they have said so.
    async fn elect_uncleanly(&self, faults: &Faults, partition: i32) {
        let name = &self.unclean;
        let row = wait_for(&self.client, name, partition, |row| row.isr_nodes.len() == 2).await;
        let leader = row.leader_id;
        let follower = *row.replica_nodes.iter().find(|node| **node != leader).unwrap();
        faults.kill(follower).await;
        let alone = |row: &MetadataResponsePartition| row.leader_id == leader && row.isr_nodes == [leader];
        let before = wait_for(&self.client, name, partition, alone).await;
        let end = self.client.partition_client(name, partition).await.unwrap();
        let end = usize::try_from(end.get_offset(OffsetAt::Latest).await.unwrap()).unwrap();
        let told = self.views.each_ref().map(|view| view.truncations(name, partition).len());
        eventually("both streams have read what is to be lost", SILENCE, async || {
            self.views.iter().all(|view| view.end(name, partition) > end)
        })
        .await;
        let after = replace(faults, &self.client, name, partition, (leader, follower)).await;
        eventually("both streams have been told", SILENCE, async || {
            self.check();
            self.views.iter().zip(told).all(|(view, told)| view.truncations(name, partition).len() > told)
        })
        .await;
        for (view, told) in self.views.iter().zip(told) {
            let told = view.truncations(name, partition)[told];
            println!("{name}-{partition}: {told}");
            assert_eq!((told.epoch, told.leader_epoch), (before.leader_epoch, after.leader_epoch));
        }
    }

    /// Waits until both streams have read of every partition what is written from now on.
    async fn wait_for_all(&self) {
        let partitions: Vec<(&str, i32)> = self.partitions().collect();
        let mut ends = Vec::new();
        for (name, partition) in partitions {
            let at = self.client.partition_client(name, partition).await.unwrap();
            ends.push((
                name,
                partition,
                usize::try_from(at.get_offset(OffsetAt::Latest).await.unwrap()).unwrap(),
            ));
        }
        eventually("every partition is read", SILENCE, async || {
            self.check();
            let is_read = |view: &Arc<View>| {
                ends.iter().all(|(name, partition, end)| view.end(name, *partition) > *end)
            };
            self.views.iter().all(is_read)
        })
        .await;
    }

    fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        let safe = (0..SAFE).map(|partition| (self.safe.as_str(), partition));
        safe.chain((0..UNCLEAN).map(|partition| (self.unclean.as_str(), partition)))
    }

    /// A task that ended before it was told to has panicked; its message is in the output.
    fn check(&self) {
        let ended = self.writers.iter().chain(&self.readers).any(JoinHandle::is_finished);
        assert!(!ended, "a writer or a stream has failed");
    }

    /// Ends the load, and compares what the streams have read with what the Java client finds.
    async fn finish(mut self, faults: &Faults) -> String {
        self.stop.store(true, Ordering::Relaxed);
        for writer in std::mem::take(&mut self.writers) {
            writer.await.unwrap();
        }
        let mut ends = Ends::new();
        for (name, partition) in self.partitions() {
            let at = self.client.partition_client(name, partition).await.unwrap();
            let end = usize::try_from(at.get_offset(OffsetAt::Latest).await.unwrap()).unwrap();
            ends.insert((name.to_owned(), partition), end);
        }
        self.ends.send(Some(ends.clone())).unwrap();
        for reader in std::mem::take(&mut self.readers) {
            reader.await.unwrap();
        }
        let (mut records, mut truncations, mut lost) = (0, 0, 0);
        for (name, partition) in self.partitions() {
            let (epochs, values) = log(faults, name, partition, ends[&(name.to_owned(), partition)]).await;
            records += values.len();
            if name == self.safe {
                in_order(partition, &values);
            }
            for view in &self.views {
                let (read, told) = (view.read(name, partition), view.truncations(name, partition));
                let (count, found) = (read.len(), values.len());
                assert!(read == values, "{name}-{partition}: {count} read, {found} in the log, or others");
                assert!(name != self.safe || told.is_empty(), "{told:?}");
                truncations += told.len();
                lost += told.iter().map(|told| told.offset - told.end_offset).sum::<i64>();
                for (told, later) in told.iter().zip(1..) {
                    let is_last = told.end_offset < view.cut_since(name, partition, later);
                    let at = |offset: i64| epochs.get(usize::try_from(offset).ok()?).copied();
                    let has = (at(told.end_offset - 1), at(told.end_offset));
                    let (common, epoch) = (Some(told.common_epoch), Some(told.epoch));
                    assert!(!is_last || has.0 <= common && has.1 > epoch, "{told}: the log has {has:?}");
                }
            }
        }
        let failed = self.failed.load(Ordering::Relaxed);
        format!(
            "{records} records are in the log, and each stream has them; {truncations} truncations told took {lost}; \
             {failed} deliveries of the topic that may lose records failed"
        )
    }
}

/// The leader epoch and the value of each record in a log, up to its end.
async fn log(faults: &Faults, name: &str, partition: i32, end: usize) -> (Vec<i32>, Vec<u64>) {
    const PIECE: usize = 100_000;
    let (mut epochs, mut values) = (Vec::new(), Vec::new());
    while values.len() < end {
        let (from, to) = (values.len(), (values.len() + PIECE).min(end));
        let [first, last] = [from, to].map(|offset| i64::try_from(offset).unwrap());
        let found = java(faults.addresses()).consume(name, partition, first, Some(last), &[]).await;
        assert!(found.iter().map(|seen| seen.offset).eq(first..last), "{name}-{partition} has holes");
        epochs.extend(found.iter().map(|seen| seen.leader_epoch));
        values.extend(found.iter().map(|seen| number(seen.value.as_deref().unwrap())));
    }
    (epochs, values)
}

/// The values of each task come in the order in which it wrote them, none twice.
fn in_order(partition: i32, values: &[u64]) {
    let mut last = [None; TASKS];
    for (offset, value) in values.iter().enumerate() {
        let before = last[usize::try_from(value >> 48).unwrap()].replace(*value);
        assert!(before < Some(*value), "partition {partition}, offset {offset}: {value} behind {before:?}");
    }
}

/// What a stream has read and not been told to be gone, by partition: the value of each offset.
#[derive(Debug, Default)]
struct View(Mutex<BTreeMap<(String, i32), Seen>>);

#[derive(Debug, Default)]
struct Seen {
    values: Vec<u64>,
    truncations: Vec<Truncation>,
}

impl View {
    fn push(&self, topic: &str, partition: i32, offset: i64, value: &[u8]) {
        self.with(topic, partition, |seen| {
            let expected = i64::try_from(seen.values.len()).unwrap();
            assert_eq!(offset, expected, "{topic}-{partition}: each record once, and in order");
            seen.values.push(number(value));
        });
    }

    fn truncate(&self, topic: &str, partition: i32, truncation: Truncation) {
        self.with(topic, partition, |seen| {
            let read = i64::try_from(seen.values.len()).unwrap();
            let Truncation { offset, epoch, end_offset, common_epoch, leader_epoch } = truncation;
            assert!(offset == read && end_offset < read, "{topic}-{partition}, read to {read}: {truncation}");
            assert!(common_epoch <= epoch && epoch < leader_epoch, "{topic}-{partition}: {truncation}");
            seen.values.truncate(usize::try_from(end_offset).unwrap());
            seen.truncations.push(truncation);
        });
    }

    fn end(&self, topic: &str, partition: i32) -> usize {
        self.with(topic, partition, |seen| seen.values.len())
    }

    fn read(&self, topic: &str, partition: i32) -> Vec<u64> {
        self.with(topic, partition, |seen| seen.values.clone())
    }

    fn truncations(&self, topic: &str, partition: i32) -> Vec<Truncation> {
        self.with(topic, partition, |seen| seen.truncations.clone())
    }

    /// The first offset that truncations cut, from this one of the partition's on.
    fn cut_since(&self, topic: &str, partition: i32, later: usize) -> i64 {
        let told = self.truncations(topic, partition);
        told[later..].iter().map(|told| told.end_offset).min().unwrap_or(i64::MAX)
    }

    fn with<T>(&self, topic: &str, partition: i32, look: impl FnOnce(&mut Seen) -> T) -> T {
        let mut partitions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(partitions.entry((topic.to_owned(), partition)).or_default())
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Records,
    Batches,
}

/// Reads until the ends that it is told.
async fn follow(
    mut stream: RecordStream,
    way: Way,
    view: Arc<View>,
    mut ends: watch::Receiver<Option<Ends>>,
) {
    let has_all =
        |ends: &Ends| ends.iter().all(|((topic, partition), end)| view.end(topic, *partition) >= *end);
    while !ends.borrow_and_update().as_ref().is_some_and(has_all) {
        let next = tokio::time::timeout(SILENCE, advance(&mut stream, way, &view));
        tokio::select! {
            next = next => next.unwrap_or_else(|_| panic!("{way:?}: nothing for {SILENCE:?}")),
            changed = ends.changed() => changed.unwrap(),
        }
    }
    println!("{way:?}: {:?}", stream.metrics().fetches);
}

/// The next record, the next batch, or the next thing that went wrong.
async fn advance(stream: &mut RecordStream, way: Way, view: &View) {
    let done = match way {
        Way::Records => stream.next().await.expect("no partition waits for a seek").map(|it| {
            view.push(&it.topic, it.partition, it.record.offset, it.record.value.as_deref().unwrap());
        }),
        Way::Batches => stream.next_batch().await.map(|batch| {
            let batch = batch.expect("no partition waits for a seek");
            for record in &batch {
                view.push(batch.topic(), batch.partition(), record.offset, record.value.unwrap());
            }
        }),
    };
    match done {
        Ok(()) => {}
        Err(Error::Truncated { topic, partition, truncation }) => {
            view.truncate(&topic, partition, truncation);
        }
        Err(error) => panic!("{way:?}: {error}"),
    }
}

/// Hands over numbered records, to each partition in turn, until it is to stop. They have to be written, unless failures are
/// counted.
async fn produce(
    topic: TopicProducer,
    partitions: i32,
    task: usize,
    stop: Arc<AtomicBool>,
    failed: Option<Arc<AtomicUsize>>,
) {
    let (mut kept, mut pace, mut number) = (VecDeque::new(), interval(PACE), 0);
    loop {
        let stops = stop.load(Ordering::Relaxed);
        while kept.len() > if stops { 0 } else { KEPT } {
            let delivery: Delivery = kept.pop_front().expect("there are some");
            match (delivery.await, &failed) {
                (Ok(_), _) => {}
                (Err(_), Some(failed)) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                (Err(error), None) => panic!("{error}"),
            }
        }
        if stops {
            return;
        }
        pace.tick().await;
        for _ in 0..BURST {
            let value = format!("{task}:{number}");
            let partition = number % partitions;
            kept.push_back(topic.enqueue_to(partition, Record::new(&value)).await.unwrap());
            number += 1;
        }
    }
}

/// What `produce` wrote, as one number that grows with those of its task.
fn number(value: &[u8]) -> u64 {
    let (task, number) = std::str::from_utf8(value).unwrap().split_once(':').unwrap();
    task.parse::<u64>().unwrap() << 48 | number.parse::<u64>().unwrap()
}

/// A topic whose partitions have these replicas.
pub(super) async fn create(client: &Client, name: &str, replicas: &[Vec<i32>], configs: &[(&str, &str)]) {
    let assignments = (0..).zip(replicas).map(|(partition_index, replicas)| CreatableReplicaAssignment {
        partition_index,
        broker_ids: replicas.clone(),
        ..Default::default()
    });
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        configs: configs.collect(),
        ..Default::default()
    };
    let created = client.call(CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
    assert_eq!(created.unwrap().topics[0].error_code, ErrorCode::NONE);
    // A broker that has not heard of it yet would tell whoever asks that there is none.
    let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics), ..Default::default() };
    for address in three() {
        eventually("every broker knows the topic", SOON, async || {
            exchange(&address, &request, 12).await.unwrap().topics[0].error_code.is_none()
        })
        .await;
    }
}

/// Kills the leader, which is the only replica in sync, and has the other one lead, which is dead so far.
async fn replace(
    faults: &Faults,
    client: &Client,
    name: &str,
    partition: i32,
    (leader, other): (i32, i32),
) -> MetadataResponsePartition {
    faults.kill(leader).await;
    faults.restart(other).await;
    let partitions =
        TopicPartitions { topic: name.into(), partitions: vec![partition], ..Default::default() };
    let request = ElectLeadersRequest {
        election_type: 1,
        topic_partitions: Some(vec![partitions]),
        ..Default::default()
    };
    // It may have been elected by itself already, or not be known to the controller yet.
    eventually("an election", SILENCE, async || {
        drop(client.call(request.clone()).await);
        row(client, name, partition).await.is_some_and(|row| row.leader_id == other)
    })
    .await;
    wait_for(client, name, partition, |row| row.leader_id == other).await
}

/// What a broker says of a partition, as soon as it holds.
async fn wait_for(
    client: &Client,
    name: &str,
    partition: i32,
    holds: impl Fn(&MetadataResponsePartition) -> bool,
) -> MetadataResponsePartition {
    let found = RefCell::new(None);
    eventually("a partition is as expected", SOON, async || {
        let row = row(client, name, partition).await.filter(&holds);
        found.replace(row);
        found.borrow().is_some()
    })
    .await;
    found.into_inner().expect("it has come true")
}

async fn row(client: &Client, name: &str, partition: i32) -> Option<MetadataResponsePartition> {
    let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
    let known = client.call(MetadataRequest { topics: Some(topics), ..Default::default() }).await.ok()?;
    known.topics[0].partitions.iter().find(|row| row.partition_index == partition).cloned()
}

pub(super) async fn write(partition: &PartitionClient, values: &[&str]) {
    partition.produce(values.iter().map(|value| Record::new(*value)).collect()).await.unwrap();
}

pub(super) async fn expect(streams: &mut [RecordStream], expected: &[(i64, &str)]) {
    for stream in streams {
        for expected in expected {
            let next = tokio::time::timeout(SILENCE, stream.next()).await.unwrap().unwrap().unwrap();
            assert_eq!((next.record.offset, value(&next.record)), *expected);
        }
    }
}

/// A leader may lack what others have.
const UNCLEANLY: [(&str, &str); 2] =
    [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
