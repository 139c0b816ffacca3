//! One connection to one broker, as a machine: version negotiation, the FIFO of what is in flight, time-outs,
//! throttling, idleness. It owns no socket and no clock, and does not know what the requests mean.
//!
//! ```text
//! send ──> waiting ──> poll_transmit ──> socket          Connecting ── handle_connected ──> Negotiating
//!                        │                                   │                                  │ ApiVersions answered
//!                     in_flight <─ handle_frames <── socket  └── handle_failed ─> Closed <──────┴── Ready
//!                        └──> Event::Answer | Failed
//! ```
//!
//! A broker answers in the order of the requests and reads the next one only when it has answered the last, so what
//! is in flight is a queue, and the first of it tells how the peer is doing.
//!
//! Sources: the protocol guide's sections on network, on versioning and on the common request and response structure;
//! KIP-35 and KIP-511 for ApiVersions, KIP-219 for throttling.

mod frames;
#[cfg(test)]
mod tests;
mod versions;

pub use frames::{Frame, SIZE_LEN, frame_len, next_frame};
pub use versions::Versions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec::Drain;

use bytes::{Bytes, BytesMut};
use ottla_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{AnyRequest, ApiKey, DecodeError, Encoded, ErrorCode, Request, Str};

use crate::error::{CloseReason, Failure, Outcome, Peer, RequestError};

/// How much older than its own wait the oldest request may become before its owner is told to look elsewhere.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(2);

/// How often that is said again while the peer stays silent: a new leader may not have been elected at first.
pub const OVERDUE_AGAIN: Duration = Duration::from_millis(500);

/// How long a released connection goes on reading the answers it is owed.
const READ_OUT: Duration = Duration::from_secs(5);

/// How many requests without an answer (acks=0) are remembered, in case the broker answers one all the same.
const SILENT_REMEMBERED: usize = 64;

/// The versions of ApiVersions that are tried one after another, on answers and on connections cut short.
const NEGOTIATION_LADDER: [i16; 3] = [4, 3, 0];

/// The pause that an answer asks for with its `throttle_time_ms` (KIP-219), in milliseconds; `None` for zero and for
/// what makes no sense.
pub fn throttle_time(throttle_time_ms: i32) -> Option<Duration> {
    u64::try_from(throttle_time_ms).ok().filter(|pause| *pause > 0).map(Duration::from_millis)
}

/// What connections of one client have in common.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// Sent in every request header.
    pub client_id: Option<String>,
    /// Sent in ApiVersions (KIP-511).
    pub software_name: String,
    /// Sent in ApiVersions (KIP-511).
    pub software_version: String,
    /// How long after its own wait an answer may take before the peer counts as dead.
    pub request_timeout: Duration,
    /// How long nobody may use the connection before it is closed.
    pub idle_timeout: Duration,
    /// The largest frame accepted, in bytes.
    pub max_response_bytes: usize,
    /// Whether versions that Kafka itself calls unstable may be negotiated.
    pub unstable_versions: bool,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            client_id: Some("ottla".to_owned()),
            software_name: "ottla".to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(9 * 60),
            max_response_bytes: 100 << 20,
            unstable_versions: false,
        }
    }
}

/// A request on its way into a connection.
#[derive(Debug)]
pub struct Outgoing {
    /// The message; encoded when the version is known.
    pub request: Box<dyn AnyRequest>,
    /// When whoever asked stops waiting, wherever the request is then.
    pub deadline: Instant,
    /// How long the broker may rightly hold the answer back: the maximum wait of a Fetch, the time-out of an admin
    /// request, zero for everything else.
    pub own_wait: Duration,
    /// False for Produce with acks=0: brokers do not answer it.
    pub expects_answer: bool,
}

/// The bytes of an answer and what is needed to read them.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Who answered.
    pub peer: Arc<Peer>,
    /// The version the request was sent in.
    pub version: i16,
    /// The frame after its size: response header, then body.
    pub payload: Bytes,
    /// The memory that is taken as long as any of it is held.
    pub memory: usize,
}

impl Answer {
    /// The message. Bytes behind it are passed over: librdkafka's mock cluster ends Metadata with one too many.
    pub fn decode<R: Request>(&self) -> Result<R::Response, DecodeError> {
        ottla_wire::decode_response_and_rest::<R>(&self.payload, self.version).map(|(response, _)| response)
    }
}

/// What the connection's owner has to know.
#[derive(Debug)]
pub enum Event<T, H = ()> {
    /// The answer to the request sent with this token.
    Answer {
        /// As given to [`Connection::send`].
        token: T,
        /// Its bytes.
        answer: Answer,
    },
    /// A request that expects no answer was written.
    Sent {
        /// As given to [`Connection::send`].
        token: T,
    },
    /// The request sent with this token gets no answer.
    Failed {
        /// As given to [`Connection::send`].
        token: T,
        /// Why, and whether the broker may have acted on it.
        error: RequestError,
    },
    /// The broker is done with the request that was sent with this, or never had it. Comes before the request's
    /// outcome; after it when whoever asked gave up first and the answer came late.
    Done {
        /// As given to [`Connection::send`].
        held: H,
    },
    /// The oldest request is [`OVERDUE_AFTER`] older than its own wait, or has waited that long for the connection to
    /// open: time to ask for fresh metadata elsewhere.
    Overdue,
}

/// A connection to one broker. `T` is what the owner wants back with each outcome, `H` what it holds for a request
/// for as long as the broker may be busy with it.
#[derive(Debug)]
pub struct Connection<T, H = ()> {
    settings: Arc<ConnectionSettings>,
    peer: Arc<Peer>,
    phase: Phase,
    waiting: VecDeque<Waiting<T, H>>,
    in_flight: VecDeque<InFlight<T, H>>,
    outbox: Vec<Bytes>,
    events: VecDeque<Event<T, H>>,
    next_correlation_id: i32,
    throttled_until: Option<Instant>,
    last_activity: Instant,
    /// When the peer last answered, or was done with a pause that it asked for: the first in flight has been served since
    /// then, not since it was sent.
    last_answer: Instant,
    /// When the peer's silence was last reported.
    overdue_reported: Option<Instant>,
    was_ready: bool,
    /// No waiter's deadline is earlier; only [`Connection::handle_timeout`] looks for the true one.
    next_deadline: Option<Instant>,
    /// When a connection nobody needs any more ends at the latest.
    released: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Connecting { deadline: Instant, rung: usize },
    Negotiating { deadline: Instant, rung: usize },
    Ready { versions: Versions },
    Closed { reason: CloseReason },
}

#[derive(Debug)]
struct Waiting<T, H> {
    outgoing: Outgoing,
    since: Instant,
    token: T,
    held: Option<H>,
}

#[derive(Debug)]
struct InFlight<T, H> {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    sent: Instant,
    own_wait: Duration,
    deadline: Instant,
    waiter: Waiter<T>,
    held: Option<H>,
}

#[derive(Debug)]
enum Waiter<T> {
    /// The connection itself: version negotiation.
    Negotiation,
    Answer(T),
    /// Told already: its answer is read and dropped.
    Gone,
    /// Needs no answer: its waiter, until it was told, and whether all of it has left.
    Silent {
        token: Option<T>,
        has_left: bool,
    },
}

impl<T, H> Connection<T, H> {
    /// A connection that is about to be dialled, and gives up when it is not ready at `deadline`. Requests may be
    /// sent at once: they wait.
    pub fn new(now: Instant, peer: Arc<Peer>, settings: Arc<ConnectionSettings>, deadline: Instant) -> Self {
        Self {
            settings,
            peer,
            phase: Phase::Connecting { deadline, rung: 0 },
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            outbox: Vec::new(),
            events: VecDeque::new(),
            next_correlation_id: 0,
            throttled_until: None,
            last_activity: now,
            last_answer: now,
            overdue_reported: None,
            was_ready: false,
            next_deadline: None,
            released: None,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Whether version negotiation ever succeeded.
    pub fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// Why the connection ended; `None` while it lives.
    pub fn closed(&self) -> Option<&CloseReason> {
        match &self.phase {
            Phase::Closed { reason } => Some(reason),
            _ => None,
        }
    }

    /// What the broker offers, once that is known.
    pub fn versions(&self) -> Option<&Versions> {
        match &self.phase {
            Phase::Ready { versions } => Some(versions),
            _ => None,
        }
    }

    /// How many requests have no outcome yet.
    pub fn load(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// Whether a request was given out whose answer has not come.
    pub fn is_awaiting(&self) -> bool {
        self.in_flight.iter().any(|entry| entry.waiter.is_owed())
    }

    /// For simulations, which count where they get to: its state, by name.
    #[doc(hidden)]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Connecting { rung: 0, .. } => "is dialled",
            Phase::Connecting { rung: 1.., .. } => "is dialled for a lower ApiVersions",
            Phase::Negotiating { rung: 0, .. } => "asks for versions",
            Phase::Negotiating { rung: 1.., .. } => "asks for versions by a lower ApiVersions",
            Phase::Ready { .. } if self.released.is_some() => "reads what it is owed, and is needed no more",
            Phase::Ready { .. } if self.throttled_until.is_some() => "ready, asked to be quiet",
            Phase::Ready { .. } if self.load() == 0 => "ready, nothing to do",
            Phase::Ready { .. } if self.is_unused() => "ready, nothing is owed",
            Phase::Ready { .. } => "ready, requests under way",
            Phase::Closed { reason } => reason.state(),
        }
    }

    /// Queues a request. Its outcome comes as one [`Event`] with `token`, whatever happens; `held` comes back with
    /// [`Event::Done`].
    pub fn send(&mut self, now: Instant, outgoing: Outgoing, token: T, held: Option<H>) {
        self.last_activity = now;
        if let Phase::Closed { reason } = &self.phase {
            let reason = Failure::Closed(reason.clone());
            self.done(held);
            return self.fail(token, outgoing.request.key(), Outcome::NotSent, reason);
        }
        self.expect_deadline(outgoing.deadline);
        self.waiting.push_back(Waiting { outgoing, since: now, token, held });
    }

    /// An answer asked for a pause: nothing more is written before `pause` is over (KIP-219). The request it
    /// answered has been served all the same.
    pub fn throttle(&mut self, now: Instant, pause: Duration) {
        self.throttled_until = self.throttled_until.max(Some(now + pause));
    }

    /// The owner needs the connection no more: it ends once what is in flight is answered, or after five seconds.
    pub fn release(&mut self, now: Instant) {
        self.released.get_or_insert(now + READ_OUT);
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Phase::Connecting { deadline, rung } = self.phase {
            self.phase = Phase::Negotiating { deadline, rung };
            self.last_answer = now;
            self.negotiate(now);
        }
    }

    /// Reads whole frames off the front of what the socket gave.
    pub fn handle_bytes(&mut self, now: Instant, buffer: &mut BytesMut) {
        let limit = self.settings.max_response_bytes;
        self.handle_frames(now, || Ok(next_frame(buffer, limit)?.map(Frame::from)));
    }

    /// Takes whole frames, without their sizes, as long as there are any and the connection is open.
    pub fn handle_frames(
        &mut self,
        now: Instant,
        mut next: impl FnMut() -> Result<Option<Frame>, CloseReason>,
    ) {
        while self.closed().is_none() {
            match next() {
                Ok(Some(frame)) => self.handle_frame(now, frame),
                Ok(None) => return,
                Err(reason) => self.close(reason),
            }
        }
    }

    /// What was given out by [`Connection::poll_transmit`] has been written to the socket.
    pub fn handle_transmitted(&mut self, now: Instant) {
        self.last_activity = now;
        for entry in &mut self.in_flight {
            if let Waiter::Silent { token, has_left } = &mut entry.waiter {
                *has_left = true;
                self.events.extend(entry.held.take().map(|held| Event::Done { held }));
                self.events.extend(token.take().map(|token| Event::Sent { token }));
            }
        }
        self.forget_silent();
    }

    /// The socket could not be opened.
    pub fn handle_connect_failure(&mut self, cause: Arc<str>) {
        self.end(CloseReason::Io(cause.clone()), &Failure::Connect(cause));
    }

    /// The socket is gone, or the owner gives the connection up. Whether the socket should be dialled again for
    /// another try at version negotiation is what comes back: some brokers cut the connection on a version of
    /// ApiVersions they do not know. The tries are bounded: each uses a lower version.
    pub fn handle_closed(&mut self, reason: CloseReason) -> bool {
        if let Phase::Negotiating { deadline, rung } = self.phase
            && reason == CloseReason::ByPeer
            && rung + 1 < NEGOTIATION_LADDER.len()
        {
            self.phase = Phase::Connecting { deadline, rung: rung + 1 };
            self.in_flight.clear();
            self.outbox.clear();
            return true;
        }
        self.close(reason);
        false
    }

    /// Ends it for good, whatever is in flight.
    pub fn close(&mut self, reason: CloseReason) {
        self.end(reason.clone(), &Failure::Closed(reason));
    }

    /// Does what time has made due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Connecting { deadline, .. } | Phase::Negotiating { deadline, .. } if *deadline <= now => {
                let cause: Arc<str> = match self.phase {
                    Phase::Connecting { .. } => "the connect time-out passed".into(),
                    _ => "the port is open, but the peer does not answer ApiVersions (is this a plaintext Kafka listener?)".into(),
                };
                return self.end(CloseReason::Io(cause.clone()), &Failure::Connect(cause));
            }
            _ => {}
        }
        if self.released.is_some_and(|end| end <= now) {
            return self.close(CloseReason::Released);
        }
        self.expire_waiters(now);
        if let Some(until) = self.throttled_until.filter(|until| *until <= now) {
            self.throttled_until = None;
            // Until then the peer owed nothing.
            self.last_answer = self.last_answer.max(until);
        }
        if let Some(since) = self.awaited_since() {
            if self.silence_ends(since).is_some_and(|end| end <= now) {
                self.close(CloseReason::Silent(self.settings.request_timeout));
            } else if self.overdue_due(since) <= now {
                self.overdue_reported = Some(now);
                self.events.push_back(Event::Overdue);
            }
        } else if self.is_unused() && self.last_activity + self.settings.idle_timeout <= now {
            self.close(CloseReason::Idle);
        }
    }

    /// Takes out the requests that have not left and that nobody wants any more.
    pub fn withdraw(&mut self, is_wanted: impl Fn(&T) -> bool) {
        if self.waiting.iter().all(|entry| is_wanted(&entry.token)) {
            return;
        }
        for _ in 0..self.waiting.len() {
            let Some(entry) = self.waiting.pop_front() else { return };
            if is_wanted(&entry.token) {
                self.waiting.push_back(entry);
            } else {
                self.done(entry.held);
            }
        }
    }

    /// The bytes to write next, in order; empty when there is nothing to write now. Everything that may go out is
    /// in it, for one vectored write.
    pub fn poll_transmit(&mut self, now: Instant) -> Drain<'_, Bytes> {
        if let Phase::Ready { versions } = &self.phase {
            let versions = versions.clone();
            while self.throttled_until.is_none_or(|until| until <= now)
                && let Some(next) = self.waiting.pop_front()
            {
                self.start(now, next, &versions);
            }
        }
        if self.released.is_some() && self.is_unused() && self.outbox.is_empty() {
            self.close(CloseReason::Released);
        }
        self.outbox.drain(..)
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<Event<T, H>> {
        self.events.pop_front()
    }

    /// When [`Connection::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Connecting { deadline, .. } | Phase::Negotiating { deadline, .. } => Some(*deadline),
            Phase::Ready { .. } => None,
            Phase::Closed { .. } => return None,
        };
        let peer = match self.awaited_since() {
            Some(since) => self.silence_ends(since).into_iter().chain([self.overdue_due(since)]).min(),
            None if self.is_unused() => Some(self.last_activity + self.settings.idle_timeout),
            None => None,
        };
        let throttle = self.throttled_until.filter(|_| !self.waiting.is_empty());
        [phase, peer, throttle, self.next_deadline, self.released].into_iter().flatten().min()
    }

    fn negotiate(&mut self, now: Instant) {
        let Phase::Negotiating { deadline, rung } = self.phase else { return };
        let request = ApiVersionsRequest {
            client_software_name: Str::from(self.settings.software_name.as_str()),
            client_software_version: Str::from(self.settings.software_version.as_str()),
            ..Default::default()
        };
        let correlation_id = self.take_correlation_id();
        let version = NEGOTIATION_LADDER[rung];
        match request.encode_frame(version, correlation_id, self.settings.client_id.as_deref()) {
            Ok(Encoded { chunks, .. }) => {
                self.outbox.extend(chunks);
                self.in_flight.push_back(InFlight {
                    correlation_id,
                    api: ApiKey::API_VERSIONS,
                    version,
                    sent: now,
                    own_wait: Duration::ZERO,
                    deadline,
                    waiter: Waiter::Negotiation,
                    held: None,
                });
            }
            Err(error) => self.close(CloseReason::Protocol(error.to_string().into())),
        }
    }

    fn start(&mut self, now: Instant, next: Waiting<T, H>, versions: &Versions) {
        let api = next.outgoing.request.key();
        let ours = next.outgoing.request.versions(self.settings.unstable_versions);
        let version = match versions.choose(api, ours) {
            Ok(version) => version,
            Err(reason) => return self.refuse(next, reason),
        };
        let correlation_id = self.take_correlation_id();
        let client_id = self.settings.client_id.as_deref();
        match next.outgoing.request.encode_frame(version, correlation_id, client_id) {
            Ok(Encoded { chunks, .. }) => self.outbox.extend(chunks),
            Err(error) => return self.refuse(next, Failure::Encode(error)),
        }
        let Waiting { outgoing, token, held, .. } = next;
        self.in_flight.push_back(InFlight {
            correlation_id,
            api,
            version,
            sent: now,
            own_wait: outgoing.own_wait,
            deadline: outgoing.deadline,
            waiter: match outgoing.expects_answer {
                true => Waiter::Answer(token),
                false => Waiter::Silent { token: Some(token), has_left: false },
            },
            held,
        });
    }

    fn handle_frame(&mut self, now: Instant, Frame { bytes: frame, memory }: Frame) {
        let Some(correlation_id) = ottla_wire::correlation_id(&frame) else {
            return self.close(CloseReason::Protocol("an answer too short for its header".into()));
        };
        let Some(entry) = self.take_in_flight(correlation_id) else { return };
        self.last_answer = now;
        self.last_activity = now;
        self.overdue_reported = None;
        self.done(entry.held);
        match entry.waiter {
            Waiter::Negotiation => self.handle_versions(now, &frame, entry.version),
            Waiter::Answer(token) => {
                let (peer, version) = (self.peer.clone(), entry.version);
                let answer = Answer { peer, version, payload: frame, memory };
                self.events.push_back(Event::Answer { token, answer });
            }
            Waiter::Silent { token, .. } => self.sent(token),
            Waiter::Gone => {}
        }
    }

    /// The entry an answer belongs to. Requests that asked for no answer are passed over, or matched when the
    /// broker answers all the same.
    fn take_in_flight(&mut self, correlation_id: i32) -> Option<InFlight<T, H>> {
        while let Some(first) = self.in_flight.pop_front() {
            if first.correlation_id == correlation_id {
                return Some(first);
            }
            if let Waiter::Silent { token, .. } = first.waiter {
                self.done(first.held);
                self.sent(token);
            } else {
                let problem = format!(
                    "answer with correlation id {correlation_id} where {} ({}) was expected",
                    first.correlation_id, first.api
                );
                self.in_flight.push_front(first);
                self.close(CloseReason::Protocol(problem.into()));
                return None;
            }
        }
        self.close(CloseReason::Protocol(format!("answer {correlation_id} to a request nobody made").into()));
        None
    }

    /// Brokers that do not know the version asked for answer in version 0 with UNSUPPORTED_VERSION, listing perhaps
    /// only ApiVersions itself (KIP-511).
    fn handle_versions(&mut self, now: Instant, frame: &Bytes, version: i16) {
        let Phase::Negotiating { deadline, rung } = self.phase else { return };
        let response = match read_versions(frame, version) {
            Ok(response) => response,
            Err(error) => return self.close(CloseReason::Protocol(error.to_string().into())),
        };
        if response.error_code == ErrorCode::UNSUPPORTED_VERSION {
            let theirs = Versions::from_response(&response).offered(ApiKey::API_VERSIONS);
            let highest = theirs.map_or(0, |range| range.max);
            let next = (rung + 1..NEGOTIATION_LADDER.len()).find(|&rung| NEGOTIATION_LADDER[rung] <= highest);
            let Some(rung) = next else {
                return self
                    .close(CloseReason::Protocol("the broker knows no version of ApiVersions".into()));
            };
            self.phase = Phase::Negotiating { deadline, rung };
            return self.negotiate(now);
        }
        if !response.error_code.is_none() {
            let problem = format!("ApiVersions was answered with {}", response.error_code);
            return self.close(CloseReason::Protocol(problem.into()));
        }
        self.phase = Phase::Ready { versions: Versions::from_response(&response) };
        self.was_ready = true;
    }

    fn take_correlation_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.checked_add(1).unwrap_or(0);
        id
    }

    /// Tells waiters whose deadline has passed. What is in flight stays there: the broker is busy with it, and its
    /// answer will come.
    fn expire_waiters(&mut self, now: Instant) {
        if self.next_deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        for entry in waiting.drain(..) {
            if entry.outgoing.deadline > now {
                self.waiting.push_back(entry);
            } else {
                let after = entry.outgoing.deadline.saturating_duration_since(entry.since);
                self.refuse(entry, Failure::TimedOut(after));
            }
        }
        for entry in &mut self.in_flight {
            if entry.deadline > now {
                continue;
            }
            let Some(token) = entry.waiter.give_up() else { continue };
            let after = entry.deadline.saturating_duration_since(entry.sent);
            self.events.push_back(Event::Failed {
                token,
                error: RequestError {
                    peer: self.peer.clone(),
                    api: entry.api,
                    outcome: Outcome::Unknown,
                    reason: Failure::TimedOut(after),
                },
            });
        }
        let waiting = self.waiting.iter().map(|entry| entry.outgoing.deadline);
        let in_flight = self.in_flight.iter().filter(|entry| entry.waiter.is_waiting());
        self.next_deadline = waiting.chain(in_flight.map(|entry| entry.deadline)).min();
    }

    fn expect_deadline(&mut self, deadline: Instant) {
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
    }

    /// Since when the peer owes the answer to the first request that expects one, or has not taken in one that does
    /// not; its own wait not counted.
    fn oldest_since(&self) -> Option<Instant> {
        self.in_flight.iter().find(|entry| entry.waiter.is_owed()).map(|entry| {
            let throttled = self.throttled_until.unwrap_or(entry.sent);
            entry.sent.max(self.last_answer).max(throttled) + entry.own_wait
        })
    }

    /// Since when somebody waits for the peer: for the first answer it owes, or for the connection to open at all.
    fn awaited_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting { .. } | Phase::Negotiating { .. } => {
                self.waiting.front().map(|entry| entry.since)
            }
            Phase::Ready { .. } | Phase::Closed { .. } => self.oldest_since(),
        }
    }

    /// When a peer that answers nothing counts as dead. Until it is ready the connect time-out decides that.
    fn silence_ends(&self, since: Instant) -> Option<Instant> {
        self.versions().map(|_| since + self.settings.request_timeout)
    }

    fn overdue_due(&self, since: Instant) -> Instant {
        self.overdue_reported.map_or(since + OVERDUE_AFTER, |reported| reported + OVERDUE_AGAIN)
    }

    fn is_unused(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.iter().all(|entry| !entry.waiter.is_owed())
    }

    fn forget_silent(&mut self) {
        while self.in_flight.len() > SILENT_REMEMBERED
            && self.in_flight.front().is_some_and(|entry| !entry.waiter.is_owed())
        {
            self.in_flight.pop_front();
        }
    }

    fn fail(&mut self, token: T, api: ApiKey, outcome: Outcome, reason: Failure) {
        let error = RequestError { peer: self.peer.clone(), api, outcome, reason };
        self.events.push_back(Event::Failed { token, error });
    }

    /// A request that has not left gets its outcome.
    fn refuse(&mut self, entry: Waiting<T, H>, reason: Failure) {
        self.done(entry.held);
        self.fail(entry.token, entry.outgoing.request.key(), Outcome::NotSent, reason);
    }

    fn sent(&mut self, token: Option<T>) {
        self.events.extend(token.map(|token| Event::Sent { token }));
    }

    fn done(&mut self, held: Option<H>) {
        self.events.extend(held.map(|held| Event::Done { held }));
    }

    /// Everything that has no outcome yet gets one.
    fn end(&mut self, reason: CloseReason, failure: &Failure) {
        if self.closed().is_some() {
            return;
        }
        // Answers come in order: one that is too long is that of the first request, whoever still waits for it.
        let of_others = match &reason {
            CloseReason::TooLong { .. } => Failure::Closed(CloseReason::BehindTooLong),
            _ => failure.clone(),
        };
        self.phase = Phase::Closed { reason };
        self.outbox.clear();
        let first = self.in_flight.iter().position(|entry| entry.waiter.is_owed());
        for (at, entry) in std::mem::take(&mut self.in_flight).into_iter().enumerate() {
            self.done(entry.held);
            let failure = if Some(at) == first { failure } else { &of_others };
            match entry.waiter {
                Waiter::Answer(token) | Waiter::Silent { token: Some(token), .. } => {
                    self.fail(token, entry.api, Outcome::Unknown, failure.clone());
                }
                Waiter::Negotiation | Waiter::Gone | Waiter::Silent { token: None, .. } => {}
            }
        }
        for entry in std::mem::take(&mut self.waiting) {
            self.refuse(entry, of_others.clone());
        }
        self.next_deadline = None;
    }
}

impl<T> Waiter<T> {
    /// Takes out who is still to be told.
    fn give_up(&mut self) -> Option<T> {
        match self {
            Self::Silent { token, .. } => token.take(),
            Self::Answer(_) => match std::mem::replace(self, Self::Gone) {
                Self::Answer(token) => Some(token),
                _ => None,
            },
            Self::Negotiation | Self::Gone => None,
        }
    }

    /// Whether somebody is still to be told.
    fn is_waiting(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Silent { token: Some(_), .. })
    }

    /// Whether the peer has something to do for it yet.
    fn is_owed(&self) -> bool {
        !matches!(self, Self::Silent { has_left: true, .. })
    }
}

/// Reads an answer to ApiVersions that may be in version 0 although more was asked for: its first field, the error
/// code, is the same in all versions. What follows a refusal is a courtesy; librdkafka's mock cluster sends it in a
/// form that is none of any version, so it counts only when it can be read.
fn read_versions(frame: &Bytes, version: i16) -> Result<ApiVersionsResponse, DecodeError> {
    const CORRELATION_ID_LEN: usize = 4;
    let code = frame
        .get(CORRELATION_ID_LEN..CORRELATION_ID_LEN + 2)
        .map(|code| i16::from_be_bytes([code[0], code[1]]));
    let decode = |version| ottla_wire::decode_response::<ApiVersionsRequest>(frame, version);
    let refused = code == Some(ErrorCode::UNSUPPORTED_VERSION.0);
    match decode(if refused { 0 } else { version }) {
        Ok((_, response)) => Ok(response),
        Err(_) if refused => {
            Ok(ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() })
        }
        Err(error) => Err(error),
    }
}
