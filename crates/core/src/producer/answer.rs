//! What becomes of batches in flight: answered, written without an answer, lost with their connection, or given up
//! because their broker kept silent while another one took over.

use std::time::Instant;

use ottla_wire::messages::produce::{PartitionProduceResponse, ProduceResponse};
use ottla_wire::{Str, Uuid};

use super::schedule::InFlight;
use super::verdict::Verdict;
use super::{
    Action, DeliveryCause, PartitionId, Producer, RefreshReason, RequestToken, SequenceReset, SplitBatch,
    Timer, Written,
};
use crate::connection::{OVERDUE_AFTER, OVERDUE_AGAIN, throttle_time};
use crate::error::RequestError;
use crate::partition_queue::Acks;
use crate::time::later;

/// How an answer differs from what was asked; worth a warning, and handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mismatch {
    /// Partitions that were not in the request; ignored.
    pub unexpected: usize,
    /// Partitions answered more than once; the first answer counts.
    pub duplicated: usize,
    /// Partitions of the request without an answer; their outcome is unknown.
    pub missing: usize,
}

impl Mismatch {
    /// Whether the answer was as it should be.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How an answer names a topic.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum TopicKey {
    Id(Uuid),
    Name(Str),
}

/// A partition of a request, until it is answered.
struct Expected {
    topic: TopicKey,
    index: i32,
    waiting: Option<PartitionId>,
}

impl Expected {
    fn key(&self) -> (&TopicKey, i32) {
        (&self.topic, self.index)
    }
}

/// What a batch's attempt came to.
struct Ending {
    verdict: Verdict,
    written: Written,
    cause: DeliveryCause,
    refresh: Option<RefreshReason>,
    log_start_offset: i64,
}

impl<D> Producer<D> {
    /// The answer to a request, decoded from `version`.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        token: RequestToken,
        version: i16,
        response: &ProduceResponse,
    ) -> Mismatch {
        self.advance(now);
        let mut mismatch = Mismatch::default();
        let Some(request) = self.finish(token) else { return mismatch };
        self.metrics.latency.record(self.now.saturating_duration_since(request.sent_at));
        self.throttle(request.broker_id, response.throttle_time_ms);
        let mut expected = self.expected(&request, version);
        let random = self.random.next_u64();
        for topic in &response.responses {
            let by_id = version >= FIRST_VERSION_WITH_IDS;
            let key = if by_id { TopicKey::Id(topic.topic_id) } else { TopicKey::Name(topic.name.clone()) };
            for answer in &topic.partition_responses {
                let place = expected.binary_search_by(|it| it.key().cmp(&(&key, answer.index)));
                match place.map(|at| expected[at].waiting.take()) {
                    Err(_) => mismatch.unexpected += 1,
                    Ok(None) => mismatch.duplicated += 1,
                    Ok(Some(id)) => {
                        self.end(id, token, &request, random, Ending::answered(&request, answer));
                    }
                }
            }
        }
        let mut missing: Vec<PartitionId> = expected.into_iter().filter_map(|it| it.waiting).collect();
        missing.sort();
        mismatch.missing = missing.len();
        for id in missing {
            let cause = DeliveryCause::NotAnswered { broker: request.broker_id };
            let ending = Ending::unanswered(Verdict::Unknown, cause, Some(RefreshReason::Lost));
            self.end(id, token, &request, random, ending);
        }
        mismatch
    }

    /// A request with [`Acks::None`] was written to its connection; there will be no answer.
    pub fn handle_written(&mut self, now: Instant, token: RequestToken) {
        self.advance(now);
        let Some(request) = self.finish(token) else { return };
        for &id in &request.partitions {
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            if let Some(at) = partition.attempt(token) {
                let written = Written { base_offset: None, log_append_time: None };
                self.actions.extend(partition.written(at, request.broker_id, written));
            }
            self.settle(id);
        }
    }

    /// There is no answer and there will be none.
    pub fn handle_lost(&mut self, now: Instant, token: RequestToken, error: &RequestError) {
        self.advance(now);
        let Some(request) = self.finish(token) else { return };
        let verdict = Verdict::of_loss(error);
        let random = self.random.next_u64();
        for &id in &request.partitions {
            let cause = DeliveryCause::Request(error.clone());
            self.end(
                id,
                token,
                &request,
                random,
                Ending::unanswered(verdict, cause, Some(RefreshReason::Lost)),
            );
        }
    }

    /// A request has been silent for long: what has another leader by now is sent there, the rest wants to know.
    pub(super) fn overdue(&mut self, token: RequestToken) {
        let Some(request) = self.requests.get_mut(&token) else { return };
        request.timer = None;
        let (broker_id, partitions) = (request.broker_id, request.partitions.clone());
        for &id in &partitions {
            self.abandon(id);
            self.settle(id);
        }
        let is_awaited =
            |id: &PartitionId| self.partitions.get(id).is_some_and(|it| it.attempt(token).is_some());
        if partitions.iter().any(is_awaited) {
            self.refresh = Some((RefreshReason::Overdue, Some(broker_id)));
            if let Some(request) = self.requests.get_mut(&token) {
                let again = Some(later(self.now, OVERDUE_AGAIN));
                self.timers.set(Timer::Request(token), &mut request.timer, again);
            }
        }
    }

    /// Gives up the overdue attempts of a partition at brokers that do not lead it any more. Without an answer to
    /// expect there is nothing to give up: a second attempt might write it twice.
    pub(super) fn abandon(&mut self, id: PartitionId) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Some(leader) = partition.leader else { return };
        let mut at = 0;
        while let Some(batch) = partition.batches.get(at) {
            let attempt = batch.in_flight.filter(|_| batch.settings.acks != Acks::None);
            let old = attempt.and_then(|token| self.requests.get(&token));
            match old.filter(|old| old.broker_id != leader.broker_id && old.overdue_at <= self.now) {
                Some(old) => {
                    let cause = DeliveryCause::Abandoned { broker: old.broker_id };
                    at += usize::from(partition.rewind(at, true, cause, &mut self.identity));
                }
                None => at += 1,
            }
        }
    }

    /// The partitions of a request under the names that an answer of this version gives them, sorted by these.
    fn expected(&self, request: &InFlight, version: i16) -> Vec<Expected> {
        let by_id = version >= FIRST_VERSION_WITH_IDS;
        let partitions = request.partitions.iter().filter_map(|id| self.partitions.get(id));
        let known = partitions.map(|partition| (partition.id, &partition.topic, partition.index));
        let gone = request.forgotten.iter().map(|(id, topic, index)| (*id, topic, *index));
        let named = gone.chain(known).map(|(id, topic, index)| {
            let topic = if by_id { TopicKey::Id(topic.id) } else { TopicKey::Name(topic.name.clone()) };
            Expected { topic, index, waiting: Some(id) }
        });
        let mut expected: Vec<Expected> = named.collect();
        expected.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        expected
    }

    /// One batch's attempt is over. Attempts that were given up before are none of anybody's business.
    fn end(&mut self, id: PartitionId, token: RequestToken, request: &InFlight, random: u64, ending: Ending) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Some(at) = partition.attempt(token) else { return };
        let batch = &partition.batches[at];
        let Ending { mut verdict, written, cause, refresh, log_start_offset } = ending;
        if verdict == Verdict::Unknown && batch.settings.acks == Acks::None {
            // Nobody asked for certainty, and a second attempt might write it twice.
            verdict = Verdict::Lost;
        }
        // Under an identity that was left behind already, a gap is to be expected.
        let is_current = partition.identity.is_some() && partition.identity == self.identity.known();
        if verdict == Verdict::OutOfSequence && at > 0 && is_current {
            // What comes before it did not get through; it goes again after that, under the same sequence.
            verdict = Verdict::NotNow;
        }
        let unknown = batch.unknown;
        let stays = match verdict {
            Verdict::Written => {
                self.actions.extend(partition.written(at, request.broker_id, written));
                false
            }
            Verdict::TooLarge if partition.may_split(at) => {
                let batch = &mut partition.batches[at];
                (batch.in_flight, batch.splitting, batch.cause) = (None, Some(token), Some(cause));
                self.metrics.splits += 1;
                self.actions.push_back(Action::Split(SplitBatch {
                    partition: id,
                    token,
                    sealed: batch.sealed.clone(),
                    codec: batch.settings.codec,
                    encoded_len: batch.encoded_len,
                }));
                false
            }
            Verdict::Refused | Verdict::TooLarge | Verdict::Lost => {
                partition.batches[at].unknown |= verdict == Verdict::Lost;
                let outcome = partition.batches[at].outcome();
                self.actions.extend(partition.fail(at, outcome, cause, &mut self.identity));
                false
            }
            Verdict::NotNow => partition.rewind(at, false, cause, &mut self.identity),
            Verdict::Unknown => partition.rewind(at, true, cause, &mut self.identity),
            Verdict::OutOfSequence | Verdict::Fenced => {
                match (verdict, partition.identity) {
                    (Verdict::OutOfSequence, _) if is_current => {
                        self.actions.push_back(Action::SequenceReset(SequenceReset {
                            topic: partition.topic.name.clone(),
                            partition: partition.index,
                            code: cause.code().unwrap_or_default(),
                            last_acknowledged: partition.last_acknowledged,
                            log_start_offset,
                        }));
                        partition.restart(&mut self.identity);
                    }
                    (Verdict::Fenced, Some(used)) => self.identity.renew(used),
                    _ => {}
                }
                if unknown {
                    // Under a new identity the broker could not tell a second copy from the first.
                    let outcome = partition.batches[at].outcome();
                    self.actions.extend(partition.fail(at, outcome, cause, &mut self.identity));
                    false
                } else {
                    partition.batches[at].stamp = None;
                    partition.rewind(at, false, cause, &mut self.identity)
                }
            }
        };
        partition.restamp();
        if stays {
            self.back_off(id, random);
        }
        if let Some(reason) = refresh {
            let avoid = (reason == RefreshReason::Lost).then_some(request.broker_id);
            self.refresh = Some((reason, avoid));
        }
        self.settle(id);
    }

    /// `random` is one for all partitions of a request, so that they come back together. All that fails before the next attempt, such as
    /// the other requests of a lost connection, is one failure.
    fn back_off(&mut self, id: PartitionId, random: u64) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if partition.retry_at.is_some_and(|at| at > self.now) {
            return;
        }
        partition.failures += 1;
        let pause = self.settings.backoff.delay(partition.failures, random);
        partition.retry_at = Some(later(self.now, pause));
    }

    fn throttle(&mut self, broker_id: i32, throttle_time_ms: i32) {
        let Some(pause) = throttle_time(throttle_time_ms) else { return };
        let until = later(self.now, pause);
        self.metrics.throttled = self.metrics.throttled.saturating_add(pause);
        let muted_until = &mut self.brokers.entry(broker_id).or_default().muted_until;
        *muted_until = (*muted_until).max(Some(until));
        // What is out there may be held back as long.
        let overdue_at = later(until, OVERDUE_AFTER);
        for (token, request) in &mut self.requests {
            if request.broker_id == broker_id && request.overdue_at < overdue_at {
                request.overdue_at = overdue_at;
                self.timers.set(Timer::Request(*token), &mut request.timer, Some(overdue_at));
            }
        }
    }
}

impl Ending {
    fn answered(request: &InFlight, answer: &PartitionProduceResponse) -> Self {
        let code = answer.error_code;
        let known = |value: i64| (value >= 0).then_some(value);
        let of_record =
            answer.record_errors.iter().find_map(|record| record.batch_index_error_message.clone());
        Self {
            verdict: Verdict::of(code),
            written: Written {
                base_offset: known(answer.base_offset),
                log_append_time: known(answer.log_append_time_ms),
            },
            cause: DeliveryCause::Refused {
                broker: request.broker_id,
                code,
                message: answer.error_message.clone().or(of_record),
            },
            refresh: code.needs_metadata().then_some(RefreshReason::Answer(code)),
            log_start_offset: answer.log_start_offset,
        }
    }

    fn unanswered(verdict: Verdict, cause: DeliveryCause, refresh: Option<RefreshReason>) -> Self {
        let written = Written { base_offset: None, log_append_time: None };
        Self { verdict, written, cause, refresh, log_start_offset: -1 }
    }
}

/// From Produce 13 on topics go by their ids (KIP-516).
const FIRST_VERSION_WITH_IDS: i16 = 13;
