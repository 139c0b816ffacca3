//! The outbox of a partition: its queue behind the lock that an append takes, and the room that is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use ottla_core::partition_queue::{AppendError, BatchSettings, PartitionQueue, Ready, ReadyBatch, footprint};
use ottla_core::producer::PartitionId;
use ottla_wire::Uuid;
use ottla_wire::records::{ChunkPool, NewRecord};
use tokio::sync::Semaphore;

use super::delivery::{Delivery, Waiter};
use super::{MAX_BATCH_BYTES, PARTITION_BUFFER};
use crate::driver::lock;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    /// Given by the machine when the driver first hears of the outbox.
    pub(crate) id: OnceLock<PartitionId>,
    /// What may still be appended, in bytes.
    pub(crate) room: Semaphore,
    /// Somebody has appended since the driver last asked.
    is_used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: PartitionQueue<Delivery>,
    pool: ChunkPool,
    /// Why nothing is accepted any more.
    closed: Option<Error>,
}

/// Records that were accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// By batch, in order.
    pub(crate) spans: Vec<Span>,
    /// Their footprints.
    pub(crate) memory: usize,
    /// The driver must be told.
    pub(crate) ready_changed: bool,
}

/// Neighbouring records in one batch.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) waiter: Waiter,
    /// The first one's place in the batch.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Chunks are small: each partition in use keeps a few of them.
const CHUNK_BYTES: usize = 16 * 1024;
const CHUNKS: usize = 4;

impl Outbox {
    pub(crate) fn new(topic: Arc<str>, topic_id: Uuid, partition: i32) -> Self {
        Self {
            topic,
            topic_id,
            partition,
            id: OnceLock::new(),
            room: Semaphore::new(PARTITION_BUFFER),
            is_used: AtomicBool::new(false),
            state: Mutex::new(State {
                queue: PartitionQueue::new(MAX_BATCH_BYTES),
                pool: ChunkPool::new(CHUNK_BYTES, CHUNKS),
                closed: None,
            }),
        }
    }

    /// Appends all records in order, or none of them and says why. They share a batch if they fit into one.
    pub(crate) fn append(
        &self,
        now: Instant,
        records: &[NewRecord<'_>],
        settings: &BatchSettings,
    ) -> Result<Accepted> {
        let mut state = lock(&self.state);
        let State { queue, pool, closed } = &mut *state;
        if let Some(error) = closed {
            return Err(error.clone());
        }
        queue.prepare(records, settings).map_err(|error| self.refuse(&error))?;
        self.is_used.store(true, Ordering::Relaxed);
        let mut accepted = Accepted { spans: Vec::new(), memory: 0, ready_changed: false };
        for record in records {
            let appended = queue
                .append(now, record, settings, pool, Delivery::new)
                .map_err(|error| self.refuse(&error))?;
            accepted.memory += footprint(record);
            accepted.ready_changed |= appended.ready_changed;
            match accepted.spans.last_mut().filter(|_| appended.index > 0) {
                Some(span) => span.count += 1,
                None => accepted.spans.push(Span {
                    waiter: appended.delivery.waiter(),
                    first: appended.index,
                    count: 1,
                }),
            }
        }
        Ok(accepted)
    }

    pub(crate) fn ready(&self) -> Option<Ready> {
        lock(&self.state).queue.ready()
    }

    pub(crate) fn take(&self) -> Option<ReadyBatch<Delivery>> {
        lock(&self.state).queue.take()
    }

    /// Whether somebody has appended since this was last asked.
    pub(crate) fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }

    /// Whether it holds records, in its queue or on their way.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.state).queue.memory() > 0
    }

    /// Makes room: a batch was resolved.
    pub(crate) fn release(&self, memory: usize) {
        lock(&self.state).queue.release(memory);
        self.room.add_permits(memory);
    }

    /// Accepts nothing more, and resolves with `error` what the driver has not taken. How much memory that held is
    /// what comes back.
    pub(crate) fn close(&self, error: &Error) -> usize {
        let mut dropped = Vec::new();
        {
            let mut state = lock(&self.state);
            state.closed.get_or_insert_with(|| error.clone());
            while let Some(batch) = state.queue.take() {
                dropped.push(batch.discard());
            }
            state.pool.clear();
        }
        self.room.close();
        let mut memory = 0;
        for (delivery, held) in dropped {
            delivery.resolve(Err(error.clone()));
            memory += held;
        }
        memory
    }

    /// Why nothing is accepted any more.
    pub(crate) fn closed(&self) -> Option<Error> {
        lock(&self.state).closed.clone()
    }

    fn refuse(&self, error: &AppendError) -> Error {
        let problem = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Error::Record { topic: self.topic.clone(), partition: self.partition, problem }
    }
}
