//! `fetch_records`: one long poll at the partition's leader, and the records that come of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::connection::Answer;
use ottla_core::fetcher::ZSTD_NEEDS_FETCH_10;
use ottla_core::metadata::{Leader, broker};
use ottla_wire::messages::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use ottla_wire::records::{BatchError, Decoder, Limits, RecordBatch, batches};
use ottla_wire::{ErrorCode, Str};

use super::PartitionClient;
use crate::client::wait;
use crate::damage::{offset_behind, way_past};
use crate::driver::cluster::{Plan, Purpose, Verdict};
use crate::driver::{by_id_or_name, now};
use crate::error::{Error, Result};
use crate::record::RecordAndOffset;
use crate::visible::Visible;

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// All of them, at once.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, up to the first one that is still open.
    ReadCommitted,
}

impl IsolationLevel {
    pub(super) fn to_wire(self) -> i8 {
        i8::from(self.is_committed())
    }

    pub(crate) fn is_committed(self) -> bool {
        self == Self::ReadCommitted
    }
}

impl PartitionClient {
    /// Reads records from `offset` on, and the high watermark: the offset after the last record that is replicated.
    ///
    /// The broker answers when it has `bytes.start` bytes, or after `max_wait_ms`; `bytes.end` limits the answer, but
    /// a batch that is larger still comes whole, so that there is always progress. The call waits on a connection of
    /// its own. What comes back is empty when there is nothing to read yet. Where records are hidden - control
    /// records, aborted transactions - the call reads on behind them, at most for the client's time-out beyond its wait.
    ///
    /// A record keeps the whole answer in memory until it is dropped; copy what you keep for long.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` when `offset` is below the log's start or above its end: see
    /// [`get_offset`](Self::get_offset). [`Error::Corrupt`] when a batch is damaged.
    ///
    /// # Cancel safety
    /// Nothing is lost: the position is the caller's.
    pub async fn fetch_records(
        &self,
        offset: i64,
        bytes: Range<i32>,
        max_wait_ms: i32,
    ) -> Result<(Vec<RecordAndOffset>, i64)> {
        if offset < 0 {
            return Err(Error::config("offset", format!("is {offset}: it must not be negative")));
        }
        if bytes.start < 0 || bytes.end < 1 || bytes.start > bytes.end {
            let problem = format!(
                "is {}..{}: it must start at 0 or above, end at 1 or above, and not end before it starts",
                bytes.start, bytes.end
            );
            return Err(Error::config("bytes", problem));
        }
        let end = now() + wait("max_wait_ms", max_wait_ms)?;
        // Behind hidden records the call reads on, also when its wait is over: or the caller would never get past them.
        let last = end + self.timeout;
        let held = usize::try_from(bytes.end).unwrap_or(0).saturating_mul(8).max(LEAST_HELD);
        let mut position = offset;
        loop {
            let remaining = end.saturating_duration_since(now());
            let data = self.fetch(position, &bytes, remaining, last).await?;
            let high_watermark = data.high_watermark;
            let read = self.read(position, data, held)?;
            if !read.records.is_empty() || read.next <= position || now() >= last {
                return Ok((read.records, high_watermark));
            }
            position = read.next;
        }
    }

    async fn fetch(
        &self,
        offset: i64,
        bytes: &Range<i32>,
        max_wait: Duration,
        last: Instant,
    ) -> Result<PartitionData> {
        let build = |leader: Option<Leader>| -> Box<dyn ottla_wire::AnyRequest> {
            let request = FetchRequest {
                replica_id: -1,
                // Rounded up: what is left of the wait is a little less than was asked for.
                max_wait_ms: i32::try_from(max_wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX),
                min_bytes: bytes.start,
                max_bytes: bytes.end,
                isolation_level: self.isolation.to_wire(),
                topics: vec![FetchTopic {
                    topic: Str::from(&*self.topic.name),
                    topic_id: self.topic.id,
                    partitions: vec![FetchPartition {
                        partition: self.partition,
                        current_leader_epoch: leader.map_or(-1, |leader| leader.epoch),
                        fetch_offset: offset,
                        partition_max_bytes: bytes.end,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
            by_id_or_name(request, !self.topic.id.is_nil())
        };
        let judge = |answer: &Answer, response: FetchResponse| self.judge(offset, answer.version, response);
        let timeout = last.saturating_duration_since(now());
        let plan = Plan { timeout, ..self.plan(Purpose::Fetch, max_wait) };
        self.cluster.call::<FetchRequest, _>(plan, build, judge).await
    }

    fn judge(&self, offset: i64, version: i16, response: FetchResponse) -> Verdict<PartitionData> {
        if !response.error_code.is_none() {
            return Verdict::Code(response.error_code, None);
        }
        let endpoints = response.node_endpoints;
        let throttled = response.throttle_time_ms > 0;
        let mut partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let Some(data) = partitions.find(|data| data.partition_index == self.partition) else {
            // A broker that throttles a Fetch answers without anything (KIP-219); the next one waits for its turn.
            return if throttled {
                Verdict::Code(ErrorCode::THROTTLING_QUOTA_EXCEEDED, None)
            } else {
                self.left_out()
            };
        };
        if data.error_code.is_none() {
            return Verdict::Done(data);
        }
        let leader =
            Leader { broker_id: data.current_leader.leader_id, epoch: data.current_leader.leader_epoch };
        let brokers =
            endpoints.iter().filter_map(|it| broker(it.node_id, &it.host, it.port, it.rack.as_deref()));
        self.cluster.hint(&self.topic.name, self.partition, leader, brokers);
        let about = match data.error_code {
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                Some(format!("offset {offset} is not in the log; get_offset tells where it starts and ends"))
            }
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => {
                Some(format!("{ZSTD_NEEDS_FETCH_10}, and was asked in version {version}"))
            }
            _ => None,
        };
        Verdict::Code(data.error_code, about)
    }

    fn read(&self, offset: i64, data: PartitionData, limit: usize) -> Result<Read> {
        let committed = self.isolation.is_committed();
        let aborted = data.aborted_transactions.filter(|_| committed).unwrap_or_default();
        let records = data.records.map(|records| records.to_bytes()).unwrap_or_default();
        read_batches(&records, offset, aborted, limit).map_err(|(error, behind)| Error::Corrupt {
            topic: Arc::clone(&self.topic.name),
            partition: self.partition,
            offset,
            next: way_past(offset, behind, Some(data.high_watermark)),
            error,
        })
    }
}

/// How many bytes of decompressed records one call may hold, and how many its records and their headers may take besides,
/// however little was asked for.
const LEAST_HELD: usize = 64 << 20;

/// What an answer held.
#[derive(Debug)]
struct Read {
    records: Vec<RecordAndOffset>,
    /// The offset after everything that was there, hidden records included.
    next: i64,
}

/// Every record at or after `offset` that is not a control record and not of an aborted transaction, until `limit`
/// bytes are held: what compressed batches become is not bounded by the size of the answer, and small records take ten times
/// the memory of their bytes. At least one record comes, and no batch is decompressed for less than `limit` bytes of its
/// records, unless it has no more.
///
/// What comes before a damaged batch is handed over; the call that starts at the damage reports it, and what comes behind.
fn read_batches(
    bytes: &Bytes,
    offset: i64,
    aborted: Vec<AbortedTransaction>,
    limit: usize,
) -> Result<Read, (BatchError, Option<i64>)> {
    let mut reader = BatchReader {
        offset,
        decoder: Decoder::new(Limits::default()),
        visible: Visible::new(aborted),
        read: Read { records: Vec::new(), next: offset },
        limit,
        held: 0,
        records_held: 0,
    };
    let mut rest = batches(bytes.clone());
    let mut at = 0;
    while let Some(batch) = rest.next() {
        let intact = reader.read.records.len();
        let next = reader.read.next;
        if next > offset && batch.as_ref().is_ok_and(|batch| batch.header().base_offset < next) {
            // Sent again: what comes behind it is asked for once more.
            break;
        }
        if let Err(error) = batch.and_then(|batch| reader.add(&batch)) {
            if reader.read.next == offset {
                return Err((error, offset_behind(&bytes.slice(at..))));
            }
            reader.read.records.truncate(intact);
            break;
        }
        if reader.is_full() {
            break;
        }
        at = bytes.len() - rest.remaining().len();
    }
    Ok(reader.read)
}

/// Collects what is visible of one batch after the other.
struct BatchReader {
    offset: i64,
    decoder: Decoder,
    visible: Visible,
    read: Read,
    limit: usize,
    /// Bytes of the batches that records are slices of.
    held: usize,
    /// Bytes that the records themselves take: their places in the list, and their headers.
    records_held: usize,
}

impl BatchReader {
    fn is_full(&self) -> bool {
        self.held.max(self.records_held) >= self.limit
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), BatchError> {
        if let Some(decoded) = self.visible.open(batch, self.offset, &mut self.decoder, true)? {
            self.held += decoded.records().len();
            for view in &decoded {
                let view = view?;
                if view.offset < self.offset {
                    continue;
                }
                if self.records_held >= self.limit {
                    self.read.next = view.offset;
                    return Ok(());
                }
                let record = RecordAndOffset::from(decoded.owned(&view));
                self.records_held += record.memory();
                self.read.records.push(record);
            }
        }
        self.read.next = self.read.next.max(batch.next_offset());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, Stamp};

    use super::*;

    /// A compressed batch of `count` records at `base_offset`, each with `headers` headers.
    fn batch(base_offset: i64, count: usize, headers: usize) -> Vec<u8> {
        let (mut builder, mut pool) = (BatchBuilder::new(), ChunkPool::default());
        let headers = vec![(Payload::Borrowed(b""), None); headers];
        for _ in 0..count {
            builder.append(&mut pool, &NewRecord { headers: &headers, ..NewRecord::default() }).unwrap();
        }
        let codec = ottla_wire::compression::Compression::Lz4.into();
        let batch = builder.seal(&codec, &mut pool).unwrap();
        batch.record_set(&Stamp { base_offset, ..Stamp::default() }).to_bytes().to_vec()
    }

    /// The records of all calls that are needed, and how much each call held.
    fn read_in_calls(bytes: &Bytes, limit: usize) -> (Vec<i64>, Vec<usize>) {
        let (mut offsets, mut held, mut next) = (Vec::new(), Vec::new(), 0);
        loop {
            let read = read_batches(bytes, next, Vec::new(), limit).unwrap();
            if read.next == next {
                return (offsets, held);
            }
            next = read.next;
            held.push(read.records.iter().map(RecordAndOffset::memory).sum());
            offsets.extend(read.records.iter().map(|record| record.offset));
        }
    }

    /// Records without a byte of their own take memory all the same, and so do their headers: a call ends inside a batch
    /// when it holds enough, and the next one goes on there.
    #[test]
    fn many_small_records_come_in_several_calls() {
        const LIMIT: usize = 64 << 10;
        for headers in [0, 20] {
            let bytes = Bytes::from([batch(0, 3_000, headers), batch(3_000, 3_000, headers)].concat());
            let (offsets, held) = read_in_calls(&bytes, LIMIT);
            assert_eq!(offsets, (0..6_000).collect::<Vec<_>>());
            let one = size_of::<RecordAndOffset>() + headers * size_of::<(Bytes, Option<Bytes>)>();
            assert!(held.iter().all(|held| *held < LIMIT + one), "{held:?} of {LIMIT}");
        }
    }

    /// What an answer has twice is read once, and what comes behind it by the next call.
    #[test]
    fn what_comes_again_is_passed_over() {
        let (first, second, third) = (batch(0, 3, 0), batch(3, 2, 0), batch(5, 4, 0));
        let bytes = Bytes::from([&first[..], &second, &first, &second, &third].concat());
        let (offsets, held) = read_in_calls(&bytes, LEAST_HELD);
        assert_eq!((offsets, held.len()), ((0..9).collect(), 2));
    }

    /// However little may be held, one record comes.
    #[test]
    fn a_record_that_is_too_large_comes_alone() {
        let (offsets, held) = read_in_calls(&batch(0, 3, 2_000).into(), 1);
        assert_eq!((offsets, held.len()), (vec![0, 1, 2], 3));
    }
}
