//! A stream over many partitions, which the user assigns.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use ottla_core::fetcher::PartitionId;

use super::assigned::Assigned;
use super::batch::Batch;
use super::metrics::StreamMetrics;
use super::reader::Reader;
use super::settings::{OutOfRange, Settings, StartOffset};
use crate::driver::cluster::Cluster;
use crate::driver::fetcher::Member;
use crate::error::{Error, Result};
use crate::partition::IsolationLevel;
use crate::record::RecordAndOffset;

/// Makes a [`RecordStream`]; from [`Client::stream`](crate::Client::stream).
#[derive(Debug)]
pub struct RecordStreamBuilder {
    cluster: Arc<Cluster>,
    settings: Settings,
}

impl RecordStreamBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, settings: Settings::new(IsolationLevel::default()) }
    }

    /// Whether records of open and aborted transactions are read. Default: [`IsolationLevel::ReadUncommitted`].
    pub fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.settings.isolation = isolation;
        self
    }

    /// How much memory answers may take, held or on their way, for all partitions together, in bytes, before they are decompressed. A
    /// batch that is larger comes all the same. Default: 64 MiB.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// A broker answers as soon as it has so many bytes. Default: 1.
    pub fn min_bytes(mut self, bytes: i32) -> Self {
        self.settings.min_bytes = bytes;
        self
    }

    /// About so many bytes come in one answer at most. Default: 50 MiB.
    pub fn max_bytes(mut self, bytes: i32) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// About so many bytes of one partition come in one answer at most. Default: 1 MiB.
    pub fn partition_max_bytes(mut self, bytes: i32) -> Self {
        self.settings.partition_max_bytes = bytes;
        self
    }

    /// How long a broker waits for `min_bytes`, up to 24 days. Default: 500 ms.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait_ms = i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX);
        self
    }

    /// What to do when an offset is not in the log. Default: [`OutOfRange::Report`].
    pub fn out_of_range(mut self, out_of_range: OutOfRange) -> Self {
        self.settings.out_of_range = out_of_range;
        self
    }

    /// Where the reader is, so that replicas in the same rack may serve it (KIP-392). Default: nowhere.
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.settings.rack = Some(rack.into());
        self
    }

    /// Whether the checksum of each batch is compared. Default: it is.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.settings.check_crcs = check;
        self
    }

    /// A compressed batch that has more bytes than this when it is decompressed is damaged ([`Error::Corrupt`]):
    /// one batch of a stream is decompressed at a time, in memory that no budget counts. Default: 128 MiB.
    pub fn max_decompressed_bytes(mut self, bytes: usize) -> Self {
        self.settings.limits.max_batch_bytes = bytes;
        self
    }

    /// A stream without partitions so far.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work.
    pub fn build(self) -> Result<RecordStream> {
        let Self { cluster, settings } = self;
        let (fetcher, own) = settings.check(&cluster)?;
        let reader = Reader::new(Member::new(&cluster, fetcher, own), &settings);
        Ok(RecordStream { cluster, is_committed: settings.isolation.is_committed(), reader })
    }
}

/// A record of a [`RecordStream`], and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record and its place.
    pub record: RecordAndOffset,
    /// The offset after the last record of the partition that is replicated.
    pub high_watermark: i64,
}

/// The records of any number of partitions, fetched ahead of whoever reads them. Which partitions is the user's choice, at
/// any time; there is no group, and nothing is committed.
///
/// ```
/// # use ottla::{ClientBuilder, Record, Result, StartOffset};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let server = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
/// # let client = ClientBuilder::new(server.bootstrap()).build().await?;
/// # client.controller_client().await?.create_topic("orders", 2, 1, 5_000).await?;
/// # client.partition_client("orders", 1).await?.produce(vec![Record::new("first")]).await?;
/// let mut stream = client.stream().build()?;
/// stream.add("orders", 0, StartOffset::Earliest).await?;
/// stream.add("orders", 1, StartOffset::Earliest).await?;
/// if let Some(batch) = stream.next_batch().await? {
///     for record in &batch {
///         println!("{}/{} {}: {:?}", batch.topic(), batch.partition(), record.offset, record.value);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Records of a partition come in order; partitions take turns. What goes wrong with one leaves the others alone, and comes
/// as an error that names it: see [`StreamConsumer`](crate::StreamConsumer) for which there are.
#[derive(Debug)]
pub struct RecordStream {
    cluster: Arc<Cluster>,
    is_committed: bool,
    reader: Reader,
}

impl RecordStream {
    /// One more partition. Looking the topic up never creates it; an unknown one is asked for until the client's request
    /// time-out is over.
    ///
    /// # Errors
    /// [`Error::Topic`] and [`Error::Partition`] when there is no such thing, [`Error::Config`] for a partition that is
    /// there already and for an impossible start.
    ///
    /// # Cancel safety
    /// Dropped, nothing was added.
    pub async fn add(&mut self, topic: &str, partition: i32, start: StartOffset) -> Result<()> {
        let place = start.to_place()?;
        if partition < 0 {
            return Err(Error::config("partition", format!("is {partition}: partitions count from 0")));
        }
        if self.id(topic, partition).is_ok() {
            let problem = format!(
                "is {partition}: {topic}/{partition} is in this stream already; remove it first, or seek"
            );
            return Err(Error::config("partition", problem));
        }
        let timeout = self.cluster.settings().request_timeout;
        let topic = self.cluster.partition(topic, partition, timeout, true).await?;
        self.reader.add(&topic, partition, place);
        Ok(())
    }

    /// One less. What was fetched of it and not handed over is thrown away.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn remove(&mut self, topic: &str, partition: i32) -> Result<()> {
        let id = self.id(topic, partition)?;
        self.reader.remove(id);
        Ok(())
    }

    /// Hands out none of its records until it is resumed, and fetches no more of them. What was fetched is kept, unless other
    /// partitions have no room and nothing else is held: then it is fetched again when it is resumed, or what
    /// [`out_of_range`](RecordStreamBuilder::out_of_range) says happens if it is gone by then.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn pause(&mut self, topic: &str, partition: i32) -> Result<()> {
        let id = self.id(topic, partition)?;
        self.reader.set_paused(id, true);
        Ok(())
    }

    /// Undoes [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn resume(&mut self, topic: &str, partition: i32) -> Result<()> {
        let id = self.id(topic, partition)?;
        self.reader.set_paused(id, false);
        Ok(())
    }

    /// Goes on elsewhere with one partition. What was fetched of it is thrown away.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; [`Error::Config`] for an impossible place.
    pub fn seek(&mut self, topic: &str, partition: i32, to: StartOffset) -> Result<()> {
        let (id, place) = (self.id(topic, partition)?, to.to_place()?);
        self.reader.seek(id, place);
        Ok(())
    }

    /// The next record of any partition. `None` when nothing can come without another call: there is no partition, or all
    /// of them wait for a [`seek`](Self::seek), which errors have said. While those that are left are paused it waits: drop the future, and
    /// [`resume`](Self::resume) them.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<StreamRecord>> {
        poll_fn(|cx| self.poll_record(cx)).await
    }

    /// The next records as they lie in memory: those of one partition in one answer, or of one compressed batch in it. `None` as from
    /// [`next`](Self::next).
    ///
    /// The position is behind them when they are handed over, whether they are looked at or not.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        match poll_fn(|cx| self.reader.poll_batch(cx)).await {
            Some(result) => result.map(|()| self.reader.lend()),
            None => Ok(None),
        }
    }

    /// All partitions, in the order in which they were added.
    pub fn assignment(&self) -> impl Iterator<Item = (&str, i32)> {
        self.reader.partitions().map(|(_, it)| (&*it.topic, it.partition))
    }

    /// The offset after the last record that was handed over. `None` until it is known where the partition starts, and for
    /// one that is not in this stream.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.assigned(topic, partition)?.position
    }

    /// The offset after the last record that is replicated, as a broker said with what was handed over last, or since.
    ///
    /// `None` until a broker has said. What comes while nothing is read is taken note of by `next` and `next_batch`.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        self.assigned(topic, partition)?.high_watermark()
    }

    /// The offset up to which all transactions are decided; a read-committed stream is shown nothing behind it. The high
    /// watermark where no transaction is open. `None` as for [`high_watermark`](Self::high_watermark).
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.assigned(topic, partition)?.last_stable_offset()
    }

    /// The first offset that is still in the log, the low watermark: retention and
    /// [`delete_records`](crate::PartitionClient::delete_records) raise it. `None` as for
    /// [`high_watermark`](Self::high_watermark), and with a broker that does not say: one that speaks Fetch up to 4.
    pub fn log_start_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.assigned(topic, partition)?.log_start_offset()
    }

    /// How many offsets are left to be read, as far as known: up to the high watermark, or for a read-committed stream to the
    /// last stable offset.
    pub fn lag(&self, topic: &str, partition: i32) -> Option<u64> {
        self.assigned(topic, partition)?.lag(self.is_committed)
    }

    /// What it has done so far, and how far it is. A snapshot, which costs a look at each partition.
    pub fn metrics(&self) -> StreamMetrics {
        self.reader.metrics(self.is_committed)
    }

    fn id(&self, topic: &str, partition: i32) -> Result<PartitionId> {
        let found = self.reader.partitions().find(|(_, it)| it.partition == partition && *it.topic == *topic);
        found.map(|(id, _)| id).ok_or_else(|| Error::NotAssigned { topic: topic.into(), partition })
    }

    fn assigned(&self, topic: &str, partition: i32) -> Option<&Assigned> {
        self.reader.partition(self.id(topic, partition).ok()?)
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<StreamRecord>>> {
        let (id, record) = match ready!(self.reader.poll_record(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(found)) => found,
        };
        let Some(of) = self.reader.partition(id) else { return Poll::Ready(Some(Err(Error::Closed))) };
        let high_watermark = of.high_watermark().unwrap_or(-1);
        let (topic, partition) = (of.topic.clone(), of.partition);
        Poll::Ready(Some(Ok(StreamRecord { topic, partition, record, high_watermark })))
    }
}

impl Stream for RecordStream {
    type Item = Result<StreamRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(cx)
    }
}
