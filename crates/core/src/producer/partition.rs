//! One partition as the machine sees it: its batches in the order of their sequences, and what it can do next.
//!
//! The batches form one FIFO. Those that were stamped come first, each with the id, epoch and base sequence that all
//! its attempts carry; a batch that must be sent again waits at its place, so order never depends on who moved what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::Uuid;
use ottla_wire::records::{SealedBatch, Stamp};

use super::identity::{Identity, ProducerIdentity, sequence_after};
use super::schedule::Spot;
use super::split::{Owed, Split};
use super::{
    Action, DeliveryCause, DeliveryError, DeliveryOutcome, PartitionId, RequestToken, TopicRef, Written,
};
use crate::metadata::Leader;
use crate::partition_queue::{Acks, Batch, BatchSettings, Ready};

#[derive(Debug)]
pub(super) struct Partition<D> {
    pub(super) id: PartitionId,
    pub(super) topic: Arc<TopicRef>,
    pub(super) index: i32,
    pub(super) leader: Option<Leader>,
    /// What its queue has, as last heard; nothing is known of it from when a batch is asked for until it is told anew.
    pub(super) queue: Option<Ready>,
    /// Batches that were asked for and have not been pushed yet.
    pub(super) taking: usize,
    pub(super) batches: VecDeque<Pending<D>>,
    /// Of the last batch there was.
    pub(super) acks: Acks,
    /// Batches of which some were made.
    pub(super) splits: Vec<Split<D>>,
    /// Records that were acknowledged, and that were given up.
    pub(super) resolved: (u64, u64),
    /// Under which identity `next_sequence` counts; the partition goes over to a new one at 0, once nothing is
    /// stamped with the old one.
    pub(super) identity: Option<ProducerIdentity>,
    pub(super) next_sequence: i32,
    /// The leader that has taken a batch under `identity`. A broker without state of a producer takes any sequence for
    /// the first, so until then one batch is in flight at a time.
    proven: Option<Leader>,
    /// The last offset the broker acknowledged.
    pub(super) last_acknowledged: Option<i64>,
    /// Failures in a row, for the back-off.
    pub(super) failures: u32,
    /// Nothing is sent before; also the next time to ask for a missing leader.
    pub(super) retry_at: Option<Instant>,
    /// The id under which the topic was created again.
    pub(super) replaced_by: Option<Uuid>,
    /// Where it is listed.
    pub(super) spot: Option<Spot>,
    /// Its entry among the timers.
    pub(super) timer: Option<Instant>,
}

/// A sealed batch until it is out of the machine's hands.
#[derive(Debug)]
pub(super) struct Pending<D> {
    pub(super) sealed: SealedBatch,
    pub(super) settings: BatchSettings,
    /// Bytes before compression, about if it is a part.
    pub(super) encoded_len: usize,
    pub(super) deadline: Instant,
    pub(super) full: bool,
    pub(super) owed: Owed<D>,
    /// One snapshot of id, epoch and base sequence, taken before the first attempt.
    pub(super) stamp: Option<Stamp>,
    pub(super) attempts: u32,
    /// An attempt may have reached the log.
    pub(super) unknown: bool,
    /// The request whose answer counts; `None` while it waits to be sent.
    pub(super) in_flight: Option<RequestToken>,
    /// It is being split, and keeps its place meanwhile; the request in which it was too large.
    pub(super) splitting: Option<RequestToken>,
    /// What the last attempt met.
    pub(super) cause: Option<DeliveryCause>,
}

/// What a partition can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for an event.
    Nothing,
    /// Take a batch from the queue whatever its broker does: its delivery time-out passed.
    Expire,
    /// It needs a leader.
    FindLeader,
    /// Its next batch needs a producer id.
    AwaitIdentity,
    /// Take a batch from the queue when the broker has room.
    Take(Haste),
    /// Send a batch when the broker has room.
    Send(Haste),
}

impl Step {
    /// For simulations.
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "waits",
            Self::Expire => "takes what is past its time",
            Self::FindLeader => "needs a leader",
            Self::AwaitIdentity => "needs a producer id",
            Self::Take(Haste::None) => "would take what lingers",
            Self::Take(Haste::Due) => "would take what is awaited",
            Self::Take(Haste::Full) => "would take what is full",
            Self::Send(Haste::None) => "would send what lingers",
            Self::Send(Haste::Due) => "would send what is awaited",
            Self::Send(Haste::Full) => "would send what is full",
        }
    }
}

/// What makes a batch leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Haste {
    /// It lingers, and leaves with others that do not.
    None,
    /// It leaves when nothing is in flight to its broker.
    Due,
    /// It leaves when the broker's window has room.
    Full,
}

impl<D> Partition<D> {
    pub(super) fn new(id: PartitionId, topic: Arc<TopicRef>, index: i32) -> Self {
        Self {
            id,
            topic,
            index,
            leader: None,
            queue: None,
            taking: 0,
            batches: VecDeque::new(),
            acks: Acks::All,
            splits: Vec::new(),
            resolved: (0, 0),
            identity: None,
            next_sequence: 0,
            proven: None,
            last_acknowledged: None,
            failures: 0,
            retry_at: None,
            replaced_by: None,
            spot: None,
            timer: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_resolved() && self.batches.is_empty()
    }

    /// Whether nobody is owed anything. What was given up may still be in flight.
    pub(super) fn is_resolved(&self) -> bool {
        let is_over = |batch: &Pending<D>| batch.owed.is_nothing();
        self.queue.is_none() && self.taking == 0 && self.batches.iter().all(is_over)
    }

    /// For simulations: its step, and if there is none, why not.
    pub(super) fn state(
        &self,
        now: Instant,
        current: Option<ProducerIdentity>,
        max_in_flight: usize,
    ) -> &'static str {
        match self.step(now, current, max_in_flight) {
            Step::Nothing if self.is_idle() => "idle",
            Step::Nothing if self.retry_at.is_some() => "pauses after a failure",
            Step::Nothing if self.batches.iter().any(|batch| batch.splitting.is_some()) => "splits",
            step => step.name(),
        }
    }

    pub(super) fn step(&self, now: Instant, current: Option<ProducerIdentity>, max_in_flight: usize) -> Step {
        // Also while others are being sealed, however many: each of those takes a while, and this one has waited long enough.
        if self.queue.is_some_and(|queue| queue.deadline <= now) {
            return Step::Expire;
        }
        let step = self.step_at_leader(now, current, max_in_flight);
        match step {
            Step::Nothing => Step::Nothing,
            _ if self.leader.is_none() => Step::FindLeader,
            _ if self.retry_at.is_some() => Step::Nothing,
            step => step,
        }
    }

    fn step_at_leader(&self, now: Instant, current: Option<ProducerIdentity>, max_in_flight: usize) -> Step {
        if let Some(at) = self.next_to_send() {
            let batch = &self.batches[at];
            return match batch.needs_stamp() {
                _ if batch.splitting.is_some() => Step::Nothing,
                _ if at >= self.window(batch.settings.acks, max_in_flight) => Step::Nothing,
                true if current.is_none() => Step::AwaitIdentity,
                true if !self.may_stamp(current) => Step::Nothing,
                _ => Step::Send(if batch.full { Haste::Full } else { Haste::Due }),
            };
        }
        match self.queue {
            // While one is compressed, what is full may be, too; the rest waits for company.
            Some(queue) if (queue.full || self.taking == 0) && self.has_room(max_in_flight) => {
                let has_lingered = queue.lingers_until.is_some_and(|until| until <= now);
                Step::Take(match queue {
                    _ if queue.full || has_lingered => Haste::Full,
                    _ if queue.is_awaited => Haste::Due,
                    _ => Haste::None,
                })
            }
            _ => Step::Nothing,
        }
    }

    /// How many batches may be in flight. Without a producer id a repeated batch would come after its followers.
    fn window(&self, acks: Acks, max_in_flight: usize) -> usize {
        match acks {
            Acks::None => max_in_flight,
            Acks::All if self.leader.is_some() && self.proven == self.leader => max_in_flight,
            Acks::All | Acks::Leader => 1,
        }
    }

    /// Whether one more batch may be in flight beside those there are.
    fn has_room(&self, max_in_flight: usize) -> bool {
        let count = self.batches.len() + self.taking;
        count == 0 || count < self.window(self.acks, max_in_flight)
    }

    /// A batch is asked for.
    pub(super) fn take(&mut self) {
        self.taking += 1;
        self.queue = None;
    }

    /// The first batch that is not in flight.
    pub(super) fn next_to_send(&self) -> Option<usize> {
        self.batches.iter().position(|batch| batch.in_flight.is_none())
    }

    /// The batch whose current attempt is `token`; none when that attempt was given up.
    pub(super) fn attempt(&self, token: RequestToken) -> Option<usize> {
        self.batches.iter().position(|batch| batch.in_flight == Some(token))
    }

    fn has_stamped(&self) -> bool {
        self.batches.iter().any(|batch| batch.stamp.is_some())
    }

    /// Whether a batch without a stamp can get one now: not beside others that have one under another identity.
    pub(super) fn may_stamp(&self, current: Option<ProducerIdentity>) -> bool {
        current.is_some() && (self.identity == current || !self.has_stamped())
    }

    /// Stamps a batch that has no stamp, under `current`.
    pub(super) fn stamp(&mut self, at: usize, current: Option<ProducerIdentity>) {
        let batch = &mut self.batches[at];
        let Some(identity) = current.filter(|_| batch.needs_stamp()) else { return };
        if self.identity != current {
            self.identity = current;
            self.next_sequence = 0;
            self.proven = None;
        }
        batch.stamp = Some(Stamp {
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            base_sequence: self.next_sequence,
            ..Stamp::default()
        });
        self.next_sequence = sequence_after(self.next_sequence, batch.records());
    }

    /// A success, as `broker_id` says: the batch leaves.
    pub(super) fn written(&mut self, at: usize, broker_id: i32, mut written: Written) -> Option<Action<D>> {
        let batch = self.batches.remove(at)?;
        // Of a batch that it has already a broker says how new its records are, whatever the topic's kind of timestamps.
        if batch.attempts > 1 && written.log_append_time == Some(batch.sealed.max_timestamp()) {
            written.log_append_time = None;
        }
        self.failures = 0;
        if let Some(stamp) = &batch.stamp
            && self.identity.is_some_and(|current| current.stamped(stamp))
        {
            self.proven = self.leader.filter(|leader| leader.broker_id == broker_id);
        }
        if let Some(base_offset) = written.base_offset {
            let last = base_offset.saturating_add(batch.records() as i64 - 1);
            self.last_acknowledged = self.last_acknowledged.max(Some(last));
        }
        let (owed, records) = batch.into_owed();
        self.pay(owed, records, Ok(written))
    }

    /// The attempt is over and the batch waits for another, at its place. A batch that nobody waits for leaves instead;
    /// whether it stayed is returned.
    pub(super) fn rewind(
        &mut self,
        at: usize,
        unknown: bool,
        cause: DeliveryCause,
        identity: &mut Identity,
    ) -> bool {
        let batch = &mut self.batches[at];
        batch.in_flight = None;
        batch.unknown |= unknown;
        batch.cause = Some(cause);
        let stays = !batch.owed.is_nothing();
        if !stays {
            self.drop_batch(at, identity);
        }
        stays
    }

    /// A batch without a stamp gets its next one under another identity, and so does all that waits behind it: the gap
    /// that it leaves in the old sequence is never filled, so none of that is in the log or will be.
    pub(super) fn restamp(&mut self) {
        let behind = self.batches.iter_mut().skip_while(|batch| !batch.needs_stamp());
        for batch in behind.filter(|batch| batch.in_flight.is_none()) {
            batch.stamp = None;
        }
    }

    /// The batch leaves without success.
    pub(super) fn fail(
        &mut self,
        at: usize,
        outcome: DeliveryOutcome,
        cause: DeliveryCause,
        identity: &mut Identity,
    ) -> Option<Action<D>> {
        let batch = self.drop_batch(at, identity)?;
        let error = batch.error(self, outcome, cause);
        let (owed, records) = batch.into_owed();
        self.pay(owed, records, Err(error))
    }

    /// Records that were pushed and are not resolved.
    pub(super) fn records(&self) -> usize {
        self.batches.iter().map(Pending::records).sum()
    }

    /// Removes a batch that will not be sent again. Its sequence is used again only when it is certain that no attempt
    /// used it; otherwise the identity is left behind.
    fn drop_batch(&mut self, at: usize, identity: &mut Identity) -> Option<Pending<D>> {
        let batch = self.batches.remove(at)?;
        if let Some(stamp) = &batch.stamp {
            let is_last = self.batches.iter().skip(at).all(|later| later.stamp.is_none());
            if self.replaced_by.is_some() {
                // No sequence of this topic will be used again.
            } else if batch.unknown || !is_last {
                self.restart(identity);
            } else if self.identity.is_some_and(|current| current.stamped(stamp)) {
                self.next_sequence = stamp.base_sequence;
            }
        }
        Some(batch)
    }

    /// The next stamp is under another identity, and so at sequence 0.
    pub(super) fn restart(&mut self, identity: &mut Identity) {
        if let Some(used) = self.identity {
            identity.raise(used);
        }
    }

    /// Resolves what is past its deadline, or has no topic to go to any more.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        identity: &mut Identity,
        actions: &mut VecDeque<Action<D>>,
    ) {
        let mut at = 0;
        while let Some(batch) = self.batches.get_mut(at) {
            let waits = batch.in_flight.is_none();
            let cause = match self.replaced_by {
                Some(new) if waits => DeliveryCause::TopicRecreated { old: self.topic.id, new },
                _ if batch.deadline > now || batch.owed.is_nothing() => {
                    at += 1;
                    continue;
                }
                _ => DeliveryCause::TimedOut { last: batch.cause.clone().map(Box::new) },
            };
            if waits {
                let outcome = batch.outcome();
                let cause = cause.or_obstacle(self.leader);
                actions.extend(self.fail(at, outcome, cause, identity));
            } else {
                // The attempt in flight goes on to hold the partition until its answer, or until it is lost.
                let error = self.batches[at].error(self, DeliveryOutcome::MayHaveBeenWritten, cause);
                let batch = &mut self.batches[at];
                let (owed, records) = (std::mem::replace(&mut batch.owed, Owed::Nothing), batch.records());
                actions.extend(self.pay(owed, records, Err(error)));
                at += 1;
            }
        }
    }

    /// The next moment at which the partition must be looked at.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let mut first = self.retry_at;
        let mut look_at = |at: Instant| first = Some(first.map_or(at, |first| first.min(at)));
        let owed = self.batches.iter().filter(|batch| !batch.owed.is_nothing());
        owed.for_each(|batch| look_at(batch.deadline));
        if let Some(queue) = self.queue {
            let times = [Some(queue.deadline), queue.lingers_until];
            times.into_iter().flatten().filter(|at| *at > now).for_each(look_at);
        }
        first
    }
}

impl<D> Pending<D> {
    pub(super) fn new(now: Instant, batch: Batch<D>) -> Self {
        Self {
            sealed: batch.sealed,
            settings: batch.settings,
            encoded_len: batch.encoded_len,
            deadline: batch.deadline,
            full: batch.full || batch.lingers_until.is_some_and(|until| until <= now),
            owed: Owed::Whole { delivery: batch.delivery, memory: batch.memory },
            stamp: None,
            attempts: 0,
            unknown: false,
            in_flight: None,
            splitting: None,
            cause: None,
        }
    }

    pub(super) fn records(&self) -> usize {
        self.sealed.count()
    }

    /// What is owed, and for how many records. The payloads are given back first: they may be a user's own memory, which
    /// may panic then, and what a function is about to return at that moment is not dropped, so nobody would be told.
    fn into_owed(self) -> (Owed<D>, usize) {
        let Self { sealed, owed, .. } = self;
        let records = sealed.count();
        drop(sealed);
        (owed, records)
    }

    pub(super) fn needs_stamp(&self) -> bool {
        self.stamp.is_none() && self.settings.acks == Acks::All
    }

    /// What can be said of it while no attempt is in flight.
    pub(super) fn outcome(&self) -> DeliveryOutcome {
        if self.unknown { DeliveryOutcome::MayHaveBeenWritten } else { DeliveryOutcome::NotWritten }
    }

    fn error(
        &self,
        partition: &Partition<D>,
        outcome: DeliveryOutcome,
        cause: DeliveryCause,
    ) -> DeliveryError {
        DeliveryError {
            topic: partition.topic.name.clone(),
            partition: partition.index,
            attempts: self.attempts,
            outcome,
            cause,
        }
    }
}

impl ProducerIdentity {
    fn stamped(self, stamp: &Stamp) -> bool {
        self.id == stamp.producer_id && self.epoch == stamp.producer_epoch
    }
}

impl DeliveryCause {
    /// For a batch that timed out before its first attempt, what was in the way.
    fn or_obstacle(self, leader: Option<Leader>) -> Self {
        match self {
            Self::TimedOut { last: None } if leader.is_none() => {
                Self::TimedOut { last: Some(Box::new(Self::NoLeader)) }
            }
            cause => cause,
        }
    }
}
