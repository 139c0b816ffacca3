//! One partition: produce, fetch, offsets, delete. The caller owns batching, prefetching and positions.

mod builder;
mod fetch;
mod offsets;
mod seam;

pub use builder::{PartitionClientBuilder, UnknownTopic};
pub use fetch::IsolationLevel;
pub use offsets::OffsetAt;
pub use seam::{ConsumerClient, ProducerClient};

use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::Target;
use ottla_core::metadata::Topic;
use ottla_core::partition_queue::BatchSettings;
use ottla_wire::compression::Codec;

use crate::client::check_codec;
use crate::driver::cluster::{Cluster, Plan, Purpose};
use crate::error::Result;
use crate::producer::{Destination, ProducerHandle};
use crate::record::Record;

/// A client for one partition, made by [`Client::partition_client`](crate::Client::partition_client). Cheap to clone.
///
/// All partition clients of a [`Client`](crate::Client) share its connections and its producer: what they produce at
/// the same time for partitions of one broker travels in one request.
#[derive(Debug, Clone)]
pub struct PartitionClient {
    cluster: Arc<Cluster>,
    producer: ProducerHandle,
    topic: Arc<Topic>,
    partition: i32,
    isolation: IsolationLevel,
    batch: BatchSettings,
    timeout: Duration,
}

impl PartitionClient {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic.name
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Writes records, in this order, and waits until they are acknowledged; the offset of each comes back.
    ///
    /// Records of one call are contiguous in the partition unless they take more than one batch. They are written
    /// exactly once, whatever happens to connections and leaders, unless the client's builder asked for less than
    /// `acks = all`.
    ///
    /// # Errors
    /// [`Error::Delivery`](crate::Error::Delivery) says whether the records were not written, or may have been.
    /// [`Error::Record`](crate::Error::Record) when one is too large - a batch with it alone may have 1,000,000 bytes,
    /// encoded and before compression - or when the call takes more than the 16 MiB that may be on their way to a
    /// partition: then none of it is written.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer, not the records: once accepted, they are sent.
    pub async fn produce(&self, records: Vec<Record<'_>>) -> Result<Vec<i64>> {
        self.produce_with(records, self.batch.codec).await
    }

    /// As [`produce`](Self::produce), compressed with `codec`.
    pub async fn produce_with(&self, records: Vec<Record<'_>>, codec: impl Into<Codec>) -> Result<Vec<i64>> {
        let settings = BatchSettings { codec: codec.into(), ..self.batch };
        check_codec(&settings.codec)?;
        self.producer.produce(&self.topic, self.partition, &records, settings).await
    }

    /// What those who put batches together themselves need of it.
    pub(crate) fn destination(&self) -> Destination {
        Destination {
            producer: self.producer.clone(),
            topic: self.topic.clone(),
            partition: self.partition,
            settings: self.batch,
        }
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(crate) fn topic_ref(&self) -> &Arc<Topic> {
        &self.topic
    }

    pub(crate) fn isolation(&self) -> IsolationLevel {
        self.isolation
    }

    /// A request to the partition's leader.
    fn plan(&self, purpose: Purpose, own_wait: Duration) -> Plan {
        Plan {
            target: Target::Leader {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partition: self.partition,
            },
            purpose,
            timeout: self.timeout + own_wait,
            own_wait,
        }
    }
}
