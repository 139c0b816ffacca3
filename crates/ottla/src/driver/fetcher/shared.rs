//! Who fetches for whom: streams of a client with equal settings share fetchers, and with them connections and sessions.
//!
//! ```text
//! Member (one a stream) --- Driver (a fetcher) --- Member (another stream)
//!    |                         one partition of a topic once: whoever reads the same one has another fetcher for it
//!    +--- Feed, Account (its own, whichever fetchers it has)
//! ```
//!
//! Owns the list of fetchers, and which partitions each has. A fetcher ends with the last of its streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use ottla_core::fetcher::{
    Account, FetcherMetrics, FetcherSettings, PartitionId, Place, Pool, StreamId, StreamSettings,
};
use ottla_core::metadata::Topic;

use super::{Driver, Event, Feed, Seat};
use crate::driver::cluster::Cluster;
use crate::driver::lock;

/// The fetchers of a client.
#[derive(Debug)]
pub(crate) struct Fetchers {
    /// The budget over all streams, if there is one.
    pool: Option<Pool>,
    /// Streams and partitions are numbered across all fetchers.
    numbers: AtomicU64,
    known: Mutex<Vec<Known>>,
}

/// A fetcher that some streams have.
#[derive(Debug)]
struct Known {
    settings: FetcherSettings,
    driver: Weak<Driver>,
    streams: BTreeSet<StreamId>,
    places: BTreeMap<(Arc<str>, i32), StreamId>,
}

impl Fetchers {
    pub(crate) fn new(budget: Option<usize>) -> Self {
        Self { pool: budget.map(Pool::new), numbers: AtomicU64::new(0), known: Mutex::default() }
    }

    /// The account of a stream that may hold so many bytes.
    pub(crate) fn account(&self, bytes: usize) -> Account {
        Account::new(bytes, self.pool.as_ref())
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A fetcher with these settings that nobody reads that partition from, and who has the stream's name on it now.
    fn find(
        &self,
        cluster: &Arc<Cluster>,
        settings: &FetcherSettings,
        stream: StreamId,
        place: (Arc<str>, i32),
    ) -> Arc<Driver> {
        let mut known = lock(&self.known);
        known.retain(|it| it.driver.upgrade().is_some_and(|driver| !driver.is_closed()));
        let fits = |it: &&mut Known| it.settings == *settings && !it.places.contains_key(&place);
        if let Some(it) = known.iter_mut().find(fits)
            && let Some(driver) = it.driver.upgrade()
        {
            it.streams.insert(stream);
            it.places.insert(place, stream);
            return driver;
        }
        let driver = Driver::start(cluster, settings.clone());
        known.push(Known {
            settings: settings.clone(),
            driver: Arc::downgrade(&driver),
            streams: [stream].into(),
            places: [(place, stream)].into(),
        });
        driver
    }

    /// The partition may be somebody else's at that fetcher.
    fn forget(&self, driver: &Arc<Driver>, place: &(Arc<str>, i32)) {
        let mut known = lock(&self.known);
        if let Some(it) = known.iter_mut().find(|it| it.is(driver)) {
            it.places.remove(place);
        }
    }

    /// The stream has left that fetcher, which ends if it was the last.
    fn leave(&self, driver: &Arc<Driver>, stream: StreamId) {
        let mut known = lock(&self.known);
        let Some(at) = known.iter().position(|it| it.is(driver)) else { return };
        known[at].streams.remove(&stream);
        known[at].places.retain(|_, of| *of != stream);
        let is_last = known[at].streams.is_empty();
        if is_last {
            known.swap_remove(at);
        }
        drop(known);
        if is_last {
            driver.post(Event::Close);
        }
    }

    /// One fetcher has given room back; others may have been waiting for it. No lock may be held.
    pub(super) fn wake_starved(&self, but: &Driver) {
        let waits = |driver: &Arc<Driver>| driver.is_starved() && !std::ptr::eq(&raw const **driver, but);
        let starved: Vec<_> =
            lock(&self.known).iter().filter_map(|it| it.driver.upgrade()).filter(waits).collect();
        starved.iter().for_each(|driver| driver.post(Event::Room));
    }
}

impl Known {
    fn is(&self, driver: &Arc<Driver>) -> bool {
        std::ptr::eq(self.driver.as_ptr(), Arc::as_ptr(driver))
    }
}

/// A stream's side of its fetchers. Dropped, its partitions and bytes are theirs no more.
#[derive(Debug)]
pub(crate) struct Member {
    cluster: Arc<Cluster>,
    stream: StreamId,
    /// Of the fetchers.
    settings: FetcherSettings,
    /// Its own.
    own: StreamSettings,
    feed: Arc<Feed>,
    /// One, unless it shares a partition with another stream.
    drivers: Vec<Arc<Driver>>,
    homes: BTreeMap<PartitionId, usize>,
}

impl Member {
    pub(crate) fn new(cluster: &Arc<Cluster>, settings: FetcherSettings, own: StreamSettings) -> Self {
        Self {
            stream: StreamId(cluster.fetchers().number()),
            cluster: cluster.clone(),
            settings,
            own,
            feed: Arc::default(),
            drivers: Vec::new(),
            homes: BTreeMap::new(),
        }
    }

    /// Where the news are.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn add(&mut self, topic: &Arc<Topic>, partition: i32, start: Place) -> PartitionId {
        let (stream, id) = (self.stream, PartitionId(self.cluster.fetchers().number()));
        let place = (topic.name.clone(), partition);
        let driver = self.cluster.fetchers().find(&self.cluster, &self.settings, stream, place);
        let at = self.drivers.iter().position(|it| Arc::ptr_eq(it, &driver));
        let at = at.unwrap_or_else(|| {
            let (settings, seat) = (self.own.clone(), Seat(self.feed.clone()));
            driver.post(Event::Open { stream, settings, seat });
            self.drivers.push(driver.clone());
            self.drivers.len() - 1
        });
        self.homes.insert(id, at);
        driver.post(Event::Add { stream, id, topic: topic.clone(), partition, start });
        id
    }

    pub(crate) fn remove(&mut self, id: PartitionId, topic: &Arc<str>, partition: i32) {
        let Some(driver) = self.homes.remove(&id).and_then(|at| self.drivers.get(at)) else { return };
        driver.post(Event::Remove(id));
        self.cluster.fetchers().forget(driver, &(topic.clone(), partition));
    }

    /// Tells the fetcher of a partition. Of one that was removed it is not known any more; the others have never heard of it.
    pub(crate) fn post(&self, id: PartitionId, event: impl Fn() -> Event) {
        match self.homes.get(&id).and_then(|at| self.drivers.get(*at)) {
            Some(driver) => driver.post(event()),
            None => self.drivers.iter().for_each(|driver| driver.post(event())),
        }
    }

    /// What its fetchers have done, for it and for whoever shares them; and how many bytes it is charged with.
    pub(crate) fn metrics(&self) -> (FetcherMetrics, u64) {
        let (mut all, mut held) = (FetcherMetrics::default(), 0);
        for driver in &self.drivers {
            let (metrics, by_us) = driver.metrics(self.stream);
            all.merge(&metrics);
            held += by_us;
        }
        (all, held)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Its part of the pool is the others' before they are told that there is room.
        self.own.account = Account::new(0, None);
        for driver in &self.drivers {
            driver.post(Event::Leave(self.stream));
            self.cluster.fetchers().leave(driver, self.stream);
        }
    }
}
