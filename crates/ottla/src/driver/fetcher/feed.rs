//! What fetchers have for whoever reads a stream: put there by their drivers, taken by the reader in its own task.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use ottla_core::fetcher::{News, PartitionId, Watermarks};

use crate::driver::lock;

/// Something about a partition, and how often that was sought or went back before.
pub(crate) type Item = (PartitionId, u64, News);

/// See the module. Records in it are bounded by the stream's budget; of watermarks only the last count.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    watermarks: BTreeMap<PartitionId, Watermarks>,
    reader: Option<Waker>,
    is_closed: bool,
}

impl Feed {
    /// Puts all of it in and wakes the reader. No lock may be held.
    pub(super) fn put(&self, news: impl Iterator<Item = Item>) {
        let mut state = lock(&self.state);
        for (partition, generation, news) in news {
            match news {
                News::Watermarks(watermarks) => drop(state.watermarks.insert(partition, watermarks)),
                news => state.items.push_back((partition, generation, news)),
            }
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Takes what there is. False when nothing will come any more.
    pub(crate) fn take(&self, into: &mut Taken) -> bool {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.items, &mut into.items);
        std::mem::swap(&mut state.watermarks, &mut into.watermarks);
        !state.is_closed
    }

    /// Ready when there is something to take, or nothing will come any more.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if !state.items.is_empty() || state.is_closed {
            return Poll::Ready(());
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// What was taken; empty before it is taken into.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) items: VecDeque<Item>,
    pub(crate) watermarks: BTreeMap<PartitionId, Watermarks>,
}
