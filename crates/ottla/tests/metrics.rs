//! What the `metrics` facade is told.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use ottla::{ClientBuilder, ProducerMetrics, Record, StartOffset, StreamMetrics};

/// Keeps every metric by its name and labels. Gauges hold the bits of an `f64`.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Kept {
    fn entry(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|it| format!("{}={}", it.key(), it.value())).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }

    fn value(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::Relaxed)
    }

    fn all(&self) -> BTreeMap<String, u64> {
        let kept = self.0.lock().unwrap();
        kept.iter().map(|(name, value)| (name.clone(), value.load(Ordering::Relaxed))).collect()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_producers_counts_are_published_under_its_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metrics = runtime.block_on(async {
        let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
        fake.control(|cluster, now| cluster.create_topic(now, "t", 1, 1)).unwrap();
        let client = ClientBuilder::new(fake.bootstrap()).build().await.unwrap();
        let producer = client.producer().build().await.unwrap();
        for value in ["a", "b", "c"] {
            producer.send("t", Record::new(value)).await.unwrap();
        }
        let other = producer.clone();
        producer.close().await;
        other.metrics()
    });
    assert_eq!(
        (metrics.records_written, metrics.buffered, metrics.buffered_records, metrics.latency.count()),
        (3, 0, 0, metrics.requests)
    );

    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || ottla::metrics::publish_producer("orders", &metrics));
    assert_eq!(kept.value("ottla_producer_records_written_total producer=orders"), 3);
    assert_eq!(kept.value("ottla_producer_requests_total producer=orders"), metrics.requests);
    let p99 = f64::from_bits(kept.value("ottla_producer_request_seconds producer=orders quantile=0.99"));
    assert!(p99 > 0.0 && p99 < 10.0, "{p99}");
}

/// Sets each count to a number of its own, and tells it.
fn number<const N: usize>(counts: [(&str, &mut u64); N], mut tell: impl FnMut(&str, u64) -> Option<u64>) {
    for (value, (name, count)) in (101..).zip(counts) {
        *count = value;
        assert_eq!(tell(name, value), None, "{name} is there twice");
    }
}

/// All that is published but latencies.
fn published(publish: impl FnOnce()) -> BTreeMap<String, u64> {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, publish);
    let mut all = kept.all();
    all.retain(|name, _| !name.contains("quantile="));
    all
}

#[test]
fn each_count_of_a_producer_has_a_name_of_its_own() {
    let mut metrics = ProducerMetrics::default();
    let counts: [(&str, &mut u64); 8] = [
        ("records_written", &mut metrics.records_written),
        ("records_failed", &mut metrics.records_failed),
        ("batches", &mut metrics.batches),
        ("splits", &mut metrics.splits),
        ("bytes", &mut metrics.bytes),
        ("compressed_bytes", &mut metrics.compressed_bytes),
        ("requests", &mut metrics.requests),
        ("retries", &mut metrics.retries),
    ];
    let mut expected = BTreeMap::new();
    number(counts, |name, value| expected.insert(format!("ottla_producer_{name}_total producer=p"), value));
    (metrics.in_flight, metrics.buffered, metrics.throttled) = (201, 202, Duration::from_millis(203));
    metrics.buffered_records = 204;
    expected.insert("ottla_producer_throttled_milliseconds_total producer=p".to_owned(), 203);
    let ratio = metrics.bytes as f64 / metrics.compressed_bytes as f64;
    for (name, value) in [
        ("requests_in_flight", 201.0),
        ("buffered_bytes", 202.0),
        ("buffered_records", 204.0),
        ("compression_ratio", ratio),
    ] {
        expected.insert(format!("ottla_producer_{name} producer=p"), f64::to_bits(value));
    }

    assert_eq!(published(|| ottla::metrics::publish_producer("p", &metrics)), expected);
}

#[test]
fn a_streams_counts_are_published_under_its_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metrics = runtime.block_on(async {
        let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
        fake.control(|cluster, now| cluster.create_topic(now, "t", 2, 1)).unwrap();
        let client = ClientBuilder::new(fake.bootstrap()).build().await.unwrap();
        let partition = client.partition_client("t", 0).await.unwrap();
        partition.produce(vec![Record::new("a"), Record::new("b"), Record::new("c")]).await.unwrap();
        let mut stream = client.stream().build().unwrap();
        stream.add("t", 0, StartOffset::At(1)).await.unwrap();
        stream.next().await.unwrap().unwrap();
        stream.metrics()
    });
    let left: Vec<_> = metrics.partitions.iter().map(|it| (it.partition, it.position, it.lag)).collect();
    assert_eq!((left, metrics.lag()), (vec![(0, Some(2), Some(1))], 1));
    assert!(metrics.buffered > metrics.bytes && metrics.bytes > 61, "{metrics:?}");

    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || ottla::metrics::publish_stream("orders", &metrics));
    assert_eq!(kept.value("ottla_stream_records_total stream=orders"), 1);
    assert_eq!(kept.value("ottla_stream_requests_total stream=orders"), metrics.fetches.requests);
    let gauge = |name: &str| f64::from_bits(kept.value(name));
    let lag = gauge("ottla_stream_partition_lag_records stream=orders topic=t partition=0");
    assert_eq!((lag, gauge("ottla_stream_lag_records stream=orders")), (1.0, 1.0));
    assert_eq!(gauge("ottla_stream_buffered_bytes stream=orders"), metrics.buffered as f64);
    let p99 = gauge("ottla_stream_request_seconds stream=orders quantile=0.99");
    assert!(p99 > 0.0 && p99 < 10.0, "{p99}");
}

#[test]
fn each_count_of_a_stream_has_a_name_of_its_own() {
    let mut metrics = StreamMetrics::default();
    let counts: [(&str, &mut u64); 6] = [
        ("records", &mut metrics.records),
        ("bytes", &mut metrics.bytes),
        ("resets", &mut metrics.resets),
        ("truncations", &mut metrics.truncations),
        ("requests", &mut metrics.fetches.requests),
        ("fetched_bytes", &mut metrics.fetches.bytes),
    ];
    let mut expected = BTreeMap::new();
    number(counts, |name, value| expected.insert(format!("ottla_stream_{name}_total stream=s"), value));
    (metrics.fetches.in_flight, metrics.buffered) = (201, 202);
    metrics.fetches.throttled = Duration::from_millis(203);
    expected.insert("ottla_stream_throttled_milliseconds_total stream=s".to_owned(), 203);
    for (name, value) in [("requests_in_flight", 201.0), ("buffered_bytes", 202.0), ("lag_records", 0.0)] {
        expected.insert(format!("ottla_stream_{name} stream=s"), f64::to_bits(value));
    }

    assert_eq!(published(|| ottla::metrics::publish_stream("s", &metrics)), expected);
}
