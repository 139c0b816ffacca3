//! [`Histogram`]: how long things took, in a fixed kilobyte or four.

use std::fmt;
use std::time::Duration;

/// Durations in buckets of microseconds, each an eighth of its power of two wide: percentiles are right to 12.5 %, from
/// 1 us to an hour; longer ones count as an hour. Recording is an addition, merging and copying cost the same for any
/// number of values.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum: Duration,
    max: Duration,
}

/// Buckets for each power of two.
const PARTS: u64 = 8;
const LARGEST: Duration = Duration::from_secs(3_600);
/// The bucket of an hour, 2^31.7 us, and one more.
const BUCKETS: usize = bucket(LARGEST.as_micros() as u64) + 1;

/// Up to `PARTS` each value has a bucket of its own.
const fn bucket(micros: u64) -> usize {
    if micros < PARTS {
        return micros as usize;
    }
    let power = micros.ilog2() - PARTS.ilog2();
    ((power as u64 + 1) * PARTS + (micros >> power) - PARTS) as usize
}

/// The largest value of a bucket.
const fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let power = bucket / PARTS - 1;
    ((PARTS + bucket % PARTS + 1) << power) - 1
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, sum: Duration::ZERO, max: Duration::ZERO }
    }

    /// Adds a value.
    pub fn record(&mut self, value: Duration) {
        let value = value.min(LARGEST);
        self.buckets[bucket(value.as_micros() as u64)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets.iter()).for_each(|(mine, its)| *mine += its);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The largest value.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The mean; zero without values.
    pub fn mean(&self) -> Duration {
        match u32::try_from(self.count) {
            Ok(0) => Duration::ZERO,
            Ok(count) => self.sum / count,
            Err(_) => self.sum.div_f64(self.count as f64),
        }
    }

    /// The value that so many percent of all values do not exceed, from 0 to 100; zero without values. It is the upper
    /// end of its bucket, so never too small.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut latency = ottla_core::Histogram::new();
    /// (1..=100).for_each(|ms| latency.record(Duration::from_millis(ms)));
    /// let p99 = latency.percentile(99.0);
    /// assert!(p99 >= Duration::from_millis(99) && p99 <= Duration::from_millis(100));
    /// ```
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let found = self.buckets.iter().position(|count| {
            passed += count;
            passed >= rank
        });
        found.map_or(Duration::ZERO, |found| Duration::from_micros(upper(found)).min(self.max))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_a_bucket_that_ends_at_most_an_eighth_above_it() {
        let values = (0..5_000).chain((13..32).flat_map(|power| {
            let power = 1_u64 << power;
            [power - 1, power, power + 1, power + power / 3]
        }));
        for micros in values.filter(|micros| *micros <= LARGEST.as_micros() as u64) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros && upper <= micros + micros / 8, "{micros}: {upper}");
        }
    }

    #[test]
    fn percentiles_are_about_right_and_never_too_small() {
        let mut histogram = Histogram::new();
        for micros in 1..=10_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (percent, exact) in [(0.0, 1), (50.0, 5_000), (99.0, 9_900), (99.9, 9_990), (100.0, 10_000)] {
            let value = histogram.percentile(percent).as_micros() as u64;
            assert!(value >= exact && value <= exact + exact / 8, "p{percent}: {value}");
        }
        assert_eq!(histogram.mean(), Duration::from_nanos(5_000_500));
        assert_eq!(histogram.max(), Duration::from_millis(10));
    }

    #[test]
    fn an_empty_one_says_zero_and_a_day_counts_as_an_hour() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.percentile(99.0), histogram.mean()), (Duration::ZERO, Duration::ZERO));
        histogram.record(Duration::from_secs(86_400));
        assert_eq!(histogram.percentile(50.0), LARGEST);
    }

    #[test]
    fn merging_adds() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.record(Duration::from_micros(3));
        other.record(Duration::from_millis(3));
        one.merge(&other);
        assert_eq!(
            (one.count(), one.max(), one.percentile(50.0)),
            (2, other.max(), Duration::from_micros(3))
        );
    }
}
