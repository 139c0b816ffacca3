//! The producing side of a client: records enter the outbox of their partition and wait there for the driver, which
//! sends what is ready to a broker in one request.
//!
//! ```text
//! send, enqueue, produce -> room in the buffers -> Outbox (lock, append) -> driver::producer -> connections
//!    ^------------------------- Promise (one a batch) <--------'
//! ```
//!
//! [`Producer`] and [`TopicProducer`] are what most users use; a [`PartitionClient`](crate::PartitionClient) enters at
//! the same [`ProducerHandle`].

mod batch;
mod builder;
mod busy;
mod delivery;
mod handle;
mod outbox;
mod partition_list;
mod partitioner;
mod promise;
#[cfg(feature = "sink")]
mod sink;
mod topic;
mod wire;

pub use batch::{
    Aggregator, AggregatorError, AggregatorFailure, BatchProducer, BatchProducerBuilder, BatchWriter,
    BoxError, InputTooLarge, RecordAggregator, RecordOffsets, Status, StatusDeaggregator, TryPush,
};
pub use builder::{ProducerBuilder, TopicProducerBuilder};
pub use delivery::{Delivered, Delivery};
pub(crate) use handle::{Destination, Limits, ProducerHandle, Shared, is_same, recreated};
pub(crate) use outbox::Outbox;
pub use partitioner::{Partitioner, Partitions, partition_of};
pub(crate) use promise::{Fate, Promise};
#[cfg(feature = "sink")]
pub use sink::TopicSink;
pub use topic::TopicProducer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ottla_core::partition_queue::BatchSettings;
use ottla_core::producer::ProducerMetrics;

use crate::driver::lock;
use crate::error::{Error, Result};
use crate::record::Record;

/// Sends records to any number of topics; from [`Client::producer`](crate::Client::producer). Cheap to clone.
///
/// Records of a partition are written in the order in which they were handed over, exactly once, whatever happens to
/// connections and leaders (with [`Acks::All`](crate::Acks::All)). When the last clone is dropped, what was accepted is
/// still sent in the background, up to its delivery time-out, and what is lost is logged; only
/// [`close`](Self::close) and [`flush`](Self::flush) tell when that is over.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use ottla::{ClientBuilder, Record};
/// # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now())?;
/// # fake.control(|cluster, now| cluster.create_topic(now, "orders", 3, 1)).unwrap();
/// # let bootstrap = fake.bootstrap();
///
/// let client = ClientBuilder::new(bootstrap).build().await?;
/// let producer = client.producer().build().await?;
///
/// let written = producer.send("orders", Record::new("created").key("order-1")).await?;
/// assert_eq!(written.offset, Some(0));
///
/// // Many at once: hand them over, look at the outcome later.
/// let orders = producer.topic("orders").await?;
/// let mut deliveries = Vec::new();
/// for number in 0..100 {
///     deliveries.push(orders.enqueue(Record::new(format!("order {number}"))).await?);
/// }
/// for delivery in deliveries {
///     delivery.await?;
/// }
/// producer.close().await;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: ProducerHandle,
    settings: BatchSettings,
    sticky_run: usize,
    partitioner: Option<Arc<dyn Partitioner>>,
    topics: Mutex<HashMap<String, Arc<TopicProducer>>>,
}

impl Producer {
    fn new(
        handle: ProducerHandle,
        settings: BatchSettings,
        sticky_run: usize,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Self {
        let topics = Mutex::default();
        Self { shared: Arc::new(Inner { handle, settings, sticky_run, partitioner, topics }) }
    }

    /// The handle of a topic, for those who send it more than a record now and then. An unknown topic is asked for
    /// until the request time-out is over: it may just have been created; looking it up never creates it. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Topic`](crate::Error::Topic) when there is no such topic, [`Error::Unreachable`](crate::Error::Unreachable) when no broker says,
    /// [`Error::Closed`](crate::Error::Closed) after [`close`](Self::close).
    pub async fn topic(&self, name: impl AsRef<str>) -> Result<TopicProducer> {
        self.open(name.as_ref(), self.shared.settings).await
    }

    /// A handle of a topic whose batches are to linger, to be compressed, or to grow differently from the producer's others.
    ///
    /// ```no_run
    /// # async fn example(producer: ottla::Producer) -> Result<(), ottla::Error> {
    /// use std::time::Duration;
    /// use ottla::Compression;
    ///
    /// let logs = producer.topic_builder("logs").linger(Duration::from_millis(200)).compression(Compression::Zstd).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic_builder(&self, name: impl Into<String>) -> TopicProducerBuilder {
        TopicProducerBuilder::new(self.clone(), name.into(), self.shared.settings)
    }

    async fn open(&self, name: &str, settings: BatchSettings) -> Result<TopicProducer> {
        let Inner { handle, sticky_run, partitioner, .. } = &*self.shared;
        let topic = handle.cluster().partition(name, 0, settings.request_timeout, true).await?;
        TopicProducer::new(handle.clone(), topic, settings, *sticky_run, partitioner.clone())
    }

    fn batch_bytes(&self) -> usize {
        self.shared.handle.shared().limits.batch_bytes
    }

    /// Sends a record and waits for its acknowledgement. See [`TopicProducer::send`] for errors and cancel safety.
    pub async fn send(&self, topic: impl AsRef<str>, record: Record<'_>) -> Result<Delivered> {
        self.known(topic.as_ref()).await?.send(record).await
    }

    /// Hands a record over, once there is room for it. See [`TopicProducer::enqueue`] for errors and cancel safety.
    pub async fn enqueue(&self, topic: impl AsRef<str>, record: Record<'_>) -> Result<Delivery> {
        self.known(topic.as_ref()).await?.enqueue(record).await
    }

    /// Hands a record over if there is room for it now; it never waits, for a look-up neither: the topic is one that
    /// [`enqueue`](Self::enqueue), [`send`](Self::send) or [`enqueue_all`](Self::enqueue_all) was given before. Who wants to begin with this has
    /// [`TopicProducer::try_enqueue`].
    ///
    /// # Errors
    /// [`Error::NotLookedUp`] for another topic, and for one that was created again; otherwise those of [`TopicProducer::try_enqueue`].
    pub fn try_enqueue(&self, topic: impl AsRef<str>, record: Record<'_>) -> Result<Delivery> {
        let topic = topic.as_ref();
        match self.kept(topic) {
            Some(known) => known.try_enqueue(record),
            None if self.shared.handle.is_closed() => Err(Error::Closed),
            None => Err(Error::NotLookedUp { topic: topic.into() }),
        }
    }

    /// What it has done so far: records, batches, requests, how long answers took. A snapshot, the same from each clone, and
    /// to be had after [`close`](Self::close), too, from another clone. It holds up sending for as long as a look at each
    /// partition that was written to since the last look takes, so once a second is often enough.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.handle.metrics()
    }

    /// Hands many records of a topic over, once there is room for each. See [`TopicProducer::enqueue_all`]: what comes back has an
    /// entry for each record.
    ///
    /// # Errors
    /// Those of [`topic`](Self::topic); no record was accepted then.
    pub async fn enqueue_all<'r>(
        &self,
        topic: impl AsRef<str>,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Result<Vec<Result<Delivery>>> {
        Ok(self.known(topic.as_ref()).await?.enqueue_all(records).await)
    }

    /// Waits until all records that were accepted before are acknowledged or given up; what became of each, its
    /// [`Delivery`] tells. Ready within the delivery time-out. Looks once at each partition that was
    /// written to since the last look.
    /// Cancel safe.
    pub async fn flush(&self) {
        self.shared.handle.flush().await;
    }

    /// Accepts no more records, from any clone, waits until all that were accepted are acknowledged or given up, and
    /// closes its connections. Dropped half-way, no more records are accepted all the same.
    pub async fn close(self) {
        self.shared.handle.close().await;
    }

    /// The one handle that is kept for a topic, so that names are looked up once and turns last.
    async fn known(&self, name: &str) -> Result<Arc<TopicProducer>> {
        if let Some(topic) = self.kept(name) {
            return Ok(topic);
        }
        let topic = Arc::new(self.topic(name).await?);
        lock(&self.shared.topics).insert(name.to_owned(), topic.clone());
        Ok(topic)
    }

    fn kept(&self, name: &str) -> Option<Arc<TopicProducer>> {
        let kept = lock(&self.shared.topics).get(name).cloned();
        kept.filter(|topic| topic.is_open())
    }
}
