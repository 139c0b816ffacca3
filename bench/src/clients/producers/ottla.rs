//! ottla: one producer, one topic handle; records handed over many at a time, and one by one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use ottla::{ClientBuilder, Producer, Record, TopicProducer};

use super::Producing;
use crate::Result;
use crate::producing::load::settings;
use crate::producing::{Item, Load, Payloads, Source};

/// A producer and its topic.
#[derive(Debug)]
pub struct Ottla {
    producer: Producer,
    topic: TopicProducer,
    payloads: Payloads,
}

impl Producing for Ottla {
    type Delivery = Delivery;

    async fn open(load: &Load) -> Result<Self> {
        let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
        let producer = client
            .producer()
            .compression(load.codec.ottla())
            .linger(settings::LINGER)
            .batch_size(settings::BATCH)
            .buffer_memory(settings::BUFFER)
            .build()
            .await?;
        let topic = producer.topic(&load.topic).await?;
        Ok(Self { producer, topic, payloads: load.payloads })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        match self.payloads {
            Payloads::Borrowed => {
                while let Some(items) = source.next_items() {
                    accepted(self.topic.enqueue_all(items.map(borrowed)).await)?;
                }
            }
            Payloads::Shared => {
                while let Some(items) = source.next_items() {
                    accepted(self.topic.enqueue_all(items.map(shared)).await)?;
                }
            }
        }
        self.flush().await
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Delivery> {
        Ok(Delivery(self.topic.enqueue(borrowed(item)).await?))
    }

    async fn flush(&self) -> Result<()> {
        self.producer.flush().await;
        Ok(())
    }

    fn mean_batch(&self) -> u64 {
        let metrics = self.producer.metrics();
        metrics.bytes.checked_div(metrics.batches).unwrap_or_default()
    }

    async fn close(self) -> Result<()> {
        self.producer.close().await;
        Ok(())
    }
}

/// The same, with a call for each record.
#[derive(Debug)]
pub struct OttlaOneByOne(Ottla);

impl Producing for OttlaOneByOne {
    type Delivery = Delivery;

    async fn open(load: &Load) -> Result<Self> {
        Ok(Self(Ottla::open(load).await?))
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        match self.0.payloads {
            Payloads::Borrowed => {
                while let Some(item) = source.next_item() {
                    drop(self.0.topic.enqueue(borrowed(item)).await?);
                }
            }
            Payloads::Shared => {
                while let Some(item) = source.next_item() {
                    drop(self.0.topic.enqueue(shared(item)).await?);
                }
            }
        }
        self.flush().await
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Delivery> {
        self.0.deliver(item).await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    fn mean_batch(&self) -> u64 {
        self.0.mean_batch()
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

#[inline(always)]
fn borrowed(item: Item<'_>) -> Record<'_> {
    keyed(Record::new(item.value), item.key)
}

#[inline(always)]
fn shared(item: Item<'_>) -> Record<'_> {
    keyed(Record::new(item.shared.clone()), item.key)
}

/// What becomes of them, `flush` waits for.
fn accepted(deliveries: Vec<ottla::Result<ottla::Delivery>>) -> Result<()> {
    for delivery in deliveries {
        drop(delivery?);
    }
    Ok(())
}

#[inline(always)]
fn keyed<'a>(record: Record<'a>, key: Option<&'a Bytes>) -> Record<'a> {
    match key {
        Some(key) => record.key(&key[..]),
        None => record,
    }
}

/// ottla's own, with errors that fit here.
#[derive(Debug)]
pub struct Delivery(ottla::Delivery);

impl Future for Delivery {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.map(drop).map_err(Into::into))
    }
}
