//! kacrab: a consumer with assigned partitions, polled for many records at a time.

use kacrab::common::TopicPartition;
use kacrab::consumer::Consumer;

use super::Consuming;
use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Arrivals, Load};

/// A consumer.
pub struct Kacrab(Consumer);

impl Consuming for Kacrab {
    async fn open(load: &Load) -> Result<Self> {
        let mut consumer = Consumer::from_map([
            ("bootstrap.servers", load.bootstrap.clone()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("fetch.max.bytes", settings::ANSWER.to_string()),
            ("max.partition.fetch.bytes", settings::PARTITION.to_string()),
            ("fetch.max.wait.ms", settings::WAIT.as_millis().to_string()),
            ("max.poll.records", POLL.to_string()),
        ])
        .await?;
        consumer
            .assign((0..load.partitions).map(|partition| TopicPartition::new(&*load.topic, partition)))?;
        Ok(Self(consumer))
    }

    async fn consume(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        while !arrivals.is_over() {
            for record in &self.0.poll(settings::WAIT).await? {
                arrivals.take(record.partition, record.offset, record.value.as_deref())?;
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        self.0.close().await;
        Ok(())
    }
}

/// Records of a poll at most: about those of an answer.
const POLL: i32 = 10_000;
