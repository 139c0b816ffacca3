//! Brokers that die and brokers that fall silent, while 24 partitions are written and read.
//!
//! ```text
//! 24 writers: one record after another, each with its number --> 3 nodes, 3 replicas, 2 in sync at least
//! 24 readers: each behind its writer                         <--
//! a fault: SIGKILL or SIGSTOP to the leader of some of them; all in sync again before the next one
//! ```
//!
//! A partition that moved is back when a record is acknowledged, and one is read, whose sending began after the signal.
//! `OTTLA_FAULTS` is how many faults of each kind there are; five without it.

mod failing;
mod fetching;
mod producing;
mod sessions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla::{Client, ClientBuilder, PartitionClient, Record};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::support::cluster::{Faults, eventually};
use crate::support::java::java;
use crate::support::topic;
use crate::world::value;

const PARTITIONS: i32 = 24;
const ROUNDS: usize = 5;
/// A writer's pace: load enough, and little enough for the brokers to have the processors.
const PACE: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(20);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);
/// How much longer than its own time-out a call may take.
const GRACE: Duration = Duration::from_secs(1);
/// No partition may be away for longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Traps N13, P1 and P2: a leader that is gone at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_a_killed_leader_move_within_seconds_and_lose_nothing() {
    survive(Signal::Kill, Duration::from_secs(5)).await;
}

/// Traps N13, P1 and P2: a leader that keeps its sockets open, says nothing, and answers late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_a_paused_leader_move_within_seconds_and_lose_nothing() {
    survive(Signal::Pause, Duration::from_secs(7)).await;
}

/// Trap N3: a call whose time-out is shorter than the fault ends in time, whatever it was, and says what is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_to_a_paused_leader_ends_within_its_own_time() {
    end_in_time(Signal::Pause).await;
}

/// Trap N3: as with a leader that is paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_to_a_killed_leader_ends_within_its_own_time() {
    end_in_time(Signal::Kill).await;
}

/// Hits the node that leads a partition and is the controller as well, and has every call under way then.
async fn end_in_time(signal: Signal) {
    const SHORT: Duration = Duration::from_secs(1);
    let faults = Faults::begin().await;
    let client =
        ClientBuilder::new(faults.addresses().to_vec()).request_timeout(SHORT).build().await.unwrap();
    let name = topic("short");
    let controller = client.controller_client().await.unwrap();
    controller.create_topic(&name, 3, 3, 10_000).await.unwrap();
    faults.ready().await;
    let victim = java(faults.addresses()).controller().await;
    let index = led_by(&faults, &name, victim).await;
    let partition =
        client.partition(&name, index).timeout(SHORT).delivery_timeout(SHORT).build().await.unwrap();
    partition.produce(vec![Record::new("before")]).await.unwrap();

    match signal {
        Signal::Kill => faults.kill(victim).await,
        Signal::Pause => faults.pause(victim).await,
    };
    let mut calls: JoinSet<(&str, Duration, Duration)> = JoinSet::new();
    let call = partition.clone();
    calls.spawn(timed("produce", SHORT, async move {
        if let Err(error) = call.produce(vec![Record::new("during")]).await {
            let error = error.to_string();
            let is_known = signal == Signal::Kill && error.contains("not written");
            assert!(is_known || error.contains("may have been written"), "{error}");
        }
    }));
    let call = partition.clone();
    calls.spawn(timed("fetch_records", SHORT + POLL, async move {
        drop(call.fetch_records(1, 1..1_000, 500).await);
    }));
    let call = partition.clone();
    calls.spawn(timed(
        "get_offset",
        SHORT,
        async move { drop(call.get_offset(ottla::OffsetAt::Latest).await) },
    ));
    let call = partition.clone();
    calls.spawn(timed("delete_records", 2 * SHORT, async move { drop(call.delete_records(1, 1_000).await) }));
    let call = client.clone();
    calls.spawn(timed("list_topics", SHORT, async move { drop(call.list_topics().await) }));
    let call = client.clone();
    calls.spawn(timed("partition_client", SHORT, async move {
        drop(call.partition_client("not there", 0).await);
    }));
    let other = topic("short");
    calls.spawn(timed("create_topic", 2 * SHORT, async move {
        drop(controller.create_topic(&other, 1, 3, 1_000).await);
    }));
    for (call, took, limit) in calls.join_all().await {
        println!("{signal:?}: {call}: {took:?}");
        assert!(took <= limit + GRACE, "{call} took {took:?} of {limit:?}");
    }
    faults.heal().await;
}

/// One of the three partitions of `topic` that this node leads.
async fn led_by(faults: &Faults, topic: &str, node: i32) -> i32 {
    for index in 0..3 {
        if java(faults.addresses()).leader(topic, index).await == node {
            return index;
        }
    }
    panic!("node {node} leads no partition of {topic}");
}

async fn timed(
    call: &'static str,
    limit: Duration,
    future: impl Future<Output = ()>,
) -> (&'static str, Duration, Duration) {
    let start = Instant::now();
    future.await;
    (call, start.elapsed(), limit)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Signal {
    Kill,
    Pause,
}

async fn survive(signal: Signal, median_limit: Duration) {
    let faults = Faults::begin().await;
    let rounds = std::env::var("OTTLA_FAULTS").map_or(ROUNDS, |count| count.parse().unwrap());
    let load = Load::start(&faults).await;
    load.wait_for_all("before the first fault").await;
    let (mut acknowledged, mut fetched) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let controller = java(faults.addresses()).controller().await;
        // The first fault hits the active controller, the others who leads most of the rest.
        let victim = if round == 0 { controller } else { load.busiest_but(controller).await };
        let moved = load.led_by(victim).await;
        assert!(!moved.is_empty(), "node {victim} leads nothing");
        let sent = match signal {
            Signal::Kill => faults.kill(victim).await,
            Signal::Pause => faults.pause(victim).await,
        };
        let back = load.back(&moved).await;
        let times =
            |of: fn(&Back) -> Instant| back.iter().map(move |back| of(back) - sent).collect::<Vec<_>>();
        let (acks, fetches) = (times(|back| back.acknowledged), times(|back| back.fetched));
        println!(
            "{signal:?} {round}: node {victim}{} led {} partitions; acknowledged again {}, fetched again {}",
            if victim == controller { " (the controller)" } else { "" },
            moved.len(),
            summary(&acks),
            summary(&fetches),
        );
        acknowledged.extend(acks);
        fetched.extend(fetches);
        faults.heal().await;
        load.wait_for_all("after a fault").await;
    }
    let slowest = load.finish(&faults).await;
    println!("{signal:?}: acknowledged again {}", summary(&acknowledged));
    println!("{signal:?}: fetched again {}", summary(&fetched));
    println!("{signal:?}: longest produce {:?}, longest fetch {:?}", slowest.produce, slowest.fetch);
    assert!(
        slowest.produce <= DELIVERY_TIMEOUT + GRACE && slowest.fetch <= TIMEOUT + POLL + GRACE,
        "{slowest:?}"
    );
    for times in [acknowledged, fetched] {
        // Fewer rounds leave too much weight with the controller, whose own election comes first.
        assert!(rounds < ROUNDS || median(&times) < median_limit, "{}", summary(&times));
        assert!(times.iter().max() < Some(&LONGEST), "{}", summary(&times));
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn summary(times: &[Duration]) -> String {
    let longest = times.iter().max().copied().unwrap_or_default();
    format!("after {:.2?} (median of {}), {longest:.2?} at the longest", median(times), times.len())
}

/// Writers and readers of one topic, and what they have seen.
struct Load {
    client: Client,
    topic: String,
    tracks: Vec<Arc<Mutex<Track>>>,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

/// One partition's story. Records are numbered from 0, and the number is the value.
#[derive(Debug, Default, Clone)]
struct Track {
    /// How many records were given to the client.
    begun: usize,
    /// When each was acknowledged, and its offset.
    acknowledged: Vec<(Instant, i64)>,
    /// When each was read, and its offset.
    fetched: Vec<(Instant, i64)>,
    stop: bool,
    slowest: Slowest,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slowest {
    produce: Duration,
    fetch: Duration,
}

/// When a partition was served again.
#[derive(Debug)]
struct Back {
    acknowledged: Instant,
    fetched: Instant,
}

impl Load {
    async fn start(faults: &Faults) -> Self {
        let client =
            ClientBuilder::new(faults.addresses().to_vec()).client_id("faults").build().await.unwrap();
        let topic = topic("faults");
        client.controller_client().await.unwrap().create_topic(&topic, PARTITIONS, 3, 10_000).await.unwrap();
        faults.ready().await;
        let mut load = Self { client, topic, tracks: Vec::new(), writers: Vec::new(), readers: Vec::new() };
        for index in 0..PARTITIONS {
            let builder = load.client.partition(&load.topic, index);
            let partition =
                builder.timeout(TIMEOUT).delivery_timeout(DELIVERY_TIMEOUT).build().await.unwrap();
            let track = Arc::new(Mutex::new(Track::default()));
            load.writers.push(tokio::spawn(write(partition.clone(), Arc::clone(&track))));
            load.readers.push(tokio::spawn(read(partition, Arc::clone(&track))));
            load.tracks.push(track);
        }
        load
    }

    /// The partitions that each node leads, as the cluster says now.
    async fn leaders(&self) -> BTreeMap<i32, Vec<usize>> {
        let topics = self.client.list_topics().await.unwrap();
        let topic = topics.iter().find(|topic| *topic.name == *self.topic).expect("the topic is there");
        let mut leaders: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for partition in &topic.partitions {
            let leader = partition.leader.expect("every partition has a leader between faults");
            leaders.entry(leader).or_default().push(usize::try_from(partition.index).unwrap());
        }
        leaders
    }

    async fn led_by(&self, node: i32) -> Vec<usize> {
        self.leaders().await.remove(&node).unwrap_or_default()
    }

    async fn busiest_but(&self, spared: i32) -> i32 {
        let leaders = self.leaders().await.into_iter().filter(|(node, _)| *node != spared);
        leaders.max_by_key(|(_, led)| led.len()).map_or(spared, |(node, _)| node)
    }

    /// Waits until each of these partitions has acknowledged, and given out, a record begun from now on.
    async fn back(&self, partitions: &[usize]) -> Vec<Back> {
        let marks: Vec<(usize, usize)> =
            partitions.iter().map(|p| (*p, self.track(*p, |track| track.begun))).collect();
        let seen = |(partition, mark): &(usize, usize)| {
            self.track(*partition, |track| {
                let (acknowledged, _) = *track.acknowledged.get(*mark)?;
                let (fetched, _) = *track.fetched.get(*mark)?;
                Some(Back { acknowledged, fetched })
            })
        };
        // The limit on a partition is checked by the caller; this one is for a load that hangs.
        let what = format!("all of {partitions:?} are served again");
        eventually(&what, DELIVERY_TIMEOUT + LONGEST, async || {
            self.check();
            marks.iter().all(|mark| seen(mark).is_some())
        })
        .await;
        marks.iter().filter_map(seen).collect()
    }

    async fn wait_for_all(&self, when: &str) {
        println!(
            "{when}: {} records acknowledged",
            self.tracks.iter().map(|t| lock(t).acknowledged.len()).sum::<usize>()
        );
        self.back(&(0..self.tracks.len()).collect::<Vec<_>>()).await;
    }

    /// Ends the load, and compares what was acknowledged and what was read with what other clients find.
    async fn finish(self, faults: &Faults) -> Slowest {
        self.check();
        self.tracks.iter().for_each(|track| lock(track).stop = true);
        for task in self.writers.into_iter().chain(self.readers) {
            task.await.unwrap();
        }
        let mut slowest = Slowest::default();
        for (index, track) in self.tracks.iter().enumerate() {
            let track = lock(track).clone();
            let log = java(faults.addresses())
                .consume(&self.topic, i32::try_from(index).unwrap(), 0, None, &[])
                .await;
            let log: Vec<(i64, String)> = log
                .into_iter()
                .map(|seen| (seen.offset, String::from_utf8(seen.value.unwrap()).unwrap()))
                .collect();
            let written: Vec<_> = (0..)
                .zip(&track.acknowledged)
                .map(|(n, (_, offset))| (*offset, i32::to_string(&n)))
                .collect();
            assert_eq!(log, written, "partition {index}: every acknowledged record once and in order");
            let offsets: Vec<i64> = track.fetched.iter().map(|(_, offset)| *offset).collect();
            assert_eq!(
                offsets,
                log.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
                "partition {index}: as read"
            );
            slowest.produce = slowest.produce.max(track.slowest.produce);
            slowest.fetch = slowest.fetch.max(track.slowest.fetch);
        }
        slowest
    }

    /// A task that ended before it was told to has panicked; its message is in the output.
    fn check(&self) {
        let ended = self.writers.iter().chain(&self.readers).any(JoinHandle::is_finished);
        assert!(!ended, "a writer or a reader has failed");
    }

    fn track<T>(&self, partition: usize, look: impl FnOnce(&Track) -> T) -> T {
        look(&lock(&self.tracks[partition]))
    }
}

async fn write(partition: PartitionClient, track: Arc<Mutex<Track>>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let number = {
            let mut track = lock(&track);
            if track.stop {
                return;
            }
            track.begun += 1;
            track.begun - 1
        };
        let start = Instant::now();
        let offsets = partition.produce(vec![Record::new(number.to_string())]).await;
        let offset =
            offsets.unwrap_or_else(|e| panic!("record {number}, after {:?}: {e}", start.elapsed()))[0];
        let mut track = lock(&track);
        track.acknowledged.push((Instant::now(), offset));
        track.slowest.produce = track.slowest.produce.max(start.elapsed());
    }
}

async fn read(partition: PartitionClient, track: Arc<Mutex<Track>>) {
    let mut position = 0;
    loop {
        let start = Instant::now();
        let answer =
            partition.fetch_records(position, 1..1_000_000, i32::try_from(POLL.as_millis()).unwrap()).await;
        let (records, _) =
            answer.unwrap_or_else(|e| panic!("offset {position}, after {:?}: {e}", start.elapsed()));
        let mut track = lock(&track);
        track.slowest.fetch = track.slowest.fetch.max(start.elapsed());
        for record in &records {
            assert_eq!(value(record), track.fetched.len().to_string(), "{record:?}: once and in order");
            track.fetched.push((Instant::now(), record.offset));
            position = record.offset + 1;
        }
        // The writers end first: what they have written is still to be read.
        if track.stop && track.acknowledged.len() == track.begun && track.fetched.len() >= track.begun {
            return;
        }
    }
}

fn lock(track: &Mutex<Track>) -> std::sync::MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
