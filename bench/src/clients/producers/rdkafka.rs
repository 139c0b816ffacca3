//! rust-rdkafka: librdkafka behind a producer that is polled, and behind one with futures.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;

use super::Producing;
use crate::Result;
use crate::producing::load::settings;
use crate::producing::{Item, Load, Source};

fn config(load: &Load) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &load.bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", settings::IN_FLIGHT.to_string())
        .set("linger.ms", settings::LINGER.as_millis().to_string())
        .set("batch.size", settings::BATCH.to_string())
        // So that the bytes are what fills a batch, whatever the size of a record.
        .set("batch.num.messages", "1000000")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", (settings::BUFFER >> 10).to_string())
        .set("partitioner", "murmur2_random")
        .set("compression.type", load.codec.to_string());
    config
}

fn is_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

/// The producer that its user polls: nothing happens on other threads but librdkafka's own.
pub struct RdKafkaBase {
    producer: BaseProducer<Failures>,
    topic: String,
}

/// Counts records that were not written.
#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Producing for RdKafkaBase {
    type Delivery = std::future::Pending<Result<()>>;

    async fn open(load: &Load) -> Result<Self> {
        let producer = config(load).create_with_context(Failures::default())?;
        Ok(Self { producer, topic: load.topic.clone() })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        while let Some(item) = source.next_item() {
            let mut record = BaseRecord::to(&self.topic).payload(item.value);
            if let Some(key) = item.key {
                record = record.key(&key[..]);
            }
            loop {
                match self.producer.send(record) {
                    Ok(()) => break,
                    Err((error, refused)) if is_full(&error) => {
                        record = refused;
                        self.producer.poll(Duration::from_millis(1));
                    }
                    Err((error, _)) => return Err(error.into()),
                }
            }
            if source.count.is_multiple_of(POLL_EVERY) {
                self.producer.poll(Duration::ZERO);
            }
        }
        self.flush().await
    }

    async fn deliver(&self, _: Item<'_>) -> Result<Self::Delivery> {
        Err("its callbacks are what the producer with futures has".into())
    }

    async fn flush(&self) -> Result<()> {
        self.producer.flush(Timeout::Never)?;
        match self.producer.context().0.load(Ordering::Relaxed) {
            0 => Ok(()),
            failures => Err(format!("{failures} records were not written").into()),
        }
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The producer with a future for each record, and a thread that polls.
pub struct RdKafkaFuture {
    producer: FutureProducer,
    topic: String,
}

impl Producing for RdKafkaFuture {
    type Delivery = Delivery;

    async fn open(load: &Load) -> Result<Self> {
        Ok(Self { producer: config(load).create()?, topic: load.topic.clone() })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        while let Some(item) = source.next_item() {
            drop(self.deliver(item).await?);
        }
        self.flush().await
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Delivery> {
        let mut record = FutureRecord::to(&self.topic).payload(item.value);
        if let Some(key) = item.key {
            record = record.key(&key[..]);
        }
        loop {
            match self.producer.send_result(record) {
                Ok(delivery) => return Ok(Delivery(delivery)),
                Err((error, refused)) if is_full(&error) => {
                    record = refused;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        // It polls on a thread of its own, so waiting blocks a worker and nobody else.
        Ok(self.producer.flush(Timeout::Never)?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// Its own, with errors that fit here.
pub struct Delivery(DeliveryFuture);

impl Future for Delivery {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(Ok(_)) => Poll::Ready(Ok(())),
            Ok(Err((error, _))) => Poll::Ready(Err(error.into())),
            Err(_) => Poll::Ready(Err("the producer was dropped".into())),
        }
    }
}

/// Records between two polls.
const POLL_EVERY: u64 = 1_000;
