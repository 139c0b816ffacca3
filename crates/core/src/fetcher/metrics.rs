//! What a fetcher has done, counted by the machine as it does it.

use std::time::Duration;

use crate::Histogram;

/// Counts since the fetcher was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetcherMetrics {
    /// Fetch requests that were sent.
    pub requests: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// How long brokers have asked to be left alone, all added up.
    pub throttled: Duration,
    /// From sending a Fetch until its answer is there; brokers wait for records meanwhile.
    pub latency: Histogram,
    /// Fetch requests without an answer at present.
    pub in_flight: u64,
    /// Bytes of answers that are in memory at present.
    pub held: u64,
}

impl FetcherMetrics {
    /// Adds what another fetcher has done.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.throttled = self.throttled.saturating_add(other.throttled);
        self.latency.merge(&other.latency);
        self.in_flight += other.in_flight;
        self.held += other.held;
    }
}
