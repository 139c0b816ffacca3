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
    queue: Arc<Mutex<Queue>>,
    /// What is at work, and what is done already behind what is not.
    pub(super) order: InOrder<(usize, SealOutcome)>,
    /// Records of the batches in `order`.
    pub(super) records: usize,
    limit: usize,
}

/// What the threads share. A thread that is done with a batch goes on with the next: one that ended, and another that was
/// woken for it, left a processor idle now and then.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Work>,
    running: usize,
    /// Of threads that found nothing more to do.
    idle: Vec<ChunkPool>,
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
            queue: Arc::default(),
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
    pub(super) fn queue(&mut self, work: Work) {
        lock(&self.queue).waiting.push_back(work);
    }

    /// Starts threads for what waits, as many as are allowed.
    pub(super) fn start(&mut self, driver: &Arc<Driver>, runtime: &Handle) {
        while let Some(thread) = self.thread(driver) {
            runtime.spawn_blocking(move || thread.run());
        }
    }

    /// One more thread, with its first work.
    fn thread(&self, driver: &Arc<Driver>) -> Option<Thread> {
        let mut queue = lock(&self.queue);
        if queue.running >= self.limit {
            return None;
        }
        let work = queue.waiting.pop_front()?;
        queue.running += 1;
        let pool = queue.idle.pop().unwrap_or_else(|| ChunkPool::of(&self.chunks));
        let (queue, driver) = (self.queue.clone(), driver.clone());
        Some(Thread { lost: Some(work.lost()), work: Some(work), pool, queue, driver })
    }
}

/// More threads than this would take processors away from whoever makes the records.
const MAX_SEALERS: usize = 8;

/// A blocking thread. Whatever happens to it, its work comes back to the engine.
struct Thread {
    work: Option<Work>,
    /// What is said of the work if it does not come to an end.
    lost: Option<Done>,
    pool: ChunkPool,
    queue: Arc<Mutex<Queue>>,
    driver: Arc<Driver>,
}

impl Thread {
    fn run(mut self) {
        while let Some(work) = self.work.take() {
            let done = work.run(&mut self.pool);
            self.lost = None;
            // The engine may find more to do now.
            self.driver.post(Event::Sealed(Box::new(done)));
            self.go_on();
        }
    }

    /// Takes the next work; without any the thread is over.
    fn go_on(&mut self) {
        let mut queue = lock(&self.queue);
        self.work = queue.waiting.pop_front();
        self.lost = self.work.as_ref().map(Work::lost);
        if self.work.is_none() {
            queue.running -= 1;
            queue.idle.push(std::mem::replace(&mut self.pool, ChunkPool::new(0, 0)));
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            lock(&self.queue).running -= 1;
            self.driver.post(Event::Sealed(Box::new(lost)));
        }
    }
}
