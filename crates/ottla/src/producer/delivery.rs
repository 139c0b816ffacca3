//! What becomes of one record: a future that costs nothing to keep, and what it comes to.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::outbox::AcceptedOne;
use super::promise::Waiter;
use crate::error::Result;
use crate::record::Timestamp;

/// The acknowledgement of a record that was accepted; from [`Producer::enqueue`](crate::Producer::enqueue).
///
/// Ready when the record is written, or when it is certain that it will not be waited for any longer: never later than
/// its delivery time-out. It holds none of the record's bytes. Dropping it gives up the answer, not the record.
#[derive(Debug)]
#[must_use = "a record that is not acknowledged may be lost, and only this tells"]
pub struct Delivery {
    pub(super) waiter: Waiter,
    partition: i32,
    index: u32,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// The offset. `None` with [`Acks::None`](crate::Acks::None), and where the broker knows that it has the record and
    /// no longer where.
    pub offset: Option<i64>,
    /// When the broker appended it; only where the topic says LogAppendTime.
    pub timestamp: Option<Timestamp>,
}

impl Delivery {
    #[inline]
    pub(super) fn new(partition: i32, accepted: AcceptedOne) -> Self {
        // A batch has fewer than 2^31 records.
        let index = accepted.index() as u32;
        Self { waiter: accepted.end.into(), partition, index }
    }

    /// The partition that the record was put into.
    pub fn partition(&self) -> i32 {
        self.partition
    }
}

impl Future for Delivery {
    type Output = Result<Delivered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.waiter).poll(cx)).of(this.index as usize)?;
        Poll::Ready(Ok(Delivered {
            partition: this.partition,
            offset: written.base_offset,
            timestamp: written.log_append_time.map(Timestamp),
        }))
    }
}
