//! One timer for many deadlines: it rings once at the earliest that was set, and is silent until it is set again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// See the module. Whether it is to ring is kept here: `Sleep::is_elapsed` is true from when the time has come, which
/// may be before anybody was told.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    is_set: bool,
}

impl Alarm {
    /// One that is silent.
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())), is_set: false }
    }

    /// An earlier time replaces the one that is set; a later one lets it ring once for nothing, which is cheaper than
    /// setting it anew for each request.
    pub(crate) fn set(&mut self, due: Option<Instant>) {
        let Some(due) = due.map(tokio::time::Instant::from_std) else { return };
        if !self.is_set || due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
            self.is_set = true;
        }
    }

    /// Ready once when its time has come.
    pub(crate) fn poll_ring(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_set || self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.is_set = false;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::driver::now;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_once_at_the_earliest_time() {
        let (mut alarm, start) = (Alarm::new(), now());
        for _ in 0..3 {
            alarm.set(Some(now() + Duration::from_secs(2)));
            alarm.set(Some(now() + Duration::from_secs(1)));
            alarm.set(Some(now() + Duration::from_secs(3)));
            poll_fn(|cx| alarm.poll_ring(cx)).await;
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll_ring(cx))).await.is_pending(), "it rings once");
        }
        assert_eq!(now() - start, Duration::from_secs(3));
    }

    /// The time comes while somebody else is waited for too, as it does in the tasks.
    #[tokio::test]
    async fn an_alarm_whose_time_came_before_it_was_polled_rings() {
        let mut alarm = Alarm::new();
        alarm.set(Some(now() + Duration::from_millis(5)));
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_ring(cx))).await.is_pending());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_ring(cx))).await.is_ready());
    }
}
