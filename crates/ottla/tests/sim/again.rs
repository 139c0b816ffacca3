//! A topic that is deleted and created again while it is written and read: another one, of the same name (M3). Nobody takes
//! one for the other: what a handle was told, from its first record to the error that ends it, is of one topic.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::{Client, Error, ErrorCode, PartitionClient, Producer, Record, StartOffset, TopicProducer};
use ottla_wire::Uuid;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::check::{Values, log_of};
use crate::plan::{Kind, Plan, StreamPlan};
use crate::promise::{
    A_TOPIC, ACKNOWLEDGED, GOES_ON, IN_ORDER, Kept, NOT_WRITTEN, NOTHING_WAITS, ONCE, ONE_OUTCOME, POSITIONS,
    QUIET, TRUNCATION, broken,
};
use crate::random::Random;
use crate::run::{AT_ONCE, CALL_TIMEOUT, CATCH_UP, Fate, Sent, World, fate};
use crate::support::{PipeTransport, millis, polled};

/// Its name, whichever topic it is.
const NAME: &str = "r";

/// Once it will not be deleted any more, each writer goes on for so many turns.
const TURNS: u64 = 5;

/// The topic, and who reads it.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(crate) partitions: i32,
    /// Leader epochs that the first one has and those after it begin without.
    pub(crate) elections: i32,
    pub(crate) stream: StreamPlan,
}

impl Again {
    pub(crate) fn of(random: &mut Random) -> Self {
        let partitions = i32::try_from(random.within(1..4)).unwrap();
        Self {
            partitions,
            elections: i32::try_from(random.below(4)).unwrap(),
            stream: StreamPlan::of(random, partitions),
        }
    }

    pub(crate) fn create(&self, nodes: i32, pipes: &PipeTransport) {
        pipes.create(NAME, self.partitions, i16::try_from(nodes).unwrap());
        for (partition, time) in (0..self.partitions).flat_map(|it| (0..self.elections).map(move |n| (it, n)))
        {
            let node = 1 + (partition + time + 1) % nodes;
            pipes.control(|cluster, now| cluster.move_leader(now, NAME, partition, node)).unwrap();
        }
    }
}

/// One of the topics that have had the name, as it was in the end.
#[derive(Debug)]
struct Topic {
    id: Uuid,
    /// By partition.
    logs: Vec<Values>,
}

impl Topic {
    fn now(pipes: &PipeTransport) -> Option<Self> {
        let (id, partitions) = pipes.control(|cluster, _| {
            let topic = cluster.topic(NAME)?;
            Some((topic.id(), topic.partitions().len()))
        })?;
        let log = |partition| log_of(pipes, NAME, i32::try_from(partition).unwrap());
        Some(Self { id, logs: (0..partitions).map(log).collect() })
    }
}

/// What was done and told by one handle of the topic.
#[derive(Debug)]
struct Chapter {
    who: String,
    sent: Vec<Sent>,
    /// By partition.
    read: BTreeMap<i32, Values>,
    /// It ended since its topic, the first of these, was another one, the second.
    ended: Option<(Uuid, Uuid)>,
}

impl Chapter {
    fn of(who: impl Into<String>) -> Self {
        Self { who: who.into(), sent: Vec::new(), read: BTreeMap::new(), ended: None }
    }

    fn next(&self, partition: i32) -> i64 {
        self.read.get(&partition).and_then(Values::last_key_value).map_or(0, |(last, _)| last + 1)
    }

    fn took(&mut self, partition: i32, offset: i64, value: &[u8]) -> Kept {
        let (who, next) = (&self.who, self.next(partition));
        if offset != next {
            let what = format!("{who} is at {next} of {NAME}/{partition}, and was told of {offset}");
            return Err(broken(POSITIONS, what));
        }
        let value = String::from_utf8(value.to_vec()).unwrap();
        self.read.entry(partition).or_default().insert(offset, value);
        Ok(())
    }

    fn wrote(&mut self, partition: i32, value: String, result: ottla::Result<i64>) -> Kept {
        let fate = match result {
            Ok(offset) => Fate::Written(offset),
            Err(error) => {
                self.hears(&error)?;
                fate(&error)?
            }
        };
        self.sent.push(Sent { partition, value, fate });
        Ok(())
    }

    /// Whether that is its end.
    fn hears(&mut self, error: &Error) -> Kept<bool> {
        let Some(ids) = error.recreated() else { return Ok(false) };
        let first = self.ended.get_or_insert(ids);
        if first.0 != ids.0 || !error.is_fatal() {
            let what = format!("{} was of {}, and heard then: {error}", self.who, first.0);
            return Err(broken(A_TOPIC, what));
        }
        Ok(true)
    }
}

/// What is known of the topics in the course of a run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Those that are gone.
    gone: Vec<Topic>,
    chapters: Vec<Chapter>,
    /// How often it will still be deleted, or is about to be created again.
    to_come: u64,
}

/// All who use it, each a task.
pub(crate) struct Users {
    writers: Vec<JoinHandle<Kept>>,
    readers: Vec<JoinHandle<Kept>>,
    sleeper: Option<JoinHandle<Kept<Sleeper>>>,
}

/// Handles of which nothing is wanted until all is over, and what they were told before.
pub(crate) struct Sleeper {
    client: PartitionClient,
    topic: TopicProducer,
    /// Of each of the two.
    chapters: [Chapter; 2],
}

impl Seen {
    pub(crate) fn of(plan: &Plan) -> Self {
        let deletions = plan.faults.iter().filter(|fault| matches!(fault.kind, Kind::Recreate)).count();
        Self { to_come: deletions as u64, ..Self::default() }
    }
}

impl World {
    /// Deletes the topic, and creates it again later. Whether there was one.
    pub(crate) async fn create_again(&self, is_gone_for: Duration) -> bool {
        let topic = Topic::now(&self.pipes);
        let has_been = topic.is_some();
        if let Some(topic) = topic {
            self.pipes.control(|cluster, now| cluster.delete_topic(now, NAME)).unwrap();
            let partitions = i32::try_from(topic.logs.len()).unwrap();
            self.seen.again.borrow_mut().gone.push(topic);
            sleep(is_gone_for).await;
            while !self.creates(partitions) {
                // Nodes that are down come back when their faults are over, and guests go.
                sleep(millis(100)).await;
            }
        }
        self.seen.again.borrow_mut().to_come -= 1;
        has_been
    }

    fn creates(&self, partitions: i32) -> bool {
        let replicas = i16::try_from(self.nodes).unwrap();
        self.seen.guests.get() == 0
            && self
                .pipes
                .control(|cluster, now| cluster.create_topic(now, NAME, partitions, replicas))
                .is_ok()
    }

    pub(crate) fn use_again(
        self: &Rc<Self>,
        plan: &Plan,
        client: &Client,
        producer: &Producer,
        random: &Random,
    ) -> Option<Users> {
        let again = plan.again.as_ref()?;
        let draws = |number: u64| random.branch(600 + number);
        let partitions = 0..again.partitions;
        let reads = partitions.clone().map(|partition| {
            let random = draws(10 + partition as u64);
            tokio::task::spawn_local(self.clone().reads_again(client.clone(), partition, random))
        });
        let follows = self.clone().follows_again(again.clone(), client.clone(), draws(0));
        let readers = reads.chain([tokio::task::spawn_local(follows)]).collect();
        let writes = partitions.map(|partition| {
            let random = draws(20 + partition as u64);
            let write = self.clone().writes_again(plan.clone(), client.clone(), partition, random);
            tokio::task::spawn_local(write)
        });
        let pours = self.clone().pours_again(plan.clone(), producer.clone(), draws(1));
        let names = self.clone().names_again(plan.clone(), producer.clone(), draws(2));
        let others = [tokio::task::spawn_local(pours), tokio::task::spawn_local(names)];
        let writers = writes.chain(others).collect();
        let sleeps = self.clone().sleeps_again(plan.clone(), client.clone(), producer.clone());
        Some(Users { writers, readers, sleeper: Some(tokio::task::spawn_local(sleeps)) })
    }

    fn will_be_deleted(&self) -> bool {
        self.seen.again.borrow().to_come > 0
    }

    fn ends(&self, chapter: Chapter) {
        self.count("told of another topic", chapter.ended.is_some().into());
        self.note(|| format!("{} ends: {:?}", chapter.who, chapter.ended));
        self.seen.again.borrow_mut().chapters.push(chapter);
    }

    /// Calls of a partition client, which is made anew when the topic is another one.
    async fn writes_again(
        self: Rc<Self>,
        plan: Plan,
        client: Client,
        partition: i32,
        mut random: Random,
    ) -> Kept {
        let (mut turns, mut number) = (TURNS, 0);
        while turns > 0 {
            let writer = self.open_of(&client, (NAME, false), partition, plan.delivery_timeout).await?;
            let mut chapter = Chapter::of(format!("the writer of {partition}, from {number} on,"));
            while turns > 0 && chapter.ended.is_none() {
                let value = format!("w{partition}-{number}");
                let call = writer.produce(vec![Record::new(value.clone())]);
                let result = self.in_time("produce", Duration::ZERO, plan.delivery_timeout, call).await?;
                chapter.wrote(partition, value, result.map(|offsets| offsets[0]))?;
                number += 1;
                turns -= u64::from(!self.will_be_deleted());
                sleep(random.millis(0..400)).await;
            }
            self.ends(chapter);
        }
        Ok(())
    }

    /// Records handed to a producer by a topic's handle, which is made anew likewise.
    async fn pours_again(self: Rc<Self>, plan: Plan, producer: Producer, mut random: Random) -> Kept {
        let (mut turns, mut number) = (TURNS, 0);
        while turns > 0 {
            let topic = self.topic_of(&producer, NAME).await;
            let mut chapter = Chapter::of(format!("the handle, from {number} on,"));
            let mut open = Vec::new();
            while turns > 0 && chapter.ended.is_none() {
                for _ in 0..random.within(1..8) {
                    let partition = i32::try_from(random.below(topic.partitions() as u64)).unwrap();
                    let value = format!("h-{number}");
                    number += 1;
                    let call = topic.enqueue_to(partition, Record::new(value.clone()));
                    match self.in_time("enqueue", Duration::ZERO, plan.delivery_timeout, call).await? {
                        Ok(delivery) => open.push((partition, value, delivery)),
                        Err(error) => chapter.wrote(partition, value, Err(error))?,
                    }
                }
                turns -= u64::from(!self.will_be_deleted());
                sleep(random.millis(0..400)).await;
                let mut still = Vec::new();
                for (partition, value, mut delivery) in open {
                    // In the order in which they were handed over: one may be told of while the next is asked.
                    let told = if still.is_empty() { polled(1, &mut delivery).await } else { None };
                    match told {
                        Some(result) => chapter.wrote(partition, value, result.and_then(at))?,
                        None => still.push((partition, value, delivery)),
                    }
                }
                open = still;
            }
            for (partition, value, delivery) in open {
                let told = self.in_time("delivery", Duration::ZERO, plan.delivery_timeout, delivery).await?;
                chapter.wrote(partition, value, told.and_then(at))?;
            }
            self.ends(chapter);
        }
        Ok(())
    }

    /// Records handed to a producer by the topic's name: each goes to whatever is called that.
    async fn names_again(self: Rc<Self>, plan: Plan, producer: Producer, mut random: Random) -> Kept {
        let (mut turns, mut number) = (TURNS, 0);
        while turns > 0 {
            let value = format!("n-{number}");
            number += 1;
            turns -= u64::from(!self.will_be_deleted());
            let call = producer.enqueue(NAME, Record::new(value.clone()).key(value.clone()));
            let enqueued = self.in_time("enqueue", CALL_TIMEOUT, plan.delivery_timeout, call).await?;
            let mut chapter = Chapter::of(value.clone());
            match enqueued {
                Ok(delivery) => {
                    let partition = delivery.partition();
                    let told =
                        self.in_time("delivery", Duration::ZERO, plan.delivery_timeout, delivery).await?;
                    chapter.wrote(partition, value, told.and_then(at))?;
                }
                Err(error @ (Error::Delivery(_) | Error::Closed)) => chapter.wrote(0, value, Err(error))?,
                // Nothing was accepted.
                Err(error @ (Error::Topic { .. } | Error::Call(_) | Error::Unreachable { .. })) => {
                    self.note(|| format!("{NAME} cannot be found: {error}"));
                    chapter.sent.push(Sent { partition: 0, value, fate: Fate::NotWritten });
                }
                Err(error) => return Err(broken(ONE_OUTCOME, format!("{value} came to {error:?}"))),
            }
            self.ends(chapter);
            sleep(random.millis(0..400)).await;
        }
        Ok(())
    }

    /// Two handles of the topic as it was at first.
    async fn sleeps_again(self: Rc<Self>, plan: Plan, client: Client, producer: Producer) -> Kept<Sleeper> {
        let client = self.open_of(&client, (NAME, false), 0, plan.delivery_timeout).await?;
        let topic = self.topic_of(&producer, NAME).await;
        let chapters = [Chapter::of("the sleeping client"), Chapter::of("the sleeping handle")];
        let mut sleeper = Sleeper { client, topic, chapters };
        self.writes_by(&plan, &mut sleeper, ["low", "high"]).await?;
        Ok(sleeper)
    }

    /// One record by each of the two.
    async fn writes_by(&self, plan: &Plan, sleeper: &mut Sleeper, values: [&str; 2]) -> Kept {
        let Sleeper { client, topic, chapters: [low, high] } = sleeper;
        let call = client.produce(vec![Record::new(values[0])]);
        let result = self.in_time("produce", Duration::ZERO, plan.delivery_timeout, call).await?;
        low.wrote(0, values[0].to_owned(), result.map(|offsets| offsets[0]))?;
        let call = topic.send_to(0, Record::new(values[1]));
        let result = self.in_time("send", Duration::ZERO, plan.delivery_timeout, call).await?;
        high.wrote(0, values[1].to_owned(), result.and_then(at))
    }

    /// Follows a partition poll by poll, from the start of each topic, until it has all of the last one.
    async fn reads_again(self: Rc<Self>, client: Client, partition: i32, mut random: Random) -> Kept {
        for number in 0.. {
            let reader = self.open_of(&client, (NAME, false), partition, CALL_TIMEOUT).await?;
            let mut chapter = Chapter::of(format!("the reader of {partition}, the {number} times anew,"));
            while chapter.ended.is_none() {
                if self.seen.is_settled.get() && self.has_all(&chapter, partition) {
                    self.ends(chapter);
                    return Ok(());
                }
                let wait = random.millis(0..500);
                let next = chapter.next(partition);
                let poll = reader.fetch_records(next, 1..100_000, i32::try_from(wait.as_millis()).unwrap());
                match self.in_time("fetch_records", wait, CALL_TIMEOUT, poll).await? {
                    Ok((records, _)) => records.into_iter().try_for_each(|record| {
                        chapter.took(partition, record.offset, &record.value.unwrap_or_default())
                    })?,
                    Err(error) if !chapter.hears(&error)? => {
                        self.note(|| format!("{}: {error}", chapter.who));
                        in_range(&error, &chapter, partition)?;
                        sleep(millis(200)).await;
                    }
                    Err(_) => {}
                }
            }
            self.ends(chapter);
        }
        Ok(())
    }

    /// Follows all partitions by a stream, from which those are removed and added again that are of another topic now.
    async fn follows_again(self: Rc<Self>, again: Again, client: Client, mut random: Random) -> Kept {
        let of = &again.stream;
        let stream = client.stream().max_wait(of.max_wait).prefetch_bytes(of.prefetch_bytes);
        let stream = stream.max_bytes(of.max_bytes).build();
        let mut stream = stream.map_err(|error| broken(GOES_ON, error.to_string()))?;
        let mut chapters: BTreeMap<i32, Chapter> = BTreeMap::new();
        loop {
            let missing = (0..again.partitions).filter(|partition| !chapters.contains_key(partition));
            for partition in missing.collect::<Vec<_>>() {
                self.called();
                match stream.add(NAME, partition, StartOffset::Earliest).await {
                    Ok(()) => {
                        let chapter = Chapter::of(format!("the stream, in {partition},"));
                        chapters.insert(partition, chapter);
                    }
                    Err(error) => self.note(|| format!("{partition} is not added: {error}")),
                }
            }
            let came = timeout(random.millis(0..400), stream.next()).await;
            self.seen.steps.set(self.seen.steps.get() + 1);
            let (partition, result) = match came {
                Ok(Some(Ok(it))) => {
                    (it.partition, Ok((it.record.offset, it.record.value.unwrap_or_default())))
                }
                Ok(Some(Err(Error::Fetch(error)))) => (error.partition, Err(Error::Fetch(error))),
                Ok(Some(Err(error @ Error::Truncated { .. }))) => {
                    return Err(broken(TRUNCATION, format!("{NAME}: {error}")));
                }
                Ok(Some(Err(error))) => {
                    return Err(broken(ONE_OUTCOME, format!("the stream came to {error}")));
                }
                // Nothing is there to read, or nothing comes.
                Ok(None) | Err(_) => {
                    let is_all =
                        |partition| chapters.get(&partition).is_some_and(|it| self.has_all(it, partition));
                    if self.seen.is_settled.get() && (0..again.partitions).all(is_all) {
                        chapters.into_values().for_each(|chapter| self.ends(chapter));
                        return Ok(());
                    }
                    sleep(millis(10)).await;
                    continue;
                }
            };
            let Some(chapter) = chapters.get_mut(&partition) else {
                return Err(broken(QUIET, format!("{partition} was removed, and came to {result:?}")));
            };
            match result {
                Ok((offset, value)) => chapter.took(partition, offset, &value)?,
                Err(error) if chapter.hears(&error)? => {
                    stream.remove(NAME, partition).map_err(|error| broken(QUIET, error.to_string()))?;
                    chapters.remove(&partition).into_iter().for_each(|chapter| self.ends(chapter));
                }
                Err(error) => {
                    self.note(|| format!("{}: {error}", chapter.who));
                    in_range(&error, chapter, partition)?;
                    sleep(millis(200)).await;
                    let next = StartOffset::At(chapter.next(partition));
                    stream
                        .seek(NAME, partition, next)
                        .map_err(|error| broken(POSITIONS, error.to_string()))?;
                }
            }
        }
    }

    /// Whether that is what the topic of that name has now.
    fn has_all(&self, chapter: &Chapter, partition: i32) -> bool {
        let log = log_of(&self.pipes, NAME, partition);
        chapter.read.get(&partition).map_or(log.is_empty(), |read| *read == log)
    }

    /// With all faults over: new handles write to the topic that there is, and old ones to theirs, or say that it is gone.
    pub(crate) async fn writes_after_all(&self, plan: &Plan, client: &Client, mut sleeper: Sleeper) -> Kept {
        let Some(topic) = Topic::now(&self.pipes) else {
            return Err(broken(A_TOPIC, format!("{NAME} is not there")));
        };
        for partition in 0..i32::try_from(topic.logs.len()).unwrap() {
            let value = format!("last-{partition}");
            let mut chapter = Chapter::of("the last");
            let write = async {
                let writer = client.partition(NAME, partition).timeout(CALL_TIMEOUT).build().await?;
                writer.produce(vec![Record::new(value.clone())]).await
            };
            self.called();
            let written = timeout(AT_ONCE, write).await;
            let written =
                written.map_err(|_| broken(GOES_ON, format!("{NAME}/{partition} takes too long")))?;
            let offset = written.map_err(|error| broken(GOES_ON, format!("{NAME}/{partition}: {error}")))?[0];
            chapter.wrote(partition, value, Ok(offset))?;
            self.ends(chapter);
        }
        self.writes_by(plan, &mut sleeper, ["low again", "high again"]).await?;
        for chapter in sleeper.chapters {
            let last = chapter.sent.last().map(|sent| &sent.fate);
            let is_written = matches!(last, Some(Fate::Written(_)));
            let is_right = match chapter.ended {
                None => is_written,
                // Which of those that came later it heard of first, does not matter.
                Some((old, _)) => old != topic.id && last == Some(&Fate::NotWritten),
            };
            if !is_right {
                let what = format!(
                    "{NAME} is {}, and {} came to {last:?}: {:?}",
                    topic.id, chapter.who, chapter.ended
                );
                return Err(broken(A_TOPIC, what));
            }
            self.ends(chapter);
        }
        Ok(())
    }

    /// What was said of one topic is so in that one, and in no other.
    pub(crate) fn check_again(&self) -> Kept {
        let mut seen = self.seen.again.borrow_mut();
        seen.gone.extend(Topic::now(&self.pipes));
        let mut places = Places::new();
        for (number, topic) in seen.gone.iter().enumerate() {
            for (partition, log) in (0..).zip(&topic.logs) {
                for (offset, value) in log {
                    let place = Place { topic: number, partition, offset: *offset };
                    if let Some(first) = places.insert(value, place) {
                        return Err(broken(
                            ONCE,
                            format!("{value} is at {first:?} and at {place:?} of {NAME}"),
                        ));
                    }
                }
            }
        }
        let ids: Vec<_> = seen.gone.iter().map(|topic| topic.id).collect();
        seen.chapters.iter().try_for_each(|chapter| chapter.check(&ids, &places))
    }
}

impl Users {
    /// Nobody writes any more.
    pub(crate) async fn have_written(&mut self) -> Kept<Sleeper> {
        for task in std::mem::take(&mut self.writers) {
            World::ended(task).await?;
        }
        World::ended(self.sleeper.take().unwrap()).await
    }

    /// Everybody has read all that there is.
    pub(crate) async fn have_read(self) -> Kept {
        for task in self.readers {
            let ended = timeout(CATCH_UP, World::ended(task)).await;
            ended.map_err(|_| broken(NOTHING_WAITS, format!("{NAME} is not read to its end")))??;
        }
        Ok(())
    }
}

/// Where values are.
type Places<'a> = BTreeMap<&'a String, Place>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Which of those that have had the name.
    topic: usize,
    partition: i32,
    offset: i64,
}

impl Chapter {
    fn check(&self, ids: &[Uuid], places: &Places<'_>) -> Kept {
        let number = |id: Uuid| ids.iter().position(|it| *it == id);
        let mut topic = None;
        if let Some((old, new)) = self.ended {
            topic = number(old);
            if topic.is_none() || topic >= number(new) {
                return Err(broken(A_TOPIC, format!("{} ended with {old} and {new} of {ids:?}", self.who)));
            }
        }
        let mut is_here = |promise, value: &String, partition: i32, offset: i64| {
            let place = places.get(value).copied();
            let expected = place.map(|it| Place { topic: *topic.get_or_insert(it.topic), partition, offset });
            if place.is_none() || place != expected {
                let what =
                    format!("{} has {value} at {offset} of {partition}: {place:?}, {expected:?}", self.who);
                return Err(broken(promise, what));
            }
            Ok(())
        };
        for (partition, values) in &self.read {
            values.iter().try_for_each(|(offset, value)| is_here(A_TOPIC, value, *partition, *offset))?;
        }
        let mut last = BTreeMap::new();
        for Sent { partition, value, fate } in &self.sent {
            match fate {
                Fate::Written(offset) => {
                    is_here(ACKNOWLEDGED, value, *partition, *offset)?;
                    if let Some(before) = last.insert(*partition, *offset).filter(|before| before >= offset) {
                        let what = format!("{value} is at {offset} of {NAME}/{partition}, after {before}");
                        return Err(broken(IN_ORDER, what));
                    }
                }
                Fate::NotWritten if places.contains_key(value) => {
                    let what = format!("{value} is at {:?} of {NAME}", places.get(value));
                    return Err(broken(NOT_WRITTEN, what));
                }
                Fate::NotWritten | Fate::Somewhere | Fate::Unknown => {}
            }
        }
        Ok(())
    }
}

/// Where it was written.
fn at(delivered: ottla::Delivered) -> ottla::Result<i64> {
    Ok(delivered.offset.unwrap_or(-1))
}

/// No log of it is ever cut, at either end.
fn in_range(error: &Error, chapter: &Chapter, partition: i32) -> Kept {
    if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) {
        let next = chapter.next(partition);
        return Err(broken(POSITIONS, format!("{}, at {next}, is out of range: {error}", chapter.who)));
    }
    Ok(())
}
