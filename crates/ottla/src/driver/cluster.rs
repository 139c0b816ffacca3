//! What all parts of one client share: the metadata machine and its task, the connections by (broker, purpose,
//! owner), and the loop that drives a [`Call`].
//!
//! Both locks are held for single steps, never across an await.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ottla_core::HostPort;
use ottla_core::backoff::{Backoff, Pauses, Random};
use ottla_core::calls::{Call, Step, Target};
use ottla_core::connection::{Answer, ConnectionSettings, Outgoing};
use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use ottla_core::metadata::{Broker, Destination, Leader, Lookup, Metadata, MetadataSettings, Topic};
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::{AnyRequest, ApiKey, ErrorCode, Message, Request};
use tokio::sync::{Notify, oneshot};

use super::changes::{Changes, Watch};
use super::connection::{Dial, Handle};
use super::lanes::{Lane, Lanes};
use super::{Either, lock, now, race};
use crate::error::{Error, Result};
use crate::transport::Transport;

/// What a connection is for. What may wait long never shares one with what must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Answered at once: metadata, offsets, producer ids.
    Control,
    /// May take seconds: topics, DeleteRecords. From a bounded pool.
    Admin,
    /// Waits for records. From a bounded pool.
    Fetch,
    /// A producer's.
    Produce,
}

/// Who a connection belongs to, beside the broker and the purpose.
pub(crate) type Owner = u64;

/// The owner of what the client itself sends.
const CLIENT: Owner = 0;

/// How a client behaves, fixed when it is built.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) connection: Arc<ConnectionSettings>,
    pub(crate) metadata: MetadataSettings,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry: Backoff,
    pub(crate) reconnect: Backoff,
    pub(crate) fetch_connections: usize,
    pub(crate) admin_connections: usize,
}

/// The shared heart of a client.
pub(crate) struct Cluster {
    settings: Settings,
    runtime: tokio::runtime::Handle,
    transport: Arc<dyn Transport>,
    metadata: Mutex<Metadata>,
    changes: Changes,
    refresh: Arc<Notify>,
    connections: Mutex<BTreeMap<Key, Slot>>,
    lanes: Mutex<BTreeMap<(Destination, Purpose), Arc<Lanes>>>,
    owners: AtomicU64,
    random: Mutex<Random>,
    /// Why the last refresh got no answer, for those who wait for one; and whether nothing that went wrong since the
    /// last answer can pass.
    last_failure: Mutex<Option<(RequestError, bool)>>,
    /// The task that keeps the metadata fresh has ended: its runtime is gone, and with it all that runs on it.
    is_gone: AtomicBool,
    me: Weak<Self>,
}

/// What a simple request needs beside its contents.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) purpose: Purpose,
    /// For the whole call, retries included.
    pub(crate) timeout: Duration,
    /// How long the broker may rightly take over it.
    pub(crate) own_wait: Duration,
}

/// What an answer means to a call.
pub(crate) enum Verdict<T> {
    /// It is done.
    Done(T),
    /// The broker answered with this error; whether it is tried again follows from the code.
    Code(ErrorCode, Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    to: Destination,
    purpose: Purpose,
    owner: Owner,
}

#[derive(Debug)]
struct Slot {
    handle: Handle,
    pauses: Pauses,
}

impl Cluster {
    /// Starts the metadata task on the current runtime.
    pub(crate) fn start(
        settings: Settings,
        bootstrap: Vec<HostPort>,
        transport: Arc<dyn Transport>,
        seed: u64,
    ) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        let refresh = Arc::new(Notify::new());
        let cluster = Arc::new_cyclic(|me| Self {
            metadata: Mutex::new(Metadata::new(now(), settings.metadata.clone(), bootstrap, seed)),
            settings,
            runtime: runtime.clone(),
            transport,
            changes: Changes::default(),
            refresh: refresh.clone(),
            connections: Mutex::default(),
            lanes: Mutex::default(),
            owners: AtomicU64::new(CLIENT + 1),
            random: Mutex::new(Random::new(seed)),
            last_failure: Mutex::default(),
            is_gone: AtomicBool::new(false),
            me: me.clone(),
        });
        runtime.spawn(keep_fresh(Guard { cluster: Arc::downgrade(&cluster) }, refresh));
        cluster
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where tasks of this client run.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// A number for a new owner of connections.
    pub(crate) fn new_owner(&self) -> Owner {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets go of a producer's connections: they read out what they are owed, then close.
    pub(crate) fn release(&self, owner: Owner) {
        lock(&self.connections).retain(|key, _| key.purpose != Purpose::Produce || key.owner != owner);
    }

    /// A number for jitter.
    pub(crate) fn random(&self) -> u64 {
        lock(&self.random).next_u64()
    }

    /// One step with the metadata; wakes whoever must know what it changed.
    pub(crate) fn with_metadata<R>(&self, step: impl FnOnce(&mut Metadata) -> R) -> R {
        let mut metadata = lock(&self.metadata);
        let before = (metadata.generation(), metadata.poll_timeout());
        let result = step(&mut metadata);
        let after = (metadata.generation(), metadata.poll_timeout());
        drop(metadata);
        if after.0 != before.0 {
            self.changes.tell();
        }
        if after.1 != before.1 {
            self.refresh.notify_one();
        }
        result
    }

    /// Wakes with every change of the metadata.
    pub(crate) fn watch_metadata(&self) -> Watch {
        self.changes.watch()
    }

    /// A broker told in passing who leads a partition (KIP-951).
    pub(crate) fn hint(&self, topic: &str, partition: i32, leader: Leader, brokers: Vec<Broker>) {
        let news =
            self.with_metadata(|metadata| metadata.handle_leader_hint(topic, partition, leader, brokers));
        if news {
            tracing::debug!(
                topic,
                partition,
                leader = leader.broker_id,
                epoch = leader.epoch,
                "leader hint taken"
            );
        }
    }

    /// A topic that has this partition, once it is known. An unknown one is asked for until the time is over, or
    /// refused at the first answer when `patient` is false; what was answered before this call is no answer to it.
    pub(crate) async fn partition(
        &self,
        name: &str,
        index: i32,
        timeout: Duration,
        patient: bool,
    ) -> Result<Arc<Topic>> {
        let deadline = now() + timeout;
        let mut changes = self.watch_metadata();
        let mut pauses = Pauses::new(self.settings.retry, self.random());
        let mut heard = false;
        loop {
            changes.mark_unchanged();
            self.check_alive()?;
            let lookup = self.with_metadata(|metadata| {
                metadata.want_topic(now(), name);
                metadata.topic(name)
            });
            let problem = match lookup {
                Lookup::Known(topic) if topic.partition(index).is_some() => return Ok(topic),
                Lookup::Known(topic) => Some(Error::Partition {
                    topic: topic.name.clone(),
                    partition: index,
                    partitions: topic.partitions.len(),
                }),
                Lookup::Refused(code) => Some(Error::Topic { topic: name.into(), code }),
                Lookup::Pending => None,
            };
            let permanent = matches!(&problem, Some(Error::Topic { code, .. }) if !code.is_retriable());
            if let Some(problem) = &problem
                && heard
                && (permanent || !patient)
            {
                return Err(problem.clone());
            }
            if now() >= deadline {
                return Err(problem.unwrap_or_else(|| self.no_metadata(timeout)));
            }
            if heard {
                tokio::time::sleep_until((now() + pauses.next_delay()).min(deadline).into()).await;
                changes.mark_unchanged();
                self.check_alive()?;
            }
            // A topic that nobody has asked for yet is asked for already.
            if heard || problem.is_some() {
                self.with_metadata(|metadata| metadata.request_refresh(now(), None));
            }
            race(changes.changed(), tokio::time::sleep_until(deadline.into())).await;
            heard = true;
        }
    }

    /// The first answer of any broker; an error that names the last cause when there is none in time.
    pub(crate) async fn ready(&self, timeout: Duration) -> Result<()> {
        let mut changes = self.watch_metadata();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            self.check_alive()?;
            if self.with_metadata(|metadata| metadata.brokers().next().is_some()) {
                return Ok(());
            }
            // The metadata changes with an answer, or when everybody was asked in vain.
            if let Either::Second(()) = race(changes.changed(), tokio::time::sleep_until(deadline)).await {
                return Err(self.no_metadata(timeout));
            }
            if let Some((failure, true)) = lock(&self.last_failure).clone() {
                return Err(Error::Unreachable { after: None, last: Some(failure) });
            }
        }
    }

    /// A connection for this purpose, new or in use. It need not be open yet: requests wait in it.
    pub(crate) fn connection(&self, to: &Destination, purpose: Purpose, owner: Owner) -> Option<Handle> {
        let address = match to {
            Destination::Bootstrap(address) => address.clone(),
            Destination::Broker(id) => lock(&self.metadata).broker(*id)?.address.clone(),
        };
        let key = Key { to: to.clone(), purpose, owner };
        loop {
            let mut connections = lock(&self.connections);
            let mut pauses = Pauses::new(self.settings.reconnect, self.random());
            let mut not_before = now();
            if let Some(slot) = connections.get(&key) {
                let (has_moved, is_closed) = (slot.handle.peer().address != address, slot.handle.is_closed());
                if !is_closed {
                    let handle = slot.handle.clone();
                    drop(connections);
                    if !has_moved {
                        return Some(handle);
                    }
                    // It keeps its place until it has ended: there are never two.
                    handle.cut(CloseReason::Moved);
                    continue;
                }
                if slot.handle.never_ready() && !has_moved {
                    pauses = slot.pauses.clone();
                    not_before += pauses.next_delay();
                }
            }
            let handle = self.dial(to, address, not_before);
            connections.insert(key, Slot { handle: handle.clone(), pauses });
            return Some(handle);
        }
    }

    /// What is said of a request to a broker that the metadata does not list.
    pub(crate) fn unknown_broker(&self, to: &Destination, api: ApiKey) -> RequestError {
        self.not_sent(to, api, Failure::Connect("the broker is not among those known".into()))
    }

    /// Sends one request and waits for its outcome. Cancel safe: dropped, only the waiter is gone.
    pub(crate) async fn request(
        &self,
        to: &Destination,
        purpose: Purpose,
        outgoing: Outgoing,
    ) -> std::result::Result<(Answer, Handle), RequestError> {
        let api = outgoing.request.key();
        let lane = match self.lane(to, purpose) {
            None => None,
            Some(lanes) => match race(lanes.take(), tokio::time::sleep_until(outgoing.deadline.into())).await
            {
                Either::First(lane) => lane,
                Either::Second(()) => {
                    return Err(self.not_sent(
                        to,
                        api,
                        Failure::Connect("all connections for this purpose are busy".into()),
                    ));
                }
            },
        };
        let owner = lane.as_ref().map_or(CLIENT, Lane::number);
        let Some(handle) = self.connection(to, purpose, owner) else {
            return Err(self.unknown_broker(to, api));
        };
        match handle.request(outgoing, lane).await {
            Ok(outcome) => outcome.map(|answer| (answer, handle)),
            Err(oneshot::error::RecvError { .. }) => {
                Err(self.not_sent(to, api, Failure::Closed(CloseReason::Released)))
            }
        }
    }

    /// Sends a request until it is done: the retry loop of everything that may simply be sent again. `build` makes
    /// the request for the leader it goes to, `judge` says what an answer means.
    pub(crate) async fn call<R: Request, T>(
        &self,
        plan: Plan,
        mut build: impl FnMut(Option<Leader>) -> Box<dyn AnyRequest>,
        mut judge: impl FnMut(&Answer, R::Response) -> Verdict<T>,
    ) -> Result<T> {
        let pauses = Pauses::new(self.settings.retry, self.random());
        let mut call = Call::new(now(), R::KEY, plan.target, plan.timeout, plan.own_wait, pauses);
        let mut changes = self.watch_metadata();
        loop {
            changes.mark_unchanged();
            self.check_alive()?;
            let (to, leader) = match self.with_metadata(|metadata| call.poll_step(now(), metadata)) {
                Step::Send { to, leader } => (to, leader),
                Step::Wait(until) => {
                    race(changes.changed(), tokio::time::sleep_until(until.into())).await;
                    continue;
                }
                Step::GiveUp(error) => return Err(Error::Call(Arc::new(error))),
            };
            let outgoing = Outgoing {
                request: build(leader),
                deadline: call.deadline(),
                own_wait: plan.own_wait,
                expects_answer: true,
            };
            let pending = self.request(&to, plan.purpose, outgoing);
            let outcome = match race(pending, self.moved(&mut call, &mut changes)).await {
                Either::First(outcome) => outcome,
                Either::Second(()) => {
                    let (topic, partition) = place(call.target());
                    tracing::info!(
                        broker = %self.peer(&to), api = %R::KEY, topic, partition, attempt = call.attempt(),
                        next = "another broker is asked", "no answer yet"
                    );
                    continue;
                }
            };
            let error = match outcome {
                Err(error) => error,
                Ok((answer, handle)) => match answer.decode::<R>() {
                    Err(error) => RequestError {
                        peer: answer.peer.clone(),
                        api: R::KEY,
                        outcome: Outcome::Unknown,
                        reason: Failure::Decode(error),
                    },
                    Ok(response) => {
                        handle.throttle(response.throttle_time_ms());
                        let verdict = judge(&answer, response);
                        match verdict {
                            Verdict::Done(value) => return Ok(value),
                            Verdict::Code(code, message) => {
                                self.refused(&mut call, &answer, code, message.as_deref());
                                continue;
                            }
                        }
                    }
                },
            };
            self.unanswered(&mut call, error);
        }
    }

    fn unanswered(&self, call: &mut Call, error: RequestError) {
        let (peer, reason, attempt) = (error.peer.clone(), error.reason.clone(), call.attempt());
        self.with_metadata(|metadata| call.handle_error(now(), error, metadata));
        let (topic, partition) = place(call.target());
        tracing::debug!(
            broker = %peer, api = %call.api(), topic, partition, attempt, error = %reason, next = %call.next(now()),
            "no answer"
        );
    }

    fn refused(&self, call: &mut Call, answer: &Answer, code: ErrorCode, message: Option<&str>) {
        let attempt = call.attempt();
        self.with_metadata(|metadata| call.handle_code(now(), answer.peer.clone(), code, message, metadata));
        let (topic, partition) = place(call.target());
        tracing::debug!(
            broker = %answer.peer, api = %call.api(), topic, partition, attempt, %code, message,
            next = %call.next(now()), "answered with an error"
        );
    }

    /// Ends when the answer that is out is no longer worth waiting for.
    async fn moved(&self, call: &mut Call, changes: &mut Watch) {
        loop {
            if call.has_moved(now(), &lock(&self.metadata)) {
                return;
            }
            let due = call.poll_timeout().filter(|due| *due > now());
            match due {
                Some(due) => {
                    race(changes.changed(), tokio::time::sleep_until(due.into())).await;
                }
                None => {
                    // The sender lives as long as `self`.
                    changes.changed().await;
                }
            }
        }
    }

    fn lane(&self, to: &Destination, purpose: Purpose) -> Option<Arc<Lanes>> {
        let count = match purpose {
            Purpose::Fetch => self.settings.fetch_connections,
            Purpose::Admin => self.settings.admin_connections,
            Purpose::Control | Purpose::Produce => return None,
        };
        let mut lanes = lock(&self.lanes);
        Some(lanes.entry((to.clone(), purpose)).or_insert_with(|| Lanes::new(count)).clone())
    }

    fn dial(&self, to: &Destination, address: HostPort, not_before: Instant) -> Handle {
        let broker_id = match to {
            Destination::Broker(id) => Some(*id),
            Destination::Bootstrap(_) => None,
        };
        let me = self.me.clone();
        Handle::open(
            &self.runtime,
            Dial {
                peer: Peer { broker_id, address },
                settings: self.settings.connection.clone(),
                transport: self.transport.clone(),
                connect_timeout: self.settings.connect_timeout,
                not_before,
                on_overdue: Box::new(move |peer| {
                    tracing::warn!(
                        broker = %peer, next = "another broker is asked for metadata",
                        "no answer for two seconds longer than expected"
                    );
                    if let Some(cluster) = me.upgrade() {
                        cluster.with_metadata(|metadata| metadata.request_refresh(now(), peer.broker_id));
                    }
                }),
            },
        )
    }

    fn peer(&self, to: &Destination) -> Peer {
        let (broker_id, address) = match to {
            Destination::Bootstrap(address) => (None, Some(address.clone())),
            Destination::Broker(id) => {
                (Some(*id), lock(&self.metadata).broker(*id).map(|b| b.address.clone()))
            }
        };
        let address = address.unwrap_or_else(|| HostPort::new("unknown", 0));
        Peer { broker_id, address }
    }

    pub(crate) fn not_sent(&self, to: &Destination, api: ApiKey, reason: Failure) -> RequestError {
        RequestError { peer: Arc::new(self.peer(to)), api, outcome: Outcome::NotSent, reason }
    }

    fn check_alive(&self) -> Result<()> {
        if self.is_gone.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn no_metadata(&self, after: Duration) -> Error {
        let failure = lock(&self.last_failure).clone().map(|(failure, _)| failure);
        Error::Unreachable { after: Some(after), last: failure.or_else(|| self.still_asked(after)) }
    }

    /// Who has been asked for metadata and has let all that time pass.
    fn still_asked(&self, after: Duration) -> Option<RequestError> {
        let connections = lock(&self.connections);
        let mut asked = connections.iter().filter(|(key, slot)| {
            key.purpose == Purpose::Control && key.owner == CLIENT && !slot.handle.is_closed()
        });
        let peer = asked.next()?.1.handle.peer();
        let reason = Failure::TimedOut(after);
        Some(RequestError { peer, api: ApiKey::METADATA, outcome: Outcome::NotSent, reason })
    }
}

/// The topic and partition of events about a call, where it has any.
fn place(target: &Target) -> (Option<&str>, Option<i32>) {
    match target {
        Target::Leader { topic, partition, .. } => (Some(topic), Some(*partition)),
        Target::AnyBroker | Target::Controller | Target::Broker(_) => (None, None),
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.refresh.notify_one();
    }
}

/// Tells everybody who waits for news that there will be none, however the task that brings them ends.
struct Guard {
    cluster: Weak<Cluster>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.is_gone.store(true, Ordering::Release);
            cluster.changes.tell();
        }
    }
}

/// Keeps the metadata fresh for as long as somebody holds the cluster.
async fn keep_fresh(guard: Guard, wake: Arc<Notify>) {
    let cluster = &guard.cluster;
    let mut flight: Option<(u64, Flight)> = None;
    loop {
        let due = {
            let Some(cluster) = cluster.upgrade() else { return };
            let (query, due) = cluster.with_metadata(|metadata| {
                metadata.handle_timeout(now());
                (metadata.poll_action(now()), metadata.poll_timeout())
            });
            if let Some(query) = query {
                flight = Some((query.flight, ask(&cluster, &query.to, query.request)));
            }
            due.unwrap_or_else(now)
        };
        let timer = tokio::time::sleep_until(due.into());
        let Some((number, answer)) = &mut flight else {
            race(wake.notified(), timer).await;
            continue;
        };
        if let Either::First(outcome) = race(answer, race(wake.notified(), timer)).await {
            let number = *number;
            flight = None;
            let Some(cluster) = cluster.upgrade() else { return };
            cluster.refreshed(number, outcome);
        }
    }
}

type Flight = std::pin::Pin<Box<dyn Future<Output = std::result::Result<Answer, RequestError>> + Send>>;

/// Does not keep the cluster alive while it waits.
fn ask(cluster: &Arc<Cluster>, to: &Destination, request: MetadataRequest) -> Flight {
    let outgoing = Outgoing {
        request: Box::new(request),
        deadline: now() + cluster.settings.metadata.request_timeout,
        own_wait: Duration::ZERO,
        expects_answer: true,
    };
    let api = ApiKey::METADATA;
    let gone = cluster.unknown_broker(to, api);
    let Some(handle) = cluster.connection(to, Purpose::Control, CLIENT) else {
        return Box::pin(async move { Err(gone) });
    };
    Box::pin(async move {
        let outcome = handle.request(outgoing, None).await;
        outcome.unwrap_or(Err(gone))
    })
}

impl Cluster {
    fn refreshed(&self, flight: u64, outcome: std::result::Result<Answer, RequestError>) {
        let outcome = outcome.and_then(|answer| {
            answer.decode::<MetadataRequest>().map_err(|error| RequestError {
                peer: answer.peer,
                api: ApiKey::METADATA,
                outcome: Outcome::Unknown,
                reason: Failure::Decode(error),
            })
        });
        match outcome {
            Ok(response) => {
                self.with_metadata(|metadata| metadata.handle_response(now(), flight, &response));
                lock(&self.last_failure).take();
                self.forget_connections();
            }
            Err(error) => {
                tracing::warn!(
                    broker = %error.peer, api = %error.api, error = %error.reason, next = "the next broker is asked",
                    "no metadata"
                );
                let mut last = lock(&self.last_failure);
                let permanent =
                    !error.reason.is_retriable() && last.as_ref().is_none_or(|(_, permanent)| *permanent);
                *last = Some((error, permanent));
                drop(last);
                self.with_metadata(|metadata| metadata.handle_failure(now(), flight));
            }
        }
    }

    /// Connections that have ended, and lanes to brokers that are gone, need no place in the maps. What is out to a
    /// broker that has moved is not waited for: nobody may be there any more. Only administrative requests are, since
    /// they should not be carried out twice.
    fn forget_connections(&self) {
        let known: HashMap<i32, HostPort> =
            lock(&self.metadata).brokers().map(|broker| (broker.id, broker.address.clone())).collect();
        let address = |to: &Destination| match to {
            Destination::Broker(id) => known.get(id),
            // Its work is done: the brokers are known.
            Destination::Bootstrap(_) => None,
        };
        let mut moved = Vec::new();
        lock(&self.connections).retain(|key, slot| {
            let is_closed = slot.handle.is_closed();
            match address(&key.to) {
                // The answer may have lagged behind. A producer may have requests out, and no second connection.
                None => key.purpose == Purpose::Produce && !is_closed,
                Some(address) if slot.handle.peer().address == *address => {
                    !is_closed || slot.handle.never_ready()
                }
                Some(_) => {
                    if key.purpose != Purpose::Admin {
                        moved.push(slot.handle.clone());
                    }
                    !is_closed
                }
            }
        });
        // This wakes who waits for them, and must not happen under the lock.
        moved.iter().for_each(|handle| handle.cut(CloseReason::Moved));
        lock(&self.lanes).retain(|(to, _), lanes| address(to).is_some() || Arc::strong_count(lanes) > 1);
    }
}
