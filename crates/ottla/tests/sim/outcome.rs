//! What runs were made of: how often each fault really struck, and how often what it was about came up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What has to come up in some hundred seeds; what does not is said so.
const EXPECTED: [&str; 76] = [
    // Faults.
    "error",
    "error after",
    "delay before",
    "delay after",
    "silence before",
    "silence after",
    "disconnect before",
    "disconnect after",
    "corrupt",
    "throttle",
    "kill",
    "pause",
    "move",
    "cut",
    "lag",
    "unclean",
    "evict",
    "address moved",
    "old metadata",
    "retention",
    "damage",
    "broker comes and goes",
    "created again",
    // Which requests of many.
    "of the topic",
    "of a partition",
    "one of many",
    "a few times",
    "now and then",
    // What became of values.
    "written",
    "not written",
    "unknown",
    "lost",
    // What writers do.
    "split",
    "compressed",
    "awaited",
    "full",
    "flush",
    "close",
    "left",
    "all at once",
    "by key",
    "anywhere",
    "slow leader",
    "no leader",
    "little room",
    // What aggregators do.
    "aggregated",
    "refused",
    "panicked",
    "called back",
    "panicked flush",
    "panicked status",
    // What readers and streams do and are told.
    "out of range",
    "overtaken",
    "streamed",
    "within a shared budget",
    "truncated",
    "reset",
    "failed",
    "sought",
    "paused stream",
    "removed",
    "rebuilt",
    // Of what others write in transactions.
    "committed transaction",
    "aborted transaction",
    "open again",
    "passed over",
    "read as it is committed",
    "read before it is decided",
    "read though it is aborted",
    "waits for a transaction",
    // Of damage where it lies.
    "told of damage",
    "went on behind damage",
    // Of the cluster.
    "older release",
    "late replicas",
    "read below the end",
    // Of a topic that is created again.
    "told of another topic",
];

#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    counts: BTreeMap<&'static str, u64>,
    /// Runs in which it came up at all.
    runs: BTreeMap<&'static str, u64>,
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
        for (what, times) in &other.counts {
            self.count(what, *times);
            *self.runs.entry(what).or_default() += u64::from(*times > 0);
        }
        self.requests += other.requests;
        self.read += other.read;
        self.busiest = self.busiest.max(other.busiest);
        self.cost += other.cost;
        self.most = self.most.max(other.most);
    }
}

impl Outcome {
    /// What came up in the fewest runs, and in how many.
    fn rarest(&self) -> (&'static str, u64) {
        let runs = |what| (what, self.runs.get(what).copied().unwrap_or_default());
        EXPECTED.into_iter().map(runs).min_by_key(|(_, runs)| *runs).unwrap_or_default()
    }

    /// What has to come up, if not in each run, and did not.
    pub(crate) fn never(&self) -> Vec<&'static str> {
        let seen = |what: &&str| self.counts.get(what).is_some_and(|times| *times > 0);
        EXPECTED.into_iter().filter(|what| !seen(what)).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.counts.iter().map(|(what, times)| format!("{what} {times}")).collect();
        writeln!(f, "{}, read {}", counts.join(", "), self.read)?;
        writeln!(f, "{} requests, in one run {} % of what is allowed", self.requests, self.busiest)?;
        let never = self.never();
        writeln!(f, "never: {}", if never.is_empty() { "nothing".to_owned() } else { never.join(", ") })?;
        let (what, runs) = self.rarest();
        writeln!(f, "rarest: {what}, in {runs} runs")?;
        let (most, seed) = self.most;
        write!(f, "at most {:.1} ms of processor time (seed {seed})", most.as_secs_f64() * 1e3)
    }
}
