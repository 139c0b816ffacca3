//! One partition of a stream: what has come for it, and how far it was handed over.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::fetcher::{FetchFailure, Hold, Load, Position, Truncation, Watermarks};
use ottla_wire::records::{BatchIter, RecordBatch, batches};

use crate::visible::Visible;

/// See the module.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// How often it was sought or went back. What is from before is thrown away.
    pub(super) generation: u64,
    /// The offset after the last record that was handed over, or was not there to be; none before it is looked up.
    pub(super) position: Option<i64>,
    pub(super) watermarks: Option<Watermarks>,
    pub(super) items: VecDeque<Item>,
    /// The load that is being read.
    pub(super) open: Option<OpenLoad>,
    pub(super) is_paused: bool,
    /// Nothing comes before the next seek.
    pub(super) has_failed: bool,
    /// It is among those that have something.
    pub(super) is_listed: bool,
}

/// What the next step is about, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// It starts here.
    Position(i64),
    /// It goes on here: the offset that was wanted is not in the log.
    Reset(i64),
    Load(Load),
    Truncated(Truncation),
    Failed(FetchFailure),
}

/// A load, batch by batch.
#[derive(Debug)]
pub(super) struct OpenLoad {
    pub(super) hold: Hold,
    /// The batch that was open when its partition was paused: it comes once more.
    pub(super) again: Option<RecordBatch>,
    /// All of it.
    records: Bytes,
    pub(super) batches: BatchIter,
    pub(super) visible: Visible,
    pub(super) next: i64,
    asked: Position,
}

impl From<Load> for OpenLoad {
    fn from(load: Load) -> Self {
        let Load { hold, from: asked, next, records, aborted, .. } = load;
        let batches = batches(records.clone());
        let visible = Visible::new(aborted);
        Self { hold, again: None, records, batches, visible, next, asked }
    }
}

impl OpenLoad {
    /// What comes before was not asked for.
    pub(super) fn starts_at(&self) -> i64 {
        self.asked.offset
    }

    /// How many bytes are left when this batch, the one that came last, is among them.
    pub(super) fn left_with(&self, batch: &RecordBatch) -> usize {
        batch.bytes().len() + self.batches.remaining().len()
    }

    /// How far it was read, when that is up to `offset`.
    fn read_to(&self, offset: i64) -> Position {
        if offset <= self.asked.offset {
            return self.asked;
        }
        let read = batches(self.records.clone()).map_while(Result::ok);
        let last = read.take_while(|batch| batch.header().base_offset < offset).last();
        let epoch = last.map(|batch| batch.header().partition_leader_epoch);
        epoch.map_or(self.asked, |epoch| self.asked.behind(offset, epoch))
    }

    /// The last so many bytes of it.
    pub(super) fn last(&self, bytes: usize) -> Bytes {
        self.records.slice(self.records.len().saturating_sub(bytes)..)
    }
}

impl Assigned {
    pub(super) fn new(topic: Arc<str>, partition: i32, position: Option<i64>) -> Self {
        Self {
            topic,
            partition,
            generation: 0,
            position,
            watermarks: None,
            items: VecDeque::new(),
            open: None,
            is_paused: false,
            has_failed: false,
            is_listed: false,
        }
    }

    /// Whether there is something to hand over.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_paused && (self.open.is_some() || !self.items.is_empty())
    }

    /// Where to go on in a load of which what comes before `from` is not shown.
    pub(super) fn go_on(&self, from: i64) -> i64 {
        self.position.map_or(from, |position| position.max(from))
    }

    pub(super) fn high_watermark(&self) -> Option<i64> {
        self.said(|watermarks| watermarks.high_watermark)
    }

    pub(super) fn last_stable_offset(&self) -> Option<i64> {
        self.said(|watermarks| watermarks.last_stable_offset)
    }

    pub(super) fn log_start_offset(&self) -> Option<i64> {
        self.said(|watermarks| watermarks.log_start_offset)
    }

    /// What a broker does not say is -1.
    fn said(&self, which: impl FnOnce(Watermarks) -> i64) -> Option<i64> {
        self.watermarks.map(which).filter(|offset| *offset >= 0)
    }

    /// How many offsets are left to be read, as far as known.
    pub(super) fn lag(&self, is_committed: bool) -> Option<u64> {
        let stable = self.last_stable_offset().filter(|_| is_committed);
        let end = stable.or_else(|| self.high_watermark())?;
        u64::try_from(end.saturating_sub(self.position?).max(0)).ok()
    }

    /// Throws away what has come; what it held comes back.
    pub(super) fn clear(&mut self) -> Vec<Hold> {
        self.throw_away_from(0)
    }

    /// Throws away the records that have come and what came behind them. What they held, and where they begin, so that they can be
    /// fetched again; unless the topic was created again, which is still to be said.
    pub(super) fn unread(&mut self) -> Option<(Vec<Hold>, Option<Position>)> {
        let load = |item: &Item| if let Item::Load(load) = item { Some(load.from) } else { None };
        let (first, from) = match &self.open {
            Some(open) => (0, open.read_to(self.go_on(open.starts_at()))),
            None => self.items.iter().enumerate().find_map(|(at, item)| Some((at, load(item)?)))?,
        };
        let is_gone = matches!(self.items.back(), Some(Item::Failed(FetchFailure::Recreated { .. })));
        let gone = if is_gone { self.items.pop_back() } else { None };
        let holds = self.throw_away_from(first);
        self.items.extend(gone);
        Some((holds, (!is_gone).then_some(from)))
    }

    fn throw_away_from(&mut self, first: usize) -> Vec<Hold> {
        let open = self.open.take().map(|open| open.hold);
        let items = self.items.drain(first..).filter_map(|item| match item {
            Item::Load(load) => Some(load.hold),
            Item::Position(_) | Item::Reset(_) | Item::Truncated(_) | Item::Failed(_) => None,
        });
        open.into_iter().chain(items).collect()
    }
}
