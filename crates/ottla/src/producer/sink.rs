//! A [`Sink`] over [`TopicProducer::enqueue`](super::TopicProducer::enqueue), for those who have a stream of records and
//! want to `forward` it.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use super::delivery::Delivery;
use super::topic::TopicProducer;
use crate::error::{Error, Result};
use crate::record::Record;
use crate::transport::BoxFuture;

/// Records for a topic as a [`Sink`]; from [`TopicProducer::sink`]. With the feature `sink`.
///
/// It is ready while there is room. Flushing waits until all records that it was given are acknowledged or given up; so does
/// closing, which leaves the producer open for others.
///
/// A record that was not written is an error of the next call that can tell it, once; which record it was, nobody tells: for
/// that there is [`enqueue`](TopicProducer::enqueue). The sink goes on afterwards.
///
/// Dropping it drops a record that waits for room. All others are sent.
pub struct TopicSink {
    topic: Arc<TopicProducer>,
    /// The record that waits for room.
    waiting: Option<BoxFuture<'static, Result<Delivery>>>,
    /// Much was accepted in a row: others go first.
    yields: bool,
    /// Nothing was accepted since what there is was told to leave.
    is_hurried: bool,
    /// Of records that may not be acknowledged, oldest first.
    deliveries: VecDeque<Delivery>,
    /// So many, and those that are acknowledged are forgotten, wherever they stand.
    sweep_at: usize,
    /// What went wrong and was not told so far.
    error: Option<Error>,
}

/// Less is not worth a look.
const SWEEP: usize = 1024;

impl TopicSink {
    pub(super) fn new(topic: TopicProducer) -> Self {
        let (topic, deliveries) = (Arc::new(topic), VecDeque::new());
        Self {
            topic,
            waiting: None,
            yields: false,
            is_hurried: false,
            deliveries,
            sweep_at: SWEEP,
            error: None,
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.waiting {
            let entered = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            match entered {
                Ok(delivery) => self.deliveries.push_back(delivery),
                Err(error) => self.keep(error),
            }
        }
        Poll::Ready(())
    }

    /// Forgets what is acknowledged, now and then: as many are kept as are not, twice over.
    fn sweep(&mut self, cx: &mut Context<'_>) {
        if self.deliveries.len() < self.sweep_at {
            return;
        }
        let mut first = None;
        self.deliveries.retain_mut(|delivery| {
            if !delivery.waiter.is_done() {
                return true;
            }
            if let Poll::Ready(Err(error)) = Pin::new(delivery).poll(cx) {
                first.get_or_insert(error);
            }
            false
        });
        first.into_iter().for_each(|error| self.keep(error));
        self.sweep_at = SWEEP.max(2 * self.deliveries.len());
    }

    fn poll_delivered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(delivery) = self.deliveries.front_mut() {
            let delivered = ready!(Pin::new(delivery).poll(cx));
            self.deliveries.pop_front();
            if let Err(error) = delivered {
                self.keep(error);
            }
        }
        Poll::Ready(())
    }

    /// The first error counts.
    fn keep(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn tell(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Sink<Record<'static>> for TopicSink {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_room(cx));
        if std::mem::take(&mut this.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.sweep(cx);
        Poll::Ready(this.tell())
    }

    fn start_send(self: Pin<&mut Self>, record: Record<'static>) -> Result<()> {
        let this = self.get_mut();
        this.is_hurried = false;
        match this.topic.offer(&record) {
            Ok((delivery, yields)) => {
                this.deliveries.push_back(delivery);
                this.yields = yields;
            }
            Err(Error::Full { .. }) => {
                let topic = this.topic.clone();
                this.waiting = Some(Box::pin(async move { topic.enqueue(record).await }));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_room(cx));
        if !std::mem::replace(&mut this.is_hurried, true) {
            this.topic.hurry();
        }
        ready!(this.poll_delivered(cx));
        Poll::Ready(this.tell())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for TopicSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicSink").field("topic", &self.topic.topic()).finish_non_exhaustive()
    }
}
