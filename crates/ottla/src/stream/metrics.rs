//! What a stream has done, and what is left to be done.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::fetcher::FetcherMetrics;

/// Counts since the stream was made, those of `fetches` since its fetcher was, and where it is. Two snapshots make
/// [rates](Self::rates_since).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamMetrics {
    /// Records that were handed over.
    pub records: u64,
    /// Bytes of the batches they came in, as the broker has them; again where a batch was fetched again because its partition was
    /// paused and gave its room to others.
    pub bytes: u64,
    /// Memory of answers that were not handed over so far, in bytes: the buffers of whole answers, half a kilobyte for each, and half a
    /// kilobyte for each partition in it. What was handed over last counts until the next is asked for. An answer that has records of several streams is
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

    /// What was done since an earlier snapshot, so much time ago, by the second. In no time nothing was done.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn example(stream: &ottla::RecordStream, earlier: &ottla::StreamMetrics) {
    /// let rates = stream.metrics().rates_since(earlier, Duration::from_secs(10));
    /// println!("{:.0} records/s, {:.0} bytes/s", rates.records, rates.bytes);
    /// # }
    /// ```
    pub fn rates_since(&self, earlier: &Self, time: Duration) -> StreamRates {
        let rate = |count: fn(&Self) -> u64| match time.as_secs_f64() {
            0.0 => 0.0,
            seconds => count(self).saturating_sub(count(earlier)) as f64 / seconds,
        };
        StreamRates { records: rate(|it| it.records), bytes: rate(|it| it.bytes) }
    }
}

/// What a stream did in a time, by the second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamRates {
    /// Records that were handed over.
    pub records: f64,
    /// Bytes of the batches they came in, as the broker has them.
    pub bytes: f64,
}

/// What the reader counts.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) resets: u64,
    pub(super) truncations: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_since_by_the_second() {
        let earlier = StreamMetrics { records: 100, bytes: 1_000, ..StreamMetrics::default() };
        let later = StreamMetrics { records: 150, bytes: 6_000, ..StreamMetrics::default() };
        let two_seconds = Duration::from_secs(2);
        let rates = StreamRates { records: 25.0, bytes: 2_500.0 };
        assert_eq!(later.rates_since(&earlier, two_seconds), rates);
        assert_eq!(later.rates_since(&later, two_seconds), StreamRates::default());
        assert_eq!(later.rates_since(&earlier, Duration::ZERO), StreamRates::default());
        assert_eq!(earlier.rates_since(&later, two_seconds).records, 0.0, "they were mixed up");
    }
}
