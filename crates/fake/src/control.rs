//! What a test may do to the cluster: topics, leaders, replicas, rules; what it may do to logs is `edit.rs`.
//!
//! Every function that may wake a waiting request takes the time, and serves what became servable before it returns.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use ottla_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::{Str, Uuid};

use crate::cluster::FakeCluster;
use crate::connection::ConnId;
use crate::faults::{Rule, RuleId};
use crate::oracle::{Accepted, Counters, Lost};
use crate::partition::Partition;
use crate::topics::Topic;

/// A test asked for what cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlError(pub(crate) String);

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ControlError {}

impl FakeCluster {
    // Topics

    /// Creates a topic with so many partitions and replicas; partition `p` is led by live node `p`, counted around.
    pub fn create_topic(
        &mut self,
        now: Instant,
        name: &str,
        partitions: i32,
        replicas: i16,
    ) -> Result<Uuid, ControlError> {
        self.create_topic_with(now, name, partitions, replicas, &[])
    }

    /// [`create_topic`](Self::create_topic) with settings.
    pub fn create_topic_with(
        &mut self,
        now: Instant,
        name: &str,
        partitions: i32,
        replicas: i16,
        settings: &[(&str, &str)],
    ) -> Result<Uuid, ControlError> {
        self.advance(now);
        let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let asked = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: replicas,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let created = self.create_as_asked(now, &asked);
        self.settle(now);
        created
            .map_err(|(code, why)| ControlError(format!("topic '{name}' cannot be created: {code}: {why}")))
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, now: Instant, name: &str) -> Result<(), ControlError> {
        self.advance(now);
        let id = self.id_of(name)?;
        self.topics.delete(id);
        self.changed = true;
        self.settle(now);
        Ok(())
    }

    /// Sets a setting of a topic, or with `None` takes it back to its default.
    ///
    /// # Errors
    /// When there is no such topic or setting, or the value is not one.
    pub fn set_config(
        &mut self,
        now: Instant,
        topic: &str,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), ControlError> {
        self.advance(now);
        let (id, least) = (self.id_of(topic)?, self.settings.min_insync_replicas);
        let Some(topic) = self.topics.by_id_mut(id) else { return Ok(()) };
        topic.config = topic.config.with(name, value, least).map_err(ControlError)?;
        self.changed = true;
        self.settle(now);
        Ok(())
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.by_name(name)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// A partition by topic name and number.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.by_name(topic)?.partition(partition)
    }

    // Leaders and replicas

    /// Makes `node`, which must be a live replica, the leader under the next epoch. What its log lacks is lost, so of a
    /// lagging replica this is an unclean election.
    pub fn move_leader(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        node: i32,
    ) -> Result<(), ControlError> {
        self.advance(now);
        if !self.live_nodes().contains(&node) {
            return Err(ControlError(format!("node {node} is not alive")));
        }
        let id = self.id_of(topic)?;
        let found = self.partition_of(topic, partition)?;
        if !found.replicas.contains(&node) {
            return Err(ControlError(format!("node {node} has no replica of {topic}-{partition}")));
        }
        let batches = found.elect(node);
        self.replicate(now, id, partition);
        self.lost.extend(Lost::of(now, &topic.into(), id, partition, batches));
        self.changed = true;
        self.settle(now);
        Ok(())
    }

    /// Puts a partition on those nodes, the preferred leader first: new replicas fetch what there is, old ones are gone.
    /// A leader that stays a replica stays the leader.
    ///
    /// # Errors
    /// When there is no such partition or node, a node is named twice, or no replica in sync would be left.
    pub fn set_replicas(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        nodes: &[i32],
    ) -> Result<(), ControlError> {
        self.advance(now);
        let distinct: BTreeSet<i32> = nodes.iter().copied().collect();
        if distinct.len() != nodes.len() || distinct.iter().any(|node| !self.nodes.contains_key(node)) {
            return Err(ControlError(format!(
                "nodes {nodes:?} are not all nodes of this cluster, each once"
            )));
        }
        let alive: Vec<i32> = nodes.iter().filter(|node| self.live_nodes().contains(node)).copied().collect();
        let stopped = self.stopped_nodes();
        let id = self.id_of(topic)?;
        let found = self.partition_of(topic, partition)?;
        let Some(heir) = alive.iter().find(|node| found.isr.contains(node)).copied() else {
            return Err(ControlError(format!("no node of {nodes:?} is in sync with {topic}-{partition}")));
        };
        let moves = !nodes.contains(&found.leader);
        let batches = if moves { found.elect(heir) } else { Vec::new() };
        found.reassign(nodes);
        stopped.into_iter().for_each(|node| found.set_down(node, true));
        self.lost.extend(Lost::of(now, &topic.into(), id, partition, batches));
        self.change(now, topic, partition, |_| {})
    }

    /// Takes the leader away: the partition has none, under the next epoch.
    pub fn remove_leader(&mut self, now: Instant, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.change(now, topic, partition, Partition::lose_leader)
    }

    /// Holds the high watermark where it is, and the followers with it.
    pub fn hold_high_watermark(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.held = true)
    }

    /// Lets the high watermark rise again.
    pub fn release_high_watermark(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.held = false)
    }

    /// Stops a follower from fetching; it stays in the ISR until [`shrink_isr`](Self::shrink_isr), or until the time of
    /// [`replica_lag_time`](crate::Builder::replica_lag_time) has passed.
    pub fn hold_replica(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        node: i32,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.hold(node, true))
    }

    /// Lets a follower fetch again; caught up, it is in the ISR.
    pub fn release_replica(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        node: i32,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.hold(node, false))
    }

    /// Takes a replica out of the ISR, unless it is the last there. One that is not held back joins again at once.
    pub fn shrink_isr(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        node: i32,
    ) -> Result<(), ControlError> {
        self.change(now, topic, partition, |p| p.shrink_isr(node))
    }

    // Rules and connections

    /// Adds a fault rule.
    pub fn add_rule(&mut self, rule: Rule) -> RuleId {
        self.faults.add(rule)
    }

    /// Ends a fault rule, and lets go what it holds.
    pub fn remove_rule(&mut self, now: Instant, id: RuleId) {
        self.faults.remove(id);
        self.release(now, id);
    }

    /// The node forgets its fetch sessions, as when others have taken their places.
    pub fn evict_fetch_sessions(&mut self, node: i32) {
        self.fetch_sessions.forget(node);
    }

    /// Ends all fault rules; what they hold stays held.
    pub fn clear_rules(&mut self) {
        self.faults.clear();
    }

    /// How often a rule struck.
    pub fn struck(&self, id: RuleId) -> u64 {
        self.faults.struck(id)
    }

    /// How often a rule had a request wait its [`Delay`](crate::Reaction::Delay): less than it [`struck`](Self::struck) where
    /// another rule cut a connection, silenced it, or held the request.
    pub fn delayed(&self, id: RuleId) -> u64 {
        self.faults.delayed(id)
    }

    /// Lets go what a rule holds.
    pub fn release(&mut self, now: Instant, id: RuleId) {
        self.advance(now);
        self.release_held(now, id);
        self.settle(now);
    }

    /// Closes a connection.
    pub fn disconnect(&mut self, now: Instant, conn: ConnId) {
        self.advance(now);
        self.close(conn);
    }

    /// Sends bytes that nobody asked for.
    pub fn push_bytes(&mut self, conn: ConnId, bytes: Bytes) {
        if self.is_open(conn) {
            self.send(conn, bytes);
        }
    }

    // What happened

    /// How much was asked so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every batch that was accepted, in order, duplicates included.
    pub fn accepted(&self) -> &[Accepted] {
        &self.accepted
    }

    /// Every batch that a log had and lost.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// The id of the cluster, as its nodes report it.
    pub fn cluster_id(&self) -> &Str {
        &self.settings.cluster_id
    }

    pub(crate) fn id_of(&self, topic: &str) -> Result<Uuid, ControlError> {
        self.topics
            .by_name(topic)
            .map(|topic| topic.id)
            .ok_or_else(|| ControlError(format!("no topic '{topic}'")))
    }

    pub(crate) fn partition_of(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<&mut Partition, ControlError> {
        let id = self.id_of(topic)?;
        let missing = || ControlError(format!("no partition {topic}-{partition}"));
        self.topics.partition_mut(id, partition).ok_or_else(missing)
    }

    pub(crate) fn change(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition),
    ) -> Result<(), ControlError> {
        self.advance(now);
        change(self.partition_of(topic, partition)?);
        let id = self.id_of(topic)?;
        self.replicate(now, id, partition);
        self.changed = true;
        self.settle(now);
        Ok(())
    }
}
