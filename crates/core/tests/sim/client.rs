//! The shared part of the client: metadata and its refresh, and the connections by destination, purpose and owner.
//!
//! A single-threaded driver of [`Metadata`] and [`Connection`], as `ottla` has one with tasks and locks. It carries
//! bytes, time and outcomes; who gets an outcome is decided by the token of its request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_core::HostPort;
use ottla_core::backoff::{Backoff, Pauses, Random};
use ottla_core::connection::{
    Answer, Connection, ConnectionSettings, Event as Happened, Outgoing, throttle_time,
};
use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use ottla_core::metadata::{Broker, Destination, Leader, Lookup, Metadata, MetadataSettings, Query};
use ottla_core::producer::RequestToken;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataResponse, MetadataResponseTopic};
use ottla_wire::{ApiKey, ErrorCode, Request, Uuid};

use crate::invariants::{
    ASKERS_ANSWER, IN_STEP, NOT_BACK, NOTHING_LOST, NOTHING_WAITS, ONE_OUTCOME, THROTTLED_IS_QUIET,
    WANTED_IS_ASKED_FOR,
};
use crate::plan::Plan;
use crate::random::Draw;
use crate::world::{Event, World};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Control,
    Admin,
    Fetch,
    Produce,
}

/// A connection's place: broker or bootstrap address, purpose, lane.
pub(crate) type Key = (Place, Purpose, u64);
pub(crate) type Place = (Option<i32>, Option<HostPort>);

/// A lane that is taken, until the broker is done with the request.
#[derive(Debug)]
pub(crate) struct Lane {
    place: Place,
    purpose: Purpose,
    pub(crate) number: u64,
}

/// Who waits for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    Produce(RequestToken),
    Call(u64),
    Metadata(u64),
    /// Whoever waited has gone.
    Nobody,
}

/// A request without an outcome.
#[derive(Debug)]
struct Pending {
    waiter: Waiter,
    channel: u64,
    api: ApiKey,
    deadline: Instant,
}

/// Somebody waits for a topic, and looks now and then.
#[derive(Debug)]
struct Wait {
    /// How many queries had been made by then: answers to those say nothing of what is so now.
    before: u64,
    /// Since when no broker was asked for it.
    unasked: Option<Instant>,
    looked: Instant,
}

/// So many answers in a row with an older epoch are not believed.
const OLDER_IGNORED: u32 = 5;

/// Who waits for a topic looks again in less than this.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);

pub(crate) struct Client {
    pub(crate) metadata: Metadata,
    settings: Arc<ConnectionSettings>,
    connect_timeout: Duration,
    pub(crate) random: Random,
    channels: BTreeMap<u64, Channel>,
    slots: BTreeMap<Key, Slot>,
    next_channel: u64,
    pending: BTreeMap<u64, Pending>,
    next_token: u64,
    /// Channels at which something changed.
    dirty: BTreeSet<u64>,
    lanes: BTreeMap<(Place, Purpose), Vec<u64>>,
    fetch_lanes: u64,
    admin_lanes: u64,
    /// Metadata queries that may still be answered, by their numbers, and the tokens of their requests. The last one is
    /// waited for, those before it may be late.
    flights: BTreeMap<u64, u64>,
    /// Topics that somebody waits for.
    waited: BTreeMap<String, Wait>,
    seen_generation: u64,
    /// The states that the metadata was in at the last look.
    metadata_states: BTreeSet<&'static str>,
    /// Topics that were known after the last answer.
    known: BTreeSet<String>,
    /// How many answers in a row had an older leader epoch.
    regressions: BTreeMap<(Uuid, i32), u32>,
    /// Everybody has let go: nobody keeps the metadata fresh.
    is_closed: bool,
    draw: Draw,
}

struct Channel {
    machine: Connection<u64, Lane>,
    link: Option<u64>,
    incoming: BytesMut,
    /// The broker asked to be left alone until then.
    muted_until: Instant,
    /// What the coverage saw last.
    state: &'static str,
    /// What `machine.poll_timeout()` was when it was last pumped. Whoever changes the machine marks the channel dirty.
    due: Option<Instant>,
}

struct Slot {
    channel: u64,
    pauses: Pauses,
}

impl Client {
    pub(crate) fn new(now: Instant, plan: &Plan) -> Self {
        let bootstrap = (1..=plan.client.bootstrap).map(|node| HostPort::new(&format!("boot-{node}"), 9092));
        let settings = MetadataSettings {
            max_age: plan.client.metadata_age,
            backoff: Backoff::RETRY,
            rebootstrap_after: plan.client.rebootstrap_after,
            request_timeout: plan.client.request_timeout,
        };
        Self {
            metadata: Metadata::new(now, settings, bootstrap.collect(), plan.seed),
            settings: Arc::new(ConnectionSettings {
                request_timeout: plan.client.request_timeout,
                idle_timeout: plan.client.idle_timeout,
                ..ConnectionSettings::default()
            }),
            connect_timeout: plan.client.connect_timeout,
            random: Random::new(plan.seed),
            channels: BTreeMap::new(),
            slots: BTreeMap::new(),
            next_channel: 0,
            pending: BTreeMap::new(),
            next_token: 0,
            dirty: BTreeSet::new(),
            lanes: BTreeMap::new(),
            fetch_lanes: plan.client.fetch_lanes,
            admin_lanes: plan.client.admin_lanes,
            flights: BTreeMap::new(),
            waited: BTreeMap::new(),
            seen_generation: 0,
            metadata_states: BTreeSet::new(),
            known: BTreeSet::new(),
            regressions: BTreeMap::new(),
            is_closed: false,
            draw: Draw::new(plan.seed, 3),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let channels = self.channels.values().filter_map(|channel| channel.due);
        channels.chain(self.metadata.poll_timeout().filter(|_| !self.is_closed)).min()
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// Requests that have no outcome yet.
    pub(crate) fn unresolved(&self) -> Vec<String> {
        let line = |(token, it): (&u64, &Pending)| format!("{} (token {token}, {:?})", it.api, it.waiter);
        self.pending.iter().map(line).collect()
    }

    pub(crate) fn open_channels(&self) -> usize {
        self.channels.len()
    }

    /// Takes back the requests of a channel that have not left and that nobody wants any more. How many those are.
    fn withdraw(&mut self, channel: u64) -> u64 {
        let Some(it) = self.channels.get_mut(&channel) else { return 0 };
        let unwanted = RefCell::new(BTreeSet::new());
        it.machine.withdraw(|token| {
            let is_wanted = self.pending.get(token).is_none_or(|it| it.waiter != Waiter::Nobody);
            if !is_wanted {
                unwanted.borrow_mut().insert(*token);
            }
            is_wanted
        });
        let unwanted = unwanted.into_inner();
        self.pending.retain(|token, _| !unwanted.contains(token));
        unwanted.len() as u64
    }

    /// Nobody waits for this outcome any more.
    pub(crate) fn detach(&mut self, token: u64) {
        if let Some(pending) = self.pending.get_mut(&token) {
            pending.waiter = Waiter::Nobody;
        }
    }

    /// A free lane to a destination.
    pub(crate) fn take_lane(&mut self, to: &Destination, purpose: Purpose) -> Option<Lane> {
        let place = place_of(to);
        let count = if purpose == Purpose::Fetch { self.fetch_lanes } else { self.admin_lanes };
        let free = self.lanes.entry((place.clone(), purpose)).or_insert_with(|| (0..count).rev().collect());
        free.pop().map(|number| Lane { place, purpose, number })
    }
}

fn place_of(to: &Destination) -> Place {
    match to {
        Destination::Broker(id) => (Some(*id), None),
        Destination::Bootstrap(address) => (None, Some(address.clone())),
    }
}

impl World {
    /// The connection for a purpose, new or in use; none when the broker is not known.
    pub(crate) fn connection(&mut self, to: &Destination, purpose: Purpose, owner: u64) -> Option<u64> {
        let address = match to {
            Destination::Bootstrap(address) => address.clone(),
            Destination::Broker(id) => self.client.metadata.broker(*id)?.address.clone(),
        };
        let key = (place_of(to), purpose, owner);
        let mut pauses = Pauses::new(Backoff::RECONNECT, self.client.random.next_u64());
        let mut not_before = self.now;
        if let Some(slot) = self.client.slots.get(&key) {
            let channel = self.client.channels.get(&slot.channel);
            let alive = channel.filter(|it| it.machine.closed().is_none());
            let has_moved = channel.is_some_and(|it| it.machine.peer().address != address);
            match alive {
                Some(_) if !has_moved => return Some(slot.channel),
                Some(_) => self.cut(slot.channel, CloseReason::Moved),
                None => {
                    if !has_moved && channel.is_some_and(|it| !it.machine.was_ready()) {
                        pauses = slot.pauses.clone();
                        not_before += pauses.next_delay();
                    }
                }
            }
        }
        let broker_id = match to {
            Destination::Broker(id) => Some(*id),
            Destination::Bootstrap(_) => None,
        };
        let peer = Arc::new(Peer { broker_id, address });
        let deadline = not_before + self.client.connect_timeout;
        let machine = Connection::new(self.now, peer, self.client.settings.clone(), deadline);
        self.client.next_channel += 1;
        let channel = self.client.next_channel;
        let due = machine.poll_timeout();
        let opened =
            Channel { machine, link: None, incoming: BytesMut::new(), muted_until: self.now, state: "", due };
        self.client.channels.insert(channel, opened);
        if let Some(old) = self.client.slots.insert(key, Slot { channel, pauses }) {
            self.forget_closed(old.channel);
        }
        self.at(not_before, Event::Dial { channel });
        Some(channel)
    }

    /// A closed channel that no slot names any more is gone, once its events are out.
    fn forget_closed(&mut self, channel: u64) {
        self.pump(channel);
        if self.client.channels.get(&channel).is_some_and(|it| it.machine.closed().is_some()) {
            self.client.channels.remove(&channel);
        }
    }

    fn cut(&mut self, channel: u64, reason: CloseReason) {
        if let Some(it) = self.client.channels.get_mut(&channel) {
            it.machine.close(reason);
            self.client.dirty.insert(channel);
            self.pump(channel);
        }
    }

    /// Queues a request. Its outcome comes to `waiter`, whatever happens.
    pub(crate) fn send(
        &mut self,
        channel: u64,
        outgoing: Outgoing,
        waiter: Waiter,
        lane: Option<Lane>,
    ) -> u64 {
        self.client.next_token += 1;
        let token = self.client.next_token;
        let api = outgoing.request.key();
        let pending = Pending { waiter, channel, api, deadline: outgoing.deadline };
        self.client.pending.insert(token, pending);
        if let Some(it) = self.client.channels.get_mut(&channel) {
            it.machine.send(self.now, outgoing, token, lane);
        }
        self.client.dirty.insert(channel);
        token
    }

    /// What is said of a request to a broker that the metadata does not list.
    pub(crate) fn not_sent(&self, to: &Destination, api: ApiKey, why: &str) -> RequestError {
        let (broker_id, address) = match to {
            Destination::Broker(id) => (Some(*id), HostPort::new("unknown", 0)),
            Destination::Bootstrap(address) => (None, address.clone()),
        };
        let peer = Arc::new(Peer { broker_id, address });
        RequestError { peer, api, outcome: Outcome::NotSent, reason: Failure::Connect(why.into()) }
    }

    /// An answer was used and may ask for a pause.
    pub(crate) fn throttled(&mut self, channel: u64, throttle_time_ms: i32) {
        if let Some(pause) = throttle_time(throttle_time_ms)
            && let Some(it) = self.client.channels.get_mut(&channel)
        {
            it.machine.throttle(self.now, pause);
            it.muted_until = it.muted_until.max(self.now + pause);
            self.client.dirty.insert(channel);
            self.coverage.hit("connection", "throttled");
        }
    }

    // The socket's side

    pub(crate) fn dial(&mut self, channel: u64) {
        let Some(it) = self.client.channels.get(&channel) else { return };
        if it.machine.closed().is_some() {
            return;
        }
        let address = it.machine.peer().address.clone();
        let link = self.open_link(channel, &address);
        if let Some(it) = self.client.channels.get_mut(&channel) {
            it.link = Some(link);
            it.incoming.clear();
        }
        self.note(|| format!("channel {channel} dials {address} (link {link})"));
    }

    fn by_link(&mut self, channel: u64, link: u64) -> Option<&mut Channel> {
        self.client.dirty.insert(channel);
        self.client.channels.get_mut(&channel).filter(|it| it.link == Some(link))
    }

    pub(crate) fn link_connected(&mut self, channel: u64, link: u64) {
        let now = self.now;
        if let Some(it) = self.by_link(channel, link) {
            it.machine.handle_connected(now);
        }
    }

    pub(crate) fn link_refused(&mut self, channel: u64, link: u64) {
        if let Some(it) = self.by_link(channel, link) {
            it.link = None;
            it.machine.handle_connect_failure("connection refused".into());
        }
        self.note(|| format!("channel {channel}: connection refused"));
    }

    pub(crate) fn link_bytes(&mut self, channel: u64, link: u64, bytes: &[u8]) {
        let now = self.now;
        if let Some(it) = self.by_link(channel, link) {
            it.incoming.extend_from_slice(bytes);
            it.machine.handle_bytes(now, &mut it.incoming);
        }
    }

    pub(crate) fn link_closed(&mut self, channel: u64, link: u64) {
        let now = self.now;
        let Some(it) = self.by_link(channel, link) else { return };
        it.link = None;
        let again = it.machine.handle_closed(CloseReason::ByPeer);
        self.note(|| {
            format!("channel {channel}: closed by the peer{}", if again { ", dialled again" } else { "" })
        });
        if again {
            self.at(now, Event::Dial { channel });
        }
    }

    pub(crate) fn flushed(&mut self, channel: u64) {
        let now = self.now;
        if let Some(it) = self.client.channels.get_mut(&channel) {
            it.machine.handle_transmitted(now);
            self.client.dirty.insert(channel);
        }
    }

    // Time and progress

    pub(crate) fn client_timeouts(&mut self) {
        let now = self.now;
        for (number, it) in &self.client.channels {
            if it.due.is_some_and(|due| due <= now) {
                self.client.dirty.insert(*number);
            }
        }
    }

    /// Connections, the refresh, and who must hear that the metadata has changed.
    pub(crate) fn client_step(&mut self) -> bool {
        let mut moved = false;
        while let Some(channel) = self.client.dirty.pop_first() {
            moved = true;
            self.pump(channel);
        }
        if !self.client.is_closed {
            moved |= self.refresh_step();
        }
        let generation = self.client.metadata.generation();
        if std::mem::replace(&mut self.client.seen_generation, generation) != generation {
            moved = true;
            self.leaders_changed();
            self.calls_metadata_changed();
            self.writers_metadata_changed();
        }
        moved
    }

    /// What the machine of a channel gives out.
    fn pump(&mut self, channel: u64) {
        let now = self.now;
        let Some(it) = self.client.channels.get_mut(&channel) else { return };
        if it.machine.poll_timeout().is_some_and(|due| due <= now) {
            it.machine.handle_timeout(now);
        }
        // Where nothing can be written, nobody looks at what is wanted.
        if it.link.is_some() {
            let withdrawn = self.client.withdraw(channel);
            self.coverage.add("request", "withdrawn", withdrawn);
        }
        let Some(it) = self.client.channels.get_mut(&channel) else { return };
        let chunks: Vec<Bytes> = it.machine.poll_transmit(now).collect();
        let state = it.machine.state();
        if std::mem::replace(&mut it.state, state) != state {
            self.coverage.hit("connection: state", state);
        }
        let link = it.link;
        if !chunks.is_empty() && it.muted_until > now {
            self.violate(THROTTLED_IS_QUIET, || format!("channel {channel} writes"));
        }
        if !chunks.is_empty()
            && let Some(link) = link
        {
            self.write(link, &chunks.concat());
            let flushed =
                if self.client.draw.chance(90) { now } else { now + self.client.draw.millis(1, 300) };
            self.at(flushed, Event::Flushed { channel });
        }
        loop {
            let Some(it) = self.client.channels.get_mut(&channel) else { return };
            let Some(event) = it.machine.poll_event() else { break };
            let peer = it.machine.peer().clone();
            self.happened(channel, &peer, event);
        }
        let Some(it) = self.client.channels.get_mut(&channel) else { return };
        it.due = it.machine.poll_timeout();
        if let Some(reason) = it.machine.closed() {
            let closed = it.link.take().map(|link| (link, format!("closed: {}", name_of(reason))));
            let is_wrong = matches!(reason, CloseReason::Protocol(_) | CloseReason::TooLong { .. });
            let complaint = is_wrong.then(|| reason.to_string());
            if let Some((link, name)) = closed {
                self.note(|| format!("channel {channel}: {name}"));
                self.close_link(link);
            }
            // Of requests that need no answer only so many are remembered, should one be answered all the same.
            // An answer that comes after that is taken for the next one's.
            let is_forgotten = self.plan.answers_without_acks;
            if let Some(complaint) = complaint.filter(|_| !self.chaos.damages_frames && !is_forgotten) {
                self.violate(IN_STEP, || format!("channel {channel}: {complaint}"));
            }
        }
    }

    fn happened(&mut self, channel: u64, peer: &Arc<Peer>, event: Happened<u64, Lane>) {
        match event {
            Happened::Answer { token, answer } => {
                if answer.peer != *peer {
                    self.violate(ASKERS_ANSWER, || format!("{} answered for {peer}", answer.peer));
                }
                self.resolve(token, channel, Ok(Some(answer)));
            }
            Happened::Sent { token } => self.resolve(token, channel, Ok(None)),
            Happened::Failed { token, error } => self.resolve(token, channel, Err(error)),
            Happened::Done { held } => {
                if let Some(free) = self.client.lanes.get_mut(&(held.place, held.purpose)) {
                    free.push(held.number);
                }
                self.lane_free();
            }
            Happened::Overdue => {
                self.note(|| format!("{peer} is overdue"));
                self.coverage.hit("connection", "overdue");
                self.client.metadata.request_refresh(self.now, peer.broker_id);
            }
        }
    }

    /// Every request has one outcome, inside its time.
    fn resolve(&mut self, token: u64, channel: u64, outcome: Result<Option<Answer>, RequestError>) {
        let Some(pending) = self.client.pending.remove(&token) else {
            return self
                .violate(ONE_OUTCOME, || format!("token {token} of channel {channel} has two outcomes"));
        };
        if pending.channel != channel {
            self.violate(ASKERS_ANSWER, || {
                format!("channel {channel} answers token {token} of channel {}", pending.channel)
            });
        }
        if self.now > pending.deadline && outcome.is_err() && !self.was_stalled() {
            let late = self.now - pending.deadline;
            self.violate(NOTHING_WAITS, || format!("{} has its outcome {late:?} too late", pending.api));
        }
        self.note(|| match &outcome {
            Ok(Some(answer)) => format!("{} #{token} answered by {}", pending.api, answer.peer),
            Ok(None) => format!("{} #{token} written, no answer expected", pending.api),
            Err(error) => format!("{} #{token} failed: {error}", pending.api),
        });
        self.coverage.hit(
            "request",
            match &outcome {
                Ok(Some(_)) => Cow::Borrowed("answered"),
                Ok(None) => Cow::Borrowed("sent without an answer"),
                Err(error) => Cow::Owned(format!("{:?}: {}", error.outcome, name_of(&error.reason))),
            },
        );
        match pending.waiter {
            Waiter::Produce(token) => self.produce_outcome(token, channel, outcome),
            Waiter::Call(call) => self.call_outcome(call, channel, outcome),
            Waiter::Metadata(flight) => self.refreshed(flight, channel, outcome),
            Waiter::Nobody => self.coverage.hit("request", "outcome for nobody"),
        }
    }

    // Metadata

    fn refresh_step(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        if self.client.metadata.poll_timeout().is_some_and(|due| due <= now) {
            self.client.metadata.handle_timeout(now);
            self.look_at_metadata();
            moved = true;
        }
        while let Some(query) = self.client.metadata.poll_action(now) {
            moved = true;
            self.look_at_metadata();
            self.look_at_query(&query);
            self.note(|| format!("metadata is asked of {:?}", query.to));
            for topic in query.request.topics.iter().flatten() {
                if let Some(wait) = self.client.waited.get_mut(topic.name.as_deref().unwrap_or_default()) {
                    wait.unasked = None;
                }
            }
            let Some(channel) = self.connection(&query.to, Purpose::Control, 0) else {
                self.client.metadata.handle_failure(now, query.flight);
                continue;
            };
            let outgoing = Outgoing {
                request: Box::new(query.request),
                deadline: now + self.client.settings.request_timeout,
                own_wait: Duration::ZERO,
                expects_answer: true,
            };
            let token = self.send(channel, outgoing, Waiter::Metadata(query.flight), None);
            self.client.flights.insert(query.flight, token);
        }
        moved
    }

    /// Counts the states to which the metadata has come since the last look. Of several topics or partitions in one state the
    /// first one counts.
    fn look_at_metadata(&mut self) {
        let states: BTreeSet<&'static str> = self.client.metadata.states().collect();
        for state in states.difference(&self.client.metadata_states) {
            self.coverage.hit("metadata", *state);
        }
        self.client.metadata_states = states;
    }

    fn look_at_answer(&mut self, response: &MetadataResponse) {
        self.look_at_metadata();
        let Client { metadata, known, .. } = &mut self.client;
        let names = response.topics.iter().filter_map(|topic| topic.name.as_deref());
        let now_known = names.filter(|name| matches!(metadata.topic(name), Lookup::Known(_)));
        known.extend(now_known.map(str::to_owned));
    }

    /// Counts what a query tells of the metadata: what nobody wanted for long is not in it any more.
    fn look_at_query(&mut self, query: &Query) {
        if matches!(query.to, Destination::Bootstrap(_)) && self.client.metadata.answered() > 0 {
            self.coverage.hit("metadata", "a bootstrap address is asked again");
        }
        let Client { metadata, known, .. } = &mut self.client;
        let before = known.len();
        known.retain(|name| metadata.topic(name) != Lookup::Pending);
        self.coverage.add("metadata", "topic: forgotten", (before - known.len()) as u64);
    }

    /// Somebody cannot go on before more is known of a topic. As in the client, what is not known is wanted, and asked for once
    /// more only when an answer has come that did not help. Whoever waits looks again and again, and meanwhile a broker must
    /// have been asked: at once, or when the one that is being asked has had its time.
    pub(crate) fn ask_for_topic(&mut self, name: &str) {
        let now = self.now;
        let metadata = &mut self.client.metadata;
        metadata.want_topic(now, name);
        let new = || Wait { before: metadata.queries(), unasked: None, looked: now };
        let wait = self.client.waited.entry(name.to_owned()).or_insert_with(new);
        if wait.looked + LOOKS_AGAIN < now {
            *wait = new();
        }
        wait.looked = now;
        let unasked = *wait.unasked.get_or_insert(now);
        if metadata.answered() > wait.before || metadata.topic(name) != Lookup::Pending {
            metadata.request_refresh(now, None);
        }
        let waited =
            now.saturating_duration_since(self.chaos.last_stall.map_or(unasked, |it| it.max(unasked)));
        // The pause after a round in which nobody answered, and a look.
        let most = self.client.settings.request_timeout + Backoff::RETRY.max + LOOKS_AGAIN;
        if waited > most {
            self.violate(WANTED_IS_ASKED_FOR, || {
                format!("{name} has been waited for {waited:?}, and no broker was asked for it")
            });
        }
    }

    /// A flight has landed. As in the client, it may be late: those before the newest that was answered are not waited for.
    fn refreshed(&mut self, flight: u64, channel: u64, outcome: Result<Option<Answer>, RequestError>) {
        let now = self.now;
        if self.client.flights.last_key_value().is_some_and(|(last, _)| *last > flight) {
            self.coverage.hit("metadata", "late answer");
        }
        self.client.flights.remove(&flight);
        let response = outcome.ok().flatten().and_then(|answer| answer.decode::<MetadataRequest>().ok());
        match response {
            Some(response) => {
                self.note(|| format!("metadata: {}", summary(&response)));
                self.throttled(channel, response.throttle_time_ms);
                self.take_metadata(flight, &response);
                self.coverage.hit("metadata", "answered");
                self.forget_connections();
            }
            None => {
                self.coverage.hit("metadata", "no answer");
                self.client.metadata.handle_failure(now, flight);
                self.look_at_metadata();
            }
        }
        let later = self.client.flights.split_off(&(self.client.metadata.answered() + 1));
        let given_up = std::mem::replace(&mut self.client.flights, later);
        given_up.into_values().for_each(|token| self.client.detach(token));
    }

    /// Older leader epochs are passed over, a few times in a row.
    fn take_metadata(&mut self, flight: u64, response: &MetadataResponse) {
        let (mut before, mut sizes, mut nameless) = (Vec::new(), Vec::new(), Vec::new());
        for topic in &response.topics {
            let known = self.client.metadata.topic_by_id(topic.topic_id).cloned();
            // Created again since, it is another topic.
            let Some(known) = known.filter(|known| known.id == topic.topic_id) else {
                nameless.extend(self.known_without(topic));
                continue;
            };
            for row in &topic.partitions {
                let Some(partition) = known.partition(row.partition_index) else { continue };
                let streak =
                    self.client.regressions.entry((topic.topic_id, row.partition_index)).or_default();
                *streak = if row.leader_epoch < partition.leader_epoch { *streak + 1 } else { 0 };
                before.push((topic.topic_id, row.partition_index, partition.leader_epoch, *streak));
            }
            sizes.push((topic.topic_id, known.partitions.len()));
        }
        self.client.metadata.handle_response(self.now, flight, response);
        self.look_at_answer(response);
        for (id, size) in nameless {
            let left = self.client.metadata.topic_by_id(id).map(|topic| topic.partitions.len());
            if left.is_none_or(|left| left < size) {
                self.violate(NOTHING_LOST, || {
                    format!("topic {id} had {size} partitions, and {left:?} after an answer without an id")
                });
            }
        }
        for (id, size) in sizes {
            let known = self.client.metadata.topic_by_id(id).map(|topic| topic.partitions.len());
            // Two topics that are given the same wrong id take each other's place.
            if known.is_some_and(|now| now < size) && !self.chaos.mistakes_ids {
                self.violate(NOTHING_LOST, || format!("topic {id} had {size} partitions and has {known:?}"));
            }
        }
        for (id, index, epoch, streak) in before {
            let known = self.client.metadata.topic_by_id(id).filter(|topic| topic.id == id);
            let known = known.and_then(|topic| topic.partition(index));
            let Some(now) = known.map(|partition| partition.leader_epoch) else { continue };
            // Under a wrong id it is another topic, which may begin anew.
            if now < epoch && streak > OLDER_IGNORED {
                self.coverage.hit("metadata", "partition: an older epoch is believed");
            }
            if now < epoch && streak <= OLDER_IGNORED && !self.chaos.confuses_ids {
                self.violate(NOT_BACK, || {
                    format!("partition {index} of {id} is in epoch {epoch} and then in {now}")
                });
            }
        }
    }

    /// The topic that an answer without an id is about, if that says something of it, and its partitions.
    fn known_without(&mut self, answer: &MetadataResponseTopic) -> Option<(Uuid, usize)> {
        let says = answer.error_code.is_none() || answer.error_code == ErrorCode::LEADER_NOT_AVAILABLE;
        let Lookup::Known(known) = self.client.metadata.topic(answer.name.as_deref()?) else { return None };
        (says && answer.topic_id.is_nil() && !known.id.is_nil()).then(|| (known.id, known.partitions.len()))
    }

    /// A broker told in passing who leads (KIP-951).
    pub(crate) fn take_hint(&mut self, topic: &str, partition: i32, leader: Leader, brokers: Vec<Broker>) {
        let before: Vec<i32> = self.client.metadata.brokers().map(|broker| broker.id).collect();
        if self.client.metadata.handle_leader_hint(topic, partition, leader, brokers) {
            self.coverage.hit("metadata", "leader hint taken");
        }
        if let Some(lost) = before.iter().find(|id| self.client.metadata.broker(**id).is_none()) {
            self.violate(NOTHING_LOST, || format!("broker {lost} is forgotten for a leader hint"));
        }
    }

    /// What has ended, or leads to a broker that is gone or has moved, needs no place.
    fn forget_connections(&mut self) {
        let metadata = &self.client.metadata;
        let mut cut = Vec::new();
        let mut gone = Vec::new();
        for (key, slot) in &self.client.slots {
            let Some(it) = self.client.channels.get(&slot.channel) else { continue };
            let is_closed = it.machine.closed().is_some();
            let address = key.0.0.and_then(|id| metadata.broker(id)).map(|broker| &broker.address);
            let stays = match address {
                None => key.1 == Purpose::Produce && !is_closed,
                Some(address) if it.machine.peer().address == *address => {
                    !is_closed || !it.machine.was_ready()
                }
                Some(_) => {
                    cut.push(slot.channel);
                    !is_closed
                }
            };
            if !stays {
                gone.push((key.clone(), slot.channel));
            }
        }
        for channel in cut {
            self.cut(channel, CloseReason::Moved);
        }
        for (key, channel) in gone {
            self.client.slots.remove(&key);
            self.let_go(channel);
        }
    }

    /// Its owner needs a channel no more.
    fn let_go(&mut self, channel: u64) {
        if let Some(it) = self.client.channels.get_mut(&channel) {
            it.machine.release(self.now);
            self.client.dirty.insert(channel);
        }
        self.forget_closed(channel);
    }

    /// The client is dropped: all connections are let go of.
    pub(crate) fn release_all(&mut self) {
        self.client.is_closed = true;
        for (_, slot) in std::mem::take(&mut self.client.slots) {
            self.let_go(slot.channel);
        }
    }

    /// Whoever used the connections for this purpose is gone.
    pub(crate) fn release_of(&mut self, purpose: Purpose) {
        let (gone, left) =
            std::mem::take(&mut self.client.slots).into_iter().partition(|(key, _)| key.1 == purpose);
        self.client.slots = left;
        let gone: BTreeMap<Key, Slot> = gone;
        gone.into_values().for_each(|slot| self.let_go(slot.channel));
    }

    /// Channels that nobody needs and that have ended.
    pub(crate) fn sweep(&mut self) {
        let named: BTreeSet<u64> = self.client.slots.values().map(|slot| slot.channel).collect();
        self.client.channels.retain(|number, it| named.contains(number) || it.machine.closed().is_none());
    }
}

/// The variant's name.
pub(crate) fn name_of(value: &impl std::fmt::Debug) -> String {
    let debug = format!("{value:?}");
    let end = debug.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(debug.len());
    match debug.strip_prefix("Closed(") {
        Some(inner) => {
            format!("Closed({})", &inner[..inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len())])
        }
        None => debug[..end].to_owned(),
    }
}

fn summary(response: &MetadataResponse) -> String {
    let brokers: Vec<i32> = response.brokers.iter().map(|broker| broker.node_id).collect();
    let topics: Vec<String> = response
        .topics
        .iter()
        .map(|topic| {
            let leaders: Vec<String> =
                topic.partitions.iter().map(|p| format!("{}@{}", p.leader_id, p.leader_epoch)).collect();
            format!("{:?} {} [{}]", topic.name, topic.error_code, leaders.join(" "))
        })
        .collect();
    format!("brokers {brokers:?}, {}", topics.join(", "))
}

/// The api of a request type, for errors.
pub(crate) fn decode_failed<R: Request>(answer: &Answer, error: ottla_wire::DecodeError) -> RequestError {
    let (peer, reason) = (answer.peer.clone(), Failure::Decode(error));
    RequestError { peer, api: R::KEY, outcome: Outcome::Unknown, reason }
}
