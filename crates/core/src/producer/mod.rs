//! The producer: who may send what to which broker, under which producer id, epoch and sequence, and what became of it.
//!
//! ```text
//! handle_ready -> Take -> push -> Send -> handle_answer / handle_lost -> Resolve
//!  (a queue has   (now)  (sealed   (one request a broker,                 (the delivery
//!   something)            batch)    many partitions)                       comes back)
//! ```
//!
//! Owns everything between a sealed batch and its resolution: the window of each partition, retries at the
//! batch's place, identities and sequences (KIP-98, KIP-360), leader moves, unknown outcomes, delivery time-outs. It
//! owns neither queues nor connections: batches are asked for with [`Action::Take`], leaders are told to it, and every
//! delivery that was pushed comes back in exactly one [`Action::Resolve`].

mod answer;
mod company;
mod error;
mod identity;
mod in_order;
mod metrics;
mod partition;
mod schedule;
mod split;
mod verdict;

#[cfg(test)]
mod tests;

pub use answer::Mismatch;
pub use error::{DeliveryCause, DeliveryError, DeliveryOutcome, ProducerIdFailure};
pub use identity::ProducerIdentity;
pub use in_order::{InOrder, Place};
pub use metrics::ProducerMetrics;
pub use split::SplitBatch;
#[doc(hidden)]
pub use verdict::{verdict_of_answer, verdict_of_loss};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::{ErrorCode, Str, Uuid};

use self::identity::Identity;
use self::partition::{Partition, Pending, Step};
use self::schedule::{Broker, InFlight};
use crate::backoff::{Backoff, Random};
use crate::few::Few;
use crate::metadata::Leader;
use crate::partition_queue::{Acks, Batch, Ready};
use crate::time::later;
use crate::timers::Timers;

/// Sends the batches of any number of partitions. `D` is the caller's own, one per batch, given back with its result.
///
/// The cost of an event is logarithmic in the number of partitions with something to do; idle partitions cost memory
/// only.
#[derive(Debug)]
pub struct Producer<D> {
    settings: ProducerSettings,
    random: Random,
    /// The latest moment that was passed in.
    now: Instant,
    identity: Identity,
    identity_failures: u32,
    identity_timer: Option<Instant>,
    awaiting_identity: BTreeSet<PartitionId>,
    topics: HashMap<Str, Arc<TopicRef>, FixedState>,
    /// By the topic's order and the index. Entries stay as long as the topic: their sequences go on.
    ids: HashMap<(u64, i32), PartitionId, FixedState>,
    partitions: HashMap<PartitionId, Partition<D>, FixedState>,
    brokers: HashMap<i32, Broker, FixedState>,
    /// Brokers at which something changed.
    active: Few<i32>,
    /// Partitions whose queues have what is past its time.
    expired: BTreeSet<PartitionId>,
    requests: HashMap<RequestToken, InFlight, FixedState>,
    timers: Timers<Timer>,
    actions: VecDeque<Action<D>>,
    refresh: Option<(RefreshReason, Option<i32>)>,
    metrics: ProducerMetrics,
    last_partition: u64,
    last_topic: u64,
    last_token: u64,
    last_ticket: u64,
}

/// How a producer sends.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Between two attempts of a batch.
    pub backoff: Backoff,
    /// Requests to one broker that have no answer so far.
    pub max_in_flight: usize,
    /// Bytes of a request. A batch that is larger goes alone.
    pub max_request_size: usize,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self { backoff: Backoff::RETRY, max_in_flight: 5, max_request_size: 1024 * 1024 }
    }
}

/// A topic as it was when it was opened.
#[derive(Debug)]
struct TopicRef {
    name: Str,
    /// Nil where the cluster has none.
    id: Uuid,
    /// One for each time the topic was created, as far as its ids tell.
    order: u64,
}

/// A partition opened at a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u64);

/// One request on its way; the attempt of every batch in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Identity,
    Partition(PartitionId),
    Request(RequestToken),
}

/// What to do next.
#[derive(Debug)]
pub enum Action<D> {
    /// Take the oldest batch of this partition's queue, seal it, and [`push`](Producer::push) it, or report
    /// [`nothing_to_push`](Producer::nothing_to_push). Where sealing takes a while, tell what the queue has without that batch with
    /// [`handle_ready`](Producer::handle_ready), so that the next one can be sealed meanwhile; batches are pushed in the order in
    /// which they were taken.
    Take {
        /// The partition.
        partition: PartitionId,
    },
    /// Send a request.
    Send(SendRequest),
    /// Ask any broker for a producer id; hand the result to [`handle_producer_id`](Producer::handle_producer_id).
    InitProducerId(InitProducerIdRequest),
    /// Ask for fresh metadata, and report every leader with [`handle_leader`](Producer::handle_leader).
    RefreshMetadata {
        /// Why.
        reason: RefreshReason,
        /// A broker that had better not be asked.
        avoid: Option<i32>,
    },
    /// A batch is done with.
    Resolve {
        /// Its partition, whose queue gets `memory` back.
        partition: PartitionId,
        /// What was pushed with it.
        delivery: D,
        /// The memory that was pushed with it.
        memory: usize,
        /// Where it was written, or why not.
        result: Result<Written, DeliveryError>,
    },
    /// Split a batch that is too large for its topic ([`SealedBatch::split`](ottla_wire::records::SealedBatch::split)), and report
    /// with [`handle_split`](Producer::handle_split). Batches of the partition had better be smaller from now on.
    Split(SplitBatch),
    /// A batch is done with that was split on the way: what became of its parts.
    ResolveParts {
        /// Its partition, whose queue gets `memory` back.
        partition: PartitionId,
        /// What was pushed with it.
        delivery: D,
        /// The memory that was pushed with it.
        memory: usize,
        /// For each part, the place of its first record in the batch as it was pushed; in order, the first is 0.
        parts: Vec<(usize, Result<Written, DeliveryError>)>,
    },
    /// For the log: a broker did not expect the sequence of this partition, which goes on under a new epoch. Nothing
    /// that was not acknowledged is lost.
    SequenceReset(SequenceReset),
    /// The topic was created again. The partition is closed: its queue gets no more records, and what it still holds
    /// is to be resolved as not written, with [`DeliveryCause::TopicRecreated`].
    Closed {
        /// The partition.
        partition: PartitionId,
        /// The id under which it was opened.
        old: Uuid,
        /// The id that the topic has now.
        new: Uuid,
    },
}

/// A Produce request and how to send it.
#[derive(Debug)]
pub struct SendRequest {
    /// To be handed back with the answer.
    pub token: RequestToken,
    /// Where to.
    pub broker_id: i32,
    /// The request.
    pub request: ProduceRequest,
    /// With [`Acks::None`] no answer comes: report [`handle_written`](Producer::handle_written).
    pub acks: Acks,
    /// How long it may take, everything included.
    pub timeout: Duration,
}

/// Why metadata is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshReason {
    /// A partition with something to send has no leader.
    NoLeader,
    /// A broker answered with this.
    Answer(ErrorCode),
    /// A request was lost.
    Lost,
    /// A broker has been silent for too long.
    Overdue,
}

/// Where a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The offset of its first record; none with acks 0, and for a duplicate whose offset the broker forgot.
    pub base_offset: Option<i64>,
    /// The time of all its records, in ms since the epoch, where the topic has LogAppendTime.
    pub log_append_time: Option<i64>,
}

/// A broker whose idea of a partition's sequence was another one.
#[derive(Debug, Clone)]
pub struct SequenceReset {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER or UNKNOWN_PRODUCER_ID.
    pub code: ErrorCode,
    /// The last offset that was acknowledged.
    pub last_acknowledged: Option<i64>,
    /// The start of the log, as the broker answered; -1 when it did not say.
    pub log_start_offset: i64,
}

impl SequenceReset {
    /// Whether retention explains it: the log starts past all that was acknowledged, and the broker's memory of the
    /// producer went with it. Otherwise acknowledged records may be gone, by an unclean election for one.
    pub fn is_retention(&self) -> bool {
        self.last_acknowledged.is_none_or(|acknowledged| self.log_start_offset > acknowledged)
    }
}

impl<D> Producer<D> {
    /// A producer without partitions. Equal seeds and equal inputs give equal actions.
    pub fn new(now: Instant, settings: ProducerSettings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            now,
            identity: Identity::Absent,
            identity_failures: 0,
            identity_timer: None,
            awaiting_identity: BTreeSet::new(),
            topics: HashMap::default(),
            ids: HashMap::default(),
            partitions: HashMap::default(),
            brokers: HashMap::default(),
            active: Few::default(),
            expired: BTreeSet::new(),
            requests: HashMap::default(),
            timers: Timers::new(),
            actions: VecDeque::new(),
            refresh: None,
            metrics: ProducerMetrics::default(),
            last_partition: 0,
            last_topic: 0,
            last_token: 0,
            last_ticket: 0,
        }
    }

    /// The partition's handle; the same for the same topic and index, whatever happened in between.
    pub fn open(&mut self, now: Instant, name: &Str, topic_id: Uuid, partition: i32) -> PartitionId {
        self.handle_topic_id(now, name, topic_id);
        let topic = self.topic(name, topic_id);
        let next = PartitionId(self.last_partition + 1);
        let id = *self.ids.entry((topic.order, partition)).or_insert(next);
        if id == next {
            self.last_partition += 1;
            self.partitions.insert(id, Partition::new(id, topic, partition));
        }
        id
    }

    /// The producer id and epoch that the next stamp gets.
    pub fn identity(&self) -> Option<ProducerIdentity> {
        self.identity.known()
    }

    /// For simulations, which count where they get to: what it has of an identity, by name.
    #[doc(hidden)]
    pub fn identity_state(&self) -> &'static str {
        self.identity.state()
    }

    /// For simulations: what a partition can do next, by name; none once it is forgotten.
    #[doc(hidden)]
    pub fn partition_state(&self, id: PartitionId) -> Option<&'static str> {
        let (current, max_in_flight) = (self.identity.known(), self.settings.max_in_flight);
        self.partitions.get(&id).map(|it| it.state(self.now, current, max_in_flight))
    }

    /// What it has done so far. Costs a look at each partition, and a copy of a histogram, some kilobytes.
    pub fn metrics(&self) -> ProducerMetrics {
        let mut metrics = self.metrics.clone();
        metrics.in_flight = self.requests.len() as u64;
        for partition in self.partitions.values() {
            metrics.add(partition.resolved);
            metrics.buffered_records += partition.records() as u64;
        }
        metrics
    }

    /// Whether all that was ready or pushed has been resolved, and no action is left. What was given up may still be answered.
    pub fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.partitions.values().all(Partition::is_resolved)
    }

    /// The queue of `partition` has something, or something else than before.
    pub fn handle_ready(&mut self, now: Instant, partition: PartitionId, ready: Option<Ready>) {
        self.advance(now);
        if let Some(partition) = self.partitions.get_mut(&partition).filter(|it| it.replaced_by.is_none()) {
            partition.queue = ready;
        }
        self.settle(partition);
    }

    /// A batch that was asked for by [`Action::Take`], and what its queue has now.
    pub fn push(&mut self, now: Instant, partition: PartitionId, batch: Batch<D>, ready: Option<Ready>) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            self.metrics.batches += 1;
            self.metrics.bytes += batch.encoded_len as u64;
            self.metrics.compressed_bytes += batch.sealed.len() as u64;
            partition.acks = batch.settings.acks;
            partition.batches.push_back(Pending::new(now, batch));
        }
        self.nothing_to_push(now, partition, ready);
    }

    /// The batch that was asked for cannot be had; what its queue has now.
    pub fn nothing_to_push(&mut self, now: Instant, partition: PartitionId, ready: Option<Ready>) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.taking = partition.taking.saturating_sub(1);
        }
        self.handle_ready(now, partition, ready);
    }

    /// Who leads `partition` now, if anybody does. Batches that were sent to another broker which has been silent for
    /// long go to the new leader, under the same sequence; what the old one may still answer is ignored.
    pub fn handle_leader(&mut self, now: Instant, partition: PartitionId, leader: Option<Leader>) {
        self.advance(now);
        let Some(it) = self.partitions.get_mut(&partition).filter(|it| it.leader != leader) else { return };
        it.leader = leader;
        if leader.is_some() {
            it.retry_at = None;
            it.failures = 0;
        }
        self.abandon(partition);
        self.settle(partition);
    }

    /// The topic of this name has this id. Partitions opened under another one are closed: what is in flight is
    /// answered or lost, all else fails with an error that names both ids.
    pub fn handle_topic_id(&mut self, now: Instant, name: &Str, topic_id: Uuid) {
        self.advance(now);
        let old = match self.topics.get(name) {
            Some(topic) if topic.id != topic_id && !topic_id.is_nil() && !topic.id.is_nil() => topic.id,
            _ => return,
        };
        self.topics.remove(name);
        let mut closed: Vec<_> =
            self.partitions.values().filter(|it| it.topic.id == old).map(|it| it.id).collect();
        closed.sort();
        for id in closed {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.replaced_by = Some(topic_id);
                partition.queue = None;
                // Should the old topic be opened again, the broker still knows the sequences used so far.
                partition.restart(&mut self.identity);
            }
            self.actions.push_back(Action::Closed { partition: id, old, new: topic_id });
            self.settle(id);
        }
    }

    /// The result of [`Action::InitProducerId`]: id and epoch as answered. Why there is no producer id, if there is none, is what
    /// comes back.
    pub fn handle_producer_id(
        &mut self,
        now: Instant,
        result: Result<(i64, i16), ProducerIdFailure>,
    ) -> Option<ProducerIdFailure> {
        self.advance(now);
        let result = result.and_then(|(id, epoch)| match (id, epoch) {
            (0.., 0..) => Ok(ProducerIdentity { id, epoch }),
            _ => Err(ProducerIdFailure::Malformed { id, epoch }),
        });
        let failure = match result {
            Ok(identity) => {
                self.identity = Identity::Known(identity);
                self.identity_failures = 0;
                None
            }
            Err(failure) => {
                self.identity_failed(&failure);
                Some(failure)
            }
        };
        for id in self.awaiting_identity.clone() {
            self.settle(id);
        }
        failure
    }

    /// Time has passed: at the latest when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Partition(id) => self.partition_due(id),
                Timer::Request(token) => self.overdue(token),
                Timer::Identity => {
                    self.identity_timer = None;
                    self.identity = Identity::Absent;
                    if self.awaiting_identity.is_empty() {
                        // Whoever needs one later asks then, and is not held up by what nobody waits for any more.
                        self.identity_failures = 0;
                    } else {
                        self.ask_identity();
                    }
                }
            }
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action<D>> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        // However often it was heard of since: one batch, and then what the queue has behind it. (Nearly always there is none, and a
        // tree is not asked in vain for each action.)
        while !self.expired.is_empty()
            && let Some(partition) = self.expired.pop_first()
        {
            if self.is_expired(partition) {
                self.take(partition);
                return Some(Action::Take { partition });
            }
        }
        if let Some((reason, avoid)) = self.refresh.take() {
            return Some(Action::RefreshMetadata { reason, avoid });
        }
        // What is settled on the way may put the broker back. It ends: what is settled once more at the same moment stays.
        while let Some(broker) = self.active.pop_first() {
            if let Some(action) = self.act_at(broker) {
                self.active.insert(broker);
                return Some(action);
            }
            // Acting may have resolved something on the way.
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn topic(&mut self, name: &Str, id: Uuid) -> Arc<TopicRef> {
        let known = self.topics.get(name);
        if let Some(topic) = known.filter(|topic| topic.id == id || id.is_nil()) {
            return topic.clone();
        }
        // A broker too old for ids was asked before one that has them: still the same topic, and the same sequences.
        let order = known.map_or(self.last_topic + 1, |topic| topic.order);
        self.last_topic = self.last_topic.max(order);
        let topic = Arc::new(TopicRef { name: name.clone(), id, order });
        self.topics.insert(name.clone(), topic.clone());
        for partition in self.partitions.values_mut().filter(|partition| partition.topic.order == order) {
            partition.topic = topic.clone();
        }
        topic
    }

    /// After any change to a partition: resolves what is over, lists it where it belongs, moves its timer.
    fn settle(&mut self, id: PartitionId) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        partition.expire(self.now, &mut self.identity, &mut self.actions);
        if partition.failures > 0 && partition.is_resolved() {
            // A pause that has begun lasts as long as it was to, but what was given up makes no later one longer.
            partition.failures = 0;
        }
        if partition.replaced_by.is_some() && partition.is_idle() {
            return self.forget(id);
        }
        let mut step = partition.step(self.now, self.identity.known(), self.settings.max_in_flight);
        if step == Step::FindLeader && partition.retry_at.is_none() {
            partition.failures += 1;
            let pause = self.settings.backoff.delay(partition.failures, self.random.next_u64());
            partition.retry_at = Some(later(self.now, pause));
            self.refresh.get_or_insert((RefreshReason::NoLeader, None));
        }
        let due = partition.due(self.now);
        self.timers.set(Timer::Partition(id), &mut partition.timer, due);
        match step {
            Step::Expire => {
                self.expired.insert(id);
                step = Step::Nothing;
            }
            Step::AwaitIdentity => self.ask_identity(),
            _ => {}
        }
        self.list(id, step);
    }

    fn is_expired(&self, id: PartitionId) -> bool {
        let (current, max_in_flight) = (self.identity.known(), self.settings.max_in_flight);
        self.partitions.get(&id).is_some_and(|it| it.step(self.now, current, max_in_flight) == Step::Expire)
    }

    fn partition_due(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.timer = None;
            if partition.retry_at.is_some_and(|at| at <= self.now) {
                partition.retry_at = None;
            }
        }
        self.settle(id);
    }

    /// Marks the partition as waiting for a push. What it does next, and when it must be looked at, is settled with that.
    fn take(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.take();
        }
        self.list(id, Step::Nothing);
    }

    fn forget(&mut self, id: PartitionId) {
        self.list(id, Step::Nothing);
        if let Some(mut partition) = self.partitions.remove(&id) {
            self.metrics.add(partition.resolved);
            self.timers.set(Timer::Partition(id), &mut partition.timer, None);
            self.ids.remove(&(partition.topic.order, partition.index));
            // What it gave up may still be answered.
            for request in self.requests.values_mut().filter(|request| request.partitions.contains(&id)) {
                request.forgotten.push((id, partition.topic.clone(), partition.index));
            }
        }
    }

    fn ask_identity(&mut self) {
        if self.identity == Identity::Absent {
            self.identity = Identity::Asked;
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdRequest::default()
            };
            self.actions.push_back(Action::InitProducerId(request));
        }
    }

    /// Asks again after a pause, or fails all that waits where asking again cannot help.
    fn identity_failed(&mut self, failure: &ProducerIdFailure) {
        let is_retriable = failure.is_retriable();
        if is_retriable {
            self.identity = Identity::Pausing;
            self.identity_failures += 1;
            let pause = self.settings.backoff.delay(self.identity_failures, self.random.next_u64());
            self.timers.set(Timer::Identity, &mut self.identity_timer, Some(later(self.now, pause)));
        } else {
            self.identity = Identity::Absent;
            self.identity_failures = 0;
        }
        let cause = DeliveryCause::ProducerId(failure.clone());
        for id in &self.awaiting_identity {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let Some(at) = partition.next_to_send() else { continue };
            if is_retriable {
                partition.batches[at].cause = Some(cause.clone());
            } else {
                let outcome = partition.batches[at].outcome();
                self.actions.extend(partition.fail(at, outcome, cause.clone(), &mut self.identity));
            }
        }
    }
}
