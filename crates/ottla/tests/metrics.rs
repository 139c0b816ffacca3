//! What the `metrics` facade is told.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use ottla::{ClientBuilder, Record, StartOffset};

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
        (metrics.records_written, metrics.buffered, metrics.latency.count()),
        (3, 0, metrics.requests)
    );

    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || ottla::metrics::publish_producer("orders", &metrics));
    assert_eq!(kept.value("ottla_producer_records_written_total producer=orders"), 3);
    assert_eq!(kept.value("ottla_producer_requests_total producer=orders"), metrics.requests);
    let p99 = f64::from_bits(kept.value("ottla_producer_request_seconds producer=orders quantile=0.99"));
    assert!(p99 > 0.0 && p99 < 10.0, "{p99}");
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
