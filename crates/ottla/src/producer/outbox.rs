//! The outbox of a partition: its queue behind the lock that an append takes, and the room that is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_core::partition_queue::{
    AppendError, Appended, BatchSettings, Credit, PartitionQueue, Ready, ReadyBatch, footprint,
};
use ottla_core::producer::PartitionId;
use ottla_wire::Uuid;
use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord};
use tokio::sync::Semaphore;

use super::busy::Busy;
use super::handle::{Limits, Shared};
use super::promise::{Begun, Fate, Promise, Waiter, WaitingEnd};
use super::wire::{WireHeader, wire_headers, wire_record};
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Error, Result};
use crate::record::{Record, Timestamp};

#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    /// Given by the machine when the driver first hears of the outbox.
    pub(crate) id: OnceLock<PartitionId>,
    /// What may still be appended, in bytes.
    pub(crate) room: Semaphore,
    /// Somebody has appended since the driver last asked.
    is_used: AtomicBool,
    /// Whether the partition has a leader, as far as is known.
    has_leader: AtomicBool,
    /// Much was appended in a row: others should go first.
    has_streak: AtomicBool,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: PartitionQueue<Promise>,
    pool: ChunkPool,
    /// Room and memory that were taken and are not used so far.
    credit: Credit,
    /// Bytes appended since others were last let go first.
    streak: usize,
    wall: WallClock,
    begun: Begun,
    /// Its place in the list of those that are [`Busy`].
    place: Option<u64>,
    /// Why nothing is accepted any more.
    closed: Option<Error>,
}

/// What a record without a key would meet at a partition, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// There is room; of two, that with fewer bytes is the better.
    Open(usize),
    /// It would wait for room.
    Full(usize),
    /// There is no leader, as far as is known.
    Leaderless,
}

impl Standing {
    #[inline]
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Its kind alone, the best first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Open(_) => 0,
            Self::Full(_) => 1,
            Self::Leaderless => 2,
        }
    }
}

/// Neighbouring records in one batch.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) waiter: Waiter,
    /// The first one's place in the batch.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// A batch that was put together outside of the outbox.
#[derive(Debug)]
pub(super) struct WrittenBatch {
    pub(super) builder: BatchBuilder,
    /// Bytes that it holds, about.
    pub(super) memory: usize,
    /// When its delivery time-out began.
    pub(super) since: Instant,
}

/// A record that was accepted. Two words, so that it comes back in registers: results that go through memory in pieces
/// of one size and are read in pieces of another took a third of the time of an append.
#[derive(Debug)]
pub(crate) struct AcceptedOne {
    pub(crate) end: WaitingEnd,
    /// The record's place in the batch; and, as the lowest bit, whether the driver must be told.
    place: u64,
}

impl AcceptedOne {
    fn new(end: WaitingEnd, index: usize, ready_changed: bool) -> Self {
        Self { end, place: (index as u64) << 1 | u64::from(ready_changed) }
    }

    /// The record's place in its batch.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        (self.place >> 1) as usize
    }

    /// Whether the driver must be told.
    #[inline]
    pub(crate) fn ready_changed(&self) -> bool {
        self.place & 1 == 1
    }
}

/// What became of a record that was offered: `Err(None)` when there is no room now.
pub(crate) type Offered = Result<AcceptedOne, Option<Box<Refused>>>;

/// How one record is appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Bytes of room and memory that are the caller's already.
    pub(crate) granted: usize,
    /// The caller is going to wait for the acknowledgement.
    pub(crate) is_awaited: bool,
}

/// Why a record was not appended, and the bytes of room and memory to give back once the lock is released.
#[derive(Debug)]
pub(crate) struct Refused {
    unused: usize,
    error: Error,
}

/// Wall time from the machines' clock, so that an append reads one clock instead of two.
#[derive(Debug, Default)]
struct WallClock {
    /// When both were last read, when the wall clock's millisecond ends, and which it is, since the epoch.
    read: Option<(Instant, Instant, i64)>,
}

impl WallClock {
    /// In ms since the epoch.
    #[inline]
    fn at(&mut self, now: Instant) -> i64 {
        match self.read {
            Some((from, until, ms)) if from <= now && now < until => ms,
            _ => self.read(now),
        }
    }

    #[cold]
    fn read(&mut self, now: Instant) -> i64 {
        let wall = SystemTime::now();
        let into_ms = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() % NANOS_IN_MS);
        let Timestamp(ms) = wall.into();
        let left = Duration::from_nanos((NANOS_IN_MS - into_ms).into());
        self.read = Some((now, now.checked_add(left).unwrap_or(now), ms));
        ms
    }
}

const NANOS_IN_MS: u32 = 1_000_000;

/// After so many bytes others go first.
const STREAK: usize = 1 << 20;

impl Outbox {
    pub(crate) fn new(topic: Arc<str>, topic_id: Uuid, partition: i32, shared: &Shared) -> Self {
        let limits = shared.limits;
        Self {
            topic,
            topic_id,
            partition,
            id: OnceLock::new(),
            room: Semaphore::new(limits.partition_buffer),
            is_used: AtomicBool::new(false),
            has_leader: AtomicBool::new(true),
            has_streak: AtomicBool::new(false),
            limits,
            state: Mutex::new(State {
                queue: PartitionQueue::new(limits.batch_bytes),
                pool: ChunkPool::of(&shared.chunks),
                credit: Credit::default(),
                streak: 0,
                wall: WallClock::default(),
                begun: Begun::default(),
                place: None,
                closed: None,
            }),
        }
    }

    /// Appends all records in order, or none of them and says why. They share a batch if they fit into one; where they
    /// are is what comes back, by batch.
    pub(crate) fn append(
        self: &Arc<Self>,
        shared: &Shared,
        now: Instant,
        records: &[NewRecord<'_>],
        settings: &BatchSettings,
    ) -> Result<Vec<Span>> {
        let mut state = lock(&self.state);
        let State { queue, pool, closed, begun, place, .. } = &mut *state;
        if let Some(error) = closed {
            return Err(error.clone());
        }
        queue.prepare(records, settings).map_err(|error| self.refuse(&error))?;
        let mut spans: Vec<Span> = Vec::new();
        for record in records {
            let appended = queue
                .append(now, record, settings, pool, Promise::new)
                .map_err(|error| self.refuse(&error))?;
            if appended.index == 0 {
                self.begin(begun, place, appended.delivery, shared);
            }
            match spans.last_mut().filter(|_| appended.index > 0) {
                Some(span) => span.count += 1,
                None => {
                    spans.push(Span { waiter: appended.delivery.waiter(), first: appended.index, count: 1 });
                }
            }
        }
        Ok(spans)
    }

    /// Appends one record, if there is room for it now. Why it was refused goes to [`give_back`](Self::give_back).
    #[inline(never)]
    pub(crate) fn append_one(
        self: &Arc<Self>,
        shared: &Shared,
        now: Instant,
        record: &Record<'_>,
        settings: &BatchSettings,
        how: How,
    ) -> Offered {
        let headers = wire_headers(record);
        let mut state = lock(&self.state);
        self.append_to(&mut state, shared, now, (record, &headers), settings, how)
    }

    /// Appends records under one lock as long as there is room for the next, nothing is wrong with it, and others need
    /// not go first. How many is what comes back, and whether the driver must be told.
    pub(super) fn append_run(
        self: &Arc<Self>,
        shared: &Shared,
        now: Instant,
        records: &[Record<'_>],
        settings: &BatchSettings,
        mut accepted: impl FnMut(AcceptedOne),
    ) -> (usize, bool) {
        let (mut count, mut ready_changed, mut refused) = (0, false, None);
        let how = How { granted: 0, is_awaited: false };
        let mut state = lock(&self.state);
        for record in records {
            let headers = wire_headers(record);
            match self.append_to(&mut state, shared, now, (record, &headers), settings, how) {
                Ok(one) => {
                    ready_changed |= one.ready_changed();
                    count += 1;
                    accepted(one);
                }
                Err(why) => {
                    refused = why;
                    break;
                }
            }
            if self.has_streak.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(state);
        if let Some(refused) = refused {
            // Offered again by itself, it is refused again.
            self.give_back(shared, *refused);
        }
        (count, ready_changed)
    }

    /// See [`append_one`](Self::append_one).
    #[inline(always)]
    fn append_to(
        self: &Arc<Self>,
        state: &mut State,
        shared: &Shared,
        now: Instant,
        (record, headers): (&Record<'_>, &[WireHeader<'_>]),
        settings: &BatchSettings,
        how: How,
    ) -> Offered {
        let How { granted, is_awaited } = how;
        let State { queue, pool, credit, streak, wall, begun, place, closed } = state;
        if let Some(error) = closed {
            return Err(Some(Box::new(Refused { unused: granted, error: error.clone() })));
        }
        let record = wire_record(record, headers, || wall.at(now));
        let size = footprint(&record);
        credit.add(granted);
        if !credit.covers(size, |bytes| self.borrow(shared, bytes).is_some()) {
            // One that fits into no batch need not wait for room.
            let prepared = queue.prepare(std::slice::from_ref(&record), settings);
            let refused = |error| Refused { unused: 0, error: self.refuse(&error) };
            return Err(prepared.err().map(|error| Box::new(refused(error))));
        }
        let appended = match queue.append(now, &record, settings, pool, Promise::new) {
            Ok(appended) => appended,
            Err(error) => {
                let unused = credit.left_over(queue);
                return Err(Some(Box::new(Refused { unused, error: self.refuse(&error) })));
            }
        };
        credit.spend(size);
        *streak += size;
        if *streak > STREAK {
            *streak = 0;
            self.has_streak.store(true, Ordering::Relaxed);
        }
        if appended.index == 0 {
            self.begin(begun, place, appended.delivery, shared);
        }
        let Appended { delivery, index, mut ready_changed } = appended;
        let end = delivery.end();
        // Where there was no room, what lingers is in the way of those behind.
        if is_awaited || granted > 0 {
            ready_changed |= queue.hurry();
        }
        Ok(AcceptedOne::new(end, index, ready_changed))
    }

    /// Gives back what a record that was refused had; the reason is what comes back.
    #[cold]
    pub(crate) fn give_back(&self, shared: &Shared, refused: Refused) -> Error {
        let Refused { unused, error } = refused;
        self.room.add_permits(unused);
        shared.memory.add_permits(unused);
        error
    }

    /// Somebody waits for what was appended so far, so it does not linger. Whether the driver must be told.
    pub(crate) fn hurry(&self) -> bool {
        lock(&self.state).queue.hurry()
    }

    /// Enters a batch that was put together elsewhere; its bytes of room and memory are the outbox's from now on. Whether
    /// the driver must be told is what comes back, or the promise and why nothing is accepted.
    pub(super) fn push(
        self: &Arc<Self>,
        shared: &Shared,
        batch: WrittenBatch,
        settings: &BatchSettings,
        promise: Promise,
    ) -> Result<bool, (Promise, Error)> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.closed {
            return Err((promise, error.clone()));
        }
        let State { queue, begun, place, .. } = &mut *state;
        self.begin(begun, place, &promise, shared);
        let WrittenBatch { builder, memory, since } = batch;
        Ok(queue.push(builder, memory, settings, since, promise))
    }

    /// A batch begins: whoever waits for all that is under way finds it.
    fn begin(self: &Arc<Self>, begun: &mut Begun, place: &mut Option<u64>, batch: &Promise, shared: &Shared) {
        begun.push(batch);
        self.is_used.store(true, Ordering::Relaxed);
        place.get_or_insert_with(|| shared.busy.enter(self));
    }

    /// Takes room and memory for so many bytes, if both are there.
    fn borrow(&self, shared: &Shared, size: usize) -> Option<()> {
        let permits = u32::try_from(size).ok()?;
        let room = self.room.try_acquire_many(permits).ok()?;
        shared.memory.try_acquire_many(permits).ok()?.forget();
        room.forget();
        Some(())
    }

    /// Whether much was appended in a row since this was last asked.
    pub(crate) fn take_streak(&self) -> bool {
        self.has_streak.load(Ordering::Relaxed) && self.has_streak.swap(false, Ordering::Relaxed)
    }

    /// What a record that takes so much would meet. It is asked of each record, so it looks at no more than two atomics;
    /// the few bytes that were taken ahead for the next records (see [`Credit`]) count as taken.
    #[inline]
    pub(super) fn standing(&self, takes: impl FnOnce() -> usize) -> Standing {
        if !self.has_leader() {
            return Standing::Leaderless;
        }
        let room = self.room.available_permits();
        let load = self.limits.partition_buffer.saturating_sub(room);
        if room < takes() { Standing::Full(load) } else { Standing::Open(load) }
    }

    /// Whether the partition has a leader, as far as is known.
    pub(crate) fn has_leader(&self) -> bool {
        self.has_leader.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leader(&self, has_leader: bool) {
        self.has_leader.store(has_leader, Ordering::Relaxed);
    }

    /// Batches that may not be resolved.
    pub(crate) fn begun(&self) -> Vec<Waiter> {
        lock(&self.state).begun.open()
    }

    /// Whether there is something to wait for; if not, it leaves the list.
    pub(super) fn is_open_in(&self, busy: &Busy) -> bool {
        let mut state = lock(&self.state);
        let is_open = state.begun.has_open();
        if !is_open && let Some(place) = state.place.take() {
            busy.leave(place);
        }
        is_open
    }

    /// Accepts nothing more; what was accepted is still sent.
    pub(crate) fn refuse_more(&self) {
        lock(&self.state).closed.get_or_insert(Error::Closed);
        self.room.close();
    }

    /// A batch of so many bytes, before compression, was too large for the topic.
    pub(crate) fn shrink(&self, encoded_len: usize) {
        lock(&self.state).queue.shrink(encoded_len);
    }

    pub(crate) fn ready(&self) -> Option<Ready> {
        lock(&self.state).queue.ready()
    }

    pub(crate) fn take(&self) -> Option<ReadyBatch<Promise>> {
        lock(&self.state).queue.take()
    }

    /// Whether somebody has appended since this was last asked.
    pub(crate) fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }

    /// Records that were accepted and that the driver has not taken.
    pub(crate) fn records(&self) -> usize {
        lock(&self.state).queue.records()
    }

    /// Whether it holds records, in its queue or on their way.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.state).queue.memory() > 0
    }

    /// Makes room: a batch was resolved. Memory that the partition does not need now is what comes back.
    pub(crate) fn release(&self, memory: usize) -> usize {
        let mut state = lock(&self.state);
        let State { queue, credit, .. } = &mut *state;
        queue.release(memory);
        let unused = credit.left_over(queue);
        drop(state);
        self.room.add_permits(memory + unused);
        memory + unused
    }

    /// Accepts nothing more, and resolves with `error` what the driver has not taken. How much memory that held is
    /// what comes back.
    pub(crate) fn close(&self, error: &Error) -> usize {
        let mut dropped = Vec::new();
        let mut memory;
        {
            let mut state = lock(&self.state);
            memory = state.credit.take();
            state.closed.get_or_insert_with(|| error.clone());
            while let Some(batch) = state.queue.take() {
                dropped.push(batch.discard());
            }
        }
        self.room.close();
        for (delivery, held) in dropped {
            delivery.resolve(Fate::Whole(Err(error.clone())));
            memory += held;
        }
        memory
    }

    /// Why nothing is accepted any more.
    pub(crate) fn closed(&self) -> Option<Error> {
        lock(&self.state).closed.clone()
    }

    fn refuse(&self, error: &AppendError) -> Error {
        let problem = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Error::Record { topic: self.topic.clone(), partition: self.partition, problem }
    }
}
