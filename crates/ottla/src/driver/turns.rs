//! How an engine - a machine and what carries out its actions - is run: whoever has news puts an event into the inbox and
//! runs the engine, if nobody else is at it; who is at it takes over what came meanwhile. So nobody waits for an engine,
//! and what has to happen happens in the task that made it so.
//!
//! The engine's task ([`drive`]) does what needs a task: time, and changes of the metadata. However it ends, the driver is
//! closed.

use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Notify;

use super::alarm::Alarm;
use super::changes::Watch;
use super::lock;
use super::sync::{Mutex, TryLockError};

/// How often in a row one who came by does the work of others. What is left is the task's.
const ROUNDS: usize = 16;

/// An engine, what it is told, and who is at it.
#[derive(Debug)]
pub(super) struct Turns<E, V, F> {
    inbox: Mutex<Vec<V>>,
    /// Held by whoever runs the engine, what wakes others included. Nobody waits for it: who does not get it leaves the
    /// work to who has it. So one who is told something, and says something in turn, does not run the engine again
    /// inside itself. What is left to be done after a step lies in it, empty between steps: its memory is used again.
    runner: Mutex<F>,
    /// `None` once the task has ended.
    engine: Mutex<Option<E>>,
    status: Mutex<Status>,
    wake: Notify,
}

/// What the task has to know of the engine.
#[derive(Debug, Default)]
struct Status {
    after: After,
    /// When the task will have the engine look at the clock, whatever happens.
    rings_at: Option<Instant>,
}

/// What an engine says after a step.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct After {
    /// The task is to do something for it: see [`Driven::attend`].
    pub(super) is_held: bool,
    /// There is nothing left to do.
    pub(super) is_over: bool,
    /// When it must look at the clock.
    pub(super) due: Option<Instant>,
}

/// A driver of an engine.
pub(super) trait Driven: Send + Sync + Sized + 'static {
    type Engine: Send + 'static;
    type Event: Send + 'static;
    /// What is left to be done without the engine's lock: it wakes others.
    type Effects: Default + Send + 'static;

    /// The event that says that the metadata has changed.
    const METADATA: Self::Event;
    /// The event that says that time has passed.
    const TIME: Self::Event;

    fn turns(&self) -> &Turns<Self::Engine, Self::Event, Self::Effects>;

    /// One step of the engine, under its lock. `effects` are empty before.
    fn step(self: &Arc<Self>, engine: &mut Self::Engine, effects: &mut Self::Effects) -> After;

    /// What follows from a step, which is taken out of `effects`. No lock is held that anybody waits for.
    fn follow(&self, effects: &mut Self::Effects);

    /// In the task, after each turn: what an engine that is held needs.
    fn attend(self: &Arc<Self>) -> impl Future<Output = ()> + Send;

    /// Ends it, and tells everybody who waits. Called once the task is gone, and when the engine panics.
    fn close(&self);

    /// Tells the engine. It wakes others, so no lock may be held.
    fn post(self: &Arc<Self>, event: Self::Event) {
        lock(&self.turns().inbox).push(event);
        self.run();
    }

    /// Does what there is to do, unless somebody else is at it.
    fn run(self: &Arc<Self>) {
        let turns = self.turns();
        let guard = Guard(&**self);
        let is_done = (0..ROUNDS).any(|_| {
            let mut runner = match turns.runner.try_lock() {
                Ok(runner) => runner,
                Err(TryLockError::WouldBlock) => return true,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            self.round(&mut runner);
            drop(runner);
            // What came while it was held, and by what was just done.
            lock(&turns.inbox).is_empty()
        });
        std::mem::forget(guard);
        if !is_done {
            turns.wake.notify_one();
        }
    }

    /// One step of the engine, and what follows from it.
    fn round(self: &Arc<Self>, effects: &mut Self::Effects) {
        let turns = self.turns();
        let stepped = lock(&turns.engine).as_mut().map(|engine| {
            let after = self.step(engine, effects);
            lock(&turns.status).after = after;
        });
        if stepped.is_none() {
            return turns.discard();
        }
        self.follow(effects);
        // Those who are expected back have been told by now.
        if turns.needs_task() {
            turns.wake.notify_one();
        }
    }
}

impl<E, V, F: Default> Turns<E, V, F> {
    pub(super) fn new(engine: E) -> Self {
        Self {
            inbox: Mutex::new(Vec::new()),
            runner: Mutex::default(),
            engine: Mutex::new(Some(engine)),
            status: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// What there is in the inbox, in exchange for an empty vector.
    pub(super) fn take_events(&self, into: &mut Vec<V>) {
        std::mem::swap(&mut *lock(&self.inbox), into);
    }

    /// Looks at the engine, if it has not ended.
    pub(super) fn look<T>(&self, look: impl FnOnce(&E) -> T) -> Option<T> {
        lock(&self.engine).as_ref().map(look)
    }

    pub(super) fn is_held(&self) -> bool {
        lock(&self.status).after.is_held
    }

    /// Ends the engine, after a last look at it. What it holds tells its waiters when it is dropped.
    pub(super) fn close(&self, last_look: impl FnOnce(&E)) {
        let engine = {
            let mut engine = lock(&self.engine);
            engine.as_ref().map(last_look);
            engine.take()
        };
        drop(engine);
        self.discard();
        lock(&self.status).after.is_over = true;
        self.wake.notify_one();
    }

    /// Drops what nobody will take, under no lock.
    fn discard(&self) {
        let left = std::mem::take(&mut *lock(&self.inbox));
        drop(left);
    }

    fn needs_task(&self) -> bool {
        let Status { after, rings_at } = &*lock(&self.status);
        after.is_held || after.is_over || is_earlier(after.due, *rings_at)
    }
}

/// Closes the driver, however it comes to be dropped: its task has returned, panicked, or gone with its runtime; or the
/// engine has panicked in somebody else's task.
struct Guard<P: Deref<Target: Driven>>(P);

impl<P: Deref<Target: Driven>> Drop for Guard<P> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The task of an engine, until that is over. The driver is closed then, also if the task is never run.
pub(super) fn drive<D: Driven>(driver: &Arc<D>, changes: Watch) -> impl Future<Output = ()> + Send + use<D> {
    attend(Guard(driver.clone()), changes)
}

async fn attend<D: Driven>(guard: Guard<Arc<D>>, mut changes: Watch) {
    let driver = &guard.0;
    let turns = driver.turns();
    let mut alarm = Alarm::new();
    let mut wake = pin!(turns.wake.notified());
    loop {
        driver.run();
        driver.attend().await;
        {
            let Status { after, rings_at } = &mut *lock(&turns.status);
            if after.is_over {
                return;
            }
            if is_earlier(after.due, *rings_at) {
                *rings_at = after.due;
            }
            alarm.set(*rings_at);
        }
        let mut changed = pin!(changes.changed());
        let event = std::future::poll_fn(|cx| {
            // First what comes seldom: there may always be a wake-up.
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(D::METADATA));
            }
            if wake.as_mut().poll(cx).is_ready() {
                wake.set(turns.wake.notified());
                return Poll::Ready(None);
            }
            alarm.poll_ring(cx).map(|()| {
                lock(&turns.status).rings_at = None;
                Some(D::TIME)
            })
        })
        .await;
        event.into_iter().for_each(|event| driver.post(event));
    }
}

/// Whether a time comes before the alarm that is set.
pub(crate) fn is_earlier(due: Option<Instant>, rings_at: Option<Instant>) -> bool {
    due.is_some_and(|due| rings_at.is_none_or(|rings_at| due < rings_at))
}
