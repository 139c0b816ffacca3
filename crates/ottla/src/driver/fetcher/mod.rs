//! The driver of a fetcher: whoever has news - a reader that is done with records, a connection with an answer, a timer -
//! runs the [`Engine`] (see [`turns`](super::turns)). So the next fetch leaves in the task that made room for it, or that
//! brought the last answer. However the fetcher's task ends, the reader is told.

mod engine;
mod feed;

pub(crate) use feed::{Feed, Taken};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_core::fetcher::{FetcherSettings, Hold, PartitionId, Place, RequestToken};
use ottla_core::metadata::Topic;

use self::engine::{Effects, Engine};
use super::cluster::Cluster;
use super::connection::{Handle, Sink};
use super::turns::{After, Driven, Turns, drive};

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
    turns: Turns<Engine, Event>,
    partitions: AtomicU64,
}

impl Driver {
    /// Starts the task on the cluster's runtime.
    pub(crate) fn start(cluster: &Arc<Cluster>, settings: FetcherSettings) -> Arc<Self> {
        let driver = Arc::new(Self {
            feed: Arc::default(),
            turns: Turns::new(Engine::new(cluster.clone(), settings)),
            partitions: AtomicU64::new(0),
        });
        cluster.runtime().spawn(drive(&driver, cluster.watch_metadata()));
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
        Driven::post(self, event);
    }
}

impl Driven for Driver {
    type Engine = Engine;
    type Event = Event;
    type Effects = Effects;

    const METADATA: Event = Event::Metadata;
    const TIME: Event = Event::Time;

    fn turns(&self) -> &Turns<Engine, Event> {
        &self.turns
    }

    fn step(self: &Arc<Self>, engine: &mut Engine) -> (Effects, After) {
        let effects = engine.step(self);
        (effects, After { is_held: false, is_over: engine.is_over(), due: engine.poll_timeout() })
    }

    fn follow(&self, effects: Effects) {
        if !effects.news.is_empty() {
            self.feed.put(effects.news);
        }
        effects.kicks.iter().for_each(Handle::kick);
    }

    async fn attend(self: &Arc<Self>) {}

    /// Tells the reader.
    fn close(&self) {
        self.turns.close(|_| ());
        self.feed.close();
    }
}

impl Sink for Driver {
    fn reply(self: Arc<Self>, token: u64, outcome: Result<Option<Answer>, RequestError>) {
        self.post(Event::Reply(RequestToken(token), outcome));
    }
}
