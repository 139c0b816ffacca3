//! What a stream has done, and what is left to be done.

use std::sync::Arc;

use ottla_core::fetcher::FetcherMetrics;

/// Counts since the stream was made, and where it is.
///
/// A rate is the difference of two snapshots' counts by the time between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamMetrics {
    /// Records that were handed over.
    pub records: u64,
    /// Bytes of the batches they came in, as the broker has them; again where a batch was fetched again because its partition was
    /// paused and gave its room to others.
    pub bytes: u64,
    /// Bytes of answers that were not handed over so far, whole answers counted. One that has records of several streams is
    /// divided between them.
    pub buffered: u64,
    /// Positions that were not in the log, and went on elsewhere.
    pub resets: u64,
    /// Truncations that were reported.
    pub truncations: u64,
    /// The partitions at present, in the order in which they were added.
    pub partitions: Vec<PartitionMetrics>,
    /// What was fetched, for this stream and for those that share its fetcher: streams of the client with equal settings.
    pub fetches: FetcherMetrics,
}

/// Where one partition of a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetrics {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset after the last record that was handed over; `None` until it is known where the partition starts.
    pub position: Option<i64>,
    /// How many offsets are left to be read, as far as known.
    pub lag: Option<u64>,
    /// The first offset in the log, where known: the low watermark.
    pub log_start_offset: Option<i64>,
    /// The offset up to which all transactions are decided, where known.
    pub last_stable_offset: Option<i64>,
    /// The offset after the last record that is replicated, where known.
    pub high_watermark: Option<i64>,
}

impl StreamMetrics {
    /// How many offsets are left to be read in all, as far as known.
    pub fn lag(&self) -> u64 {
        self.partitions.iter().filter_map(|partition| partition.lag).sum()
    }
}

/// What the reader counts.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) resets: u64,
    pub(super) truncations: u64,
}
