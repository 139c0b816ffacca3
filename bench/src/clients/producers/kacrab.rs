//! kacrab: records sent one after the other, and a flush. Where its buffer is full, `send` spins until there is room, so
//! what is on its way is kept below that.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use kacrab::producer::{Producer, ProducerRecord, SendFuture};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::Producing;
use crate::Result;
use crate::producing::load::settings;
use crate::producing::{Item, Load, Payloads, Source};

/// A producer and the name of its topic.
#[derive(Debug)]
pub struct Kacrab {
    producer: Producer,
    topic: Arc<str>,
    payloads: Payloads,
}

impl Producing for Kacrab {
    type Delivery = Delivery;

    async fn open(load: &Load) -> Result<Self> {
        // With more than one, several partitions of real brokers have records twice.
        let in_flight = if load.marked && load.partitions > 1 { 1 } else { settings::IN_FLIGHT };
        let producer = Producer::builder()
            .set("bootstrap.servers", load.bootstrap.as_str())
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", in_flight.to_string())
            .set("linger.ms", settings::LINGER.as_millis().to_string())
            .set("batch.size", settings::BATCH.to_string())
            // A batch of each partition fits a request.
            .set("max.request.size", settings::BUFFER.to_string())
            .set("buffer.memory", settings::BUFFER.to_string())
            .set("compression.type", load.codec.to_string())
            .build()
            .await?;
        Ok(Self { producer, topic: load.topic.as_str().into(), payloads: load.payloads })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        // A worker that spins may be the one that has the producer's own task next, which then never makes room.
        block_in_place(|| Handle::current().block_on(self.send_all(source)))?;
        self.flush().await
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Delivery> {
        Ok(Delivery(self.send(item)?))
    }

    async fn flush(&self) -> Result<()> {
        Ok(self.producer.flush().await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.producer.close().await?)
    }
}

impl Kacrab {
    async fn send_all(&self, source: &mut Source) -> Result<()> {
        let (mut on_the_way, mut bytes) = (VecDeque::new(), 0);
        while let Some(item) = source.next_item() {
            bytes += item.value.len() + RECORD;
            let delivery = self.send(item)?;
            if bytes >= settings::BATCH {
                bytes = 0;
                on_the_way.push_back(delivery);
                if on_the_way.len() > ON_THE_WAY
                    && let Some(oldest) = on_the_way.pop_front()
                {
                    oldest.await?;
                }
            }
        }
        Ok(())
    }

    fn send(&self, item: Item<'_>) -> Result<SendFuture> {
        let value = match self.payloads {
            Payloads::Borrowed => Bytes::copy_from_slice(item.value),
            Payloads::Shared => item.shared.clone(),
        };
        let mut record = ProducerRecord::topic_value(self.topic.clone(), value);
        if let Some(key) = item.key {
            record = record.key(key.clone());
        }
        Ok(self.producer.send(record)?)
    }
}

/// Its own, with errors that fit here.
#[derive(Debug)]
pub struct Delivery(SendFuture);

impl Future for Delivery {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.map(drop).map_err(Into::into))
    }
}

/// What a record is counted with beside its value.
const RECORD: usize = 32;
/// So many batches' bytes are on their way at most; those that are not full take as much of the buffer as full ones.
const ON_THE_WAY: usize = settings::BUFFER / settings::BATCH / 2;
