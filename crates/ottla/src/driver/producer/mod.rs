//! The driver of a producer: whoever has news - a caller that appended, a connection with an answer, a timer - runs the
//! [`Engine`] (see [`turns`](super::turns)). So an append that needs no company is written to its connection by the
//! caller's own task.
//!
//! The task of a producer also lets others go first. However it ends, everybody who waits for a delivery is told.

mod engine;
mod log;
mod sealer;

use std::pin::pin;
use std::sync::{Arc, Mutex};

use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_core::producer::{ProducerIdFailure, ProducerMetrics, RequestToken};
use tokio::sync::Notify;

use self::engine::{Effect, Engine};
use self::sealer::Done;
use super::cluster::Cluster;
use super::connection::Sink;
use super::lock;
use super::turns::{After, Driven, Turns, drive};
use crate::producer::{Limits, Outbox, Shared};

/// How often the task lets others go first for the sake of one request; a turn with nobody else costs a microsecond or
/// two.
const PATIENCE: usize = 16;

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
    Sealed(Box<Done>),
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
    turns: Turns<Engine, Event, Vec<Effect>>,
    /// What the engine had done when it ended.
    last_metrics: Mutex<ProducerMetrics>,
    ended: Notify,
}

impl Driver {
    /// Starts the task on the cluster's runtime.
    pub(crate) fn start(cluster: &Arc<Cluster>, limits: Limits) -> Arc<Self> {
        let shared = Arc::new(Shared::new(limits));
        let driver = Arc::new(Self {
            turns: Turns::new(Engine::new(cluster.clone(), shared.clone())),
            shared,
            last_metrics: Mutex::default(),
            ended: Notify::new(),
        });
        cluster.runtime().spawn(drive(&driver, cluster.watch_metadata()));
        driver
    }

    /// Tells the engine. It wakes others, so no lock may be held.
    pub(crate) fn post(self: &Arc<Self>, event: Event) {
        Driven::post(self, event);
    }

    /// What was done so far, also after the end.
    pub(crate) fn metrics(&self) -> ProducerMetrics {
        let outboxes = self.shared.busy.outboxes();
        let running = self.turns.look(|engine| {
            let mut metrics = engine.metrics();
            // Batches leave their outboxes in the engine's steps alone, so none is on its way from one to the other now.
            metrics.buffered_records += outboxes.iter().map(|it| it.records() as u64).sum::<u64>();
            metrics
        });
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
            if self.turns.look(|_| ()).is_none() {
                return;
            }
            ended.as_mut().await;
            ended.set(self.ended.notified());
        }
    }
}

impl Driven for Driver {
    type Engine = Engine;
    type Event = Event;
    type Effects = Vec<Effect>;

    const METADATA: Event = Event::Metadata;
    const TIME: Event = Event::Time;

    fn turns(&self) -> &Turns<Engine, Event, Vec<Effect>> {
        &self.turns
    }

    fn step(self: &Arc<Self>, engine: &mut Engine, effects: &mut Vec<Effect>) -> After {
        engine.step(self, effects);
        After { is_held: engine.is_held(), is_over: engine.is_over(), due: engine.poll_timeout() }
    }

    fn follow(&self, effects: &mut Vec<Effect>) {
        effects.drain(..).for_each(|effect| effect.run(&self.shared));
    }

    /// Lets the other tasks go first, so that what they append now shares the request. They may be on another thread:
    /// as long as somebody is missing, a few times.
    async fn attend(self: &Arc<Self>) {
        for _ in 0..PATIENCE {
            if !self.turns.is_held() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if self.turns.is_held() {
            self.post(Event::GoWithout);
        }
    }

    /// Nothing is accepted any more.
    fn close(&self) {
        self.shared.close();
        self.turns.close(|engine| {
            let mut metrics = engine.metrics();
            // What the engine holds is resolved with it.
            metrics.buffered_records = 0;
            *lock(&self.last_metrics) = metrics;
        });
        self.ended.notify_waiters();
    }
}

impl Sink for Driver {
    fn reply(self: Arc<Self>, token: u64, outcome: Result<Option<Answer>, RequestError>) {
        self.post(Event::Reply(RequestToken(token), outcome));
    }
}
