//! What the client knows of the cluster - brokers, topics, leaders - and when and where to ask for more.
//!
//! One refresh is under way at a time. It asks a known broker, then the next; when none answers, the bootstrap
//! addresses (KIP-899); when none of those does, it pauses and starts over. Who waits for news watches
//! [`Metadata::generation`].

#[cfg(test)]
mod tests;
mod topic;

pub use topic::{Leader, Partition, Topic};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use ottla_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::HostPort;
use crate::backoff::{Backoff, Pauses};
use crate::connection::OVERDUE_AFTER;

/// How often in a row a known topic may be missing from the answers before it counts as gone.
const MISSES_IGNORED: u8 = 3;

/// For so long one broker of several has to say that a topic has another id, when no other answers.
const ALONE_FOR: Duration = Duration::from_secs(5);

/// When to ask.
#[derive(Debug, Clone)]
pub struct MetadataSettings {
    /// How old the answers may become.
    pub max_age: Duration,
    /// The pause after a round in which nobody answered; its first value is the shortest time between two refreshes.
    pub backoff: Backoff,
    /// After this time without an answer the known brokers are forgotten and the bootstrap addresses asked
    /// (KIP-1102).
    pub rebootstrap_after: Duration,
    /// How long one broker may take to answer before it counts as having failed.
    pub request_timeout: Duration,
}

impl Default for MetadataSettings {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(5 * 60),
            backoff: Backoff::RETRY,
            rebootstrap_after: Duration::from_secs(300),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// A broker as last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its advertised listener.
    pub address: HostPort,
    /// Its rack, where it has one.
    pub rack: Option<Arc<str>>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A broker of the cluster.
    Broker(i32),
    /// An address the user gave, whatever broker is there.
    Bootstrap(HostPort),
}

/// A metadata request to send.
#[derive(Debug)]
pub struct Query {
    /// Comes back with the outcome.
    pub flight: u64,
    /// Whom to ask.
    pub to: Destination,
    /// What to ask.
    pub request: MetadataRequest,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It exists.
    Known(Arc<Topic>),
    /// The cluster answered with an error.
    Refused(ErrorCode),
    /// Nobody has answered yet.
    Pending,
}

/// The client's picture of the cluster.
#[derive(Debug)]
pub struct Metadata {
    settings: MetadataSettings,
    bootstrap: Vec<HostPort>,
    controller_id: Option<i32>,
    brokers: BTreeMap<i32, Broker>,
    topics: HashMap<Arc<str>, Entry, FixedState>,
    names: HashMap<Uuid, Arc<str>, FixedState>,
    generation: u64,
    refresh: Refresh,
    /// When the next refresh is due that the one under way does not stand for.
    again: Option<Instant>,
    flights: u64,
    /// The newest query that was answered.
    answered: u64,
    rotation: usize,
    last_success: Instant,
    /// When the refresh began that nobody has answered yet.
    asking_since: Option<Instant>,
    pauses: Pauses,
    /// Everybody was asked in vain: nobody is asked before this, whoever wants to know what.
    paused_until: Instant,
}

/// A topic that somebody wants to know of.
#[derive(Debug)]
struct Entry {
    known: Option<Arc<Topic>>,
    /// The id that was last believed, nil before there was one. It outlives what is known: an answer with another id that comes
    /// after answers without the topic has to be confirmed as well.
    id: Uuid,
    refused: Option<ErrorCode>,
    misses: u8,
    rival: Option<Rival>,
    last_wanted: Instant,
}

/// Another id that an answer gave a topic. It is believed when a later answer is another broker's and says the same: a broker
/// that lags still has the id of a topic that was deleted. Where nobody else answers, it is believed after [`ALONE_FOR`].
#[derive(Debug)]
struct Rival {
    id: Uuid,
    /// Who was the first to say so, where that is known: of a late answer it is not.
    broker: Option<i32>,
    since: Instant,
}

#[derive(Debug)]
enum Refresh {
    /// Nothing to do before `due`.
    Idle { due: Instant },
    /// Somebody has to be asked; `tried` have failed in this round.
    Ready { tried: Vec<Destination> },
    /// Somebody was asked.
    InFlight { flight: u64, to: Destination, since: Instant, tried: Vec<Destination> },
}

impl Metadata {
    /// Knows nothing yet; the first refresh is due at once. `seed` spreads the clients of a restarted fleet over
    /// brokers and time.
    pub fn new(now: Instant, settings: MetadataSettings, bootstrap: Vec<HostPort>, seed: u64) -> Self {
        Self {
            bootstrap,
            controller_id: None,
            brokers: BTreeMap::new(),
            topics: HashMap::default(),
            names: HashMap::default(),
            generation: 0,
            refresh: Refresh::Idle { due: now },
            again: None,
            flights: 0,
            answered: 0,
            rotation: seed as usize % 1024,
            last_success: now,
            asking_since: None,
            pauses: Pauses::new(settings.backoff, seed),
            paused_until: now,
            settings,
        }
    }

    /// The broker that takes requests for the controller.
    pub fn controller_id(&self) -> Option<i32> {
        self.controller_id
    }

    /// All brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// One broker.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// What is known of a topic. It is known only if it was wanted.
    pub fn topic(&self, name: &str) -> Lookup {
        match self.topics.get(name) {
            Some(Entry { known: Some(topic), .. }) => Lookup::Known(topic.clone()),
            Some(Entry { refused: Some(code), .. }) => Lookup::Refused(*code),
            _ => Lookup::Pending,
        }
    }

    /// The topic with this id, where it is known.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        // One that was created again has another id now.
        self.topics.get(self.names.get(&id)?)?.known.as_ref().filter(|topic| topic.id == id)
    }

    /// Grows with every answer, hint and failed round.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many queries were made so far. Who wants to know what is so now waits until [`Metadata::answered`] is beyond it:
    /// an answer to an earlier query may be older, and not every change is an answer.
    pub fn queries(&self) -> u64 {
        self.flights
    }

    /// The newest query that was answered, counted from 1.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// The next broker to ask something that any of them can answer: in turn, `avoid` only where there is no other.
    pub fn any_broker(&mut self, avoid: &[Destination]) -> Destination {
        self.rotation = self.rotation.wrapping_add(1);
        let known = self.brokers.keys().map(|id| Destination::Broker(*id));
        let bootstrap = self.bootstrap.iter().cloned().map(Destination::Bootstrap);
        let mut candidates: Vec<Destination> = known.collect();
        if candidates.iter().all(|candidate| avoid.contains(candidate)) {
            candidates.extend(bootstrap);
        }
        let from = self.rotation % candidates.len().max(1);
        candidates.rotate_left(from);
        let at = candidates.iter().position(|candidate| !avoid.contains(candidate)).unwrap_or(0);
        candidates.swap_remove(at)
    }

    /// Keeps a topic among those that are refreshed, for as long as it is wanted now and then. Asks for it when it
    /// is not known.
    pub fn want_topic(&mut self, now: Instant, name: &str) {
        match self.topics.get_mut(name) {
            Some(entry) => entry.last_wanted = now,
            None => {
                let entry = Entry {
                    known: None,
                    id: Uuid::NIL,
                    refused: None,
                    misses: 0,
                    rival: None,
                    last_wanted: now,
                };
                self.topics.insert(name.into(), entry);
                self.schedule(now);
            }
        }
    }

    /// Asks for fresh answers, from another broker than `avoid` where there is one. Requests made while a refresh is
    /// under way share the one after it.
    pub fn request_refresh(&mut self, now: Instant, avoid: Option<i32>) {
        match &self.refresh {
            Refresh::InFlight { to: Destination::Broker(asked), flight, .. } if Some(*asked) == avoid => {
                self.handle_failure(now, *flight);
            }
            Refresh::InFlight { .. } => self.schedule(now + self.settings.backoff.initial),
            _ => self.schedule(now.max(self.last_success + self.settings.backoff.initial)),
        }
    }

    /// The answer to a query. One that is late is taken all the same: epochs tell what is news.
    pub fn handle_response(&mut self, now: Instant, flight: u64, response: &MetadataResponse) {
        if response.error_code == ErrorCode::REBOOTSTRAP_REQUIRED {
            self.forget_brokers();
            return self.handle_failure(now, flight);
        }
        self.controller_id = (response.controller_id >= 0).then_some(response.controller_id);
        if !response.brokers.is_empty() {
            self.brokers = response
                .brokers
                .iter()
                .filter_map(|b| broker(b.node_id, &b.host, b.port, b.rack.as_deref()))
                .map(|broker| (broker.id, broker))
                .collect();
        }
        let broker = match &self.refresh {
            Refresh::InFlight { flight: asked, to: Destination::Broker(id), .. } if *asked == flight => {
                Some(*id)
            }
            _ => None,
        };
        self.update_topics(now, broker, response);
        self.answered = self.answered.max(flight);
        self.generation += 1;
        self.last_success = now;
        self.asking_since = None;
        self.pauses.reset();
        self.paused_until = now;
        if flight != 0 && flight < self.flights {
            // Late: what was asked for since then is still to be answered.
            return;
        }
        let aged = now + self.settings.max_age;
        self.refresh = Refresh::Idle { due: self.again.take().map_or(aged, |again| again.min(aged)) };
    }

    /// The query got no usable answer.
    pub fn handle_failure(&mut self, now: Instant, failed: u64) {
        match std::mem::replace(&mut self.refresh, Refresh::Idle { due: now }) {
            Refresh::InFlight { flight, to, mut tried, .. } if flight == failed => {
                tried.push(to);
                self.refresh = Refresh::Ready { tried };
            }
            other => self.refresh = other,
        }
    }

    /// A broker said in passing who leads a partition, and where that broker is (KIP-951). That one of the brokers named adds to
    /// those known, for a topic that is known. Whether it was news is what comes back.
    pub fn handle_leader_hint(
        &mut self,
        topic: &str,
        partition: i32,
        leader: Leader,
        brokers: impl IntoIterator<Item = Broker>,
    ) -> bool {
        let Some(known) = self.topics.get_mut(topic).and_then(|entry| entry.known.as_mut()) else {
            return false;
        };
        if let Some(broker) = brokers.into_iter().find(|broker| broker.id == leader.broker_id) {
            self.brokers.insert(broker.id, broker);
        }
        if !self.brokers.contains_key(&leader.broker_id) {
            return false;
        }
        let is_news = known.take_hint(partition, leader);
        self.generation += u64::from(is_news);
        is_news
    }

    /// For simulations, which count where they get to: the states in which the refresh, each topic, and each partition are,
    /// by name. What a topic is in has `topic` in front, and a partition's state `partition`.
    #[doc(hidden)]
    pub fn states(&self) -> impl Iterator<Item = &'static str> {
        let partitions = self.topics.values().flat_map(|entry| &entry.known).flat_map(|it| &it.partitions);
        let topics = self.topics.values().map(Entry::state);
        std::iter::once(self.refresh.state()).chain(topics).chain(partitions.map(Partition::state))
    }

    /// Does what time has made due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.refresh {
            Refresh::Idle { due } if *due <= now => {
                self.asking_since.get_or_insert(now);
                self.refresh = Refresh::Ready { tried: Vec::new() };
            }
            Refresh::InFlight { flight, .. } => {
                let flight = *flight;
                if self.poll_timeout().is_some_and(|due| due <= now) {
                    self.handle_failure(now, flight);
                }
            }
            Refresh::Idle { .. } | Refresh::Ready { .. } => {}
        }
        let given_up = |since| since + self.settings.rebootstrap_after <= now;
        if self.asking_since.is_some_and(given_up) {
            self.forget_brokers();
        }
    }

    /// The next question to ask, if one is due.
    pub fn poll_action(&mut self, now: Instant) -> Option<Query> {
        let Refresh::Ready { tried } = &mut self.refresh else { return None };
        let tried = std::mem::take(tried);
        if self.candidates().all(|candidate| tried.contains(&candidate)) {
            self.generation += 1;
            let pause = self.pauses.next_delay();
            // Who waits for an answer waits no longer than that, however long the user's own pauses are.
            self.paused_until = now + pause.min(Backoff::RETRY.max);
            self.refresh = Refresh::Idle { due: now + pause };
            return None;
        }
        self.flights += 1;
        let to = self.any_broker(&tried);
        self.refresh = Refresh::InFlight { flight: self.flights, to: to.clone(), since: now, tried };
        Some(Query { flight: self.flights, to, request: self.request(now) })
    }

    /// When [`Metadata::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.refresh {
            Refresh::Idle { due } => Some(*due),
            Refresh::Ready { .. } => None,
            Refresh::InFlight { to, since, tried, .. } => {
                let alone = self.candidates().all(|other| other == *to || tried.contains(&other));
                Some(*since + if alone { self.settings.request_timeout } else { OVERDUE_AFTER })
            }
        }
    }

    fn schedule(&mut self, at: Instant) {
        match &mut self.refresh {
            Refresh::Idle { due } => *due = at.max(self.paused_until).min(*due),
            Refresh::Ready { .. } => {}
            Refresh::InFlight { .. } => self.again = Some(self.again.map_or(at, |again| again.min(at))),
        }
    }

    fn candidates(&self) -> impl Iterator<Item = Destination> + '_ {
        let known = self.brokers.keys().map(|id| Destination::Broker(*id));
        known.chain(self.bootstrap.iter().cloned().map(Destination::Bootstrap))
    }

    fn forget_brokers(&mut self) {
        self.brokers.clear();
        self.controller_id = None;
    }

    /// Looking a topic up never creates it. Who uses a topic wants it at least once between two refreshes; a client
    /// that did nothing for long, its machine having slept, has wanted nothing, and keeps what it knew.
    fn request(&mut self, now: Instant) -> MetadataRequest {
        let age = self.settings.max_age;
        let (long_ago, last_success) = (2 * age, self.last_success);
        let is_wanted = |at: Instant| at + long_ago > now || at + age > last_success;
        self.topics.retain(|_, entry| is_wanted(entry.last_wanted));
        let topics = &self.topics;
        self.names.retain(|_, name| topics.contains_key(name));
        let wanted = self
            .topics
            .keys()
            .map(|name| MetadataRequestTopic { name: Some(Str::from(&**name)), ..Default::default() });
        MetadataRequest {
            topics: Some(wanted.collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        }
    }

    fn update_topics(&mut self, now: Instant, broker: Option<i32>, response: &MetadataResponse) {
        let is_alone = self.brokers.len() <= 1;
        for answer in &response.topics {
            let Some(name) = answer.name.as_deref() else { continue };
            let Some(entry) = self.topics.get_mut(name) else { continue };
            let is_other = entry.id != answer.topic_id && !entry.id.is_nil() && !answer.topic_id.is_nil();
            if let Some(code) = refusal(answer, entry.known.is_some() && !is_other) {
                entry.refused = Some(code);
                entry.misses = entry.misses.saturating_add(1);
                if entry.misses > MISSES_IGNORED || !code.is_retriable() {
                    entry.known = None;
                }
                continue;
            }
            if is_other && !entry.believes(now, answer.topic_id, broker, is_alone) {
                // It exists under some id, which is all that there is to say of it.
                entry.refused = entry.refused.filter(|_| entry.known.is_some());
                let soon = now + self.settings.backoff.initial;
                self.again = Some(self.again.map_or(soon, |again| again.min(soon)));
                continue;
            }
            let topic = Topic::updated(entry.known.as_deref(), name, answer);
            // A broker that is too old to say an id says nothing against the one before.
            let id = if topic.id.is_nil() { entry.id } else { topic.id };
            if entry.id != id {
                self.names.remove(&entry.id);
                self.names.insert(id, topic.name.clone());
            }
            let unchanged = entry.known.as_deref() == Some(&topic);
            let last_wanted = entry.last_wanted;
            let known = if unchanged { entry.known.take() } else { Some(Arc::new(topic)) };
            *entry = Entry { known, id, refused: None, misses: 0, rival: None, last_wanted };
        }
    }
}

impl Refresh {
    fn state(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "refresh: idle",
            Self::Ready { tried } if tried.is_empty() => "refresh: begins",
            Self::Ready { .. } => "refresh: goes on after a failure",
            Self::InFlight { to: Destination::Broker(_), .. } => "refresh: asks a broker",
            Self::InFlight { to: Destination::Bootstrap(_), .. } => "refresh: asks a bootstrap address",
        }
    }
}

impl Entry {
    /// Hears once more of another id than the known one; whether that is what the topic has by now.
    fn believes(&mut self, now: Instant, id: Uuid, broker: Option<i32>, is_alone: bool) -> bool {
        let Some(rival) = self.rival.as_ref().filter(|rival| rival.id == id) else {
            self.rival = Some(Rival { id, broker, since: now });
            return false;
        };
        let is_another = rival.broker.zip(broker).is_some_and(|(first, this)| first != this);
        is_alone || is_another || now.saturating_duration_since(rival.since) >= ALONE_FOR
    }

    fn state(&self) -> &'static str {
        let Self { known, id: _, refused, misses: _, rival, last_wanted: _ } = self;
        match (known, refused, rival) {
            (None, None, None) => "topic: nothing is known",
            (None, Some(_), _) => "topic: refused",
            (None, None, Some(_)) => "topic: forgotten, and another id was heard of",
            (Some(_), None, None) => "topic: known",
            (Some(_), Some(_), None) => "topic: known, and refused by the last answer",
            (Some(_), _, Some(_)) => "topic: known, and another id was heard of",
        }
    }
}

/// Why an answer says nothing of a topic, if that is so. No topic is without partitions: one that is said to have none, while
/// none of them are known of the topic with that id, has no leader that the broker knows of.
fn refusal(answer: &MetadataResponseTopic, is_known: bool) -> Option<ErrorCode> {
    match answer.error_code {
        ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE => {
            (!is_known && answer.partitions.is_empty()).then_some(ErrorCode::LEADER_NOT_AVAILABLE)
        }
        code => Some(code),
    }
}

/// A broker from the fields of a message; `None` when they make no sense.
pub fn broker(id: i32, host: &str, port: i32, rack: Option<&str>) -> Option<Broker> {
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    Some(Broker { id, address: HostPort::new(host, port), rack: rack.map(Into::into) })
}

/// A topic from an answer, taken as it is; `None` when the broker did not describe it.
pub fn describe_topic(answer: &MetadataResponseTopic) -> Option<Topic> {
    let described = answer.error_code.is_none() || answer.error_code == ErrorCode::LEADER_NOT_AVAILABLE;
    let name = answer.name.as_deref().filter(|_| described)?;
    Some(Topic::updated(None, name, answer))
}
