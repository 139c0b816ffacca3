//! Snapshots of what was done, for the [`metrics`](https://docs.rs/metrics) facade and whatever recorder a program has
//! installed. Needs the feature `metrics`.
//!
//! Nothing happens by itself: call [`publish_producer`] now and then, once every few seconds for example.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now())?;
//! # let client = ottla::ClientBuilder::new(fake.bootstrap()).build().await?;
//! let producer = client.producer().build().await?;
//! ottla::metrics::publish_producer("orders", &producer.metrics());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use ::metrics::{counter, gauge};

use crate::{Histogram, ProducerMetrics};

/// Sets these metrics, each with the label `producer = name`:
///
/// | counter | counts |
/// |---|---|
/// | `ottla_producer_records_written_total`, `ottla_producer_records_failed_total` | records |
/// | `ottla_producer_batches_total`, `ottla_producer_splits_total` | batches |
/// | `ottla_producer_bytes_total`, `ottla_producer_compressed_bytes_total` | bytes of batches |
/// | `ottla_producer_requests_total`, `ottla_producer_retries_total` | requests; attempts of batches beyond the first |
/// | `ottla_producer_throttled_milliseconds_total` | throttle time |
///
/// | gauge | is |
/// |---|---|
/// | `ottla_producer_requests_in_flight` | requests without an answer |
/// | `ottla_producer_buffered_bytes` | records that are not resolved |
/// | `ottla_producer_compression_ratio` | bytes before compression by bytes after it |
/// | `ottla_producer_request_seconds` | request latency since the start, with the label `quantile`: 0.5, 0.99, 0.999, 1 |
pub fn publish_producer(name: &str, metrics: &ProducerMetrics) {
    let name = || name.to_owned();
    let count = |what: &'static str, value| counter!(what, "producer" => name()).absolute(value);
    count("ottla_producer_records_written_total", metrics.records_written);
    count("ottla_producer_records_failed_total", metrics.records_failed);
    count("ottla_producer_batches_total", metrics.batches);
    count("ottla_producer_splits_total", metrics.splits);
    count("ottla_producer_bytes_total", metrics.bytes);
    count("ottla_producer_compressed_bytes_total", metrics.compressed_bytes);
    count("ottla_producer_requests_total", metrics.requests);
    count("ottla_producer_retries_total", metrics.retries);
    let throttled = u64::try_from(metrics.throttled.as_millis()).unwrap_or(u64::MAX);
    count("ottla_producer_throttled_milliseconds_total", throttled);
    gauge!("ottla_producer_requests_in_flight", "producer" => name()).set(metrics.in_flight as f64);
    gauge!("ottla_producer_buffered_bytes", "producer" => name()).set(metrics.buffered as f64);
    gauge!("ottla_producer_compression_ratio", "producer" => name()).set(metrics.compression_ratio());
    for (quantile, seconds) in quantiles(&metrics.latency) {
        gauge!("ottla_producer_request_seconds", "producer" => name(), "quantile" => quantile).set(seconds);
    }
}

fn quantiles(histogram: &Histogram) -> [(&'static str, f64); 4] {
    [("0.5", 50.0), ("0.99", 99.0), ("0.999", 99.9), ("1", 100.0)]
        .map(|(quantile, percent)| (quantile, histogram.percentile(percent).as_secs_f64()))
}
