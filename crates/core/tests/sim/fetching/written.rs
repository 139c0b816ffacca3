//! What was written to each partition of each topic, whatever became of it: the time of every record, and the holes that
//! compaction left. By this, and not by what a broker says, it is told whether a reader may pass something over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_fake::StoredBatch;
use ottla_wire::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Written {
    logs: BTreeMap<(Uuid, i32), Log>,
    /// Where a record belongs, by its number.
    records: BTreeMap<u64, Record>,
}

/// A record that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) topic: Uuid,
    pub(super) partition: i32,
    /// Its time: the writer's, or the broker's where the topic says so.
    pub(super) time: i64,
}

#[derive(Debug, Default)]
struct Log {
    /// The time of what was written there last, by offset; markers have one, too.
    times: BTreeMap<i64, i64>,
    /// By offset, oldest first. None replaces another one: what was written into a hole after an election may be compacted as
    /// well, and what that election took is told late, by the hole that there was then.
    holes: BTreeMap<i64, Vec<Hole>>,
}

/// An offset without a record.
#[derive(Debug, Clone, Copy)]
struct Hole {
    since: Instant,
    /// After an election another record was written there.
    until: Option<Instant>,
}

/// From when an answer may be to when.
pub(super) type Span = (Instant, Instant);

impl Written {
    /// At `offset` there is a record now; a marker has no number.
    pub(super) fn write(&mut self, now: Instant, offset: i64, number: Option<u64>, record: Record) {
        let log = self.logs.entry((record.topic, record.partition)).or_default();
        log.times.insert(offset, record.time);
        if let Some(hole) = log.holes.get_mut(&offset).and_then(|holes| holes.last_mut()) {
            hole.until.get_or_insert(now);
        }
        if let Some(number) = number {
            self.records.insert(number, record);
        }
    }

    /// A log was compacted and goes from `start` to `end`. How many records it lacks that were there before.
    pub(super) fn compacted<'a>(
        &mut self,
        now: Instant,
        (topic, partition): (Uuid, i32),
        (start, end): (i64, i64),
        batches: impl Iterator<Item = &'a StoredBatch>,
    ) -> usize {
        let log = self.logs.entry((topic, partition)).or_default();
        let mut gone: Vec<i64> = log.times.range(start..end.max(start)).map(|(offset, _)| *offset).collect();
        let left: Vec<i64> = batches.flat_map(StoredBatch::records).map(|record| record.offset).collect();
        gone.retain(|offset| left.binary_search(offset).is_err() && !log.is_hole(*offset, (now, now)));
        for offset in &gone {
            log.holes.entry(*offset).or_default().push(Hole { since: now, until: None });
        }
        gone.len()
    }

    /// Whether there was no record from `from` to `to`, without `to`, at some time of `span`.
    pub(super) fn is_empty(&self, of: (Uuid, i32), (from, to): (i64, i64), span: Span) -> bool {
        let log = self.logs.get(&of);
        from < to && (from..to).all(|offset| log.is_some_and(|log| log.is_hole(offset, span)))
    }

    /// Where the hole begins that ended at `offset` at that time; there, if there was none.
    pub(super) fn hole_before(&self, of: (Uuid, i32), offset: i64, at: Instant) -> i64 {
        let Some(log) = self.logs.get(&of) else { return offset };
        let hole = (0..offset).rev().take_while(|offset| log.is_hole(*offset, (at, at)));
        hole.last().unwrap_or(offset)
    }

    pub(super) fn record(&self, number: u64) -> Option<Record> {
        self.records.get(&number).copied()
    }

    /// The time of what was written there last.
    pub(super) fn time(&self, of: (Uuid, i32), offset: i64) -> Option<i64> {
        self.logs.get(&of)?.times.get(&offset).copied()
    }

    /// The offsets from `from` to `to`, without `to`, that had a record of that time or a later one all through `span`.
    pub(super) fn since<'a>(
        &'a self,
        of: (Uuid, i32),
        (from, to): (i64, i64),
        time: i64,
        span: Span,
    ) -> impl Iterator<Item = i64> + 'a {
        let log = self.logs.get(&of);
        let times = log.into_iter().flat_map(move |log| {
            let offsets = log.times.range(from..to.max(from)).filter(move |(_, it)| **it >= time);
            offsets.filter(move |(offset, _)| !log.is_hole(**offset, span))
        });
        times.map(|(offset, _)| *offset)
    }
}

impl Log {
    /// Whether there was none at some time of `span`.
    fn is_hole(&self, offset: i64, (first, last): Span) -> bool {
        let mut holes = self.holes.get(&offset).into_iter().flatten();
        holes.any(|hole| hole.since <= last && hole.until.is_none_or(|until| until >= first))
    }
}

/// In milliseconds, as times of records are.
pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
