//! Where batches are compressed, and split when they are too large: in place with a pool of the engine's, or on a bounded
//! number of blocking threads. Several batches of a partition may be at work at once; they come back in the order in which they
//! were taken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ottla_core::partition_queue::{Batch, ReadyBatch, SealError};
use ottla_core::producer::{InOrder, PartitionId, Place, RequestToken, SplitBatch};
use ottla_wire::records::{ChunkPool, Chunks, SealedBatch, SplitError};
use tokio::runtime::Handle;

use super::{Driver, Event};
use crate::driver::lock;
use crate::producer::Promise;

/// See the module.
#[derive(Debug)]
pub(super) struct Sealer {
    /// For sealing in place.
    pool: ChunkPool,
    chunks: Chunks,
    shared: Arc<Mutex<Shared>>,
    /// What is at work, and what is done already behind what is not.
    pub(super) order: InOrder<(usize, SealOutcome)>,
    /// Records of the batches in `order`.
    pub(super) records: usize,
    limit: usize,
}

/// What the threads share. One that is done with a batch goes on with the next, so that no processor is idle while another one is
/// woken for it.
#[derive(Debug, Default)]
struct Shared {
    waiting: VecDeque<Work>,
    running: usize,
    /// Those of them that tell of what they have done, and look for more then.
    returning: usize,
    /// The pools of threads that have found nothing more to do.
    pools: Vec<ChunkPool>,
}

/// Something to do for a blocking thread.
#[derive(Debug)]
pub(super) enum Work {
    Seal(Place, Box<ReadyBatch<Promise>>),
    Split(SplitBatch),
}

/// What work came to.
#[derive(Debug)]
pub(crate) enum Done {
    /// With the number of the batch's records.
    Seal(Place, usize, SealOutcome),
    Split(PartitionId, RequestToken, Result<(SealedBatch, SealedBatch), SplitError>),
}

/// What a batch that was to be sealed came to.
#[derive(Debug)]
pub(crate) enum SealOutcome {
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
        Self {
            pool: ChunkPool::of(chunks),
            chunks: chunks.clone(),
            shared: Arc::default(),
            order: InOrder::default(),
            records: 0,
            limit,
        }
    }

    /// For sealing in place.
    pub(super) fn pool(&mut self) -> &mut ChunkPool {
        &mut self.pool
    }

    /// The work is for another thread.
    pub(super) fn push(&self, work: Work) {
        lock(&self.shared).waiting.push_back(work);
    }

    /// One more thread for what waits, if that is allowed and nobody comes back for it. To be started without the engine's lock.
    pub(super) fn thread(&self, driver: &Arc<Driver>) -> Option<Thread> {
        let mut shared = lock(&self.shared);
        if shared.running >= self.limit || shared.waiting.len() <= shared.returning {
            return None;
        }
        let work = shared.waiting.pop_front()?;
        shared.running += 1;
        let pool = shared.pools.pop();
        drop(shared);
        let pool = pool.unwrap_or_else(|| ChunkPool::of(&self.chunks));
        let (lost, shared, driver) = (Some(work.lost()), self.shared.clone(), driver.clone());
        Some(Thread { work: Some(work), lost, pool: Some(pool), shared, driver })
    }
}

impl Drop for Sealer {
    /// What nobody has begun has nobody to come back to.
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut lock(&self.shared).waiting);
        drop(waiting);
    }
}

/// More threads than this would take processors away from whoever makes the records.
const MAX_SEALERS: usize = 8;

/// A blocking thread, with its first work. Whatever happens to it, that comes back to the engine.
#[derive(Debug)]
pub(crate) struct Thread {
    work: Option<Work>,
    /// What is said of the work if it does not come to an end.
    lost: Option<Done>,
    pool: Option<ChunkPool>,
    shared: Arc<Mutex<Shared>>,
    driver: Arc<Driver>,
}

impl Thread {
    /// Starts it. On a runtime that is gone it is dropped, and wakes others.
    pub(super) fn start(self, runtime: &Handle) {
        runtime.spawn_blocking(move || self.run());
    }

    fn run(mut self) {
        while let Some(work) = self.work.take()
            && let Some(pool) = &mut self.pool
        {
            let done = work.run(pool);
            self.lost = None;
            lock(&self.shared).returning += 1;
            // The engine may find more to do now.
            self.driver.post(Event::Sealed(Box::new(done)));
            self.go_on();
        }
    }

    /// Takes the next work; without any the thread is over.
    fn go_on(&mut self) {
        let mut shared = lock(&self.shared);
        shared.returning -= 1;
        self.work = shared.waiting.pop_front();
        self.lost = self.work.as_ref().map(Work::lost);
        if self.work.is_none() {
            shared.running -= 1;
            shared.pools.extend(self.pool.take());
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Whoever waits for it is told before the engine is.
        drop(self.work.take());
        if let Some(lost) = self.lost.take() {
            lock(&self.shared).running -= 1;
            self.driver.post(Event::Sealed(Box::new(lost)));
        }
    }
}
