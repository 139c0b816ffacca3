//! The task of a producer: carries what the [`Producer`] machine asks for between outboxes, connections, metadata and
//! those who wait.
//!
//! Decides nothing but when compression leaves the task: batches above [`INLINE_SEAL`] go to a few blocking threads.
//! However the task ends, everybody who waits on it is told.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ottla_core::calls::Target;
use ottla_core::connection::{Answer, Outgoing};
use ottla_core::error::{Failure, Outcome, RequestError};
use ottla_core::metadata::{Destination, Leader, Lookup, broker};
use ottla_core::partition_queue::{Acks, Batch, ReadyBatch, SealError};
use ottla_core::producer::{
    Action, DeliveryCause, DeliveryError, PartitionId, Producer, ProducerIdFailure, ProducerSettings,
    RequestToken, SendRequest, SequenceReset, Written,
};
use ottla_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::messages::produce::{ProduceRequest, ProduceResponse, TopicProduceResponse};
use ottla_wire::records::ChunkPool;
use ottla_wire::{ApiKey, ErrorCode, Str};
use tokio::sync::{mpsc, watch};

use super::alarm::Alarm;
use super::cluster::{Cluster, Owner, Plan, Purpose, Verdict};
use super::connection::{Handle, Reply, ReplyTo};
use super::{by_id_or_name, now};
use crate::error::{Error, Result};
use crate::producer::{Delivery, Outbox, Shared, is_same, recreated};

/// Batches up to this size are compressed in the task: a hop to another thread costs about as much.
const INLINE_SEAL: usize = 16 * 1024;

/// How often the task lets others go first for the sake of one request; a turn with nobody else costs a microsecond or
/// two.
const PATIENCE: usize = 8;

/// What the task is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// The outbox has something, or something else than before.
    Ready(Arc<Outbox>),
    /// A blocking thread is done with a batch.
    Sealed(Box<Sealed>),
    /// InitProducerId came to this.
    ProducerId(Result<(i64, i16), ProducerIdFailure>),
    /// Nobody will append any more.
    Close,
}

/// A batch back from a blocking thread.
#[derive(Debug)]
pub(crate) struct Sealed {
    partition: PartitionId,
    /// `None` when the thread panicked or its runtime is gone; the delivery has been told.
    result: Option<Result<Batch<Delivery>, SealError<Delivery>>>,
    memory: usize,
    pool: ChunkPool,
}

/// Everything the task works with. Dropped, whatever the reason, it tells everybody who waits on it.
#[derive(Debug)]
pub(crate) struct Task {
    cluster: Arc<Cluster>,
    owner: Owner,
    shared: Arc<Shared>,
    producer: Producer<Delivery>,
    outboxes: BTreeMap<PartitionId, Arc<Outbox>>,
    events: mpsc::UnboundedReceiver<Event>,
    replies: mpsc::UnboundedReceiver<Reply>,
    reply_to: mpsc::UnboundedSender<Reply>,
    changes: watch::Receiver<u64>,
    /// The connection of each request that is out.
    sent: HashMap<RequestToken, Handle>,
    sealer: Sealer,
    /// Who was told of an acknowledgement since and has not appended again, as far as events tell.
    away: usize,
    /// Somebody appended of whom nothing was known: there may be more.
    newcomers: bool,
    is_closing: bool,
}

/// Compression: in the task with `pool`, or on a bounded number of blocking threads.
#[derive(Debug)]
struct Sealer {
    pool: ChunkPool,
    idle: Vec<ChunkPool>,
    waiting: VecDeque<(PartitionId, ReadyBatch<Delivery>)>,
    running: usize,
    limit: usize,
}

enum Wake {
    Event(Event),
    Reply(Reply),
    Metadata,
    Timer,
}

impl Task {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        shared: Arc<Shared>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        let (reply_to, replies) = mpsc::unbounded_channel();
        let settings = ProducerSettings { backoff: cluster.settings().retry, ..ProducerSettings::default() };
        Self {
            owner: cluster.new_owner(),
            producer: Producer::new(now(), settings, cluster.random()),
            changes: cluster.watch_metadata(),
            cluster,
            shared,
            outboxes: BTreeMap::new(),
            events,
            replies,
            reply_to,
            sent: HashMap::new(),
            sealer: Sealer::new(),
            away: 0,
            newcomers: false,
            is_closing: false,
        }
    }

    /// Until the last handle is gone and everything that was accepted is resolved.
    pub(crate) async fn run(mut self) {
        let mut alarm = Alarm::new();
        loop {
            self.act().await;
            if self.is_closing && self.producer.is_idle() {
                return;
            }
            let wake = self.next(&mut alarm).await;
            self.handle(wake);
            self.drain();
        }
    }

    /// Does what the machine asks for.
    async fn act(&mut self) {
        while let Some(action) = self.producer.poll_action() {
            if matches!(action, Action::Take { .. }) {
                self.await_company().await;
            }
            match action {
                Action::Take { partition } => self.take(partition),
                Action::Send(request) => self.send(request),
                Action::InitProducerId(request) => self.init_producer_id(request),
                Action::RefreshMetadata { reason, avoid } => {
                    tracing::debug!(?reason, ?avoid, "producer asks for metadata");
                    self.refresh(avoid);
                }
                Action::Resolve { partition, delivery, memory, result } => {
                    self.resolve(partition, delivery, memory, result);
                }
                Action::SequenceReset(reset) => log_reset(&reset),
                Action::Closed { partition, old, new } => {
                    if let Some(outbox) = self.outboxes.remove(&partition) {
                        tracing::warn!(topic = &*outbox.topic, partition = outbox.partition, %old, %new, "topic was created again");
                        self.shared.memory.add_permits(outbox.close(&recreated(
                            &outbox.topic,
                            outbox.partition,
                            old,
                            new,
                        )));
                    }
                }
            }
        }
    }

    /// Round the other tasks, so that what they append now shares the request. They may be on another thread: as long
    /// as somebody is missing, a few times. One who appends alone, again and again, is not kept waiting: everybody is
    /// there.
    async fn await_company(&mut self) {
        for _ in 0..PATIENCE {
            let newcomers = std::mem::take(&mut self.newcomers);
            if self.away == 0 && !newcomers {
                break;
            }
            tokio::task::yield_now().await;
            self.drain();
        }
        self.away = 0;
    }

    async fn next(&mut self, alarm: &mut Alarm) -> Wake {
        alarm.set(self.producer.poll_timeout());
        let Self { events, replies, changes, .. } = self;
        let mut changed = pin!(changes.changed());
        poll_fn(|cx| {
            if let Poll::Ready(Some(reply)) = replies.poll_recv(cx) {
                return Poll::Ready(Wake::Reply(reply));
            }
            if let Poll::Ready(Some(event)) = events.poll_recv(cx) {
                return Poll::Ready(Wake::Event(event));
            }
            if let Poll::Ready(Ok(())) = changed.as_mut().poll(cx) {
                return Poll::Ready(Wake::Metadata);
            }
            alarm.poll_ring(cx).map(|()| Wake::Timer)
        })
        .await
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Event(event) => self.handle_event(event),
            Wake::Reply(reply) => self.handle_reply(reply),
            Wake::Metadata => self.update_leaders(),
            Wake::Timer => self.producer.handle_timeout(now()),
        }
    }

    /// Whatever else has arrived or is due: channels that are never empty do not keep time from passing.
    fn drain(&mut self) {
        if self.producer.poll_timeout().is_some_and(|due| due <= now()) {
            self.producer.handle_timeout(now());
        }
        while let Ok(reply) = self.replies.try_recv() {
            self.handle_reply(reply);
        }
        while let Ok(event) = self.events.try_recv() {
            self.handle_event(event);
        }
        if self.changes.has_changed().unwrap_or(false) {
            self.update_leaders();
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Ready(outbox) => {
                match self.away.checked_sub(1) {
                    Some(away) => self.away = away,
                    None => self.newcomers = true,
                }
                if let Some(id) = self.open(&outbox) {
                    self.producer.handle_ready(now(), id, outbox.ready());
                }
            }
            Event::Sealed(sealed) => {
                self.sealer.finish(sealed.pool);
                match sealed.result {
                    Some(result) => self.push(sealed.partition, result),
                    None => self.skip(sealed.partition, sealed.memory),
                }
                self.seal_next();
            }
            Event::ProducerId(result) => {
                if let Err(failure) = &result {
                    tracing::warn!(%failure, "no producer id");
                }
                self.producer.handle_producer_id(now(), result);
            }
            Event::Close => self.is_closing = true,
        }
    }

    /// The machine's handle of an outbox, which hears of the partition's leader here first.
    fn open(&mut self, outbox: &Arc<Outbox>) -> Option<PartitionId> {
        if let Some(id) = outbox.id.get() {
            return Some(*id);
        }
        let topic = self.cluster.with_metadata(|metadata| {
            metadata.want_topic(now(), &outbox.topic);
            match metadata.topic(&outbox.topic) {
                Lookup::Known(topic) => Some(topic),
                _ => None,
            }
        });
        if let Some(topic) = topic.as_ref().filter(|topic| !is_same(topic.id, outbox.topic_id)) {
            let error = recreated(&outbox.topic, outbox.partition, outbox.topic_id, topic.id);
            self.shared.memory.add_permits(outbox.close(&error));
            return None;
        }
        let name = Str::from(&*outbox.topic);
        let id = self.producer.open(now(), &name, outbox.topic_id, outbox.partition);
        let id = *outbox.id.get_or_init(|| id);
        self.outboxes.insert(id, outbox.clone());
        if let Some(topic) = topic {
            self.producer.handle_leader(now(), id, topic.leader(outbox.partition));
        }
        Some(id)
    }

    fn take(&mut self, partition: PartitionId) {
        let batch = self.outboxes.get(&partition).and_then(|outbox| outbox.take());
        match batch {
            None => self.producer.nothing_to_push(now(), partition, None),
            Some(batch) if batch.is_compressed() && batch.encoded_len() > INLINE_SEAL => {
                self.sealer.waiting.push_back((partition, batch));
                self.seal_next();
            }
            Some(batch) => {
                let result = batch.seal(&mut self.sealer.pool);
                self.push(partition, result);
            }
        }
    }

    fn push(&mut self, partition: PartitionId, result: Result<Batch<Delivery>, SealError<Delivery>>) {
        let outbox = self.outboxes.get(&partition);
        match result {
            Ok(batch) => {
                let ready = outbox.and_then(|outbox| outbox.ready());
                self.producer.push(now(), partition, batch, ready);
            }
            Err(SealError { delivery, memory, source }) => {
                if let Some(outbox) = outbox {
                    let (topic, partition) = (outbox.topic.clone(), outbox.partition);
                    let problem = format!("the batch cannot be compressed: {source}");
                    delivery.resolve(Err(Error::Record { topic, partition, problem }));
                }
                self.skip(partition, memory);
            }
        }
    }

    /// A batch is gone without the machine having seen it.
    fn skip(&mut self, partition: PartitionId, memory: usize) {
        self.release(partition, memory);
        let ready = self.outboxes.get(&partition).and_then(|outbox| outbox.ready());
        self.producer.nothing_to_push(now(), partition, ready);
    }

    fn seal_next(&mut self) {
        while let Some((partition, batch)) = self.sealer.next() {
            let pool = self.sealer.idle.pop().unwrap_or_default();
            let job = Job::new(partition, batch, pool, self.shared.events.clone());
            self.cluster.runtime().spawn_blocking(move || job.run());
        }
    }

    fn send(&mut self, request: SendRequest) {
        let SendRequest { token, broker_id, request, acks, timeout } = request;
        let to = Destination::Broker(broker_id);
        let Some(handle) = self.cluster.connection(&to, Purpose::Produce, self.owner) else {
            let error = self.cluster.unknown_broker(&to, ApiKey::PRODUCE);
            return self.producer.handle_lost(now(), token, &error);
        };
        let now = now();
        let has_ids = request.topic_data.iter().all(|topic| !topic.topic_id.is_nil());
        let outgoing = Outgoing {
            request: by_id_or_name(request, has_ids),
            deadline: now.checked_add(timeout).unwrap_or(now),
            // For as long as its replicas may take the broker is not silent.
            own_wait: timeout.saturating_sub(self.cluster.settings().request_timeout),
            expects_answer: acks != Acks::None,
        };
        handle.send(outgoing, ReplyTo::Channel { sender: self.reply_to.clone(), token: token.0 }, None);
        self.sent.insert(token, handle);
    }

    fn handle_reply(&mut self, reply: Reply) {
        let token = RequestToken(reply.token);
        let handle = self.sent.remove(&token);
        match reply.outcome {
            Ok(None) => self.producer.handle_written(now(), token),
            Ok(Some(answer)) => match answer.decode::<ProduceRequest>() {
                Ok(response) => self.handle_answer(token, &answer, &response, handle.as_ref()),
                Err(error) => {
                    let reason = Failure::Decode(error);
                    let api = ApiKey::PRODUCE;
                    let error = RequestError { peer: answer.peer, api, outcome: Outcome::Unknown, reason };
                    log_lost(&error, self.producer.carried(token));
                    self.producer.handle_lost(now(), token, &error);
                }
            },
            Err(error) => {
                log_lost(&error, self.producer.carried(token));
                self.producer.handle_lost(now(), token, &error);
            }
        }
    }

    fn handle_answer(
        &mut self,
        token: RequestToken,
        answer: &Answer,
        response: &ProduceResponse,
        handle: Option<&Handle>,
    ) {
        self.take_refusals(token, answer, response);
        let mismatch = self.producer.handle_answer(now(), token, answer.version, response);
        if !mismatch.is_empty() {
            tracing::warn!(broker = %answer.peer, ?mismatch, "produce answer does not match its request");
        }
        if let Some(handle) = handle {
            handle.throttle(response.throttle_time_ms);
        }
    }

    /// Logs what went wrong, and hands on whom the broker names as the new leaders (KIP-951).
    fn take_refusals(&self, token: RequestToken, answer: &Answer, response: &ProduceResponse) {
        for topic in &response.responses {
            for refused in topic.partition_responses.iter().filter(|it| it.error_code.is_err()) {
                let Some(name) = self.name(topic) else { continue };
                let (partition, code) = (refused.index, refused.error_code);
                let mut carried = self.producer.carried(token);
                let attempt = carried.find(|(topic, index, _)| ***topic == *name && *index == partition);
                tracing::debug!(
                    broker = %answer.peer, api = %ApiKey::PRODUCE, topic = &*name, partition,
                    attempt = attempt.map(|(_, _, attempt)| attempt), %code, next = next_after(code),
                    "answered with an error"
                );
                let leader = &refused.current_leader;
                if leader.leader_id >= 0 {
                    let endpoints = response.node_endpoints.iter();
                    let brokers =
                        endpoints.filter_map(|it| broker(it.node_id, &it.host, it.port, it.rack.as_deref()));
                    let leader = Leader { broker_id: leader.leader_id, epoch: leader.leader_epoch };
                    self.cluster.hint(&name, partition, leader, brokers.collect());
                }
            }
        }
    }

    /// The name of a topic that is answered by name or by id.
    fn name(&self, topic: &TopicProduceResponse) -> Option<Arc<str>> {
        if !topic.name.is_empty() {
            return Some(Arc::from(&*topic.name));
        }
        self.cluster.with_metadata(|metadata| Some(metadata.topic_by_id(topic.topic_id)?.name.clone()))
    }

    fn resolve(
        &mut self,
        partition: PartitionId,
        delivery: Delivery,
        memory: usize,
        result: Result<Written, DeliveryError>,
    ) {
        if let Err(error) = &result {
            log_failed(error, self.is_closing);
        }
        self.away += delivery.waiters();
        delivery.resolve(result.map_err(|error| Error::Delivery(Arc::new(error))));
        self.release(partition, memory);
    }

    fn release(&self, partition: PartitionId, memory: usize) {
        if let Some(outbox) = self.outboxes.get(&partition) {
            outbox.release(memory);
        }
        self.shared.memory.add_permits(memory);
    }

    fn refresh(&self, avoid: Option<i32>) {
        let busy = self.outboxes.values().filter(|outbox| outbox.is_busy());
        let names: BTreeSet<&Arc<str>> = busy.map(|outbox| &outbox.topic).collect();
        self.cluster.with_metadata(|metadata| {
            for name in names {
                metadata.want_topic(now(), name);
            }
            metadata.request_refresh(now(), avoid);
        });
    }

    /// The metadata has changed. What it does not know (any more) keeps its leader: that broker will say.
    fn update_leaders(&mut self) {
        self.changes.mark_unchanged();
        let outboxes = &self.outboxes;
        let news: Vec<_> = self.cluster.with_metadata(|metadata| {
            for outbox in outboxes.values().filter(|outbox| outbox.take_used()) {
                metadata.want_topic(now(), &outbox.topic);
            }
            let known = outboxes.iter().filter_map(|(id, outbox)| match metadata.topic(&outbox.topic) {
                Lookup::Known(topic) => Some((*id, outbox.clone(), topic)),
                _ => None,
            });
            known.collect()
        });
        for (id, outbox, topic) in news {
            if is_same(topic.id, outbox.topic_id) {
                self.producer.handle_leader(now(), id, topic.leader(outbox.partition));
            } else {
                self.producer.handle_topic_id(now(), &Str::from(&*outbox.topic), topic.id);
            }
        }
    }

    fn init_producer_id(&self, request: InitProducerIdRequest) {
        let (cluster, events) = (self.cluster.clone(), self.shared.events.clone());
        self.cluster.runtime().spawn(async move {
            let plan = Plan {
                target: Target::AnyBroker,
                purpose: Purpose::Control,
                timeout: cluster.settings().request_timeout,
                own_wait: Duration::ZERO,
            };
            let judge = |_: &Answer, response: InitProducerIdResponse| match response.error_code {
                ErrorCode::NONE => Verdict::Done((response.producer_id, response.producer_epoch)),
                code => Verdict::Code(code, None),
            };
            let result =
                cluster.call::<InitProducerIdRequest, _>(plan, |_| Box::new(request.clone()), judge).await;
            let result = result.map_err(|error| match error.code() {
                Some(code) => ProducerIdFailure::Refused(code),
                None => ProducerIdFailure::Failed {
                    what: error.to_string().into(),
                    is_retriable: error.is_retriable(),
                },
            });
            let _gone = events.send(Event::ProducerId(result));
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // What the machine and the channels hold tells its waiters when it is dropped.
        self.shared.close();
        for outbox in self.outboxes.values() {
            outbox.close(&Error::Closed);
        }
        self.cluster.release(self.owner);
    }
}

impl Sealer {
    fn new() -> Self {
        let limit = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_SEALERS));
        Self { pool: ChunkPool::default(), idle: Vec::new(), waiting: VecDeque::new(), running: 0, limit }
    }

    fn next(&mut self) -> Option<(PartitionId, ReadyBatch<Delivery>)> {
        if self.running >= self.limit {
            return None;
        }
        let next = self.waiting.pop_front();
        self.running += usize::from(next.is_some());
        next
    }

    fn finish(&mut self, pool: ChunkPool) {
        self.running -= 1;
        self.idle.push(pool);
    }
}

/// More threads than this would take processors away from whoever makes the records.
const MAX_SEALERS: usize = 8;

/// A batch on its way through a blocking thread. It comes back to the task whatever happens.
struct Job {
    batch: Option<ReadyBatch<Delivery>>,
    sealed: Option<Box<Sealed>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Job {
    fn new(
        partition: PartitionId,
        batch: ReadyBatch<Delivery>,
        pool: ChunkPool,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let sealed = Sealed { partition, result: None, memory: batch.memory(), pool };
        Self { batch: Some(batch), sealed: Some(Box::new(sealed)), events }
    }

    fn run(mut self) {
        if let (Some(batch), Some(sealed)) = (self.batch.take(), &mut self.sealed) {
            sealed.result = Some(batch.seal(&mut sealed.pool));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(sealed) = self.sealed.take() {
            let _gone = self.events.send(Event::Sealed(sealed));
        }
    }
}

/// What the machine does about a partition that was answered with this code.
fn next_after(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => "taken as written",
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_EPOCH => "the sequence is looked into",
        code if code.is_retriable() || code.needs_metadata() => AGAIN,
        _ => GIVEN_UP,
    }
}

const AGAIN: &str = "sent again while the delivery time-out lasts";
const GIVEN_UP: &str = "given up";

/// A request without a usable answer, for each partition in it.
fn log_lost<'a>(error: &RequestError, carried: impl Iterator<Item = (&'a Str, i32, u32)>) {
    let next = if error.reason.is_retriable() { AGAIN } else { GIVEN_UP };
    for (topic, partition, attempt) in carried {
        tracing::debug!(
            broker = %error.peer, api = %error.api, topic = &**topic, partition, attempt, error = %error.reason,
            next, "no answer"
        );
    }
}

/// Who is to be named for a cause.
fn broker_of(cause: &DeliveryCause) -> Option<String> {
    match cause {
        DeliveryCause::Refused { broker, .. }
        | DeliveryCause::NotAnswered { broker }
        | DeliveryCause::Abandoned { broker } => Some(format!("broker {broker}")),
        DeliveryCause::Request(error) => Some(error.peer.to_string()),
        DeliveryCause::TimedOut { last: Some(last) } => broker_of(last),
        _ => None,
    }
}

/// The end of a batch that was not acknowledged; after the producer was dropped nobody else hears of it.
fn log_failed(error: &DeliveryError, is_closing: bool) {
    let (broker, code) = (broker_of(&error.cause), error.code().map(|code| code.to_string()));
    let (topic, partition, attempt) = (&*error.topic, error.partition, error.attempts);
    if is_closing {
        tracing::warn!(
            broker, api = %ApiKey::PRODUCE, topic, partition, attempt, code, error = %error.cause,
            outcome = %error.outcome, next = GIVEN_UP, "records are lost after their producer was dropped"
        );
    } else {
        tracing::debug!(
            broker, api = %ApiKey::PRODUCE, topic, partition, attempt, code, error = %error.cause,
            outcome = %error.outcome, next = GIVEN_UP, "not acknowledged"
        );
    }
}

fn log_reset(reset: &SequenceReset) {
    let SequenceReset { topic, partition, code, last_acknowledged, log_start_offset } = reset;
    if reset.is_retention() {
        tracing::info!(topic = &**topic, partition, %code, log_start_offset, "retention took the broker's memory of this producer: new epoch");
    } else {
        tracing::warn!(
            topic = &**topic, partition, %code, ?last_acknowledged, log_start_offset,
            "broker does not remember what it acknowledged, records may be lost: new epoch"
        );
    }
}
