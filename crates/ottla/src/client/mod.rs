//! The way in: [`ClientBuilder`] makes a [`Client`], and everything else is made from that.

mod builder;
mod call;
mod controller;

pub use builder::ClientBuilder;
pub(crate) use builder::{check_codec, check_duration};
pub use controller::{ControllerClient, NewTopic};
pub(crate) use controller::{check_length, wait};

use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::Target;
use ottla_core::metadata::{self, Broker};
use ottla_core::producer::ProducerMetrics;
use ottla_wire::ErrorCode;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::driver::cluster::{Cluster, Plan, Purpose, Verdict};
use crate::error::{Error, Result};
use crate::partition::{PartitionClient, PartitionClientBuilder};
use crate::producer::{Limits, ProducerBuilder, ProducerHandle};
use crate::stream::RecordStreamBuilder;

/// A client of one Kafka cluster. Cheap to clone; all clones share their connections.
///
/// A client is one handle among those made from it: dropping it closes nothing that they use.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
    producer: ProducerHandle,
}

/// A topic as [`Client::list_topics`] reports it.
pub use ottla_core::metadata::Topic;

/// The cluster as [`Client::describe_cluster`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id, where it has one.
    pub cluster_id: Option<Arc<str>>,
    /// The broker that takes requests for the controller.
    pub controller_id: Option<i32>,
    /// All live brokers, by id.
    pub brokers: Vec<Broker>,
}

impl Client {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let producer = ProducerHandle::start(cluster.clone(), Limits::default());
        Self { cluster, producer }
    }

    /// All topics that this client may see, by name.
    ///
    /// One request to any broker, over within the client's request time-out. Cancel safe.
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        let response = self.ask(None).await?;
        let mut topics: Vec<Topic> = response.topics.iter().filter_map(metadata::describe_topic).collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// The brokers and the controller, asked for now.
    ///
    /// One request to any broker, over within the client's request time-out. Cancel safe.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let response = self.ask(Some(Vec::new())).await?;
        let broker = |b: &ottla_wire::messages::metadata::MetadataResponseBroker| {
            metadata::broker(b.node_id, &b.host, b.port, b.rack.as_deref())
        };
        let mut brokers: Vec<Broker> = response.brokers.iter().filter_map(broker).collect();
        brokers.sort_unstable_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.as_deref().map(Into::into),
            controller_id: (response.controller_id >= 0).then_some(response.controller_id),
            brokers,
        })
    }

    /// A client for the controller: creates and deletes topics.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable) when no broker answers within the request time-out.
    ///
    /// # Cancel safety
    /// Nothing is lost: it only waits until a broker is known.
    pub async fn controller_client(&self) -> Result<ControllerClient> {
        self.cluster.ready(self.cluster.settings().request_timeout).await?;
        Ok(ControllerClient::new(self.cluster.clone()))
    }

    /// A client for one partition, with the defaults of [`Client::partition`]. An unknown topic is asked for until
    /// the request time-out is over: it may just have been created.
    ///
    /// # Errors
    /// Those of [`PartitionClientBuilder::build`].
    ///
    /// # Cancel safety
    /// Nothing is lost: it only looks the topic up.
    pub async fn partition_client(&self, topic: impl AsRef<str>, partition: i32) -> Result<PartitionClient> {
        self.partition(topic, partition).build().await
    }

    /// A client for one partition, with settings of its own.
    pub fn partition(&self, topic: impl AsRef<str>, partition: i32) -> PartitionClientBuilder {
        PartitionClientBuilder::new(self.cluster.clone(), self.producer.clone(), topic.as_ref(), partition)
    }

    /// A producer, for records to any topic; each has connections and buffers of its own.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone())
    }

    /// What the client's own producer has done so far: that of its partition clients, and of batch producers that are made of those. See
    /// [`Producer::metrics`](crate::Producer::metrics).
    ///
    /// ```
    /// # use ottla::{ClientBuilder, Record, Result};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let server = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
    /// # server.control(|cluster, now| cluster.create_topic(now, "orders", 1, 1)).unwrap();
    /// let client = ClientBuilder::new(server.bootstrap()).build().await?;
    /// client.partition_client("orders", 0).await?.produce(vec![Record::new("a"), Record::new("b")]).await?;
    /// assert_eq!(client.producer_metrics().records_written, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    /// A stream over partitions that the user assigns; each has a budget of its own, and those with equal settings
    /// share connections and fetch sessions.
    pub fn stream(&self) -> RecordStreamBuilder {
        RecordStreamBuilder::new(self.cluster.clone())
    }

    async fn ask(
        &self,
        topics: Option<Vec<ottla_wire::messages::metadata::MetadataRequestTopic>>,
    ) -> Result<MetadataResponse> {
        let plan = Plan {
            target: Target::AnyBroker,
            purpose: Purpose::Control,
            timeout: self.cluster.settings().request_timeout,
            own_wait: Duration::ZERO,
        };
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let judge = |_: &_, response: MetadataResponse| match response.error_code {
            ErrorCode::NONE => Verdict::Done(response),
            code => Verdict::Code(code, None),
        };
        self.cluster.call::<MetadataRequest, _>(plan, |_| Box::new(request.clone()), judge).await
    }
}

impl From<ottla_core::InvalidAddress> for Error {
    fn from(error: ottla_core::InvalidAddress) -> Self {
        Self::config("bootstrap", format!("cannot be used: {error}"))
    }
}
