//! The producer's machine and its queues, driven: takes, seals, requests, answers, leaders, and the ends of batches.

mod room;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::calls::CallError;
use ottla_core::connection::{Answer, OVERDUE_AFTER, OVERDUE_AGAIN, Outgoing};
use ottla_core::error::RequestError;
use ottla_core::metadata::{Broker, Destination, Leader, Lookup, broker};
use ottla_core::partition_queue::{Acks, Batch, BatchSettings, Credit, PartitionQueue, SealError};
use ottla_core::producer::{
    Action, DeliveryCause, DeliveryError, DeliveryOutcome, InOrder, PartitionId, Place, Producer,
    ProducerIdFailure, ProducerIdentity, ProducerSettings, RequestToken, SendRequest, SplitBatch, Written,
    verdict_of_answer, verdict_of_loss,
};
use ottla_wire::messages::produce::{ProduceRequest, ProduceResponse};
use ottla_wire::records::{ChunkPool, NewRecord, Payload};
use ottla_wire::{ApiKey, Str, Uuid};

use self::room::Size;
use crate::calls::{Value, What};
use crate::client::{Purpose, Waiter, decode_failed, name_of};
use crate::expected::reason_name;
use crate::invariants::{ASKERS_ANSWER, BOUNDED_WORK, LEAVES_THE_SILENT, ONE_OUTCOME, TOPIC_IS_ITS_ID};
use crate::plan::Plan;
use crate::random::Draw;
use crate::truth::{Fate, RecordId, encode_value};
use crate::world::{Event, World, topic_name};

pub(crate) struct Produce {
    machine: Producer<u64>,
    queues: BTreeMap<PartitionId, Queue>,
    /// The records of each batch that has no result yet, by delivery.
    batches: BTreeMap<u64, Vec<(RecordId, Size)>>,
    last_delivery: u64,
    /// Batches that other threads compress.
    sealing: InOrder<Sealed>,
    pool: ChunkPool,
    max_batch: usize,
    /// The broker of each request that is out, since when, and whether it is answered at all.
    out: BTreeMap<RequestToken, (i32, Instant, bool)>,
    draw: Draw,
    goes_without_at: Option<Instant>,
    request_timeout: Duration,
    max_in_flight: usize,
    /// What unresolved records may take, in one partition and in all.
    budget: usize,
    buffer_memory: usize,
    /// What of that is left in all.
    room: i64,
    /// The state of the identity at the last look, and the last identity there was.
    identity_state: &'static str,
    identity: Option<ProducerIdentity>,
    /// Nothing more is accepted; what was gets its results.
    is_closing: bool,
    is_closed: bool,
}

struct Queue {
    topic: usize,
    topic_id: Uuid,
    partition: i32,
    queue: PartitionQueue<u64>,
    /// What the records without a result take.
    held: Size,
    /// Room that was taken for the next ones, and what there is of it in the partition. Less than none once last words are
    /// said, since nobody asks then.
    credit: Credit,
    room: i64,
    is_closed: bool,
    /// Of the partition and of its queue, at the last look.
    state: &'static str,
    queue_state: &'static str,
}

/// A batch, compressed or not.
pub(crate) type Sealed = Result<Batch<u64>, SealError<u64>>;

impl Produce {
    pub(crate) fn new(now: Instant, plan: &Plan) -> Self {
        let settings =
            ProducerSettings { max_request_size: plan.client.max_request, ..ProducerSettings::default() };
        let max_in_flight = settings.max_in_flight;
        let machine = Producer::new(now, settings, plan.seed);
        Self {
            max_in_flight,
            // That it is absent at first does not count.
            identity_state: machine.identity_state(),
            identity: None,
            machine,
            queues: BTreeMap::new(),
            batches: BTreeMap::new(),
            last_delivery: 0,
            sealing: InOrder::default(),
            pool: ChunkPool::default(),
            max_batch: plan.client.max_batch,
            out: BTreeMap::new(),
            draw: Draw::new(plan.seed, 4),
            goes_without_at: None,
            request_timeout: plan.client.request_timeout,
            budget: plan.client.budget,
            buffer_memory: plan.client.buffer_memory,
            room: plan.client.buffer_memory as i64,
            is_closing: false,
            is_closed: false,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// The open queue of a partition.
    pub(crate) fn open_at(&self, topic: usize, partition: i32) -> Option<PartitionId> {
        let is_it = |(_, it): &(&PartitionId, &Queue)| {
            it.topic == topic && it.partition == partition && !it.is_closed
        };
        self.queues.iter().rfind(is_it).map(|(id, _)| *id)
    }

    pub(crate) fn topic_id(&self, id: PartitionId) -> Uuid {
        self.queues.get(&id).map_or(Uuid::NIL, |queue| queue.topic_id)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.machine.is_idle() && self.batches.is_empty()
    }

    pub(crate) fn unresolved(&self) -> usize {
        self.batches.values().map(Vec::len).sum()
    }

    pub(crate) fn go_without(&mut self) {
        self.goes_without_at = None;
        self.machine.go_without();
    }
}

/// As writers make them.
fn new_record(value: &[u8], timestamp: i64) -> NewRecord<'_> {
    NewRecord { key: None, value: Some(Payload::Borrowed(value)), headers: &[], timestamp }
}

impl World {
    /// Opens a partition of a topic that the metadata knows.
    pub(crate) fn open_partition(&mut self, topic: usize, partition: i32) -> Option<PartitionId> {
        if let Some(id) = self.produce.open_at(topic, partition) {
            return Some(id);
        }
        let name = topic_name(topic);
        self.client.metadata.want_topic(self.now, name);
        let Lookup::Known(known) = self.client.metadata.topic(name) else { return None };
        known.partition(partition)?;
        let id = self.produce.machine.open(self.now, &Str::from(name), known.id, partition);
        let queue = PartitionQueue::new(self.produce.max_batch);
        let opened = Queue {
            topic,
            topic_id: known.id,
            partition,
            queue,
            held: Size::default(),
            credit: Credit::default(),
            room: self.produce.budget as i64,
            is_closed: false,
            state: "",
            queue_state: "",
        };
        if self.produce.queues.insert(id, opened).is_some_and(|before| before.held != Size::default()) {
            self.violate(ONE_OUTCOME, || {
                format!("{name}/{partition} is opened again with records under way")
            });
        }
        self.produce.machine.handle_leader(self.now, id, known.leader(partition));
        self.note(|| format!("{name}/{partition} is opened under {}", known.id));
        Some(id)
    }

    /// A writer's record is accepted: from here on it must come to something, once.
    pub(crate) fn append(
        &mut self,
        id: PartitionId,
        record: RecordId,
        bytes: usize,
        settings: &BatchSettings,
    ) {
        let now = self.now;
        let Some(it) = self.produce.queues.get_mut(&id) else { return };
        let value = encode_value(record, it.partition, bytes);
        let new = new_record(&value, self.cluster.wall_ms(now));
        let next = self.produce.last_delivery + 1;
        let appended = it.queue.append(now, &new, settings, &mut self.produce.pool, || next);
        let appended = appended.expect("records of a plan fit into a batch");
        let (delivery, index, changed) = (*appended.delivery, appended.index, appended.ready_changed);
        let size = Size::of(&new);
        it.held.add(size);
        it.credit.spend(size.footprint);
        self.produce.last_delivery = self.produce.last_delivery.max(delivery);
        let batch = self.produce.batches.entry(delivery).or_default();
        let place = batch.len();
        batch.push((record, size));
        if place != index {
            self.violate(ONE_OUTCOME, || {
                format!("record {record:?} is number {index} of a batch of {place}")
            });
        }
        if changed {
            let ready = self.produce.queues[&id].queue.ready();
            match self.produce.draw.chance(70) {
                true => self.produce.machine.handle_appended(now, id, ready),
                false => self.produce.machine.handle_ready(now, id, ready),
            }
        }
    }

    /// Somebody waits for all that was appended to a partition so far.
    pub(crate) fn hurry(&mut self, id: PartitionId) {
        let Some(it) = self.produce.queues.get_mut(&id) else { return };
        if it.queue.hurry() {
            self.coverage.hit("user", "waits for what lingers");
            let ready = it.queue.ready();
            self.produce.machine.handle_ready(self.now, id, ready);
        }
    }

    /// Nothing more is accepted. What was gets its results, what lingers leaves, and then the connections are let go of.
    pub(crate) fn close_producer(&mut self) {
        let unresolved = self.produce.unresolved();
        self.note(|| format!("the producer is closed, with {unresolved} records under way"));
        self.coverage.hit("user", if unresolved > 0 { "closes with records under way" } else { "closes" });
        self.produce.is_closing = true;
        let open: Vec<PartitionId> = self.produce.queues.keys().copied().collect();
        open.into_iter().for_each(|id| self.hurry(id));
    }

    /// A producer that is closed and has nothing under way needs no connection.
    fn end_closing(&mut self) {
        if self.produce.is_closing && !self.produce.is_closed && self.produce.is_idle() {
            self.produce.is_closed = true;
            self.note(|| "the producer is closed and lets go of its connections".to_owned());
            self.release_of(Purpose::Produce);
        }
    }

    pub(crate) fn produce_timeouts(&mut self) {
        if self.produce.machine.poll_timeout().is_some_and(|due| due <= self.now) {
            self.produce.machine.handle_timeout(self.now);
        }
    }

    pub(crate) fn produce_step(&mut self) -> bool {
        let mut moved = false;
        self.produce_timeouts();
        self.look_at_producer();
        while let Some(action) = self.produce.machine.poll_action() {
            moved = true;
            self.act(action);
            self.look_at_producer();
            if self.truth.violation.is_some() {
                return true;
            }
        }
        if self.produce.machine.is_held() && self.produce.goes_without_at.is_none() {
            let at = self.now + self.produce.draw.micros(0, 500);
            self.produce.goes_without_at = Some(at);
            self.coverage.hit("producer", "held for company");
            self.at(at, Event::GoWithout);
        }
        self.end_closing();
        moved
    }

    /// Counts the states to which partitions and the identity have come since the last look.
    fn look_at_producer(&mut self) {
        let Produce { machine, queues, .. } = &mut self.produce;
        for (id, it) in queues {
            if let Some(state) = machine.partition_state(*id)
                && std::mem::replace(&mut it.state, state) != state
            {
                self.coverage.hit("producer: partition", state);
            }
            let state = it.queue.state();
            if std::mem::replace(&mut it.queue_state, state) != state {
                self.coverage.hit("producer: queue", state);
            }
        }
        let (state, identity) = (machine.identity_state(), machine.identity());
        if std::mem::replace(&mut self.produce.identity_state, state) != state {
            self.coverage.hit("producer: identity", state);
        }
        let Some(new) = identity else { return };
        if let Some(old) = self.produce.identity.replace(new).filter(|old| *old != new) {
            let what = if old.id == new.id { "its epoch is raised" } else { "another producer id" };
            self.coverage.hit("producer: identity", what);
        }
    }

    fn act(&mut self, action: Action<u64>) {
        match action {
            Action::Take { partition } => self.take(partition),
            Action::Send(request) => self.send_produce(request),
            Action::InitProducerId(request) => {
                self.coverage.hit("producer", "asks for a producer id");
                let timeout = self.produce.request_timeout;
                self.start_call(What::ProducerId { request }, timeout, Duration::ZERO);
            }
            Action::RefreshMetadata { reason, avoid } => {
                self.coverage.hit("producer", reason_name(&reason));
                for (topic, _) in self.written_partitions() {
                    self.client.metadata.want_topic(self.now, topic_name(topic));
                }
                self.client.metadata.request_refresh(self.now, avoid);
            }
            Action::Resolve { partition, delivery, memory, result } => {
                self.resolved(partition, delivery, memory, &[(0, result)]);
            }
            Action::Split(SplitBatch { partition, token, sealed, codec, encoded_len }) => {
                self.coverage.hit("producer", "split");
                if let Some(it) = self.produce.queues.get_mut(&partition) {
                    it.queue.shrink(encoded_len);
                }
                let parts = sealed.split(&codec, &mut self.produce.pool);
                self.note(|| format!("{partition:?}: a batch is split"));
                self.produce.machine.handle_split(self.now, partition, token, parts);
            }
            Action::ResolveParts { partition, delivery, memory, parts } => {
                self.resolved(partition, delivery, memory, &parts);
            }
            Action::SequenceReset(reset) => {
                let why = if reset.is_retention() { "retention" } else { "records may be lost" };
                self.coverage.hit("producer", format!("sequence reset: {why}"));
                self.note(|| format!("sequence reset: {reset:?}"));
            }
            Action::Closed { partition, old, new } => self.closed(partition, old, new),
        }
    }

    fn take(&mut self, partition: PartitionId) {
        let Some(it) = self.produce.queues.get_mut(&partition) else { return };
        let Some(batch) = it.queue.take() else {
            self.coverage.hit("producer", "took nothing");
            return self.produce.machine.nothing_to_push(self.now, partition, None);
        };
        let is_slow = batch.is_compressed() && self.produce.draw.chance(50);
        let batch = batch.seal(&mut self.produce.pool);
        let is_behind = self.produce.sealing.has_open(partition);
        if !is_slow && !is_behind {
            return self.push(partition, batch);
        }
        if is_behind {
            self.coverage.hit("producer", "seals several batches of a partition");
        }
        let (place, ready) = (self.produce.sealing.place(partition), it.queue.ready());
        if is_slow {
            let at = self.now + self.produce.draw.millis(0, 3);
            self.at(at, Event::Sealed { place, batch: Box::new(batch) });
        } else {
            self.produce.sealing.keep(place, batch);
        }
        self.produce.machine.handle_ready(self.now, partition, ready);
    }

    /// Another thread is done. What was taken before it comes first.
    pub(crate) fn sealed(&mut self, place: Place, batch: Sealed) {
        self.produce.sealing.keep(place, batch);
        while let Some(batch) = self.produce.sealing.take(place.partition) {
            self.push(place.partition, batch);
        }
    }

    fn push(&mut self, partition: PartitionId, batch: Sealed) {
        let ready = self.produce.queues.get(&partition).and_then(|it| it.queue.ready());
        match batch {
            Ok(batch) => self.produce.machine.push(self.now, partition, batch, ready),
            Err(error) => panic!("a batch cannot be compressed: {}", error.source),
        }
    }

    fn send_produce(&mut self, request: SendRequest) {
        let SendRequest { token, broker_id, request, acks, timeout } = request;
        let to = Destination::Broker(broker_id);
        let out = self.produce.out.values().filter(|(to, ..)| *to == broker_id).count();
        if out >= self.produce.max_in_flight {
            self.violate(BOUNDED_WORK, || {
                format!("{out} requests are out to broker {broker_id}, and one more")
            });
        }
        let Some(channel) = self.connection(&to, Purpose::Produce, 1) else {
            self.coverage.hit("producer", "leader is not among the brokers");
            let error = self.not_sent(&to, ApiKey::PRODUCE, "the broker is not among those known");
            return self.produce_lost(token, &error);
        };
        if out + 1 == self.produce.max_in_flight {
            self.coverage.hit("producer", "as many requests are out as are allowed");
        }
        self.produce.out.insert(token, (broker_id, self.now, acks != Acks::None));
        let outgoing = Outgoing {
            request: Box::new(request),
            deadline: self.now + timeout,
            own_wait: timeout.saturating_sub(self.client.request_timeout()),
            expects_answer: acks != Acks::None,
        };
        let number = self.send(channel, outgoing, Waiter::Produce(token), None);
        self.coverage.hit("producer", "sends");
        let Self { produce, history, now, start, .. } = self;
        history.note(*now - *start, || {
            let carried = produce.machine.carried(token);
            let carried: Vec<_> = carried
                .map(|(topic, partition, attempt)| format!("{}/{partition} attempt {attempt}", &**topic))
                .collect();
            format!("produce #{number} to broker {broker_id}: {}", carried.join(", "))
        });
    }

    pub(crate) fn produce_outcome(
        &mut self,
        token: RequestToken,
        channel: u64,
        outcome: Result<Option<Answer>, RequestError>,
    ) {
        let now = self.now;
        if self.produce.out.remove(&token).is_none() {
            self.violate(ONE_OUTCOME, || format!("{token:?} has two outcomes"));
        }
        match outcome {
            Ok(None) => self.produce.machine.handle_written(now, token),
            Err(error) => self.produce_lost(token, &error),
            Ok(Some(answer)) => match answer.decode::<ProduceRequest>() {
                Err(error) => self.produce_lost(token, &decode_failed::<ProduceRequest>(&answer, error)),
                Ok(response) => {
                    self.take_hints(&response);
                    let mismatch = self.produce.machine.handle_answer(now, token, answer.version, &response);
                    if !mismatch.is_empty() {
                        self.coverage.hit("producer", "an answer that does not match");
                        if !self.chaos.misanswered && !self.chaos.confuses_ids {
                            let what = format!("{mismatch:?} in an answer of {}", answer.peer);
                            self.violate(ASKERS_ANSWER, || what);
                        }
                    }
                    self.throttled(channel, response.throttle_time_ms);
                }
            },
        }
    }

    fn produce_lost(&mut self, token: RequestToken, error: &RequestError) {
        self.coverage.hit("producer: verdict", verdict_of_loss(error));
        self.produce.machine.handle_lost(self.now, token, error);
    }

    /// Codes, for the history, and whom the broker names as leaders (KIP-951).
    fn take_hints(&mut self, response: &ProduceResponse) {
        for topic in &response.responses {
            for row in &topic.partition_responses {
                self.coverage.hit("producer: verdict", verdict_of_answer(row.error_code));
            }
            for row in topic.partition_responses.iter().filter(|row| row.error_code.is_err()) {
                self.coverage.hit("producer", format!("answered with {}", row.error_code));
                let name = match topic.name.is_empty() {
                    false => Arc::from(&*topic.name),
                    true => match self.client.metadata.topic_by_id(topic.topic_id) {
                        Some(known) => known.name.clone(),
                        None => continue,
                    },
                };
                self.note(|| format!("{name}/{}: {}", row.index, row.error_code));
                if row.current_leader.leader_id >= 0 {
                    let endpoints = response.node_endpoints.iter();
                    let brokers: Vec<Broker> = endpoints
                        .filter_map(|it| broker(it.node_id, &it.host, it.port, it.rack.as_deref()))
                        .collect();
                    let leader = &row.current_leader;
                    let leader = Leader { broker_id: leader.leader_id, epoch: leader.leader_epoch };
                    self.take_hint(&name, row.index, leader, brokers);
                }
            }
        }
    }

    pub(crate) fn producer_id(&mut self, result: Result<Value, CallError>) {
        let result = match result {
            Ok(Value::ProducerId(id, epoch)) => Ok((id, epoch)),
            Ok(_) => unreachable!("a call for a producer id brings one"),
            Err(error) => Err(match crate::calls::ending(&error).0 {
                Some(code) => ProducerIdFailure::Refused(code),
                None => ProducerIdFailure::Failed {
                    what: error.to_string().into(),
                    is_retriable: error.end != ottla_core::calls::End::Permanent,
                },
            }),
        };
        self.note(|| format!("producer id: {result:?}"));
        self.coverage.hit("producer", if result.is_ok() { "has a producer id" } else { "no producer id" });
        self.produce.machine.handle_producer_id(self.now, result);
    }

    /// What is out to a broker that has long been silent, although the client knows of another leader, is given up.
    pub(crate) fn check_silent(&mut self) {
        let chaos = &self.chaos;
        if chaos.throttles || chaos.recreates || chaos.confuses_ids || self.was_stalled() {
            return;
        }
        let mut stuck = None;
        for (token, (broker_id, since, _)) in self.produce.out.iter().filter(|(_, (.., answered))| *answered)
        {
            if self.now < *since + OVERDUE_AFTER + 2 * OVERDUE_AGAIN {
                continue;
            }
            for (topic, partition, _) in self.produce.machine.carried(*token) {
                let Lookup::Known(known) = self.client.metadata.topic(topic) else { continue };
                let leader = known.leader(partition).map(|leader| leader.broker_id);
                if leader.is_some_and(|leader| leader != *broker_id) {
                    stuck = Some(format!(
                        "{topic:?}/{partition} waits for broker {broker_id}, {leader:?} leads it"
                    ));
                }
            }
        }
        if let Some(stuck) = stuck {
            self.violate(LEAVES_THE_SILENT, || stuck);
        }
    }

    /// Who leads the partition now. What is out is carried no more when that makes the machine give it up: nothing else happens here.
    fn lead(&mut self, id: PartitionId, leader: Option<Leader>) {
        let Produce { machine, out, .. } = &mut self.produce;
        let carried = |machine: &Producer<u64>| -> usize {
            out.keys().map(|token| machine.carried(*token).count()).sum()
        };
        let before = carried(machine);
        machine.handle_leader(self.now, id, leader);
        if carried(machine) < before {
            self.coverage.hit("producer", "what a silent broker was sent goes to another");
        }
    }

    /// The metadata has changed: partitions hear of their leaders, and of topics that are others now.
    pub(crate) fn leaders_changed(&mut self) {
        let now = self.now;
        let open = self.produce.queues.iter().filter(|(_, it)| !it.is_closed);
        let open: Vec<_> = open.map(|(id, it)| (*id, it.topic, it.topic_id, it.partition)).collect();
        for (id, topic, topic_id, partition) in open {
            let name = topic_name(topic);
            self.client.metadata.want_topic(now, name);
            let Lookup::Known(known) = self.client.metadata.topic(name) else { continue };
            if known.id == topic_id || known.id.is_nil() || topic_id.is_nil() {
                self.lead(id, known.leader(partition));
            } else {
                self.produce.machine.handle_topic_id(now, &Str::from(name), known.id);
            }
        }
    }

    fn closed(&mut self, partition: PartitionId, old: Uuid, new: Uuid) {
        self.coverage.hit("producer", "topic created again");
        if !self.chaos.mistakes_ids && self.cluster.topics().any(|topic| topic.id() == old) {
            self.violate(TOPIC_IS_ITS_ID, || {
                format!("{partition:?} is closed, and topic {old} is still there")
            });
        }
        self.note(|| format!("{partition:?} is closed: the topic was {old} and is {new}"));
        loop {
            let Some(it) = self.produce.queues.get_mut(&partition) else { return };
            it.is_closed = true;
            self.produce.room += it.credit.take() as i64;
            let Some(batch) = it.queue.take() else { return };
            let (topic, index) = (Str::from(topic_name(it.topic)), it.partition);
            let (delivery, memory) = batch.discard();
            let error = DeliveryError {
                topic,
                partition: index,
                attempts: 0,
                outcome: DeliveryOutcome::NotWritten,
                cause: DeliveryCause::TopicRecreated { old, new },
            };
            self.resolved(partition, delivery, memory, &[(0, Err(error))]);
        }
    }

    /// A batch is over: every record in it gets its one result.
    fn resolved(
        &mut self,
        partition: PartitionId,
        delivery: u64,
        memory: usize,
        parts: &[(usize, Result<Written, DeliveryError>)],
    ) {
        let Some(batch) = self.produce.batches.remove(&delivery) else {
            return self.violate(ONE_OUTCOME, || format!("delivery {delivery} has two outcomes"));
        };
        let Some(it) = self.produce.queues.get_mut(&partition) else { return };
        it.queue.release(memory);
        let back = (memory + it.credit.left_over(&it.queue)) as i64;
        (it.room, self.produce.room) = (it.room + back, self.produce.room + back);
        batch.iter().for_each(|(_, size)| it.held.remove(*size));
        let records: Vec<RecordId> = batch.into_iter().map(|(record, _)| record).collect();
        let (topic_id, index) = (it.topic_id, it.partition);
        let ends = parts.iter().skip(1).map(|(first, _)| *first).chain([records.len()]);
        for ((first, result), end) in parts.iter().zip(ends) {
            self.part_resolved(&records[*first..end], topic_id, index, result);
        }
        if parts.iter().any(|(_, result)| result.is_ok()) {
            self.produce.machine.expect_back(partition, records.len().min(2));
        }
        self.writers_may_go_on();
    }

    fn part_resolved(
        &mut self,
        records: &[RecordId],
        topic_id: Uuid,
        partition: i32,
        result: &Result<Written, DeliveryError>,
    ) {
        self.note(|| match result {
            Ok(written) => format!("records {records:?} are at {:?}", written.base_offset),
            Err(error) => format!("records {records:?}: {error}"),
        });
        self.coverage.hit(
            "producer",
            match result {
                Ok(written) if written.base_offset.is_some() => Cow::Borrowed("written"),
                Ok(_) => Cow::Borrowed("written, no offset"),
                Err(error) => Cow::Owned(format!("{:?}: {}", error.outcome, name_of(&error.cause))),
            },
        );
        for (place, record) in (0_i64..).zip(records) {
            let fate = match result {
                Ok(written) => Fate::Written(written.base_offset.map(|base| base + place)),
                Err(error) => match error.outcome {
                    DeliveryOutcome::NotWritten => Fate::NotWritten,
                    DeliveryOutcome::MayHaveBeenWritten => Fate::Unknown,
                    DeliveryOutcome::Written => Fate::Written(None),
                },
            };
            self.record_over(*record, topic_id, partition, fate, result.as_ref().err());
        }
    }
}
