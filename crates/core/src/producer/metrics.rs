//! What a producer has done, counted by the machine as it does it.

use std::time::Duration;

use crate::Histogram;

/// Counts since the producer was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records in batches that were acknowledged.
    pub records_written: u64,
    /// Records in batches that were given up, whether or not they may have been written.
    pub records_failed: u64,
    /// Batches that were pushed.
    pub batches: u64,
    /// Their bytes before compression, headers included.
    pub bytes: u64,
    /// Their bytes after compression, headers included.
    pub compressed_bytes: u64,
    /// Batches that were split, because their topic does not take such large ones.
    pub splits: u64,
    /// Produce requests that were sent.
    pub requests: u64,
    /// Attempts of batches beyond the first of each.
    pub retries: u64,
    /// How long brokers have asked to be left alone, all added up.
    pub throttled: Duration,
    /// From sending a request until its answer is there.
    pub latency: Histogram,
    /// Produce requests without an answer at present.
    pub in_flight: u64,
    /// Bytes that the records take which are not resolved at present, wherever they wait. The machine does not know: who
    /// drives it says so.
    pub buffered: u64,
    /// Those records: accepted, and neither acknowledged nor given up. The machine counts those that were pushed: who drives it
    /// adds those that were not.
    pub buffered_records: u64,
}

impl ProducerMetrics {
    pub(super) fn add(&mut self, (written, failed): (u64, u64)) {
        self.records_written += written;
        self.records_failed += failed;
    }

    /// How many times smaller compression made the batches: 1 without it, and without batches.
    pub fn compression_ratio(&self) -> f64 {
        if self.compressed_bytes == 0 { 1.0 } else { self.bytes as f64 / self.compressed_bytes as f64 }
    }
}
