//! Requests that may simply be sent again, driven through [`Call`]: lookups of offsets, fetches, producer ids, errands.

mod coordinators;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::backoff::{Backoff, Pauses};
use ottla_core::calls::{Call, CallError, CoordinatorKind, End, Step, Target};
use ottla_core::connection::{Answer, OVERDUE_AFTER, Outgoing};
use ottla_core::error::{Outcome, RequestError};
use ottla_core::metadata::{Broker, Destination, Leader, broker};
use ottla_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::{AnyRequest, ApiKey, ErrorCode, Str, Uuid};

use crate::admins::Errand;
use crate::client::{Purpose, Waiter, decode_failed};
use crate::expected::end_name;
use crate::invariants::{ASKERS_ANSWER, CHANGE_ONCE, NOTHING_WAITS};
use crate::world::World;

/// The calls that are under way.
#[derive(Default)]
pub(crate) struct Calls {
    active: BTreeMap<u64, Active>,
    last: u64,
    /// The coordinators that were found.
    coordinators: BTreeMap<(CoordinatorKind, Arc<str>), i32>,
}

struct Active {
    call: Call,
    what: What,
    own_wait: Duration,
    state: State,
    /// Requests without an outcome, or with one that leaves open what the broker did.
    open: u64,
    /// The call that looks up the coordinator of this one.
    look_up: Option<u64>,
    /// Who coordinates instead of a silent broker is not looked up before.
    looks_again: Instant,
    /// The machine's own, at the last look.
    seen: &'static str,
}

/// What is asked, and by whom.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Fetch {
        reader: usize,
        topic: Arc<str>,
        topic_id: Uuid,
        partition: i32,
        offset: i64,
        epoch: i32,
        max_bytes: i32,
    },
    Offset {
        reader: usize,
        topic: Arc<str>,
        partition: i32,
        timestamp: i64,
    },
    ProducerId {
        request: InitProducerIdRequest,
    },
    Errand {
        admin: usize,
        errand: Errand,
    },
    /// Another call has to know.
    Coordinator {
        of: u64,
        kind: CoordinatorKind,
        key: Arc<str>,
    },
}

/// What a call came to.
pub(crate) enum Value {
    Fetched(PartitionData),
    Offset(i64),
    ProducerId(i64, i16),
    Coordinator(i32),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ask the machine.
    Poll,
    /// The machine wants to be asked then, or when the metadata changes.
    Wait(Instant),
    /// No lane is free.
    Lane,
    /// Who coordinates is being looked up.
    LookUp,
    Out {
        token: u64,
        to: Option<i32>,
        since: Instant,
    },
}

pub(crate) enum Verdict {
    Done(Value),
    Code(ErrorCode, Option<String>),
}

impl Calls {
    /// When a call has to be looked at; one that was looked at in vain waits for the metadata to change.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = |active: &Active| match active.state {
            State::Poll => None,
            State::Wait(until) => Some(until),
            State::Lane => Some(active.call.deadline()),
            State::LookUp => None,
            State::Out { .. } if active.look_up.is_some() => None,
            State::Out { .. } => {
                active.call.poll_timeout().map(|due| due.max(active.looks_again)).filter(|due| *due > now)
            }
        };
        self.active.values().filter_map(due).min()
    }

    pub(crate) fn count(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn is_active(&self, call: u64) -> bool {
        self.active.contains_key(&call)
    }
}

impl World {
    /// Starts a call; what it comes to is told to whoever is named in `what`.
    pub(crate) fn start_call(&mut self, what: What, timeout: Duration, own_wait: Duration) -> u64 {
        let (api, target) = match &what {
            What::Fetch { topic, topic_id, partition, .. } => {
                let (topic, topic_id, partition) = (topic.clone(), *topic_id, *partition);
                (ApiKey::FETCH, Target::Leader { topic, topic_id, partition })
            }
            What::Offset { topic, partition, .. } => {
                let (topic, topic_id, partition) = (topic.clone(), Uuid::NIL, *partition);
                (ApiKey::LIST_OFFSETS, Target::Leader { topic, topic_id, partition })
            }
            What::ProducerId { .. } => (ApiKey::INIT_PRODUCER_ID, Target::AnyBroker),
            What::Errand { errand, .. } => errand.target(),
            What::Coordinator { .. } => (ApiKey::FIND_COORDINATOR, Target::AnyBroker),
        };
        let pauses = Pauses::new(Backoff::RETRY, self.client.random.next_u64());
        let call = Call::new(self.now, api, target, timeout, own_wait, pauses);
        self.calls.last += 1;
        let (open, look_up, looks_again) = (0, None, self.now);
        let active =
            Active { call, what, own_wait, state: State::Poll, open, look_up, looks_again, seen: "" };
        self.calls.active.insert(self.calls.last, active);
        self.look_at_call(self.calls.last);
        self.calls.last
    }

    /// Whoever waited for a call has gone.
    pub(crate) fn drop_call(&mut self, call: u64) {
        let Some(active) = self.calls.active.remove(&call) else { return };
        if let State::Out { token, .. } = active.state {
            self.client.detach(token);
        }
        if let Some(look_up) = active.look_up {
            self.drop_call(look_up);
        }
    }

    /// Nobody waits for anything any more.
    pub(crate) fn drop_calls(&mut self) {
        let all: Vec<u64> = self.calls.active.keys().copied().collect();
        all.into_iter().for_each(|call| self.drop_call(call));
    }

    pub(crate) fn call_timeouts(&mut self) {
        let now = self.now;
        let due: Vec<u64> = self.calls.active.keys().copied().collect();
        for call in due {
            let Some(active) = self.calls.active.get_mut(&call) else { continue };
            match active.state {
                State::Wait(until) if until <= now => active.state = State::Poll,
                State::Lane if active.call.deadline() <= now => self.no_lane(call),
                State::Out { .. } if active.call.poll_timeout().is_some_and(|due| due <= now) => {
                    self.look_for_move(call);
                    self.look_for_coordinator(call);
                }
                _ => {}
            }
        }
    }

    /// Something in the metadata is new: whoever waits looks again.
    pub(crate) fn calls_metadata_changed(&mut self) {
        let all: Vec<u64> = self.calls.active.keys().copied().collect();
        for call in all {
            let Some(active) = self.calls.active.get_mut(&call) else { continue };
            match active.state {
                State::Wait(_) => active.state = State::Poll,
                State::Out { .. } => self.look_for_move(call),
                State::Poll | State::Lane | State::LookUp => {}
            }
        }
    }

    pub(crate) fn lane_free(&mut self) {
        for active in self.calls.active.values_mut().filter(|active| active.state == State::Lane) {
            active.state = State::Poll;
        }
    }

    fn look_for_move(&mut self, call: u64) {
        let Some(active) = self.calls.active.get_mut(&call) else { return };
        let State::Out { token, since, .. } = active.state else { return };
        if active.call.has_moved(self.now, &self.client.metadata) {
            let silent = self.now.saturating_duration_since(since);
            let is_early = silent < active.own_wait + OVERDUE_AFTER;
            active.state = State::Poll;
            active.open += 1;
            let is_of_controller = *active.call.target() == Target::Controller;
            if is_of_controller {
                self.coverage.hit("call", "moved to another controller");
            }
            if is_early && is_of_controller {
                self.violate(CHANGE_ONCE, || {
                    format!("call {call} is sent again after {silent:?}, while it may be under way")
                });
            }
            self.client.detach(token);
            self.coverage.hit("call", "moved");
            self.look_at_call(call);
            self.note(|| format!("call {call} moves on without its answer"));
        }
    }

    pub(crate) fn call_step(&mut self) -> bool {
        let ready = |(call, active): (&u64, &Active)| (active.state == State::Poll).then_some(*call);
        let ready: Vec<u64> = self.calls.active.iter().filter_map(ready).collect();
        for call in &ready {
            self.drive(*call);
        }
        !ready.is_empty()
    }

    fn drive(&mut self, call: u64) {
        let now = self.now;
        let Some(active) = self.calls.active.get_mut(&call) else { return };
        match active.call.poll_step(now, &mut self.client.metadata) {
            Step::Wait(until) => {
                active.state = State::Wait(until.max(now + Duration::from_micros(1)));
                self.coverage.hit("call", "waits");
            }
            Step::GiveUp(error) => {
                let late = now.saturating_duration_since(active.call.deadline());
                self.coverage.hit("call", end_name(&error.end));
                if late > Duration::from_millis(1) && !self.was_stalled() {
                    self.violate(NOTHING_WAITS, || format!("{error} came {late:?} too late"));
                }
                self.note(|| format!("call {call} is given up: {error}"));
                self.call_over(call, Err(error));
            }
            Step::Send { to, leader } => self.send_call(call, &to, leader),
            Step::FindCoordinator { kind, keys, stale } => {
                self.find_coordinator(call, kind, &keys[0], stale);
            }
        }
    }

    fn send_call(&mut self, call: u64, to: &Destination, leader: Option<Leader>) {
        let Some(active) = self.calls.active.get(&call) else { return };
        let (api, attempt, what) = (active.call.api(), active.call.attempt(), active.what.clone());
        let outgoing = Outgoing {
            request: request(&what, leader, active.own_wait),
            deadline: active.call.deadline(),
            own_wait: active.own_wait,
            expects_answer: true,
        };
        let purpose = match what {
            What::Fetch { .. } => Purpose::Fetch,
            What::Errand { .. } => Purpose::Admin,
            _ => Purpose::Control,
        };
        let lane = match purpose {
            Purpose::Control => None,
            _ => match self.client.take_lane(to, purpose) {
                None => {
                    self.coverage.hit("call", "waits for a lane");
                    return self.set_state(call, State::Lane);
                }
                lane => lane,
            },
        };
        let owner = lane.as_ref().map_or(0, |lane| lane.number);
        let Some(channel) = self.connection(to, purpose, owner) else {
            let error = self.not_sent(to, api, "the broker is not among those known");
            return self.call_failed(call, error);
        };
        let token = self.send(channel, outgoing, Waiter::Call(call), lane);
        self.note(|| {
            format!("call {call}, attempt {attempt}: {api} #{token} to {to:?} {leader:?}: {what:?}")
        });
        self.coverage.hit("call", "sent");
        let to = match to {
            Destination::Broker(id) => Some(*id),
            Destination::Bootstrap(_) => None,
        };
        self.set_state(call, State::Out { token, to, since: self.now });
    }

    fn set_state(&mut self, call: u64, state: State) {
        if let Some(active) = self.calls.active.get_mut(&call) {
            active.state = state;
        }
        self.look_at_call(call);
    }

    /// Counts the state to which a call has come since the last look.
    fn look_at_call(&mut self, call: u64) {
        let Some(active) = self.calls.active.get_mut(&call) else { return };
        let state = active.call.state();
        if std::mem::replace(&mut active.seen, state) != state {
            self.coverage.hit("call: state", state);
        }
    }

    fn no_lane(&mut self, call: u64) {
        let Some(active) = self.calls.active.get(&call) else { return };
        let (to, api) = (Destination::Broker(-1), active.call.api());
        let error = self.not_sent(&to, api, "all connections for this purpose are busy");
        self.call_failed(call, error);
    }

    fn call_failed(&mut self, call: u64, error: RequestError) {
        if let Some(active) = self.calls.active.get_mut(&call) {
            active.open += u64::from(error.outcome == Outcome::Unknown);
            active.call.handle_error(self.now, error, &mut self.client.metadata);
        }
        self.set_state(call, State::Poll);
    }

    pub(crate) fn call_outcome(
        &mut self,
        call: u64,
        channel: u64,
        outcome: Result<Option<Answer>, RequestError>,
    ) {
        let Some(active) = self.calls.active.get_mut(&call) else {
            return self.violate(ASKERS_ANSWER, || format!("call {call} is over and gets an outcome"));
        };
        let what = active.what.clone();
        if let Some(look_up) = active.look_up.take() {
            self.drop_call(look_up);
        }
        let answer = match outcome {
            Err(error) => return self.call_failed(call, error),
            Ok(answer) => answer.expect("a call expects an answer"),
        };
        let (throttle, verdict) = match self.judge(&what, &answer) {
            Ok(judged) => judged,
            Err(error) => return self.call_failed(call, error),
        };
        self.throttled(channel, throttle);
        match verdict {
            Verdict::Done(value) => self.call_over(call, Ok(value)),
            Verdict::Code(code, message) => {
                self.note(|| format!("call {call} is answered with {code}"));
                self.coverage.hit("call", format!("answered with {code}"));
                if let Some(active) = self.calls.active.get_mut(&call) {
                    active.open += u64::from(LEAVES_OPEN.contains(&code));
                    let (peer, message) = (answer.peer, message.as_deref());
                    active.call.handle_code(self.now, peer, code, message, &mut self.client.metadata);
                }
                self.set_state(call, State::Poll);
            }
        }
    }

    fn judge(&mut self, what: &What, answer: &Answer) -> Result<(i32, Verdict), RequestError> {
        match what {
            What::Fetch { topic, topic_id, partition, .. } => {
                let response = answer
                    .decode::<FetchRequest>()
                    .map_err(|error| decode_failed::<FetchRequest>(answer, error))?;
                let throttle = response.throttle_time_ms;
                if !response.error_code.is_none() {
                    return Ok((throttle, Verdict::Code(response.error_code, None)));
                }
                for row in &response.responses {
                    let is_ours =
                        if row.topic_id.is_nil() { *row.topic == **topic } else { row.topic_id == *topic_id };
                    if !is_ours || row.partitions.iter().any(|it| it.partition_index != *partition) {
                        self.violate(ASKERS_ANSWER, || {
                            format!("{what:?} was answered with {} {}", row.topic, row.topic_id)
                        });
                    }
                }
                let endpoints = response.node_endpoints.iter();
                let brokers: Vec<Broker> = endpoints
                    .filter_map(|it| broker(it.node_id, &it.host, it.port, it.rack.as_deref()))
                    .collect();
                let Some(data) = response.responses.into_iter().flat_map(|topic| topic.partitions).next()
                else {
                    let code = match throttle {
                        0 => ErrorCode::UNKNOWN_SERVER_ERROR,
                        _ => ErrorCode::THROTTLING_QUOTA_EXCEEDED,
                    };
                    return Ok((throttle, Verdict::Code(code, None)));
                };
                if data.error_code.is_none() {
                    return Ok((throttle, Verdict::Done(Value::Fetched(data))));
                }
                let leader = &data.current_leader;
                let leader = Leader { broker_id: leader.leader_id, epoch: leader.leader_epoch };
                self.take_hint(topic, *partition, leader, brokers);
                Ok((throttle, Verdict::Code(data.error_code, None)))
            }
            What::Offset { topic, partition, .. } => {
                let response = answer
                    .decode::<ListOffsetsRequest>()
                    .map_err(|error| decode_failed::<ListOffsetsRequest>(answer, error))?;
                let throttle = response.throttle_time_ms;
                let rows = response.topics.iter().filter(|row| *row.name == **topic);
                let found = rows.flat_map(|row| &row.partitions).find(|it| it.partition_index == *partition);
                Ok((
                    throttle,
                    match found {
                        Some(row) if row.error_code.is_none() => Verdict::Done(Value::Offset(row.offset)),
                        Some(row) => Verdict::Code(row.error_code, None),
                        None => {
                            self.violate(ASKERS_ANSWER, || {
                                format!("{what:?} was answered with {response:?}")
                            });
                            Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, None)
                        }
                    },
                ))
            }
            What::Errand { errand, .. } => self.judge_errand(errand, answer),
            What::Coordinator { key, .. } => self.judge_coordinator(key, answer),
            What::ProducerId { .. } => {
                let response = answer
                    .decode::<InitProducerIdRequest>()
                    .map_err(|error| decode_failed::<InitProducerIdRequest>(answer, error))?;
                let throttle = response.throttle_time_ms;
                Ok((
                    throttle,
                    match response.error_code {
                        ErrorCode::NONE => {
                            Verdict::Done(Value::ProducerId(response.producer_id, response.producer_epoch))
                        }
                        code => Verdict::Code(code, None),
                    },
                ))
            }
        }
    }

    fn call_over(&mut self, call: u64, result: Result<Value, CallError>) {
        let Some(active) = self.calls.active.remove(&call) else { return };
        if result.is_ok() {
            self.coverage.hit("call", "done");
        }
        match active.what {
            What::ProducerId { .. } => self.producer_id(result),
            What::Fetch { reader, .. } | What::Offset { reader, .. } => {
                self.reader_told(reader, call, result);
            }
            What::Errand { admin, errand } => self.admin_told(admin, call, &errand, result, active.open),
            What::Coordinator { of, kind, key } => self.looked_up(of, kind, key, result),
        }
    }
}

fn request(what: &What, leader: Option<Leader>, own_wait: Duration) -> Box<dyn AnyRequest> {
    let current_leader_epoch = leader.map_or(-1, |leader| leader.epoch);
    match what {
        What::Fetch { topic, topic_id, partition, offset, epoch, max_bytes, .. } => Box::new(FetchRequest {
            replica_id: -1,
            max_wait_ms: i32::try_from(own_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: *max_bytes,
            topics: vec![FetchTopic {
                topic: Str::from(&**topic),
                topic_id: *topic_id,
                partitions: vec![FetchPartition {
                    partition: *partition,
                    current_leader_epoch,
                    fetch_offset: *offset,
                    last_fetched_epoch: *epoch,
                    partition_max_bytes: *max_bytes,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        What::Offset { topic, partition, timestamp, .. } => Box::new(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Str::from(&**topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: *partition,
                    current_leader_epoch,
                    timestamp: *timestamp,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        What::ProducerId { request } => Box::new(request.clone()),
        What::Errand { errand, .. } => errand.request(own_wait),
        What::Coordinator { kind, key, .. } => coordinators::question(*kind, key),
    }
}

/// Codes after which nobody knows whether the broker did what it was asked to.
const LEAVES_OPEN: [ErrorCode; 2] = [ErrorCode::REQUEST_TIMED_OUT, ErrorCode::UNKNOWN_SERVER_ERROR];

/// The error code a call ended with, and whether its topic is another one now.
pub(crate) fn ending(error: &CallError) -> (Option<ErrorCode>, bool) {
    (error.last.as_ref().and_then(ottla_core::calls::Cause::code), matches!(error.end, End::Recreated { .. }))
}
