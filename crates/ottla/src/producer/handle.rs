//! The way from callers to a producer's driver: room in the buffers, the outbox of a partition, waiting for the outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use ottla_core::metadata::{Lookup, Topic};
use ottla_core::partition_queue::{BatchSettings, footprint};
use ottla_core::producer::{DeliveryCause, DeliveryError, DeliveryOutcome, ProducerMetrics, Written};
use ottla_wire::records::{Chunks, NewRecord};
use ottla_wire::{Str, Uuid};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::batch::FIRST_CHUNK;
use super::busy::Busy;
use super::delivery::Delivery;
use super::outbox::{AcceptedOne, How, Outbox, Span, WrittenBatch};
use super::promise::{Fate, Promise};
use super::topic::TopicShared;
use super::wire::{wire_headers, wire_record};
use crate::driver::cluster::Cluster;
use crate::driver::producer::{Driver, Event};
use crate::driver::{Either, lock, now, race};
use crate::error::{Error, Result};
use crate::record::{Record, Timestamp};

/// Chunks are small: each partition that has records has one of them.
const CHUNK_BYTES: usize = 16 * 1024;

/// How much a producer holds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of a batch, encoded and before compression.
    pub(crate) batch_bytes: usize,
    /// Of all records that are not acknowledged.
    pub(crate) buffer: usize,
    /// What one partition may take of that, so that one that is stuck leaves room for the others.
    pub(crate) partition_buffer: usize,
}

impl Default for Limits {
    /// Those of a client's own producer. Its callers wait for what they hand over, which has to fit in at once.
    fn default() -> Self {
        Self { batch_bytes: 1_000_000, buffer: 64 << 20, partition_buffer: 16 << 20 }
    }
}

/// The producer of a client. When the last clone is dropped, what was accepted is still sent, up to its delivery
/// time-out.
#[derive(Debug, Clone)]
pub(crate) struct ProducerHandle {
    lease: Arc<Lease>,
}

/// A partition, with what applies to what is produced to it.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) producer: ProducerHandle,
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: i32,
    pub(crate) settings: BatchSettings,
}

#[derive(Debug)]
struct Lease {
    cluster: Arc<Cluster>,
    driver: Arc<Driver>,
}

/// What the handles share with the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) limits: Limits,
    /// What batches are built in, and what they are compressed into.
    pub(crate) chunks: Chunks,
    /// What may still be appended to all outboxes, in bytes.
    pub(crate) memory: Semaphore,
    pub(crate) busy: Busy,
    outboxes: Mutex<Outboxes>,
    /// Topics that are to hear when their partitions change.
    topics: Mutex<Vec<Weak<TopicShared>>>,
}

#[derive(Debug, Default)]
struct Outboxes {
    by_partition: BTreeMap<(Arc<str>, i32), Arc<Outbox>>,
    is_closed: bool,
}

impl ProducerHandle {
    /// Starts the driver on the cluster's runtime.
    pub(crate) fn start(cluster: Arc<Cluster>, limits: Limits) -> Self {
        let driver = Driver::start(&cluster, limits);
        Self { lease: Arc::new(Lease { cluster, driver }) }
    }

    /// Appends records to a partition and waits until they are acknowledged. The offset of each comes back.
    ///
    /// Cancel safe in this sense: once there was room for the records they are sent, whoever waits for them.
    pub(crate) async fn produce(
        &self,
        topic: &Arc<Topic>,
        partition: i32,
        records: &[Record<'_>],
        settings: BatchSettings,
    ) -> Result<Vec<i64>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let outbox = self.outbox(topic, partition)?;
        let spans = self.accept(&outbox, records, &settings).await?;
        let mut results = Vec::with_capacity(records.len());
        for span in spans {
            let fate = span.waiter.await;
            let indices = span.first..span.first + span.count;
            results.extend(indices.map(|index| offset(&outbox.topic, partition, fate.of(index)?)));
        }
        all_of(results)
    }

    /// Appends one record when there is room for it. Who is going to wait for the acknowledgement says so: requests are
    /// held back a little for those who append again once they are told.
    ///
    /// Cancel safe: dropped before it is ready, nothing was accepted.
    pub(crate) async fn enqueue(
        &self,
        outbox: &Arc<Outbox>,
        record: &Record<'_>,
        settings: &BatchSettings,
        waits: bool,
    ) -> Result<Delivery> {
        if outbox.take_streak() {
            // Whoever always finds room would leave no time to those who send.
            tokio::task::yield_now().await;
        }
        let start = now();
        let how = How { granted: 0, is_awaited: waits };
        match outbox.append_one(&self.lease.driver.shared, start, record, settings, how) {
            Ok(accepted) => Ok(self.delivery(outbox, accepted, waits)),
            Err(None) => self.enqueue_later(outbox, start, record, settings, waits).await,
            Err(Some(refused)) => Err(outbox.give_back(&self.lease.driver.shared, *refused)),
        }
    }

    /// Appends one record once there is room for it.
    async fn enqueue_later(
        &self,
        outbox: &Arc<Outbox>,
        start: Instant,
        record: &Record<'_>,
        settings: &BatchSettings,
        waits: bool,
    ) -> Result<Delivery> {
        let granted = footprint(&wire_record(record, &wire_headers(record), || 0));
        let (room, memory) = self.room(outbox, granted, start, settings).await?;
        // They are the outbox's now, whatever comes of the append.
        room.forget();
        memory.forget();
        let how = How { granted, is_awaited: waits };
        // The time for its delivery began when it was handed over; its timestamp is the present.
        let stamped;
        let record = match record.timestamp {
            Some(_) => record,
            None => {
                stamped = record.clone().timestamp(Timestamp::now());
                &stamped
            }
        };
        match outbox.append_one(&self.lease.driver.shared, start, record, settings, how) {
            Ok(accepted) => Ok(self.delivery(outbox, accepted, waits)),
            Err(None) => Err(self.full(outbox)),
            Err(Some(refused)) => Err(outbox.give_back(&self.lease.driver.shared, *refused)),
        }
    }

    /// Appends records of one partition, and waits for room where there is none; each one's delivery, or why it was not
    /// accepted, goes into `outcomes`. When room did not come in time or nothing is accepted any more, the rest are not
    /// offered: that error comes back. `start` is when they were handed over, and read anew after each wait.
    ///
    /// Cancel safe in this sense: what was accepted is sent.
    pub(super) async fn enqueue_run(
        &self,
        outbox: &Arc<Outbox>,
        records: &[Record<'_>],
        settings: &BatchSettings,
        start: &mut Instant,
        outcomes: &mut Vec<Result<Delivery>>,
    ) -> Result<()> {
        let mut rest = records;
        while let Some((first, behind)) = rest.split_first() {
            if outbox.take_streak() {
                tokio::task::yield_now().await;
                *start = now();
            }
            let driver = &self.lease.driver;
            let accepted = |one: AcceptedOne| outcomes.push(Ok(Delivery::new(outbox.partition, one)));
            let (count, ready_changed) = outbox.append_run(&driver.shared, *start, rest, settings, accepted);
            if ready_changed {
                driver.post(Event::Ready(outbox.clone()));
            }
            if count > 0 {
                rest = &rest[count..];
                continue;
            }
            match self.enqueue(outbox, first, settings, false).await {
                Err(error @ (Error::Delivery(_) | Error::Closed)) => return Err(error),
                outcome => outcomes.push(outcome),
            }
            *start = now();
            rest = behind;
        }
        Ok(())
    }

    /// Enters a batch that was put together elsewhere, once there is room for it. Its promise tells what becomes of it,
    /// also when it is not accepted; the reason is what comes back.
    ///
    /// Dropped before it is ready, the promise tells that the producer is gone.
    pub(super) async fn hand_over(
        &self,
        to: &Destination,
        batch: WrittenBatch,
        promise: Promise,
    ) -> Result<()> {
        let room = async {
            let outbox = self.outbox(&to.topic, to.partition)?;
            let (room, memory) = self.room(&outbox, batch.memory, batch.since, &to.settings).await?;
            // They are the outbox's now; they come back when the batch is resolved.
            room.forget();
            memory.forget();
            Ok(outbox)
        };
        let outbox = match room.await {
            Ok(outbox) => outbox,
            Err(error) => {
                promise.resolve(Fate::Whole(Err(Error::clone(&error))));
                return Err(error);
            }
        };
        let memory = batch.memory;
        match outbox.push(&self.lease.driver.shared, batch, &to.settings, promise) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.lease.driver.post(Event::Ready(outbox));
                Ok(())
            }
            Err((promise, error)) => {
                outbox.room.add_permits(memory);
                self.lease.driver.shared.memory.add_permits(memory);
                promise.resolve(Fate::Whole(Err(error.clone())));
                Err(error)
            }
        }
    }

    /// Appends one record if there is room for it now.
    pub(crate) fn try_enqueue(
        &self,
        outbox: &Arc<Outbox>,
        record: &Record<'_>,
        settings: &BatchSettings,
    ) -> Result<Delivery> {
        let how = How { granted: 0, is_awaited: false };
        match outbox.append_one(&self.lease.driver.shared, now(), record, settings, how) {
            Ok(accepted) => Ok(self.delivery(outbox, accepted, false)),
            Err(None) => {
                // What lingers there takes the room.
                self.hurry([outbox.clone()]);
                Err(self.full(outbox))
            }
            Err(Some(refused)) => Err(outbox.give_back(&self.lease.driver.shared, *refused)),
        }
    }

    /// The delivery of a record that was accepted. The driver is told what it has to know.
    #[inline]
    fn delivery(&self, outbox: &Arc<Outbox>, accepted: AcceptedOne, is_awaited: bool) -> Delivery {
        // Who is going to wait is counted among those for whom requests are held.
        if is_awaited {
            self.lease.driver.post(Event::Appended(outbox.clone()));
        } else if accepted.ready_changed() {
            self.lease.driver.post(Event::Ready(outbox.clone()));
        }
        Delivery::new(outbox.partition, accepted)
    }

    fn full(&self, outbox: &Outbox) -> Error {
        let Limits { buffer, partition_buffer, .. } = self.lease.driver.shared.limits;
        Error::Full { topic: outbox.topic.clone(), partition: outbox.partition, buffer, partition_buffer }
    }

    /// Waits until all that was accepted before is resolved, one way or the other.
    ///
    /// Cancel safe.
    pub(crate) async fn flush(&self) {
        let outboxes = self.lease.driver.shared.busy.outboxes();
        let begun: Vec<_> = outboxes.iter().flat_map(|outbox| outbox.begun()).collect();
        self.hurry(outboxes);
        for batch in begun {
            // What it came to was told to whoever keeps its deliveries.
            let _told = batch.await;
        }
    }

    /// Accepts nothing more, waits until all that was accepted is resolved, and ends the driver.
    pub(crate) async fn close(&self) {
        self.lease.driver.shared.close_outboxes().iter().for_each(|outbox| outbox.refuse_more());
        self.flush().await;
        self.lease.driver.post(Event::Close);
        self.lease.driver.ended().await;
    }

    /// Nothing in these outboxes lingers any longer.
    pub(super) fn hurry(&self, outboxes: impl IntoIterator<Item = Arc<Outbox>>) {
        for outbox in outboxes.into_iter().filter(|outbox| outbox.hurry()) {
            self.lease.driver.post(Event::Ready(outbox));
        }
    }

    pub(crate) fn metrics(&self) -> ProducerMetrics {
        self.lease.driver.metrics()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.lease.driver.shared.outboxes).is_closed
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.lease.cluster
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.lease.driver.shared
    }

    async fn accept(
        &self,
        outbox: &Arc<Outbox>,
        records: &[Record<'_>],
        settings: &BatchSettings,
    ) -> Result<Vec<Span>> {
        let start = now();
        let headers: Vec<Vec<_>> = records.iter().map(wire_headers).collect();
        let wall = Timestamp::now().0;
        let records: Vec<NewRecord<'_>> = records
            .iter()
            .zip(&headers)
            .map(|(record, headers)| wire_record(record, headers, || wall))
            .collect();
        let size: usize = records.iter().map(footprint).sum();
        let (room, memory) = self.room(outbox, size, start, settings).await?;
        let spans = outbox.append(&self.lease.driver.shared, start, &records, settings)?;
        // They come back batch by batch, when the batches are resolved.
        room.forget();
        memory.forget();
        self.lease.driver.post(Event::Appended(outbox.clone()));
        Ok(spans)
    }

    /// Waits for room, first in the partition, so that who waits there holds nothing that others could use. What lingers
    /// where there is no room leaves.
    async fn room<'a>(
        &'a self,
        outbox: &'a Arc<Outbox>,
        size: usize,
        start: Instant,
        settings: &BatchSettings,
    ) -> Result<(SemaphorePermit<'a>, SemaphorePermit<'a>)> {
        let Limits { buffer, partition_buffer: limit, batch_bytes } = self.lease.driver.shared.limits;
        let permits = match u32::try_from(size) {
            Ok(permits) if size <= limit => permits,
            _ => {
                let problem = format!(
                    "together they take {size} bytes, the buffer of a partition holds {limit}: send fewer at a \
                     time; each record has to fit into a batch of {batch_bytes} bytes"
                );
                let topic = outbox.topic.clone();
                return Err(Error::Record { topic, partition: outbox.partition, problem });
            }
        };
        let shared = &self.lease.driver.shared;
        let both = async {
            if outbox.room.available_permits() < size {
                self.hurry([outbox.clone()]);
            }
            let room = outbox.room.acquire_many(permits).await;
            let room = room.map_err(|_| outbox.closed().unwrap_or(Error::Closed))?;
            if shared.memory.available_permits() < size {
                self.hurry(shared.busy.outboxes());
            }
            let memory = shared.memory.acquire_many(permits).await.map_err(|_| Error::Closed)?;
            Ok((room, memory))
        };
        let deadline = start.checked_add(settings.delivery_timeout);
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        match race(both, timeout).await {
            Either::First(result) => result,
            Either::Second(()) => {
                let cause = DeliveryCause::BufferFull { size, limit: buffer, partition_limit: limit };
                Err(unsent(&outbox.topic, outbox.partition, DeliveryOutcome::NotWritten, cause))
            }
        }
    }

    /// The outbox of a partition of this very topic; an error when the topic was created again since.
    pub(crate) fn outbox(&self, topic: &Topic, partition: i32) -> Result<Arc<Outbox>> {
        let key = (topic.name.clone(), partition);
        let mut outboxes = lock(&self.lease.driver.shared.outboxes);
        if outboxes.is_closed {
            return Err(Error::Closed);
        }
        if let Some(outbox) = outboxes.by_partition.get(&key) {
            if is_same(outbox.topic_id, topic.id) && outbox.closed().is_none() {
                return Ok(outbox.clone());
            }
            // What was believed of the topic's id has changed; the metadata knows what counts now.
            if let Lookup::Known(current) =
                self.lease.cluster.with_metadata(|metadata| metadata.topic(&topic.name))
                && !is_same(current.id, topic.id)
            {
                return Err(recreated(&topic.name, partition, topic.id, current.id));
            }
        }
        let outbox =
            Arc::new(Outbox::new(topic.name.clone(), topic.id, partition, &self.lease.driver.shared));
        let before = outboxes.by_partition.insert(key, outbox.clone());
        drop(outboxes);
        let shared = &self.lease.driver.shared;
        // Of one that has something under way the driver knows.
        if let Some(before) = before.filter(|before| !before.is_open_in(&shared.busy)) {
            let error = recreated(&topic.name, partition, before.topic_id, topic.id);
            shared.memory.add_permits(before.close(&error));
        }
        Ok(outbox)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.driver.post(Event::Close);
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunks: Chunks::new(CHUNK_BYTES, limits.buffer / CHUNK_BYTES),
            memory: Semaphore::new(limits.buffer),
            busy: Busy::default(),
            outboxes: Mutex::default(),
            topics: Mutex::default(),
        }
    }

    /// Bytes that a batch may have, encoded and before compression.
    pub(super) fn batch_bytes(&self) -> usize {
        self.limits.batch_bytes.min(self.limits.partition_buffer.saturating_sub(FIRST_CHUNK))
    }

    /// No outbox is made any more. Those of all partitions are what comes back, and what else is busy: of topics that were
    /// created again.
    fn close_outboxes(&self) -> Vec<Arc<Outbox>> {
        let outboxes = {
            let mut outboxes = lock(&self.outboxes);
            outboxes.is_closed = true;
            outboxes.by_partition.values().cloned().collect::<Vec<_>>()
        };
        outboxes.into_iter().chain(self.busy.outboxes()).collect()
    }

    /// Bytes taken by records that are not resolved.
    pub(crate) fn buffered(&self) -> usize {
        self.limits.buffer.saturating_sub(self.memory.available_permits())
    }

    /// The topic hears of changes as long as a handle of it is left.
    pub(super) fn watch(&self, topic: &Arc<TopicShared>) {
        let mut topics = lock(&self.topics);
        topics.retain(|topic| topic.strong_count() > 0);
        topics.push(Arc::downgrade(topic));
    }

    /// The metadata has changed: topics may have more partitions.
    pub(crate) fn grow(&self, cluster: &Cluster) {
        let topics: Vec<_> = {
            let mut topics = lock(&self.topics);
            topics.retain(|topic| topic.strong_count() > 0);
            topics.iter().filter_map(Weak::upgrade).collect()
        };
        for topic in topics {
            if let Lookup::Known(known) = cluster.with_metadata(|metadata| metadata.topic(topic.name())) {
                topic.update(&known);
            }
        }
    }

    /// Nothing is accepted any more, and nobody waits for room.
    pub(crate) fn close(&self) {
        self.memory.close();
        for outbox in self.close_outboxes() {
            outbox.close(&Error::Closed);
        }
        let outboxes = std::mem::take(&mut lock(&self.outboxes).by_partition);
        drop(outboxes);
    }
}

/// Brokers that are too old do not tell ids.
pub(crate) fn is_same(one: Uuid, other: Uuid) -> bool {
    one == other || one.is_nil() || other.is_nil()
}

/// The error of a partition whose topic was created again.
pub(crate) fn recreated(topic: &str, partition: i32, old: Uuid, new: Uuid) -> Error {
    unsent(topic, partition, DeliveryOutcome::NotWritten, DeliveryCause::TopicRecreated { old, new })
}

pub(super) fn unsent(topic: &str, partition: i32, outcome: DeliveryOutcome, cause: DeliveryCause) -> Error {
    Error::Delivery(Arc::new(DeliveryError {
        topic: Str::from(topic),
        partition,
        attempts: 0,
        outcome,
        cause,
    }))
}

/// The offsets of records that belong together, or the first error. Of what is in the log in part nobody may believe that
/// it can be sent again without a duplicate.
pub(super) fn all_of(results: Vec<Result<i64>>) -> Result<Vec<i64>> {
    let is_in_part =
        results.iter().any(|result| result.as_ref().map_or_else(Error::may_have_happened, |_| true));
    results.into_iter().collect::<Result<_>>().map_err(|error| match error {
        Error::Delivery(error) if is_in_part && error.outcome == DeliveryOutcome::NotWritten => {
            let outcome = DeliveryOutcome::MayHaveBeenWritten;
            Error::Delivery(Arc::new(DeliveryError { outcome, ..DeliveryError::clone(&error) }))
        }
        error => error,
    })
}

/// A write that was confirmed without an offset is an error of its own: there is nothing to return.
pub(super) fn offset(topic: &str, partition: i32, written: Written) -> Result<i64> {
    let no_offset = || unsent(topic, partition, DeliveryOutcome::Written, DeliveryCause::NoOffset);
    written.base_offset.ok_or_else(no_offset)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_core::partition_queue::Acks;
    use ottla_wire::compression::Codec;

    use super::*;

    /// Only those are looked at that have something under way, also where nobody waited for it.
    #[test]
    fn an_outbox_is_busy_as_long_as_something_is_open() {
        let shared = Shared::new(Limits::default());
        let outboxes =
            [0, 1].map(|partition| Arc::new(Outbox::new("t".into(), Uuid::default(), partition, &shared)));
        let settings = BatchSettings {
            codec: Codec::default(),
            acks: Acks::All,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            linger: None,
            max_bytes: usize::MAX,
        };
        let append = |outbox: &Arc<Outbox>| {
            let how = How { granted: 0, is_awaited: false };
            outbox.append_one(&shared, now(), &Record::new("v"), &settings, how).unwrap()
        };
        for outbox in outboxes.iter().rev() {
            append(outbox);
            append(outbox);
        }
        let partitions = |outboxes: Vec<Arc<Outbox>>| -> Vec<i32> {
            outboxes.iter().map(|outbox| outbox.partition).collect()
        };
        assert_eq!(partitions(shared.busy.outboxes()), [1, 0], "as they began");
        outboxes[1].close(&Error::Closed);
        assert_eq!((partitions(shared.busy.outboxes()), shared.busy.len()), (vec![0], 1));
        outboxes[0].close(&Error::Closed);
        assert_eq!((shared.busy.outboxes().len(), shared.busy.len()), (0, 0));
    }
}
