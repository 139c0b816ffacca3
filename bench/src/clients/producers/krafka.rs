//! krafka: records queued one after the other, deliveries dropped, a flush.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use krafka::producer::{DeliveryHandle, Producer};
use krafka::{Compression, Kafka, Record};

use super::Producing;
use crate::Result;
use crate::contest::Codec;
use crate::producing::load::settings;
use crate::producing::{Item, Load, Payloads, Source};

/// A producer and the name of its topic.
#[derive(Debug)]
pub struct Krafka {
    producer: Producer,
    topic: String,
    payloads: Payloads,
}

impl Producing for Krafka {
    type Delivery = Delivery;

    async fn open(load: &Load) -> Result<Self> {
        let compression = match load.codec {
            Codec::None => Compression::None,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        let kafka = Kafka::builder(&load.bootstrap).max_in_flight_requests(settings::IN_FLIGHT);
        let producer = kafka
            .connect()
            .await?
            .producer()
            .compression(compression)
            .linger(settings::LINGER)
            .batch_size(settings::BATCH)
            .buffer_memory(settings::BUFFER)
            .build()
            .await?;
        Ok(Self { producer, topic: load.topic.clone(), payloads: load.payloads })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        while let Some(item) = source.next_item() {
            drop(self.deliver(item).await?);
        }
        self.flush().await
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Delivery> {
        let value = match self.payloads {
            Payloads::Borrowed => Bytes::copy_from_slice(item.value),
            Payloads::Shared => item.shared.clone(),
        };
        let mut record = Record::new(self.topic.as_str(), value);
        record.key = item.key.cloned();
        Ok(Delivery(self.producer.enqueue(record).await?))
    }

    async fn flush(&self) -> Result<()> {
        Ok(self.producer.flush().await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.producer.close().await?)
    }
}

/// Its own, with errors that fit here.
#[derive(Debug)]
pub struct Delivery(DeliveryHandle);

impl Future for Delivery {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.map(drop).map_err(Into::into))
    }
}
