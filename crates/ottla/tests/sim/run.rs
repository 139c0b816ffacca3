//! One run: the cluster, the client, the application's tasks, the faults, and what came of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use ottla::{Client, Compression, Error, Producer, ProducerBuilder, Record, TopicProducer};
use ottla_core::producer::DeliveryOutcome;
use ottla_fake::{FakeCluster, Reaction, Release, Rule, RuleId, Stage};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};

use crate::again;
use crate::check::{Retained, Values, check, lost_of};
use crate::history::History;
use crate::outcome::Outcome;
use crate::panics::Panics;
use crate::plan::Plan;
use crate::promise::{
    ACKNOWLEDGED, Broken, GOES_ON, IDLE, IN_TIME, Kept, MEMORY, NO_HOT_LOOP, NO_PANIC, NOTHING_WAITS,
    ONE_OUTCOME, broken,
};
use crate::random::Random;
use crate::stored::Stored;
use crate::support::{PipeTransport, millis, secs};

/// Time-out of a single request.
pub(crate) const REQUEST_TIMEOUT: Duration = secs(2);

/// How long a call other than `produce` may take.
pub(crate) const CALL_TIMEOUT: Duration = secs(3);

/// What calls may take beyond their own time-outs.
pub(crate) const GRACE: Duration = secs(1);

/// What calls may take beyond the wait they ask for while nothing is wrong.
pub(crate) const PROMPT: Duration = millis(300);

/// After so long every pause between attempts is over.
const MENDED: Duration = secs(10);

/// How long calls take when nothing is wrong, the first look at things included.
pub(crate) const AT_ONCE: Duration = secs(1);

/// How long streams may take to the end of the log when nothing is wrong and nothing comes any more.
pub(crate) const CATCH_UP: Duration = secs(30);

/// Everything is over by then, or something waits for ever.
const LONGEST: Duration = secs(900);

/// What a value came to, as far as the application was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged at this offset.
    Written(i64),
    /// Said to be in the log, nobody knows where.
    Somewhere,
    /// Said not to be in the log.
    NotWritten,
    /// Nobody knows, or nobody waited.
    Unknown,
}

/// A value that was produced.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) value: String,
    pub(crate) fate: Fate,
}

/// What a stream has of a partition, as the log is by what it was told.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    pub(crate) stream: usize,
    pub(crate) partition: i32,
    /// From here on it would have heard of records that were lost: it has read on ever since.
    pub(crate) since: i64,
    pub(crate) values: Values,
}

/// What the tasks saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: RefCell<Vec<Sent>>,
    /// What a reader got, by partition: offsets and values.
    pub(crate) read: RefCell<Vec<Vec<(i64, String)>>>,
    pub(crate) followed: RefCell<Vec<Followed>>,
    /// What retention took, by partition.
    pub(crate) retained: RefCell<BTreeMap<i32, Retained>>,
    /// What others wrote, and what is damaged.
    pub(crate) stored: RefCell<Stored>,
    /// Of the topic that is created again.
    pub(crate) again: RefCell<again::Seen>,
    /// Nodes that are there for a while.
    pub(crate) guests: Cell<u64>,
    /// Writers at work.
    pub(crate) writing: Cell<u64>,
    /// Nothing is wrong any more, and nothing will be written: streams read to the end, and end.
    pub(crate) is_settled: Cell<bool>,
    /// Calls that were made.
    pub(crate) calls: Cell<u64>,
    /// Records that streams were told, and what they did besides reading.
    pub(crate) steps: Cell<u64>,
}

impl Seen {
    fn of(plan: &Plan) -> Self {
        Self {
            read: RefCell::new(vec![Vec::new(); plan.partitions as usize]),
            again: RefCell::new(again::Seen::of(plan)),
            ..Self::default()
        }
    }
}

/// Runs a plan; what was promised and not kept is the error.
pub(crate) fn run(plan: &Plan, history: Option<&History>) -> Kept<Outcome> {
    watched(history, play(plan, history.cloned()))
}

/// Runs what is a run's own. Where it or a task has panicked, that comes first: the rest may follow from it, and the client
/// goes on without a task as far as it can.
pub(crate) fn watched(
    history: Option<&History>,
    whole: impl Future<Output = Kept<Outcome>>,
) -> Kept<Outcome> {
    let _events = history.map(History::listen);
    let panics = Panics::watch(history.cloned());
    // Nothing of the run is left behind but its history, so nothing is seen half done.
    let result = catch_unwind(AssertUnwindSafe(|| in_virtual_time(whole)));
    match (panics.first(), result) {
        (Some(panic), _) => Err(broken(NO_PANIC, panic)),
        (None, Ok(result)) => result,
        (None, Err(_)) => Err(broken(NO_PANIC, "the run has unwound, and nobody said why")),
    }
}

fn in_virtual_time(whole: impl Future<Output = Kept<Outcome>>) -> Kept<Outcome> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, whole)
}

/// A loop is called that, whatever came of it.
async fn play(plan: &Plan, history: Option<History>) -> Kept<Outcome> {
    let pipes = start_cluster(plan);
    let loops = slow_loops_down(&pipes);
    let outcome = tokio::time::timeout(LONGEST, perform(plan, pipes.clone(), history)).await;
    if pipes.struck(loops) > 0 {
        return Err(broken(NO_HOT_LOOP, format!("{AT_AN_INSTANT} requests at one instant")));
    }
    outcome.unwrap_or_else(|_| Err(broken(NOTHING_WAITS, format!("something still waits after {LONGEST:?}"))))
}

async fn perform(plan: &Plan, pipes: PipeTransport, history: Option<History>) -> Kept<Outcome> {
    let start = Instant::now();
    let world = Rc::new(World::new(plan, &pipes, history));
    let client = build_client(plan, &pipes).await?;
    let faults: Vec<_> = plan
        .faults
        .iter()
        .map(|fault| tokio::task::spawn_local(world.clone().strike(fault.clone())))
        .collect();
    let producer = new_producer(plan, &client).await?;
    let random = Random::new(plan.seed);
    let writers = world.start_writers(plan, &client, &producer, &random).await?;
    let transactions = world.start_transactions(plan, &random);
    let mut again = world.use_again(plan, &client, &producer, &random);
    let readers: Vec<_> = (0..plan.partitions)
        .map(|partition| {
            let random = random.branch(200 + partition as u64);
            let of = (partition, plan.is_committed(partition));
            tokio::task::spawn_local(world.clone().read(client.clone(), of, random))
        })
        .collect();
    let streams: Vec<_> = (0..plan.streams.len())
        .map(|number| {
            let random = random.branch(400 + number as u64);
            tokio::task::spawn_local(world.clone().follow(plan.clone(), client.clone(), number, random))
        })
        .collect();
    for task in writers {
        World::ended(task).await?;
        world.seen.writing.set(world.seen.writing.get() - 1);
    }
    for fault in faults {
        fault.await.map_err(|error| broken(NO_PANIC, format!("a fault: {error}")))?;
    }
    for task in transactions {
        World::ended(task).await?;
    }
    world.end_all_transactions(plan.partitions);
    for task in readers {
        World::ended(task).await?;
    }
    let sleeper = match &mut again {
        Some(users) => Some(users.have_written().await?),
        None => None,
    };
    world.works_again(plan, &client, &producer).await?;
    if let Some(sleeper) = sleeper {
        world.writes_after_all(plan, &client, sleeper).await?;
    }
    producer.flush().await;
    let metrics = producer.metrics();
    if metrics.buffered > 0 || metrics.in_flight > 0 {
        return Err(broken(MEMORY, format!("the producer has flushed, and still holds {metrics:?}")));
    }
    world.spares_the_slow(plan, &client).await?;
    world.seen.is_settled.set(true);
    for task in streams {
        let ended = tokio::time::timeout(CATCH_UP, World::ended(task)).await;
        ended.map_err(|_| broken(NOTHING_WAITS, "a stream does not come to the end of the log"))??;
    }
    if let Some(users) = again {
        users.have_read().await?;
    }
    closes_what_is_idle(plan, &pipes).await?;
    if random.branch(1).one_in(2) {
        producer.close().await;
    } else {
        drop(producer);
    }
    drop(client);
    // What was accepted and whose caller is gone is still sent, up to its delivery time-out; then all connections end.
    sleep(plan.delivery_timeout + secs(10)).await;
    let open = pipes.connections_open();
    if open > 0 {
        return Err(broken(IDLE, format!("{open} connections are open after the client is gone")));
    }
    world.count("split", metrics.splits);
    world.count("older release", u64::from(plan.release != Release::default()));
    world.count("late replicas", u64::from(!plan.replication.is_zero()));
    world.end(plan, start.elapsed())
}

fn start_cluster(plan: &Plan) -> PipeTransport {
    let cluster = FakeCluster::builder().nodes(plan.nodes).release(plan.release).session_timeout(secs(2));
    let cluster = cluster.replication_delay(Duration::ZERO, plan.replication);
    let pipes = PipeTransport::start(cluster.seed(plan.seed));
    let limit = plan.max_message_bytes.map(|bytes| bytes.to_string());
    let limit: Vec<_> = limit.iter().map(|bytes| ("max.message.bytes", bytes.as_str())).collect();
    pipes.create_with("t", plan.partitions, i16::try_from(plan.nodes).unwrap(), &limit);
    if let Some(again) = &plan.again {
        again.create(plan.nodes, &pipes);
    }
    for (node, latency) in (1..).zip(&plan.latencies) {
        pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, *latency)).node(node));
    }
    pipes
}

/// Who asks again and again without waiting makes an end of virtual time, where answers take none: from then on requests are
/// slow. The rule strikes in such a run only.
fn slow_loops_down(pipes: &PipeTransport) -> RuleId {
    let last = Mutex::new((None, 0_u64));
    let slow = Rule::new(Reaction::Delay(Stage::BeforeApplying, millis(100)));
    pipes.rule(slow.when(move |arrival| {
        let (at, count) = &mut *last.lock().unwrap();
        if at.replace(arrival.now) != Some(arrival.now) && *count < AT_AN_INSTANT {
            *count = 0;
        }
        *count += 1;
        *count >= AT_AN_INSTANT
    }))
}

/// Requests at one instant: each record of a run may have one of its own, and be told of before time goes on.
const AT_AN_INSTANT: u64 = 5_000;

async fn build_client(plan: &Plan, pipes: &PipeTransport) -> Kept<Client> {
    let client = pipes
        .builder()
        .seed(plan.seed)
        .connect_timeout(secs(1))
        .request_timeout(REQUEST_TIMEOUT)
        .idle_timeout(plan.idle_timeout);
    let client = match plan.shared_budget {
        Some(bytes) => client.prefetch_bytes(bytes),
        None => client,
    };
    client.build().await.map_err(|error| broken(GOES_ON, format!("the client cannot be built: {error}")))
}

/// With nothing to do, no connection stays open; a look at the metadata may open one now and then.
async fn closes_what_is_idle(plan: &Plan, pipes: &PipeTransport) -> Kept {
    let pause = plan.idle_timeout + secs(1);
    for _ in 0..3 {
        sleep(pause).await;
        if pipes.connections_open() == 0 {
            return Ok(());
        }
    }
    Err(broken(IDLE, format!("{} connections are open though nobody uses them", pipes.connections_open())))
}

pub(crate) fn producer_of(plan: &Plan, client: &Client) -> ProducerBuilder {
    client
        .producer()
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(plan.delivery_timeout)
        .batch_size(plan.batch_size)
        .buffer_memory(plan.buffer_memory())
        .linger(plan.linger)
        .compression(plan.codec)
}

pub(crate) async fn new_producer(plan: &Plan, client: &Client) -> Kept<Producer> {
    let producer = producer_of(plan, client).build().await;
    producer.map_err(|error| broken(GOES_ON, format!("the producer cannot be built: {error}")))
}

pub(crate) struct World {
    pub(crate) pipes: PipeTransport,
    pub(crate) seen: Seen,
    /// Of the plan: those that are not there for a while only.
    pub(crate) nodes: i32,
    outcome: RefCell<Outcome>,
    history: Option<History>,
    /// How long calls may take where nothing is wrong.
    prompt: Option<Duration>,
}

impl World {
    fn new(plan: &Plan, pipes: &PipeTransport, history: Option<History>) -> Self {
        Self {
            pipes: pipes.clone(),
            seen: Seen::of(plan),
            nodes: plan.nodes,
            outcome: RefCell::default(),
            history,
            prompt: match plan.max_message_bytes {
                _ if !plan.faults.is_empty() => None,
                // What follows a batch that is split comes too early for the broker, and again after a pause; and slow
                // brokers serve one small batch after another.
                Some(_) => Some(millis(4_000)),
                // For the records of a call, and those before them.
                None => Some(PROMPT + plan.replication * 4),
            },
        }
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if let Some(history) = &self.history {
            history.note(&what());
        }
    }

    pub(crate) fn count(&self, what: &'static str, times: u64) {
        self.outcome.borrow_mut().count(what, times);
    }

    /// What a task came to.
    pub(crate) async fn ended<T>(task: JoinHandle<Kept<T>>) -> Kept<T> {
        task.await.map_err(|error| broken(NO_PANIC, error.to_string()))?
    }

    /// All who write, each a task.
    async fn start_writers(
        self: &Rc<Self>,
        plan: &Plan,
        client: &Client,
        producer: &Producer,
        random: &Random,
    ) -> Kept<Vec<JoinHandle<Kept>>> {
        let others = plan.transactions.as_ref().map_or(0, |it| it.writers);
        self.seen.writing.set(plan.writers + plan.pourers + plan.aggregators.len() as u64 + others);
        let mut tasks = Vec::new();
        for writer in 0..plan.writers {
            let random = random.branch(100 + writer);
            let write = self.clone().write(plan.clone(), client.clone(), writer, random);
            tasks.push(tokio::task::spawn_local(write));
        }
        for pourer in 0..plan.pourers {
            let random = random.branch(300 + pourer);
            let own = if plan.leaves { Some(client.clone()) } else { None };
            let producer = match &own {
                Some(client) => new_producer(plan, client).await?,
                None => producer.clone(),
            };
            let own = own.filter(|_| plan.closes);
            tasks.push(tokio::task::spawn_local(self.clone().pour(
                plan.clone(),
                (producer, own),
                pourer,
                random,
            )));
        }
        for number in 0..plan.aggregators.len() {
            let random = random.branch(500 + number as u64);
            let by = (client.clone(), producer.clone());
            tasks.push(tokio::task::spawn_local(self.clone().aggregate(plan.clone(), by, number, random)));
        }
        Ok(tasks)
    }

    /// Some time after everything is mended, nothing is the worse for what has been.
    async fn works_again(&self, plan: &Plan, client: &Client, producer: &Producer) -> Kept {
        sleep(MENDED).await;
        for partition in 0..plan.partitions {
            // The first to meet a leader that has lost records may be refused; whoever comes then starts over there.
            let mut left = if self.has_lost(partition) { 3 } else { 1 };
            let written = async {
                let low = client.partition("t", partition).timeout(CALL_TIMEOUT).build().await?;
                let high = producer.topic("t").await?;
                loop {
                    left -= 1;
                    let both = async {
                        low.produce(vec![Record::new(format!("low-{partition}-{left}"))]).await?;
                        high.send_to(partition, Record::new(format!("high-{partition}-{left}"))).await
                    };
                    match both.await {
                        Err(_) if left > 0 => {}
                        result => return result,
                    }
                }
            };
            let end = match tokio::time::timeout(AT_ONCE, written).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => format!(": {error}"),
                Err(_) => format!(" within {AT_ONCE:?}"),
            };
            return Err(broken(GOES_ON, format!("partition {partition} does not work again{end}")));
        }
        Ok(())
    }

    /// Whether an unclean election took something of the partition.
    pub(crate) fn has_lost(&self, partition: i32) -> bool {
        self.has_lost_before(partition, i64::MAX)
    }

    /// Whether an unclean election cut the partition's log below that position: nothing else has it end there.
    pub(crate) fn has_lost_before(&self, partition: i32, position: i64) -> bool {
        self.pipes
            .control(|cluster, _| lost_of(cluster, "t", partition).any(|lost| lost.base_offset < position))
    }

    /// Where the partition's log begins, if that is behind the position.
    pub(crate) fn begins_behind(&self, partition: i32, position: i64) -> Option<i64> {
        let start = self.pipes.control(|cluster, _| cluster.partition("t", partition).unwrap().log().start());
        (start > position).then_some(start)
    }

    /// Whether the partition's log begins there, or has, or before what is not told.
    pub(crate) fn has_begun_at(&self, partition: i32, position: i64, is_committed: bool) -> bool {
        let retained = self.seen.retained.borrow();
        let starts = retained.get(&partition).into_iter().flat_map(|it| &it.starts);
        let mut starts = starts.copied().chain([0]).filter(|start| *start <= position);
        starts.any(|start| self.may_pass(partition, start..position, is_committed))
    }

    fn end(&self, plan: &Plan, took: Duration) -> Kept<Outcome> {
        let share = check(plan, &self.pipes, &self.seen, took)?;
        self.check_again()?;
        let mut outcome = self.outcome.take();
        outcome.busiest = share;
        for sent in self.seen.sent.borrow().iter() {
            let what = match sent.fate {
                Fate::Written(_) | Fate::Somewhere => "written",
                Fate::NotWritten => "not written",
                Fate::Unknown => "unknown",
            };
            outcome.count(what, 1);
        }
        outcome.read = self.seen.read.borrow().iter().map(|read| read.len() as u64).sum();
        outcome.requests = self.pipes.control(|cluster, _| cluster.counters().all_requests());
        let compressed = |cluster: &FakeCluster, partition| {
            let batches = cluster.partition("t", partition).unwrap().log().batches();
            batches.filter(|batch| batch.header.attributes.compression() != Ok(Compression::None)).count()
        };
        outcome.count(
            "compressed",
            self.pipes.control(|cluster, _| {
                (0..plan.partitions).map(|partition| compressed(cluster, partition) as u64).sum()
            }),
        );
        outcome.count("lost", self.pipes.control(|cluster, _| cluster.lost().len() as u64));
        Ok(outcome)
    }

    pub(crate) fn called(&self) {
        self.seen.calls.set(self.seen.calls.get() + 1);
    }

    pub(crate) fn tell(&self, partition: i32, value: String, fate: Fate) -> Kept {
        if let Fate::Written(offset) = fate {
            self.is_replicated(partition, offset)?;
        }
        self.seen.sent.borrow_mut().push(Sent { partition, value, fate });
        Ok(())
    }

    /// The topic, when it can be had.
    pub(crate) async fn topic(&self, producer: &Producer) -> TopicProducer {
        self.topic_of(producer, "t").await
    }

    pub(crate) async fn topic_of(&self, producer: &Producer, name: &str) -> TopicProducer {
        loop {
            self.called();
            match producer.topic(name).await {
                Ok(topic) => return topic,
                Err(error) => self.note(|| format!("the topic cannot be opened: {error}")),
            }
            sleep(secs(1)).await;
        }
    }

    /// A call must end within its wait, its time-out and a little; where nothing is wrong it needs no time-out.
    pub(crate) async fn in_time<F: Future>(
        &self,
        what: &str,
        wait: Duration,
        timeout: Duration,
        call: F,
    ) -> Kept<F::Output> {
        self.called();
        let start = Instant::now();
        let output = call.await;
        let took = start.elapsed();
        let limit = wait + self.prompt.unwrap_or(timeout + GRACE);
        if took > limit {
            return Err(broken(IN_TIME, format!("{what} took {took:?}, at most {limit:?} was expected")));
        }
        Ok(output)
    }
}

/// What a producing call that failed says of its records.
pub(crate) fn fate(error: &Error) -> Kept<Fate> {
    match error {
        Error::Delivery(error) => Ok(match error.outcome {
            DeliveryOutcome::NotWritten => Fate::NotWritten,
            DeliveryOutcome::Written => Fate::Somewhere,
            DeliveryOutcome::MayHaveBeenWritten => Fate::Unknown,
        }),
        error => Err(broken(ONE_OUTCOME, format!("produce ended with {error:?}"))),
    }
}

/// What became of one record.
pub(crate) fn delivered(result: ottla::Result<ottla::Delivered>) -> Kept<Fate> {
    match result {
        Ok(delivered) => match delivered.offset {
            Some(offset) => Ok(Fate::Written(offset)),
            None => Err::<_, Broken>(broken(ACKNOWLEDGED, "no offset with acks = all")),
        },
        Err(error) => fate(&error),
    }
}
