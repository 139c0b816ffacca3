//! The engine of a producer: carries what the [`Producer`] machine asks for to outboxes, connections and metadata.
//!
//! Decides nothing but where batches are compressed. Whatever wakes others is handed back as an [`Effect`], for when
//! the engine's lock is released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::calls::Target;
use ottla_core::connection::{Answer, Outgoing};
use ottla_core::error::{Failure, Outcome, RequestError};
use ottla_core::metadata::{Destination, Leader, Lookup, broker};
use ottla_core::partition_queue::{Acks, Batch, Ready, SealError};
use ottla_core::producer::{
    Action, DeliveryError, PartitionId, Producer, ProducerIdFailure, ProducerMetrics, ProducerSettings,
    RequestToken, SendRequest, SplitBatch, Written,
};
use ottla_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::messages::produce::{ProduceRequest, ProduceResponse};
use ottla_wire::{ApiKey, ErrorCode, Str};
use tokio::runtime::Handle as Runtime;

use super::log::{log_failed, log_lost, log_reset, next_after};
use super::sealer::{Done, SealOutcome, Sealer, Thread, Work};
use super::{Driver, Event};
use crate::driver::cluster::{Cluster, Owner, Plan, Purpose, Verdict};
use crate::driver::connection::{Handle, ReplyTo};
use crate::driver::{by_id_or_name, now};
use crate::error::{Error, Result};
use crate::producer::{Fate, Outbox, Promise, Shared, is_same, recreated};

/// Batches up to this size are compressed on the spot: a hop to another thread costs about as much.
const INLINE_SEAL: usize = 16 * 1024;

/// Everything the driver works with.
#[derive(Debug)]
pub(crate) struct Engine {
    cluster: Arc<Cluster>,
    owner: Owner,
    shared: Arc<Shared>,
    producer: Producer<Promise>,
    outboxes: BTreeMap<PartitionId, Arc<Outbox>>,
    /// The connection of each request that is out.
    sent: BTreeMap<RequestToken, Handle>,
    sealer: Sealer,
    effects: Vec<Effect>,
    /// Events of the step that is going on; empty between steps.
    events: Vec<Event>,
    /// When the step began that is going on.
    now: Instant,
    is_closing: bool,
}

/// What is left to be done without the engine's lock: it wakes others.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Something was pushed into the connection.
    Kick(Handle),
    /// There is something to compress.
    Start(Box<Thread>, Runtime),
    /// A batch came to this.
    Resolve { delivery: Promise, fate: Fate },
    /// A batch takes no room any more, in its outbox if there still is one and in all.
    Release { outbox: Option<Arc<Outbox>>, memory: usize },
    /// The outbox accepts nothing more, and what it holds comes to this.
    CloseOutbox { outbox: Arc<Outbox>, error: Error },
}

impl Effect {
    pub(super) fn run(self, shared: &Shared) {
        match self {
            Self::Kick(handle) => handle.kick(),
            Self::Start(thread, runtime) => thread.start(&runtime),
            Self::Resolve { delivery, fate } => delivery.resolve(fate),
            Self::Release { outbox, memory } => {
                let memory = outbox.map_or(memory, |outbox| outbox.release(memory));
                shared.memory.add_permits(memory);
            }
            Self::CloseOutbox { outbox, error } => shared.memory.add_permits(outbox.close(&error)),
        }
    }
}

impl Engine {
    pub(super) fn new(cluster: Arc<Cluster>, shared: Arc<Shared>) -> Self {
        let settings = ProducerSettings { backoff: cluster.settings().retry, ..ProducerSettings::default() };
        let now = now();
        Self {
            owner: cluster.new_owner(),
            producer: Producer::new(now, settings, cluster.random()),
            cluster,
            sealer: Sealer::new(&shared.chunks),
            shared,
            outboxes: BTreeMap::new(),
            sent: BTreeMap::new(),
            effects: Vec::new(),
            events: Vec::new(),
            now,
            is_closing: false,
        }
    }

    /// Takes what is in the inbox and what time has made due, and does what the machine asks for.
    pub(super) fn step(&mut self, driver: &Arc<Driver>, effects: &mut Vec<Effect>) {
        let mut events = std::mem::take(&mut self.events);
        driver.turns.take_events(&mut events);
        self.now = now();
        for event in events.drain(..) {
            self.handle(driver, event);
        }
        self.events = events;
        if self.producer.poll_timeout().is_some_and(|due| due <= self.now) {
            self.producer.handle_timeout(self.now);
        }
        while let Some(action) = self.producer.poll_action() {
            self.act(driver, action);
        }
        std::mem::swap(&mut self.effects, effects);
    }

    /// Whether something could be sent but for callers who are expected.
    pub(super) fn is_held(&self) -> bool {
        self.producer.is_held()
    }

    /// Whether the last handle is gone and everything that was accepted is resolved.
    pub(super) fn is_over(&self) -> bool {
        self.is_closing && self.producer.is_idle()
    }

    pub(super) fn metrics(&self) -> ProducerMetrics {
        let mut metrics = self.producer.metrics();
        metrics.buffered_records += self.sealer.records as u64;
        metrics
    }

    /// When the next step is due at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.producer.poll_timeout()
    }

    fn act(&mut self, driver: &Arc<Driver>, action: Action<Promise>) {
        match action {
            Action::Take { partition } => self.take(driver, partition),
            Action::Send(request) => self.send(driver, request),
            Action::InitProducerId(request) => self.init_producer_id(driver.clone(), request),
            Action::RefreshMetadata { reason, avoid } => {
                tracing::debug!(name: "ottla.metadata.wanted", ?reason, ?avoid, "producer asks for metadata");
                self.refresh(avoid);
            }
            Action::Resolve { partition, delivery, memory, result } => {
                let fate = Fate::Whole(self.outcome(result));
                self.resolve(partition, delivery, memory, fate);
            }
            Action::ResolveParts { partition, delivery, memory, parts } => {
                let parts = parts.into_iter().map(|(first, result)| (first, self.outcome(result)));
                let fate = Fate::Parts(parts.collect());
                self.resolve(partition, delivery, memory, fate);
            }
            Action::Split(split) => self.split(driver, split),
            Action::SequenceReset(reset) => log_reset(&reset),
            Action::Closed { partition, old, new } => {
                if let Some(outbox) = self.outboxes.remove(&partition) {
                    tracing::warn!(name: "ottla.topic.recreated", topic = &*outbox.topic, partition = outbox.partition, %old, %new, "topic was created again");
                    let error = recreated(&outbox.topic, outbox.partition, old, new);
                    self.close_outbox(outbox, error);
                }
            }
        }
    }

    fn handle(&mut self, driver: &Arc<Driver>, event: Event) {
        match event {
            Event::Ready(outbox) => {
                if let Some(id) = self.open(&outbox) {
                    self.producer.handle_ready(self.now, id, outbox.ready());
                }
            }
            Event::Appended(outbox) => {
                if let Some(id) = self.open(&outbox) {
                    self.producer.handle_appended(self.now, id, outbox.ready());
                }
            }
            Event::Reply(token, outcome) => self.handle_reply(token, outcome),
            Event::Sealed(done) => {
                self.done(*done);
                self.start_threads(driver);
            }
            Event::ProducerId(result) => {
                if let Some(failure) = self.producer.handle_producer_id(self.now, result) {
                    tracing::warn!(name: "ottla.producer_id.failed", %failure, "no producer id");
                }
            }
            Event::Metadata => self.update_leaders(),
            Event::GoWithout => self.producer.go_without(),
            // Every step looks at the clock.
            Event::Time => {}
            Event::Close => {
                self.is_closing = true;
                self.hurry();
            }
        }
    }

    /// Nobody appends any more, so nothing lingers.
    fn hurry(&mut self) {
        for (id, outbox) in &self.outboxes {
            if outbox.hurry() {
                self.producer.handle_ready(self.now, *id, outbox.ready());
            }
        }
    }

    /// The machine's handle of an outbox, which hears of the partition's leader here first.
    fn open(&mut self, outbox: &Arc<Outbox>) -> Option<PartitionId> {
        if let Some(id) = outbox.id.get() {
            return Some(*id);
        }
        let topic = self.cluster.known_topic(&outbox.topic);
        if let Some(topic) = topic.as_ref().filter(|topic| !is_same(topic.id, outbox.topic_id)) {
            let error = recreated(&outbox.topic, outbox.partition, outbox.topic_id, topic.id);
            self.close_outbox(outbox.clone(), error);
            return None;
        }
        let name = Str::from(&*outbox.topic);
        let id = self.producer.open(self.now, &name, outbox.topic_id, outbox.partition);
        let id = *outbox.id.get_or_init(|| id);
        self.outboxes.insert(id, outbox.clone());
        if let Some(topic) = topic {
            self.producer.handle_leader(self.now, id, topic.leader(outbox.partition));
        }
        Some(id)
    }

    fn close_outbox(&mut self, outbox: Arc<Outbox>, error: Error) {
        self.effects.push(Effect::CloseOutbox { outbox, error });
    }

    fn take(&mut self, driver: &Arc<Driver>, partition: PartitionId) {
        let batch = self.outboxes.get(&partition).and_then(|outbox| outbox.take());
        let Some(batch) = batch else { return self.producer.nothing_to_push(self.now, partition, None) };
        let takes_long = batch.is_compressed() && batch.encoded_len() > INLINE_SEAL;
        if !takes_long && !self.sealer.order.has_open(partition) {
            let result = batch.seal(self.sealer.pool());
            return self.push(partition, result);
        }
        let place = self.sealer.order.place(partition);
        self.sealer.records += batch.count();
        self.work(driver, Work::Seal(place, Box::new(batch)), takes_long);
        // The next one may be sealed meanwhile.
        self.producer.handle_ready(self.now, partition, self.ready(partition));
    }

    /// What the outbox of a partition has now.
    fn ready(&self, partition: PartitionId) -> Option<Ready> {
        self.outboxes.get(&partition).and_then(|outbox| outbox.ready())
    }

    /// A batch is too large for its topic.
    fn split(&mut self, driver: &Arc<Driver>, split: SplitBatch) {
        if let Some(outbox) = self.outboxes.get(&split.partition) {
            tracing::debug!(
                name: "ottla.batch.split",
                topic = &*outbox.topic,
                partition = outbox.partition,
                records = split.sealed.count(),
                bytes = split.sealed.len(),
                next = "split",
                "batch is too large for its topic"
            );
            outbox.shrink(split.encoded_len);
        }
        let takes_long = split.encoded_len > INLINE_SEAL;
        self.work(driver, Work::Split(split), takes_long);
    }

    fn work(&mut self, driver: &Arc<Driver>, work: Work, takes_long: bool) {
        if takes_long {
            self.sealer.push(work);
            self.start_threads(driver);
        } else {
            let done = work.run(self.sealer.pool());
            self.done(done);
        }
    }

    fn start_threads(&mut self, driver: &Arc<Driver>) {
        while let Some(thread) = self.sealer.thread(driver) {
            self.effects.push(Effect::Start(Box::new(thread), self.cluster.runtime().clone()));
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Seal(place, records, outcome) => {
                self.sealer.order.keep(place, (records, outcome));
                while let Some((records, outcome)) = self.sealer.order.take(place.partition) {
                    self.sealer.records -= records;
                    match outcome {
                        SealOutcome::Sealed(result) => self.push(place.partition, result),
                        SealOutcome::Lost(memory) => self.skip(place.partition, memory),
                    }
                }
            }
            Done::Split(partition, token, parts) => {
                self.producer.handle_split(self.now, partition, token, parts);
            }
        }
    }

    fn push(&mut self, partition: PartitionId, result: Result<Batch<Promise>, SealError<Promise>>) {
        match result {
            Ok(batch) => self.producer.push(self.now, partition, batch, self.ready(partition)),
            Err(SealError { delivery, memory, source }) => {
                if let Some(outbox) = self.outboxes.get(&partition) {
                    let (topic, partition) = (outbox.topic.clone(), outbox.partition);
                    let problem = format!("the batch cannot be compressed: {source}");
                    let fate = Fate::Whole(Err(Error::Record { topic, partition, problem }));
                    self.effects.push(Effect::Resolve { delivery, fate });
                }
                self.skip(partition, memory);
            }
        }
    }

    /// A batch is gone without the machine having seen it.
    fn skip(&mut self, partition: PartitionId, memory: usize) {
        self.release(partition, memory);
        self.producer.nothing_to_push(self.now, partition, self.ready(partition));
    }

    fn send(&mut self, driver: &Arc<Driver>, request: SendRequest) {
        let SendRequest { token, broker_id, request, acks, timeout } = request;
        let to = Destination::Broker(broker_id);
        let Some(handle) = self.cluster.connection(&to, Purpose::Produce, self.owner) else {
            let error = self.cluster.unknown_broker(&to, ApiKey::PRODUCE);
            return self.producer.handle_lost(self.now, token, &error);
        };
        let has_ids = request.topic_data.iter().all(|topic| !topic.topic_id.is_nil());
        let outgoing = Outgoing {
            request: by_id_or_name(request, has_ids),
            deadline: self.now.checked_add(timeout).unwrap_or(self.now),
            // For as long as its replicas may take the broker is not silent.
            own_wait: timeout.saturating_sub(self.cluster.settings().request_timeout),
            expects_answer: acks != Acks::None,
        };
        // Pushed under the engine's lock, so that a partition's batches enter in order.
        handle.push(outgoing, ReplyTo::Sink { sink: driver.clone(), token: token.0 }, None);
        self.effects.push(Effect::Kick(handle.clone()));
        self.sent.insert(token, handle);
    }

    fn handle_reply(
        &mut self,
        token: RequestToken,
        outcome: std::result::Result<Option<Answer>, RequestError>,
    ) {
        let handle = self.sent.remove(&token);
        match outcome {
            Ok(None) => self.producer.handle_written(self.now, token),
            Ok(Some(answer)) => match answer.decode::<ProduceRequest>() {
                Ok(response) => self.handle_answer(token, &answer, &response, handle.as_ref()),
                Err(error) => {
                    let reason = Failure::Decode(error);
                    let api = ApiKey::PRODUCE;
                    let error = RequestError { peer: answer.peer, api, outcome: Outcome::Unknown, reason };
                    log_lost(&error, self.producer.carried(token));
                    self.producer.handle_lost(self.now, token, &error);
                }
            },
            Err(error) => {
                log_lost(&error, self.producer.carried(token));
                self.producer.handle_lost(self.now, token, &error);
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
        let mismatch = self.producer.handle_answer(self.now, token, answer.version, response);
        if !mismatch.is_empty() {
            tracing::warn!(name: "ottla.answer.mismatch", broker = %answer.peer, ?mismatch, "produce answer does not match its request");
        }
        if let Some(handle) = handle {
            handle.throttle(response.throttle_time_ms);
        }
    }

    /// Logs what went wrong, and hands on whom the broker names as the new leaders (KIP-951).
    fn take_refusals(&self, token: RequestToken, answer: &Answer, response: &ProduceResponse) {
        for topic in &response.responses {
            for refused in topic.partition_responses.iter().filter(|it| it.error_code.is_err()) {
                let Some(name) = self.cluster.topic_name(&topic.name, topic.topic_id) else { continue };
                let (partition, code) = (refused.index, refused.error_code);
                let mut carried = self.producer.carried(token);
                let attempt = carried.find(|(topic, index, _)| ***topic == *name && *index == partition);
                tracing::debug!(
                    name: "ottla.request.refused",
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
                    self.cluster.hint(&name, partition, leader, brokers);
                }
            }
        }
    }

    fn resolve(&mut self, partition: PartitionId, delivery: Promise, memory: usize, fate: Fate) {
        self.producer.expect_back(partition, delivery.waiters());
        self.effects.push(Effect::Resolve { delivery, fate });
        self.release(partition, memory);
    }

    fn outcome(&self, result: Result<Written, DeliveryError>) -> Result<Written> {
        if let Err(error) = &result {
            log_failed(error, self.is_closing);
        }
        result.map_err(|error| Error::Delivery(Arc::new(error)))
    }

    fn release(&mut self, partition: PartitionId, memory: usize) {
        let outbox = self.outboxes.get(&partition).cloned();
        self.effects.push(Effect::Release { outbox, memory });
    }

    fn refresh(&self, avoid: Option<i32>) {
        let busy = self.outboxes.values().filter(|outbox| outbox.is_busy());
        self.cluster.refresh_topics(busy.map(|outbox| &outbox.topic), avoid);
    }

    /// The metadata has changed. What it does not know (any more) keeps its leader: that broker will say.
    fn update_leaders(&mut self) {
        let outboxes = &self.outboxes;
        let used: Vec<_> = outboxes.values().filter(|outbox| outbox.take_used()).collect();
        self.shared.chunks.trim();
        let news: Vec<_> = self.cluster.with_metadata(|metadata| {
            for outbox in used {
                metadata.want_topic(self.now, &outbox.topic);
            }
            let known = outboxes.iter().filter_map(|(id, outbox)| match metadata.topic(&outbox.topic) {
                Lookup::Known(topic) => Some((*id, outbox.clone(), topic)),
                _ => None,
            });
            known.collect()
        });
        self.shared.grow(&self.cluster);
        for (id, outbox, topic) in news {
            if is_same(topic.id, outbox.topic_id) {
                self.producer.handle_leader(self.now, id, topic.leader(outbox.partition));
            } else {
                self.producer.handle_topic_id(self.now, &Str::from(&*outbox.topic), topic.id);
            }
        }
    }

    fn init_producer_id(&self, driver: Arc<Driver>, request: InitProducerIdRequest) {
        let cluster = self.cluster.clone();
        let asked = Asked { driver, result: None };
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
            asked.tell(result);
        });
    }
}

/// A producer id that was asked for. The engine hears of it however the task ends.
struct Asked {
    driver: Arc<Driver>,
    result: Option<Result<(i64, i16), ProducerIdFailure>>,
}

impl Asked {
    fn tell(mut self, result: Result<(i64, i16), ProducerIdFailure>) {
        self.result = Some(result);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            Err(ProducerIdFailure::Failed {
                what: "the task that asked has ended".into(),
                is_retriable: true,
            })
        });
        self.driver.post(Event::ProducerId(result));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What the machine and the effects hold tells its waiters when it is dropped.
        for outbox in self.outboxes.values() {
            outbox.close(&Error::Closed);
        }
        self.cluster.release(self.owner);
    }
}
