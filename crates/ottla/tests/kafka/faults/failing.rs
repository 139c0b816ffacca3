//! A producer that gives up before a fault is over, beside one that does not: what its deliveries say is true.
//!
//! ```text
//! 3 partitions, each on two nodes, both of which must have a record; a delivery has two seconds
//! a node is dead:   its partitions refuse what comes (not written), or had it on the other node alone (may have been written)
//! a node is paused: what is on its way there is answered too late (may have been written)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::{
    Client, ClientBuilder, Delivered, DeliveryCause, DeliveryError, DeliveryOutcome, Error, Producer, Record,
    TopicProducer,
};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::fetching::create;
use crate::support::cluster::{Faults, eventually, expect_exception, expect_refused_writes};
use crate::support::java::java;
use crate::support::topic;
use crate::world::SOON;

const REPLICAS: [[i32; 2]; 3] = [[1, 2], [2, 3], [3, 1]];
const TASKS: usize = 4;
const PACE: Duration = Duration::from_millis(10);
/// Shorter than any fault.
const DELIVERY: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_millis(500);
/// Deliveries that a task keeps before it waits for the oldest.
const KEPT: usize = 1_000;

/// Tasks that write, and what they were told.
pub(super) struct Failing {
    name: String,
    producer: Producer,
    topic: TopicProducer,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Told>>,
}

/// What a delivery said of one record.
struct Told {
    partition: i32,
    value: String,
    said: Result<i64, Arc<DeliveryError>>,
}

impl Failing {
    pub(super) async fn start(faults: &Faults) -> Self {
        let client = ClientBuilder::new(faults.addresses().to_vec()).client_id("failing").build().await;
        let (client, name) = (client.unwrap(), topic("failing"));
        expect_refused_writes(&name);
        // Of an epoch that was given up, when a node is back that had been paused.
        expect_exception(&["InvalidProducerEpochException: ", &format!(" partition {name}-")]);
        create(&client, &name, &REPLICAS.map(|nodes| nodes.to_vec()), &[("min.insync.replicas", "2")]).await;
        faults.ready().await;
        Self::write(&client, name).await
    }

    async fn write(client: &Client, name: String) -> Self {
        let producer = client.producer().delivery_timeout(DELIVERY).request_timeout(REQUEST);
        let producer = producer.build().await.unwrap();
        let topic = producer.topic(&name).await.unwrap();
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for task in 0..TASKS {
            tasks.spawn(produce(topic.clone(), task, stop.clone()));
        }
        Self { name, producer, topic, stop, tasks }
    }

    /// All nodes are well again: so are all partitions. What was told is what the log has.
    pub(super) async fn finish(self, faults: &Faults) -> String {
        let mut told = Vec::new();
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().for_each(|task| told.extend(task));
        for (partition, _) in (0..).zip(REPLICAS) {
            told.extend(works_again(&self.topic, partition).await);
        }
        self.producer.clone().close().await;
        assert_eq!(self.producer.metrics().buffered, 0);

        told.iter().for_each(|told| told.is_well_said(&self.name));
        for (partition, _) in (0..).zip(REPLICAS) {
            let log = java(faults.addresses()).consume(&self.name, partition, 0, None, &[]).await;
            let log = log.into_iter().map(|it| (it.offset, String::from_utf8(it.value.unwrap()).unwrap()));
            judge(partition, &told, &log.collect::<Vec<_>>());
        }
        summary(&told)
    }
}

/// Hands over numbered records, to each partition in turn, until it is to stop.
async fn produce(topic: TopicProducer, task: usize, stop: Arc<AtomicBool>) -> Vec<Told> {
    let (mut kept, mut told) = (VecDeque::new(), Vec::new());
    let mut pace = interval(PACE);
    let mut partitions = (0..).zip(REPLICAS).map(|(partition, _)| partition).cycle();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        pace.tick().await;
        let value = format!("{task}:{number}");
        let partition = partitions.next().expect("they go round");
        let delivery = topic.enqueue_to(partition, Record::new(&value)).await.unwrap();
        kept.push_back((partition, value, delivery));
        if kept.len() > KEPT
            && let Some((partition, value, delivery)) = kept.pop_front()
        {
            told.push(Told::new(partition, value, delivery.await));
        }
    }
    for (partition, value, delivery) in kept {
        told.push(Told::new(partition, value, delivery.await));
    }
    told
}

/// What was told until a record was acknowledged.
async fn works_again(topic: &TopicProducer, partition: i32) -> Vec<Told> {
    let told = std::cell::RefCell::new(Vec::<Told>::new());
    eventually("a partition takes records again", SOON, async || {
        let value = format!("{TASKS}:{}", told.borrow().len());
        let said = topic.send_to(partition, Record::new(&value)).await;
        let is_written = said.is_ok();
        told.borrow_mut().push(Told::new(partition, value, said));
        is_written
    })
    .await;
    told.into_inner()
}

impl Told {
    fn new(partition: i32, value: String, said: Result<Delivered, Error>) -> Self {
        let said = match said {
            Ok(delivered) => Ok(delivered.offset.expect("all acknowledge")),
            Err(Error::Delivery(error)) => Err(error),
            Err(error) => panic!("{value}: {error}"),
        };
        Self { partition, value, said }
    }

    /// An error says where, how often it was tried, and what came in the way.
    fn is_well_said(&self, name: &str) {
        let Err(error) = &self.said else { return };
        let (partition, attempts) = (self.partition, error.attempts);
        let begin = format!("Produce to {name}/{partition}: {} after {attempts} attempt", error.outcome);
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert_eq!((&*error.topic, error.partition), (name, partition));
        assert!(attempts > 0 || error.outcome == DeliveryOutcome::NotWritten, "{error}");
    }

    /// Whether what was said is so, of a record that is at these offsets.
    fn is_true(&self, found: &[i64]) -> bool {
        match &self.said {
            Ok(offset) => found == [*offset],
            Err(error) => match error.outcome {
                DeliveryOutcome::NotWritten => found.is_empty(),
                DeliveryOutcome::MayHaveBeenWritten => found.len() <= 1,
                DeliveryOutcome::Written => found.len() == 1,
            },
        }
    }
}

/// What was told of a partition's records is true, and those that are in its log are in the order of their tasks.
fn judge(partition: i32, told: &[Told], log: &[(i64, String)]) {
    let mut found: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut last = [None; TASKS + 1];
    for (offset, value) in log {
        found.entry(value).or_default().push(*offset);
        let (task, number) = value.split_once(':').unwrap();
        let number: usize = number.parse().unwrap();
        let before = last[task.parse::<usize>().unwrap()].replace(number);
        assert!(before < Some(number), "partition {partition}, offset {offset}: {value} behind {before:?}");
    }
    for told in told.iter().filter(|told| told.partition == partition) {
        let found = found.remove(told.value.as_str()).unwrap_or_default();
        let said = told.said.as_ref().map_err(ToString::to_string);
        assert!(told.is_true(&found), "partition {partition}, {}: {said:?}; it is at {found:?}", told.value);
    }
    assert!(found.is_empty(), "partition {partition}: nobody was told of {found:?}");
}

/// How many of each kind; there must be some of each, with what the last attempt met.
fn summary(told: &[Told]) -> String {
    let failed = |outcome| {
        let errors = told.iter().filter_map(|told| told.said.as_ref().err());
        let errors: Vec<_> = errors.filter(|error| error.outcome == outcome).collect();
        let cause = errors.iter().find_map(|error| match &error.cause {
            DeliveryCause::TimedOut { last } => last.as_ref(),
            _ => None,
        });
        let cause = cause.unwrap_or_else(|| panic!("no delivery said {outcome}, and why"));
        format!("{} {outcome}, such as: {cause}", errors.len())
    };
    let acknowledged = told.iter().filter(|told| told.said.is_ok()).count();
    let [not, perhaps] = [DeliveryOutcome::NotWritten, DeliveryOutcome::MayHaveBeenWritten].map(failed);
    format!("{acknowledged} acknowledged; {not}; {perhaps}")
}
