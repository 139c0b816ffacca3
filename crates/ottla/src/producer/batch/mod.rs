//! Batches that are put together by an aggregator, the user's own or [`RecordAggregator`]: many callers hand inputs
//! over, and each gets the status of its own. What is made of them enters the same outboxes as everything else that is
//! produced.
//!
//! [`Lane`] has the inputs of one partition; a [`BatchProducer`] has one lane, or one for each partition of a topic.

mod aggregator;
mod builder;
mod inside;
mod lane;
mod record;
mod writer;

pub use aggregator::{Aggregator, AggregatorError, AggregatorFailure, BoxError, StatusDeaggregator, TryPush};
pub use builder::BatchProducerBuilder;
pub use record::{InputTooLarge, RecordAggregator, RecordOffsets};
pub use writer::BatchWriter;
pub(super) use writer::FIRST_CHUNK;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_core::producer::DeliveryOutcome;

use self::inside::Id;
use self::lane::Lane;
use super::handle::Destination;
use super::partitioner::Partitions;
use super::topic::TopicProducer;
use crate::driver::lock;
use crate::error::{Error, Result};

/// What [`BatchProducer::produce`] returns for an input of the aggregator `A`.
pub type Status<A> = <<A as Aggregator>::StatusDeaggregator as StatusDeaggregator>::Status;

/// Batches what many tasks produce to a partition, or to a topic; made by a [`BatchProducerBuilder`]. Cheap to clone.
///
/// A batch ends when its aggregator has no capacity for the next input, when its first input has lingered, or at a
/// [`flush`](Self::flush). It is then sent by the producer of the partition client or of the topic: over the same connections, exactly
/// once, in the order of the batches.
///
/// When the last clone is dropped, what was accepted is still sent in the background, up to its delivery time-out, and what
/// is lost is logged.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::time::Duration;
/// use ottla::{BatchProducerBuilder, ClientBuilder, Compression, Record, RecordAggregator};
/// # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now())?;
/// # fake.control(|cluster, now| cluster.create_topic(now, "my_topic", 1, 1)).unwrap();
/// # let bootstrap = fake.bootstrap();
///
/// let client = ClientBuilder::new(bootstrap).build().await?;
/// let partition_client = client.partition_client("my_topic", 0).await?;
/// let producer = BatchProducerBuilder::new(partition_client)
///     .with_linger(Duration::from_millis(20))
///     .with_compression(Compression::Lz4)
///     .build(RecordAggregator::new(1024 /* maximum bytes */))?;
///
/// let (one, other) = tokio::join!(producer.produce(Record::new("a")), producer.produce(Record::new("b")));
/// assert_eq!((one?, other?), (0, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct BatchProducer<A: Aggregator> {
    inner: Arc<Inner<A>>,
}

struct Inner<A: Aggregator> {
    id: Id,
    lanes: Lanes<A>,
}

enum Lanes<A: Aggregator> {
    One(Arc<Lane<A>>),
    Topic(Topic<A>),
}

/// A lane for each partition that is used.
struct Topic<A: Aggregator> {
    topic: TopicProducer,
    settings: Settings,
    choose: Choose<A>,
    make: Box<dyn Fn(i32) -> A + Send + Sync>,
    lanes: Mutex<BTreeMap<i32, Arc<Lane<A>>>>,
}

/// The user's choice of a partition.
type Choose<A> = Box<dyn Fn(&<A as Aggregator>::Input, &Partitions<'_>) -> i32 + Send + Sync>;

#[derive(Debug, Clone, Copy)]
struct Settings {
    linger: Duration,
    batch: ottla_core::partition_queue::BatchSettings,
}

impl<A: Aggregator> BatchProducer<A> {
    fn of_partition(to: Destination, linger: Duration, aggregator: A) -> Self {
        let id = Id::new();
        let lanes = Lanes::One(Lane::start(id, to, linger, aggregator));
        Self { inner: Arc::new(Inner { id, lanes }) }
    }

    fn of_topic(
        topic: TopicProducer,
        settings: Settings,
        choose: Choose<A>,
        make: Box<dyn Fn(i32) -> A + Send + Sync>,
    ) -> Self {
        let lanes = Lanes::Topic(Topic { topic, settings, choose, make, lanes: Mutex::default() });
        Self { inner: Arc::new(Inner { id: Id::new(), lanes }) }
    }

    /// Hands an input to the aggregator and waits until its batch is acknowledged: the status that the aggregator's
    /// [`StatusDeaggregator`] makes for it comes back. With a [`RecordAggregator`] that is the record's offset.
    ///
    /// While the buffers are full it waits, for at most the delivery time-out; inputs enter in the order in which they
    /// came.
    ///
    /// # Errors
    /// [`Error::Aggregator`] when the aggregator refuses the input or the batch, or panics, or calls `produce` itself; other
    /// inputs do not hear of an input that was refused. [`Error::Delivery`] when the batch was not acknowledged: all of its
    /// inputs get the same, and it says whether the records were not written, or may have been. [`Error::Partition`] when
    /// a partition was chosen that is not there. [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up the status, not the input: once an aggregator has taken it, its batch is sent. An input that
    /// was still waiting for its turn is not.
    pub async fn produce(&self, input: A::Input) -> Result<Status<A>> {
        self.inner.refuse_inside()?;
        let lane = self.inner.lane(&input)?;
        let accepted = lane.accept(input).await?;
        lane.status(accepted).await
    }

    /// Ends the open batches now, and waits until all inputs that were accepted before are acknowledged or given up; what
    /// became of each, its `produce` tells. Ready within the delivery time-out. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Aggregator`] when it is called by the aggregator itself.
    pub async fn flush(&self) -> Result<()> {
        self.inner.refuse_inside()?;
        let lanes = self.inner.lanes();
        lanes.iter().for_each(|lane| lane.end_batch());
        let begun: Vec<_> = lanes.iter().flat_map(|lane| lane.begun()).collect();
        for batch in begun {
            // What it came to was told to whoever waits for its inputs.
            let _told = batch.await;
        }
        Ok(())
    }
}

impl<A: Aggregator> Inner<A> {
    /// The lane for an input.
    fn lane(&self, input: &A::Input) -> Result<Arc<Lane<A>>> {
        match &self.lanes {
            Lanes::One(lane) => Ok(lane.clone()),
            Lanes::Topic(topic) => topic.lane(self.id, input),
        }
    }

    fn lanes(&self) -> Vec<Arc<Lane<A>>> {
        match &self.lanes {
            Lanes::One(lane) => vec![lane.clone()],
            Lanes::Topic(topic) => lock(&topic.lanes).values().cloned().collect(),
        }
    }

    /// Users' code that is called by this very object must not wait for it.
    fn refuse_inside(&self) -> Result<()> {
        if !self.id.is_inside() {
            return Ok(());
        }
        Err(match &self.lanes {
            Lanes::One(lane) => lane.error(AggregatorFailure::CalledBack, DeliveryOutcome::NotWritten),
            Lanes::Topic(topic) => topic.error(NO_PARTITION, AggregatorFailure::CalledBack),
        })
    }
}

/// None was chosen.
const NO_PARTITION: i32 = -1;

impl<A: Aggregator> Topic<A> {
    /// By the user's choice; its aggregator is made when the partition is first used.
    fn lane(&self, id: Id, input: &A::Input) -> Result<Arc<Lane<A>>> {
        let chosen = id.call("choose", || self.topic.choose(|partitions| (self.choose)(input, partitions)));
        let partition = chosen.map_err(|failure| self.error(NO_PARTITION, failure))?;
        if let Some(lane) = lock(&self.lanes).get(&partition) {
            return Ok(lane.clone());
        }
        let to = self.topic.destination(partition, self.settings.batch)?;
        let made = id.call("make", || (self.make)(partition));
        let aggregator = made.map_err(|failure| self.error(partition, failure))?;
        let largest = to.producer.shared().batch_bytes();
        let checked = id.call("check", || aggregator.check(largest));
        checked.map_err(|failure| self.error(partition, failure))??;
        // Somebody else may have been faster; what is not needed then is dropped when the lock is free.
        let mut made = Some((to, aggregator));
        let mut lanes = lock(&self.lanes);
        let lane = match (lanes.get(&partition), made.take_if(|_| !lanes.contains_key(&partition))) {
            (None, Some((to, aggregator))) => {
                let lane = Lane::start(id, to, self.settings.linger, aggregator);
                lanes.insert(partition, lane.clone());
                Some(lane)
            }
            (known, _) => known.cloned(),
        };
        drop(lanes);
        lane.ok_or(Error::Closed)
    }

    fn error(&self, partition: i32, failure: AggregatorFailure) -> Error {
        let (topic, outcome) = (self.topic.topic().into(), DeliveryOutcome::NotWritten);
        Error::Aggregator(Arc::new(AggregatorError { topic, partition, outcome, failure }))
    }
}

impl<A: Aggregator> Clone for BatchProducer<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<A: Aggregator> Drop for Inner<A> {
    fn drop(&mut self) {
        self.lanes().iter().for_each(|lane| lane.end());
    }
}

impl<A: Aggregator> fmt::Debug for BatchProducer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchProducer").finish_non_exhaustive()
    }
}
