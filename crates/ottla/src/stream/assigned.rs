//! One partition of a stream: what has come for it, and how far it was handed over.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_core::fetcher::{FetchFailure, Hold, Load, Truncation, Watermarks};
use ottla_wire::records::{BatchIter, batches};

use crate::visible::Visible;

/// See the module.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// How often it was sought. What belongs to an earlier seek is thrown away.
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
    pub(super) batches: BatchIter,
    pub(super) visible: Visible,
    /// What comes before was not asked for.
    pub(super) from: i64,
    pub(super) next: i64,
}

impl From<Load> for OpenLoad {
    fn from(load: Load) -> Self {
        let Load { hold, offset, next, records, aborted, .. } = load;
        Self { hold, batches: batches(records), visible: Visible::new(aborted), from: offset, next }
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

    /// How many offsets are left to be read, as far as known.
    pub(super) fn lag(&self, is_committed: bool) -> Option<u64> {
        let watermarks = self.watermarks?;
        let stable = Some(watermarks.last_stable_offset).filter(|offset| is_committed && *offset >= 0);
        let end = stable.unwrap_or(watermarks.high_watermark);
        u64::try_from(end.saturating_sub(self.position?).max(0)).ok()
    }

    /// Throws away what has come; what it held comes back.
    pub(super) fn clear(&mut self) -> Vec<Hold> {
        let open = self.open.take().map(|open| open.hold);
        let items = self.items.drain(..).filter_map(|item| match item {
            Item::Load(load) => Some(load.hold),
            Item::Position(_) | Item::Reset(_) | Item::Truncated(_) | Item::Failed(_) => None,
        });
        open.into_iter().chain(items).collect()
    }
}
