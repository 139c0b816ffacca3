//! The driver of a fetcher, which several streams may share ([`shared`]): whoever has news - a reader that is done with
//! records, a connection with an answer, a timer - runs the [`Engine`] (see [`turns`](super::turns)). So the next fetch leaves in the task that made room for it, or that
//! brought the last answer. However the fetcher's task ends, the readers are told.

mod engine;
mod feed;
mod log;
mod shared;

pub(crate) use feed::{Feed, Taken};
pub(crate) use log::log_damaged;
pub(crate) use shared::{Fetchers, Member};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_core::fetcher::{
    FetcherMetrics, FetcherSettings, Hold, PartitionId, Place, Position, RequestToken, StreamId,
    StreamSettings,
};
use ottla_core::metadata::Topic;

use self::engine::{Effects, Engine};
use super::cluster::Cluster;
use super::connection::Sink;
use super::lock;
use super::turns::{After, Driven, Turns, drive};

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// One more stream.
    Open { stream: StreamId, settings: StreamSettings, seat: Seat },
    /// One less, and all that it has.
    Leave(StreamId),
    /// One more partition.
    Add { stream: StreamId, id: PartitionId, topic: Arc<Topic>, partition: i32, start: Place },
    /// One less.
    Remove(PartitionId),
    /// It goes on elsewhere.
    Seek { id: PartitionId, to: Place, generation: u64 },
    /// What was told of it and not read is wanted again, later.
    GoBack { id: PartitionId, to: Position, generation: u64 },
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
    /// Others have given room back.
    Room,
    /// Nobody reads any more.
    Close,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    cluster: Weak<Cluster>,
    turns: Turns<Engine, Event, Effects>,
    /// A stream waits for room.
    is_starved: AtomicBool,
    is_closed: AtomicBool,
    /// What the engine had done when it ended.
    last_metrics: Mutex<FetcherMetrics>,
}

/// A reader's place at a fetcher. However that is lost, the reader is told.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Feed>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Driver {
    /// Starts the task on the cluster's runtime.
    pub(crate) fn start(cluster: &Arc<Cluster>, settings: FetcherSettings) -> Arc<Self> {
        let driver = Arc::new(Self {
            cluster: Arc::downgrade(cluster),
            turns: Turns::new(Engine::new(cluster.clone(), settings)),
            is_starved: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            last_metrics: Mutex::default(),
        });
        cluster.runtime().spawn(drive(&driver, cluster.watch_metadata()));
        driver
    }

    /// What was done so far, also after the end; and how many bytes a stream is charged with.
    pub(crate) fn metrics(&self, stream: StreamId) -> (FetcherMetrics, u64) {
        let running = self.turns.look(|engine| (engine.metrics(), engine.held_by(stream)));
        running.unwrap_or_else(|| (lock(&self.last_metrics).clone(), 0))
    }

    fn is_starved(&self) -> bool {
        self.is_starved.load(Ordering::Relaxed)
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Tells the engine. It wakes others, so no lock may be held.
    pub(crate) fn post(self: &Arc<Self>, event: Event) {
        Driven::post(self, event);
    }
}

impl Driven for Driver {
    type Engine = Engine;
    type Event = Event;
    type Effects = Effects;

    const METADATA: Event = Event::Metadata;
    const TIME: Event = Event::Time;

    fn turns(&self) -> &Turns<Engine, Event, Effects> {
        &self.turns
    }

    fn step(self: &Arc<Self>, engine: &mut Engine, effects: &mut Effects) -> After {
        engine.step(self, effects);
        self.is_starved.store(engine.is_starved(), Ordering::Relaxed);
        After { is_held: false, is_over: engine.is_over(), due: engine.poll_timeout() }
    }

    fn follow(&self, effects: &mut Effects) {
        // Empty from here on, whoever's waker panics.
        let Effects { news, kicks, seats, has_freed } = effects;
        let (news, kicks, seats) = (news.drain(..), kicks.drain(..), seats.drain(..));
        let has_freed = std::mem::take(has_freed);
        let mut news = news.peekable();
        while let Some((feed, item)) = news.next() {
            // Those of one stream that follow each other wake it once.
            let same = || news.next_if(|(next, _)| Arc::ptr_eq(next, &feed)).map(|(_, item)| item);
            feed.put(std::iter::once(item).chain(std::iter::from_fn(same)));
        }
        kicks.for_each(|handle| handle.kick());
        drop(seats);
        if has_freed && let Some(cluster) = self.cluster.upgrade() {
            cluster.fetchers().wake_starved(self);
        }
    }

    async fn attend(self: &Arc<Self>) {}

    /// The seats go with the engine, which tells the readers.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.turns.close(|engine| *lock(&self.last_metrics) = engine.metrics());
    }
}

impl Sink for Driver {
    fn reply(self: Arc<Self>, token: u64, outcome: Result<Option<Answer>, RequestError>) {
        self.post(Event::Reply(RequestToken(token), outcome));
    }
}
