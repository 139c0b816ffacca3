//! Snapshots of what was done, for the [`metrics`](https://docs.rs/metrics) facade and whatever recorder a program has
//! installed. Needs the feature `metrics`.
//!
//! Nothing happens by itself: call [`publish_producer`] and [`publish_stream`] now and then, once every few seconds for example.
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
//!
//! Rates are not published: a rate is the difference of a counter in two snapshots by the time between them, which recorders
//! take of what was published (in PromQL, `rate(ottla_producer_records_written_total[1m])`), and whoever has no recorder of the
//! snapshots themselves:
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now())?;
//! # fake.control(|cluster, now| cluster.create_topic(now, "orders", 1, 1))?;
//! # let client = ottla::ClientBuilder::new(fake.bootstrap()).build().await?;
//! use std::time::Instant;
//!
//! let producer = client.producer().build().await?;
//! let (before, began) = (producer.metrics(), Instant::now());
//! producer.send("orders", ottla::Record::new("created")).await?;
//! let (after, took) = (producer.metrics(), began.elapsed().as_secs_f64());
//! println!("{} records/s", (after.records_written - before.records_written) as f64 / took);
//! println!("{} bytes/s", (after.bytes - before.bytes) as f64 / took);
//! # assert_eq!(after.records_written - before.records_written, 1);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use std::time::Duration;

use ::metrics::{counter, gauge};

use crate::{Histogram, ProducerMetrics, StreamMetrics};

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
/// | `ottla_producer_buffered_bytes`, `ottla_producer_buffered_records` | records that are not resolved |
/// | `ottla_producer_compression_ratio` | bytes before compression by bytes after it |
/// | `ottla_producer_request_seconds` | request latency since the start, with the label `quantile`: 0.5, 0.99, 0.999, 1 |
pub fn publish_producer(name: &str, metrics: &ProducerMetrics) {
    let of = Labelled { kind: "producer", name };
    of.count("ottla_producer_records_written_total", metrics.records_written);
    of.count("ottla_producer_records_failed_total", metrics.records_failed);
    of.count("ottla_producer_batches_total", metrics.batches);
    of.count("ottla_producer_splits_total", metrics.splits);
    of.count("ottla_producer_bytes_total", metrics.bytes);
    of.count("ottla_producer_compressed_bytes_total", metrics.compressed_bytes);
    of.count("ottla_producer_requests_total", metrics.requests);
    of.count("ottla_producer_retries_total", metrics.retries);
    of.count_millis("ottla_producer_throttled_milliseconds_total", metrics.throttled);
    of.set("ottla_producer_requests_in_flight", metrics.in_flight as f64);
    of.set("ottla_producer_buffered_bytes", metrics.buffered as f64);
    of.set("ottla_producer_buffered_records", metrics.buffered_records as f64);
    of.set("ottla_producer_compression_ratio", metrics.compression_ratio());
    of.set_quantiles("ottla_producer_request_seconds", &metrics.latency);
}

/// Sets these metrics, each with the label `stream = name`:
///
/// | counter | counts |
/// |---|---|
/// | `ottla_stream_records_total`, `ottla_stream_bytes_total` | records that were handed over; bytes of their batches |
/// | `ottla_stream_resets_total`, `ottla_stream_truncations_total` | positions that were not in the log |
/// | `ottla_stream_requests_total`, `ottla_stream_fetched_bytes_total` | Fetch requests; bytes of their answers |
/// | `ottla_stream_throttled_milliseconds_total` | throttle time |
///
/// | gauge | is |
/// |---|---|
/// | `ottla_stream_requests_in_flight` | Fetch requests without an answer |
/// | `ottla_stream_buffered_bytes` | answers that are not handed over |
/// | `ottla_stream_lag_records` | offsets that are left to be read |
/// | `ottla_stream_partition_lag_records` | those of one partition, with the labels `topic` and `partition`, where known |
/// | `ottla_stream_request_seconds` | latency of Fetch since the start, waits for records included, with the label `quantile`: 0.5, 0.99, 0.999, 1 |
///
/// What is said of requests and answers is that of the stream's fetcher, which streams of the client with equal settings share.
pub fn publish_stream(name: &str, metrics: &StreamMetrics) {
    let of = Labelled { kind: "stream", name };
    let fetches = &metrics.fetches;
    of.count("ottla_stream_records_total", metrics.records);
    of.count("ottla_stream_bytes_total", metrics.bytes);
    of.count("ottla_stream_resets_total", metrics.resets);
    of.count("ottla_stream_truncations_total", metrics.truncations);
    of.count("ottla_stream_requests_total", fetches.requests);
    of.count("ottla_stream_fetched_bytes_total", fetches.bytes);
    of.count_millis("ottla_stream_throttled_milliseconds_total", fetches.throttled);
    of.set("ottla_stream_requests_in_flight", fetches.in_flight as f64);
    of.set("ottla_stream_buffered_bytes", metrics.buffered as f64);
    of.set("ottla_stream_lag_records", metrics.lag() as f64);
    for partition in &metrics.partitions {
        let (topic, number) = (partition.topic.to_string(), partition.partition.to_string());
        let labels = [("stream", name.to_owned()), ("topic", topic), ("partition", number)];
        if let Some(lag) = partition.lag {
            gauge!("ottla_stream_partition_lag_records", &labels).set(lag as f64);
        }
    }
    of.set_quantiles("ottla_stream_request_seconds", &fetches.latency);
}

/// Metrics that have the name of one producer or stream as a label.
struct Labelled<'a> {
    kind: &'static str,
    name: &'a str,
}

impl Labelled<'_> {
    fn label(&self) -> (&'static str, String) {
        (self.kind, self.name.to_owned())
    }

    fn count(&self, what: &'static str, value: u64) {
        counter!(what, &[self.label()]).absolute(value);
    }

    fn count_millis(&self, what: &'static str, time: Duration) {
        self.count(what, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    fn set(&self, what: &'static str, value: f64) {
        gauge!(what, &[self.label()]).set(value);
    }

    fn set_quantiles(&self, what: &'static str, histogram: &Histogram) {
        for (quantile, percent) in [("0.5", 50.0), ("0.99", 99.0), ("0.999", 99.9), ("1", 100.0)] {
            let labels = [self.label(), ("quantile", quantile.to_owned())];
            gauge!(what, &labels).set(histogram.percentile(percent).as_secs_f64());
        }
    }
}
