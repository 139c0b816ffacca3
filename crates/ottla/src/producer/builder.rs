//! The settings of a producer.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::partition_queue::{Acks, BatchSettings};
use ottla_wire::compression::{Codec, Compression};

use super::batch::FIRST_CHUNK;
use super::handle::{Limits, ProducerHandle};
use super::partitioner::Partitioner;
use super::{Producer, TopicProducer};
use crate::client::{check_codec, check_duration};
use crate::driver::cluster::Cluster;
use crate::error::{Error, Result};

/// How late a timer of tokio rings at most: it rounds up when it is to ring, and how long it sleeps until then.
const TIMER_LAG: Duration = Duration::from_millis(2);

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
    /// The runtime's timers count milliseconds and ring up to two of them late, so they are set that much earlier, but at
    /// most by half of the linger: of 5 ms a batch waits between 3 and 5, of 1 ms up to 2.5.
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

    /// Bytes of all records that are not acknowledged at most; whoever enqueues more waits. One partition may hold an eighth of it, or eight batches
    /// where that is more, but no more than a quarter, and a batch in any case. From the batch size to 512 MiB. Default: 64 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.limits.buffer = bytes;
        self
    }

    /// How many bytes of records without keys go to one partition before it is another one's turn: fewer where
    /// it is full by then, or has no leader any more. Default: 32 KiB.
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
        self.limits.partition_buffer = partition_buffer(self.limits.buffer, batch);
        let settings = BatchSettings {
            codec: self.codec,
            acks: self.acks,
            request_timeout: self.request_timeout,
            delivery_timeout: self.delivery_timeout,
            linger: timed(self.linger),
            max_bytes: usize::MAX,
        };
        self.cluster.ready(self.request_timeout).await?;
        let handle = ProducerHandle::start(self.cluster, self.limits);
        Ok(Producer::new(handle, settings, self.sticky_run, self.partitioner))
    }

    fn check(&self) -> Result<()> {
        check_duration("request_timeout", self.request_timeout)?;
        check_duration("delivery_timeout", self.delivery_timeout)?;
        check_linger(self.linger, self.request_timeout, self.delivery_timeout)?;
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
        check_codec(&self.codec)
    }
}

/// How long the timer of a linger runs.
fn timed(linger: Duration) -> Option<Duration> {
    Some(linger - TIMER_LAG.min(linger / 2))
}

/// Nothing lingers longer.
pub(super) fn check_hour(linger: Duration) -> Result<()> {
    if linger > Duration::from_secs(60 * 60) {
        return Err(Error::config("linger", format!("is {linger:?}: it must be at most an hour")));
    }
    Ok(())
}

fn check_linger(linger: Duration, request_timeout: Duration, delivery_timeout: Duration) -> Result<()> {
    check_hour(linger)?;
    if delivery_timeout < request_timeout + linger {
        let problem = format!(
            "is {delivery_timeout:?}, shorter than `linger`, {linger:?}, and `request_timeout`, {request_timeout:?}, together: the \
             first attempt would not be waited for; raise it, or lower one of them"
        );
        return Err(Error::config("delivery_timeout", problem));
    }
    Ok(())
}

/// Makes a [`TopicProducer`] with settings of its own; from [`Producer::topic_builder`]. What is not set is as the producer
/// has it.
///
/// Records that have different settings never share a batch, so two handles of one topic had better have the same.
#[derive(Debug)]
#[must_use = "it makes a handle with `build`"]
pub struct TopicProducerBuilder {
    producer: Producer,
    name: String,
    linger: Option<Duration>,
    settings: BatchSettings,
}

impl TopicProducerBuilder {
    pub(super) fn new(producer: Producer, name: String, settings: BatchSettings) -> Self {
        Self { producer, name, linger: None, settings }
    }

    /// How long a batch of this topic that is not full waits for more records; see [`ProducerBuilder::linger`].
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = Some(linger);
        self
    }

    /// How batches of this topic are compressed, and how hard.
    pub fn compression(mut self, codec: impl Into<Codec>) -> Self {
        self.settings.codec = codec.into();
        self
    }

    /// Bytes of a batch of this topic at most, encoded and before compression, from 1 KiB to the producer's
    /// [`batch_size`](ProducerBuilder::batch_size). A record that is larger has a batch of its own, up to that.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// Looks the topic up, as [`Producer::topic`] does, with its errors; besides those, [`Error::Config`] for settings
    /// that cannot work.
    ///
    /// Cancel safe.
    pub async fn build(mut self) -> Result<TopicProducer> {
        let BatchSettings { codec, max_bytes, request_timeout, delivery_timeout, .. } = self.settings;
        if let Some(linger) = self.linger {
            check_linger(linger, request_timeout, delivery_timeout)?;
            self.settings.linger = timed(linger);
        }
        let most = self.producer.batch_bytes();
        if max_bytes != usize::MAX && !(1 << 10..=most).contains(&max_bytes) {
            let problem =
                format!("is {max_bytes}: it must be from 1 KiB to the producer's `batch_size`, {most}");
            return Err(Error::config("batch_size", problem));
        }
        check_codec(&codec)?;
        self.producer.open(&self.name, self.settings).await
    }
}

/// What one partition may take of the buffer: an eighth, or a few batches where that is too little for those in flight, but at
/// most a quarter; and a batch at least.
///
/// More would only wait, out of the processor's caches by the time it is sent: 10 KiB records to a broker that takes them as fast
/// as it can cost 15 % less CPU with an eighth of 64 MiB than with a quarter.
fn partition_buffer(buffer: usize, batch: usize) -> usize {
    let enough = batch.saturating_mul(ENOUGH_BATCHES).min(buffer / 4);
    (buffer / 8).max(enough).max(batch).min(buffer)
}

/// Five in flight, one being filled, and others that are ready.
const ENOUGH_BATCHES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_may_take_an_eighth_or_a_few_batches_of_the_buffer() {
        assert_eq!(partition_buffer(64 << 20, 16 << 10), 8 << 20);
        assert_eq!(partition_buffer(64 << 20, 1 << 20), 8 << 20);
        assert_eq!(partition_buffer(48 << 20, 1 << 20), 8 << 20, "eight batches");
        assert_eq!(partition_buffer(16 << 20, 1 << 20), 4 << 20, "a quarter");
        assert_eq!(partition_buffer(2 << 20, 1 << 20), 1 << 20, "a batch");
        assert_eq!(partition_buffer(1_000, 1 << 20), 1_000);
    }
}
