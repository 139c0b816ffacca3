//! The settings of a batch producer.

use std::time::Duration;

use ottla_core::partition_queue::{Acks, BatchSettings};
use ottla_wire::compression::Codec;

use super::{Aggregator, BatchProducer, Settings};
use crate::client::check_codec;
use crate::error::{Error, Result};
use crate::partition::PartitionClient;
use crate::producer::builder::check_hour;
use crate::producer::partitioner::Partitions;
use crate::producer::topic::TopicProducer;

/// Makes a [`BatchProducer`] for a partition, from a [`PartitionClient`], or for a topic, from a [`TopicProducer`].
///
/// ```no_run
/// # async fn f(partition_client: ottla::PartitionClient) -> ottla::Result<()> {
/// use std::time::Duration;
/// use ottla::{BatchProducerBuilder, Compression, Record, RecordAggregator};
///
/// let producer = BatchProducerBuilder::new(partition_client)
///     .with_linger(Duration::from_secs(2))
///     .with_compression(Compression::Zstd)
///     .build(RecordAggregator::new(1024 /* maximum bytes */))?;
/// let offset: i64 = producer.produce(Record::new("from one of many tasks")).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "it makes a batch producer with `build`"]
pub struct BatchProducerBuilder<To = PartitionClient> {
    to: To,
    linger: Duration,
    codec: Option<Codec>,
}

impl<To> BatchProducerBuilder<To> {
    fn to(to: To) -> Self {
        Self { to, linger: Duration::from_millis(5), codec: None }
    }

    /// How long the first input of a batch waits for others, from 1 ns to an hour. Default: 5 ms. A batch that is full leaves
    /// earlier; one that is not leaves no earlier, so a lone input waits for all of it.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How batches are compressed, and how hard. Default: as the partition client's or the producer's are.
    pub fn with_compression(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = Some(codec.into());
        self
    }

    /// The settings that apply, given those of whatever the batches are sent by.
    fn settings(&self, batch: BatchSettings) -> Result<Settings> {
        let batch = BatchSettings { codec: self.codec.unwrap_or(batch.codec), linger: None, ..batch };
        let linger = self.linger;
        if linger.is_zero() {
            let problem =
                "is 0: no input would wait for another; for that there is `PartitionClient::produce`";
            return Err(Error::config("linger", problem));
        }
        check_hour(linger)?;
        if batch.delivery_timeout < batch.request_timeout + linger {
            let problem = format!(
                "is {linger:?}: with a `timeout` of {:?} it takes longer than `delivery_timeout`, {:?}, and the first attempt would \
                 not be waited for",
                batch.request_timeout, batch.delivery_timeout
            );
            return Err(Error::config("linger", problem));
        }
        if batch.acks == Acks::None {
            let problem = "is none: inputs are told their offsets, and without an answer there are none";
            return Err(Error::config("acks", problem));
        }
        check_codec(&batch.codec)?;
        Ok(Settings { linger, batch })
    }
}

impl BatchProducerBuilder<PartitionClient> {
    /// For one partition. Batches are sent by the partition client's producer, with its acks and time-outs.
    pub fn new(partition_client: PartitionClient) -> Self {
        Self::to(partition_client)
    }

    /// Makes the batch producer. Its task runs on the runtime that the client was built on; nothing is sent before the first
    /// input.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work, the aggregator's included.
    pub fn build<A: Aggregator>(self, aggregator: A) -> Result<BatchProducer<A>> {
        let mut to = self.to.destination();
        let Settings { linger, batch } = self.settings(to.settings)?;
        to.settings = batch;
        aggregator.check(to.producer.shared().batch_bytes())?;
        Ok(BatchProducer::of_partition(to, linger, aggregator))
    }
}

impl BatchProducerBuilder<TopicProducer> {
    /// For a topic: each partition that is used has an aggregator of its own. Batches are sent by the topic's producer, with its
    /// acks and time-outs.
    pub fn for_topic(topic: TopicProducer) -> Self {
        Self::to(topic)
    }

    /// Makes the batch producer. `choose` says which partition an input goes to, from 0 to [`Partitions::count`] - 1:
    /// [`partition_of`](crate::partition_of) does it by key. `make` makes the aggregator of a partition, when it is first used.
    ///
    /// Both are called in the task of whoever calls `produce`, under no lock; should one panic, that call fails and no
    /// other.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work. What an aggregator says of its own settings, the first `produce`
    /// for its partition comes back with.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use ottla::{BatchProducerBuilder, Partitions, Record, RecordAggregator, partition_of};
    /// # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now())?;
    /// # fake.control(|cluster, now| cluster.create_topic(now, "orders", 3, 1)).unwrap();
    /// # let client = ottla::ClientBuilder::new(fake.bootstrap()).build().await?;
    ///
    /// let orders = client.producer().build().await?.topic("orders").await?;
    /// let by_key = |record: &Record<'_>, partitions: &Partitions<'_>| {
    ///     let key = record.key.as_ref().map_or(&b""[..], |key| key.as_slice());
    ///     partition_of(key, partitions.count())
    /// };
    /// let producer =
    ///     BatchProducerBuilder::for_topic(orders).build(by_key, |_partition| RecordAggregator::new(100_000))?;
    /// assert_eq!(producer.produce(Record::new("created").key("order-1")).await?, 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn build<A: Aggregator>(
        self,
        choose: impl Fn(&A::Input, &Partitions<'_>) -> i32 + Send + Sync + 'static,
        make: impl Fn(i32) -> A + Send + Sync + 'static,
    ) -> Result<BatchProducer<A>> {
        let settings = self.settings(self.to.settings())?;
        Ok(BatchProducer::of_topic(self.to, settings, Box::new(choose), Box::new(make)))
    }
}
