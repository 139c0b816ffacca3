//! The producing side of a client: records enter the outbox of their partition and wait there for the driver, which
//! sends what is ready to a broker in one request.
//!
//! ```text
//! produce -> room in the buffers -> Outbox (lock, append) -> driver::producer -> connections
//!    ^------------------------- Delivery (one a batch) <--------'
//! ```

mod delivery;
mod outbox;

pub(crate) use delivery::Delivery;
pub(crate) use outbox::Outbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ottla_core::metadata::{Lookup, Topic};
use ottla_core::partition_queue::{BatchSettings, footprint};
use ottla_core::producer::{DeliveryCause, DeliveryError, DeliveryOutcome, Written};
use ottla_wire::records::NewRecord;
use ottla_wire::{Str, Uuid, records};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::outbox::Accepted;
use crate::driver::cluster::Cluster;
use crate::driver::producer::{Driver, Event};
use crate::driver::{Either, lock, now, race};
use crate::error::{Error, Result};
use crate::record::{Payload, Record, Timestamp};

/// The largest batch, encoded and before compression.
const MAX_BATCH_BYTES: usize = 1_000_000;

/// What all records of a client may take that are not acknowledged.
const BUFFER: usize = 64 << 20;

/// What one partition may take of that, so that one that is stuck leaves room for the others.
const PARTITION_BUFFER: usize = 16 << 20;

/// The producer of a client. When the last clone is dropped, what was accepted is still sent, up to its delivery
/// time-out.
#[derive(Debug, Clone)]
pub(crate) struct ProducerHandle {
    lease: Arc<Lease>,
}

#[derive(Debug)]
struct Lease {
    cluster: Arc<Cluster>,
    driver: Arc<Driver>,
}

/// What the handles share with the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What may still be appended to all outboxes, in bytes.
    pub(crate) memory: Semaphore,
    outboxes: Mutex<Outboxes>,
}

#[derive(Debug, Default)]
struct Outboxes {
    by_partition: HashMap<(Arc<str>, i32), Arc<Outbox>>,
    is_closed: bool,
}

impl ProducerHandle {
    /// Starts the driver on the cluster's runtime.
    pub(crate) fn start(cluster: Arc<Cluster>) -> Self {
        let driver = Driver::start(&cluster);
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
        let accepted = self.accept(&outbox, records, &settings).await?;
        let mut offsets = Vec::with_capacity(records.len());
        for span in accepted.spans {
            let base = offset(&outbox, span.waiter.await?)?;
            offsets
                .extend((span.first..span.first + span.count).map(|index| base.saturating_add(index as i64)));
        }
        Ok(offsets)
    }

    async fn accept(
        &self,
        outbox: &Arc<Outbox>,
        records: &[Record<'_>],
        settings: &BatchSettings,
    ) -> Result<Accepted> {
        let start = now();
        let headers: Vec<Vec<_>> = records.iter().map(wire_headers).collect();
        let wall = Timestamp::now();
        let records: Vec<NewRecord<'_>> = records
            .iter()
            .zip(&headers)
            .map(|(record, headers)| wire_record(record, headers, wall))
            .collect();
        let size: usize = records.iter().map(footprint).sum();
        let (room, memory) = self.room(outbox, size, start, settings).await?;
        let accepted = outbox.append(start, &records, settings)?;
        // They come back batch by batch, when the batches are resolved.
        room.forget();
        memory.forget();
        if accepted.ready_changed {
            self.lease.driver.post(Event::Ready(outbox.clone()));
        }
        Ok(accepted)
    }

    /// Waits for room, first in the partition, so that who waits there holds nothing that others could use.
    async fn room<'a>(
        &'a self,
        outbox: &'a Outbox,
        size: usize,
        start: Instant,
        settings: &BatchSettings,
    ) -> Result<(SemaphorePermit<'a>, SemaphorePermit<'a>)> {
        let permits = match u32::try_from(size) {
            Ok(permits) if size <= PARTITION_BUFFER => permits,
            _ => {
                let problem = format!(
                    "together they take {size} bytes, the buffer of a partition holds {PARTITION_BUFFER}: \
                     produce them in several calls"
                );
                let topic = outbox.topic.clone();
                return Err(Error::Record { topic, partition: outbox.partition, problem });
            }
        };
        let both = async {
            let room = outbox.room.acquire_many(permits).await;
            let room = room.map_err(|_| outbox.closed().unwrap_or(Error::Closed))?;
            let memory =
                self.lease.driver.shared.memory.acquire_many(permits).await.map_err(|_| Error::Closed)?;
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
                let cause = DeliveryCause::BufferFull { size, limit: BUFFER };
                Err(unsent(&outbox.topic, outbox.partition, DeliveryOutcome::NotWritten, cause))
            }
        }
    }

    /// The outbox of a partition of this very topic; an error when the topic was created again since.
    fn outbox(&self, topic: &Arc<Topic>, partition: i32) -> Result<Arc<Outbox>> {
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
        let outbox = Arc::new(Outbox::new(topic.name.clone(), topic.id, partition));
        outboxes.by_partition.insert(key, outbox.clone());
        Ok(outbox)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.driver.post(Event::Close);
    }
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { memory: Semaphore::new(BUFFER), outboxes: Mutex::default() }
    }

    /// Nothing is accepted any more, and nobody waits for room.
    pub(crate) fn close(&self) {
        let outboxes = {
            let mut outboxes = lock(&self.outboxes);
            outboxes.is_closed = true;
            std::mem::take(&mut outboxes.by_partition)
        };
        self.memory.close();
        for outbox in outboxes.into_values() {
            outbox.close(&Error::Closed);
        }
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

fn unsent(topic: &str, partition: i32, outcome: DeliveryOutcome, cause: DeliveryCause) -> Error {
    Error::Delivery(Arc::new(DeliveryError {
        topic: Str::from(topic),
        partition,
        attempts: 0,
        outcome,
        cause,
    }))
}

/// A write that was confirmed without an offset is an error of its own: there is nothing to return.
fn offset(outbox: &Outbox, written: Written) -> Result<i64> {
    let no_offset =
        || unsent(&outbox.topic, outbox.partition, DeliveryOutcome::Written, DeliveryCause::NoOffset);
    written.base_offset.ok_or_else(no_offset)
}

fn wire_record<'a>(
    record: &'a Record<'_>,
    headers: &'a [(records::Payload<'a>, Option<records::Payload<'a>>)],
    now: Timestamp,
) -> NewRecord<'a> {
    NewRecord {
        key: record.key.as_ref().map(wire_payload),
        value: record.value.as_ref().map(wire_payload),
        headers,
        timestamp: record.timestamp.unwrap_or(now).0,
    }
}

fn wire_headers<'a>(record: &'a Record<'_>) -> Vec<(records::Payload<'a>, Option<records::Payload<'a>>)> {
    record.headers.iter().map(|(key, value)| (wire_payload(key), value.as_ref().map(wire_payload))).collect()
}

fn wire_payload<'a>(payload: &'a Payload<'_>) -> records::Payload<'a> {
    match payload {
        Payload::Borrowed(bytes) => records::Payload::Borrowed(bytes),
        Payload::Shared(bytes) => records::Payload::Shared(bytes),
    }
}
