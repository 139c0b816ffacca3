//! What a stream is inside: takes what its fetchers have told, opens batches in the reader's own task, and hands records
//! over, one load of a partition after another.
//!
//! ```text
//! Feed -> Assigned.items -> OpenLoad -> one batch -> records
//!         (by partition)    (CRC, codec, what is hidden)
//! ```
//!
//! A position moves when records are handed over, and not before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use ottla_core::fetcher::{FetchFailure, Hold, News, PartitionId, Place};
use ottla_core::metadata::Topic;
use ottla_wire::compression::Compression;
use ottla_wire::records::{BatchError, Decoder, OwnedRecords, RecordBatch};

use super::assigned::{Assigned, Item, OpenLoad};
use super::batch::{Batch, Lent};
use super::metrics::{Done, PartitionMetrics, StreamMetrics};
use super::settings::Settings;
use crate::damage::{offset_behind, way_past};
use crate::driver::fetcher::{Event, Member, Taken, log_damaged};
use crate::error::{Error, FetchError, Result};
use crate::record::RecordAndOffset;

/// After so many bytes of records a reader that always finds some lets others go first: on a runtime with one thread the
/// driver is among them.
const YIELD_AFTER: usize = 1 << 20;

/// About so many bytes of batches are lent at once: what was checked is still near when it is read.
const MOST_AT_ONCE: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    fetchers: Member,
    partitions: BTreeMap<PartitionId, Assigned>,
    /// Those that have something, in turn.
    ready: VecDeque<PartitionId>,
    taken: Taken,
    /// The only one that is decompressed. One of a partition that is paused meanwhile is opened again later.
    batch: Option<OpenBatch>,
    lent: Option<(PartitionId, Lent)>,
    /// The room of batches that were lent before.
    spare: Vec<OwnedRecords>,
    done: Done,
    decoder: Decoder,
    check_crcs: bool,
    since_yield: usize,
    is_closed: bool,
    was_told: bool,
}

/// The batch whose records are handed over.
#[derive(Debug)]
struct OpenBatch {
    id: PartitionId,
    /// As it came.
    packed: RecordBatch,
    records: OwnedRecords,
    from: i64,
}

impl Reader {
    pub(super) fn new(fetchers: Member, settings: &Settings) -> Self {
        Self {
            fetchers,
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            taken: Taken::default(),
            batch: None,
            lent: None,
            spare: Vec::new(),
            done: Done::default(),
            decoder: Decoder::new(settings.limits),
            check_crcs: settings.check_crcs,
            since_yield: 0,
            is_closed: false,
            was_told: false,
        }
    }

    pub(super) fn add(&mut self, topic: &Arc<Topic>, partition: i32, start: Place) -> PartitionId {
        let id = self.fetchers.add(topic, partition, start);
        let assigned = Assigned::new(topic.name.clone(), partition, position_at(start));
        self.partitions.insert(id, assigned);
        id
    }

    pub(super) fn remove(&mut self, id: PartitionId) {
        self.throw_away(id);
        if let Some(Assigned { topic, partition, .. }) = self.partitions.remove(&id) {
            self.fetchers.remove(id, &topic, partition);
        }
    }

    pub(super) fn seek(&mut self, id: PartitionId, to: Place) {
        self.throw_away(id);
        let Some(assigned) = self.partitions.get_mut(&id) else { return };
        assigned.generation += 1;
        assigned.position = position_at(to);
        assigned.has_failed = false;
        let generation = assigned.generation;
        self.fetchers.post(id, || Event::Seek { id, to, generation });
    }

    pub(super) fn set_paused(&mut self, id: PartitionId, is_paused: bool) {
        let Some(assigned) = self.partitions.get_mut(&id).filter(|it| it.is_paused != is_paused) else {
            return;
        };
        assigned.is_paused = is_paused;
        if is_paused
            && let Some(open) = self.batch.take_if(|open| open.id == id)
            && let Some(load) = &mut assigned.open
        {
            load.again = Some(open.packed);
        }
        self.fetchers.post(id, || Event::Pause { id, is_paused });
        self.list(id);
    }

    pub(super) fn partition(&self, id: PartitionId) -> Option<&Assigned> {
        self.partitions.get(&id)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Assigned)> {
        self.partitions.iter().map(|(id, assigned)| (*id, assigned))
    }

    pub(super) fn metrics(&self, is_committed: bool) -> StreamMetrics {
        let (fetches, buffered) = self.fetchers.metrics();
        let Done { records, bytes, resets, truncations } = self.done;
        let partitions = self.partitions.values().map(|it| PartitionMetrics {
            topic: it.topic.clone(),
            partition: it.partition,
            position: it.position,
            lag: it.lag(is_committed),
            log_start_offset: it.log_start_offset(),
            last_stable_offset: it.last_stable_offset(),
            high_watermark: it.high_watermark(),
        });
        let partitions = partitions.collect();
        StreamMetrics { records, bytes, buffered, resets, truncations, partitions, fetches }
    }

    /// The next record and its partition.
    pub(super) fn poll_record(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(PartitionId, RecordAndOffset)>>> {
        loop {
            match ready!(self.poll_open(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(())) => {}
            }
            if let Some(result) = self.next_record() {
                return Poll::Ready(Some(result));
            }
        }
    }

    /// Ready when [`lend`](Self::lend) has something.
    pub(super) fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        match ready!(self.poll_open(cx)) {
            Some(Ok(())) => {}
            other => return Poll::Ready(other),
        }
        if let Some(OpenBatch { id, records, from, .. }) = self.batch.take() {
            // Some of it may have been handed over.
            let from = self.partitions.get(&id).map_or(from, |assigned| assigned.go_on(from));
            let mut batches = std::mem::take(&mut self.spare);
            batches.push(records);
            self.open_plain(id, &mut batches);
            for records in &batches {
                self.move_to(id, records.batch().header().next_offset().unwrap_or(from));
                self.done.records += shown(records, from);
            }
            self.lent = Some((id, Lent { batches, from, fault: OnceLock::new() }));
        }
        Poll::Ready(Some(Ok(())))
    }

    /// Opens the batches that follow in the same answer, as long as nothing has to be decompressed for it. What is wrong with
    /// the next one is found when it is its turn.
    fn open_plain(&mut self, id: PartitionId, into: &mut Vec<OwnedRecords>) {
        let Some(open) = self.partitions.get_mut(&id).and_then(|it| it.open.as_mut()) else { return };
        let is_plain =
            |batch: &RecordBatch| matches!(batch.header().attributes.compression(), Ok(Compression::None));
        let mut bytes = 0;
        while bytes < MOST_AT_ONCE {
            let mut ahead = open.batches.clone();
            let Some(Ok(batch)) = ahead.next() else { break };
            if !is_plain(&batch) {
                break;
            }
            match open.visible.open(&batch, open.starts_at(), &mut self.decoder, self.check_crcs) {
                Ok(Some(decoded)) => into.push(decoded.into_iter()),
                Ok(None) => {}
                Err(_) => break,
            }
            open.batches = ahead;
            bytes += batch.bytes().len();
        }
        self.since_yield = self.since_yield.saturating_add(bytes);
        self.done.bytes += bytes as u64;
    }

    /// What [`poll_batch`](Self::poll_batch) found.
    pub(super) fn lend(&self) -> Option<Batch<'_>> {
        let (id, lent) = self.lent.as_ref()?;
        Some(Batch { of: self.partitions.get(id)?, lent })
    }

    /// Ready when a batch is open, or there is something else to say.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        loop {
            if let Some((id, Lent { mut batches, fault, .. })) = self.lent.take() {
                let fault = fault.into_inner();
                let behind = |offset| {
                    batches
                        .iter()
                        .find_map(|it| it.batch().header().next_offset().filter(|next| *next > offset))
                };
                let next = fault.as_ref().and_then(|(offset, _)| behind(*offset));
                batches.clear();
                self.spare = batches;
                if let Some((offset, error)) = fault {
                    return Poll::Ready(Some(Err(self.damaged(id, offset, next, error))));
                }
            }
            if self.batch.is_some() {
                return Poll::Ready(Some(Ok(())));
            }
            if self.since_yield >= YIELD_AFTER {
                self.since_yield = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.step() {
                Step::Open => continue,
                Step::Failed(error) => return Poll::Ready(Some(Err(error))),
                Step::Nothing => {}
            }
            if self.take() {
                continue;
            }
            if self.is_closed {
                return Poll::Ready(
                    (!std::mem::replace(&mut self.was_told, true)).then_some(Err(Error::Closed)),
                );
            }
            // Nothing can come without a call.
            if self.partitions.values().all(|assigned| assigned.has_failed) {
                return Poll::Ready(None);
            }
            ready!(self.fetchers.feed().poll_ready(cx));
        }
    }

    /// One step with the partition whose turn it is.
    fn step(&mut self) -> Step {
        let Some(id) = self.ready.front().copied() else { return Step::Nothing };
        let Some(assigned) = self.partitions.get_mut(&id).filter(|it| it.is_ready()) else {
            self.unlist(id);
            return self.again();
        };
        if let Some(again) = assigned.open.as_mut().and_then(|open| open.again.take()) {
            return self.open(id, again, true);
        }
        let Some(open) = &mut assigned.open else {
            return match assigned.items.pop_front() {
                Some(Item::Load(load)) => {
                    assigned.watermarks = Some(load.watermarks);
                    assigned.open = Some(OpenLoad::from(load));
                    self.again()
                }
                Some(Item::Reset(to)) => {
                    assigned.position = Some(to);
                    self.done.resets += 1;
                    self.again()
                }
                Some(Item::Position(offset)) => {
                    assigned.position = Some(offset);
                    self.again()
                }
                Some(Item::Truncated(truncation)) => {
                    assigned.position = Some(truncation.end_offset);
                    self.done.truncations += 1;
                    let (topic, partition) = (assigned.topic.clone(), assigned.partition);
                    Step::Failed(Error::Truncated { topic, partition, truncation })
                }
                Some(Item::Failed(failure)) => Step::Failed(self.failed(id, failure)),
                None => Step::Nothing,
            };
        };
        let left = open.batches.remaining().len();
        match open.batches.next() {
            Some(Ok(batch)) => self.open(id, batch, false),
            Some(Err(error)) => {
                let offset = assigned.position.unwrap_or(open.starts_at());
                let behind = offset_behind(&open.last(left));
                Step::Failed(self.damaged(id, offset, behind, error))
            }
            None => {
                self.finish(id);
                self.again()
            }
        }
    }

    /// What comes of a step that handed nothing over.
    fn again(&self) -> Step {
        if self.ready.is_empty() { Step::Nothing } else { Step::Open }
    }

    /// Opens a batch of the partition's load, for the first time or again.
    fn open(&mut self, id: PartitionId, batch: RecordBatch, is_again: bool) -> Step {
        let Some(assigned) = self.partitions.get_mut(&id) else { return self.again() };
        let from = assigned.open.as_ref().map_or(0, OpenLoad::starts_at);
        let from = if is_again { assigned.go_on(from) } else { from };
        let Some(open) = &mut assigned.open else { return self.again() };
        match open.visible.open(&batch, from, &mut self.decoder, self.check_crcs) {
            Ok(Some(decoded)) => {
                self.since_yield = self.since_yield.saturating_add(decoded.records().len());
                self.done.bytes += if is_again { 0 } else { batch.bytes().len() as u64 };
                self.batch = Some(OpenBatch { id, packed: batch, records: decoded.into_iter(), from });
            }
            Ok(None) => self.move_to(id, batch.next_offset()),
            Err(error) => {
                let base = batch.header().base_offset;
                let behind = offset_behind(&open.last(open.left_with(&batch)));
                let offset = assigned.position.unwrap_or(base).max(base);
                return Step::Failed(self.damaged(id, offset, behind, error));
            }
        }
        Step::Open
    }

    /// The next record of the open batch; `None` when it has no more.
    fn next_record(&mut self) -> Option<Result<(PartitionId, RecordAndOffset)>> {
        let open = self.batch.as_mut()?;
        let id = open.id;
        loop {
            match open.records.next() {
                Some(Ok(record)) if record.offset < open.from => {}
                Some(Ok(record)) => {
                    if let Some(assigned) = self.partitions.get_mut(&id) {
                        assigned.position = Some(record.offset + 1);
                    }
                    self.done.records += 1;
                    return Some(Ok((id, record.into())));
                }
                Some(Err(error)) => {
                    let position = self.partitions.get(&id).and_then(|it| it.position);
                    let next = open.records.batch().header().next_offset();
                    let offset = position.unwrap_or(open.from);
                    return Some(Err(self.damaged(id, offset, next, error)));
                }
                None => {
                    let next = open.records.batch().header().next_offset();
                    self.batch = None;
                    self.move_to(id, next.unwrap_or(0));
                    return None;
                }
            }
        }
    }

    fn move_to(&mut self, id: PartitionId, next: i64) {
        if let Some(assigned) = self.partitions.get_mut(&id) {
            assigned.position = Some(assigned.position.map_or(next, |position| position.max(next)));
        }
    }

    /// A load is done with; it is the next partition's turn.
    fn finish(&mut self, id: PartitionId) {
        if let Some(open) = self.partitions.get_mut(&id).and_then(|it| it.open.take()) {
            self.move_to(id, open.next);
            self.fetchers.post(id, || Event::Release(id, open.hold));
        }
        self.unlist(id);
        self.take();
        self.list(id);
    }

    /// Takes what the fetcher has told. Whether there was anything.
    fn take(&mut self) -> bool {
        self.is_closed |= !self.fetchers.feed().take(&mut self.taken);
        let watermarks = std::mem::take(&mut self.taken.watermarks);
        for (id, watermarks) in watermarks {
            if let Some(assigned) = self.partitions.get_mut(&id) {
                assigned.watermarks = Some(watermarks);
            }
        }
        let mut items = std::mem::take(&mut self.taken.items);
        let had_any = !items.is_empty();
        for (id, generation, news) in items.drain(..) {
            self.hear(id, generation, news);
        }
        self.taken.items = items;
        had_any
    }

    fn hear(&mut self, id: PartitionId, generation: u64, news: News) {
        let is_wanted = |it: &&mut Assigned| it.generation == generation && !it.has_failed;
        let Some(assigned) = self.partitions.get_mut(&id).filter(is_wanted) else {
            // Of a partition that is gone or waits for a seek, or from before one.
            if let News::Records(load) = news {
                self.fetchers.post(id, || Event::Release(id, load.hold));
            }
            return;
        };
        match news {
            News::Position(offset) => assigned.items.push_back(Item::Position(offset)),
            News::Reset { to, .. } => assigned.items.push_back(Item::Reset(to)),
            News::Watermarks(watermarks) => assigned.watermarks = Some(watermarks),
            News::Recalled => return self.give_back(id),
            News::Records(load) => assigned.items.push_back(Item::Load(load)),
            News::Truncated(truncation) => assigned.items.push_back(Item::Truncated(truncation)),
            News::Failed(failure) => assigned.items.push_back(Item::Failed(failure)),
        }
        self.list(id);
    }

    fn list(&mut self, id: PartitionId) {
        if let Some(assigned) = self.partitions.get_mut(&id)
            && assigned.is_ready()
            && !std::mem::replace(&mut assigned.is_listed, true)
        {
            self.ready.push_back(id);
        }
    }

    fn unlist(&mut self, id: PartitionId) {
        self.ready.retain(|it| *it != id);
        if let Some(assigned) = self.partitions.get_mut(&id) {
            assigned.is_listed = false;
        }
    }

    /// Whatever has come for a partition is of no use any more.
    fn throw_away(&mut self, id: PartitionId) {
        self.unlist(id);
        self.batch.take_if(|open| open.id == id);
        self.lent.take_if(|(lent, _)| *lent == id);
        let holds = self.partitions.get_mut(&id).map(Assigned::clear);
        self.release(id, holds.unwrap_or_default());
    }

    /// The room that a paused partition takes is needed: what was not read of it is fetched again later.
    fn give_back(&mut self, id: PartitionId) {
        let Some(assigned) = self.partitions.get_mut(&id).filter(|it| it.is_paused) else { return };
        let Some((holds, to)) = assigned.unread() else { return };
        assigned.generation += u64::from(to.is_some());
        let generation = assigned.generation;
        self.release(id, holds);
        if let Some(to) = to {
            self.fetchers.post(id, || Event::GoBack { id, to, generation });
        }
    }

    fn release(&self, id: PartitionId, holds: Vec<Hold>) {
        for hold in holds {
            self.fetchers.post(id, || Event::Release(id, hold));
        }
    }

    fn failed(&mut self, id: PartitionId, failure: FetchFailure) -> Error {
        self.throw_away(id);
        let Some(assigned) = self.partitions.get_mut(&id) else { return Error::Closed };
        assigned.has_failed = true;
        let (topic, partition) = (assigned.topic.clone(), assigned.partition);
        Error::Fetch(Arc::new(FetchError { topic, partition, failure }))
    }

    /// The batch at `offset` cannot be read. `behind` is where the log goes on behind it, if that is known.
    fn damaged(&mut self, id: PartitionId, offset: i64, behind: Option<i64>, error: BatchError) -> Error {
        self.throw_away(id);
        let Some(assigned) = self.partitions.get_mut(&id) else { return Error::Closed };
        (assigned.has_failed, assigned.position) = (true, Some(offset));
        let next = way_past(offset, behind, assigned.high_watermark());
        let (topic, partition) = (assigned.topic.clone(), assigned.partition);
        log_damaged(&topic, partition, offset, next, &error);
        Error::Corrupt { topic, partition, offset, next, error }
    }
}

enum Step {
    /// Something was done: look again.
    Open,
    Failed(Error),
    /// No partition has anything.
    Nothing,
}

/// How many records of a batch are handed over. Only where a stream starts in the middle of one do they have to be counted.
fn shown(records: &OwnedRecords, from: i64) -> u64 {
    let header = records.batch().header();
    if header.base_offset >= from {
        return u64::try_from(header.records_count).unwrap_or(0);
    }
    records.iter().filter(|record| record.as_ref().is_ok_and(|record| record.offset >= from)).count() as u64
}

/// The position that is known without a look-up.
fn position_at(place: Place) -> Option<i64> {
    if let Place::Offset(offset) = place { Some(offset) } else { None }
}
