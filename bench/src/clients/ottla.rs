//! ottla: the partition clients of one client, which share its connections and its requests.

use ottla::{Client, ClientBuilder, OffsetAt, PartitionClient, Record};

use super::{Appender, READ_BYTES, READ_WAIT, Written};
use crate::Result;
use crate::counting::{Counting, Requests};

/// A client, and a partition client for each partition of a topic.
#[derive(Debug)]
pub struct Ottla {
    client: Client,
    partitions: Vec<PartitionClient>,
    requests: Requests,
}

impl Ottla {
    /// With every partition of `topic`, which exists.
    pub async fn open(bootstrap: &[String], topic: &str, partitions: i32) -> Result<Self> {
        let requests = Requests::default();
        let transport = Counting::new(requests.clone());
        let client = ClientBuilder::new(bootstrap.to_vec()).transport(transport).build().await?;
        let mut clients = Vec::new();
        for partition in 0..partitions {
            clients.push(client.partition_client(topic, partition).await?);
        }
        Ok(Self { client, partitions: clients, requests })
    }

    /// How many partitions each broker leads, by broker id.
    pub async fn leaders(&self) -> Result<Vec<(i32, usize)>> {
        let name = self.partitions.first().map_or("", PartitionClient::topic).to_owned();
        let topics = self.client.list_topics().await?;
        let topic = topics.iter().find(|topic| *topic.name == *name).ok_or("the topic is gone")?;
        let mut leaders = std::collections::BTreeMap::new();
        for leader in topic.partitions.iter().filter_map(|partition| partition.leader) {
            *leaders.entry(leader).or_default() += 1;
        }
        Ok(leaders.into_iter().collect())
    }

    fn partition(&self, partition: i32) -> Result<&PartitionClient> {
        let client = usize::try_from(partition).ok().and_then(|at| self.partitions.get(at));
        client.ok_or_else(|| format!("partition {partition} is not open").into())
    }
}

impl Appender for Ottla {
    const NAME: &'static str = "ottla";

    async fn append(&self, partition: i32, value: &[u8]) -> Result<i64> {
        let offsets = self.partition(partition)?.produce(vec![Record::new(value)]).await?;
        offsets.first().copied().ok_or_else(|| "no offset came back".into())
    }

    async fn read(&self, partition: i32, offset: i64) -> Result<Vec<Written>> {
        let (records, _) = self.partition(partition)?.fetch_records(offset, 1..READ_BYTES, READ_WAIT).await?;
        let written = records.into_iter().map(|record| Written {
            offset: record.offset,
            value: record.value.map(Vec::from).unwrap_or_default(),
        });
        Ok(written.collect())
    }

    async fn end(&self, partition: i32) -> Result<i64> {
        Ok(self.partition(partition)?.get_offset(OffsetAt::Latest).await?)
    }

    fn produce_requests(&self) -> Option<u64> {
        Some(self.requests.produce())
    }
}
