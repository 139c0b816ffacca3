//! One partition: its log, its replicas, its leader, and the high watermark that follows from them.
//!
//! There is one log, the leader's. A follower's log is a prefix of it, so that its end is all there is to know of a
//! follower; electing one that lags truncates the log to that end. The high watermark is the smallest end within the
//! ISR, and never goes back by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Log, StoredBatch};

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
    /// The ends of the followers' logs.
    ends: BTreeMap<i32, i64>,
    /// Followers that do not fetch: held back by a test, or down.
    stopped: BTreeSet<i32>,
    pub(crate) held: bool,
}

impl Partition {
    pub(crate) fn new(replicas: Vec<i32>, leader: i32, isr: Vec<i32>) -> Self {
        Self {
            leader,
            leader_epoch: 0,
            epoch_start: 0,
            ends: replicas.iter().map(|node| (*node, 0)).collect(),
            replicas,
            isr,
            log: Log::new(0),
            high_watermark: 0,
            stopped: BTreeSet::new(),
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
        if node == self.leader { Some(self.log.end()) } else { self.ends.get(&node).copied() }
    }

    /// Lets followers fetch, the ISR grow, and the high watermark rise.
    pub(crate) fn replicate(&mut self) {
        if self.leader < 0 {
            return;
        }
        let end = self.log.end();
        for (node, reached) in &mut self.ends {
            if *node == self.leader || !(self.held || self.stopped.contains(node)) {
                *reached = end;
            }
        }
        let watermark = self.isr.iter().filter_map(|node| self.ends.get(node)).min().copied().unwrap_or(end);
        if !self.held {
            self.high_watermark = self.high_watermark.max(watermark);
        }
        for node in &self.replicas {
            let caught_up = self.ends.get(node).is_some_and(|reached| *reached >= self.high_watermark);
            if caught_up && !self.stopped.contains(node) && !self.isr.contains(node) {
                self.isr.push(*node);
            }
        }
    }

    /// Stops a follower from fetching.
    pub(crate) fn stop(&mut self, node: i32) {
        self.stopped.insert(node);
    }

    /// Lets a follower fetch again.
    pub(crate) fn resume(&mut self, node: i32) {
        self.stopped.remove(&node);
    }

    /// Takes `node` out of the ISR, unless it is the last one there.
    pub(crate) fn shrink_isr(&mut self, node: i32) {
        if self.isr.len() > 1 {
            self.isr.retain(|member| *member != node);
        }
    }

    /// Makes `node` the leader under the next epoch, and returns what its log lacks of the old leader's.
    pub(crate) fn elect(&mut self, node: i32) -> Vec<StoredBatch> {
        let end = self.log_end_of(node).unwrap_or(self.log.end());
        let lost = self.log.truncate(end);
        for reached in self.ends.values_mut() {
            *reached = (*reached).min(self.log.end());
        }
        if !self.isr.contains(&node) {
            self.isr = vec![node];
        }
        self.high_watermark = self.high_watermark.min(self.log.end());
        self.leader = node;
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
        self.epoch_start = self.log.end();
        lost
    }

    /// Leaves the partition without a leader, under the next epoch.
    pub(crate) fn lose_leader(&mut self) {
        if self.leader >= 0 {
            self.ends.insert(self.leader, self.log.end());
        }
        self.leader = -1;
        self.leader_epoch += 1;
    }
}
