//! The settings of a producer.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::partition_queue::{Acks, BatchSettings};
use ottla_wire::compression::{Codec, Compression};

use super::Producer;
use super::batch::FIRST_CHUNK;
use super::handle::{Limits, ProducerHandle};
use super::partitioner::Partitioner;
use crate::client::check_duration;
use crate::driver::cluster::Cluster;
use crate::error::{Error, Result};

/// Makes a [`Producer`]; from [`Client::producer`](crate::Client::producer).
#[derive(Debug)]
#[must_use = "it makes a producer with `build`"]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    acks: Acks,
    codec: Codec,
    linger: Duration,
    request_timeout: Duration,
    delivery_timeout: Duration,
    limits: Limits,
    sticky_run: usize,
    partitioner: Option<Arc<dyn Partitioner>>,
}

impl ProducerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let request_timeout = cluster.settings().request_timeout;
        Self {
            cluster,
            acks: Acks::All,
            codec: Compression::None.into(),
            linger: Duration::from_millis(5),
            request_timeout,
            delivery_timeout: Duration::from_secs(120),
            limits: Limits::default(),
            sticky_run: 32 * 1024,
            partitioner: None,
        }
    }

    /// Who must have records before they count as written. Default: [`Acks::All`], under which each record is written
    /// exactly once, in order; with [`Acks::Leader`] a repetition may write records twice, and a dying leader may lose
    /// them; with [`Acks::None`] nobody knows, and deliveries have no offset.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// How batches are compressed, and how hard. Default: not at all.
    pub fn compression(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// How long a batch that is not full waits for more records, from 0 to an hour. Default: 5 ms.
    ///
    /// Nothing lingers that somebody waits for: after [`send`](crate::Producer::send), [`flush`](crate::Producer::flush) or
    /// [`close`](crate::Producer::close), or when there is no room for more, a batch leaves as soon as nothing is under way to
    /// its broker. A [`Delivery`](crate::Delivery) that is awaited after [`enqueue`](crate::Producer::enqueue) does not hurry. What
    /// lingers joins a request that leaves for its broker anyway.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long the broker may take for one attempt. Default: the client's request time-out.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a record may wait for room and for its acknowledgement, repetitions included. Default: 120 s.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Bytes of a batch at most, encoded and before compression, from 1 KiB to 256 MiB. Default: 1,000,000, which is what
    /// brokers accept unless told otherwise. Batches that are too large for a topic, whose
    /// `max.message.bytes` is lower, are split.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.limits.batch_bytes = bytes;
        self
    }

    /// Bytes of all records that are not acknowledged at most; whoever enqueues more waits. A quarter of it, and at least a little more than a
    /// batch, is what one partition may hold. From the batch size to 512 MiB. Default: 64 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.limits.buffer = bytes;
        self
    }

    /// How many bytes of records without keys go to one partition before it is another one's turn. Default: 32 KiB.
    pub fn sticky_run(mut self, bytes: usize) -> Self {
        self.sticky_run = bytes;
        self
    }

    /// Chooses the partitions of records instead of their keys.
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Makes the producer. Nothing is sent before the first record.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work; [`Error::Unreachable`] when no broker answers within the request
    /// time-out; [`Error::Closed`].
    ///
    /// Cancel safe.
    pub async fn build(mut self) -> Result<Producer> {
        self.check()?;
        // A batch that comes ready-made takes what its bookkeeping does, too.
        let batch = self.limits.batch_bytes.saturating_add(FIRST_CHUNK);
        self.limits.partition_buffer = (self.limits.buffer / 4).max(batch).min(self.limits.buffer);
        let settings = BatchSettings {
            codec: self.codec,
            acks: self.acks,
            request_timeout: self.request_timeout,
            delivery_timeout: self.delivery_timeout,
            linger: Some(self.linger),
        };
        self.cluster.ready(self.request_timeout).await?;
        let handle = ProducerHandle::start(self.cluster, self.limits);
        Ok(Producer::new(handle, settings, self.sticky_run, self.partitioner))
    }

    fn check(&self) -> Result<()> {
        check_duration("request_timeout", self.request_timeout)?;
        check_duration("delivery_timeout", self.delivery_timeout)?;
        if self.linger > Duration::from_secs(60 * 60) {
            return Err(Error::config("linger", format!("is {:?}: it must be at most an hour", self.linger)));
        }
        if self.delivery_timeout < self.request_timeout + self.linger {
            let problem = format!(
                "is {:?}, shorter than `linger` and `request_timeout` together, {:?}: the first attempt would not be \
                 waited for",
                self.delivery_timeout,
                self.request_timeout + self.linger
            );
            return Err(Error::config("delivery_timeout", problem));
        }
        if !(1 << 10..=256 << 20).contains(&self.limits.batch_bytes) {
            let problem = format!("is {}: it must be from 1 KiB to 256 MiB", self.limits.batch_bytes);
            return Err(Error::config("batch_size", problem));
        }
        if !(self.limits.batch_bytes..=512 << 20).contains(&self.limits.buffer) {
            let problem = format!(
                "is {}: it must be from `batch_size`, {}, to 512 MiB",
                self.limits.buffer, self.limits.batch_bytes
            );
            return Err(Error::config("buffer_memory", problem));
        }
        if !(1..=1 << 30).contains(&self.sticky_run) {
            return Err(Error::config(
                "sticky_run",
                format!("is {}: it must be from 1 to 2^30", self.sticky_run),
            ));
        }
        self.codec.check().map_err(|error| Error::config("compression", error.to_string()))
    }
}
