//! The cluster as its owner sees it: nodes, connections, time, and the way in and out.
//!
//! It owns the nodes and their states, who leads what after a node went or came, and the queue of outputs. How a
//! request is served is `serve.rs`; what tests may do to the cluster besides nodes is `control.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::metadata::MetadataResponse;
use ottla_wire::{ApiKey, Str, Uuid, VersionRange};

use crate::connection::{ConnId, Connection};
use crate::coordinator::ProducerIds;
use crate::faults::Faults;
use crate::fetch_sessions::FetchSessions;
use crate::oracle::{Accepted, Counters, Lost};
use crate::replicas::Pace;
use crate::topics::{Topic, Topics};
use crate::versions::{Release, Versions};

/// A Kafka cluster in one process: no I/O, no clock, no threads; everything happens inside the calls.
///
/// Bytes of a client's connection go in with [`handle`](Self::handle), what the cluster sends comes out of
/// [`poll_output`](Self::poll_output), and [`handle_timeout`](Self::handle_timeout) is called when the time of
/// [`poll_timeout`](Self::poll_timeout) has come. Its chance follows from the seed it was built with: the same calls
/// give the same bytes.
#[derive(Debug)]
pub struct FakeCluster {
    started: Instant,
    wall_ms: i64,
    pub(crate) settings: Settings,
    pub(crate) versions: Versions,
    pub(crate) nodes: BTreeMap<i32, Node>,
    pub(crate) topics: Topics,
    pub(crate) connections: BTreeMap<ConnId, Connection>,
    next_connection: u64,
    /// Connections with a request that may be servable.
    pub(crate) ready: BTreeSet<ConnId>,
    /// Something changed that a request in purgatory may wait for.
    pub(crate) changed: bool,
    pub(crate) outputs: VecDeque<(ConnId, Output)>,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) lost: Vec<Lost>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch_sessions: FetchSessions,
    /// Partitions whose replication goes on by itself, and when. What is over by then does no harm.
    pub(crate) replicating: BTreeMap<Instant, BTreeSet<(Uuid, i32)>>,
    /// What nodes that lag know of the cluster.
    pub(crate) frozen: BTreeMap<i32, MetadataResponse>,
}

/// What the cluster does on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the client: a frame, its size included.
    Bytes(Bytes),
    /// The connection is closed, and its id gone.
    Close,
}

/// Whether a node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Running,
    /// Its connections stay open, and it says nothing.
    Paused,
    /// It is not there.
    Down,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Str,
    pub(crate) port: u16,
    pub(crate) rack: Option<Str>,
    pub(crate) state: NodeState,
    /// When the cluster notices that it is gone.
    fenced_at: Option<Instant>,
    /// The cluster has noticed.
    pub(crate) fenced: bool,
}

/// What a cluster is built with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) auto_create_topics: bool,
    pub(crate) default_partitions: i32,
    pub(crate) default_replication_factor: i16,
    pub(crate) min_insync_replicas: i32,
    pub(crate) session_timeout: Duration,
    pub(crate) pace: Pace,
    pub(crate) largest_request: usize,
    pub(crate) answers_without_acks: bool,
    pub(crate) prefers_near_replicas: bool,
    pub(crate) cluster_id: Str,
}

/// Settings of a [`FakeCluster`].
#[derive(Debug, Clone)]
pub struct Builder {
    nodes: i32,
    racks: bool,
    release: Release,
    seed: u64,
    fetch_sessions: usize,
    settings: Settings,
}

impl Builder {
    /// So many nodes, with ids from 1; one unless said.
    #[must_use]
    pub fn nodes(mut self, nodes: i32) -> Self {
        self.nodes = nodes.max(1);
        self
    }

    /// Gives node `n` the rack `rack-n`.
    #[must_use]
    pub fn racks(mut self) -> Self {
        self.racks = true;
        self
    }

    /// The Kafka release it pretends to be; the newest unless said.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// What its chance follows from: the same seed and the same calls give the same bytes. 0 unless said.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        (self.seed, self.settings.pace.seed) = (seed, seed);
        self
    }

    /// Whether a look-up that allows it creates a topic (`auto.create.topics.enable`); off unless said.
    #[must_use]
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.settings.auto_create_topics = on;
        self
    }

    /// Partitions of topics that are created without a number (`num.partitions`); 1 unless said.
    #[must_use]
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.settings.default_partitions = partitions.max(1);
        self
    }

    /// Replicas of topics that are created without a number (`default.replication.factor`); 1 unless said.
    #[must_use]
    pub fn default_replication_factor(mut self, replicas: i16) -> Self {
        self.settings.default_replication_factor = replicas.max(1);
        self
    }

    /// How many replicas must be in sync for acks = all, where a topic does not say (`min.insync.replicas`); 1 unless
    /// said.
    #[must_use]
    pub fn min_insync_replicas(mut self, replicas: i32) -> Self {
        self.settings.min_insync_replicas = replicas.max(1);
        self
    }

    /// How long after a kill or a pause the node's partitions get other leaders; at once unless said.
    #[must_use]
    pub fn session_timeout(mut self, time: Duration) -> Self {
        self.settings.session_timeout = time;
        self
    }

    /// How long followers take to fetch what was appended: something between both, by the cluster's seed, for each fetch
    /// of each follower. At once unless said.
    #[must_use]
    pub fn replication_delay(mut self, shortest: Duration, longest: Duration) -> Self {
        (self.settings.pace.shortest, self.settings.pace.longest) = (shortest, longest.max(shortest));
        self
    }

    /// How long a replica may be behind before it leaves the ISR (`replica.lag.time.max.ms`); for ever unless said.
    #[must_use]
    pub fn replica_lag_time(mut self, time: Duration) -> Self {
        self.settings.pace.patience = Some(time);
        self
    }

    /// The largest request, in bytes (`socket.request.max.bytes`); 100 MiB unless said.
    #[must_use]
    pub fn largest_request(mut self, bytes: usize) -> Self {
        self.settings.largest_request = bytes;
        self
    }

    /// Answers Produce requests with acks = 0 too, which brokers do not.
    #[must_use]
    pub fn answers_without_acks(mut self) -> Self {
        self.settings.answers_without_acks = true;
        self
    }

    /// Leaders send consumers on that say their rack, to a replica in it (KIP-392), as with Kafka's `RackAwareReplicaSelector`.
    #[must_use]
    pub fn near_replicas(mut self) -> Self {
        self.settings.prefers_near_replicas = true;
        self
    }

    /// How many fetch sessions a node may have (`max.incremental.fetch.session.cache.slots`); 1,000 unless said.
    #[must_use]
    pub fn fetch_sessions(mut self, slots: usize) -> Self {
        self.fetch_sessions = slots;
        self
    }

    /// The cluster, at the moment `now` when the wall clock shows `wall_ms` milliseconds since the epoch.
    pub fn build(self, now: Instant, wall_ms: i64) -> FakeCluster {
        let node = |id: i32| {
            let rack = self.racks.then(|| Str::from(format!("rack-{id}")));
            (id, Node::new(format!("node-{id}").into(), 9092, rack))
        };
        FakeCluster {
            started: now,
            wall_ms,
            versions: Versions::of(self.release),
            nodes: (1..=self.nodes).map(node).collect(),
            settings: self.settings,
            topics: Topics::default(),
            connections: BTreeMap::new(),
            next_connection: 1,
            ready: BTreeSet::new(),
            changed: false,
            outputs: VecDeque::new(),
            faults: Faults::new(self.seed),
            counters: Counters::default(),
            accepted: Vec::new(),
            lost: Vec::new(),
            producer_ids: ProducerIds::default(),
            fetch_sessions: FetchSessions::new(self.fetch_sessions),
            replicating: BTreeMap::new(),
            frozen: BTreeMap::new(),
        }
    }
}

impl Node {
    fn new(host: Str, port: u16, rack: Option<Str>) -> Self {
        Self { host, port, rack, state: NodeState::Running, fenced_at: None, fenced: false }
    }
}

impl FakeCluster {
    /// A cluster of one node, until said otherwise.
    pub fn builder() -> Builder {
        Builder {
            nodes: 1,
            racks: false,
            release: Release::default(),
            seed: 0,
            fetch_sessions: 1_000,
            settings: Settings {
                auto_create_topics: false,
                default_partitions: 1,
                default_replication_factor: 1,
                min_insync_replicas: 1,
                session_timeout: Duration::ZERO,
                pace: Pace::default(),
                largest_request: 100 << 20,
                answers_without_acks: false,
                prefers_near_replicas: false,
                cluster_id: Str::from("b3R0bGEtZmFrZS0wMDAwMQ"),
            },
        }
    }

    /// A client connects to `node`; `None` when nothing listens there.
    pub fn connect(&mut self, now: Instant, node: i32) -> Option<ConnId> {
        self.advance(now);
        if matches!(self.node_state(node)?, NodeState::Down) {
            return None;
        }
        let conn = ConnId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(conn, Connection::new(node));
        self.counters.connected(node);
        self.settle(now);
        Some(conn)
    }

    /// Bytes of the client's stream, cut anywhere. Bytes for a connection that is gone are dropped.
    pub fn handle(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        self.advance(now);
        self.counters.received += bytes.len() as u64;
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.receive(bytes, self.settings.largest_request).is_err() {
            return self.reject(conn);
        }
        if connection.is_ready() {
            self.ready.insert(conn);
        }
        self.settle(now);
    }

    /// The client closed the connection. Requests that came before that are served nevertheless.
    pub fn handle_disconnect(&mut self, now: Instant, conn: ConnId) {
        self.advance(now);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.is_gone = true;
        }
        self.forget_if_over(conn);
        self.settle(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.settle(now);
    }

    /// What is to be sent next.
    pub fn poll_output(&mut self) -> Option<(ConnId, Output)> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called; `None`: nothing waits for time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fences = self.nodes.values().filter_map(|node| node.fenced_at);
        let running = |c: &&Connection| self.node_state(c.node) == Some(NodeState::Running);
        let waits = self.connections.values().filter(running).filter_map(Connection::deadline);
        let fetches = self.replicating.first_key_value().map(|(at, _)| *at);
        fences.chain(waits).chain(fetches).min()
    }

    /// Bytes of whole requests that a connection received and that were not looked at yet: a broker stops reading its
    /// socket meanwhile.
    pub fn backlog(&self, conn: ConnId) -> usize {
        self.connections.get(&conn).map_or(0, Connection::backlog)
    }

    /// Whether a connection is open.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.connections.get(&conn).is_some_and(|connection| !connection.is_gone)
    }

    /// The open connections, with their nodes.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, i32)> {
        let open = self.connections.iter().filter(|(_, connection)| !connection.is_gone);
        open.map(|(conn, connection)| (*conn, connection.node))
    }

    /// What the wall clock shows at `now`, in milliseconds since the epoch.
    pub fn wall_ms(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.started).as_millis();
        self.wall_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    /// Lets everything happen that was due before `now`.
    pub(crate) fn advance(&mut self, now: Instant) {
        let due: Vec<i32> = self
            .nodes
            .iter()
            .filter(|(_, n)| n.fenced_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.fence(now, id);
        }
        while let Some(entry) = self.replicating.first_entry().filter(|entry| *entry.key() <= now) {
            for (topic, partition) in entry.remove() {
                self.replicate(now, topic, partition);
            }
        }
        self.pass_deadlines(now);
    }

    /// Lets the replicas of a partition go on.
    pub(crate) fn replicate(&mut self, now: Instant, topic: Uuid, index: i32) {
        let pace = self.settings.pace;
        let Some(topic_of) = self.topics.by_id_mut(topic) else { return };
        // Before 3.7 the high watermark rises however few are in sync.
        let strict = self.versions.release >= Release::V3_7;
        let least = if strict { topic_of.config.min_insync_replicas } else { 1 };
        let Some(partition) = topic_of.partition_mut(index) else { return };
        self.changed |= partition.replicate(now, &pace, least);
        if let Some(due) = partition.next_due(&pace) {
            self.replicating.entry(due).or_default().insert((topic, index));
        }
    }

    /// The id and number of every partition.
    fn all_partitions(&self) -> Vec<(Uuid, i32)> {
        let numbered = |topic: &Topic| {
            let id = topic.id;
            (0..).zip(&topic.partitions).map(move |(index, _)| (id, index)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(numbered).collect()
    }

    /// Overrides the versions of one API; `None` takes it away.
    pub fn set_versions(&mut self, key: ApiKey, range: Option<VersionRange>) {
        self.versions.set(key, range);
    }

    // Nodes

    /// The ids of all nodes, those that are down included.
    pub fn node_ids(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// The state of a node; `None` when there is no such node.
    pub fn node_state(&self, node: i32) -> Option<NodeState> {
        self.nodes.get(&node).map(|node| node.state)
    }

    /// The address a node advertises.
    pub fn address(&self, node: i32) -> Option<(&str, u16)> {
        self.nodes.get(&node).map(|node| (&*node.host, node.port))
    }

    /// Changes the address a node advertises.
    pub fn set_address(&mut self, node: i32, host: impl Into<Str>, port: u16) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.host = host.into();
            node.port = port;
        }
    }

    /// Changes the rack of a node.
    pub fn set_rack(&mut self, node: i32, rack: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.rack = rack.map(Str::from);
        }
    }

    /// Adds a node. An id that exists is left as it is. What it is a replica of, having been [removed](Self::remove_node), it follows
    /// again, as after a [restart](Self::restart), or leads where nobody else could.
    pub fn add_node(&mut self, now: Instant, node: i32) {
        self.advance(now);
        if self.nodes.contains_key(&node) {
            return;
        }
        self.nodes.insert(node, Node::new(format!("node-{node}").into(), 9092, None));
        self.restart(now, node);
    }

    /// Takes a node out of the cluster: it goes down, and is no longer listed as a replica's home.
    pub fn remove_node(&mut self, now: Instant, node: i32) {
        self.kill(now, node);
        self.fence(now, node);
        self.nodes.remove(&node);
        self.settle(now);
    }

    /// The node is gone at once: its connections close, and after the session time-out others lead.
    pub fn kill(&mut self, now: Instant, node: i32) {
        self.advance(now);
        if self.node_state(node).is_none_or(|state| state == NodeState::Down) {
            return;
        }
        let conns: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| c.node == node).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.close(conn);
        }
        self.fetch_sessions.forget(node);
        self.stop(now, node, NodeState::Down);
    }

    /// The node stops where it is: its connections stay open and it says nothing (SIGSTOP); after the session time-out
    /// others lead.
    pub fn pause(&mut self, now: Instant, node: i32) {
        self.advance(now);
        if self.node_state(node) == Some(NodeState::Running) {
            self.stop(now, node, NodeState::Paused);
        }
    }

    fn stop(&mut self, now: Instant, node: i32, state: NodeState) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.state = state;
            if !node.fenced && node.fenced_at.is_none() {
                node.fenced_at = now.checked_add(self.settings.session_timeout);
            }
        }
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.set_down(node, true);
        }
        self.advance(now);
        self.settle(now);
    }

    /// A node that was down or paused serves again, catches up, and joins the ISR again.
    pub fn restart(&mut self, now: Instant, node: i32) {
        self.advance(now);
        let Some(entry) = self.nodes.get_mut(&node) else { return };
        entry.state = NodeState::Running;
        entry.fenced = false;
        entry.fenced_at = None;
        let mut lost = Vec::new();
        for topic in self.topics.iter_mut() {
            let (name, id, unclean) = (topic.name.clone(), topic.id, topic.config.unclean_election);
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                partition.set_down(node, false);
                let may_lead = partition.isr.contains(&node) || unclean;
                if partition.leader < 0 && partition.replicas.contains(&node) && may_lead {
                    lost.extend(Lost::of(now, &name, id, index, partition.elect(node)));
                }
            }
        }
        self.lost.extend(lost);
        for (topic, index) in self.all_partitions() {
            self.replicate(now, topic, index);
        }
        let conns = self.connections.iter().filter(|(_, c)| c.node == node).map(|(conn, _)| *conn);
        self.ready.extend(conns);
        self.changed = true;
        self.advance(now);
        self.settle(now);
    }

    /// [`restart`](Self::restart), under the name that belongs to [`pause`](Self::pause).
    pub fn resume(&mut self, now: Instant, node: i32) {
        self.restart(now, node);
    }

    /// The cluster notices that a node is gone: others lead what it led, and it leaves every ISR.
    fn fence(&mut self, now: Instant, gone: i32) {
        let Some(node) = self.nodes.get_mut(&gone) else { return };
        node.fenced_at = None;
        if node.state == NodeState::Running || node.fenced {
            return;
        }
        node.fenced = true;
        let live: BTreeSet<i32> = self.nodes.iter().filter(|(_, n)| !n.fenced).map(|(id, _)| *id).collect();
        let mut lost = Vec::new();
        for topic in self.topics.iter_mut() {
            let (name, id, unclean) = (topic.name.clone(), topic.id, topic.config.unclean_election);
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                if partition.leader == gone {
                    let alive = || partition.replicas.iter().filter(|replica| live.contains(replica));
                    let in_sync = alive().find(|replica| partition.isr.contains(replica));
                    match in_sync.or_else(|| alive().next().filter(|_| unclean)).copied() {
                        Some(next) => lost.extend(Lost::of(now, &name, id, index, partition.elect(next))),
                        None => partition.lose_leader(),
                    }
                }
                partition.shrink_isr(gone);
            }
        }
        self.lost.extend(lost);
        for (topic, index) in self.all_partitions() {
            self.replicate(now, topic, index);
        }
        self.changed = true;
    }

    /// The node that answers for the controller: the first that lives.
    pub fn controller(&self) -> i32 {
        self.nodes.iter().find(|(_, node)| !node.fenced).map_or(-1, |(id, _)| *id)
    }

    /// Those that are down or stand still, whether the controller has noticed or not.
    pub(crate) fn stopped_nodes(&self) -> Vec<i32> {
        let is_stopped = |node: &Node| node.state != NodeState::Running;
        self.nodes.iter().filter(|(_, node)| is_stopped(node)).map(|(id, _)| *id).collect()
    }

    /// The nodes that the cluster believes alive, by id.
    pub(crate) fn live_nodes(&self) -> Vec<i32> {
        self.nodes.iter().filter(|(_, node)| !node.fenced).map(|(id, _)| *id).collect()
    }
}
