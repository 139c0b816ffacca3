//! The records of one partition on their way to the [`Producer`](crate::producer::Producer) machine.
//!
//! ```text
//! append -> OpenBatch --full, or other settings--> ReadyBatch --seal (compress, once)--> Batch -> Producer::push
//!                 \------------- take -------------/
//! ```
//!
//! Owns the open batch, the closed ones behind it, and the count of memory that the partition holds until its
//! batches are resolved. It knows neither brokers nor sequences, and does no compression: a taken batch is sealed by
//! the caller, outside of whatever lock guards the queue.

mod credit;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

pub use credit::Credit;
use ottla_wire::compression::{Codec, CompressionError};
use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, RecordError, SealedBatch};

use crate::time::later;

/// The batches of one partition that the machine has not asked for yet. An append costs one size check and one copy
/// of the record; nothing is allocated but chunks from the pool and one delivery per batch.
#[derive(Debug)]
pub struct PartitionQueue<D> {
    max_batch_bytes: usize,
    /// How large a batch is to become when its records leave the choice.
    batch_bytes: usize,
    /// Closed batches, oldest first; all older than the open one.
    closed: VecDeque<ReadyBatch<D>>,
    open: Option<ReadyBatch<D>>,
    /// The earliest deadline of the batches above.
    earliest: Option<Instant>,
    /// What the driver knows of [`ready`](Self::ready).
    announced: Option<Ready>,
    /// Footprints of all records that were appended and not yet released.
    memory: usize,
}

/// What applies to a whole batch: records with different values never share one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchSettings {
    /// Compression and level of the batch.
    pub codec: Codec,
    /// Who must have the batch before the broker answers.
    pub acks: Acks,
    /// How long the broker may wait for its replicas, and the client for the answer.
    pub request_timeout: Duration,
    /// From the append of a batch's first record until its delivery is resolved, one way or the other. A record joins
    /// a batch only while that has half of it left.
    pub delivery_timeout: Duration,
    /// How long a batch that is not full waits for more records, unless somebody [waits](PartitionQueue::hurry) for it.
    /// `None`: it waits only while its broker has something in flight.
    pub linger: Option<Duration>,
    /// Bytes of the batch at most, encoded and before compression, where that is less than what the queue allows. A record
    /// that is larger has a batch of its own, up to the queue's limit.
    pub max_bytes: usize,
}

/// Who must have a batch before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody: the broker does not answer.
    None,
    /// The leader alone; what it had not replicated is lost with it.
    Leader,
    /// All in-sync replicas. The only value under which a batch carries a producer id.
    #[default]
    All,
}

impl Acks {
    /// As a Produce request spells it: 0, 1, or -1 for all.
    pub fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a queue has for its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The first batch takes no more records, so waiting for others gains nothing.
    pub full: bool,
    /// Somebody waits for the first batch: it leaves as soon as nothing is in flight, without its linger.
    pub is_awaited: bool,
    /// From when on the first batch waits for nobody.
    pub lingers_until: Option<Instant>,
    /// The earliest deadline of all batches of the queue.
    pub deadline: Instant,
}

/// Where a record went.
#[derive(Debug)]
pub struct Appended<'a, D> {
    /// The delivery of the record's batch.
    pub delivery: &'a D,
    /// The record's place in its batch: its offset is the batch's base offset plus this.
    pub index: usize,
    /// [`PartitionQueue::ready`] changed: whoever drives the machine must be told.
    pub ready_changed: bool,
}

/// A batch that takes no more records, not compressed yet.
#[derive(Debug)]
pub struct ReadyBatch<D> {
    builder: BatchBuilder,
    settings: BatchSettings,
    delivery: D,
    /// When it was begun, and until when records may join it, so that each has at least half of its delivery time-out.
    joinable: (Instant, Instant),
    deadline: Instant,
    lingers_until: Option<Instant>,
    memory: usize,
    full: bool,
    is_awaited: bool,
}

/// A sealed batch with all that the [`Producer`](crate::producer::Producer) machine needs to send and resolve it.
#[derive(Debug)]
pub struct Batch<D> {
    /// The records, in the bytes that every attempt sends.
    pub sealed: SealedBatch,
    /// Bytes before compression, the header included.
    pub encoded_len: usize,
    /// What the batch's records have in common.
    pub settings: BatchSettings,
    /// The caller's own; given back when the batch is resolved.
    pub delivery: D,
    /// When the delivery is resolved at the latest.
    pub deadline: Instant,
    /// What to give to [`PartitionQueue::release`] when the batch is resolved.
    pub memory: usize,
    /// Sealed because it was full: it need not wait for company.
    pub full: bool,
    /// From when on it waits for nobody.
    pub lingers_until: Option<Instant>,
}

/// A batch whose compression went wrong, with what its records are owed.
#[derive(Debug)]
pub struct SealError<D> {
    /// The delivery of the batch, to be resolved as not written.
    pub delivery: D,
    /// What to give to [`PartitionQueue::release`].
    pub memory: usize,
    /// Why.
    pub source: CompressionError,
}

impl<D> PartitionQueue<D> {
    /// An empty queue whose batches are at most `max_batch_bytes` long, encoded and before compression.
    pub fn new(max_batch_bytes: usize) -> Self {
        Self {
            max_batch_bytes,
            batch_bytes: max_batch_bytes,
            closed: VecDeque::new(),
            open: None,
            earliest: None,
            announced: None,
            memory: 0,
        }
    }

    /// Prepares for records that belong together: an error if one of them is too large for any batch, and nothing is
    /// appended then. Where all of them fit into one batch but no longer into the open one, that is closed, so that
    /// they are written by one request or by none.
    pub fn prepare(
        &mut self,
        records: &[NewRecord<'_>],
        settings: &BatchSettings,
    ) -> Result<(), AppendError> {
        for record in records {
            self.check_size(record)?;
        }
        let most: usize = records.iter().map(footprint).sum();
        let empty = BatchBuilder::new().encoded_len();
        let open = self.open.as_ref().filter(|open| open.settings == *settings);
        let used = open.map_or(empty, |open| open.builder.encoded_len());
        let limit = self.batch_bytes.min(settings.max_bytes);
        if records.len() > 1 && used + most > limit && empty + most <= limit {
            self.close_open();
        }
        Ok(())
    }

    /// Appends one record to the open batch, or to a new one when it would not fit or has other settings.
    /// `new_delivery` is called once for a new batch, whose delivery time-out starts at `now`.
    ///
    /// The caller has made sure of the record's [`footprint`] in its memory budget, by a [`Credit`] for example; the queue
    /// counts it until [`release`](Self::release).
    #[inline(always)]
    pub fn append(
        &mut self,
        now: Instant,
        record: &NewRecord<'_>,
        settings: &BatchSettings,
        pool: &mut ChunkPool,
        new_delivery: impl FnOnce() -> D,
    ) -> Result<Appended<'_, D>, AppendError> {
        let joined = self.join(now, record, settings, pool);
        let index = match joined {
            Some(index) => index,
            None => self.begin(now, record, settings, pool, new_delivery)?,
        };
        // What the driver knows of changes with batches, not with their records.
        let ready_changed = joined.is_none() && self.announce();
        let open = self.open.as_mut().expect("it was just appended to");
        let memory = footprint(record);
        open.memory += memory;
        self.memory += memory;
        Ok(Appended { delivery: &open.delivery, index, ready_changed })
    }

    /// Somebody waits for all that was appended so far, so it does not linger. Whether the driver must be told.
    pub fn hurry(&mut self) -> bool {
        // Those that are closed linger for nobody.
        self.open.iter_mut().for_each(|batch| batch.is_awaited = true);
        self.announce()
    }

    /// Enters a batch that somebody else has put together, behind everything that was appended. It takes no more records
    /// and waits for nobody; its delivery time-out starts at `since`. Whether [`ready`](Self::ready) changed is what
    /// comes back.
    ///
    /// The caller has made sure of `memory` in its budget, and that the batch is no longer than the queue's own may be.
    pub fn push(
        &mut self,
        builder: BatchBuilder,
        memory: usize,
        settings: &BatchSettings,
        since: Instant,
        delivery: D,
    ) -> bool {
        self.close_open();
        let begun = ReadyBatch::new(since, settings, delivery);
        let batch = ReadyBatch { builder, memory, full: true, is_awaited: true, ..begun };
        self.memory += memory;
        self.expect(batch.deadline);
        self.closed.push_back(batch);
        self.announce()
    }

    /// What the driver should know now; `None` when the queue is empty.
    pub fn ready(&self) -> Option<Ready> {
        let first = self.closed.front().or(self.open.as_ref())?;
        let ReadyBatch { is_awaited, lingers_until, .. } = *first;
        self.earliest.map(|deadline| Ready {
            full: !self.closed.is_empty(),
            is_awaited,
            lingers_until,
            deadline,
        })
    }

    /// The oldest batch, closed if it was still open. Seal it, outside of the lock, and push it to the machine together
    /// with what the queue has [`ready`](Self::ready) by then.
    pub fn take(&mut self) -> Option<ReadyBatch<D>> {
        let batch = self.closed.pop_front().or_else(|| self.open.take())?;
        self.earliest = self.closed.iter().chain(&self.open).map(|batch| batch.deadline).min();
        self.announced = self.ready();
        Some(batch)
    }

    /// A batch of so many bytes, before compression, was too large for the topic: batches are at most half of that from
    /// now on. A record that is larger still has one of its own, up to the limit.
    pub fn shrink(&mut self, encoded_len: usize) {
        self.batch_bytes = self.batch_bytes.min(encoded_len / 2);
    }

    /// Gives back the memory of a batch that was resolved.
    pub fn release(&mut self, memory: usize) {
        self.memory = self.memory.saturating_sub(memory);
    }

    /// For simulations, which count where they get to: its state, by name.
    #[doc(hidden)]
    pub fn state(&self) -> &'static str {
        match (self.closed.front(), &self.open) {
            (None, None) if self.memory == 0 => "empty",
            (None, None) => "all is taken, and not released",
            (None, Some(open)) if open.is_awaited => "open, and awaited",
            (None, Some(_)) => "open, and lingers",
            (Some(_), None) => "closed",
            (Some(_), Some(_)) => "closed, with an open one behind",
        }
    }

    /// Records in the queue: appended, and not taken.
    pub fn records(&self) -> usize {
        self.closed.iter().chain(&self.open).map(ReadyBatch::count).sum()
    }

    /// Bytes held by the partition's records: in the queue, and taken but not released.
    pub fn memory(&self) -> usize {
        self.memory
    }

    fn check_size(&self, record: &NewRecord<'_>) -> Result<(), AppendError> {
        let size = BatchBuilder::new().len_with(record).map_err(AppendError::Record)?;
        if size > self.max_batch_bytes {
            return Err(AppendError::TooLarge { size, limit: self.max_batch_bytes });
        }
        Ok(())
    }

    /// Appends to the open batch, if that has the same settings, the room, and the time.
    #[inline(always)]
    fn join(
        &mut self,
        now: Instant,
        record: &NewRecord<'_>,
        settings: &BatchSettings,
        pool: &mut ChunkPool,
    ) -> Option<usize> {
        let open = self.open.as_mut()?;
        let (first, last) = open.joinable;
        if now < first || now > last || open.settings != *settings {
            return None;
        }
        open.builder.append_within(pool, record, self.batch_bytes.min(settings.max_bytes))
    }

    /// Appends to a new batch.
    #[cold]
    fn begin(
        &mut self,
        now: Instant,
        record: &NewRecord<'_>,
        settings: &BatchSettings,
        pool: &mut ChunkPool,
        new_delivery: impl FnOnce() -> D,
    ) -> Result<usize, AppendError> {
        self.check_size(record)?;
        let mut batch = ReadyBatch::new(now, settings, new_delivery());
        let index = batch.builder.append(pool, record).map_err(AppendError::Record)?;
        self.close_open();
        self.expect(batch.deadline);
        self.open = Some(batch);
        Ok(index)
    }

    /// One more batch, with this deadline.
    fn expect(&mut self, deadline: Instant) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Whether the driver knows something else than what [`ready`](Self::ready) says now.
    fn announce(&mut self) -> bool {
        let ready = self.ready();
        ready != std::mem::replace(&mut self.announced, ready)
    }

    fn close_open(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.full = true;
            self.closed.push_back(open);
        }
    }
}

impl<D> ReadyBatch<D> {
    fn new(now: Instant, settings: &BatchSettings, delivery: D) -> Self {
        Self {
            builder: BatchBuilder::new(),
            settings: *settings,
            delivery,
            joinable: (now.checked_sub(SLACK).unwrap_or(now), later(now, settings.delivery_timeout / 2)),
            deadline: later(now, settings.delivery_timeout),
            lingers_until: settings.linger.map(|linger| later(now, linger)),
            memory: 0,
            full: false,
            // Without a linger there is nothing that ends it.
            is_awaited: settings.linger.is_none(),
        }
    }

    /// Whether sealing compresses, and so takes time in proportion to [`encoded_len`](Self::encoded_len).
    pub fn is_compressed(&self) -> bool {
        self.settings.codec.compression != ottla_wire::compression::Compression::None
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.builder.count()
    }

    /// Bytes of the batch before compression, its header included.
    pub fn encoded_len(&self) -> usize {
        self.builder.encoded_len()
    }

    /// What to give to [`PartitionQueue::release`] when the batch is resolved.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Compresses the records, once for all attempts.
    pub fn seal(self, pool: &mut ChunkPool) -> Result<Batch<D>, SealError<D>> {
        let Self { builder, settings, delivery, deadline, lingers_until, memory, full, .. } = self;
        let encoded_len = builder.encoded_len();
        match builder.seal(&settings.codec, pool) {
            Ok(sealed) => {
                Ok(Batch { sealed, encoded_len, settings, delivery, deadline, memory, full, lingers_until })
            }
            Err(source) => Err(SealError { delivery, memory, source }),
        }
    }

    /// The delivery and the memory of a batch that will not be sent.
    pub fn discard(self) -> (D, usize) {
        (self.delivery, self.memory)
    }
}

/// How much older than its batch a record may be: of two that read the clock at the same time, the later one may begin the
/// batch.
const SLACK: Duration = Duration::from_millis(2);

/// An upper bound of what a record takes in a batch: its bytes, and the longest form of every length and delta. This is
/// what a memory budget counts, the same at the append and at the release.
#[inline(always)]
pub fn footprint(record: &NewRecord<'_>) -> usize {
    let payload =
        |payload: &Option<Payload<'_>>| payload.as_ref().map_or(0, |payload| payload.as_slice().len());
    let header = |(key, value): &(Payload<'_>, _)| HEADER_OVERHEAD + key.as_slice().len() + payload(value);
    let headers: usize = record.headers.iter().map(header).sum();
    RECORD_OVERHEAD + payload(&record.key) + payload(&record.value) + headers
}

/// Length, attributes, timestamp delta, offset delta, key length, value length, header count.
const RECORD_OVERHEAD: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;

/// Key length and value length.
const HEADER_OVERHEAD: usize = 5 + 5;

/// Why a record was not appended. The queue is as it was before.
#[derive(Debug, Clone)]
pub enum AppendError {
    /// The record does not fit into a batch of its own.
    TooLarge {
        /// Bytes of a batch with this record alone, before compression.
        size: usize,
        /// The largest batch allowed.
        limit: usize,
    },
    /// The record cannot be encoded.
    Record(RecordError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => write!(
                f,
                "record too large: a batch with it alone has {size} bytes, the limit is {limit}; \
                 send it in smaller parts, or by a producer with a larger `batch_size`, where the topic's max.message.bytes allows it"
            ),
            Self::Record(_) => f.write_str("record cannot be encoded"),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Record(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::compression::Compression;

    use super::*;

    const SETTINGS: BatchSettings = BatchSettings {
        codec: Codec { compression: Compression::None, level: None },
        acks: Acks::All,
        request_timeout: Duration::from_secs(30),
        delivery_timeout: Duration::from_secs(120),
        linger: None,
        max_bytes: usize::MAX,
    };

    fn record(value: &[u8]) -> NewRecord<'_> {
        NewRecord { key: None, value: Some(Payload::Borrowed(value)), headers: &[], timestamp: 0 }
    }

    /// A queue of batches of at most 400 bytes, whose deliveries are numbered.
    struct World {
        queue: PartitionQueue<u32>,
        pool: ChunkPool,
        now: Instant,
        deliveries: u32,
    }

    impl World {
        fn new() -> Self {
            let (queue, pool) = (PartitionQueue::new(400), ChunkPool::default());
            Self { queue, pool, now: Instant::now(), deliveries: 0 }
        }

        /// Delivery, index, and whether the driver must be told.
        fn append(
            &mut self,
            bytes: usize,
            settings: &BatchSettings,
        ) -> Result<(u32, usize, bool), AppendError> {
            let next = self.deliveries + 1;
            let value = vec![7; bytes];
            let appended = self.queue.append(self.now, &record(&value), settings, &mut self.pool, || next)?;
            self.deliveries = self.deliveries.max(*appended.delivery);
            Ok((*appended.delivery, appended.index, appended.ready_changed))
        }

        fn take(&mut self) -> Batch<u32> {
            self.queue.take().unwrap().seal(&mut self.pool).unwrap()
        }
    }

    #[test]
    fn records_share_a_batch_while_they_fit() {
        let mut world = World::new();
        let placed: Vec<_> = (0..4).map(|_| world.append(100, &SETTINGS).unwrap()).collect();
        assert_eq!(placed, [(1, 0, true), (1, 1, false), (1, 2, false), (2, 0, true)]);
        let (first, second) = (world.take(), world.take());
        assert_eq!((first.sealed.count(), first.full), (3, true));
        assert_eq!((second.sealed.count(), second.full), (1, false));
        assert!(world.queue.take().is_none());
    }

    /// Trap P7: what counts is the encoded size, to the byte.
    #[test]
    fn a_batch_grows_to_exactly_its_limit() {
        let mut world = World::new();
        let empty = BatchBuilder::new();
        let fits =
            (1..400).rev().find(|bytes| empty.len_with(&record(&vec![0; *bytes])).unwrap() <= 400).unwrap();
        world.append(fits, &SETTINGS).unwrap();
        assert_eq!(world.take().sealed.len(), 400);
        let error = world.append(fits + 1, &SETTINGS).unwrap_err();
        assert!(matches!(error, AppendError::TooLarge { size: 401, limit: 400 }), "{error}");
        assert!(error.to_string().contains("401") && error.to_string().contains("400"));
    }

    /// Trap W2: what cannot be queued leaves nothing behind.
    #[test]
    fn a_record_that_is_too_large_leaves_the_queue_as_it_was() {
        let mut world = World::new();
        world.append(100, &SETTINGS).unwrap();
        let memory = world.queue.memory();
        world.append(1_000, &SETTINGS).unwrap_err();
        assert_eq!(world.queue.memory(), memory);
        assert_eq!(world.append(100, &SETTINGS).unwrap(), (1, 1, false));
    }

    #[test]
    fn records_with_other_settings_get_a_batch_of_their_own() {
        let others = [
            BatchSettings { acks: Acks::Leader, ..SETTINGS },
            BatchSettings { codec: Compression::Gzip.into(), ..SETTINGS },
            BatchSettings { request_timeout: Duration::from_secs(1), ..SETTINGS },
            BatchSettings { delivery_timeout: Duration::from_secs(1), ..SETTINGS },
        ];
        for other in others {
            let mut world = World::new();
            world.append(10, &SETTINGS).unwrap();
            assert_eq!(world.append(10, &other).unwrap(), (2, 0, true));
            let settings = [(); 2].map(|()| world.queue.take().unwrap().settings);
            assert_eq!(settings, [SETTINGS, other]);
        }
    }

    #[test]
    fn records_that_fit_into_one_batch_together_are_not_spread_over_two() {
        let mut world = World::new();
        world.append(200, &SETTINGS).unwrap();
        let value = vec![7; 80];
        let group = [record(&value), record(&value)];
        world.queue.prepare(&group, &SETTINGS).unwrap();
        assert_eq!(world.append(80, &SETTINGS).unwrap(), (2, 0, true));
        assert_eq!(world.append(80, &SETTINGS).unwrap(), (2, 1, false));
    }

    /// Trap W2: a group is appended as a whole or not at all.
    #[test]
    fn a_group_with_a_record_that_is_too_large_is_refused_as_a_whole() {
        let mut world = World::new();
        let (small, large) = (vec![7; 80], vec![7; 800]);
        world.queue.prepare(&[record(&small), record(&large)], &SETTINGS).unwrap_err();
        assert_eq!(world.queue.ready(), None);
    }

    #[test]
    fn a_batch_put_together_elsewhere_goes_behind_what_was_appended_and_takes_no_more() {
        let mut world = World::new();
        world.append(100, &SETTINGS).unwrap();
        let mut builder = BatchBuilder::new();
        builder.append(&mut world.pool, &record(b"elsewhere")).unwrap();
        let (memory, since) = (world.queue.memory() + 500, world.now);
        world.now += Duration::from_secs(1);
        assert!(
            world.queue.push(builder, 500, &SETTINGS, since, 77),
            "the driver hears that a batch is full"
        );
        world.deliveries = 77;
        assert_eq!(world.append(100, &SETTINGS).unwrap(), (78, 0, false));
        assert_eq!(world.queue.memory(), memory + footprint(&record(&[7; 100])));

        let taken = [(); 3].map(|()| world.take());
        assert_eq!(taken.each_ref().map(|batch| batch.delivery), [1, 77, 78]);
        assert_eq!((taken[1].sealed.count(), taken[1].full), (1, true));
        assert_eq!(taken[1].deadline, since + SETTINGS.delivery_timeout);
        taken.iter().for_each(|batch| world.queue.release(batch.memory));
        assert_eq!(world.queue.memory(), 0);
    }

    #[test]
    fn a_batch_is_due_a_delivery_time_out_after_its_first_record() {
        let mut world = World::new();
        let start = world.now;
        world.append(100, &SETTINGS).unwrap();
        world.now += Duration::from_secs(60);
        world.append(100, &SETTINGS).unwrap();
        let due = start + Duration::from_secs(120);
        assert_eq!(
            world.queue.ready(),
            Some(Ready { full: false, is_awaited: true, lingers_until: None, deadline: due })
        );
        assert_eq!(world.take().deadline, due);
    }

    #[test]
    fn the_earliest_deadline_counts_whatever_the_order() {
        let mut world = World::new();
        let hasty = BatchSettings { delivery_timeout: Duration::from_secs(1), ..SETTINGS };
        world.append(10, &SETTINGS).unwrap();
        assert!(world.append(10, &hasty).unwrap().2);
        let soon = world.now + Duration::from_secs(1);
        assert_eq!(
            world.queue.ready(),
            Some(Ready { full: true, is_awaited: true, lingers_until: None, deadline: soon })
        );
        world.take();
        assert_eq!(
            world.queue.ready(),
            Some(Ready { full: false, is_awaited: true, lingers_until: None, deadline: soon })
        );
        world.take();
        assert_eq!(world.queue.ready(), None);
    }

    #[test]
    fn an_endless_delivery_time_out_does_not_overflow() {
        let mut world = World::new();
        world.append(10, &BatchSettings { delivery_timeout: Duration::MAX, ..SETTINGS }).unwrap();
        assert!(world.queue.ready().unwrap().deadline > world.now);
    }

    #[test]
    fn a_record_does_not_join_a_batch_whose_time_is_half_over() {
        let mut world = World::new();
        assert_eq!(world.append(10, &SETTINGS).unwrap().0, 1);
        world.now += SETTINGS.delivery_timeout / 2;
        assert_eq!(world.append(10, &SETTINGS).unwrap().0, 1);
        world.now += Duration::from_millis(1);
        assert_eq!(world.append(10, &SETTINGS).unwrap().0, 2);
    }

    /// Trap P7: what was too large once would be again.
    #[test]
    fn batches_are_smaller_after_one_was_too_large() {
        let mut world = World::new();
        let value = vec![7; 100];
        world.queue.shrink(2 * BatchBuilder::new().len_with(&record(&value)).unwrap() + 2);
        let placed: Vec<_> = (0..3).map(|_| world.append(100, &SETTINGS).unwrap().0).collect();
        assert_eq!(placed, [1, 2, 3], "the header counts");
        assert_eq!(world.append(300, &SETTINGS).unwrap().0, 4, "one that is larger goes alone");
        assert_eq!(world.append(10, &SETTINGS).unwrap().0, 5);
        assert_eq!(world.append(10, &SETTINGS).unwrap().0, 5);
    }

    #[test]
    fn a_batch_may_be_held_smaller_than_the_queue_allows() {
        let mut world = World::new();
        let alone = BatchBuilder::new().len_with(&record(&[7; 100])).unwrap();
        let smaller = BatchSettings { max_bytes: alone + 150, ..SETTINGS };
        let placed: Vec<_> = (0..4).map(|_| world.append(100, &smaller).unwrap().0).collect();
        assert_eq!(placed, [1, 1, 2, 2]);
        assert_eq!(world.append(300, &smaller).unwrap().0, 3, "one that is larger goes alone");
        let placed: Vec<_> = (0..3).map(|_| world.append(100, &SETTINGS).unwrap().0).collect();
        assert_eq!(placed, [4, 4, 4], "up to 400 bytes without it");
    }

    #[test]
    fn records_that_belong_together_share_a_batch_where_smaller_ones_are_made() {
        let (small, smaller) = (SETTINGS, BatchSettings { max_bytes: 300, ..SETTINGS });
        for (shrunk, settings) in [(300, small), (usize::MAX, smaller)] {
            let mut world = World::new();
            world.queue.shrink(shrunk.saturating_mul(2));
            assert_eq!(world.append(60, &settings).unwrap().0, 1);
            let value = [7; 60];
            world.queue.prepare(&[record(&value), record(&value)], &settings).unwrap();
            let placed: Vec<_> = (0..2).map(|_| world.append(60, &settings).unwrap().0).collect();
            assert_eq!(placed, [2, 2], "{shrunk}");
        }
    }

    #[test]
    fn memory_is_held_from_the_append_to_the_release() {
        let mut world = World::new();
        let value = vec![7; 100];
        for _ in 0..4 {
            world.append(100, &SETTINGS).unwrap();
        }
        assert_eq!(world.queue.memory(), 4 * footprint(&record(&value)));
        let batch = world.take();
        assert!(batch.sealed.len() <= batch.memory + 61);
        world.queue.release(batch.memory);
        assert_eq!(world.queue.memory(), footprint(&record(&value)));
    }
}
