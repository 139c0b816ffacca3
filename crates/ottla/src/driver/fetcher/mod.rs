//! The driver of a fetcher: whoever has news - a reader that is done with records, a connection with an answer, a timer -
//! puts an [`Event`] into the inbox and runs the [`Engine`], if nobody else is at it; who is at it takes over what came
//! meanwhile. So the next fetch leaves in the task that made room for it, or that brought the last answer.
//!
//! The task of a fetcher does what needs a task: time, and changes of the metadata. However it ends, the reader is told.

mod engine;
mod feed;

pub(crate) use feed::{Feed, Taken};

use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::Poll;
use std::time::Instant;

use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_core::fetcher::{FetcherSettings, Hold, PartitionId, Place, RequestToken};
use ottla_core::metadata::Topic;
use tokio::sync::Notify;

use self::engine::Engine;
use super::alarm::Alarm;
use super::changes::Watch;
use super::cluster::Cluster;
use super::connection::Sink;
use super::{is_earlier, lock};

/// How often in a row one who came by does the work of others. What is left is the task's.
const ROUNDS: usize = 16;

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// One more partition.
    Add { id: PartitionId, topic: Arc<Topic>, partition: i32, start: Place },
    /// One less.
    Remove(PartitionId),
    /// It goes on elsewhere.
    Seek { id: PartitionId, to: Place, generation: u64 },
    /// It is to be left out, or not any more.
    Pause { id: PartitionId, is_paused: bool },
    /// Records that were told are not held any more.
    Release(PartitionId, Hold),
    /// A request came to this.
    Reply(RequestToken, Result<Option<Answer>, RequestError>),
    /// The metadata has changed.
    Metadata,
    /// Time has passed.
    Time,
    /// Nobody reads any more.
    Close,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    feed: Arc<Feed>,
    inbox: Mutex<Vec<Event>>,
    /// Held by whoever runs the engine, what wakes others included. Nobody waits for it: who does not get it leaves the
    /// work to who has it.
    runner: Mutex<()>,
    /// `None` once the task has ended.
    engine: Mutex<Option<Engine>>,
    status: Mutex<Status>,
    partitions: AtomicU64,
    wake: Notify,
}

/// What the task has to know of the engine.
#[derive(Debug, Default)]
struct Status {
    is_over: bool,
    /// When the engine must look at the clock.
    due: Option<Instant>,
    /// When the task will have it do so, whatever happens.
    rings_at: Option<Instant>,
}

impl Driver {
    /// Starts the task on the cluster's runtime.
    pub(crate) fn start(cluster: &Arc<Cluster>, settings: FetcherSettings) -> Arc<Self> {
        let driver = Arc::new(Self {
            feed: Arc::default(),
            inbox: Mutex::default(),
            runner: Mutex::default(),
            engine: Mutex::new(Some(Engine::new(cluster.clone(), settings))),
            status: Mutex::default(),
            partitions: AtomicU64::new(0),
            wake: Notify::new(),
        });
        cluster.runtime().spawn(drive(Guard(driver.clone()), cluster.watch_metadata()));
        driver
    }

    /// Where the news are.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// A number for a partition.
    pub(crate) fn new_partition(&self) -> PartitionId {
        PartitionId(self.partitions.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the engine. It wakes others, so no lock may be held.
    pub(crate) fn post(self: &Arc<Self>, event: Event) {
        lock(&self.inbox).push(event);
        self.run();
    }

    /// Does what there is to do, unless somebody else is at it. Should the engine panic, the reader is told.
    fn run(self: &Arc<Self>) {
        let guard = Guard(&**self);
        let is_done = (0..ROUNDS).any(|_| {
            let runner = match self.runner.try_lock() {
                Ok(runner) => runner,
                Err(TryLockError::WouldBlock) => return true,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            self.round();
            drop(runner);
            // What came while it was held, and by what was just done.
            lock(&self.inbox).is_empty()
        });
        std::mem::forget(guard);
        if !is_done {
            self.wake.notify_one();
        }
    }

    /// One step of the engine, and what follows from it.
    fn round(self: &Arc<Self>) {
        let effects = lock(&self.engine).as_mut().map(|engine| {
            let effects = engine.step(self);
            let mut status = lock(&self.status);
            (status.is_over, status.due) = (engine.is_over(), engine.poll_timeout());
            effects
        });
        let Some(effects) = effects else {
            let left = std::mem::take(&mut *lock(&self.inbox));
            return drop(left);
        };
        if !effects.news.is_empty() {
            self.feed.put(effects.news);
        }
        effects.kicks.iter().for_each(super::connection::Handle::kick);
        let status = lock(&self.status);
        let must_wake = status.is_over || is_earlier(status.due, status.rings_at);
        drop(status);
        if must_wake {
            self.wake.notify_one();
        }
    }

    /// Takes what there is in the inbox, in exchange for an empty vector.
    fn take_events(&self, into: &mut Vec<Event>) {
        std::mem::swap(&mut *lock(&self.inbox), into);
    }

    /// Ends it, and tells the reader.
    fn close(&self) {
        let engine = lock(&self.engine).take();
        drop(engine);
        let events = std::mem::take(&mut *lock(&self.inbox));
        drop(events);
        lock(&self.status).is_over = true;
        self.wake.notify_one();
        self.feed.close();
    }
}

impl Sink for Driver {
    fn reply(self: Arc<Self>, token: u64, outcome: Result<Option<Answer>, RequestError>) {
        self.post(Event::Reply(RequestToken(token), outcome));
    }
}

/// Closes the driver, however it comes to be dropped: its task has returned, panicked, or gone with its runtime.
struct Guard<D: Deref<Target = Driver>>(D);

impl<D: Deref<Target = Driver>> Drop for Guard<D> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The task: until nobody reads any more.
async fn drive(guard: Guard<Arc<Driver>>, mut changes: Watch) {
    let driver = &guard.0;
    let mut alarm = Alarm::new();
    let mut wake = pin!(driver.wake.notified());
    loop {
        driver.run();
        {
            let mut status = lock(&driver.status);
            if status.is_over {
                return;
            }
            if is_earlier(status.due, status.rings_at) {
                status.rings_at = status.due;
            }
            alarm.set(status.rings_at);
        }
        let mut changed = pin!(changes.changed());
        let event = std::future::poll_fn(|cx| {
            // First what comes seldom: there may always be a wake-up.
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Event::Metadata));
            }
            if wake.as_mut().poll(cx).is_ready() {
                wake.set(driver.wake.notified());
                return Poll::Ready(None);
            }
            alarm.poll_ring(cx).map(|()| Some(Event::Time))
        })
        .await;
        if matches!(event, Some(Event::Time)) {
            lock(&driver.status).rings_at = None;
        }
        event.into_iter().for_each(|event| driver.post(event));
    }
}
