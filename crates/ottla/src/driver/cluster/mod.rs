//! What all parts of one client share: the metadata and the connections by (broker, purpose, owner).
//!
//! ```text
//! calls.rs         the loop that drives a request that may be sent again
//! coordinators.rs  who coordinates a group or a transactional id
//! lookup.rs        waiting for what the metadata will say
//! refresh.rs       the task that keeps it fresh
//! ```
//!
//! Locks are held for single steps, never across an await.

mod calls;
mod coordinators;
mod lookup;
mod refresh;

pub(crate) use calls::{Plan, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ottla_core::HostPort;
use ottla_core::backoff::{Backoff, Pauses, Random};
use ottla_core::connection::{Answer, ConnectionSettings, Outgoing};
use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use ottla_core::metadata::{Broker, Destination, Leader, Lookup, Metadata, MetadataSettings, Topic};
use ottla_wire::{ApiKey, Str, Uuid};
use tokio::sync::Notify;

use self::coordinators::Coordinators;
use super::changes::{Changes, Watch};
use super::connection::{Dial, Handle};
use super::fetcher::Fetchers;
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
    /// Waits for records. A fetcher's, or from a bounded pool.
    Fetch,
    /// A producer's.
    Produce,
}

/// Who a connection belongs to, beside the broker and the purpose.
pub(crate) type Owner = u64;

/// The owner of what the client itself sends.
const CLIENT: Owner = 0;

/// The first owner that is neither the client nor a lane, whose numbers are owners too.
const FIRST_OWNER: Owner = 1 << 32;

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
    /// Of all streams together.
    pub(crate) prefetch_bytes: Option<usize>,
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
    coordinators: Mutex<Coordinators>,
    fetchers: Fetchers,
    owners: AtomicU64,
    random: Mutex<Random>,
    /// Why the last refresh got no answer, for those who wait for one; and whether nothing that went wrong since the
    /// last answer can pass.
    last_failure: Mutex<Option<(RequestError, bool)>>,
    /// The task that keeps the metadata fresh has ended: its runtime is gone, and with it all that runs on it.
    is_gone: AtomicBool,
    me: Weak<Self>,
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
    /// When it is or was dialled.
    dialled_at: Instant,
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
        let fetchers = Fetchers::new(settings.prefetch_bytes);
        let cluster = Arc::new_cyclic(|me| Self {
            metadata: Mutex::new(Metadata::new(now(), settings.metadata.clone(), bootstrap, seed)),
            settings,
            runtime: runtime.clone(),
            transport,
            changes: Changes::default(),
            refresh: refresh.clone(),
            connections: Mutex::default(),
            lanes: Mutex::default(),
            coordinators: Mutex::default(),
            fetchers,
            owners: AtomicU64::new(FIRST_OWNER),
            random: Mutex::new(Random::new(seed)),
            last_failure: Mutex::default(),
            is_gone: AtomicBool::new(false),
            me: me.clone(),
        });
        refresh::start(&cluster, refresh);
        cluster
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who fetches for streams.
    pub(crate) fn fetchers(&self) -> &Fetchers {
        &self.fetchers
    }

    /// Where tasks of this client run.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// A number for a new owner of connections.
    pub(crate) fn new_owner(&self) -> Owner {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets go of an owner's connections: they read out what they are owed, then close.
    pub(crate) fn release(&self, owner: Owner) {
        lock(&self.connections).retain(|key, _| key.owner != owner);
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

    /// What is known of a topic, which is kept among those that are refreshed.
    pub(crate) fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.with_metadata(|metadata| {
            metadata.want_topic(now(), name);
            match metadata.topic(name) {
                Lookup::Known(topic) => Some(topic),
                _ => None,
            }
        })
    }

    /// Has these topics asked for, of any broker but one.
    pub(crate) fn refresh_topics<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Arc<str>>,
        avoid: Option<i32>,
    ) {
        let names: BTreeSet<&Arc<str>> = names.into_iter().collect();
        self.with_metadata(|metadata| {
            for name in names {
                metadata.want_topic(now(), name);
            }
            metadata.request_refresh(now(), avoid);
        });
    }

    /// The name of a topic that is answered by name or by id.
    pub(crate) fn topic_name(&self, name: &Str, id: Uuid) -> Option<Arc<str>> {
        if !name.is_empty() {
            return Some(Arc::from(&**name));
        }
        self.with_metadata(|metadata| Some(metadata.topic_by_id(id)?.name.clone()))
    }

    /// A broker told in passing who leads a partition (KIP-951).
    pub(crate) fn hint(
        &self,
        topic: &str,
        partition: i32,
        leader: Leader,
        brokers: impl IntoIterator<Item = Broker>,
    ) {
        let news =
            self.with_metadata(|metadata| metadata.handle_leader_hint(topic, partition, leader, brokers));
        if news {
            tracing::debug!(
                name: "ottla.metadata.hint",
                topic,
                partition,
                leader = leader.broker_id,
                epoch = leader.epoch,
                "leader hint taken"
            );
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
            let mut after_failure = None;
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
                    let mut pauses = slot.pauses.clone();
                    // A pause that is long over costs whoever comes now nothing.
                    let dialled_at = now().max(slot.dialled_at + pauses.next_delay());
                    after_failure = Some((pauses, dialled_at));
                }
            }
            let (pauses, dialled_at) =
                after_failure.unwrap_or_else(|| (Pauses::new(self.settings.reconnect, self.random()), now()));
            let handle = self.dial(to, address, dialled_at);
            connections.insert(key, Slot { handle: handle.clone(), dialled_at, pauses });
            return Some(handle);
        }
    }

    /// The connection of an owner, or of the client itself.
    pub(crate) fn connection_of(
        &self,
        to: &Destination,
        purpose: Purpose,
        owner: Option<Owner>,
    ) -> Option<Handle> {
        self.connection(to, purpose, owner.unwrap_or(CLIENT))
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
        let answer = handle.request(outgoing, lane).await?;
        Ok((answer, handle))
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
                        name: "ottla.broker.silent",
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
