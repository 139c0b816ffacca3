//! The followers of one partition: how far their logs reach, what they know of the high watermark, and when they
//! fetch next.
//!
//! A follower's log is a prefix of the leader's, so its end is all there is to know of it. It owns the delays; which
//! followers are in sync, and what follows from that, is the partition's.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::chance;

/// How fast replicas follow, and how long one that does not is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
    /// `replica.lag.time.max.ms`; `None`: for ever.
    pub(crate) patience: Option<Duration>,
    pub(crate) seed: u64,
}

impl Pace {
    fn delay(&self, node: i32, nth: u64) -> Duration {
        let spread = self.longest.saturating_sub(self.shortest);
        if spread.is_zero() {
            return self.shortest;
        }
        let drawn = chance::draw(self.seed, u64::from(node.unsigned_abs()), nth);
        let limit = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        self.shortest + Duration::from_nanos(chance::below(drawn, limit))
    }
}

/// One replica that is not the leader, or was not when it fetched last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follower {
    /// Where its log ends.
    pub(crate) end: i64,
    /// The high watermark it was told.
    pub(crate) high_watermark: i64,
    /// A test keeps it from fetching.
    held: bool,
    /// Its node is down, or stands still.
    down: bool,
    /// The present leader has heard of it.
    pub(crate) known: bool,
    /// Since when the leader's log has been longer than its own.
    behind_since: Option<Instant>,
    /// What is on its way to it.
    fetching: VecDeque<Fetching>,
    fetches: u64,
}

/// Records on their way to a follower.
#[derive(Debug, Clone, Copy)]
struct Fetching {
    asked: Instant,
    arrives: Instant,
    /// Where its log ends with them.
    end: i64,
}

impl Follower {
    /// It does not fetch.
    pub(crate) fn is_stopped(&self) -> bool {
        self.held || self.down
    }

    /// What is on its way to who does not fetch never arrives.
    fn forget_if_stopped(&mut self) {
        if self.is_stopped() {
            self.fetching.clear();
        }
    }

    /// Takes what has arrived; when it asked for that, it was not behind.
    fn take(&mut self, now: Instant, high_watermark: i64) {
        while let Some(next) = self.fetching.front().copied().filter(|next| next.arrives <= now) {
            self.fetching.pop_front();
            (self.end, self.high_watermark, self.known) = (next.end, high_watermark, true);
            self.behind_since = Some(next.asked);
        }
    }
}

/// The replicas of one partition, by node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicas {
    followers: BTreeMap<i32, Follower>,
}

impl Replicas {
    pub(crate) fn new(nodes: &[i32]) -> Self {
        Self { followers: nodes.iter().map(|node| (*node, Follower::default())).collect() }
    }

    pub(crate) fn follower(&self, node: i32) -> Option<&Follower> {
        self.followers.get(&node)
    }

    /// A test keeps a follower from fetching, or does so no more.
    pub(crate) fn hold(&mut self, node: i32, held: bool) {
        if let Some(follower) = self.followers.get_mut(&node) {
            follower.held = held;
            follower.forget_if_stopped();
        }
    }

    /// Its node is down, or serves again.
    pub(crate) fn set_down(&mut self, node: i32, down: bool) {
        if let Some(follower) = self.followers.get_mut(&node) {
            follower.down = down;
            follower.forget_if_stopped();
        }
    }

    /// Lets followers take what is theirs by now, and ask for what they lack of a log that ends at `end`.
    pub(crate) fn fetch(&mut self, now: Instant, pace: &Pace, leader: i32, end: i64, high_watermark: i64) {
        for (node, follower) in &mut self.followers {
            if *node == leader {
                (follower.end, follower.high_watermark, follower.known) = (end, high_watermark, true);
                follower.behind_since = None;
                continue;
            }
            let coming = follower.fetching.back().map_or(follower.end, |last| last.end);
            let ignorant = follower.high_watermark < high_watermark || !follower.known;
            let idle = follower.fetching.is_empty();
            if !follower.is_stopped() && (coming < end || ignorant && idle) {
                follower.fetches += 1;
                let arrives = now + pace.delay(*node, follower.fetches);
                let arrives = follower.fetching.back().map_or(arrives, |last| arrives.max(last.arrives));
                follower.fetching.push_back(Fetching { asked: now, arrives, end });
            }
            follower.take(now, high_watermark);
            let behind = follower.end < end;
            follower.behind_since = behind.then(|| follower.behind_since.unwrap_or(now));
        }
    }

    /// When something changes by itself: a fetch arrives, or one of `isr` has been behind for too long.
    pub(crate) fn next_due(&self, pace: &Pace, isr: &[i32]) -> Option<Instant> {
        let fetches = self.followers.values().filter_map(|f| f.fetching.front().map(|next| next.arrives));
        let late = isr.iter().filter_map(|node| self.late_at(pace, *node));
        fetches.chain(late).min()
    }

    /// When `node` will have been behind for too long, if it stays so.
    pub(crate) fn late_at(&self, pace: &Pace, node: i32) -> Option<Instant> {
        self.follower(node)?.behind_since?.checked_add(pace.patience?)
    }

    /// Changes whenever a follower is told of another high watermark: who waits at it for records may have some.
    pub(crate) fn told(&self) -> i64 {
        self.followers.values().fold(0, |sum, follower| sum.wrapping_add(follower.high_watermark))
    }

    /// The smallest end among `isr`, as far as the leader knows.
    pub(crate) fn smallest_end(&self, isr: &[i32]) -> Option<i64> {
        let known = |follower: &Follower| if follower.known { follower.end } else { 0 };
        isr.iter().filter_map(|node| self.follower(*node)).map(known).min()
    }

    /// Cuts every log at `end`, and forgets the fetches that are under way: there is another leader.
    pub(crate) fn truncate(&mut self, end: i64) {
        for follower in self.followers.values_mut() {
            follower.end = follower.end.min(end);
            follower.high_watermark = follower.high_watermark.min(end);
            (follower.behind_since, follower.known) = (None, false);
            follower.fetching.clear();
        }
    }

    /// Other nodes: new ones have nothing yet.
    pub(crate) fn reassign(&mut self, nodes: &[i32]) {
        self.followers.retain(|node, _| nodes.contains(node));
        for node in nodes {
            self.followers.entry(*node).or_default();
        }
    }

    /// What the leader knew, before it stops being the leader.
    pub(crate) fn keep(&mut self, leader: i32, end: i64, high_watermark: i64) {
        if let Some(follower) = self.followers.get_mut(&leader) {
            (follower.end, follower.high_watermark) = (end, high_watermark);
        }
    }
}
