//! The settings of a partition client.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::partition_queue::{Acks, BatchSettings};
use ottla_wire::compression::{Codec, Compression};

use super::{IsolationLevel, PartitionClient};
use crate::client::{check_codec, check_duration};
use crate::driver::cluster::Cluster;
use crate::error::{Error, Result};
use crate::producer::ProducerHandle;

/// What to do when brokers do not know the topic, or the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnknownTopic {
    /// Ask again until the time-out is over: it may just have been created.
    #[default]
    Retry,
    /// Fail at the first answer.
    Error,
}

/// Makes a [`PartitionClient`]; from [`Client::partition`](crate::Client::partition).
#[derive(Debug)]
pub struct PartitionClientBuilder {
    cluster: Arc<Cluster>,
    producer: ProducerHandle,
    topic: String,
    partition: i32,
    unknown_topic: UnknownTopic,
    isolation: IsolationLevel,
    acks: Acks,
    codec: Codec,
    timeout: Duration,
    delivery_timeout: Duration,
}

impl PartitionClientBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>, producer: ProducerHandle, topic: &str, partition: i32) -> Self {
        let timeout = cluster.settings().request_timeout;
        Self {
            cluster,
            producer,
            topic: topic.to_owned(),
            partition,
            unknown_topic: UnknownTopic::default(),
            isolation: IsolationLevel::default(),
            acks: Acks::All,
            codec: Compression::None.into(),
            timeout,
            delivery_timeout: Duration::from_secs(120),
        }
    }

    /// What to do when the topic is unknown. Default: [`UnknownTopic::Retry`].
    pub fn unknown_topic(mut self, handling: UnknownTopic) -> Self {
        self.unknown_topic = handling;
        self
    }

    /// Whether records of open and aborted transactions are read. Default: [`IsolationLevel::ReadUncommitted`].
    pub fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.isolation = isolation;
        self
    }

    /// Who must have the records before they count as written. Default: [`Acks::All`].
    ///
    /// With [`Acks::Leader`] a retry may write records twice, and a dying leader may lose them.
    /// [`Acks::None`] is refused: [`PartitionClient::produce`] returns offsets, and without an answer there are none.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// How batches are compressed, and how hard. Default: not at all.
    pub fn compression(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// How long a call may take, retries included; what it may wait by its own arguments comes on top. Default: the
    /// client's request time-out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long produced records may wait for their acknowledgement, retries included. Default: 120 s.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Looks the topic up. Looking it up never creates it. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work, [`Error::Topic`] and [`Error::Partition`] when there is
    /// no such thing.
    pub async fn build(self) -> Result<PartitionClient> {
        self.check()?;
        let patient = self.unknown_topic == UnknownTopic::Retry;
        let topic = self.cluster.partition(&self.topic, self.partition, self.timeout, patient).await?;
        Ok(PartitionClient {
            cluster: self.cluster,
            producer: self.producer,
            topic,
            partition: self.partition,
            isolation: self.isolation,
            batch: BatchSettings {
                codec: self.codec,
                acks: self.acks,
                request_timeout: self.timeout,
                delivery_timeout: self.delivery_timeout,
                linger: None,
                max_bytes: usize::MAX,
            },
            timeout: self.timeout,
        })
    }

    fn check(&self) -> Result<()> {
        if self.partition < 0 {
            return Err(Error::config(
                "partition",
                format!("is {}: partitions count from 0", self.partition),
            ));
        }
        if self.acks == Acks::None {
            return Err(Error::config(
                "acks",
                "is none: `produce` returns offsets, and without an answer there are none",
            ));
        }
        check_codec(&self.codec)?;
        check_duration("timeout", self.timeout)?;
        check_duration("delivery_timeout", self.delivery_timeout)?;
        if self.delivery_timeout < self.timeout {
            let problem = format!(
                "is {:?}, shorter than `timeout` of {:?}: the first attempt would not be waited for",
                self.delivery_timeout, self.timeout
            );
            return Err(Error::config("delivery_timeout", problem));
        }
        Ok(())
    }
}
