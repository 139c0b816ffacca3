//! One partition: its log, its replicas, its leader, and the high watermark that follows from them.
//!
//! There is one log, the leader's; electing a follower that lags truncates the log to where the follower's ends. The
//! high watermark is the smallest end within the ISR. It goes back only with a new leader, which begins with what it
//! was told as a follower. How followers keep up is `replicas.rs`.

use std::time::Instant;

use crate::log::{Log, StoredBatch};
use crate::replicas::{Pace, Replicas};

/// One partition of a topic.
#[derive(Debug)]
pub struct Partition {
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    /// Where the log ended when the leader was elected.
    pub(crate) epoch_start: i64,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) log: Log,
    pub(crate) high_watermark: i64,
    followers: Replicas,
    /// A test holds the high watermark, and the followers with it.
    pub(crate) held: bool,
}

impl Partition {
    pub(crate) fn new(replicas: Vec<i32>, leader: i32, isr: Vec<i32>) -> Self {
        Self {
            leader,
            leader_epoch: 0,
            epoch_start: 0,
            followers: Replicas::new(&replicas),
            replicas,
            isr,
            log: Log::new(0),
            high_watermark: 0,
            held: false,
        }
    }

    /// The leader's node id, -1 when there is none.
    pub fn leader(&self) -> i32 {
        self.leader
    }

    /// The epoch of the leader.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The nodes that have the partition, preferred leader first.
    pub fn replicas(&self) -> &[i32] {
        &self.replicas
    }

    /// The replicas in sync.
    pub fn isr(&self) -> &[i32] {
        &self.isr
    }

    /// The log of the leader.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Below it everything is on every replica in sync, and visible to consumers.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Below it every transaction is decided, and what lies there is visible to `read_committed`.
    pub fn last_stable_offset(&self) -> i64 {
        self.log.first_unstable_offset().map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Where the log of `node` ends.
    pub fn log_end_of(&self, node: i32) -> Option<i64> {
        if node == self.leader { Some(self.log.end()) } else { Some(self.followers.follower(node)?.end) }
    }

    /// Where the leader believes that the log of a replica in sync ends.
    pub(crate) fn known_end_of(&self, node: i32) -> Option<i64> {
        let follower = self.followers.follower(node).filter(|it| it.known && self.isr.contains(&node))?;
        Some(follower.end)
    }

    /// The high watermark as `node` knows it.
    pub(crate) fn high_watermark_of(&self, node: i32) -> i64 {
        match self.followers.follower(node) {
            Some(follower) if node != self.leader => follower.high_watermark,
            _ => self.high_watermark,
        }
    }

    /// How many replicas have to be in sync, of those there are.
    pub(crate) fn least_in_sync(&self, min_insync_replicas: usize) -> usize {
        min_insync_replicas.min(self.replicas.len())
    }

    /// Lets followers fetch, the ISR change, and the high watermark rise; it rises only while enough replicas are in sync
    /// (KIP-966). Whether the high watermark, a follower's or the ISR moved.
    pub(crate) fn replicate(&mut self, now: Instant, pace: &Pace, min_insync_replicas: usize) -> bool {
        if self.leader < 0 || self.held {
            return false;
        }
        let before = (self.high_watermark, self.isr.len(), self.followers.told());
        self.followers.fetch(now, pace, self.leader, self.log.end(), self.high_watermark);
        self.drop_the_late(now, pace);
        self.raise_high_watermark(min_insync_replicas);
        self.add_who_caught_up();
        self.raise_high_watermark(min_insync_replicas);
        if self.high_watermark > before.0 {
            // What followers are told with their next fetch.
            self.followers.fetch(now, pace, self.leader, self.log.end(), self.high_watermark);
        }
        before != (self.high_watermark, self.isr.len(), self.followers.told())
    }

    fn raise_high_watermark(&mut self, min_insync_replicas: usize) {
        if self.isr.len() >= self.least_in_sync(min_insync_replicas) {
            let reached = self.followers.smallest_end(&self.isr).unwrap_or(self.log.end());
            self.high_watermark = self.high_watermark.max(reached);
        }
    }

    fn drop_the_late(&mut self, now: Instant, pace: &Pace) {
        let (followers, leader) = (&self.followers, self.leader);
        self.isr.retain(|node| {
            *node == leader || followers.late_at(pace, *node).is_none_or(|late_at| late_at > now)
        });
    }

    fn add_who_caught_up(&mut self) {
        for node in &self.replicas {
            let Some(follower) = self.followers.follower(*node) else { continue };
            let caught_up = follower.known && follower.end >= self.high_watermark && !follower.is_stopped();
            if caught_up && !self.isr.contains(node) {
                self.isr.push(*node);
            }
        }
    }

    /// When replication goes on by itself.
    pub(crate) fn next_due(&self, pace: &Pace) -> Option<Instant> {
        if self.leader < 0 || self.held { None } else { self.followers.next_due(pace, &self.isr) }
    }

    /// A test keeps a follower from fetching, or does so no more.
    pub(crate) fn hold(&mut self, node: i32, held: bool) {
        self.followers.hold(node, held);
    }

    /// The node of a follower is down, or serves again.
    pub(crate) fn set_down(&mut self, node: i32, down: bool) {
        self.followers.set_down(node, down);
    }

    /// Takes `node` out of the ISR, unless it is the last one there.
    pub(crate) fn shrink_isr(&mut self, node: i32) {
        if self.isr.len() > 1 {
            self.isr.retain(|member| *member != node);
        }
    }

    /// Makes `node` the leader under the next epoch, and returns what its log lacks of the old leader's.
    pub(crate) fn elect(&mut self, node: i32) -> Vec<StoredBatch> {
        self.followers.keep(self.leader, self.log.end(), self.high_watermark);
        let end = self.log_end_of(node).unwrap_or(self.log.end());
        let lost = self.log.truncate(end);
        self.followers.truncate(self.log.end());
        if !self.isr.contains(&node) {
            self.isr = vec![node];
        }
        let known = self.followers.follower(node).map_or(0, |follower| follower.high_watermark);
        self.high_watermark = self.high_watermark.min(self.log.end()).min(known);
        self.leader = node;
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
        self.epoch_start = self.log.end();
        lost
    }

    /// Other replicas, or another order of them.
    pub(crate) fn reassign(&mut self, nodes: &[i32]) {
        self.replicas = nodes.to_vec();
        self.isr.retain(|node| nodes.contains(node));
        self.followers.reassign(nodes);
    }

    /// Leaves the partition without a leader, under the next epoch.
    pub(crate) fn lose_leader(&mut self) {
        self.followers.keep(self.leader, self.log.end(), self.high_watermark);
        self.leader = -1;
        self.leader_epoch += 1;
    }
}
