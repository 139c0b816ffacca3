//! rust-rdkafka: librdkafka behind a consumer that is polled, and behind one that is a stream.

use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::Consuming;
use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Arrivals, Load};

fn config(load: &Load) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &load.bootstrap)
        // There is no consumer without one. Nothing is committed, and nobody joins.
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("check.crcs", "true")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", settings::WAIT.as_millis().to_string())
        .set("fetch.max.bytes", settings::ANSWER.to_string())
        .set("max.partition.fetch.bytes", settings::PARTITION.to_string())
        // The bytes are what bounds it, and it goes on at once when there is room again.
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", (settings::AHEAD >> 10).to_string())
        .set("fetch.queue.backoff.ms", "1");
    config
}

fn assignment(load: &Load) -> Result<TopicPartitionList> {
    let mut assignment = TopicPartitionList::new();
    for partition in 0..load.partitions {
        assignment.add_partition_offset(&load.topic, partition, Offset::Beginning)?;
    }
    Ok(assignment)
}

/// The consumer that its user polls.
pub struct RdKafkaBase(BaseConsumer);

impl Consuming for RdKafkaBase {
    async fn open(load: &Load) -> Result<Self> {
        let consumer: BaseConsumer = config(load).create()?;
        consumer.assign(&assignment(load)?)?;
        Ok(Self(consumer))
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        // Polling waits in place.
        tokio::task::block_in_place(|| {
            while !arrivals.is_over_now() {
                if let Some(message) = self.0.poll(settings::WAIT) {
                    let message = message?;
                    arrivals.take(message.partition(), message.offset(), message.payload())?;
                }
            }
            Ok(())
        })
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The consumer that is a stream.
pub struct RdKafkaStream(StreamConsumer);

impl Consuming for RdKafkaStream {
    async fn open(load: &Load) -> Result<Self> {
        let consumer: StreamConsumer = config(load).create()?;
        consumer.assign(&assignment(load)?)?;
        Ok(Self(consumer))
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        while !arrivals.is_over_now() {
            let message = self.0.recv().await?;
            arrivals.take(message.partition(), message.offset(), message.payload())?;
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
