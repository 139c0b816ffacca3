//! What runs were made of: how often each fault really struck, and how often what it was about came up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What should come up in some hundred seeds; what does not is said so.
const EXPECTED: [&str; 40] = [
    // Faults.
    "error",
    "delay",
    "silence",
    "disconnect",
    "corrupt",
    "throttle",
    "kill",
    "pause",
    "move",
    "cut",
    "lag",
    "unclean",
    "evict",
    // What became of values.
    "written",
    "not written",
    "unknown",
    "lost",
    // What writers do.
    "split",
    "awaited",
    "full",
    "flush",
    "close",
    "left",
    "all at once",
    "by key",
    "anywhere",
    // What aggregators do.
    "aggregated",
    "refused",
    "panicked",
    "called back",
    "panicked flush",
    "panicked status",
    // What streams do and are told.
    "streamed",
    "truncated",
    "reset",
    "failed",
    "sought",
    "paused stream",
    "removed",
    "rebuilt",
];

#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    counts: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    /// Records that were read with `fetch_records`.
    pub(crate) read: u64,
    /// Requests of a hundred that were allowed, in the run that made most of them.
    pub(crate) busiest: u64,
    /// Processor time of all runs, and of the longest with its seed.
    pub(crate) cost: Duration,
    pub(crate) most: (Duration, u64),
}

impl Outcome {
    pub(crate) fn count(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// The run of that seed took so much processor time.
    pub(crate) fn that_cost(self, cost: Duration, seed: u64) -> Self {
        Self { cost, most: (cost, seed), ..self }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.counts.iter().for_each(|(what, times)| self.count(what, *times));
        self.requests += other.requests;
        self.read += other.read;
        self.busiest = self.busiest.max(other.busiest);
        self.cost += other.cost;
        self.most = self.most.max(other.most);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.counts.iter().map(|(what, times)| format!("{what} {times}")).collect();
        writeln!(f, "{}, read {}", counts.join(", "), self.read)?;
        writeln!(f, "{} requests, in one run {} % of what is allowed", self.requests, self.busiest)?;
        let seen = |what: &&str| self.counts.get(what).is_some_and(|times| *times > 0);
        let never: Vec<_> = EXPECTED.into_iter().filter(|what| !seen(what)).collect();
        writeln!(f, "never: {}", if never.is_empty() { "nothing".to_owned() } else { never.join(", ") })?;
        let (most, seed) = self.most;
        write!(f, "at most {:.1} ms of processor time (seed {seed})", most.as_secs_f64() * 1e3)
    }
}
