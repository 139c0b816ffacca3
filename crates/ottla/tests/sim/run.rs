//! One run: the cluster, the client, the application's tasks, the faults, and what came of it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ottla::{Client, Delivery, Error, PartitionClient, Producer, Record};
use ottla_core::producer::DeliveryOutcome;
use ottla_fake::{FakeCluster, Reaction, Rule, Stage};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::check::check;
use crate::history::History;
use crate::plan::{Fault, KINDS, Kind, Plan};
use crate::random::Random;
use crate::support::{PipeTransport, millis, polled, secs};

/// Time-out of a single request.
const REQUEST_TIMEOUT: Duration = secs(2);

/// How long a call other than `produce` may take.
const CALL_TIMEOUT: Duration = secs(3);

/// What calls may take beyond their own time-outs.
const GRACE: Duration = secs(1);

/// What calls may take beyond the wait they ask for while nothing is wrong.
const PROMPT: Duration = millis(300);

/// After so long every pause between attempts is over.
const MENDED: Duration = secs(10);

/// How long calls take when nothing is wrong, the first look at things included.
const AT_ONCE: Duration = secs(1);

/// Everything is over by then, or something waits for ever.
const LONGEST: Duration = secs(900);

/// What a value came to, as far as the application was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged at this offset.
    Written(i64),
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

/// What becomes of a record that a producer was given.
enum Promise {
    Open(Delivery),
    /// It was waited for.
    Kept(Fate),
}

/// What the tasks saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: RefCell<Vec<Sent>>,
    /// What a reader got, by partition: offsets and values.
    pub(crate) read: RefCell<Vec<Vec<(i64, String)>>>,
    /// Writers at work.
    writing: Cell<u64>,
    /// Calls that were made.
    pub(crate) calls: Cell<u64>,
}

/// What a run was made of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) struck: [u64; KINDS.len()],
    pub(crate) written: u64,
    pub(crate) not_written: u64,
    pub(crate) unknown: u64,
    pub(crate) read: u64,
    pub(crate) requests: u64,
    pub(crate) lost: u64,
    pub(crate) splits: u64,
    pub(crate) awaited: u64,
    /// Requests of a hundred that were allowed, in the run that made most of them.
    pub(crate) busiest: u64,
    /// Processor time of all runs, and of the longest with its seed.
    pub(crate) cost: Duration,
    pub(crate) most: (Duration, u64),
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        for (total, struck) in self.struck.iter_mut().zip(other.struck) {
            *total += struck;
        }
        self.written += other.written;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
        self.read += other.read;
        self.requests += other.requests;
        self.lost += other.lost;
        self.splits += other.splits;
        self.awaited += other.awaited;
        self.busiest = self.busiest.max(other.busiest);
        self.cost += other.cost;
        self.most = self.most.max(other.most);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, not_written, unknown, read, requests, lost, splits, awaited, .. } = self;
        writeln!(
            f,
            "{written} written, {not_written} not written, {unknown} unknown, {read} read, {awaited} awaited one by \
             one, {splits} batches split, {lost} lost by unclean elections"
        )?;
        writeln!(f, "{requests} requests, in one run {} % of what is allowed", self.busiest)?;
        write!(f, "struck:")?;
        for (kind, struck) in KINDS.iter().zip(self.struck) {
            write!(f, " {kind} {struck}")?;
        }
        let struck = KINDS.iter().zip(self.struck).map(|(kind, times)| (*kind, times));
        let seen = [("written", *written), ("not written", *not_written), ("unknown", *unknown)];
        let more = [("split", *splits), ("awaited", *awaited), ("lost", *lost)];
        let all = struck.chain(seen).chain(more);
        let never: Vec<_> = all.filter(|(_, times)| *times == 0).map(|(what, _)| what).collect();
        writeln!(f, "\nnever: {}", if never.is_empty() { "nothing".to_owned() } else { never.join(", ") })?;
        let (most, seed) = self.most;
        write!(f, "at most {:.1} ms of processor time (seed {seed})", most.as_secs_f64() * 1e3)
    }
}

/// Runs a plan; what was promised and not kept is the error.
pub(crate) fn run(plan: &Plan, history: Option<&History>) -> Result<Outcome, String> {
    let _events = history.map(History::listen);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let tasks = LocalSet::new();
    let whole = async { tokio::time::timeout(LONGEST, play(plan, history.cloned())).await };
    tasks
        .block_on(&runtime, whole)
        .unwrap_or_else(|_| Err(format!("something still waits after {LONGEST:?}")))
}

async fn play(plan: &Plan, history: Option<History>) -> Result<Outcome, String> {
    let start = Instant::now();
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(plan.nodes).session_timeout(secs(2)));
    let limit = plan.max_message_bytes.map(|bytes| bytes.to_string());
    let limit: Vec<_> = limit.iter().map(|bytes| ("max.message.bytes", bytes.as_str())).collect();
    pipes.create_with("t", plan.partitions, i16::try_from(plan.nodes).unwrap(), &limit);
    for (node, latency) in (1..).zip(&plan.latencies) {
        pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, *latency)).node(node));
    }
    let world = Rc::new(World {
        pipes: pipes.clone(),
        seen: Seen { read: RefCell::new(vec![Vec::new(); plan.partitions as usize]), ..Seen::default() },
        outcome: RefCell::default(),
        history,
        prompt: match plan.max_message_bytes {
            _ if !plan.faults.is_empty() => None,
            // What follows a batch that is split comes too early for the broker, and again after a pause.
            Some(_) => Some(millis(2_000)),
            None => Some(PROMPT),
        },
    });
    let client = pipes
        .builder()
        .seed(plan.seed)
        .connect_timeout(secs(1))
        .request_timeout(REQUEST_TIMEOUT)
        .idle_timeout(plan.idle_timeout)
        .build()
        .await
        .map_err(|error| format!("the client cannot be built: {error}"))?;

    let faults: Vec<_> = plan
        .faults
        .iter()
        .map(|fault| tokio::task::spawn_local(world.clone().strike(fault.clone())))
        .collect();
    let random = Random::new(plan.seed);
    let writers: Vec<_> = (0..plan.writers)
        .map(|writer| {
            let random = random.branch(100 + writer);
            tokio::task::spawn_local(world.clone().write(plan.clone(), client.clone(), writer, random))
        })
        .collect();
    let producer = new_producer(plan, &client).await?;
    world.seen.writing.set(plan.writers + plan.pourers);
    let mut pourers = Vec::new();
    for pourer in 0..plan.pourers {
        let random = random.branch(300 + pourer);
        let producer = if plan.leaves { new_producer(plan, &client).await? } else { producer.clone() };
        pourers.push(tokio::task::spawn_local(world.clone().pour(plan.clone(), producer, pourer, random)));
    }
    let readers: Vec<_> = (0..plan.partitions)
        .map(|partition| {
            let random = random.branch(200 + partition as u64);
            tokio::task::spawn_local(world.clone().read(client.clone(), partition, random))
        })
        .collect();
    for task in writers.into_iter().chain(pourers) {
        task.await.map_err(|error| format!("a writer: {error}"))??;
        world.seen.writing.set(world.seen.writing.get() - 1);
    }
    for fault in faults {
        fault.await.map_err(|error| format!("a fault: {error}"))?;
    }
    for task in readers {
        task.await.map_err(|error| format!("a reader: {error}"))??;
    }
    world.works_again(plan, &client, &producer).await?;
    producer.flush().await;
    let metrics = producer.metrics();
    if metrics.buffered > 0 || metrics.in_flight > 0 {
        return Err(format!("the producer has flushed, and still holds {metrics:?}"));
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
        return Err(format!("{open} connections are open after the client is gone"));
    }
    let share = check(plan, &pipes, &world.seen, start.elapsed())?;
    let mut outcome = world.outcome.take();
    outcome.splits = metrics.splits;
    outcome.busiest = share;
    for sent in world.seen.sent.borrow().iter() {
        match sent.fate {
            Fate::Written(_) => outcome.written += 1,
            Fate::NotWritten => outcome.not_written += 1,
            Fate::Unknown => outcome.unknown += 1,
        }
    }
    outcome.read = world.seen.read.borrow().iter().map(|read| read.len() as u64).sum();
    outcome.requests = pipes.control(|cluster, _| cluster.counters().all_requests());
    outcome.lost = pipes.control(|cluster, _| cluster.lost().len() as u64);
    Ok(outcome)
}

/// With nothing to do, no connection stays open; a look at the metadata may open one now and then.
async fn closes_what_is_idle(plan: &Plan, pipes: &PipeTransport) -> Result<(), String> {
    let pause = plan.idle_timeout + secs(1);
    for _ in 0..3 {
        sleep(pause).await;
        if pipes.connections_open() == 0 {
            return Ok(());
        }
    }
    Err(format!("{} connections are open though nobody uses them", pipes.connections_open()))
}

async fn new_producer(plan: &Plan, client: &Client) -> Result<Producer, String> {
    let producer = client
        .producer()
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(plan.delivery_timeout)
        .batch_size(plan.batch_size)
        .buffer_memory(plan.batch_size * 16)
        .linger(plan.linger);
    producer.build().await.map_err(|error| format!("the producer cannot be built: {error}"))
}

struct World {
    pipes: PipeTransport,
    seen: Seen,
    outcome: RefCell<Outcome>,
    history: Option<History>,
    /// How long calls may take where nothing is wrong.
    prompt: Option<Duration>,
}

impl World {
    fn note(&self, what: impl FnOnce() -> String) {
        if let Some(history) = &self.history {
            history.note(&what());
        }
    }

    /// A fault from its beginning to its end.
    async fn strike(self: Rc<Self>, fault: Fault) {
        sleep(fault.at).await;
        self.note(|| format!("fault begins: {:?}", fault.kind));
        let pipes = &self.pipes;
        let mut struck = 1;
        match fault.kind {
            Kind::Rule { .. } => {
                let rule = pipes.rule(fault.kind.rule().unwrap());
                sleep(fault.lasts).await;
                struck = pipes.struck(rule);
                pipes.control(|cluster, now| cluster.remove_rule(now, rule));
            }
            Kind::Kill { node } => {
                pipes.control(|cluster, now| cluster.kill(now, node));
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| cluster.restart(now, node));
            }
            Kind::Pause { node } => {
                pipes.control(|cluster, now| cluster.pause(now, node));
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| cluster.resume(now, node));
            }
            Kind::Move { partition, node } => struck = self.lead(partition, node),
            Kind::Cut => pipes.disconnect_all(),
            Kind::Lag { partition, node } => {
                pipes.control(|cluster, now| cluster.hold_replica(now, "t", partition, node)).unwrap();
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| cluster.release_replica(now, "t", partition, node)).unwrap();
            }
            Kind::Unclean { partition, node } => {
                pipes.control(|cluster, now| {
                    cluster.hold_replica(now, "t", partition, node).unwrap();
                    cluster.shrink_isr(now, "t", partition, node).unwrap();
                });
                sleep(fault.lasts).await;
                struck = self.lead(partition, node);
                pipes.control(|cluster, now| cluster.release_replica(now, "t", partition, node)).unwrap();
            }
        }
        self.note(|| format!("fault ends: {:?}", fault.kind));
        self.outcome.borrow_mut().struck[fault.kind.number()] += struck;
    }

    /// Makes a node the leader, if it is alive; 1 if it is.
    fn lead(&self, partition: i32, node: i32) -> u64 {
        u64::from(self.pipes.control(|cluster, now| cluster.move_leader(now, "t", partition, node)).is_ok())
    }

    async fn write(
        self: Rc<Self>,
        plan: Plan,
        client: Client,
        writer: u64,
        mut random: Random,
    ) -> Result<(), String> {
        let mut partitions = Vec::new();
        for partition in 0..plan.partitions {
            partitions.push(self.open(&client, partition, plan.delivery_timeout).await?);
        }
        for call in 0..plan.calls {
            let partition = usize::try_from(random.below(partitions.len() as u64)).unwrap();
            let values: Vec<_> = (0..random.within(1..4)).map(|at| format!("{writer}-{call}-{at}")).collect();
            let polls = random.one_in(6).then(|| usize::try_from(random.below(6)).unwrap());
            self.produce(&plan, &partitions[partition], values, polls).await?;
            if random.one_in(2) {
                sleep(random.millis(0..1_500)).await;
            }
        }
        Ok(())
    }

    /// Hands records to a producer as fast as they go, and looks at what became of them later. Those of a partition are
    /// written in this order.
    async fn pour(
        self: Rc<Self>,
        plan: Plan,
        producer: Producer,
        pourer: u64,
        mut random: Random,
    ) -> Result<(), String> {
        let topic = loop {
            match producer.topic("t").await {
                Ok(topic) => break topic,
                Err(error) => self.note(|| format!("the topic cannot be opened: {error}")),
            }
            sleep(secs(1)).await;
        };
        let mut deliveries = Vec::new();
        for number in 0..plan.pours {
            // Digits in front: what comes of records that were not waited for is checked in this order.
            let value =
                format!("p{pourer}-{number}-{}", "x".repeat(usize::try_from(random.below(300)).unwrap()));
            let partition = i32::try_from(random.below(plan.partitions as u64)).unwrap();
            if plan.awaits > 0 && random.one_in(plan.awaits) {
                let call = topic.send_to(partition, Record::new(value.as_str()));
                let sent = self.in_time("send", Duration::ZERO, plan.delivery_timeout, call).await?;
                self.outcome.borrow_mut().awaited += 1;
                let fate = match sent {
                    Ok(delivered) => Fate::Written(delivered.offset.ok_or("no offset with acks = all")?),
                    Err(error) => fate(&error)?,
                };
                deliveries.push((partition, value, Promise::Kept(fate)));
                continue;
            }
            let call = topic.enqueue_to(partition, Record::new(value.as_str()));
            let enqueued = self.in_time("enqueue", Duration::ZERO, plan.delivery_timeout, call).await?;
            match enqueued {
                Ok(delivery) => deliveries.push((partition, value, Promise::Open(delivery))),
                Err(error) => {
                    self.note(|| format!("{value} for {partition}: {error}"));
                    deliveries.push((partition, value, Promise::Kept(fate(&error)?)));
                }
            }
            if random.one_in(20) {
                sleep(random.millis(0..400)).await;
            }
            if random.one_in(100) {
                let flush = producer.flush();
                self.in_time("flush", Duration::ZERO, plan.delivery_timeout, flush).await?;
            }
        }
        // It may have been the last handle: what was accepted is written all the same.
        drop((topic, producer));
        for (partition, value, delivery) in deliveries {
            let fate = match delivery {
                Promise::Kept(fate) => fate,
                Promise::Open(delivery) if !random.one_in(10) => {
                    let limit = plan.delivery_timeout;
                    match self.in_time("delivery", Duration::ZERO, limit, delivery).await? {
                        Ok(delivered) => Fate::Written(delivered.offset.ok_or("no offset with acks = all")?),
                        Err(error) => fate(&error)?,
                    }
                }
                Promise::Open(_) => Fate::Unknown,
            };
            self.tell(partition, value, fate);
        }
        Ok(())
    }

    /// Some time after everything is mended, nothing is the worse for what has been.
    async fn works_again(&self, plan: &Plan, client: &Client, producer: &Producer) -> Result<(), String> {
        sleep(MENDED).await;
        for partition in 0..plan.partitions {
            // The first to meet a leader that has lost records may be refused; whoever comes then starts over there.
            let lossy =
                self.pipes.control(|cluster, _| cluster.lost().iter().any(|it| it.partition == partition));
            let mut left = if lossy { 3 } else { 1 };
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
            match tokio::time::timeout(AT_ONCE, written).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(format!("partition {partition} does not work again: {error}")),
                Err(_) => {
                    return Err(format!("partition {partition} does not work again within {AT_ONCE:?}"));
                }
            }
        }
        Ok(())
    }

    fn called(&self) {
        self.seen.calls.set(self.seen.calls.get() + 1);
    }

    fn tell(&self, partition: i32, value: String, fate: Fate) {
        self.seen.sent.borrow_mut().push(Sent { partition, value, fate });
    }

    async fn open(
        &self,
        client: &Client,
        partition: i32,
        delivery_timeout: Duration,
    ) -> Result<PartitionClient, String> {
        loop {
            let build =
                client.partition("t", partition).timeout(CALL_TIMEOUT).delivery_timeout(delivery_timeout);
            match self.in_time("partition_client", Duration::ZERO, CALL_TIMEOUT, build.build()).await? {
                Ok(partition) => return Ok(partition),
                Err(error) => self.note(|| format!("partition {partition} cannot be opened: {error}")),
            }
            sleep(secs(1)).await;
        }
    }

    /// Produces the values in one call, whose future is dropped after so many polls, if that is said.
    async fn produce(
        &self,
        plan: &Plan,
        client: &PartitionClient,
        values: Vec<String>,
        polls: Option<usize>,
    ) -> Result<(), String> {
        let partition = client.partition();
        self.note(|| format!("produce {values:?} to {partition}, dropped after {polls:?} polls"));
        let call = client.produce(values.iter().map(|value| Record::new(value.as_str())).collect());
        let result = match polls {
            None => Some(self.in_time("produce", Duration::ZERO, plan.delivery_timeout, call).await?),
            Some(polls) => {
                self.called();
                polled(polls, call).await
            }
        };
        self.note(|| format!("produce {values:?} to {partition}: {result:?}"));
        let fates = match result {
            Some(Ok(offsets)) if offsets.len() == values.len() => {
                offsets.into_iter().map(Fate::Written).collect()
            }
            Some(Ok(offsets)) => {
                return Err(format!("{} values have {} offsets", values.len(), offsets.len()));
            }
            Some(Err(error)) => vec![fate(&error)?; values.len()],
            None if polls == Some(0) => vec![Fate::NotWritten; values.len()],
            None => vec![Fate::Unknown; values.len()],
        };
        let sent = values.into_iter().zip(fates).map(|(value, fate)| Sent { partition, value, fate });
        self.seen.sent.borrow_mut().extend(sent);
        Ok(())
    }

    /// Follows a partition from its start until nothing more will come.
    async fn read(self: Rc<Self>, client: Client, partition: i32, mut random: Random) -> Result<(), String> {
        let reader = self.open(&client, partition, CALL_TIMEOUT).await?;
        let mut next = 0;
        loop {
            let is_last = self.seen.writing.get() == 0;
            let wait = random.millis(0..500);
            let poll = reader.fetch_records(next, 1..100_000, i32::try_from(wait.as_millis()).unwrap());
            match self.in_time("fetch_records", wait, CALL_TIMEOUT, poll).await? {
                Ok((records, end)) => {
                    let is_over = is_last && records.is_empty() && next >= end;
                    for record in records {
                        let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
                        self.seen.read.borrow_mut()[partition as usize].push((record.offset, value));
                        if record.offset < next {
                            return Err(format!("asked for {next}, got offset {}", record.offset));
                        }
                        next = record.offset + 1;
                    }
                    if is_over {
                        return Ok(());
                    }
                }
                Err(error) if error.code() == Some(ottla::wire::ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    // Only an unclean election takes what was there; the checks know of it.
                    self.note(|| format!("reader of {partition} is out of range: {error}"));
                    return Ok(());
                }
                Err(error) => {
                    self.note(|| format!("reader of {partition}: {error}"));
                    sleep(Duration::from_millis(200)).await;
                }
            }
            if random.one_in(4) {
                sleep(random.millis(0..300)).await;
            }
        }
    }

    /// A call must end within its wait, its time-out and a little; where nothing is wrong it needs no time-out.
    async fn in_time<F: Future>(
        &self,
        what: &str,
        wait: Duration,
        timeout: Duration,
        call: F,
    ) -> Result<F::Output, String> {
        self.called();
        let start = Instant::now();
        let output = call.await;
        let took = start.elapsed();
        let limit = wait + self.prompt.unwrap_or(timeout + GRACE);
        if took > limit {
            return Err(format!("{what} took {took:?}, at most {limit:?} was expected"));
        }
        Ok(output)
    }
}

fn fate(error: &Error) -> Result<Fate, String> {
    match error {
        Error::Delivery(error) => Ok(match error.outcome {
            DeliveryOutcome::NotWritten => Fate::NotWritten,
            _ => Fate::Unknown,
        }),
        error => Err(format!("produce ended with {error:?}")),
    }
}
