//! RSKafka: a stream for each partition, in a task of its own where there are several.

use std::sync::Arc;

use futures::StreamExt;
use rskafka::client::ClientBuilder;
use rskafka::client::consumer::{StartOffset, StreamConsumer, StreamConsumerBuilder};
use rskafka::client::partition::UnknownTopicHandling;

use super::Consuming;
use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Arrivals, Load};

/// The streams of a topic's partitions.
pub struct RsKafka(Vec<StreamConsumer>);

impl Consuming for RsKafka {
    async fn open(load: &Load) -> Result<Self> {
        let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
        let mut streams = Vec::new();
        for partition in 0..load.partitions {
            let unknown = UnknownTopicHandling::Retry;
            let client = Arc::new(client.partition_client(&load.topic, partition, unknown).await?);
            let stream = StreamConsumerBuilder::new(client, StartOffset::Earliest)
                .with_max_batch_size(settings::PARTITION)
                .with_max_wait_ms(i32::try_from(settings::WAIT.as_millis())?)
                .build();
            streams.push(stream);
        }
        Ok(Self(streams))
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        if let [stream] = &mut self.0[..] {
            return read(stream, 0, arrivals).await;
        }
        let streams = self.0.drain(..).zip(arrivals.split()).zip(0..);
        let tasks = streams.map(|((mut stream, mut arrivals), partition)| {
            tokio::spawn(async move {
                read(&mut stream, partition, &mut arrivals).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>((stream, arrivals))
            })
        });
        let mut parts = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            let (stream, part) = task.await??;
            self.0.push(stream);
            parts.push(part);
        }
        arrivals.join(parts);
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

async fn read(stream: &mut StreamConsumer, partition: i32, arrivals: &mut Arrivals) -> Result<()> {
    while !arrivals.is_over_now() {
        let (record, _) = stream.next().await.ok_or("the stream is over")??;
        arrivals.take(partition, record.offset, record.record.value.as_deref())?;
    }
    Ok(())
}
