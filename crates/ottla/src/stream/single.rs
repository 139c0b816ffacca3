//! A stream over one partition.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ottla_core::fetcher::PartitionId;

use super::assigned::Assigned;
use super::batch::Batch;
use super::metrics::StreamMetrics;
use super::reader::Reader;
use super::settings::{OutOfRange, Settings, StartOffset};
use crate::driver::fetcher::Member;
use crate::error::Result;
use crate::partition::PartitionClient;
use crate::record::RecordAndOffset;

/// Makes a [`StreamConsumer`].
#[derive(Debug, Clone)]
pub struct StreamConsumerBuilder {
    client: PartitionClient,
    start: StartOffset,
    settings: Settings,
}

impl StreamConsumerBuilder {
    /// A stream over the client's partition that starts there. It reads what the client reads: only committed records, if
    /// the client was built so.
    pub fn new(client: PartitionClient, start: StartOffset) -> Self {
        let settings = Settings::new(client.isolation());
        Self { client, start, settings }
    }

    /// How much memory answers may take, held or on their way, in bytes, before they are decompressed. A batch that is larger comes all
    /// the same. Default: 64 MiB.
    pub fn with_prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// The broker answers as soon as it has so many bytes. Default: 1.
    pub fn with_min_bytes(mut self, bytes: i32) -> Self {
        self.settings.min_bytes = bytes;
        self
    }

    /// About so many bytes come in one answer at most. Default: 1 MiB.
    pub fn with_max_bytes(mut self, bytes: i32) -> Self {
        self.settings.partition_max_bytes = bytes;
        self
    }

    /// How long the broker waits for `min_bytes`, in milliseconds. Default: 500.
    pub fn with_max_wait_ms(mut self, max_wait_ms: i32) -> Self {
        self.settings.max_wait_ms = max_wait_ms;
        self
    }

    /// What to do when the offset is not in the log. Default: [`OutOfRange::Report`].
    pub fn with_out_of_range(mut self, out_of_range: OutOfRange) -> Self {
        self.settings.out_of_range = out_of_range;
        self
    }

    /// Where the reader is, so that a replica in the same rack may serve it (KIP-392). Default: nowhere.
    pub fn with_rack(mut self, rack: impl Into<String>) -> Self {
        self.settings.rack = Some(rack.into());
        self
    }

    /// Whether the checksum of each batch is compared. Default: it is.
    pub fn with_check_crcs(mut self, check: bool) -> Self {
        self.settings.check_crcs = check;
        self
    }

    /// A compressed batch that has more bytes than this when it is decompressed is damaged ([`Error::Corrupt`](crate::Error::Corrupt)):
    /// one batch of a stream is decompressed at a time, in memory that no budget counts. Default: 128 MiB.
    pub fn with_max_decompressed_bytes(mut self, bytes: usize) -> Self {
        self.settings.limits.max_batch_bytes = bytes;
        self
    }

    /// Starts fetching.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for settings that cannot work.
    pub fn build(self) -> Result<StreamConsumer> {
        let Self { client, start, mut settings } = self;
        // One partition's part is all of an answer.
        settings.max_bytes = settings.partition_max_bytes;
        let place = start.to_place()?;
        let (fetcher, own) = settings.check(client.cluster())?;
        let member = Member::new(client.cluster(), fetcher, own);
        let mut reader = Reader::new(member, &settings);
        let id = reader.add(client.topic_ref(), client.partition(), place);
        Ok(StreamConsumer { client, id, is_committed: settings.isolation.is_committed(), reader })
    }
}

/// The records of one partition, in order, fetched ahead of whoever reads them; made by a [`StreamConsumerBuilder`].
///
/// ```
/// # use ottla::{ClientBuilder, Record, Result, StartOffset, StreamConsumerBuilder};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let server = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
/// # let client = ClientBuilder::new(server.bootstrap()).build().await?;
/// # client.controller_client().await?.create_topic("orders", 1, 1, 5_000).await?;
/// let partition_client = client.partition_client("orders", 0).await?;
/// partition_client.produce(vec![Record::new("first")]).await?;
///
/// let mut stream =
///     StreamConsumerBuilder::new(partition_client, StartOffset::Earliest).with_max_wait_ms(100).build()?;
/// if let Some(result) = stream.next().await {
///     let (record, high_watermark) = result?;
///     assert_eq!((record.value.as_deref(), high_watermark), (Some(&b"first"[..]), 1));
/// }
/// # Ok(())
/// # }
/// ```
///
/// Retention, moved leaders, lost connections and the like are the stream's business. What is not comes as an error:
///
/// - A damaged batch ([`Error::Corrupt`](crate::Error::Corrupt)), an offset that is not in the log, a batch that is too long or
///   never comes whole, a refusal of the broker, a topic that is gone ([`Error::Fetch`](crate::Error::Fetch)): the stream ends, and goes on after a
///   [`seek`](Self::seek).
/// - Records that were read are not in the log any more ([`Error::Truncated`](crate::Error::Truncated)): the stream goes on with
///   what is there instead.
///
/// A record that is kept keeps in memory what came with it: [`RecordAndOffset::detach`] copies it out.
#[derive(Debug)]
pub struct StreamConsumer {
    client: PartitionClient,
    id: PartitionId,
    is_committed: bool,
    reader: Reader,
}

impl StreamConsumer {
    /// The next record, and the high watermark: the offset after the last record that is replicated. `None` when nothing can
    /// come before a [`seek`](Self::seek), which an error has said.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<(RecordAndOffset, i64)>> {
        poll_fn(|cx| self.poll_record(cx)).await
    }

    /// The next records as they lie in memory: those of one answer, or of one compressed batch in it. `None` as from [`next`](Self::next).
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

    /// Goes on elsewhere. What was fetched is thrown away.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an offset or a time that is negative; then nothing has changed.
    pub fn seek(&mut self, to: StartOffset) -> Result<()> {
        let place = to.to_place()?;
        self.reader.seek(self.id, place);
        Ok(())
    }

    /// The offset after the last record that was handed over. `None` until it is known where the stream starts.
    pub fn position(&self) -> Option<i64> {
        self.assigned()?.position
    }

    /// The offset after the last record that is replicated, as a broker said with what was handed over last, or since.
    ///
    /// `None` until a broker has said. What comes while nothing is read is taken note of by `next` and `next_batch`.
    pub fn high_watermark(&self) -> Option<i64> {
        self.assigned()?.high_watermark()
    }

    /// The offset up to which all transactions are decided; a read-committed stream is shown nothing behind it. The high
    /// watermark where no transaction is open. `None` as for [`high_watermark`](Self::high_watermark).
    pub fn last_stable_offset(&self) -> Option<i64> {
        self.assigned()?.last_stable_offset()
    }

    /// The first offset that is still in the log, the low watermark: retention and
    /// [`delete_records`](crate::PartitionClient::delete_records) raise it. `None` as for
    /// [`high_watermark`](Self::high_watermark), and with a broker that does not say: one that speaks Fetch up to 4.
    pub fn log_start_offset(&self) -> Option<i64> {
        self.assigned()?.log_start_offset()
    }

    /// How many offsets are left to be read, as far as known: up to the high watermark, or for a read-committed stream to the
    /// last stable offset.
    pub fn lag(&self) -> Option<u64> {
        self.assigned()?.lag(self.is_committed)
    }

    /// What it has done so far, and how far it is. A snapshot.
    pub fn metrics(&self) -> StreamMetrics {
        self.reader.metrics(self.is_committed)
    }

    /// The client of the partition.
    pub fn client(&self) -> &PartitionClient {
        &self.client
    }

    fn assigned(&self) -> Option<&Assigned> {
        self.reader.partition(self.id)
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(RecordAndOffset, i64)>>> {
        let result = ready!(self.reader.poll_record(cx));
        let high_watermark = self.high_watermark().unwrap_or(-1);
        Poll::Ready(result.map(|result| result.map(|(_, record)| (record, high_watermark))))
    }
}

impl Stream for StreamConsumer {
    type Item = Result<(RecordAndOffset, i64)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(cx)
    }
}
