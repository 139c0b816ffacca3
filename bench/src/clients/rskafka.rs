//! RSKafka: a partition client per partition, each with a connection of its own, records written as they come.

use std::collections::BTreeMap;

use chrono::Utc;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;

use super::{Appender, READ_BYTES, READ_WAIT, Written};
use crate::Result;

/// A partition client for each partition of a topic.
#[derive(Debug)]
pub struct RsKafka {
    partitions: Vec<PartitionClient>,
}

impl RsKafka {
    /// With every partition of `topic`, which exists.
    pub async fn open(bootstrap: &[String], topic: &str, partitions: i32) -> Result<Self> {
        let client = ClientBuilder::new(bootstrap.to_vec()).build().await?;
        let mut clients = Vec::new();
        for partition in 0..partitions {
            clients.push(client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?);
        }
        Ok(Self { partitions: clients })
    }

    fn partition(&self, partition: i32) -> Result<&PartitionClient> {
        let client = usize::try_from(partition).ok().and_then(|at| self.partitions.get(at));
        client.ok_or_else(|| format!("partition {partition} is not open").into())
    }
}

impl Appender for RsKafka {
    const NAME: &'static str = "RSKafka 0.6";

    async fn append(&self, partition: i32, value: &[u8]) -> Result<i64> {
        let record = Record {
            key: None,
            value: Some(value.to_vec()),
            headers: BTreeMap::new(),
            timestamp: Utc::now(),
        };
        let offsets = self.partition(partition)?.produce(vec![record], Compression::NoCompression).await?;
        offsets.first().copied().ok_or_else(|| "no offset came back".into())
    }

    async fn read(&self, partition: i32, offset: i64) -> Result<Vec<Written>> {
        let (records, _) = self.partition(partition)?.fetch_records(offset, 1..READ_BYTES, READ_WAIT).await?;
        let written = records
            .into_iter()
            .map(|found| Written { offset: found.offset, value: found.record.value.unwrap_or_default() });
        Ok(written.collect())
    }

    async fn end(&self, partition: i32) -> Result<i64> {
        Ok(self.partition(partition)?.get_offset(OffsetAt::Latest).await?)
    }

    fn produce_requests(&self) -> Option<u64> {
        None
    }
}
