//! How a request travels through a connection: rules, the handler, purgatory, rules again, the answer.
//!
//! ```text
//! bytes -> frame -> header, version -> rules -> [held] -> handler -> [purgatory] -> rules -> [held] -> answer -> [muted]
//! ```
//!
//! It owns the order of these steps, one request of a connection at a time. What a request does is the handler's.

use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_wire::{ApiKey, ErrorCode, RequestHeader, Str, decode_request_header};

use crate::call::{Answer, Request};
use crate::chance;
use crate::cluster::{FakeCluster, NodeState, Output};
use crate::connection::{Call, ConnId, Connection, Phase, Until, Waiting};
use crate::faults::{Arrival, Reaction, RuleId, Stage, Struck};

/// What a handler knows of the request besides its body.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) node: i32,
    pub(crate) connection: ConnId,
    pub(crate) version: i16,
    pub(crate) client_id: Option<&'a Str>,
    pub(crate) struck: &'a Struck,
}

impl<'a> Context<'a> {
    fn new(now: Instant, node: i32, connection: ConnId, call: &'a Call) -> Self {
        let Call { version, client_id, struck, .. } = call;
        Self { now, node, connection, version: *version, client_id: client_id.as_ref(), struck }
    }
}

/// What a handler made of a request.
#[derive(Debug)]
pub(crate) enum Served {
    Answer(Answer),
    /// The request has no answer.
    Nothing,
    Wait(Waiting),
    Close,
}

impl FakeCluster {
    /// Serves whatever can be served, until everything waits.
    pub(crate) fn settle(&mut self, now: Instant) {
        loop {
            self.wake_purgatory(now);
            let Some(conn) = self.ready.pop_first() else { break };
            let running = self.connections.get(&conn).is_some_and(|connection| {
                connection.is_ready() && self.node_state(connection.node) == Some(NodeState::Running)
            });
            if running {
                self.serve(now, conn);
            }
        }
    }

    fn serve(&mut self, now: Instant, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let node = connection.node;
        let Some(frame) = connection.next_frame() else { return };
        let Ok((header, body)) = decode_request_header(&frame) else { return self.reject(conn) };
        self.counters.request(node, header.key);
        match self.versions.range(header.key) {
            Some(range) if (range.min..=range.max).contains(&header.version) => {}
            Some(_) if header.key == ApiKey::API_VERSIONS => {
                return self.answer_unknown_version(conn, &header);
            }
            _ => return self.reject(conn),
        }
        let Some(Ok(request)) = Request::decode(header.key, header.version, frame.slice(body..)) else {
            return self.reject(conn);
        };
        let struck = self.strike(now, conn, node, &header, &request);
        let RequestHeader { version, correlation_id, client_id, .. } = header;
        self.begin(now, conn, Call { version, correlation_id, client_id, struck }, request);
    }

    fn strike(
        &mut self,
        now: Instant,
        connection: ConnId,
        node: i32,
        header: &RequestHeader,
        request: &Request,
    ) -> Struck {
        if self.faults.is_empty() {
            return Struck::default();
        }
        let targets = request.targets(&self.topics);
        self.faults.strike(&Arrival {
            now,
            api: header.key,
            version: header.version,
            node,
            connection,
            client_id: header.client_id.as_deref(),
            targets: &targets,
            request,
        })
    }

    fn begin(&mut self, now: Instant, conn: ConnId, call: Call, request: Request) {
        match self.hold(&call.struck, Stage::BeforeApplying, now) {
            Held::No => self.apply(now, conn, call, request),
            Held::Until(until) => self.set_phase(conn, Phase::Before { call, request, until }),
            Held::Silent => self.set_phase(conn, Phase::Silent),
            Held::Disconnect => self.close(conn),
        }
    }

    fn apply(&mut self, now: Instant, connection: ConnId, call: Call, request: Request) {
        let Some(node) = self.connections.get(&connection).map(|c| c.node) else { return };
        let context = Context::new(now, node, connection, &call);
        let served = match request {
            Request::ApiVersions(request) => self.api_versions(&context, &request),
            Request::Metadata(request) => self.metadata(&context, &request),
            Request::Produce(request) => self.produce(&context, &request),
            Request::Fetch(request) => self.fetch(&context, request),
            Request::ListOffsets(request) => self.list_offsets(&context, &request),
            Request::OffsetForLeaderEpoch(request) => self.offset_for_leader_epoch(&context, &request),
            Request::CreateTopics(request) => self.create_topics(&context, &request),
            Request::DeleteTopics(request) => self.delete_topics(&context, &request),
            Request::CreatePartitions(request) => self.create_partitions(&context, &request),
            Request::DeleteRecords(request) => self.delete_records(&context, &request),
            Request::DescribeConfigs(request) => self.describe_configs(&context, &request),
            Request::FindCoordinator(request) => self.find_coordinator(&context, &request),
            Request::InitProducerId(request) => self.init_producer_id(&context, &request),
            Request::DescribeGroups(request) => self.describe_groups(&context, &request),
        };
        match served {
            Served::Answer(answer) => self.finish(now, connection, call, Some(answer)),
            Served::Nothing => self.finish(now, connection, call, None),
            Served::Wait(waiting) => self.set_phase(connection, Phase::Purgatory { call, waiting }),
            Served::Close => self.close(connection),
        }
    }

    fn finish(&mut self, now: Instant, conn: ConnId, call: Call, answer: Option<Answer>) {
        match self.hold(&call.struck, Stage::AfterApplying, now) {
            Held::No => self.deliver(now, conn, &call, answer),
            Held::Until(until) => self.set_phase(conn, Phase::After { call, answer, until }),
            Held::Silent => self.set_phase(conn, Phase::Silent),
            Held::Disconnect => self.close(conn),
        }
    }

    /// What the rules do to a request at this stage: delays, if nothing else.
    fn hold(&mut self, struck: &Struck, at: Stage, now: Instant) -> Held {
        let held = held(struck, at);
        if !matches!(held, Held::No) {
            return held;
        }
        let mut until = None;
        for (rule, reaction) in struck.reactions() {
            if let Reaction::Delay(stage, time) = reaction
                && *stage == at
            {
                self.faults.delay(rule);
                until = Some(until.unwrap_or(now) + *time);
            }
        }
        until.map_or(Held::No, |until| Held::Until(Until::Time(until)))
    }

    fn deliver(&mut self, now: Instant, conn: ConnId, call: &Call, answer: Option<Answer>) {
        let mut throttle = Duration::ZERO;
        if let Some(mut answer) = answer {
            throttle = throttle_of(&call.struck);
            if !throttle.is_zero() {
                answer.set_throttle(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
            }
            answer.deny(&call.struck, &self.topics);
            for (_, reaction) in call.struck.reactions() {
                if let Reaction::Alter(change) = reaction {
                    change(&mut answer);
                }
            }
            let Ok(encoded) = answer.encode(call.version, call.correlation_id) else {
                return self.reject(conn);
            };
            self.send(conn, corrupt(encoded.into_bytes(), &call.struck));
        }
        let phase = match throttle.is_zero() {
            true => Phase::Idle,
            false => Phase::Muted { until: now + throttle },
        };
        self.set_phase(conn, phase);
    }

    /// Goes on with what waited for a time that has come.
    pub(crate) fn pass_deadlines(&mut self, now: Instant) {
        let due: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|(_, c)| self.node_state(c.node) == Some(NodeState::Running))
            .filter(|(_, c)| c.deadline().is_some_and(|at| at <= now))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in due {
            self.go_on(now, conn, true);
        }
    }

    /// Goes on with what a rule held back.
    pub(crate) fn release_held(&mut self, now: Instant, rule: RuleId) {
        let held = |phase: &Phase| match phase {
            Phase::Before { until, .. } | Phase::After { until, .. } => *until == Until::Released(rule),
            _ => false,
        };
        let conns: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| held(&c.phase)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.go_on(now, conn, true);
        }
    }

    /// Looks again at the requests in purgatory, if something they may wait for has changed.
    fn wake_purgatory(&mut self, now: Instant) {
        if !mem::take(&mut self.changed) {
            return;
        }
        let waiting: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Purgatory { .. }))
            .filter(|(_, c)| self.node_state(c.node) == Some(NodeState::Running))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in waiting {
            self.go_on(now, conn, false);
        }
    }

    fn go_on(&mut self, now: Instant, conn: ConnId, over: bool) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let node = connection.node;
        match mem::replace(&mut connection.phase, Phase::Idle) {
            Phase::Before { call, request, .. } => self.apply(now, conn, call, request),
            Phase::After { call, answer, .. } => self.deliver(now, conn, &call, answer),
            Phase::Purgatory { call, waiting } => {
                let context = Context::new(now, node, conn, &call);
                let over = over && waiting.deadline() <= now;
                let served = match waiting {
                    Waiting::Fetch(fetch) => self.retry_fetch(&context, fetch, over),
                    Waiting::Produce(produce) => self.retry_produce(&context, produce, over),
                };
                match served {
                    Served::Answer(answer) => self.finish(now, conn, call, Some(answer)),
                    Served::Wait(waiting) => self.set_phase(conn, Phase::Purgatory { call, waiting }),
                    Served::Nothing | Served::Close => self.close(conn),
                }
            }
            Phase::Muted { .. } | Phase::Idle => self.set_phase(conn, Phase::Idle),
            Phase::Silent => self.set_phase(conn, Phase::Silent),
        }
    }

    fn set_phase(&mut self, conn: ConnId, phase: Phase) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.phase = phase;
            if connection.is_ready() {
                self.ready.insert(conn);
            }
        }
        self.forget_if_over(conn);
    }

    /// Forgets a connection that its client has closed, once all that came on it is served.
    pub(crate) fn forget_if_over(&mut self, conn: ConnId) {
        if self.connections.get(&conn).is_some_and(Connection::is_over) {
            self.connections.remove(&conn);
        }
    }

    pub(crate) fn send(&mut self, conn: ConnId, frame: Bytes) {
        if !self.is_open(conn) {
            return;
        }
        self.counters.sent += frame.len() as u64;
        self.outputs.push_back((conn, Output::Bytes(frame)));
    }

    /// Closes a connection because of what the client sent on it.
    pub(crate) fn reject(&mut self, conn: ConnId) {
        self.counters.rejected += 1;
        self.close(conn);
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        if self.connections.remove(&conn).is_some_and(|connection| !connection.is_gone) {
            self.outputs.push_back((conn, Output::Close));
        }
    }
}

enum Held {
    No,
    Until(Until),
    Silent,
    Disconnect,
}

/// What rules that are no delays do to a request at this stage. A disconnect beats silence beats a hold.
fn held(struck: &Struck, at: Stage) -> Held {
    let mut held = Held::No;
    for (rule, reaction) in struck.reactions() {
        match reaction {
            Reaction::Disconnect(stage) if *stage == at => return Held::Disconnect,
            Reaction::Silence(stage) if *stage == at => held = Held::Silent,
            Reaction::Hold(stage) if *stage == at && !matches!(held, Held::Silent) => {
                held = Held::Until(Until::Released(rule));
            }
            _ => {}
        }
    }
    held
}

/// The throttle time of the rules.
pub(crate) fn throttle_of(struck: &Struck) -> Duration {
    let times = struck.reactions().map(|(_, reaction)| match reaction {
        Reaction::Throttle(time) => *time,
        _ => Duration::ZERO,
    });
    times.max().unwrap_or_default()
}

fn corrupt(frame: Bytes, struck: &Struck) -> Bytes {
    let after_size = frame.len().saturating_sub(4) as u64;
    let behind_size = |luck| usize::try_from(chance::below(luck, after_size)).unwrap_or_default();
    let places: Vec<usize> = struck
        .reactions()
        .filter_map(|(_, reaction)| match reaction {
            Reaction::Corrupt(place) => Some(*place),
            Reaction::CorruptAnywhere => Some(4 + behind_size(struck.luck)),
            _ => None,
        })
        .collect();
    if places.is_empty() {
        return frame;
    }
    let mut bytes = BytesMut::from(&frame[..]);
    for place in places {
        if let Some(byte) = bytes.get_mut(place) {
            *byte = !*byte;
        }
    }
    bytes.freeze()
}

/// The error a rule gives to one partition of a request that changes nothing.
pub(crate) fn injected(context: &Context<'_>, topic: &str, partition: i32) -> Option<ErrorCode> {
    context.struck.any_error(topic, Some(partition))
}
