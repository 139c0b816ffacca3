//! ottla: batches that are lent, the same with each record on its own, and a stream of single records.

use ottla::{Batch, Client, ClientBuilder, RecordStream, StartOffset, StreamConsumer, StreamConsumerBuilder};

use super::Consuming;
use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Arrivals, Load, Records};

/// Reads batches.
#[derive(Debug)]
pub struct Ottla {
    stream: Stream,
    records: Records,
}

/// Reads one record after the other.
#[derive(Debug)]
pub struct OttlaStream(Stream);

/// Of one partition, or of many.
#[derive(Debug)]
enum Stream {
    One(Box<StreamConsumer>),
    Many(Box<RecordStream>),
}

impl Stream {
    async fn open(load: &Load) -> Result<Self> {
        let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
        match load.partitions {
            1 => Self::one(&client, &load.topic).await,
            _ => Self::many(&client, load).await,
        }
    }

    async fn one(client: &Client, topic: &str) -> Result<Self> {
        let partition = client.partition_client(topic, 0).await?;
        let stream = StreamConsumerBuilder::new(partition, StartOffset::Earliest)
            .with_prefetch_bytes(settings::AHEAD)
            .with_max_bytes(settings::PARTITION)
            .with_max_wait_ms(i32::try_from(settings::WAIT.as_millis())?)
            .build()?;
        Ok(Self::One(Box::new(stream)))
    }

    async fn many(client: &Client, load: &Load) -> Result<Self> {
        let mut stream = client
            .stream()
            .prefetch_bytes(settings::AHEAD)
            .max_bytes(settings::ANSWER)
            .partition_max_bytes(settings::PARTITION)
            .max_wait(settings::WAIT)
            .build()?;
        for partition in 0..load.partitions {
            stream.add(&load.topic, partition, StartOffset::Earliest).await?;
        }
        Ok(Self::Many(Box::new(stream)))
    }

    async fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        Ok(match self {
            Self::One(stream) => stream.next_batch().await?,
            Self::Many(stream) => stream.next_batch().await?,
        })
    }
}

impl Consuming for Ottla {
    async fn open(load: &Load) -> Result<Self> {
        Ok(Self { stream: Stream::open(load).await?, records: load.records })
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        while !arrivals.is_over() {
            let batch = self.stream.next_batch().await?.ok_or("the stream is over")?;
            let partition = batch.partition();
            match self.records {
                Records::Borrowed => {
                    for record in &batch {
                        arrivals.take(partition, record.offset, record.value)?;
                    }
                }
                Records::Owned => {
                    for record in batch.owned() {
                        arrivals.take(partition, record.offset, record.value.as_deref())?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Consuming for OttlaStream {
    async fn open(load: &Load) -> Result<Self> {
        Stream::open(load).await.map(Self)
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        while !arrivals.is_over_now() {
            match &mut self.0 {
                Stream::One(stream) => {
                    let (record, _) = stream.next().await.ok_or("the stream is over")??;
                    arrivals.take(0, record.offset, record.value.as_deref())?;
                }
                Stream::Many(stream) => {
                    let next = stream.next().await.ok_or("the stream is over")??;
                    arrivals.take(next.partition, next.record.offset, next.record.value.as_deref())?;
                }
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
