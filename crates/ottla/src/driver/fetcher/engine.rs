//! The engine of a fetcher: carries what the [`Fetcher`] machine asks for to connections and metadata, and what it tells
//! to the readers. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::connection::{Answer, Outgoing};
use ottla_core::error::{Failure, Outcome, RequestError};
use ottla_core::fetcher::{
    Action, FetchOut, Fetcher, FetcherMetrics, FetcherSettings, News, PartitionId, RequestToken, StreamId,
};
use ottla_core::metadata::{Destination, Leader, Topic, broker};
use ottla_wire::messages::fetch::{FetchRequest, FetchResponse};
use ottla_wire::messages::list_offsets::ListOffsetsRequest;
use ottla_wire::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use ottla_wire::{AnyRequest, ApiKey, ErrorCode, Request, Str};

use super::feed::{Feed, Item};
use super::log::{log_lost, log_news, log_refused, log_refused_whole};
use super::{Driver, Event, Seat};
use crate::driver::cluster::{Cluster, Owner, Purpose};
use crate::driver::connection::{Handle, ReplyTo};
use crate::driver::incoming::SHARED;
use crate::driver::{by_id_or_name, now};
use crate::record::Timestamp;

/// What is kept of an answer besides the buffer that it lies in: a little more than was measured.
const FOR_AN_ANSWER: usize = 512;

/// And of each partition in it, on its way to the reader.
const FOR_A_PART: usize = 512;

/// Everything the driver works with.
#[derive(Debug)]
pub(crate) struct Engine {
    cluster: Arc<Cluster>,
    owner: Owner,
    fetcher: Fetcher,
    streams: BTreeMap<StreamId, Seat>,
    partitions: BTreeMap<PartitionId, (StreamId, Arc<str>, i32)>,
    /// What each request that is out asks, and its connection.
    sent: BTreeMap<RequestToken, (ApiKey, Handle)>,
    effects: Effects,
    /// Events of the step that is going on; empty between steps.
    events: Vec<Event>,
    is_closing: bool,
}

/// What is left to be done without the engine's lock: it wakes others.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// For the readers.
    pub(super) news: Vec<(Arc<Feed>, Item)>,
    /// Something was pushed into these connections.
    pub(super) kicks: Vec<Handle>,
    /// Room was given back.
    pub(super) has_freed: bool,
    /// Of streams that have left.
    pub(super) seats: Vec<Seat>,
}

impl Engine {
    pub(super) fn new(cluster: Arc<Cluster>, settings: FetcherSettings) -> Self {
        Self {
            owner: cluster.new_owner(),
            fetcher: Fetcher::new(now(), settings, cluster.random()),
            cluster,
            streams: BTreeMap::new(),
            partitions: BTreeMap::new(),
            sent: BTreeMap::new(),
            effects: Effects::default(),
            events: Vec::new(),
            is_closing: false,
        }
    }

    /// Takes what is in the inbox and what time has made due, and does what the machine asks for.
    pub(super) fn step(&mut self, driver: &Arc<Driver>, effects: &mut Effects) {
        let mut events = std::mem::take(&mut self.events);
        driver.turns.take_events(&mut events);
        for event in events.drain(..) {
            self.handle(event);
        }
        self.events = events;
        if self.fetcher.poll_timeout().is_some_and(|due| due <= now()) {
            self.fetcher.handle_timeout(now());
        }
        while let Some(action) = self.fetcher.poll_action() {
            self.act(driver, action);
        }
        self.effects.has_freed = self.fetcher.take_freed();
        std::mem::swap(&mut self.effects, effects);
    }

    pub(super) fn metrics(&self) -> FetcherMetrics {
        self.fetcher.metrics()
    }

    pub(super) fn held_by(&self, stream: StreamId) -> u64 {
        self.fetcher.held_by(stream) as u64
    }

    pub(super) fn is_starved(&self) -> bool {
        self.fetcher.is_starved()
    }

    /// Whether nobody reads any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_closing
    }

    /// When the next step is due at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.fetcher.poll_timeout()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Open { stream, settings, seat } => {
                self.fetcher.open(now(), stream, settings);
                self.streams.insert(stream, seat);
            }
            Event::Leave(stream) => {
                self.fetcher.close(now(), stream);
                self.partitions.retain(|_, (of, ..)| *of != stream);
                self.effects.seats.extend(self.streams.remove(&stream));
            }
            Event::Add { stream, id, topic, partition, start } => {
                let known = self.cluster.known_topic(&topic.name);
                let leader = known.as_ref().unwrap_or(&topic).leader(partition);
                let name = Str::from(&*topic.name);
                self.partitions.insert(id, (stream, topic.name.clone(), partition));
                self.fetcher.add(now(), (stream, id), (&name, topic.id), partition, leader, start);
                if let Some(known) = known {
                    self.fetcher.handle_topic_id(now(), &name, known.id);
                }
            }
            Event::Remove(id) => {
                self.partitions.remove(&id);
                self.fetcher.remove(now(), id);
            }
            Event::Seek { id, to, generation } => self.fetcher.seek(now(), id, to, generation),
            Event::GoBack { id, to, generation } => self.fetcher.go_back(now(), id, to, generation),
            Event::Pause { id, is_paused: true } => self.fetcher.pause(now(), id),
            Event::Pause { id, is_paused: false } => self.fetcher.resume(now(), id),
            Event::Release(id, hold) => self.fetcher.release(now(), id, hold),
            Event::Reply(token, outcome) => self.handle_reply(token, outcome),
            Event::Metadata => self.update_leaders(),
            // Every step looks at the clock.
            Event::Time => {}
            Event::Room => self.fetcher.handle_room(now()),
            Event::Close => self.is_closing = true,
        }
    }

    fn act(&mut self, driver: &Arc<Driver>, action: Action) {
        let control = Duration::ZERO;
        match action {
            Action::Fetch(FetchOut { token, broker_id, request, max_wait, has_ids }) => {
                let request = by_id_or_name(request, has_ids);
                self.send(driver, token, broker_id, Purpose::Fetch, request, max_wait);
            }
            Action::ListOffsets { token, broker_id, look_up } => {
                let request = Box::new(look_up.request(Timestamp::now().0));
                self.send(driver, token, broker_id, Purpose::Control, request, control);
            }
            Action::EpochEnds { token, broker_id, request } => {
                self.send(driver, token, broker_id, Purpose::Control, Box::new(request), control);
            }
            Action::RefreshMetadata { avoid } => self.refresh(avoid),
            Action::Tell { stream, partition, generation, news } => {
                self.tell(stream, (partition, generation, news));
            }
        }
    }

    fn tell(&mut self, stream: StreamId, item: Item) {
        let (id, _, news) = &item;
        if !matches!(news, News::Records(_))
            && let Some((_, topic, partition)) = self.partitions.get(id)
        {
            log_news(topic, *partition, news);
        }
        if let Some(Seat(feed)) = self.streams.get(&stream) {
            self.effects.news.push((feed.clone(), item));
        }
    }

    fn send(
        &mut self,
        driver: &Arc<Driver>,
        token: RequestToken,
        broker_id: i32,
        purpose: Purpose,
        request: Box<dyn AnyRequest>,
        own_wait: Duration,
    ) {
        let (api, to) = (request.key(), Destination::Broker(broker_id));
        let owner = if purpose == Purpose::Fetch { Some(self.owner) } else { None };
        let Some(handle) = self.cluster.connection_of(&to, purpose, owner) else {
            let error = self.cluster.unknown_broker(&to, api);
            return self.lost(token, &error);
        };
        let deadline = now() + own_wait + self.cluster.settings().request_timeout;
        let outgoing = Outgoing { request, deadline, own_wait, expects_answer: true };
        handle.push(outgoing, ReplyTo::Sink { sink: driver.clone(), token: token.0 }, None);
        self.effects.kicks.push(handle.clone());
        self.sent.insert(token, (api, handle));
    }

    fn handle_reply(&mut self, token: RequestToken, outcome: Result<Option<Answer>, RequestError>) {
        let Some((api, handle)) = self.sent.remove(&token) else { return };
        let answer = match outcome {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(error) => return self.lost(token, &error),
        };
        match api {
            ApiKey::FETCH => {
                let answer = alone(answer);
                if let Some(response) = self.decoded::<FetchRequest>(token, &answer) {
                    handle.throttle(response.throttle_time_ms);
                    self.fetched(token, &answer, response);
                }
            }
            ApiKey::LIST_OFFSETS => {
                if let Some(response) = self.decoded::<ListOffsetsRequest>(token, &answer) {
                    handle.throttle(response.throttle_time_ms);
                    let rows = response.topics.iter().flat_map(|topic| {
                        topic
                            .partitions
                            .iter()
                            .map(move |row| (&topic.name, row.partition_index, row.error_code))
                    });
                    self.log_refusals(&answer, api, rows);
                    self.fetcher.handle_offsets(now(), token, &response);
                }
            }
            _ => {
                if let Some(response) = self.decoded::<OffsetForLeaderEpochRequest>(token, &answer) {
                    handle.throttle(response.throttle_time_ms);
                    let rows = response.topics.iter().flat_map(|topic| {
                        topic.partitions.iter().map(move |row| (&topic.topic, row.partition, row.error_code))
                    });
                    self.log_refusals(&answer, api, rows);
                    self.fetcher.handle_epochs(now(), token, &response);
                }
            }
        }
    }

    /// What the answer says; the machine is told if nobody can read it.
    fn decoded<R: Request>(&mut self, token: RequestToken, answer: &Answer) -> Option<R::Response> {
        let result = answer.decode::<R>();
        result
            .map_err(|error| {
                let (peer, reason) = (answer.peer.clone(), Failure::Decode(error));
                let error = RequestError { peer, api: R::KEY, outcome: Outcome::Unknown, reason };
                self.lost(token, &error);
            })
            .ok()
    }

    fn lost(&mut self, token: RequestToken, error: &RequestError) {
        // There may be many partitions, and nobody who wants to hear of them.
        if tracing::enabled!(tracing::Level::DEBUG) {
            log_lost(error, self.fetcher.carried(token));
        }
        self.fetcher.handle_lost(now(), token, error);
    }

    fn fetched(&mut self, token: RequestToken, answer: &Answer, response: FetchResponse) {
        if response.error_code.is_err() {
            log_refused_whole(answer, response.error_code);
        }
        self.take_refusals(answer, &response);
        let Answer { version, payload, memory, .. } = answer;
        let parts: usize = response.responses.iter().map(|topic| topic.partitions.len()).sum();
        let memory = memory + FOR_AN_ANSWER + parts * FOR_A_PART;
        let mismatch = self.fetcher.handle_fetched(now(), token, *version, payload.len(), memory, response);
        if !mismatch.is_empty() {
            tracing::warn!(name: "ottla.answer.mismatch", broker = %answer.peer, ?mismatch, "fetch answer does not match its request");
        }
    }

    /// Logs which look-ups were refused.
    fn log_refusals<'a>(
        &self,
        answer: &Answer,
        api: ApiKey,
        rows: impl Iterator<Item = (&'a Str, i32, ErrorCode)>,
    ) {
        for (topic, partition, code) in rows.filter(|(.., code)| code.is_err()) {
            log_refused((answer, api), &self.fetcher, topic, partition, code);
        }
    }

    /// Logs what went wrong, and hands on whom the broker names as the new leaders (KIP-951).
    fn take_refusals(&self, answer: &Answer, response: &FetchResponse) {
        for topic in &response.responses {
            for refused in topic.partitions.iter().filter(|it| it.error_code.is_err()) {
                let Some(name) = self.cluster.topic_name(&topic.topic, topic.topic_id) else { continue };
                let partition = refused.partition_index;
                let from = (answer, ApiKey::FETCH);
                log_refused(from, &self.fetcher, &name, partition, refused.error_code);
                let leader = &refused.current_leader;
                if leader.leader_id >= 0 {
                    let endpoints = response.node_endpoints.iter();
                    let brokers =
                        endpoints.filter_map(|it| broker(it.node_id, &it.host, it.port, it.rack.as_deref()));
                    let leader = Leader { broker_id: leader.leader_id, epoch: leader.leader_epoch };
                    self.cluster.hint(&name, partition, leader, brokers);
                }
            }
        }
    }

    fn refresh(&self, avoid: Option<i32>) {
        tracing::debug!(name: "ottla.metadata.wanted", ?avoid, "fetcher asks for metadata");
        self.cluster.refresh_topics(self.partitions.values().map(|(_, topic, _)| topic), avoid);
    }

    /// The metadata has changed. What it does not know (any more) keeps its leader: that broker will say.
    fn update_leaders(&mut self) {
        let names: BTreeSet<Arc<str>> = self.partitions.values().map(|(_, topic, _)| topic.clone()).collect();
        let known: BTreeMap<Arc<str>, Arc<Topic>> = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), self.cluster.known_topic(&name)?)))
            .collect();
        for (name, topic) in &known {
            self.fetcher.handle_topic_id(now(), &Str::from(&**name), topic.id);
        }
        for (id, (_, name, partition)) in &self.partitions {
            if let Some(topic) = known.get(name) {
                self.fetcher.handle_leader(now(), *id, topic.leader(*partition));
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.cluster.release(self.owner);
    }
}

/// Its records may be held for long, and a short answer shares the memory that the socket is read into with others: it gets its own.
fn alone(answer: Answer) -> Answer {
    match answer.payload.len() {
        len @ ..SHARED => Answer { payload: Bytes::copy_from_slice(&answer.payload), memory: len, ..answer },
        _ => answer,
    }
}
