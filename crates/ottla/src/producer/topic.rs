//! The handle of one topic: which partition a record goes to, and from there into its outbox. On the way of a record
//! there is no name and no map.

use std::sync::Arc;

use ottla_core::metadata::{Lookup, Partition, Topic};
use ottla_core::partition_queue::BatchSettings;

use super::delivery::{Delivered, Delivery};
use super::handle::{Destination, ProducerHandle};
use super::outbox::{Outbox, Standing};
use super::partition_list::PartitionList;
use super::partitioner::{Partitioner, Partitions, Sticky, partition_of};
use super::wire::wire_footprint;
use crate::driver::now;
use crate::error::{Error, Result};
use crate::record::Record;

/// Sends records to one topic; from [`Producer::topic`](crate::Producer::topic). Cheap to clone; records without keys take turns on the
/// partitions, and each clone has a turn of its own.
#[derive(Debug)]
pub struct TopicProducer {
    shared: Arc<TopicShared>,
    sticky: Sticky,
}

/// What the clones of a handle share.
#[derive(Debug)]
pub(crate) struct TopicShared {
    producer: ProducerHandle,
    topic: Arc<Topic>,
    partitions: PartitionList,
    settings: BatchSettings,
    sticky_run: usize,
    partitioner: Option<Arc<dyn Partitioner>>,
}

impl Clone for TopicProducer {
    fn clone(&self) -> Self {
        Self::of(self.shared.clone())
    }
}

impl TopicProducer {
    pub(super) fn new(
        producer: ProducerHandle,
        topic: Arc<Topic>,
        settings: BatchSettings,
        sticky_run: usize,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in gapless(&topic) {
            let outbox = producer.outbox(&topic, partition.index)?;
            outbox.set_leader(partition.leader.is_some());
            partitions.push(outbox);
        }
        let partitions = PartitionList::new(partitions);
        let shared = TopicShared { producer, topic, partitions, settings, sticky_run, partitioner };
        let shared = Arc::new(shared);
        shared.producer.shared().watch(&shared);
        // What has changed since the topic was looked up.
        let known = shared.producer.cluster().with_metadata(|metadata| metadata.topic(shared.name()));
        if let Lookup::Known(topic) = known {
            shared.update(&topic);
        }
        Ok(Self::of(shared))
    }

    fn of(shared: Arc<TopicShared>) -> Self {
        let seed = shared.producer.cluster().random();
        Self { shared, sticky: Sticky::new(seed) }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.shared.topic.name
    }

    /// Whether the topic was not created again since.
    pub(super) fn is_open(&self) -> bool {
        self.shared.partitions.get(0).is_some_and(|outbox| outbox.closed().is_none())
    }

    /// How many partitions the topic has, as far as is known.
    pub fn partitions(&self) -> usize {
        self.shared.partitions.len()
    }

    /// Sends a record and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); and [`Error::Delivery`], which says whether the record was not written, or may
    /// have been.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer, not the record: once accepted, it is sent.
    pub async fn send(&self, record: Record<'_>) -> Result<Delivered> {
        let outbox = self.outbox_for(&record)?;
        self.shared.producer.enqueue(outbox, &record, &self.shared.settings, true).await?.await
    }

    /// Sends a record to this partition and waits for its acknowledgement; see [`send`](Self::send).
    pub async fn send_to(&self, partition: i32, record: Record<'_>) -> Result<Delivered> {
        let outbox = self.outbox(partition)?;
        self.shared.producer.enqueue(outbox, &record, &self.shared.settings, true).await?.await
    }

    /// Hands a record over, once there is room for it: it is sent, whatever becomes of the [`Delivery`].
    ///
    /// # Errors
    /// [`Error::Record`] when it is too large, [`Error::Partition`] when a partitioner chose one that is not there, [`Error::Delivery`] when
    /// the delivery time-out passes before there is room, or the topic was created again; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was accepted.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` moves its arguments once more when it is first polled"
    )]
    pub fn enqueue(&self, record: Record<'_>) -> impl Future<Output = Result<Delivery>> + Send {
        async move {
            let outbox = self.outbox_for(&record)?;
            self.shared.producer.enqueue(outbox, &record, &self.shared.settings, false).await
        }
    }

    /// Hands a record over to this partition; see [`enqueue`](Self::enqueue).
    #[expect(clippy::manual_async_fn, reason = "as `enqueue`")]
    pub fn enqueue_to(
        &self,
        partition: i32,
        record: Record<'_>,
    ) -> impl Future<Output = Result<Delivery>> + Send {
        async move {
            let outbox = self.outbox(partition)?;
            self.shared.producer.enqueue(outbox, &record, &self.shared.settings, false).await
        }
    }

    /// Hands many records over, once there is room for each. What comes back has an entry for each record, in their order:
    /// its [`Delivery`], or why it was not accepted. Neighbours that go to the same partition cost less than one by one.
    ///
    /// A record that cannot be sent - too large, a partition that is not there - keeps none of the others back. When room
    /// does not come within the delivery time-out, or the producer is closed, that record and all behind it have that
    /// error, and were not accepted.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, some may have been accepted, from the first on; those are sent.
    pub async fn enqueue_all<'r>(
        &self,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Vec<Result<Delivery>> {
        let (mut records, mut outcomes, mut given) = (records.into_iter(), Vec::new(), 0);
        let mut some = Vec::new();
        loop {
            some.clear();
            some.extend(records.by_ref().take(AT_ONCE));
            if some.is_empty() {
                return outcomes;
            }
            given += some.len();
            outcomes.reserve(some.len());
            if let Err(error) = self.enqueue_some(&some, &mut outcomes).await {
                outcomes.resize_with(given, || Err(error.clone()));
                outcomes.extend(records.map(|_| Err(error.clone())));
                return outcomes;
            }
        }
    }

    /// Neighbours of one partition together. An error is that of the first without an outcome and of all behind it.
    async fn enqueue_some(&self, records: &[Record<'_>], outcomes: &mut Vec<Result<Delivery>>) -> Result<()> {
        let TopicShared { producer, settings, .. } = &*self.shared;
        let (mut rest, mut start) = (records, now());
        let mut next = rest.first().map(|record| self.outbox_for(record));
        while let Some(to) = next {
            let (count, other) = self.neighbours(&to, &rest[1..]);
            let (run, behind) = rest.split_at(1 + count);
            match to {
                Ok(outbox) => producer.enqueue_run(outbox, run, settings, &mut start, outcomes).await?,
                Err(error) => outcomes.push(Err(error)),
            }
            (rest, next) = (behind, other);
        }
        Ok(())
    }

    /// How many of these records go to the same partition, and where the one behind them goes.
    fn neighbours<'a>(
        &'a self,
        to: &Result<&Arc<Outbox>>,
        records: &[Record<'_>],
    ) -> (usize, Option<Result<&'a Arc<Outbox>>>) {
        for (count, record) in records.iter().enumerate() {
            match (to, self.outbox_for(record)) {
                (Ok(outbox), Ok(same)) if Arc::ptr_eq(outbox, same) => {}
                (_, other) => return (count, Some(other)),
            }
        }
        (records.len(), None)
    }

    /// Hands a record over if there is room for it now; it never waits.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room; otherwise as [`enqueue`](Self::enqueue).
    #[expect(clippy::needless_pass_by_value, reason = "as `enqueue` takes it")]
    pub fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        let outbox = self.outbox_for(&record)?;
        self.shared.producer.try_enqueue(outbox, &record, &self.shared.settings)
    }

    /// Hands a record over to this partition if there is room for it now; see [`try_enqueue`](Self::try_enqueue).
    #[expect(clippy::needless_pass_by_value, reason = "as `enqueue` takes it")]
    pub fn try_enqueue_to(&self, partition: i32, record: Record<'_>) -> Result<Delivery> {
        let outbox = self.outbox(partition)?;
        self.shared.producer.try_enqueue(outbox, &record, &self.shared.settings)
    }

    /// This topic as a [`Sink`](futures_sink::Sink) of records, for streams to be forwarded to.
    #[cfg(feature = "sink")]
    pub fn sink(&self) -> super::TopicSink {
        super::TopicSink::new(self.clone())
    }

    /// As [`try_enqueue`](Self::try_enqueue); and whether others should go first before the next record.
    #[cfg(feature = "sink")]
    pub(super) fn offer(&self, record: &Record<'_>) -> Result<(Delivery, bool)> {
        let outbox = self.outbox_for(record)?;
        let delivery = self.shared.producer.try_enqueue(outbox, record, &self.shared.settings)?;
        Ok((delivery, outbox.take_streak()))
    }

    /// Nothing that was enqueued lingers any longer.
    #[cfg(feature = "sink")]
    pub(super) fn hurry(&self) {
        self.shared.producer.hurry(self.shared.partitions.iter().cloned());
    }

    fn outbox(&self, partition: i32) -> Result<&Arc<Outbox>> {
        let partitions = &self.shared.partitions;
        let found = usize::try_from(partition).ok().and_then(|at| partitions.get(at));
        found.ok_or_else(|| Error::Partition {
            topic: self.shared.topic.name.clone(),
            partition,
            partitions: partitions.len(),
        })
    }

    /// The user's own choice. Its code runs under no lock.
    pub(super) fn choose(&self, choice: impl FnOnce(&Partitions<'_>) -> i32) -> i32 {
        let all = &self.shared.partitions;
        let is_available =
            |at: i32| usize::try_from(at).ok().and_then(|at| all.get(at)).is_some_and(|it| it.has_leader());
        let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
        choice(&Partitions { topic: &self.shared.topic.name, count, is_available: &is_available })
    }

    /// What applies to batches of the topic.
    pub(super) fn settings(&self) -> BatchSettings {
        self.shared.settings
    }

    /// A partition of the topic, for batches with these settings.
    pub(super) fn destination(&self, partition: i32, settings: BatchSettings) -> Result<Destination> {
        self.outbox(partition)?;
        let (producer, topic) = (self.shared.producer.clone(), self.shared.topic.clone());
        Ok(Destination { producer, topic, partition, settings })
    }

    /// By the user's own choice, by key, or by turns.
    fn outbox_for(&self, record: &Record<'_>) -> Result<&Arc<Outbox>> {
        let partitions = &self.shared.partitions;
        let at = match (&self.shared.partitioner, &record.key) {
            (Some(partitioner), _) => {
                return self.outbox(self.choose(|partitions| partitioner.partition(record, partitions)));
            }
            (None, Some(key)) => {
                let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
                usize::try_from(partition_of(key.as_slice(), count)).unwrap_or_default()
            }
            (None, None) => {
                let size = record.value.as_ref().map_or(0, |value| value.as_slice().len()) + RECORD_OVERHEAD;
                let look = |at| match partitions.get(at) {
                    Some(outbox) => outbox.standing(|| wire_footprint(record)),
                    None => Standing::Leaderless,
                };
                self.sticky.next(size, self.shared.sticky_run, partitions.len(), look)
            }
        };
        partitions.get(at).ok_or(Error::Closed)
    }
}

impl TopicShared {
    pub(super) fn name(&self) -> &str {
        &self.topic.name
    }

    /// Takes up what the metadata says of the topic now: more partitions, and which of them have leaders.
    pub(super) fn update(&self, topic: &Topic) {
        if !super::is_same(topic.id, self.topic.id) {
            // Its outboxes are closed, and tell both ids.
            return;
        }
        self.partitions.grow(|known| {
            let more = gapless(topic).skip(known);
            // Of a producer that is closed nobody asks for more partitions.
            more.map_while(|partition| self.producer.outbox(&self.topic, partition.index).ok()).collect()
        });
        for (outbox, partition) in self.partitions.iter().zip(gapless(topic)) {
            outbox.set_leader(partition.leader.is_some());
        }
    }
}

/// The partitions from 0 on as far as none is missing: a broker that lags may leave some out, and the place of an
/// outbox in the list is its number.
fn gapless(topic: &Topic) -> impl Iterator<Item = &Partition> {
    (0..)
        .zip(&topic.partitions)
        .take_while(|(at, partition)| *at == partition.index)
        .map(|(_, partition)| partition)
}

/// How many records of an iterator are looked at before the first of them is handed over; they share one look at the clock.
const AT_ONCE: usize = 64;

/// What a record takes besides its value, about.
const RECORD_OVERHEAD: usize = 8;
