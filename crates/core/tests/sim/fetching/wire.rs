//! Requests on their way to nodes and answers on their way back, as bytes: one connection for each node and kind of request,
//! as the client has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::HostPort;
use ottla_core::connection::Versions;
use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use ottla_core::fetcher::{FetchOut, RequestToken};
use ottla_fake::{ConnId, FakeCluster, Output, Request as Received};
use ottla_wire::messages::api_versions::ApiVersionsRequest;
use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::messages::list_offsets::ListOffsetsRequest;
use ottla_wire::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use ottla_wire::{ApiKey, ErrorCode, Request, decode_response, encode_request};

use super::world::{Event, World};
use crate::invariants::{ONE_IN_FLIGHT, SAYS_ITS_WAIT, TOPIC_IDS};
use crate::random::Draw;

/// In which versions nodes are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken {
    pub(super) fetch: i16,
    offsets: i16,
    epochs: i16,
}

impl Spoken {
    /// As the client's connections choose them, by what a node offers.
    pub(super) fn by(cluster: &mut FakeCluster, now: Instant) -> Self {
        let conn = cluster.connect(now, 1).expect("it runs");
        let request = encode_request(&ApiVersionsRequest::default(), 0, 7, None).expect("it can be said");
        cluster.handle(now, conn, &request.into_bytes());
        let Some((_, Output::Bytes(frame))) = cluster.poll_output() else {
            unreachable!("it answers at once")
        };
        let (_, offered) = decode_response::<ApiVersionsRequest>(&frame.slice(4..), 0).expect("an answer");
        cluster.handle_disconnect(now, conn);
        let offered = Versions::from_response(&offered);
        let choose = |key, ours| offered.choose(key, ours).expect("all releases are spoken to");
        Self {
            fetch: choose(ApiKey::FETCH, FetchRequest::VERSIONS),
            offsets: choose(ApiKey::LIST_OFFSETS, ListOffsetsRequest::VERSIONS),
            epochs: choose(ApiKey::OFFSET_FOR_LEADER_EPOCH, OffsetForLeaderEpochRequest::VERSIONS),
        }
    }
}

/// The connections, and what is out on them.
#[derive(Debug)]
pub(super) struct Wire {
    seed: u64,
    /// How long things take, by node.
    draws: BTreeMap<i32, Draw>,
    /// The session that each node has given.
    sessions: BTreeMap<i32, i32>,
    conns: BTreeMap<(i32, bool), ConnId>,
    /// Whose answer comes next on a connection.
    waiting: BTreeMap<ConnId, Vec<Out>>,
    pub(super) fetching: BTreeMap<i32, RequestToken>,
}

impl Wire {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            draws: BTreeMap::new(),
            sessions: BTreeMap::new(),
            conns: BTreeMap::new(),
            waiting: BTreeMap::new(),
            fetching: BTreeMap::new(),
        }
    }

    /// Whether the node has given a session.
    pub(super) fn has_session(&self, node: i32) -> bool {
        self.sessions.get(&node).is_some_and(|session| *session != 0)
    }
}

/// Whether a request is a later one of a session.
pub(super) fn continues_session(request: &Received) -> bool {
    matches!(request, Received::Fetch(fetch) if fetch.session_epoch > 0)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) token: RequestToken,
    pub(super) api: ApiKey,
    pub(super) node: i32,
}

impl World {
    pub(super) fn send_fetch(&mut self, fetch: FetchOut) {
        let FetchOut { token, broker_id: node, mut request, max_wait, .. } = fetch;
        if let Some(before) = self.wire.fetching.insert(node, token) {
            self.violate(ONE_IN_FLIGHT, || format!("{before:?} and {token:?} are out at node {node}"));
        }
        if u128::try_from(request.max_wait_ms).ok() != Some(max_wait.as_millis()) {
            self.violate(SAYS_ITS_WAIT, || format!("{request:?}"));
        }
        self.requests += 1;
        if request.topics.iter().any(|topic| topic.topic_id.is_nil()) {
            self.violate(TOPIC_IDS, || format!("{request:?}"));
        }
        if self.spoken.fetch < 13 {
            request.topics.iter_mut().for_each(|topic| topic.topic_id = Default::default());
        }
        self.note(|| format!("Fetch {token:?} to node {node}: {}", summary(&request)));
        self.cover_fetch(&request, max_wait);
        self.note_asked(token);
        self.send(token, node, self.spoken.fetch, &request);
    }

    pub(super) fn send_look_up(&mut self, token: RequestToken, node: i32, request: &ListOffsetsRequest) {
        self.requests += 1;
        for row in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = match row.timestamp {
                -1 => "the end is looked up",
                -2 => "the start is looked up",
                _ => "time is looked up",
            };
            self.coverage.hit("fetcher: cursor", what);
            self.note(|| format!("ListOffsets {token:?} to node {node}: {row:?}"));
            if row.timestamp != -1 {
                self.looks_up(row.partition_index);
            }
        }
        self.send(token, node, self.spoken.offsets, request);
    }

    pub(super) fn send_check(
        &mut self,
        token: RequestToken,
        node: i32,
        request: &OffsetForLeaderEpochRequest,
    ) {
        self.requests += 1;
        for row in request.topics.iter().flat_map(|topic| &topic.partitions) {
            self.coverage.hit("fetcher: cursor", "another leader's log is compared");
            self.note(|| format!("OffsetForLeaderEpoch {token:?} to node {node}: {row:?}"));
        }
        self.send(token, node, self.spoken.epochs, request);
    }

    fn send<R: Request>(&mut self, token: RequestToken, node: i32, version: i16, request: &R) {
        let out = Out { token, api: R::KEY, node };
        let key = (node, R::KEY == ApiKey::FETCH);
        if self.wire.conns.get(&key).is_none_or(|conn| !self.cluster.is_open(*conn)) {
            let Some(conn) = self.cluster.connect(self.now, node) else {
                let at = self.now + self.latency(node);
                return self.at(at, Event::Lost { out, was_sent: false });
            };
            self.wire.conns.insert(key, conn);
        }
        let conn = self.wire.conns[&key];
        let frame = encode_request(request, version, 7, Some("sim")).expect("it can be said").into_bytes();
        let at = self.now + self.latency(node);
        self.at(at, Event::Arrives { conn, out, frame });
        // A node that says nothing is given up.
        let patience = self.plan.patience;
        self.at(self.now + patience, Event::GivenUp { conn, token });
    }

    /// A request is with its node, if that is still there.
    pub(super) fn arrives(&mut self, conn: ConnId, out: Out, frame: &Bytes) {
        if !self.cluster.is_open(conn) {
            return self.lost(out, true);
        }
        self.wire.waiting.entry(conn).or_default().push(out);
        self.cluster.handle(self.now, conn, frame);
    }

    /// What nodes have sent goes on its way back; who was cut off is told.
    pub(super) fn carry(&mut self) {
        while let Some((conn, output)) = self.cluster.poll_output() {
            match output {
                Output::Bytes(frame) => {
                    let Some(waiting) = self.wire.waiting.get_mut(&conn).filter(|it| !it.is_empty()) else {
                        continue;
                    };
                    let out = waiting.remove(0);
                    let at = self.now + self.latency(out.node);
                    self.at(at, Event::Answered { out, frame });
                }
                Output::Close => self.cut_off(conn),
            }
        }
    }

    pub(super) fn cut_off(&mut self, conn: ConnId) {
        self.wire.conns.retain(|_, it| *it != conn);
        for out in self.wire.waiting.remove(&conn).unwrap_or_default() {
            let at = self.now + self.latency(out.node);
            self.at(at, Event::Lost { out, was_sent: true });
        }
    }

    /// Whoever waits for an answer on this connection waits no more.
    pub(super) fn given_up(&mut self, conn: ConnId, token: RequestToken) {
        if self.wire.waiting.get(&conn).is_some_and(|outs| outs.iter().any(|out| out.token == token)) {
            self.cluster.handle_disconnect(self.now, conn);
            self.cut_off(conn);
        }
    }

    pub(super) fn answered(&mut self, out: Out, frame: &Bytes) {
        let (now, payload) = (self.now, frame.slice(4..));
        self.note(|| format!("{} {:?} answered by node {}", out.api, out.token, out.node));
        match out.api {
            ApiKey::FETCH => {
                self.fetch_is_over(out);
                let (_, response) =
                    decode_response::<FetchRequest>(&payload, self.spoken.fetch).expect("an answer");
                self.fetched(out, payload.len(), response);
            }
            ApiKey::LIST_OFFSETS => {
                let (_, response) =
                    decode_response::<ListOffsetsRequest>(&payload, self.spoken.offsets).expect("an answer");
                for row in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    let found =
                        if row.offset < 0 { "a look-up finds nothing" } else { "a look-up finds an offset" };
                    self.cover_code("a look-up", row.error_code, found);
                }
                self.fetcher.handle_offsets(now, out.token, &response);
            }
            _ => {
                let (_, response) =
                    decode_response::<OffsetForLeaderEpochRequest>(&payload, self.spoken.epochs)
                        .expect("an answer");
                for row in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    let is_known = row.leader_epoch >= 0 && row.end_offset >= 0;
                    let answered =
                        if is_known { "an epoch has its end" } else { "an epoch's end is not known" };
                    self.cover_code("an epoch", row.error_code, answered);
                    self.note(|| format!("{row:?}"));
                }
                self.fetcher.handle_epochs(now, out.token, &response);
            }
        }
    }

    /// How long something takes to a node or back.
    fn latency(&mut self, node: i32) -> Duration {
        let ((low, high), seed) = (self.plan.latency, self.wire.seed);
        let stream = 100 + node.unsigned_abs();
        self.wire.draws.entry(node).or_insert_with(|| Draw::new(seed, stream.into())).micros(low, high)
    }

    /// What a request says of its session, and of those who have no room.
    fn cover_fetch(&mut self, request: &FetchRequest, max_wait: Duration) {
        let is_new = request.session_epoch == 0;
        let is_empty = request.topics.is_empty() && request.forgotten_topics_data.is_empty();
        let states = [
            ("opened", is_new && request.session_id == 0),
            ("closed and opened again", is_new && request.session_id != 0),
            ("goes on without a change", !is_new && is_empty),
            ("a partition is added or has moved on", !is_new && !request.topics.is_empty()),
            ("a partition is forgotten", !is_new && !request.forgotten_topics_data.is_empty()),
        ];
        for (state, _) in states.into_iter().filter(|(_, is_it)| *is_it) {
            self.coverage.hit("fetcher: session", state);
        }
        if max_wait < self.plan.max_wait {
            self.coverage.hit("fetcher: cursor", "held back, as it holds enough");
        }
    }

    pub(super) fn cover_code(&mut self, what: &str, code: ErrorCode, answered: &'static str) {
        match code.is_err() {
            true => self.coverage.hit("fetcher: cursor", format!("{what} is refused with {code}")),
            false => self.coverage.hit("fetcher: cursor", answered),
        }
    }

    /// What an answer says of its session.
    pub(super) fn cover_session(&mut self, node: i32, code: ErrorCode, session: i32) {
        if code.is_err() {
            return self.coverage.hit("fetcher: session", format!("refused with {code}"));
        }
        self.wire.sessions.insert(node, session);
        let state = if session == 0 { "the broker gives none" } else { "the broker has one" };
        self.coverage.hit("fetcher: session", state);
    }

    pub(super) fn lost(&mut self, out: Out, was_sent: bool) {
        let what = if was_sent { "a request was lost" } else { "a request was not sent" };
        self.coverage.hit("fetcher", what);
        self.note(|| format!("{} {:?} to node {} is lost", out.api, out.token, out.node));
        if out.api == ApiKey::FETCH {
            self.fetch_is_over(out);
        }
        let peer = Arc::new(Peer { broker_id: Some(out.node), address: HostPort::new("node", 9092) });
        let (outcome, reason) = match was_sent {
            true => (Outcome::Unknown, Failure::Closed(CloseReason::ByPeer)),
            false => (Outcome::NotSent, Failure::Connect("connection refused".into())),
        };
        let error = RequestError { peer, api: out.api, outcome, reason };
        self.fetcher.handle_lost(self.now, out.token, &error);
    }

    fn fetch_is_over(&mut self, out: Out) {
        if self.wire.fetching.get(&out.node) == Some(&out.token) {
            self.wire.fetching.remove(&out.node);
        }
    }
}

/// What a request asks for, in short: partitions and offsets, what it forgets, how much it takes, and its session.
fn summary(request: &FetchRequest) -> String {
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
    let asked: Vec<_> = asked.map(|it| (it.partition, it.fetch_offset)).collect();
    let forgotten: Vec<_> =
        request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions).collect();
    let session = (request.session_id, request.session_epoch);
    format!("{asked:?}, not {forgotten:?}, {} bytes, session {session:?}", request.max_bytes)
}
