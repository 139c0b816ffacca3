//! The inputs of one partition on their way into batches, and the task that ends the batches.
//!
//! ```text
//! produce -> turn -> aggregator (try_push) -> open batch --full, lingered or flushed--> task: flush -> room -> outbox
//!    ^                                                                                                   |
//!    '--- status (deaggregate) <----------------------- Promise (one a batch) <--------------------------'
//! ```
//!
//! The task has one batch in its hands, callers fill the next. When that is full as well, they wait for their turn, each
//! with its input. So a partition holds two batches besides what its outbox has room for.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ottla_core::producer::{DeliveryCause, DeliveryOutcome, Written};
use tokio::sync::{Notify, Semaphore};

use super::inside::Id;
use super::{
    Aggregator, AggregatorError, AggregatorFailure, BatchWriter, Status, StatusDeaggregator, TryPush,
};
use crate::driver::{Either, lock, now, race};
use crate::error::{Error, Result};
use crate::producer::handle::{Destination, all_of, offset, unsent};
use crate::producer::outbox::WrittenBatch;
use crate::producer::promise::{Begun, Fate, Promise, Waiter};

#[derive(Debug)]
pub(super) struct Lane<A: Aggregator> {
    id: Id,
    to: Destination,
    linger: Duration,
    /// Whose input is next. Held while the batch is full, so that inputs enter in the order in which they came.
    turn: Semaphore,
    /// Taken by whoever has the turn and by the task, for one call each. Waiting for it blocks no thread.
    aggregator: tokio::sync::Mutex<A>,
    state: Mutex<State<A::StatusDeaggregator>>,
    /// The task has something to look at.
    news: Notify,
    /// The aggregator is empty, or the task has ended.
    emptied: Notify,
}

#[derive(Debug)]
struct State<S> {
    /// The batch whose inputs the aggregator has.
    open: Option<Open<S>>,
    /// It is to end now.
    is_wanted: bool,
    life: Life,
    begun: Begun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// No more inputs come: the task ends when it has handed over what there is.
    Ending,
    /// The task has ended, and nothing is accepted.
    Over,
}

#[derive(Debug)]
struct Open<S> {
    since: Instant,
    promise: Promise,
    batch: Arc<Batch<S>>,
}

/// What the inputs of a batch share once it has ended.
#[derive(Debug)]
struct Batch<S>(OnceLock<Flushed<S>>);

#[derive(Debug)]
struct Flushed<S> {
    deaggregator: S,
    records: usize,
    /// Of all records, once somebody has asked.
    offsets: OnceLock<Result<Vec<i64>>>,
}

/// An input that is in a batch.
#[derive(Debug)]
pub(super) struct Accepted<A: Aggregator> {
    tag: A::Tag,
    waiter: Waiter,
    batch: Arc<Batch<A::StatusDeaggregator>>,
}

enum Pushed<A: Aggregator> {
    Accepted(Accepted<A>),
    Full(A::Input),
}

impl<A: Aggregator> Lane<A> {
    /// Starts the task on the client's runtime.
    pub(super) fn start(id: Id, to: Destination, linger: Duration, aggregator: A) -> Arc<Self> {
        let state = State { open: None, is_wanted: false, life: Life::Running, begun: Begun::default() };
        let lane = Arc::new(Self {
            id,
            to,
            linger,
            turn: Semaphore::new(1),
            aggregator: tokio::sync::Mutex::new(aggregator),
            state: Mutex::new(state),
            news: Notify::new(),
            emptied: Notify::new(),
        });
        let task = Task(lane.clone());
        lane.to.producer.cluster().runtime().spawn(async move { task.run().await });
        lane
    }

    /// Puts an input into a batch, when there is room in one.
    ///
    /// Cancel safe: dropped before it is ready, the input was not accepted.
    pub(super) async fn accept(&self, input: A::Input) -> Result<Accepted<A>> {
        let in_time = async { tokio::time::sleep(self.to.settings.delivery_timeout).await };
        match race(self.in_turn(input), in_time).await {
            Either::First(accepted) => accepted,
            Either::Second(()) => {
                let cause = DeliveryCause::TimedOut { last: None };
                Err(unsent(&self.to.topic.name, self.to.partition, DeliveryOutcome::NotWritten, cause))
            }
        }
    }

    async fn in_turn(&self, mut input: A::Input) -> Result<Accepted<A>> {
        let _turn = self.turn.acquire().await.map_err(|_| Error::Closed)?;
        loop {
            let mut emptied = pin!(self.emptied.notified());
            // From here on nothing is missed.
            emptied.as_mut().enable();
            let pushed = {
                let mut aggregator = self.aggregator.lock().await;
                self.push(&mut aggregator, input)?
            };
            match pushed {
                Pushed::Accepted(accepted) => return Ok(accepted),
                Pushed::Full(refused) => input = refused,
            }
            self.end_batch();
            emptied.await;
        }
    }

    /// Offers an input to the aggregator, and counts it to the open batch.
    fn push(&self, aggregator: &mut A, input: A::Input) -> Result<Pushed<A>> {
        let taken = self.id.call("try_push", || aggregator.try_push(input));
        let taken = taken.and_then(|taken| taken.map_err(AggregatorFailure::refused));
        let tag = match taken.map_err(|failure| self.error(failure, DeliveryOutcome::NotWritten))? {
            TryPush::Aggregated(tag) => tag,
            TryPush::NoCapacity(input) => return self.full(input),
        };
        let mut state = lock(&self.state);
        if state.life == Life::Over {
            return Err(Error::Closed);
        }
        let State { open, begun, .. } = &mut *state;
        let is_first = open.is_none();
        let open = open.get_or_insert_with(Open::new);
        let accepted = Accepted { tag, waiter: open.promise.waiter(), batch: open.batch.clone() };
        if is_first {
            begun.push(&open.promise);
            drop(state);
            // The linger time runs.
            self.news.notify_one();
        }
        Ok(Pushed::Accepted(accepted))
    }

    fn full(&self, input: A::Input) -> Result<Pushed<A>> {
        let state = lock(&self.state);
        match (state.life, &state.open) {
            (Life::Over, _) => Err(Error::Closed),
            // Waiting would not help.
            (_, None) => Err(self.error(AggregatorFailure::NoCapacity, DeliveryOutcome::NotWritten)),
            (_, Some(_)) => Ok(Pushed::Full(input)),
        }
    }

    /// Makes the status of an input when its batch is written.
    ///
    /// Cancel safe in this sense: the batch is sent, whoever waits for it.
    pub(super) async fn status(&self, accepted: Accepted<A>) -> Result<Status<A>> {
        let Accepted { tag, waiter, batch } = accepted;
        let fate = waiter.await;
        let Some(flushed) = batch.0.get() else {
            // It never had records.
            return Err(fate.of(0).err().unwrap_or(Error::Closed));
        };
        let offsets = flushed.offsets.get_or_init(|| self.offsets(&fate, flushed.records));
        let offsets = offsets.as_ref().map_err(Error::clone)?;
        let status = self.id.call("deaggregate", || flushed.deaggregator.deaggregate(offsets, tag));
        let status = status.and_then(|status| status.map_err(AggregatorFailure::refused));
        status.map_err(|failure| self.error(failure, DeliveryOutcome::Written))
    }

    /// The offsets of all records. A batch that was split on its way may be written in part, and which of it belongs to
    /// which input only the aggregator knows: then nobody is told that theirs is not.
    fn offsets(&self, fate: &Fate, records: usize) -> Result<Vec<i64>> {
        let (topic, partition) = (&*self.to.topic.name, self.to.partition);
        all_of((0..records).map(|index| offset(topic, partition, fate.of(index)?)).collect())
    }

    /// The open batch ends now, if there is one.
    pub(super) fn end_batch(&self) {
        let mut state = lock(&self.state);
        state.is_wanted = state.open.is_some();
        drop(state);
        self.news.notify_one();
    }

    /// No more inputs come: what was accepted is still sent.
    pub(super) fn end(&self) {
        lock(&self.state).life.end();
        self.news.notify_one();
    }

    /// Batches that may not be resolved.
    pub(super) fn begun(&self) -> Vec<Waiter> {
        lock(&self.state).begun.open()
    }

    pub(super) fn error(&self, failure: AggregatorFailure, outcome: DeliveryOutcome) -> Error {
        let (topic, partition) = (self.to.topic.name.clone(), self.to.partition);
        Error::Aggregator(Arc::new(AggregatorError { topic, partition, outcome, failure }))
    }
}

impl Life {
    fn end(&mut self) {
        if *self == Self::Running {
            *self = Self::Ending;
        }
    }
}

impl<S> Open<S> {
    fn new() -> Self {
        Self { since: now(), promise: Promise::to_inputs(), batch: Arc::new(Batch(OnceLock::new())) }
    }
}

/// The task of a lane. However it ends, nothing is accepted after it and everybody who waits is told.
struct Task<A: Aggregator>(Arc<Lane<A>>);

impl<A: Aggregator> Task<A> {
    async fn run(self) {
        while self.batch_ends().await {
            if let Some((batch, promise)) = self.take().await
                && let Err(error) = self.0.to.producer.hand_over(&self.0.to, batch, promise).await
            {
                self.log_lost(&error);
            }
        }
    }

    /// Waits until the open batch must end; `false` when there will be none any more.
    async fn batch_ends(&self) -> bool {
        loop {
            let due = {
                let state = lock(&self.0.state);
                match &state.open {
                    None if state.life != Life::Running => return false,
                    None => None,
                    Some(_) if state.is_wanted || state.life != Life::Running => return true,
                    Some(open) => Some(open.since + self.0.linger),
                }
            };
            match due {
                None => self.0.news.notified().await,
                Some(due) if due <= now() => return true,
                Some(due) => {
                    race(self.0.news.notified(), tokio::time::sleep_until(due.into())).await;
                }
            }
        }
    }

    /// Ends the open batch: what is to be sent, and to whom it is promised. `None` when there is nothing to send.
    async fn take(&self) -> Option<(WrittenBatch, Promise)> {
        let lane = &*self.0;
        let (open, flushed) = {
            let mut aggregator = lane.aggregator.lock().await;
            let open = {
                let mut state = lock(&lane.state);
                state.is_wanted = false;
                state.open.take()?
            };
            let flushed = lane.id.call("flush", || aggregator.flush());
            (open, flushed.and_then(|flushed| flushed.map_err(AggregatorFailure::refused)))
        };
        lane.emptied.notify_waiters();
        let (writer, deaggregator) = match flushed.and_then(|(writer, it)| Ok((self.check(writer)?, it))) {
            Ok(flushed) => flushed,
            Err(failure) => {
                let error = lane.error(failure, DeliveryOutcome::NotWritten);
                self.log_lost(&error);
                open.promise.resolve(Fate::Whole(Err(error)));
                return None;
            }
        };
        let records = writer.count();
        // Nobody else sets it, and nobody reads it before the promise is kept.
        let _first = open.batch.0.set(Flushed { deaggregator, records, offsets: OnceLock::new() });
        if records == 0 {
            let nothing = Written { base_offset: None, log_append_time: None };
            open.promise.resolve(Fate::Whole(Ok(nothing)));
            return None;
        }
        Some((writer.written(open.since), open.promise))
    }

    fn check(&self, writer: BatchWriter) -> Result<BatchWriter, AggregatorFailure> {
        let (size, limit) = (writer.encoded_len(), self.0.to.producer.shared().batch_bytes());
        if size > limit {
            return Err(AggregatorFailure::BatchTooLarge { size, limit });
        }
        Ok(writer)
    }

    /// There may be nobody left who waits for it.
    fn log_lost(&self, error: &Error) {
        let (topic, partition) = (&*self.0.to.topic.name, self.0.to.partition);
        tracing::warn!(name: "ottla.aggregator.failed", topic, partition, %error, "a batch of an aggregator was not sent");
    }
}

impl<A: Aggregator> Drop for Task<A> {
    fn drop(&mut self) {
        let open = {
            let mut state = lock(&self.0.state);
            state.life = Life::Over;
            state.open.take()
        };
        // Tells that the client is gone.
        drop(open);
        self.0.turn.close();
        self.0.emptied.notify_waiters();
    }
}
