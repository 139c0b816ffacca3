//! Where batches are compressed, and split when they are too large: in place with a pool of the engine's, or on a bounded
//! number of blocking threads. Several batches of a partition may be at work at once; they come back in the order in which they
//! were taken.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_core::partition_queue::{Batch, ReadyBatch, SealError};
use ottla_core::producer::{InOrder, PartitionId, Place, RequestToken, SplitBatch};
use ottla_wire::records::{ChunkPool, Chunks, SealedBatch, SplitError};
use tokio::runtime::Handle;

use super::{Driver, Event};
use crate::producer::Promise;

/// See the module.
#[derive(Debug)]
pub(super) struct Sealer {
    chunks: Chunks,
    pool: ChunkPool,
    idle: Vec<ChunkPool>,
    waiting: VecDeque<Work>,
    /// What is at work, and what is done already behind what is not.
    pub(super) order: InOrder<(usize, SealOutcome)>,
    /// Records of the batches in `order`.
    pub(super) records: usize,
    running: usize,
    limit: usize,
}

/// Something to do for a blocking thread.
#[derive(Debug)]
pub(super) enum Work {
    Seal(Place, Box<ReadyBatch<Promise>>),
    Split(SplitBatch),
}

/// A blocking thread's work is done.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(super) result: Done,
    pub(super) pool: ChunkPool,
}

/// What work came to.
#[derive(Debug)]
pub(super) enum Done {
    /// With the number of the batch's records.
    Seal(Place, usize, SealOutcome),
    Split(PartitionId, RequestToken, Result<(SealedBatch, SealedBatch), SplitError>),
}

/// What a batch that was to be sealed came to.
#[derive(Debug)]
pub(super) enum SealOutcome {
    Sealed(Result<Batch<Promise>, SealError<Promise>>),
    /// The thread panicked, or its runtime is gone, while it compressed a batch that held so much memory; the delivery
    /// has been told.
    Lost(usize),
}

impl Work {
    pub(super) fn run(self, pool: &mut ChunkPool) -> Done {
        match self {
            Self::Seal(place, batch) => {
                Done::Seal(place, batch.count(), SealOutcome::Sealed(batch.seal(pool)))
            }
            Self::Split(SplitBatch { partition, token, sealed, codec, .. }) => {
                Done::Split(partition, token, sealed.split(&codec, pool))
            }
        }
    }

    /// What is said if it does not come to an end.
    fn lost(&self) -> Done {
        match self {
            Self::Seal(place, batch) => Done::Seal(*place, batch.count(), SealOutcome::Lost(batch.memory())),
            Self::Split(split) => {
                let records = split.sealed.count();
                Done::Split(split.partition, split.token, Err(SplitError::TooFew { records }))
            }
        }
    }
}

impl Sealer {
    pub(super) fn new(chunks: &Chunks) -> Self {
        let limit = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_SEALERS));
        let (chunks, pool) = (chunks.clone(), ChunkPool::of(chunks));
        Self {
            chunks,
            pool,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            order: InOrder::default(),
            records: 0,
            running: 0,
            limit,
        }
    }

    /// For sealing in place.
    pub(super) fn pool(&mut self) -> &mut ChunkPool {
        &mut self.pool
    }

    /// The work is for another thread.
    pub(super) fn queue(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    /// Gives work to as many threads as are allowed.
    pub(super) fn start(&mut self, driver: &Arc<Driver>, runtime: &Handle) {
        while self.running < self.limit
            && let Some(work) = self.waiting.pop_front()
        {
            self.running += 1;
            let pool = self.idle.pop().unwrap_or_else(|| ChunkPool::of(&self.chunks));
            let job = Job::new(work, pool, driver.clone());
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

/// Work on its way through a blocking thread. It comes back to the engine whatever happens.
struct Job {
    work: Option<Work>,
    sealed: Option<Box<Sealed>>,
    driver: Arc<Driver>,
}

impl Job {
    fn new(work: Work, pool: ChunkPool, driver: Arc<Driver>) -> Self {
        let sealed = Sealed { result: work.lost(), pool };
        Self { work: Some(work), sealed: Some(Box::new(sealed)), driver }
    }

    fn run(mut self) {
        if let (Some(work), Some(sealed)) = (self.work.take(), &mut self.sealed) {
            sealed.result = work.run(&mut sealed.pool);
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
