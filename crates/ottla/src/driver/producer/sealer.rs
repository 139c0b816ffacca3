//! Where batches are compressed: in place with a pool of the engine's, or on a bounded number of blocking threads.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_core::partition_queue::{Batch, ReadyBatch, SealError};
use ottla_core::producer::PartitionId;
use ottla_wire::records::ChunkPool;
use tokio::runtime::Handle;

use super::{Driver, Event};
use crate::producer::Promise;

/// See the module.
#[derive(Debug)]
pub(super) struct Sealer {
    pool: ChunkPool,
    idle: Vec<ChunkPool>,
    waiting: VecDeque<(PartitionId, ReadyBatch<Promise>)>,
    running: usize,
    limit: usize,
}

/// A batch back from a blocking thread.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(super) partition: PartitionId,
    /// `None` when the thread panicked or its runtime is gone; the delivery has been told.
    pub(super) result: Option<Result<Batch<Promise>, SealError<Promise>>>,
    pub(super) memory: usize,
    pub(super) pool: ChunkPool,
}

impl Sealer {
    pub(super) fn new() -> Self {
        let limit = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_SEALERS));
        Self { pool: ChunkPool::default(), idle: Vec::new(), waiting: VecDeque::new(), running: 0, limit }
    }

    /// For sealing in place.
    pub(super) fn pool(&mut self) -> &mut ChunkPool {
        &mut self.pool
    }

    /// The batch is for another thread.
    pub(super) fn queue(&mut self, partition: PartitionId, batch: ReadyBatch<Promise>) {
        self.waiting.push_back((partition, batch));
    }

    /// Gives work to as many threads as are allowed.
    pub(super) fn start(&mut self, driver: &Arc<Driver>, runtime: &Handle) {
        while self.running < self.limit
            && let Some((partition, batch)) = self.waiting.pop_front()
        {
            self.running += 1;
            let pool = self.idle.pop().unwrap_or_default();
            let job = Job::new(partition, batch, pool, driver.clone());
            runtime.spawn_blocking(move || job.run());
        }
    }

    /// A thread is done, and gives its pool back.
    pub(super) fn finish(&mut self, pool: ChunkPool) {
        self.running -= 1;
        self.idle.push(pool);
    }
}

/// More threads than this would take processors away from whoever makes the records.
const MAX_SEALERS: usize = 8;

/// A batch on its way through a blocking thread. It comes back to the engine whatever happens.
struct Job {
    batch: Option<ReadyBatch<Promise>>,
    sealed: Option<Box<Sealed>>,
    driver: Arc<Driver>,
}

impl Job {
    fn new(partition: PartitionId, batch: ReadyBatch<Promise>, pool: ChunkPool, driver: Arc<Driver>) -> Self {
        let sealed = Sealed { partition, result: None, memory: batch.memory(), pool };
        Self { batch: Some(batch), sealed: Some(Box::new(sealed)), driver }
    }

    fn run(mut self) {
        if let (Some(batch), Some(sealed)) = (self.batch.take(), &mut self.sealed) {
            sealed.result = Some(batch.seal(&mut sealed.pool));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(sealed) = self.sealed.take() {
            self.driver.post(Event::Sealed(sealed));
        }
    }
}
