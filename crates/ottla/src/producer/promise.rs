//! What becomes of a batch, told to everybody who waits for one of its records: one allocation a batch, whoever waits.

use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla_core::producer::Written;

use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Error, Result};

/// The end that tells. Dropped without a result it tells that its driver is gone, so that nobody waits for ever.
#[derive(Debug)]
pub(crate) struct Promise(Arc<Mutex<State>>);

/// An end that may wait.
#[derive(Debug)]
pub(crate) struct WaitingEnd(Arc<Mutex<State>>);

/// An end that waits. Dropping it detaches it and touches nothing else.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: Arc<Mutex<State>>,
    /// Where its waker is, counted from one.
    slot: Option<NonZeroU32>,
}

#[derive(Debug)]
enum State {
    /// The wakers of those who wait, by slot; the first is kept apart, for the batch with one waiter.
    Pending {
        first: Option<Waker>,
        others: Vec<Option<Waker>>,
        slots: u32,
        /// Whether those who wait are likely to append once they are told.
        return_soon: bool,
    },
    Done(Fate),
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    Whole(Result<Written>),
    /// It was split on its way: what became of each part, by the place of its first record, in order.
    Parts(Arc<[(usize, Result<Written>)]>),
}

impl Fate {
    /// What became of one record; the offset is its own.
    pub(crate) fn of(&self, index: usize) -> Result<Written> {
        let (first, result) = match self {
            Self::Whole(result) => (0, result),
            Self::Parts(parts) => match parts.iter().rev().find(|(first, _)| *first <= index) {
                Some((first, result)) => (*first, result),
                None => return Err(Error::Closed),
            },
        };
        let written = result.clone()?;
        let own = |base: i64| base.saturating_add((index - first) as i64);
        Ok(Written { base_offset: written.base_offset.map(own), ..written })
    }
}

impl Promise {
    pub(crate) fn new() -> Self {
        Self::of(true)
    }

    /// A promise to many who do not append to the queue themselves: an aggregator's inputs.
    pub(crate) fn to_inputs() -> Self {
        Self::of(false)
    }

    fn of(return_soon: bool) -> Self {
        let pending = State::Pending { first: None, others: Vec::new(), slots: 0, return_soon };
        Self(Arc::new(Mutex::new(pending)))
    }

    /// Another end that waits.
    pub(crate) fn waiter(&self) -> Waiter {
        self.end().into()
    }

    /// As [`waiter`](Self::waiter), in one word.
    #[inline]
    pub(crate) fn end(&self) -> WaitingEnd {
        WaitingEnd(self.0.clone())
    }

    /// How many have begun to wait and are likely to append to the queue again.
    pub(crate) fn waiters(&self) -> usize {
        match &*lock(&self.0) {
            State::Pending { slots, return_soon: true, .. } => *slots as usize,
            State::Pending { .. } | State::Done(_) => 0,
        }
    }

    pub(crate) fn resolve(self, fate: Fate) {
        self.finish(fate);
    }

    /// The first result counts. No lock is held while others are woken.
    fn finish(&self, fate: Fate) {
        let mut state = lock(&self.0);
        if matches!(*state, State::Done(_)) {
            return;
        }
        let before = std::mem::replace(&mut *state, State::Done(fate));
        drop(state);
        if let State::Pending { first, others, .. } = before {
            first.into_iter().chain(others.into_iter().flatten()).for_each(Waker::wake);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.finish(Fate::Whole(Err(Error::Closed)));
    }
}

impl State {
    fn waker(&mut self, slot: NonZeroU32) -> Option<&mut Option<Waker>> {
        match self {
            Self::Pending { first, others, .. } => match slot.get() {
                1 => Some(first),
                slot => {
                    let at = slot as usize - 2;
                    if others.len() <= at {
                        others.resize(at + 1, None);
                    }
                    others.get_mut(at)
                }
            },
            Self::Done(_) => None,
        }
    }
}

impl From<WaitingEnd> for Waiter {
    #[inline]
    fn from(end: WaitingEnd) -> Self {
        Self { state: end.0, slot: None }
    }
}

impl Waiter {
    /// Another end that waits for the same.
    pub(crate) fn another(&self) -> Self {
        Self { state: self.state.clone(), slot: None }
    }

    /// Whether there is nothing to wait for any more.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*lock(&self.state), State::Done(_))
    }
}

/// The batches that were begun and may not be resolved, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Begun(VecDeque<Waiter>);

impl Begun {
    /// Remembers a batch, and forgets those that are resolved.
    pub(crate) fn push(&mut self, batch: &Promise) {
        while self.0.front().is_some_and(Waiter::is_done) {
            self.0.pop_front();
        }
        self.0.push_back(batch.waiter());
    }

    /// Those that are not resolved, to be waited for.
    pub(crate) fn open(&self) -> Vec<Waiter> {
        self.0.iter().filter(|batch| !batch.is_done()).map(Waiter::another).collect()
    }

    /// Whether there is one.
    pub(crate) fn has_open(&self) -> bool {
        self.0.iter().any(|batch| !batch.is_done())
    }
}

impl Future for Waiter {
    type Output = Fate;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fate> {
        let this = self.get_mut();
        let mut state = lock(&this.state);
        let slot = match &mut *state {
            State::Done(fate) => return Poll::Ready(fate.clone()),
            State::Pending { slots, .. } => *this.slot.get_or_insert_with(|| {
                let slot = NonZeroU32::MIN.saturating_add(*slots);
                *slots = slot.get();
                slot
            }),
        };
        if let Some(waker) = state.waker(slot)
            && !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiter {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot
            && let Some(waker) = lock(&self.state).waker(slot)
        {
            *waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(waiter: &mut Waiter, count: &Arc<Count>) -> Poll<Fate> {
        let waker = Waker::from(count.clone());
        Pin::new(waiter).poll(&mut Context::from_waker(&waker))
    }

    const WRITTEN: Written = Written { base_offset: Some(4), log_append_time: None };

    #[test]
    fn everybody_who_waits_is_woken_once_and_told() {
        let (delivery, count) = (Promise::new(), Arc::new(Count::default()));
        let mut waiters = [(); 3].map(|()| delivery.waiter());
        for waiter in &mut waiters {
            assert!(poll(waiter, &count).is_pending());
            assert!(poll(waiter, &count).is_pending());
        }
        delivery.resolve(Fate::Whole(Ok(WRITTEN)));
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        for waiter in &mut waiters {
            assert!(matches!(poll(waiter, &count), Poll::Ready(Fate::Whole(Ok(WRITTEN)))));
        }
    }

    #[test]
    fn a_waiter_that_came_late_is_told_at_once() {
        let (delivery, count) = (Promise::new(), Arc::new(Count::default()));
        let mut waiter = delivery.waiter();
        delivery.resolve(Fate::Whole(Ok(WRITTEN)));
        assert!(poll(&mut waiter, &count).is_ready());
    }

    /// Trap N2: the others still hear.
    #[test]
    fn a_waiter_that_left_is_not_woken() {
        let (delivery, left, stayed) =
            (Promise::new(), Arc::new(Count::default()), Arc::new(Count::default()));
        let (mut first, mut second) = (delivery.waiter(), delivery.waiter());
        assert!(poll(&mut first, &left).is_pending());
        assert!(poll(&mut second, &stayed).is_pending());
        drop(first);
        delivery.resolve(Fate::Whole(Ok(WRITTEN)));
        assert_eq!((left.0.load(Ordering::Relaxed), stayed.0.load(Ordering::Relaxed)), (0, 1));
    }

    /// Trap N11: whatever happened to the driver, its waiters hear of it.
    #[test]
    fn a_delivery_that_is_dropped_tells_that_it_is_closed() {
        let (delivery, count) = (Promise::new(), Arc::new(Count::default()));
        let mut waiter = delivery.waiter();
        assert!(poll(&mut waiter, &count).is_pending());
        drop(delivery);
        assert!(matches!(poll(&mut waiter, &count), Poll::Ready(Fate::Whole(Err(Error::Closed)))));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    /// Trap P7: each record has the fate and the offset of its own part.
    #[test]
    fn a_record_of_a_split_batch_has_the_fate_of_its_part() {
        let written = |base| Ok(Written { base_offset: Some(base), log_append_time: None });
        let fate = Fate::Parts([(0, written(10)), (3, Err(Error::Closed)), (5, written(20))].into());
        let offsets: Vec<_> = (0..7).map(|index| fate.of(index).ok().and_then(|it| it.base_offset)).collect();
        assert_eq!(offsets, [Some(10), Some(11), Some(12), None, None, Some(20), Some(21)]);
    }
}
