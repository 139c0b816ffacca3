//! The driver of a producer: whoever has news - a caller that appended, a connection with an answer, a timer - puts an
//! [`Event`] into the inbox and runs the [`Engine`], if nobody else is at it; who is at it takes over what came
//! meanwhile. So nobody waits for the engine, and an append that needs no company is written to its connection by the
//! caller's own task.
//!
//! The task of a producer does what needs a task: time, changes of the metadata, letting others go first. However it
//! ends, everybody who waits for a delivery is told.

mod engine;
mod log;
mod sealer;

use std::ops::Deref;
use std::pin::pin;
use std::sync::{Arc, Mutex, TryLockError};
use std::task::Poll;
use std::time::Instant;

use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_core::producer::{ProducerIdFailure, ProducerMetrics, RequestToken};
use tokio::sync::Notify;

use self::engine::Engine;
use self::sealer::Sealed;
use super::alarm::Alarm;
use super::changes::Watch;
use super::cluster::Cluster;
use super::connection::Sink;
use super::{is_earlier, lock};
use crate::producer::{Limits, Outbox, Shared};

/// How often the task lets others go first for the sake of one request; a turn with nobody else costs a microsecond or
/// two.
const PATIENCE: usize = 16;

/// How often in a row one who came by does the work of others. What is left is the task's.
const ROUNDS: usize = 16;

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// The outbox has something, or something else than before.
    Ready(Arc<Outbox>),
    /// The same, because of a caller that waits for the acknowledgement.
    Appended(Arc<Outbox>),
    /// A request came to this.
    Reply(RequestToken, Result<Option<Answer>, RequestError>),
    /// A blocking thread is done with a batch.
    Sealed(Box<Sealed>),
    /// InitProducerId came to this.
    ProducerId(Result<(i64, i16), ProducerIdFailure>),
    /// The metadata has changed.
    Metadata,
    /// Those who were let go first have had their turns.
    GoWithout,
    /// Time has passed.
    Time,
    /// Nobody will append any more.
    Close,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    inbox: Mutex<Vec<Event>>,
    /// Held by whoever runs the engine, what wakes others included. Nobody waits for it: who does not get it leaves the
    /// work to who has it. So one who is told something, and says something in turn, does not run the engine again
    /// inside itself.
    runner: Mutex<()>,
    /// `None` once the task has ended.
    engine: Mutex<Option<Engine>>,
    status: Mutex<Status>,
    /// What the engine had done when it ended.
    last_metrics: Mutex<ProducerMetrics>,
    wake: Notify,
    ended: Notify,
}

/// What the task has to know of the engine.
#[derive(Debug, Default)]
struct Status {
    /// Something could be sent but for callers who are expected.
    is_held: bool,
    /// Closing, and everything that was accepted is resolved.
    is_over: bool,
    /// When the engine must look at the clock.
    due: Option<Instant>,
    /// When the task will have it do so, whatever happens.
    rings_at: Option<Instant>,
}

impl Driver {
    /// Starts the task on the cluster's runtime.
    pub(crate) fn start(cluster: &Arc<Cluster>, limits: Limits) -> Arc<Self> {
        let shared = Arc::new(Shared::new(limits));
        let driver = Arc::new(Self {
            inbox: Mutex::default(),
            runner: Mutex::default(),
            engine: Mutex::new(Some(Engine::new(cluster.clone(), shared.clone()))),
            shared,
            status: Mutex::default(),
            last_metrics: Mutex::default(),
            wake: Notify::new(),
            ended: Notify::new(),
        });
        cluster.runtime().spawn(drive(Guard(driver.clone()), cluster.watch_metadata()));
        driver
    }

    /// Tells the engine. It wakes others, so no lock may be held.
    pub(crate) fn post(self: &Arc<Self>, event: Event) {
        lock(&self.inbox).push(event);
        self.run();
    }

    /// Does what there is to do, unless somebody else is at it. Should the engine panic, everybody who waits is told.
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
            self.update(engine);
            effects
        });
        let Some(effects) = effects else {
            let left = std::mem::take(&mut *lock(&self.inbox));
            return drop(left);
        };
        effects.into_iter().for_each(|effect| effect.run(&self.shared));
        if self.finish() {
            self.wake.notify_one();
        }
    }

    /// After a step, while the engine's lock is held.
    fn update(&self, engine: &Engine) {
        let mut status = lock(&self.status);
        status.is_held = engine.is_held();
        status.is_over = engine.is_over();
        status.due = engine.poll_timeout();
    }

    /// After the effects of a step: whether the task must be woken. Those who are expected back have been told by now.
    fn finish(&self) -> bool {
        let status = lock(&self.status);
        status.is_held || status.is_over || is_earlier(status.due, status.rings_at)
    }

    /// What there is in the inbox, in exchange for an empty vector.
    fn take_events(&self, into: &mut Vec<Event>) {
        std::mem::swap(&mut *lock(&self.inbox), into);
    }

    fn is_held(&self) -> bool {
        lock(&self.status).is_held
    }

    /// Lets the other tasks go first, so that what they append now shares the request. They may be on another thread:
    /// as long as somebody is missing, a few times.
    async fn await_company(self: &Arc<Self>) {
        for _ in 0..PATIENCE {
            if !self.is_held() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if self.is_held() {
            self.post(Event::GoWithout);
        }
    }

    /// What was done so far, also after the end.
    pub(crate) fn metrics(&self) -> ProducerMetrics {
        let running = lock(&self.engine).as_ref().map(Engine::metrics);
        let mut metrics = running.unwrap_or_else(|| lock(&self.last_metrics).clone());
        metrics.buffered = self.shared.buffered() as u64;
        metrics
    }

    /// Waits until the task has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = pin!(self.ended.notified());
        loop {
            // From here on nothing is missed.
            ended.as_mut().enable();
            if lock(&self.engine).is_none() {
                return;
            }
            ended.as_mut().await;
            ended.set(self.ended.notified());
        }
    }

    /// Ends it: nothing is accepted any more, and what the engine holds tells its waiters when it is dropped.
    fn close(&self) {
        self.shared.close();
        let engine = {
            let mut engine = lock(&self.engine);
            if let Some(engine) = &*engine {
                *lock(&self.last_metrics) = engine.metrics();
            }
            engine.take()
        };
        drop(engine);
        let events = std::mem::take(&mut *lock(&self.inbox));
        drop(events);
        lock(&self.status).is_over = true;
        self.wake.notify_one();
        self.ended.notify_waiters();
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

/// The task: until the last handle is gone and everything that was accepted is resolved.
async fn drive(guard: Guard<Arc<Driver>>, mut changes: Watch) {
    let driver = &guard.0;
    let mut alarm = Alarm::new();
    let mut wake = pin!(driver.wake.notified());
    loop {
        driver.run();
        driver.await_company().await;
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
