//! Which partitions may act at which broker, in what order, and what shares a request.
//!
//! A partition stands in at most one list at a time; it enters at the end, so that each gets its turn. With nothing in
//! flight to a broker a batch that somebody waits for leaves at once. Otherwise it gathers until nothing is in flight any
//! more, or until a full batch, or one that has lingered, is there and the broker's window has room; then all that is
//! listed leaves together, as far as the request size allows, also what would linger still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::Str;
use ottla_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::company::Company;
use super::partition::{Haste, Step};
use super::{Action, PartitionId, Producer, RequestToken, SendRequest, Timer, TopicRef};
use crate::connection::OVERDUE_AFTER;
use crate::partition_queue::Acks;
use crate::time::later;

/// Where a partition is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// Among those that wait for a producer id.
    Identity,
    /// At its leader. The ticket gives the order.
    Broker { broker_id: i32, list: List, haste: Haste, ticket: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Has something in its queue.
    Take,
    /// Has a sealed batch.
    Send,
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    /// Requests without an answer so far.
    pub(super) in_flight: usize,
    take: BTreeMap<u64, PartitionId>,
    send: BTreeMap<u64, PartitionId>,
    /// How many of the listed do not linger, and how many of those need not wait for company.
    due: usize,
    full: usize,
    /// The end of the throttle time it asked for.
    pub(super) muted_until: Option<Instant>,
    /// For whom what is listed waits.
    pub(super) company: Company,
}

/// A request without an answer so far.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) broker_id: i32,
    /// In the order of the request.
    pub(super) partitions: Vec<PartitionId>,
    /// Those that are gone, since their topic was created again, under the names that the answer gives them.
    pub(super) forgotten: Vec<(PartitionId, Arc<TopicRef>, i32)>,
    pub(super) sent_at: Instant,
    /// From when on its silence is suspicious.
    pub(super) overdue_at: Instant,
    pub(super) timer: Option<Instant>,
}

#[derive(Debug, Default)]
struct Picked {
    partitions: Vec<PartitionId>,
    /// Listed under an identity that another partition has left behind or used up since.
    stale: Vec<PartitionId>,
}

impl Broker {
    fn list(&mut self, list: List) -> &mut BTreeMap<u64, PartitionId> {
        match list {
            List::Take => &mut self.take,
            List::Send => &mut self.send,
        }
    }

    /// Counts one more of the listed, or one less.
    fn count(&mut self, haste: Haste, is_listed: bool) {
        for (least, count) in [(Haste::Due, &mut self.due), (Haste::Full, &mut self.full)] {
            if haste >= least {
                *count = if is_listed { *count + 1 } else { *count - 1 };
            }
        }
    }

    /// Whether something listed may leave now.
    fn may_send(&self, max_in_flight: usize) -> bool {
        (self.due > 0 && self.in_flight == 0) || (self.full > 0 && self.in_flight < max_in_flight)
    }

    /// Whether only company is missing for what is listed to leave.
    pub(super) fn is_held(&self, max_in_flight: usize) -> bool {
        self.full == 0 && self.company.is_missing() && self.may_send(max_in_flight)
    }
}

impl<D> Producer<D> {
    /// Lists the partition where its next step puts it.
    pub(super) fn list(&mut self, id: PartitionId, step: Step) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let wanted = match (step, partition.leader) {
            (Step::AwaitIdentity, _) => Some(Spot::Identity),
            (Step::Take(haste), Some(leader)) => Some((leader.broker_id, List::Take, haste).into()),
            (Step::Send(haste), Some(leader)) => Some((leader.broker_id, List::Send, haste).into()),
            _ => None,
        };
        if partition.spot.map(Spot::without_ticket) == wanted {
            return;
        }
        match partition.spot.take() {
            Some(Spot::Identity) => {
                self.awaiting_identity.remove(&id);
            }
            Some(Spot::Broker { broker_id, list, haste, ticket }) => {
                let broker = self.brokers.entry(broker_id).or_default();
                broker.list(list).remove(&ticket);
                broker.count(haste, false);
            }
            None => {}
        }
        partition.spot = match wanted {
            Some(Spot::Broker { broker_id, list, haste, .. }) => {
                self.last_ticket += 1;
                let ticket = self.last_ticket;
                let broker = self.brokers.entry(broker_id).or_default();
                broker.list(list).insert(ticket, id);
                broker.count(haste, true);
                self.active.insert(broker_id);
                Some(Spot::Broker { broker_id, list, haste, ticket })
            }
            Some(Spot::Identity) => {
                self.awaiting_identity.insert(id);
                Some(Spot::Identity)
            }
            None => None,
        };
    }

    /// What to do at a broker now: takes first, so that one request carries what all of them bring.
    pub(super) fn act_at(&mut self, broker_id: i32) -> Option<Action<D>> {
        let broker = self.brokers.get(&broker_id)?;
        let limit = self.settings.max_in_flight;
        if !broker.may_send(limit) || broker.is_held(limit) {
            return None;
        }
        if let Some(partition) = broker.take.values().next().copied() {
            self.take(partition);
            return Some(Action::Take { partition });
        }
        let Picked { partitions, stale } = self.pick(broker_id);
        for id in stale {
            self.settle(id);
        }
        (!partitions.is_empty()).then(|| self.send(broker_id, partitions))
    }

    /// The next partitions whose batches can share a request: equal acks and time-out, within the request size.
    fn pick(&self, broker_id: i32) -> Picked {
        let mut picked = Picked::default();
        let mut common = None;
        let mut size = 0;
        let listed = self.brokers.get(&broker_id).into_iter().flat_map(|broker| broker.send.values());
        for partition in listed.filter_map(|id| self.partitions.get(id)) {
            let Some(batch) = partition.next_to_send().and_then(|at| partition.batches.get(at)) else {
                continue;
            };
            if batch.needs_stamp() && !partition.may_stamp(self.identity.known()) {
                picked.stale.push(partition.id);
                continue;
            }
            let shared = (batch.settings.acks, batch.settings.request_timeout);
            if *common.get_or_insert(shared) != shared {
                continue;
            }
            size += batch.sealed.len() + PARTITION_OVERHEAD;
            if size > self.settings.max_request_size && !picked.partitions.is_empty() {
                break;
            }
            picked.partitions.push(partition.id);
        }
        picked
    }

    fn send(&mut self, broker_id: i32, mut picks: Vec<PartitionId>) -> Action<D> {
        // The wire nests partitions in topics.
        picks.sort_by_key(|id| {
            self.partitions.get(id).map(|partition| (partition.topic.order, partition.index))
        });
        self.last_token += 1;
        let token = RequestToken(self.last_token);
        let current = self.identity.known();
        let mut request = ProduceRequest { transactional_id: None, ..ProduceRequest::default() };
        let mut acks = Acks::default();
        let mut timeout = OVERDUE_AFTER;
        let mut last_topic = None;
        for id in &picks {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let Some(at) = partition.next_to_send() else { continue };
            partition.stamp(at, current);
            let batch = &mut partition.batches[at];
            batch.attempts += 1;
            self.metrics.retries += u64::from(batch.attempts > 1);
            batch.in_flight = Some(token);
            acks = batch.settings.acks;
            timeout = batch.settings.request_timeout;
            if last_topic.replace(partition.topic.order) != Some(partition.topic.order) {
                request.topic_data.push(TopicProduceData {
                    name: partition.topic.name.clone(),
                    topic_id: partition.topic.id,
                    ..TopicProduceData::default()
                });
            }
            if let Some(topic) = request.topic_data.last_mut() {
                topic.partition_data.push(PartitionProduceData {
                    index: partition.index,
                    records: Some(batch.sealed.record_set(&batch.stamp.unwrap_or_default())),
                    ..PartitionProduceData::default()
                });
            }
        }
        request.acks = acks.to_wire();
        request.timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        for id in &picks {
            self.settle(*id);
        }
        self.remember(token, broker_id, picks);
        Action::Send(SendRequest { token, broker_id, request, acks, timeout })
    }

    fn remember(&mut self, token: RequestToken, broker_id: i32, partitions: Vec<PartitionId>) {
        let broker = self.brokers.entry(broker_id).or_default();
        broker.in_flight += 1;
        self.metrics.requests += 1;
        let start = broker.muted_until.map_or(self.now, |until| until.max(self.now));
        let overdue_at = later(start, OVERDUE_AFTER);
        let (forgotten, sent_at) = (Vec::new(), self.now);
        let mut request = InFlight { broker_id, partitions, forgotten, sent_at, overdue_at, timer: None };
        self.timers.set(Timer::Request(token), &mut request.timer, Some(overdue_at));
        self.requests.insert(token, request);
    }

    /// What a request that is out carries, for the log: topic, partition, and which attempt of its batch this is.
    pub fn carried(&self, token: RequestToken) -> impl Iterator<Item = (&Str, i32, u32)> {
        let ids = self.requests.get(&token).into_iter().flat_map(|request| &request.partitions);
        ids.filter_map(move |id| {
            let partition = self.partitions.get(id)?;
            let at = partition.attempt(token)?;
            Some((&partition.topic.name, partition.index, partition.batches[at].attempts))
        })
    }

    /// The request has been answered or is lost: it makes room at its broker.
    pub(super) fn finish(&mut self, token: RequestToken) -> Option<InFlight> {
        let mut request = self.requests.remove(&token)?;
        self.timers.set(Timer::Request(token), &mut request.timer, None);
        if let Some(broker) = self.brokers.get_mut(&request.broker_id) {
            broker.in_flight -= 1;
            self.active.insert(request.broker_id);
        }
        Some(request)
    }
}

impl Spot {
    fn without_ticket(self) -> Self {
        match self {
            Self::Broker { broker_id, list, haste, .. } => Self::Broker { broker_id, list, haste, ticket: 0 },
            Self::Identity => Self::Identity,
        }
    }
}

impl From<(i32, List, Haste)> for Spot {
    fn from((broker_id, list, haste): (i32, List, Haste)) -> Self {
        Self::Broker { broker_id, list, haste, ticket: 0 }
    }
}

/// What a partition adds to a request besides its batch, at most: index, lengths, and a share of the topic's entry.
const PARTITION_OVERHEAD: usize = 64;
